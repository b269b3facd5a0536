"""The business between the agent and the customer."""

from __future__ import annotations

import pickle
import random
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from convgym.conversation import Episode, Message, as_said, clean, show_sent
from convgym.customers import Customer, Decision, Snapshottable, make_customer
from convgym.customers.scripted.customer import ScriptedCustomer
from convgym.customers.suggested import COURTESIES, Business, SuggestedResponse, suggested
from convgym.errors import ConvgymError, InfrastructureError
from convgym.llm import ChatRequest
from convgym.logs import read_log, write_log
from convgym.policy import Conversation
from convgym.rollout import rollout
from convgym.sellers import make_seller
from convgym.suggestions import count_accepted
from tests.unit.customers.chat_models import FakeModel

ALWAYS: dict[str, dict[str, float]] = {
    way: {"verbatim": 0.0, "edited": 0.0, "influenced": 0.0, "ignored": 0.0} | {way: 1.0}
    for way in ("verbatim", "edited", "influenced", "ignored")
}


def shrug(messages: Sequence[Message], rng: random.Random) -> str:
    return "We are here for you."


def held(customer: SuggestedResponse, seed: int, seller: str = "competent") -> list[dict[str, str]]:
    """Hold a conversation with a seller that suggests; return what became of it."""
    policy, rng = make_seller(seller), random.Random(seed)
    messages: list[Message] = [{"role": "user", "content": customer.reset(seed)}]
    for _ in range(12):
        said = policy.act([Conversation(seed, messages, rng)])[0].text
        reply = customer.respond(said)
        messages.append({"role": "assistant", "content": said})
        messages.append({"role": "user", "content": reply.text})
        if reply.decision is not Decision.CONTINUE:
            break
    rows: list[dict[str, str]] = customer.record["suggestions"]
    return rows


def test_the_customer_hears_what_was_sent_and_the_agent_reads_it() -> None:
    customer = suggested(business=ALWAYS["ignored"], speaker=shrug)
    alone = ScriptedCustomer()
    assert customer.reset(5) == alone.reset(5)
    reply = customer.respond("What is your budget?")
    assert (
        reply.text == f"[sent: We are here for you.] {alone.respond('We are here for you.').text}"
    )
    assert customer.record["suggestions"] == [
        {"suggestion": "What is your budget?", "sent": "We are here for you.", "kind": "ignored"}
    ]
    assert customer.latent == alone.latent


def test_a_suggestion_sent_as_it_is_leaves_no_trace() -> None:
    environment = {"customer": partial(suggested, business={**ALWAYS["verbatim"], "distaste": 1})}
    plain = rollout(make_seller("competent"), range(30))
    through = rollout(make_seller("competent"), range(30), environment=environment)
    assert [e.messages() for e in through] == [e.messages() for e in plain]


def test_an_edit_keeps_the_first_sentence() -> None:
    customer = suggested(business=ALWAYS["edited"])
    customer.reset(1)
    customer.respond("I recommend the Ember. It is great. Buy!")
    (row,) = customer.record["suggestions"]
    assert row["kind"] == "edited"
    assert row["sent"] in [f"{courtesy} I recommend the Ember." for courtesy in COURTESIES]


def test_an_influenced_business_says_what_is_nearest() -> None:
    """Over many seeds, its own words are nearer to the suggestion than without influence."""

    def near(way: str) -> int:
        customer, found = suggested(business=ALWAYS[way]), 0
        for seed in range(200):
            customer.reset(seed)
            customer.respond("How much do you want to spend?")
            found += "spend" in customer.record["suggestions"][0]["sent"]
        return found

    assert near("influenced") > 2 * near("ignored") > 0


def test_the_empty_suggestion_abstains() -> None:
    customer = suggested(business=ALWAYS["verbatim"])
    customer.reset(1)
    customer.respond("  ")
    (row,) = customer.record["suggestions"]
    assert (row["kind"], row["suggestion"]) == ("abstained", "") and row["sent"]


def test_shares_are_the_documented_ones_and_distaste_lowers_them() -> None:
    customer, n = suggested(speaker=shrug), 3000
    kinds: Counter[str] = Counter()
    for seed in range(n):
        customer.reset(seed)
        customer.respond("What is your budget?")
        kinds[customer.record["suggestions"][0]["kind"]] += 1
    for way in ALWAYS:
        assert kinds[way] / n == pytest.approx(getattr(Business(), way), abs=0.03)
    business = Business()
    short, long = "What is it for?", "word " * 26
    liked = business.probabilities(short, [])
    assert liked == pytest.approx(
        {"verbatim": 0.6, "edited": 0.15, "influenced": 0.1, "ignored": 0.15}
    )
    for disliked in (business.probabilities(long, []), business.probabilities(short, [short])):
        assert disliked == pytest.approx(
            {"verbatim": 0.15, "edited": 0.0375, "influenced": 0.1, "ignored": 0.7125}
        )


