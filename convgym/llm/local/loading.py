"""Reading a model of a stranger's folder: whatever is wrong with it is said in one line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convgym.errors import ConvgymError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load_folder(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return network (float32, on the CPU) and tokenizer of a folder in Hugging Face format.

    Code that comes with a model is not run, and nothing is fetched that a folder may name.

    Raises:
        ConvgymError: where the folder holds no causal language model, or an unreadable one, or one
            without some of its weights, which would be made up.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with refusing(f"the model in {str(folder)!r} cannot be loaded"), without_progress_bars():
        _refuse_kernels(json.loads((folder / "config.json").read_bytes()))
        load: Any = AutoModelForCausalLM.from_pretrained  # whose types know of no loading info
        network, loading = load(
            folder,
            dtype=torch.float32,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
        if missing := sorted(loading["missing_keys"]):
            raise ValueError(f"its files lack {len(missing)} of its weights, such as {missing[0]}")
        tokenizer = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
        return network, tokenizer


def files_digest(files: Iterable[Path], beginning: str = "") -> str:
    """Return the SHA-256 of a text and of the digests of files, in their order."""
    digest = hashlib.sha256(beginning.encode())
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _refuse_kernels(config: Mapping[str, object]) -> None:
    """Raise ValueError for a config that names an attention which others have written."""
    for name, value in config.items():
        if "attn_implementation" in name and isinstance(value, str) and "/" in value:
            raise ValueError(f"its config asks for code of others, {name} = {value!r}")


@contextmanager
def refusing(what: str, advice: str = "") -> Iterator[None]:
    """Turn any error inside into one ConvgymError: ``what``, the reason in a line, ``advice``."""
    try:
        yield
    except ConvgymError:
        raise
    except Exception as error:  # what libraries raise on foreign models has no common class
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ConvgymError(f"{what}: {reason}{advice}") from error


@contextmanager
def without_progress_bars() -> Iterator[None]:
    """Keep ``transformers`` from drawing bars over those of the caller."""
    from transformers.utils import logging

    enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if enabled:
            logging.enable_progress_bar()
