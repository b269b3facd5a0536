"""Customers with coroutines, in every place where a customer may stand."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import pytest
from gymnasium.utils.env_checker import data_equivalence

from convgym.conversation import Response
from convgym.customers import AsyncCustomer, Reply, make_customer
from convgym.customers.concurrently import is_async, is_concurrent, submit
from convgym.customers.suggested import Business, suggested
from convgym.envs import SalesEnv, SalesVectorEnv
from convgym.errors import ConvgymError, OwnError
from convgym.policy import Conversation
from convgym.rollout import rollout
from tests.unit.conftest import BROKEN_SEED, Puppet
from tests.unit.customers.waiting import SlowPuppet, WaitingPuppet, gathering


class Coin:
    """Ends conversations at random, from each conversation's own stream."""

    name = "coin"

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def reset(self, seed: int) -> None: ...

    def act(self, conversations: Sequence[Conversation]) -> list[Response]:
        self.sizes.append(len(conversations))
        words = [*["hi"] * 6, "buy", "leave", "fail"]
        return [Response(each.rng.choice(words)) for each in conversations]


def hold(customer: Any, n: int = 40, **options: Any) -> Any:
    options = {"batch_size": 16, **options}
    return rollout(Coin(), range(n), environment={"customer": customer, "max_turns": 5}, **options)


def test_the_protocol() -> None:
    assert isinstance(WaitingPuppet(), AsyncCustomer)
    assert is_async(WaitingPuppet())
    assert is_concurrent(WaitingPuppet())
    assert not is_async(Puppet())
    assert not is_concurrent(Puppet())
    one = WaitingPuppet()
    assert is_async(SimpleNamespace(reset=one.reset, respond=one.respond))
    assert not is_async(SimpleNamespace(reset=Puppet().reset, respond=Puppet().respond))


def test_rollouts_go_on_with_whoever_has_answered_and_change_nothing() -> None:
    episodes = hold(gathering(16))
    assert episodes == hold(Puppet)
    assert episodes == hold(WaitingPuppet)
    assert episodes == hold(WaitingPuppet, batch_size=1)
    assert episodes[BROKEN_SEED].metadata == {"failure": "no connection"}


def test_nobody_waits_for_the_slowest() -> None:
    asked_often = threading.Event()

    class Slowest(WaitingPuppet):
        async def reset(self, seed: int) -> str:  # type: ignore[override]
            for _ in range(0 if seed else 4000):
                if asked_often.is_set():
                    break
                await asyncio.sleep(0.005)
            assert seed or asked_often.is_set(), "the others wait for this one"
            return await super().reset(seed)

    class Seller(Coin):
        def act(self, conversations: Sequence[Conversation]) -> list[Response]:
            responses = super().act(conversations)
            if len(self.sizes) == 3:
                asked_often.set()
            return responses

    assert rollout(
        Seller(), range(8), environment={"customer": Slowest, "max_turns": 5}
    ) == rollout(Coin(), range(8), environment={"customer": Puppet, "max_turns": 5})


def test_environments_wait_for_coroutines() -> None:
    def talk(customer: Any) -> list[Any]:
        env = SalesEnv(customer=customer, reveal_latent=True)
        seen: list[Any] = [env.reset(seed=3, options={"episode_seed": 4})]
        seen += [env.step(words) for words in ("hi", "buy")]
        env.close()
        return seen

    assert data_equivalence(talk(WaitingPuppet), talk(Puppet), exact=True)
    made: list[WaitingPuppet] = []

    def factory() -> Any:
        made.append(WaitingPuppet())
        return made[-1]

    talk(factory)
    assert made[0].closed == 1


