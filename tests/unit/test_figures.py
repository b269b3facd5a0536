"""Every figure in README and docs, tables included, is what a stored file says.

A figure (a decimal, a percentage, a number of points, nats, seconds and so on) is held in one of
three ways:

- by an invisible comment below its paragraph, list or table: figures on the left, on the right an
  expression in Python over what is stored; a name on the left is kept for expressions below::

    <!--
    q = stored("lab/2026-11-25-q-variants.json")
    36.7 = percent(q["start_conversion"])
    -->

- a table, or a list, by ``<!-- held by tests/unit/test_readme.py -->``, the test that holds it;
- as a setting that is no result, in ``SETTINGS`` here, with the reason.
"""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convgym.benchmarks.runs.folder import read_results, read_rows
from convgym.benchmarks.runs.scores import Score, scores
from convgym.comparisons import compare
from convgym.statistics import Estimate, wilson_interval

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
DOCUMENTS = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]

SETTINGS: list[tuple[str, str, str]] = [
    ("README.md", "3.11", "the oldest Python"),
    ("README.md", "95 97", "percent of the oracle that were aimed at"),
    ("docs/log.md", "97", "percent of the oracle that were aimed at"),
    ("docs/quickstart.md", "3.11", "the oldest Python"),
    ("docs/agents.md", "0.66 2.2", "millions of parameters of the small and the reading seller"),
    ("docs/agents.md", "1 0.5 0.25", "settings of a study"),
    (
        "docs/agents.md",
        "1e-3 0.1 3",
        "a model's trial: its tolerance, about how long it takes",
    ),
    ("docs/agents.md", "50", "what no information gives"),
    ("docs/customer.md", "0.95 1.35 2.5", "the customer's own law"),
    ("docs/customer.md", "20 50 55 60 65 5", "the habits of a seller, as they are set"),
    ("docs/customer.md", "85", "follows from the share of window-shoppers"),
    ("docs/catalogues.md", "9.99 9.50", "prices in an example"),
    ("docs/doors.md", "0.0 1.0", "rewards"),
    ("docs/doors.md", "3.11", "the Python it was tested with"),
    ("docs/doors.md", "1.16 0.3 0.4 0.6 0.10", "versions of packages"),
    ("docs/environment.md", "0.0 1.0", "rewards"),
    ("docs/llm_backends.md", "0.5 0.7 1.0", "defaults, and a setting in an example"),
    ("docs/learned_customer.md", "0.2 1.3 0.25 9.8", "settings of the training and of the studies"),
    ("docs/own_customer.md", "0.2 38 1.2", "six turns of 0.2 seconds, 32 times or once"),
    ("docs/own_suite.md", "0.5 0.8 0.2 0.4", "settings, in an example and of agents"),
    ("docs/realism.md", "0.09 0.40 79", "figures of the papers that are spoken of"),
    ("docs/realism.md", "90 10 5 1.1", "ranges of consistent customers"),
    ("docs/results_folder.md", "5", "the share of failures that makes a row invalid"),
    ("docs/reward_server.md", "30", "seconds: a default"),
    ("docs/llm_backends.md", "5", "the share of failures that makes a row invalid"),
    ("docs/llm_customers.md", "60 1.5", "bounds of tests/unit/customers/llm/test_likeness.py"),
    ("docs/local_models.md", "28", "minutes of one compilation: they depend on the machine"),
    ("docs/local_models.md", "5 120", "defaults"),
    ("docs/suggested_responses.md", "0.60 0.15 0.10 0.25 0.6 0.1", "defaults of the business"),
    ("docs/validation.md", "5 10 15 20 30 0.8 1 1.3 2 1.5", "limits of the checks"),
    ("docs/validation.md", "3.5", "the customer's own law"),
    ("docs/log.md", "3e-4 0.2", "a learning rate, a penalty"),
    ("docs/log.md", "1.6", "a goal"),
    ("docs/log.md", "3.7 0.005 0.09 0.11 0.45", "seen once and not stored, as it says"),
    ("docs/log.md", "80", "a rate that is spoken of in general"),
    (
        "docs/shopper.md",
        "65 20 80 15 115 60 85 25 55 0.3 50 45 5 3 11 30",
        "the published distribution of profiles",
    ),
    ("docs/shopper.md", "72 12", "what shops sell on"),
    ("docs/shopper.md", "1200 -10", "examples of what is not believed"),
    ("docs/shopper.md", "0.6 1.05", "the law: what part of a budget suits"),
]
"""Document, figures, and why they need no stored file."""


