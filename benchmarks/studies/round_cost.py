"""What a round of Iterative PPO costs, beside an update of online PPO, per response token.

    convgym study round-cost FILE.json

Both learn from the same conversations, in one process on one thread, by processor time. A response
token counts once for every time that the policy or the Q-function is trained on it. Collecting
conversations is left out on both sides.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from convgym.agents.algorithms.iterative_ppo import IterativePPOConfig
from convgym.agents.algorithms.online_ppo import OnlinePPO, OnlinePPOConfig
from convgym.agents.improvement.problem import SingleTurnProblem
from convgym.agents.improvement.token_ppo import TokenPPO
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.training.collector import Collector
from convgym.agents.values.fitting import corrected_advantages, epochs_of, fit
from convgym.agents.values.q_function import QEnsemble
from convgym.benchmarks.studies.study import Study, show
from convgym.datafiles import dumps
from convgym.errors import ConvgymError
from convgym.rollout import rollout
from convgym.seeds import train_seeds


def measure(conversations: int, seed: int) -> dict[str, Any]:
    """Return processor seconds and response tokens of every part."""
    config = IterativePPOConfig()
    policy = LanguageModelPolicy.from_pretrained(config=config.policy)
    model = policy.model
    episodes = rollout(policy, train_seeds(seed, conversations), policy_seed=seed)
    log = model.tokenise(episodes)
    tokens = sum(turn >= 0 for episode in log for turn in episode.turns)
    generator = torch.Generator().manual_seed(seed)

    ensemble = QEnsemble(model, config.q_function)
    held_out = round(config.gate.held_out * len(log))
    fitting, judged = _timed(lambda: fit(ensemble, log, held_out=held_out, generator=generator))
    minibatches = math.ceil((len(log) - held_out) / config.q_function.minibatch)
    epochs = epochs_of(config.q_function, minibatches, fitted=False)
    fit_tokens = epochs * round(tokens * (1 - held_out / len(log)))

    trained: list[int] = []
    score = partial(ensemble.score, generator=generator)

    def counted(prompts: Any, responses: Any) -> torch.Tensor:
        trained.append(sum(map(len, responses)))
        return score(prompts, responses)

    solver = config.improvement
    if not isinstance(solver, TokenPPO):
        raise ConvgymError("the cost is measured with token-level PPO as the improvement step")
    problem = SingleTurnProblem(
        log, counted, [corrected_advantages(*both) for both in zip(log, judged, strict=True)]
    )
    improving, _ = _timed(lambda: solver.improve(model, problem, generator=generator))
    step_tokens = solver.epochs * tokens + solver.fresh_epochs * sum(trained)

    online = OnlinePPOConfig()
    agent = OnlinePPO(online, "online-ppo")
    collecting, _ = _timed(
        lambda: rollout(agent, train_seeds(seed + 1, conversations), policy_seed=seed)
    )
    whole, _ = _timed(lambda: agent.train(Collector(conversations, seed=seed + 1)))
    # The policy and its critic are both trained on every response token.
    online_tokens = 2 * online.epochs * tokens
    per_token = (fitting + improving) / (fit_tokens + step_tokens)
    online_per_token = (whole - collecting) / online_tokens
    return {
        "conversations": conversations,
        "response_tokens": tokens,
        "fit": {"seconds": fitting, "tokens": fit_tokens},
        "improve": {"seconds": improving, "tokens": step_tokens},
        "online": {"seconds": whole - collecting, "tokens": online_tokens},
        "ratio_per_token": per_token / online_per_token,
        "ratio_per_conversation": (fitting + improving) / (whole - collecting),
    }


def _timed(action: Callable[[], Any]) -> tuple[float, Any]:
    started = time.process_time()
    result = action()
    return time.process_time() - started, result


def main(
    path: Annotated[Path, typer.Argument(help="File to write; never overwritten.")],
    conversations: int = 1024,
    seed: int = 300,
) -> None:
    """Measure what a round costs beside online PPO."""
    study = Study(path, seed=seed)
    torch.set_num_threads(1)
    study.store(**measure(conversations, seed))
    show(dumps(study.facts, indent=1))
