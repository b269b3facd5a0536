"""Scores, table, picture and page."""

from __future__ import annotations

import io
import itertools
import math
import re
import sys
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from convgym.benchmarks.report.notes import notes
from convgym.benchmarks.report.page import page
from convgym.benchmarks.report.plot import learning_curves, spread
from convgym.benchmarks.report.rows import CONDUCT, HEADINGS, cells, columns
from convgym.benchmarks.report.write import table, write_report
from convgym.benchmarks.runs.reading import missing_rows, read_manifest, read_results
from convgym.benchmarks.runs.result import Result
from convgym.benchmarks.runs.runner import run_suite
from convgym.benchmarks.runs.scores import scores
from convgym.benchmarks.runs.suites import START, Job, Suite, select
from convgym.errors import ConvgymError
from convgym.statistics import (
    Estimate,
    newcombe_interval,
    seeds_interval,
    two_proportion_test,
    wilson_interval,
)
from tests.unit.benchmarks.conftest import World


def row(kind: str, name: str, seed: int, sold: int, of: int, broken: int = 0) -> Result:
    outcomes = "p" * sold + "w" * (of - sold) + "x" * broken
    agent = kind == "agent"
    return Result(
        Job(kind, name, seed),  # type: ignore[arg-type]
        outcomes,
        4.0 + seed if of else None,
        conversations=100 * agent,
        deployments=3 * agent,
        train_seconds=10.0 * agent,
        evaluation_seconds=1.0,
    )


ROWS = [
    row("seller", "silent", 0, 0, 200),
    row("start", START, 0, 30, 200),
    row("agent", "bc", 0, 50, 200),
]


def test_one_seed_is_scored_by_wilson_newcombe_and_the_two_proportion_test() -> None:
    silent, start, bc = scores(ROWS)
    assert silent.conversion == wilson_interval(0, 200) and silent.gain is None
    assert start.conversion == wilson_interval(30, 200) and start.gain is None
    assert bc.conversion == wilson_interval(50, 200)
    assert bc.gain == newcombe_interval(50, 200, 30, 200)
    assert bc.p_value == two_proportion_test(50, 200, 30, 200)
    assert (bc.conversations, bc.deployments, bc.turns, bc.seconds) == (100, 3, 4.0, 11.0)


def test_several_seeds_are_one_score_over_seeds_and_customers() -> None:
    found = scores([*ROWS, row("agent", "bc", 1, 90, 200)])[-1]
    assert found.seeds == 2 and found.turns == 4.5
    assert found.conversion == seeds_interval([50, 90], [200, 200])
    assert found.p_value is None and found.gain is not None
    assert found.gain.value == pytest.approx(0.35 - 0.15)
    assert cells(found)[0] == "bc (2 seeds)"


def test_acceptance_is_shown_where_there_were_suggestions() -> None:
    taken = [replace(result, acceptance=Estimate(0.7, 0.6, 0.8)) for result in ROWS[1:]]
    found = scores([ROWS[0], *taken, replace(row("agent", "bc", 1, 90, 200), acceptance=None)])
    assert [score.acceptance for score in found] == [None, *[Estimate(0.7, 0.6, 0.8)] * 2]
    headings, rows = columns(found)
    column = headings.index("accepted %")
    assert [cells[column] for cells in rows] == ["", *["70.0 [60.0, 80.0]"] * 2]
    assert any("suggestions to a business" in note for note in notes(found, 200))
    assert "accepted %" not in columns(scores(ROWS))[0]
    assert not any("suggestions" in note for note in notes(scores(ROWS), 200))
    console = Console(file=io.StringIO(), width=140)
    console.print(table(found))
    assert "…" not in console.file.getvalue()  # type: ignore[attr-defined]


def test_without_a_starting_policy_there_is_no_gain() -> None:
    assert scores(ROWS[2:])[0].gain is None


def test_invalid_seeds_are_left_out_and_told() -> None:
    broken = row("agent", "bc", 1, 190, 190, broken=11)
    found = scores([*ROWS, broken])
    assert found[-1].conversion == wilson_interval(50, 200)
    assert (found[-1].seeds, found[-1].invalid_seeds, found[-1].excluded) == (2, 1, 11)
    assert any("invalid" in note and "bc" in note for note in notes(found, 200))
    only = scores([row("agent", "bc", 1, 0, 0, broken=9)])[0]
    assert math.isnan(only.conversion.value) and cells(only)[1] == "invalid"
    assert (cells(only)[-1], cells(found[0])[-1]) == ("9", "")
    assert "failed" not in columns(scores(ROWS))[0]


