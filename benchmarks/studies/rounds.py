"""One run of Iterative PPO, seen from inside and judged by true values.

    convgym study rounds FOLDER

After every round's improvement step, states of the round's log are branched on copies of the
customer (``true_values``), with the deployed policy going on afterwards, which gives Q^pi and V^pi
themselves. From them:

- how good the fitted Q is (``q_report``), and whether it reads responses at all (action shuffle);
- the premise of Theorem 1 (arXiv 2511.21638): the share of states at which the new policy's
  responses are worth at least as much as the deployed policy's, by true Q;
- the gain that this predicts to first order, turns times mean advantage, beside the gain in
  conversion that the next deployment brought, and what the gate had predicted from the log;
- over-optimisation: after every pass of the step, learned Q, true Q and conversion of the policy as
  it then was, against its KL divergence from the deployed one.

Writes ``rounds.json`` and ``over_optimisation.png``. Only training customers are met.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from convgym.agents.algorithms.iterative_ppo import IterativePPO, IterativePPOConfig, Round
from convgym.agents.improvement.token_ppo import TokenPPO
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.training.collector import Collector
from convgym.agents.values.diagnostics import action_shuffle, log_loss
from convgym.agents.values.pairs import token_pairs
from convgym.agents.values.report import q_report
from convgym.benchmarks.studies.study import Study, show
from convgym.conversation import Response
from convgym.datafiles import dumps
from convgym.policy import Policy
from convgym.rollout import rollout
from convgym.seeds import train_seeds
from convgym.true_values import BranchState, TrueValues, branch, choose_states, sample_responses

Array = NDArray[np.float64]
_FRESH = 1_000_000
"""Added to the training seed: customers of the training range that the run itself does not meet."""
_FINAL_CUSTOMERS = 1024
"""Fresh customers who say what the last round's deployment gained."""


@dataclass(frozen=True)
class Sizes:
    """How closely a round is looked at."""

    states: int = 40
    responses: int = 6
    """Per state, by each policy."""
    rollouts: int = 12
    """Per response; three times as many for V."""
    customers: int = 256
    """Fresh customers for the conversion after every pass."""
    passes: int = 16
    """Passes and batches of a step that are looked at, evenly spaced, the last among them."""


