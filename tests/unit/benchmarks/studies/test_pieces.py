"""Pieces of studies: made once, and none of another study's is taken for one."""

from __future__ import annotations

from pathlib import Path

import pytest

from convgym.benchmarks.studies.pieces import Pieces, claim_folder
from convgym.benchmarks.studies.study import Study
from convgym.errors import ConvgymError


def test_pieces_are_there_for_whoever_has_the_same_settings(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    pieces = Pieces(path, {"customers": 4, "sizes": (1, 2)})
    assert pieces.read(["a b", "starts/c"]) == {}
    assert not pieces.folder.exists()  # who only looks leaves nothing behind
    assert pieces.add("a b", {"sold": 3}) == {"sold": 3}
    pieces.add("starts/c", {"sold": 4})
    again = Pieces(path, {"customers": 4, "sizes": (1, 2)})
    assert again.read(["a b", "d", "starts/c"]) == {"a b": {"sold": 3}, "starts/c": {"sold": 4}}
    with pytest.raises(ConvgymError, match="customers 4, not 5; give another file, or delete"):
        Pieces(path, {"customers": 5, "sizes": (1, 2)}).read(["a b"])
    assert Pieces(tmp_path / "found.other", {}).read(["a b"]) == {}


@pytest.mark.parametrize("text", ["", "{cut", "[]", "{}", "\xff"])
def test_a_damaged_piece_is_named(tmp_path: Path, text: str) -> None:
    pieces = Pieces(tmp_path / "found.json", {})
    pieces.folder.mkdir()
    (pieces.folder / "a.json").write_text(text, encoding="latin-1")
    with pytest.raises(ConvgymError, match=r"a\.json is damaged: .*; delete it, and the study"):
        pieces.read(["a"])


def test_what_is_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "found.json.parts").write_text("mine")
    with pytest.raises(ConvgymError, match=r"found\.json\.parts is in the way"):
        Pieces(tmp_path / "found.json", {})
    for path in (Path(), Path(".."), tmp_path):
        with pytest.raises(ConvgymError, match="exists and is never overwritten"):
            Study(path)


@pytest.mark.parametrize("text", ["", "[]", '{"size": 2}'])
def test_a_folder_of_other_settings_is_not_gone_on_with(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "new" / "parts"
    folder.mkdir(parents=True)
    (folder / ".settings.json.part").touch()  # of another process that has just begun
    for _ in range(2):
        claim_folder(folder, {"size": 1})
    (folder / "settings.json").write_text(text)
    with pytest.raises(ConvgymError, match="give another"):
        claim_folder(folder, {"size": 1})
    (folder / "training.json").write_text("{}")
    (folder / "settings.json").unlink()  # then nothing says what it was made with
    with pytest.raises(ConvgymError, match=r"cannot read .*settings\.json.*or delete"):
        claim_folder(folder, {"size": 1})
    with pytest.raises(ConvgymError, match="cannot write to"):
        claim_folder(folder / "training.json" / "parts", {})
