"""Inspect evaluates a model that is a script, on customers of ours."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from convgym.customers import CUSTOMERS, Customer, register_customer
from convgym.errors import ConvgymError
from convgym.seeds import evaluation_seeds, train_seeds
from convgym.sellers.prompt import seller_prompt

inspect_ai = pytest.importorskip("inspect_ai")

from inspect_ai.model import ModelOutput, ModelUsage, get_model  # noqa: E402

from convgym.integrations.inspect_ai import sales  # noqa: E402

pytestmark = pytest.mark.filterwarnings("default")


def evaluated(task: Any, folder: Path, *said: str, **limits: Any) -> Any:
    """Evaluate a model that says ``said`` turn by turn, and return Inspect's log."""

    def speak(messages: Any, *_: Any) -> ModelOutput:
        turn = sum(message.role == "assistant" for message in messages)
        output = ModelOutput.from_content("mockllm/model", said[turn % len(said)])
        output.usage = ModelUsage()  # else Inspect fetches a tokenizer to count with
        return output

    model = get_model("mockllm/model", custom_outputs=speak)
    (log,) = inspect_ai.eval(task, model=model, display="none", log_dir=str(folder), **limits)
    gc.collect()  # what Inspect leaves open is told here, and not when pytest ends
    assert log.status == "success", log.error
    return log


def test_samples_are_customers_of_the_product() -> None:
    samples = sales(customers=3, seed=4).dataset
    assert [sample.metadata["episode_seed"] for sample in samples] == train_seeds(4, 3)
    reserved = sales(customers=2, evaluation=True).dataset
    assert [sample.id for sample in reserved] == [str(seed) for seed in evaluation_seeds(0, 2)]
    with pytest.raises(ConvgymError, match="unknown environment option"):
        sales(shop="laptops")


def test_the_command_line_knows_it_by_name() -> None:
    from inspect_ai._eval.registry import task_create

    task = task_create("convgym/sales", customers=2, catalog="insurance")
    assert [sample.metadata["episode_seed"] for sample in task.dataset] == train_seeds(0, 2)


def test_it_is_the_conversation_of_the_environment(tmp_path: Path) -> None:
    options: dict[str, Any] = {"catalog": "insurance", "max_turns": 2}
    said = ["What is it for?", "What is your budget?"]
    log = evaluated(sales(customers=1, **options), tmp_path, *said)
    env = gymnasium.make("convgym/Sales-v0", **options)
    env.reset(options={"episode_seed": train_seeds(0, 1)[0]})
    for text in said:
        *_, info = env.step(text)
    messages = [{"role": each.role, "content": each.text} for each in log.samples[0].messages]
    assert messages == [
        {"role": "system", "content": seller_prompt("insurance")},
        *info["messages"],
    ]
    score = log.samples[0].scores["conversion"]
    assert (score.value, score.explanation, score.metadata) == (0.0, "turn_limit", {"turns": 2})


def test_a_conversation_that_inspect_ends_is_unsold(tmp_path: Path) -> None:
    log = evaluated(sales(customers=1), tmp_path, "Hello.", message_limit=5)
    score = log.samples[0].scores["conversion"]
    assert (score.value, score.explanation) == (0.0, "ended by a limit of Inspect")
    assert score.metadata["turns"] >= 1


def test_the_score_is_the_conversion_rate_of_those_who_could_answer(
    puppet: Callable[[], Customer], tmp_path: Path, restored: Callable[[Any], None]
) -> None:
    class Moody(type(puppet())):  # type: ignore[misc]
        """Buys, leaves and fails in turn."""

        def respond(self, utterance: str) -> Any:
            return super().respond(["buy", "leave", "fail"][train_seeds(0, 3).index(self.seed)])

    restored(CUSTOMERS)
    register_customer("moody", Moody)
    log = evaluated(sales(customers=3, customer="moody"), tmp_path, "Hello.")
    assert log.results.scores[0].metrics["mean"].value == 0.5
    scores = {sample.id: sample.scores["conversion"] for sample in log.samples}
    failed = scores[str(train_seeds(0, 3)[2])]
    assert math.isnan(failed.value)  # unscored
    assert (failed.reason, failed.explanation) == ("infrastructure_failure", "connection lost")
