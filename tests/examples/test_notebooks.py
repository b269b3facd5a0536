"""Every notebook for teaching runs from top to bottom, and is stored as it ran, for GitHub to show.

Each is executed in a kernel of its own, which is spoken to through sockets that are files. Cells
that are too much for every run of the tests get smaller sizes, as ``SMALL`` says; nothing else of
a notebook is changed.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")  # extra "notebooks"
pytest.importorskip("ipykernel")
pytest.importorskip("nbclient")
pytest.importorskip("torch")

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "examples" / "notebooks"
PATHS = sorted(FOLDER.glob("*.ipynb"))
NAMES = [path.stem for path in PATHS]
SMALL: dict[str, dict[str, str]] = {}
"""By notebook: what is replaced in its cells before it is run here, sizes alone."""
HEADINGS = ["## Exercises", "## Solutions"]
MOST_BYTES = 1_500_000
"""Of all notebooks together, outputs included."""
OF_A_MACHINE = re.compile(r"(?<![\w.:/])/(?:home|Users|root|tmp|opt|usr|var|mnt|work|private)/\w")


@pytest.fixture(scope="module")
def notebooks() -> dict[str, Any]:
    return {path.stem: nbformat.read(path, as_version=4) for path in PATHS}


@pytest.fixture
def notebook(notebooks: dict[str, Any], name: str) -> Any:
    return notebooks[name]


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def markdown(notebook: Any) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def made_small(notebook: Any, replacements: dict[str, str]) -> Any:
    """Return a copy with smaller sizes; AssertionError for one that the notebook does not have."""
    small = nbformat.from_dict(notebook)
    for old, new in replacements.items():
        cells = [cell for cell in code_cells(small) if old in cell.source]
        assert cells, f"{old!r} is to be replaced, and no cell has it"
        for cell in cells:
            cell.source = cell.source.replace(old, new)
    return small


def complaints(notebook: Any) -> Iterator[str]:
    """Yield what went wrong in the outputs of a notebook, and in which cell."""
    for number, cell in enumerate(code_cells(notebook), start=1):
        for output in cell.outputs:
            place = f"code cell {number}:\n{cell.source}\n\n"
            if output.output_type == "error":
                yield f"{place}{output.ename}: {output.evalue}"
            elif output.output_type == "stream" and output.name == "stderr":  # warnings, too
                yield f"{place}stderr: {output.text}"


def run(notebook: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Execute a notebook in place, in its own folder, and return what went wrong."""
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    # Names of sockets may have a hundred characters, which folders of pytest use up.
    with tempfile.TemporaryDirectory(prefix="nb-") as scratch:
        for variable in ("IPYTHONDIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "MPLCONFIGDIR"):
            monkeypatch.setenv(variable, os.path.join(scratch, variable.lower()))
        monkeypatch.delenv("MPLBACKEND", raising=False)  # the kernel has its own, which shows
        manager = AsyncKernelManager(
            kernel_name="python3",
            transport="ipc",
            connection_file=os.path.join(scratch, "kernel.json"),
        )
        client = NotebookClient(
            notebook,
            km=manager,
            timeout=600,
            startup_timeout=300,
            record_timing=False,
            resources={"metadata": {"path": str(FOLDER)}},
        )
        with contextlib.suppress(CellExecutionError):  # the cell's outputs tell
            client.execute(cleanup_kc=True)  # a manager of ours is not cleaned up by itself
    return list(complaints(notebook))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs(notebook: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    small = made_small(notebook, SMALL.get(name, {}))
    wrong = run(small, monkeypatch)
    assert not wrong, f"{name}, {wrong[0]}"
    shown, stored = code_cells(small), code_cells(notebook)
    if name not in SMALL:  # the same kinds of outputs as are stored: tables and pictures
        assert [kinds(cell) for cell in shown] == [kinds(cell) for cell in stored]


def kinds(cell: Any) -> list[str]:
    return sorted({kind for output in cell.outputs for kind in output.get("data", {"text": ""})})


def test_there_are_five_in_order_and_small_enough() -> None:
    assert [name[:3] for name in NAMES] == [f"0{number}_" for number in range(1, 6)]
    assert set(SMALL) <= set(NAMES)
    size = sum(path.stat().st_size for path in PATHS)
    assert size <= MOST_BYTES, f"{size} bytes of notebooks: draw smaller pictures"


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_stored_as_it_ran(notebook: Any, name: str) -> None:
    nbformat.validate(notebook)
    cells = code_cells(notebook)
    again = f"run it again: jupyter execute --inplace examples/notebooks/{name}.ipynb"
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)], again
    assert not list(complaints(notebook)), again
    assert any("image/png" in kinds(cell) for cell in cells)
    text = str([cell.outputs for cell in cells])
    assert not OF_A_MACHINE.findall(text)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_says_what_it_teaches_and_takes(notebook: Any, name: str) -> None:
    first = notebook.cells[0].source
    assert first.startswith(f"# {int(name[:2])}. ")
    assert "**What you learn.**" in first
    for row in ("| time |", "| you need |", "| you know |", "| next |"):
        assert row in first
    assert "pip install -c constraints.txt -e '.[notebooks]'" in first


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(notebook: Any, name: str) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)", markdown(notebook))
    assert links
    assert not [link for link in links if not (FOLDER / link).exists()]


@pytest.mark.parametrize("name", NAMES)
def test_every_exercise_has_a_solution_that_runs(notebook: Any, name: str) -> None:
    text = markdown(notebook)
    assert [line for line in text.splitlines() if line in HEADINGS] == HEADINGS
    exercises = text.split("## Exercises")[1].split("## Solutions")[0]
    numbers = re.findall(r"^(\d)\. \*\*", exercises, flags=re.MULTILINE)
    assert 2 <= len(numbers) <= 4
    starts = [n for n, cell in enumerate(notebook.cells) if "## Solutions" in cell.source]
    (start,) = starts
    solved: list[str] = []
    code: dict[str, int] = {}
    for cell in notebook.cells[start:]:
        if cell.cell_type == "code":
            code[solved[-1]] = code.get(solved[-1], 0) + 1
        else:
            solved += re.findall(r"^\*\*(\d)\. ", cell.source, flags=re.MULTILINE)
            solved += re.findall(r"^\*\*(\d)\.(?=\*)", cell.source, flags=re.MULTILINE)
    assert solved == numbers
    assert set(code) == set(numbers), "a solution without a cell that runs"


def test_a_cell_that_fails_or_warns_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = ["x = 1", "import warnings\nwarnings.warn('old')", "x / 0", "print('never')"]
    broken = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    warned, failed = run(broken, monkeypatch)
    assert warned.startswith("code cell 2:") and "UserWarning: old" in warned
    assert failed.startswith("code cell 3:\nx / 0") and "ZeroDivisionError" in failed


def test_a_size_that_is_not_there_is_told() -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("N = 3")])
    assert made_small(notebook, {"N = 3": "N = 1"}).cells[0].source == "N = 1"
    assert notebook.cells[0].source == "N = 3"
    with pytest.raises(AssertionError, match="'N = 4' is to be replaced"):
        made_small(notebook, {"N = 4": "N = 1"})
