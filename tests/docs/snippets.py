"""The blocks of code in the documentation, and what comments above them say about running them.

Python is executed as it stands, block after block of a page, in one namespace and an empty folder.
Commands of ``convgym`` in ``sh`` are parsed by the real command line. A comment right above a block
says what is otherwise; it is invisible on every rendering of the page::

    <!-- snippet: run -->                 commands are run, too, one after the other
    <!-- snippet: file chooser.py -->     the block is a file in that folder; Python is run, too
    <!-- snippet: output -->              what the block before printed holds this block
    <!-- snippet: not run, REASON -->     why it cannot be: it needs a GPU, a key, hours
    <!-- snippet: run by tests/x.py -->   a test of its own runs it, and names the page
    <!-- snippets: run by tests/x.py -->  the same for all Python of a page

Lines ``old -> new`` below the first one are replaced beforehand: small sizes for large ones. And
what a page takes for granted is Python that nobody sees, in a comment anywhere above::

    <!-- snippet: first
    episodes = [...]
    -->
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("README.md")),
]
_BLOCK = re.compile(
    r"<!-- snippet: first\n(?P<first>.*?)-->"
    r"|(?:<!-- snippet: (?P<note>(?:(?!-->).)*?)\s*-->\s*)?"
    r"^```(?P<language>\w*)\n(?P<code>.*?)^```$",
    flags=re.DOTALL | re.MULTILINE,
)
_WHOLE_PAGE = re.compile(r"<!-- snippets: (run by \S+) -->")
_ACTION = re.compile(r"run(?: by \S+)?|file \S+|output|not run, .+")
OTHER_PROGRAMS = set(
    "accelerate apt cd curl doors echo export git jupyter mkdocs mypy pip pre-commit py pytest"
    " python python3 ray rm ruff run source torchrun vf-eval".split()
)


@dataclass(frozen=True)
class Snippet:
    """A block of code of a page.

    Attributes:
        place: page and line, as in ``docs/chat.md:30``.
        language: ``python``, ``sh``, ``toml`` and so on, or nothing.
        code: the text in the block.
        action: what the comment above says is to be done; empty where there is none.
        replacements: text, and what takes its place when the block is run.
    """

    place: str
    language: str
    code: str
    action: str = ""
    replacements: tuple[tuple[str, str], ...] = ()

    @property
    def is_run(self) -> bool:
        """Whether it is run as a part of its page."""
        if self.language == "python":
            return not self.action.startswith(("not run", "run by"))
        return self.action == "run"

    @property
    def small(self) -> str:
        """The code with its replacements."""
        code = self.code
        for old, new in self.replacements:
            assert old in code, f"{self.place}: the comment replaces {old!r}, which is not there"
            code = code.replace(old, new)
        return code


def snippets(page: str, text: str) -> list[Snippet]:
    """Return the blocks of a page in order."""
    whole_page = _WHOLE_PAGE.search(text)
    found: list[Snippet] = []
    for block in _BLOCK.finditer(text):
        place = f"{page}:{text[: block.start()].count(chr(10)) + 1}"
        if block["first"] is not None:
            found.append(Snippet(place, "python", block["first"]))
            continue
        action, *lines = (block["note"] or "").splitlines() or [""]
        if not action and whole_page and block["language"] == "python":
            action = whole_page[1]
        assert not action or _ACTION.fullmatch(action), f"{place}: what is {action!r} to mean?"
        replacements = [tuple(line.split(" -> ")) for line in lines]
        assert all(len(pair) == 2 for pair in replacements), f"{place}: lines are OLD -> NEW"
        found.append(
            Snippet(
                place,
                block["language"],
                block["code"],
                action,
                tuple((old.strip(), new.strip()) for old, new in replacements),
            )
        )
    return found


def commands(code: str, place: str = "") -> Iterator[list[str]]:
    """Yield the words of every command of ``convgym`` in a block of shell, without its name.

    Raises AssertionError for a program that no page speaks of: a slip of the pen, most likely.
    """
    for line in whole_lines(code.replace("\\\n", " ")):
        lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) <= set("&|;"):
                if words:
                    yield from _ours(words, place)
                words = []
            else:
                words.append(word)


def whole_lines(code: str) -> Iterator[str]:
    """Yield the lines of a block of shell; what stands in quotation marks may be of several."""
    line = ""
    for part in code.splitlines():
        line = f"{line}\n{part}" if line else part
        try:
            shlex.split(line, comments=True)
        except ValueError:  # a quotation goes on
            continue
        yield line
        line = ""
    if line:
        yield line


def _ours(words: list[str], place: str) -> Iterator[list[str]]:
    program = "source" if words[0] == "." else Path(words[0]).name
    if "convgym.benchmarks.cli.main" in words:
        yield words[words.index("convgym.benchmarks.cli.main") + 1 :]
    elif program == "convgym":
        yield words[1:]
    else:
        assert program in OTHER_PROGRAMS, f"{place}: no page has spoken of {words[0]} so far"
