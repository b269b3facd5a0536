"""The replay of logged conversations, and what it says of departures from the log."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from convgym.conversation import Episode, Response, Turn
from convgym.customers import Decision, Snapshottable, make_customer
from convgym.customers.replay import ReplayCustomer
from convgym.errors import ConvgymError, InfrastructureError
from convgym.logs import write_log
from convgym.policy import Conversation
from convgym.rollout import rollout
from convgym.sellers import make_seller


@pytest.fixture(scope="module")
def episodes() -> list[Episode]:
    return rollout(make_seller("mediocre"), range(40))


class Reader:
    """A seller that reads its words off a log."""

    name = "reader"

    def __init__(self, episode: Episode, change: int | None = None) -> None:
        self.words = [turn.response.text for turn in episode.turns]
        if change is not None:
            self.words[change] = "Something else."

    def reset(self, seed: int) -> None:
        pass

    def act(self, conversations: Sequence[Conversation]) -> list[Response]:
        return [Response(self.words[len(c.messages) // 2]) for c in conversations]


def test_a_log_plays_again(episodes: list[Episode], tmp_path: Path) -> None:
    write_log(tmp_path / "log.jsonl", episodes)
    customer = make_customer("replay", log=tmp_path / "log.jsonl", strict=True)
    assert isinstance(customer, ReplayCustomer)
    for episode in episodes:
        if episode.outcome == "turn_limit":
            continue
        (again,) = rollout(Reader(episode), [episode.seed], environment={"customer": customer})
        assert (again.opening, again.turns) == (episode.opening, episode.turns)
        assert again.outcome == episode.outcome
        assert customer.record == {"departures": 0, "first_departure": None}
    assert {episode.outcome for episode in episodes} >= {"purchase", "walk_away"}


def test_departures_are_counted_or_refused(episodes: list[Episode]) -> None:
    episode = next(e for e in episodes if len(e.turns) >= 4)
    customer = ReplayCustomer(episodes)
    (again,) = rollout(Reader(episode, 2), [episode.seed], environment={"customer": customer})
    assert again.outcome == episode.outcome
    assert customer.record == {"departures": 1, "first_departure": 2}
    strict = ReplayCustomer(episode, strict=True)
    with pytest.raises(ConvgymError, match=r"turn 2 of the episode.*this one 'Something else\.'"):
        rollout(Reader(episode, 2), [episode.seed], environment={"customer": strict})


def test_an_index_plays_one_episode_for_every_seed(episodes: list[Episode]) -> None:
    customer = ReplayCustomer(episodes, index=3)
    assert customer.reset(10**6) == episodes[3].opening
    assert customer.latent == {"turn": 0, "logged_seller": episodes[3].turns[0].response.text}
    assert customer.fingerprint != ReplayCustomer(episodes).fingerprint


def test_nothing_is_made_up_after_the_end() -> None:
    turns = (Turn(Response("Hello."), "Hm."),)
    broken = Episode(
        1, "Hi.", turns, "infrastructure_failure", "c", "p", {"failure": "no connection"}
    )
    customer = ReplayCustomer(broken)
    customer.reset(1)
    assert customer.respond("Hello.").decision is Decision.CONTINUE
    with pytest.raises(InfrastructureError, match="ends after 1 turns: no connection"):
        customer.respond("Hello?")
    over = ReplayCustomer(Episode(1, "Hi.", turns, "turn_limit", "c", "p"))
    (episode,) = rollout(make_seller("competent"), [1], environment={"customer": over})
    assert episode.outcome == "infrastructure_failure"
    assert "nothing more was logged" in episode.metadata["failure"]


def test_it_goes_back(episodes: list[Episode]) -> None:
    customer = ReplayCustomer(episodes)
    assert isinstance(customer, Snapshottable)
    customer.reset(episodes[0].seed)
    kept = customer.snapshot()
    first = customer.respond("Hello.")
    customer.restore(kept, seed=3)
    assert customer.record["departures"] == 0
    assert customer.respond("Hello.") == first


def test_mistakes_are_explained(episodes: list[Episode], tmp_path: Path) -> None:
    with pytest.raises(ConvgymError, match="no episode of seed 99; its 40 seeds begin 0, 1, 2"):
        ReplayCustomer(episodes).reset(99)
    with pytest.raises(ConvgymError, match="index must be one of 0 to 39, got 40"):
        ReplayCustomer(episodes, index=40)
    with pytest.raises(ConvgymError, match="call reset"):
        ReplayCustomer(episodes).respond("Hello.")
    with pytest.raises(ConvgymError, match="missing a required argument: 'log'"):
        make_customer("replay")
    with pytest.raises(ConvgymError, match=r"nowhere\.jsonl"):
        ReplayCustomer(tmp_path / "nowhere.jsonl")
