from __future__ import annotations

import codecs
import gzip
import json
import math
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convgym.conversation import Episode, Response, Turn
from convgym.errors import ConvgymError
from convgym.logs import Problem, read_log, validate_log, write_log

SPOKEN = Episode(
    seed=2**31 + 7,
    opening="Hello.",
    turns=(
        Turn(Response("What for?", (4, 8), (-0.1, -1 / 3)), "Games.\u2028Yes, ¿qué? 你好 🙂"),
        Turn(Response("Buy it?"), ""),
    ),
    outcome="purchase",
    customer="scripted-v0:laptops:abc",
    policy="mediocre",
    metadata={"temperature": 0.1 + 0.2, "round": 3, "nested": {"list": [1, None, True]}},
)
SILENT = Episode(0, "Hi.", (), "infrastructure_failure", "c", "p")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.jsonl"
    write_log(path, [SPOKEN, SILENT])
    return path


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


def damage(path: Path, change: Callable[[dict[str, Any]], object], line: int = 1) -> None:
    """Change one row of a log."""
    changed = rows(path)
    change(changed[line - 1])
    path.write_text("".join(json.dumps(row) + "\n" for row in changed), encoding="utf-8")


@pytest.mark.parametrize("name", ["log.jsonl", "log.jsonl.gz"])
def test_what_is_written_is_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    assert write_log(path, iter([SPOKEN, SILENT])) == 2
    log = read_log(path)
    assert log.episodes == [SPOKEN, SILENT]
    assert log.report == validate_log(path)
    assert log.report.n == 2
    assert log.report.outcomes == {"purchase": 1, "infrastructure_failure": 1}
    assert log.report.problems == ()


def test_gz_is_compressed(tmp_path: Path) -> None:
    write_log(tmp_path / "log", [SPOKEN] * 100)
    write_log(tmp_path / "log.gz", [SPOKEN] * 100)
    assert gzip.decompress((tmp_path / "log.gz").read_bytes()) == (tmp_path / "log").read_bytes()


def test_the_documented_format(log: Path) -> None:
    first, second = rows(log)
    assert (first["schema"], first["version"]) == ("convgym.episode", 1)
    assert first["turns"][0]["token_logprobs"] == [-0.1, -1 / 3]
    assert set(first["turns"][1]) == {"seller", "customer"}
    assert second == {
        "schema": "convgym.episode",
        "version": 1,
        "seed": 0,
        "opening": "Hi.",
        "turns": [],
        "outcome": "infrastructure_failure",
        "customer": "c",
        "policy": "p",
        "metadata": {},
    }


def test_numpy_numbers_are_written(tmp_path: Path) -> None:
    ids: Any = np.array([1, 2])
    logprobs: Any = np.array([-0.1, -0.2], dtype=np.float32)
    turn = Turn(Response("a", ids, logprobs), "b")
    write_log(tmp_path / "log", [Episode(0, "", (turn,), "turn_limit", "c", "p")])
    (read,) = read_log(tmp_path / "log").episodes[0].turns
    assert read.response.token_ids == (1, 2)
    assert read.response.token_logprobs == tuple(float(value) for value in logprobs)


def test_never_overwrites_unasked(log: Path) -> None:
    before = log.read_bytes()
    with pytest.raises(ConvgymError, match=r"log\.jsonl exists: .*append or overwrite"):
        write_log(log, [SILENT])
    with pytest.raises(ConvgymError, match="not both"):
        write_log(log, [SILENT], append=True, overwrite=True)
    assert log.read_bytes() == before
    write_log(log, [SILENT], overwrite=True)
    assert read_log(log).episodes == [SILENT]


def test_append(log: Path, tmp_path: Path) -> None:
    write_log(log, [SILENT], append=True)
    assert read_log(log).episodes == [SPOKEN, SILENT, SILENT]
    write_log(tmp_path / "new", [SILENT], append=True)
    assert read_log(tmp_path / "new").episodes == [SILENT]


def test_compressed_logs_are_not_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "log.gz"
    write_log(path, [SILENT], append=True)
    with pytest.raises(ConvgymError, match="cannot append to the compressed log"):
        write_log(path, [SILENT], append=True)
    assert read_log(path).episodes == [SILENT]


