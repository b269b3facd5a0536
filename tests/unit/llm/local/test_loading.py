"""Folders of strangers: nothing in them is run, fetched or made up."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from convgym.agents.model.policy import DEFAULT_MODEL, LanguageModelPolicy
from convgym.errors import ConvgymError
from convgym.llm.local.loading import load_folder

save_file = pytest.importorskip("safetensors.torch").save_file
load_file = pytest.importorskip("safetensors.torch").load_file

EVIL = "import pathlib\npathlib.Path(__file__).with_name('ran').write_text('x')\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "policy"
    LanguageModelPolicy.from_pretrained(DEFAULT_MODEL).save(made)
    return made


def change(path: Path, **entries: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def fewer_weights(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights[sorted(weights)[1]]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def more_layers(folder: Path) -> None:
    change(folder / "config.json", num_hidden_layers=9)


def own_code(folder: Path) -> None:
    (folder / "evil.py").write_text(EVIL)
    entries = {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M"}
    change(folder / "config.json", model_type="evil", auto_map=entries)


def own_tokenizer(folder: Path) -> None:
    (folder / "evil.py").write_text(EVIL)
    entries = {"AutoTokenizer": ["evil.T", "evil.T"]}
    change(folder / "tokenizer_config.json", tokenizer_class="Evil", auto_map=entries)


def foreign_kernel(folder: Path) -> None:
    change(folder / "config.json", attn_implementation="somebody/kernel")


def a_list(folder: Path) -> None:
    (folder / "config.json").write_text("[]")


def no_text(folder: Path) -> None:
    (folder / "system_message.txt").write_bytes(b"\xff\xfe")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (fewer_weights, "lack 1 of its weights"),
        (more_layers, "of its weights, such as model.layers"),
        (own_code, "custom code"),
        (own_tokenizer, "custom code"),
        (foreign_kernel, "asks for code of others"),
        (a_list, "cannot be loaded"),
        (no_text, "system message .* cannot be read"),
    ],
)
def test_what_is_wrong_with_a_folder_is_one_line(
    folder: Path, damage: Callable[[Path], None], told: str
) -> None:
    load_folder(folder)
    damage(folder)
    with pytest.raises(ConvgymError, match=told) as caught:
        LanguageModelPolicy.from_pretrained(folder)
    assert "\n" not in str(caught.value)
    assert not list(folder.rglob("ran"))
