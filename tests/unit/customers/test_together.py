from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode

from convgym.conversation import Response
from convgym.customers import Batched, Customer, Decision, Reply
from convgym.customers.together import is_batched, reset_customers, respond_customers
from convgym.envs import SalesVectorEnv
from convgym.errors import ConvgymError, InfrastructureError
from convgym.policy import Conversation
from convgym.rollout import rollout
from convgym.sellers import make_seller

PuppetFactory = Callable[[], Customer]

BROKEN_SEED = 13


class Choir:
    """Like the puppet, but answers only together; notes how many at a time."""

    fingerprint = "puppet"
    briefing = "We sell strings."
    sizes: list[int] = []  # noqa: RUF012

    def __init__(self) -> None:
        self.seed = -1
        self.heard: list[str] = []

    @property
    def latent(self) -> dict[str, Any]:
        return {"seed": self.seed, "heard": {"last": self.heard[-1] if self.heard else None}}

    def reset(self, seed: int) -> str:
        raise AssertionError("asked alone")

    def respond(self, utterance: str) -> Reply:
        raise AssertionError("asked alone")

    @classmethod
    def reset_together(
        cls, customers: Sequence[Self], seeds: Sequence[int]
    ) -> list[str | InfrastructureError]:
        cls.sizes.append(len(customers))
        return [each._reset(seed) for each, seed in zip(customers, seeds, strict=True)]

    @classmethod
    def respond_together(
        cls, customers: Sequence[Self], utterances: Sequence[str]
    ) -> list[Reply | InfrastructureError]:
        cls.sizes.append(len(customers))
        return [each._respond(said) for each, said in zip(customers, utterances, strict=True)]

    def _reset(self, seed: int) -> str | InfrastructureError:
        if seed == BROKEN_SEED:
            return InfrastructureError("no connection")
        self.seed, self.heard = seed, []
        return f"hello from {seed}"

    def _respond(self, utterance: str) -> Reply | InfrastructureError:
        if utterance == "fail":
            return InfrastructureError("connection lost")
        self.heard.append(utterance)
        words = f"customer {self.seed} heard {len(self.heard)}:\n{utterance}"
        decisions = {"buy": Decision.BUY, "leave": Decision.LEAVE}
        return Reply(words, decisions.get(utterance, Decision.CONTINUE))


@pytest.fixture(autouse=True)
def _silence() -> None:
    Choir.sizes = []


class Coin:
    """Ends conversations at random, from each conversation's own stream."""

    name = "coin"

    def reset(self, seed: int) -> None: ...

    def act(self, conversations: Sequence[Conversation]) -> list[Response]:
        words = [*["hi"] * 6, "buy", "leave", "fail"]
        return [Response(each.rng.choice(words)) for each in conversations]


def test_the_protocol(puppet: PuppetFactory) -> None:
    assert isinstance(Choir(), Batched)
    assert is_batched(Choir())
    assert not is_batched(puppet())


def test_rollouts_ask_together_and_change_nothing(puppet: PuppetFactory) -> None:
    seeds = list(range(60))

    def hold(customer: Any) -> Any:
        return rollout(Coin(), seeds, environment={"customer": customer}, batch_size=16)

    together = hold(Choir)
    assert together == hold(puppet)
    assert together[BROKEN_SEED].metadata == {"failure": "no connection"}
    assert {episode.outcome for episode in together} >= {"purchase", "infrastructure_failure"}
    # The first to reset, then the first to answer: sixteen, but for the one that failed.
    assert Choir.sizes[:2] == [16, 15]
    assert len(Choir.sizes) < sum(Choir.sizes) / 4


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_vector_environments_ask_together_and_change_nothing(
    mode: AutoresetMode, puppet: PuppetFactory
) -> None:
    def talk(customer: Any) -> Any:
        envs = SalesVectorEnv(6, customer=customer, autoreset_mode=mode, reveal_latent=True)
        rng = np.random.default_rng(0)
        yield envs.reset(seed=3, options={"episode_seed": [1, 2, 3, 4, BROKEN_SEED, 6]})
        for _ in range(30):
            words = ["hi", "hi", "hi", "buy", "leave", "fail"]
            result = envs.step(tuple(words[i] for i in rng.integers(6, size=6)))
            yield result
            ended = result[2] | result[3]
            if mode is AutoresetMode.DISABLED and ended.any():
                yield envs.reset(options={"reset_mask": ended})

    for mine, expected in zip(talk(Choir), talk(puppet), strict=True):
        assert data_equivalence(mine, expected, exact=True)
    assert Choir.sizes[:2] == [6, 5]