@pytest.mark.parametrize("seed", range(20))
def test_same_seed_same_business(seed: int) -> None:
    used = suggested()
    held(used, 999)
    assert held(used, seed) == held(suggested(), seed)


@pytest.mark.parametrize("seed", range(10))
def test_it_can_be_copied_where_the_customer_can(seed: int) -> None:
    customer = suggested()
    assert isinstance(customer, Snapshottable)
    said = ["What is your budget?", "I recommend the Ember.", "Shall I place the order?"]
    customer.reset(seed)
    customer.respond("What will you use it for?")
    kept = pickle.loads(pickle.dumps(customer.snapshot()))
    first = [customer.respond(words) for words in said], customer.record
    customer.reset(seed + 1)
    customer.restore(kept)
    assert ([customer.respond(words) for words in said], customer.record) == first
    customer.restore(kept, seed=1)
    fresh = [customer.respond(words) for words in said]
    customer.restore(kept, seed=1)
    assert [customer.respond(words) for words in said] == fresh


def test_it_cannot_be_copied_where_the_customer_cannot(puppet: Callable[[], Customer]) -> None:
    customer = suggested(puppet)
    assert not isinstance(customer, Snapshottable)
    customer.reset(1)
    assert "customer 1 heard 1" in customer.respond("Hello.").text
    customer.close()
    assert customer.inner.closed == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("inner", ["scripted", "puppet"])
def test_many_at_once_are_as_one_by_one(inner: str, puppet: Callable[[], Customer]) -> None:
    """Also where some fail: seed 13 of the puppet's has no connection."""
    make = partial(suggested, puppet if inner == "puppet" else inner)
    environment = {"customer": make, "max_turns": 5}
    alone, together = (
        rollout(make_seller("mediocre"), range(20), environment=environment, batch_size=size)
        for size in (1, 8)
    )
    assert together == alone
    assert sum(not episode.valid for episode in alone) == (inner == "puppet")


