"""Whole conversations as training tensors: one row each, the customer's tokens masked out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from convgym.agents.model.format import ConversationFormat, Tokens
from convgym.conversation import Episode


@dataclass(frozen=True, slots=True)
class TokenisedEpisode:
    """One conversation up to its last response, token by token.

    ``turns`` numbers the turn of a response's tokens and is -1 at all others; ``logprobs`` holds
    the behaviour policy's log-probabilities, NaN where no model spoke or where they are unknown.
    """

    ids: tuple[int, ...]
    turns: tuple[int, ...]
    logprobs: tuple[float, ...]
    outcome: float
    ending: Tokens = ()
    """The customer's last words as the block that would lead up to another response: no part of
    what a policy learns, but of what is known of customers."""

    @property
    def n_turns(self) -> int:
        """Number of responses."""
        return max(self.turns, default=-1) + 1

    def response_starts(self) -> list[int]:
        """Return where each response begins; the tokens before it are its state."""
        return [self.turns.index(turn) for turn in range(self.n_turns)]


@dataclass(frozen=True, slots=True)
class Batch:
    """B conversations padded at the right to the longest, T tokens.

    What stands at column t belongs to token t: its log-probability is read off the logits at
    t - 1, and the value of the state in which it was chosen off the critic's output at t - 1.
    """

    ids: Tensor
    """(B, T) token ids."""
    response: Tensor
    """(B, T) bool, True on tokens that the seller produced, the end of a response included."""
    turns: Tensor
    """(B, T) number of the turn on response tokens, -1 elsewhere."""
    logprobs: Tensor
    """(B, T) log-probabilities under the behaviour policy, NaN where there are none."""
    outcomes: Tensor
    """(B,) 1.0 for a purchase, else 0.0."""
    lengths: Tensor
    """(B,) number of tokens of each row."""

    def __len__(self) -> int:
        return len(self.ids)

    def part(self, rows: slice) -> Batch:
        """Return some of the conversations, without the padding that others needed."""
        lengths = self.lengths[rows]
        longest = int(lengths.max())
        return Batch(
            ids=self.ids[rows, :longest],
            response=self.response[rows, :longest],
            turns=self.turns[rows, :longest],
            logprobs=self.logprobs[rows, :longest],
            outcomes=self.outcomes[rows],
            lengths=lengths,
        )

    def tokens(self, rows: slice) -> slice:
        """Return where the response tokens of some conversations stand among all N of them."""
        before = int(self.response[: rows.start].sum())
        return slice(before, before + int(self.response[rows].sum()))

    @property
    def present(self) -> Tensor:
        """(B, T) bool, False on padding."""
        return torch.arange(self.ids.shape[1], device=self.ids.device) < self.lengths[:, None]


def tokenise(
    episode: Episode,
    format: ConversationFormat,
    *,
    context: int | None = None,
    max_new_tokens: int = 0,
) -> TokenisedEpisode:
    """Return an episode's tokens; what follows the last response is left out.

    A response's own ids are kept where they spell its text in this format, so that the
    log-probabilities belong to the very tokens that were sampled; else its text is encoded.

    Args:
        episode: the conversation.
        format: of the model; where it has a leaflet, the episode's takes its place.
        context: the tokens that the model can read; None reads any. The conversation ends with the
            last turn whose state leaves room for a response, as later ones were not read from
            their beginning (``ConversationFormat.prompt_within``).
        max_new_tokens: longest response that room must be left for, if not for a longer one that
            was given. Of responses within it the first is always kept.
    """
    format = format.about(episode.leaflet)
    opening = format.opening(episode.opening)
    if context is not None:
        opening = format.prompt_within(episode.messages(0), context - max_new_tokens)
    ids = [*opening]
    turns, logprobs = [-1] * len(ids), [torch.nan] * len(ids)
    ending: Tokens = ()
    for index, turn in enumerate(episode.turns):
        response = turn.response
        own = format.spelling(response)
        spelt = format.response(response.text) if own is None else own
        unknown = (torch.nan,) * len(spelt)
        scores = unknown if own is None else response.token_logprobs or unknown
        needed = len(ids) + len(ending) + max(max_new_tokens, len(spelt))
        if context is not None and needed > context:
            break
        ids += (*ending, *spelt)
        turns += [-1] * len(ending) + [index] * len(spelt)
        logprobs += (*[torch.nan] * len(ending), *scores)
        ending = format.reply(turn.reply)
    if context is not None and len(ids) + len(ending) > context:
        ending = ()
    return TokenisedEpisode(tuple(ids), tuple(turns), tuple(logprobs), episode.reward, ending)


def shortened(episode: TokenisedEpisode, turns: int) -> TokenisedEpisode:
    """Return a conversation up to the end of its first ``turns`` turns, at least 1.

    What the customer said next becomes its ending.
    """
    if turns >= episode.n_turns:
        return episode
    following = episode.turns.index(turns)
    end = len(episode.turns) - episode.turns[::-1].index(turns - 1)
    return replace(
        episode,
        ids=episode.ids[:end],
        turns=episode.turns[:end],
        logprobs=episode.logprobs[:end],
        ending=episode.ids[end:following],
    )


def collate(
    episodes: Sequence[TokenisedEpisode],
    pad_id: int,
    *,
    device: torch.device,
    endings: bool = False,
) -> Batch:
    """Return episodes as one batch on a device, padded to the longest; with endings if asked to."""
    endless: Tokens = ()
    tails = [episode.ending if endings else endless for episode in episodes]
    rows = [episode.ids + tail for episode, tail in zip(episodes, tails, strict=True)]
    width = max(map(len, rows))

    def padded(values: Sequence[float], fill: float) -> list[float]:
        return [*values, *[fill] * (width - len(values))]

    turns = torch.tensor([padded(episode.turns, -1) for episode in episodes], device=device)
    return Batch(
        ids=torch.tensor([padded(row, pad_id) for row in rows], device=device),
        response=turns >= 0,
        turns=turns,
        logprobs=torch.tensor(
            [padded(episode.logprobs, torch.nan) for episode in episodes], device=device
        ),
        outcomes=torch.tensor([episode.outcome for episode in episodes], device=device),
        lengths=torch.tensor([len(row) for row in rows], device=device),
    )


def first_tokens(batch: Batch) -> Tensor:
    """Return where (B, T) a response begins; the token before it ends the state."""
    before = functional.pad(batch.turns[:, :-1], (1, 0), value=-1)
    return batch.response & (batch.turns != before)


def last_tokens(batch: Batch) -> Tensor:
    """Return where (B, T) a response ends."""
    after = functional.pad(batch.turns[:, 1:], (0, 1), value=-1)
    return batch.response & (batch.turns != after)