# What expressions may say.


def stored(name: str) -> Any:
    """Return a file below ``benchmarks/results``; of JSON Lines, a list of rows."""
    path = RESULTS / name
    if path.suffix == ".jsonl":
        return read_rows(path)
    return json.loads(path.read_text(encoding="utf-8"))


def score(run: str, name: str) -> Score:
    """Return the score of a seller or an agent in a run."""
    return {each.name: each for each in scores(read_results(RESULTS / run))}[name]


def by_seed(run: str, name: str) -> list[list[float]]:
    """Return, seed by seed, the conversion of each deployment and the final evaluation."""
    rows = [row for row in read_results(RESULTS / run) if row.job.name == name]
    return [
        [
            *(r["conversion"] for r in stored(f"{run}/curves.jsonl") if _is(r, name, row.job.seed)),
            row.conversions / row.episodes,
        ]
        for row in rows
    ]


def rises(rates: list[list[float]]) -> int:
    """Return in how many rounds of all seeds conversion rose."""
    return sum(after > before for each in rates for before, after in pairwise(each))


def _is(row: Mapping[str, Any], name: str, seed: int) -> bool:
    return bool(row["name"] == name and row["seed"] == seed)


def outcomes(run: str, name: str, colder: bool = False) -> np.ndarray:
    """Return who bought, (S, N) seeds and customers; ``colder``, at the lower temperature."""
    rows = [row for row in read_results(RESULTS / run) if row.job.name == name]
    assert not any(row.excluded for row in rows)
    said = [row.colder if colder else row.outcomes for row in rows]
    return np.array([[letter == "p" for letter in each or ""] for each in said], float)


def gap(
    run: str, name: str, other_run: str, other: str, *, cold: tuple[bool, bool] = (False, False)
) -> Estimate:
    """Return how much more the first sells to the customers that both met.

    ``cold`` tells which of the two sample at the lower temperature.
    """
    first, second = outcomes(run, name, cold[0]), outcomes(other_run, other, cold[1])
    return compare(first, second).difference


def flat(value: Any) -> list[float]:
    """Return the numbers in a nest of sequences; an estimate is value, low, high."""
    if isinstance(value, Estimate):
        return [value.value, value.low, value.high]
    if isinstance(value, (list, tuple)):
        return [number for inner in value for number in flat(inner)]
    return [float(value)]


def percent(*values: Any) -> list[float]:
    return [100 * number for number in flat(values)]


WORDS: dict[str, Any] = {
    "stored": stored,
    "score": score,
    "by_seed": by_seed,
    "rises": rises,
    "gap": gap,
    "flat": flat,
    "percent": percent,
    "wilson": wilson_interval,
    "mean": lambda values: float(np.mean(values)),
    **{word.__name__: word for word in (abs, dict, len, list, max, min, round, sorted, sum, zip)},
}


# How documents are read.

COMMENT = re.compile(r"<!--(.*?)-->", flags=re.DOTALL)
OF_SNIPPETS = re.compile(r"<!-- snippets?: .*?-->", flags=re.DOTALL)  # tests/docs/snippets.py
FENCE = re.compile(r"^```.*?^```", flags=re.DOTALL | re.MULTILINE)
LEFT_OUT = re.compile(
    r"`[^`\n]*`|\]\([^)]*\)|https?://\S+|\d{4}-\d\d-\d\d|arXiv \d+\.\d+"
    r"|95% (?:CI|intervals?|Wilson)"
)
NUMBER = re.compile(
    r"(?<![\w.,])(?<![A-Za-z]-)[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e-?\d+)?(?![\w]|\.\d)"
)
UNIT = re.compile(
    r"\s*%|\s+(?:percent|points?|nats?|seconds?|s|ms|minutes?|times|(?:processor|CPU|core) seconds"
    r"|of \d+ rounds)\b"
)
AND = re.compile(r"(?:,| and| to| or|,? then|-| to some|, and) ?\[?\(?|\s?\[|\s\(")


