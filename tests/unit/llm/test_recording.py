from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convgym.errors import ConvgymError, InfrastructureError
from convgym.llm import ChatAnswer, ChatBackend, ChatRequest, ChatResult
from convgym.llm.fake_server import Action, ChatServer, Script
from convgym.llm.openai_backend import OpenAIBackend
from convgym.llm.recording import RecordingBackend, ReplayBackend, request_key
from convgym.locking import locked

Serve = Callable[[Script], ChatServer]
Connect = Callable[..., OpenAIBackend]
Make = Callable[..., ChatRequest]


class Counter:
    """Says how many answers it has given; fails at "fail"."""

    fingerprint = "counter"

    def __init__(self) -> None:
        self.asked: list[ChatRequest] = []
        self.closed = 0
        self._lock = threading.Lock()

    def complete(self, requests: Sequence[ChatRequest]) -> list[ChatResult]:
        return [self.answer(request) for request in requests]

    def answer(self, request: ChatRequest) -> ChatResult:
        with self._lock:
            self.asked.append(request)
            if request.messages[-1]["content"] == "fail":
                return InfrastructureError("out of order")
            return ChatAnswer(f"answer {len(self.asked)} \u2028 \ud800", 3, 2)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "recording.jsonl"


def test_the_replay_equals_the_record(path: Path, request_: Make) -> None:
    requests = [request_("a", 1), request_("a", 2), request_("b", schema={"type": "object"})]
    recorded = RecordingBackend(Counter(), path).complete(requests)
    replay = ReplayBackend(path)
    assert replay.fingerprint == "counter"
    assert replay.complete(requests) == recorded
    assert replay.complete(requests[::-1]) == recorded[::-1]
    assert len({answer.text for answer in recorded if isinstance(answer, ChatAnswer)}) == 3
    replay.close()


def test_nothing_is_asked_twice(path: Path, request_: Make) -> None:
    inner = Counter()
    backend = RecordingBackend(inner, path)
    first = backend.complete([request_("a"), request_("b"), request_("a")])
    assert first[0] == first[2] != first[1]
    assert backend.complete([request_("b")]) == [first[1]]
    assert RecordingBackend(inner, path).complete([request_("a")]) == [first[0]]
    assert len(inner.asked) == 2
    assert len(path.read_text().splitlines()) == 2
    backend.close()
    assert inner.closed == 1


def test_failures_are_replayed_but_asked_again(path: Path, request_: Make) -> None:
    inner = Counter()
    backend = RecordingBackend(inner, path)
    backend.complete([request_("fail")])
    (failure,) = ReplayBackend(path).complete([request_("fail")])
    assert isinstance(failure, InfrastructureError)
    assert str(failure) == "out of order"
    backend.complete([request_("fail")])
    assert len(inner.asked) == 2


def test_the_first_answer_counts(path: Path, request_: Make) -> None:
    one, two = RecordingBackend(Counter(), path), RecordingBackend(Counter(), path)
    one.complete([request_("fail")])
    (answer,) = one.complete([request_("a")])
    assert two.complete([request_("b"), request_("a")])[1] == answer
    assert len(path.read_text().splitlines()) == 3
    assert ReplayBackend(path).complete([request_("a")]) == [answer]


class Stops:
    """Hands out answers as they come, and stops after two of them."""

    fingerprint = "stops"

    def complete(self, requests: Sequence[ChatRequest]) -> list[ChatResult]:
        raise NotImplementedError

    def as_answered(self, requests: Sequence[ChatRequest]) -> Iterator[tuple[int, ChatResult]]:
        for i in (2, 0):
            yield i, ChatAnswer(f"answer {i}")
        raise ConvgymError("no money")

    def close(self) -> None: ...


def test_what_came_before_a_stop_is_kept(path: Path, request_: Make) -> None:
    requests = [request_(str(i)) for i in range(4)]
    with pytest.raises(ConvgymError, match="no money"):
        RecordingBackend(Stops(), path).complete(requests)
    kept = ReplayBackend(path).complete([requests[0], requests[2]])
    assert kept == [ChatAnswer("answer 0"), ChatAnswer("answer 2")]


def test_a_line_that_was_cut_off(path: Path, request_: Make) -> None:
    requests = [request_("a"), request_("b")]
    recorded = RecordingBackend(Counter(), path).complete(requests)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert ReplayBackend(path).complete(requests[:1]) == recorded[:1]
    inner = Counter()
    RecordingBackend(inner, path).complete([request_("c")])
    assert path.read_bytes().count(b"\n") == 2
    assert RecordingBackend(inner, path).complete(requests)[0] == recorded[0]
    assert len(inner.asked) == 2  # c, and b again


