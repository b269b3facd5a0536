"""Conversations with customers as a Gymnasium environment."""

from __future__ import annotations

from convgym.forks import keep_forks_alive
from convgym.registration import register_environments

__version__ = "0.1.0"

register_environments()
keep_forks_alive()
