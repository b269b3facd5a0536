"""Fitting Q: its targets against closed forms, its fit against laws that are known."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convgym.agents.model.batch import TokenisedEpisode
from convgym.agents.model.format import ConversationFormat
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.values.estimates import ValueEstimates
from convgym.agents.values.fitting import (
    WeightedEpisode,
    _value_loss,
    diagnose,
    epochs_of,
    fit,
    judge,
    lambda_returns,
)
from convgym.agents.values.q_function import QEnsemble, QFunction, QFunctionConfig
from convgym.agents.values.reuse import importance
from convgym.progress import Progress
from tests.unit.agents.logs import (
    BAD,
    EASY,
    GOOD,
    HARD,
    NO,
    YES,
    conversation,
    pairs_of,
    synthetic_log,
)

torch.set_num_threads(1)

MakeModel = Callable[..., LanguageModel]

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


@given(st.lists(st.floats(-5, 5), max_size=8))
def test_importance_is_the_capped_ratio_of_what_was_said_from_a_turn_on(
    log_ratios: list[float],
) -> None:
    naive = [
        min(1.0, math.prod(math.exp(log_ratio) for log_ratio in log_ratios[turn:]))
        for turn in range(len(log_ratios))
    ]
    assert importance(log_ratios) == pytest.approx(naive, rel=1e-9)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def fitted(
    model: LanguageModel,
    log: Sequence[TokenisedEpisode],
    *,
    earlier: Sequence[WeightedEpisode] = (),
    held_out: int = 0,
    **settings: Any,
) -> tuple[QEnsemble, list[ValueEstimates]]:
    ensemble = QEnsemble(
        model, QFunctionConfig(**{"folds": 2, "imagined": 0.0, "first_steps": 0} | settings)
    )
    judged = fit(
        ensemble,
        log,
        earlier=earlier,
        held_out=held_out,
        generator=seeded(),
    )
    return ensemble, judged


@pytest.mark.parametrize(
    ("form", "loss", "return_lambda"),
    [
        ("direct", "bce", 0.5),
        ("direct", "mse", 1.0),
        ("dueling", "bce", 1.0),
        ("dueling", "mse", 0.0),
    ],
)
def test_fit_learns_which_customers_buy_and_which_words_sell(
    make_model: MakeModel,
    format: ConversationFormat,
    form: Literal["direct", "dueling"],
    loss: Literal["bce", "mse"],
    return_lambda: float,
) -> None:
    log = synthetic_log(format, 400)
    ensemble, judged = fitted(
        make_model(hidden=32, layers=1),
        log,
        form=form,
        loss=loss,
        return_lambda=return_lambda,
        epochs=30,
        learning_rate=5e-3,
    )
    diagnostics = diagnose(log, judged, ensemble.config)
    assert diagnostics["value_loss"] < diagnostics["constant_loss"] - 0.05
    assert diagnostics["value_r2"] > 0.2  # 0.375 is all that can be known of states
    assert diagnostics["advantage_r2"] > 0.1  # 0.6 of Monte Carlo returns

    # Before the first word and after it, where three outcomes are certain and one is open.
    settled = [
        conversation(format, EASY, (GOOD, GOOD)),
        conversation(format, HARD, (BAD, GOOD)),
    ]
    for member in ensemble:
        (easy, sold), (hard, lost) = (one.values for one in judge(member, settled))
        assert easy == pytest.approx(0.75, abs=0.25)
        assert hard == pytest.approx(0.25, abs=0.25)
        assert sold == pytest.approx(1.0, abs=0.25)
        assert lost == pytest.approx(0.0, abs=0.25)

    # Every state, and both words to it.
    states, _ = pairs_of([conversation(format, EASY, (BAD, GOOD))])
    states += pairs_of([conversation(format, HARD, (GOOD, GOOD))])[0]
    states += pairs_of([conversation(format, EASY, (GOOD, GOOD))])[0][1:]
    scores = ensemble.score(
        [state for state in states for _ in range(2)],
        [(word, format.end_id) for _ in states for word in (GOOD, BAD)],
        generator=seeded(),
    )
    good, bad = scores.view(-1, 2).unbind(1)
    # A good word gains 1/4 where the other word is still to come, and 1/2 where it decides.
    assert (good - bad)[:4].min() > 0.2
    # An easy customer who has heard one good word cares less than one who has not.
    assert (good - bad)[4] < 0.95 * (good - bad)[1]


def random_heads(member: QFunction) -> QFunction:
    for head in (member.value_head, member.advantage_head):
        torch.nn.init.normal_(head.weight, generator=seeded())
    return member


def uneven_log(format: ConversationFormat) -> list[TokenisedEpisode]:
    """Different lengths; one ends without a last word, one conversation without a response."""
    log = [
        conversation(format, EASY, (GOOD, BAD, GOOD), 1.0, ending=YES),
        conversation(format, HARD, (BAD,), 0.0, ending=NO),
        conversation(format, HARD, (GOOD, GOOD), 1.0),
    ]
    log[2] = replace(log[2], ending=())
    silent = TokenisedEpisode((5, 6), (-1, -1), (math.nan,) * 2, 0.0)
    return [log[0], silent, *log[1:]]


@pytest.mark.parametrize("form", ["direct", "dueling"])
@pytest.mark.parametrize("loss", ["bce", "mse"])
def test_the_value_loss_is_that_of_a_loop_over_tokens(
    make_model: MakeModel,
    format: ConversationFormat,
    form: Literal["direct", "dueling"],
    loss: Literal["bce", "mse"],
) -> None:
    config = QFunctionConfig(form=form, loss=loss, gamma=0.7, state_weight=3.0)
    member = random_heads(QFunction(make_model(), config)).eval()
    log = uneven_log(format)
    rng = random.Random(0)
    weights = [[rng.random() for _ in range(one.n_turns)] for one in log]
    returns = [[rng.random() for _ in range(one.n_turns)] for one in log]

    total = mass = 0.0
    for one, weight, own in zip(log, weights, returns, strict=True):
        with torch.no_grad():
            raw = member.raw_values(member(torch.tensor([one.ids + one.ending])))[0].tolist()
        terms = []
        for at, turn in enumerate(one.turns):
            if turn < 0:
                continue
            # V where the token was chosen, and Q once the response is complete.
            target = 0.7 ** (one.n_turns - 1 - turn) * one.outcome
            factor = 3.0 if one.turns[at - 1] != turn else 1.0
            terms.append((raw[at - 1], target, turn, factor))
            if form == "direct" and (at + 1 == len(one.turns) or one.turns[at + 1] != turn):
                terms.append((raw[at], own[turn], turn, 3.0))
        if weight:
            terms.append((raw[-1], one.outcome, one.n_turns - 1, 3.0))
        for found, target, turn, factor in terms:
            p = 1 / (1 + math.exp(-found))
            cross_entropy = -target * math.log(p) - (1 - target) * math.log(1 - p)
            squared = (found - target) ** 2
            total += factor * weight[turn] * (cross_entropy if loss == "bce" else squared)
            mass += factor * weight[turn]

    batch = member.model.collate(log, endings=True)
    with torch.no_grad():
        found = _value_loss(
            member,
            member(batch.ids),
            batch,
            torch.tensor([w for row in weights for w in row]),
            torch.tensor([g for row in returns for g in row]),
        )
    assert float(found) == pytest.approx(total / mass, rel=1e-4)


def flipped(log: Sequence[TokenisedEpisode], number: int) -> list[TokenisedEpisode]:
    """Return a log in which one conversation ended the other way."""
    changed = list(log)
    changed[number] = replace(log[number], outcome=1 - log[number].outcome)
    return changed


def moved(one: Sequence[ValueEstimates], other: Sequence[ValueEstimates]) -> list[int]:
    """Return which conversations are judged differently, apart from what followed in them."""
    return [
        i
        for i, (a, b) in enumerate(zip(one, other, strict=True))
        if (a.token_values, a.values, a.advantages) != (b.token_values, b.values, b.advantages)
    ]


@pytest.mark.parametrize("folds", [2, 3])
@pytest.mark.parametrize("form", ["direct", "dueling"])
def test_what_is_judged_was_not_seen(
    make_model: MakeModel, format: ConversationFormat, folds: int, form: str
) -> None:
    """Conversations of the flipped one's own fold are judged as before, all others are not."""
    log, model = synthetic_log(format, 12), make_model(layers=1)
    settings: dict[str, Any] = {"folds": folds, "form": form, "epochs": 2}
    _, judged = fitted(model, log, **settings)
    for number in (0, 7):
        _, other = fitted(model, flipped(log, number), **settings)
        changed = moved(judged, other)
        assert number not in changed
        assert len(changed) == 12 - 12 // folds
        assert judged[number].returns != other[number].returns


