"""Every block of code in the documentation runs, or says why not; ``snippets.py`` tells how."""

from __future__ import annotations

import contextlib
import functools
import io
import re
import sys
import tomllib
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup
from typer.main import get_command

from convgym.benchmarks.cli import main
from convgym.benchmarks.cli.app import make_app
from convgym.benchmarks.cli.options import names, read_settings
from convgym.benchmarks.runs.suites import get_suite, select
from convgym.benchmarks.studies import STUDIES
from convgym.customers import CUSTOMERS
from convgym.llm.fake_server import Action, ChatServer
from convgym.registry import Registry
from tests.docs.snippets import PAGES, ROOT, Snippet, commands, snippets

FOUND = {page.relative_to(ROOT).as_posix(): page.read_text("utf-8") for page in PAGES}
BLOCKS = {page: found for page, text in FOUND.items() if (found := snippets(page, text))}
WHOLE = {"docs/reproduce.md"}
"""Pages whose commands in the text and in tables are whole, and are parsed as well."""
SLOW = {"docs/quickstart.md"}
"""Pages whose snippets take more than ten seconds."""
SAID = "What will you use it for?\nWhat is your budget?\nI recommend the Kestrel.\n" * 4
"""What a person types, where a command asks for it."""


@pytest.fixture
def elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restored: Callable[[Registry[Any]], None]
) -> Iterator[None]:
    """An empty folder, and a chat model at the usual address; what is registered is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    restored(CUSTOMERS)
    modules = set(sys.modules)
    with ChatServer(lambda request: Action(text="Shall I place the order?")) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        yield
    for name in set(sys.modules) - modules:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def run_page(blocks: list[Snippet], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run what is to be run of a page, in the present folder."""
    module = types.ModuleType("snippets_of_a_page")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    printed = ""
    for block in blocks:
        if block.action.startswith("file "):
            write_file(block)
        if block.action == "output":
            told = f"{block.place}: the block before printed\n{printed}"
            assert block.code.strip() in printed, told
        elif block.language == "python" and block.is_run:
            with contextlib.redirect_stdout(io.StringIO()) as output:
                exec(compile(block.small, block.place, "exec"), module.__dict__)
            printed = output.getvalue()
        elif block.is_run:
            ours = commands(block.small, block.place)
            printed = "".join([run_command(words, block, monkeypatch) for words in ours])


def write_file(block: Snippet) -> None:
    path = Path(block.action.removeprefix("file "))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block.small, encoding="utf-8")


