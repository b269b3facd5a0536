"""A whole conversation in every row: messages as JSON, or lines with who speaks."""

from __future__ import annotations

import csv
import io
import json

import pytest

from convgym.errors import ConvgymError
from tests.unit.exchange.conftest import Import, reasons, said

SAID = ["Hi", "What for?", "Games"]
LINES = "Customer: Hi\nAgent: What for?\nCustomer: Games"
MESSAGES = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "What for?"},
    {"role": "user", "content": "Games"},
]


def table(*rows: tuple[object, ...], header: str = "id,transcript,sold") -> str:
    text = io.StringIO()
    csv.writer(text).writerows([header.split(","), *rows])
    return text.getvalue()


@pytest.mark.parametrize(
    "cell",
    [
        LINES,
        LINES.replace("\n", "\r\n"),
        LINES.replace("\n", "\\n"),
        LINES.replace(": ", ":").replace("\n", "\n\n"),
        "[10:31] Customer: Hi\n(10:32, Mia) Agent: What for?\n10:33 pm - Customer: Games",
        "31.12.25, 10:31 - Customer: Hi\n31.12.25, 10:32 - Agent: What for?\n1 Customer: Games",
        json.dumps(MESSAGES),
        json.dumps([{"speaker": m["role"], "text": m["content"]} for m in MESSAGES], indent=1),
        json.dumps([{"from": m["role"], "value": m["content"]} for m in MESSAGES]),
    ],
)
def test_a_row_is_a_conversation(from_text: Import, cell: str) -> None:
    imported = from_text(table(("a", cell, "yes"), ("b", cell, "no")))
    assert [said(episode) for episode in imported.episodes] == [SAID, SAID]
    assert [episode.outcome for episode in imported.episodes] == ["purchase", "walk_away"]
    assert [episode.metadata["original_id"] for episode in imported.episodes] == ["a", "b"]
    assert reasons(imported) == {} and imported.report.format == "csv"


def test_the_column_is_found_by_what_it_holds(from_text: Import) -> None:
    for header in ("case,what was said,sold", "agent_type,text,sold"):
        assert said(from_text(table(("a", LINES, 1), header=header)).episodes[0]) == SAID
    # A column that could say who speaks is in the way, unless the other is called as usual.
    both = table(("Mia", LINES, 1), header="sender,transcript,sold")
    assert said(from_text(both).episodes[0]) == SAID
    # Two columns hold conversations: the one that is named counts.
    two = table(("Customer: No\nAgent: No?\nCustomer: No", LINES, 1), header="draft,final,sold")
    assert said(from_text(two).episodes[0])[0] == "No"
    assert said(from_text(two, text="final").episodes[0]) == SAID
    # Nothing but conversations, and a rule.
    alone = from_text(table((LINES,), (LINES,), header="chat"), outcome_rule="last:games")
    assert [said(episode) for episode in alone.episodes] == [SAID, SAID]


def test_messages_with_colons_stay_messages(from_text: Import) -> None:
    rows = [("a", "customer", "Re: Laptop\nFrom: me\nHi", 1), ("a", "agent", "So: yes?", 1)]
    rows.append(("a", "customer", "Games", 1))
    (episode,) = from_text(table(*rows, header="id,speaker,text,sold")).episodes
    assert said(episode) == ["Re: Laptop From: me Hi", "So: yes?", "Games"]


def test_lines_without_a_speaker_go_on(from_text: Import) -> None:
    cell = "A chat\nCustomer: Hi\nthere\nAgent:\nWhat for? See http://x.org\nCustomer: Games"
    imported = from_text(table(("a", cell, 1)))
    assert said(imported.episodes[0]) == ["Hi there", "What for? See http://x.org", "Games"]
    assert reasons(imported) == {"no-speaker": 1}


def test_who_speaks_is_named_where_words_are_not_clear(from_text: Import) -> None:
    cell = "Mia: Hi\nTom Berg: What for?\nPrice: up to 900\nMia: Games"
    with pytest.raises(ConvgymError, match=r"chats.csv: who is 'mia' \(2 lines\).*by --customer"):
        from_text(table(("a", cell, 1)))
    imported = from_text(table(("a", cell, 1)), customer=("Mia",), seller=("Tom Berg",))
    assert said(imported.episodes[0]) == ["Hi", "What for? Price: up to 900", "Games"]
    others = from_text(table(("a", cell, 1)), customer=("Mia",), seller=("*",))
    assert said(others.episodes[0]) == ["Hi", "What for? up to 900", "Games"]
    with pytest.raises(ConvgymError, match="who is 'price'"):
        from_text(table(("a", LINES + "\nPrice: 900", 1)))


def test_rows_that_hold_no_conversation_are_told(from_text: Import) -> None:
    rows = [("a", LINES, 1), ("b", "", 1), ("c", "a call", 1), ("d", LINES, 1), ("e", LINES, "")]
    imported = from_text(table(*rows))
    assert len(imported.episodes) == 2
    assert reasons(imported) == {"no-outcome": 1, "bad-row": 2, "no-speaker": 1}


def test_transcripts_in_json(from_rows: Import) -> None:
    (episode,) = from_rows({"ticket": 7, "transcript": LINES, "outcome": "sold"}).episodes
    assert said(episode) == SAID and episode.metadata["original_id"] == "7"