def test_a_replay_sees_what_is_recorded_meanwhile(path: Path, request_: Make) -> None:
    backend = RecordingBackend(Counter(), path)
    backend.complete([request_("a")])
    replay = ReplayBackend(path)
    assert backend.complete([request_("b")]) == replay.complete([request_("b")])


def test_threads_share_one_recording(path: Path, request_: Make) -> None:
    backend = RecordingBackend(Counter(), path)
    requests = [request_(str(i)) for i in range(40)]
    found: list[list[ChatResult]] = []
    threads = [
        threading.Thread(target=lambda: found.append(backend.complete(requests))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [found[0]] * 8
    assert ReplayBackend(path).complete(requests) == found[0]
    assert len(path.read_text().splitlines()) == 40


WRITER = """
import sys
from convgym.llm import ChatAnswer, ChatRequest
from convgym.llm.recording import RecordingBackend

class Echo:
    fingerprint = "counter"
    def complete(self, requests):
        return [ChatAnswer(request.messages[0]["content"], 3, 2) for request in requests]

backend = RecordingBackend(Echo(), sys.argv[1])
for i in range(60):
    backend.complete([ChatRequest(({"role": "user", "content": f"{sys.argv[2]} {i}"},), i)])
"""


def test_processes_share_one_recording(path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(path)]
    writers = [subprocess.Popen([*command, name]) for name in "ab"]
    while any(writer.poll() is None for writer in writers):
        RecordingBackend(Counter(), path)  # opened again and again
        ReplayBackend(path, "counter")
    assert [writer.returncode for writer in writers] == [0, 0]
    assert len(path.read_bytes().splitlines()) == 120
    requests = [
        ChatRequest(({"role": "user", "content": f"{name} {i}"},), i)
        for name in "ab"
        for i in range(60)
    ]
    assert all(isinstance(each, ChatAnswer) for each in ReplayBackend(path).complete(requests))


def test_a_lock_that_nobody_gives_back(
    path: Path, request_: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = RecordingBackend(Counter(), path)
    monkeypatch.setattr("convgym.llm.recording_file._LOCK_TIMEOUT", 0.05)
    with (
        path.open("ab") as other,
        locked(other, ""),
        pytest.raises(ConvgymError, match="kept locked by another process"),
    ):
        backend.complete([request_()])


def test_a_disk_that_is_full(path: Path, request_: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = RecordingBackend(Counter(), path)
    backend.complete([request_("a")])
    before = path.read_bytes()

    class Full(io.FileIO):
        def write(self, data: Any) -> int:
            super().write(data[:10])
            return 10

    opened = Path.open

    def open_full(self: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        return Full(self, "ab") if mode == "ab" else opened(self, mode, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_full)
        with pytest.raises(ConvgymError, match=r"cannot write .*: No space left"):
            backend.complete([request_("b")])
    assert path.read_bytes() == before
    backend.complete([request_("c")])
    assert len(path.read_bytes().splitlines()) == 2


def test_a_file_that_changes_under_us(path: Path, request_: Make) -> None:
    backend = RecordingBackend(Counter(), path)
    backend.complete([request_("a"), request_("b")])
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ConvgymError, match="was shortened by another program"):
        backend.complete([request_("c")])
    path.unlink()
    backend.complete([request_("d")])
    assert len(path.read_bytes().splitlines()) == 1


def test_thoughts_and_cuts_are_recorded_apart(path: Path, request_: Make) -> None:
    class Thinker(Counter):
        def answer(self, request: ChatRequest) -> ChatResult:
            return ChatAnswer("Yes.", 3, 2, reasoning="Hm.", cut=True)

    answers = RecordingBackend(Thinker(), path).complete([request_()])
    assert answers == [ChatAnswer("Yes.", 3, 2, reasoning="Hm.", cut=True)]
    assert ReplayBackend(path).complete([request_()]) == answers
    assert json.loads(path.read_text())["answer"]["reasoning"] == "Hm."


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 8}, "first at seed: asked '8', recorded '7'"),
        ({"temperature": 0.5}, "at temperature: asked '0.5', recorded '1.0'"),
        (
            {"schema": {"type": "object"}},
            "at schema: asked '{\"type\": \"object\"}', recorded 'null'",
        ),
        (
            {"words": "I need a bicycle."},
            "at message 1: asked '.*a bicycle.', recorded '.*a laptop",
        ),
    ],
)
def test_a_miss_says_where(
    change: dict[str, Any], message: str, path: Path, request_: Make
) -> None:
    same: dict[str, Any] = {"words": "I need a laptop.", "seed": 7}
    backend = RecordingBackend(Counter(), path)
    backend.complete([request_("Something else."), request_(**same)])
    with pytest.raises(ConvgymError, match=f"has no answer.*{message}") as found:
        ReplayBackend(path).complete([request_(**{**same, **change})])
    assert len(str(found.value).splitlines()) == 1


