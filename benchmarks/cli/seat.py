"""A person's seat at the counter: the commands of ``convgym chat``, colours, line editing."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from convgym.benchmarks.talks.advice import Adviser, suggestion
from convgym.benchmarks.terminal import console, printable
from convgym.errors import ConvgymError
from convgym.policy import Conversation, Policy
from convgym.sellers.human import Command

_STYLES = {"Customer:": "green", "Seller:": "cyan"}

HELP = """Type what you say to the customer, a line a turn. A line that begins with / is not said:
  /hint      what the competent seller would say now
  /q TEXT    what Q makes of TEXT before you say it
  /help      this
  /quit      end the program"""
NO_Q = (
    "no Q was given: make one by convgym collect log.jsonl --policy default and convgym fit-q"
    " log.jsonl --policy default --output q, then convgym chat --q q --policy default"
)


def tell(text: str) -> None:
    """Print lines of a conversation and about it, speakers in their colours on a terminal."""
    from rich.text import Text

    screen = console()
    for line in printable(text).split("\n"):
        speaker = line.partition(" ")[0]
        style = _STYLES.get(speaker, "dim")
        screen.print(Text(line, style=style), soft_wrap=True)


def edit_lines() -> None:
    """Let ``input`` edit lines and remember them, where this Python has readline."""
    with suppress(ImportError):
        import readline  # noqa: F401


def commands(competent: Policy, adviser: Adviser) -> dict[str, Command]:
    """Return the commands of a person who sells.

    Args:
        competent: what ``/hint`` asks.
        adviser: what ``/q`` asks; one without a Q says how to make one.
    """

    def hint(words: str, conversation: Conversation) -> str:
        return f"hint: {suggestion(competent, conversation).text}"

    def value(words: str, conversation: Conversation) -> str:
        if not adviser.has_q:
            return NO_Q
        if not words:
            return "expected the words that you are about to say: /q What is your budget?"
        yours, *theirs = adviser.advise(conversation, {"the hint": competent}, words)
        told = f"Q {yours.q:.2f}: so likely, it thinks, a purchase is in the end if you say that"
        return "; ".join([told, *(f"{each.q:.2f} for the hint ({each.words})" for each in theirs)])

    return {"hint": hint, "q": value, "help": lambda words, conversation: HELP}


def seller_name(seller: str) -> str:
    """Return a seller's name; of the folder of a model ``hf:FOLDER``."""
    from convgym.benchmarks.cli.steps import is_model
    from convgym.sellers import SELLERS

    return f"hf:{seller}" if is_model(seller) and seller not in SELLERS.names() else seller


def adviser_of(q: Path | None, policy: str | None) -> Adviser:
    """Return who is asked for advice.

    Args:
        q: the folder of a Q; None is an adviser without one.
        policy: the policy that Q is of; None is the one in its report.

    Raises:
        ConvgymError: for a policy without a Q, and as ``Opinion.of_folder``.
    """
    if q is None:
        if policy is not None:
            raise ConvgymError("--policy is the one that Q is of: give the folder of Q by --q")
        return Adviser()
    from convgym.agents.pipeline.opinion import Opinion

    return Adviser(Opinion.of_folder(q, policy))
