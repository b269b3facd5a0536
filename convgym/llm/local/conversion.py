"""GGUF files as folders in Hugging Face format: made once, and read a hundred times faster.

``transformers`` turns the packed numbers of a GGUF file into plain ones each time that it reads
them, which takes half a minute of a core for SmolLM2. So they are kept as safetensors in the cache
folder of ``huggingface_hub`` (``HF_ASSETS_CACHE``), by the file's digest.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convgym.datafiles import part_of, settle, write_json
from convgym.errors import ConvgymError
from convgym.installing import install_command
from convgym.llm.local.loading import load_folder, refusing, without_progress_bars

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_DIGESTS = "digests.json"
"""In a cached folder: the SHA-256 of every other file of it."""


def read_gguf(file: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return model (float32) and tokenizer of a GGUF file.

    Raises:
        ConvgymError: where ``gguf`` is missing, or the file holds no model that is known.
    """
    if importlib.util.find_spec("gguf") is None:
        raise ConvgymError(f"{file.name} needs gguf: {install_command('smollm2')}")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, name = file.parent, file.name
    # Reading a GGUF file draws a bar that no setting turns off.
    with (
        refusing(f"the model in {str(file)!r} cannot be loaded"),
        without_progress_bars(),
        redirect_stderr(StringIO()),
    ):
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder, gguf_file=name, dtype=torch.float32
        )
        # The weights are plain numbers now, but the model would refuse to be saved or cast.
        model.hf_quantizer, model.is_quantized = None, False
        del model.config.quantization_config
        return model, AutoTokenizer.from_pretrained(folder, gguf_file=name)


def write_folder(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a model to a folder in Hugging Face format."""
    with without_progress_bars():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def load_converted(file: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return model (float32) and tokenizer of a GGUF file, which is converted the first time.

    Where the cache cannot be written, the file itself is read each time.

    Raises:
        ConvgymError: as ``read_gguf``.
    """
    try:
        folder = cached_folder(file)
    except (OSError, ValueError):
        return read_gguf(file)
    return load_folder(folder)


def cached_folder(file: Path) -> Path:
    """Return the cached folder of a GGUF file, which is made if it is not there.

    What is kept is checked by digest, and made anew if it is damaged. Of several processes one
    converts, and the others wait.

    Raises:
        ConvgymError: as ``read_gguf``.
        OSError: where the cache cannot be written.
        ValueError: where a file stands in the cache's way.
    """
    from filelock import FileLock
    from huggingface_hub import cached_assets_path

    folder = cached_assets_path("convgym", "models", file.stem) / _sha256(file)[:16]
    if not _whole(folder):
        with FileLock(folder.with_name(f"{folder.name}.lock")):
            if not _whole(folder):
                _make(file, folder)
    return folder


def _make(file: Path, folder: Path) -> None:
    model, tokenizer = read_gguf(file)
    part = part_of(folder)
    for old in (part, folder):  # of an interruption, or damaged
        shutil.rmtree(old, ignore_errors=True)
    try:
        write_folder(model, tokenizer, part)
        write_json(part / _DIGESTS, {path.name: _sha256(path) for path in part.iterdir()})
        settle(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _whole(folder: Path) -> bool:
    """Tell whether a cached folder is there, with all its files as they were written."""
    try:
        digests = json.loads((folder / _DIGESTS).read_bytes())
        return all(_sha256(folder / name) == digest for name, digest in digests.items())
    except (OSError, ValueError, AttributeError):
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
