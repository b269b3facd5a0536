"""The learning curve of a stored run, as a drawing that fits any screen, and as a table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from convgym.benchmarks.report.plot import cycle, learning_lines
from convgym.benchmarks.report.rows import columns
from convgym.benchmarks.runs.gathering import Gathered, gather
from convgym.benchmarks.runs.scores import Score, scores

_SIZES = ((760, 380, "wide"), (360, 330, "narrow"))
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 14, 14, 46
_REFERENCES = 3
"""Sellers by rule that are drawn as lines to compare with: the best, and those below it."""


@dataclass(frozen=True)
class _Frame:
    """Where on a drawing a number of conversations and a conversion in percent lie."""

    width: int
    height: int
    most: float

    def x(self, conversations: float) -> float:
        return _LEFT + (self.width - _LEFT - _RIGHT) * conversations / self.most

    def y(self, percent: float) -> float:
        return _TOP + (self.height - _TOP - _BOTTOM) * (1 - percent / 100)


def curve_page(folders: Sequence[Path]) -> str:
    """Return the learning curves of stored runs and their scores as HTML.

    Args:
        folders: results folders, read together as ``gather`` reads them.

    Raises:
        ConvgymError: for what is no whole results folder.
    """
    run = gather(folders)
    ranking = scores(run.results)
    agents = [score for score in ranking if score.kind == "agent"]
    drawings = "".join(_drawing(ranking, run, *size) for size in _SIZES) if agents else ""
    legend = "".join(_legend(ranking))
    title = "Conversion while learning" if agents else "Conversion of the sellers"
    return (
        f'<section class="cg-curve" aria-label="{title}"><h2>{title}</h2>'
        '<p class="cg-hint">Each thin line is one training run; a dot with its bar is the final'
        " judgement, on customers that no training met, with a 95% interval. Dashed lines are"
        f' sellers by rule.</p>{drawings}<ul class="cg-legend">{legend}</ul>{_table(ranking)}'
        "</section>"
    )


def _references(ranking: Sequence[Score]) -> list[Score]:
    known = [score for score in ranking if not math.isnan(score.conversion.value)]
    sellers = [score for score in known if score.kind == "seller"]
    best = sorted(sellers, key=lambda score: -score.conversion.value)[:_REFERENCES]
    return [*best, *(score for score in known if score.kind == "start")]


def _drawing(ranking: Sequence[Score], run: Gathered, width: int, height: int, shape: str) -> str:
    agents = [score for score in ranking if score.kind == "agent"]
    starts = {score.name: score.conversion.value for score in ranking if score.kind == "start"}
    ends = [score.conversations for score in agents]
    most = max([*ends, *(row["conversations"] for row in run.curves), 1.0])
    frame = _Frame(width, height, most)
    parts = [*_axes(frame)]
    for score in _references(ranking):
        y = frame.y(100 * score.conversion.value)
        parts.append(
            f'<line class="cg-{score.kind}" x1="{_LEFT}" x2="{width - _RIGHT}" y1="{y:.1f}"'
            f' y2="{y:.1f}"/>'
        )
    for score, colour in zip(agents, cycle(len(agents)), strict=True):
        start = starts.get(score.start or "", math.nan)
        for seed, points in learning_lines(score, run.curves, start).items():
            line = sorted({*points, *_judged(run, score, seed)})
            places = " ".join(
                f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in line if not math.isnan(y)
            )
            parts.append(f'<polyline points="{places}" stroke="{colour}"/>')
        parts += _final(frame, score, colour)
    return (
        f'<svg class="cg-{shape}" viewBox="0 0 {width} {height}" role="img"'
        ' aria-label="Conversion against customer conversations held in training; the table below'
        f' has the numbers.">{"".join(parts)}</svg>'
    )


def _judged(run: Gathered, score: Score, seed: int) -> Iterator[tuple[float, float]]:
    """Yield where a training run of an agent ended."""
    for result in run.results:
        job = result.job
        if (job.kind, job.name, job.seed) == ("agent", score.name, seed) and result.valid:
            yield score.conversations, 100 * result.conversions / result.episodes


def _axes(frame: _Frame) -> Iterator[str]:
    right, bottom = frame.width - _RIGHT, frame.y(0)
    for percent in (0, 25, 50, 75, 100):
        y = frame.y(percent)
        yield f'<line class="cg-grid" x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{percent}%</text>'
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        x = frame.x(share * frame.most)
        yield (
            f'<text x="{x:.1f}" y="{bottom + 18:.1f}" text-anchor="{anchor}">'
            f"{share * frame.most:,.0f}</text>"
        )
    middle = (_LEFT + right) / 2
    yield (
        f'<text x="{middle:.1f}" y="{bottom + 38:.1f}" text-anchor="middle">customer conversations'
        " held in training</text>"
    )


def _final(frame: _Frame, score: Score, colour: str) -> Iterator[str]:
    value, low, high = (
        100 * part for part in (score.conversion.value, score.conversion.low, score.conversion.high)
    )
    if math.isnan(value):
        return
    x = frame.x(score.conversations)
    yield (
        f'<line class="cg-interval" x1="{x:.1f}" x2="{x:.1f}" y1="{frame.y(low):.1f}"'
        f' y2="{frame.y(high):.1f}" stroke="{colour}"/>'
    )
    yield f'<circle cx="{x:.1f}" cy="{frame.y(value):.1f}" r="5" fill="{colour}"/>'


def _legend(ranking: Sequence[Score]) -> Iterator[str]:
    agents = [score for score in ranking if score.kind == "agent"]
    for score, colour in zip(agents, cycle(len(agents)), strict=True):
        runs = f", {score.seeds} training runs" if score.seeds > 1 else ""
        yield (
            f'<li><span class="cg-dot" style="background:{colour}"></span>'
            f"<span><b>{escape(score.name)}</b>{runs}: {_percent(score)}</span></li>"
        )
    for score in _references(ranking) if agents else ():
        what = " (before training)" if score.kind == "start" else ""
        yield (
            f'<li><span class="cg-dash cg-{score.kind}"></span>{escape(score.name)}{what}:'
            f" {_percent(score)}</li>"
        )


def _percent(score: Score) -> str:
    value = score.conversion.value
    return "invalid" if math.isnan(value) else f"{value:.0%}"


def _table(ranking: Sequence[Score]) -> str:
    headings, rows = columns(ranking)
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for name, *cells in rows
    )
    return (
        '<details class="cg-numbers"><summary>The numbers</summary>'
        '<div class="cg-scroll" tabindex="0" role="region" aria-label="Scores of all sellers">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></details>"
    )
