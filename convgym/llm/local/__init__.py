"""Chat models on this machine: the one place of the environment's that runs torch."""
