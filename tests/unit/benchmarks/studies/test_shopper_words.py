"""How replies are masked and counted, and the page of transcripts."""

from __future__ import annotations

import json
from pathlib import Path

from convgym.benchmarks.studies import shopper_transcripts
from convgym.benchmarks.studies.shopper_words import measure, spread


def test_replies_are_spread_over_templates() -> None:
    replies = [
        *("Yes." for _ in range(3)),
        *(f"No, {letter}." for letter in "abcdefghijklmnopqrst"),
    ]
    replies += [f"Well, {letter}." for letter in "abcdefg"]
    told = spread(replies)
    assert (told["replies"], told["templates"]) == (30, 28)
    assert told["share"] == 0.9


def test_what_is_written(tmp_path: Path) -> None:
    measure(tmp_path / "words.json", customers=3)
    shops = json.loads((tmp_path / "words.json").read_text("utf-8"))["shops"]
    assert set(shops["laptops"]) == {"scripted", "shopper"}


def test_conversations_are_of_all_sellers_shops_and_populations() -> None:
    held = [shopper_transcripts.hold(number) for number in range(5)]
    assert {seller for seller, _, _ in held} == {*shopper_transcripts.SELLERS}
    assert len({environment["catalog"] for _, environment, _ in held}) == 4
    assert {environment["personas"] for _, environment, _ in held} == {"default", "difficult"}