def test_a_single_member_judges_unseen_what_was_held_out(
    make_model: MakeModel, format: ConversationFormat
) -> None:
    log, model = synthetic_log(format, 12), make_model(layers=1)
    settings: dict[str, Any] = {"folds": 1, "held_out": 4, "epochs": 2}
    _, judged = fitted(model, log, **settings)
    assert len(judged) == 12
    for number, expected in ((2, []), (7, list(range(12)))):
        _, other = fitted(model, flipped(log, number), **settings)
        assert moved(judged, other) == expected


def test_earlier_rounds_are_seen_by_all_members(
    make_model: MakeModel, format: ConversationFormat
) -> None:
    log, model = synthetic_log(format, 12), make_model(layers=1)
    found = [
        fitted(model, log[:8], earlier=[WeightedEpisode(one, (1.0, 1.0)) for one in old])[1]
        for old in (log[8:], flipped(log[8:], 0))
    ]
    assert moved(*found) == list(range(8))


def test_what_has_no_weight_counts_nothing(
    make_model: MakeModel, format: ConversationFormat
) -> None:
    log, model = synthetic_log(format, 12), make_model(layers=1)
    for weights, expected in (((0.0, 0.0), []), ((1.0, 1.0), list(range(8)))):
        found = [
            fitted(
                model,
                log[:8],
                earlier=[WeightedEpisode(one, weights) for one in old],
                reply_weight=0.0,
            )[1]
            for old in (log[8:], [flipped(log, i)[i] for i in range(8, 12)])
        ]
        assert moved(*found) == expected


