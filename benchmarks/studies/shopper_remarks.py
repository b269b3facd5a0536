"""What gives sellers and customers of the twenty conversations away, as somebody read it.

The reading is data, in ``shopper_remarks.json``: remarks by the number of their conversation, and
signs with the words that show them. Words in backticks stand so in the conversation.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path

from convgym import datafiles

READ = Path(__file__).with_suffix(".json")


class Sign(datafiles.Frozen):
    """What gives somebody away, and the words that show it, by number of the conversation."""

    sign: str
    where: dict[int, str]


class Remark(datafiles.Frozen):
    """What tells which seller a conversation has, and what tells that its customer is a machine."""

    seller: str
    customer: str


class Reading(datafiles.Frozen):
    """All that was found on reading the conversations."""

    sellers: tuple[Sign, ...]
    customers: tuple[Sign, ...]
    remarks: dict[int, Remark]


@functools.cache
def reading() -> Reading:
    """Return what was found."""
    return datafiles.read(Reading, READ, "reading of conversations")


def remarks_on(number: int) -> str:
    """Return the remarks on a conversation, by its number from 1 on, as a list."""
    remark = reading().remarks[number]
    return f"- **The seller.** {remark.seller}\n- **The customer.** {remark.customer}\n"


def table(signs: Iterable[Sign], conversations: int) -> str:
    """Return a table of signs, commonest first, with the conversations that show each."""
    rows = [
        f"| {sign.sign} | {len(sign.where)} of {conversations} |"
        f" {', '.join(map(str, sign.where))} | `{next(iter(sign.where.values()))}` |"
        for sign in sorted(signs, key=lambda sign: -len(sign.where))
    ]
    return "\n".join(["| sign | in | numbers | in the first of them |", "|---|---|---|---|", *rows])
