"""CSV as spreadsheets and helpdesks write it."""

from __future__ import annotations

import codecs

import pytest

from convgym.errors import ConvgymError
from tests.unit.exchange.conftest import Import, reasons, said

PLAIN = """conversation_id,speaker,text,converted
a,customer,Hi,yes
a,agent,What for?,yes
b,customer,Hello,no
a,customer,"Games, of course",yes
b,agent,Bye,no
b,customer,Bye,no
"""


def test_rows_are_gathered_by_conversation(from_text: Import) -> None:
    imported = from_text(PLAIN)
    assert [said(episode) for episode in imported.episodes] == [
        ["Hi", "What for?", "Games, of course"],
        ["Hello", "Bye", "Bye"],
    ]
    assert [episode.outcome for episode in imported.episodes] == ["purchase", "walk_away"]
    assert imported.report.format == "csv" and reasons(imported) == {}
    assert imported.report.sides == {"customer": "customer", "agent": "seller"}


@pytest.mark.parametrize(
    "content",
    [
        PLAIN.replace(",", ";").replace("Games;", "Games,"),
        PLAIN.replace(",", "\t").replace("Games\t", "Games,"),
        "sep=;\n" + PLAIN.replace(",", ";").replace("Games;", "Games,"),
        "\n\n" + PLAIN.replace("\n", "\r\n"),
        codecs.BOM_UTF8 + PLAIN.encode(),
        PLAIN.encode("utf-16"),
        PLAIN.encode("utf-32"),
    ],
    ids=["semicolons", "tabs", "sep", "crlf", "utf-8 mark", "utf-16", "utf-32"],
)
def test_it_is_the_same_however_it_is_written(from_text: Import, content: str | bytes) -> None:
    assert from_text(content).episodes == from_text(PLAIN).episodes


def test_other_encodings_are_named(from_text: Import) -> None:
    content = PLAIN.replace("Hello", "Grüße").encode("cp1252")
    with pytest.raises(ConvgymError, match=r"not utf-8 \(line 4\).*--encoding.*Grüße"):
        from_text(content)
    assert said(from_text(content, encoding="cp1252").episodes[1])[0] == "Grüße"
    with pytest.raises(ConvgymError, match="no encoding 'klingon'"):
        from_text(content, encoding="klingon")


def test_columns_are_named_or_found(from_text: Import) -> None:
    content = "Fall;Wer;Was;Ende\n1;customer;Hi;1\n1;agent;Hm?;1\n1;customer;Ok;1\n"
    names = {"conversation": "fall", "speaker": "Wer", "text": "Was", "outcome": "ENDE"}
    assert said(from_text(content, **names).episodes[0]) == ["Hi", "Hm?", "Ok"]
    for option, name in names.items():
        with pytest.raises(ConvgymError, match="Fall"):
            from_text(content, **{**names, option: "nope"})
        fewer = {key: value for key, value in names.items() if key != option}
        with pytest.raises(ConvgymError, match=f"--{option}.*'{name}'|'{name.title()}'|'Ende'"):
            from_text(content, **fewer)


@pytest.mark.parametrize(
    "times",
    [
        ["1", "2", "10"],
        ["1.5", "2.5", "10.5"],
        ["2025-01-31T10:00:00Z", "2025-01-31 12:00:01+01:00", "2025-02-01"],
        ["31.01.2025 10:00", "31.01.2025 10:01", "01.02.2025 09:00"],
        ["31/01/2025 10:00", "31/01/2025 10:01", "01/02/2025 09:00"],
        ["01/31/2025 9:00 am", "01/31/2025 1:00 PM", "02/01/2025 9:00 AM"],
        ["9:59", "10:00", "11:00"],
    ],
)
def test_rows_are_put_in_order(from_text: Import, times: list[str]) -> None:
    first, second, third = times
    imported = from_text(
        f"chat,role,text,time,bought\na,user,c,{third},1\na,user,a,{first},1\na,bot,b,{second},1\n"
    )
    assert said(imported.episodes[0]) == ["a", "b", "c"]
    assert reasons(imported) == {"reordered": 1}


def test_order_of_two_columns_and_of_none(from_text: Import) -> None:
    rows = "a,user,c,02.01.2025,9:00,1\na,user,a,01.01.2025,10:00,1\na,bot,b,01.01.2025,11:00,1\n"
    content = "chat,role,text,date,time,bought\n" + rows
    assert said(from_text(content).episodes[0]) == ["a", "b", "c"]
    assert said(from_text(content, order="date, time").episodes[0]) == ["a", "b", "c"]
    with pytest.raises(ConvgymError, match="unknown column 'day'"):
        from_text(content, order="date,day")


def test_a_time_that_cannot_be_read_leaves_the_order(from_text: Import) -> None:
    imported = from_text(
        "chat,role,text,time,bought\na,user,a,3,1\na,bot,b,soon,1\na,user,c,1,1\n"
        "b,user,c,3,1\nb,user,a,1,1\nb,bot,b,2,1\n"
    )
    assert [said(episode) for episode in imported.episodes] == [["a", "b", "c"]] * 2
    assert reasons(imported) == {"unordered": 1, "reordered": 1}


