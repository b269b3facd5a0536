"""The picture of variants that differ in their number of deployments: what few of them cost."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from convgym.benchmarks.report.plot import (
    INK,
    Label,
    cycle,
    draw_sellers,
    drawn,
    write_labels,
)
from convgym.benchmarks.runs.result import Result
from convgym.benchmarks.runs.scores import Score

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NUMBER = re.compile(r"[-_.]?\d+$")
_ENOUGH = 3
"""Training seeds from which on an interval is drawn: that of two is as wide as the picture."""

Series = Mapping[str, Sequence[Score]]
"""Scores by the name of their line, from few deployments to many."""


def series(scores: Sequence[Score]) -> Series:
    """Return the agents' lines: ``NAME@4`` and ``NAME@8`` are points of ``NAME``.

    A label in words stays: ``NAME@WORD-4`` is a point of ``NAME@WORD``. Empty unless some line has
    points at several numbers of deployments.
    """
    lines: dict[str, list[Score]] = {}
    for score in scores:
        if score.kind == "agent" and not math.isnan(score.conversion.value):
            name, at, label = score.name.partition("@")
            word = _NUMBER.sub("", label) if at else ""
            lines.setdefault(f"{name}@{word}" if word else name, []).append(score)
    ordered = {
        name: sorted(points, key=lambda score: score.deployments) for name, points in lines.items()
    }
    varied = any(len({p.deployments for p in points}) > 1 for points in ordered.values())
    return ordered if varied else {}


def frontier(scores: Sequence[Score], results: Sequence[Result]) -> bytes:
    """Return a PNG of conversion against deployments, and of the processor seconds of training.

    A line an agent, with 95% intervals, and a small dot each training seed; sellers and starts are
    horizontal lines. Raises ModuleNotFoundError without matplotlib.
    """
    lines = series(scores)
    panels = [partial(_draw_conversion, scores=scores, lines=lines, results=results)]
    if any(not math.isnan(p.cpu_seconds) for points in lines.values() for p in points):
        panels.append(partial(_draw_cost, lines=lines))
    return drawn(*panels, size=(8.5 * len(panels) - 1.5 * (len(panels) > 1), 5.5))


def _draw_conversion(
    axes: Axes, scores: Sequence[Score], lines: Series, results: Sequence[Result]
) -> None:
    labels: list[Label] = draw_sellers(axes, scores)
    by_name: dict[str, list[Result]] = {}
    for result in results:
        if result.job.kind == "agent" and result.valid:
            by_name.setdefault(result.job.name, []).append(result)
    for number, ((name, points), colour) in enumerate(
        zip(lines.items(), cycle(len(lines)), strict=True)
    ):
        # Side by side, so that no interval hides another.
        aside = 2 ** (0.035 * (number - (len(lines) - 1) / 2))
        x = [aside * max(score.deployments, 1) for score in points]
        y = [100 * score.conversion.value for score in points]
        axes.plot(x, y, color=colour, marker="o", markersize=5, linewidth=1.6, zorder=3)
        for place, score in zip(x, points, strict=True):
            rows = by_name.get(score.name, [])
            sold = [100 * row.conversions / row.episodes for row in rows]
            axes.plot([place] * len(sold), sold, ".", color=colour, markersize=3, alpha=0.5)
            if len(rows) >= _ENOUGH:
                ends = [100 * score.conversion.low], [100 * score.conversion.high]
                axes.vlines([place], *ends, color=colour, linewidth=1.1, zorder=2)
        labels.append((y[-1], f"{name}  {y[-1]:.0f}%", colour))
    axes.set_ylim(-2, 102)
    axes.set_ylabel("conversion (%)", color=INK)
    axes.set_title("Conversion at an equal budget", loc="left", color=INK, fontweight="bold")
    _log_axis(axes, lines)
    write_labels(axes, labels)


def _draw_cost(axes: Axes, lines: Series) -> None:
    for (name, points), colour in zip(lines.items(), cycle(len(lines)), strict=True):
        known = [score for score in points if not math.isnan(score.cpu_seconds)]
        x = [max(score.deployments, 1) for score in known]
        axes.plot(x, [score.cpu_seconds for score in known], color=colour, marker="o", label=name)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(lambda y, _: f"{y:,.0f}")
    axes.set_ylabel("processor seconds of training", color=INK)
    axes.set_title("What it takes to compute", loc="left", color=INK, fontweight="bold")
    axes.grid(axis="y", color="#e4e4e4")
    _log_axis(axes, lines)


def _log_axis(axes: Axes, lines: Series) -> None:
    ticks = sorted({max(score.deployments, 1) for points in lines.values() for score in points})
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [f"{tick:,.3g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("deployments", color=INK)
