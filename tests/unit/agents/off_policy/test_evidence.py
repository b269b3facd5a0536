"""What is gathered of held-out conversations, against loops over their responses."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from convgym.agents.model.format import ConversationFormat, Tokens
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.off_policy.evidence import (
    Opinions,
    evidence,
    fresh_values,
    log_ratios,
    said_values,
)
from convgym.agents.values.estimates import ValueEstimates
from tests.unit.agents.logs import BAD, EASY, GOOD, HARD, conversation, pairs_of, written_by

torch.set_num_threads(1)

MakeModel = Callable[..., LanguageModel]


def score(prompts: Sequence[Tokens], responses: Sequence[Tokens]) -> torch.Tensor:
    """Return a number that tells states and responses apart."""
    pairs = zip(prompts, responses, strict=True)
    return torch.tensor([len(state) + sum(said) / 100 for state, said in pairs])


def test_ratios_are_of_whole_responses(make_model: MakeModel, format: ConversationFormat) -> None:
    old, new = make_model(seed=0), make_model(seed=1)
    log = written_by(
        old, [conversation(format, EASY, (GOOD, BAD)), conversation(format, HARD, (BAD,))]
    )
    found = log_ratios(new, log)
    assert [len(row) for row in found] == [2, 1]
    for episode, row in zip(log, found, strict=True):
        with torch.no_grad():
            logprobs = new.logprobs(new.collate([episode])).tolist()
        own = [(p, t) for p, t in zip(episode.logprobs, episode.turns, strict=True) if t >= 0]
        for turn, value in enumerate(row):
            terms = [new_p - p for new_p, (p, t) in zip(logprobs, own, strict=True) if t == turn]
            assert value == pytest.approx(sum(terms), rel=1e-4)
    assert np.concatenate(log_ratios(old, log)) == pytest.approx(0, abs=1e-4)


def test_what_was_said_is_scored_at_its_state(format: ConversationFormat) -> None:
    log = [conversation(format, EASY, (GOOD, BAD)), conversation(format, HARD, (BAD,))]
    found = said_values(score, log)
    assert [len(row) for row in found] == [2, 1]
    assert np.concatenate(found) == pytest.approx(score(*pairs_of(log)).numpy())


def test_fresh_responses_are_averaged_at_their_state(
    make_model: MakeModel, format: ConversationFormat
) -> None:
    model = make_model(max_new_tokens=3)
    log = [conversation(format, EASY, (GOOD, BAD)), conversation(format, HARD, (BAD, GOOD, BAD))]
    found = fresh_values(model, score, log, samples=5, generator=torch.Generator().manual_seed(0))
    again = model.sample(log, 5, torch.Generator().manual_seed(0))
    assert [len(row) for row in found] == [2, 3]
    for episode, candidates, row in zip(log, again, found, strict=True):
        for turn, start in enumerate(episode.response_starts()):
            said = [each.token_ids for each in candidates if each.turn == turn]
            assert len(said) == 5
            expected = score([episode.ids[:start]] * 5, said).mean()
            assert row[turn] == pytest.approx(float(expected), rel=1e-5)


def test_all_is_put_together_and_some_is_taken(format: ConversationFormat) -> None:
    log = [conversation(format, EASY, (GOOD,), 1.0), conversation(format, HARD, (BAD, BAD), 1.0)]
    judged = [ValueEstimates((), (0.1,), (0.0,), (0.2,)), ValueEstimates((), (0.3, 0.4), (), ())]
    rows = [np.array([1.0]), np.array([2.0, 3.0])]
    found = evidence(
        log,
        judged,
        ratios=rows,
        deployed_ratios=[0 * row for row in rows],
        said=rows,
        new=rows,
        deployed=rows,
        evaluated=Opinions(said=rows, fresh=[2 * row for row in rows]),
    )
    assert found.present.tolist() == [[1, 0], [1, 1]]
    assert found.rewards.tolist() == [[1, 0], [0, 1]]
    assert found.values.tolist() == [[0.1, 0], [0.3, 0.4]]
    assert found.q.tolist() == [[1, 0], [2, 3]]
    assert found.evaluated_q.tolist() == [[1, 0], [2, 3]]
    assert found.evaluated_values.tolist() == [[2, 0], [4, 6]]
    taken = found.take([1, 1, 0])
    assert len(taken) == 3
    assert taken.log_ratios.tolist() == [[2, 3], [2, 3], [1, 0]]
