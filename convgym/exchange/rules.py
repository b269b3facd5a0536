"""How a conversation ended, by a rule: words in its messages, or a function of one's own."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence

from convgym.conversation import Outcome, clean
from convgym.errors import ConvgymError, whose
from convgym.exchange.chats import Chat
from convgym.exchange.outcomes import Unclear, outcome_of

Rule = Callable[[Chat], Outcome | None]

SCOPES: dict[str, tuple[str | None, bool]] = {
    "last-customer": ("user", True),
    "last-seller": ("assistant", True),
    "last": (None, True),
    "any-customer": ("user", False),
    "any-seller": ("assistant", False),
    "any": (None, False),
}
"""Which messages a pattern is looked for in: whose (None: anybody's), and only the last."""


def make_rule(spec: str) -> Rule:
    """Return a rule of the form ``SCOPE:PATTERN`` or ``package.module:function``.

    A conversation in which the regular expression ``PATTERN`` is found, in upper or lower case,
    ended in a purchase; others did not. ``any`` and ``last`` read the messages of bystanders as
    well, such as a system's "order placed". A function gets the chat
    (``convgym.exchange.chats.Chat``), whose roles are ``user`` and ``assistant``, and returns
    True, False, an outcome, or None if nobody knows.

    Raises:
        ConvgymError: for what is neither, and for a function that cannot be imported.
    """
    scope, colon, pattern = spec.partition(":")
    if colon and scope in SCOPES:
        return _pattern_rule(*SCOPES[scope], pattern)
    if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", spec):
        raise ConvgymError(
            f"an outcome rule is package.module:function or SCOPE:PATTERN, where SCOPE is one of"
            f" {', '.join(SCOPES)}; got {spec[:60]!r}"
        )
    return _function_rule(spec)


def _pattern_rule(role: str | None, last: bool, pattern: str) -> Rule:
    try:
        expression = re.compile(pattern, re.IGNORECASE)
    except re.error as error:
        raise ConvgymError(f"the outcome rule's pattern {pattern!r} is wrong: {error}") from None
    if not pattern:
        raise ConvgymError("the outcome rule's pattern is empty: it would be found everywhere")

    def rule(chat: Chat) -> Outcome | None:
        texts: Sequence[str] = [
            text
            for said in chat.messages
            if (role is None or said.role == role) and (text := clean(said.text))
        ]
        texts = texts[-1:] if last else texts
        return "purchase" if any(map(expression.search, texts)) else "walk_away"

    return rule


def _function_rule(spec: str) -> Rule:
    module, _, name = spec.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except (Exception, SystemExit) as error:  # whatever a foreign module raises
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConvgymError(f"cannot import the outcome rule {spec!r}: {reason}") from error
    if not callable(function):
        raise ConvgymError(f"the outcome rule {spec!r} is no function, but {function!r}"[:200])

    def rule(chat: Chat) -> Outcome | None:
        with whose(f"the outcome rule {spec!r}"):
            value = function(chat)
        try:
            return outcome_of(value)
        except Unclear:
            raise ConvgymError(
                f"the outcome rule {spec!r} must return True, False or None, got {value!r}"[:300]
            ) from None

    return rule
