"""Foreign logs as episodes, with a report of all that was left out or changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from convgym.conversation import Episode, Outcome
from convgym.errors import ConvgymError, unknown
from convgym.exchange.assembly import assemble, seed_of
from convgym.exchange.chats import Chat
from convgym.exchange.findings import Finding, Findings
from convgym.exchange.formats import find_format, guess_format
from convgym.exchange.outcomes import by_field, outcome_field
from convgym.exchange.roles import find_roles, with_sides
from convgym.exchange.rules import make_rule
from convgym.exchange.settings import ImportSettings
from convgym.exchange.text_file import missing_source

CUSTOMER = "imported"
"""The fingerprint of all customers of foreign logs."""


@dataclass(frozen=True)
class ImportReport:
    """What became of a foreign log."""

    source: str
    format: str
    conversations: int
    """In the file, as far as they could be read."""
    kept: int
    sales: int
    outcome: str
    """What said how conversations ended: ``field 'converted'``, ``rule 'any:thank you'``."""
    sides: dict[str, str]
    """By role of the file: ``customer``, ``seller`` or ``ignored``."""
    findings: tuple[Finding, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Imported:
    """Episodes of a foreign log in its order, and the report on it."""

    episodes: list[Episode]
    report: ImportReport


def import_log(source: str | Path, settings: ImportSettings | None = None) -> Imported:
    """Read a foreign log.

    An episode has no token ids nor log-probabilities; its seed comes from the conversation's id and
    lies in the training range; its metadata says ``source``, ``format`` and ``original_id``.

    Args:
        source: a file or folder in one of ``convgym.exchange.formats.FORMATS``.
        settings: what cannot be guessed.

    Raises:
        ConvgymError: for a file that cannot be read, and for settings that do not fit it.
        OwnError: for an error of a rule that is a function.
    """
    path, settings = Path(source), settings or ImportSettings()
    findings = Findings()
    if error := missing_source(path):
        raise error
    name = settings.format or guess_format(path, settings)
    format = find_format(name)
    if format.is_folder and not path.is_dir():
        raise ConvgymError(f"{path} is a file, and a log in the format {name} is a folder")
    raw = format.read(path, settings, findings)
    _check_id_field(raw, settings)
    roles = find_roles(raw, settings)
    chats = _without_copies([with_sides(chat, roles) for chat in raw], findings)
    outcomes, by = _outcomes(chats, settings, path, findings)
    episodes: list[Episode] = []
    taken: set[int] = set()
    for chat, outcome in zip(chats, outcomes, strict=True):
        dialogue = assemble(chat, settings, findings) if outcome else None
        if outcome and dialogue:
            metadata = {"source": path.name, "format": name, "original_id": chat.id}
            seed = seed_of(chat.id, taken)
            episodes.append(
                Episode(
                    seed,
                    dialogue.opening,
                    dialogue.turns,
                    outcome,
                    CUSTOMER,
                    settings.policy,
                    metadata,
                )
            )
    words = Counter(said.role.strip() for chat in raw for said in chat.messages)
    names = {"user": "customer", "assistant": "seller", None: "ignored"}
    sides = {word: names[roles.side(word)] for word, _ in words.most_common()}
    sales = sum(episode.converted for episode in episodes)
    report = ImportReport(
        str(path), name, len(raw), len(episodes), sales, by, sides, findings.list()
    )
    return Imported(episodes, report)


def _check_id_field(chats: Sequence[Chat], settings: ImportSettings) -> None:
    if settings.conversation is None or not chats:
        return
    names = list(dict.fromkeys(name for chat in chats for name in chat.fields))
    if settings.conversation not in names and settings.format != "minari":
        plain = {name.casefold() for name in names}
        if settings.conversation.casefold() not in plain:
            raise unknown("field for the conversation's id", settings.conversation, names)


def _without_copies(chats: Sequence[Chat], findings: Findings) -> list[Chat]:
    """Return chats with ids that differ: copies are left out, others get a number."""
    kept: dict[str, Chat] = {}
    for chat in chats:
        id, attempt = chat.id, 2
        same = [(said.role, said.text) for said in chat.messages]
        if id in kept and same == [(said.role, said.text) for said in kept[id].messages]:
            findings.add("copy", chat.place)
            continue
        while id in kept:
            id, attempt = f"{chat.id}#{attempt}", attempt + 1
        if id != chat.id:
            findings.add("renamed", chat.place, id)
        kept[id] = replace(chat, id=id)
    return list(kept.values())


def _outcomes(
    chats: Sequence[Chat], settings: ImportSettings, path: Path, findings: Findings
) -> tuple[list[Outcome | None], str]:
    """Return how each chat ended, None where it is to be left out, and what said so."""
    if settings.outcome_rule is not None:
        rule = make_rule(settings.outcome_rule)
        outcomes, by = [rule(chat) for chat in chats], f"rule {settings.outcome_rule!r}"
    elif not chats:
        return [], "nothing: there is no conversation"
    else:
        field = outcome_field(chats, settings.outcome, str(path))
        outcomes, by = by_field(chats, field, settings.outcome_values), f"field {field!r}"
    for index, chat in enumerate(chats):
        if outcomes[index] is None:
            lost = settings.missing == "lost"
            findings.add("lost" if lost else "no-outcome", chat.place)
            outcomes[index] = "walk_away" if lost else None
    return outcomes, by
