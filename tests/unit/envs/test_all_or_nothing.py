"""A step in which a customer's own code raises has not been."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import pytest
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode

from convgym.customers import Customer, Reply
from convgym.customers.scripted.customer import ScriptedCustomer
from convgym.customers.suggested import suggested
from convgym.envs import SalesEnv, SalesVectorEnv
from convgym.errors import ConvgymError

QUESTIONS = ("What will you use it for?", "What is your budget?", "What matters most to you?")
BAD_SEED = 4


class Fragile(ScriptedCustomer):
    """Breaks where it is told to, having changed already."""

    def reset(self, seed: int, profile: Any = None) -> str:
        opening = super().reset(seed, profile)
        if seed == BAD_SEED:
            raise KeyError("no such customer")
        return opening

    def respond(self, utterance: str) -> Reply:
        reply = super().respond(utterance)
        if utterance == "crash":
            raise ZeroDivisionError("my own mistake")
        if utterance == "interrupt":
            raise KeyboardInterrupt
        if utterance == "nonsense":
            return "I am no reply"  # type: ignore[return-value]
        if utterance == "wordless":
            return Reply(None)  # type: ignore[arg-type]
        return reply


KINDS: dict[str, Callable[..., Customer]] = {
    "alone": Fragile,
    "behind a business": lambda: suggested(Fragile, business={"verbatim": 1.0, "edited": 0.0,
        "influenced": 0.0, "ignored": 0.0}),
}  # fmt: skip
BREAKS = {
    "crash": ZeroDivisionError,
    "interrupt": KeyboardInterrupt,
    "nonsense": ConvgymError,
    "wordless": ConvgymError,
}


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(("words", "error"), BREAKS.items())
@pytest.mark.parametrize("customer", KINDS.values(), ids=KINDS.keys())
def test_a_vector_goes_on_as_if_the_step_had_not_been(
    customer: Callable[..., Customer], words: str, error: type[BaseException], place: int
) -> None:
    envs, untouched = (SalesVectorEnv(3, customer=customer, reveal_latent=True) for _ in "ab")
    for each in (envs, untouched):
        each.reset(seed=1)
        each.step(QUESTIONS)
    before = [dialogue.text for dialogue in envs.dialogues]
    live = [dialogue.messages for dialogue in envs.dialogues]
    said = list(QUESTIONS[::-1])
    said[place] = words
    for _ in range(2):
        with pytest.raises(error):
            envs.step(said)
        assert [dialogue.text for dialogue in envs.dialogues] == before
        assert all(d.messages is held for d, held in zip(envs.dialogues, live, strict=True))
    for _ in range(6):
        assert data_equivalence(envs.step(QUESTIONS), untouched.step(QUESTIONS), exact=True)


@pytest.mark.parametrize("words", ["crash", "interrupt", "nonsense", "wordless"])
def test_so_does_a_single_environment(words: str) -> None:
    env, untouched = (SalesEnv(customer=Fragile, reveal_latent=True) for _ in "ab")
    assert data_equivalence(env.reset(seed=1), untouched.reset(seed=1), exact=True)
    with pytest.raises(BREAKS[words]):
        env.step(words)
    for question in QUESTIONS:
        assert data_equivalence(env.step(question), untouched.step(question), exact=True)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_a_customer_that_cannot_come_in(mode: AutoresetMode, monkeypatch: Any) -> None:
    envs, untouched = (
        SalesVectorEnv(2, customer=Fragile, max_turns=2, autoreset_mode=mode) for _ in "ab"
    )
    for each in (envs, untouched):
        each.reset(seed=1)
        each.step(QUESTIONS[:2])
        if mode is AutoresetMode.NEXT_STEP:
            each.step(QUESTIONS[:2])
    with monkeypatch.context() as patch:
        patch.setattr(
            "convgym.envs.vector.draw_episode_seed", lambda rng: BAD_SEED * bool(rng.random())
        )
        with pytest.raises(KeyError, match="no such customer"):
            envs.step(QUESTIONS[1:])
    for _ in range(5):
        assert data_equivalence(envs.step(QUESTIONS[1:]), untouched.step(QUESTIONS[1:]), exact=True)


def test_a_reset_that_fails_leaves_the_conversations() -> None:
    envs = SalesVectorEnv(2, customer=Fragile)
    with pytest.raises(KeyError):
        envs.reset(options={"episode_seed": [1, BAD_SEED]})
    texts, _ = envs.reset(seed=1)
    with pytest.raises(KeyError):
        envs.reset(options={"episode_seed": [1, BAD_SEED]})
    assert tuple(dialogue.text for dialogue in envs.dialogues) == texts
    envs.step(QUESTIONS[:2])


def test_customers_that_cannot_be_put_back_have_moved_as_a_whole(
    puppet: Callable[[], Customer],
) -> None:
    kind: Any = puppet

    class Fuse(kind):  # type: ignore[misc]
        def respond(self, utterance: str) -> Reply:
            if utterance == "crash":
                raise ZeroDivisionError
            reply: Reply = super().respond(utterance)
            return reply

    envs = SalesVectorEnv(3, customer=Fuse, reveal_latent=True)
    envs.reset(seed=1)
    with pytest.raises(ZeroDivisionError):
        envs.step(("a", "crash", "c"))
    assert [dialogue.turn for dialogue in envs.dialogues] == [1, 0, 1]
    for dialogue in envs.dialogues:
        customer: Any = dialogue.customer
        assert len(customer.heard) == dialogue.turn  # customer and record agree
    envs.step(("a", "b", "c"))


def test_an_opening_must_be_words() -> None:
    class Mute(Fragile):
        def reset(self, seed: int, profile: Any = None) -> str:
            return 3  # type: ignore[return-value]

    for env in (SalesEnv(customer=Mute), SalesVectorEnv(2, customer=Mute)):
        with pytest.raises(ConvgymError, match="customer Mute must open with a str, got 3"):
            env.reset(seed=1)


def test_a_thousand_fractions_are_a_price_that_is_false() -> None:
    envs = gymnasium.make_vec("convgym/Sales-v0", num_envs=2)
    envs.reset(seed=0)
    texts, *_ = envs.step(("Hello.", "I recommend the Kestrel for " + "\u00bd" * 1980))
    assert all(text.count("\n") == 2 for text in texts)
