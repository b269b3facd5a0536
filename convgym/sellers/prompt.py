"""What a chat model is told that sells: the shop's catalogue, and how to go about it."""

from __future__ import annotations

from pathlib import Path

from convgym.errors import ConvgymError
from convgym.shop.catalog import Catalog, load_catalog
from convgym.shop.terms import briefing_under

PROMPT = """\
You are the seller in a shop. The other speaker is a customer who has just come in. You are always \
the seller: you never speak for the customer.

{briefing}

How you sell:
- Find out what the customer needs it for, what matters most to them and what they can spend: ask \
for one thing at a time.
- Then recommend one product of the catalogue that fits, by its name and with its price. Offer \
nothing that is not in the catalogue.
- Answer their worries, then ask whether they want to buy it.
- Say one or two short sentences at a time, as people speak in a shop: no lists, no headings."""
"""The system message where no other is given."""

BRIEFING = "{briefing}"
"""In a system message, the place of what is known of the shop (``convgym.shop.terms``)."""


def seller_prompt(
    catalog: str | Path | Catalog, prompt: str | None = None, law: str | None = None
) -> str:
    """Return the system message of a seller.

    Args:
        catalog: what it sells; must be the customers' catalogue.
        prompt: the system message; ``{briefing}`` in it stands for the catalogue, and all else is
            taken as it is. None is ``PROMPT``.
        law: by which its customers buy: those of v1 are sold to on the shop's terms as well.

    Raises:
        ConvgymError: for an unknown catalogue, or a prompt that is no text or an empty one.
    """
    return briefed(briefing_under(law, load_catalog(catalog)), prompt)


def briefed(briefing: str, prompt: str | None = None) -> str:
    """Return the system message of a seller who knows ``briefing``; else as ``seller_prompt``."""
    if not isinstance(prompt, str | None):
        raise ConvgymError(f"prompt must be the text of a system message, got {repr(prompt)[:60]}")
    text = PROMPT if prompt is None else prompt
    if not text.strip():
        raise ConvgymError("prompt must be the text of a system message, got an empty one")
    return text.replace(BRIEFING, briefing)
