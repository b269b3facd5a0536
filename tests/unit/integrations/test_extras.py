"""What every door owes: its extra, told where it is missing, and named as the page names it."""

from __future__ import annotations

import importlib
import re
import sys
import tomllib
from pathlib import Path

import pytest

from convgym.errors import ConvgymError

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
PAGE = (ROOT / "docs/doors.md").read_text(encoding="utf-8")
# Door -> its module, the package that it opens onto, the extra.
DOORS = {
    "inspect": ("inspect_ai", "inspect_ai"),
    "openenv": ("openenv", "openenv.core.client_types"),
    "skyrl": ("skyrl", "skyrl_gym.envs.base_text_env"),
    "tinker": ("tinker", "tinker_cookbook.renderers"),
    "verifiers": ("verifiers", "verifiers.v1"),
}


@pytest.mark.parametrize("extra", DOORS)
def test_without_its_package_a_door_says_what_to_install(
    extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, package = DOORS[extra]
    name = f"convgym.integrations.{module}"
    monkeypatch.setitem(sys.modules, package.partition(".")[0], None)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(ConvgymError, match=rf"not installed: .*pip install .*\[{extra}\]'"):
        importlib.import_module(name)


def test_so_does_the_data_for_trl(monkeypatch: pytest.MonkeyPatch) -> None:
    from convgym.integrations.trl import customers

    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ConvgymError, match=r"needs datasets, .*pip install .*\[trl\]'"):
        customers(1)


def test_the_page_names_extras_that_there_are() -> None:
    named = re.findall(r"^\| \[\w+\]\(#\w+\) \| `pip install -e '\.\[(\w+)\]'`", PAGE, re.M)
    assert {*DOORS, "trl", "logs"} == set(named) <= EXTRAS.keys()
    files = {path.stem for path in (ROOT / "convgym/integrations").glob("[!_]*.py")}
    assert files == {module for module, _ in DOORS.values()} | {"trl", "messages", "verl_reward"}


@pytest.mark.parametrize(
    ("extra", "package"), [("skyrl", "skyrl-gym"), ("trl", "trl"), ("logs", "minari")]
)
def test_what_ci_tests_is_what_the_page_says(extra: str, package: str) -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line)
    assert f"| {package} {pinned[package]} | yes, in every run of the tests |" in PAGE
    (ours,) = [each for each in EXTRAS["test"] if each.startswith("convgym[")]
    assert extra in re.findall(r"\w+", ours.partition("[")[2])


def test_inspect_finds_our_task() -> None:
    assert PROJECT["entry-points"]["inspect_ai"] == {"convgym": "convgym.integrations.inspect_ai"}


def test_one_command_tests_every_door_of_the_page() -> None:
    (listed,) = re.findall(
        r"^doors=\((.*)\)$", (ROOT / ".ci/doors").read_text(encoding="utf-8"), re.M
    )
    of_the_page = re.findall(r"^\| \[(\w+)\]\(#\w+\)", PAGE, re.M)
    assert {*listed.split(), "messages"} == {door.lower() for door in of_the_page}
