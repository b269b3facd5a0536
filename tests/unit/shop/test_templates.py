"""What fills the slots of a line is left out of it."""

from __future__ import annotations

from convgym.shop.catalog import load_catalog
from convgym.shop.templates import mask


def test_what_fills_slots_is_masked() -> None:
    laptops = load_catalog("laptops")
    assert mask("Gaming. $1,200, rather $900!", laptops) == "*. $#, rather $#!"
    assert mask("I like the Aero, with a long battery life.", laptops) == "I like the *, with *."
