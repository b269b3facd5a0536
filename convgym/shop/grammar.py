"""What the shopper says: a grammar that is data, with the meaning of every line.

A wording (``convgym/data/wordings/<name>.json``) has templates by meaning. In a template

- ``[one|other|]`` is one of these, with equal chances, and may hold any of the rest;
- ``<greeting>`` is a rule of the file;
- ``{item}`` is a slot, filled in when it is said.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Literal, Self, TypeAlias

from pydantic import Field, model_validator

from convgym import datafiles
from convgym.datafiles import Frozen

SLOTS = frozenset(
    "item a_item items product other price offer limit low high need feature wish".split()
)
_BLANKS = re.compile(r" ([.,:?!])")
_MARK = re.compile(r"[\[\]|]|<\w+>|[^\[\]|<]+|<")

Part: TypeAlias = "str | Choice"
Sequence_: TypeAlias = tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several ways to go on, with equal chances."""

    ways: tuple[Sequence_, ...]


def _count(parts: Sequence_) -> int:
    return math.prod(1 if isinstance(part, str) else sum(map(_count, part.ways)) for part in parts)


def _say(parts: Sequence_, rng: Random) -> str:
    if len(parts) == 1 and isinstance(parts[0], str):
        return parts[0]
    words = []
    for part in parts:
        while not isinstance(part, str):
            way = part.ways[int(rng.random() * len(part.ways))]
            part = way[0] if len(way) == 1 else _say(way, rng)
        words.append(part)
    return "".join(words)


def _tidy(text: str) -> str:
    """Return a text without the double blanks that empty choices leave."""
    return _BLANKS.sub(r"\1", text.replace("  ", " ")) if " " in text else text


def _expand(parts: Sequence_) -> Iterator[str]:
    if not parts:
        yield ""
        return
    first, *rest = parts
    heads = [first] if isinstance(first, str) else [h for way in first.ways for h in _expand(way)]
    tails = list(_expand(tuple(rest)))
    for head in heads:
        for tail in tails:
            yield head + tail


class _Parser:
    """Reads one template; recursive descent over brackets, bars, rules and text."""

    def __init__(self, text: str, rules: Mapping[str, tuple[str, ...]]) -> None:
        self._text, self._rules = text, rules
        self._marks = _MARK.findall(text)
        self._place = 0

    def parse(self) -> Sequence_:
        parts = self._sequence()
        if self._place < len(self._marks):
            raise ValueError(f"a stray {self._marks[self._place]!r} in {self._text!r}")
        unknown = set(re.findall(r"\{(\w*)\}", self._text)) - SLOTS
        if unknown or self._text.count("{") != self._text.count("}"):
            raise ValueError(f"unknown slots {sorted(unknown)} in {self._text!r}")
        return parts

    def _sequence(self) -> Sequence_:
        parts: list[Part] = []
        while self._place < len(self._marks):
            mark = self._marks[self._place]
            if mark in "|]":
                break
            self._place += 1
            if mark == "[":
                parts.append(self._choice())
            elif mark.startswith("<"):
                name = mark[1:-1]
                if name not in self._rules:
                    raise ValueError(f"no rule {mark!r} in {self._text!r}")
                ways = tuple(_Parser(way, self._rules).parse() for way in self._rules[name])
                parts.append(Choice(ways))
            else:
                parts.append(mark)
        return tuple(parts) or ("",)

    def _choice(self) -> Choice:
        ways = [self._sequence()]
        while self._place < len(self._marks) and self._marks[self._place] == "|":
            self._place += 1
            ways.append(self._sequence())
        if self._place == len(self._marks):
            raise ValueError(f"a bracket is never closed in {self._text!r}")
        self._place += 1
        return Choice(tuple(ways))


class Wording(Frozen):
    """A data file of wordings: templates by meaning, in whole sentences and in fragments.

    ``tones`` names the meanings that are good or bad news; all others are plain. ``moods`` are what
    a customer in a mood says before a reply that begins in a tone.
    """

    name: str
    rules: dict[str, tuple[str, ...]]
    meanings: dict[str, tuple[str, ...]] = Field(min_length=1)
    tones: dict[Literal["good", "bad"], tuple[str, ...]]
    moods: dict[str, dict[Literal["plain", "good", "bad"], tuple[str, ...]]]
    fragments: dict[str, tuple[str, ...]]

    @model_validator(mode="after")
    def _readable(self) -> Self:
        for meaning, templates in (*self.meanings.items(), *self.fragments.items()):
            if not templates:
                raise ValueError(f"nothing says {meaning!r}")
            for template in templates:
                _Parser(template, self.rules).parse()
        stray = sorted(set(self.fragments) - set(self.meanings))
        if stray:
            raise ValueError(f"fragments of unknown meanings: {', '.join(stray)}")
        stray = sorted({name for names in self.tones.values() for name in names} - {*self.meanings})
        if stray:
            raise ValueError(f"tones of unknown meanings: {', '.join(stray)}")
        return self

    def __hash__(self) -> int:
        # As for catalogues: the name is enough to key caches, equality does the rest.
        return hash(self.name)

    def tone(self, meaning: str) -> Literal["plain", "good", "bad"]:
        """Return in which tone a meaning is told."""
        for tone, meanings in self.tones.items():
            if meaning in meanings:
                return tone
        return "plain"


class Grammar:
    """A wording made ready to speak: ``say`` is a few microseconds."""

    def __init__(self, wording: Wording, fragments: bool) -> None:
        templates = {**wording.meanings, **(wording.fragments if fragments else {})}
        self._sayings = {
            meaning: tuple(_Parser(text, wording.rules).parse() for text in texts)
            for meaning, texts in templates.items()
        }

    def say(self, meaning: str, rng: Random) -> str:
        """Return a template for ``meaning`` with its choices made and its slots open."""
        sayings = self._sayings[meaning]
        return _tidy(_say(sayings[int(rng.random() * len(sayings))], rng))

    def count(self, meaning: str) -> int:
        """Return in how many ways ``meaning`` can be said, slots apart."""
        return sum(_count(parts) for parts in self._sayings[meaning])

    def ways(self, meaning: str) -> list[str]:
        """Return all ways to say ``meaning``, their slots open."""
        return [_tidy(way) for parts in self._sayings[meaning] for way in _expand(parts)]

    @property
    def meanings(self) -> list[str]:
        """Return everything that can be meant."""
        return list(self._sayings)


@lru_cache(maxsize=8)
def wording(name: str) -> Wording:
    """Return a wording by name, or from a JSON file."""
    return datafiles.read(Wording, datafiles.find(name, "wordings", "wording"), "wording")


@lru_cache(maxsize=8)
def grammar(name: str, fragments: bool) -> Grammar:
    """Return a grammar, one for all who speak it."""
    return Grammar(wording(name), fragments)
