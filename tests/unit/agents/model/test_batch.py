"""Episodes as training tensors."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from convgym.agents.model.batch import TokenisedEpisode, collate, tokenise
from convgym.agents.model.format import ConversationFormat
from convgym.conversation import Episode, Response, Turn


def episode(*turns: Turn) -> Episode:
    return Episode(3, "Hi.", turns, "purchase", customer="c", policy="p")


def test_a_scripted_sellers_words_are_encoded(format: ConversationFormat) -> None:
    found = tokenise(
        episode(
            Turn(Response("What is your budget?"), "Around $700."),
            Turn(Response("Shall I order it?"), "Yes."),
        ),
        format,
    )
    blocks = [
        format.opening("Hi."),
        format.response("What is your budget?"),
        format.reply("Around $700."),
        format.response("Shall I order it?"),
    ]
    assert found.ids == sum(blocks, ())
    expected = [turn for turn, block in zip((-1, 0, -1, 1), blocks, strict=True) for _ in block]
    assert list(found.turns) == expected
    assert all(math.isnan(logprob) for logprob in found.logprobs)
    assert found.outcome == 1.0


@pytest.mark.parametrize("ids", [(), (-1,), (10**6,), (2**70,), (0, 5, 1), "customer"])
def test_tokens_that_no_response_may_hold_are_those_of_another_model(
    format: ConversationFormat, ids: Any
) -> None:
    words = format.response("Hello.")
    if ids == "customer":  # which is not heard, and could not be said
        ids = (format.opening("")[0], *words)
    for text in ("", "Hello."):
        response = Response(text, ids, (-0.5,) * len(ids))
        assert format.spelling(response) is None
        found = tokenise(episode(Turn(response, "Bye.")), format)
        assert found.ids == format.opening("Hi.") + format.response(text)
        assert all(math.isnan(logprob) for logprob in found.logprobs)
    assert format.spelling(Response("Hello.", words)) == words


def test_sampled_tokens_are_kept_as_they_were_sampled(format: ConversationFormat) -> None:
    # The same words, letter by letter: not how the tokenizer spells them.
    vocabulary = format.tokenizer.get_vocab()
    spelt = (*(vocabulary[letter] for letter in "Yes"), format.end_id)
    assert format.decode(spelt) == "Yes"
    assert spelt != format.response("Yes")
    logprobs = (-1.0, -2.0, -3.0, -4.0)
    found = tokenise(episode(Turn(Response("Yes", spelt, logprobs), "Bye.")), format)
    start = len(format.opening("Hi."))
    assert found.ids[start:] == spelt
    assert found.logprobs[start:] == logprobs
    assert all(math.isnan(logprob) for logprob in found.logprobs[:start])


def test_tokens_of_another_model_are_not_mistaken_for_this_ones(
    format: ConversationFormat,
) -> None:
    response = Response("Yes", (99, 98, 97), (-1.0, -2.0, -3.0))
    found = tokenise(episode(Turn(response, "Bye.")), format)
    start = len(format.opening("Hi."))
    assert found.ids[start:] == format.response("Yes")
    assert all(math.isnan(logprob) for logprob in found.logprobs)


def test_batches_are_padded_and_masked() -> None:
    nan = math.nan
    batch = collate(
        [
            TokenisedEpisode((7, 8, 9), (-1, 0, 0), (nan, -1.0, -2.0), 1.0),
            TokenisedEpisode((7, 8, 7, 9, 9), (-1, 0, -1, 1, 1), (nan, -1, nan, -3, -4), 0.0),
        ],
        pad_id=0,
        device=torch.device("cpu"),
    )
    assert len(batch) == 2
    assert batch.ids.tolist() == [[7, 8, 9, 0, 0], [7, 8, 7, 9, 9]]
    assert batch.response.tolist() == [[0, 1, 1, 0, 0], [0, 1, 0, 1, 1]]
    assert batch.turns.tolist() == [[-1, 0, 0, -1, -1], [-1, 0, -1, 1, 1]]
    assert batch.logprobs[batch.response].tolist() == [-1, -2, -1, -3, -4]
    assert batch.logprobs[~batch.response].isnan().all()
    assert batch.outcomes.tolist() == [1.0, 0.0]
    assert batch.lengths.tolist() == [3, 5]
    assert batch.ids.dtype == batch.turns.dtype == torch.long


@pytest.mark.parametrize("silent", [True, False])
def test_an_episode_without_words_has_only_its_end(
    format: ConversationFormat, silent: bool
) -> None:
    turns = (Turn(Response(""), "Hello?"),) if silent else ()
    found = tokenise(episode(*turns), format)
    assert sum(turn >= 0 for turn in found.turns) == silent
