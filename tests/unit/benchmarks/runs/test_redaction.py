"""Secrets: hidden by their names and in addresses, and nothing else is."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convgym.benchmarks.runs.redaction import HIDDEN, redacted, settings_of
from convgym.datafiles import dumps
from convgym.secrets import is_secret_name


@pytest.mark.parametrize(
    "name",
    [
        "api_key",
        "API_KEY",
        "apiKey",
        "apikey",
        "key",
        "X-API-KEY",
        "auth_token",
        "authToken",
        "token",
        "Authorization",
        "openai_key",
        "client_secret",
        "password",
        "db.password",
    ],
)
def test_names_of_secrets_are_known(name: str) -> None:
    assert is_secret_name(name)
    assert redacted({"a": [{name: "sk-1"}]}) == {"a": [{name: HIDDEN}]}
    assert redacted({name: {"inside": "sk-1"}}) == {name: HIDDEN}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_new_tokens", 24),
        ("token_budget", 9),
        ("key", None),
        ("key", True),
        ("keyboard", "qwerty"),
        ("monkey", "see"),
        ("tokenizer", "gpt2"),
        ("author", "me"),
        ("api_key_variable", "MY_KEY"),
        ("model", "https://host/v1"),
        ("question", "Why? http://host"),
    ],
)
def test_other_options_are_shown(name: str, value: Any) -> None:
    assert redacted({name: value}) == {name: value}


def test_a_key_in_place_of_a_variable_is_hidden() -> None:
    assert redacted({"api_key_variable": "sk-abc123"}) == {"api_key_variable": HIDDEN}


def test_addresses_are_shown_without_what_they_carry() -> None:
    assert redacted("https://me:sk-1@host:80/v1?key=sk-1&a=b") == (
        f"https://{HIDDEN}@host:80/v1?{HIDDEN}"
    )


@dataclass
class Settings:
    api_key: str
    rate: float


class Customer:
    def __init__(self, **options: object) -> None:
        self.options = options


def test_code_and_objects_are_told_by_their_names() -> None:
    found = redacted([partial(Customer, api_key="sk-1", rate=2), Customer(), Customer])
    name = f"{__name__}:Customer"
    assert found == [{"factory": name, "api_key": HIDDEN, "rate": 2}, name, name]
    assert redacted(Settings("sk-1", 2)) == {"api_key": HIDDEN, "rate": 2}
    assert redacted(Path("a.json")) == Path("a.json")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_whatever_is_left_can_be_stored_and_stays(data: Any) -> None:
    once = redacted(data)
    assert dumps(redacted(once)) == dumps(once)


def test_settings_that_cannot_be_copied_are_settings_all_the_same() -> None:
    @dataclass
    class Inner:
        lock: object

    lock = threading.Lock()
    settings = settings_of(Inner([Inner(lock), {"a": (Inner(1),)}]))
    assert settings == {"lock": [{"lock": lock}, {"a": [{"lock": 1}]}]}
    assert redacted(settings)["lock"][0] == {"lock": "_thread:lock"}
