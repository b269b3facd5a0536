"""A person who sells."""

from __future__ import annotations

import random

import pytest

from convgym.conversation import Response
from convgym.errors import ConvgymError
from convgym.policy import Conversation, Policy
from convgym.sellers.human import Human


def conversation() -> Conversation:
    return Conversation(0, [{"role": "user", "content": "Hello?"}], random.Random(0))


def test_what_the_customer_said_is_shown_and_the_answer_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("builtins.input", lambda prompt: "Good morning.")
    seller = Human()
    assert isinstance(seller, Policy)
    seller.reset(0)
    assert seller.act([conversation()]) == [Response("Good morning.")]
    assert "Hello?" in capsys.readouterr().out


def test_the_end_of_the_input_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(prompt: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", ended)
    with pytest.raises(ConvgymError, match="input ended"):
        Human().act([conversation()])
