"""Branching with a language model, and its responses as token ids."""

from __future__ import annotations

import numpy as np

from convgym.agents.model.batch import tokenise
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.values.pairs import token_pairs
from convgym.conversation import Response
from convgym.true_values import branch, collect_states, sample_responses


def test_with_a_language_model(policy: LanguageModelPolicy) -> None:
    states = collect_states(policy, range(6), 5, seed=4)
    responses = sample_responses(policy, states, 3, seed=5)
    assert responses == sample_responses(policy, states, 3, seed=5)
    assert responses != sample_responses(policy, states, 3, seed=6)
    assert [len(ones) for ones in responses] == [3] * 5
    said = [one.text for ones in responses for one in ones]
    assert len(set(said)) > 5

    one = branch(policy, states, responses, rollouts=2, seed=7)
    same = branch(policy, states, responses, rollouts=2, seed=7)
    np.testing.assert_array_equal(one.q_returns, same.q_returns)
    assert not one.outcomes.any()  # it babbles, so nobody buys


def test_token_pairs_are_what_the_log_would_hold(policy: LanguageModelPolicy) -> None:
    states = collect_states(policy, range(6), 5, seed=4)
    # The very response that was given, as it was spelt, and one in words alone.
    given = [state.episode.turns[state.turn].response for state in states]
    responses = [[response, Response("Around $700.")] for response in given]
    prompts, spelt = token_pairs(states, responses, policy.model.format)
    assert len(prompts) == len(spelt) == 10
    for number, state in enumerate(states):
        tokens = tokenise(state.episode, policy.model.format)
        assert prompts[2 * number] == prompts[2 * number + 1]
        whole = prompts[2 * number] + spelt[2 * number]
        assert tokens.ids[: len(whole)] == whole
        assert tokens.turns[len(whole) - 1] == state.turn
        assert spelt[2 * number + 1] == policy.model.format.response("Around $700.")
