"""What becomes of the mess of real chats: nothing vanishes without a word."""

from __future__ import annotations

import pytest

from convgym.conversation import MAX_UTTERANCE_CHARS
from convgym.exchange.assembly import seed_of
from convgym.seeds import EVALUATION_BASE
from tests.unit.exchange.conftest import Import, reasons, said


def test_a_plain_chat_is_an_opening_and_turns(from_chat: Import) -> None:
    imported = from_chat("C: Hi", "S: What for?", "C: Games")
    (episode,) = imported.episodes
    assert (episode.opening, episode.turns[0].response.text) == ("Hi", "What for?")
    assert episode.turns[0].reply == "Games" and episode.converted
    assert episode.turns[0].response.token_ids is None
    assert episode.turns[0].response.token_logprobs is None
    assert (episode.customer, episode.policy) == ("imported", "imported")
    assert episode.metadata == {"source": "a.jsonl", "format": "openai", "original_id": "1"}
    assert imported.report.findings == ()


@pytest.mark.parametrize(
    ("messages", "expected", "told"),
    [
        (["C: a", "C: b", "S: c", "S: d", "C: e"], ["a b", "c d", "e"], {"joined": 2}),
        (["S: hello", "C: a", "S: b", "C: c"], ["a", "b", "c"], {"greeting": 1}),
        (["S: x", "S: y", "C: a", "S: b", "C: c"], ["a", "b", "c"], {"greeting": 1, "joined": 1}),
        (["C: a", "S: b"], ["a", "b", ""], {"unanswered": 1}),
        (["C: a", "S:  ", "S: b", "C: c"], ["a", "b", "c"], {"empty": 1}),
        (["C: a", "S:  ", "C: c", "S: d", "C: e"], ["a c", "d", "e"], {"empty": 1, "joined": 1}),
        (["?: Be nice", "C: a", "S: b", "C: c"], ["a", "b", "c"], {"bystander": 1}),
        (["C: a", "S: b\n\n c", "C: \u200bd\u202e"], ["a", "b c", "d"], {}),
        (["C: a 👨‍👩‍👧", "S: مرحبا", "C: 你好"], ["a 👨👩👧", "مرحبا", "你好"], {}),
    ],
)
def test_mess_is_put_in_order_and_told(
    from_chat: Import, messages: list[str], expected: list[str], told: dict[str, int]
) -> None:
    imported = from_chat(*messages)
    assert [said(episode) for episode in imported.episodes] == [expected]
    assert reasons(imported) == told


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        (["S: hello"], "no-customer"),
        (["S: hello", "C:  "], "no-customer"),
        (["?: nothing"], "no-customer"),
        ([], "no-customer"),
        (["C: hello"], "no-seller"),
        (["S: hello", "C: hi"], "no-seller"),
    ],
)
def test_what_is_no_conversation_is_left_out(
    from_chat: Import, messages: list[str], reason: str
) -> None:
    imported = from_chat(*messages)
    assert imported.episodes == []
    assert reasons(imported)[reason] == 1


def test_a_greeting_may_be_kept(from_chat: Import) -> None:
    imported = from_chat("S: hello", "C: a", "S: b", "C: c", greeting="keep")
    assert [said(episode) for episode in imported.episodes] == [["", "hello", "a", "b", "c"]]
    assert reasons(imported) == {"no-opening": 1}
    assert from_chat("S: hello", "C: a", greeting="keep").episodes
    assert reasons(from_chat("S: hello", greeting="keep"))["no-customer"] == 1


def test_silence_may_be_kept(from_chat: Import) -> None:
    imported = from_chat("C: a", "S:  ", "C: c", empty="keep")
    assert [said(episode) for episode in imported.episodes] == [["a", "", "c"]]
    assert reasons(imported) == {}


@pytest.mark.parametrize("text", ["x" * 2500, "word " * 1000])
def test_texts_are_cut_aloud(from_chat: Import, text: str) -> None:
    imported = from_chat("C: a", f"S: {text}", "C: c")
    (episode,) = imported.episodes
    assert MAX_UTTERANCE_CHARS - 1 <= len(episode.turns[0].response.text) <= MAX_UTTERANCE_CHARS
    assert reasons(imported) == {"cut": 1}
    assert reasons(from_chat("C: a", f"S: {'x' * 2000}   ", "C: c")) == {}


def test_joined_messages_are_cut_aloud(from_chat: Import) -> None:
    imported = from_chat("C: a", f"S: {'x' * 1500}", f"S: {'y' * 1500}", "C: c")
    assert reasons(imported) == {"joined": 1, "cut": 1}


def test_seeds_come_from_the_id_and_differ() -> None:
    assert seed_of("a", set()) == seed_of("a", set()) != seed_of("b", set())
    taken: set[int] = set()
    seeds = [seed_of("a", taken) for _ in range(3)]
    assert len({*seeds}) == 3 and taken == {*seeds}
    assert seed_of("x", set()) == 925282372  # as in logs that were imported before
    assert all(0 <= seed_of(str(n), set()) < EVALUATION_BASE for n in range(1000))


def test_ids_make_seeds_whatever_the_order(from_rows: Import) -> None:
    def row(id: str) -> object:
        messages = [{"role": role, "content": id} for role in ("user", "assistant", "user")]
        return {"id": id, "messages": messages, "outcome": 1}

    there = {e.metadata["original_id"]: e.seed for e in from_rows(row("a"), row("b")).episodes}
    back = {e.metadata["original_id"]: e.seed for e in from_rows(row("b"), row("a")).episodes}
    assert there == back and len({*there.values()}) == 2


def test_ids_that_are_given_again(from_rows: Import) -> None:
    def row(text: str) -> object:
        messages = [{"role": role, "content": text} for role in ("user", "assistant", "user")]
        return {"id": "a", "messages": messages, "outcome": 1}

    imported = from_rows(row("x"), row("x"), row("y"), row("z"))
    assert [e.metadata["original_id"] for e in imported.episodes] == ["a", "a#2", "a#3"]
    assert len({episode.seed for episode in imported.episodes}) == 3
    assert reasons(imported) == {"copy": 1, "renamed": 2}
