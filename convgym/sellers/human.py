"""A person who sells at the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from convgym.conversation import Response, render
from convgym.errors import ConvgymError
from convgym.policy import Conversation


class Human:
    """A policy that asks at the terminal."""

    name = "human"

    def reset(self, seed: int) -> None:
        """Do nothing: people are not seeded."""

    def act(self, conversations: Sequence[Conversation]) -> list[Response]:
        """Show each customer's last words and read the answer; ConvgymError at the input's end."""
        answers = []
        for conversation in conversations:
            print(render(conversation.messages[-1:]))
            try:
                answers.append(Response(input("Seller: ")))
            except EOFError:
                raise ConvgymError("the input ended before the conversation did") from None
        return answers
