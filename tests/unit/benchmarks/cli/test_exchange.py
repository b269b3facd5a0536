"""``convgym logs import`` and ``export``: reports in full, mistakes in one line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from convgym.benchmarks.cli.main import main
from convgym.logs import read_log, write_log
from convgym.seeds import EVALUATION_BASE

CSV = """conversation_id,speaker,text,converted
a,customer,Hi,yes
a,agent,What for?,yes
a,customer,Games,yes
b,agent,Welcome,
b,customer,Hello,
b,agent,\x1b[31mBye,
"""
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chats.csv").write_text(CSV)

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(["logs", *arguments])
        captured = capsys.readouterr()
        return (end.value.code if isinstance(end.value.code, int) else 0), *captured

    return call


def test_import_tells_what_it_did(run: Run) -> None:
    code, out, err = run("import", "chats.csv", "log.jsonl", "--missing", "lost")
    assert (code, err) == (0, "")
    assert out == (
        "chats.csv: 2 conversations, read as csv\n"
        "customer: customer\n"
        "seller: agent\n"
        "outcome: field 'converted'\n"
        "\n"
        "messages left out:\n"
        "     1  said by the seller before the customer's first words\n"
        "          line 5: Welcome\n"
        "\n"
        "changed:\n"
        "     1  nothing says how it ended: counted as lost, as told\n"
        "          line 5 (b)\n"
        "     1  the seller has the last word: kept, with a reply without words\n"
        "          line 7: [31mBye\n"
        "\n"
        "wrote 2 conversations to log.jsonl, 1 sales (50.0%)\n"
    )
    assert [episode.opening for episode in read_log("log.jsonl").episodes] == ["Hi", "Hello"]
    code, out, _ = run("validate", "log.jsonl")
    assert (code, out) == (0, "log.jsonl: 2 whole conversations (1 purchase, 1 walk away)\n")


def test_the_report_as_json(run: Run) -> None:
    code, out, err = run("import", "chats.csv", "log.jsonl", "--json")
    report = json.loads(out)
    assert (code, err) == (0, "")
    assert (report["conversations"], report["kept"], report["sales"]) == (2, 1, 1)
    assert report["log"] == "log.jsonl" and report["sides"]["agent"] == "seller"
    assert report["findings"] == [
        {
            "reason": "no-outcome",
            "kind": "conversations left out",
            "meaning": "nothing says how it ended",
            "count": 1,
            "examples": ["line 5 (b)"],
        }
    ]


def test_an_import_that_keeps_nothing_fails_and_says_why(run: Run, tmp_path: Path) -> None:
    mapped = ("--outcome-value", "yes=missing")
    code, out, err = run("import", "chats.csv", "log.jsonl", *mapped)
    assert code == 2 and "nothing says how it ended" in out
    assert err == (
        "convgym: error: nothing of chats.csv was kept, and log.jsonl was not written"
        " (2: nothing says how it ended)\n"
    )
    assert not (tmp_path / "log.jsonl").exists()


def test_options_reach_the_import(run: Run, tmp_path: Path) -> None:
    (tmp_path / "rules.py").write_text("def sold(chat):\n    return chat.id == 'b'\n")
    (tmp_path / "c.csv").write_bytes(
        "Nr;Wer;Was;Wann\nb;Mia;Hm?;2\nb;Jörg;Größe?;1\n".encode("cp1252")
    )
    options = (
        "--conversation Nr --speaker Wer --text Was --order Wann --customer Jörg --seller *"
        " --encoding cp1252 --format csv --outcome-rule rules:sold --policy mia"
    )
    code, _, err = run("import", "c.csv", "log.jsonl", *options.split())
    assert (code, err) == (0, ""), err
    (episode,) = read_log("log.jsonl").episodes
    assert (episode.opening, episode.policy, episode.converted) == ("Größe?", "mia", True)


def test_transcripts_and_amounts(run: Run, tmp_path: Path) -> None:
    rows = ["129.00", "0", ""]
    said = "Customer: Hi\nAgent: What for?\nCustomer: Games"
    text = "".join(f'{i},"{said} {i}",{amount}\n' for i, amount in enumerate(rows))
    (tmp_path / "shop.csv").write_text("id,transcript,revenue\n" + text)
    options = ("--outcome", "revenue", "--outcome-value", ">0=purchase", "--missing", "lost")
    code, out, err = run("import", "shop.csv", "log.jsonl", *options)
    assert (code, err) == (0, "") and "wrote 3 conversations to log.jsonl, 1 sales" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["import", "gone.csv", "log.jsonl"], "cannot read gone.csv: No such file"),
        (["import", "folder", "log.jsonl"], "folder is a folder, but none of Hugging Face's"),
        (["import", "folder", "log.jsonl", "--format", "csv"], "is a folder where a file of chats"),
        (["import", "chats.csv", "log.jsonl", "--format", "minari"], "in the format minari is a"),
        (["import", "chats.csv", "log.jsonl", "--format", "xml"], "unknown format 'xml'"),
        (["import", "chats.csv", "log.jsonl", "--outcome", "won"], "'won'; known: conversation_id"),
        (["import", "chats.csv", "log.jsonl", "--seller", "bob"], "'bob'; known: agent (3)"),
        (["import", "chats.csv", "log.jsonl", "--outcome-value", "yes"], "VALUE=MEANING"),
        (["import", "chats.csv", "chats.csv"], "exists and is never overwritten"),
        (["import", "chats.csv", "nowhere/log.jsonl"], "cannot write to nowhere/log.jsonl"),
        (["export", "chats.csv", "a.csv"], "log chats.csv, line 1"),
        (["export", "gone", "a.csv"], "cannot read the log gone"),
    ],
)
def test_mistakes_are_one_line(
    run: Run, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "folder").mkdir()
    code, out, err = run(*arguments)
    assert code == 2 and out == ""
    assert err.startswith("convgym: error: ") and err.count("\n") == 1 and message in err
    assert {path.name for path in tmp_path.iterdir()} == {"folder", "chats.csv"}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such pipes")
def test_a_pipe_is_refused(run: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    code, _, err = run("import", "pipe", "log.jsonl")
    assert code == 2 and "not a plain file" in err


def test_export_and_back(run: Run) -> None:
    run("import", "chats.csv", "log.jsonl", "--missing", "lost")
    code, out, err = run("export", "log.jsonl", "back.csv")
    assert (code, out, err) == (0, "wrote 2 conversations to back.csv as csv\n", "")
    run("import", "back.csv", "again.jsonl")
    first, second = (read_log(path).episodes for path in ("log.jsonl", "again.jsonl"))
    assert [(e.seed, e.messages(), e.outcome) for e in first] == [
        (e.seed, e.messages(), e.outcome) for e in second
    ]


def test_prompts_are_of_customers_that_may_be_learned_from(run: Run) -> None:
    pytest.importorskip("torch")
    run("import", "chats.csv", "log.jsonl", "--missing", "lost")
    code, out, err = run("prompts", "log.jsonl", "prompts.parquet", "--system-message", "Sell.")
    assert (code, out, err) == (0, "wrote 2 prompts to prompts.parquet\n", "")
    (episode, _) = read_log("log.jsonl").episodes
    write_log("reserved.jsonl", [replace(episode, seed=EVALUATION_BASE)])
    code, out, err = run("prompts", "reserved.jsonl", "more.parquet")
    assert code == 2 and "reserved for evaluation" in err and err.count("\n") == 1
    assert not Path("more.parquet").exists()
