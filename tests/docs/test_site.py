"""The site is built without a warning, shows no comments, and loads nothing from elsewhere."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium
import pytest
import yaml  # type: ignore[import-untyped]

import convgym.agents
import convgym.customers
import convgym.envs
import convgym.llm
import convgym.sellers

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
FACES = (convgym.agents, convgym.customers, convgym.envs, convgym.llm, convgym.sellers)
HEADINGS = [
    "Description",
    "Observation space",
    "Action space",
    "Rewards",
    "Starting state",
    "Episode end",
    "Arguments",
    "Version history",
]


def entries(nav: Any) -> Iterator[str]:
    """Yield the pages that a navigation names."""
    if isinstance(nav, str):
        yield nav
    for inner in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ():
        yield from entries(inner)


def test_the_navigation_names_every_page_once() -> None:
    text = (ROOT / "mkdocs.yml").read_text("utf-8")
    named = list(entries(yaml.load(text, Loader=yaml.BaseLoader)["nav"]))
    assert len(named) == len(set(named))
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    missing = sorted(pages - set(named))
    assert not missing, f"add to a group of `nav` in mkdocs.yml: {', '.join(missing)}"


def test_every_environment_has_its_page_with_gymnasiums_headings() -> None:
    names = [name for name in gymnasium.registry if name.startswith("convgym/")]
    assert len(names) >= 3
    pages = [
        *(f"env_{name.removeprefix('convgym/').lower().replace('-', '_')}.md" for name in names),
        "env_llm.md",
    ]
    for page in pages:
        assert (DOCS / page).is_file(), f"write docs/{page}, as docs/env_sales_v0.md is written"
        found = re.findall(r"^## (.+)$", (DOCS / page).read_text("utf-8"), flags=re.MULTILINE)
        assert found == HEADINGS, page


def test_every_stored_run_is_reproduced_or_told_of() -> None:
    """By its folder or file; of the lab's, those that a command makes again."""
    page = (DOCS / "reproduce.md").read_text("utf-8")
    stored = {path.name for path in (ROOT / "benchmarks" / "results").iterdir()}
    missing = [name for name in stored - {"lab", "register.jsonl"} if f"`{name}`" not in page]
    assert not missing, f"docs/reproduce.md has no row for {', '.join(missing)}"


# What needs MkDocs: pip install -e '.[docs]'.


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    pytest.importorskip("mkdocs")
    pytest.importorskip("griffe")
    spec = importlib.util.spec_from_file_location("hooks_of_the_site", DOCS / "hooks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_comments_are_left_out_and_code_is_not(hooks: ModuleType) -> None:
    code = "`<!-- a -->`\n\n```html\n<!-- b -->\n```\n"
    text = f"Sold 5%.\n<!-- 5 = stored() -->\n\n{code}<!--\nc\n-->"
    assert hooks.without_comments(text) == f"Sold 5%.\n\n{code}"


@pytest.mark.parametrize(
    ("page", "link", "there"),
    [
        ("agents.md", "[a](log.md#x)", "[a](log.md#x)"),
        ("agents.md", "[log.md](log.md)", "[Lab log](log.md)"),
        ("agents.md", "[README](../README.md#results)", "[README](repository/readme.md#results)"),
        ("api/index.md", "[a](../log.md)", "[a](../log.md)"),
        (
            "own_agent.md",
            "[examples/agent_plugin](../examples/agent_plugin)",
            "[examples/agent_plugin](repository/examples/agent_plugin.md)",
        ),
        (
            "agents.md",
            "![a](../benchmarks/results/rounds/over_optimisation.png)",
            "![a](repository/benchmarks/results/rounds/over_optimisation.png)",
        ),
        ("agents.md", "[a](https://arxiv.org/abs/1)", "[a](https://arxiv.org/abs/1)"),
        ("agents.md", "[a](#b)", "[a](#b)"),
        ("agents.md", "`[a](../README.md)`", "`[a](../README.md)`"),
        ("agents.md", "[a](nowhere.md)", "[a](nowhere.md)"),
    ],
)
def test_links_lead_to_where_things_are_in_the_site(
    hooks: ModuleType, page: str, link: str, there: str
) -> None:
    assert hooks.rewritten(link, page) == there


def test_an_entry_without_its_page_is_left_out(hooks: ModuleType) -> None:
    nav = ["log.md", {"Group": ["nowhere.md", "chat.md"]}, {"Empty": ["nowhere.md"]}]
    assert hooks.kept(nav) == ["log.md", {"Group": ["chat.md"]}]


def test_a_page_in_no_group_is_a_warning_which_fails_the_strict_build(
    hooks: ModuleType, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import File, Files

    config = MkDocsConfig()
    config.load_dict({"site_name": "A", "docs_dir": str(DOCS), "nav": ["log.md"], "plugins": []})
    assert config.validate() == ([], [])
    config.plugins._current_plugin = "hooks"  # as during an event
    files = Files([File(name, str(DOCS), str(tmp_path), False) for name in ("log.md", "chat.md")])
    hooks.on_files(files, config)
    (told,) = caplog.records
    assert told.getMessage() == "add docs/chat.md to a group of `nav` in mkdocs.yml"
    assert told.name.startswith("mkdocs.") and told.levelname == "WARNING"
    assert files.get_file_from_path("repository/readme.md") is not None


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built by the command of CONTRIBUTING.md."""
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    pytest.importorskip("material")
    folder = tmp_path_factory.mktemp("site")
    build = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert build.returncode == 0, build.stderr
    return folder


def test_the_site_is_built_without_a_warning(site: Path) -> None:
    pages = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    assert {"index.html", "quickstart.html", "api/agents.html", "repository/readme.html"} <= pages
    assert len(pages) > 50


def test_the_site_shows_no_comment_and_loads_nothing_from_elsewhere(site: Path) -> None:
    loaded = re.compile(r"<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=\"?(?:https?:)?//[^>]*>")
    for page in site.rglob("*.html"):
        text = page.read_text("utf-8")
        assert not loaded.findall(text), page
        assert "<!--" not in text.partition("<article")[2], page
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(?:https?:)?//", style.read_text("utf-8")), style


def test_the_reference_has_every_public_name(site: Path) -> None:
    shown = "".join(page.read_text("utf-8") for page in (site / "api").glob("*.html"))
    names = [f"{face.__name__}.{name}" for face in FACES for name in face.__all__]
    assert len(names) > 30
    ids = set(re.findall(r'id="(convgym\.[\w.]+)"', shown))
    short = {name.rpartition(".")[2] for name in ids}
    assert not [name for name in names if name.rpartition(".")[2] not in short]
