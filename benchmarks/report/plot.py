"""The picture of a run: learning curves between the reference sellers."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from warnings import catch_warnings, simplefilter

from convgym.benchmarks.runs.scores import Score

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's palette without its yellow: told apart by colour-blind readers and in print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
GREY, INK = "#7a7a7a", "#222222"

Label = tuple[float, str, str]
"""Where a label belongs on the y axis (percent), its text and colour."""


def learning_curves(scores: Sequence[Score], curves: Sequence[Mapping[str, Any]]) -> bytes:
    """Return a PNG of conversion against customer conversations held in training.

    Thin lines are single training seeds; the dot with its 95% interval is the final evaluation.
    Dashed lines are the reference sellers. Without any agent the sellers alone are shown with
    their intervals. Raises ModuleNotFoundError without matplotlib.
    """

    def draw(axes: Axes) -> None:
        if any(score.kind == "agent" for score in scores):
            _draw_curves(axes, scores, curves)
        else:
            _draw_ladder(axes, scores)

    return drawn(draw)


def drawn(
    *panels: Callable[[Axes], None], size: tuple[float, float] = (9, 5), columns: int | None = None
) -> bytes:
    """Return a PNG of panels, each drawn by a function that is given its axes.

    Args:
        panels: in the order in which they are read.
        size: of the whole, in inches.
        columns: how many panels stand beside each other; None is all of them.
    """
    from matplotlib import rc_context, rcdefaults, rcParams
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    # Whoever draws it, and in whatever folder, which may hold settings of its own; names are text.
    with rc_context(), catch_warnings():
        simplefilter("ignore")  # of letters that the font lacks, and names that take all the room
        rcdefaults()
        rcParams["text.parse_math"] = False
        figure = Figure(
            figsize=size,
            dpi=144,
            layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12),
            facecolor="white",
        )
        FigureCanvasAgg(figure)
        columns = columns or len(panels)
        grid = figure.subplots(-(-len(panels) // columns), columns, squeeze=False)
        for axes in grid.flat[len(panels) :]:
            axes.remove()
        for axes, draw in zip(grid.flat, panels, strict=False):
            axes.spines[["top", "right"]].set_visible(False)
            axes.spines[["left", "bottom"]].set_color(GREY)
            axes.tick_params(colors=INK)
            draw(axes)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
        return buffer.getvalue()


def _draw_curves(axes: Axes, scores: Sequence[Score], curves: Sequence[Mapping[str, Any]]) -> None:
    agents = [score for score in scores if score.kind == "agent"]
    starts = {score.name: score.conversion.value for score in scores if score.kind == "start"}
    end = max([score.conversations for score in agents] + [row["conversations"] for row in curves])
    labels = draw_sellers(axes, scores)
    for number, (score, colour) in enumerate(zip(agents, cycle(len(agents)), strict=True)):
        lines = learning_lines(score, curves, starts.get(score.start or "", math.nan))
        for points in lines.values():
            x, y = zip(*points, strict=True)
            axes.plot(x, y, color=colour, linewidth=1.8 if len(lines) == 1 else 0.9, alpha=0.85)
        value = 100 * score.conversion.value
        error = [[value - 100 * score.conversion.low], [100 * score.conversion.high - value]]
        if not math.isnan(value):
            # Side by side, so that no interval hides another.
            aside = 0.008 * end * (number - (len(agents) - 1) / 2)
            axes.errorbar(
                [score.conversations + aside],
                [value],
                error,
                color=colour,
                marker="o",
                capsize=3,
                zorder=4,
            )
            labels.append((value, f"{score.name}  {value:.0f}%", colour))
    axes.set_xlim(0, 1.03 * max(end, 1))
    axes.set_ylim(-2, 102)
    axes.set_xlabel("customer conversations held in training", color=INK)
    axes.set_ylabel("conversion (%)", color=INK)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
    axes.set_title("Conversion while learning", loc="left", color=INK, fontweight="bold")
    write_labels(axes, labels)


def learning_lines(
    score: Score, curves: Sequence[Mapping[str, Any]], start: float
) -> dict[int, list[tuple[float, float]]]:
    """Return a line for each training seed of an agent, from its start on.

    Args:
        score: the agent's; where there is one seed, its line ends there.
        curves: points of all agents.
        start: conversion of the agent's start, nan where it is not known.

    Returns:
        By seed: points (customer conversations, conversion in percent), from left to right.
    """
    seeds: dict[int, list[tuple[float, float]]] = {}
    for row in curves:
        if row["name"] == score.name and row["conversion"] is not None:
            point = (row["conversations"], 100 * row["conversion"])
            seeds.setdefault(row["seed"], []).append(point)
    lines = {}
    for seed, points in seeds.items():
        if max(points)[0] == 0:
            continue  # an offline agent: what it met at 0 was the writer of the log
        if min(points)[0] > 0:
            points.append((0.0, 100 * start))
        if len(seeds) == 1:
            points.append((score.conversations, 100 * score.conversion.value))
        lines[seed] = sorted(points, key=lambda point: point[0])
    return lines


def draw_sellers(axes: Axes, scores: Sequence[Score]) -> list[Label]:
    """Draw dashed lines and return their labels; sellers that lie together share one."""
    known = [s for s in scores if s.kind != "agent" and not math.isnan(s.conversion.value)]
    groups: list[list[Score]] = []
    for score in sorted(known, key=lambda score: score.conversion.value):
        axes.axhline(
            100 * score.conversion.value,
            color=INK if score.kind == "start" else GREY,
            linestyle=":" if score.kind == "start" else "--",
            linewidth=1,
            zorder=1,
        )
        if groups and score.conversion.value - groups[-1][0].conversion.value < 0.015:
            groups[-1].append(score)
        else:
            groups.append([score])
    return [
        (
            100 * sum(score.conversion.value for score in group) / len(group),
            ", ".join(f"{s.name} (start)" if s.kind == "start" else s.name for s in group)
            + (f"  {100 * group[0].conversion.value:.0f}%" if len(group) == 1 else ""),
            GREY,
        )
        for group in groups
    ]


def write_labels(axes: Axes, labels: Sequence[Label]) -> None:
    """Write labels right of the axes, moved apart, each tied to its place by a thin line."""
    ordered = sorted(labels, key=lambda label: label[0])
    places = spread([place for place, _, _ in ordered], gap=4.2, low=-2, high=102)
    for (place, text, colour), written in zip(ordered, places, strict=True):
        axes.annotate(
            text,
            xy=(1.0, place),
            xytext=(1.035, written),
            xycoords=axes.get_yaxis_transform(),
            textcoords=axes.get_yaxis_transform(),
            color=colour,
            fontsize=9.5,
            fontweight="normal" if colour == GREY else "bold",
            verticalalignment="center",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "shrinkB": 0},
            annotation_clip=False,
        )


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return sorted ``places`` moved at least ``gap`` apart, near where they were.

    Labels that would touch form a block, which is centred on the mean of its places and kept
    between ``low`` and ``high`` as far as it fits.
    """
    blocks: list[list[float]] = []

    def bottom(block: list[float]) -> float:
        height = gap * (len(block) - 1)
        return max(low, min(sum(block) / len(block) - height / 2, high - height))

    for place in places:
        blocks.append([place])
        while len(blocks) > 1 and (
            bottom(blocks[-2]) + gap * len(blocks[-2]) > bottom(blocks[-1]) - 1e-9
        ):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    return [bottom(block) + gap * index for block in blocks for index in range(len(block))]


def _draw_ladder(axes: Axes, scores: Sequence[Score]) -> None:
    known = [score for score in scores if not math.isnan(score.conversion.value)]
    for row, score in enumerate(known):
        value = 100 * score.conversion.value
        error = [[value - 100 * score.conversion.low], [100 * score.conversion.high - value]]
        axes.errorbar([value], [row], xerr=error, color=COLOURS[0], marker="o", capsize=3)
        axes.annotate(
            f"{value:.1f}%", (value, row), xytext=(0, 9), textcoords="offset points", ha="center"
        )
    axes.set_yticks(range(len(known)), [score.name for score in known])
    axes.set_ylim(-0.6, max(len(known), 1) - 0.3)
    axes.set_xlim(-4, 104)
    axes.set_xlabel("conversion (%) with 95% interval", color=INK)
    axes.grid(axis="x", color="#e4e4e4")
    axes.set_axisbelow(True)
    axes.set_title("Conversion of the sellers", loc="left", color=INK, fontweight="bold")


def cycle(count: int) -> list[str]:
    """Return colours for so many lines; they come again when there are no more."""
    return [COLOURS[index % len(COLOURS)] for index in range(count)]
