"""The space of texts: what sellers say and what they read.

``gymnasium.spaces.Text`` lists its characters one by one, so that free text in any language is
either outside the space or takes seconds to build. ``Utterance`` contains every ``str``.
"""

from __future__ import annotations

import multiprocessing
import string
from collections.abc import Callable, Sequence
from typing import Any, overload

import numpy as np
from gymnasium import Space, spaces
from gymnasium.spaces import flatdim, flatten, flatten_space, unflatten
from gymnasium.spaces.utils import is_space_dtype_shape_equiv
from gymnasium.vector.utils import (
    batch_differing_spaces,
    create_empty_array,
    create_shared_memory,
    read_from_shared_memory,
    write_to_shared_memory,
)
from gymnasium.wrappers.utils import create_zero_array

from convgym.checks import check_integer
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
        self.max_sample_length = check_integer("max_sample_length", max_sample_length, 1)
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


@create_zero_array.register(Utterance)
def _no_text(space: Utterance) -> str:  # type: ignore[misc]
    return ""


@is_space_dtype_shape_equiv.register(Utterance)
def _is_text_too(space: Utterance, other: Space[Any]) -> bool:
    return isinstance(other, Utterance)


# Gymnasium leaves what cannot be an array (Graph, Sequence) as it is when it flattens.
@flatten_space.register(Utterance)
def _flat_space(space: Utterance) -> Utterance:
    return space


@flatten.register(Utterance)
def _flat(space: Utterance, x: str) -> str:  # type: ignore[misc]
    return x


@unflatten.register(Utterance)
def _unflat(space: Utterance, x: str) -> str:  # type: ignore[misc]
    return x


@flatdim.register(Utterance)
def _flat_size(space: Utterance) -> int:
    raise ConvgymError("a text has no flat size: embed or tokenize it first (TransformObservation)")


# Shared memory, by which worker processes of AsyncVectorEnv hand over observations: for each text
# its length in bytes, then the bytes.
SHARED_TEXT_BYTES = 2**18
"""Room for a text in shared memory; twelve turns of the longest utterances fit in."""
_LENGTH_BYTES = 4


class _SharedTexts(Sequence[str]):
    """The N texts in shared memory, as they are now; copied into a tuple.

    Gymnasium asks for them once and hands out a copy after every step.
    """

    def __init__(self, memory: Any, n: int) -> None:
        self._rows = np.frombuffer(memory.get_obj(), dtype=np.uint8).reshape(n, -1)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        if isinstance(index, slice):
            return tuple(self)[index]
        row = self._rows[index]
        size = int.from_bytes(row[:_LENGTH_BYTES].tobytes(), "little")
        text: bytes = row[_LENGTH_BYTES : _LENGTH_BYTES + size].tobytes()
        return text.decode("utf-8", "surrogatepass")

    def __deepcopy__(self, memo: object) -> tuple[str, ...]:
        return tuple(self)


@create_shared_memory.register(Utterance)
def _shared_memory(space: Utterance, n: int = 1, ctx: Any = multiprocessing) -> Any:
    return ctx.Array("B", n * (_LENGTH_BYTES + SHARED_TEXT_BYTES))


@read_from_shared_memory.register(Utterance)
def _read_shared(space: Utterance, shared_memory: Any, n: int = 1) -> Any:
    return _SharedTexts(shared_memory, n)


@write_to_shared_memory.register(Utterance)
def _write_shared(space: Utterance, index: int, value: str, shared_memory: Any) -> None:
    text = value.encode("utf-8", "surrogatepass")
    if len(text) > SHARED_TEXT_BYTES:
        raise ConvgymError(
            f"a text of {len(text)} bytes does not fit into shared memory, which has room for"
            f" {SHARED_TEXT_BYTES}: make the environments with vector_kwargs="
            "{'shared_memory': False}"
        )
    row = len(text).to_bytes(_LENGTH_BYTES, "little") + text
    start = index * (_LENGTH_BYTES + SHARED_TEXT_BYTES)
    memory = np.frombuffer(shared_memory.get_obj(), dtype=np.uint8)
    memory[start : start + len(row)] = np.frombuffer(row, dtype=np.uint8)
