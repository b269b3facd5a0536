"""What a chat endpoint sends with the status 200, read: an answer, its cost, or why there is none.

Servers that speak OpenAI's interface differ in much: content comes as text or as typed parts,
thoughts stand beside it under several names, roles are left out, errors come as a success, usage is
counted or not. What cannot be read is a ``NoAnswer`` in words that say what came instead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from convgym.llm.base import ChatAnswer
from convgym.llm.errors import NoAnswer
from convgym.llm.ledger import Usage
from convgym.llm.refusals import words_in
from convgym.llm.streams import read_stream
from convgym.reasoning import strip_reasoning

Fields: TypeAlias = Mapping[str, Any]

_OTHERS = frozenset({"user", "human", "system", "developer", "tool", "function"})
"""Roles that are not the model's."""
_THOUGHTS = re.compile(r"reason|think|thought", re.I)
"""In the names under which servers put what a model thought."""
_CUT = re.compile(r"length|max_?\w*tokens|context_window|token_limit", re.I)
_FILTERED = re.compile(
    r"filter|refus|safety|recitation|prohibited|block|spii|sensitive|moderation|violation|guardrail",
    re.I,
)
_BROKEN_OFF = re.compile(r"error|abort|cancel|insufficient|malformed|overload|timeout", re.I)
"""What servers call an answer's end where it is not the model's own."""
_MOST_TOKENS = 2**31
"""No request takes more: what reports more does not count."""
_WORDS = ("text", "output_text", "content", "value", "summary", "thinking", "reasoning")
"""Where the words of a part stand."""
_SPOKEN = ("", "text", "output_text")
"""Types of parts that are the answer."""
_THINKING = ("think", "reason")
"""In types of parts that are none."""
_COMMENTS = re.compile(r"\A(?:\s*:[^\n]*\n)+")
"""By which relays keep a connection open."""
_DEEPEST = 8
_HALF = re.compile("[\ud800-\udfff]")


def read_body(body: bytes) -> Fields:
    """Return the JSON object that a response holds. Raises NoAnswer where there is none."""
    try:
        text = body.decode(json.detect_encoding(body), "surrogatepass").removeprefix("\ufeff")
        # Not strict: some servers leave line feeds in strings as they are.
        data = json.loads(_COMMENTS.sub("", text), strict=False)
    except (ValueError, RecursionError):
        data = read_stream(body)
        if data is None:
            raise _no_json(body) from None
    if isinstance(data, list) and len(data) == 1:  # as some wrap their errors
        data = data[0]
    if not isinstance(data, dict):
        raise NoAnswer(f"malformed answer: JSON of another kind: {_shown(body)}", reseed=True)
    return data


def _no_json(body: bytes) -> NoAnswer:
    start = body[:200].lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"<"):
        return NoAnswer(
            "a web page came in place of an answer: base_url may be wrong (mostly it ends with"
            f" /v1): {_shown(body)}",
            doubtful=True,
        )
    if start.startswith((b"data:", b"event:", b": ")):
        return NoAnswer("a stream came in place of an answer", doubtful=True)
    return NoAnswer(f"malformed answer: no JSON: {_shown(body)}", reseed=True)


def _shown(body: bytes) -> str:
    return repr(body[:60].decode("utf-8", "replace")) if body.strip() else "nothing at all"


def error_in(data: Fields) -> Fields | None:
    """Return the error object that stands in place of an answer, None if there is none."""
    error = data.get("error") or _choice(data).get("error")
    if isinstance(error, str):
        codes = ("code", "status", "status_code")
        return {"message": error, **{name: data[name] for name in codes if name in data}}
    if isinstance(error, dict):
        return error
    # A relay's own body, such as {"detail": "..."}: of whatever kind, if it has words for people.
    return data if "choices" not in data and words_in(data) else _status_in(data)


def _status_in(data: Fields) -> Fields | None:
    """Return an error beside choices that are none, as some put it under ``base_resp``."""
    status = _mapping(data.get("base_resp"))
    words = status.get("status_msg")
    return {"message": words} if not data.get("choices") and isinstance(words, str) else None


def read_usage(data: Fields) -> Usage | None:
    """Return the tokens that the server reports, None if what it reports cannot be."""
    usage = _mapping(data.get("usage"))
    prompt = _count(usage.get("prompt_tokens", usage.get("input_tokens")))
    completion = _count(usage.get("completion_tokens", usage.get("output_tokens")))
    if not prompt or completion is None:
        return None
    # No words come for nothing: a 0 is a server that does not count.
    return None if completion == 0 and _holds_words(data) else Usage(1, prompt, completion)


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < _MOST_TOKENS else None


def _holds_words(data: Fields) -> bool:
    message = _message(_choice(data))
    names = ("content", "refusal", *filter(_THOUGHTS.search, message))
    return any(_words(message.get(name)) for name in names)


