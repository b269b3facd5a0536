"""Solvers of the single-turn problem: the improvement step of Iterative PPO."""
