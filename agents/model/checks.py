"""Whether a language model computes here what it computes on its own.

Sampling keeps keys and values, and reads whole conversations, packs and branches with masks of its
own. With plain causal attention that changes nothing. Models that do otherwise, by sliding windows,
attention sinks, biases of positions, recurrent states, capped logits, would be sampled from one
distribution and trained on another, without a word. So every model is tried out as it is loaded,
on two short conversations, and is refused if a log-probability differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Protocol
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from convgym.agents.model.batch import TokenisedEpisode
from convgym.agents.model.devices import computes_in_bfloat16
from convgym.agents.model.format import MIN_WORDS, Tokens
from convgym.agents.model.generation import Prompt, ResponseSampler
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.sampling import SamplingConfig, token_logprobs
from convgym.errors import ConvgymError
from convgym.llm.local.loading import refusing

TOLERANCE = 1e-3
"""Largest difference of log-probabilities in float32, in nats."""

BFLOAT16_TOLERANCE = 0.5
"""The same of a model that comes in bfloat16. Those that are loaded are tried in float32."""

_COST = 1e8
"""Parameters times tokens of a trial: small models are tried on longer conversations."""
_SHORTEST, _LONGEST = 24, 512
_RESPONSE = 2
_TURNS = 2

_tried: WeakSet[nn.Module] = WeakSet()


def check_room(model: LanguageModel) -> None:
    """Refuse a model whose context has no room for a conversation.

    Raises:
        ConvgymError: when the system message and a response leave no room for words.
    """
    frame, response = model.format.overhead, model.sampling.max_new_tokens
    if frame + MIN_WORDS + response > model.context:
        raise ConvgymError(
            f"this model of type {_type(model)!r} reads {model.context} tokens at once (no more "
            f"than its sliding window, if it has one); {frame} around the words, system message "
            f"included, and {response} of a response leave less than {MIN_WORDS} for the "
            "conversation: use a shorter system message, a smaller max_new_tokens or another model"
        )


def check(model: LanguageModel) -> None:
    """Try a model out, once for each network.

    Raises:
        ConvgymError: for a model of a kind that cannot be used, with its type and the reason.
    """
    network = model.network
    if network in _tried:
        return
    kind = f"models of type {_type(model)!r} cannot be used"
    advice = "use a Llama-like model"
    if network.get_output_embeddings() is None:
        raise ConvgymError(f"{kind}: this one has no output layer over words; {advice}")
    if not network._can_set_attn_implementation():
        raise ConvgymError(
            f"{kind}: they do not let their attention be replaced (transformers' "
            f"AttentionInterface), which sampling branches needs; {advice}"
        )
    otherwise = f"{kind}: their attention or cache works in a way of its own"
    with refusing(otherwise, f"; {advice}"), torch.inference_mode():
        network.set_attn_implementation("sdpa")  # takes our masks
        length = min(model.context, _length(network))
        if length < _SHORTEST:
            return  # nothing fits in: see check_room
        compared = _Trial(replace(model, sampling=SamplingConfig(1.0, _RESPONSE)), length).compare()
        exact = network.dtype is torch.float32 and not computes_in_bfloat16(network)
        for what, difference in compared.items():
            if not difference <= (TOLERANCE if exact else BFLOAT16_TOLERANCE):  # it may be NaN
                raise ConvgymError(
                    f"{kind}: their log-probabilities {what} differ by {difference:.2g} nats from "
                    f"those of a plain forward pass; {advice}"
                )
    _tried.add(network)


def _type(model: LanguageModel) -> str:
    return str(model.network.config.model_type)


def _length(network: nn.Module) -> int:
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return max(_SHORTEST, min(_LONGEST, int(_COST / max(parameters, 1))))


class _Spoken(Protocol):
    """A response: ``Sample`` or ``Candidate``."""

    @property
    def token_ids(self) -> Tokens: ...
    @property
    def token_logprobs(self) -> tuple[float, ...]: ...


@dataclass(frozen=True, slots=True)
class _Said:
    """A response after a state; what anything else computes of it is compared with a plain pass."""

    state: Tokens
    token_ids: Tokens
    token_logprobs: tuple[float, ...]

    @classmethod
    def of(cls, state: Tokens, spoken: _Spoken) -> _Said:
        return cls(state, spoken.token_ids, spoken.token_logprobs)


class _Trial:
    """Two conversations of made-up words, one ``length`` tokens long and one half of that."""

    def __init__(self, model: LanguageModel, length: int) -> None:
        self._model, self._length = model, length
        self._random = torch.Generator(device="cpu").manual_seed(0)

    def compare(self) -> dict[str, float]:
        """Return the largest differences from a plain forward pass, by what was computed.

        The conversations are sampled as a policy does, then read whole, branched and packed as in
        training.
        """
        model = self._model
        told = self._hold()
        conversations = [_tokenised(turns) for turns in told]
        sampled = [said for turns in told for said in turns]
        read = model.logprobs(model.collate(conversations))
        candidates = model.sample(conversations, 1, self._random)
        branched = [
            _Said.of(episode.ids[: episode.turns.index(candidate.turn)], candidate)
            for episode, of_episode in zip(conversations, candidates, strict=True)
            for candidate in of_episode
        ]
        packed = model.pack(list(zip(conversations, candidates, strict=True)))
        chosen = packed.ids[packed.rows, packed.columns]
        of_packs = model.packed_distributions(packed).gather(1, chosen[:, None])[:, 0]
        plain, of_head = self._plain([*sampled, *branched])
        n = len(read)
        return {
            "after the output layer, by which logits are capped or scaled,": of_head,
            "in sampling with a cache": _apart(_logprobs(sampled, model.device), plain[:n]),
            "of whole conversations": _apart(read, plain[:n]),
            "in sampling branches": _apart(_logprobs(branched, model.device), plain[n:]),
            "of packed responses": _apart(of_packs, plain[n:]),
        }

    def _hold(self) -> list[list[_Said]]:
        """Return the turns of both conversations, whose beginnings are the same."""
        model = self._model
        sampler = ResponseSampler(model.network, model.format, model.sampling)
        words = sorted(set(range(model.vocabulary)) - {*model.format.forbidden_ids})
        size = (self._length,)
        picked = torch.randint(len(words), size, generator=self._random, device="cpu").tolist()
        ids = tuple(words[i] for i in picked)
        half, spoken = self._length // 2, _TURNS * _RESPONSE
        beginnings = [ids[:half], (*ids[: half // 2], ids[-1])]
        replies = [ids[half : self._length - spoken], ids[half // 2 : half - spoken]]
        told: list[list[_Said]] = [[], []]
        prompts = [Prompt((), beginning) for beginning in beginnings]
        streams = [Random(0), Random(1)]
        for _ in range(_TURNS):
            samples = sampler.sample(prompts, streams)
            for turns, prompt, sample in zip(told, prompts, samples, strict=True):
                turns.append(_Said.of(prompt.ids, sample))
            prompts = [
                Prompt(turns[-1].state + turns[-1].token_ids, reply)
                for turns, reply in zip(told, replies, strict=True)
            ]
        return told

    def _plain(self, responses: Sequence[_Said]) -> tuple[Tensor, float]:
        """Return the log-probabilities (N,) of all responses' tokens in a plain forward pass.

        And how far its logits are from those that the output layer makes of its hidden states.
        """
        model = self._model
        rows = [
            torch.tensor(said.state + said.token_ids, device=model.device) for said in responses
        ]
        ids = pad_sequence(rows, batch_first=True)
        output = model.network(input_ids=ids, use_cache=False, output_hidden_states=True)
        logits, hidden = output.logits, output.hidden_states[-1]
        if hidden.shape[-1] != model.width:
            raise ValueError(
                f"hidden states have size {hidden.shape[-1]}, and the config says {model.width}"
            )
        of_head = model.word_logits(hidden).log_softmax(-1)
        forbidden = torch.tensor(model.format.forbidden_ids, dtype=torch.long, device=model.device)
        logprobs = []
        for row, said in enumerate(responses):
            start, end = len(said.state), len(said.state) + len(said.token_ids)
            scores = token_logprobs(logits[row, start - 1 : end - 1], forbidden, 1.0)
            logprobs.append(scores.gather(1, ids[row, start:end, None])[:, 0])
        return torch.cat(logprobs), _apart(of_head, logits.float().log_softmax(-1))


def _tokenised(turns: Sequence[_Said]) -> TokenisedEpisode:
    """Return a conversation of these turns, the last of which holds the others."""
    last = turns[-1]
    numbers = [-1] * (len(last.state) + len(last.token_ids))
    logprobs = [torch.nan] * len(numbers)
    for number, said in enumerate(turns):
        place = slice(len(said.state), len(said.state) + len(said.token_ids))
        numbers[place] = [number] * len(said.token_ids)
        logprobs[place] = said.token_logprobs
    return TokenisedEpisode(last.state + last.token_ids, tuple(numbers), tuple(logprobs), 0.0)


def _logprobs(responses: Sequence[_Said], device: torch.device) -> Tensor:
    scores = [logprob for said in responses for logprob in said.token_logprobs]
    return torch.tensor(scores, device=device)


def _apart(values: Tensor, plain: Tensor) -> float:
    return float((values - plain).abs().max())
