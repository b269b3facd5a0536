"""A person who sells at the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from convgym import terminal
from convgym.conversation import Response, render
from convgym.policy import Conversation
from convgym.terminal import QuitError, ask

Command = Callable[[str, Conversation], str]
"""From the words behind a command, and the conversation so far, to what is shown to the seller."""


class Human:
    """A policy that asks at the terminal.

    A line that begins with a slash is a command, and is not said: ``/help`` names them all, and
    ``/quit`` raises ``QuitError``.

    Args:
        commands: more of them, by name without the slash.
        max_turns: shown with every turn; None shows nothing.
        show: prints a line, ``Customer: ...`` or what a command has to say.
    """

    name = "human"

    def __init__(
        self,
        commands: Mapping[str, Command] | None = None,
        max_turns: int | None = None,
        show: Callable[[str], None] = terminal.show,
    ) -> None:
        self._commands = dict(commands or {})
        self._max_turns, self._show = max_turns, show

    def reset(self, seed: int) -> None:
        """Do nothing: people are not seeded."""

    def act(self, conversations: Sequence[Conversation]) -> list[Response]:
        """Show each customer's last words and read the answer; ConvgymError at the input's end."""
        return [self._answer(conversation) for conversation in conversations]

    def _answer(self, conversation: Conversation) -> Response:
        self._show(render(conversation.messages[-1:]))
        turn = (len(conversation.messages) + 1) // 2
        counter = f"[{turn}/{self._max_turns}] " if self._max_turns else ""
        while True:
            line = ask(f"{counter}Seller: ")
            if not line.startswith("/"):
                return Response(line)
            command, _, words = line[1:].partition(" ")
            if command == "quit":
                raise QuitError
            if command in self._commands:
                self._show(self._commands[command](words.strip(), conversation))
            else:
                names = ", ".join(f"/{name}" for name in {"help": 0, **self._commands, "quit": 0})
                unknown = "" if command == "help" else f"/{command} is no command. "
                self._show(f"{unknown}Type what you say to the customer. Commands: {names}")
