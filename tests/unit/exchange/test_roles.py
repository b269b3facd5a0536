"""Who speaks for whom."""

from __future__ import annotations

from typing import Any

import pytest

from convgym.errors import ConvgymError
from tests.unit.exchange.conftest import Import, said

NAMES = "chat,role,text,bought\na,Mia,Hi,1\na,Bob,Hm?,1\na,note,VIP,1\na,Mia,Yes,1\n"
SWAPPED = "chat,role,text,bought\na,assistant,Hi,1\na,user,Hm?,1\na,assistant,Yes,1\n"


@pytest.mark.parametrize(
    "settings",
    [
        {"customer": ("Mia",), "seller": ("Bob",)},
        {"customer": ("mia ",), "seller": ("*",), "ignore": ("note",)},
        {"seller": ("BOB",), "customer": ("*",)},
    ],
)
def test_names_are_given_sides(from_text: Import, settings: dict[str, Any]) -> None:
    imported = from_text(NAMES, **settings)
    assert said(imported.episodes[0]) == ["Hi", "Hm?", "Yes"]
    assert imported.report.sides == {"Mia": "customer", "Bob": "seller", "note": "ignored"}


def test_usual_words_may_mean_the_opposite(from_text: Import) -> None:
    imported = from_text(SWAPPED, customer=("assistant",), seller=("user",))
    assert said(imported.episodes[0]) == ["Hi", "Hm?", "Yes"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, r"who is 'mia' \(2 messages\), 'bob' \(1 messages\)\? Name them by --customer"),
        ({"customer": ("Mia",)}, r"who is 'bob' \(1 messages\)"),
        ({"customer": ("Mai",), "seller": ("Bob",)}, r"--customer 'mai'; known: bob \(1\), mia"),
        ({"customer": ("Mia",), "seller": ("mia",)}, "role 'mia' is named for two sides"),
    ],
)
def test_wrong_roles_are_refused(from_text: Import, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConvgymError, match=message):
        from_text(NAMES, **settings)
