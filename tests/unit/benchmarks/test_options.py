"""Options by name: typed values, options of options, and no secrets."""

from __future__ import annotations

from typing import Any

import pytest

from convgym.benchmarks.options import read_options
from convgym.errors import ConvgymError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("-1", -1),
        ("0.5", 0.5),
        ("1e-3", 0.001),
        ("true", True),
        ("false", False),
        ("null", None),
        ("True", "True"),
        ("transformers", "transformers"),
        ("http://127.0.0.1:8000/v1?a=b", "http://127.0.0.1:8000/v1?a=b"),
        ('"5"', "5"),
        ("", ""),
        ("NaN", "NaN"),
        ("[1]", "[1]"),
        ("{}", "{}"),
        ("007", "007"),
        (" smollm2 ", "smollm2"),
    ],
)
def test_values_have_the_type_that_they_look_like(text: str, value: Any) -> None:
    found = read_options([f"name={text}"])
    assert found == {"name": value} and type(found["name"]) is type(value)


def test_options_of_an_option() -> None:
    found = read_options(["model=x", "budget.requests=100", "budget.cost=0.5"])
    assert found == {"model": "x", "budget": {"requests": 100, "cost": 0.5}}
    assert read_options([]) == {}


@pytest.mark.parametrize(
    ("items", "told"),
    [
        (["model"], "expected an option as name=value, got 'model'"),
        (["=x"], "expected an option as name=value, got '=x'"),
        (["a-b=x"], "expected an option as name=value"),
        (["a..b=x"], "expected an option as name=value"),
        (["a=1", "a=2"], "'a' is given twice"),
        (["a.b=1", "a=2"], "'a' is given twice"),
        (["a=2", "a.b=1"], "'a' is given as a value and with parts"),
        (["api_key=sk-1234"], "keys come from the environment"),
        (["API_KEY=sk-1234"], "keys come from the environment"),
        (["api-key=sk-1234"], "expected an option as name=value, got 'api-key=...'"),
        (["auth_token=sk-1234"], "keys come from the environment"),
        (["extra_body.Authorization=sk-1234"], "keys come from the environment"),
        (["secrets.secret.x=sk-1234"], "keys come from the environment"),
        (["base_url=http://host/v1?api_key=sk-1234"], "keys come from the environment"),
        (["base_url=http://me:sk-1234@host/v1"], "keys come from the environment"),
        (["api_key_variable=sk-1234"], "must be the name of an environment variable"),
        (["model=sk-1234567890abcdef1234"], "looks like a key"),
    ],
)
def test_mistakes_are_named(items: list[str], told: str) -> None:
    with pytest.raises(ConvgymError) as error:
        read_options(items)
    assert told in str(error.value) and "sk-1234" not in str(error.value)
