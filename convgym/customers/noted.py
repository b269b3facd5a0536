"""What an observer notes of a customer that keeps no books of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from convgym.conversation import Message
from convgym.customers.personas import Personas
from convgym.customers.scripted.understanding import understanding
from convgym.sellers.knowledge import SellerKnowledge
from convgym.sellers.listening import ShopperKnowledge
from convgym.shop.catalog import Catalog
from convgym.shop.language import TOPICS
from convgym.shop.terms import LAW


def observed(
    profile: Mapping[str, Any],
    messages: Sequence[Message],
    turn: int,
    catalog: Catalog,
    personas: Personas,
    law: str | None,
) -> dict[str, Any]:
    """Return the hidden state of such a customer: who it is, and what its words tell of the rest.

    Args:
        profile: by field.
        messages: what was said, the customer's opening first.
        turn: how many turns the seller has had; ``patience_left`` counts these alone.
        catalog: of the shop.
        personas: the kinds of customers that come in.
        law: by which the customer buys.
    """
    return {
        **profile,
        **noted(messages, profile["objections"], catalog, law),
        "turn": turn,
        "patience_left": profile["patience"] - turn,
        "would_buy": personas[profile["persona"]].buys,
    }


def noted(
    messages: Sequence[Message], objections: Sequence[str], catalog: Catalog, law: str | None
) -> dict[str, Any]:
    """Return what the words of a conversation tell of the customer's state.

    Args:
        messages: what was said, the customer's opening first.
        objections: those of its profile.
        catalog: of the shop.
        law: by which the customer buys; of a shopper its open question is noted as well.
    """
    return (_of_shopper if law == LAW else _of_customer)(messages, objections, catalog)


def _of_customer(
    messages: Sequence[Message], objections: Sequence[str], catalog: Catalog
) -> dict[str, Any]:
    knowledge = SellerKnowledge(catalog)
    notes = knowledge.note(messages)
    raised, spoken = _worries(messages, knowledge)
    return {
        "product": notes.product.name if notes.product else None,
        "disclosed": sorted(topic for topic in TOPICS if getattr(notes, topic) is not None),
        "raised_objections": [kind for kind in objections if kind in raised],
        "unspoken_objections": [kind for kind in objections if kind not in spoken],
    }


def _worries(messages: Sequence[Message], knowledge: SellerKnowledge) -> tuple[set[str], set[str]]:
    """Return the objections that wait for an answer, and all that were raised or answered.

    As with the original, an answer counts once a product has been named, before the objection is
    spoken, too.
    """
    ear = understanding(knowledge.catalog)
    raised: set[str] = set()
    spoken: set[str] = set()
    for end, message in enumerate(messages, start=1):
        notes = knowledge.note(messages[:end])
        if notes.product is None:
            continue
        if message["role"] == "assistant":
            answers = ear.understand(message["content"]).answers
            raised.difference_update(answers)
            spoken.update(answers)
        elif notes.worry is not None:
            raised.add(notes.worry)
            spoken.add(notes.worry)
    return raised, spoken


def _of_shopper(
    messages: Sequence[Message], objections: Sequence[str], catalog: Catalog
) -> dict[str, Any]:
    knowledge = ShopperKnowledge(catalog)
    notes = knowledge.note(messages)
    raised = {knowledge.note(part).reason for part in _beginnings(messages)}
    return {
        "product": notes.product.name if notes.product else None,
        "disclosed": sorted(set(TOPICS) - set(notes.unknown_topics())),
        "open_question": notes.question if notes.product else None,
        "asked_about": notes.about,
        "raised_objections": [kind for kind in objections if kind == notes.reason],
        "unspoken_objections": [kind for kind in objections if kind not in raised],
    }


def _beginnings(messages: Sequence[Message]) -> list[Sequence[Message]]:
    """Return a conversation up to each of the customer's replies."""
    return [messages[: end + 1] for end in range(2, len(messages), 2)]
