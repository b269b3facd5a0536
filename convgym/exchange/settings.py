"""What a user may say of a foreign log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from convgym.errors import ConvgymError, unknown

Missing = Literal["drop", "lost"]
Greeting = Literal["drop", "keep"]
Empty = Literal["drop", "keep"]


@dataclass(frozen=True)
class ImportSettings:
    """How to read a foreign log; whatever is not given is guessed from the file.

    Args:
        format: a name of ``convgym.exchange.formats.FORMATS``.
        outcome: the field or column that says whether the customer bought; dots lead into
            objects, as in ``metadata.converted``.
        outcome_values: what values of that field mean, beyond the words that are understood
            anyway: ``purchase``, ``walk_away``, ``turn_limit`` or ``missing``, or another
            word that is understood. Amounts are valued by ``>0``, ``<=99.90`` and the like.
        outcome_rule: in place of a field, a rule (``convgym.exchange.rules``).
        missing: ``drop`` conversations without an outcome, or count them as ``lost``.
        seller: roles that speak for the seller; ``*`` is everybody who is not named otherwise.
        customer: roles that speak for the customer; likewise.
        ignore: roles that are neither.
        conversation: the field or column of the conversation's id.
        speaker: in tables with a message a row, the column of who speaks.
        text: likewise, of what is said.
        order: likewise, of a number or time by which messages are ordered; several columns with
            commas, ``date,time``.
        greeting: ``drop`` what the seller says before the customer's first words, or ``keep`` it
            as an answer to an opening without words.
        empty: ``drop`` messages without text, or ``keep`` them as silence.
        encoding: of text files; UTF-8, or what a byte order mark says, if not given.
        policy: what the seller is called in the log.

    Raises:
        ConvgymError: for a word that is none of those allowed, or a role on two sides.
    """

    format: str | None = None
    outcome: str | None = None
    outcome_values: Mapping[str, str] = field(default_factory=dict)
    outcome_rule: str | None = None
    missing: Missing = "drop"
    seller: tuple[str, ...] = ()
    customer: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    conversation: str | None = None
    speaker: str | None = None
    text: str | None = None
    order: str | None = None
    greeting: Greeting = "drop"
    empty: Empty = "drop"
    encoding: str | None = None
    policy: str = "imported"

    def refuse_columns(self, source: str, *options: str) -> None:
        """Raise ConvgymError for options that are of tables with a message a row, if given."""
        for option in options:
            if getattr(self, option) is not None:
                raise ConvgymError(
                    f"{source} holds whole conversations, where no column says the {option}: drop"
                    f" --{option}"
                )

    def __post_init__(self) -> None:
        for name, allowed in (("missing", Missing), ("greeting", Greeting), ("empty", Empty)):
            if getattr(self, name) not in get_args(allowed):
                raise unknown(f"value of {name}", getattr(self, name), get_args(allowed))
        if self.outcome is not None and self.outcome_rule is not None:
            raise ConvgymError("the outcome comes from a field or from a rule: give one of the two")
        if self.outcome_values and self.outcome_rule is not None:
            raise ConvgymError("outcome values belong to an outcome's field, not to a rule")
