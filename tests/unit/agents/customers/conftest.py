"""A learned customer to talk to."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.agents.learned import tiny_learned_customer


@pytest.fixture(scope="session")
def fitted() -> Path:
    return Path(tiny_learned_customer())
