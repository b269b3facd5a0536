"""JSON schemas enforced token by token, by the package ``llguidance``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from convgym.errors import ConvgymError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

try:
    import llguidance
    import llguidance.hf
except ModuleNotFoundError:
    ENFORCED = False
else:
    ENFORCED = True
"""Whether schemas can be enforced here."""

# As models write JSON of their own accord, but with no freedom: small models get lost in blanks.
_SPACING: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}

CHARS_PER_TOKEN = 2
"""Of an answer, at least: plain English has four or five, names and digits fewer."""


class SchemaConstraint:
    """The state of one answer: what may come next (``convgym.llm.local.sampling``)."""

    def __init__(self, matcher: llguidance.LLMatcher, vocabulary: int) -> None:
        self._matcher, self._vocabulary = matcher, vocabulary

    def forced(self) -> tuple[int, ...]:
        tokens = self._matcher.compute_ff_tokens()
        self._matcher.consume_tokens(tokens)
        return tuple(tokens)

    def allowed(self) -> Tensor:
        mask = torch.frombuffer(bytearray(self._matcher.compute_logit_bias()), dtype=torch.bool)
        return mask[: self._vocabulary]

    def take(self, token: int) -> bool:
        self._matcher.consume_token(token)
        return self._matcher.is_stopped()


class SchemaGuide:
    """Makes constraints for the tokens of one model; needs ``ENFORCED``.

    Args:
        tokenizer: a fast Hugging Face tokenizer.
        vocabulary: how many logits the model has, which may be more or fewer than the tokenizer
            has tokens.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, vocabulary: int) -> None:
        self._vocabulary, n = vocabulary, max(vocabulary, len(tokenizer))
        self._tokenizer = llguidance.hf.from_tokenizer(tokenizer, n_vocab=n)
        self._grammars: dict[str, str] = {}

    def constraint(self, schema: Mapping[str, Any], max_tokens: int) -> SchemaConstraint:
        """Return a fresh constraint; raises ConvgymError for a schema that cannot be enforced.

        Strings of any length are limited so that the answer ends before ``max_tokens``, which
        small models do not see to by themselves.
        """
        text = json.dumps(_limited(schema, max_tokens * CHARS_PER_TOKEN))
        grammar = self._grammars.get(text)
        if grammar is None:
            grammar = llguidance.LLMatcher.grammar_from_json_schema(text, overrides=_SPACING)
            if problem := llguidance.LLMatcher.validate_grammar(grammar, self._tokenizer):
                raise ConvgymError(f"this JSON schema cannot be enforced: {problem}")
            self._grammars[text] = grammar
        return SchemaConstraint(llguidance.LLMatcher(self._tokenizer, grammar), self._vocabulary)


def _limited(schema: Mapping[str, Any], chars: int) -> dict[str, Any]:
    """Return ``schema`` with ``chars`` shared out among its strings that have no limit."""
    fields = {name: dict(field) for name, field in schema.get("properties", {}).items()}
    free = [
        field
        for field in fields.values()
        if field.get("type") == "string" and not {"enum", "const", "maxLength"} & field.keys()
    ]
    for field in free:
        field["maxLength"] = max(1, chars // len(free))
    return {**schema, "properties": fields} if fields else dict(schema)
