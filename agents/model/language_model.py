"""A language model as the algorithms use it: how likely words were, and what else could be said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel

from convgym.agents.model.batch import Batch, TokenisedEpisode, collate, tokenise
from convgym.agents.model.branching import Branches
from convgym.agents.model.context import usable_context
from convgym.agents.model.devices import BatchSizes, cache_bytes
from convgym.agents.model.format import ConversationFormat, Tokens
from convgym.agents.model.forward import read, word_logits
from convgym.agents.model.minibatches import neighbours
from convgym.agents.model.packing import Candidate, Packed, hidden_states, pack
from convgym.agents.model.sampling import Randomness, Sample, SamplingConfig, token_logprobs
from convgym.agents.model.weights import copied, load_trained_weights, trained_weights
from convgym.conversation import Episode, Message


@dataclass(frozen=True)
class LanguageModel:
    """A causal language model, its token format, and how it is sampled: what algorithms compute on.

    From episodes to a loss it takes three steps::

        log = model.tokenise(episodes)      # one row of token ids a conversation
        batches = model.batches(log, 32)    # padded, on the model's device
        loss = -model.logprobs(batch).mean()  # log pi(token | conversation so far), (N,)

    ``distributions`` returns all of pi and not the tokens said alone, ``divergence`` an exact KL,
    ``sample`` other responses to logged states, ``imagine`` a customer's replies. Everything is
    computed on the device on which the network is; random numbers come from generators on the CPU.
    N counts response tokens, B conversations, V the vocabulary. Log-probabilities are at the
    temperature of ``sampling``, forbidden tokens left out.

    Made by hand it is not checked; ``LanguageModelPolicy`` tries it out, and raises ConvgymError
    for a model of a kind that cannot be used.
    """

    network: PreTrainedModel
    """A ``transformers`` causal language model with attention layers only."""
    format: ConversationFormat
    """How conversations become token ids for this model, with its number of logits."""
    sampling: SamplingConfig
    batch_sizes: BatchSizes

    def __post_init__(self) -> None:
        object.__setattr__(self, "format", self.format.within(self.vocabulary))

    @classmethod
    def of(
        cls,
        network: PreTrainedModel,
        format: ConversationFormat,
        sampling: SamplingConfig | None = None,
        batch_sizes: BatchSizes | None = None,
    ) -> LanguageModel:
        """Return a model with the batch sizes that suit its device unless others are given."""
        return cls(
            network,
            format,
            sampling or SamplingConfig(),
            batch_sizes or BatchSizes.of(network.device, cache=cache_bytes(network)),
        )

    @property
    def device(self) -> torch.device:
        """Where everything is computed."""
        return self.network.device

    @property
    def body(self) -> PreTrainedModel:
        """The network without its output layer."""
        return cast("PreTrainedModel", self.network.base_model)

    @property
    def vocabulary(self) -> int:
        """The ids that can be both read and sampled are those below."""
        layers = self.network.get_input_embeddings(), self.network.get_output_embeddings()
        weights = [getattr(layer, "weight", None) for layer in layers]
        sizes = [len(weight) for weight in weights if isinstance(weight, Tensor)]
        named: int = self.network.config.get_text_config().vocab_size
        return min(sizes, default=named)

    @property
    def width(self) -> int:
        """Size of a hidden state."""
        width: int = self.network.config.get_text_config().hidden_size
        return width

    @property
    def context(self) -> int:
        """The most tokens that the model is given to read, see ``usable_context``."""
        return usable_context(self.network.config)

    @property
    def room(self) -> int:
        """The most tokens of a state: they leave room for the longest response."""
        return self.context - self.sampling.max_new_tokens

    # What is read.

    def prompt(self, messages: Sequence[Message]) -> Tokens:
        """Return what is read of a conversation in which it is the seller's turn.

        All of it, or as much as leaves room for a response: ``ConversationFormat.prompt_within``.
        """
        return self.format.prompt_within(messages, self.room)

    def tokenise(self, episodes: Sequence[Episode]) -> list[TokenisedEpisode]:
        """Return what can be learned from conversations, as tokens.

        Conversations that failed are left out, and so are turns that outgrew the model's context:
        what the model read there was not the conversation from its beginning.
        """
        # Without a turn are those whose first response, of another seller, is too long.
        tokenised = [
            tokenise(
                episode,
                self.format,
                context=self.context,
                max_new_tokens=self.sampling.max_new_tokens,
            )
            for episode in episodes
            if episode.valid
        ]
        return [episode for episode in tokenised if episode.n_turns]

    # What is trained.

    def copy(self) -> LanguageModel:
        """Return a copy to be trained; weights that are frozen are shared."""
        return replace(self, network=copied(self.network))

    def trained_parameters(self) -> list[nn.Parameter]:
        """Return what an optimiser may change."""
        return [parameter for parameter in self.network.parameters() if parameter.requires_grad]

    def weights(self) -> dict[str, Tensor]:
        """Return the weights that are trained, by name."""
        return trained_weights(self.network)

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Set the weights to what ``weights`` returned of this model or a copy of it."""
        load_trained_weights(self.network, weights)

    # How likely words were.

    def collate(self, episodes: Sequence[TokenisedEpisode], *, endings: bool = False) -> Batch:
        """Return conversations as one batch on the model's device."""
        return collate(episodes, self.format.pad_id, device=self.device, endings=endings)

    def batches(self, episodes: Sequence[TokenisedEpisode], size: int) -> list[Batch]:
        """Return conversations in batches of ``size``, neighbours in length together."""
        parts = neighbours(episodes, size)
        return [self.collate([episodes[i] for i in part]) for part in parts]

    def hidden_states(self, ids: Tensor) -> Tensor:
        """Return the hidden states (B, T, width) of conversations padded at the right."""
        return read(self.body, ids)

    def word_logits(self, hidden: Tensor) -> Tensor:
        """Return the logits (..., V) of the next token from hidden states (..., width)."""
        return word_logits(self.network, hidden).float()

    def distributions(self, batch: Batch) -> Tensor:
        """Return the log-probabilities (N, V) from which the batch's response tokens were chosen.

        One forward pass over whole conversations; the N tokens stand in the order of
        ``batch.ids[batch.response]``. The distribution is the one that is sampled.
        """
        # The first token of a conversation is the customer's.
        before = self.hidden_states(batch.ids)[:, :-1][batch.response[:, 1:]]
        return self.choices(before)

    def logprobs(self, batch: Batch) -> Tensor:
        """Return the log-probability (N,) of each response token; order as ``distributions``."""
        chosen = batch.ids[batch.response][:, None]
        return self.distributions(batch).gather(-1, chosen)[:, 0]

    @torch.inference_mode()
    def divergence(self, reference: LanguageModel, episodes: Sequence[TokenisedEpisode]) -> float:
        """Return KL(self, reference) in nats per response, over what the reference said.

        The divergence of every token's whole distribution ("exact"), not of the sampled token
        alone; the tokens before it are those of the log, which the reference wrote.
        """
        total, responses = 0.0, 0
        size = self.batch_sizes.branching
        for start in range(0, len(episodes), size):
            part = episodes[start : start + size]
            batch = self.collate(part)
            terms = _divergences(self.distributions(batch), reference.distributions(batch))
            total += float(terms.sum())
            responses += sum(episode.n_turns for episode in part)
        return total / responses

    def choices(self, hidden: Tensor) -> Tensor:
        """Return the log-probabilities (..., V) of what is sampled after hidden (..., width)."""
        forbidden = torch.tensor(self.format.forbidden_ids, dtype=torch.long, device=self.device)
        logits = word_logits(self.network, hidden)
        return token_logprobs(logits, forbidden, self.sampling.temperature)

    # What else could be said.

    def pack(self, conversations: Sequence[tuple[TokenisedEpisode, Sequence[Candidate]]]) -> Packed:
        """Pack conversations, each with other responses to some of its states."""
        return pack(conversations, self.format.pad_id, self.device)

    def packed_distributions(self, packed: Packed) -> Tensor:
        """Return the log-probabilities (N, V) from which the packed candidates' tokens come."""
        return self.choices(self.packed_states(packed))

    def packed_states(self, packed: Packed) -> Tensor:
        """Return the hidden states (N, width) before each of the packed candidates' tokens.

        ``choices`` makes distributions of them, which take V / width as much memory.
        """
        return hidden_states(self.body, packed)[packed.rows, packed.parents]

    def can_imagine(self, prompt: Tokens, longest: int, max_reply_tokens: int) -> bool:
        """Tell whether a reply to a response of ``longest`` tokens to a prompt can be imagined.

        Near the end of the model's context there is no room for it.
        """
        frame = sum(map(len, self.format.reply_frame))
        return len(prompt) + longest + frame + max_reply_tokens <= self.context

    @torch.inference_mode()
    def sample(
        self,
        conversations: Sequence[TokenisedEpisode],
        samples: int,
        generator: torch.Generator,
    ) -> list[list[Candidate]]:
        """Sample ``samples`` responses to every state of every conversation, each read once."""
        candidates: list[list[Candidate]] = [[] for _ in conversations]
        for part in neighbours(conversations, self.batch_sizes.branching):
            states = [
                (row, turn, start)
                for row, i in enumerate(part)
                for turn, start in enumerate(conversations[i].response_starts())
                for _ in range(samples)
            ]
            rows, turns, starts = torch.tensor(states, device=self.device).T
            batch = self.collate([conversations[i] for i in part])
            cache = DynamicCache()
            hidden = read(self.body, batch.ids[:, : int(starts.max())], cache=cache)
            branches = Branches(self.network, cache, rows, starts, self.sampling.max_new_tokens)
            sampled = branches.sample(
                hidden[rows, starts - 1],
                generator,
                end_id=self.format.end_id,
                forbidden_ids=self.format.forbidden_ids,
                temperature=self.sampling.temperature,
                max_new_tokens=self.sampling.max_new_tokens,
            )
            for row, turn, sample in zip(rows.tolist(), turns.tolist(), sampled, strict=True):
                candidate = Candidate(turn, sample.token_ids, sample.token_logprobs)
                candidates[part[row]].append(candidate)
        return candidates

    def imagine(
        self,
        packed: Packed,
        hidden: Tensor,
        cache: DynamicCache,
        replies: int,
        max_reply_tokens: int,
        generator: Randomness,
    ) -> Tensor:
        """Return hidden states (R * replies, width) after imagined replies to R packed responses.

        The model plays the customer: it samples replies to every response, and then reads what is
        left of the block that leads up to the seller's next words.

        Args:
            packed: the responses, each with the beginning of the reply's frame after it.
            hidden: the packed rows' hidden states (B, T, width).
            cache: the packed rows' keys and values.
            replies: per response.
            max_reply_tokens: longest reply.
            generator: of the replies.
        """
        after = self.format.reply_frame[1]
        # Tokens of a response stand in every branch that continues it.
        numbers = torch.arange(replies, device=self.device)
        branch, order = (packed.response[:, None] * replies + numbers).flatten().sort(stable=True)
        longest = int(torch.bincount(packed.response).max())
        branches = Branches(
            self.network,
            cache,
            packed.end_rows.repeat_interleave(replies),
            (packed.state_columns + 1).repeat_interleave(replies),
            capacity=longest + max_reply_tokens + len(after),
        )
        branches.begin(branch, packed.columns.repeat_interleave(replies)[order])
        sampled = branches.sample(
            hidden[packed.end_rows, packed.end_columns].repeat_interleave(replies, 0),
            generator,
            end_id=after[0],
            forbidden_ids=tuple({*self.format.forbidden_ids, self.format.end_id} - {after[0]}),
            temperature=1.0,
            max_new_tokens=max_reply_tokens,
        )
        return branches.read_on([_rest_of_frame(sample, after) for sample in sampled])


def _rest_of_frame(sample: Sample, frame: Tokens) -> Tokens:
    """Return what is left of a frame after a reply; all of it after words that found no end."""
    return frame[1:] if sample.token_ids[-1] == frame[0] else frame


def exact_kl(logprobs: Tensor, reference: Tensor) -> Tensor:
    """Return KL(policy, reference) (N,) of whole distributions, given as log-probabilities (N, V).

    Estimates from the sampled tokens alone do not see probability that moves to tokens which the
    log does not hold, and that is where a policy drifts to (docs/log.md).
    """
    return _divergences(logprobs, reference).sum(-1)


def _divergences(logprobs: Tensor, reference: Tensor) -> Tensor:
    """Return what each of the tokens that could follow adds to a divergence (N, V)."""
    # Forbidden tokens are -inf - -inf.
    return logprobs.exp() * (logprobs - reference).nan_to_num(0.0)
