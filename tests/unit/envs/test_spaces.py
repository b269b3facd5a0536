from __future__ import annotations

import copy
import json
import pickle
import time
from typing import Any

import pytest
from gymnasium import spaces
from gymnasium.vector.utils import (
    batch_differing_spaces,
    batch_space,
    concatenate,
    create_empty_array,
    iterate,
)

from convgym.envs.spaces import Utterance
from convgym.errors import ConvgymError


@pytest.mark.parametrize(
    "text", ["", "hello there", "¿Qué tal? 你好 🙂", "\x00\ud800\n", "x" * 10**6]
)
def test_every_string_is_an_utterance(text: str) -> None:
    assert text in Utterance()


@pytest.mark.parametrize("thing", [None, 3, b"bytes", ["a"], ("a",)])
def test_nothing_else_is(thing: object) -> None:
    assert thing not in Utterance()


def test_samples_are_short_printable_and_seeded() -> None:
    one, other = Utterance(8, seed=3), Utterance(8)
    other.seed(3)
    samples = [one.sample() for _ in range(200)]
    assert samples == [other.sample() for _ in range(200)]
    assert {len(sample) for sample in samples} == set(range(1, 9))
    assert all(sample.isprintable() and sample.isascii() for sample in samples)
    assert samples != [Utterance(8, seed=4).sample() for _ in range(200)]


def test_samples_cannot_be_masked() -> None:
    with pytest.raises(ConvgymError, match="mask"):
        Utterance().sample(mask=(3, None))


def test_sample_length_must_be_positive() -> None:
    with pytest.raises(ConvgymError, match="from 1 upwards, got 0"):
        Utterance(0)


def test_equality_and_repr() -> None:
    assert Utterance(5) == Utterance(5)
    assert Utterance(5) != Utterance(6)
    assert Utterance(5) != spaces.Text(5)
    assert repr(Utterance(5)) == "Utterance(max_sample_length=5)"


def test_copies_go_on_with_the_same_samples() -> None:
    space = Utterance(seed=1)
    space.sample()
    copies = [copy.deepcopy(space), pickle.loads(pickle.dumps(space))]
    expected = space.sample()
    for twin in copies:
        assert twin == space
        assert twin.sample() == expected


def test_samples_survive_json() -> None:
    space = Utterance(seed=0)
    texts = [space.sample(), "¿Qué?", ""]
    assert space.from_jsonable(json.loads(json.dumps(space.to_jsonable(texts)))) == texts


def test_batches_are_tuples() -> None:
    space = Utterance(seed=0)
    batched = batch_space(space, 3)
    assert isinstance(batched, spaces.Tuple)
    assert batched.spaces == (space,) * 3
    sample = batched.sample()
    assert sample in batched
    assert len(set(sample)) == 3  # independent draws
    assert list(iterate(batched, ("ab", "c", ""))) == ["ab", "c", ""]
    empty = create_empty_array(space, 3)
    assert empty == ("", "", "")
    assert concatenate(space, ["a", "b", "c"], empty) == ("a", "b", "c")


def test_differing_utterances_batch_too() -> None:
    batched = batch_differing_spaces([Utterance(3), Utterance(4)])
    assert batched == spaces.Tuple([Utterance(3), Utterance(4)])


def test_within_a_dict_space() -> None:
    space = spaces.Dict({"words": Utterance(seed=0), "mood": spaces.Discrete(3, seed=0)})
    items = [space.sample(), space.sample()]
    empty: Any = create_empty_array(space, 2)
    batch: Any = concatenate(space, items, empty)
    assert batch["words"] == (items[0]["words"], items[1]["words"])
    assert batch in batch_space(space, 2)


def test_hundreds_are_built_at_once() -> None:
    start = time.process_time()
    batch_space(Utterance(), 500)
    assert time.process_time() - start < 1
