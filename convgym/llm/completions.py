"""What a chat endpoint sends with the status 200, read: an answer, its cost, or why there is none.

Servers that speak OpenAI's interface differ in much: content comes as text or as typed parts,
thoughts stand beside it under several names, roles are left out, errors come as a success, usage is
counted or not. What cannot be read is a ``NoAnswer`` in words that say what came instead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from convgym.llm.base import ChatAnswer
from convgym.llm.errors import NoAnswer
from convgym.llm.ledger import Usage
from convgym.reasoning import strip_reasoning

Fields: TypeAlias = Mapping[str, Any]

_ASSISTANTS = frozenset({"", "assistant", "model", "ai", "bot"})
_REASONING = ("reasoning_content", "reasoning", "reasoning_details", "thinking", "thoughts")
"""Where servers put what a model thought."""
_WORDS = ("text", "output_text", "content", "value", "summary", "thinking", "reasoning")
"""Where the words of a part stand."""
_SPOKEN = ("", "text", "output_text")
"""Types of parts that are the answer."""
_DEEPEST = 8
_HALF = re.compile("[\ud800-\udfff]")


def read_body(body: bytes) -> Fields:
    """Return the JSON object that a response holds. Raises NoAnswer where there is none."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise _no_json(body) from None
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
        return {"message": error}
    return error if isinstance(error, dict) else None


def read_usage(data: Fields) -> Usage | None:
    """Return the tokens that the server reports, None if what it reports cannot be."""
    usage = _mapping(data.get("usage"))
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if not (type(prompt) is int and type(completion) is int and prompt > 0 and completion >= 0):
        return None
    # No words come for nothing: a 0 is a server that does not count.
    return None if completion == 0 and _holds_words(data) else Usage(1, prompt, completion)


def _holds_words(data: Fields) -> bool:
    message = _mapping(_choice(data).get("message"))
    return any(_words(message.get(name)) for name in ("content", "refusal", *_REASONING))


def read_completion(data: Fields, max_tokens: int) -> ChatAnswer:
    """Return the answer that a completion holds.

    Args:
        data: the response's JSON.
        max_tokens: the limit that was asked for, to name it where it was reached.

    Raises:
        NoAnswer: where there is none, with what there is instead.
    """
    choice = _choice(data)
    message = choice.get("message")
    if not isinstance(message, dict):
        raise NoAnswer("malformed answer: no message in it", reseed=True)
    role = message.get("role")
    if not (role is None or (isinstance(role, str) and role.lower() in _ASSISTANTS)):
        raise NoAnswer(f"malformed answer: in the role {str(role)[:40]!r}", reseed=True)
    text = _said(message.get("content")).strip()
    reasoning = "\n".join(filter(None, (_words(message.get(name)) for name in _REASONING)))
    thoughts = "\n".join(filter(None, [reasoning, _thought(message.get("content"))]))
    finish = choice.get("finish_reason")
    refusal = _words(message.get("refusal")) or _refused(message.get("content"))
    if finish == "content_filter":
        raise NoAnswer("a content filter took the answer away", reseed=True)
    inline = strip_reasoning(text)
    if not inline.text.strip():
        why = _why_empty(bool(thoughts or inline.reasoning), finish, refusal, max_tokens)
        raise NoAnswer(why, reseed=True)
    usage = read_usage(data) or Usage()
    return ChatAnswer(
        _unicode(text),
        usage.prompt_tokens,
        usage.completion_tokens,
        reasoning=_unicode(thoughts),
        cut=finish == "length",
    )


def _why_empty(thought: bool, finish: object, refusal: str, max_tokens: int) -> str:
    if refusal:
        return f"the model refused: {' '.join(refusal.split())[:200]}"
    if finish == "length" and thought:
        return (
            f"empty answer: all of max_tokens={max_tokens} went to reasoning before the answer"
            " began: raise max_tokens, or have the model reason less"
        )
    if finish == "length":
        return f"empty answer: it was cut off at max_tokens={max_tokens}: raise max_tokens"
    return "empty answer: nothing but reasoning" if thought else "empty answer"


def _choice(data: Fields) -> Fields:
    choices = data.get("choices")
    return _mapping(choices[0]) if isinstance(choices, list) and choices else {}


def _mapping(value: object) -> Fields:
    return value if isinstance(value, dict) else {}


def _parts(content: object) -> Sequence[object]:
    return content if isinstance(content, list) else [content]


def _kind(part: object) -> str:
    kind = _mapping(part).get("type")
    return kind.lower() if isinstance(kind, str) else ""


def _said(content: object) -> str:
    """Return the words of a message's content, a text or typed parts, without its thoughts."""
    return "".join(_words(part) for part in _parts(content) if _kind(part) in _SPOKEN)


def _thought(content: object) -> str:
    kinds = ("think", "reason")
    return "\n".join(
        _words(part) for part in _parts(content) if any(kind in _kind(part) for kind in kinds)
    )


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
