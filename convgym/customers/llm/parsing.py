"""What a chat model meant: its text read as words and a decision, tolerantly but without inventing.

A model is asked for ``{"thought": ..., "decision": "continue|buy|leave", "say": ...}``. Read is

1. the first JSON object that holds a decision and words, wherever it stands in the text;
2. failing that, the two fields by name, in whatever quotes, cut off or not:
   ``{'say': 'Hm.', 'decision': 'continue'}`` or ``Decision: leave``.

A decision must be given under its name and in one of a few known words. It is never guessed from
what is said: text without it, or with two different ones, is an ``UnreadableAnswer``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from convgym.conversation import clean
from convgym.customers.base import Decision

MAX_CHARS = 6000
"""More of an answer is not read."""

DECISIONS: Mapping[str, Decision] = MappingProxyType(
    {
        word: decision
        for decision, words in {
            Decision.CONTINUE: "continue|continues|continue talking|keep talking|go on|stay",
            Decision.BUY: "buy|buys|buy it|buy now|purchase",
            Decision.LEAVE: "leave|leaves|leave the shop|walk away|walk out|exit",
        }.items()
        for word in words.split("|")
    }
)
"""How decisions are called."""

_SAY = ("say", "reply", "response", "message")
_DECISION = ("decision", "action")
_THINKING = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.S | re.I)
_NAMES = "|".join(("thought", *_SAY, *_DECISION))
# A value in quotes ends at a quote that the next name, a brace, a line's or the text's end follows,
# so that apostrophes and unescaped quotes inside do no harm; without such a quote it was cut off.
_FIELD = re.compile(
    rf"""(?<!\w)["'“”]?({_NAMES})["'“”]?\s*[:=]\s*
    (?: (?P<quote>["'“])(?P<quoted>.*?)
        (?: ["'”](?=\s*(?:,\s*["'“]?\w+["'”]?\s*[:=]|,?\s*\}}|,?\s*\n|,?\s*\Z)) | \Z )
      | (?P<bare>[^\n,{{}}"“]*)
    )""",
    re.I | re.S | re.X,
)
_TOKENS = re.compile(r"<\|[^<>]{0,40}\|>|</?[a-z_]{1,24}>|\[/?[A-Z_]{2,24}\]|<</?SYS>>", re.I)
_BRACKETS = re.compile(r"[<>\[\]{}|`\\]+|#{2,}")
_ROLE = re.compile(
    r"\b(system|assistant|user|human|customer|seller|shopkeeper|instructions?)\s*:", re.I
)
_OTHER_SPEAKER = re.compile(r"\b(?:Seller|Shopkeeper|Salesperson|User|System|Human)\s*:")
_OWN_NAME = re.compile(r"^\W*(?:customer|assistant|me)\s*:\s*", re.I)
_FENCE = re.compile(r"```\w*")


class UnreadableAnswer(ValueError):
    """What a model's answer lacks, in words that it can be told."""


@dataclass(frozen=True, slots=True)
class Said:
    """A customer's words, decision and, where the model gave one, thought."""

    say: str
    decision: Decision
    thought: str = ""


def read_answer(text: str) -> Said:
    """Return words and decision of a model's answer. Raises UnreadableAnswer and nothing else."""
    text = _THINKING.sub("", text[:MAX_CHARS]).strip()
    if not text:
        raise UnreadableAnswer("it was empty")
    fields = next((f for f in _objects(text) if _find(f, _SAY) and _find(f, _DECISION)), None)
    fields = _loose(text) if fields is None else fields
    decision = _decision(fields)
    say = spoken(_find(fields, _SAY))
    if not say:
        raise UnreadableAnswer('"say" was missing or empty')
    return Said(say, decision, clean(plain(_find(fields, ("thought",)))))


def read_words(text: str) -> str:
    """Return what a model says if it is asked for nothing but words, "" if it says nothing."""
    text = _THINKING.sub("", text[:MAX_CHARS]).strip()
    if text.startswith(("{", "```")):
        fields = next((f for f in _objects(text) if _find(f, _SAY)), None) or _loose(text)
        text = _find(fields, _SAY) or text
    return spoken(text)


def spoken(text: str) -> str:
    """Return the customer's own words in one line: no name before them, no other speaker after."""
    text = _OWN_NAME.sub("", _FENCE.sub(" ", text.strip()))
    other = _OTHER_SPEAKER.search(text)
    text = clean(plain(text[: other.start()] if other else text))
    if len(text) > 1 and text[0] in "\"'“" and text[-1] in "\"'”":
        text = text[1:-1].strip()
    return text


def plain(text: str) -> str:
    """Return ``text`` without anything that a chat template or a prompt could take for structure.

    Special tokens (``<|im_start|>``, ``[INST]``, ``</s>``) go, then all brackets that one could be
    made of, and names before a colon ("System:") lose the colon.
    """
    return _ROLE.sub(r"\1,", _BRACKETS.sub(" ", _TOKENS.sub(" ", text)))


def _objects(text: str) -> Iterator[Mapping[str, Any]]:
    """Yield the JSON objects in a text, outer ones first, names in lower case."""
    decoder = json.JSONDecoder(strict=False)
    starts = [found.start() for found in re.finditer(r"\{", text)]
    for start in starts[:20]:
        try:
            found, _ = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):  # the latter for a thousand brackets in a row
            continue
        yield {str(name).strip().lower(): value for name, value in found.items()}


def _loose(text: str) -> Mapping[str, Any]:
    """Return the fields that a text names; one that is named again counts as long as it agrees."""
    fields: dict[str, str] = {}
    for found in _FIELD.finditer(_FENCE.sub("", text)):
        name = found[1].lower()
        kind = "decision" if name in _DECISION else "say" if name in _SAY else name
        value = (found["bare"] if found["quoted"] is None else found["quoted"]).strip()
        if kind == "decision" and _word(fields.get(kind, value)) != _word(value):
            raise UnreadableAnswer("it held two different decisions")
        fields.setdefault(kind, value.replace("\\n", " ").replace("\\", ""))
    return fields


def _find(fields: Mapping[str, Any], names: tuple[str, ...]) -> str:
    values = (fields[name] for name in names if isinstance(fields.get(name), str))
    return next((value for value in values if value.strip()), "")


def _decision(fields: Mapping[str, Any]) -> Decision:
    given = _find(fields, _DECISION)
    if not given:
        raise UnreadableAnswer('"decision" was missing')
    if _word(given) not in DECISIONS:
        raise UnreadableAnswer(
            f'"decision" must be "continue", "buy" or "leave", not "{clean(plain(given))[:40]}"'
        )
    return DECISIONS[_word(given)]


def _word(decision: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", decision.lower()))