def run_command(words: list[str], block: Snippet, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a command of ours in this process and return what it printed."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(SAID))
    with (
        contextlib.redirect_stdout(io.StringIO()) as output,
        contextlib.redirect_stderr(io.StringIO()) as errors,
        pytest.raises(SystemExit) as end,
    ):
        main.main(words)
    told = f"{block.place}: convgym {' '.join(words)}\n{output.getvalue()}{errors.getvalue()}"
    assert not end.value.code, told
    return output.getvalue()


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.slow] if page in SLOW else [])
        for page, blocks in BLOCKS.items()
        if any(block.is_run for block in blocks)
    ],
)
def test_what_a_page_shows_runs(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block that cannot be run says so: tests/docs/snippets.py tells how."""
    run_page(BLOCKS[page], monkeypatch)


whole_command = functools.cache(lambda: get_command(make_app()))


def parse(words: list[str]) -> None:
    """Parse a command as the command line does, its settings too; raises for a mistake."""
    command, rest = whole_command(), [*words]
    while isinstance(command, TyperGroup):
        name = rest.pop(0)
        if command.name == "study":
            study = typer.Typer(add_completion=False)
            study.command()(STUDIES.resolve(name))
            command = get_command(study)
        else:
            assert name in command.commands, f"no command {name}"
            command = command.commands[name]
    given = command.make_context(" ".join(["convgym", *words]), rest).params
    if words[0] == "bench" and not given["suite"].endswith(".toml"):
        select(
            get_suite(given["suite"]),
            agents=names(given["agents"]),
            sellers=names(given["sellers"]),
            settings=read_settings(given["settings"] or ()),
        )


def shown(page: str) -> Iterator[tuple[str, list[str]]]:
    """Yield place and words of every command that a page shows, set off as code."""
    for block in BLOCKS[page]:
        if block.language == "sh":
            yield from ((block.place, words) for words in commands(block.code, block.place))
    if page in WHOLE:
        for code in re.findall(r"`(convgym [^`\n]+)`", FOUND[page]):
            yield from ((page, words) for words in commands(code, page))


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("page", BLOCKS)
def test_commands_parse(page: str) -> None:
    for block in BLOCKS[page]:
        if block.action.startswith("file "):
            write_file(block)
    for place, words in shown(page):
        try:
            parse(words)
        except Exception as error:
            pytest.fail(f"{place}: convgym {' '.join(words)}: {error}")


def test_extras_that_are_installed_are_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = {
        (page, extra.strip())
        for page, text in FOUND.items()
        for some in re.findall(r"(?:convgym|-e '?\.)\[([\w, -]+)\]", text)
        for extra in some.split(",")
    }
    assert len(named) > 10
    there = set(project["optional-dependencies"]) | {"x"}  # "x" stands for any
    assert not [f"{page}: no extra {name}" for page, name in named if name not in there]


def test_who_runs_a_snippet_names_the_page() -> None:
    for page, blocks in BLOCKS.items():
        for block in blocks:
            if block.action.startswith("run by "):
                test = ROOT / block.action.removeprefix("run by ")
                assert test.is_file(), f"{block.place}: there is no {test}"
                name = Path(page).parent.name if page.endswith("README.md") else Path(page).name
                assert name in test.read_text("utf-8"), (
                    f"{block.place}: {test} does not name {name}"
                )


# The test can fail.

PAGE = """
<!-- snippet: first
few = 3
-->

```python
print(few * 1000)
```

<!-- snippet: output -->
```
{shown}
```

<!-- snippet: run
competent -> {seller}
-->
```sh
pip install convgym && convgym list {what}  # all of them
```

<!-- snippet: not run, it takes hours -->
```python
while True:
    pass
```
"""


def page(shown: str = "3000", seller: str = "competent", what: str = "sellers") -> list[Snippet]:
    return snippets("page.md", PAGE.format(shown=shown, seller=seller, what=what))


@pytest.mark.usefixtures("elsewhere")
def test_a_page_that_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = page(what="competent", seller="sellers")
    assert [block.action for block in blocks] == [
        *("", "", "output", "run", "not run, it takes hours")
    ]
    assert blocks[1].place == "page.md:6"
    run_page(blocks, monkeypatch)


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"shown": "3001"}, r"page\.md:10: the block before printed\s+3000"),
        ({"what": "sellers"}, r"page\.md:15: the comment replaces 'competent', which is not there"),
        ({"what": "competent", "seller": "seller"}, r"page\.md:15: convgym list seller\n"),
    ],
)
def test_a_page_that_is_wrong(
    wrong: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AssertionError, match=told):
        run_page(page(**wrong), monkeypatch)


def test_a_comment_that_nobody_understands() -> None:
    with pytest.raises(AssertionError, match=r"page\.md:1: what is 'skip' to mean"):
        snippets("page.md", "<!-- snippet: skip -->\n```python\n1\n```\n")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("convgym list agents  # all", [["list", "agents"]]),
        (".venv/bin/convgym doctor && echo well", [["doctor"]]),
        ("convgym bench \\\n  quick | echo; convgym chat", [["bench", "quick"], ["chat"]]),
        (
            "convgym logs import a.csv b --outcome-value '>0=purchase'",
            [["logs", "import", "a.csv", "b", "--outcome-value", ">0=purchase"]],
        ),
        ("python -m convgym.benchmarks.cli.main chat", [["chat"]]),
        ("pip install convgym", []),
    ],
)
def test_commands_of_a_block(code: str, words: list[list[str]]) -> None:
    assert list(commands(code)) == words


def test_a_program_with_a_slip_is_found() -> None:
    with pytest.raises(AssertionError, match="convgim"):
        list(commands("convgim bench"))
    with pytest.raises(Exception, match="No such option"):
        parse(["bench", "quick", "--sede", "1"])
    with pytest.raises(Exception, match="valid integer"):
        parse(["bench", "quick", "--seed", "one"])
