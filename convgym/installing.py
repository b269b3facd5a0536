"""How to install what is missing: in the way in which this convgym itself was installed."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from pathlib import Path


def install_command(extra: str) -> str:
    """Return the command that adds an extra to this convgym, to be typed from any folder.

    A convgym that was installed from a source folder, a wheel or a repository is completed from
    there, with the installer that put it here (PEP 610, PEP 627): no index need have it.
    """
    from importlib import metadata  # not before something is missing: it takes its time

    try:
        distribution = metadata.distribution("convgym")
        origin = json.loads(distribution.read_text("direct_url.json") or "null")
        installer = (distribution.read_text("INSTALLER") or "").strip()
    except (metadata.PackageNotFoundError, ValueError):
        origin, installer = None, ""
    return " ".join([*_installer(installer), *map(_quoted, _requirement(extra, origin))])


def _requirement(extra: str, origin: object) -> list[str]:
    """Return what to install, from what ``direct_url.json`` says; None is an index."""
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    match origin:
        case {"url": str(url), "dir_info": dict(info)}:
            folder = url2pathname(urlsplit(url).path)
            if not Path(folder, "pyproject.toml").exists():  # moved, or removed
                return [f"convgym[{extra}]"]
            return [*(["-e"] if info.get("editable") else []), f"{folder}[{extra}]"]
        case {"url": str(url), "vcs_info": {"vcs": str(vcs), "commit_id": str(commit)}}:
            return [f"convgym[{extra}] @ {vcs}+{url}@{commit}"]
        case {"url": str(url), "archive_info": dict()}:
            return [f"convgym[{extra}] @ {url}"]
    return [f"convgym[{extra}]"]


def _installer(name: str) -> list[str]:
    if name == "uv":  # leaves environments without pip
        return ["uv pip install"]
    pip = shutil.which("pip")
    if pip is not None and Path(pip).parent == Path(sys.executable).parent:
        return ["pip install"]
    return [_quoted(sys.executable), "-m pip install"]  # the pip of this Python, not another's


def _quoted(word: str) -> str:
    if sys.platform == "win32":  # single quotes mean nothing to its command line
        return f'"{word}"' if any(character in word for character in " []@") else word
    return shlex.quote(word)
