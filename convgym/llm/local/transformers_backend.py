"""A chat model in this process, through ``transformers``: no key, no network, no server."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from convgym.errors import ConvgymError
from convgym.llm.base import ChatAnswer, ChatMessage, ChatRequest, ChatResult, Continuation
from convgym.llm.local.chat_template import (
    named_template,
    read_frames,
    render,
    system_in_first,
)
from convgym.llm.local.devices import Dtype, check_dtype, find_device, has_bfloat16
from convgym.llm.local.likelihood import mean_log_probabilities
from convgym.llm.local.loading import files_digest, load_folder, refusing
from convgym.llm.local.sampling import MIN_P, Row, Sampler, Tokens
from convgym.llm.local.schema import ENFORCED, SchemaGuide
from convgym.llm.local.smollm2 import NAME, gguf_file, load_smollm2
from convgym.reasoning import strip_reasoning

if TYPE_CHECKING:
    from transformers import (
        PreTrainedModel,
        PreTrainedTokenizerBase,
        PreTrainedTokenizerFast,
    )

CUT = " ... "
"""Stands where a message was cut to fit the model's context."""

_UNKNOWN_CONTEXT = 2048
"""Tokens that are given to a model of which nothing says how many it reads."""

_TOLERANCE = 1e-2
"""Largest difference of logits between a batch and a plain forward pass."""


class TransformersBackend:
    """Answers requests with a causal chat model of ``transformers``, in batches.

    A request's sample depends on its own seed: which requests are beside it, and what was asked
    before, changes it no more than rounding does. JSON schemas are enforced token by token where
    the package ``llguidance`` is installed; without it they are left to the prompt.

    A request that does not fit the model's context loses its oldest messages after the
    instruction, and if need be the middle of the last one. Chat templates without a system role
    get the instruction in front of the first message; of several templates, the one called
    ``default`` is used.

    A model is loaded once in a process, however many backends use it.

    Args:
        model: ``"smollm2"`` (see ``convgym.llm.local.smollm2``) or a folder in Hugging Face format
            whose tokenizer has a chat template.
        batch_size: requests that are generated together.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``, or ``auto``: a GPU where one is visible.
        dtype: ``float32``, ``bfloat16``, or ``auto``: bfloat16 on GPUs that have it. On the CPU it
            is float32, so that every machine hears much the same.

    Raises:
        ConvgymError: when there is no such model or device, or a model cannot be loaded, has no
            chat template, or answers otherwise in a batch than alone.
    """

    def __init__(
        self,
        model: str | Path = NAME,
        *,
        batch_size: int = 16,
        device: str = "auto",
        dtype: Dtype = "auto",
    ) -> None:
        if batch_size < 1:
            raise ConvgymError(f"batch_size must be at least 1, got {batch_size!r}")
        check_dtype(dtype)
        self._batch_size = batch_size
        place = find_device(device)
        self._model = _load(str(model), place, _resolved(dtype, place))

    @property
    def fingerprint(self) -> str:
        """Name and digest of the model, and how it is sampled."""
        schema = "schema" if ENFORCED else "prompt"
        name = f"transformers/{self._model.name}-{self._model.digest}/min-p-{MIN_P}/{schema}"
        return name if self._model.dtype == torch.float32 else f"{name}/bfloat16"

    def complete(self, requests: Sequence[ChatRequest]) -> list[ChatResult]:
        """Answer all requests.

        Raises:
            ConvgymError: for an instruction that does not fit the model's context, messages that
                the chat template refuses, or a schema that cannot be enforced.
        """
        return list(self._model.answer(requests, self._batch_size))

    def log_probabilities(self, texts: Sequence[Continuation]) -> list[float]:
        """Return each text's mean log-probability a token, in nats, after what is before it.

        Texts are read plainly, without a chat template; of what is before them the end, as much as
        the model's context holds.

        Raises:
            ConvgymError: for an empty text, one after nothing, or one longer than the context.
        """
        return self._model.mean_log_probabilities(texts, self._batch_size)

    def close(self) -> None:
        """Do nothing: the model stays loaded for others."""


