"""Learned values: the critic, the multi-turn Q-function, and how good they are."""
