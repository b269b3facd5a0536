"""What fields and columns are usually called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from convgym.errors import unknown

IDS = (
    "conversation_id conversationid conversation chat_id chatid chat session_id session dialog_id"
    " dialogue_id thread_id ticket_id ticket uuid hash id"
).split()
SPEAKERS = (
    "speaker role sender author from participant sender_type author_type user_type who".split()
)
TEXTS = "text message content body utterance value message_text".split()
MESSAGES = ("messages", "conversations", "conversation")
"""Lists of messages in JSON, as OpenAI's and ShareGPT's formats call them."""
WHOLE = (
    "messages conversations conversation transcript transcription dialogue dialog chat chat_log"
    " chat_history chat_transcript history thread log"
).split()
"""Columns that may hold a whole conversation in every row."""
ORDERS = (
    "order position turn turn_id message_index index timestamp datetime created_at sent_at"
    " date,time time date"
).split()
OUTCOMES = (
    "outcome converted conversion purchased purchase bought sold sale is_sale has_purchased won"
    " is_won closed_won deal_won is_sold is_converted is_purchased has_bought has_converted did_buy"
).split()

OUTCOME_WORDS = frozenset(
    "outcome result status stage state converted conversion purchased purchase bought buy buys"
    " buyer sold sale sales won win success successful succeeded closed deal order ordered orders"
    " paid payment revenue amount reward label target".split()
)
"""Words in the name of a column that may say how a conversation ended, for a person to decide."""


def words_of(column: str) -> list[str]:
    """Return the words in a column's name: of ``Deal-Won`` and ``dealWon`` they are the same."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", column.strip())
    return _plain(spaced.replace(".", "_")).split("_")


def guess(usual: Iterable[str], columns: Sequence[str]) -> str | None:
    """Return the first usual name that a column has, as the file spells it; None for none.

    Upper case, blanks and hyphens do not matter. A name of several columns needs all of them.
    """
    known = {_plain(column): column for column in reversed(columns)}
    for name in usual:
        parts = name.split(",")
        if all(part in known for part in parts):
            return ",".join(known[part] for part in parts)
    return None


def named(given: str, columns: Sequence[str]) -> str:
    """Return a column as the file spells it; ConvgymError, with what is known, if there is none."""
    if given in columns:
        return given
    match = guess([_plain(given)], columns)
    if match is None:
        raise unknown("column", given, columns)
    return match


def _plain(column: str) -> str:
    return "_".join(column.strip().casefold().replace("-", " ").split())
