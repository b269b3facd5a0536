"""Slow packages are told of once, on a terminal alone."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from convgym.benchmarks.cli import loading


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A package that is slow to load."""
    (tmp_path / "convgym_slow.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(loading, "SLOW", frozenset({"convgym_slow"}))
    return "convgym_slow"


@pytest.mark.parametrize(("terminal", "told"), [(True, "loading convgym_slow ...\n"), (False, "")])
def test_loading_is_told_on_a_terminal(
    terminal: bool,
    told: str,
    slow: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    finders = list(sys.meta_path)
    with loading.loading_told():
        for _ in range(2):
            importlib.import_module(slow)
            del sys.modules[slow]
    assert capsys.readouterr() == ("", told)
    assert sys.meta_path == finders
