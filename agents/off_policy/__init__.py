"""What a new policy is worth, by a log that another one wrote."""
