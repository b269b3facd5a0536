"""How an agent's language model is loaded, computed and sampled: the same for all agents."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from convgym.agents.model.lora import LoRA
from convgym.agents.model.sampling import check_temperature
from convgym.checks import check_fields
from convgym.errors import ConvgymError
from convgym.llm.local.devices import Dtype, check_device_name, check_dtype


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """A language model as a seller; every agent's config holds one as ``policy``.

    ``model`` and ``temperature`` decide how it speaks, ``lora`` what of it is trained, ``device``
    and ``dtype`` where and how exactly it is computed. As settings of an agent:
    ``make_agent("online-ppo", policy={"lora": {"rank": 8}})``, on the command line
    ``--set online-ppo.policy.lora.rank=8``.

    Raises:
        ConvgymError: for a value that cannot be.
    """

    model: str = "default"
    """``"default"``, the small seller of the package, or the name of another model of the package;
    ``"smollm2"``; or a folder in Hugging Face format."""
    temperature: float = 1.0
    """Of sampling, positive."""
    max_new_tokens: int = 24
    """Longest response in tokens, its end token included."""
    system_message: str | None = None
    """What a chat model is told first; None leaves it to the model's folder."""
    catalog: str | None = None
    """The shop, a name or a JSON file, that a model which reads its shop's leaflet is in where
    conversations do not say: those of a log, and those that a server is sent. None for others."""
    lora: LoRA | None = None
    """Adapters to train in place of the model's weights."""
    device: str = "auto"
    """``cpu``, ``cuda``, ``cuda:1``, ``mps``, or ``auto``: a GPU where one is visible."""
    dtype: Dtype = "auto"
    """Of frozen weights, beside adapters, and of the products of trained ones (mixed precision).
    ``auto`` keeps frozen weights in bfloat16 where the device has instructions for it and computes
    with trained ones in float32; ``bfloat16`` and ``float32`` hold for both."""
    generation_batch: int | None = None
    """Conversations that are held together; None suits the device (1,024; on a processor 256, or as
    many as 2 GiB of caches hold)."""
    reading_batch: int | None = None
    """Conversations that are read in one forward pass where nothing is learned from it; half as
    many when responses are sampled to their states, a quarter when many responses to each are
    read. None suits the device (256; on a processor 64, or half as many as
    are held together). Fewer need less memory."""

    def __post_init__(self) -> None:
        check_fields(self, counts=("max_new_tokens",), positive=("temperature",))
        check_temperature(self.temperature)
        check_dtype(self.dtype)
        if not isinstance(self.model, (str, Path)) or not str(self.model):
            raise ConvgymError(f"model must be a name or a folder, got {self.model!r}")
        check_device_name(self.device)
        if not isinstance(self.system_message, str | None):
            raise ConvgymError(f"system_message must be a str or None, got {self.system_message!r}")
        if not isinstance(self.catalog, str | None):
            raise ConvgymError(f"catalog must be a name, a file or None, got {self.catalog!r}")
        if not isinstance(self.lora, LoRA | None):
            raise ConvgymError(f"lora must be a LoRA or None, got {self.lora!r}")
        for name in ("generation_batch", "reading_batch"):
            size = getattr(self, name)
            is_count = isinstance(size, (int, np.integer)) and not isinstance(size, bool)
            if size is not None and not (is_count and size >= 1):
                raise ConvgymError(f"{name} must be at least 1 or None, got {size!r}")
