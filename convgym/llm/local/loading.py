"""Reading a model of a stranger's folder: whatever is wrong with it is said in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from convgym.errors import ConvgymError
from convgym.llm.local.smollm2 import without_progress_bars

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load_folder(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return network (float32, on the CPU) and tokenizer of a folder in Hugging Face format.

    Code that comes with a model is not run.

    Raises:
        ConvgymError: where the folder holds no causal language model, or an unreadable one.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with refusing(f"the model in {str(folder)!r} cannot be loaded"), without_progress_bars():
        network = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, trust_remote_code=False
        )
        return network, AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


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
