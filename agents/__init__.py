"""Learning agents: the algorithms and the policies that they train."""
