"""Processes that are made by forking one that has computed with torch."""

from __future__ import annotations

import os
import sys


def _one_thread() -> None:
    """Let torch compute in one thread in this process, where nobody loaded it do nothing."""
    set_num_threads = getattr(sys.modules.get("torch"), "set_num_threads", None)
    if set_num_threads is not None:
        set_num_threads(1)


def keep_forks_alive() -> None:
    """Let children that are forked from now on compute in one thread.

    The threads of torch's pool do not survive a fork: a child that waits for them, with its first
    large product of matrices, waits for ever. PyTorch's own data loaders do the same.
    """
    if hasattr(os, "register_at_fork"):  # not on Windows, which has no forks
        os.register_at_fork(after_in_child=_one_thread)
