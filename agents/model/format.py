"""How a conversation becomes token ids, and a response becomes words again.

A conversation is cut into blocks: what leads up to a response, the response, what leads up to the
next one, and so on. Every utterance is encoded on its own, so a conversation's ids are the
concatenation of its blocks' ids, and the ids after k turns are a prefix of those after k + 1.
That is what lets a whole conversation be trained on in one forward pass, and lets generation keep
its key-value cache from turn to turn.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from convgym.conversation import Message, Response
from convgym.errors import ConvgymError
from convgym.llm.local.chat_template import read_frames
from convgym.reasoning import heard, strip_reasoning

CUSTOMER, SELLER, END, PAD = "<|customer|>", "<|seller|>", "<|end|>", "<|pad|>"
COMPACT_TOKENS = (PAD, END, CUSTOMER, SELLER)

MIN_WORDS = 16
"""Tokens of the customer's words that must fit into a model's context."""

Tokens = tuple[int, ...]


class ConversationFormat:
    """The token format of one model.

    The blocks are ``opening(text)``: everything up to the first response; ``response(text)``:
    the seller's words and the end token; ``reply(text)``: everything between two responses.

    Args:
        tokenizer: any Hugging Face tokenizer.
        opening_frame: what stands before and after the customer's first words.
        reply_frame: what stands before and after the customer's later words.
        end: the token that ends a response.
        system_message: part of the opening frame; None for formats that have none.
        around: white space before and after the seller's words, part of the response.

    Attributes:
        leaflet: what the model reads of the shop before all else; None for models that read none
            (``convgym.agents.model.reading``).
        system_message: as given.
        end_id: the token that ends a response.
        pad_id: the padding token.
        forbidden_ids: tokens that no response may hold: special ones, and ids without a token.
        reply_frame: what stands before and after the customer's later words, as token ids.

    Raises:
        ConvgymError: when the tokenizer does not know the end token.
    """

    def __init__(
        self,
        tokenizer: Any,
        opening_frame: tuple[str, str],
        reply_frame: tuple[str, str],
        end: str,
        system_message: str | None = None,
        around: tuple[str, str] = ("", ""),
    ) -> None:
        self._spell_with(tokenizer)
        self.leaflet: str | None = None
        self.system_message = system_message
        self._around = around
        if end not in self._vocabulary:
            raise ConvgymError(f"the model's tokenizer has no token {end!r}, which ends a response")
        self.end_id: int = self._vocabulary[end]
        self.pad_id: int = self.end_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        self._specials = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
        # A response may hold no special token but the one that ends it.
        self.forbidden_ids: Tokens = tuple(sorted(self._specials - {self.end_id}))
        self._sayable = set(self._vocabulary.values()) - set(self.forbidden_ids)
        self._opening_frame, self.reply_frame = (
            (self._encode(before), self._encode(after))
            for before, after in (opening_frame, reply_frame)
        )

    def _spell_with(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._vocabulary: dict[str, int] = tokenizer.get_vocab()
        self._special_text = re.compile(
            "|".join(re.escape(str(token)) for token in tokenizer.added_tokens_decoder.values())
            or "(?!)"
        )
        # Customers and sellers repeat themselves: most utterances are encoded once.
        self._utterance: Callable[[str], Tokens] = lru_cache(maxsize=2**16)(
            lambda text: self._encode(self._special_text.sub(" ", text))
        )

    def about(self, leaflet: str) -> ConversationFormat:
        """Return this format for the shop that a leaflet is of: itself, for models that read none.

        Args:
            leaflet: empty where there is none.
        """
        return self

    def within(self, logits: int) -> ConversationFormat:
        """Return this format for a model of so many logits, often not as many as there are tokens.

        Logits without a token are forbidden. Tokens without a logit cannot be sampled; as padding,
        the end token stands in for one.

        Raises:
            ConvgymError: when the tokenizer belongs to another model.
        """
        words = set(self._vocabulary.values()) - self._specials
        frames = (*self._opening_frame, *self.reply_frame, (self.end_id,))
        missing = {token for frame in frames for token in frame if token >= logits}
        if missing or max(words, default=0) >= logits:
            names = " ".join(sorted(map(str, self.tokenizer.convert_ids_to_tokens(list(missing)))))
            raise ConvgymError(
                f"the tokenizer has {len(self._vocabulary)} tokens and the model {logits} logits, "
                f"none for {names or 'some words'}: use the model's own tokenizer, or resize its "
                "token embeddings and train it"
            )
        unnamed = set(range(logits)) - set(self._vocabulary.values())
        forbidden = unnamed.union(token for token in self.forbidden_ids if token < logits)
        if forbidden == set(self.forbidden_ids) and self.pad_id < logits:
            return self
        format = copy.copy(self)
        format.forbidden_ids = tuple(sorted(forbidden))
        format._sayable = {token for token in self._sayable if token < logits} - forbidden
        format.pad_id = self.pad_id if self.pad_id < logits else self.end_id
        return format

    @property
    def overhead(self) -> int:
        """Tokens of a state beside the words that are said in it."""
        return sum(map(len, self._opening_frame))

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
        before, after = self._around
        return (*self._utterance(f"{before}{text}{after}"), self.end_id)

    def decode(self, response: Sequence[int]) -> str:
        """Return a response's words, without what a reasoning model thinks, fit for one line."""
        ids = [token for token in response if token != self.end_id]
        # The marks of thinking are special tokens of some models: looked for before these go.
        said, thought = strip_reasoning(self.tokenizer.decode(ids))
        if thought:
            ids = self.tokenizer.encode(said, add_special_tokens=False)
        return heard(self.tokenizer.decode(ids, skip_special_tokens=True))

    def spelling(self, response: Response) -> Tokens | None:
        """Return a response's own ids where they spell its text in this format, else None.

        Another model's ids may be none of this one's, or tokens that no response may hold.
        """
        ids = response.token_ids
        if not ids or not self._sayable.issuperset(ids):
            return None
        return tuple(ids) if self.decode(ids) == response.text else None

    def prompt(self, messages: Sequence[Message]) -> Tokens:
        """Return the ids of a conversation in which it is the seller's turn."""
        ids = self.opening(messages[0]["content"])
        for message in messages[1:]:
            block = self.response if message["role"] == "assistant" else self.reply
            ids += block(message["content"])
        return ids

    def prompt_within(self, messages: Sequence[Message], room: int) -> Tokens:
        """Return ``prompt``, without the oldest turns if it would take more than ``room`` tokens.

        So many turns go that the rest takes half the room: then it need not be done again soon.
        What is left stands in the opening frame, system message included. Of last words that
        outgrow the room by themselves the beginning is left out.

        Raises:
            ConvgymError: for a shop whose leaflet leaves no room for a conversation.
        """
        if self.leaflet and self.overhead + MIN_WORDS > room:
            raise ConvgymError(
                f"the shop's leaflet takes {self.overhead} tokens, and the model reads {room} "
                f"beside its response, so less than {MIN_WORDS} are left for the conversation: use "
                "a catalogue with fewer products, or with fewer words for its needs and features"
            )
        ids = self.prompt(messages)
        start = 0
        while len(ids) > (room // 2 if start else room) and start + 2 < len(messages):
            start += 2
            ids = self.prompt(messages[start:])
        if len(ids) > room:
            before, after = self._opening_frame
            words = self._utterance(messages[-1]["content"])
            ids = before + words[len(words) - (room - self.overhead) :] + after
        return ids


def compact_format(tokenizer: Any) -> ConversationFormat:
    """Return the format of the package's own models.

    ``<|customer|> words <|seller|> words <|end|> <|customer|> words <|seller|> ...``
    """
    frame = (CUSTOMER, SELLER)
    return ConversationFormat(tokenizer, frame, frame, END)


def chat_format(tokenizer: Any, system_message: str) -> ConversationFormat:
    """Return the format of a chat model, read off its own chat template.

    Raises:
        ConvgymError: when the template cannot be used, see ``read_frames``.
    """
    frames = read_frames(tokenizer, system_message)

    def encode(text: str) -> list[int]:
        ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
        return ids

    before, after = frames.answer
    word, frame = "laptops", frames.reply[1]
    # Some tokenizers put the space before words themselves.
    if before and encode(frame + before + word) == encode(frame) + encode(word):
        before = ""
    return ConversationFormat(
        tokenizer, frames.opening, frames.reply, frames.end, system_message, (before, after)
    )
