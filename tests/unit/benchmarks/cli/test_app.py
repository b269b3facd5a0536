"""Commands: a file each, found by itself, and loading nothing before it is called."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from convgym.benchmarks.cli import commands
from convgym.benchmarks.cli.app import make_app

MODULES = [module.name for module in pkgutil.iter_modules(commands.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_a_command_of_its_name(name: str) -> None:
    app = typer.Typer()
    importlib.import_module(f"{commands.__name__}.{name}").register(app)
    added = [command.callback.__name__ for command in app.registered_commands if command.callback]
    assert added + [group.name for group in app.registered_groups] == [name]


def test_every_module_is_registered() -> None:
    app = make_app()
    assert len(app.registered_commands) + len(app.registered_groups) == len(MODULES) > 7


@pytest.mark.parametrize("arguments", ["--help", "bench --help", "logs --help", "report ."])
def test_a_downloaded_folder_runs_nothing(tmp_path: Path, arguments: str) -> None:
    # Modules that something or other tries to import; they must not come from where one stands.
    for name in ("_winapi", "readline", "torch", "matplotlib", "shopper", "sitecustomize", "typer"):
        (tmp_path / f"{name}.py").write_text("open('/dev/null'); print('OWNED')")
    program = f"from convgym.benchmarks.cli.main import main; main({arguments.split()!r})"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert "OWNED" not in done.stdout + done.stderr and "Traceback" not in done.stderr
