"""What the commands' options have in common, and options by name: ``name=value``."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from convgym.datafiles import read_whole
from convgym.errors import ConvgymError
from convgym.secrets import check_option

_MODULE_ATTRIBUTE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*(@[\w.-]+)?")


def findable(name: str | None) -> str | None:
    """Let Python find ``package.module:attribute`` in the present folder, after all other places.

    For such a name alone: a folder that somebody only looks at runs nothing.
    """
    if name and _MODULE_ATTRIBUTE.fullmatch(name) and os.getcwd() not in sys.path:
        from convgym.sellers import SELLERS

        if not SELLERS.is_of_family(name):  # "hf:model" is no module
            sys.path.append(os.getcwd())
    return name


def make_findable(value: object) -> None:
    """Do as ``findable`` for every text in plain data, such as the fields of a suite's file."""
    if isinstance(value, str):
        findable(value)
    elif isinstance(value, Mapping):
        make_findable([*value.values()])
    elif isinstance(value, (list, tuple)):
        for part in value:
            make_findable(part)


Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random.")]
Customer = Annotated[
    str | None,
    typer.Option(help="A customer by name, or package.module:factory.", callback=findable),
]
Seller = Annotated[
    str,
    typer.Option(
        help="A seller by name, openai:MODEL, hf:FOLDER, or package.module:factory.",
        callback=findable,
    ),
]
SellerOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--seller-option",
        metavar="NAME=VALUE",
        help="Option of the seller, as often as wanted: temperature=0.5, say.",
    ),
]
SellerPrompt = Annotated[
    Path | None,
    typer.Option(
        help="A text file: the system message of a seller that is a language model; {briefing}"
        " in it stands for the catalogue."
    ),
]
Catalog = Annotated[str | None, typer.Option(help="Product catalogue: a name or a JSON file.")]
CustomerOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--customer-option",
        metavar="NAME=VALUE",
        help="Option of the customer, as often as wanted: backend=transformers, say.",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="AGENT.SETTING=VALUE",
        help="A setting of an agent, or an option of a seller, as often as wanted:"
        " iterative-ppo.rounds=3.",
    ),
]
OwnSettings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="A setting, as often as wanted: epochs=2; within another: policy.max_new_tokens=16.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]
Device = Annotated[
    str | None,
    typer.Option(
        show_default="auto",
        help="Where language models compute: cpu, cuda, cuda:1, mps, or auto, a GPU where one is"
        " visible.",
    ),
]
Dtype = Annotated[
    str | None,
    typer.Option(
        show_default="auto",
        help="How exactly they compute: float32, bfloat16, or auto, which suits the device.",
    ),
]
Noise = Annotated[
    float | None,
    typer.Option(
        show_default="0.0", help="How noisily customers are heard: a share of slips, up to 1."
    ),
]
Personas = Annotated[str | None, typer.Option(help="Personas: default, difficult or a JSON file.")]


def names(option: str | None) -> list[str] | None:
    """Return the names of a list ``a,b``; none for ``none``, and None where it is not given.

    Raises ConvgymError for a list without a name in it.
    """
    if option is None:
        return None
    given = named(option)
    return [] if given == ["none"] else [name for name in given if findable(name)]


def named(option: str) -> list[str]:
    """Return the names of a list ``a,b``; ConvgymError for one without a name in it."""
    given = [name for part in option.split(",") if (name := part.strip())]
    if not given:
        raise ConvgymError(f"expected names as a,b, got {option!r}: name one, or drop the option")
    return given


def environment(
    customer: str | None = None,
    catalog: str | None = None,
    personas: str | None = None,
    customer_option: Sequence[str] | None = None,
    noise: float | None = None,
) -> dict[str, Any]:
    """Return the options of ``SalesEnv`` that were given."""
    given: dict[str, Any] = {
        "customer": customer,
        "catalog": catalog,
        "personas": personas,
        "noise": noise,
    }
    if customer_option:
        given["customer_options"] = read_options(customer_option)
    return {key: value for key, value in given.items() if value is not None}


