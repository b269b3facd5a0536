"""How a conversation becomes token ids, and a response becomes words again.

A conversation is cut into blocks: what leads up to a response, the response, what leads up to the
next one, and so on. Every utterance is encoded on its own, so a conversation's ids are the
concatenation of its blocks' ids, and the ids after k turns are a prefix of those after k + 1.
That is what lets a whole conversation be trained on in one forward pass, and lets generation keep
its key-value cache from turn to turn.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from convgym.conversation import Message
from convgym.errors import ConvgymError
from convgym.reasoning import heard, strip_reasoning

CUSTOMER, SELLER, END, PAD = "<|customer|>", "<|seller|>", "<|end|>", "<|pad|>"
COMPACT_TOKENS = (PAD, END, CUSTOMER, SELLER)

Tokens = tuple[int, ...]


class ConversationFormat:
    """The token format of one model.

    The blocks are ``opening(text)``: everything up to the first response; ``response(text)``:
    the seller's words and the end token; ``reply(text)``: everything between two responses.

    Args:
        tokenizer: any fast Hugging Face tokenizer.
        opening_frame: what stands before and after the customer's first words.
        reply_frame: what stands before and after the customer's later words.
        end: the token that ends a response.
        system_message: part of the opening frame; None for formats that have none.

    Attributes:
        system_message: as given.
        end_id: the token that ends a response.
        pad_id: the padding token.
        forbidden_ids: special tokens that no response may hold.
        reply_frame: what stands before and after the customer's later words, as token ids.
    """

    def __init__(
        self,
        tokenizer: Any,
        opening_frame: tuple[str, str],
        reply_frame: tuple[str, str],
        end: str,
        system_message: str | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.system_message = system_message
        self.end_id: int = tokenizer.convert_tokens_to_ids(end)
        self.pad_id: int = self.end_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        specials = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
        # A response may hold no special token but the one that ends it.
        self.forbidden_ids: Tokens = tuple(sorted(specials - {self.end_id}))
        self._special_text = re.compile(
            "|".join(re.escape(str(token)) for token in tokenizer.added_tokens_decoder.values())
            or "(?!)"
        )
        self._opening_frame, self.reply_frame = (
            (self._encode(before), self._encode(after))
            for before, after in (opening_frame, reply_frame)
        )
        # Customers and sellers repeat themselves: most utterances are encoded once.
        self._utterance: Callable[[str], Tokens] = lru_cache(maxsize=2**16)(
            lambda text: self._encode(self._special_text.sub(" ", text))
        )

    def _encode(self, text: str) -> Tokens:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False)) if text else ()

    def opening(self, text: str) -> Tokens:
        """Return the ids of everything up to the seller's first word."""
        before, after = self._opening_frame
        return before + self._utterance(text) + after

    def reply(self, text: str) -> Tokens:
        """Return the ids of everything between two responses."""
        before, after = self.reply_frame
        return before + self._utterance(text) + after

    def response(self, text: str) -> Tokens:
        """Return the ids of a response, its end token included."""
        return (*self._utterance(text), self.end_id)

    def decode(self, response: Sequence[int]) -> str:
        """Return a response's words, without what a reasoning model thinks, fit for one line."""
        ids = [token for token in response if token != self.end_id]
        # The marks of thinking are special tokens of some models: looked for before these go.
        said, thought = strip_reasoning(self.tokenizer.decode(ids))
        if thought:
            ids = self.tokenizer.encode(said, add_special_tokens=False)
        return heard(self.tokenizer.decode(ids, skip_special_tokens=True))

    def prompt(self, messages: Sequence[Message]) -> Tokens:
        """Return the ids of a conversation in which it is the seller's turn."""
        ids = self.opening(messages[0]["content"])
        for message in messages[1:]:
            block = self.response if message["role"] == "assistant" else self.reply
            ids += block(message["content"])
        return ids


def compact_format(tokenizer: Any) -> ConversationFormat:
    """Return the format of the package's own models.

    ``<|customer|> words <|seller|> words <|end|> <|customer|> words <|seller|> ...``
    """
    frame = (CUSTOMER, SELLER)
    return ConversationFormat(tokenizer, frame, frame, END)


def chat_format(tokenizer: Any, system_message: str) -> ConversationFormat:
    """Return the format of a chat model, read off its own chat template.

    The template is rendered with stand-ins for the words; what it puts between the stand-ins are
    the frames. ``system_message`` is the system message.

    Raises:
        ConvgymError: when the template renders earlier messages anew each turn, so that no
            conversation is a prefix of its continuation, or when the end token is unknown.
    """
    first, answer, second = "aardvark", "bumblebee", "chinchilla"

    def rendered(*contents: str) -> str:
        messages = [{"role": "system", "content": system_message}] if system_message else []
        for index, content in enumerate(contents):
            messages.append({"role": ("user", "assistant")[index % 2], "content": content})
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return str(text)

    end = tokenizer.eos_token
    short, long = rendered(first), rendered(first, answer, second)
    head = f"{short}{answer}{end}"
    if end is None or not long.startswith(head):
        raise ConvgymError(
            "this model's chat template does not keep a conversation as a prefix of its "
            "continuation; use a model with a plain template, such as ChatML"
        )
    opening_before, opening_after = short.split(first)
    reply_before, reply_after = long[len(head) :].split(second)
    return ConversationFormat(
        tokenizer, (opening_before, opening_after), (reply_before, reply_after), end, system_message
    )


def find_format(tokenizer: Any, system_message: str) -> ConversationFormat:
    """Return the format that suits a tokenizer: compact, or the chat template's.

    Raises:
        ConvgymError: when it has neither this package's special tokens nor a chat template.
    """
    if set(COMPACT_TOKENS) <= set(tokenizer.get_vocab()):
        return compact_format(tokenizer)
    if tokenizer.chat_template:
        return chat_format(tokenizer, system_message)
    raise ConvgymError(
        "the model's tokenizer has neither a chat template nor the tokens "
        f"{' '.join(COMPACT_TOKENS)}: use an instruction-tuned model, or `convgym pretrain`"
    )