def test_vector_environments_ask_side_by_side_and_change_nothing() -> None:
    def talk(customer: Any) -> list[Any]:
        envs = SalesVectorEnv(8, customer=customer, reveal_latent=True)
        seeds = [1, 2, BROKEN_SEED, 4, 5, 6, 7, 8]
        seen: list[Any] = [envs.reset(seed=3, options={"episode_seed": seeds})]
        words = ("hi", "hi", "hi", "buy", "leave", "fail", "hi", "hi")
        seen += [envs.step(words) for _ in range(3)]
        envs.close()
        return seen

    assert data_equivalence(talk(gathering(8)), talk(Puppet), exact=True)


def test_a_loop_of_the_callers_own_does_no_harm() -> None:
    async def notebook() -> Any:
        return hold(WaitingPuppet, 3)

    assert asyncio.run(notebook()) == hold(Puppet, 3)


def test_a_business_before_customers_with_coroutines() -> None:
    business = {"verbatim": 0.8, "edited": 0.1, "influenced": 0.0, "ignored": 0.1}

    def customers(inner: Any) -> Any:
        return lambda: suggested(inner, business, speaker=lambda messages, rng: "hi")

    assert is_concurrent(customers(WaitingPuppet)())
    episodes = hold(customers(WaitingPuppet))
    assert episodes == hold(customers(Puppet))
    env = SalesEnv(customer=customers(WaitingPuppet))
    env.reset(options={"episode_seed": 1})
    assert env.step("hi")[0].startswith("Customer: hello from 1\nSeller: hi\nCustomer: customer 1")


class Raises(WaitingPuppet):
    error: BaseException = KeyError("mine")

    async def respond(self, utterance: str) -> Reply:  # type: ignore[override]
        if self.seed == 5:
            raise self.error
        return await super().respond(utterance)


@pytest.mark.parametrize("steps", [False, True])
def test_errors_of_ones_own_pass(steps: bool) -> None:
    with pytest.raises(KeyError, match="mine") as caught:
        if steps:
            envs = gymnasium.make_vec("convgym:convgym/Sales-v0", 4, customer=Raises)
            envs.reset(options={"episode_seed": [3, 4, 5, 6]})
            envs.step(("hi",) * 4)
        else:
            hold(Raises)
    assert Path(caught.traceback[-1].path).name == "test_concurrently.py"
    assert hold(WaitingPuppet, 3) == hold(Puppet, 3)  # others are not concerned


def test_a_customer_does_not_end_the_program() -> None:
    class Exits(Raises):
        error = SystemExit(3)

    with pytest.raises(OwnError, match="ended the program"):
        hold(Exits)
    assert hold(WaitingPuppet, 3) == hold(Puppet, 3)


def test_what_is_no_reply_is_told() -> None:
    class Forgets(WaitingPuppet):
        async def respond(self, utterance: str) -> Any:  # type: ignore[override]
            await asyncio.sleep(0)

    with pytest.raises(ConvgymError, match=r"Forgets .* None: a branch of respond has no"):
        hold(Forgets)

    class Decorated(Puppet):
        def respond(self, utterance: str) -> Any:
            return WaitingPuppet.respond(self, utterance)  # type: ignore[arg-type]

    with pytest.raises(ConvgymError, match="write `async def respond`"):
        hold(Decorated)


def test_a_coroutine_of_one_method_is_enough() -> None:
    class Half(Puppet):
        async def respond(self, utterance: str) -> Any:  # type: ignore[override]
            return super().respond(utterance)

    assert hold(Half) == hold(Puppet)


def test_an_interrupted_rollout_waits_for_nobody() -> None:
    class Interrupts(Coin):
        def act(self, conversations: Sequence[Conversation]) -> list[Response]:
            raise KeyboardInterrupt

    class Endless(WaitingPuppet):
        async def reset(self, seed: int) -> str:  # type: ignore[override]
            if seed == 1:
                await asyncio.sleep(60)
            return f"hello from {seed}"

    with pytest.raises(KeyboardInterrupt):
        rollout(Interrupts(), [0, 1], environment={"customer": Endless})
    assert submit(asyncio.sleep(0, "alive")).result(5) == "alive"


