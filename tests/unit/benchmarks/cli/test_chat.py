"""``convgym chat`` on either side: commands of a person, what is told at the end, the log."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from convgym.agents.pipeline import opinion
from convgym.benchmarks.cli.app import make_app
from convgym.benchmarks.cli.seat import NO_Q
from convgym.errors import ConvgymError
from convgym.logs import read_log

GOOD = ["What will you use it for?", "What matters most to you?", "What is your budget?"]
SALE = [*GOOD, "I recommend the Lumen.", "Shall I place the order?", "Shall I place the order?"]


def chat(arguments: str, *lines: str) -> Result:
    """Call the command with these lines at its input."""
    typed = "".join(f"{line}\n" for line in lines)
    return CliRunner().invoke(make_app(), ["chat", *arguments.split()], input=typed)


def test_one_sells_is_told_all_and_keeps_the_log(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    done = chat(f"--seed 17 --save {file}", *SALE, *["..."] * 12)
    assert done.exit_code == 0, done.output
    header, catalogue, hint, talk, hindsight = done.output.split("\n\n")
    assert header.splitlines() == [
        "seller    you",
        "customer  scripted, seed 17",
        "shop      laptops",
        "goal      a purchase, within 12 turns",
    ]
    assert catalogue.startswith("You sell laptops") and "/help" in hint
    assert "[1/12] Seller: What will you use it for?" in talk
    assert "for study" in hindsight and "--seed 17 brings the same customer again" in hindsight
    (episode,) = read_log(file).episodes
    assert (episode.seed, episode.policy) == (17, "human")
    assert [turn.response.text for turn in episode.turns[:5]] == SALE[:5]
    assert f"({episode.outcome.replace('_', ' ')})" in talk

    again = CliRunner().invoke(make_app(), ["logs", "validate", str(file)])
    assert again.exit_code == 0 and "1 whole conversations" in again.output
    with pytest.raises(ConvgymError, match=r"mine.jsonl"):
        refused = chat(f"--save {file}", *SALE)
        assert refused.exception
        raise refused.exception


def test_commands_are_not_said_and_leave_the_conversation_as_it_was(tmp_path: Path) -> None:
    plain, asked = tmp_path / "plain.jsonl", tmp_path / "asked.jsonl"
    lines = [*SALE, *["..."] * 12]
    assert chat(f"--seed 17 --save {plain}", *lines).exit_code == 0
    commands = ["/help", "/hint", "/nope", "/q Hello."]
    done = chat(f"--seed 17 --save {asked}", *commands, *GOOD, "/hint", *lines[3:])
    assert plain.read_bytes() == asked.read_bytes()
    out = done.output
    assert "what the competent seller would say now" in out
    assert "/nope is no command." in out and "Commands: /help, /hint, /q, /quit" in out
    assert NO_Q in out and "fit-q" in NO_Q
    assert out.count("hint: ") == 2 and "hint: I " in out


@pytest.mark.parametrize("arguments", ["", "--customer human --seller competent"])
def test_who_quits_leaves_nothing(arguments: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    done = chat(f"{arguments} --seed 3 --save {file}", "Hello.", "/quit")
    assert done.exit_code == 0
    assert done.output.endswith("(you left; --seed 3 brings the same customer again)\n")
    assert not file.exists()


def test_one_buys() -> None:
    lines = ["Hi.", "/help", "/nope", "For games.", "/buy I want the first one!"]
    done = chat("--customer human --seller competent --seed 1", *lines)
    assert done.exit_code == 0
    assert "customer  you, seed 1" in done.output and "You want a laptop for" in done.output
    assert "Customer: For games.\nSeller: " in done.output
    assert done.output.count("/leave leaves") == 3 and "/nope is no command" in done.output
    assert done.output.endswith("(purchase)\n")


class FakeOpinion(SimpleNamespace):
    """Q by the length of what is said."""

    asked: list[tuple[Any, ...]] = []  # noqa: RUF012

    @classmethod
    def of_folder(cls, *given: Any) -> FakeOpinion:
        cls.asked.append(given)
        return cls()

    def values(self, conversation: Any, utterances: list[str]) -> list[float]:
        return [len(utterance) / 100 for utterance in utterances]


def test_q_is_asked_beside_the_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opinion, "Opinion", FakeOpinion)
    done = chat("--q folder --policy default", "/q", "/q Hello.", "/quit")
    assert FakeOpinion.asked == [(Path("folder"), "default")]
    assert "expected the words" in done.output
    assert "Q 0.06: so likely" in done.output and " for the hint (" in done.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("--policy default", "--policy is the one that Q is of"),
        ("--seller competent --q folder", "of a person who sells"),
        ("--q nowhere", "nowhere"),
    ],
)
def test_mistakes_with_q(arguments: str, told: str) -> None:
    done = chat(arguments)
    assert isinstance(done.exception, ConvgymError) and told in str(done.exception)


def test_a_shop_and_a_customer_of_any_kind() -> None:
    done = chat("--seller competent --catalog bicycles --seed 2")
    assert done.exit_code == 0 and "shop      bicycles" in done.output
    assert "wants a bicycle for" in done.output
