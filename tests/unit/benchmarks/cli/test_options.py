"""Options by name: typed values, options of options, and no secrets."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest

from convgym.benchmarks.cli.options import (
    findable,
    named,
    names,
    own_settings,
    read_options,
    read_settings,
)
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
        ("[1]", [1]),
        ("{}", {}),
        ("-Infinity", -math.inf),
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
        (["a=sk-1234\udcff"], "the value of 'a' is no text in UTF-8"),
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


@pytest.mark.parametrize(
    ("name", "added"),
    [
        ("scripted", False),
        ("openai:tiny", False),
        ("hf:model", False),
        ("a/b:c", False),
        ("http://127.0.0.1:8000/v1", False),
        ("shop:Mine", True),
        ("my.shop:Mine", True),
        ("my.shop:Outer.Mine", True),
    ],
)
def test_the_present_folder_is_searched_for_module_and_attribute_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, added: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert findable(name) == name
    assert (str(tmp_path) in sys.path) == added
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert names(f"bc,{name}") == ["bc", name]
    assert read_options([f"inner={name}"]) == {"inner": name}
    assert (str(tmp_path) in sys.path) == added


def test_names_of_a_list() -> None:
    assert (
        findable(None) is None
        and names(None) is None
        and names("none") == []
        and names(" a, b,") == ["a", "b"]
    )


def test_settings_are_paths_and_values_as_json() -> None:
    items = ["a.rounds=3", " a.q.epochs = 2", "b.c:D.x=[1, 2.5]", "a.improvement=grpo", "a.e=x=y"]
    assert read_settings(items) == [
        ("a.rounds", 3),
        ("a.q.epochs", 2),
        ("b.c:D.x", [1, 2.5]),
        ("a.improvement", "grpo"),
        ("a.e", "x=y"),
    ]
    assert read_settings(['a.b={"c": null}', "a.c=true"]) == [("a.b", {"c": None}), ("a.c", True)]
    assert read_settings(["a.b=Infinity"]) == [("a.b", math.inf)]


@pytest.mark.parametrize(
    ("items", "told"),
    [
        (["a.b"], "expected a setting as agent.setting=value, got 'a.b'"),
        (["a=3"], "expected a setting as agent.setting=value, got 'a=3'"),
        ([".a=3"], "expected a setting as agent.setting=value"),
        (["a.b=1", "a.b=2"], "setting 'a.b' is given twice"),
    ],
)
def test_settings_that_are_none(items: list[str], told: str) -> None:
    with pytest.raises(ConvgymError, match=told):
        read_settings(items)


def test_own_settings_nest_by_their_dots() -> None:
    given = ["epochs=2", "policy.lora.rank=8", "policy.dtype=float32", "exploration=[1.0, 1.5]"]
    assert own_settings(given) == {
        "epochs": 2,
        "policy": {"lora": {"rank": 8}, "dtype": "float32"},
        "exploration": [1.0, 1.5],
    }
    assert own_settings(None) == {}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["epochs"], "expected a setting as name=value"),
        (["a..b=1"], "expected a setting as name=value"),
        (["epochs=1", "epochs=2"], "'epochs' is given twice"),
        (["gate=0", "gate.held_out=0"], "'gate' is given as a value and with parts"),
        (["gate.held_out=0", "gate=0"], "'gate' is given twice"),
    ],
)
def test_mistakes_in_own_settings(given: list[str], message: str) -> None:
    with pytest.raises(ConvgymError, match=message):
        own_settings(given)


@pytest.mark.parametrize("given", ["", " ", ",", " , "])
def test_a_list_without_a_name_is_a_mistake(given: str) -> None:
    for read in (names, named):
        with pytest.raises(ConvgymError, match=f"expected names as a,b, got {given!r}"):
            read(given)
    assert names("none") == [] and named("none") == ["none"]
