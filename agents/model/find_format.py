"""Which format suits a model: told by its tokenizer."""

from __future__ import annotations

from typing import Any

from convgym.agents.model.format import (
    COMPACT_TOKENS,
    ConversationFormat,
    chat_format,
    compact_format,
)
from convgym.agents.model.reading import SHOP, ReadingFormat
from convgym.errors import ConvgymError
from convgym.llm.local.chat_template import named_template


def find_format(tokenizer: Any, system_message: str) -> ConversationFormat:
    """Return the format that suits a tokenizer: reading, compact, or the chat template's.

    Raises:
        ConvgymError: when it has neither this package's special tokens nor a chat template.
    """
    if set(COMPACT_TOKENS) <= (vocabulary := set(tokenizer.get_vocab())):
        return ReadingFormat(tokenizer) if SHOP in vocabulary else compact_format(tokenizer)
    if named_template(tokenizer):
        return chat_format(tokenizer, system_message)
    raise ConvgymError(
        "the model's tokenizer has neither a chat template nor the tokens "
        f"{' '.join(COMPACT_TOKENS)}: use an instruction-tuned model, or `convgym pretrain`"
    )