def test_failed_sellers_are_counted_apart() -> None:
    outcomes = "p" * 60 + "w" * 37 + "x" + "ff"
    result = Result(Job("seller", "openai:x", 0), outcomes, 3.0)
    assert (result.conversions, result.episodes, result.excluded) == (60, 97, 1)
    assert result.seller_failed == result.to_row()["seller_failed"] == 2 and result.valid
    assert Result.from_row(result.to_row()) == result
    (score,) = scores([result])
    assert score.conversion == wilson_interval(60, 97)
    assert cells(score)[-2:] == ("2", "1") and "seller failed" in columns([score])[0]
    told = " ".join(notes([score], 100))
    assert "2 conversations ended because the seller's backend failed" in told
    assert "1 conversations failed: the customer broke off" in told
    assert not replace(result, outcomes=outcomes[6:] + "f" * 6).valid


def test_conversations_that_failed_in_training_are_told_too() -> None:
    for lost, valid in ((5, True), (6, False)):
        (score,) = scores([replace(ROWS[2], training_excluded=lost)])
        assert (score.excluded, score.invalid_seeds) == (lost, not valid)
        assert math.isnan(score.conversion.value) is not valid


def test_the_table_shows_what_was_asked_for() -> None:
    console = Console(file=io.StringIO(), width=120)
    console.print(table(scores(ROWS)))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    empty = {
        "colder %",
        "accepted %",
        "training turns",
        "branches",
        "CPU seconds",
        "seller failed",
        "failed",
        *CONDUCT,
    }
    assert all((heading in text) is (heading.split(" [")[0] not in empty) for heading in HEADINGS)
    line = next(line for line in text.splitlines() if line.strip().startswith("bc"))
    low, high = (100 * end for end in (wilson_interval(50, 200).low, wilson_interval(50, 200).high))
    assert f"25.0 [{low:.1f}, {high:.1f}]" in line
    assert re.search(r"\+10\.0 \[\+\d+\.\d, \+\d+\.\d\] +100 +3 +4\.0 +11", line)


def test_the_table_fits_a_narrow_log() -> None:
    console = Console(file=io.StringIO(), width=120)
    console.print(table(scores([row("agent", "iterative-ppo", s, 1, 9) for s in range(9)])))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "…" not in text


def test_notes_say_what_the_intervals_cover() -> None:
    one, many = notes(scores(ROWS), 200), notes(scores([*ROWS, row("agent", "bc", 1, 9, 200)]), 200)
    assert "same 200 customers" in one[0]
    assert "Nobody learns from" in one[1]  # so few conversations
    assert "not another training seed" in one[2] and "new training seed" in many[2]


@given(st.lists(st.floats(0, 100), max_size=12))
def test_spread_labels_never_touch_and_keep_their_order(places: list[float]) -> None:
    ordered = sorted(places)
    found = spread(ordered, gap=4, low=0, high=100)
    assert len(found) == len(ordered)
    assert all(b - a >= 4 - 1e-6 for a, b in itertools.pairwise(found))
    assert all(-1e-6 <= place <= 100 + 1e-6 for place in found)


def test_labels_with_room_stay_where_they_are() -> None:
    assert spread([10, 50, 90], gap=4, low=0, high=100) == [10, 50, 90]
    assert spread([50, 50], gap=4, low=0, high=100) == [48, 52]


