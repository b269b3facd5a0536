"""Why a chat endpoint refused a request: read from whatever came, and sorted by whose matter it is.

Providers put their reasons into ``error.message``, ``detail``, ``metadata.raw`` and elsewhere, with
codes that differ. So all words of a body are looked at, apart from what merely repeats the request.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

Kind: TypeAlias = Literal["account", "passing", "sample", "conversation", "key", "address", "other"]
"""Whose matter a refusal is.

An account without money; something that may pass; an answer that was badly sampled; this one
conversation (a content filter, its length); the key; the model's name or the address; else other.
"""

_REPEATED = frozenset("input messages prompt failed_generation ctx url request headers".split())
"""Parts of a body that repeat the request, or the answer, in which anything can stand."""

_ACCOUNT = re.compile(
    r"insufficient[ _](?:quota|balance|credits?|funds)|billing_(?:hard_limit|not_active)"
    r"|credit balance is too low|out of credits|requires more credits"
)
_SAMPLE = re.compile(
    r"json_validate_failed|failed to generate json|failed_generation|output_parse_failed"
    r"|tool_use_failed|(?:generated|model (?:output|produced|returned)).{0,40}invalid"
    r"|failed to (?:parse|validate) (?:the )?(?:generated|model)"
)
_CONVERSATION = re.compile(
    r"content[ _-]?(?:filter|management|policy|safety|moderation|violation|blocked)"
    r"|responsible ?ai|moderation|flagged|content exists risk|inappropriate|data_?inspection"
    r"|usage polic|safety|violat(?:es|ed|ing|ion)|invalid_prompt|jailbreak|prohibited|harmful"
    r"|(?<!case.)sensitive|unsafe|block_?reason|high risk"
    r"|(?:prompt|request|content|input) (?:was |is |has been )?(?:blocked|rejected|filtered)"
    r"|context[ _-]?(?:length|window|size)|maximum (?:context|model|input|sequence|prompt)"
    r"|max_?(?:model|input|context|prompt)_?(?:len|tokens)|string_above_max_length"
    r"|(?:prompt|input|context|request|conversation|messages?|text|sequence)s? (?:is|are|was|were)?"
    r" ?(?:too|longer|exceed)|too many (?:input |prompt )?tokens|token limit"
    r"|reduce (?:the (?:length|prompt|number of)|your (?:prompt|messages|input))"
    r"|must have (?:less|fewer) than \d+ tokens|inputs?\W{0,2} tokens"
    r"|context shift|guard ?rail|legal reasons|shorten (?:your|the)|max(?:imum)? length of"
    r"|敏感|不安全|违规|风险|过长|超出.{0,12}长度"
    r"|exceed\w* .{0,40}(?:tokens|context|length|window)"
    r"|(?:tokens|length) .{0,40}exceed"
)
_BUSY = re.compile(
    r"\bbusy\b|overload|pending requests|queue (?:is )?full|capacity exceeded|crashed"
    r"|try again (?:later|shortly)"
)
_WEB_PAGE = re.compile(r"\s*<(?:!doctype|html|head)")
"""Of a firewall before the endpoint, which may have stopped at what a conversation says."""
_MAY_PASS = (408, 409, 425, 429, 498, 499)
_TOO_LONG = (413, 414, 431)


@dataclass(frozen=True)
class Refusal:
    """A response that is an error.

    Attributes:
        status: of HTTP, or what stands in its place in an error that came as a success.
        data: the body: JSON, or text.
        retry_after: seconds that the server asked to wait, if it did.
    """

    status: int
    data: Any
    retry_after: float | None = None

    @cached_property
    def reason(self) -> str:
        """The server's words for people, with the status, in one line."""
        given = _message(self.data) or (json.dumps(self.data) if self.data else "")
        words = " ".join(given.split())[:300] or "no reason given"
        return f"{words} (status {self.status})"

    @cached_property
    def text(self) -> str:
        """All that the body says, in lower case."""
        return "\n".join(text for _, text in _strings(self.data)).lower()

    @cached_property
    def fields(self) -> str:
        """The fields of the request that the body names as such, in lower case."""
        named = [text for name, text in _strings(self.data) if name in ("param", "loc", "field")]
        named += re.findall(r"""['"]loc['"]: *[(\[]([^)\]]*)[)\]]""", self.text)
        return "\n".join(named).lower()

    @property
    def kind(self) -> Kind:
        """Whose matter it is, apart from what the request's form has to do with it."""
        status, text = self.status, self.text
        if status == 402 or (_ACCOUNT.search(text) and status != 200):
            return "account"
        if _SAMPLE.search(text):
            return "sample"
        if status in _MAY_PASS or (status not in (401, 403) and _BUSY.search(text)):
            return "passing"
        if status != 401 and (status in _TOO_LONG or _CONVERSATION.search(text)):
            return "conversation"
        if status >= 500:
            return "passing"
        if status == 401 or (status == 403 and not _WEB_PAGE.match(text)):
            return "key"
        return "address" if status in (404, 405) or status < 400 else "other"


def read_refusal(status: int, body: bytes, retry_after: float | None = None) -> Refusal:
    """Return the refusal that a response of this status and body is; any bytes will do."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        data = body[:20_000].decode("utf-8", "replace")
    return Refusal(status, data, retry_after)


def refusal_in(error: Mapping[str, Any]) -> Refusal:
    """Return the refusal that an error object in a successful response is."""
    for name in ("code", "status", "status_code"):
        code = error.get(name)
        if isinstance(code, str) and code.isdigit() and len(code) == 3:
            code = int(code)
        if type(code) is int and 400 <= code < 600:
            return Refusal(code, {"error": dict(error)})
    return Refusal(502, {"error": dict(error)})


def _strings(data: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """Yield all strings in a body with the name that they stand under, names among them."""
    if depth > 12:
        return
    if isinstance(data, dict):
        for key, value in data.items():
            if str(key).lower() not in _REPEATED:
                yield "", str(key)
                yield from _strings(value, str(key).lower(), depth + 1)
    elif isinstance(data, list):
        if name == "loc":
            yield name, ".".join(str(part) for part in data)
            return
        for value in data:
            yield from _strings(value, name, depth + 1)
    elif isinstance(data, str):
        inner = _inner_json(data)
        if inner is None:
            yield name, data
        else:
            yield from _strings(inner, name, depth + 1)


def _inner_json(text: str) -> Any:
    """Return the JSON object or list that a text is, as relays pass errors on; None for others."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, (dict, list)) else None


def words_in(data: Any) -> str:
    """Return the words of a body that are meant for people, "" where there are none."""
    return _message(data)


def _message(data: Any, depth: int = 0) -> str:
    """Return the words of a body that are meant for people."""
    if depth > 12:
        return ""
    if isinstance(data, str):
        inner = _inner_json(data)
        return data if inner is None else _message(inner, depth + 1) or data
    if isinstance(data, list):
        return "; ".join(filter(None, (_message(each, depth + 1) for each in data[:3])))
    if not isinstance(data, dict):
        return ""
    names = (
        "error",
        "message",
        "msg",
        "error_msg",
        "status_msg",
        "detail",
        "errors",
        "error_description",
        "reason",
        "title",
    )
    words = next(filter(None, (_message(data.get(name), depth + 1) for name in names)), "")
    place = data.get("loc")
    if words and isinstance(place, list):
        words = f"{'.'.join(str(part) for part in place)}: {words}"
    metadata = data.get("metadata")
    raw = _message(metadata.get("raw"), depth + 1) if isinstance(metadata, dict) else ""
    return f"{words}: {raw}" if raw and raw != words else words
