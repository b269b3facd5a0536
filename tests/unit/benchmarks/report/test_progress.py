"""The progress display, at a terminal and away from one, under a clock that we turn."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from convgym.benchmarks.report.progress import Display, duration, roughly, stages
from convgym.benchmarks.runs.result import Result
from convgym.benchmarks.runs.runner import Update, run_suite
from convgym.benchmarks.runs.suites import Job, Suite, jobs
from convgym.progress import Progress as Stage
from tests.unit.benchmarks.conftest import SUITE, World


class Clock:
    def __init__(self, step: float = 0.0) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def plain() -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, width=120), file


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (260, "4 min 20 s"),
        (659, "10 min"),
        (3600, "1 h 0 min"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_away_from_a_terminal_a_run_is_a_line_a_job(
    tmp_path: Path, suite: Suite, world: World
) -> None:
    console, file = plain()
    with Display(console, suite, Clock()) as display:
        run_suite(suite, tmp_path, progress=display.update, parts=world)
    lines = file.getvalue().splitlines()
    assert len(lines) == 7
    assert re.fullmatch(r"\[2/7\] competent: conversion \d\d\.\d \[.*\] % in 0 s", lines[1])
    assert lines[6].startswith("[7/7] online-ppo-seed1: conversion ")
    assert "\x1b" not in file.getvalue()


def test_long_stages_say_now_and_then_how_far_they_are(
    tmp_path: Path, suite: Suite, world: World
) -> None:
    console, file = plain()
    with Display(console, suite, Clock(step=3.0)) as display:
        run_suite(suite, tmp_path, progress=display.update, parts=world)
    lines = file.getvalue().splitlines()
    evaluating = [line for line in lines if "[1/7] silent: evaluate" in line]
    assert 4 <= len(evaluating) <= 10  # 51 updates, 3 seconds apart, at most one in 20 seconds
    assert re.fullmatch(
        r"\[1/7\] silent: evaluate \d+/50, (a few seconds|about \d+ (min|s).*) left in all",
        evaluating[0],
    )
    assert any("bc-seed0: train: collect 1/4 (conversion" in line for line in lines)


def update(remaining: Sequence[Job], stage: str, done: int, total: int) -> Update:
    return Update(
        stage,
        done,
        total,
        job=remaining[0],
        jobs=tuple(jobs(SUITE, 0)),
        remaining=tuple(remaining),
    )


def test_metrics_of_any_kind_are_shown_harmlessly(suite: Suite) -> None:
    console, file = plain()
    todo = tuple(jobs(suite, 0))
    metrics: Any = {"a": "b\x1b[31m", "c": float("nan"), "d": None, "e": 0.12345}
    with Display(console, suite, Clock(step=30.0)) as display:
        for _ in range(2):
            display.update(replace(update(todo, "x\x1b[2J", -5, 0), metrics=metrics))
    assert "(a b\\x1b[31m, c nan, d None, e 0.123)" in file.getvalue()
    assert "\x1b" not in file.getvalue()


def test_a_resumed_run_counts_what_was_done_before(suite: Suite) -> None:
    console, file = plain()
    last = jobs(suite, 0)[-2:]
    clock = Clock()
    with Display(console, suite, clock) as display:
        display.update(update(last, "train", 0, 4))
        clock.now = 100.0
        display.update(update(last, "train", 1, 4))
    assert file.getvalue().startswith("[6/7] online-ppo-seed0: train 1/4, ")


def test_time_left_goes_by_all_sittings_of_a_training(suite: Suite) -> None:
    def left(seconds: float) -> float:
        console, _ = plain()
        clock = Clock()
        todo = tuple(jobs(suite, 0))
        first, second = todo[-2:]
        news = Update("train", 0, 1, {}, job=first, jobs=todo, remaining=(first, second))
        with Display(console, suite, clock) as display:
            display.update(news)
            clock.now += 10
            display.update(replace(news, result=Result(first, "p", 1.0, train_seconds=seconds)))
            return display._left(replace(news, job=second, remaining=(second,)), clock.now)

    assert left(100) == pytest.approx(10 * left(5))  # watched for 10 seconds, whatever it says


def test_a_terminal_gets_bars_with_stage_and_time_left(
    tmp_path: Path, suite: Suite, world: World
) -> None:
    file = io.StringIO()
    console = Console(file=file, width=120, force_terminal=True, color_system=None)
    clock = Clock()
    todo = tuple(jobs(suite, 0))
    with Display(console, suite, clock) as display:
        display.update(update(todo, "evaluate", 0, 50))
        clock.now = 10.0
        display.update(update(todo, "evaluate", 10, 50))
        display._bars.refresh()
    text = file.getvalue()
    assert "silent: evaluate" in text and "10/50" in text and "40 s left" in text
    assert "whole run" in text and "0 of 7 done" in text


def test_an_estimate_is_no_promise_to_the_second() -> None:
    assert {roughly(seconds) for seconds in (0.0, 0.4, 9.9)} == {"a few seconds"}
    assert [roughly(11.0), roughly(125.0)] == ["about 11 s", "about 2 min 5 s"]


def test_a_stage_of_one_piece_of_work_says_now_and_then_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    console, file = plain()
    clock = Clock(step=25.0)
    monkeypatch.setattr("convgym.benchmarks.report.progress.time.monotonic", clock)
    with stages(console) as report:
        for done in range(1, 8):
            report(Stage("train", done, 1200, {"loss": 0.51234}))
    assert file.getvalue().splitlines() == [
        "train: 1,200 to do",
        "train: 4/1,200 (loss 0.512)",
        "train: 7/1,200 (loss 0.512)",
    ]


def test_a_stage_that_is_done_or_half_done_at_its_first_news_is_not_all_to_do() -> None:
    console, file = plain()
    with stages(console) as report:
        report(Stage("round 1 of 8", 1, 1, {"conversion": 0.25}))
        report(Stage("train", 600, 1200))
        report(Stage("nothing", 0, 0))
    assert file.getvalue().splitlines() == [
        "round 1 of 8: done (conversion 0.25)",
        "train: goes on at 600/1,200",
        "nothing: 0 to do",
    ]