@dataclass(frozen=True)
class Block:
    """A paragraph, list or table, and the comments below it."""

    line: int
    text: str
    comments: tuple[str, ...]


def blocks(document: str) -> Iterator[Block]:
    """Return a document's blocks in order; text in code, links and dates is left out."""
    text = document
    for left_out in (FENCE, OF_SNIPPETS):
        text = left_out.sub(lambda found: "\n" * found.group().count("\n"), text)
    pieces = re.split(r"(<!--.*?-->|\n\s*\n)", text, flags=re.DOTALL)
    start = line = 1
    current: str = ""
    comments: list[str] = []
    for piece in pieces:
        if (comment := COMMENT.fullmatch(piece)) is not None:
            comments.append(comment.group(1))
        elif piece.strip():
            if current:
                yield Block(start, current, tuple(comments))
            start = line + piece[: len(piece) - len(piece.lstrip())].count("\n")
            current, comments = LEFT_OUT.sub(" ", piece), []
        line += piece.count("\n")
    if current:
        yield Block(start, current, tuple(comments))


def figures(text: str) -> list[str]:
    """Return the numbers in a text that look like results, without their unit."""
    numbers = list(NUMBER.finditer(text))
    found: list[str] = []
    after: re.Match[str] | None = None  # the next figure, when the number right before is looked at
    for number in reversed(numbers):
        chained = after and AND.fullmatch(text[number.end() : after.start()])
        if set(".e") & set(number.group()) or UNIT.match(text, number.end()) or chained:
            found.append(number.group())
            after = number
        else:
            after = None
    return found[::-1]


def statements(comment: str) -> list[tuple[str, str]]:
    """Return left and right sides of a comment's statements; indented lines go on."""
    joined = re.sub(r"\n[ \t]+", " ", comment.strip())
    return [
        (left.strip(), right.strip())
        for left, right in (line.split("=", 1) for line in joined.splitlines() if "=" in line)
    ]


def shows(shown: str, value: float) -> bool:
    """Tell whether a number, rounded as it is shown, is the value."""
    digits = re.sub(r"e-?\d+", "", shown).partition(".")[2]
    unit = 10.0 ** -len(digits) if "e" not in shown else 10.0 ** int(shown.partition("e")[2])
    return abs(float(shown.replace(",", "")) - value) <= unit / 2 + 1e-9


def mistakes(document: str, settings: Iterable[str] = ()) -> list[str]:
    """Return a line for each figure of a document that nothing holds, or that is wrong."""
    names, excused = dict(WORDS), set(settings)
    return [
        f"line {block.line}: {mistake}"
        for block in blocks(document)
        for mistake in mistakes_in(block, names, excused)
    ]


def mistakes_in(block: Block, names: dict[str, Any], excused: set[str]) -> Iterator[str]:
    """Compare a block with its comments; ``names`` gains those that they give.

    A figure that stands twice in a block is held twice, so that none can become another unseen.
    """
    there, held = Counter(NUMBER.findall(block.text)), Counter[str]()
    for comment in block.comments:
        if (test := re.fullmatch(r"\s*held by (\S+)\s*", comment)) is not None:
            assert (ROOT / test[1]).exists(), test[1]
            rows = re.findall(r"^(?:\||- ).*$", block.text, flags=re.MULTILINE)
            held.update(figure for row in rows for figure in figures(row))
        for left, right in statements(comment):
            if left.isidentifier():
                names[left] = eval(right, names)
                continue
            if not any(isinstance(node, ast.Name) for node in ast.walk(ast.parse(right))):
                yield f"{left} is held by itself: name a stored file, or give a reason in SETTINGS"
            shown, values = NUMBER.findall(left), flat(eval(right, names))
            held.update(shown)
            if len(shown) != len(values) or not all(map(shows, shown, values)):
                yield f"{left} should be {values} ({right})"
    for figure in held - there:
        yield f"{figure} is not in the text, but in a comment below it"
    for figure in Counter(figures(block.text)) - held:
        if figure not in excused:
            yield f"nothing holds {figure}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_figure_is_that_of_a_stored_file(name: str) -> None:
    allowed = {n for document, some, _ in SETTINGS if document == name for n in some.split()}
    found = mistakes((ROOT / name).read_text(encoding="utf-8"), allowed)
    assert not found, "\n".join([f"{name} (CONTRIBUTING.md says how figures are quoted):", *found])


