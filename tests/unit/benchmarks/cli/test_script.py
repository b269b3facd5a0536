"""The script: an interruption is one line at any time, also while the packages load."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import ModuleType

import pytest

from convgym.benchmarks.cli import script as script_module

MAIN = "convgym.benchmarks.cli.main"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module, which changes no handler of ours."""
    # As in a terminal: whoever runs the tests in the background may have had Ctrl-C ignored.
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.default_int_handler)
    monkeypatch.setattr(signal, "signal", lambda number, handler: handlers.append(handler))
    handlers.clear()
    return script_module


handlers: list[object] = []


class Interrupting:
    """A finder that is interrupted when the command line is looked for."""

    def find_spec(self, name: str, *_: object) -> None:
        if name == MAIN:
            raise KeyboardInterrupt


@pytest.mark.parametrize("moment", ["while it loads", "while it runs"])
def test_ctrl_c_is_one_line_and_130(
    script: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    moment: str,
) -> None:
    if moment == "while it loads":
        monkeypatch.delitem(sys.modules, MAIN, raising=False)
        monkeypatch.setattr(sys, "meta_path", [Interrupting(), *sys.meta_path])
    else:

        def main() -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(f"{MAIN}.main", main)
    with pytest.raises(SystemExit) as ended:
        script.main()
    assert ended.value.code == 130
    assert capsys.readouterr() == ("", "interrupted\n")
    assert handlers == [signal.SIG_DFL]  # while Python winds up there is nobody to tell


def test_who_ignores_interruptions_goes_on_doing_so(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{MAIN}.main", lambda: None)
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.SIG_IGN)  # as with nohup
    script.main()
    assert handlers == []


def test_it_loads_nothing_by_itself() -> None:
    lines = Path(script_module.__file__ or "").read_text(encoding="utf-8").splitlines()
    loaded = {line for line in lines if line.startswith(("import ", "from "))}
    assert loaded == {"from __future__ import annotations", "import signal", "import sys"}
