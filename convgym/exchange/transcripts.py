"""A conversation in which it is the seller's turn, as one text, or as chat messages of others.

A transcript is a line a message, and a cue for the seller::

    Customer: Hi, I need a laptop.
    Seller: What is your budget?
    Customer: Around $700.
    Seller:

Utterances are of one line (``convgym.conversation.clean``), so a transcript is read back exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from convgym.conversation import Message, clean, render
from convgym.errors import ConvgymError

CUE = "Seller:"
"""The last line of a transcript."""
_SIDES = (("Customer:", "user"), (CUE, "assistant"))
"""Whose turn it is, from the first line on."""
_TOLD = ("system", "developer")
"""Roles of what a trained model is told beforehand: no part of the conversation."""
_SHOWN = 60


def transcript(messages: Sequence[Message]) -> str:
    """Return a conversation that ends with the customer's words as a transcript."""
    said: list[Message] = [
        {"role": message["role"], "content": clean(message["content"])} for message in messages
    ]
    return f"{render(said)}\n{CUE}"


def read_state(given: object) -> list[Message]:
    """Return the conversation of a transcript, or of chat messages.

    Messages are mappings with ``role`` and ``content``: the customer is ``user``, the seller
    ``assistant``; ``system`` and ``developer`` at the beginning are left out. A content may be a
    list of parts, all of them texts (``read_content``).

    Raises:
        ConvgymError: for anything else, or a conversation in which it is not the seller's turn.
    """
    if isinstance(given, str):
        return _of_transcript(given)
    if isinstance(given, Sequence):
        return _of_messages(given)
    raise ConvgymError(
        f"a conversation is a list of chat messages or a transcript, got {_shown(given)}"
    )


def _of_transcript(text: str) -> list[Message]:
    lines = text.rstrip().split("\n")
    if len(lines) < 2 or lines[-1].rstrip() != CUE:
        raise ConvgymError(
            "a conversation as text is a transcript, lines that begin with 'Customer:' and"
            f" 'Seller:' in turn with '{CUE}' as the last, got {_shown(text)}: give chat messages"
            " for any other text, such as that of a chat template"
        )
    messages: list[Message] = []
    for number, line in enumerate(lines[:-1]):
        prefix, role = _SIDES[number % 2]
        if not line.startswith(prefix):
            raise ConvgymError(
                f"line {number + 1} of the transcript must begin with '{prefix}', got"
                f" {_shown(line)}"
            )
        messages.append(_message(role, line.removeprefix(prefix)))
    return _ends_with_customer(messages)


def _of_messages(given: Sequence[object]) -> list[Message]:
    messages: list[Message] = []
    for number, message in enumerate(given, start=1):
        if not isinstance(message, Mapping):
            raise ConvgymError(
                f"message {number} must be an object with role and content, got {_shown(message)}"
            )
        role, content = message.get("role"), read_content(message.get("content"), number)
        if role in _TOLD and not messages:
            continue
        expected = _SIDES[len(messages) % 2][1]
        if role != expected:
            raise ConvgymError(
                f"message {number} must have the role '{expected}', got {_shown(role)}: the"
                " customer ('user') begins, and both speak in turn"
            )
        messages.append(_message(expected, content))
    return _ends_with_customer(messages)


def read_content(content: object, number: int = 1) -> str:
    """Return the text of a message's content: a text, or OpenAI's parts of the type ``text``.

    Args:
        content: of a chat message.
        number: of the message, for errors.

    Raises:
        ConvgymError: for anything else, parts of other types above all: nobody here sees pictures.
    """
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence) or isinstance(content, bytes):
        raise ConvgymError(
            f"the content of message {number} must be a text, or a list of parts"
            f' {{"type": "text", "text": ...}}, got {_shown(content)}'
        )
    texts = []
    for part in content:
        if not isinstance(part, Mapping) or part.get("type") != "text":
            kind = part.get("type") if isinstance(part, Mapping) else part
            raise ConvgymError(
                f"of the parts of message {number} only those of the type 'text' are read, got"
                f" {_shown(kind)}: leave the others out"
            )
        text = part.get("text")
        if not isinstance(text, str):
            raise ConvgymError(
                f"a part of message {number} must hold its words as 'text', got {_shown(text)}"
            )
        texts.append(text)
    return " ".join(texts)


def _message(role: str, content: str) -> Message:
    return {"role": "user" if role == "user" else "assistant", "content": clean(content)}


def _ends_with_customer(messages: list[Message]) -> list[Message]:
    if not messages or messages[-1]["role"] != "user":
        raise ConvgymError(
            "a conversation must end with the customer's words, as it is the seller's turn"
            f" (it has {len(messages)} messages)"
        )
    return messages


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
