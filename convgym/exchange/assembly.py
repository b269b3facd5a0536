"""A chat of a foreign file as an opening and turns."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from convgym.conversation import MAX_UTTERANCE_CHARS, Response, Turn, clean, without_invisible
from convgym.exchange.chats import Chat
from convgym.exchange.findings import Findings
from convgym.exchange.settings import ImportSettings
from convgym.seeds import EVALUATION_BASE


@dataclass(frozen=True, slots=True)
class Dialogue:
    """What was said, in the order of an episode."""

    opening: str
    turns: tuple[Turn, ...]


@dataclass
class _Utterance:
    role: str
    text: str
    place: str


def assemble(chat: Chat, settings: ImportSettings, findings: Findings) -> Dialogue | None:
    """Return a chat as an opening by the customer and turns, None (and a finding) if it is none.

    Args:
        chat: with ``user`` and ``assistant`` as roles; what others say is left out.
        settings: of greetings and empty messages.
        findings: told of everything that is left out or changed.
    """
    utterances = _utterances(chat, settings, findings)
    if utterances and utterances[0].role == "assistant":
        greeting = utterances[0]
        if settings.greeting == "keep":
            findings.add("no-opening", chat.place, greeting.text)
            utterances.insert(0, _Utterance("user", "", chat.place))
        else:
            findings.add("greeting", greeting.place, greeting.text)
            del utterances[0]
    if not any(utterance.text for utterance in utterances if utterance.role == "user"):
        findings.add("no-customer", chat.place)
        return None
    if len(utterances) < 2:
        findings.add("no-seller", chat.place, utterances[0].text)
        return None
    if utterances[-1].role == "assistant":
        findings.add("unanswered", utterances[-1].place, utterances[-1].text)
        utterances.append(_Utterance("user", "", utterances[-1].place))
    texts = [utterance.text for utterance in utterances]
    turns = (
        Turn(Response(said), reply) for said, reply in zip(texts[1::2], texts[2::2], strict=True)
    )
    return Dialogue(texts[0], tuple(turns))


def _utterances(chat: Chat, settings: ImportSettings, findings: Findings) -> list[_Utterance]:
    """Return what the two sides said in turns, each as one line."""
    utterances: list[_Utterance] = []
    for said in chat.messages:
        if said.role not in {"user", "assistant"}:
            findings.add("bystander", said.place, f"{said.role} {said.text}")
            continue
        text = _line(said.text, said.place, findings)
        if not text and settings.empty == "drop":
            findings.add("empty", said.place)
        elif utterances and utterances[-1].role == said.role:
            findings.add("joined", said.place, text)
            joined = f"{utterances[-1].text} {text}".strip()
            utterances[-1].text = _line(joined, said.place, findings)
        else:
            utterances.append(_Utterance(said.role, text, said.place))
    return utterances


def _line(text: str, place: str, findings: Findings) -> str:
    line = clean(text)
    if len(line) >= MAX_UTTERANCE_CHARS - 1:  # a blank where it was cut is gone as well
        whole = len(" ".join(without_invisible(text).split()))
        if whole > MAX_UTTERANCE_CHARS:
            findings.add("cut", place, f"{whole} characters")
    return line


def seed_of(id: str, taken: set[int]) -> int:
    """Return a training seed for a conversation by its id, the next free one if it is taken."""
    digest = hashlib.sha256(id.encode("utf-8", "surrogatepass")).digest()
    seed = int.from_bytes(digest[:8]) % EVALUATION_BASE
    while seed in taken:
        seed = (seed + 1) % EVALUATION_BASE
    taken.add(seed)
    return seed
