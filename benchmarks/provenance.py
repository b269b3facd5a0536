"""What a run was made with: code, settings, versions and machine."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

_PACKAGES = (
    "numpy",
    "gymnasium",
    "pydantic",
    "torch",
    "transformers",
    "tokenizers",
    "trl",
    "peft",
)


def provenance() -> dict[str, Any]:
    """Return what every stored measurement carries: time, commit, versions and machine."""
    return {"time": now(), "commit": commit(), "versions": versions(), "machine": machine()}


def now() -> str:
    """Return the time in UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def commit() -> dict[str, Any]:
    """Return the code's commit and whether files changed since; "unknown" from a wheel."""
    source = Path(__file__).resolve()
    # An installed copy may lie inside somebody else's repository: only trust one that tracks us.
    if _git(source.parent, "ls-files", "--error-unmatch", source.name) is None:
        return {"id": "unknown", "dirty": None}
    status = _git(source.parent, "status", "--porcelain", "--untracked-files=no")
    return {"id": _git(source.parent, "rev-parse", "HEAD") or "unknown", "dirty": bool(status)}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def versions() -> dict[str, str]:
    """Return the versions of Python and of the installed packages that decide the numbers."""
    installed = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return installed


def machine() -> dict[str, Any]:
    """Return processor, cores this process may use, memory in GB, platform, threads and GPU."""
    torch = sys.modules.get("torch")  # never loaded for this alone
    return {
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": cores(),
        "memory_gb": _memory_gb(),
        "torch_threads": torch.get_num_threads() if torch else None,
        "accelerator": _accelerator(torch),
    }


def cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or "unknown"


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, ValueError, OSError):
        return None


def _accelerator(torch: ModuleType | None) -> str | None:
    """Return the GPU that ``device="auto"`` would take; None without one, or without torch."""
    if torch is None:
        return None
    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return "mps" if torch.backends.mps.is_available() else None