@pytest.mark.parametrize(("name", "some", "reason"), SETTINGS)
def test_no_setting_is_excused_that_is_not_there(name: str, some: str, reason: str) -> None:
    there = {f for block in blocks((ROOT / name).read_text("utf-8")) for f in figures(block.text)}
    assert set(some.split()) <= there, reason


# The test can fail.

SPEED = """It says 120,714 turns a second, 1.5 times as many.
<!--
speed = stored("speed.json")["turns_per_second"]
120,714 = speed["TextArena SimpleNegotiation-v0-raw"]
1.5 = speed["TextArena SimpleNegotiation-v0-raw"]
  / speed["TextArena SimpleNegotiation-v0"]
-->
"""


def test_a_document_that_is_right() -> None:
    assert mistakes(SPEED) == []


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ("1.5 times", "1.6 times", ["1.5 is not in the text", "nothing holds 1.6"]),
        ("120,714 turns", "120,715 turns", ["120,714 is not in the text"]),
        ("1.5", "1.4", ["1.4 should be [1.47"]),
        ("a second", "a second [1.2, 1.9]", ["nothing holds 1.2", "nothing holds 1.9"]),
        ("120,714 = speed", "120,714, 1.5 = speed", ["should be [120714.0]"]),
    ],
)
def test_a_figure_that_was_changed_is_told(right: str, wrong: str, told: list[str]) -> None:
    found = mistakes(SPEED.replace(right, wrong))
    assert all(any(part in line for line in found) for part in told), found
    assert all(line.startswith("line 1: ") for line in found)


def test_a_figure_cannot_hold_itself() -> None:
    (found,) = mistakes("It is 1.5 times.\n<!--\n1.5 = [1.5]\n-->\n")
    assert "1.5 is held by itself" in found


def test_a_comment_holds_the_paragraph_above_it_alone() -> None:
    assert mistakes(f"It is 1.5.\n\n{SPEED}\nIt is 1.5.\n") == [
        "line 1: nothing holds 1.5",
        "line 11: nothing holds 1.5",
    ]


def test_a_test_holds_rows_and_not_what_is_said_about_them() -> None:
    table = "| a | 1.5 |\n<!-- held by tests/unit/test_readme.py -->\n\nSo it is 1.5.\n"
    assert mistakes(table) == ["line 4: nothing holds 1.5"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("rose from 37-38% to 74.5%", ["37", "38", "74.5"]),
        ("24 to 34 points in 15 of 20 rounds", ["24", "34", "15"]),
        ("+1.9 [-0.8, +4.7] for 4,096 conversations", ["+1.9", "-0.8", "+4.7"]),
        ("5%, 21%, then 3 nats", ["5", "21", "3"]),
        ("two deployments of 2,048, seeds 0 to 4", []),
        ("SmolLM2-135M at 3e-4, 95% intervals, `0.5`, 2026-11-25", ["3e-4"]),
    ],
)
def test_what_a_figure_is(text: str, found: list[str]) -> None:
    assert figures(LEFT_OUT.sub(" ", text)) == found


@pytest.mark.parametrize(
    ("shown", "value", "right"),
    [
        ("80.3", 80.34, True),
        ("80.3", 80.36, False),
        ("38", 37.5, True),
        ("94,437", 94437, True),
        ("-0.8", -0.82, True),
        ("0.8", -0.82, False),
        ("1e-5", 1.3e-5, True),
        ("1e-5", 1.6e-5, False),
    ],
)
def test_rounding(shown: str, value: float, right: bool) -> None:
    assert shows(shown, value) is right
