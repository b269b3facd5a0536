"""The package's own tokenizers as Hugging Face has them."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from convgym.agents.model.format import END, PAD


def wrapped(tokenizer: Tokenizer, special: Sequence[str]) -> PreTrainedTokenizerFast:
    """Return a tokenizer with padding, the end of a response and other special tokens.

    Args:
        tokenizer: that knows all of them.
        special: tokens that no text spells, ``PAD`` and ``END`` among them.
    """
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        extra_special_tokens=[token for token in special if token not in (PAD, END)],
        clean_up_tokenization_spaces=False,
    )
