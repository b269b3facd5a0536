"""A tiny learned customer, fitted to so much that its replies come to an end."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path
from unittest.mock import patch

from convgym.agents import pretrain_customer

TINY = pretrain_customer.CustomerConfig(
    vocabulary=480,
    hidden=16,
    layers=1,
    heads=2,
    key_value_heads=1,
    intermediate=16,
    chapters=2,
    conversations=40,
    minibatch=4,
    learning_rate=0.03,
)
SCRIPTED = tuple(part for part in pretrain_customer.MIXTURE if not part[0].startswith("hf:"))
"""The sellers of the mixture that cost nothing."""


@lru_cache(maxsize=1)
def tiny_learned_customer() -> str:
    """Return the folder of a model that is fitted once for all tests of a process."""
    # Kept to the end of the process: TemporaryDirectory would go with its object.
    folder = Path(tempfile.mkdtemp(prefix="convgym-learned-"))
    with patch.object(pretrain_customer, "MIXTURE", SCRIPTED):
        pretrain_customer.pretrain_customer(folder, config=TINY)
    return str(folder)
