"""What all agents that learn from the difference between sold and lost have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from convgym.agents import make_agent
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.training.collector import Collector
from convgym.agents.training.logged import refuse_one_sided
from convgym.conversation import Episode, Outcome, Response, Turn
from convgym.errors import ConvgymError
from convgym.logs import write_log

torch.set_num_threads(1)

NAMES = ("awr", "ilql", "outcome-dpo", "offline-iterative-ppo")


def episodes(*outcomes: Outcome) -> list[Episode]:
    turns = (Turn(Response("What is your budget?"), "Around $700."),)
    return [
        Episode(seed, "Hi, I need a laptop.", turns, outcome, customer="a", policy="b")
        for seed, outcome in enumerate(outcomes)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_log_that_ended_one_way_is_refused_in_one_line(
    name: str, make_model: Callable[..., LanguageModel], tmp_path: Path
) -> None:
    LanguageModelPolicy(make_model(layers=1)).save(tmp_path / "model")
    cases: list[tuple[Outcome, str]]
    cases = [("walk_away", "none that sold"), ("purchase", "none that did not sell")]
    for outcome, what in cases:
        log = tmp_path / f"{outcome}.jsonl"
        write_log(log, episodes(outcome, outcome, outcome))
        agent = make_agent(name, policy={"model": str(tmp_path / "model")})
        with pytest.raises(ConvgymError, match=f"^{name} learns .* of 3 .* {what}") as caught:
            agent.train(Collector(5, seed=0, log=log))
        assert "\n" not in str(caught.value)


def test_failures_are_neither_sales_nor_losses() -> None:
    refuse_one_sided(episodes("purchase", "turn_limit"), "somebody")
    failed = replace(episodes("purchase")[0], outcome="infrastructure_failure")
    with pytest.raises(ConvgymError, match="of 1 in the log there are none that did not sell"):
        refuse_one_sided([*episodes("purchase"), failed], "somebody")
