"""Scripts for sellers of ``convgym/Sales-v1`` that never listen, and the seller that keeps to one.

A script is what is said turn by turn, the last of it for ever: dialogue acts, those of one
utterance together.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib import resources
from pathlib import Path
from random import Random
from typing import Any

from convgym.conversation import Response
from convgym.errors import ConvgymError
from convgym.policy import Conversation
from convgym.sellers.listening import Act, ShopperKnowledge
from convgym.shop.catalog import Catalog, load_catalog

Script = tuple[tuple[Act, ...], ...]


def to_rows(script: Script) -> list[list[list[Any]]]:
    """Return a script as plain data: for each act its kind, product and percent."""
    return [
        [[act.kind, act.product and act.product.name, act.percent] for act in acts]
        for acts in script
    ]


def from_rows(rows: Iterable[Iterable[Sequence[Any]]], catalog: Catalog) -> Script:
    """Return the script in plain data."""
    return tuple(
        tuple(
            Act(kind, None if name is None else catalog.product(name), percent)
            for kind, name, percent in acts
        )
        for acts in rows
    )


def utterances(script: Script, shop: ShopperKnowledge) -> tuple[str, ...]:
    """Return the words of a script, a line a turn: the same for everybody."""
    return tuple(shop.say(acts, Random(turn)) for turn, acts in enumerate(script))


class ScriptedWords:
    """A policy that says the lines of a script in order, whatever it hears."""

    def __init__(self, name: str, lines: Sequence[str]) -> None:
        self._name, self._lines = name, lines

    @property
    def name(self) -> str:
        return self._name

    def reset(self, seed: int) -> None:
        """Do nothing: nothing is left to chance."""

    def act(self, conversations: Sequence[Conversation]) -> list[Response]:
        """Return one response for each conversation."""
        last = len(self._lines) - 1
        turns = (len(conversation.messages) // 2 for conversation in conversations)
        return [Response(self._lines[min(turn, last)]) for turn in turns]


@lru_cache(maxsize=1)
def deaf_scripts() -> dict[str, Any]:
    """Return the best script that was found for each shop, as plain data."""
    text = resources.files("convgym").joinpath("data/scripts/deaf-v1.json").read_text("utf-8")
    scripts: dict[str, Any] = json.loads(text)
    return scripts


def deaf(catalog: str | Path | Catalog = "laptops") -> ScriptedWords:
    """Return the seller with the best script that was found for a shop.

    Raises:
        ConvgymError: in a shop for which none was searched (``convgym study fixed-scripts``).
    """
    shop = load_catalog(catalog)
    if shop.name not in deaf_scripts():
        raise ConvgymError(
            f"no script was searched for the shop {shop.name!r}: there are those of"
            f" {', '.join(deaf_scripts())}"
        )
    script = from_rows(deaf_scripts()[shop.name], shop)
    return ScriptedWords("deaf-v1", utterances(script, ShopperKnowledge(shop)))
