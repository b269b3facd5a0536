"""Decision first: the form in which a chat model plays a customer that it was fitted to.

A model that was fitted to a customer needs no instructions: it reads who it is, and what was said.
Words and the roles of chats are all that there is to it, so that any server speaks it::

    system     persona easy-going, need gaming, feature weight, budget $450, ..., patience 7.5
    assistant  go Hi, I am looking for a laptop.
    user       8: What will you use it for?
    assistant  go For games with friends.
    user       7, need yes, feature no, price 0.9: The Nimbus would suit you.
    assistant  go What does it weigh?
    user       6, need yes, feature no, price 0.9: Would you like to buy it?
    assistant  buy Yes, I will take it.

An answer begins with what the customer does, ``go`` on, ``buy`` or ``leave``; then come its words.
The number before the seller's is the patience that is left, as far as turns alone use it up. Once
something is offered the label follows (``convgym.customers.label``): whether it says what the
customer needs, and what it wishes, and the price as a share of its budget.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from convgym.conversation import clean
from convgym.customers.base import Decision, Reply
from convgym.customers.label import Label
from convgym.customers.llm.parsing import UnreadableAnswer, plain, spoken
from convgym.reasoning import heard, strip_reasoning

DECISIONS: Mapping[Decision, str] = MappingProxyType(
    {Decision.CONTINUE: "go", Decision.BUY: "buy", Decision.LEAVE: "leave"}
)
"""The word that an answer begins with."""
_MEANING = {word: decision for decision, word in DECISIONS.items()}

MOST_WORDS, MOST_CHARACTERS = 60, 400
"""Of a seller's utterance no more is read: more than 60 words are understood by none of the
customers that are imitated."""

_STEPS = {"patience": 0.5, "price_sensitivity": 0.2, "haggle": 0.02}
_STEP = 0.1


def rounded(field: str, value: float) -> float:
    """Return a number of a profile as a model is told it.

    What turns cost is a multiple of half a turn, so patience is rounded up: a customer of 7.2 and
    one of 7.5 turns leave at the same time.
    """
    step = _STEPS.get(field, _STEP)
    steps = math.ceil(value / step - 1e-9) if field == "patience" else round(value / step)
    return round(steps * step, 6)


def who(profile: Mapping[str, Any], currency: str) -> str:
    """Return who the customer is, in words: its profile, field by field."""
    return ", ".join(
        f"{field.replace('_', ' ')} {_value(field, value, currency)}"
        for field, value in profile.items()
    )


def _value(field: str, value: Any, currency: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return " and ".join(value) or "none"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{currency}{value}"
    return f"{rounded(field, float(value)):g}"


def told(utterance: str, left: float, label: Label | None = None) -> str:
    """Return what the model reads of a seller's utterance.

    Special tokens of chat models, brackets and names of roles are no part of it (``plain``).

    Args:
        utterance: what the seller says.
        left: the patience before it, had only turns cost any.
        label: of what is offered, if anything is.
    """
    words = clean(plain(heard(utterance))).split()[:MOST_WORDS]
    said = " ".join(words)[:MOST_CHARACTERS]
    patience = max(0, math.ceil(rounded("patience", left)))
    return f"{patience}{_on(label) if label else ''}: {said}".rstrip()


def _on(label: Label) -> str:
    need, feature = ("yes" if is_there else "no" for is_there in (label.need, label.feature))
    return f", need {need}, feature {feature}, price {label.share:g}"


def answer(reply: Reply) -> str:
    """Return a reply as the model writes it."""
    return f"{DECISIONS[reply.decision]} {reply.text}".rstrip()


def read(text: str) -> Reply:
    """Return the reply that a model has written.

    Raises:
        UnreadableAnswer: when it does not begin with a decision.
    """
    word, _, words = strip_reasoning(text).text.strip().partition(" ")
    if word not in _MEANING:
        raise UnreadableAnswer(f"it began with {word[:20]!r}, and not with {_known()}")
    return Reply(spoken(words), _MEANING[word])


def _known() -> str:
    *words, last = map(repr, DECISIONS.values())
    return f"{', '.join(words)} or {last}"
