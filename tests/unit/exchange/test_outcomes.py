"""Who bought: by a field in the words of many, or by a rule."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from convgym.errors import ConvgymError, OwnError
from convgym.exchange.outcomes import Unclear, outcome_of
from tests.unit.exchange.conftest import Import, reasons

CHAT = ("C: Hi", "S: Shall I order?", "C: Yes, I will TAKE it", "?: order placed", "S: Thanks!")


@pytest.mark.parametrize(
    "value",
    [True, 1, 1.0, "1", "1.0", "TRUE", " Yes ", "Purchase", "closed won", "WAHR", "oui", "да"],
)
def test_what_means_bought(value: object) -> None:
    assert outcome_of(value) == "purchase"


@pytest.mark.parametrize(
    "value", [False, 0, 0.0, "0", "false", "No", "lost", "walk_away", "not  bought", "FALSCH"]
)
def test_what_means_lost(value: object) -> None:
    assert outcome_of(value) == "walk_away"


@pytest.mark.parametrize("value", [None, "", " ", float("nan"), "N/A", "null", "-"])
def test_what_means_nothing(value: object) -> None:
    assert outcome_of(value) is None


@pytest.mark.parametrize("value", ["maybe", 2, 19.9, -1, "10", [], "infrastructure_failure"])
def test_what_is_not_understood(value: object) -> None:
    with pytest.raises(Unclear):
        outcome_of(value)


def test_values_are_mapped(from_chat: Import) -> None:
    fields: dict[str, object] = {"status": "Stage 4"}
    with pytest.raises(ConvgymError, match=r"'stage 4' \(1\).*--outcome-value 'stage 4'=purchase"):
        from_chat(*CHAT, fields=fields, outcome="status")
    for meaning, outcome in (("bought", "purchase"), ("turn_limit", "turn_limit")):
        given = {"stage 4": meaning}
        imported = from_chat(*CHAT, fields=fields, outcome="status", outcome_values=given)
        assert imported.episodes[0].outcome == outcome
    with pytest.raises(ConvgymError, match="unknown meaning of the outcome 'x': 'perhaps'"):
        from_chat(*CHAT, fields=fields, outcome="status", outcome_values={"x": "perhaps"})


def amounts(from_rows: Import, *values: object, **settings: Any) -> list[str]:
    messages = [{"role": role, "content": "Hm."} for role in ("user", "assistant", "user")]
    rows = [{"id": i, "messages": messages, "revenue": value} for i, value in enumerate(values)]
    imported = from_rows(*rows, outcome="revenue", missing="lost", **settings)
    return [episode.outcome for episode in imported.episodes]


def test_amounts_are_valued_by_bounds(from_rows: Import) -> None:
    values = ("129.00", 0, "", 1, "1", None, "$1,299.50", "0.00", 0.5)
    found = amounts(from_rows, *values, outcome_values={">0": "purchase"})
    assert [outcome == "purchase" for outcome in found] == [
        *(True, False, False, True, True, False, True, False, True)
    ]
    # The first that holds counts, and a value by itself before all.
    given = {"7": "turn_limit", ">=100": "purchase", ">5": "walk_away", "<0": "missing"}
    assert amounts(from_rows, 100, 99, 7, -3, "lost", outcome_values=given) == [
        *("purchase", "walk_away", "turn_limit", "walk_away", "walk_away")
    ]


def test_amounts_that_nothing_values_are_asked_for(from_rows: Import) -> None:
    with pytest.raises(ConvgymError, match=r"'129' \(1\).*of all such amounts: '>0=purchase'$"):
        amounts(from_rows, 129, 0)
    # One is an amount then, not a word for a purchase.
    with pytest.raises(ConvgymError, match=r"mean by '1' \(1\).*such amounts: '<0=walk_away'$"):
        amounts(from_rows, 129, 1, outcome_values={">100": "purchase"})
    with pytest.raises(ConvgymError, match="expected an amount after '>'"):
        amounts(from_rows, 129, outcome_values={">much": "purchase"})


def test_what_is_missing_is_left_out_or_lost(from_chat: Import) -> None:
    fields: dict[str, object] = {"outcome": None}
    assert reasons(from_chat(*CHAT, fields=fields))["no-outcome"] == 1
    imported = from_chat(*CHAT, fields=fields, missing="lost")
    assert imported.episodes[0].outcome == "walk_away" and reasons(imported)["lost"] == 1


def test_fields_within_fields(from_chat: Import) -> None:
    fields: dict[str, object] = {"metadata": {"crm": {"won": True}}, "a.b": 0}
    assert from_chat(*CHAT, fields=fields, outcome="metadata.crm.won").episodes[0].converted
    assert not from_chat(*CHAT, fields=fields, outcome="a.b").episodes[0].converted
    with pytest.raises(
        ConvgymError, match=r"unknown field .* 'metadata.won'; known: a.b, metadata"
    ):
        from_chat(*CHAT, fields=fields, outcome="metadata.won")
    with pytest.raises(ConvgymError, match=r"the fields are 'metadata', 'a\.b'$"):
        from_chat(*CHAT, fields=fields)


@pytest.mark.parametrize(
    ("rule", "bought"),
    [
        ("last-customer:i will take", True),
        ("last-customer:^hi", False),
        ("last-seller:thanks", True),
        ("last-seller:order", False),
        ("last:thanks", True),
        ("last:placed", False),
        ("any-customer:^hi$", True),
        ("any-customer:placed", False),
        ("any-seller:placed", False),
        ("any-seller:shall", True),
        ("any:order placed", True),
        ("any:refund", False),
        ("any:a:b", False),
    ],
)
def test_rules_by_words(from_chat: Import, rule: str, bought: bool) -> None:
    imported = from_chat(*CHAT, fields={}, outcome_rule=rule)
    assert imported.episodes[0].converted is bought
    assert imported.report.outcome == f"rule {rule!r}"


@pytest.fixture
def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_rules.py").write_text(
        "NOTHING = 3\n"
        "def by_field(chat): return chat.fields['amount'] > 0\n"
        "def by_role(chat): return [m.role for m in chat.messages][:2] == ['user', 'assistant']\n"
        "def nobody_knows(chat): return None\n"
        "def strange(chat): return 'perhaps'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_rules", raising=False)


@pytest.mark.usefixtures("rules")
def test_rules_of_ones_own(from_chat: Import) -> None:
    def by(rule: str, **fields: object) -> Any:
        return from_chat(*CHAT, fields=fields, outcome_rule=f"my_rules:{rule}")

    assert by("by_field", amount=3).episodes[0].converted
    assert not by("by_field", amount=0).episodes[0].converted
    assert by("by_role").episodes[0].converted
    assert reasons(by("nobody_knows"))["no-outcome"] == 1
    with pytest.raises(OwnError, match=r"outcome rule 'my_rules:by_field' raised KeyError"):
        by("by_field")
    with pytest.raises(ConvgymError, match="must return True, False or None, got 'perhaps'"):
        by("strange")
    with pytest.raises(ConvgymError, match="is no function, but 3"):
        by("NOTHING")
    with pytest.raises(ConvgymError, match="cannot import the outcome rule 'my_rules:gone'"):
        by("gone")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"outcome_rule": "any:("}, "pattern '\\(' is wrong"),
        ({"outcome_rule": "any:"}, "pattern is empty"),
        ({"outcome_rule": "sold"}, "SCOPE:PATTERN"),
        ({"outcome_rule": "nowhere.at_all:rule"}, "ModuleNotFoundError"),
        ({"outcome_rule": "any:x", "outcome": "y"}, "one of the two"),
        ({"outcome_rule": "any:x", "outcome_values": {"y": "yes"}}, "not to a rule"),
        ({"missing": "keep"}, "unknown value of missing 'keep'; known: drop, lost"),
        ({"format": "xml"}, "unknown format 'xml'; known: csv"),
    ],
)
def test_wrong_settings_are_refused(
    from_chat: Import, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConvgymError, match=message):
        from_chat(*CHAT, **settings)


@pytest.mark.parametrize("name", ["won", "Is Sold", "has-bought", "did_buy", "closed won"])
def test_usual_names_are_found(from_chat: Import, name: str) -> None:
    assert from_chat(*CHAT, fields={name: "yes"}).report.outcome == f"field {name!r}"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ([{"success": "yes"}], r"it may be --outcome success: candidates are 'success' \(yes\)"),
        ([{"dealResult": "c"}], r"--outcome dealResult: candidates are 'dealResult' \(c\); the"),
        # What is understood as it is comes first, whatever it is called.
        ([{"status": "open", "x": 1}, {"status": "hm", "x": 0}], r"--outcome x: .*, 'status' \(op"),
        ([{"crm": {"deal": {"won": 1}}}], r"may be --outcome crm\.deal\.won: "),
        ([{"order": None, "shop": "x"}], r"--outcome-rule; the fields are 'order', 'shop'$"),
        ([{}], "it has no fields$"),
    ],
)
def test_candidates_for_the_outcome_are_named(
    from_rows: Import, fields: list[dict[str, object]], told: str
) -> None:
    messages = [{"role": role, "content": "Hm."} for role in ("user", "assistant", "user")]
    with pytest.raises(ConvgymError, match=told):
        from_rows(*({"messages": messages, **each} for each in fields))


def test_where_there_is_no_conversation_nothing_told_an_outcome(from_text: Import) -> None:
    imported = from_text("conversation_id,speaker,text,bought\n", outcome="bought")
    assert imported.report.outcome == "nothing: there is no conversation"
    assert imported.episodes == []
