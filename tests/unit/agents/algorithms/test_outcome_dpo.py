"""Which conversations DPO compares."""

from __future__ import annotations

import random

from convgym.agents.algorithms.outcome_dpo import pair_by_opening


def test_openings_with_most_words_in_common_make_a_pair() -> None:
    sold = ["I need a laptop for games.", "hello", "A light one, please!"]
    lost = ["Something light please", "A LAPTOP for games?", "Hello there"]
    assert pair_by_opening(sold, lost) == [1, 2, 0]


def test_equally_like_ones_take_turns() -> None:
    assert pair_by_opening(["hi", "hi", "hi", "hi"], ["hi", "hi", "bye"]) == [0, 1, 0, 1]


def test_nobody_lost_is_more_like_than_the_partner() -> None:
    rng = random.Random(0)
    texts = [" ".join(rng.choices("abcdef", k=rng.randint(1, 5))) for _ in range(40)]
    sold, lost = texts[:15], texts[15:]

    def likeness(one: str, other: str) -> float:
        words, others = set(one.split()), set(other.split())
        return len(words & others) / len(words | others)

    for text, partner in zip(sold, pair_by_opening(sold, lost), strict=True):
        best = max(likeness(text, each) for each in lost)
        assert abs(likeness(text, lost[partner]) - best) < 1e-9
