"""verifiers reaches our OpenEnv server through a bridge that it ships: its taskset ``openenv``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from convgym.customers import CUSTOMERS, Customer, register_customer
from convgym.llm.fake_server import Action, ChatServer

vf = pytest.importorskip("verifiers.v1")
pytest.importorskip("openenv.core")

from convgym.integrations.openenv import make_app  # noqa: E402
from convgym.integrations.verifiers import load_environment  # noqa: E402

pytestmark = pytest.mark.filterwarnings("default")


def test_verifiers_reaches_it_through_its_own_bridge(
    served: Callable[..., str], puppet: Callable[[], Customer], restored: Callable[[Any], None]
) -> None:
    load_environment()  # makes its harness known, which needs no sandbox
    restored(CUSTOMERS)
    register_customer("puppet", puppet)
    env_class = vf.environment_class("openenv")
    config_class = next(
        base.__args__[0] for base in env_class.__orig_bases__ if hasattr(base, "__args__")
    )
    config = config_class(
        taskset={
            "id": "openenv",
            "base_url": served(make_app({"customer": "puppet"})),
            "resets": [{"episode_seed": 3}],
        },
        player={"harness": {"id": "convgym_sales"}, "runtime": {"type": "subprocess"}},
    )

    async def hold() -> Any:
        env = env_class(config)
        context = vf.ModelContext(
            model="any",
            client=vf.EvalClientConfig(base_url=seller.url),
            sampling=vf.SamplingConfig(),
        )
        async with env.serving():
            return [await env.run_episode(task, context) for task in env.taskset]

    with ChatServer(lambda request: Action(text="buy")) as seller:
        (episode,) = asyncio.run(hold())
    assert episode.ok, episode.errors
    assert episode.traces[0].rewards["openenv_reward"].score == 1.0
    assert "hello from 3" in seller.requests[0]["messages"][-1]["content"]
