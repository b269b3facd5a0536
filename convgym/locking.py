"""One writer of a file at a time, also across processes."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from convgym.errors import ConvgymError

_POLL_SECONDS = 0.02


@contextmanager
def locked(file: IO[bytes], refusal: str, wait: float = 10.0) -> Iterator[None]:
    """Hold the lock of an open file; readers do not notice.

    Args:
        file: the file, open for writing.
        refusal: the error's text.
        wait: seconds to wait for another writer; 0 for none.

    Raises:
        ConvgymError: if another writer, in this process or another, holds the lock all that time.
    """
    until = time.monotonic() + wait
    while not _try_lock(file.fileno(), True):
        if time.monotonic() >= until:
            raise ConvgymError(refusal)
        time.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        _try_lock(file.fileno(), False)


if sys.platform == "win32":
    import msvcrt

    _FAR = 2**62
    """Windows keeps everybody from a locked byte, readers too: one that no file has."""

    def _try_lock(descriptor: int, lock: bool) -> bool:
        before = os.lseek(descriptor, 0, os.SEEK_CUR)
        try:
            os.lseek(descriptor, _FAR, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK if lock else msvcrt.LK_UNLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(descriptor, before, os.SEEK_SET)
        return True

else:
    import fcntl

    def _try_lock(descriptor: int, lock: bool) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB if lock else fcntl.LOCK_UN)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks, as some network shares are
            pass
        return True