def test_an_inner_customer_that_breaks_the_protocol_is_told(
    puppet: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(puppet, "respond", lambda self, utterance: "Hello.")
    with pytest.raises(ConvgymError, match="must respond with a Reply"):
        rollout(make_seller("mediocre"), [1], environment={"customer": partial(suggested, puppet)})


def test_the_ladder_keeps_its_order_and_acceptance_pays() -> None:
    def conversion(seller: str, **business: float) -> float:
        environment = {"customer": partial(suggested, business=business or None)}
        episodes = rollout(make_seller(seller), range(100), environment=environment)
        return sum(episode.converted for episode in episodes) / 100

    assert conversion("silent") > 0.2  # the business speaks for itself
    assert conversion("always-closing") < conversion("mediocre") < conversion("competent")
    assert conversion("competent", **ALWAYS["ignored"]) < conversion("competent") - 0.1


def test_through_the_environments() -> None:
    env = gymnasium.make("convgym/Suggest-v0", catalog="insurance", personas="difficult")
    _, info = env.reset(seed=0)
    assert "insurance" in info["briefing"]
    inner = partial(suggested, "scripted", business=ALWAYS["ignored"], speaker=shrug)
    env = gymnasium.make("convgym/Suggest-v0", customer=inner)
    env.reset(seed=0)
    text, *_ = env.step("What is your budget?")
    lines = text.splitlines()
    assert lines[1] == "Seller: What is your budget?"
    assert lines[2].startswith("Customer: [sent: We are here for you.] ")


def test_as_said_puts_what_was_sent_in_its_place() -> None:
    messages: list[Message] = [
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": "Buy!"},
        {"role": "user", "content": show_sent("What [for]?", "Games.")},
        {"role": "assistant", "content": "Fine."},
        {"role": "user", "content": "Yes."},
    ]
    assert [message["content"] for message in as_said(messages)] == [
        "Hello.", "What [for)?", "Games.", "Fine.", "Yes.",
    ]  # fmt: skip
    assert as_said(messages[:1]) == messages[:1]
    assert messages[1]["content"] == "Buy!"


def test_a_very_long_message_leaves_room_for_the_reply() -> None:
    customer = suggested(business=ALWAYS["edited"])
    customer.reset(1)
    reply = customer.respond("x" * 5000)
    said = as_said([
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": "x"},
        {"role": "user", "content": clean(reply.text)},
    ])  # fmt: skip
    assert "xxx" in said[1]["content"]
    assert said[2]["content"] and "x" * 9 not in said[2]["content"]


def episode(*kinds: str) -> Episode:
    rows = [{"suggestion": "a", "sent": "b", "kind": kind} for kind in kinds]
    return Episode(0, "Hi.", (), "walk_away", "c", "p", {"suggestions": rows} if kinds else {})


def test_what_was_accepted_is_counted() -> None:
    assert count_accepted(episode()) == (0, 0)
    assert count_accepted(episode("abstained")) == (0, 0)
    assert count_accepted(episode("verbatim", "ignored", "abstained")) == (1, 2)
    assert count_accepted(episode("edited", "influenced")) == (1, 2)


def test_suggestions_are_logged_with_what_was_sent(tmp_path: Path) -> None:
    episodes = rollout(make_seller("competent"), range(20), environment={"customer": "suggested"})
    for episode in episodes:
        rows = episode.metadata["suggestions"]
        assert [row["suggestion"] for row in rows] == [t.response.text for t in episode.turns]
        for row, turn in zip(rows, episode.turns, strict=True):
            shown = show_sent(row["sent"], "")
            assert turn.reply.startswith(shown) == (row["sent"] != row["suggestion"])
    write_log(tmp_path / "log.jsonl", episodes)
    assert read_log(tmp_path / "log.jsonl").episodes == episodes
    plain = rollout(make_seller("competent"), range(2))
    assert [episode.metadata for episode in plain] == [{}, {}]


def test_a_customer_that_fails_leaves_no_suggestions_of_the_last_one(
    puppet: Callable[[], Customer],
) -> None:
    environment = {"customer": partial(suggested, puppet, ALWAYS["verbatim"]), "max_turns": 2}
    before, broken = rollout(
        make_seller("competent"), [1, 13], environment=environment, batch_size=1
    )
    assert len(before.metadata["suggestions"]) == 2
    assert broken.metadata == {"suggestions": [], "failure": "no connection"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"business": {"verbatim": 0.9}}, "four probabilities must be 0 or more and add up to 1"),
        ({"business": {"verbatm": 0.9}}, "unknown field of the business 'verbatm'.*'verbatim'"),
        ({"business": {"distaste": 2}}, "distaste must be in"),
        ({"business": {"longest": 0}}, "longest must be at least 1 word"),
        ({"speaker": "competnt"}, "unknown seller 'competnt'"),
        ({"inner": "script"}, "unknown customer 'script'"),
        ({"shoe_size": 4}, "unexpected keyword argument 'shoe_size'"),
    ],
)
def test_mistakes_are_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConvgymError, match=message) as caught:
        make_customer("suggested", **options)
    assert "\n" not in str(caught.value)


def test_the_fingerprint_tells_businesses_apart() -> None:
    prints = {
        suggested().fingerprint,
        suggested(business={"distaste": 0.5}).fingerprint,
        suggested(speaker="competent").fingerprint,
        suggested(persona="hurried").fingerprint,
    }
    assert len(prints) == 4
    assert suggested().fingerprint == suggested(business=Business()).fingerprint
    assert ScriptedCustomer().fingerprint in suggested().fingerprint


def test_a_business_without_words_fails_alone() -> None:
    def speaker(messages: Sequence[Message], rng: random.Random) -> str:
        if rng.random() < 0.3:
            raise InfrastructureError("no words")
        return "We are here for you."

    make = partial(suggested, business=ALWAYS["ignored"], speaker=speaker)
    episodes = rollout(make_seller("competent"), range(12), environment={"customer": make})
    lost = [episode for episode in episodes if not episode.valid]
    assert 0 < len(lost) < 12
    assert {episode.metadata["failure"] for episode in lost} == {"no words"}
    assert {episode.outcome for episode in lost} == {"infrastructure_failure"}


def test_the_words_of_a_seller_that_fails_are_no_words() -> None:
    customer = suggested(business=ALWAYS["ignored"], speaker="openai:x", catalog="mobile")
    customer.reset(1)
    seller: Any = customer._speaker
    seller.policy.backend = FakeModel(down)
    with pytest.raises(InfrastructureError, match="no line"):
        customer.respond("Hello.")


def down(request: ChatRequest) -> str:
    raise InfrastructureError("no line")


def test_a_business_speaks_to_shoppers_as_they_are_spoken_to() -> None:
    customer = make_customer("suggested", inner="shopper")
    customer.reset(4)
    customer.respond("What will you use it for?")
    record = customer.record  # type: ignore[attr-defined]
    assert {"false_claims", "suggestions"} <= set(record)
    policy = customer._speaker.policy  # type: ignore[attr-defined]
    assert policy.name == "mediocre-v1"
