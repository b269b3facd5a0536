"""The study of both scripted customers: folders, tables and lines of the register."""

from __future__ import annotations

import json
from pathlib import Path

from convgym.benchmarks.studies import realism

CHATS = Path(__file__).parents[4] / "examples" / "imported_logs" / "shop_chats.csv"


def test_what_is_stored_and_printed(tmp_path: Path) -> None:
    folder = tmp_path / "realism"
    realism.measure(folder, CHATS, customers=3)
    names = ["scripted", "scripted-beside-chats", "shopper", "shopper-beside-chats"]
    assert sorted(path.name for path in folder.iterdir()) == names
    page = realism.page(folder)
    assert "| stages | scripted | shopper |" in page
    assert any(line.startswith("| shopper-beside-chats |") for line in page)
    assert page[0].startswith("- scripted: ")
    lines = [json.loads(line) for line in realism.register_lines(folder)]
    assert [line["run"] for line in lines] == [f"realism/{name}" for name in names]
    assert {(line["customers"], line["number"]) for line in lines} == {("training", 3)}
