"""Our logs for others: nothing is overwritten, nothing half written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from convgym.conversation import Episode, Response, Turn
from convgym.errors import ConvgymError
from convgym.exchange import export_log
from convgym.exchange.formats import FORMATS, Format
from convgym.exchange.packages import load

EPISODE = Episode(
    3, "Hi", (Turn(Response("Hm?"), "a\nb"), Turn(Response("Ok"), "")), "purchase", "c", "p"
)
SILENT = Episode(4, "Hi", (), "walk_away", "c", "p")
BROKEN = Episode(5, "Hi", EPISODE.turns, "infrastructure_failure", "c", "p")


def test_openai(tmp_path: Path) -> None:
    exported = export_log([EPISODE, SILENT, BROKEN], tmp_path / "a.jsonl")
    assert (exported.format, exported.written, exported.left_out) == ("openai", 1, 2)
    assert json.loads((tmp_path / "a.jsonl").read_text()) == {
        "id": "1",
        "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hm?"},
            {"role": "user", "content": "a b"},
            {"role": "assistant", "content": "Ok"},
        ],
        "outcome": "purchase",
        "policy": "p",
    }


def test_sharegpt(tmp_path: Path) -> None:
    export_log([EPISODE], tmp_path / "a.json")
    (row,) = json.loads((tmp_path / "a.json").read_text())
    assert row["conversations"][:2] == [
        {"from": "human", "value": "Hi"},
        {"from": "gpt", "value": "Hm?"},
    ]
    export_log([EPISODE] * 2, tmp_path / "a.jsonl", "sharegpt")
    assert (tmp_path / "a.jsonl").read_text().count("\n") == 2


def test_csv(tmp_path: Path) -> None:
    export_log([EPISODE], tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text().splitlines()[:2] == [
        "conversation_id,order,speaker,text,outcome",
        "1,1,customer,Hi,purchase",
    ]


def test_ids_differ(tmp_path: Path) -> None:
    named = Episode(**{**vars(EPISODE), "metadata": {"original_id": "2"}})
    export_log([EPISODE, named, named, EPISODE, EPISODE], tmp_path / "a.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == ["1", "2", "2#2", "4", "5"]


@pytest.mark.parametrize(
    ("target", "format", "message"),
    [
        ("there.csv", None, "exists and is never overwritten"),
        ("full", "datasets", "exists and is never overwritten"),
        ("nowhere/a.csv", None, "cannot write to"),
        ("a", None, "which format shall .* Name it by --format: openai, sharegpt, csv"),
        ("a", "xml", "unknown format 'xml'"),
        ("a", "jsonl", "jsonl is only read"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path, target: str, format: str | None, message: str
) -> None:
    (tmp_path / "there.csv").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_text("mine")
    with pytest.raises(ConvgymError, match=message):
        export_log([EPISODE], tmp_path / target, format)
    assert {path.name for path in tmp_path.iterdir()} == {"there.csv", "full"}
    assert (tmp_path / "there.csv").read_text() == (tmp_path / "full/file").read_text() == "mine"


def test_nothing_to_write(tmp_path: Path) -> None:
    with pytest.raises(ConvgymError, match="no whole conversation"):
        export_log([BROKEN, SILENT], tmp_path / "a.csv")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("is_folder", [True, False])
def test_what_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_folder: bool
) -> None:
    def write(conversations: object, path: Path) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    broken: dict[str, Any] = {**FORMATS, "csv": Format("", FORMATS["csv"].read, write, is_folder)}
    monkeypatch.setattr("convgym.exchange.formats.FORMATS", broken)
    with pytest.raises(ConvgymError, match=r"cannot write .*a.csv: No space left on device"):
        export_log([EPISODE], tmp_path / "a.csv")
    assert not [*tmp_path.iterdir()]


def test_a_package_that_is_missing_is_named() -> None:
    with pytest.raises(ConvgymError, match=r"needs no_such_thing.*pip install .*\[logs\]'"):
        load("no_such_thing.at_all", "reading this")


@pytest.mark.parametrize(
    ("name", "format"),
    [("a.csv", "openai"), ("a.parquet", "csv"), ("a.jsonl", "csv"), ("a.CSV", "datasets")],
)
def test_a_file_is_what_its_ending_says(tmp_path: Path, name: str, format: str) -> None:
    with pytest.raises(ConvgymError, match=f"by its ending, and not for {format}: give it another"):
        export_log([EPISODE], tmp_path / name, format)
    assert not [*tmp_path.iterdir()]
