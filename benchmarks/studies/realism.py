"""How real the two scripted customers are, measured alone and beside chats that were imported.

    convgym study realism DIR --chats examples/imported_logs/shop_chats.csv

Each is one ``convgym validate CUSTOMER --realism`` and a folder in DIR. What
``docs/realism.md`` shows of them is printed in the end, and the lines of the register.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from convgym.benchmarks.studies.study import show
from convgym.benchmarks.terminal import console
from convgym.benchmarks.validation.realism.report import comparison, overview, read
from convgym.benchmarks.validation.realism.run import Request, run
from convgym.datafiles import check_new_folder
from convgym.exchange import import_log
from convgym.logs import write_log

SEED, CUSTOMERS = 31, 400
SUBJECTS = ("scripted", "shopper")
BESIDE = "-beside-chats"
_HELD = "<!-- held by tests/unit/benchmarks/validation/realism/test_realism_documentation.py -->"


def measure(folder: Path, chats: Path, customers: int = CUSTOMERS) -> None:
    """Measure each customer with and without chats beside, in a folder each."""
    check_new_folder(folder)
    with tempfile.TemporaryDirectory() as place:
        log = Path(place) / f"{chats.stem}.jsonl"
        write_log(log, import_log(chats).episodes)
        for customer in SUBJECTS:
            for ending, reference in (("", None), (BESIDE, log)):
                request = Request(customer, {}, customers, SEED, reference)
                run(request, folder / f"{customer}{ending}", console(), console(error=True))


def page(folder: Path) -> list[str]:
    """Return what the documentation shows of all that is stored in a folder, a line each."""
    runs = {path.parent.name: read(path.parent) for path in sorted(folder.glob("*/manifest.json"))}
    alone = {name: m.sections for name, (_, _, m) in runs.items() if not name.endswith(BESIDE)}
    sections = dict.fromkeys(s.name for sections in alone.values() for s in sections)
    blocks = [
        [f"- {name}: {concluded}" for name, (_, concluded, _) in runs.items()],
        *(overview(alone, name) for name in sections),
        *(comparison(name, m.sections) for name, (_, _, m) in runs.items() if name not in alone),
    ]
    return [line for block in blocks for line in (*block, _HELD, "")]


def register_lines(folder: Path) -> list[str]:
    """Return the lines of the register of what is stored in a folder."""
    lines = []
    for path in sorted(folder.glob("*/manifest.json")):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        beside = " beside a small imported log" if path.parent.name.endswith(BESIDE) else ""
        row = {
            "run": f"realism/{path.parent.name}",
            "customers": "training",
            "seed": manifest["run"]["seed"],
            "number": manifest["run"]["customers"],
            "looked_at": manifest["finished"][:10],
            "purpose": "reference",
            "why": f"realism of {manifest['run']['customer']}{beside}, who judges no learner",
        }
        lines.append(json.dumps(row))
    return lines


def main(
    folder: Annotated[Path, typer.Argument(help="New folder.")],
    chats: Annotated[Path, typer.Option(help="Chats, as convgym logs import reads them.")],
    customers: Annotated[int, typer.Option(help="Whom each seller meets.")] = CUSTOMERS,
) -> None:
    """Measure the realism of both scripted customers, and print what the documentation shows."""
    measure(folder, chats, customers)
    show("", *page(folder), *register_lines(folder))
