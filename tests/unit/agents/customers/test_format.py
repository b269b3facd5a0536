"""How a customer's conversations become tokens."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from convgym.agents.customers.format import (
    CONTEXT,
    DECIDED,
    LABEL_TOKENS,
    LONGEST_HEARD,
    SAID_BY_CUSTOMER,
    SAID_BY_SELLER,
    TraitFormat,
    traits,
)
from convgym.agents.customers.voice import voice
from convgym.agents.pretrain import build_tokenizer
from convgym.conversation import Episode, Response, Turn
from convgym.customers.base import Decision, Reply
from convgym.customers.scripted.customer import ScriptedCustomer
from convgym.errors import ConvgymError
from convgym.shop.catalog import load_catalog

LAPTOPS = load_catalog("laptops")
LABEL = "<|label need|><|label other-feature|><|share 1.1|>"
"""Of the Kestrel, for who studies, wants a large display and has $950."""


@pytest.fixture(scope="module")
def format(fitted: Path) -> TraitFormat:
    format = voice(str(fitted)).format
    assert isinstance(format, TraitFormat)
    return format


def a_profile(seed: int = 3, **fixed: Any) -> dict[str, Any]:
    customer = ScriptedCustomer()
    customer.reset(seed, fixed)
    return asdict(customer.profile)


def test_traits_are_tokens_and_money_is_words() -> None:
    told = traits(
        {"need": "gaming", "budget": 950, "objections": (), "patience": 7.2, "trust": 0.449}, "$"
    )
    assert list(told) == [
        "<|need gaming|>",
        "$950",
        "<|objections none|>",
        "<|patience 7.5|>",
        "<|trust 0.4|>",
    ]
    assert list(traits({"objections": ("price", "reviews"), "patience": 7.5}, "$")) == [
        "<|objections price|>",
        "<|objections reviews|>",
        "<|patience 7.5|>",
    ]


@pytest.mark.parametrize(
    ("outcome", "decision"),
    [("purchase", "<|buy|>"), ("walk_away", "<|leave|>"), ("turn_limit", "<|go|>")],
)
def test_a_row_holds_both_sides_and_how_it_ended(
    format: TraitFormat, outcome: Any, decision: str
) -> None:
    offer = "The Kestrel is what you want."
    said = (
        Turn(Response("Budget?"), "Around $950."),
        Turn(Response(offer), "Hm."),
        Turn(Response("Shall I?"), "Well."),
    )
    episode = Episode(3, "Hi.", said, outcome, "original", "seller")
    profile = a_profile(budget=950, need="study", feature="screen")
    row = format.row(episode, profile, LAPTOPS)
    text = format.tokenizer.decode(list(row.ids))
    assert text.startswith("<|profile|><|persona ")
    assert text.endswith(
        "<|customer|><|go|> Hi.<|end|><|seller|> Budget?<|customer|><|go|> Around $950.<|end|>"
        f"<|seller|>{LABEL} {offer}<|customer|><|go|> Hm.<|end|>"
        f"<|seller|>{LABEL} Shall I?<|customer|>{decision} Well.<|end|>"
    )
    marked = list(zip(row.ids, row.kinds, strict=True))
    of = {
        kind: format.tokenizer.decode([token for token, its in marked if its == kind])
        for kind in (CONTEXT, SAID_BY_SELLER, SAID_BY_CUSTOMER, DECIDED)
    }
    assert of[SAID_BY_SELLER] == f" Budget? {offer} Shall I?"
    assert of[SAID_BY_CUSTOMER] == " Hi.<|end|> Around $950.<|end|> Hm.<|end|> Well.<|end|>"
    # That a greeting ends nothing has to be learned as well: what is not learned is drawn.
    assert of[DECIDED] == f"<|go|><|go|><|go|>{decision}"
    # A conversation is read block by block as it is learned from whole.
    first = (*format.profile(profile), *format.answer(Reply("Hi.")))
    second = format.heard("Budget?", 9.0) + format.answer(Reply("Around $950."))
    assert row.ids[: len(first + second)] == first + second


def test_what_a_seller_says_decides_nothing(format: TraitFormat) -> None:
    ids = format.heard("You <|buy|> it. <|end|> <|leave|> <|label need|>", 9.0)
    assert not set(ids) & {*format.decisions, format.end_id}
    assert not set(ids) & {*format.tokenizer.convert_tokens_to_ids(list(LABEL_TOKENS))}
    assert len(format.heard("buy " * 500, 9.0)) == LONGEST_HEARD + 2


def test_a_reply_is_read_as_it_is_written(format: TraitFormat) -> None:
    for decision in Decision:
        reply = Reply("Around $950.", decision)
        assert format.read(format.answer(reply)) == reply
    assert format.read(format.response("Hm.")) == Reply("Hm.")


def test_numbers_that_were_not_met_are_the_nearest_and_other_words_are_refused(
    format: TraitFormat,
) -> None:
    assert format.profile(a_profile(patience=99.0)) == format.profile(a_profile(patience=40.0))
    assert format.profile(a_profile(patience=99.0)) != format.profile(a_profile(patience=2.0))
    with pytest.raises(ConvgymError, match="knows no need 'gardening': leave out"):
        format.profile({**a_profile(), "need": "gardening"})


def test_a_model_of_another_kind_is_refused() -> None:
    with pytest.raises(ConvgymError, match=r"plays no customer: its tokenizer lacks <\|buy"):
        TraitFormat(build_tokenizer(["Hi."], 300), "$")
