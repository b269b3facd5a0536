"""``convgym list``: a line for everything with a name, and nothing imported for it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from convgym.benchmarks.cli import main
from convgym.benchmarks.cli.commands.list import registries
from convgym.benchmarks.runs.suites import get_suite

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


def test_one_thing_with_what_can_be_set_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    out = listed(capsys, "agents", "filtered-bc")
    assert out.startswith("behaviour cloning of the conversations that ended in a purchase\n")
    assert "\nfilter_converted: bool = true\n" in out  # as filtered-bc has it
    assert "\npolicy.temperature: float = 1.0\n    Of sampling, positive.\n" in out
    out = listed(capsys, "customers", "scripted")
    assert "A shopper with a hidden profile" in out and "\npatience: float | None = null" in out
    found = json.loads(listed(capsys, "improvements", "token-grpo", "--json"))
    told = {option["name"]: option for option in found["options"]}
    assert told["steps"]["kind"] == "int" and told["steps"]["text"]


@pytest.mark.parametrize("kind", KINDS)
def test_of_everything_that_is_shipped(capsys: pytest.CaptureFixture[str], kind: str) -> None:
    for name in registries()[kind].names():
        if ":" not in name:
            assert listed(capsys, kind, name).strip()
            assert json.loads(listed(capsys, kind, name, "--json"))


def test_numbers_that_are_not_finite(capsys: pytest.CaptureFixture[str]) -> None:
    assert "\ntarget_kl: float = Infinity\n" in listed(capsys, "agents", "online-ppo")
    found = json.loads(listed(capsys, "agents", "online-ppo", "--json"))["options"]
    assert {option["name"]: option for option in found}["target_kl"]["default"] == "Infinity"


def test_what_studies_and_backends_take(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(listed(capsys, "studies", "latency", "--json"))["options"]
    told = {option["name"]: option for option in found}
    assert told["--at-once"]["kind"] == "int" and told["--at-once"]["text"]
    assert told["output"]["kind"] == "Path | None" and told["output"]["text"]
    for kind, name in (("backends", "openai"), ("sellers", "openai:tiny")):
        out = listed(capsys, kind, name)
        assert "\nbase_url: str | None = null\n    Where the API is" in out
    assert "endpoint" in out.splitlines()[0]
    # What follows from the name or from the customers is nobody's to give.
    assert not [
        line for line in out.splitlines() if line.startswith(("model:", "catalog:", "law:"))
    ]
    assert "\noutput: Path | None\n" in listed(capsys, "studies", "latency")
    assert "\n--as-is: bool\n" in listed(capsys, "studies", "ablations")


def test_a_variant_has_the_settings_of_its_agent(capsys: pytest.CaptureFixture[str]) -> None:
    assert listed(capsys, "agents", "bc@small") == listed(capsys, "agents", "bc")


def test_texts_are_as_wide_as_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    texts = [line for line in listed(capsys, "agents", "bc").splitlines() if line[:4] == "    "]
    below_settings = texts[texts.index("    Of sampling, positive.") :]
    assert max(map(len, below_settings)) <= 60


def test_a_class_within_a_class_of_the_present_folder(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "nested_here.py").write_text(
        "from convgym.agents.algorithms.behaviour_cloning import BehaviourCloning\n"
        "class Outer:\n    class Mine(BehaviourCloning): pass\n"
    )
    assert "\npolicy.temperature: float = 1.0\n" in listed(
        capsys, "agents", "nested_here:Outer.Mine"
    )


def test_a_suite_is_shown_as_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "smoke.toml").write_text(listed(capsys, "suites", "smoke"))
    assert get_suite(str(tmp_path / "smoke.toml")) == get_suite("smoke")
    facts = json.loads(listed(capsys, "suites", "smoke", "--json"))
    assert facts["overrides"]["online-ppo"] == {"deployment": 16}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("agents iterative-pp", "did you mean 'iterative-ppo'"),
        ("suites quik", "unknown suite 'quik'"),
        ("agents nowhere:Mine", "nowhere"),
    ],
)
def test_unknown_names(capsys: pytest.CaptureFixture[str], arguments: str, told: str) -> None:
    with pytest.raises(SystemExit) as end:
        main.main(["list", *arguments.split()])
    assert end.value.code == 2
    assert told in capsys.readouterr().err