def test_bad_rows_are_told(from_text: Import) -> None:
    imported = from_text(
        "chat,role,text,order,bought\n"
        "a,user,a,1,1\n"
        "a,user,a,1,1\n"  # 3: twice
        ",user,lost,2,1\n"  # 4: no id
        "a,,who,2,1\n"  # 5: nobody
        "a,bot,b,2,1,7\n"  # 6: too many
        'a,bot,"b"x,2,1\n'  # 7: a quote in the wrong place
        "\n , ,,,\n"
        "a,bot,b,2\n"  # too few, but enough
        "a,user,c,3,1,,\n"
    )
    assert said(imported.episodes[0]) == ["a", "b", "c"]
    assert reasons(imported) == {"bad-row": 2, "no-id": 1, "no-speaker": 1, "repeated-row": 1}
    examples = {finding.reason: finding.examples for finding in imported.report.findings}
    assert examples["bad-row"][0] == "line 6: 6 fields for 5 columns"
    assert examples["bad-row"][1].startswith("line 7: ")
    assert examples["no-id"] == ("line 4: lost",)


def test_a_row_may_only_say_the_outcome(from_text: Import) -> None:
    content = "chat,role,text,bought\na,user,a,\na,bot,b,\na,user,c,\na,,,yes\n"
    imported = from_text(content)
    assert imported.episodes[0].converted and reasons(imported) == {}
    imported = from_text(content.replace("a,user,a,", "a,user,a,no"))
    assert imported.episodes[0].converted and reasons(imported) == {"outcomes-differ": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("\ufeff \n", "is empty"),
        ("hello\nyou\n", "no CSV with a message or a conversation a row"),
        ('chat,role,text,bought\na,user,"open,1\na,bot,b,1\n', "line 2.*a quote left open"),
        (
            'chat,role,text,bought\na,user,"' + "x" * 200_000 + '",1\n',
            "line 2: a field does not end",
        ),
        (b"PK\x03\x04rest", "Excel workbook: save the sheet as CSV"),
        (b"\x89PNG\r\n\x00\x00", "is no text file"),
        ("a,b\nc,d\n", "which column is the speaker\\? Name it by --speaker; there are: 'a', 'b'"),
    ],
)
def test_what_is_no_such_file_is_refused(
    from_text: Import, content: str | bytes, message: str
) -> None:
    with pytest.raises(ConvgymError, match=message):
        from_text(content)


def test_columns_of_one_name_are_told_apart(from_text: Import) -> None:
    content = PLAIN.replace("converted\n", "converted,converted,\n").replace("yes\n", "yes,no,\n")
    assert from_text(content).episodes[0].converted
    assert not from_text(content, outcome="converted 2", missing="lost").episodes[0].converted


def test_compressed_files(from_text: Import) -> None:
    import gzip

    packed = gzip.compress(PLAIN.encode())
    assert from_text(packed, "chats.csv.gz").episodes[0].opening == "Hi"
    with pytest.raises(ConvgymError, match="cannot unpack"):
        from_text(packed[:-9], "chats.csv.gz")


@pytest.mark.parametrize(
    ("column", "told"), [("first,soon,last", "'first', 'soon', 'last'"), (",,", "empty fields")]
)
def test_an_order_of_which_nothing_can_be_read_is_refused(
    from_text: Import, column: str, told: str
) -> None:
    one, two, three = column.split(",")
    content = f"chat,role,text,when,bought\na,user,a,{one},1\na,bot,b,{two},1\na,user,c,{three},1\n"
    with pytest.raises(ConvgymError, match=f"put in order by 'when': .* got {told}; name another"):
        from_text(content, order="when")
    assert said(from_text(content).episodes[0]) == ["a", "b", "c"]


@pytest.mark.parametrize("option", ["order", "speaker", "text"])
def test_columns_of_messages_are_refused_where_rows_hold_conversations(
    from_chat: Import, from_text: Import, option: str
) -> None:
    with pytest.raises(ConvgymError, match=f"whole conversations, .* drop --{option}"):
        from_chat("C: a", "S: b", format="openai", **{option: "x"})
    with pytest.raises(ConvgymError, match="drop --order"):
        from_text('id,chat,bought\n1,"Customer: a\nAgent: b",1\n', order="id")


def test_a_missing_header_is_told(from_text: Import) -> None:
    rows = PLAIN.partition("\n")[2]
    with pytest.raises(ConvgymError, match=r"if it is a message already, put a line above it"):
        from_text(rows)
    with pytest.raises(ConvgymError, match="begins with a conversation where the names of columns"):
        from_text('1,"Customer: a\nAgent: b\nCustomer: c",yes\n2,"Customer: a\nAgent: b",no\n')
    for row in ('{"a": 1}', "conversation_id,who says it,what"):
        with pytest.raises(ConvgymError, match="which column is the speaker") as caught:
            from_text(f"{row}\n", "a.jsonl")
        assert "the first line" not in str(caught.value)
    with pytest.raises(ConvgymError) as caught:  # somebody has names, and other ones
        from_text("conversation_id,who says it,what\na,user,b\n")
    assert "the first line" not in str(caught.value)
