"""The report as one HTML file: no scripts, nothing loaded from elsewhere, light and dark."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from convgym.benchmarks.report.rows import PAIR_HEADINGS, columns, pair_cells
from convgym.benchmarks.runs.pairs import METHOD, Family
from convgym.benchmarks.runs.redaction import redacted
from convgym.benchmarks.runs.scores import Score
from convgym.benchmarks.runs.suites import Job
from convgym.conversation import Episode, Message
from convgym.datafiles import dumps
from convgym.errors import ConvgymError
from convgym.logs import read_log

SHOWN = 4
"""Sample conversations shown of each row."""

_OUTCOMES = {
    "purchase": "The customer bought.",
    "walk_away": "The customer walked away.",
    "turn_limit": "The turn limit was reached.",
    "infrastructure_failure": "The customer's backend failed: not counted.",
    "seller_failure": "The seller's backend failed: not counted.",
}


def page(
    manifests: Sequence[Mapping[str, Any]],
    scores: Sequence[Score],
    notes: Sequence[str],
    picture: bytes | None,
    samples: Sequence[tuple[Job, Sequence[Episode]]],
    families: Sequence[Family] = (),
) -> str:
    """Return the page of one or more runs that are read together.

    Picture (PNG), table, notes, families of comparisons, sample conversations of each job,
    manifests.
    """
    manifests = [redacted(manifest) for manifest in manifests]
    run, machine = manifests[0]["run"], manifests[0]["starts"][-1]["machine"]
    suite = run["suite"]
    started = _time(min(manifest["starts"][0]["time"] for manifest in manifests))
    ends = [manifest["finished"] for manifest in manifests]
    state = f"finished {_time(max(ends))}" if all(ends) else "not finished"
    return Template(
        files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    ).substitute(
        title=escape(f"convgym bench {suite['name']}, seed {run['seed']}"),
        subtitle=escape(f"{suite['description']} Started {started}, {state}."),
        picture=_picture(picture),
        table=_table(scores),
        notes="\n".join(f"<p>{escape(note)}</p>" for note in notes),
        comparisons=_comparisons(families),
        conversations=_samples(samples),
        machine=escape(
            f"convgym {run['convgym']}, commit {run['commit']['id'][:12]}"
            f"{' with changes' if run['commit']['dirty'] else ''}, Python"
            f" {run['versions']['python']}; {machine['processor']}, {machine['cores']} cores,"
            f" {machine['memory_gb']} GB, {machine['platform']}"
        ),
        manifest=escape("\n".join(dumps(manifest, indent=2) for manifest in manifests)),
    )


def _time(stamp: str) -> str:
    return f"{datetime.fromisoformat(stamp):%Y-%m-%d %H:%M} UTC"


def _picture(png: bytes | None) -> str:
    if png is None:
        return ""
    data = base64.b64encode(png).decode("ascii")
    return (
        f'<figure><img alt="Conversion of each agent" src="data:image/png;base64,{data}"></figure>'
    )


def _table(scores: Sequence[Score]) -> str:
    headings, rows = columns(scores)
    return _rows(headings, [score.kind for score in scores], rows)


def _comparisons(families: Sequence[Family]) -> str:
    if not families:
        return ""
    tables = "\n".join(map(_family, families))
    return f"<h2>Paired differences</h2>\n<p>{escape(METHOD)}</p>\n{tables}"


def _family(family: Family) -> str:
    table = _rows(PAIR_HEADINGS, ["seller"] * len(family.pairs), map(pair_cells, family.pairs))
    number = len(family.pairs)
    title = f"{escape(family.name)}: {number} comparison{'s' * (number != 1)}"
    return f'<details><summary>{title}</summary>\n<div class="wide">\n{table}\n</div>\n</details>'


def _rows(headings: Sequence[str], kinds: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "\n".join(_row(kind, row) for kind, row in zip(kinds, rows, strict=True))
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def _row(kind: str, cells: Sequence[str]) -> str:
    texts = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    return f'<tr class="{escape(kind)}">{texts}</tr>'


def _samples(samples: Sequence[tuple[Job, Sequence[Episode]]]) -> str:
    if not samples:  # stored runs may have been put away without them
        return ""
    jobs = "\n".join(_conversations(job, episodes) for job, episodes in samples)
    return (
        f"<h2>Conversations</h2>\n<p>The first {SHOWN} evaluation customers, the same for"
        f" everybody; nothing was picked.</p>\n{jobs}"
    )


def _conversations(job: Job, episodes: Sequence[Episode]) -> str:
    shown = episodes[:SHOWN]
    chats = "\n".join(_chat(episode) for episode in shown)
    bought = f"{sum(episode.converted for episode in shown)} of {len(shown)} bought"
    return (
        f"<details><summary>{escape(job.label)}: {bought}</summary>"
        f'\n<div class="chats">\n{chats}\n</div>\n</details>'
    )


def _chat(episode: Episode) -> str:
    bubbles = "\n".join(_bubble(message) for message in episode.messages())
    outcome = f'<div class="outcome {episode.outcome}">{_OUTCOMES[episode.outcome]}</div>'
    return f'<div class="chat">\n{bubbles}\n{outcome}\n</div>'


def _bubble(message: Message) -> str:
    speaker = "seller" if message["role"] == "assistant" else "customer"
    return f'<div class="bubble {speaker}">{escape(message["content"]) or "…"}</div>'


def read_samples(folder: Path, jobs: Sequence[Job]) -> list[tuple[Job, list[Episode]]]:
    """Return the sample conversations that a results folder keeps of ``jobs``.

    Raises ConvgymError for a log that is damaged, or no plain file.
    """
    samples = []
    for job in jobs:
        path = folder / "conversations" / f"{job.label}.jsonl"
        if path.is_file():
            samples.append((job, read_log(path).episodes))
        elif path.exists():
            raise ConvgymError(f"the log {path} is not a plain file")
    return samples
