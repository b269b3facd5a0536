from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gymnasium.error import ResetNeeded

from convgym.conversation import MAX_UTTERANCE_CHARS, render
from convgym.customers import Customer, Decision, Reply
from convgym.envs.dialogue import (
    Dialogue,
    draw_episode_seed,
    reset_together,
    step_together,
)
from convgym.errors import ConvgymError
from convgym.seeds import EVALUATION_BASE


@pytest.fixture
def dialogue(puppet: Callable[[], Customer]) -> Dialogue:
    return Dialogue(puppet(), max_turns=3)


def test_the_text_is_the_messages_rendered(dialogue: Dialogue) -> None:
    dialogue.reset(7)
    assert dialogue.text == "Customer: hello from 7"
    dialogue.step("one")
    assert dialogue.text.splitlines()[1:] == ["Seller: one", "Customer: customer 7 heard 1: one"]
    dialogue.step("two")
    assert dialogue.text == render(dialogue.messages)
    assert [message["role"] for message in dialogue.messages] == [
        "user",
        *["assistant", "user"] * 2,
    ]


@pytest.mark.parametrize(
    ("actions", "outcome", "terminated", "truncated", "reward"),
    [
        (["a"], None, False, False, 0.0),
        (["buy"], "purchase", True, False, 1.0),
        (["a", "leave"], "walk_away", True, False, 0.0),
        (["a", "b", "c"], "turn_limit", False, True, 0.0),
        (["a", "b", "buy"], "purchase", True, False, 1.0),
        (["a", "b", "leave"], "walk_away", True, False, 0.0),
        (["a", "fail"], "infrastructure_failure", False, True, 0.0),
    ],
)
def test_endings(
    dialogue: Dialogue,
    actions: list[str],
    outcome: str | None,
    terminated: bool,
    truncated: bool,
    reward: float,
) -> None:
    dialogue.reset(0)
    for action in actions:
        dialogue.step(action)
    assert dialogue.outcome == outcome
    assert (dialogue.terminated, dialogue.truncated) == (terminated, truncated)
    assert dialogue.reward == reward
    assert dialogue.info().get("outcome") == outcome
    if outcome is not None:
        with pytest.raises(ResetNeeded):
            dialogue.step("more")


def test_a_failed_turn_is_not_part_of_the_conversation(dialogue: Dialogue) -> None:
    dialogue.reset(0)
    dialogue.step("one")
    before = dialogue.text, dialogue.turn, list(dialogue.messages)
    dialogue.step("fail")
    assert (dialogue.text, dialogue.turn, dialogue.messages) == before
    assert dialogue.info()["failure"] == "connection lost"


def test_a_customer_that_fails_before_its_first_word(dialogue: Dialogue) -> None:
    dialogue.reset(13)
    assert dialogue.outcome is None
    assert dialogue.text == "Customer: "
    assert dialogue.info()["failure"] == "no connection"
    dialogue.step("hello?")
    assert dialogue.outcome == "infrastructure_failure"
    assert dialogue.turn == 0
    dialogue.reset(1)
    assert "failure" not in dialogue.info()


def test_needs_a_reset_first(dialogue: Dialogue) -> None:
    with pytest.raises(ResetNeeded, match="reset"):
        dialogue.step("hello")


def test_the_customer_hears_clean_text(dialogue: Dialogue) -> None:
    dialogue.reset(0)
    dialogue.step("  two\nlines\x1b[31m\x00 ")
    assert dialogue.messages[1]["content"] == "two lines[31m"
    dialogue.step("x" * 10**6)
    assert dialogue.messages[3]["content"] == "x" * MAX_UTTERANCE_CHARS
    assert dialogue.customer.latent["heard"]["last"] == "x" * MAX_UTTERANCE_CHARS


@pytest.mark.parametrize("action", [None, 3, b"buy", ["buy"]])
def test_an_action_that_is_no_text(dialogue: Dialogue, action: Any) -> None:
    dialogue.reset(0)
    with pytest.raises(ConvgymError, match=f"must be a str.*{type(action).__name__}"):
        dialogue.step(action)
    dialogue.step("buy")  # no harm done
    assert dialogue.reward == 1


@pytest.mark.parametrize("seed", [-1, 1.0, "1", True, None])
def test_bad_seeds(dialogue: Dialogue, seed: Any) -> None:
    with pytest.raises(ConvgymError, match="integer from 0 upwards, got"):
        dialogue.reset(seed)


def test_numpy_seeds_are_integers(dialogue: Dialogue) -> None:
    dialogue.reset(np.uint32(5))  # type: ignore[arg-type]
    assert dialogue.seed == 5
    assert type(dialogue.seed) is int


def test_info_is_the_callers_own(dialogue: Dialogue) -> None:
    dialogue.reset(0)
    info = dialogue.info(reveal_latent=True)
    info["messages"][0]["content"] = "changed"
    info["messages"].clear()
    assert dialogue.info()["messages"] == [{"role": "user", "content": "hello from 0"}]
    assert info["latent"] == {"seed": 0, "heard": {"last": None}}
    assert "latent" not in dialogue.info()
    assert "briefing" not in dialogue.info()
    assert dialogue.opening_info()["briefing"] == "We sell strings."


