"""The starts: what each agent was before its training, and is compared with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from convgym.benchmarks.runs.suites import START

_ODD = re.compile(r"[^\w.+ -]")
_LONGEST_NAME = 60
_LONGEST = 16
"""Letters of a setting's value that are shown in a start's name."""


# The settings that decide how an untrained agent speaks, with the defaults of ``PolicyConfig``:
# named here, since that is loaded for an agent alone. A test holds them together.
USUAL: Mapping[str, Any] = MappingProxyType(
    {"model": "default", "temperature": 1.0, "max_new_tokens": 24, "system_message": None}
)


@dataclass(frozen=True, slots=True)
class Start:
    """A row of the results: the policy of ``agent``, and of others that begin alike, untrained."""

    name: str
    agent: str


def policy_settings(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return which settings of an agent's config make its start; None when they are not known.

    Where and how precisely it is computed makes no other start, and adapters start as nothing.
    """
    policy = config.get("policy")
    if not isinstance(policy, Mapping) or not USUAL.keys() <= policy.keys():
        return None
    return {name: policy[name] for name in USUAL}


def starts_of(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, Start]:
    """Return the start of each agent, given their configs by name: one a distinct setting.

    The shipped model with its usual settings is ``small-seller``. An agent whose config does not
    tell how it speaks has a start of its own.
    """
    made: dict[object, Start] = {}
    starts = {}
    for agent, config in configs.items():
        settings = policy_settings(config)
        key: object = agent if settings is None else tuple(settings.items())
        if key not in made:
            name = f"start-of-{agent}" if settings is None else _name(settings)
            taken = {start.name for start in made.values()}
            made[key] = Start(f"{name}-of-{agent}" if name in taken else name, agent)
        starts[agent] = made[key]
    return starts


def _name(settings: Mapping[str, Any]) -> str:
    """Return a name that tells in what these settings differ from the usual ones."""
    folder = _ODD.sub("-", Path(settings["model"]).name)[:_LONGEST_NAME]
    name = START if settings["model"] == USUAL["model"] else folder or "model"
    for field in ("temperature", "max_new_tokens", "system_message"):
        value = settings[field]
        if value != USUAL[field]:
            shown = str(value)
            short = len(shown) <= _LONGEST and not _ODD.search(shown)
            name += f" {field}={shown}" if short else f" other-{field}"
    return name
