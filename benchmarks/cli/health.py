"""What ``convgym doctor`` finds: this machine, what is installed on it, and what is amiss."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from convgym.benchmarks.provenance import machine
from convgym.installing import install_command

_REQUIREMENT = re.compile(
    r"""(?P<name>[\w.-]+)\s*(\[(?P<extras>[^\]]*)\])?\s*\(?(?P<versions>[^;)]*)\)?\s*
    (;.*\bextra\s*==\s*['"](?P<extra>[^'"]+)['"].*)?$""",
    re.VERBOSE,
)
_VARIABLES = ("OPENAI_API_KEY", "OPENAI_BASE_URL")


@dataclass(frozen=True)
class Extra:
    """What an extra is made of: versions by package, and what is missing of it."""

    packages: Mapping[str, str]
    missing: tuple[str, ...]
    install: str | None
    """The command that completes it; None if nothing is missing."""


@dataclass
class Health:
    """A report on an installation. Nothing in it is secret."""

    convgym: Mapping[str, Any]
    machine: Mapping[str, Any]
    extras: Mapping[str, Extra]
    torch: Mapping[str, Any] | None
    """Version, build, device and threads; None where it is not installed or does not load."""
    environment: Mapping[str, bool]
    """Whether variables of the environment are set; never what they are set to."""
    caches: Mapping[str, Any]
    notes: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return asdict(self)


def examine() -> Health:
    """Look at everything, hold one conversation, and load torch where it is installed."""
    notes: list[str] = []
    broken = [*_unfit()]
    torch = _torch(notes, broken)
    broken += _conversation()
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    return Health(
        convgym={
            "version": metadata.version("convgym"),
            "folder": str(Path(importlib.import_module("convgym").__file__ or "").parent),
            "python": platform.python_version(),
            "executable": sys.executable,
        },
        machine={**machine(), "disk_free_gb": round(free, 1)},  # after torch: it says more then
        extras=extras(),
        torch=torch,
        environment={name: bool(os.environ.get(name)) for name in _VARIABLES},
        caches=_caches(),
        notes=notes,
        broken=broken,
    )


def requirements() -> Iterator[tuple[str | None, str, str, tuple[str, ...]]]:
    """Yield extra (None: always needed), package, versions and the package's extras."""
    for line in metadata.requires("convgym") or ():
        parts = _REQUIREMENT.match(line)
        assert parts is not None, line
        inner = tuple(filter(None, re.split(r"\s*,\s*", parts["extras"] or "")))
        yield parts["extra"], parts["name"], parts["versions"].strip(), inner


def extras() -> dict[str, Extra]:
    """Return the extras by name, but for those that are nothing but a sum of others."""
    direct: dict[str, list[str]] = {}
    sums: dict[str, list[str]] = {}
    for extra, package, _, inner in requirements():
        if extra is None:
            continue
        target = sums if package == "convgym" else direct
        target.setdefault(extra, []).extend(inner if package == "convgym" else [package])

    def members(extra: str) -> list[str]:
        return [*direct.get(extra, ()), *(p for each in sums.get(extra, ()) for p in members(each))]

    return {extra: _extra(extra, sorted(set(members(extra)))) for extra in sorted(direct)}


def _extra(name: str, packages: list[str]) -> Extra:
    versions = {package: _version(package) for package in packages}
    there = {package: version for package, version in versions.items() if version is not None}
    missing = tuple(package for package in packages if package not in there)
    return Extra(there, missing, install_command(name) if missing else None)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _unfit() -> Iterator[str]:
    """Yield what is installed in a version that convgym does not work with, or lacks altogether."""
    try:
        from packaging.specifiers import SpecifierSet
    except ModuleNotFoundError:  # comes with most extras, and tells nothing where it is not
        return
    for extra, package, wanted, _ in requirements():
        version = _version(package)
        if version is None and extra is None:
            yield f"{package} is missing, which convgym always needs: {install_command('train')}"
        elif version is not None and not SpecifierSet(wanted).contains(version, prereleases=True):
            remedy = install_command(extra) if extra else f"pip install '{package}{wanted}'"
            yield f"{package} is {version}, and convgym needs {wanted}: {remedy}"


def _torch(notes: list[str], broken: list[str]) -> dict[str, Any] | None:
    if importlib.util.find_spec("torch") is None:
        notes.append("without torch, agents cannot be trained; the environment and sellers work")
        return None
    try:
        import torch

        from convgym.llm.local.devices import find_device

        device = find_device("auto").type
    except Exception as error:  # a library that it needs, say: anything may be wrong
        broken.append(f"torch does not load: {' '.join(f'{error}'.split())[:200]}")
        return None
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU"
    if torch.version.cuda and device == "cpu":
        notes.append(
            "torch is a CUDA build and finds no GPU: it works, and the CPU build is 3 GB smaller"
            " (README, Set-up)"
        )
    return {
        "version": torch.__version__,
        "build": build,
        "device": device,
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "threads": torch.get_num_threads(),
    }


def _conversation() -> Iterator[str]:
    """Hold a conversation, which costs a moment; yield what went wrong."""
    from convgym.rollout import rollout
    from convgym.sellers import make_seller

    try:
        (episode,) = rollout(make_seller("competent"), [0])
    except Exception as error:  # whatever is wrong with the installation
        yield f"no conversation can be held: {type(error).__name__}: {error}"
    else:
        if not episode.turns:
            yield "a conversation was held, and nothing was said in it"


def _caches() -> dict[str, Any]:
    home = os.environ.get("HF_HOME") or Path("~/.cache/huggingface").expanduser()
    hub = Path(home) / "hub"
    models = sorted(folder.name for folder in hub.glob("models--*")) if hub.is_dir() else []
    return {"hugging_face": str(home), "models": len(models)}
