from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from convgym.conversation import Episode, Response
from convgym.customers import Customer
from convgym.envs import SalesEnv
from convgym.errors import ConvgymError
from convgym.policy import Conversation
from convgym.progress import Progress
from convgym.rollout import rollout
from convgym.sellers import make_seller

PuppetFactory = Callable[[], Customer]


class Coin:
    """Ends conversations at random, from each conversation's own stream."""

    name = "coin"

    def __init__(self) -> None:
        self.seeds: list[int] = []
        self.batches: list[list[int]] = []

    def reset(self, seed: int) -> None:
        self.seeds.append(seed)

    def act(self, conversations: Sequence[Conversation]) -> list[Response]:
        self.batches.append([conversation.seed for conversation in conversations])
        return [self.say(conversation) for conversation in conversations]

    def say(self, conversation: Conversation) -> Response:
        words = conversation.rng.choice([*["a\tb"] * 6, "buy", "leave", "fail"])
        return Response(words, token_ids=(1, 2), token_logprobs=(-0.5, -1.0))


def play(policy: Coin, seeds: Sequence[int], puppet: PuppetFactory, **options: Any) -> Any:
    environment = {"customer": puppet, "max_turns": 4}
    return rollout(policy, seeds, environment=environment, **options)


def test_a_customer_that_is_met_again_hears_other_things(puppet: PuppetFactory) -> None:
    seeds = [5, 6, *[5] * 20]
    episodes = play(Coin(), seeds, puppet, batch_size=2)
    assert episodes == play(Coin(), seeds, puppet, batch_size=5)
    assert episodes[:2] == play(Coin(), [5, 6], puppet)
    said = {tuple(turn.response.text for turn in episode.turns) for episode in episodes[2:]}
    assert len(said) > 5


def test_episodes_come_in_the_order_of_the_seeds(puppet: PuppetFactory) -> None:
    seeds = [9, 3, 3, 2**31, 0, *range(100, 140)]
    policy = Coin()
    episodes = play(policy, seeds, puppet, policy_seed=5, batch_size=4)
    assert [episode.seed for episode in episodes] == seeds
    assert policy.seeds == [5]
    assert {episode.customer for episode in episodes} == {"puppet"}
    assert {episode.policy for episode in episodes} == {"coin"}
    assert {episode.outcome for episode in episodes} == {
        "purchase",
        "walk_away",
        "turn_limit",
        "infrastructure_failure",
    }


def test_the_batch_does_not_matter(puppet: PuppetFactory) -> None:
    seeds = list(range(50))
    alone = play(Coin(), seeds, puppet, batch_size=1)
    assert alone == play(Coin(), seeds, puppet, batch_size=7)
    assert alone == play(Coin(), seeds[::-1], puppet)[::-1]
    assert alone != play(Coin(), seeds, puppet, policy_seed=1)


def test_a_customer_says_how_many_suit_it(puppet: PuppetFactory) -> None:
    def few() -> Any:
        customer: Any = puppet()
        customer.batch_size = 3
        return customer

    seeds = range(20)
    for asked, most in (({}, 3), ({"batch_size": 8}, 8), ({"batch_size": 2}, 2)):
        policy = Coin()
        play(policy, seeds, few, **asked)
        assert max(map(len, policy.batches)) == most
    few_at_once = Coin()
    few_at_once.batch_size = 2  # type: ignore[attr-defined]
    play(few_at_once, seeds, few)
    assert max(map(len, few_at_once.batches)) == 2

    def none() -> Any:
        customer: Any = puppet()
        customer.batch_size = 0
        return customer

    with pytest.raises(ConvgymError, match=r"batch_size must be an integer from 1"):
        play(Coin(), seeds, none)


def test_batches_stay_full_and_in_order(puppet: PuppetFactory) -> None:
    policy = Coin()
    play(policy, range(100, 140), puppet, batch_size=8)
    sizes = [len(batch) for batch in policy.batches]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[:8] == [8] * 8
    for before, after in zip(policy.batches, policy.batches[1:], strict=False):
        if len(before) == len(after):  # who goes on keeps the place, who ended is replaced
            staying = [a for a, b in zip(before, after, strict=True) if a == b]
            assert staying == [seed for seed in before if seed in after]


