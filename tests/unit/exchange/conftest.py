from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from convgym.conversation import Episode
from convgym.exchange import Imported, ImportSettings, import_log

Import = Callable[..., Imported]


def said(episode: Episode) -> list[str]:
    """Return everything that an episode says, from the opening on."""
    return [message["content"] for message in episode.messages()]


def reasons(imported: Imported) -> dict[str, int]:
    return {finding.reason: finding.count for finding in imported.report.findings}


@pytest.fixture
def from_text(tmp_path: Path) -> Import:
    """Import a file of this content and name."""

    def from_text(content: str | bytes, name: str = "chats.csv", **settings: Any) -> Imported:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return import_log(path, ImportSettings(**settings))

    return from_text


@pytest.fixture
def from_rows(from_text: Import) -> Import:
    """Import JSON objects, one a line."""

    def from_rows(*rows: object, **settings: Any) -> Imported:
        return from_text("".join(json.dumps(row) + "\n" for row in rows), "a.jsonl", **settings)

    return from_rows


@pytest.fixture
def from_chat(from_rows: Import) -> Import:
    """Import one conversation of messages like ``C: Hello``; other letters are a system's."""

    def from_chat(*messages: str, fields: dict[str, object] | None = None, **settings: Any) -> Any:
        roles = {"C": "user", "S": "assistant"}
        row = {
            "messages": [
                {"role": roles.get(message[0], "system"), "content": message[3:]}
                for message in messages
            ],
            **({"outcome": True} if fields is None else fields),
        }
        return from_rows(row, **settings)

    return from_chat