def read_completion(data: Fields, max_tokens: int) -> ChatAnswer:
    """Return the answer that a completion holds.

    Args:
        data: the response's JSON.
        max_tokens: the limit that was asked for, to name it where it was reached.

    Raises:
        NoAnswer: where there is none, with what there is instead.
    """
    choice = _choice(data)
    message, finish = _message(choice), _finish(choice)
    if _FILTERED.search(finish):
        named = "" if finish == "content_filter" else f" ({finish})"
        raise NoAnswer(f"a content filter took the answer away{named}", reseed=True)
    if not message:
        # Another interface altogether is a mistake; a lone answer without a message is none.
        raise NoAnswer(_no_message(data), reseed=True, doubtful="choices" not in data)
    if _BROKEN_OFF.search(finish):
        raise NoAnswer(f"the server broke the answer off ({finish})", reseed=True)
    role = message.get("role")
    if not (role is None or (isinstance(role, str) and role.strip().lower() not in _OTHERS)):
        raise NoAnswer(f"malformed answer: in the role {str(role)[:40]!r}", reseed=True)
    content = message.get("content")
    text = _said(content).strip()
    thoughts = "\n".join(dict.fromkeys(filter(None, [*_kept_apart(message), _thought(content)])))
    refusal = _words(message.get("refusal")) or _refused(content)
    inline = strip_reasoning(text)
    cut = _CUT.search(finish) is not None
    if not inline.text.strip():
        if message.get("tool_calls") or message.get("function_call"):
            raise NoAnswer("the model called a tool in place of answering", reseed=True)
        why = _why_empty(bool(thoughts or inline.reasoning), cut, refusal, max_tokens)
        raise NoAnswer(why, reseed=True)
    usage = read_usage(data) or Usage()
    return ChatAnswer(
        _unicode(text),
        usage.prompt_tokens,
        usage.completion_tokens,
        reasoning=_unicode(thoughts),
        cut=cut,
    )


def _why_empty(thought: bool, cut: bool, refusal: str, max_tokens: int) -> str:
    if refusal:
        return f"the model refused: {' '.join(refusal.split())[:200]}"
    if cut and thought:
        return (
            f"empty answer: all of max_tokens={max_tokens} went to reasoning before the answer"
            " began: raise max_tokens, or have the model reason less"
        )
    if cut:
        return f"empty answer: it was cut off at max_tokens={max_tokens}: raise max_tokens"
    return "empty answer: nothing but reasoning" if thought else "empty answer"


def _choice(data: Fields) -> Fields:
    choices = data.get("choices")
    return _mapping(choices[0]) if isinstance(choices, list) and choices else {}


def _message(choice: Fields) -> Fields:
    """Return a choice's message, under whatever name; nothing where there is none."""
    message = choice.get("message") or choice.get("delta")
    if message is None and isinstance(choice.get("text"), str):  # of the older interface
        return {"content": choice["text"]}
    return _mapping(message)


def _finish(choice: Fields) -> str:
    finish = choice.get("finish_reason")
    return finish[:60] if isinstance(finish, str) else ""


def _no_message(data: Fields) -> str:
    if "choices" in data:
        return "malformed answer: no message in it"
    fields = ", ".join(map(str, data))[:60]
    return (
        f"malformed answer: no message in it, but {fields or 'nothing'}: base_url may be that of"
        " another interface than OpenAI's (mostly it ends with /v1)"
    )


def _kept_apart(message: Fields) -> Iterator[str]:
    """Yield the thoughts that stand beside a message's content."""
    for name, value in message.items():
        if _THOUGHTS.search(name):
            yield _words(value).strip()
        elif isinstance(value, dict) and name != "content":
            yield from (_words(value[each]).strip() for each in value if _THOUGHTS.search(each))


def _mapping(value: object) -> Fields:
    return value if isinstance(value, dict) else {}


def _parts(content: object) -> Sequence[object]:
    return content if isinstance(content, list) else [content]


def _kind(part: object) -> str:
    kind = _mapping(part).get("type")
    return kind.lower() if isinstance(kind, str) else ""


def _said(content: object) -> str:
    """Return the words of a message's content, a text or typed parts, without its thoughts."""
    if isinstance(content, dict) and not _words(content):  # JSON that was asked for, as it is
        return json.dumps(content)
    parts = [part for part in _parts(content) if _kind(part) in _SPOKEN]
    return "".join(_words(part) for part in parts if not _is_thought(part))


def _is_thought(part: object) -> bool:
    return _mapping(part).get("thought") is True or any(w in _kind(part) for w in _THINKING)


def _thought(content: object) -> str:
    return "\n".join(_words(part).strip() for part in _parts(content) if _is_thought(part))


def _refused(content: object) -> str:
    parts = (_mapping(part) for part in _parts(content) if _kind(part) == "refusal")
    return " ".join(_words(part.get("refusal")) for part in parts)


def _words(value: object, depth: int = 0) -> str:
    """Return the words in a text, or in parts of whatever form."""
    if isinstance(value, str):
        return value
    if depth > _DEEPEST:
        return ""
    if isinstance(value, list):
        return "".join(_words(each, depth + 1) for each in value)
    if isinstance(value, dict):
        texts = (_words(value.get(name), depth + 1) for name in _WORDS)
        return next(filter(None, texts), "")
    return ""


def _unicode(text: str) -> str:
    """Return a text that can be written: half characters become replacement characters."""
    return _HALF.sub("\ufffd", text)