@pytest.mark.parametrize("form", ["direct", "dueling"])
def test_a_minibatch_without_any_weight_does_no_harm(
    make_model: MakeModel, format: ConversationFormat, form: str
) -> None:
    long = conversation(format, EASY, (GOOD,) * 6, 1.0)  # stands apart from the others
    ensemble, judged = fitted(
        make_model(layers=1),
        synthetic_log(format, 4),
        earlier=[WeightedEpisode(long, (0.0,) * 6)] * 2,
        form=form,
        minibatch=2,
        epochs=1,
    )
    assert all(parameter.isfinite().all() for parameter in ensemble.parameters())
    assert all(math.isfinite(value) for one in judged for value in one.token_values)


def test_a_single_turn_can_be_left_out(make_model: MakeModel, format: ConversationFormat) -> None:
    member = random_heads(QFunction(make_model(), QFunctionConfig())).eval()
    batch = member.model.collate([conversation(format, EASY, (GOOD, BAD), 1.0)], endings=True)
    hidden = member(batch.ids)

    def loss(weights: tuple[float, float], returns: tuple[float, float]) -> float:
        given = torch.tensor(weights), torch.tensor(returns)
        return float(_value_loss(member, hidden, batch, *given).detach())

    assert loss((0.0, 1.0), (0.3, 0.6)) == loss((0.0, 1.0), (0.9, 0.6))
    assert loss((0.0, 1.0), (0.3, 0.6)) != loss((0.0, 1.0), (0.3, 0.7))
    assert loss((0.0, 1.0), (0.3, 0.6)) != loss((1.0, 1.0), (0.3, 0.6))
    assert loss((0.0, 2.0), (0.3, 0.6)) == pytest.approx(loss((0.0, 1.0), (0.3, 0.6)))


