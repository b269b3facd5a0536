"""Customers that installed packages bring: found late, and every mishap told in one line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from convgym.customers import CUSTOMERS, customer_names, make_customer, register_customer
from convgym.customers.scripted.customer import ScriptedCustomer
from convgym.errors import ConvgymError
from convgym.registry import Registry

Install = Callable[..., None]


@pytest.fixture(autouse=True)
def registry(restored: Callable[[Registry[Any]], None]) -> None:
    restored(CUSTOMERS)


def test_a_plugin_is_a_customer_by_name(install: Install) -> None:
    install("plug_good", "fine")
    assert "fine" in customer_names() and "plug_good" not in sys.modules
    for _ in range(2):
        customer = make_customer("fine", patience=4)
        assert isinstance(customer, ScriptedCustomer)
    with pytest.raises(ConvgymError, match=r"unknown customer 'fin'; known: .*mean 'fine'\?"):
        make_customer("fin")


def test_a_name_that_was_registered_comes_first(install: Install) -> None:
    install("plug_hidden", "mine", "raise RuntimeError('loaded')")
    register_customer("mine", ScriptedCustomer)
    assert isinstance(make_customer("mine"), ScriptedCustomer)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import nowhere_at_all", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("raise RuntimeError('no\\nlicence')", "RuntimeError: no licence"),
        ("x = 1", "AttributeError: module 'plug_broken' has no attribute 'Made'"),
        ("def", "SyntaxError: "),
    ],
)
def test_a_plugin_that_cannot_be_imported(install: Install, source: str, reason: str) -> None:
    install("plug_broken", "broken", source)
    assert "broken" in customer_names()
    message = "package plug_broken brings the customer 'broken', but 'plug_broken:Made' cannot be"
    with pytest.raises(ConvgymError, match=f"{message} imported: {reason}") as caught:
        make_customer("broken")
    assert "\n" not in str(caught.value)
    assert isinstance(make_customer("scripted"), ScriptedCustomer)


def test_a_plugin_that_is_no_factory(install: Install) -> None:
    install("plug_number", "number", "Made = 3")
    with pytest.raises(ConvgymError, match="'number' must be a factory, got '3'"):
        make_customer("number")


def test_two_plugins_of_one_name(install: Install) -> None:
    install("plug_one", "twin")
    install("plug_two", "twin")
    message = (
        "package plug_one and package plug_two both bring a customer 'twin': uninstall one, or ask"
        " for one as 'plug_(one|two):Made' or 'plug_(two|one):Made'"
    )
    with pytest.raises(ConvgymError, match=message):
        make_customer("twin")
    assert isinstance(make_customer("plug_two:Made"), ScriptedCustomer)


def test_a_plugin_does_not_take_a_name_of_convgyms_own(install: Install) -> None:
    install("plug_greedy", "scripted", "raise RuntimeError('loaded')")
    with pytest.warns(UserWarning, match="plug_greedy brings a customer 'scripted'.*left out"):
        assert customer_names().count("scripted") == 1
    assert isinstance(make_customer("scripted"), ScriptedCustomer)


def test_nobody_looks_for_plugins_before_they_are_asked_for() -> None:
    script = (
        "import sys, convgym.customers as c\n"
        "assert 'importlib.metadata' not in sys.modules\n"
        "c.customer_names()\n"
        "assert 'importlib.metadata' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