def test_a_customer_without_briefing(puppet: Callable[[], Customer]) -> None:
    class Plain:
        fingerprint = "plain"
        latent: dict[str, Any] = {}  # noqa: RUF012

        def reset(self, seed: int) -> str:
            return "hi"

        def respond(self, utterance: str) -> Reply:
            return Reply("ok", "maybe")  # type: ignore[arg-type]

    dialogue = Dialogue(Plain(), 3)
    dialogue.reset(0)
    assert dialogue.opening_info()["briefing"] == ""
    dialogue.close()  # nothing to close
    with pytest.raises(ConvgymError, match=r"Plain must respond with a Reply.*'maybe'"):
        dialogue.step("x")


def test_drawn_seeds_are_training_seeds() -> None:
    generator = np.random.default_rng(0)
    seeds = [draw_episode_seed(generator) for _ in range(1000)]
    assert 0 <= min(seeds) < max(seeds) < EVALUATION_BASE
    assert len(set(seeds)) == 1000


def test_a_sellers_thoughts_are_not_heard(dialogue: Dialogue) -> None:
    dialogue.reset(7)
    dialogue.step("<think>" + "A long thought. " * 500 + "buy</think>one")
    assert dialogue.text.splitlines()[1:] == ["Seller: one", "Customer: customer 7 heard 1: one"]
    dialogue.step("shall I say that? leave</think>\ntwo")
    assert dialogue.messages[-2]["content"] == "two"
    dialogue.step("<think>I never come to the point")
    assert dialogue.messages[-2]["content"] == ""
    assert dialogue.outcome == "turn_limit"


class Odd:
    """Answers with whatever it was made with."""

    fingerprint = "odd"
    latent: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, reply: Any = None, opening: Any = "Hi.") -> None:
        self.reply, self.opening = reply, opening

    def reset(self, seed: int) -> Any:
        return self.opening() if callable(self.opening) else self.opening

    def respond(self, utterance: str) -> Any:
        return self.reply() if callable(self.reply) else self.reply


async def no_answer() -> Reply:
    return Reply("Hm.", Decision.BUY)


@pytest.mark.parametrize(
    ("reply", "hint"),
    [
        (
            None,
            r"got None: a branch of respond has no return \(test_dialogue.py, line \d+\), .*seed 0",
        ),
        ("Hm.", r"got 'Hm.': write Reply\('Hm.'\) .*, turn 1"),
        (no_answer, "write `async def respond`"),
        (("Hm.", Decision.BUY), "got"),
        (Reply("Hm.", ["buy"]), "got"),  # type: ignore[arg-type]
        (Reply("Hm.", None), "got"),  # type: ignore[arg-type]
        (Reply("Hm.", {}), "got"),  # type: ignore[arg-type]
        (Reply(None, Decision.BUY), "got"),  # type: ignore[arg-type]
    ],
)
@pytest.mark.parametrize("together", [False, True])
def test_no_reply_is_the_customers_mistake_and_no_failure(
    reply: Any, hint: str, together: bool
) -> None:
    dialogue = Dialogue(Odd(reply), max_turns=3)
    dialogue.reset(0)
    with pytest.raises(ConvgymError, match=f"customer Odd must respond .*{hint}"):
        step_together([dialogue], ["a"]) if together else dialogue.step("a")
    assert dialogue.outcome is None


@pytest.mark.parametrize(
    ("opening", "hint"),
    [
        (lambda: None, r"reset has no return \(test_dialogue.py, line \d+\), episode seed 0$"),
        (no_answer, "write `async def reset`"),
        (5, "got 5"),
        (("Hi.", {}), "got"),
    ],
)
def test_no_opening_is_the_customers_mistake(opening: Any, hint: str) -> None:
    with pytest.raises(ConvgymError, match=f"customer Odd must open with a str, .*{hint}"):
        Dialogue(Odd(opening=opening), max_turns=3).reset(0)


@pytest.mark.parametrize("reward", ["revenue", "margin"])
@pytest.mark.parametrize("together", [False, True])
def test_a_customer_that_keeps_no_books_is_refused_at_the_start(
    puppet: Callable[[], Customer], reward: str, together: bool
) -> None:
    dialogue = Dialogue(puppet(), 3, rewards=reward)
    with pytest.raises(ConvgymError, match=f"reward='{reward}' needs a customer whose record"):
        reset_together([dialogue], [1]) if together else dialogue.reset(1)
    dialogue.rewards = "purchase"
    dialogue.reset(1)


@pytest.mark.parametrize(("price", "worth"), [(12, 12.0), (None, None), ("12", None)])
def test_a_purchase_is_worth_what_the_record_says(
    puppet: Callable[[], Customer], price: object, worth: float | None
) -> None:
    customer: Any = puppet()
    customer.record = {"price": price}
    dialogue = Dialogue(customer, 3, rewards="revenue")
    dialogue.reset(1)
    assert dialogue.reward == 0
    dialogue.step("buy")
    if worth is None:
        with pytest.raises(ConvgymError, match=f"needs the price as a number.*got {price!r}"):
            _ = dialogue.reward
    else:
        assert dialogue.reward == worth
