"""What is missing is installed as convgym itself was, and every message says so."""

from __future__ import annotations

import ast
import json
import re
import shlex
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from convgym.installing import install_command

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    path for name in ("convgym", "agents", "benchmarks") for path in (ROOT / name).rglob("*.py")
]


class Installed:
    """A distribution of which only these files are read."""

    def __init__(self, origin: object = None, installer: str = "pip") -> None:
        self.files = {"direct_url.json": origin and json.dumps(origin), "INSTALLER": installer}

    def read_text(self, name: str) -> str | None:
        return self.files[name]  # type: ignore[return-value]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Return what is told of an installation, the command ``pip`` being that of its Python."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr("shutil.which", lambda name: str(tmp_path / name))

    def told(*about: Any, extra: str = "train") -> list[str]:
        monkeypatch.setattr(metadata, "distribution", lambda name: Installed(*about))
        return shlex.split(install_command(extra))

    return told


def test_from_an_index(told: Any) -> None:
    assert told() == ["pip", "install", "convgym[train]"]


@pytest.mark.parametrize(("info", "option"), [({"editable": True}, ["-e"]), ({}, [])])
def test_from_a_source_folder(told: Any, tmp_path: Path, info: Any, option: list[str]) -> None:
    source = tmp_path / "my sources"
    source.mkdir()
    origin = {"url": source.as_uri(), "dir_info": info}
    assert told(origin)[-1] == "convgym[train]"  # the folder is no longer what it was
    (source / "pyproject.toml").touch()
    assert told(origin) == ["pip", "install", *option, f"{source}[train]"]


def test_from_a_wheel_and_from_a_repository(told: Any) -> None:
    wheel = {"url": "file:///d/convgym-0.1.0-py3-none-any.whl", "archive_info": {}}
    assert told(wheel)[-1] == "convgym[train] @ file:///d/convgym-0.1.0-py3-none-any.whl"
    info = {"vcs": "git", "commit_id": "abc"}
    repository = {"url": "https://host/convgym.git", "vcs_info": info}
    assert told(repository)[-1] == "convgym[train] @ git+https://host/convgym.git@abc"


def test_with_the_installer_that_was_used(told: Any) -> None:
    assert told(None, "uv\n")[:3] == ["uv", "pip", "install"]


def test_another_python_s_pip_is_not_taken(told: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    python = sys.executable
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/pip")
    assert told()[:4] == [python, "-m", "pip", "install"]


def test_where_convgym_is_not_installed_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    assert shlex.split(install_command("llm"))[-1] == "convgym[llm]"


def test_on_windows_quotes_are_double(told: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    told()
    monkeypatch.setattr(sys, "platform", "win32")
    assert install_command("llm").endswith(' "convgym[llm]"')


def test_no_message_names_a_command_of_its_own() -> None:
    """All say it through ``install_command``, of an extra that there is."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = set(project["optional-dependencies"])
    named = set()
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                own = re.search(r"pip install\s+'?convgym", node.value)
                assert not own, f"{path}:{node.lineno}: use convgym.installing.install_command"
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "install_command":
                (extra,) = node.args
                named |= {extra.value} if isinstance(extra, ast.Constant) else set()
    assert {"train", "llm", "trl", "smollm2", "local"} <= named <= extras