def test_the_value_after_the_last_words_is_the_outcome(
    make_model: MakeModel, format: ConversationFormat
) -> None:
    """A customer that tosses a coin: nothing told before it speaks, everything after."""
    rng = random.Random(1)
    log = []
    for _ in range(300):
        sold, said = rng.random() < 0.5, rng.choice([GOOD, BAD])
        log.append(
            conversation(format, EASY, [said], float(sold), ending=YES if sold else NO),
        )
    model = make_model(hidden=32, layers=1)
    ensemble, _ = fitted(model, log, epochs=30, learning_rate=5e-3)
    batch = model.collate(
        [conversation(format, EASY, [GOOD], ending=ending) for ending in (YES, NO)], endings=True
    )
    for member in ensemble:
        with torch.no_grad():
            values = member.values(member(batch.ids))
        assert values[0, -1] > 0.8
        assert values[1, -1] < 0.2
        before = values[:, len(log[0].ids) - 1].tolist()
        assert before == pytest.approx([0.5, 0.5], abs=0.2)


def test_a_q_function_that_has_seen_nothing(
    make_model: MakeModel, format: ConversationFormat
) -> None:
    """V = 1/2 and A = 0 everywhere, so that the targets are known."""
    log = synthetic_log(format, 70)  # more than one batch of 64
    member = QFunction(make_model(layers=1), QFunctionConfig(return_lambda=0.5, gamma=0.5))
    for one, judged in zip(log, judge(member, log), strict=True):
        assert judged == ValueEstimates(
            token_values=(0.5,) * 4,
            values=(0.5, 0.5),
            advantages=(0.0, 0.0),
            returns=(0.5 * (0.25 + 0.5 * one.outcome), one.outcome),
        )


@pytest.mark.parametrize("loss", ["bce", "mse"])
def test_a_first_fit_begins_at_the_mean_outcome(
    make_model: MakeModel, format: ConversationFormat, loss: Literal["bce", "mse"]
) -> None:
    log = [conversation(format, EASY, [GOOD], float(i < 2)) for i in range(10)]
    ensemble, judged = fitted(make_model(), log, folds=1, epochs=0, loss=loss)
    assert [one.values[0] for one in judged] == pytest.approx([0.2] * 10)
    (member,) = ensemble
    random_heads(member)
    bias = float(member.value_head.bias.detach())
    fit(ensemble, log, generator=seeded())
    assert float(member.value_head.bias.detach()) == bias  # fitted before: a warm start


def test_judging_reads_every_conversation_as_if_alone(
    make_model: MakeModel, format: ConversationFormat
) -> None:
    config = QFunctionConfig(form="dueling", return_lambda=0.3)
    member = random_heads(QFunction(make_model(), config)).eval()
    log = [one for one in uneven_log(format) if one.n_turns]
    for one, judged in zip(log, judge(member, log), strict=True):
        with torch.no_grad():
            hidden = member(torch.tensor([one.ids]))[0]
            values = member.values(hidden).tolist()
            advantages = member.advantage_head(hidden)[:, 0].tolist()
        at = [i for i, turn in enumerate(one.turns) if turn >= 0]
        assert judged.token_values == pytest.approx([values[i - 1] for i in at], abs=1e-5)
        starts = one.response_starts()
        assert judged.values == pytest.approx([values[i - 1] for i in starts], abs=1e-5)
        ends = [start + 1 for start in starts]  # responses are two tokens
        assert judged.advantages == pytest.approx([advantages[i] for i in ends], abs=1e-5)
        assert judged.returns == pytest.approx(
            lambda_returns(judged.values, one.outcome, gamma=1.0, return_lambda=0.3)
        )


