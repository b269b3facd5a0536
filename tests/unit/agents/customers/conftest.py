"""A tiny learned customer, fitted to next to nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from convgym.agents.pretrain_customer import CustomerConfig, pretrain_customer

TINY = CustomerConfig(
    vocabulary=480,
    hidden=16,
    layers=1,
    heads=2,
    key_value_heads=1,
    intermediate=16,
    chapters=2,
    conversations=40,
    minibatch=8,
    learning_rate=0.02,
)


@pytest.fixture(scope="session")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("learned") / "customer"
    pretrain_customer(folder, config=TINY)
    return folder
