"""What is exported and imported again is the same conversation, in every format."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convgym.conversation import Episode, Outcome, Response, Turn, clean
from convgym.errors import ConvgymError
from convgym.exchange import ImportSettings, export_log, import_log

NEEDS = {
    "openai": None,
    "sharegpt": None,
    "csv": None,
    "parquet": "pyarrow",
    "datasets": "datasets",
    "minari": "minari",
}
ENDS: list[Outcome] = ["purchase", "walk_away", "turn_limit"]
# Among them what the formats themselves are made of.
WORDS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    st.sampled_from(
        ['"', ";", ",", "a;b", '"a",', "Seller: x", "Customer: ", "{}", "null", "=1+1"]
    ),
    st.sampled_from(["🙂", "שלום", "مرحبا", "你好", "sep=;", "\t", "'"]),
)
TEXT = WORDS.map(clean).filter(bool)
EPISODES = st.lists(
    st.builds(
        Episode,
        seed=st.integers(0, 2**31 - 1),
        opening=TEXT,
        turns=st.lists(
            st.builds(Turn, st.builds(Response, TEXT), TEXT), min_size=1, max_size=3
        ).map(tuple),
        outcome=st.sampled_from(ENDS),
        customer=TEXT,
        policy=TEXT,
        metadata=st.just({}) | st.fixed_dictionaries({"original_id": TEXT}),
    ),
    min_size=1,
    max_size=3,
)


def heart(episodes: list[Episode]) -> list[tuple[list[str], str]]:
    return [([m["content"] for m in e.messages()], e.outcome) for e in episodes]


@pytest.mark.parametrize("name", NEEDS)
def test_export_and_import(name: str) -> None:
    package = NEEDS[name]
    if package:
        pytest.importorskip(package)

    @settings(max_examples=12 if package else 40)
    @given(EPISODES, st.booleans())
    def same(episodes: list[Episode], last_word: bool) -> None:
        if last_word:  # of the seller: the customer left without a reply
            turns = episodes[0].turns
            left = (*turns[:-1], Turn(turns[-1].response, ""))
            episodes = [Episode(**{**vars(episodes[0]), "turns": left}), *episodes[1:]]
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "chats"
            export_log(episodes, target, name)
            read = import_log(target, ImportSettings(format=name)).episodes
            assert heart(read) == heart(episodes)
            again = Path(folder) / "again"
            export_log(read, again, name)
            assert import_log(again, ImportSettings(format=name)).episodes == [
                Episode(**{**vars(e), "metadata": {**e.metadata, "source": "again"}}) for e in read
            ]

    same()


@settings(max_examples=100)
@given(
    st.binary(max_size=60) | st.text(max_size=60).map(str.encode),
    st.sampled_from([None, "openai", "sharegpt", "jsonl", "csv", "parquet", "minari"]),
)
def test_any_bytes_are_read_or_told_in_one_line(content: bytes, name: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chats"
        path.write_bytes(content)
        with suppress(ConvgymError):
            import_log(path, ImportSettings(format=name))