def test_pictures_are_png_for_any_run() -> None:
    pytest.importorskip("matplotlib")
    curve = [
        {"name": "bc", "seed": 0, "conversations": 50, "conversion": 0.2},
        {"name": "bc", "seed": 0, "conversations": 100, "conversion": None},
    ]
    invalid = row("agent", "x", 0, 0, 0, broken=3)
    for rows in (ROWS, ROWS[:1], ROWS[2:], [*ROWS, invalid], [invalid], []):
        assert learning_curves(scores(rows), curve)[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("name", ["$\\frac{1}{$ $x_$", "a" * 200, "\u4f60\U0001f600", "%", "\\"])
def test_names_in_pictures_are_text(name: str) -> None:
    pytest.importorskip("matplotlib")
    curve = [{"name": name, "seed": 0, "conversations": 50, "conversion": 0.2}]
    for kind in ("agent", "seller"):
        assert learning_curves(scores([row(kind, name, 0, 1, 9)]), curve)[:4] == b"\x89PNG"


def test_settings_of_the_folder_one_stands_in_change_no_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    usual = learning_curves(scores(ROWS), [])
    with matplotlib.rc_context({"text.usetex": True, "lines.linewidth": 9, "font.size": 30}):
        assert learning_curves(scores(ROWS), []) == usual
        assert matplotlib.rcParams["text.usetex"]


class Links(HTMLParser):
    """Collects the tags of a page, and whatever it would load or run."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_page_stands_alone_and_escapes_what_people_said(
    tmp_path: Path, suite: Suite, world: World
) -> None:
    run_suite(suite, tmp_path, parts=world)
    text = write_report(tmp_path).page.read_text(encoding="utf-8")
    links = Links()
    links.feed(text)
    assert not {"script", "link", "iframe", "i"} & set(links.tags)
    assert all(source.startswith("data:image/png;base64,") for source in links.loads)
    assert "url(" not in text and "@import" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text and "<script>" not in text
    assert "A suite for tests &lt;of&gt; everything &amp; more." in text
    assert "prefers-color-scheme: dark" in text
    assert text.count('<div class="chat">') == 4 * 7
    for name in ("silent", "competent", START, "bc (2 seeds)", "online-ppo (2 seeds)"):
        assert f"<td>{name}</td>" in text


def test_the_page_has_no_heading_over_nothing_and_counts_one_as_one(tmp_path: Path) -> None:
    frontier = Path(__file__).parents[4] / "benchmarks" / "results" / "frontier"
    families = [frontier / "expert-iteration", frontier / "iterative-ppo"]
    without = write_report(*families, output=tmp_path).page.read_text("utf-8")
    assert "Conversations</h2>" not in without  # none are stored there
    assert "agents of 2 deployments: 1 comparison<" in without
    assert re.search(r"all agents: \d+ comparisons<", without)


def test_without_matplotlib_there_is_a_page_without_a_picture(
    tmp_path: Path, suite: Suite, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_suite(select(suite, agents=[]), tmp_path, parts=world)
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [NoMatplotlib(), *sys.meta_path])
    written = write_report(tmp_path)
    assert written.picture is None
    assert "<img" not in written.page.read_text(encoding="utf-8")


class NoMatplotlib:
    """An import hook that behaves as if matplotlib were not installed."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] == "matplotlib":
            raise ModuleNotFoundError(f"No module named {name!r}", name="matplotlib")


def test_other_conditions_of_judging_stand_on_the_page_as_well(
    tmp_path: Path, suite: Suite, world: World
) -> None:
    run_suite(select(suite, evaluation={"catalog": "bicycles"}), tmp_path, parts=world)
    written = write_report(tmp_path)
    note = "Judged under other conditions than those of training: catalog bicycles."
    assert note in written.notes
    page = written.page.read_text(encoding="utf-8")
    assert all(escape(sentence) in page for sentence in written.notes)


def test_names_are_shown_as_they_are_and_not_as_marks(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(file=io.StringIO(), width=120)
    console.print(table(scores([row("seller", "[bold]a[/b] <i>", 0, 1, 9)])))
    assert "[bold]a[/b] <i>" in console.file.getvalue()  # type: ignore[attr-defined]


def test_the_kind_of_a_row_is_text_on_the_page(tmp_path: Path, suite: Suite, world: World) -> None:
    run_suite(suite, tmp_path, parts=world)
    score = scores(read_results(tmp_path))[0]
    odd = replace(score, kind='x"><script>')  # type: ignore[arg-type]
    text = page([read_manifest(tmp_path)], [odd], ["<b>"], None, [])
    assert "<script>" not in text and "&lt;b&gt;" in text


def test_a_page_that_cannot_be_written_is_one_error(
    tmp_path: Path, suite: Suite, world: World
) -> None:
    run_suite(suite, tmp_path, parts=world)
    (tmp_path / "report.html").mkdir()
    with pytest.raises(ConvgymError, match="cannot write the report into"):
        write_report(tmp_path)


def test_the_stored_runs_are_whole() -> None:
    results = Path(__file__).parents[4] / "benchmarks" / "results"
    for name in ("standard-baselines", "standard-iterative", "ladder"):
        manifest, rows = read_manifest(results / name), read_results(results / name)
        assert manifest["finished"] and not missing_rows(manifest, rows)


def test_a_folder_without_results_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConvgymError, match="holds no results"):
        write_report(tmp_path)