def test_customers_of_several_kinds(puppet: PuppetFactory) -> None:
    class Other(Choir):
        sizes: list[int] = []  # noqa: RUF012

    mixed: list[Customer] = [Choir(), puppet(), Other(), Choir(), puppet(), Other()]
    openings = reset_customers(mixed, [1, 2, 3, 4, BROKEN_SEED, 6])
    assert [o if isinstance(o, str) else None for o in openings] == [
        *(f"hello from {i}" for i in (1, 2, 3, 4)),
        None,
        "hello from 6",
    ]
    answers = respond_customers(mixed[:4], ["a", "fail", "buy", "fail"])
    kinds = [answer.decision if isinstance(answer, Reply) else str(answer) for answer in answers]
    assert kinds == [Decision.CONTINUE, "connection lost", Decision.BUY, "connection lost"]
    assert Choir.sizes == [2, 2]
    assert Other.sizes == [2, 1]


def test_a_failure_of_all_is_a_failure_of_each() -> None:
    class Down(Choir):
        @classmethod
        def respond_together(cls, customers: Any, utterances: Any) -> Any:
            raise InfrastructureError("out of order")

    episodes = rollout(Coin(), range(5), environment={"customer": Down})
    assert [episode.metadata for episode in episodes] == [{"failure": "out of order"}] * 5


def test_an_answer_for_each() -> None:
    class Few(Choir):
        @classmethod
        def respond_together(cls, customers: Any, utterances: Any) -> Any:
            return [Reply("hi")]

    with pytest.raises(ConvgymError, match="Few must return an answer for each of 3 customers"):
        rollout(Coin(), range(3), environment={"customer": Few})

    class Wrong(Choir):
        @classmethod
        def respond_together(cls, customers: Any, utterances: Any) -> Any:
            return ["hi"] * len(customers)

    with pytest.raises(ConvgymError, match=r"Wrong must respond with a Reply.*got 'hi'"):
        rollout(Coin(), range(3), environment={"customer": Wrong})


def test_options_of_the_customer_by_name() -> None:
    options = {"patience": 1.0}
    env = gymnasium.make("convgym:convgym/Sales-v0", customer_options=options, catalog="laptops")
    env.reset(seed=0)
    _, _, terminated, _, info = env.step("Hm.")
    assert terminated
    assert info["outcome"] == "walk_away"
    envs = gymnasium.make_vec(
        "convgym:convgym/Sales-v0",
        num_envs=3,
        customer_options={"persona": "sceptic"},
        reveal_latent=True,
    )
    _, infos = envs.reset(seed=0)
    assert infos["latent"]["persona"].tolist() == ["sceptic"] * 3
    (episode,) = rollout(make_seller("silent"), [1], environment={"customer_options": options})
    assert len(episode.turns) == 1


@pytest.mark.parametrize("answers", [None, 5, "abc", {0: "a"}, iter(["a"])])
def test_answers_come_in_a_list(answers: Any) -> None:
    class Mistaken(Choir):
        @classmethod
        def reset_together(cls, customers: Any, seeds: Any) -> Any:
            return answers

    with pytest.raises(ConvgymError, match="Mistaken must return an answer for each of 2"):
        reset_customers([Mistaken(), Mistaken()], [1, 2])
