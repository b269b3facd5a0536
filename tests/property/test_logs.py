from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from convgym.conversation import OUTCOMES, Episode, Response, Turn
from convgym.logs import read_log, write_log

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
