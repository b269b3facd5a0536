from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from convgym.customers import CUSTOMERS, Customer, customer_names, make_customer, register_customer
from convgym.customers.scripted.customer import ScriptedCustomer
from convgym.errors import ConvgymError
from convgym.registry import Registry

PuppetFactory = Callable[[], Customer]


@pytest.fixture(autouse=True)
def registry(restored: Callable[[Registry[Any]], None]) -> None:
    restored(CUSTOMERS)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of a module that can be imported as ``shop``."""
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "shop.py"
    sys.modules.pop("shop", None)


def test_by_name_with_options() -> None:
    customer = make_customer("scripted", patience=5.0)
    assert isinstance(customer, ScriptedCustomer)
    customer.reset(0)
    assert customer.latent["patience"] == 5


def test_by_class_factory_or_object(puppet: PuppetFactory) -> None:
    customer = make_customer(puppet)
    assert customer.fingerprint == "puppet"
    assert make_customer(customer) is customer
    assert make_customer(lambda: customer) is customer
    assert make_customer(partial(ScriptedCustomer, patience=3)).fingerprint == (
        make_customer("scripted", patience=3).fingerprint
    )


def test_by_module_and_name(module: Path) -> None:
    module.write_text(
        "from convgym.customers.scripted.customer import ScriptedCustomer as Mine\nmine = 3\n"
    )
    assert isinstance(make_customer("shop:Mine", patience=4), ScriptedCustomer)
    with pytest.raises(ConvgymError, match="module 'shop' has no customer 'Yours'"):
        make_customer("shop:Yours")
    with pytest.raises(ConvgymError, match=r"'shop:mine' must be a factory, got '3' \(int\)"):
        make_customer("shop:mine")


def test_registered(puppet: PuppetFactory) -> None:
    register_customer("puppet", puppet)
    assert {"puppet", "scripted"} <= set(customer_names())
    assert customer_names() == sorted(customer_names())
    assert make_customer("puppet").fingerprint == "puppet"
    register_customer("puppet", "convgym.customers.scripted.customer:ScriptedCustomer")
    assert isinstance(make_customer("puppet"), ScriptedCustomer)
    with pytest.raises(ConvgymError, match="without a colon"):
        register_customer("a:b", puppet)


def test_unknown_name_names_the_nearest() -> None:
    with pytest.raises(ConvgymError, match=r"unknown customer 'script'.*did you mean 'scripted'"):
        make_customer("script")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nowhere.at_all:Customer", "cannot import the customer 'nowhere.at_all:Customer'"),
        (":Customer", "expected a customer as 'package.module:attribute', got ':Customer'"),
        (".relative:Customer", "expected a customer as"),
        ("a:b:c", "expected a customer as"),
    ],
)
def test_bad_paths(spec: str, message: str) -> None:
    with pytest.raises(ConvgymError, match=message):
        make_customer(spec)


def test_an_option_the_factory_does_not_take(puppet: PuppetFactory) -> None:
    with pytest.raises(ConvgymError, match=r"make customer Puppet\(\).*unexpected.*'patience'"):
        make_customer(puppet, patience=3)
    with pytest.raises(ConvgymError, match="takes no options, got patience"):
        make_customer(puppet(), patience=3)
    with pytest.raises(ConvgymError, match="missing a required argument: 'name'"):
        make_customer(lambda name: puppet())


def test_errors_of_the_factory_are_its_own() -> None:
    def broken() -> Customer:
        raise TypeError("my own mistake")

    with pytest.raises(TypeError, match="my own mistake"):
        make_customer(broken)


class NoLatent:
    fingerprint = "x"

    def reset(self, seed: int) -> str:
        return ""

    def respond(self, utterance: str) -> None:
        return None


class MethodLatent(NoLatent):
    def latent(self) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (MethodLatent, "has a method latent, where a value is read: write @property above it"),
        (NoLatent, r"\(NoLatent\) is no customer: it lacks latent"),
        (NoLatent(), "it lacks latent"),
        (3, r"'3' \(int\) is no customer: it lacks fingerprint, latent, reset, respond"),
        (dict, "lacks fingerprint, latent, reset, respond"),
        (None, "lacks"),
    ],
)
def test_what_is_no_customer_is_told_why(spec: Any, message: str) -> None:
    with pytest.raises(ConvgymError, match=message) as caught:
        make_customer(spec)
    assert "\n" not in str(caught.value)


class LateLatent(NoLatent):
    @property
    def latent(self) -> dict[str, Any]:
        raise AttributeError("reset first")


def test_a_property_need_not_be_readable_before_the_reset() -> None:
    customer: Any = LateLatent()
    assert make_customer(customer) is customer