@pytest.mark.parametrize("cut", [1, 2, 30, 100])
def test_a_last_line_without_end_is_reported_and_skipped(log: Path, cut: int) -> None:
    log.write_bytes(log.read_bytes() + log.read_bytes().split(b"\n")[0][:-cut])
    for report in (read_log(log).report, validate_log(log)):
        assert report.n == 2
        assert report.problems == (Problem(3, "the last line has no end"),)
    write_log(log, [SILENT], append=True)  # mends
    assert read_log(log).episodes == [SPOKEN, SILENT, SILENT]
    assert validate_log(log).problems == ()


def test_every_cut_leaves_whole_episodes(log: Path) -> None:
    content = log.read_bytes()
    for size in range(len(content)):
        log.write_bytes(content[:size])
        whole = read_log(log)
        assert whole.episodes == [SPOKEN, SILENT][: len(whole.episodes)]
        assert len(whole.episodes) >= content[:size].count(b"\n")


def test_a_whole_last_line_without_newline_counts(log: Path) -> None:
    log.write_bytes(log.read_bytes().rstrip(b"\n"))
    assert read_log(log).report.n == 2
    write_log(log, [SILENT], append=True)
    assert read_log(log).episodes == [SPOKEN, SILENT, SILENT]


def test_a_compressed_log_without_end(tmp_path: Path) -> None:
    path = tmp_path / "log.gz"
    rng = random.Random(0)
    episodes = [Episode(seed, rng.random().hex(), (), "turn_limit", "", "") for seed in range(2000)]
    write_log(path, episodes)
    path.write_bytes(path.read_bytes()[:-1000])
    log = read_log(path)
    assert 0 < log.report.n < 2000
    assert log.episodes == episodes[: log.report.n]
    assert log.report.problems[-1].message == "the compressed file has no end"


def test_blank_lines_are_nothing(log: Path) -> None:
    log.write_bytes(b"\n" + log.read_bytes() + b"  \n\n")
    assert read_log(log).report.n == 2
    log.write_bytes(b"")
    assert read_log(log).report.n == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: row.pop("seed"), "field seed: expected, but it is not there"),
        (lambda row: row.update(seed="7"), "field seed: .*valid integer, got '7'"),
        (lambda row: row.update(seed=-1), "field seed: .*greater than or equal to 0, got -1"),
        (lambda row: row.update(extra=1), "field extra: not known in versions 1 to 2"),
        (
            lambda row: row.update(outcome="sale"),
            r"field outcome: .*'purchase', 'walk_away', 'turn_limit'.*got 'sale'",
        ),
        (
            lambda row: row["turns"][0].update(seller=3),
            r"field turns\.0\.seller: .*valid string, got 3",
        ),
        (
            lambda row: row["turns"][0].update(token_logprobs=[0.1]),
            r"field turns\.0\.token_logprobs: expected a number for each of 2 tokens, got 1",
        ),
        (
            lambda row: row["turns"][0].update(token_logprobs=[0.1, "x"]),
            r"field turns\.0\.token_logprobs\.1: .*valid number, got 'x'",
        ),
        (
            lambda row: row["turns"][0].update(token_logprobs=[0.1, math.nan]),
            r"field turns\.0\.token_logprobs\.1: .*finite number, got nan",
        ),
        (
            lambda row: row["metadata"].update(suggestions=[{"suggestion": "a", "kind": "x"}]),
            r"field metadata\.suggestions\.0\.sent: expected, but it is not there",
        ),
        (
            lambda row: row["metadata"].update(suggestions=[]),
            r"field metadata\.suggestions: expected one for each of \d turns, got 0",
        ),
        (
            lambda row: row["metadata"].update(failure=3),
            r"field metadata\.failure: .*valid string, got 3",
        ),
        (lambda row: row.update(version=3, new=1), "field version: .*versions 1 to 2, got 3"),
        (lambda row: row.update(schema="other"), "field schema: .*'convgym.episode', got 'other'"),
        (lambda row: row.clear(), "field schema: expected, but it is not there"),
    ],
)
def test_damage_is_told_by_file_line_and_field(
    log: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    damage(log, change)
    with pytest.raises(ConvgymError, match=rf"log\.jsonl, line 1: {message}") as caught:
        read_log(log)
    assert "\n" not in str(caught.value)
    report = validate_log(log)
    assert (report.n, report.problems[0].line) == (1, 1)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", "line 1: expected a JSON object of one episode: Invalid JSON"),
        (b"[]", "line 1: expected a JSON object of one episode"),
        (b"\xff\xfe{}", "line 1: expected UTF-8 text, got byte 0xff"),
        (b"\x00" * 9, "line 1: expected a JSON object of one episode"),
    ],
)
def test_a_line_that_is_no_json(tmp_path: Path, line: bytes, message: str) -> None:
    path = tmp_path / "log"
    path.write_bytes(line + b"\n")
    with pytest.raises(ConvgymError, match=message):
        read_log(path)
    assert len(validate_log(path).problems) == 1


