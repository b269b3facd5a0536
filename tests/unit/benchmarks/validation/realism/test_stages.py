"""The instrument reads both scripted customers' lines as they are meant, and any text at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convgym.benchmarks.validation.realism.stages import Stage, is_read, read_only, stage_of, stages
from convgym.conversation import Episode, Response, Turn
from convgym.customers.scripted.wording import EVASIONS, PHRASES
from convgym.shop.grammar import grammar

LEAVES, RESISTS, OPEN, DELIBERATES, COMMITS = Stage

MEANT: dict[tuple[Stage, ...], str] = {
    (LEAVES,): "voided leave leave_annoyed",
    (RESISTS,): "told_before bad_offer too_expensive objection_price reason_price reason_rival"
    " not_asked wrong_answer refuse_objection refuse_unsuitable refuse_unsure refuse_again"
    " repeated false_claim not_allowed pushy just_looking",
    (OPEN,): "need feature budget silence garbled courtesy evade_tangent evade_silence",
    (DELIBERATES,): "ask_spec ask_delivery ask_compare good_offer switch haggle discount_good"
    " resolved",
    (COMMITS,): "buy",
    (OPEN, RESISTS): "nothing_shown stuffed too_long wrong_shop irrelevant real_limit",
    (OPEN, DELIBERATES): "no_concern answered answered_no",
    (RESISTS, DELIBERATES): "unanswered doubtful_offer prefer discount_small discount_unasked"
    " objection_warranty objection_reviews reason_warranty reason_reviews refuse_question vague",
    (OPEN, RESISTS, DELIBERATES): "no_reason objection_delivery reason_delivery reason_partner",
}
"""What the meanings of both wordings do; a reason that is put as a question may do either."""

STAGES = {meaning: set(allowed) for allowed, names in MEANT.items() for meaning in names.split()}
SLOTS = {
    **{"item": "laptop", "a_item": "a laptop", "items": "laptops", "product": "Kestrel"},
    **{"other": "Amber", "price": "$900", "offer": "$850", "limit": "$900", "low": "$700"},
    **{"high": "$900", "budget": "$900", "need": "gaming", "feature": "a long battery life"},
    **{"wish": "a big screen", "again": "For gaming."},
}


def share_read(lines: dict[str, list[str]]) -> float:
    """Return the share of lines read as they are meant, every meaning counting alike."""
    shares = [
        sum(stage_of(text.format(**SLOTS)) in STAGES[meaning] for text in texts) / len(texts)
        for meaning, texts in lines.items()
        if meaning in STAGES
    ]
    assert len(shares) > 30
    return sum(shares) / len(shares)


def test_nine_of_ten_lines_of_both_customers_are_read_as_they_are_meant() -> None:
    spoken = grammar("shopper", False)
    assert share_read({meaning: spoken.ways(meaning) for meaning in spoken.meanings}) > 0.9
    assert share_read({m: list(texts) for m, texts in {**PHRASES, **EVASIONS}.items()}) > 0.9


@pytest.mark.parametrize(
    ("text", "stage"),
    [
        ("Yes please, I'll order it now.", COMMITS),
        ("yes!!", COMMITS),
        ("ok take my money 😂", COMMITS),
        ("ok bye", LEAVES),
        ("Never mind, I will look elsewhere.", LEAVES),
        ("too expensive sorry", RESISTS),
        ("No, that sounds good but I will take it another time.", RESISTS),
        ("ok maybe later", RESISTS),
        ("I don’t need that one.", RESISTS),
        ("Does it come with a warranty?", DELIBERATES),
        ("Hm, I'll think about it", DELIBERATES),
        ("Trails mostly, some commuting.", OPEN),
        ("", OPEN),
    ],
)
def test_people_are_read_as_well(text: str, stage: Stage) -> None:
    assert stage_of(text) is stage


@given(st.text(max_size=300))
def test_any_text_has_a_stage(text: str) -> None:
    assert stage_of(text) in Stage


def episode(opening: str, *said: tuple[str, str]) -> Episode:
    turns = tuple(Turn(Response(seller), customer) for seller, customer in said)
    return Episode(1, opening, turns, "walk_away", "people", "people")


def test_other_languages_are_not_read() -> None:
    english = episode("Do you ship to Iceland?", ("I am afraid we do not.", "ok bye"))
    german = episode("Gibts Studentenrabatt?", ("Leider nein.", "Dann lieber woanders"))
    assert read_only([english, german, episode("")]) == [english]
    assert is_read(english) and not is_read(german)


def test_silence_is_no_reply() -> None:
    assert stages(episode("Hi", ("Hello.", " "), ("Are you there?", "bye"))) == [LEAVES]
