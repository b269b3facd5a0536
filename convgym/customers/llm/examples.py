"""Answers shown filled in to a chat model that plays a customer: of another shop, whoever it plays.

A form with placeholders ("your words to the seller") is said aloud by weak models, word for word.
So the form is shown as it was filled in by another customer in another shop, for each decision
once. Nothing in it is the present customer's own: it is the same for every profile, its shop sells
nothing that the present one does, and its money is another, in words. What was copied from it can
be told by that (``copied``). Every model is shown the same, strong or weak.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache

from convgym.customers.base import Decision
from convgym.customers.llm.parsing import Said
from convgym.shop.catalog import Catalog
from convgym.shop.language import tokens


@dataclass(frozen=True, slots=True)
class Example:
    """What another customer in another shop hears and answers.

    Attributes:
        profile: who that customer is.
        marks: words of that shop: who says them in this one has copied them.
        turns: what the seller says there, "" before anybody has spoken, and the answer to it.
    """

    profile: str
    marks: frozenset[str]
    turns: tuple[tuple[str, Said], ...]


EXAMPLES: tuple[Example, ...] = (
    Example(
        "wants a teapot for green tea, has twelve francs and worries whether the spout drips",
        frozenset("teapot teapots tea spout franc francs drip drips".split()),
        (
            ("", Said("Hello, I am after a teapot.", Decision.CONTINUE, "nothing is shown yet")),
            (
                "This blue one is nine francs.",
                Said(
                    "Nice. Does the spout drip?",
                    Decision.CONTINUE,
                    "cheap enough, but the spout is not spoken of",
                ),
            ),
            (
                "Not a drop. Do you take it?",
                Said("Good, I take the teapot.", Decision.BUY, "all is met, and I am asked"),
            ),
            (
                "We have only big ones, from thirty francs.",
                Said("That is too dear for me. Farewell.", Decision.LEAVE, "nothing for me here"),
            ),
        ),
    ),
    Example(
        "wants an umbrella for stormy days, has eight florins and worries whether the ribs bend",
        frozenset("umbrella umbrellas stormy rib ribs florin florins".split()),
        (
            ("", Said("Hello, I am after an umbrella.", Decision.CONTINUE, "nothing is shown yet")),
            (
                "This grey one is seven florins.",
                Said(
                    "Nice. Do the ribs bend?",
                    Decision.CONTINUE,
                    "cheap enough, but the ribs are not spoken of",
                ),
            ),
            (
                "They are of steel. Do you take it?",
                Said("Good, I take the umbrella.", Decision.BUY, "all is met, and I am asked"),
            ),
            (
                "We have only silk ones, from twenty florins.",
                Said("That is too dear for me. Farewell.", Decision.LEAVE, "nothing for me here"),
            ),
        ),
    ),
)
"""Other shops; the one is shown that has least to do with the present one."""


@lru_cache(maxsize=8)
def example_for(catalog: Catalog) -> Example:
    """Return the example to show in a shop: the first whose words are none of the shop's."""
    words = set(tokens(catalog.model_dump_json()))
    return min(EXAMPLES, key=lambda example: len(words & example.marks))


def shown(example: Example) -> str:
    """Return an example as the instruction shows it, its answers as they are to be written."""
    lines = [f"In another shop another customer {example.profile}."]
    for heard, said in example.turns:
        lines += [f"The seller there says: {heard}" if heard else "At the beginning:", _form(said)]
    return "\n".join(lines)


def copied(text: str, catalog: Catalog) -> bool:
    """Tell whether a customer's words are out of the example that it was shown in this shop."""
    return bool(set(tokens(text)) & example_for(catalog).marks)


def _form(said: Said) -> str:
    fields = {"thought": said.thought, "decision": said.decision.value, "say": said.say}
    return json.dumps(fields, ensure_ascii=False)
