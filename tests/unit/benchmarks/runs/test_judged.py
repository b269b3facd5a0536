"""One seller judged by itself."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from convgym.benchmarks.runs.judged import judge_one
from convgym.customers.scripted.customer import ScriptedCustomer
from convgym.errors import InfrastructureError
from convgym.rollout import rollout
from convgym.seeds import evaluation_seeds
from convgym.sellers import make_seller
from convgym.statistics import wilson_interval


def test_a_seller_is_judged_on_the_customers_of_the_benchmark() -> None:
    seller = make_seller("competent")
    report = judge_one(seller, 30, seed=2)
    episodes = rollout(seller, evaluation_seeds(2, 30), policy_seed=2)
    sales = sum(episode.converted for episode in episodes)
    assert 0 < sales < 30 and report["sales"] == sales
    interval = wilson_interval(sales, 30)
    assert report["conversion"] == {
        "value": interval.value,
        "low": interval.low,
        "high": interval.high,
    }
    assert report["mean_turns"] == sum(len(episode.turns) for episode in episodes) / 30
    assert report["range"]["name"] == "evaluation" and report["range"]["seed"] == 2
    assert report["range"]["episode_seeds"] == [2**31, 2**32 - 1]


class Down(ScriptedCustomer):
    def respond(self, text: str) -> Any:
        raise InfrastructureError("no backend")


def test_a_customer_that_always_fails_is_no_result() -> None:
    with pytest.raises(InfrastructureError, match="the customer failed in all of 3 conversations"):
        judge_one(make_seller("silent"), 3, environment={"customer": Down})


def test_a_seller_by_rule_is_judged_without_torch() -> None:
    code = (
        "import sys\n"
        "from convgym.benchmarks.cli.main import main\n"
        "try: main(['evaluate', 'competent', '--customers', '5'])\n"
        "except SystemExit as left: assert not left.code\n"
        "print(*{'torch', 'transformers'} & sys.modules.keys())"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "", result.stdout