def as_given(
    customer: str | None = None,
    catalog: str | None = None,
    personas: str | None = None,
    customer_option: Sequence[str] | None = None,
) -> str:
    """Return the same options as they stand on a command line, each after a space."""
    given = {"--customer": customer, "--catalog": catalog, "--personas": personas}
    words = [(name, value) for name, value in given.items() if value is not None]
    words += [("--customer-option", value) for value in customer_option or ()]
    return "".join(f" {name} {shlex.quote(value)}" for name, value in words)


def computing(device: str | None, dtype: str | None) -> dict[str, Any]:
    """Return where and how exactly language models compute, as far as it was given.

    Raises ConvgymError for what is no device or number type, and for a device that is not there.
    """
    given = {"device": device, "dtype": dtype}
    chosen = {name: value for name, value in given.items() if value is not None}
    if chosen:
        from convgym.llm.local.devices import check_dtype, find_device

        find_device(device or "cpu")
        check_dtype(dtype or "auto")
    return chosen


def with_computing(
    settings: Mapping[str, Any], chosen: Mapping[str, Any], path: Sequence[str] = ()
) -> dict[str, Any]:
    """Return settings with what ``computing`` returned, within the settings that ``path`` leads to.

    Raises ConvgymError for what is given twice.
    """
    if not chosen:
        return dict(settings)
    if path:
        first, *rest = path
        within = settings.get(first, {})
        if not isinstance(within, Mapping):
            return dict(settings)  # is refused where it is read
        return {**settings, first: with_computing(within, chosen, rest)}
    for name in chosen:
        if name in settings:
            raise ConvgymError(f"{name} is given twice: drop --{name} or the setting")
    return {**settings, **chosen}


def is_local_seller(name: str) -> bool:
    """Tell whether a seller by name is a language model that computes in this process."""
    return name == "smollm2" or name.startswith("hf:")


def placed(
    seller: str, options: Mapping[str, Any], device: str | None, dtype: str | None
) -> dict[str, Any]:
    """Return a seller's options with where and how exactly it computes, as far as it was given.

    Raises ConvgymError where something was given and the seller is no model of this process.
    """
    chosen = computing(device, dtype)
    if chosen and not is_local_seller(seller):
        raise ConvgymError(f"{seller!r} computes nowhere: drop --device and --dtype")
    return with_computing(options, chosen)


def computing_of_all(
    agents: Iterable[str], sellers: Iterable[str], chosen: Mapping[str, Any]
) -> list[tuple[str, Any]]:
    """Return where language models compute, of all agents and sellers that are some, by path.

    Raises ConvgymError where something was chosen and none of them is one.
    """
    if not chosen:
        return []
    from convgym.agents.registry import AGENTS
    from convgym.benchmarks.runs.suites import agent_of

    places = [seller for seller in sellers if is_local_seller(seller)]
    for agent in agents:
        config = AGENTS.resolve(agent_of(agent)).Config
        if "policy" in {field.name for field in dataclasses.fields(config)}:
            places.append(f"{agent}.policy")
    if not places:
        raise ConvgymError(
            f"{' and '.join(f'--{name}' for name in chosen)} is of language models, and none is"
            " compared"
        )
    return [(f"{place}.{name}", value) for place in places for name, value in chosen.items()]


