"""Files that other programs read: the citation, the hooks before a commit."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_the_citation_is_of_this_version() -> None:
    citation = read("CITATION.cff")
    # What the format's version 1.2.0 requires.
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software"
    assert all(author.keys() & {"name", "family-names"} for author in citation["authors"])
    assert str(citation["version"]) == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert all({"type", "title", "authors"} <= work.keys() for work in citation["references"])


def test_hooks_run_what_ci_runs() -> None:
    hooks = [hook for repo in read(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    assert [hook["id"] for hook in hooks] == ["ruff", "ruff-format", "mypy"]
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for hook in hooks:
        assert hook["language"] == "system"
        assert re.sub(r" --fix$", "", hook["entry"]) in ci


def test_every_example_is_named_in_the_documentation() -> None:
    documents = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in documents)
    examples = [path.name for path in (ROOT / "examples").iterdir() if path.suffix in ("", ".py")]
    assert len(examples) > 9
    assert not [name for name in examples if name not in text and name != "__pycache__"]
