"""Prompts of a log: nothing is overwritten, and nothing is written of nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from convgym.conversation import Episode, Response, Turn
from convgym.errors import ConvgymError
from convgym.exchange.prompts import write_prompts

pytest.importorskip("pyarrow")
EPISODE = Episode(3, "Hi", (Turn(Response("What for?"), "Games"),), "purchase", "c", "p")


def test_what_is_there_stays(tmp_path: Path) -> None:
    target = tmp_path / "prompts.parquet"
    assert write_prompts([EPISODE], target) == 1
    before = target.read_bytes()
    with pytest.raises(ConvgymError, match="never overwritten"):
        write_prompts([EPISODE, EPISODE], target)
    assert target.read_bytes() == before and [*tmp_path.iterdir()] == [target]


def test_no_turn_is_no_prompt(tmp_path: Path) -> None:
    target = tmp_path / "prompts.parquet"
    for episodes in ([], [Episode(3, "Hi", (), "walk_away", "c", "p")]):
        with pytest.raises(ConvgymError, match="no turn of a seller"):
            write_prompts(episodes, target)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("name", ["x.csv", "x.jsonl", "x", ".parquet", "parquet", "x.parquet.gz"])
def test_parquet_goes_into_no_file_of_another_ending(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConvgymError, match=r"does not end in \.parquet: call it .*\.parquet$"):
        write_prompts([EPISODE], tmp_path / name)
    assert not [*tmp_path.iterdir()]
    assert write_prompts([EPISODE], tmp_path / "X.PARQUET") == 1
