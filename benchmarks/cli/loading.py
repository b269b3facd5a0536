"""Packages that take seconds to load are told of: nobody is to wait for silence."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType

from convgym.benchmarks.terminal import say

SLOW = frozenset({"torch", "transformers", "trl", "datasets", "llama_cpp"})


@contextmanager
def loading_told() -> Iterator[None]:
    """Say "loading torch ..." on a terminal's stderr when somebody, anywhere, imports it first."""
    if not sys.stderr.isatty():
        yield
        return
    teller = _Teller()
    sys.meta_path.insert(0, teller)
    try:
        yield
    finally:
        sys.meta_path.remove(teller)


class _Teller:
    """A finder of modules that finds none, and tells of those that are looked for."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        # Some only ask whether a package is there: the import that follows finds it told already.
        if name in SLOW - self._told:
            self._told.add(name)
            say(f"loading {name} ...", error=True)
