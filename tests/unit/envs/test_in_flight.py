"""Vector environments that send and receive: the same conversations, and nobody waits."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import random
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode
from hypothesis import given, settings
from hypothesis import strategies as st

from convgym.customers import Customer, Reply
from convgym.customers.concurrently import submit
from convgym.customers.threaded import threaded
from convgym.envs import SalesEnv, SalesVectorEnv
from convgym.errors import ConvgymError
from tests.unit.conftest import BROKEN_SEED, Puppet
from tests.unit.envs.test_all_or_nothing import BAD_SEED, QUESTIONS, Fragile

NEXT_STEP, SAME_STEP, DISABLED = AutoresetMode
PATIENCE = 30.0
"""Seconds after which a customer that nobody lets speak makes the test fail."""


class Drowsy(Puppet):
    """Lets others go first, as often as its seed and the turn say; no time passes."""

    async def reset(self, seed: int) -> str:  # type: ignore[override]
        await self._doze(seed, 0)
        return super().reset(seed)

    async def respond(self, utterance: str) -> Reply:  # type: ignore[override]
        await self._doze(self.seed, len(self.heard) + 1)
        return super().respond(utterance)

    async def _doze(self, seed: int, turn: int) -> None:
        for _ in range(random.Random(f"{seed}/{turn}").choice([0, 1, 20])):
            await asyncio.sleep(0)


class Gated(Puppet):
    """Replies when its gate is open: one for each episode seed, closed by default."""

    def __init__(self, gates: dict[int, threading.Event]) -> None:
        super().__init__()
        self._gates = gates

    async def respond(self, utterance: str) -> Reply:  # type: ignore[override]
        gate = self._gates.setdefault(self.seed, threading.Event())
        for _ in range(int(PATIENCE / 0.001)):
            if gate.is_set():
                return super().respond(utterance)
            await asyncio.sleep(0.001)
        raise AssertionError("somebody waits for this customer")


def gated(n: int, open_at_first: range, **options: Any) -> tuple[SalesVectorEnv, list[Any]]:
    """Return environments after a reset with the episode seeds 0 ... n - 1, and their gates."""
    gates = {i: threading.Event() for i in range(n)}
    for i in open_at_first:
        gates[i].set()
    envs = SalesVectorEnv(n, customer=lambda: Gated(gates), **options)
    envs.reset(options={"episode_seed": range(n)})
    return envs, list(gates.values())


def alone(infos: dict[str, Any], k: int) -> dict[str, Any]:
    """Return the k-th of batched infos."""
    return {
        key: alone(value, k) if isinstance(value, dict) else value[k]
        for key, value in infos.items()
        if key[0] != "_" and infos[f"_{key}"][k]
    }


def rows(result: Any) -> Iterator[tuple[int, Any]]:
    """Yield what a step or recv told of each environment, by its number."""
    texts, rewards, terminations, truncations, infos = result
    for k, text in enumerate(texts):
        info = alone(infos, k)
        i = info.pop("env_id", k)
        yield i, (text, rewards[k], terminations[k], truncations[k], info)


def openings(result: Any) -> Any:
    texts, infos = result
    nothing = np.zeros(len(texts))
    return texts, nothing, nothing > 0, nothing > 0, infos


def by_step(envs: SalesVectorEnv, words: list[list[str]], **reset: Any) -> list[list[Any]]:
    """Return what every environment told, call by call; it is said its own words."""
    told = [[row] for _, row in rows(openings(envs.reset(**reset)))]
    for said in zip(*words, strict=True):
        for i, row in rows(envs.step(said)):
            told[i].append(row)
    return told


def by_recv(
    envs: SalesVectorEnv, words: list[list[str]], rng: random.Random, **reset: Any
) -> list[list[Any]]:
    """Return the same as ``by_step``, sent and received in an order that is drawn."""
    told: list[list[Any]] = [[] for _ in words]
    envs.async_reset(**reset)
    landed: list[int] = []
    while envs.in_flight or landed:
        if envs.in_flight:
            *result, infos = envs.recv(rng.randint(1, len(envs.in_flight)))
            assert infos["env_id"].dtype == np.int64
            assert infos["env_id"].tolist() == sorted(infos["env_id"])
            for i, row in rows((*result, infos)):
                told[i].append(row)
                if len(told[i]) <= len(words[i]):
                    landed.append(i)
        rng.shuffle(landed)
        going = [landed.pop() for _ in range(rng.randint(0, len(landed)))]
        envs.send([words[i][len(told[i]) - 1] for i in going], going)
    envs.close()
    return told


KINDS: dict[str, Callable[..., Any]] = {
    "at once": Puppet,
    "coroutines": Drowsy,
    "threads": threaded(Puppet, 2),
    "mixed": lambda: random.choice([Puppet, Drowsy])(),
}
WORDS = st.sampled_from(["hi", "hi", "hi", "buy", "leave", "fail"])
TALKS = st.lists(st.lists(WORDS, min_size=6, max_size=6), min_size=1, max_size=4)


@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
@settings(max_examples=12, deadline=None)
@given(words=TALKS, order=st.integers(0, 999))
def test_the_same_conversations_as_step_by_step(
    kind: Callable[[], Customer], mode: AutoresetMode, words: list[list[str]], order: int
) -> None:
    options: Any = {"autoreset_mode": mode, "max_turns": 3, "reveal_latent": True}
    expected = by_step(SalesVectorEnv(len(words), customer=Puppet, **options), words, seed=3)
    envs = SalesVectorEnv(len(words), customer=kind, **options)
    assert by_recv(envs, words, random.Random(order), seed=3) == expected


def test_the_same_conversations_as_single_environments() -> None:
    words = [list(QUESTIONS * 4), ["", *QUESTIONS[::-1] * 4][:12], ["I recommend it."] * 12]
    envs = SalesVectorEnv(3, customer=threaded("scripted", 3), reveal_latent=True)
    told = by_recv(envs, words, random.Random(0), seed=5)
    for i, said in enumerate(words):
        env, over = SalesEnv(reveal_latent=True), False
        expected: list[Any] = [(*env.reset(seed=5 + i), 0.0, False, False)]
        for text in said:
            if over:
                expected.append((*env.reset(), 0.0, False, False))
                over = False
            else:
                observation, reward, terminated, truncated, info = env.step(text)
                expected.append((observation, info, reward, terminated, truncated))
                over = terminated or truncated
        assert [(text, info, *flags) for text, *flags, info in told[i]] == expected


def test_generators_are_where_step_leaves_them() -> None:
    talks = [["buy", "hi", "hi"], ["hi", "leave", "hi"]]
    ours, theirs = SalesVectorEnv(2, customer=Drowsy), SalesVectorEnv(2, customer=Puppet)
    by_recv(ours, talks, random.Random(1), seed=[7, 8])
    by_step(theirs, talks, seed=[7, 8])
    states = [[rng.bit_generator.state for rng in envs.np_random] for envs in (ours, theirs)]
    assert states[0] == states[1]
    assert ours.np_random_seed == (7, 8)


def test_a_failed_opening_ends_with_the_first_step() -> None:
    envs = SalesVectorEnv(2, customer=Drowsy)
    envs.async_reset(options={"episode_seed": [BROKEN_SEED, 2]})
    texts, _, _, truncations, infos = envs.recv(2)
    assert texts[0] == "Customer: "
    assert infos["failure"].tolist() == ["no connection", None]
    envs.send(["hi"], [0])
    _, rewards, _, truncations, infos = envs.recv()
    assert (rewards.tolist(), truncations.tolist()) == ([0.0], [True])
    assert infos["outcome"].tolist() == ["infrastructure_failure"]


def test_nobody_waits_for_the_slowest() -> None:
    envs, gates = gated(3, range(1, 3))
    envs.send(["hi"] * 3)
    turns = {1: 0, 2: 0}
    while min(turns.values()) < 4:
        texts, rewards, terminations, truncations, infos = envs.recv()
        ids = infos["env_id"]
        assert len(texts) == len(rewards) == len(terminations) == len(truncations) == len(ids)
        for i, turn in zip(ids.tolist(), infos["turn"], strict=True):
            turns[i] = turn
        envs.send(["hi"] * len(ids), ids)
    envs.recv(len(envs.in_flight) - 1)
    assert envs.in_flight == (0,)
    gates[0].set()
    assert envs.recv()[-1]["env_id"].tolist() == [0]


def test_it_waits_for_as_many_as_it_is_told_to() -> None:
    envs, gates = gated(4, range(1))
    envs.send(["hi"] * 4)
    later = threading.Timer(0.02, lambda: [gate.set() for gate in gates[1:3]])
    later.start()
    assert envs.recv(3)[-1]["env_id"].tolist() == [0, 1, 2]
    assert envs.in_flight == (3,)
    later.join()
    gates[3].set()
    assert envs.recv()[-1]["env_id"].tolist() == [3]


def test_some_are_reset_while_others_are_in_flight() -> None:
    envs, gates = gated(3, range(2), autoreset_mode="Disabled")
    envs.send(["buy", "hi", "hi"])
    envs.recv(2)
    envs.send(["on deaf ears", "hi"], [0, 1])
    _, rewards, terminations, _, infos = envs.recv(2)
    assert (rewards.tolist(), terminations.tolist()) == ([0.0, 0.0], [True, False])
    assert infos["turn"].tolist() == [0, 2]
    assert infos["_turn"].tolist() == [False, True]
    mask = np.array([True, False, False])
    envs.async_reset(options={"reset_mask": mask, "episode_seed": [1, None, None]})
    texts, *_, infos = envs.recv()
    assert texts == ("Customer: hello from 1",)
    assert infos["env_id"].tolist() == [0]
    assert infos["briefing"].tolist() == ["We sell strings."]
    with pytest.raises(ConvgymError, match="env_id 2 is in flight already"):
        envs.async_reset()
    gates[2].set()
    envs.recv()


def test_mistakes_move_nobody() -> None:
    envs, gates = gated(7, range(0))
    before = [dialogue.text for dialogue in envs.dialogues]
    state = envs.np_random[6].bit_generator.state
    envs.send(("hi", "hi"), (4, 2))
    mistakes: dict[str, Callable[[], Any]] = {
        r"step\(\) is of all .* env_id 2, 4 are in flight: recv\(\)": lambda: envs.step(["hi"] * 7),
        r"reset\(\) is of all": lambda: envs.reset(options={"reset_mask": np.arange(7) == 6}),
        "env_id 4 is in flight already": lambda: envs.send(["a"], np.array([4])),
        "2, 4 are in flight already": lambda: envs.send(["a"] * 7),
        "env_id 2, 4 are in flight already": lambda: envs.async_reset(seed=1),
        "env_id names 3 twice": lambda: envs.send(["a", "b"], [3, 3]),
        "expected 2 actions.*list of length 1": lambda: envs.send(["a"], [0, 1]),
        "expected 1 actions.*got str": lambda: envs.send("a", [0]),
        "an action must be a str": lambda: envs.send(["a", None], [0, 1]),  # type: ignore[list-item]
        "an env_id must be below 7, got 7": lambda: envs.send(["a"], [7]),
        "an env_id must be an integer from 0 upwards, got -1": lambda: envs.send(["a"], [-1]),
        "an env_id must be .* got .*True": lambda: envs.send(["a"], np.array([True])),
        "env_id must be several integers, got 3": lambda: envs.send(["a"], 3),  # type: ignore[arg-type]
        "recv waits for 3, but only 2 are in flight": lambda: envs.recv(3),
        "at_least must be an integer from 1": lambda: envs.recv(0),
    }
    for message, mistake in mistakes.items():
        with pytest.raises(ConvgymError, match=message):
            mistake()
    assert envs.in_flight == (2, 4)
    assert [dialogue.text for dialogue in envs.dialogues] == before
    assert envs.np_random[6].bit_generator.state == state
    for gate in gates:
        gate.set()
    envs.recv(2)
    with pytest.raises(ConvgymError, match="nothing is in flight"):
        envs.recv()
    envs.step(["hi"] * 7)
    envs.send([], [])
    assert not envs.in_flight


def test_nobody_is_sent_to_before_a_reset() -> None:
    envs = SalesVectorEnv(2, customer=Drowsy)
    with pytest.raises(ResetNeeded):
        envs.send(["hi"], [1])
    assert not envs.in_flight


class Mine:
    """Fragile customers, some of whom are asked in threads."""

    def __init__(self, *in_threads: bool) -> None:
        kinds: Any = (Fragile, threaded(Fragile, 2))
        self._makers = iter([kinds[each] for each in in_threads])

    def __call__(self) -> Any:
        return next(self._makers)()


@pytest.mark.parametrize("words", ["crash", "nonsense"])
def test_what_a_customers_own_code_raises_concerns_no_other(words: str) -> None:
    envs, untouched = (
        SalesVectorEnv(3, customer=Mine(True, True, True), reveal_latent=True) for _ in "ab"
    )
    for each in (envs, untouched):
        each.reset(seed=1)
    expected = dict(rows(untouched.step(QUESTIONS)))
    envs.send([QUESTIONS[0], words, QUESTIONS[2]])
    got: dict[int, Any] = {}
    raised: list[Exception] = []
    while envs.in_flight:
        try:
            got |= rows(envs.recv(len(envs.in_flight)))
        except (ZeroDivisionError, ConvgymError) as error:
            raised.append(error)
            assert 1 not in envs.in_flight
            envs.send([QUESTIONS[1]], [1])
    assert got == expected
    (problem,) = raised
    assert problem.__notes__[-1] == "env_id 1: not in flight any more"
    assert dict(rows(envs.step(QUESTIONS))) == dict(rows(untouched.step(QUESTIONS)))


BAD_DRAWS: tuple[str, Any] = (
    "convgym.envs.vector.draw_episode_seed",
    lambda rng: BAD_SEED * bool(rng.random()),
)


def test_who_answers_at_once_raises_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    envs, untouched = (
        SalesVectorEnv(4, customer=Mine(False, True, False, False), max_turns=2) for _ in "ab"
    )
    for each in (envs, untouched):
        each.reset(seed=1)
        each.step(["hi"] * 4)
        each.step(["hi"] * 4)  # now all meet somebody else
    envs.send(["hi"], [3])
    with monkeypatch.context() as patch, pytest.raises(KeyError):
        patch.setattr(*BAD_DRAWS)
        envs.send(["hi"] * 3, [0, 1, 2])
    assert envs.in_flight == (1, 3)  # one was asked for already, one was no part of it
    with pytest.raises(KeyError):
        envs.recv(2)
    envs.send(["hi"] * 3, [2, 1, 0])
    assert dict(rows(envs.recv(4))) == dict(rows(untouched.step(["hi"] * 4)))
    with pytest.raises(ZeroDivisionError):
        envs.send(["hi", "crash", "hi"], [0, 2, 3])
    assert not envs.in_flight
    assert dict(rows(envs.step(["hi"] * 4))) == dict(rows(untouched.step(["hi"] * 4)))


@pytest.mark.parametrize("in_threads", [False, True])
@pytest.mark.parametrize("mode", [NEXT_STEP, SAME_STEP])
def test_a_customer_that_cannot_come_in(
    mode: AutoresetMode, in_threads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    envs, untouched = (
        SalesVectorEnv(2, customer=Mine(in_threads, True), max_turns=2, autoreset_mode=mode)
        for _ in "ab"
    )
    for each in (envs, untouched):
        each.reset(seed=1)
        for _ in range(1 + (mode is NEXT_STEP)):
            each.step(QUESTIONS[:2])
    with monkeypatch.context() as patch:
        patch.setattr(*BAD_DRAWS)
        with pytest.raises(KeyError, match="no such customer"):
            envs.send(QUESTIONS[:1], [0])
            envs.recv()
    assert not envs.in_flight
    envs.send(QUESTIONS[:2])
    for _ in range(3):
        assert dict(rows(envs.recv(2))) == dict(rows(untouched.step(QUESTIONS[:2])))
        envs.send(QUESTIONS[:2])
    envs.close()


def test_closing_waits_for_nobody_and_keeps_nothing() -> None:
    envs, _ = gated(2, range(0))
    envs.send(["hi", "hi"])
    customers: Any = [weakref.ref(dialogue.customer) for dialogue in envs.dialogues]
    envs.close()
    assert not envs.in_flight
    assert [customer().closed for customer in customers] == [1, 1]
    with pytest.raises(ConvgymError, match="the environment is closed"):
        envs.recv()
    del envs
    for _ in range(3):  # the event loop lets go of what was cancelled
        submit(asyncio.sleep(0)).result(PATIENCE)
    gc.collect()
    assert [customer() for customer in customers] == [None, None]


@pytest.mark.parametrize("customer", [Puppet, Drowsy, threaded(Puppet, 2)])
@pytest.mark.parametrize("in_flight", [False, True])
def test_what_is_closed_is_closed_to_all(customer: Any, in_flight: bool) -> None:
    envs = SalesVectorEnv(2, customer=customer)
    envs.reset(seed=1)
    if in_flight:
        envs.send(["hi", "hi"])
    envs.close()
    calls: list[Callable[[], object]] = [
        lambda: envs.reset(seed=1),
        lambda: envs.step(["hi", "hi"]),
        lambda: envs.async_reset(seed=1),
        lambda: envs.send(["hi", "hi"]),
        envs.recv,
    ]
    for call in calls:
        with pytest.raises(ConvgymError, match=r"the environment is closed.*make another"):
            call()


def test_closing_waits_for_no_thread() -> None:
    go_on = threading.Event()

    class Blocks(Puppet):
        def respond(self, utterance: str) -> Reply:
            assert go_on.wait(PATIENCE)
            return super().respond(utterance)

    envs = SalesVectorEnv(2, customer=threaded(Blocks, 2))
    envs.reset()
    envs.send(["hi", "hi"])
    envs.close()
    assert not go_on.is_set()
    go_on.set()


class Locked(Puppet):
    """Cannot be copied while it is being asked."""

    def respond(self, utterance: str) -> Reply:
        self.lock = threading.Lock()
        assert LET_GO.wait(PATIENCE)
        del self.lock
        return super().respond(utterance)


LET_GO = threading.Event()


def test_customers_that_are_being_asked_are_no_matter_of_a_copy() -> None:
    envs = SalesVectorEnv(1, customer=threaded(Locked, 1))
    envs.reset()
    envs.send(["hi"])
    for carry in (copy.deepcopy, pickle.dumps, cloudpickle.dumps):
        with pytest.raises(ConvgymError, match="1 conversations in flight cannot be copied"):
            carry(envs)
    LET_GO.set()
    envs.recv()
    copy.deepcopy(envs).close()


@pytest.mark.parametrize(
    "carry",
    [
        lambda envs: pickle.loads(pickle.dumps(envs)),
        lambda envs: cloudpickle.loads(cloudpickle.dumps(envs)),
        copy.deepcopy,
    ],
    ids=["pickle", "cloudpickle", "copy"],
)
@pytest.mark.parametrize("customer", [Puppet, threaded(Puppet, 2)], ids=["plain", "threads"])
def test_copies_are_made_when_nobody_is_in_flight(
    customer: Any, carry: Callable[[Any], SalesVectorEnv]
) -> None:
    envs = SalesVectorEnv(2, customer=customer)
    envs.async_reset(seed=1)
    with pytest.raises(ConvgymError, match="2 conversations in flight cannot be copied"):
        carry(envs)
    envs.recv(2)
    twin = carry(envs)
    for each in (envs, twin):
        each.send(["hi", "buy"])
    assert dict(rows(envs.recv(2))) == dict(rows(twin.recv(2)))
    assert dict(rows(envs.step(["a", "b"]))) == dict(rows(twin.step(["a", "b"])))