def test_what_is_recorded_is_what_was_heard(puppet: PuppetFactory) -> None:
    (episode,) = play(Coin(), [3], puppet)
    env = SalesEnv(customer=puppet, max_turns=4)
    _, info = env.reset(options={"episode_seed": 3})
    for turn in episode.turns:
        *_, info = env.step(turn.response.text)
    assert episode.messages() == info["messages"]
    assert episode.outcome == info["outcome"]
    first = episode.turns[0].response
    assert first.text == "a b"
    assert first.token_ids == (1, 2)
    assert first.logprob == -1.5


def test_a_sellers_thoughts_are_not_recorded_as_said(puppet: PuppetFactory) -> None:
    class Thinker(Coin):
        def act(self, conversations: Sequence[Conversation]) -> list[Response]:
            return [Response("<think>Buy?</think>a b", (1, 2), (-1.0, -0.5)) for _ in conversations]

    (episode,) = play(Thinker(), [3], puppet)
    first = episode.turns[0].response
    assert (first.text, first.token_ids, first.logprob) == ("a b", (1, 2), -1.5)


def test_failures_are_kept_apart(puppet: PuppetFactory) -> None:
    class Fails(Coin):
        def say(self, conversation: Conversation) -> Response:
            return Response("x" if len(conversation.messages) == 1 else "fail")

    lost, never = play(Fails(), [1, 13], puppet)
    assert (lost.outcome, len(lost.turns)) == ("infrastructure_failure", 1)
    assert lost.metadata == {"failure": "connection lost"}
    assert (never.outcome, never.opening, never.turns) == ("infrastructure_failure", "", ())
    assert never.metadata == {"failure": "no connection"}
    assert not lost.valid
    assert not never.converted


def test_latent_state_is_revealed_only_on_request(puppet: PuppetFactory) -> None:
    class Oracle(Coin):
        def say(self, conversation: Conversation) -> Response:
            if conversation.latent is None:
                return Response("leave")
            assert conversation.latent["seed"] == conversation.seed
            last = conversation.latent["heard"]["last"]
            assert (last is None) == (len(conversation.messages) == 1)
            return Response("buy" if last else "first")

    def outcome(**environment: Any) -> str:
        episodes = rollout(Oracle(), [1, 2], environment={"customer": puppet, **environment})
        return episodes[0].outcome

    assert outcome() == "walk_away"
    assert outcome(reveal_latent=True) == "purchase"


def test_progress_counts_finished_conversations(puppet: PuppetFactory) -> None:
    seen: list[Progress] = []
    play(Coin(), range(20), puppet, batch_size=3, progress=seen.append)
    assert [news.done for news in seen] == sorted(news.done for news in seen)
    assert seen[-1] == Progress("conversations", 20, 20)


def test_customers_are_closed_but_not_the_callers_own(puppet: PuppetFactory) -> None:
    made: list[Any] = []

    def factory() -> Customer:
        made.append(puppet())
        return made[-1]  # type: ignore[no-any-return]

    play(Coin(), range(4), factory, batch_size=2)
    assert [customer.closed for customer in made] == [1, 1]
    own: Any = puppet()
    rollout(Coin(), [1, 2], environment={"customer": own}, batch_size=1)
    assert own.closed == 0


def test_no_seeds_no_episodes(puppet: PuppetFactory) -> None:
    assert play(Coin(), [], puppet) == []


class TooFew(Coin):
    def act(self, conversations: Sequence[Conversation]) -> list[Response]:
        return []


class Words(Coin):
    def say(self, conversation: Conversation) -> Any:
        return "buy"


class Unsure(Coin):
    def say(self, conversation: Conversation) -> Any:
        return Response("buy", (1, 2), (-0.5, float("nan")))


class Short(Coin):
    def say(self, conversation: Conversation) -> Any:
        return Response("buy", (1, 2), (-0.5,))


class Numbered(Coin):
    name: Any = 3


class JustText(Coin):
    def act(self, conversations: Sequence[Conversation]) -> Any:
        return "buy it, won't you"


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (lambda conversations: [], "<lambda>.* is no policy: it lacks name, reset, act"),
        ("competent", "'competent' is no policy: it lacks name, reset, act"),
        (None, "None is no policy"),
        (Coin, "a policy is an object, got the class Coin"),
        (Numbered(), "a policy's name must be a str, got 3"),
        (JustText(), "must return a list of Response objects, got str"),
    ],
)
def test_what_is_no_policy(policy: Any, message: str) -> None:
    with pytest.raises(ConvgymError, match=message) as caught:
        rollout(policy, [1, 2])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ("12", "seeds must be several episode seeds, got '12'"),
        (7, "seeds must be several episode seeds, got 7"),
        (["1", "2"], "an episode seed must be an integer from 0 upwards, got '1'"),
        ([1.0], "an episode seed must be an integer from 0 upwards, got 1.0"),
    ],
)
def test_what_is_no_seeds(seeds: Any, message: str) -> None:
    with pytest.raises(ConvgymError, match=message):
        rollout(Coin(), seeds)


