"""What a chat model meant: text read as words and a decision, tolerantly but without inventing.

A model is asked for ``{"thought": ..., "decision": "continue|buy|leave", "say": ...}``. Thoughts
are taken out first (``convgym.reasoning``). Of the rest is read

1. the first JSON object that holds a decision and words, wherever it stands in the text;
2. failing that, the two fields by name, in whatever quotes, cut off or not:
   ``{'say': 'Hm.', 'decision': 'continue'}`` or ``Decision: leave``.

A decision must be given under its name and in one of a few known words. It is never guessed from
what is said: text without it, or with two different ones anywhere, is an ``UnreadableAnswer``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from convgym.conversation import clean
from convgym.customers.base import Decision
from convgym.reasoning import strip_reasoning

MAX_CHARS = 6000
"""More of an answer is not read, thoughts not counted."""

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
_NAMES = "|".join(("thought", *_SAY, *_DECISION))
_NEXT_FIELD = rf"""["'“]?(?:{_NAMES})["'”]?\s{{0,8}}[:=]"""
# A value in quotes ends at a quote that the next name, a brace, a line's or the text's end follows,
# so that apostrophes and unescaped quotes inside do no harm; without such a quote it was cut off.
# One without quotes ends with its line, at a brace, or at the next field: commas belong to it.
_FIELD = re.compile(
    rf"""(?<!\w)["'“”]?({_NAMES})["'“”]?\*{{0,2}}\s*[:=]\*{{0,2}}\s*
    (?: (?P<quote>["'“])(?P<quoted>.*?)
        (?: ["'”](?=\s*(?:,\s*["'“]?\w+["'”]?\s*[:=]|,?\s*\}}|,?\s*\n|,?\s*\Z)) | \Z )
      | (?P<bare>[^\n{{}}]*?)
        (?=\s{{0,8}}(?:[,;]\s{{0,8}}{_NEXT_FIELD}|["“](?:{_NAMES})["”]\s{{0,8}}[:=]|[\n{{}}]|\Z))
    )""",
    re.I | re.S | re.X,
)
# Of a decision without quotes: what comes after it, such as another field.
_AFTER_DECISION = re.compile(r"""[,;]\s*["'“]?\w+["'”]?\s*[:=]|["“\[]""")
_NOTHING = ("null", "none", "nil", "undefined")
"""How a field without a value is written."""
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
    """A customer's words, decision and, where the model gave one, thought.

    ``reasoning`` is what a reasoning model thought before it answered.
    """

    say: str
    decision: Decision
    thought: str = ""
    reasoning: str = ""


def read_answer(text: str) -> Said:
    """Return words and decision of a model's answer. Raises UnreadableAnswer and nothing else."""
    answer, reasoning = strip_reasoning(text)
    answer = answer[:MAX_CHARS].strip()
    if not answer:
        raise UnreadableAnswer("it was empty" + (", but for thoughts" if reasoning else ""))
    parsed = _read_objects(answer)
    whole = [f for f in parsed.objects if _holds(f, _SAY) and _holds(f, _DECISION)]
    fields = next((f for f in whole if _find(f, _SAY) and _find(f, _DECISION)), None)
    fields = fields or next(iter(whole), None)  # one that says nothing, in so many words
    if fields is None:
        fields = _loose(answer)
    else:
        _check_agreement([*parsed.decisions, *_loose_decisions(parsed.rest)])
    decision = _decision(fields)
    say = spoken(_find(fields, _SAY))
    if not say:
        raise UnreadableAnswer('"say" was missing or empty')
    return Said(say, decision, clean(plain(_find(fields, ("thought",)))), reasoning)


def read_words(text: str) -> str:
    """Return what a model says if it is asked for nothing but words, "" if it says nothing."""
    text = strip_reasoning(text).text[:MAX_CHARS].strip()
    if text.startswith(("{", "```")):
        objects = _read_objects(text).objects
        fields = next((f for f in objects if _find(f, _SAY)), None) or _loose(text)
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


@dataclass(frozen=True, slots=True)
class _Objects:
    """The JSON objects in a text, nested ones after their outer one, names in lower case.

    ``decisions`` are all that they hold, under whatever name and also where a name comes twice;
    ``rest`` is the text around them.
    """

    objects: Sequence[Mapping[str, Any]]
    decisions: Sequence[str]
    rest: str


def _read_objects(text: str) -> _Objects:
    objects: list[Mapping[str, Any]] = []
    decisions: list[str] = []
    rest: list[str] = []
    end = 0
    for start in [brace.start() for brace in re.finditer(r"\{", text)]:
        if start < end:
            continue
        held: list[Mapping[str, Any]] = []
        decided: list[str] = []
        try:
            _, after = _decoder(held, decided).raw_decode(text, start)
        except (ValueError, RecursionError):  # the latter for a thousand brackets in a row
            continue
        objects += [held[-1], *held[:-1]]  # the outer one was finished last
        decisions += decided
        rest.append(text[end:start])
        end = after
    return _Objects(objects, decisions, "\n".join([*rest, text[end:]]))


def _decoder(held: list[Mapping[str, Any]], decided: list[str]) -> json.JSONDecoder:
    """Return a decoder that notes every object, and every decision in one."""

    def note(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
        named = [(name.strip().lower(), value) for name, value in pairs]
        held.append(dict(named))
        decided.extend(v for name, v in named if name in _DECISION and isinstance(v, str))
        return held[-1]

    return json.JSONDecoder(object_pairs_hook=note, strict=False)


def _check_agreement(decisions: Sequence[str]) -> None:
    if len({_meaning(decision) for decision in decisions if _word(decision)}) > 1:
        raise UnreadableAnswer("it held two different decisions")


def _loose(text: str) -> Mapping[str, Any]:
    """Return the fields that a text names; one that is named again counts as long as it agrees."""
    fields: dict[str, str] = {}
    decisions: list[str] = []
    for kind, value in _loose_fields(text):
        if kind == "decision":
            decisions.append(value)
        fields.setdefault(kind, value)
    _check_agreement(decisions)
    return fields


def _loose_decisions(text: str) -> list[str]:
    """Return the decisions that stand in a text by name, if they are ones."""
    decisions = [value for kind, value in _loose_fields(text) if kind == "decision"]
    return [value for value in decisions if isinstance(_meaning(value), Decision)]


def _loose_fields(text: str) -> Iterator[tuple[str, str]]:
    for match in _FIELD.finditer(_FENCE.sub("", text)):
        name = match[1].lower()
        kind = "decision" if name in _DECISION else "say" if name in _SAY else name
        value = match["bare"] if match["quoted"] is None else match["quoted"]
        if kind == "decision" and match["quoted"] is None:
            value = _AFTER_DECISION.split(value)[0]
        elif match["quoted"] is None and value.strip(" ,").lower() in _NOTHING:
            value = ""
        yield kind, value.strip().replace("\\n", " ").replace("\\", "")


def _holds(fields: Mapping[str, Any], names: tuple[str, ...]) -> bool:
    return any(_text(name, fields) is not None for name in names)


def _find(fields: Mapping[str, Any], names: tuple[str, ...]) -> str:
    values = (_text(name, fields) for name in names)
    return next((value for value in values if value and value.strip()), "")


def _text(name: str, fields: Mapping[str, Any]) -> str | None:
    """Return a field's text, of words also a list of sentences; None for anything else."""
    value = fields.get(name)
    if isinstance(value, list) and name in _SAY and all(isinstance(each, str) for each in value):
        return " ".join(value)
    return value if isinstance(value, str) else None


def _decision(fields: Mapping[str, Any]) -> Decision:
    given = _find(fields, _DECISION)
    if not given:
        raise UnreadableAnswer('"decision" was missing')
    if _word(given) not in DECISIONS:
        raise UnreadableAnswer(
            f'"decision" must be "continue", "buy" or "leave", not "{clean(plain(given))[:40]}"'
        )
    return DECISIONS[_word(given)]


def _meaning(decision: str) -> Decision | str:
    return DECISIONS.get(_word(decision), _word(decision))


def _word(decision: str) -> str:
    words = " ".join(re.findall(r"[^\W_]+", decision.lower()))
    return f"{words}?" if "?" in decision else words  # who asks has not decided
