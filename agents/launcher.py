"""What ``accelerate launch`` and ``torchrun`` tell a process that they start; it loads no torch."""

from __future__ import annotations

import os


def launched() -> int:
    """Return how many processes a launcher started; 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1")) if _is_launched() else 1


def launched_number() -> int:
    """Return which of them this is, from 0; the others do as the first one does, in silence."""
    return int(os.environ["RANK"]) if _is_launched() else 0


def _is_launched() -> bool:
    return all(name in os.environ for name in ("RANK", "MASTER_ADDR"))


def launched_alone() -> bool:
    """Tell whether ``accelerate launch``, asked for several processes, started this one alone.

    So it does where it finds fewer than two GPUs: it says where the first process would be met,
    and gives no number to any.
    """
    marks = ("ACCELERATE_USE_CPU", "MASTER_ADDR")
    return all(name in os.environ for name in marks) and "RANK" not in os.environ
