"""A customer that does as it is told, and packages installed for a test."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from convgym.customers import Customer, Decision, Reply
from convgym.errors import InfrastructureError

BROKEN_SEED = 13


class Puppet:
    """Buys when told "buy", leaves at "leave", fails at "fail"; else says what it remembers."""

    fingerprint = "puppet"
    briefing = "We sell strings."

    def __init__(self) -> None:
        self.seed = -1
        self.heard: list[str] = []
        self.closed = 0

    @property
    def latent(self) -> dict[str, Any]:
        return {"seed": self.seed, "heard": {"last": self.heard[-1] if self.heard else None}}

    def reset(self, seed: int) -> str:
        if seed == BROKEN_SEED:
            raise InfrastructureError("no connection")
        self.seed, self.heard = seed, []
        return f"hello from {seed}"

    def respond(self, utterance: str) -> Reply:
        if utterance == "fail":
            raise InfrastructureError("connection lost")
        self.heard.append(utterance)
        words = f"customer {self.seed} heard {len(self.heard)}:\n{utterance}"
        decisions = {"buy": Decision.BUY, "leave": Decision.LEAVE}
        return Reply(words, decisions.get(utterance, Decision.CONTINUE))

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def puppet() -> Callable[[], Customer]:
    return Puppet


MADE = "from convgym.customers.scripted.customer import ScriptedCustomer as Made\n"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put packages where Python finds them, as pip would: a module and its metadata."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)

    def install(
        package: str,
        name: str,
        source: str = MADE,
        group: str = "convgym.customers",
        summary: str = "",
    ) -> None:
        monkeypatch.delitem(sys.modules, package, raising=False)
        (site / f"{package}.py").write_text(source)
        info = site / f"{package}-1.0.dist-info"
        info.mkdir()
        about = f"Summary: {summary}\n" if summary else ""
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n{about}"
        )
        (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {package}:Made\n")

    return install
