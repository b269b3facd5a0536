"""Settings of an endpoint: keys that cannot be, addresses, fields of one's own, other hosts."""

from __future__ import annotations

from typing import Any

import pytest

from convgym.errors import ConvgymError
from convgym.llm.endpoint import OpenAIConfig, read_key, same_host

KEY = "sk-very-secret-0123456789"


@pytest.mark.parametrize(
    "value",
    [
        f"“{KEY}”",
        f"\u2018{KEY}\u2019",
        f'"{KEY}"',
        f"'{KEY}'",
        f"`{KEY}`",
        f"Bearer {KEY}",
        f"{KEY} {KEY}",
        f"{KEY}\n{KEY}",
        f"{KEY}\x07",
        f"{KEY}\u200b",
        f"{KEY}\u00a0x",
        "ключ",
    ],
)
def test_a_key_that_cannot_be_is_named_at_once(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_KEY", value)
    config = OpenAIConfig(model="m", base_url="http://host/v1", api_key_variable="SHOP_KEY")
    with pytest.raises(ConvgymError, match="the key in SHOP_KEY") as found:
        read_key(config)
    assert KEY not in str(found.value) and len(str(found.value).splitlines()) == 1


def test_blanks_around_a_key_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_KEY", f" {KEY}\r\n")
    key = read_key(OpenAIConfig(model="m", api_key_variable="SHOP_KEY"))
    assert key is not None and key.get_secret_value() == KEY


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"base_url": "http://host:port/v1"}, "base_url is no address"),
        ({"base_url": f"http://host/v1?key={KEY}"}, "without \\? or #"),
        ({"base_url": "http://host/v1?api-version=1"}, "without \\? or #"),
        ({"api_key_variable": KEY}, "must be the name of an environment variable"),
        ({"extra_body": [1]}, "extra_body must hold fields by name"),
        ({"extra_body": {"model": "x"}}, "must not hold 'model'"),
        ({"extra_body": {"stream": True}}, "must not hold 'stream'"),
        ({"extra_body": {"max_tokens": 1}}, "must not hold 'max_tokens'"),
        ({"extra_body": {"top_k": {1}}}, "plain data that JSON can hold"),
        ({"extra_body": {"top_k": float("nan")}}, "plain data that JSON can hold"),
        ({"extra_body": {"x": "\ud800"}}, "plain data that JSON can hold"),
        ({"extra_body": {"api_key": KEY}}, "keys come from the environment alone"),
    ],
)
def test_settings_that_cannot_be(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConvgymError, match=told) as found:
        OpenAIConfig(**{"model": "m", **options})
    assert KEY not in str(found.value)


def test_an_address_from_the_environment_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://host/v1?key={KEY}")
    with pytest.raises(ConvgymError, match="OPENAI_BASE_URL must end with the path") as found:
        _ = OpenAIConfig(model="m").address
    assert KEY not in str(found.value)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://host/v1")
    assert OpenAIConfig(model="m").address == "http://host/v1"
    monkeypatch.delenv("OPENAI_BASE_URL")
    assert OpenAIConfig(model="m").address == "https://api.openai.com/v1"


def test_configs_with_extras_can_be_keys() -> None:
    extra = {"top_k": 3}
    config = OpenAIConfig(model="m", extra_body=extra)
    assert config == OpenAIConfig(model="m", extra_body={"top_k": 3})
    assert {config: 1}[OpenAIConfig(model="m", extra_body={"top_k": 3})] == 1
    assert config != OpenAIConfig(model="m")
    extra["top_k"] = 4
    assert config.extra_body == {"top_k": 3}


@pytest.mark.parametrize(
    ("here", "there", "same"),
    [
        ("http://host:8000/v1", "http://host:8000/v1/chat/", True),
        ("http://HOST/v1", "http://host:80/x", True),
        ("http://host/v1", "https://host/v1", True),
        ("https://host/v1", "http://host/v1", False),
        ("http://host:8000/v1", "https://host/v1", False),
        ("http://host:8000/v1", "http://host:8001/v1", False),
        ("http://host/v1", "http://other/v1", False),
        ("http://host/v1", "http://host.other/v1", False),
        ("http://127.0.0.1:8000/v1", "http://localhost:8000/v1", False),
    ],
)
def test_hosts(here: str, there: str, same: bool) -> None:
    assert same_host(here, there) == same
