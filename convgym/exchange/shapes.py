"""Conversations that stand in one row: a list of messages, each with who speaks and what."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from convgym.exchange.chats import Chat, Said
from convgym.exchange.columns import IDS, guess
from convgym.exchange.findings import Findings
from convgym.exchange.settings import ImportSettings


@dataclass(frozen=True)
class Shape:
    """How rows of a format hold a conversation."""

    messages: tuple[str, ...]
    """Names of the field with the list of messages; the first that is there counts."""
    roles: tuple[str, ...]
    """Likewise, in a message, of who speaks."""
    texts: tuple[str, ...]
    """Likewise, of what is said."""

    def fits(self, row: Mapping[str, object]) -> bool:
        """Return whether a row holds a conversation in this shape."""
        return any(isinstance(row.get(name), list | dict) for name in self.messages)

    def chat(
        self,
        row: Mapping[str, object],
        number: int,
        place: str,
        settings: ImportSettings,
        findings: Findings,
    ) -> Chat | None:
        """Return the conversation of a row, None (and a finding) if it holds none."""
        name = next((name for name in self.messages if row.get(name) is not None), None)
        messages = _listed(row[name]) if name else None
        if name is None or messages is None:
            expected = " or ".join(map(repr, self.messages))
            findings.add("bad-row", place, f"expected a list of messages as {expected}")
            return None
        fields = {key: value for key, value in row.items() if key != name}
        id_field = settings.conversation or guess(IDS, list(fields))
        given = fields.get(id_field) if id_field else None
        id = str(number) if given is None or not str(given).strip() else str(given).strip()
        place = f"{place} ({id})" if id != str(number) else place
        said = tuple(self._said(messages, place, findings))
        return Chat(id, place, said, fields)

    def _said(self, messages: Sequence[object], place: str, findings: Findings) -> Iterator[Said]:
        for number, message in enumerate(messages, start=1):
            where = f"{place}, message {number}"
            if not isinstance(message, Mapping):
                findings.add("bad-row", where, f"expected an object, got {message!r}")
                continue
            role = _first(message, self.roles)
            if role is None or not str(role).strip():
                findings.add("no-speaker", where, str(message))
                continue
            text = _first(message, self.texts)
            if text is None and any(message.get(name) for name in ("tool_calls", "function_call")):
                findings.add("no-text", where, "a tool's call")
                continue
            yield Said(str(role), plain_text(text, where, findings), where)


def plain_text(content: object, place: str, findings: Findings) -> str:
    """Return the text of a message's content, which may be a list of parts; others are counted."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [] if content is None else [content]
    texts = []
    for part in parts:
        text = part if isinstance(part, str) else _text_of(part)
        if text is None:
            kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
            findings.add("no-text", place, str(kind))
        else:
            texts.append(text)
    return " ".join(texts)


def _text_of(part: object) -> str | None:
    if isinstance(part, Mapping):
        text = part.get("text", part.get("refusal"))
        return text if isinstance(text, str) else None
    return str(part) if isinstance(part, int | float) else None


def _first(message: Mapping[str, object], names: Sequence[str]) -> object:
    return next((message[name] for name in names if message.get(name) is not None), None)


def _listed(value: object) -> list[object] | None:
    """Return a list of messages: also of one that is written as JSON, or as columns."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    if isinstance(value, Mapping) and all(isinstance(part, list) for part in value.values()):
        columns = {name: part for name, part in value.items() if isinstance(part, list)}
        longest = max(map(len, columns.values()), default=0)
        return [
            {name: part[index] for name, part in columns.items() if index < len(part)}
            for index in range(longest)
        ]
    return value if isinstance(value, list) else None
