"""Which numbers the settings of agents and solvers may be: by name, the same for all of them."""

from __future__ import annotations

import dataclasses
import math
from typing import Final

from convgym.errors import ConvgymError

_POSITIVE: Final = {
    *("clip", "deployment", "fresh_conversations", "max_gradient_norm", "max_ratio"),
    *("max_reply_tokens", "minibatch", "minibatches", "prompts", "samples", "target_kl"),
    "temperature",
}
_NOT_NEGATIVE: Final = {
    *("advantage_weight", "critic_learning_rate", "epochs", "fresh_epochs"),
    *("fresh_kl_coefficient", "fresh_steps", "kl_coefficient", "learning_rate", "pessimism"),
    *("reply_weight", "state_weight", "steps"),
}
_SHARES: Final = {"epsilon", "gae_lambda", "gamma", "recency", "return_lambda"}
_MAY_BE_INFINITE: Final = {"clip", "max_gradient_norm", "max_ratio", "standard_errors", "target_kl"}
"""No bound at all, then."""


def check_numbers(config: object, of: str) -> None:
    """Check a config's numbers, those of configs inside it as well.

    Args:
        config: a dataclass.
        of: whose settings they are, in the error.

    Raises:
        ConvgymError: for a number that cannot be.
    """
    if not dataclasses.is_dataclass(config):
        return
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            expected = _expected(field.name, value)
            if expected:
                raise ConvgymError(
                    f"setting {field.name!r} of {of} must be {expected}, got {value!r}"
                )
        else:
            check_numbers(value, of)


def _expected(name: str, value: float) -> str | None:
    """Return what a setting must be, None if it is."""
    if math.isnan(value) or (math.isinf(value) and (value < 0 or name not in _MAY_BE_INFINITE)):
        return "a finite number"
    if name in _POSITIVE and value <= 0:
        return "positive"
    if name in _NOT_NEGATIVE and value < 0:
        return "0 or more"
    if name in _SHARES and not 0 <= value <= 1:
        return "in [0, 1]"
    return None
