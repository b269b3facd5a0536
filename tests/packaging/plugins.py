"""How the tests install the example packages and call the command with them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def install(plugin: Path, folder: Path) -> Path:
    """Install a copy, as building leaves folders, beside this Python's packages; no network."""
    source, target = folder / "source", folder / "site-packages"
    leftovers = shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
    shutil.copytree(plugin, source, ignore=leftovers)
    target.mkdir()
    command = "-m pip install --quiet --no-index --no-deps --no-build-isolation --target".split()
    done = run([sys.executable, *command, str(target), str(source)], target)
    assert done.returncode == 0, done.stderr
    return target


def run(command: list[str], path: Path) -> subprocess.CompletedProcess[str]:
    """Run a command that finds packages in ``path`` as well, from there."""
    settings = {
        "PYTHONPATH": str(path),
        "OMP_NUM_THREADS": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=path,
        env={**os.environ, **settings},
        timeout=300,
    )


def python(program: str, path: Path) -> str:
    """Run a program with every warning as an error and return what it printed."""
    done = run([sys.executable, "-W", "error", "-c", program], path)
    assert done.returncode == 0, done.stderr
    return done.stdout


def convgym(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run what the command ``convgym`` runs."""
    program = "from convgym.benchmarks.cli.main import main; main()"
    return run([sys.executable, "-c", program, *arguments], path)
