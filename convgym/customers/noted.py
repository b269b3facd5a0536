"""What an observer notes of a customer that keeps no books of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convgym.conversation import Message
from convgym.sellers.knowledge import SellerKnowledge
from convgym.shop.catalog import Catalog
from convgym.shop.language import TOPICS


def noted(
    messages: Sequence[Message], objections: Sequence[str], catalog: Catalog
) -> dict[str, Any]:
    """Return what the words of a conversation tell of the customer's state.

    Args:
        messages: what was said, the customer's opening first.
        objections: those of its profile.
        catalog: of the shop.
    """
    knowledge = SellerKnowledge(catalog)
    notes = knowledge.note(messages)
    raised = {knowledge.note(messages[: end + 1]).worry for end in range(2, len(messages), 2)}
    return {
        "product": notes.product.name if notes.product else None,
        "disclosed": sorted(topic for topic in TOPICS if getattr(notes, topic) is not None),
        "raised_objections": [kind for kind in objections if kind == notes.worry],
        "unspoken_objections": [kind for kind in objections if kind not in raised],
    }
