"""Noisy words, and a customer that is heard through them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convgym.conversation import Episode
from convgym.errors import ConvgymError
from convgym.noise import FILLERS, noisy
from convgym.rollout import rollout
from convgym.seeds import train_seeds
from convgym.sellers import make_seller
from convgym.true_values import choose_states


def held(noise: float | None, seller: str = "competent") -> list[Episode]:
    environment = {} if noise is None else {"noise": noise}
    return rollout(make_seller(seller), train_seeds(0, 40), environment=environment)


@given(st.text(), st.integers(0, 99))
def test_no_noise_changes_no_word_and_numbers_never_change(text: str, seed: int) -> None:
    assert noisy(text, 0.0, random.Random(seed)).split() == text.split()
    numbers = "1450 and 38 or 7 or 120"
    said = noisy(numbers, 1.0, random.Random(seed)).split()
    assert [word for word in said if word.isdigit()] == ["1450", "38", "7", "120"]


def test_long_words_have_one_slip_each_and_short_ones_none() -> None:
    rng = random.Random(0)
    for _ in range(200):
        said = noisy("It is gaming", 1.0, rng)
        for filler in FILLERS:
            said = said.replace(f"{filler} ", "")
        short, word = said.rsplit(" ", 1)
        assert short == "It is"
        assert word != "gaming"
        assert sorted(set(word)) == sorted("gamin") or len(word) == 5


def test_what_a_business_sent_is_left_alone() -> None:
    text = "[sent: What is your budget?] Around $900, mostly."
    assert noisy(text, 1.0, random.Random(1)).startswith("[sent: What is your budget?] ")


def test_none_is_bit_equal_and_some_is_the_same_customer() -> None:
    plain = held(None)
    assert held(0.0) == plain
    noisy_ones = held(0.5, "deaf")
    deaf = held(None, "deaf")  # who does not listen sells as much whatever is heard
    assert [e.outcome for e in noisy_ones] == [e.outcome for e in deaf]
    assert [e.opening for e in noisy_ones] != [e.opening for e in deaf]
    assert held(0.5, "deaf") == noisy_ones
    assert {e.customer for e in noisy_ones} == {f"{deaf[0].customer}+noise-v0:0.5"}


def test_noise_costs_those_who_listen() -> None:
    def sold(noise: float) -> int:
        return sum(episode.converted for episode in held(noise))

    assert sold(0.9) < sold(0.0)


def test_a_noisy_conversation_can_be_branched() -> None:
    episodes = held(0.5)
    for state in choose_states(episodes, 20, environment={"noise": 0.5}, seed=0):
        assert state.messages == state.episode.messages(state.turn)
    with pytest.raises(ConvgymError, match="does not repeat"):
        choose_states(episodes, 20, environment={}, seed=0)


@pytest.mark.parametrize("noise", [-0.1, 1.5, "much"])
def test_impossible_noise_is_refused(noise: object) -> None:
    with pytest.raises(ConvgymError, match="noise must be a probability"):
        rollout(make_seller("silent"), [1], environment={"noise": noise})