def test_seeds_from_numpy_are_pythons_afterwards() -> None:
    seeds: Any = np.arange(3)
    episodes = rollout(Coin(), seeds, policy_seed=np.int64(4), batch_size=np.int32(2))  # type: ignore[arg-type]
    assert episodes == rollout(Coin(), [0, 1, 2], policy_seed=4)
    assert {type(episode.seed) for episode in episodes} == {int}
    assert rollout(Coin(), (seed for seed in range(3)), policy_seed=4) == episodes  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("policy", "options", "message"),
    [
        (TooFew(), {}, "a response for each of 2 conversations, got 0"),
        (Words(), {}, "must return Response objects, got str: 'buy'"),
        (
            Unsure(),
            {},
            r"a finite log-probability for each token, or none, got 2 tokens and \[-0.5",
        ),
        (Short(), {}, "a finite log-probability for each token, or none, got 2 tokens"),
        (Coin(), {"batch_size": 0}, "batch_size must be an integer from 1 upwards"),
        (Coin(), {"batch_size": "2"}, "batch_size must be an integer from 1 upwards, got '2'"),
        (Coin(), {"policy_seed": "2"}, "policy_seed must be an integer from 0 upwards, got '2'"),
        (Coin(), {"environment": "scripted"}, "an environment must be options by name, got 'scr"),
        (Coin(), {"environment": {"render_mode": "human"}}, "environment option 'render_mode'"),
        (Coin(), {"environment": {"customer": "nobody"}}, "unknown customer 'nobody'"),
    ],
)
def test_mistakes(policy: Coin, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConvgymError, match=message):
        rollout(policy, [1, 2], **options)


def test_with_the_real_customer_and_seller() -> None:
    episodes: list[Episode] = rollout(make_seller("competent"), range(40))
    assert sum(episode.converted for episode in episodes) > 20


class Mistaken(Coin):
    """A policy with one member that is wrong."""

    def __init__(self, **members: Any) -> None:
        super().__init__()
        for name, member in members.items():
            setattr(self, name, member)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"reset": lambda: None}, r"has reset\(\), where reset\(seed\) is called"),
        ({"reset": None}, "has reset = 'None'"),
        ({"act": lambda: []}, r"has act\(\), where act\(conversations\) is called"),
        ({"name": None}, "a policy's name must be a str, got None"),
        ({"name": 5}, "a policy's name must be a str, got 5"),
    ],
)
def test_a_policy_with_wrong_members_is_told_before_anybody_speaks(
    members: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConvgymError, match=message):
        rollout(Mistaken(**members), [1])


@pytest.mark.parametrize("progress", [5, "x", None])
def test_progress_is_a_function(progress: Any) -> None:
    with pytest.raises(ConvgymError, match="progress must be a function"):
        rollout(Coin(), [1], progress=progress)


@pytest.mark.parametrize("value", [5, None, ["x"]])
@pytest.mark.parametrize("name", ["fingerprint", "record"])
def test_what_a_customer_says_of_itself_can_be_kept(
    puppet: PuppetFactory, name: str, value: Any
) -> None:
    def make() -> Customer:
        customer = puppet()
        mine = type("Mine", (type(customer),), {name: value})
        customer.__class__ = mine
        return customer

    with pytest.raises(ConvgymError, match=f"customer Mine's {name} must be"):
        rollout(Coin(), [1, 2], environment={"customer": make})


def test_what_a_policy_raises_is_its_own() -> None:
    def broken(conversations: Sequence[Conversation]) -> list[Response]:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        rollout(Mistaken(act=broken), [1])


@pytest.mark.parametrize("reward", ["revenue", "margin"])
def test_episodes_are_worth_a_purchase_and_no_money(reward: str) -> None:
    environment = {"customer": "shopper", "reward": reward}
    with pytest.raises(ConvgymError, match=f"reward='purchase', got '{reward}'.*metadata"):
        rollout(make_seller("silent"), [1], environment=environment)
    assert rollout(make_seller("silent"), [1], environment={"reward": "purchase"})[0].reward == 0
