"""Conversations with customers as a Gymnasium environment."""

from __future__ import annotations

from convgym.envs.registration import register_environments
from convgym.forks import keep_forks_alive

__version__ = "0.1.0"

register_environments()
keep_forks_alive()
