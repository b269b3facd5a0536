"""What makes two runs the same: settings, and the content of what they name, not where it lies."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import convgym
import convgym.agents
import convgym.benchmarks
from convgym.benchmarks.runs.suites import Suite
from convgym.datafiles import dumps
from convgym.envs.scenario import customer_fingerprint

_FILES = ("catalog", "personas")
"""Options of the environment that may name a file."""
_LATER: Mapping[str, object] = {"seeds": {}, "keep": []}
"""Fields of a suite that runs of earlier versions lack, which is as if they said nothing."""
_SOURCES = {".py", ".json", ".html", ".safetensors"}
_MADE_BY = ("convgym", "commit", "versions")
"""What a run was made by, beside its settings."""


def content(suite: Suite, configs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return digests of all that a run reads: customers, catalogues, personas, models, log, code.

    Raises ConvgymError for a customer that cannot be made.
    """
    judged = suite.evaluation_environment
    models = {name: str(_policy(config).get("model")) for name, config in configs.items()}
    models |= {name: name[3:] for name in suite.sellers if name.startswith("hf:")}
    return {
        "code": code_digest(),
        "training": _environment(suite.environment) if suite.agents else None,
        "evaluation": _environment(judged),
        "models": {
            name: _digest(sorted(folder.rglob("*")), folder)
            for name, model in models.items()
            if (folder := Path(model)).is_dir()
        },
        # Runs without one are compared with those that were stored before logs were digested.
        **({"log": _short(Path(suite.log).read_bytes())} if suite.agents and suite.log else {}),
    }


def first_difference(
    earlier: Mapping[str, Any], later: Mapping[str, Any], *, settings_only: bool = False
) -> str | None:
    """Say where two runs first differ, or return None when they are the same.

    Args:
        earlier: the entry ``run`` of a stored manifest.
        later: that of the run at hand.
        settings_only: leave out the code and the versions that they were made by.
    """
    here, there = _comparable(earlier, settings_only), _comparable(later, settings_only)
    if settings_only:  # runs that earlier versions finished lack what was not kept then
        there = {name: value for name, value in there.items() if name in here}
    return _difference(here, there)


def judging(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return what decides whom a run judged everybody on, of the entry ``run`` of a manifest."""
    plain = _comparable(run, settings_only=False)
    suite, digests = plain["suite"], _mapping(plain.get("content"))
    return {
        "seed": plain["seed"],
        "evaluation_episodes": suite["evaluation_episodes"],
        "environment": {**suite["environment"], **_mapping(suite.get("evaluation"))},
        "content.evaluation": digests.get("evaluation"),
    }


def making(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run was made with beside: budget, customers of training, code, versions."""
    plain = _comparable(run, settings_only=False)
    suite, digests = plain["suite"], _mapping(plain.get("content"))
    trained = {
        "conversations": suite.get("conversations"),
        "environment of training": suite["environment"],
        "content.training": digests.get("training"),
        "content.log": digests.get("log"),
    }
    return {
        **{name: plain[name] for name in _MADE_BY},
        "content.code": digests.get("code"),
        **(trained if suite["agents"] else {}),
    }


def differences(earlier: Mapping[str, Any], later: Mapping[str, Any]) -> list[str]:
    """Return where two of ``judging`` or ``making`` differ, in what both say."""
    changes = [_difference(earlier[name], later[name], name) for name in earlier if name in later]
    return [change for change in changes if change]


def _comparable(run: Mapping[str, Any], settings_only: bool) -> dict[str, Any]:
    """Return a run without paths, whose content is compared, as JSON knows it."""
    plain: dict[str, Any] = json.loads(dumps(run))
    suite, digests = plain["suite"], _mapping(plain.get("content"))
    for name, nothing in _LATER.items():
        if suite.get(name) == nothing:
            del suite[name]
    for place in ("environment", "evaluation"):
        options = _mapping(suite.get(place))
        for within in (options, _mapping(options.get("customer_options"))):
            within.update({name: "a file" for name in _FILES if _is_file(within.get(name))})
    if "log" in digests:
        suite["log"] = "a file"
    for name in _mapping(digests.get("models")):
        for settings in (plain["agents"].get(name), _mapping(suite.get("overrides")).get(name)):
            policy = _policy(_mapping(settings))
            if "model" in policy:
                policy["model"] = "a folder"
    if settings_only:
        digests.pop("code", None)
        plain = {name: value for name, value in plain.items() if name not in _MADE_BY}
    return plain


def _mapping(value: Any) -> dict[str, Any]:
    """Return what may have been damaged, or may not be there, as a mapping."""
    return value if isinstance(value, dict) else {}


def _policy(config: Mapping[str, Any]) -> Any:
    """Return the part of an agent's config that names its model."""
    policy = config.get("policy")
    return policy if isinstance(policy, Mapping) else config


def _difference(earlier: Any, later: Any, name: str = "") -> str | None:
    if earlier == later:
        return None
    if isinstance(earlier, dict) and isinstance(later, dict):
        for key in dict.fromkeys([*earlier, *later]):
            path = f"{name}.{key}" if name else key
            if key not in earlier or key not in later:
                here, there = earlier.get(key, "nothing"), later.get(key, "nothing")
                return f"{path} = {here}, not {there}"
            change = _difference(earlier[key], later[key], path)
            if change:
                return change
    return f"{name} = {earlier}, not {later}"


def _environment(options: Mapping[str, Any]) -> dict[str, Any]:
    digests: dict[str, Any] = {"customer": customer_fingerprint(options)}
    for within in (options, options.get("customer_options") or {}):
        for name in _FILES:
            source: Any = within.get(name)
            if _is_file(source):
                digests[name] = _short(Path(source).read_bytes())
            elif hasattr(source, "model_dump_json"):
                digests[name] = _short(source.model_dump_json().encode())
    return digests


def code_digest() -> str:
    """Return a digest of the package's sources: a commit does not tell of changes since."""
    digests = []
    for package in (convgym, convgym.agents, convgym.benchmarks):
        folder = Path(str(package.__file__)).parent
        own = [path for path in folder.rglob("*") if path.suffix in _SOURCES]
        stored = folder / "results"  # of measurements, not read by any
        digests.append(_digest(sorted(set(own) - set(stored.rglob("*"))), folder))
    return _short("".join(digests).encode())


def _digest(paths: Iterable[Path], folder: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _short(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _is_file(source: Any) -> bool:
    return isinstance(source, Path) or (isinstance(source, str) and source.endswith(".json"))
