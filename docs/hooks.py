"""What the site needs otherwise than Markdown on a forge does; named in mkdocs.yml.

- Invisible comments, which hold figures to stored files and tell tests about snippets, are left
  out.
- What pages link to outside ``docs/`` comes into the site under ``repository/``: other pages as
  pages, anything else as it is. Links are rewritten, so that they work in both places, and one that
  shows a page's file name shows its title.
- A page that mkdocs.yml's ``nav`` does not name fails the strict build; an entry without its page
  is left out.
- Griffe, which reads the sources for the API's pages, gets ``agents/`` and ``benchmarks/`` where
  they are imported from, below ``convgym``.
"""

from __future__ import annotations

import logging
import posixpath
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
LOG = logging.getLogger("mkdocs.hooks.convgym")  # warnings of "mkdocs" fail the strict build
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
"""Pages beside docs/ that the navigation names; others come in where one links to them."""

_CODE_OR_COMMENT = re.compile(
    r"^(?P<fence> *```+)[^\n]*\n.*?^(?P=fence)[^\n]*$|(?P<comment><!--.*?-->\n?)|`[^`\n]+`",
    flags=re.DOTALL | re.MULTILINE,
)
_LINK = re.compile(
    r"(?P<text>\[[^]\n]*)\]\((?!\w+:|#|/)(?P<to>[^)\s#]+)(?P<anchor>(?:#[^)\s]*)?)\)"
)

_staged: list[tempfile.TemporaryDirectory[str]] = []


class AsRead(griffe.Extension):
    """Shows docstrings' ``text::`` before a block of code as ``text:``, and no long values."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of an object that was read."""
        if isinstance(obj, griffe.Attribute) and len(str(obj.value)) > 80:
            obj.value = None  # a registry, say, with all that is in it
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"::(?=\n\n? +\S)", ":", obj.docstring.value)


def without_comments(text: str) -> str:
    """Return Markdown without its comments, code left as it is."""
    return _CODE_OR_COMMENT.sub(lambda m: "" if m["comment"] else m.group(), text)


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """Return Markdown with what is no code, and no comment, changed."""
    pieces, last = [], 0
    for code in _CODE_OR_COMMENT.finditer(text):
        pieces += [change(text[last : code.start()]), code.group()]
        last = code.end()
    return "".join([*pieces, change(text[last:])])


def place(path: str) -> str:
    """Return where a file of the repository stands in the site, by its path in the repository."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if not path.endswith(".md"):
        return f"repository/{path}"
    # README.md would be the index of its folder.
    page = path.removesuffix(".md").removesuffix("/README").lower()
    return f"repository/{page}.md"


def source(page: str) -> str:
    """Return the path in the repository of a page of the site."""
    return _sources.get(page, f"docs/{page}")


_sources: dict[str, str] = {}


def target(link: str, path: str) -> str | None:
    """Return the path in the repository that a link in ``path`` leads to; None if none is there."""
    found = posixpath.normpath(posixpath.join(posixpath.dirname(path), link))
    if (ROOT / found).is_dir():
        found = f"{found}/README.md"
    return found if (ROOT / found).is_file() and not found.startswith("..") else None


def links(path: str) -> Iterator[str]:
    """Yield the paths in the repository that a file's links lead to."""
    text = _CODE_OR_COMMENT.sub("`", (ROOT / path).read_text("utf-8"))
    yield from filter(None, (target(link["to"], path) for link in _LINK.finditer(text)))


def title(path: str) -> str:
    """Return the heading of a page, by its path in the repository."""
    heading = re.search(r"^# (.+)$", (ROOT / path).read_text("utf-8"), flags=re.MULTILINE)
    return heading[1] if heading else path


def rewritten(text: str, page: str) -> str:
    """Return a page's text with links to files of the repository as they are in the site."""

    def link(found: re.Match[str]) -> str:
        path = target(found["to"], source(page))
        if path is None:
            return found.group()  # MkDocs tells of it
        words = found["text"]
        if posixpath.basename(words[1:]) == posixpath.basename(path) and path.endswith(".md"):
            words = f"[{title(path)}"
        to = posixpath.relpath(place(path), posixpath.dirname(page) or ".")
        return f"{words}]({to}{found['anchor']})"

    return outside_code(text, lambda piece: _LINK.sub(link, piece))


@event_priority(100)
def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Leave out entries without a page, and show Griffe the sources as they are imported."""
    if config.nav is not None:
        config.nav = [entry for each in config.nav if (entry := kept(each)) is not None]
    folder = tempfile.TemporaryDirectory(prefix="convgym-site-")
    _staged[:] = [folder]
    package = Path(folder.name) / "convgym"
    only_python = shutil.ignore_patterns("__pycache__", "results", "data", "checkpoints")
    shutil.copytree(ROOT / "convgym", package, ignore=only_python)
    for name in ("agents", "benchmarks"):
        shutil.copytree(ROOT / name, package / name, ignore=only_python)
    # Where it finds Ruff, mkdocstrings starts it once a signature, which takes most of the build.
    sys.modules.setdefault("ruff.__main__", None)  # type: ignore[arg-type]
    mkdocstrings: Any = config.plugins["mkdocstrings"]
    mkdocstrings.config.handlers["python"]["paths"] = [folder.name]
    return config


def kept(entry: Any) -> Any:
    """Return an entry of the navigation without what is not there; None if nothing is left."""
    if isinstance(entry, dict):
        ((title, inner),) = entry.items()
        left = kept(inner)
        return None if left is None else {title: left}
    if isinstance(entry, list):
        return [left for each in entry if (left := kept(each)) is not None] or None
    there = entry.startswith("repository/") or (ROOT / "docs" / entry).is_file()
    if not there:
        LOG.info("mkdocs.yml's nav names %s, which is not there: left out", entry)
    return entry if there else None


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what pages link to outside of ``docs/``, and tell of pages that no group names."""
    waiting = [*PAGES, *(f"docs/{file.src_uri}" for file in files.documentation_pages())]
    seen = set(waiting)
    while waiting:
        path = waiting.pop()
        if not path.startswith("docs/"):
            _sources[place(path)] = path
            files.append(File.generated(config, place(path), abs_src_path=str(ROOT / path)))
        new = set(links(path)) - seen if path.endswith(".md") else set()
        seen |= new
        waiting += new
    named = set(entries(config.nav))
    for file in files.documentation_pages():
        if file.src_uri not in named and file.src_uri not in _sources:
            LOG.warning("add docs/%s to a group of `nav` in mkdocs.yml", file.src_uri)
    return files


def entries(nav: Any) -> Iterator[str]:
    """Yield the pages that a navigation names."""
    if isinstance(nav, str):
        yield nav
    for inner in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ():
        yield from entries(inner)


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Return a page as the site shows it."""
    return rewritten(without_comments(markdown), page.file.src_uri)


def on_post_build(config: MkDocsConfig) -> None:
    """Put away the sources that were read."""
    for folder in _staged:
        folder.cleanup()