def test_a_miss_of_a_longer_conversation(path: Path, request_: Make) -> None:
    request = request_()
    RecordingBackend(Counter(), path).complete([request])
    longer = ChatRequest((*request.messages, {"role": "assistant", "content": "Hi."}), 0)
    with pytest.raises(ConvgymError, match="at message 2: asked 'one more', recorded 'none'"):
        ReplayBackend(path).complete([longer])
    shorter = ChatRequest(request.messages[:1], 0)
    with pytest.raises(ConvgymError, match="at message 1: asked 'none', recorded 'one more'"):
        ReplayBackend(path).complete([shorter])


def test_a_miss_of_another_model(path: Path, request_: Make) -> None:
    RecordingBackend(Counter(), path).complete([request_()])
    with pytest.raises(ConvgymError, match="at backend: asked 'openai/x', recorded 'counter'"):
        ReplayBackend(path, "openai/x").complete([request_()])


def test_a_recording_of_several_models(path: Path, request_: Make) -> None:
    one, two = Counter(), Counter()
    two.fingerprint = "two"
    first = RecordingBackend(one, path).complete([request_()])
    RecordingBackend(two, path).complete([request_(), request_("b")])
    with pytest.raises(ConvgymError, match="answers of 2 backends, counter, two: name one"):
        ReplayBackend(path)
    assert ReplayBackend(path, "counter").complete([request_()]) == first


def row(**change: Any) -> str:
    request = {"messages": [], "seed": 0, "max_tokens": 1, "temperature": 1.0, "schema": None}
    answer = {"text": "a", "prompt_tokens": 0, "completion_tokens": 0}
    whole = {"recording": 1, "backend": "b", "request": request, "answer": answer}
    return json.dumps({**whole, **change}) + "\n"


@pytest.mark.parametrize(
    "damaged",
    [
        "{}\n",
        "nonsense\n",
        row(recording=2),
        row(request={}),
        row(failure="as well"),
        row(answer={"text": 3}),
        row().replace("answer", "reply"),
        "\ud800".encode("utf-8", "surrogatepass").decode("latin-1") + "\n",
    ],
)
@pytest.mark.parametrize("kind", [ReplayBackend, lambda path: RecordingBackend(Counter(), path)])
def test_damage_is_named(damaged: str, kind: Callable[[Path], ChatBackend], path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes((row() + damaged + row()).encode("latin-1"))
    before = path.read_bytes()
    with pytest.raises(ConvgymError, match="or damaged at line 2"):
        kind(path)
    assert path.read_bytes() == before


OWN = row().encode()
FOREIGN = [
    b'{"my": "settings"}',
    b'{"my": "settings"}\n',
    b'{\n  "my": "settings"\n}\n',
    b"{",
    b'{"recordin',
    b'{"recording": 2, "backend',
    b'{"recording": 1}',
    b"Dear diary",
    b"\n",
    b"\x00" * 50,
    b"\xff\xfe\x00",
    b"[" * 100_000,
    b"[1, 2]",
    b'{"seed": 1, "turns": [',
]


@pytest.mark.parametrize("before", [b"", OWN, OWN * 2])
@pytest.mark.parametrize("foreign", FOREIGN)
@pytest.mark.parametrize("kind", [ReplayBackend, lambda path: RecordingBackend(Counter(), path)])
def test_what_is_not_ours_is_refused_as_it_is(
    foreign: bytes, before: bytes, kind: Callable[[Path], ChatBackend], path: Path
) -> None:
    if before and foreign in (b"{", b'{"recordin'):
        pytest.skip("after a row of ours, that is the beginning of another")
    path.parent.mkdir()
    path.write_bytes(before + foreign)
    with pytest.raises(ConvgymError, match="is no recording of a chat model, or damaged") as found:
        kind(path)
    assert len(str(found.value).splitlines()) == 1
    assert path.read_bytes() == before + foreign


def test_a_whole_row_without_its_line_feed_is_kept(path: Path, request_: Make) -> None:
    (answer,) = RecordingBackend(Counter(), path).complete([request_("a")])
    path.write_bytes(path.read_bytes()[:-1])
    assert ReplayBackend(path).complete([request_("a")]) == [answer]
    inner = Counter()
    backend = RecordingBackend(inner, path)
    assert backend.complete([request_("a")]) == [answer]
    backend.complete([request_("b")])
    assert len(inner.asked) == 1
    assert len(path.read_bytes().splitlines()) == 2


@given(
    rows=st.integers(0, 3),
    tail=st.one_of(
        st.integers(0, len(OWN)).map(lambda cut: OWN[:cut]),
        st.binary(max_size=40),
        st.sampled_from(FOREIGN),
    ),
    bom=st.booleans(),
)
@settings(deadline=None)
def test_no_file_loses_what_is_not_a_torn_row_of_ours(rows: int, tail: bytes, bom: bool) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        whole = b"\xef\xbb\xbf" * bom + OWN * rows
        path.write_bytes(whole + tail)
        try:
            backend = RecordingBackend(Counter(), path)
        except ConvgymError:
            assert path.read_bytes() == whole + tail
            return
        backend.complete([ChatRequest(({"role": "user", "content": "a"},), 0)])
        found = path.read_bytes()
        torn = not tail.endswith(b"\n") and tail != OWN[:-1]
        assert found.startswith(whole if torn else whole + tail)
        assert (
            not torn or not tail or tail.startswith(OWN[:14]) or (rows and tail == OWN[: len(tail)])
        )
        ReplayBackend(path, "counter")


def test_files_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ConvgymError, match="answers of 0 backends: record a run first"):
        ReplayBackend(tmp_path / "none.jsonl")
    with pytest.raises(ConvgymError, match="cannot read"):
        ReplayBackend(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ConvgymError, match=r"cannot (read|write)"):
        RecordingBackend(Counter(), tmp_path / "file" / "below.jsonl")


