"""The action value: its targets against closed forms, its fit against a relation that is known."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convgym.agents.batch import TokenisedEpisode, collate
from convgym.agents.conversation_format import ConversationFormat
from convgym.agents.packing import Candidate, pack
from convgym.agents.q_function import (
    QFunction,
    QFunctionConfig,
    first_tokens,
    fit,
    lambda_returns,
    last_tokens,
    targets,
)

torch.set_num_threads(1)

MakeModel = Callable[..., Any]
EASY, HARD, GOOD, BAD, REPLY = range(20, 25)  # one token each

probabilities = st.floats(0, 1)


@given(
    values=st.lists(probabilities, min_size=1, max_size=12),
    outcome=st.sampled_from([0.0, 1.0]),
    gamma=probabilities,
    return_lambda=probabilities,
)
def test_lambda_returns(
    values: list[float], outcome: float, gamma: float, return_lambda: float
) -> None:
    def returns(gamma: float, return_lambda: float) -> list[float]:
        return lambda_returns(values, outcome, gamma=gamma, return_lambda=return_lambda)

    n = len(values)
    # The m-step returns, weighted by lambda^(m - 1); the last, Monte Carlo, by the rest.
    naive = [
        sum(
            (1 - return_lambda) * return_lambda ** (m - 1) * gamma**m * values[i + m]
            for m in range(1, n - i)
        )
        + (return_lambda * gamma) ** (n - 1 - i) * outcome
        for i in range(n)
    ]
    assert returns(gamma, return_lambda) == pytest.approx(naive, abs=1e-9)
    monte_carlo = [gamma ** (n - 1 - i) * outcome for i in range(n)]
    assert returns(gamma, 1.0) == pytest.approx(monte_carlo, abs=1e-9)
    one_step = [gamma * value for value in values[1:]]
    assert returns(gamma, 0.0) == pytest.approx([*one_step, outcome], abs=1e-9)
    for i, found in enumerate(returns(1.0, return_lambda)):
        ahead = [*values[i + 1 :], outcome]
        assert min(ahead) - 1e-9 <= found <= max(ahead) + 1e-9
    assert all(0 <= found <= 1 + 1e-9 for found in returns(gamma, return_lambda))


def test_where_responses_begin_and_end() -> None:
    def row(*turns: int) -> TokenisedEpisode:
        return TokenisedEpisode((5,) * len(turns), turns, (0.0,) * len(turns), 0.0)

    # The second holds an empty reply between its responses, and a response of one token.
    batch = collate([row(-1, -1, 0, 0, 0, -1, 1, 1), row(-1, 0, 0, 1, 2, 2), row(-1, 0)], pad_id=0)
    assert [one.nonzero()[:, 0].tolist() for one in first_tokens(batch)] == [[2, 6], [1, 3, 4], [1]]
    assert [one.nonzero()[:, 0].tolist() for one in last_tokens(batch)] == [[4, 7], [2, 3, 5], [1]]


def conversation(
    format: ConversationFormat, customer: int, said: Sequence[int], outcome: float = 0.0
) -> TokenisedEpisode:
    ids, turns = [customer], [-1]
    for turn, word in enumerate(said):
        ids += [word, format.end_id, REPLY]
        turns += [turn, turn, -1]
    return TokenisedEpisode(tuple(ids[:-1]), tuple(turns[:-1]), (0.0,) * len(ids[:-1]), outcome)


def synthetic_log(format: ConversationFormat, n: int) -> list[TokenisedEpisode]:
    """Of two words, easy customers want to hear at least one good one, hard ones two."""
    rng = random.Random(0)
    episodes = []
    for _ in range(n):
        customer, said = rng.choice([EASY, HARD]), rng.choices([GOOD, BAD], k=2)
        sold = said.count(GOOD) >= (1 if customer == EASY else 2)
        episodes.append(conversation(format, customer, said, float(sold)))
    return episodes


def fitted(
    model: Any, format: ConversationFormat, log: list[TokenisedEpisode], **settings: Any
) -> tuple[QFunction, dict[str, float]]:
    q_function = QFunction(model)
    diagnostics = fit(
        q_function,
        log,
        QFunctionConfig(**settings),
        language_head=model.get_output_embeddings(),
        pad_id=format.pad_id,
        generator=torch.Generator().manual_seed(0),
    )
    return q_function, diagnostics


@pytest.mark.parametrize("return_lambda", [0.0, 0.5, 1.0])
def test_fit_learns_which_customers_buy_and_which_words_sell(
    make_model: MakeModel, format: ConversationFormat, return_lambda: float
) -> None:
    log = synthetic_log(format, 400)
    q_function, diagnostics = fitted(
        make_model(hidden=32, layers=1),
        format,
        log,
        epochs=8,
        learning_rate=3e-3,
        held_out=0.2,
        return_lambda=return_lambda,
    )
    assert diagnostics["value_loss"] < diagnostics["constant_loss"] - 0.1
    assert diagnostics["advantage_r2"] > 0.3

    # Before the first word and after it, where three outcomes are certain and one is open.
    before: dict[int, float] = {}
    for customer, certain, said in ((EASY, 1.0, GOOD), (HARD, 0.0, BAD)):
        batch = collate([conversation(format, customer, (said, GOOD))], format.pad_id)
        before[customer], after = q_function.state_values(batch).tolist()
        assert after == pytest.approx(certain, abs=0.2)
    assert before[EASY] == pytest.approx(0.75, abs=0.2)
    assert before[HARD] == pytest.approx(0.25, abs=0.2)

    def candidates(*turns: int) -> list[Candidate]:
        return [
            Candidate(turn, (word, format.end_id), (0.0, 0.0))
            for turn in turns
            for word in (GOOD, BAD)
        ]

    packed = pack(
        [
            (conversation(format, EASY, (BAD, GOOD)), candidates(0, 1)),
            (conversation(format, HARD, (GOOD, GOOD)), candidates(0, 1)),
            (conversation(format, EASY, (GOOD, GOOD)), candidates(1)),
        ],
        format.pad_id,
    )
    good, bad = q_function.score(packed).view(-1, 2).unbind(1)
    # A good word gains 1/4 where the other word is still to come, and 1/2 where it decides.
    assert (good - bad)[:4].min() > 0.2
    assert (good - bad)[1] > (good - bad)[0]
    # An easy customer who has heard one good word does not care any more.
    assert (good - bad)[4].abs() < 0.5 * (good - bad)[1]


def test_the_same_generator_gives_the_same_fit(
    make_model: MakeModel, format: ConversationFormat
) -> None:
    log, model = synthetic_log(format, 60), make_model(layers=1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    one, diagnostics = fitted(model, format, log, epochs=1, reply_weight=0.5)
    same, again = fitted(model, format, log, epochs=1, reply_weight=0.5)
    assert diagnostics == again
    for name, value in one.state_dict().items():
        assert torch.equal(value, same.state_dict()[name])
    for name, value in model.state_dict().items():  # Q has a body of its own
        assert torch.equal(value, before[name])


def test_a_q_function_that_has_seen_nothing(
    make_model: MakeModel, format: ConversationFormat
) -> None:
    """V = 1/2 and A = 0 everywhere, so that the targets are known."""
    log = synthetic_log(format, 70)  # more than one batch of 64
    config = QFunctionConfig(return_lambda=0.5, gamma=0.5)
    values, returns = targets(QFunction(make_model(layers=1)), log, config, format.pad_id)
    assert values == [[0.5, 0.5]] * 70
    assert returns == [[0.5 * (0.25 + 0.5 * one.outcome), one.outcome] for one in log]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n", [1, 2])
def test_fit_takes_the_smallest_logs(
    make_model: MakeModel, format: ConversationFormat, n: int
) -> None:
    log = [
        TokenisedEpisode((5, 6, format.end_id), (-1, 0, 0), (0.0,) * 3, float(i)) for i in range(n)
    ]
    q_function, diagnostics = fitted(make_model(layers=1), format, log)
    assert all(value == value for value in diagnostics.values())  # no NaN
    assert all(parameter.isfinite().all() for parameter in q_function.parameters())
