"""The frame of studies: nothing overwritten, mistakes told at once, every study a command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from convgym.benchmarks.cli import main
from convgym.benchmarks.studies.study import Study
from convgym.errors import ConvgymError


def test_a_study_is_stored_with_its_making_whenever_something_is_found(tmp_path: Path) -> None:
    path = tmp_path / "new" / "found.json"
    study = Study(path, seed=3)
    assert not path.exists()
    for n in range(2):
        study.store(rows=list(range(n)))
        stored = json.loads(path.read_text())
        assert stored["rows"] == list(range(n)) and stored["seed"] == 3
        assert {"time", "commit", "versions", "machine"} <= set(stored)
    with pytest.raises(ConvgymError, match="never overwritten"):
        Study(path)


def test_what_cannot_be_written_is_told_before_anything_is_measured(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConvgymError, match="cannot write to"):
        Study(tmp_path / "file" / "found.json")


def test_a_study_without_a_file_is_only_shown() -> None:
    Study(None).store(rows=[])


def test_studies_are_commands_and_none_is_loaded_to_list_them() -> None:
    script = (
        "import sys\n"
        "from convgym.benchmarks.cli.main import main\n"
        "try: main(['study', '--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0
    for name in ("rounds", "q-variants", "round-cost", "speed", "llm-concurrency", "temperature"):
        assert name in done.stdout


def test_a_study_takes_its_own_arguments(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from convgym.benchmarks.studies import llm_concurrency

    monkeypatch.setattr(llm_concurrency, "CASES", ((2, 0.1),))
    path = tmp_path / "found.json"
    for code in (0, 2):
        with pytest.raises(SystemExit) as end:
            main.main(["study", "llm-concurrency", str(path)])
        assert (end.value.code or 0) == code
    assert "never overwritten" in capsys.readouterr().err
    assert json.loads(path.read_text())["figures"][0]["concurrency"] == 2


def test_an_unknown_study_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main.main(["study", "nope"])
    assert (
        end.value.code == 2 and "unknown study 'nope'; known: ablations" in capsys.readouterr().err
    )
