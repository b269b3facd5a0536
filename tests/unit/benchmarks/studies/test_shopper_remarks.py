"""Each of the twenty conversations has remarks, and what they quote was said in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from convgym.benchmarks.studies.shopper_remarks import Sign, reading, remarks_on, table
from convgym.benchmarks.studies.shopper_transcripts import CONVERSATIONS, SELLERS

PAGE = (Path(__file__).parents[4] / "docs" / "shopper_transcripts.md").read_text(encoding="utf-8")
SAID = {
    int(number): text
    for number, text in re.findall(r"^## (\d+)\..*?```text\n(.*?)```", PAGE, flags=re.M | re.S)
}
NUMBERS = range(1, CONVERSATIONS + 1)


def by(speaker: str, text: str) -> str:
    return "\n".join(line for line in text.splitlines() if line.startswith(f"{speaker}: "))


def unsaid(remark: str, text: str) -> list[str]:
    """Return what a remark has in backticks and the text has not."""
    return [words for words in re.findall(r"`([^`]+)`", remark) if words not in text]


def elsewhere(sign: Sign) -> dict[str, list[int]]:
    """Return the words of a sign that customers say in other conversations too, and where."""
    found = {
        words: [
            number
            for number, text in SAID.items()
            if number not in sign.where and words in by("Customer", text)
        ]
        for words in sign.where.values()
    }
    return {words: numbers for words, numbers in found.items() if numbers}


def test_every_conversation_has_remarks_and_no_other() -> None:
    assert set(SAID) == set(reading().remarks) == set(NUMBERS)


@pytest.mark.parametrize("number", NUMBERS)
def test_what_remarks_quote_was_said(number: int) -> None:
    remark = reading().remarks[number]
    assert not unsaid(remark.seller + remark.customer, SAID[number])
    assert "`" in remark.customer, "no word of the customer's is quoted"
    for text in (remark.seller, remark.customer):
        assert text.count("`") % 2 == 0
        assert len(text) < 400, "one or two lines"


@pytest.mark.parametrize("number", NUMBERS)
def test_a_remark_names_its_own_seller(number: int) -> None:
    seller = SELLERS[(number - 1) % len(SELLERS)]
    assert seller in reading().remarks[number].seller.lower()


@pytest.mark.parametrize("sign", reading().customers, ids=lambda sign: sign.sign[:30])
def test_customers_say_what_gives_them_away_there_and_nowhere_else(sign: Sign) -> None:
    assert not [n for n, words in sign.where.items() if words not in by("Customer", SAID[n])]
    assert not elsewhere(sign)


@pytest.mark.parametrize("sign", reading().sellers, ids=lambda sign: sign.sign[:30])
def test_sellers_say_what_gives_them_away(sign: Sign) -> None:
    assert not [n for n, words in sign.where.items() if words not in by("Seller", SAID[n])]


def test_two_moves_in_one_message_are_all_counted() -> None:
    (sign,) = (sign for sign in reading().sellers if "two moves" in sign.sign)
    assert set(sign.where) == {
        number for number in NUMBERS if re.search(r"[.?] \w", by("Seller", SAID[number]))
    }


def test_what_was_not_said_is_found() -> None:
    assert unsaid("`Hmpf.` and `Bless you.`", SAID[1]) == ["Bless you."]
    assert elsewhere(Sign(sign="sighs", where={1: "Hmpf."})) == {"Hmpf.": [3]}


def test_remarks_stand_below_their_conversation() -> None:
    for number in NUMBERS:
        assert f"{SAID[number]}```\n\n{remarks_on(number)}" in PAGE


def test_signs_are_counted_commonest_first() -> None:
    rare, common = Sign(sign="rare", where={2: "a"}), Sign(sign="common", where={1: "b", 3: "c"})
    assert table([rare, common], 4).splitlines()[2:] == [
        "| common | 2 of 4 | 1, 3 | `b` |",
        "| rare | 1 of 4 | 2 | `a` |",
    ]