def test_diagnostics_of_a_case_made_by_hand(format: ConversationFormat) -> None:
    log = [
        conversation(format, EASY, (GOOD, GOOD), 1.0),
        conversation(format, HARD, (BAD, BAD), 0.0),
    ]
    judged = [
        ValueEstimates((), values=(0.5, 0.8), advantages=(0.3, 0.1), returns=(0.8, 1.0)),
        ValueEstimates((), values=(0.5, 0.2), advantages=(-0.3, -0.3), returns=(0.2, 0.0)),
    ]
    found = diagnose(log, judged, QFunctionConfig())
    naive = -(2 * math.log(0.5) + 2 * math.log(0.8)) / 4
    assert found["value_loss"] == pytest.approx(naive)
    assert found["constant_loss"] == pytest.approx(math.log(2))
    assert found["value_r2"] == pytest.approx(1 - (2 * 0.25 + 2 * 0.04) / 4 / 0.25)
    # G - V is 0.3, 0.2, -0.3, -0.2, of mean 0.
    variance = (2 * 0.09 + 2 * 0.04) / 4
    assert found["advantage_r2"] == pytest.approx(1 - (0.01 + 0.01) / 4 / variance)
    assert found["target_sd"] == pytest.approx(variance**0.5)
    assert found["advantage_sd"] == pytest.approx((0.28 / 4 - 0.05**2) ** 0.5)

    squared = diagnose(log, judged, QFunctionConfig(loss="mse", gamma=0.5))
    # Returns are 1/2, 1, 0 and 0.
    assert squared["value_loss"] == pytest.approx((0.0 + 0.04 + 0.25 + 0.04) / 4)
    assert squared["constant_loss"] == pytest.approx(1.25 / 4 - 0.375**2)


def test_the_same_generator_gives_the_same_fit(
    make_model: MakeModel, format: ConversationFormat
) -> None:
    log, model = synthetic_log(format, 40), make_model(layers=1)
    before = {name: value.clone() for name, value in model.weights().items()}
    one, judged = fitted(model, log, epochs=1)
    same, again = fitted(model, log, epochs=1)
    assert judged == again
    for name, value in one.state_dict().items():
        assert torch.equal(value, same.state_dict()[name])
    for name, value in model.weights().items():  # Q has a body of its own
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("form", ["direct", "dueling"])
@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("folds", [1, 3])
def test_fit_takes_the_smallest_logs(
    make_model: MakeModel, format: ConversationFormat, n: int, folds: int, form: str
) -> None:
    log = [
        TokenisedEpisode((5, 6, format.end_id), (-1, 0, 0), (0.0,) * 3, float(i)) for i in range(n)
    ]
    ensemble, judged = fitted(make_model(layers=1), log, folds=folds, form=form)
    assert len(judged) == n
    diagnostics = diagnose(log, judged, ensemble.config)
    assert all(math.isfinite(value) for value in diagnostics.values())
    assert all(parameter.isfinite().all() for parameter in ensemble.parameters())


def test_progress_is_told_by_members(make_model: MakeModel, format: ConversationFormat) -> None:
    told: list[Progress] = []
    fit(
        QEnsemble(make_model(layers=1), QFunctionConfig(folds=3, epochs=1, first_steps=0)),
        synthetic_log(format, 6),
        generator=seeded(),
        progress=told.append,
    )
    assert [(news.done, news.total) for news in told] == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("minibatches", "fitted", "expected"),
    [(32, False, 4), (16, False, 8), (30, False, 5), (200, False, 2), (16, True, 2), (0, False, 2)],
)
def test_a_first_fit_takes_so_many_steps_at_least(
    minibatches: int, fitted: bool, expected: int
) -> None:
    config = QFunctionConfig(epochs=2, first_steps=128)
    assert epochs_of(config, minibatches, fitted=fitted) == expected
    assert epochs_of(replace(config, epochs=0), minibatches, fitted=fitted) == 0
