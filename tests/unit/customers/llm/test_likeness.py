"""Two wordings of a line: what passes as the same, and what never may."""

from __future__ import annotations

from itertools import permutations

import pytest

from convgym.customers.llm.likeness import Likeness, likeness, written_out
from convgym.customers.scripted.wording import EVASIONS, PHRASES
from convgym.shop.catalog import catalog_names, load_catalog

SLOTS = {
    "item": "laptop",
    "product": "Kestrel",
    "need": "gaming",
    "feature": "a big screen",
    "budget": "$900",
    "again": "It is for gaming.",
}
LINES = {
    kind: [phrase.format(**SLOTS) for phrase in phrases]
    for kind, phrases in {**PHRASES, **EVASIONS}.items()
}
ENDING = {"buy": "accept", "leave": "leave", "leave_annoyed": "leave"}


@pytest.fixture(scope="module")
def shop() -> Likeness:
    return likeness(load_catalog("laptops"))


@pytest.mark.parametrize(
    ("template", "wording"),
    [
        ("I can spend about $900.", "Roughly $900 is what I have."),
        ("I can spend about $900.", "I've got around $900 to spend on this."),
        ("Mostly for gaming.", "It'd be mainly for playing games."),
        ("What matters most to me is a big screen.", "Honestly, a large display is key for me."),
        ("That sounds like what I need.", "Perfect, just what I was hoping for."),
        ("The Kestrel sounds good.", "Oh, I like that one."),
        ("What if it breaks after a month?", "And if it breaks in a few weeks?"),
        ("How long until it gets here?", "How soon could I have it?"),
        ("Good, that helps.", "Okay, thanks, that's good to hear."),
        ("Yes, I will take it.", "Alright, I'm sold."),
        ("I am not sure yet.", "Hmm, I'd rather not decide yet."),
        ("Not yet, I still have a concern.", "Not yet, something still worries me."),
        ("I will look somewhere else, bye.", "I'll try another store, goodbye."),
        ("I told you already. It is for gaming.", "As I said before, it's for gaming."),
        ("Please do not rush me.", "Please don't pressure me."),
    ],
)
def test_the_same(shop: Likeness, template: str, wording: str) -> None:
    assert shop.difference(template, written_out(wording)) is None


@pytest.mark.parametrize(
    ("template", "wording", "difference"),
    [
        ("Around $900.", "", "empty"),
        ("Around $900.", "Around $900", "unchanged"),
        ("Around $900.", "Around $900. " + "And so on it goes with this. " * 5, "length"),
        ("Around $900.", 'Sure, here is the line in other words: "About $900."', "task"),
        ("Around $900.", "About $900, about $900.", "stutter"),
        ("Around $900.", "Your limit is near $900.", "person"),
        ("Around $900.", "About $950.", "numbers"),
        ("Around $900.", "I would rather tell later.", "numbers"),
        ("Around $900.", "Nine hundred.", "numbers"),
        ("Around $900.", "About $900 for gaming.", "needs"),
        ("Around $900.", "About $900 with a big screen.", "features"),
        ("Around $900.", "A cruise to Norway is worth $900.", "strange"),
        ("Mostly for gaming.", "Mostly for office work.", "needs"),
        ("I like the Kestrel.", "I like the Ember.", "products"),
        ("Hi, I am looking for a laptop.", "Hi, I am looking for something.", "item"),
        ("How long until it gets here?", "Not long until I have it.", "question"),
        ("What if it breaks after a month?", "What is your budget if it breaks?", "selling"),
        (
            "Hi, I am looking for a laptop.",
            "Welcome to our laptop shop, how can I help?",
            "selling",
        ),
        ("Good, that helps.", "That hardly helps.", "negation"),
        ("I am not sure yet.", "I am sure now.", "negation"),
        ("I am not sure yet.", "Sure, not a problem!", "accept"),
        ("Yes, I will take it.", "I like it a lot.", "accept"),
        ("That sounds like what I need.", "Great, I will take it.", "accept"),
        ("I will look somewhere else, bye.", "I will take a look around here.", "leave"),
        ("Good, that helps.", "Good, goodbye.", "leave"),
        ("What if it breaks after a month?", "How soon would it be here?", "hearing"),
        ("It looks a bit expensive to me.", "I would pay for the price.", "hearing"),
        ("You said that already.", "Tell me more of it.", "again"),
    ],
)
def test_different(shop: Likeness, template: str, wording: str, difference: str) -> None:
    assert shop.difference(template, wording) == difference


def test_other_lines_of_the_customer_are_not_mistaken_for_this_one(shop: Likeness) -> None:
    """The script's own lines as wordings of one another: few slip through, no ending ever."""
    pairs = [
        (kind, other, shop.difference(template, wording))
        for kind, other in permutations(LINES, 2)
        for template in LINES[kind]
        for wording in LINES[other][:1]
    ]
    slipped = [(kind, other) for kind, other, difference in pairs if difference is None]
    assert len(pairs) > 3000 and len(slipped) < 0.015 * len(pairs)
    assert all(ENDING.get(kind) == ENDING.get(other) for kind, other in slipped)


def test_many_phrasings_of_one_line_are_recognised(shop: Likeness) -> None:
    found = [
        shop.difference(template, wording)
        for lines in LINES.values()
        for template, wording in permutations(lines, 2)
    ]
    assert found.count(None) > 0.6 * len(found)


@pytest.mark.parametrize("name", catalog_names())
def test_endings_are_told_in_every_shop(name: str) -> None:
    shop = Likeness(load_catalog(name))
    for kind, lines in LINES.items():
        expected = {ENDING[kind]} if kind in ENDING else set()
        for line in lines:
            assert shop.acts(line) & {"accept", "leave"} == expected, line


def test_what_the_model_is_told_to_keep(shop: Likeness) -> None:
    assert shop.kept("Not more than $900 or so.") == ["Not", "$900"]
    assert shop.kept("What if it breaks? The Kestrel, for gaming.") == [
        "breaks",
        "Kestrel",
        "gaming",
    ]
    assert shop.kept("Good, that helps.") == []


def test_contractions_are_written_out() -> None:
    assert written_out("I don\u2019t know, it's what I'd say; we can't, let's go, won't you?") == (
        "I do not know, it is what I'd say; we cannot, let us go, will not you?"
    )


@pytest.mark.parametrize(
    "broken",
    [
        "\ufffd",
        "\ufffd\ufffd",
        "\ud83d",
        "\ue000",
        "\U000fffff",
        "\x07",
        "â€™",
        "Ã©",
        "Â£",
        "ðŸ\u02dc€",
    ],
)
def test_broken_letters_are_strange(shop: Likeness, broken: str) -> None:
    assert shop.difference("Good, that helps.", f"Okay, that helps {broken}") == "strange"


@pytest.mark.parametrize("whole", ["", "€", "£", "é", "’", "…", "😀", "–"])
def test_other_letters_are_not(shop: Likeness, whole: str) -> None:
    wording = f"Okay, that helps {whole}".strip()
    assert shop.difference("Good, that helps.", wording) == shop.difference(
        "Good, that helps.", "Okay, that helps"
    )
