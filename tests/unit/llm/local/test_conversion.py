"""A GGUF file is read once; what is kept of it is whole, or made anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from convgym.agents.model.policy import DEFAULT_MODEL
from convgym.llm.local import conversion
from convgym.llm.local.conversion import cached_folder, load_converted
from convgym.llm.local.loading import load_folder

CACHE = "huggingface_hub.utils._cache_assets.HF_ASSETS_CACHE"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """Return which files were read, by a reader that takes a while with real ones."""
    read: list[Path] = []

    def read_gguf(file: Path) -> Any:
        read.append(file)
        return load_folder(DEFAULT_MODEL)

    monkeypatch.setattr(conversion, "read_gguf", read_gguf)
    monkeypatch.setattr(CACHE, str(tmp_path / "cache"))
    return read


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    return tmp_path / "model.gguf"


def equal(network: Any, other: Any) -> bool:
    weights, others = network.state_dict(), other.state_dict()
    return weights.keys() == others.keys() and all(
        torch.equal(weights[name], others[name]) for name in weights
    )


def test_a_file_is_read_once_and_another_anew(reads: list[Path], file: Path) -> None:
    original, _ = load_folder(DEFAULT_MODEL)
    for _ in range(2):
        network, tokenizer = load_converted(file)
        assert equal(network, original) and tokenizer.encode("Hello.")
    assert reads == [file]
    file.write_bytes(b"GGUF of a newer version")
    load_converted(file)
    assert reads == [file, file]


def damage(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")


def lose(folder: Path) -> None:
    (folder / "config.json").unlink()


def cut_off(folder: Path) -> None:
    (folder / "digests.json").write_text("[")


@pytest.mark.parametrize("harm", [damage, lose, cut_off])
def test_what_is_damaged_is_made_anew(
    reads: list[Path], file: Path, harm: Callable[[Path], None]
) -> None:
    folder = cached_folder(file)
    harm(folder)
    assert cached_folder(file) == folder and len(reads) == 2
    assert cached_folder(file) == folder and len(reads) == 2


def test_an_interruption_leaves_nothing(
    reads: list[Path], file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(conversion, "write_json", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cached_folder(file)
    left = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert [path.suffix for path in left] in ([".lock"], [])
    assert (cached_folder(file) / "model.safetensors").is_file()


def test_where_nothing_can_be_kept_the_file_is_read_each_time(
    reads: list[Path], file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "a file").touch()
    monkeypatch.setattr(CACHE, str(tmp_path / "a file" / "cache"))
    for _ in range(2):
        load_converted(file)
    assert reads == [file, file]
