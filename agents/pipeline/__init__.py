"""The steps of a round of Iterative PPO on their own, with files and folders between them."""
