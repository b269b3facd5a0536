"""Things by name: every spec gives the thing or one line, and nothing is imported before."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convgym.errors import ConvgymError
from convgym.registry import Entry, Registry

Install = Callable[..., None]


def text(thing: object, spec: str) -> str:
    if not isinstance(thing, str):
        raise ConvgymError(f"hint {spec!r} is no text")
    return thing


@pytest.fixture
def hints() -> Registry[str]:
    return Registry(
        "hint",
        "convgym.hints",
        {
            "digits": Entry("string:digits", "the ten digits", {"base": 10}),
            "letters": Entry("string:ascii_letters", "all letters"),
            "torn": Entry("convgym_nowhere_at_all:hint", "needs what is not there"),
        },
        text,
        extra="words",
    )


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Write the module that can be imported as ``hintbook``."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(source: str) -> None:
        sys.modules.pop("hintbook", None)
        (tmp_path / "hintbook.py").write_text(source)

    return write


def test_shipped_registered_and_own(hints: Registry[str], module: Callable[[str], None]) -> None:
    module("class Box:\n    hint = 'deep'\nhint = 'own'\n")
    assert hints.resolve("digits") == "0123456789"
    assert hints.resolve("hintbook:hint") == "own"
    assert hints.resolve("hintbook:Box.hint") == "deep"
    hints.register("mine", "said")
    hints.register("theirs", "said elsewhere")
    assert hints.names() == ["digits", "letters", "mine", "theirs", "torn"]


def test_a_text_that_is_registered_is_a_path() -> None:
    numbers: Registry[object] = Registry("number", "convgym.numbers", {}, lambda thing, spec: thing)
    numbers.register("pi", "math:pi")
    numbers.register("e", 2.7)
    assert str(numbers.resolve("pi"))[:4] == "3.14" and numbers.resolve("e") == 2.7
    with pytest.raises(ConvgymError, match="a number's name must be words without a colon"):
        numbers.register("a:b", 3)


def test_settings_belong_to_the_shipped_name(hints: Registry[str]) -> None:
    assert hints.settings("digits") == {"base": 10}
    assert hints.settings("letters") == hints.settings("string:digits") == {}
    hints.register("digits", "string:hexdigits")
    assert hints.settings("digits") == {}
    assert hints.resolve("digits").endswith("ABCDEF")


def test_summaries_import_nothing(hints: Registry[str], install: Install) -> None:
    install("plug_sum", "said", "raise RuntimeError", "convgym.hints", "Hints for all")
    install("plug_mute", "mute", "raise RuntimeError", "convgym.hints")
    assert hints.summary("torn") == "needs what is not there"
    assert hints.summary("said") == "Hints for all (package plug_sum)"
    assert hints.summary("mute") == "of package plug_mute"
    with pytest.raises(ConvgymError, match=r"unknown hint 'sad'; known: .*did you mean 'said'"):
        hints.summary("sad")
    install("plug_again", "said", "raise RuntimeError", "convgym.hints")
    assert "package plug_again and package plug_sum both bring a hint 'said'" in (
        hints.summary("said")
    )
    assert not {"plug_sum", "plug_mute"} & {*sys.modules}


def test_what_is_registered_is_summed_up_by_its_docstring() -> None:
    kinds: Registry[type] = Registry("class", "convgym.classes", {}, lambda thing, spec: int)

    class Bare: ...

    kinds.register("bare", Bare)
    kinds.register("pattern", Path)
    kinds.register("there", "pathlib:Path")
    assert kinds.summary("bare").endswith("Bare")
    assert kinds.summary("pattern").startswith("PurePath subclass")
    assert kinds.summary("there") == "pathlib:Path"


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (
            "import nowhere_at_all",
            "cannot import the hint 'hintbook:hint': ModuleNotFoundError: No",
        ),
        ("raise RuntimeError('no\\nlicence')", "RuntimeError: no licence"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def", "SyntaxError: "),
        ("def __getattr__(name): raise KeyError(name)", "KeyError: "),
        ("", "module 'hintbook' has no hint 'hint'"),
        ("hints = 'x'", "module 'hintbook' has no hint 'hint' (did you mean 'hints'?)"),
        ("hint = 3", "hint 'hintbook:hint' is no text"),
    ],
)
def test_a_users_own_mistakes(
    hints: Registry[str], module: Callable[[str], None], source: str, told: str
) -> None:
    module(source)
    with pytest.raises(ConvgymError) as caught:
        hints.resolve("hintbook:hint")
    assert told in str(caught.value) and "\n" not in str(caught.value)


def test_a_package_that_is_missing_is_named_with_the_remedy(hints: Registry[str]) -> None:
    with pytest.raises(ConvgymError, match=r"hint 'torn' needs the package convgym_nowhere_at_all"):
        hints.resolve("torn")
    assert hints.summary("torn")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.text(),
        st.from_regex(r"[a-z._]{0,8}:[a-zA-Z._0-9]{0,8}", fullmatch=True),
        st.sampled_from(["digits", "letters", "torn", "string:digits", "math:pi", "a:b:c", ":"]),
        st.integers(),
        st.none(),
    )
)
def test_a_spec_gives_the_thing_or_one_line(hints: Registry[str], spec: Any) -> None:
    try:
        assert isinstance(hints.resolve(spec), str)
    except ConvgymError as error:
        assert len(str(error).splitlines()) == 1


def test_a_plugin_of_any_kind(hints: Registry[str], install: Install) -> None:
    install("plug_hint", "extra", "Made = 'from afar'", "convgym.hints")
    assert "extra" in hints.names() and "plug_hint" not in sys.modules
    assert hints.resolve("extra") == hints.resolve("plug_hint:Made") == "from afar"
    install("plug_wrong", "wrong", "Made = 3", "convgym.hints")
    with pytest.raises(ConvgymError, match="hint 'wrong' is no text"):
        hints.resolve("wrong")


def test_the_registry_stands_on_the_ground() -> None:
    script = (
        "import sys\n"
        "sys.modules['gymnasium'] = sys.modules['numpy'] = None\n"
        "import types; package = types.ModuleType('convgym'); package.__path__ = [PATH]\n"
        "sys.modules['convgym'] = package\n"
        "import convgym.registry, convgym.contracts\n"
        "ours = {name for name in sys.modules if name.startswith('convgym.')}\n"
        "ground = ['registry', 'contracts', 'errors', 'installing']\n"
        "assert ours == {f'convgym.{name}' for name in ground}, ours\n"
    )
    path = Path(__file__).parents[2] / "convgym"
    script = script.replace("PATH", repr(str(path)))
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
