"""What is built and installed: one top-level name, nothing left behind, a light import."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MAPPING: dict[str, str] = PROJECT["tool"]["setuptools"]["package-dir"]
NOT_CODE = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")


def packages_on_disk() -> list[str]:
    return sorted(
        ".".join([package, *path.parent.relative_to(ROOT / folder).parts])
        for package, folder in MAPPING.items()
        for path in (ROOT / folder).rglob("__init__.py")
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what a build needs: building in place would leave folders in the repository."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for folder in MAPPING.values():
        shutil.copytree(ROOT / folder, copy / folder, ignore=NOT_CODE)
    return copy


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Build the source distribution, from that the wheel, and name the files in the wheel."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)]
    build = subprocess.run(command, capture_output=True, text=True, cwd=out, timeout=300)
    assert build.returncode == 0, build.stdout + build.stderr
    (built,) = out.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


def test_packages_named_are_the_packages_on_disk() -> None:
    assert sorted(PROJECT["tool"]["setuptools"]["packages"]) == packages_on_disk()


def test_every_folder_with_python_files_is_a_package() -> None:
    folders = {
        ".".join([package, *path.parent.relative_to(ROOT / folder).parts])
        for package, folder in MAPPING.items()
        for path in (ROOT / folder).rglob("*.py")
    }
    assert sorted(folders) == packages_on_disk()


def test_wheel_puts_only_convgym_at_top_level(wheel: set[str]) -> None:
    version = PROJECT["project"]["version"]
    assert {name.split("/")[0] for name in wheel} == {"convgym", f"convgym-{version}.dist-info"}


def test_wheel_holds_every_file_on_disk(source: Path, wheel: set[str]) -> None:
    expected = {
        f"{package.replace('.', '/')}/{path.relative_to(source / folder).as_posix()}"
        for package, folder in MAPPING.items()
        for path in (source / folder).rglob("*")
        # Stored runs stay in the repository.
        if path.is_file() and path.relative_to(source).parts[:2] != ("benchmarks", "results")
    }
    assert "convgym/py.typed" in expected
    assert {name for name in wheel if name.startswith("convgym/")} == expected


def test_versions_agree() -> None:
    import convgym

    assert convgym.__version__ == PROJECT["project"]["version"]


def test_import_is_light(tmp_path: Path) -> None:
    program = "import json, sys, convgym; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    loaded = {name.split(".")[0] for name in json.loads(run.stdout)}
    heavy = "torch transformers trl pydantic rich typer openai matplotlib scipy"
    assert not loaded & set(heavy.split())


def test_constraints_pin_every_direct_dependency() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {named(line) for line in lines if "==" in line and line[0] != "#"}
    extras = PROJECT["project"]["optional-dependencies"]
    # These want other versions (docs/doors.md).
    alone = {"inspect", "openenv", "tinker", "verifiers"}
    assert any("all extras but inspect, openenv, tinker and verifiers" in line for line in lines)
    covered = extras.keys() - alone
    wanted = PROJECT["project"]["dependencies"] + [r for name in covered for r in extras[name]]
    # An extra may stand for others of the project's own.
    assert {named(requirement) for requirement in wanted} - {"convgym"} <= pinned


def named(requirement: str) -> str:
    return re.split(r"[\[<>=]", requirement)[0].lower().replace("_", "-")