def test_threads_need_no_coroutines() -> None:
    from convgym.customers.threaded import threaded

    SlowPuppet.threads.clear()
    assert hold(threaded(SlowPuppet, SlowPuppet.at_once)) == hold(Puppet)
    assert len(SlowPuppet.threads) == SlowPuppet.at_once


def test_threaded_customers_are_what_they_were() -> None:
    from convgym.customers.threaded import threaded

    factory = threaded("scripted", 2)
    customer: Any = factory(persona="sceptic")
    plain: Any = make_customer("scripted", persona="sceptic")
    assert customer.fingerprint == plain.fingerprint
    assert customer.briefing == plain.briefing
    env = gymnasium.make("convgym:convgym/Sales-v0", customer=factory, reveal_latent=True)
    own = gymnasium.make("convgym:convgym/Sales-v0", reveal_latent=True)
    assert env.reset(seed=1) == own.reset(seed=1)
    assert env.step("What for?") == own.step("What for?")
    assert isinstance(env.unwrapped, SalesEnv)
    copied: Any = env.unwrapped._dialogue.customer
    state = copied.snapshot()
    env.step("Goodbye.")
    copied.restore(state)
    assert copied.latent == own.unwrapped._dialogue.customer.latent  # type: ignore[attr-defined]


class Copied(Puppet):
    """Says how it is copied; its wrapper is no copy of it."""

    def __deepcopy__(self, memo: Any) -> Copied:
        return Copied()


def test_threads_are_no_part_of_a_copy() -> None:
    from convgym.customers.threaded import ThreadedCustomer, threaded

    factory = threaded(Copied, 2)
    customers: Any = [factory(), factory()]
    submit(customers[0].reset(1)).result(5)
    twins = copy.deepcopy(customers)
    assert [type(twin) for twin in twins] == [ThreadedCustomer] * 2
    assert [submit(twin.reset(2)).result(5) for twin in twins] == ["hello from 2"] * 2
    assert twins[0]._threads.pool is twins[1]._threads.pool
    assert twins[0]._threads.pool is not customers[0]._threads.pool
    again = pickle.loads(pickle.dumps(threaded("scripted", 3)))
    assert again.__name__ == "threaded(ScriptedCustomer, 3)"


class Forgetful(Puppet):
    """Has a branch without a return, and one that raises."""

    def respond(self, utterance: str) -> Any:
        if utterance == "raise":
            raise KeyError("mine")


@pytest.mark.parametrize("inside", ["threads", "business", "both"])
def test_who_stands_inside_is_told_of_mistakes(inside: str) -> None:
    from convgym.customers.threaded import threaded

    threads = threaded(Forgetful, 1)
    business = Business(verbatim=1.0, edited=0.0, influenced=0.0, ignored=0.0)
    spec = {
        "threads": threads,
        "business": lambda: suggested(Forgetful, business),
        "both": lambda: suggested(threads, business),
    }[inside]
    env = SalesEnv(customer=spec)
    env.reset(seed=1)
    where = rf"\(test_concurrently.py, line {Forgetful.respond.__code__.co_firstlineno}\)"
    with pytest.raises(ConvgymError, match=f"customer Forgetful must .* no return {where}"):
        env.step("hi")
    with pytest.raises(KeyError, match="mine") as caught:
        env.step("raise")
    raised_by = "Forgetful" if inside == "threads" else "SuggestedResponse"  # has words of its own
    assert f"respond of customer {raised_by}, episode seed 1" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("customer", "n", "problem"),
    [
        (Puppet(), 2, "threaded needs a customer's class, factory or name"),
        (Puppet, 0, "threads must be"),
        (WaitingPuppet, 2, "needs no threads"),
    ],
)
def test_mistakes_with_threads(customer: Any, n: int, problem: str) -> None:
    from convgym.customers.threaded import threaded

    with pytest.raises(ConvgymError, match=problem):
        threaded(customer, n)()
