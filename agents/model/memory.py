"""As much at once as memory holds: where memory runs out, the same again in smaller parts.

And what was freed is given back to the machine.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import torch

from convgym.errors import ConvgymError, is_out_of_memory

T = TypeVar("T")


class AtOnce:
    """How many things are computed at once: all of them, until memory does not hold them.

    Then half as many, from then on. For what does not depend on how many are computed together.

    Attributes:
        most: how many; None while memory held whatever was asked for.
    """

    def __init__(self) -> None:
        self.most: int | None = None

    def over(self, n: int, compute: Callable[[slice], T], recover: Callable[[], object]) -> list[T]:
        """Return what ``compute`` returns of neighbouring parts of n things.

        Args:
            n: of things.
            compute: given a part. When memory runs out it is asked again, for all parts.
            recover: undoes what an attempt has done when memory ran out.

        Raises:
            ConvgymError: when memory does not hold a single thing.
        """
        while True:
            size = n if self.most is None else min(n, self.most)
            try:
                return [
                    compute(slice(start, min(start + size, n))) for start in range(0, n, size or 1)
                ]
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if size <= 1:
                    reason = " ".join(str(error).split())[:120]
                    raise ConvgymError(
                        f"memory does not hold a single conversation ({reason}): use a smaller"
                        " model, adapters (policy.lora), dtype bfloat16, fewer turns or another"
                        " device"
                    ) from None
                self.most = size // 2
            # Only here nothing of the attempt is held any more, by the traceback least of all.
            recover()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


class GiveBack:
    """Now and then has the C library return to the machine what was freed.

    glibc keeps freed blocks below 32 MiB for itself. Caches are of another size in every turn and
    leave holes between what stays, a megabyte for each conversation: six thousand of them took
    eleven gigabytes for a model of five megabytes.

    Args:
        every: seconds between two times, at least.
        clock: seconds.
    """

    def __init__(self, every: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._every, self._clock = every, clock
        self._last = clock()

    def __call__(self) -> bool:
        """Return whether it was time, and the C library knows how."""
        now, trim = self._clock(), _malloc_trim()
        if trim is None or now - self._last < self._every:
            return False
        self._last = now
        trim(0)
        return True


@cache
def _malloc_trim() -> Any:
    """Return glibc's ``malloc_trim``; None with another C library."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