def seller_options(items: Sequence[str] | None, prompt: Path | None) -> dict[str, Any]:
    """Return the options of a seller that were given, the text of its prompt's file among them.

    Raises ConvgymError for a file that cannot be read, and for a prompt that is given twice.
    """
    options = read_options(items or ())
    if prompt is None:
        return options
    if "prompt" in options:
        raise ConvgymError("the seller's prompt is given twice: drop --seller-prompt or the option")
    try:
        return {**options, "prompt": read_whole(prompt).decode()}
    except OSError as error:
        raise ConvgymError(f"cannot read the prompt {prompt}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConvgymError(f"the prompt {prompt} is no text in UTF-8") from None


def settings_of_models(sellers: Iterable[str], options: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return options of all sellers that are language models, as settings by their path.

    Raises ConvgymError where there are options and no such seller.
    """
    from convgym.sellers import SELLERS

    models = [name for name in sellers if name == "smollm2" or SELLERS.is_of_family(name)]
    if options and not models:
        raise ConvgymError(
            "--seller-option and --seller-prompt are of sellers that are language models, and none"
            " is compared: give --sellers openai:MODEL, or --set SELLER.OPTION=VALUE for others"
        )
    return [(f"{name}.{option}", value) for name in models for option, value in options.items()]


def read_options(items: Iterable[str]) -> dict[str, Any]:
    """Return options by name.

    Values are read as those of ``read_settings``. A name with a dot is an option of an option:
    ``budget.requests=100``.

    Raises:
        ConvgymError: for what is not ``name=value``, a name given twice, and a secret
            (``convgym.secrets``), which does not belong on a command line nor into the files of a
            run.
    """
    options: dict[str, Any] = {}
    for item in items:
        name, equals, value = item.partition("=")
        *outer, last = path = name.strip().split(".")
        if not equals or not all(part.isidentifier() for part in path):
            # Only the name is shown: what follows it may be a key.
            shown = repr(f"{name}=..." if name.strip() and equals else item)
            raise ConvgymError(f"expected an option as name=value, got {shown}")
        given = _value(name, value)
        for part in path:
            check_option(part, given if part == last else None)
        within = options
        for part in outer:
            within = within.setdefault(part, {})
            if not isinstance(within, dict):
                raise ConvgymError(f"option {part!r} is given as a value and with parts: drop one")
        if last in within:
            raise ConvgymError(f"option {name!r} is given twice")
        within[last] = given
    return options


def read_settings(items: Iterable[str]) -> list[tuple[str, Any]]:
    """Return settings of agents by their path, ``iterative-ppo.rounds``, in the order given.

    Values are read as JSON where they are JSON, numbers that are not finite, lists and objects
    included, and else taken as text.

    Raises:
        ConvgymError: for what is not ``agent.setting=value``, and a path given twice.
    """
    settings: dict[str, Any] = {}
    for item in items:
        path, equals, value = item.partition("=")
        path = path.strip()
        if not equals or "." not in path.strip("."):
            raise ConvgymError(f"expected a setting as agent.setting=value, got {item!r}")
        if path in settings:
            raise ConvgymError(f"setting {path!r} is given twice")
        settings[path] = _value(path, value)
    return list(settings.items())


def own_settings(items: Iterable[str] | None) -> dict[str, Any]:
    """Return settings of one thing by name, those within others nested: ``policy.dtype=float32``.

    Values are read as those of ``read_settings``.

    Raises:
        ConvgymError: for what is not ``name=value``, and a name given twice.
    """
    settings: dict[str, Any] = {}
    for item in items or ():
        path, equals, value = item.partition("=")
        *outer, last = parts = path.strip().split(".")
        if not equals or not all(part.isidentifier() for part in parts):
            raise ConvgymError(f"expected a setting as name=value, got {item!r}")
        within = settings
        for part in outer:
            within = within.setdefault(part, {})
            if not isinstance(within, dict):
                raise ConvgymError(f"setting {part!r} is given as a value and with parts: drop one")
        if last in within:
            raise ConvgymError(f"setting {path.strip()!r} is given twice")
        within[last] = _value(path, value)
    return settings


def _value(name: str, text: str) -> Any:
    text = text.strip()
    try:
        text.encode()
    except UnicodeEncodeError:  # it is not shown, for it may be a key
        raise ConvgymError(f"the value of {name.strip()!r} is no text in UTF-8") from None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return findable(text)
