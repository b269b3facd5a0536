"""What is shown: all of it as text, and told to those who do not see it."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convgym.benchmarks.demo import markup
from convgym.benchmarks.demo.house import View
from convgym.benchmarks.talks.advice import Advice
from convgym.benchmarks.talks.scene import Scene

EVIL = "<img src=x onerror=alert(1)>\"'><script>${alert(2)}{{3}}</script>"


class Tags(HTMLParser):
    """The tags of a text, its attributes, and what stands between."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.attributes: dict[str, str | None] = {}
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.attributes.update(attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


def view(words: str = "Hello.", **given: Any) -> View:
    messages = (
        {"role": "user", "content": words},
        {"role": "assistant", "content": words},
        {"role": "user", "content": words},
    )
    return View(**{"seller": "You", "seed": 1, "turn": 1, "max_turns": 12, "messages": messages,
                   "values": (0.625,), **given})  # fmt: skip


ENDED: dict[str, Any] = {"outcome": "walk_away", "facts": (("why", "it left"), ("mood", "bad"))}


@given(st.text(max_size=40))
def test_whatever_is_said_is_text(words: str) -> None:
    plain = [
        Tags(markup.transcript(view("x", **ENDED), "x")).tags,
        Tags(markup.advice([Advice("x", "x", 0.5)], True)).tags,
    ]
    facts = (("why", words), (words, words))
    shown = [
        markup.transcript(view(words or "x", outcome="walk_away", facts=facts), words),
        markup.advice([Advice("x", words, 0.5)], True),
    ]
    assert [Tags(html).tags for html in shown] == plain


def test_markup_of_others_is_spelt_out() -> None:
    for html in (
        markup.transcript(view(EVIL, seller=EVIL, outcome="purchase", facts=((EVIL, EVIL),)), EVIL),
        markup.advice([Advice(EVIL, EVIL, 0.5)], True),
        markup.notice(EVIL),
        markup.heading(view(seller=EVIL)),
    ):
        tags = Tags(html)
        assert not {"img", "script"} & set(tags.tags) and "onerror" not in tags.attributes
        assert "alert(1)" in tags.text


def test_a_conversation_with_its_q_and_what_is_said_of_it() -> None:
    tags = Tags(markup.transcript(view(), "Your conversation"))
    assert "Q 62%" in tags.text and tags.attributes["data-news"] == "Customer: Hello."
    waiting = markup.transcript(view(waits_for="customer"), "x")
    assert 'class="cg-waits"' in waiting and 'data-news=""' in waiting
    ended = Tags(markup.transcript(view(**ENDED), "x"))
    news = "Customer: Hello. No sale: the customer left. It left."
    assert ended.attributes["data-news"] == news and "mood" in ended.text
    watched = Tags(markup.transcript(view(seller="oracle", **ENDED), "x"))
    assert watched.attributes["data-news"] == "oracle: No sale: the customer left. It left."
    assert 'data-news=""' in markup.transcript(view(seller="oracle"), "x")
    assert "Nobody is in the shop yet" in markup.transcript(None, "x")
    assert "says nothing" in markup.transcript(view(""), "x")


def test_advice_is_ranked_by_q_and_can_be_used() -> None:
    offers = [Advice("you", "Hi.", 0.2), Advice("competent", 'The "best"?', 0.9)]
    rated = markup.advice(offers, True)
    assert rated.index("competent") < rated.index("you") and "90%" in rated
    assert rated.count("<button") == 1 and 'data-words="The &quot;best&quot;?"' in rated
    plain = markup.advice([Advice("you", "Hi."), Advice("competent", "Budget?")], False)
    assert plain.index("you") < plain.index("competent") and "%" not in plain
    assert "Nobody has any advice" in markup.advice([], True)
    assert "rated by the learned Q" in markup.no_advice(True) != markup.no_advice(False)


@pytest.mark.parametrize("customer", ["scripted", "shopper"])
def test_the_shop(customer: str) -> None:
    scene = Scene({"customer": customer})
    shelf = Tags(markup.catalogue(scene))
    assert shelf.tags.count("li") == len(scene.catalog.products)
    assert ("Delivery" in shelf.text) is (customer == "shopper")
    line = Tags(markup.status(view(turn=3), scene))
    assert "Turn 3 of 12" in line.text and "a purchase, within 12 turns" in line.text
    assert "Customer 1" in line.text and "Customer" not in markup.status(None, scene)
    assert markup.notice("") == "" and Tags(markup.notice("no way")).text == "No way."