class _ChatModel:
    """A model with its tokenizer, shared by all backends of this process."""

    def __init__(
        self, name: str, digest: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
    ) -> None:
        self.name, self.digest, self.dtype = name, digest, model.dtype
        self._tokenizer = tokenizer
        self._network, self._context = model, _context(model, tokenizer)
        self._sampler = Sampler(model.eval(), _ends(model, tokenizer))
        logits = len(model.get_output_embeddings().weight)
        # Grammars need the letters of every token, which only fast tokenizers tell.
        enforced = ENFORCED and tokenizer.is_fast
        fast = cast("PreTrainedTokenizerFast", tokenizer)
        self._guide = SchemaGuide(fast, logits) if enforced else None
        # A seller who says "<|im_end|>" says nothing by it.
        specials = [str(t) for t in tokenizer.added_tokens_decoder.values() if t.special]
        self._special = re.compile("|".join(map(re.escape, specials)) or "(?!)")
        self._lock = threading.Lock()

    def answer(self, requests: Sequence[ChatRequest], batch_size: int) -> list[ChatAnswer]:
        rows = [self._row(request) for request in requests]
        with self._lock:
            self._sampler.sample(rows, batch_size)
        return [self._read(row) for row in rows]

    def mean_log_probabilities(self, texts: Sequence[Continuation], batch_size: int) -> list[float]:
        pairs = [self._pair(text) for text in texts]
        with self._lock:
            return mean_log_probabilities(self._network, pairs, batch_size)

    def _pair(self, continuation: Continuation) -> tuple[Tokens, Tokens]:
        before, text = (
            tuple(self._tokenizer.encode(self._special.sub(" ", words), add_special_tokens=False))
            for words in (continuation.before, continuation.text)
        )
        room = self._context - len(text)
        if not before or not text or room < 1:
            raise ConvgymError(
                f"model {self.name!r} scores a text of 1 to {self._context - 1} tokens after"
                f" another one, got {len(text)} tokens after {len(before)}"
            )
        return before[-room:], text

    def _read(self, row: Row) -> ChatAnswer:
        # The marks of thinking are special tokens of some models.
        stripped = strip_reasoning(self._text(row.answer))
        text = self._text(row.answer, skip_special_tokens=True)
        if stripped.reasoning:
            text = self._special.sub("", stripped.text)
        return ChatAnswer(
            text.strip(),
            prompt_tokens=len(row.prompt),
            completion_tokens=len(row.answer),
            reasoning=stripped.reasoning,
            cut=len(row.answer) >= row.max_tokens,
        )

    def _row(self, request: ChatRequest) -> Row:
        prompt = self._fit(list(request.messages), self._context - request.max_tokens)
        constraint = None
        if self._guide is not None and request.schema is not None:
            constraint = self._guide.constraint(request.schema, request.max_tokens)
        return Row(prompt, request.seed, request.max_tokens, request.temperature, constraint)

    def _fit(self, messages: list[ChatMessage], room: int) -> Tokens:
        """Return the ids of messages, cut so that they fit in ``room`` tokens."""
        oldest = 1 if messages[0]["role"] == "system" else 0
        ids = self._ids(messages)
        while len(ids) > room and len(messages) > oldest + 1:
            del messages[oldest]
            ids = self._ids(messages)
        words = self._tokenizer.encode(messages[-1]["content"], add_special_tokens=False)
        while len(ids) > room:
            # The cut costs tokens too, and words are spelt anew around it.
            keep = (len(words) - (len(ids) - room)) // 2 - len(CUT)
            if keep < 1:
                raise ConvgymError(
                    f"an instruction and an answer do not fit the context of {self._context}"
                    f" tokens of model {self.name!r}: use another model"
                )
            head, tail = (self._text(part) for part in (words[:keep], words[-keep:]))
            messages[-1] = {**messages[-1], "content": head + CUT + tail}
            words = words[:keep] + words[-keep:]
            ids = self._ids(messages)
        return ids

    def _text(self, ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens))

    def _ids(self, messages: Sequence[ChatMessage]) -> Tokens:
        plain = [
            {"role": str(m["role"]), "content": self._special.sub(" ", m["content"])}
            for m in messages
        ]
        refusal = f"the chat template of model {self.name!r} refuses a customer's messages"
        with refusing(refusal):
            text = self._render(plain)
        return tuple(self._tokenizer.encode(text, add_special_tokens=False))

    def _render(self, messages: list[dict[str, str]]) -> str:
        # Models that think aloud before they answer, unless told not to, read the last option.
        system = messages[0]["content"].strip() if messages[0]["role"] == "system" else ""
        try:
            text = render(self._tokenizer, messages, enable_thinking=False)
        except Exception:  # templates are programs of strangers
            if not system:
                raise
        else:
            if system in text:
                return text
        return render(self._tokenizer, system_in_first(messages), enable_thinking=False)


