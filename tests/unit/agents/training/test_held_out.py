"""Nothing that learns meets a catalogue that is reserved for evaluation."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from convgym.agents import AGENTS, make_agent
from convgym.agents.pretrain import pretrain
from convgym.customers.scripted.customer import ScriptedCustomer
from convgym.errors import ConvgymError
from convgym.shop.catalog import load_catalog, refuse_held_out

RESERVED = "catalog 'bicycles' is reserved for evaluation: train on another"


@pytest.mark.parametrize("name", AGENTS.shipped)
def test_agents_refuse_to_train_on_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConvgymError, match=RESERVED):
        make_agent(name).train(
            conversations=8, seed=0, environment={"catalog": "bicycles"}, folder=tmp_path
        )
    assert not list(tmp_path.iterdir())


def test_the_start_model_is_not_made_from_it(tmp_path: Path) -> None:
    with pytest.raises(ConvgymError, match=RESERVED):
        pretrain(tmp_path / "model", conversations=20, environment={"catalog": "bicycles"})


@pytest.mark.parametrize(
    "environment",
    [
        {"catalog": load_catalog("bicycles")},
        {"customer": ScriptedCustomer("bicycles")},
        {"customer": partial(ScriptedCustomer, catalog="bicycles")},
        {"customer_options": {"catalog": "bicycles"}},
        {
            "customer": "suggested",
            "customer_options": {"inner": partial(ScriptedCustomer, catalog="bicycles")},
        },
    ],
)
def test_there_is_no_way_round(environment: dict[str, Any]) -> None:
    with pytest.raises(ConvgymError, match=RESERVED) as caught:
        refuse_held_out(environment)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "environment",
    [None, {}, {"catalog": "insurance"}, {"customer": ScriptedCustomer}, {"customer": "scripted"}],
)
def test_other_shops_may_be_trained_on(environment: dict[str, Any] | None) -> None:
    refuse_held_out(environment)
