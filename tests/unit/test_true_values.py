"""Branched values against closed forms, against conversations without branches, and by seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from convgym.conversation import Response
from convgym.customers.base import Decision, Reply
from convgym.errors import ConvgymError, InfrastructureError
from convgym.policy import Conversation
from convgym.rollout import rollout
from convgym.seeds import train_seeds
from convgym.sellers import make_seller
from convgym.true_values import (
    BranchState,
    TrueValues,
    branch,
    choose_states,
    collect_states,
)

torch.set_num_threads(1)

CHANCE = {"eager": 0.8, "shy": 0.3}
MAX_TURNS = 4


class Gambler:
    """Buys with a chance of its own when asked, else leaves; goes on when told to wait."""

    fingerprint = "gambler"

    def reset(self, seed: int) -> str:
        self._rng = random.Random(seed)
        self.kind = self._rng.choice(list(CHANCE))
        self.waited = 0
        return "Hello."

    @property
    def latent(self) -> dict[str, Any]:
        return {"kind": self.kind, "waited": self.waited}

    def respond(self, utterance: str) -> Reply:
        if utterance == "ask":
            bought = self._rng.random() < CHANCE[self.kind]
            return Reply("So be it.", Decision.BUY if bought else Decision.LEAVE)
        if utterance == "fail":
            raise InfrastructureError("no connection")
        self.waited += 1
        return Reply(f"I have waited {self.waited} times.")

    def snapshot(self) -> object:
        return self.kind, self.waited, self._rng.getstate()

    def restore(self, state: object, seed: int | None = None) -> None:
        assert isinstance(state, tuple)
        self.kind, self.waited, randomness = state
        self._rng = random.Random(seed)
        if seed is None:
            self._rng.setstate(randomness)


class Asker:
    """Asks or waits, evenly; keeps what it was shown."""

    name = "asker"

    def __init__(self) -> None:
        self.seen: list[list[str]] = []

    def reset(self, seed: int) -> None:
        self.seen = []

    def act(self, conversations: Sequence[Conversation]) -> list[Response]:
        self.seen += [[m["content"] for m in one.messages] for one in conversations]
        return [Response(one.rng.choice(["ask", "wait"])) for one in conversations]


GAMBLING = {"customer": Gambler, "max_turns": MAX_TURNS}
ASK, WAIT, FAIL = Response("ask"), Response("wait"), Response("fail")


def exact(chance: float, turn: int, gamma: float) -> tuple[float, float, float]:
    """Return Q(ask), Q(wait) and V of the asker before this turn."""
    if turn == MAX_TURNS:
        return 0.0, 0.0, 0.0
    wait = gamma * exact(chance, turn + 1, gamma)[2]
    return chance, wait, (chance + wait) / 2


def kind(state: BranchState) -> str:
    assert isinstance(state.snapshot, tuple)
    return str(state.snapshot[0])


@pytest.mark.parametrize("gamma", [1.0, 0.5])
def test_values_of_a_customer_whose_values_are_known(gamma: float) -> None:
    policy = Asker()
    states = collect_states(policy, range(60), 24, seed=1, environment=GAMBLING)
    found = branch(
        policy,
        states,
        [[ASK, WAIT]] * len(states),
        rollouts=400,
        seed=2,
        gamma=gamma,
        environment=GAMBLING,
    )
    assert found.q_returns.shape == (24, 2, 400) and found.v_returns.shape == (24, 400)
    assert len({(kind(state), state.turn) for state in states}) >= 6
    known = [exact(CHANCE[kind(state)], state.turn, gamma) for state in states]
    q, v = np.array([one[:2] for one in known]), np.array([one[2] for one in known])
    assert (np.abs(found.q - q) <= 4 * found.q_se).all()
    assert (np.abs(found.v - v) <= 4 * found.v_se).all()
    # The errors are those of means of independent rollouts, and small enough to tell states apart.
    scores = ((found.q - q) / np.where(found.q_se > 0, found.q_se, 1.0))[found.q_se > 0]
    assert 0.7 < scores.std() < 1.3
    assert found.q_se.max() < 0.03 < q.std()
    np.testing.assert_allclose(found.advantages, found.q - found.v[:, None])
    if gamma == 1.0:
        np.testing.assert_allclose(found.outcomes.mean(-1), found.q)
        np.testing.assert_allclose(found.q_se, np.sqrt(found.q * (1 - found.q) / 399))


def test_the_turn_limit_counts_from_the_beginning() -> None:
    policy = Asker()
    states = collect_states(policy, range(200), 100, environment=GAMBLING)
    last = [state for state in states if state.turn == MAX_TURNS - 1][:2]
    assert len(last) == 2
    found = branch(policy, last, [[WAIT]] * 2, rollouts=5, value_rollouts=0, environment=GAMBLING)
    assert not found.outcomes.any()
    assert not policy.seen
    assert found.v_returns.shape == (2, 0) and np.isnan(found.v).all()


def test_the_policy_sees_the_conversation_go_on() -> None:
    policy = Asker()
    states = collect_states(policy, range(40), 30, environment=GAMBLING)
    state = next(state for state in states if state.turn == 1)
    assert [message["content"] for message in state.messages] == [
        "Hello.",
        "wait",
        "I have waited 1 times.",
    ]
    branch(policy, [state], [[WAIT]], rollouts=1, value_rollouts=1, environment=GAMBLING)
    before = ["Hello.", "wait", "I have waited 1 times."]
    after = [*before, "wait", "I have waited 2 times."]
    assert after in policy.seen and before in policy.seen
    assert all(seen[:3] == before for seen in policy.seen)


def test_values_depend_on_the_seed_and_not_on_the_batch() -> None:
    policy = Asker()
    states = collect_states(policy, range(20), 8, environment=GAMBLING)
    assert states == collect_states(policy, range(20), 8, environment=GAMBLING)
    told: list[tuple[int, int]] = []

    def values(seed: int, batch_size: int) -> TrueValues:
        told.clear()
        return branch(
            policy,
            states,
            [[ASK, WAIT, WAIT]] * 8,
            rollouts=10,
            seed=seed,
            environment=GAMBLING,
            batch_size=batch_size,
            progress=lambda news: told.append((news.done, news.total)),
        )

    one, same, other = values(0, 7), values(0, 512), values(1, 512)
    assert told == [(n, 8 * 4 * 10) for n in range(1, 8 * 4 * 10 + 1)]
    np.testing.assert_array_equal(one.q_returns, same.q_returns)
    np.testing.assert_array_equal(one.v_returns, same.v_returns)
    assert (one.q_returns != other.q_returns).any()
    # Equal responses are rolled out independently.
    assert (one.q_returns[:, 1] != one.q_returns[:, 2]).any()


def test_branches_agree_with_conversations_that_were_not_branched() -> None:
    """What became of a conversation is, in the mean, V of the state that it was in."""
    policy, seeds = make_seller("mediocre"), train_seeds(5, 500)
    episodes = rollout(policy, seeds, policy_seed=3)
    for turn in (0, 3):
        reached = [one for one in episodes if len(one.turns) > turn]
        everything = choose_states(reached, sum(len(one.turns) for one in reached))
        states = [state for state in everything if state.turn == turn]
        assert len(states) == len(reached)
        found = branch(policy, states, [[]] * len(states), value_rollouts=4, seed=11)
        differences = found.v - [state.episode.reward for state in states]
        error = differences.std() / len(states) ** 0.5
        assert error < 0.03
        assert abs(differences.mean()) < 3 * error
        # And V tells those that sold from those that did not.
        sold = np.array([state.episode.converted for state in states])
        assert found.v[sold].mean() > found.v[~sold].mean() + 0.05


def test_a_failing_customer_is_left_out() -> None:
    policy = Asker()
    states = collect_states(policy, range(9), 3, environment=GAMBLING)
    found = branch(
        policy, states, [[FAIL, ASK]] * 3, rollouts=6, environment=GAMBLING, value_rollouts=0
    )
    assert np.isnan(found.q[:, 0]).all() and np.isnan(found.q_se[:, 0]).all()
    assert np.isfinite(found.q[:, 1]).all()
    assert not found.outcomes[:, 0].any()
    mixed = TrueValues(np.array([[[1.0, np.nan, 0.0, 1.0]]]), np.zeros((1, 1)))
    assert mixed.q.item() == pytest.approx(2 / 3)
    assert mixed.q_se.item() == pytest.approx(np.std([1, 0, 1], ddof=1) / 3**0.5)


class Fleeting:
    fingerprint = "fleeting"
    latent: dict[str, Any] = {}  # noqa: RUF012

    def reset(self, seed: int) -> str:
        return "Hello."

    def respond(self, utterance: str) -> Reply:
        return Reply("Bye.", Decision.LEAVE)


def test_a_failing_policy_is_left_out() -> None:
    class Flaky(Asker):
        def act(self, conversations: Sequence[Conversation]) -> list[Response]:
            said = super().act(conversations)
            return [r if r.text == "ask" else Response("", failure="no words") for r in said]

    states = collect_states(Asker(), train_seeds(0, 40), 3, environment=GAMBLING)
    lost = Response("", failure="no words")
    values = branch(Flaky(), states, [[ASK, lost]] * 3, rollouts=20, seed=1, environment=GAMBLING)
    assert np.isnan(values.q_returns[:, 1]).all() and np.isfinite(values.q_returns[:, 0]).all()
    assert 0 < np.isnan(values.v_returns).mean() < 1


def test_mistakes() -> None:
    policy = Asker()
    with pytest.raises(ConvgymError, match="snapshot and restore; Fleeting lacks them"):
        collect_states(policy, range(3), 1, environment={"customer": Fleeting})
    with pytest.raises(ConvgymError, match="hold more conversations"):
        collect_states(policy, range(2), 99, environment=GAMBLING)
    states = collect_states(policy, range(9), 2, environment=GAMBLING)
    with pytest.raises(ConvgymError, match="snapshot and restore; Fleeting lacks them"):
        branch(policy, states, [[ASK]] * 2, environment={"customer": Fleeting})
    for responses in ([[ASK]], [[ASK], [ASK, WAIT]]):
        with pytest.raises(ConvgymError, match="same number of responses for each state"):
            branch(policy, states, responses, environment=GAMBLING)
    with pytest.raises(ConvgymError, match="rollouts must be at least 1"):
        branch(policy, states, [[ASK]] * 2, rollouts=0, environment=GAMBLING)
    with pytest.raises(ConvgymError, match="batch_size must be at least 1"):
        branch(policy, states, [[ASK]] * 2, batch_size=0, environment=GAMBLING)
    log = rollout(policy, range(20), environment=GAMBLING)
    waited = [one for one in log if len(one.turns) > 1]
    with pytest.raises(ConvgymError, match="does not repeat the conversation"):
        choose_states(waited, len(waited))
