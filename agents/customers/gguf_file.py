"""A customer as a GGUF file, which llama.cpp serves."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from convgym.errors import ConvgymError
from convgym.installing import install_command

ARCHITECTURE = "llama"
_TURNED = {".attn_q.": "num_attention_heads", ".attn_k.": "num_key_value_heads"}
"""The weights whose rows stand in another order there, and by which number of heads."""


def write_gguf(network: PreTrainedModel, template: str, base: Path, output: Path) -> None:
    """Write a Llama-like model as a GGUF file, its matrices in 8 bits (Q8_0).

    Args:
        network: the model, without adapters.
        template: the chat template.
        base: a GGUF file of the model that it was made from, of which shape and tokenizer are
            taken.
        output: the new file.

    Raises:
        ConvgymError: where ``gguf`` is missing, or the model is not Llama-like.
    """
    if importlib.util.find_spec("gguf") is None:
        raise ConvgymError(f"{output.name} needs gguf: {install_command('smollm2')}")
    import gguf

    if network.config.model_type != ARCHITECTURE:
        raise ConvgymError(
            f"a GGUF file can be made of Llama-like models, and this is {network.config.model_type}"
        )
    reader = gguf.GGUFReader(base)
    writer = gguf.GGUFWriter(output, ARCHITECTURE, endianess=reader.endianess)
    ours = (gguf.Keys.General.ARCHITECTURE, gguf.Keys.General.FILE_TYPE, "GGUF.")
    for field in reader.fields.values():
        if field.name.startswith((*ours, gguf.Keys.Tokenizer.CHAT_TEMPLATE)):
            continue
        kind = field.types[0]
        of = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), kind, sub_type=of)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_chat_template(template)
    packed = gguf.GGMLQuantizationType.Q8_0
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, network.config.num_hidden_layers)
    tied = {"lm_head.weight"} if network.config.tie_word_embeddings else set()
    for name, tensor in network.state_dict().items():
        if name in tied:
            continue
        theirs = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if theirs is None:
            raise ConvgymError(f"a GGUF file has no place for the weight {name}")
        weight = turned(tensor.float().numpy(), theirs, network.config)
        if weight.ndim == 1:
            writer.add_tensor(theirs, weight)
        else:
            writer.add_tensor(theirs, gguf.quants.quantize(weight, packed), raw_dtype=packed)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def turned(weight: NDArray[np.float32], name: str, config: Any) -> NDArray[np.float32]:
    """Return a weight with its rows in the order of llama.cpp.

    Its rotary positions turn neighbours (0, 1), (2, 3) of a head's numbers together, and those of
    ``transformers`` (0, n/2), (1, n/2 + 1).
    """
    heads = next((getattr(config, field) for part, field in _TURNED.items() if part in name), None)
    if heads is None:
        return weight
    halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return halves.swapaxes(1, 2).reshape(weight.shape)
