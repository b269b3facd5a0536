"""Sellers for many visitors at once."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence

import pytest

from convgym.benchmarks.demo import cast as module
from convgym.benchmarks.demo.cast import ALWAYS, Cast, Shared, label_of
from convgym.benchmarks.talks.scene import Scene
from convgym.conversation import Response
from convgym.errors import ConvgymError
from convgym.policy import Conversation


class Narrow:
    """A policy that breaks when it is asked by two at a time."""

    name = "narrow"

    def __init__(self) -> None:
        self.busy, self.turns, self.forgot = False, 0, 0

    def reset(self, seed: int) -> None:
        self.forgot += 1

    def act(self, conversations: Sequence[Conversation]) -> list[Response]:
        assert not self.busy
        self.busy, self.turns = True, self.turns + 1
        time.sleep(0.01)
        self.busy = False
        return [Response("Hello.") for _ in conversations]


def test_shared_policies_are_asked_one_after_the_other_and_forget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_MEMORY", 4)
    narrow = Narrow()
    shared = Shared(narrow)
    shared.reset(7)
    conversation = Conversation(0, [], random.Random(0))
    threads = [threading.Thread(target=shared.act, args=([conversation],)) for _ in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (narrow.turns, narrow.forgot, shared.name) == (9, 2, "narrow")


def test_named_sellers_come_first_and_advise_beside_the_competent_one() -> None:
    cast = Cast(Scene({}), {"habitual": {}, "mediocre": {"epsilon": 0.0}})
    assert cast.labels == ["habitual", "mediocre", *(n for n in ALWAYS if n != "mediocre")]
    assert cast.advisers == ("habitual", "mediocre", "competent")
    assert (cast.first, cast.second) == ("habitual", "competent")
    plain = Cast(Scene({}), {})
    assert plain.labels == [*ALWAYS] and plain.advisers == ("competent",)
    assert (plain.first, plain.second) == ("mediocre", "competent")
    assert Cast(Scene({}), {"competent": {}}).second == "mediocre"


def test_sellers_by_rule_are_made_anew_with_their_options() -> None:
    cast = Cast(Scene({"customer": "shopper"}), {"mediocre": {"epsilon": 0.0}})
    first, second = cast.policy("mediocre", 1), cast.policy("mediocre", 2)
    assert first is not second and first.name == "mediocre-v1"
    with pytest.raises(ConvgymError, match="unknown seller 'nobody'"):
        cast.policy("nobody", 1)
    with pytest.raises(ConvgymError, match="no_such"):
        Cast(Scene({}), {"mediocre": {"no_such": 1}})


def test_an_endpoint_is_asked_by_several_at_once() -> None:
    cast = Cast(Scene({}), {"openai:some-model": {"base_url": "http://127.0.0.1:9"}})
    first, second = (cast.policy("openai:some-model", seed) for seed in (1, 2))
    assert first is second and not isinstance(first, Shared)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("competent", "competent"),
        ("openai:gpt-4o-mini", "openai:gpt-4o-mini"),
        ("mypkg.mine:Mine", "mypkg.mine:Mine"),
        ("hf:default", "default"),
        ("hf:/home/me/results/quick/agents/bc-seed0/policy", "bc-seed0"),
        ("hf:trained/better", "better"),
        ("hf:.", "language model"),
    ],
)
def test_labels_do_not_say_where_folders_lie(name: str, label: str) -> None:
    assert label_of(name) == label


def test_two_folders_of_one_name_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scene, "seller", lambda self, *given: Narrow())
    cast = Cast(Scene({}), {"hf:a/policy": {}, "hf:x/a/policy": {}, "hf:y/a": {}})
    assert cast.labels[:3] == ["a", "a (2)", "a (3)"]
    assert isinstance(cast.policy("a (2)", 1), Shared) and cast.name("a (2)") == "hf:x/a/policy"