def test_every_damaged_line_is_listed(log: Path) -> None:
    log.write_bytes(b"x\n" + log.read_bytes() + b"y\n{")
    report = validate_log(log)
    assert report.n == 2
    assert [problem.line for problem in report.problems] == [1, 4, 5]


def test_files_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    with pytest.raises(ConvgymError, match=r"cannot read the log .*nowhere: No such file"):
        read_log(tmp_path / "nowhere")
    with pytest.raises(ConvgymError, match=r"cannot read the log .*directory"):
        validate_log(tmp_path)
    with pytest.raises(ConvgymError, match=r"cannot write the log .*No such file"):
        write_log(tmp_path / "no" / "log", [])
    fake = tmp_path / "fake.gz"
    fake.write_text("not compressed")
    with pytest.raises(ConvgymError, match=r"fake\.gz is damaged after line 0: Not a gzipped file"):
        read_log(fake)


@pytest.mark.parametrize(
    ("episode", "message"),
    [
        (Episode(5, "\ud800", (), "purchase", "", ""), "seed 5 cannot be written.*surrogates"),
        (Episode(5, "", (), "purchase", "", "", {"x": object()}), "object is not JSON"),
        (Episode(5, "", (), "purchase", "", "", {"x": math.inf}), "Out of range float"),
    ],
)
def test_what_cannot_be_written(tmp_path: Path, episode: Episode, message: str) -> None:
    path = tmp_path / "log"
    with pytest.raises(ConvgymError, match=message):
        write_log(path, [SILENT, episode])
    assert list(tmp_path.iterdir()) == []  # whole or not at all
    write_log(path, [SPOKEN])
    with pytest.raises(ConvgymError, match=message):
        write_log(path, [SILENT, episode], overwrite=True)
    assert read_log(path).episodes == [SPOKEN]
    with pytest.raises(ConvgymError, match=message):
        write_log(path, [SILENT, episode], append=True)
    assert read_log(path).episodes == [SPOKEN, SILENT]


def test_numpy_values_are_written_as_pythons(tmp_path: Path) -> None:
    seed: Any = np.int64(2**31 + 3)
    metadata = {"round": np.int32(3), "rate": np.float64(0.5), "flags": np.array([True, False])}
    write_log(tmp_path / "log", [Episode(seed, "", (), "purchase", "", "", metadata)])
    (read,) = read_log(tmp_path / "log").episodes
    assert read.seed == 2**31 + 3
    assert type(read.seed) is int
    assert read.metadata == {"round": 3, "rate": 0.5, "flags": [True, False]}


@pytest.mark.parametrize("seed", [-1, "1", None, True, 1.0])
def test_a_seed_that_is_none_is_not_written(tmp_path: Path, seed: Any) -> None:
    with pytest.raises(ConvgymError, match="an episode seed must be an integer from 0 upwards"):
        write_log(tmp_path / "log", [Episode(seed, "", (), "purchase", "", "")])