class Observer:
    """Looks at every round, a ``RoundObserver``; ``rows`` holds what it saw."""

    def __init__(self, sizes: Sizes, seed: int) -> None:
        self.sizes, self.seed = sizes, seed
        self.rows: list[dict[str, Any]] = []
        self._models: list[LanguageModel] = []

    def after_pass(self, model: LanguageModel) -> None:
        """Keep a copy of the policy as it is."""
        self._models.append(model.copy())

    def after_round(self, round: Round) -> None:
        """Measure a round."""
        sizes, seed = self.sizes, self.seed * 1000 + round.number
        states = choose_states(round.episodes, sizes.states, seed=seed)
        deployed = LanguageModelPolicy(round.reference)
        said, true, learned = self._values(deployed, deployed, states, round, seed)
        report = q_report(
            learned,
            true.q_returns,
            v_returns=true.v_returns,
            lengths=[[len(response.text.split()) for response in responses] for responses in said],
            shuffle=_shuffle(round, seed),
        )
        new = LanguageModelPolicy(round.improved)
        _, new_true, new_learned = self._values(new, deployed, states, round, seed + 500)
        gain = new_true.q.mean(1) - true.v  # (S,)
        turns = float(np.mean([len(episode.turns) for episode in round.episodes]))
        row = {
            "round": round.number + 1,
            "metrics": dict(round.metrics),
            "q": report.to_dict(),
            "premise": premise(new_true, true.v_returns),
            "gain_per_turn": float(gain.mean()),
            "gain_per_turn_se": float(gain.std(ddof=1) / len(gain) ** 0.5),
            "learned_gain_per_turn": float((new_learned.mean(1) - learned.mean(1)).mean()),
            "turns": turns,
            "predicted_gain": turns * float(gain.mean()),
            "passes": [
                self._pass(model, deployed, states, round, true, learned, seed)
                for model in self._seen()
            ],
        }
        self.rows.append(row)
        show(dumps({key: value for key, value in row.items() if key != "q"}), str(report))

    def _seen(self) -> list[LanguageModel]:
        """Return the models of this round's passes, evenly spaced, and forget them."""
        every = math.ceil(len(self._models) / self.sizes.passes) or 1
        chosen = self._models[::-1][::every][::-1]
        self._models = []
        return chosen

    def _values(
        self,
        speaker: LanguageModelPolicy,
        deployed: Policy,
        states: Sequence[BranchState],
        round: Round,
        seed: int,
        share: int = 1,
    ) -> tuple[list[list[Response]], TrueValues, Array]:
        """Return the speaker's responses, their true values (S, K) and the learned ones (S, K)."""
        sizes = self.sizes
        said = sample_responses(speaker, states, max(2, sizes.responses // share), seed=seed)
        true = branch(
            deployed,
            states,
            said,
            rollouts=max(2, sizes.rollouts // share),
            value_rollouts=3 * sizes.rollouts if share == 1 else 0,
            seed=seed,
        )
        prompts, responses = token_pairs(states, said, round.reference.format)
        generator = torch.Generator().manual_seed(seed)
        scores = round.fitted.ensemble.score(prompts, responses, generator=generator).cpu().numpy()
        return said, true, scores.astype(float).reshape(true.q.shape)

    def _pass(
        self,
        model: LanguageModel,
        deployed: Policy,
        states: Sequence[BranchState],
        round: Round,
        true: TrueValues,
        learned: Array,
        seed: int,
    ) -> dict[str, float]:
        policy = LanguageModelPolicy(model)
        _, new_true, new_learned = self._values(policy, deployed, states, round, seed + 600, 2)
        gain = new_true.q.mean(1) - true.v
        fresh = rollout(policy, train_seeds(_FRESH + seed, self.sizes.customers), policy_seed=seed)
        return {
            "kl": model.divergence(round.reference, round.fitted.log[:64]),
            "learned_gain": float((new_learned.mean(1) - learned.mean(1)).mean()),
            "true_gain": float(gain.mean()),
            "true_gain_se": float(gain.std(ddof=1) / len(gain) ** 0.5),
            "conversions": sum(episode.converted for episode in fresh),
            "customers": sum(episode.valid for episode in fresh),
        }


def premise(new: TrueValues, v_returns: Array) -> dict[str, float]:
    """Return how often the premise of Theorem 1 holds over S states, with its certainty.

    ``holds`` counts states at which the mean true Q of the new responses is at least V; sampling
    error draws it towards 1/2. ``surely_better`` and ``surely_worse`` count those at which the
    difference exceeds 1.96 standard errors.
    """
    responses = new.q.shape[1]
    gain = new.q.mean(1) - v_returns.mean(1)
    error = np.sqrt(
        new.q.var(1, ddof=1) / responses
        + v_returns.var(1, ddof=1) / v_returns.shape[1]
        + 1e-12  # certain on both sides: equal values are no surprise
    )
    return {
        "states": len(gain),
        "holds": float((gain >= 0).mean()),
        "surely_better": float((gain > 1.96 * error).mean()),
        "surely_worse": float((gain < -1.96 * error).mean()),
    }


def _shuffle(round: Round, seed: int, conversations: int = 100) -> Any:
    """Measure how much worse Q becomes when responses are exchanged among states of equal turn."""
    log = round.fitted.log[:conversations]
    prompts = [episode.ids[:start] for episode in log for start in episode.response_starts()]
    turns = [turn for episode in log for turn in range(episode.n_turns)]
    said = [
        tuple(token for token, t in zip(episode.ids, episode.turns, strict=True) if t == turn)
        for episode in log
        for turn in range(episode.n_turns)
    ]
    outcomes = [episode.outcome for episode in log for _ in range(episode.n_turns)]

    def loss(permutation: NDArray[np.int64]) -> float:
        scores = round.fitted.ensemble.score(
            prompts,
            [said[i] for i in permutation],
            generator=torch.Generator().manual_seed(seed),
        )
        return log_loss(scores.cpu().numpy(), outcomes)

    return action_shuffle(loss, len(said), groups=turns, repeats=2, seed=seed)


def measure(
    folder: Path, config: IterativePPOConfig, conversations: int, seed: int, sizes: Sizes
) -> dict[str, Any]:
    """Train one agent under observation and write what was seen to ``folder``."""
    study = Study(folder / "rounds.json", seed=seed)
    agent = IterativePPO(config, "iterative-ppo")
    observer = agent.observer = Observer(sizes, seed)
    report = agent.train(Collector(conversations, seed=seed))
    final = rollout(agent, train_seeds(_FRESH + seed, _FINAL_CUSTOMERS), policy_seed=seed)
    after = [row["metrics"]["conversion"] for row in observer.rows[1:]]
    after.append(
        sum(episode.converted for episode in final) / sum(episode.valid for episode in final)
    )
    for row, conversion in zip(observer.rows, after, strict=True):
        row["realised_gain"] = conversion - row["metrics"]["conversion"]
    study.store(
        conversations=report.usage.conversations,
        sizes=asdict(sizes),
        config=asdict(config),
        rounds=observer.rows,
        final={
            "conversions": sum(episode.converted for episode in final),
            "customers": len(final),
        },
    )
    plot(study.facts, folder / "over_optimisation.png")
    return study.facts


def plot(facts: Mapping[str, Any], path: Path) -> None:
    """Draw learned Q, true Q and conversion against KL, a panel a round."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    rounds = [row for row in facts["rounds"] if row["passes"]]
    figure, axes = plt.subplots(
        1, len(rounds), figsize=(3.2 * len(rounds), 3.2), sharey=True, squeeze=False
    )
    for axis, row in zip(axes[0], rounds, strict=True):
        passes = row["passes"]
        kl = [0.0, *(seen["kl"] for seen in passes)]
        learned = [0.0, *(seen["learned_gain"] for seen in passes)]
        axis.plot(kl, learned, "o-", label="learned Q, per turn")
        axis.errorbar(
            kl[1:],
            [seen["true_gain"] for seen in passes],
            yerr=[1.96 * seen["true_gain_se"] for seen in passes],
            fmt="s-",
            capsize=2,
            label="true Q, per turn",
        )
        start = row["metrics"]["conversion"]
        rates = [0.0, *(seen["conversions"] / seen["customers"] - start for seen in passes)]
        axis.plot(kl, rates, "^--", label="conversion")
        axis.axhline(0, color="grey", linewidth=0.5)
        axis.set_title(f"round {row['round']}, from {100 * start:.0f}%", fontsize=9)
        axis.set_xlabel("KL from the deployed policy, nats a response", fontsize=8)
    axes[0][0].set_ylabel("gain over the deployed policy")
    axes[0][0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(
    folder: Annotated[Path, typer.Argument(help="Folder to write; never overwritten.")],
    conversations: int = 4096,
    rounds: int = IterativePPOConfig().rounds,
    seed: int = 100,
    states: int = 40,
    batches: Annotated[
        int, typer.Option(help="Of fresh responses, in every step.")
    ] = TokenPPO().fresh_steps,
    kl_coefficient: Annotated[
        float, typer.Option(help="On fresh responses; 0 shows how a step goes wrong.")
    ] = TokenPPO().fresh_kl_coefficient,
    target_kl: float = TokenPPO().target_kl,
) -> None:
    """Measure one run of Iterative PPO round by round against true values."""
    improvement = TokenPPO(
        fresh_steps=batches, fresh_kl_coefficient=kl_coefficient, target_kl=target_kl
    )
    config = IterativePPOConfig(rounds=rounds, improvement=improvement)
    measure(folder, config, conversations, seed, Sizes(states=states))
