"""The meter: what was used of customers, counted where conversations happen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from convgym.conversation import Response
from convgym.customers import Customer
from convgym.envs.dialogue import Dialogue
from convgym.envs.sales import SalesEnv
from convgym.envs.vector import SalesVectorEnv
from convgym.policy import Conversation
from convgym.rollout import rollout
from convgym.seeds import EVALUATION_BASE, evaluation_seeds, train_seeds
from convgym.sellers import make_seller
from convgym.true_values import branch, collect_states, sample_responses
from convgym.usage import Meter, metered
from tests.unit.conftest import BROKEN_SEED

Puppets = Callable[[], Customer]


class Word:
    name = "word"

    def __init__(self, word: str) -> None:
        self.word = word

    def reset(self, seed: int) -> None: ...

    def act(self, conversations: Sequence[Conversation]) -> list[Response]:
        return [Response(self.word) for _ in conversations]


def test_conversations_and_answers_are_counted(puppet: Puppets) -> None:
    dialogue = Dialogue(puppet(), max_turns=3)
    dialogue.reset(1)  # before the meter runs
    with metered() as meter:
        assert meter == Meter()
        dialogue.step("hello")
        assert (meter.conversations, meter.turns) == (0, 1)
        dialogue.reset(2)
        dialogue.reset(3)
        assert (meter.conversations, meter.turns) == (2, 1)
        dialogue.step("hello")
        dialogue.step("buy")
    dialogue.reset(4)  # after it
    assert meter == Meter(conversations=2, turns=3)


def test_meters_may_be_nested_and_equal_counts_are_not_one_meter(puppet: Puppets) -> None:
    dialogue = Dialogue(puppet(), max_turns=3)
    with metered() as outer:
        with metered() as inner:
            with metered() as innermost:
                dialogue.reset(1)
            assert inner == innermost == outer
            dialogue.reset(2)
        dialogue.reset(3)
    assert [meter.conversations for meter in (innermost, inner, outer)] == [1, 2, 3]


def test_a_meter_ends_with_an_error(puppet: Puppets) -> None:
    dialogue = Dialogue(puppet(), max_turns=3)
    with pytest.raises(ZeroDivisionError), metered() as meter:
        dialogue.reset(1)
        _ = 1 / 0
    dialogue.reset(2)
    assert meter.conversations == 1


def test_a_customer_who_never_came_was_met_and_one_who_broke_off_did_not_answer(
    puppet: Puppets,
) -> None:
    with metered() as meter:
        episodes = rollout(Word("fail"), [BROKEN_SEED, 1], environment={"customer": puppet})
    assert [episode.valid for episode in episodes] == [False, False]
    assert meter == Meter(conversations=2, turns=0)


def test_customers_of_evaluation_are_told_apart(puppet: Puppets) -> None:
    seeds = [*train_seeds(0, 2), EVALUATION_BASE - 1, *evaluation_seeds(0, 3)]
    with metered() as meter:
        rollout(Word("leave"), seeds, environment={"customer": puppet})
    assert meter == Meter(conversations=6, evaluation_conversations=3, turns=6)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_a_rollout_is_counted_whatever_its_batch(batch_size: int) -> None:
    with metered() as meter:
        episodes = rollout(make_seller("mediocre"), train_seeds(0, 9), batch_size=batch_size)
    turns = sum(len(episode.turns) for episode in episodes)
    assert meter == Meter(conversations=9, turns=turns)


def test_a_single_environment(puppet: Puppets) -> None:
    env = SalesEnv(customer=puppet)
    with metered() as meter:
        env.reset(seed=3)
        env.step("hello")
        env.reset(seed=3)
    assert meter == Meter(conversations=2, turns=1)


def test_a_vector_environment_and_the_conversations_that_it_begins_of_itself(
    puppet: Puppets,
) -> None:
    env = SalesVectorEnv(num_envs=2, customer=puppet)
    with metered() as meter:
        env.reset(seed=3)
        assert meter == Meter(conversations=2)
        env.step(("buy", "hello"))
        env.step(("hello", "hello"))
    env.close()
    # The first was reset when it had ended; that step says nothing to it.
    assert (meter.conversations, meter.turns) == (3, 3)


def test_branches_are_no_new_customers_but_are_counted() -> None:
    policy: Any = make_seller("mediocre")
    states = collect_states(policy, train_seeds(0, 4), 3)
    responses = sample_responses(policy, states, 2)
    with metered() as meter:
        branch(policy, states, responses, rollouts=4, seed=0)
    assert meter.branches == 3 * (2 + 1) * 4
    assert (meter.conversations, meter.evaluation_conversations) == (0, 0)
    assert meter.turns >= meter.branches  # every branch is answered at least once
