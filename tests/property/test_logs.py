from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from convgym.conversation import OUTCOMES, Episode, Response, Turn
from convgym.errors import ConvgymError
from convgym.logs import _line, read_log, validate_log, write_log

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
FLOAT = st.floats(allow_nan=False, allow_infinity=False)
LEAF = st.none() | st.booleans() | st.integers() | FLOAT | TEXT
JSON = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)
)


@st.composite
def responses(draw: st.DrawFn) -> Response:
    tokens = draw(st.none() | st.lists(st.tuples(st.integers(0, 2**31), FLOAT), max_size=4))
    if tokens is None:
        return Response(draw(TEXT))
    return Response(draw(TEXT), tuple(t for t, _ in tokens), tuple(p for _, p in tokens))


EPISODES = st.builds(
    Episode,
    seed=st.integers(0, 2**63),
    opening=TEXT,
    turns=st.lists(st.builds(Turn, responses(), TEXT), max_size=3).map(tuple),
    outcome=st.sampled_from(OUTCOMES),
    customer=TEXT,
    policy=TEXT,
    metadata=st.dictionaries(TEXT, JSON, max_size=3),
)


@settings(max_examples=60)
@given(st.lists(EPISODES, max_size=3), st.sampled_from(["log.jsonl", "log.gz"]))
def test_what_is_written_is_read(episodes: list[Episode], name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write_log(path, episodes)
        read = read_log(path).episodes
    assert read == episodes
    assert repr(read) == repr(episodes)  # also where equal values differ: -0.0, 1 and 1.0


@settings(max_examples=60)
@given(st.lists(EPISODES, min_size=1, max_size=3), EPISODES, st.data())
def test_whatever_is_cut_off_the_rest_is_whole(
    episodes: list[Episode], following: Episode, data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        write_log(path, episodes)
        content = path.read_bytes()
        path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
        left = read_log(path).episodes
        assert left == episodes[: len(left)]
        write_log(path, [following], append=True)
        assert read_log(path).episodes == [*left, following]


# Files from a grammar of damage.

ROW = _line(Episode(7, "Hello é.", (), "purchase", "c", "p", {"round": 1})).rstrip(b"\n")
WHOLE = st.sampled_from(
    [ROW, ROW.replace(b'"version":1', b'"version":2'), ROW.replace(b",", b", ")]
)
CUT = st.integers(1, len(ROW) - 1).map(lambda size: ROW[:size])
FOREIGN = st.sampled_from(
    [
        b'{"my": "settings"}', b"[", b"[1, 2]", b"]", b"notes", b"7", b"null", b'"schema"',
        b"\xff\xfe{\x00", b"{}", b'{"schema": "convgym.recording", "version": 1}', b"}", b"\x89PNG",
        b"\x00" * 9, b"[" * 3000, b'{"a":' * 3000,
    ]
)  # fmt: skip
END = st.sampled_from([b"\n", b"\n", b"\n", b"\r\n", b"\n\n", b"", b" "])
PIECE = st.tuples(st.one_of(WHOLE, WHOLE, WHOLE, CUT, FOREIGN, st.just(b"")), END).map(b"".join)
FILE = st.tuples(st.sampled_from([b"", b"\xef\xbb\xbf"]), st.lists(PIECE, max_size=5)).map(
    lambda parts: parts[0] + b"".join(parts[1])
)
NEXT = Episode(8, "Hi.", (), "walk_away", "c", "p")


@settings(max_examples=400)
@given(FILE)
def test_damaged_files_lose_nothing_whole(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        path.write_bytes(content)
        before = validate_log(path)  # never a raw error
        with suppress(ConvgymError):
            assert read_log(path).report.n == before.n
        try:
            write_log(path, [NEXT], append=True)
        except ConvgymError as error:
            assert "\n" not in str(error)
            assert path.read_bytes() == content
            return
        after = path.read_bytes()
        kept = after.removesuffix(_line(NEXT))
        assert kept != after
        dropped = content.removeprefix(kept.removesuffix(b"\n"))
        assert dropped != content or not kept.strip()
        # What went began as a row of ours and held none that was whole.
        assert ROW.startswith(dropped.strip()[:20]) or not dropped.strip()
        assert b'"round":1}}' not in dropped
        assert validate_log(path).n > before.n
        assert list(Path(folder).iterdir()) == [path]
