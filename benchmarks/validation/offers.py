"""What was offered and what the customer had told: read from the conversation alone."""

from __future__ import annotations

from collections.abc import Sequence

from convgym.benchmarks.validation.encounters import Meeting
from convgym.benchmarks.validation.sellers import TOO_DEAR
from convgym.sellers.knowledge import Notes, SellerKnowledge
from convgym.shop.catalog import Catalog


def notes_of(meetings: Sequence[Meeting], catalog: Catalog) -> list[tuple[Meeting, Notes]]:
    """Return what a careful listener knows at the end of each conversation."""
    shop = SellerKnowledge(catalog)
    return [(meeting, shop.note(meeting.episode.messages())) for meeting in meetings]


def too_dear_for(meetings: Sequence[Meeting], catalog: Catalog) -> list[Meeting]:
    """Return those in which the customer told its budget and the offer was far above it."""
    return [
        meeting
        for meeting, notes in notes_of(meetings, catalog)
        if notes.product and notes.budget and notes.product.price >= TOO_DEAR * notes.budget
    ]


def of_wrong_use(meetings: Sequence[Meeting], catalog: Catalog) -> list[Meeting]:
    """Return those in which the customer told its need and the offer was made for another."""
    return [
        meeting
        for meeting, notes in notes_of(meetings, catalog)
        if notes.product and notes.need and notes.need not in notes.product.needs
    ]
