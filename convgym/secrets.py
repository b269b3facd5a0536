"""What may be a secret among the options of a run, which end up in manifests, pages and logs.

Keys come from the environment alone. So options that are called like one, or that hold one, are
refused at the door, in words that do not repeat them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from convgym.errors import ConvgymError

_SECRET_NAMES = frozenset(
    "key apikey token auth authorization authentication bearer secret password passwd pwd"
    " passphrase credential credentials signature sig cookie session".split()
)
"""Words that make a name one of a secret, if they are the last word of it."""

_NOT_SECRET = frozenset("prompt_cache_key pad_token eos_token bos_token stop_token".split())
"""Names of other things that models have."""

_KEY = re.compile(
    r"\b(?:(?:sk|rk|pk|gsk|xai|hf|ghp|glpat|nvapi|pplx|key)[-_][\w-]{16,}|AIza[\w-]{30,}"
    r"|Bearer\s+\S{8,})"
)
"""The shapes of keys that providers hand out."""

_HOST = re.compile(r"[\w.:-]+")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,99}")


def is_secret_name(name: str) -> bool:
    """Return whether something of this name is a secret: ``API_KEY``, ``authToken``, ``secret``."""
    if name.lower() in _NOT_SECRET:
        return False
    words = re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower())
    joined = "".join(words)
    return bool(words) and (
        words[-1] in _SECRET_NAMES
        or joined.endswith(("apikey", "token", "secret", "password", "authkey", "accesskey"))
        or bool({"authorization", "bearer", "password", "secret"} & set(words))
    )


def check_option(name: str, value: Any) -> None:
    """Raise ConvgymError for an option that is a secret or holds one; its value is not shown.

    Args:
        name: of the option, without what it is an option of.
        value: plain data; mappings and lists are looked into.
    """
    if is_secret_name(name):
        raise ConvgymError(
            f"option {name!r}: keys come from the environment alone, see api_key_variable"
        )
    if name == "api_key_variable":
        check_variable(value)
    elif isinstance(value, Mapping):
        for part, each in value.items():
            check_option(str(part), each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            check_option(name, each)
    elif isinstance(value, str):
        _check_text(name, value)


def check_options(options: Mapping[str, Any]) -> None:
    """Raise ConvgymError if one of these options is a secret or holds one, see ``check_option``."""
    for name, value in options.items():
        check_option(name, value)


def _check_text(name: str, text: str) -> None:
    if text.lstrip().startswith(("{", "[")):
        check_option(name, _json(text))
    if "://" in text:
        query = parse_qsl(_parts(name, text).query, keep_blank_values=True)
        if any(is_secret_name(part) for part, _ in query):
            raise ConvgymError(
                f"{name} must hold no key in its query: keys come from the environment alone"
            )
    if _KEY.search(text):
        raise ConvgymError(
            f"the value of option {name!r} looks like a key: keys come from the environment alone,"
            " see api_key_variable"
        )


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def check_variable(name: object) -> None:
    """Raise ConvgymError unless this names an environment variable; it is not shown.

    What is not in capitals counts only if there is such a variable: it may be the key itself.
    """
    if not isinstance(name, str) or not (_VARIABLE.fullmatch(name) or name in os.environ):
        raise ConvgymError(
            "api_key_variable must be the name of an environment variable in capitals, such as"
            " OPENAI_API_KEY, and not the key: what was given is not shown"
        )


def check_url(name: str, url: object) -> None:
    """Raise ConvgymError unless this is the address of an API that holds nothing else."""
    if not isinstance(url, str):
        raise ConvgymError(f"{name} must begin with http:// or https://, got {url!r}")
    parts = _parts(name, url)
    if parts.query or parts.fragment:
        # Not shown: what stands there may be a secret.
        raise ConvgymError(
            f"{name} must end with the path of the API, without ? or #: keys come from the"
            " environment alone"
        )
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(parts.hostname or ""):
        raise ConvgymError(f"{name} must begin with http:// or https://, got {url!r}")


def _parts(name: str, url: str) -> Any:
    """Return the parts of an address; ConvgymError for one that is none, or holds a password."""
    try:
        if not url.isprintable() or " " in url:
            raise ValueError
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for one that is none
    except ValueError:
        raise ConvgymError(f"{name} is no address: expected http://HOST:PORT/v1") from None
    if "@" in parts.netloc:
        raise ConvgymError(f"{name} must hold no user or password: keys come from the environment")
    return parts
