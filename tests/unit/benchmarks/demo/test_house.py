"""What visitors do, and what they are told when it does not work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convgym.benchmarks.demo.cast import Cast
from convgym.benchmarks.demo.house import House, Refusal, View, another_seed, read_seed
from convgym.benchmarks.talks.advice import Adviser
from convgym.benchmarks.talks.scene import Scene
from convgym.errors import InfrastructureError
from convgym.policy import Conversation
from convgym.rollout import rollout
from convgym.sellers import make_seller


class ByLength:
    """A judge by the length of what is said, in a conversation that ends with a customer."""

    def values(self, conversation: Conversation, utterances: Sequence[str]) -> list[float]:
        assert conversation.messages[-1]["role"] == "user" and conversation.latent is None
        return [len(utterance) / 100 for utterance in utterances]


def house(judge: ByLength | None = None, **environment: Any) -> House:
    scene = Scene(environment)
    return House(scene, Cast(scene, {}), Adviser(judge))


def last(views: Any) -> Any:
    *_, view = views
    return view


def test_a_visitor_sells_and_learns_all() -> None:
    shop = house(ByLength())
    visit = shop.meet(4.0)
    view = shop.show(visit)
    assert (view.turn, view.seed, view.outcome, view.facts) == (0, 4, None, ())
    while view.outcome is None:
        (words,) = (o.words for o in shop.advise(visit, "") if o.who == "competent")
        pending, view = shop.say(visit, f"  {words} ")
        assert pending.waits_for == "customer" and pending.messages[-1]["content"] == words
    assert [value and round(100 * value) for value in view.values] == [
        len(message["content"]) for message in view.messages if message["role"] == "assistant"
    ]
    assert view.outcome == "purchase" and view.facts[0][1].startswith("the customer bought")
    assert dict(view.facts)["you heard of"] == "need, feature, budget"
    for act in (lambda: last(shop.say(visit, "Thanks.")), lambda: shop.advise(visit, "")):
        with pytest.raises(Refusal, match="is over: meet another customer"):
            act()


def test_advice_has_your_words_first_and_changes_nothing() -> None:
    shop, other = house(ByLength()), house()
    visits = shop.meet(9), other.meet(9)
    you, competent = shop.advise(visits[0], "Hello there.")
    assert (you.who, you.q, competent.who) == ("you", 0.12, "competent")
    assert shop.advise(visits[0], "Hello there.") == [you, competent]
    assert [o.q for o in other.advise(visits[1], "Hello there.")] == [None, None]
    said = [
        last(h.say(v, "Your budget?")).messages for h, v in zip((shop, other), visits, strict=True)
    ]
    assert said[0] == said[1]


@pytest.mark.parametrize("customer", ["scripted", "shopper"])
def test_two_sellers_meet_the_same_customer_as_a_chat_would(customer: str) -> None:
    shop = house(ByLength(), customer=customer)
    first, second = last(shop.watch(("mediocre", "oracle"), 3))
    assert first.messages[0] == second.messages[0] and first.seller == "mediocre"
    law = {"law": "v1"} if customer == "shopper" else {}
    for view, reveal in ((first, False), (second, True)):
        environment = {"customer": customer, "reveal_latent": reveal}
        seller = make_seller(view.seller, **law)
        (episode,) = rollout(seller, [3], policy_seed=3, environment=environment)
        assert [*view.messages] == episode.messages() and view.outcome == episode.outcome
        assert len(view.values) == view.turn == len(episode.turns)
        assert "the seller heard of" in dict(view.facts)


@given(st.integers(0, 2**53 - 1))
def test_seeds_as_browsers_write_them(seed: int) -> None:
    assert read_seed(seed) == read_seed(float(seed)) == seed


@pytest.mark.parametrize("given", [None, "4", -1, 1.5, float("nan"), 1e300, 2**53, True, [4]])
def test_what_is_no_seed(given: object) -> None:
    for act in (house().meet, lambda seed: last(house().watch(("random", "oracle"), seed))):
        with pytest.raises(Refusal, match="A seed is a whole number from 0 to"):
            act(given)


def test_seeds_that_are_drawn_meet_no_customer_of_an_evaluation() -> None:
    drawn = {another_seed() for _ in range(20)}
    assert len(drawn) == 20 and max(drawn) < 2**31


@pytest.mark.parametrize("words", ["", "   ", None, 7, ["Hello."]])
def test_nothing_is_said(words: Any) -> None:
    shop = house()
    with pytest.raises(Refusal, match="Write what you want to say"):
        last(shop.say(shop.meet(1), words))


def test_too_much_is_said_and_nobody_is_there() -> None:
    shop = house()
    with pytest.raises(Refusal, match=r"2,001 characters long, and customers listen to 2,000"):
        last(shop.say(shop.meet(1), "x" * 2001))
    for act in (lambda: last(shop.say(None, "Hi.")), lambda: shop.advise(None, "")):
        with pytest.raises(Refusal, match="meet a customer first"):
            act()
    with pytest.raises(Refusal, match="Choose two sellers"):
        last(shop.watch(("competent", "os:system"), 1))


def test_a_slow_customer_keeps_nobody_else_waiting(puppet: Callable[[], Any]) -> None:
    slow, release = threading.Event(), threading.Event()

    parent: Any = puppet

    class Slow(parent):  # type: ignore[misc]
        def respond(self, utterance: str) -> Any:
            if utterance == "slow":
                slow.set()
                assert release.wait(20)
            return super().respond(utterance)

    shop = house(customer=Slow)
    first, second = shop.meet(1), shop.meet(2)
    answers: list[View] = []
    thread = threading.Thread(target=lambda: answers.extend(shop.say(first, "slow")))
    thread.start()
    assert slow.wait(20)
    with pytest.raises(Refusal, match="has not answered yet"):
        last(shop.say(first, "Hello?"))
    began = time.monotonic()
    assert "heard 1" in last(shop.say(second, "Hi.")).messages[-1]["content"]
    assert time.monotonic() - began < 10 and thread.is_alive()
    release.set()
    thread.join()
    assert (
        answers[-1].turn == 1 and "heard 2" in last(shop.say(first, "Hi.")).messages[-1]["content"]
    )


def test_failures_are_told_and_end_it(puppet: Callable[[], Any]) -> None:
    shop = house(customer=puppet)
    with pytest.raises(InfrastructureError, match="the customer failed: no connection"):
        shop.meet(13)
    visit = shop.meet(1)
    with pytest.raises(InfrastructureError, match="the customer failed: connection lost"):
        last(shop.say(visit, "fail"))
    view = shop.show(visit)
    assert view.outcome == "infrastructure_failure" and view.turn == len(view.values) - 1 == 0
    visit.close()
    assert last(shop.say(shop.meet(1), "buy")).facts[1:]  # its state as it stands