@lru_cache(maxsize=4)
def _load(path: str, device: torch.device, dtype: torch.dtype) -> _ChatModel:
    if path == NAME:
        model, tokenizer = load_smollm2()
        files, name = [gguf_file()], NAME
    else:
        folder = Path(path)
        if not (folder / "config.json").is_file():
            raise ConvgymError(
                f"no model at {path!r}: expected {NAME!r} or a folder in Hugging Face format"
            )
        model, tokenizer = load_folder(folder)
        files, name = sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")]), folder.name
    template = named_template(tokenizer)
    if not template:
        raise ConvgymError(f"model {path!r} has no chat template: use an instruction-tuned model")
    _check(path, model)
    nn.Module.to(model, device=device, dtype=dtype)
    return _ChatModel(name, files_digest(files, template)[:12], model, tokenizer)


def _context(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the most tokens that a model reads, as far as anything says it."""
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    # Tokenizers say 10^30 for "not known".
    limits = [n for n in (positions, tokenizer.model_max_length) if n and 0 < n < 10**9]
    return int(limits[0]) if limits else _UNKNOWN_CONTEXT


def _ends(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Return the tokens that end an answer: those of the model, and the chat template's own."""
    ends = getattr(model.generation_config, "eos_token_id", None)
    tokens = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])}
    with suppress(ConvgymError):  # a template need not keep prefixes to be of use here
        tokens.add(tokenizer.convert_tokens_to_ids(read_frames(tokenizer).end))
    return tokens - {None}


@torch.inference_mode()
def _check(path: str, model: PreTrainedModel) -> None:
    """Refuse a model that does not answer in a batch, with a cache, as it does alone."""
    kind = f"model {path!r} of type {model.config.model_type!r} cannot be used as a customer"
    with refusing(kind, "; use a Llama-like model"):
        sampler = Sampler(model.eval(), ())
        logits = len(model.get_output_embeddings().weight)
        long = tuple(1 + i * 7 % (logits - 1) for i in range(24))
        # The second time, both begin with what was read.
        for prompts in ((long[:16], long[:9]), (long, (*long[:9], 1))):
            rows = [Row(prompt, seed=0, max_tokens=3, temperature=0.0) for prompt in prompts]
            sampler.sample(rows)
            difference = max(_short_of_greedy(model, row) for row in rows)
            if not difference <= _TOLERANCE:  # it may be NaN
                raise ConvgymError(
                    f"{kind}: logits in a batch, with a cache, differ by {difference:.2g} from "
                    "those of a plain forward pass; use a Llama-like model"
                )


def _short_of_greedy(model: PreTrainedModel, row: Row) -> float:
    """Return by how much a row's tokens are not the likeliest, in a plain forward pass."""
    ids = torch.tensor([[*row.prompt, *row.answer]], device=model.device)
    logits = model(input_ids=ids, use_cache=False).logits[0].float()
    chosen = logits[len(row.prompt) - 1 : -1]
    taken = chosen.gather(1, ids[0, len(row.prompt) :, None])
    return float((chosen - taken).max())


def _resolved(dtype: Dtype, device: torch.device) -> torch.dtype:
    """Return the number type of a model's weights on a device."""
    if dtype == "auto":
        dtype = "bfloat16" if device.type != "cpu" and has_bfloat16(device) else "float32"
    return torch.bfloat16 if dtype == "bfloat16" else torch.float32
