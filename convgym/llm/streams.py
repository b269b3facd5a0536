"""An answer that came as a stream of events, though nobody asked for one: put together again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any


def read_stream(body: bytes) -> dict[str, Any] | None:
    """Return the completion that the events of a body make; None unless they come to an end.

    Every event holds a part of the message, as relays send that stream always; the first one that
    is an error stands for all.
    """
    message: dict[str, Any] = {}
    whole: dict[str, Any] = {}
    finish = None
    for event in _events(body):
        if event.get("error"):
            return event
        choices = event.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else {}
        if not isinstance(choice, dict):
            return None
        for name, value in (choice.get("delta") or choice.get("message") or {}).items():
            before = message.get(name)
            both = isinstance(before, str) and isinstance(value, str) and name != "role"
            message[name] = f"{before}{value}" if both else (value or before)
        finish = choice.get("finish_reason") or finish
        whole |= {name: value for name, value in event.items() if value is not None}
    if not message or not (finish or b"[DONE]" in body):
        return None
    return {**whole, "choices": [{"message": message, "finish_reason": finish}]}


def _events(body: bytes) -> Iterator[dict[str, Any]]:
    for line in body.decode("utf-8", "replace").splitlines():
        field, _, value = line.partition(":")
        try:
            event = json.loads(value, strict=False) if field.strip() == "data" else None
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict):
            yield event
