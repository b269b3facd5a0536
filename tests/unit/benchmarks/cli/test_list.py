"""``convgym list``: a line for everything with a name, and nothing imported for it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from convgym.benchmarks.cli import main
from convgym.benchmarks.cli.commands.list import registries

KINDS = ["customers", "backends", "sellers", "agents", "improvements", "suites", "studies"]


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as end:
        main.main(["list", *arguments])
    assert not end.value.code
    return capsys.readouterr().out


def test_every_kind_has_its_registry() -> None:
    assert list(registries()) == KINDS


def test_everything_that_is_shipped(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = dict(block.split(":\n", 1) for block in listed(capsys).split("\n\n"))
    assert list(blocks) == KINDS
    for kind, registry in registries().items():
        lines = blocks[kind].splitlines()
        assert [line.split()[0] for line in lines] == registry.names()
        assert all(len(line.split(maxsplit=1)) == 2 and len(line) < 120 for line in lines)


def test_one_kind_with_what_packages_bring(
    capsys: pytest.CaptureFixture[str], install: Callable[..., None]
) -> None:
    install("plug_agent", "mine", "raise RuntimeError", "convgym.agents", "My own agent")
    out = listed(capsys, "agents")
    assert out.startswith("agents:\n  awr ") and "customers:" not in out
    assert "My own agent (package plug_agent)" in out and "plug_agent" not in sys.modules


def test_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(listed(capsys, "sellers", "--json"))
    assert found["sellers"]["silent"] == "says nothing: the floor"
    assert list(json.loads(listed(capsys, "--json"))) == KINDS


def test_it_loads_no_algorithm() -> None:
    code = (
        "import sys\n"
        "from convgym.benchmarks.cli.main import main\n"
        "try: main(['list'])\n"
        "except SystemExit as end: assert not end.code\n"
        "assert not {'torch', 'transformers', 'openai'} & {*sys.modules}\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("kind", KINDS)
def test_every_shipped_name_is_there(kind: str) -> None:
    for module in ("torch", "openai"):
        pytest.importorskip(module)
    registry = registries()[kind]
    for name in registry.shipped:
        assert registry.resolve(name) is not None
