"""How a conversation becomes token ids for a model that plays the customer.

A row begins with who the customer is; then the two sides speak in turn, the customer first. What
the customer decides stands before its words. A model that is made for it has tokens of its own for
that (``TraitFormat``), a chat model words (``WordsFormat``)::

    <|profile|> traits <|customer|> <|go|> words <|end|>
        <|seller|> <|label need|> <|label other-feature|> <|share 0.9|> words
        <|customer|> <|buy|> words <|end|>

    <|im_start|> traits in words <|im_end|> go words <|im_end|>
        7, need yes, feature no, price 0.9: words <|im_end|> buy words <|im_end|>

Before the seller's words stands the label of what is offered (``convgym.customers.label``).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from convgym.agents.model.format import CUSTOMER, END, PAD, SELLER, ConversationFormat, Tokens
from convgym.conversation import Episode
from convgym.customers.base import Decision, Reply
from convgym.customers.label import LARGEST_SHARE, Label, offered, read_label
from convgym.customers.llm import decision_first
from convgym.customers.llm.decision_first import rounded
from convgym.customers.llm.parsing import UnreadableAnswer
from convgym.errors import ConvgymError
from convgym.llm.local.chat_template import read_frames, short_template
from convgym.shop.catalog import Catalog

PROFILE = "<|profile|>"
DECISIONS: Mapping[Decision, str] = MappingProxyType(
    {Decision.CONTINUE: "<|go|>", Decision.BUY: "<|buy|>", Decision.LEAVE: "<|leave|>"}
)
LABEL_TOKENS = (
    *(f"<|label {word}|>" for word in ("need", "other-need", "feature", "other-feature")),
    *(f"<|share {tenths / 10:g}|>" for tenths in range(round(10 * LARGEST_SHARE) + 1)),
)
CUSTOMER_TOKENS = (PAD, END, CUSTOMER, SELLER, PROFILE, *DECISIONS.values(), *LABEL_TOKENS)
"""Special tokens of every such model, beside those of the traits that it knows."""

CONTEXT, SAID_BY_SELLER, SAID_BY_CUSTOMER, DECIDED = range(4)
"""What a token of a row is: given, or of which side's words, or a decision."""

LONGEST_HEARD = 96
"""Tokens of a seller's utterance that are read: more than 60 words, and no more is understood by
the customers that are imitated."""


def traits(profile: Mapping[str, Any], currency: str) -> Iterator[str]:
    """Yield a profile's traits: names of tokens, and amounts as words, in the profile's order."""
    for field, value in profile.items():
        if isinstance(value, str):
            yield _token(field, value)
        elif isinstance(value, list | tuple):
            yield from (_token(field, item) for item in value or ("none",))
        elif isinstance(value, int) and not isinstance(value, bool):
            yield f"{currency}{value}"
        else:
            yield _token(field, f"{rounded(field, float(value)):g}")


def _token(field: str, value: str) -> str:
    return f"<|{field} {value}|>"


def is_token(trait: str) -> bool:
    """Tell whether a trait is a token of its own, and no words."""
    return trait.startswith("<|")


@dataclass(frozen=True, slots=True)
class Row:
    """A whole conversation as token ids, and what each of them is (``CONTEXT`` and the others)."""

    ids: Tokens
    kinds: Tokens


class CustomerFormat(ConversationFormat):
    """The token format of a model that plays the customer."""

    @abstractmethod
    def profile(self, profile: Mapping[str, Any]) -> Tokens:
        """Return the ids of who the customer is, up to its first words.

        Raises:
            ConvgymError: for a need, persona or the like that was not met in training.
        """

    @abstractmethod
    def hearing(
        self, utterance: str, left: float, label: Label | None
    ) -> tuple[Tokens, Tokens, Tokens]:
        """Return the ids before a seller's words, of them, and after them up to the decision.

        Args:
            utterance: the seller's words.
            left: the patience before them, had only turns cost any.
            label: of what is offered, if anything is.
        """

    def heard(self, utterance: str, left: float, label: Label | None = None) -> Tokens:
        """Return the ids of a seller's utterance, up to the decision (``hearing``)."""
        before, words, after = self.hearing(utterance, left, label)
        return before + words + after

    @abstractmethod
    def answer(self, reply: Reply) -> Tokens:
        """Return the ids of a reply: the decision, the words, and the end."""

    @abstractmethod
    def read(self, answer: Sequence[int]) -> Reply:
        """Return the reply that sampled ids spell: one without a decision goes on."""

    def row(self, episode: Episode, profile: Mapping[str, Any], catalog: Catalog) -> Row:
        """Return a conversation of the original in this shop as ids, and what they are."""
        beginning = self.profile(profile)
        ids, kinds = [*beginning], [CONTEXT] * len(beginning)
        last = {"purchase": Decision.BUY, "walk_away": Decision.LEAVE}.get(episode.outcome)

        def answered(reply: Reply) -> None:
            answer = self.answer(reply)
            ids.extend(answer)
            kinds.extend([DECIDED, *[SAID_BY_CUSTOMER] * (len(answer) - 1)])

        # Nobody ends a conversation by a greeting, and that, too, has to be learned.
        answered(Reply(episode.opening))
        product = None
        for number, turn in enumerate(episode.turns):
            product = offered(catalog, turn.response.text, product)
            label = read_label(profile, product)
            parts = self.hearing(turn.response.text, profile["patience"] - number, label)
            for part, kind in zip(parts, (CONTEXT, SAID_BY_SELLER, CONTEXT), strict=True):
                ids.extend(part)
                kinds.extend([kind] * len(part))
            ends = last if number + 1 == len(episode.turns) else None
            answered(Reply(turn.reply, ends or Decision.CONTINUE))
        return Row(tuple(ids), tuple(kinds))


