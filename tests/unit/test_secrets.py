"""Secrets are known by name, by shape and by place, and are never repeated."""

from __future__ import annotations

from typing import Any

import pytest

from convgym.errors import ConvgymError
from convgym.secrets import check_option, check_url, check_variable, is_secret_name

KEY = "sk-1234567890abcdef1234567890"


@pytest.mark.parametrize(
    "name",
    "key api_key API_KEY apikey ApiKey apiKey x-api-key token auth_token authToken access_token"
    " authorization Authorization bearer bearer_value secret client_secret secret_value password"
    " PASSWORD db_password passwd OPENAI_API_KEY hf_token credentials".split(),
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)
    with pytest.raises(ConvgymError, match="keys come from the environment alone") as found:
        check_option(name, KEY)
    assert KEY not in str(found.value)


@pytest.mark.parametrize(
    "name",
    "model base_url max_tokens tokens prompt_tokens api_key_variable monkey keyboard temperature"
    " top_k prompt_price author tokenizer prompt_cache_key skip_special_tokens".split(),
)
def test_other_names(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("extra_body", {"inner": {"API_KEY": KEY}}),
        ("extra_body", {"inner": [{"token": KEY}]}),
        ("headers", {"Authorization": f"Bearer {KEY}"}),
        ("extra_body", f'{{"api_key": "{KEY[:12]}"}}'),
        ("headers", ["Bearer abcdefghij"]),
        ("model", KEY),
        ("base_url", f"https://host/v1?access_token={KEY}"),
        ("base_url", f"https://{KEY}@host/v1"),
        ("proxy", f"https://me:{KEY}@host"),
        ("api_key_variable", KEY),
        ("api_key_variable", "gsk_aBcDeFgHiJ"),
        ("api_key_variable", ""),
        ("api_key_variable", None),
    ],
)
def test_secrets_in_values(name: str, value: Any) -> None:
    with pytest.raises(ConvgymError) as found:
        check_option(name, value)
    assert KEY not in str(found.value) and "aBcDeF" not in str(found.value)
    assert len(str(found.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", "gpt-4o-mini"),
        ("model", "sk-small"),
        ("base_url", "http://127.0.0.1:8000/v1"),
        ("page", "https://host/?page=3&lang=en"),
        ("api_key_variable", "SHOP_KEY"),
        ("extra_body", {"top_k": 20, "stop": ["\n"], "seed": None}),
        ("budget", {"tokens": 100}),
    ],
)
def test_what_is_no_secret(name: str, value: Any) -> None:
    check_option(name, value)


def test_a_variable_that_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConvgymError):
        check_variable("my_key")
    monkeypatch.setenv("my_key", KEY)
    check_variable("my_key")


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000",
        "ftp://host/v1",
        "https://",
        "http://[::1",
        "http://host:port/v1",
        "http://host:80 80/v1",
        "http://ho\nst/v1",
        "“http://host/v1”",
        "http://“host”/v1",
        "http://host:99999/v1",
        f"http://host/v1?x={KEY}",
        f"http://host/v1#{KEY}",
        f"http://{KEY}@host/v1",
        f"http://me:{KEY}@host/v1",
        3,
        "",
    ],
)
def test_addresses_that_cannot_be(url: object) -> None:
    with pytest.raises(ConvgymError, match="base_url") as found:
        check_url("base_url", url)
    assert KEY not in str(found.value)


@pytest.mark.parametrize(
    "url", ["http://localhost:8000/v1", "https://api.shop.example", "http://[::1]:8/v1"]
)
def test_addresses_that_can_be(url: str) -> None:
    check_url("base_url", url)
