"""JSON: OpenAI's chats, ShareGPT, and a message a line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from convgym.errors import ConvgymError
from tests.unit.exchange.conftest import Import, reasons, said

OPENAI = {
    "messages": [
        {"role": "system", "content": "Sell."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "What for?"},
        {"role": "user", "content": "Games"},
    ],
    "outcome": True,
}
SHAREGPT = {
    "id": "x7",
    "conversations": [
        {"from": "human", "value": "Hi"},
        {"from": "gpt", "value": "What for?"},
        {"from": "human", "value": "Games"},
    ],
    "outcome": "bought",
}


@pytest.mark.parametrize(("row", "format"), [(OPENAI, "openai"), (SHAREGPT, "sharegpt")])
def test_the_format_is_seen(from_rows: Import, row: object, format: str) -> None:
    imported = from_rows(row)
    assert imported.report.format == format
    assert said(imported.episodes[0]) == ["Hi", "What for?", "Games"]


def test_a_message_a_line(from_rows: Import) -> None:
    rows = [
        {"session": 7, "sender": "visitor", "body": "Hi", "sold": 1},
        {"session": 7, "sender": "bot", "body": "What for?", "sold": 1},
        {"session": 7, "sender": "visitor", "body": "Games", "sold": 1},
    ]
    imported = from_rows(*rows)
    assert imported.report.format == "jsonl"
    assert said(imported.episodes[0]) == ["Hi", "What for?", "Games"]
    assert imported.episodes[0].metadata["original_id"] == "7"


def test_a_list_of_conversations(from_text: Import) -> None:
    imported = from_text(json.dumps([SHAREGPT, {**SHAREGPT, "id": "b"}], indent=2), "chats.json")
    assert len(imported.episodes) == 2
    assert from_text(json.dumps(SHAREGPT, indent=2), "chats.json").episodes == [
        imported.episodes[0]
    ]
    with pytest.raises(ConvgymError, match="begins as a JSON list"):
        from_text(json.dumps([SHAREGPT], indent=2)[:-5], "chats.json")


def test_a_list_within_an_object(from_text: Import) -> None:
    pair = [SHAREGPT, {**SHAREGPT, "id": "b"}]
    expected = from_text(json.dumps(pair), "chats.json").episodes
    for key in ("data", "conversations", "rows"):
        whole = {"version": 2, "tags": ["x"], "errors": [], key: pair}
        imported = from_text(json.dumps(whole, indent=1), "chats.json")
        assert imported.episodes == expected and reasons(imported) == {}
    rows = [{"chat": 1, "role": r, "text": r, "sold": 1} for r in ("user", "bot", "user")]
    assert said(from_text(json.dumps({"rows": rows}), "a.json").episodes[0])[1] == "bot"
    # One conversation, whatever lists stand beside its messages.
    (episode,) = from_text(json.dumps({**OPENAI, "tools": [{"type": "x"}]}), "a.json").episodes
    assert said(episode) == ["Hi", "What for?", "Games"]
    with pytest.raises(ConvgymError, match=r"several lists, 'data', 'more': keep the one that"):
        from_text(json.dumps({"data": pair, "more": pair}), "a.json")


def test_content_in_parts(from_rows: Import) -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.com"}}
    row: dict[str, Any] = json.loads(json.dumps(OPENAI))
    row["messages"][1]["content"] = [{"type": "text", "text": "Hi"}, image, "there"]
    row["messages"].insert(2, {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]})
    row["messages"].insert(3, {"role": "tool", "content": "42"})
    imported = from_rows(row)
    assert said(imported.episodes[0]) == ["Hi there", "What for?", "Games"]
    assert reasons(imported) == {"bystander": 2, "no-text": 2}


def test_broken_rows_are_told(from_text: Import) -> None:
    line = json.dumps(OPENAI)
    rows = [line, line[:40], "[1]", "7", '{"messages": 3, "outcome": 1}', '{"x": 1}', "", line]
    imported = from_text("\r\n".join(rows), "a.jsonl")
    assert len(imported.episodes) == 2
    assert reasons(imported)["bad-row"] == 5
    (finding,) = [finding for finding in imported.report.findings if finding.reason == "bad-row"]
    assert [example.split(":")[0] for example in finding.examples] == ["line 2", "line 3", "line 4"]


def test_broken_messages_are_told(from_rows: Import) -> None:
    row = {**OPENAI, "messages": [*OPENAI["messages"], 7, {"content": "x"}, {"role": "user"}]}  # type: ignore[misc]
    assert reasons(from_rows(row)) == {
        "bad-row": 1,
        "no-speaker": 1,
        "bystander": 1,
        "empty": 1,
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1, 2]", "no JSON object"),
        ("{not json", "no JSON object"),
        ('{"schema": "convgym.episode"}', "a log of convgym already"),
        ('{"a": 1}', "which column is the speaker"),
    ],
)
def test_what_holds_no_chats_is_refused(from_text: Import, content: str, message: str) -> None:
    with pytest.raises(ConvgymError, match=message):
        from_text(content, "a.jsonl")


def test_the_id_is_named(from_rows: Import) -> None:
    row = {**OPENAI, "id": "a", "case": "K 7"}
    assert from_rows(row).episodes[0].metadata["original_id"] == "a"
    assert from_rows(row, conversation="case").episodes[0].metadata["original_id"] == "K 7"
    with pytest.raises(ConvgymError, match=r"unknown field .* 'cas'.*did you mean 'case'"):
        from_rows(row, conversation="cas")


def test_messages_as_columns_and_as_text(from_rows: Import) -> None:
    columns = {"role": ["user", "assistant", "user"], "content": ["Hi", "What for?", "Games"]}
    imported = from_rows({"messages": columns, "outcome": 1})
    assert said(imported.episodes[0]) == ["Hi", "What for?", "Games"]
    text = json.dumps(OPENAI["messages"])
    imported = from_rows({"messages": text, "outcome": 1}, format="openai")
    assert said(imported.episodes[0]) == ["Hi", "What for?", "Games"]
