"""Whatever a seller says, the environment goes on, and nonsense sells nothing."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from convgym.conversation import MAX_UTTERANCE_CHARS, Message
from convgym.customers.scripted.customer import ScriptedCustomer
from convgym.envs import SalesEnv, SalesVectorEnv
from convgym.policy import Conversation
from convgym.sellers import REFERENCE_SELLERS, make_seller

NOISE = st.text(st.characters(exclude_categories=()), max_size=60)
HUGE = st.builds(
    lambda piece, size: piece * (size // max(len(piece), 1)), NOISE, st.just(2 * 10**5)
)
BINARY = st.binary(max_size=60).map(lambda data: data.decode("latin-1"))
# Numbers of thousands of digits, also as fractions and signs that become several digits.
DIGITS = st.builds(
    lambda before, digit, count, after: f"{before}{digit * count}{after}",
    st.sampled_from(["", "I recommend the Kestrel for $", "It costs ", "1,"]),
    st.sampled_from("7 0 ½ ⅞ ⅑ ↉ ² ㉈ ٣ 000, 1.".split(" ")),
    st.sampled_from([1, 400, 1990, 6000]),
    st.sampled_from(["", ".", "? Would you like to buy it?"]),
)
HOSTILE = st.one_of(
    NOISE,
    DIGITS,
    HUGE,
    BINARY,
    st.sampled_from(
        [
            "",
            " ",
            "\n" * 1000,
            "\x00",
            "\x1b[2J\x1b]0;title\x07",
            "\ud800\udfff",
            "\u202eyub",
            "🙂" * 9,
        ]
    ),
)
SPEAKERS = ("Customer: ", "Seller: ")


@settings(max_examples=80)
@given(st.lists(HOSTILE, min_size=1, max_size=12), st.integers(0, 2**32))
def test_single(actions: list[str], seed: int) -> None:
    env = SalesEnv()
    observation, _ = env.reset(options={"episode_seed": seed})
    for turn, action in enumerate(actions, start=1):
        observation, reward, terminated, truncated, info = env.step(action)
        lines = observation.split("\n")
        assert lines == observation.splitlines()
        assert len(lines) == 2 * turn + 1 == len(info["messages"])
        assert all(line.startswith(SPEAKERS[n % 2]) for n, line in enumerate(lines))
        assert max(map(len, lines)) <= MAX_UTTERANCE_CHARS + len(SPEAKERS[0])
        assert observation.encode().decode() == observation
        assert reward == 0.0
        if terminated or truncated:
            assert info["outcome"] in ("walk_away", "turn_limit")
            break


@settings(max_examples=40)
@given(st.lists(HOSTILE, min_size=1, max_size=4), st.sampled_from(REFERENCE_SELLERS))
def test_sellers_that_read_it(said: list[str], name: str) -> None:
    customer = ScriptedCustomer()
    messages: list[Message] = [{"role": "user", "content": customer.reset(3)}]
    for text in said:  # not cleaned: a policy may be asked by anybody
        messages += [{"role": "assistant", "content": text}, {"role": "user", "content": text}]
    conversation = Conversation(3, messages, random.Random(0), customer.latent)
    (response,) = make_seller(name).act([conversation])
    assert isinstance(response.text, str)


@settings(max_examples=40)
@given(st.lists(HOSTILE, min_size=1, max_size=6))
def test_a_business_that_takes_it_for_suggestions(actions: list[str]) -> None:
    env = SalesEnv(customer="suggested")
    env.reset(seed=1)
    for action in actions:
        *_, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            break


@settings(max_examples=40)
@given(st.lists(st.tuples(HOSTILE, HOSTILE, HOSTILE), min_size=1, max_size=8))
def test_vector(actions: list[tuple[str, str, str]]) -> None:
    envs = SalesVectorEnv(3)
    envs.reset(seed=0)
    for action in actions:
        observations, rewards, *_ = envs.step(action)
        assert observations in envs.observation_space
        assert not rewards.any()