class TraitFormat(CustomerFormat):
    """The format of a model that is made for it: decisions and traits are tokens.

    A trait is a token of its own for every value that was met in training (``<|need gaming|>``,
    ``<|patience 7.5|>``); amounts of money are words, as they are said.

    Args:
        tokenizer: of the model, with ``CUSTOMER_TOKENS`` and tokens of traits.
        currency: in which amounts are told.

    Attributes:
        decisions: by token id.

    Raises:
        ConvgymError: for the tokenizer of another kind of model.
    """

    def __init__(self, tokenizer: Any, currency: str) -> None:
        if missing := set(CUSTOMER_TOKENS) - set(tokenizer.get_vocab()):
            raise ConvgymError(
                f"the model plays no customer: its tokenizer lacks {', '.join(sorted(missing))};"
                " make one with `convgym pretrain DIR --kind customer`"
            )
        super().__init__(tokenizer, (PROFILE, CUSTOMER), (SELLER, CUSTOMER), END)
        self.currency = currency
        self.decisions = {self._vocabulary[token]: kind for kind, token in DECISIONS.items()}
        self.forbidden_ids = tuple(sorted(set(self.forbidden_ids) - set(self.decisions)))
        self._numbers: dict[str, list[float]] = {}
        for token in self._vocabulary:
            field, _, value = token.strip("<|>").partition(" ")
            if is_token(token) and value.replace(".", "", 1).isdigit():
                self._numbers.setdefault(field, []).append(float(value))

    def profile(self, profile: Mapping[str, Any]) -> Tokens:
        """Return the ids of who the customer is, up to its first words.

        Numbers that were not met in training are the nearest ones that were.

        Raises:
            ConvgymError: for a need, persona or the like that was not met in training.
        """
        before, after = self._opening_frame
        told: list[int] = []
        for trait in traits(profile, self.currency):
            told += self._trait(trait) if is_token(trait) else self._utterance(trait)
        return (*before, *told, *after)

    def _trait(self, token: str) -> Tokens:
        if token not in self._vocabulary:
            field, _, value = token.strip("<|>").partition(" ")
            known = self._numbers.get(field)
            if not known:
                raise unfamiliar(field, value)
            token = _token(field, f"{min(known, key=lambda number: abs(number - float(value))):g}")
        return (self._vocabulary[token],)

    def hearing(
        self, utterance: str, left: float, label: Label | None
    ) -> tuple[Tokens, Tokens, Tokens]:
        """Return the ids of a seller's utterance; what patience is left is not told."""
        before, after = self.reply_frame
        read = tuple(self._vocabulary[token] for token in _on_label(label)) if label else ()
        return before + read, self._utterance(utterance)[:LONGEST_HEARD], after

    def answer(self, reply: Reply) -> Tokens:
        return (self._vocabulary[DECISIONS[reply.decision]], *self.response(reply.text))

    def read(self, answer: Sequence[int]) -> Reply:
        decision = self.decisions.get(answer[0], Decision.CONTINUE)
        return Reply(self.decode(answer), decision)


class WordsFormat(CustomerFormat):
    """The format of a chat model: ``decision_first``, with a token between utterances.

    Args:
        tokenizer: of the model, with its chat template.
        currency: in which amounts are told.
        personas: the names of those that it was fitted to.

    Attributes:
        template: the chat template that renders conversations as this format does.

    Raises:
        ConvgymError: for a tokenizer without a chat template, or with one that cannot be used.
    """

    def __init__(self, tokenizer: Any, currency: str, personas: Collection[str]) -> None:
        end = read_frames(tokenizer).end
        super().__init__(tokenizer, (tokenizer.bos_token or "", end), ("", end), end)
        self.currency, self.personas = currency, tuple(personas)
        self.template = short_template(tokenizer, end)

    def profile(self, profile: Mapping[str, Any]) -> Tokens:
        if profile["persona"] not in self.personas:
            raise unfamiliar("persona", profile["persona"])
        return self.opening(decision_first.who(profile, self.currency))

    def hearing(
        self, utterance: str, left: float, label: Label | None
    ) -> tuple[Tokens, Tokens, Tokens]:
        _, after = self.reply_frame
        told = self._utterance(decision_first.told(utterance, left, label))
        return (), told[:LONGEST_HEARD], after

    def answer(self, reply: Reply) -> Tokens:
        return self.response(decision_first.answer(reply))

    def read(self, answer: Sequence[int]) -> Reply:
        text = self.decode(answer)
        try:
            return decision_first.read(text)
        except UnreadableAnswer:
            return Reply(text)


def _on_label(label: Label) -> Iterator[str]:
    yield _token("label", "need" if label.need else "other-need")
    yield _token("label", "feature" if label.feature else "other-feature")
    yield _token("share", f"{label.share:g}")


def unfamiliar(field: str, value: str) -> ConvgymError:
    """Return the error for a trait that was not met in training."""
    return ConvgymError(
        f"the learned customer was fitted to those of personas='default', and knows no {field}"
        f" {value!r}: leave out what brings it in"
    )
