"""OpenAI's chat format, one conversation a line, also as it is used for fine-tuning.

``{"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}``
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from convgym.exchange.conversations import Conversation
from convgym.exchange.json_rows import write_json_rows
from convgym.exchange.shapes import Shape

SHAPE = Shape(messages=("messages",), roles=("role",), texts=("content", "text"))
_ROLES = {"user": "user", "assistant": "assistant"}


def write(conversations: Sequence[Conversation], path: Path) -> None:
    """Write a conversation a line, or a list of them where the name ends in ``.json``."""
    rows = [
        conversation.row("messages", "role", "content", _ROLES) for conversation in conversations
    ]
    write_json_rows(rows, path)
