"""Snapshots go back to the kind of customer that they were taken of, and to no other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from convgym.customers import make_customer
from convgym.customers.suggested import suggested
from convgym.errors import ConvgymError

MAKERS: dict[str, Callable[[], Any]] = {
    "scripted": lambda: make_customer("scripted"),
    "scripted elsewhere": lambda: make_customer("scripted", catalog="mobile"),
    "shopper": lambda: make_customer("shopper"),
    "suggested": lambda: suggested("scripted"),
    "suggested shopper": lambda: suggested("shopper"),
    "learned": lambda: make_customer("learned"),
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_foreign_snapshot_is_refused_and_nothing_has_changed(name: str) -> None:
    customer = MAKERS[name]()
    customer.reset(1)
    before = customer.latent
    foreign: list[Any] = [{"a": 1}, None, (1, 2, 3)]
    for other in MAKERS.keys() - {name}:
        stranger = MAKERS[other]()
        stranger.reset(2)
        foreign.append(stranger.snapshot())
    for state in foreign:
        for seed in (None, 3):
            with pytest.raises(ConvgymError, match=r"expected a snapshot of '.*', got .*: restore"):
                customer.restore(state, seed)
    assert customer.latent == before
    twin = MAKERS[name]()
    twin.restore(customer.snapshot())
    assert twin.latent == before