def test_the_key_of_a_request(request_: Make) -> None:
    key = request_key("b", request_("a", 1))
    assert key == request_key("b", request_("a", 1, temperature=1))
    others = [
        request_key("c", request_("a", 1)),
        *(request_key("b", request_(**{"words": "a", "seed": 1, **change})) for change in CHANGES),
    ]
    assert len({key, *others}) == len(others) + 1


CHANGES: list[dict[str, Any]] = [
    {"words": "b"},
    {"seed": 2},
    {"max_tokens": 3},
    {"temperature": 0.9},
    {"schema": {}},
]


def test_a_budget_that_is_raised_goes_on_where_it_stopped(
    path: Path, serve: Serve, connect: Connect, request_: Make
) -> None:
    from convgym.llm.ledger import Budget, BudgetExhausted

    server = serve(lambda request: Action(text=request["messages"][-1]["content"]))
    requests = [request_(str(i)) for i in range(10)]
    poor = RecordingBackend(connect(server, budget=Budget(requests=6)), path)
    with pytest.raises(BudgetExhausted):
        poor.complete(requests)
    assert len(path.read_text().splitlines()) == 6
    rich = RecordingBackend(connect(server, budget=Budget(requests=4)), path)
    answers = rich.complete(requests)
    assert [getattr(answer, "text", None) for answer in answers] == [str(i) for i in range(10)]
    assert len(server.requests) == 10


def damaged(whole: bytes) -> dict[str, bytes]:
    """Return files that begin as recordings do, each with the last of its lines not ended."""
    first, second, *_ = whole.splitlines()
    return {
        "Macintosh line ends": whole.replace(b"\n", b"\r"),
        "a note behind the last row": first + b"\n" + second + b" my note",
        "two rows in a line": first + second,
        "a row within a row": first[:60] + second,
        "an object behind a row": first + b'{"a": 1}',
        "zeros behind the last row": whole + b"\0" * 40,
    }


@pytest.mark.parametrize("case", damaged(b"1\n2\n"))
def test_no_row_is_lost_with_an_end_that_is_not_ours(
    tmp_path: Path, request_: Make, case: str
) -> None:
    path = tmp_path / "r.jsonl"
    RecordingBackend(Counter(), path).complete([request_(text) for text in ("a", "b")])
    path.write_bytes(before := damaged(path.read_bytes())[case])
    with pytest.raises(ConvgymError, match="no recording"):
        RecordingBackend(Counter(), path)
    assert path.read_bytes() == before


def test_files_that_were_joined_keep_their_marks(tmp_path: Path, request_: Make) -> None:
    path = tmp_path / "r.jsonl"
    RecordingBackend(Counter(), path).complete([request_(text) for text in ("a", "b")])
    rows = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(before := b"".join(b"\xef\xbb\xbf" + row for row in rows))
    (first,) = ReplayBackend(path).complete([request_("b")])
    counter = Counter()
    second, third = RecordingBackend(counter, path).complete([request_("b"), request_("c")])
    assert first == second
    assert len(counter.asked) == 1
    assert path.read_bytes().startswith(before)
    assert ReplayBackend(path).complete([request_("c")]) == [third]


def test_a_link_to_itself_is_no_recording(tmp_path: Path) -> None:
    (path := tmp_path / "r.jsonl").symlink_to(path)
    with pytest.raises(ConvgymError, match="cannot read"):
        RecordingBackend(Counter(), path)
