"""What the commands of single steps have in common: progress, interruptions, who speaks."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convgym.agents.launcher import launched_number
from convgym.benchmarks.cli.options import is_local_seller
from convgym.benchmarks.terminal import console, say
from convgym.errors import ConvgymError, unknown

if TYPE_CHECKING:
    from convgym.policy import Policy
    from convgym.progress import ProgressCallback

_NAMED_MODELS = ("default", "reading-seller", "smollm2")
"""Names of ``convgym.agents.model.policy``, which loads torch."""


@contextmanager
def working(output: Path | None = None, *, resumes: bool = False) -> Iterator[ProgressCallback]:
    """Show progress on stderr; after Ctrl-C, say how to go on and exit with 130.

    Args:
        output: what is being made.
        resumes: what was done so far is kept, and the same command goes on from there.
    """
    from convgym.benchmarks.report.progress import stages
    from convgym.progress import no_progress

    if launched_number():
        yield no_progress
        return
    try:
        with stages(console(error=True)) as progress:
            yield progress
    except KeyboardInterrupt:
        how = "goes on with" if resumes else "starts over with"
        again = f"; the same command {how} {output}" if output else ""
        say(f"interrupted{again}", error=True)
        raise SystemExit(130) from None


@contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """Let the signals that end a program do so as Ctrl-C does, so that nothing is left running."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    numbers = [number for name in ("SIGTERM", "SIGHUP") if (number := getattr(signal, name, None))]
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def show(report: Mapping[str, Any], lines: Sequence[str], *, as_json: bool) -> None:
    """Print a report: as JSON, or as lines for people, those that are empty left out."""
    if launched_number():
        return
    if as_json:
        from convgym.datafiles import dumps

        say(dumps(report, indent=2))
        return
    for line in filter(None, lines):
        say(line)


def numbers(values: Mapping[str, Any]) -> list[str]:
    """Return a line for each number, names and numbers one below another."""
    width = max(map(len, values), default=0)
    return [f"  {name:{width}}  {value:.4g}" for name, value in values.items()]


def is_model(name: str) -> bool:
    """Tell whether a name is that of a language model: a folder, or a model with a name."""
    from convgym.sellers import SELLERS

    if SELLERS.is_of_family(name):  # openai:MODEL, hf:FOLDER
        return False
    if name in _NAMED_MODELS or Path(name).is_dir():
        return True
    # "package.module:factory" is no path, whatever follows its colon.
    first, slash, _ = name.replace("\\", "/").partition("/")
    return bool(slash) and ":" not in first


def _shown(folder: Path) -> str:
    """Return a policy's name: that of its folder, and of the training's if it is ``policy``."""
    if folder.name == "policy" and folder.parent.name:
        return f"{folder.parent.name}/policy"
    return folder.name or "language-model"


def speaker(
    name: str,
    options: Mapping[str, Any],
    settings: Mapping[str, Any] | None = None,
    of_seller: Mapping[str, Any] | None = None,
) -> Policy:
    """Return a policy by its folder, or a seller by name.

    Args:
        name: ``is_model`` says which.
        options: of the environment, whose catalogue a seller sells.
        settings: of a policy (``PolicyConfig``), or of a seller that is a local model.
        of_seller: options of a seller alone.

    Raises:
        ConvgymError: when there is no such policy or seller, and for settings of a seller.
    """
    if is_model(name):
        if of_seller:
            raise ConvgymError(
                f"{name!r} is a policy, and no seller with options: drop --seller-option and"
                " --seller-prompt"
            )
        from convgym.agents.model.config import PolicyConfig
        from convgym.agents.model.policy import LanguageModelPolicy
        from convgym.agents.settings import configured

        config = configured(PolicyConfig(), settings or {}, "the policy")
        return LanguageModelPolicy.from_pretrained(name, name=_shown(Path(name)), config=config)
    if Path(name).is_file():
        raise ConvgymError(
            f"{name} is a file: expected the folder of a policy, or a seller by name, as convgym"
            " list sellers shows them"
        )
    if settings and not is_local_seller(name):
        raise ConvgymError(
            f"{name!r} is a seller, which has no {', '.join(settings)}: those are a policy's"
        )
    from convgym.benchmarks.talks.scene import Scene
    from convgym.sellers import SELLERS

    if ":" not in name and name not in SELLERS.names():
        raise unknown("policy or seller", name, sorted({*_NAMED_MODELS, *SELLERS.names()}))
    return Scene(options).seller(name, {**(settings or {}), **(of_seller or {})})
