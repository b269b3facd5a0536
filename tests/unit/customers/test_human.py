"""The customer who types: commands, the end of the input, and the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from convgym.benchmarks.cli import main
from convgym.customers import Decision, make_customer
from convgym.customers.human import HumanCustomer
from convgym.errors import ConvgymError

Type = Callable[..., None]


@pytest.fixture
def type_in(monkeypatch: pytest.MonkeyPatch) -> Type:
    """Make ``input`` return lines, then end."""

    def type_in(*lines: str) -> None:
        left: Iterator[str] = iter(lines)

        def read(prompt: str) -> str:
            print(prompt, end="")
            for line in left:
                return line
            raise EOFError

        monkeypatch.setattr("builtins.input", read)

    return type_in


def test_it_types_and_decides(type_in: Type, capsys: pytest.CaptureFixture[str]) -> None:
    customer = make_customer("human")
    type_in("/buy", "Hello.", "  For games. ", "/by", "/buy", "/leave See you.", "")
    assert customer.reset(3) == "Hello."
    shown = capsys.readouterr().out
    assert f"you can spend about ${customer.latent['budget']}" in shown
    assert "greet the seller first" in shown
    reply = customer.respond("What for?")
    assert (reply.text, reply.decision) == ("For games.", Decision.CONTINUE)
    assert "Seller: What for?" in capsys.readouterr().out
    reply = customer.respond("Buy?")
    assert (reply.text, reply.decision) == ("I will take it.", Decision.BUY)
    assert "/by is no command. Type your replies." in capsys.readouterr().out
    reply = customer.respond("Buy?")
    assert (reply.text, reply.decision) == ("See you.", Decision.LEAVE)
    assert customer.respond("Hello?").text == ""


def test_the_shopping_list_is_drawn_from_the_seed(type_in: Type) -> None:
    type_in(*["Hello."] * 4)
    customer = HumanCustomer("insurance")
    assert customer.latent == {}
    customer.reset(1)
    first = customer.latent
    customer.reset(2)
    assert customer.latent != first
    customer.reset(1)
    assert customer.latent == first
    customer.reset(1, profile={"need": "pet"})
    assert customer.latent == {**first, "need": "pet"} | {"budget": customer.latent["budget"]}


def test_the_input_ends(type_in: Type) -> None:
    type_in()
    with pytest.raises(ConvgymError, match="the input ended before the conversation did"):
        HumanCustomer().reset(0)


def chat(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main.main(["chat", *arguments])
    return end.value.code if isinstance(end.value.code, int) else 0


def test_one_can_be_the_customer(type_in: Type, capsys: pytest.CaptureFixture[str]) -> None:
    type_in("Hi.", "For games.", "/buy I want the first one!")
    assert chat("--customer", "human", "--seller", "competent") == 0
    out = capsys.readouterr().out
    assert out.count("Seller: ") == 2 and out.endswith("(purchase)\n")
    type_in("Hi.")
    assert chat("--customer", "human", "--seller", "competent") == 2
    assert "the input ended" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seller", "message"),
    [("human", "cannot both be you"), ("oracle", "hidden state of a scripted customer")],
)
def test_who_cannot_sell_to_a_human(
    seller: str, message: str, type_in: Type, capsys: pytest.CaptureFixture[str]
) -> None:
    type_in("Hi.")
    assert chat("--customer", "human", "--seller", seller) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1
