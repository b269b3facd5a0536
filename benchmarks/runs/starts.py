"""The starts: what each agent was before its training, and is compared with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from convgym.benchmarks.runs.suites import START

_ODD = re.compile(r"[^\w.+ -]")
_LONGEST_NAME = 60
_LONGEST = 16
"""Letters of a setting's value that are shown in a start's name."""


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """The settings that decide how an untrained agent speaks; the defaults are the agents'."""

    model: str = "default"
    temperature: float = 1.0
    max_new_tokens: int = 24
    briefing: str | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """A row of the results: the policy of ``agent``, and of others that begin alike, untrained."""

    name: str
    agent: str


def policy_settings(config: Mapping[str, Any]) -> PolicySettings | None:
    """Return which settings of an agent's config make its start; None when they are not known.

    Adapters (``lora``) are no such setting: they start as nothing.
    """
    names = [field.name for field in fields(PolicySettings)]
    if not all(name in config for name in names):
        return None
    return PolicySettings(**{name: config[name] for name in names})


def starts_of(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, Start]:
    """Return the start of each agent, given their configs by name: one a distinct setting.

    The shipped model with its usual settings is ``small-seller``. An agent whose config does not
    tell how it speaks has a start of its own.
    """
    made: dict[object, Start] = {}
    starts = {}
    for agent, config in configs.items():
        settings = policy_settings(config)
        key: object = agent if settings is None else settings
        if key not in made:
            name = f"start-of-{agent}" if settings is None else _name(settings)
            taken = {start.name for start in made.values()}
            made[key] = Start(f"{name}-of-{agent}" if name in taken else name, agent)
        starts[agent] = made[key]
    return starts


def _name(settings: PolicySettings) -> str:
    """Return a name that tells in what these settings differ from the usual ones."""
    usual = PolicySettings()
    folder = _ODD.sub("-", Path(settings.model).name)[:_LONGEST_NAME]
    name = START if settings.model == usual.model else folder or "model"
    for field in ("temperature", "max_new_tokens", "briefing"):
        value = getattr(settings, field)
        if value != getattr(usual, field):
            shown = str(value)
            short = len(shown) <= _LONGEST and not _ODD.search(shown)
            name += f" {field}={shown}" if short else f" other-{field}"
    return name
