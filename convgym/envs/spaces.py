"""The space of texts: what sellers say and what they read.

``gymnasium.spaces.Text`` lists its characters one by one, so that free text in any language is
either outside the space or takes seconds to build. ``Utterance`` contains every ``str``.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from gymnasium import Space, spaces
from gymnasium.vector.utils import batch_differing_spaces, create_empty_array

from convgym.errors import ConvgymError

_CHARSET = string.ascii_letters + string.digits + string.punctuation + " "


class Utterance(Space[str]):
    """All Python strings; samples are random printable ASCII.

    Batches are tuples of ``str``, as they are for ``gymnasium.spaces.Text``.

    Args:
        max_sample_length: longest sample in characters; contained strings may be longer.
        seed: seed or generator of the samples.

    Raises:
        ConvgymError: if ``max_sample_length`` is not positive, or a sample is masked.
    """

    def __init__(
        self, max_sample_length: int = 64, seed: int | np.random.Generator | None = None
    ) -> None:
        if max_sample_length < 1:
            raise ConvgymError(f"max_sample_length must be at least 1, got {max_sample_length!r}")
        self.max_sample_length = max_sample_length
        super().__init__(dtype=str, seed=seed)

    @property
    def is_np_flattenable(self) -> bool:
        return False

    def sample(self, mask: Any | None = None, probability: Any | None = None) -> str:
        """Return 1 to ``max_sample_length`` characters, drawn uniformly."""
        if mask is not None or probability is not None:
            raise ConvgymError("an Utterance cannot be sampled with a mask or a probability")
        length = self.np_random.integers(1, self.max_sample_length + 1)
        drawn = self.np_random.integers(len(_CHARSET), size=length)
        return "".join([_CHARSET[index] for index in drawn])

    def contains(self, x: Any) -> bool:
        return isinstance(x, str)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Utterance) and self.max_sample_length == other.max_sample_length

    def __repr__(self) -> str:
        return f"Utterance(max_sample_length={self.max_sample_length})"


# Gymnasium's defaults for custom spaces batch into Tuple and tuple, which is right here. `iterate`
# must stay unregistered: Gymnasium would then go through every text letter by letter.
@create_empty_array.register(Utterance)
def _empty_texts(space: Utterance, n: int = 1, fn: Callable[..., Any] = np.zeros) -> Any:
    return ("",) * n


def _batch_differing(several: Sequence[Utterance]) -> spaces.Tuple[str]:
    return spaces.Tuple([Utterance(space.max_sample_length) for space in several])


# Called, not used as a decorator: its annotation speaks of one space where it dispatches on many.
batch_differing_spaces.register(Utterance, _batch_differing)
