"""``convgym doctor``: what is there, what is not, and what is broken."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib import metadata
from types import SimpleNamespace
from typing import Any

import pytest

from convgym.benchmarks.cli import health, main
from convgym.installing import install_command

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Call the command, torch being a stand-in that shows no GPU."""
    monkeypatch.setattr(health, "_torch", lambda notes, broken: None)

    def call(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as end:
            main.main(["doctor", *arguments])
        code = end.value.code
        return (code if isinstance(code, int) else 0), capsys.readouterr().out

    return call


def test_a_sound_installation(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-words")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://someone:password@host/v1")
    code, out = run()
    assert code == 0
    assert f"convgym {metadata.version('convgym')}" in out and "cores" in out
    assert "OPENAI_API_KEY is set, OPENAI_BASE_URL is set" in out
    assert "all that is installed works" in out
    assert "secret" not in out and "password" not in out


def test_as_json(run: Run) -> None:
    code, out = run("--json")
    report = json.loads(out)
    assert code == 0 and report["broken"] == []
    assert report["extras"]["test"]["packages"]["pytest"] == pytest.__version__
    assert "all" not in report["extras"]  # the sum of others
    assert report["environment"].keys() == {"OPENAI_API_KEY", "OPENAI_BASE_URL"}


def test_what_is_missing_is_told_with_its_remedy(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    version = metadata.version

    def without_openai(name: str) -> str:
        if name == "openai":
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", without_openai)
    code, out = run()
    assert code == 0
    assert f"lacks openai: {install_command('llm')}" in out


def test_what_is_broken_ends_with_1(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_conversation", lambda: iter(["no conversation can be held"]))
    code, out = run()
    assert code == 1
    assert "broken: no conversation can be held" in out and "works" not in out.splitlines()[-1]


def test_a_version_that_does_not_fit_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    requires = ["numpy>=2.0", 'torch>=2.9; extra == "train"', 'convgym[llm]; extra == "all"']
    monkeypatch.setattr(metadata, "requires", lambda name: requires)
    monkeypatch.setattr(health, "_version", {"numpy": "1.26", "torch": "2.13.0+cpu"}.get)
    (fault,) = health._unfit()
    assert fault.startswith("numpy is 1.26, and convgym needs >=2.0")
    assert health.extras().keys() == {"train"}
    monkeypatch.setattr(health, "_version", {"torch": "2.8"}.get)
    missing, old = health._unfit()
    assert missing.startswith("numpy is missing") and old.endswith(install_command("train"))


def torch(cuda: str | None, **more: Any) -> SimpleNamespace:
    return SimpleNamespace(
        __version__="2.99",
        version=SimpleNamespace(cuda=cuda),
        cuda=SimpleNamespace(device_count=lambda: 0),
        get_num_threads=lambda: 2,
        **more,
    )


@pytest.mark.parametrize(("cuda", "told"), [("13.0", "the CPU build is 3 GB smaller"), (None, "")])
def test_a_build_for_gpus_without_a_gpu_is_told(
    cuda: str | None, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = SimpleNamespace(find_device=lambda name: SimpleNamespace(type="cpu"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "torch", torch(cuda))
    monkeypatch.setitem(sys.modules, "convgym.llm.local.devices", found)
    notes: list[str] = []
    broken: list[str] = []
    report = health._torch(notes, broken)
    assert report is not None and report["device"] == "cpu" and report["threads"] == 2
    assert told in "".join(notes) and bool(notes) == bool(told) and not broken


def test_a_torch_that_does_not_load_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            raise OSError("libcudart.so.13: cannot open shared object file")

    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "convgym.llm.local.devices", Broken())
    monkeypatch.setitem(sys.modules, "torch", torch(None))
    broken: list[str] = []
    assert health._torch([], broken) is None
    assert broken == ["torch does not load: libcudart.so.13: cannot open shared object file"]
