"""What a customer reads on the label of what it is offered."""

from __future__ import annotations

from typing import Any

import pytest

from convgym.customers.label import LARGEST_SHARE, Label, offered, read_label
from convgym.shop.catalog import load_catalog

LAPTOPS = load_catalog("laptops")
NOVA = LAPTOPS.product("Nova")


def a_profile(**fixed: Any) -> dict[str, Any]:
    return {"need": NOVA.needs[0], "feature": NOVA.features[0], "budget": NOVA.price, **fixed}


@pytest.mark.parametrize(
    ("fixed", "label"),
    [
        ({}, Label(True, True, 1.0)),
        ({"need": "knitting"}, Label(False, True, 1.0)),
        ({"feature": "smell"}, Label(True, False, 1.0)),
        ({"budget": NOVA.price / 1.14}, Label(True, True, 1.1)),
        ({"budget": 1}, Label(True, True, LARGEST_SHARE)),
    ],
)
def test_what_the_customer_looks_for_is_compared(fixed: dict[str, Any], label: Label) -> None:
    assert read_label(a_profile(**fixed), NOVA) == label


def test_where_there_is_nothing_to_compare_there_is_no_label() -> None:
    assert read_label(a_profile(), None) is None
    assert read_label({"persona": "ghost"}, NOVA) is None


def test_what_was_offered_last_is_under_discussion() -> None:
    assert offered(LAPTOPS, "What is your budget?") is None
    first = offered(LAPTOPS, "The Nova suits you.")
    assert first == NOVA
    assert offered(LAPTOPS, "Shall I wrap it up?", first) == NOVA
    assert offered(LAPTOPS, "Then rather the Kestrel.", first) == LAPTOPS.product("Kestrel")