@pytest.mark.parametrize(
    "content",
    [
        b'{"my": "settings"}',
        b'{"my": "settings"}\n',
        b"[1, 2, 3]",
        b'{\n  "schema": "other"\n}\n',
        b"notes of mine",
        b"notes of mine\nwithout an end",
        b"\x00" * 20,
        b"\xff\xfe{\x00",
        b'{"schema":"convgym.recording","version":1}\n',
        b"\x89PNG\r\n\x1a\n",
        b"\n\n7",
    ],
)
def test_a_file_that_is_no_log_is_not_appended_to(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes"
    path.write_bytes(content)
    with pytest.raises(ConvgymError, match=r"notes is left as it is: .*another name") as caught:
        write_log(path, [SILENT], append=True)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == content


def test_only_what_begins_as_an_episode_is_cut_off(log: Path) -> None:
    foreign = log.read_bytes() + b"a line of notes"
    log.write_bytes(foreign)
    with pytest.raises(ConvgymError, match="last line is no row that was cut off"):
        write_log(log, [SILENT], append=True)
    assert log.read_bytes() == foreign


def test_a_whole_row_behind_one_that_was_cut_off_stays(log: Path) -> None:
    content = log.read_bytes() + log.read_bytes()[:60] + log.read_bytes().split(b"\n")[1]
    log.write_bytes(content)
    with pytest.raises(ConvgymError, match="last line is no row that was cut off"):
        write_log(log, [SILENT], append=True)
    assert log.read_bytes() == content


def test_only_rows_of_failed_sellers_need_the_second_version(tmp_path: Path) -> None:
    lost = replace(SILENT, outcome="seller_failure", metadata={"failure": "no words"})
    path = tmp_path / "log.jsonl"
    write_log(path, [SPOKEN, SILENT, lost])
    versions = [json.loads(line)["version"] for line in path.read_bytes().split(b"\n")[:-1]]
    assert versions == [1, 1, 2]  # an older reader reads all others, and tells why not this one
    assert read_log(path).episodes == [SPOKEN, SILENT, lost]
    assert validate_log(path).outcomes["seller_failure"] == 1
    assert not lost.valid


def test_whole_rows_stay_whatever_they_hold(log: Path) -> None:
    row = log.read_bytes().split(b"\n")[0]
    other = row.replace(b'"version":1', b'"version":2,"more":"\xc3\xa9"')
    before = log.read_bytes()
    log.write_bytes(before + other + row + row[:50])  # three writers without line feeds
    write_log(log, [SILENT], append=True)
    assert log.read_bytes().startswith(before + other + row + b"\n")
    assert validate_log(log).n == 3  # of the last line but one nothing can be read, but it is there
    assert row[:50] + b"\n" not in log.read_bytes()


def test_a_byte_order_mark_is_skipped(log: Path) -> None:
    log.write_bytes(codecs.BOM_UTF8 + log.read_bytes())
    assert read_log(log).episodes == [SPOKEN, SILENT]
    assert validate_log(log).problems == ()
    write_log(log, [SILENT], append=True)
    assert read_log(log).episodes == [SPOKEN, SILENT, SILENT]
    log.write_bytes(codecs.BOM_UTF8 + log.read_bytes().removeprefix(codecs.BOM_UTF8)[:20])
    write_log(log, [SILENT], append=True)
    assert read_log(log).episodes == [SILENT]


def test_utf_16_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text('{"schema": "convgym.episode"}', encoding="utf-16")
    with pytest.raises(ConvgymError, match=r"line 1: .*the file is UTF-16, save it as UTF-8"):
        read_log(path)


@pytest.mark.parametrize("end", [b"", b"\n"])
@pytest.mark.parametrize("kind", ["array", "indented", "foreign", "garbage", "number"])
def test_other_files_are_no_empty_logs(log: Path, kind: str, end: bytes) -> None:
    found = rows(log)
    content = {
        "array": json.dumps(found),
        "indented": json.dumps(found, indent=1),
        "foreign": '{"my": "settings"}',
        "garbage": "%&/()=",
        "number": "7",
    }[kind]
    log.write_bytes(content.encode() + end)
    with pytest.raises(ConvgymError, match=r"log\.jsonl, line 1: "):
        read_log(log)
    assert validate_log(log).problems[0].line == 1
    if kind in ("array", "indented"):
        assert "got a JSON array: write one episode a line" in validate_log(log).problems[0].message


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_json_does_not_have(log: Path, number: str) -> None:
    log.write_text(
        json.dumps(rows(log)[0]).replace('"round": 3', f'"round": [{{"loss": {number}}}]') + "\n"
    )
    with pytest.raises(ConvgymError, match=r"field metadata\.round\.0\.loss: .*finite.*write null"):
        read_log(log)


def test_an_iterator_that_fails_leaves_no_log_and_its_own_error(tmp_path: Path) -> None:
    def episodes() -> Iterator[Episode]:
        yield SPOKEN
        raise OSError(5, "mine")

    with pytest.raises(OSError, match="mine"):
        write_log(tmp_path / "log", episodes())
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_seen_of_a_log_before_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "log.gz"

    def episodes() -> Iterator[Episode]:
        for _ in range(3):
            assert not path.exists()
            yield SPOKEN

    write_log(path, episodes())
    assert read_log(path).report.n == 3


def test_a_log_made_by_somebody_else_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "log"

    def episodes() -> Iterator[Episode]:
        write_log(path, [SILENT])
        yield SPOKEN

    with pytest.raises(ConvgymError, match="exists"):
        write_log(path, episodes())
    assert read_log(path).episodes == [SILENT]
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_one(log: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(log)
    write_log(link, [SILENT], overwrite=True)
    assert link.is_symlink()
    assert read_log(log).episodes == [SILENT]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_a_full_disk_is_one_line() -> None:
    with pytest.raises(ConvgymError, match="cannot write the log /dev/full: No space left"):
        write_log("/dev/full", [SPOKEN], overwrite=True)


WRITER = """
import sys
from convgym.conversation import (Episode)
from convgym.logs import (write_log)
for seed in range(100):
    write_log(sys.argv[1], [Episode(seed, "", (), "purchase", "c", sys.argv[2])], append=True)
"""


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log"
    command = [sys.executable, "-c", WRITER, str(path)]
    writers = [subprocess.Popen([*command, name]) for name in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    found = Counter(episode.policy for episode in read_log(path).episodes)
    assert found == {"a": 100, "b": 100}


def test_a_second_writer_is_refused_in_the_end(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = iter(range(0, 1000, 4))
    monkeypatch.setattr("convgym.locking.time.monotonic", lambda: next(waiting))

    def episodes() -> Iterator[Episode]:
        for options in ({"append": True}, {"overwrite": True}):
            with pytest.raises(ConvgymError, match="being written by somebody else"):
                write_log(log, [SILENT], **options)
        yield SPOKEN

    write_log(log, episodes(), append=True)
    assert read_log(log).episodes == [SPOKEN, SILENT, SPOKEN]


def test_files_that_were_joined_keep_their_marks(log: Path) -> None:
    rows = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(before := b"".join(codecs.BOM_UTF8 + row for row in rows))
    assert read_log(log).episodes == [SPOKEN, SILENT]
    write_log(log, [SPOKEN], append=True)
    assert log.read_bytes().startswith(before)
    assert len(read_log(log).episodes) == 3


def test_a_mark_before_a_row_that_was_cut_off_goes_with_it(log: Path) -> None:
    rows = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(rows[0] + codecs.BOM_UTF8 + rows[1][:50])
    assert read_log(log).episodes == [SPOKEN]
    write_log(log, [SILENT], append=True)
    assert read_log(log).episodes == [SPOKEN, SILENT]


def test_compressed_is_what_begins_so_whatever_its_name(tmp_path: Path, log: Path) -> None:
    plain = log.read_bytes()
    (unpacked := tmp_path / "unpacked.jsonl.gz").write_bytes(plain)
    (packed := tmp_path / "packed.jsonl").write_bytes(gzip.compress(plain))
    assert read_log(unpacked).episodes == read_log(packed).episodes == [SPOKEN, SILENT]


@pytest.mark.parametrize("how", [{}, {"append": True}, {"overwrite": True}])
def test_a_link_to_itself_is_told(tmp_path: Path, how: dict[str, bool]) -> None:
    (path := tmp_path / "loop.jsonl").symlink_to(path)
    with pytest.raises(ConvgymError, match="cannot write the log"):
        write_log(path, [SPOKEN], **how)
