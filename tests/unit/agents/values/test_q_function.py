"""The action value: its opinions of responses against closed forms, and how they are combined."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from convgym.agents.model.batch import TokenisedEpisode, collate, first_tokens, last_tokens
from convgym.agents.model.format import ConversationFormat, Tokens
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.values.fitting import fit
from convgym.agents.values.q_function import QEnsemble, QFunction, QFunctionConfig, combine
from convgym.errors import ConvgymError
from tests.unit.agents.logs import (
    BAD,
    EASY,
    GOOD,
    HARD,
    NO,
    REPLY,
    YES,
    conversation,
    pairs_of,
    synthetic_log,
)

torch.set_num_threads(1)

MakeModel = Callable[..., LanguageModel]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"folds": 0}, "at least 1 fold, got 0"),
        ({"imagined": 1.5}, "imagined is a share from 0 to 1, got 1.5"),
        ({"imagined": -0.1}, "imagined is a share from 0 to 1, got -0.1"),
        ({"replies": 0}, "replies >= 1 and reply_weight > 0, got 0 and 1.0: or set imagined=0"),
        ({"reply_weight": 0.0}, "got 2 and 0.0: or set imagined=0"),
    ],
)
def test_mistakes_in_the_config(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConvgymError, match=message) as caught:
        QFunctionConfig(**settings)
    assert "\n" not in str(caught.value)


def test_who_imagines_nothing_needs_no_replies() -> None:
    QFunctionConfig(imagined=0.0, replies=0, reply_weight=0.0)


def test_where_responses_begin_and_end() -> None:
    def row(*turns: int) -> TokenisedEpisode:
        return TokenisedEpisode((5,) * len(turns), turns, (0.0,) * len(turns), 0.0)

    # The second holds an empty reply between its responses, and a response of one token.
    batch = collate(
        [row(-1, -1, 0, 0, 0, -1, 1, 1), row(-1, 0, 0, 1, 2, 2), row(-1, 0)],
        pad_id=0,
        device=torch.device("cpu"),
    )
    assert [one.nonzero()[:, 0].tolist() for one in first_tokens(batch)] == [[2, 6], [1, 3, 4], [1]]
    assert [one.nonzero()[:, 0].tolist() for one in last_tokens(batch)] == [[4, 7], [2, 3, 5], [1]]


def test_opinions_are_combined() -> None:
    opinions = torch.tensor([[0.1, -0.2], [0.3, -0.2], [0.8, 0.7]])  # (members, responses)
    mean, sd = [0.4, 0.1], [(0.26 / 3) ** 0.5, (0.54 / 3) ** 0.5]

    def found(**settings: Any) -> list[float]:
        return combine(opinions, QFunctionConfig(**settings)).tolist()

    assert found() == pytest.approx(mean)
    assert found(combine="min") == pytest.approx([0.1, -0.2])
    for pessimism in (1.0, 2.5):
        assert found(combine="lower-bound", pessimism=pessimism) == pytest.approx(
            [m - pessimism * s for m, s in zip(mean, sd, strict=True)]
        )
    single = combine(opinions[:1], QFunctionConfig(combine="lower-bound"))
    assert single.tolist() == pytest.approx([0.1, -0.2])


def random_heads(members: Sequence[QFunction]) -> None:
    for number, member in enumerate(members):
        for head in (member.value_head, member.advantage_head):
            torch.nn.init.normal_(head.weight, generator=seeded(number))
        for parameter in member.network.parameters():  # members that differ all through
            parameter.data *= 1 + 0.1 * number


@pytest.mark.parametrize("form", ["direct", "dueling"])
@pytest.mark.parametrize("loss", ["bce", "mse"])
def test_the_forms(
    make_model: MakeModel, form: Literal["direct", "dueling"], loss: Literal["bce", "mse"]
) -> None:
    member = QFunction(make_model(layers=1), QFunctionConfig(form=form, loss=loss))
    random_heads([member])
    before, after = torch.randn(2, 5, 16, generator=seeded())
    value, other = (one @ member.value_head.weight[0] for one in (before, after))
    if loss == "bce":
        value, other = value.sigmoid(), other.sigmoid()
    torch.testing.assert_close(member.values(before), value)
    own = after @ member.advantage_head.weight[0]
    expected = other - value if form == "direct" else own
    torch.testing.assert_close(member.advantages(before, after), expected)


@pytest.fixture
def few_words(format: ConversationFormat) -> ConversationFormat:
    """Leave a dozen words that a customer or seller could say."""
    format.forbidden_ids = (*format.forbidden_ids, *range(16, len(format.tokenizer)))
    return format


def test_an_imagined_opinion_is_the_expected_value_after_a_reply(
    make_model: MakeModel, few_words: ConversationFormat
) -> None:
    """Replies of at most one word, whose distribution is summed over in full."""
    config = QFunctionConfig(replies=2000, max_reply_tokens=1)
    member = QFunction(make_model(), config).eval()
    random_heads([member])
    format = few_words
    before, after = format.reply_frame
    prompts: list[Tokens] = [(5, 6, 7), (8, 9)]
    responses: list[Tokens] = [(10, format.end_id), (11, 12, 13, format.end_id)]
    values, direct, found = member.opinions(prompts, responses, seeded())
    with torch.no_grad():
        for i, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
            hidden, mean = member(torch.tensor([prompt + response]))[0], found[i]
            at_state = float(member.values(hidden[len(prompt) - 1]))
            assert float(values[i]) == pytest.approx(at_state, abs=1e-5)
            gain = float(member.values(hidden[-1])) - at_state
            assert float(direct[i]) == pytest.approx(gain, abs=1e-5)
            ids = prompt + response + before
            logits = member.model.word_logits(member(torch.tensor([ids]))[0, -1])
            never = {*format.forbidden_ids, format.end_id} - {after[0]}
            logits[list(never)] = -torch.inf
            p = logits.softmax(-1)
            # A reply ends with the first token of what leads up to the next response.
            endings = {
                word: after if word == after[0] else (word, *after)
                for word in p.nonzero()[:, 0].tolist()
            }
            after_reply = {
                word: float(member.values(member(torch.tensor([ids + ending]))[0, -1]))
                for word, ending in endings.items()
            }
            assert len(after_reply) > 10
            expected = sum(float(p[word]) * v for word, v in after_reply.items())
            spread = sum(float(p[word]) * (v - expected) ** 2 for word, v in after_reply.items())
            assert float(mean) == pytest.approx(expected, abs=4 * (spread / 2000) ** 0.5 + 1e-4)
            assert spread > 1e-5


def rare_words(format: ConversationFormat, n: int) -> list[TokenisedEpisode]:
    """A customer whose reply decides; of 10 responses about 8 leave it to toss a coin."""
    rng, log = random.Random(0), []
    for _ in range(n):
        word = rng.choices([REPLY, GOOD, BAD], weights=[8, 1, 1])[0]
        sold = {GOOD: True, BAD: False}.get(word, rng.random() < 0.5)
        log.append(
            conversation(
                format,
                rng.choice([EASY, HARD]),
                [word],
                float(sold),
                ending=YES if sold else NO,
            )
        )
    return log


def test_imagination_tells_rare_responses_apart(
    make_model: MakeModel, format: ConversationFormat
) -> None:
    config = QFunctionConfig(
        folds=1, imagined=1.0, replies=16, epochs=8, learning_rate=1e-2, max_reply_tokens=4
    )
    ensemble = QEnsemble(make_model(hidden=32, layers=1), config)
    fit(ensemble, rare_words(format, 300), generator=seeded())
    states, _ = pairs_of([conversation(format, one, [REPLY]) for one in (EASY, HARD)])
    words = (GOOD, REPLY, BAD)
    scores = ensemble.score(
        [state for state in states for _ in words],
        [(word, format.end_id) for _ in states for word in words],
        generator=seeded(),
    ).view(-1, 3)
    for good, plain, bad in scores.tolist():
        assert good > plain + 0.15
        assert plain > bad + 0.15
        assert 0 <= bad < good <= 1


def ensemble_of(make_model: MakeModel, **settings: Any) -> QEnsemble:
    config = QFunctionConfig(**{"folds": 2, "max_reply_tokens": 4} | settings)
    ensemble = QEnsemble(make_model(layers=1), config).eval()
    random_heads(list(ensemble))
    return ensemble


def some_pairs(format: ConversationFormat) -> tuple[list[Tokens], list[Tokens]]:
    """Return pairs of which some are equal and whose prompts begin one another."""
    return pairs_of(synthetic_log(format, 10))


@pytest.mark.parametrize("form", ["direct", "dueling"])
@pytest.mark.parametrize("how", ["mean", "min"])
def test_an_ensembles_score_without_imagination(
    make_model: MakeModel, format: ConversationFormat, form: str, how: str
) -> None:
    ensemble = ensemble_of(make_model, imagined=0.0, form=form, combine=how)
    prompts, responses = some_pairs(format)
    scores = ensemble.score(prompts, responses, generator=seeded())
    for prompt, response, score in zip(prompts, responses, scores.tolist(), strict=True):
        values, opinions = [], []
        for member in ensemble:
            with torch.no_grad():
                hidden = member(torch.tensor([prompt + response]))[0]
                before, after = hidden[len(prompt) - 1], hidden[-1]
                values.append(float(member.values(before)))
                opinions.append(float(member.advantages(before, after)))
        advantage = min(opinions) if how == "min" else sum(opinions) / 2
        assert score == pytest.approx(sum(values) / 2 + advantage, abs=1e-5)


def test_a_score_mixes_both_opinions(make_model: MakeModel, few_words: ConversationFormat) -> None:
    prompts, responses = some_pairs(few_words)

    def score(imagined: float) -> Tensor:
        ensemble = ensemble_of(make_model, imagined=imagined)
        return ensemble.score(prompts, responses, generator=seeded())

    direct, both, dreamt = score(0.0), score(0.25), score(1.0)
    torch.testing.assert_close(both, 0.75 * direct + 0.25 * dreamt)
    assert (direct - dreamt).abs().max() > 0.01
    # The state's value cancels: what is left is the mean of what members imagine.
    ensemble = ensemble_of(make_model, imagined=1.0)
    different = list(dict.fromkeys(zip(prompts, responses, strict=True)))
    states, said = [one for one, _ in different], [one for _, one in different]
    generator = seeded()
    imagined = torch.stack(
        [member.opinions(states, said, generator)[2] for member in ensemble]
    ).mean(0)
    found = dict(zip(zip(prompts, responses, strict=True), dreamt.tolist(), strict=True))
    assert [found[pair] for pair in different] == pytest.approx(imagined.tolist(), abs=1e-5)


def test_equal_pairs_have_equal_scores_in_any_order(
    make_model: MakeModel, few_words: ConversationFormat
) -> None:
    ensemble = ensemble_of(make_model, imagined=1.0, replies=64)
    prompts, responses = some_pairs(few_words)
    order = list(range(len(prompts)))
    random.Random(0).shuffle(order)

    def score(order: Sequence[int], seed: int) -> Tensor:
        found = torch.zeros(len(prompts))
        found[list(order)] = ensemble.score(
            [prompts[i] for i in order],
            [responses[i] for i in order],
            generator=seeded(seed),
        )
        return found

    one, same, other = score(range(len(prompts)), 0), score(range(len(prompts)), 0), score(order, 1)
    assert torch.equal(one, same)
    # Sampling noise apart, whose deviation is below 1/2 in 128 replies.
    torch.testing.assert_close(one, other, atol=5 * 0.5 / 128**0.5, rtol=0)
    assert not torch.equal(one, other)
    correlation = torch.corrcoef(torch.stack([one, other]))[0, 1]
    assert correlation > 0.8
    by_pair: dict[tuple[Tokens, Tokens], set[float]] = {}
    for pair, score_ in zip(zip(prompts, responses, strict=True), one.tolist(), strict=True):
        by_pair.setdefault(pair, set()).add(score_)
    assert len(by_pair) < len(prompts)
    assert all(len(scores) == 1 for scores in by_pair.values())


def test_no_pairs_no_scores(make_model: MakeModel) -> None:
    scores = ensemble_of(make_model).score([], [], generator=seeded())
    assert scores.shape == (0,)
