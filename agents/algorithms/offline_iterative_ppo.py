"""One round of Iterative PPO from a log that somebody else wrote (arXiv 2511.21638).

Iterative PPO fits Q of the policy that it deployed. Here nobody deploys: the words of a log are all
there is, without the probabilities of whoever chose them. So the round begins a step earlier:

1. ``clone``: the policy imitates the log, and becomes pi_0, an estimate of who spoke there;
2. ``fit_q``: Q of pi_0 is fitted to the log (``values``), whose returns need no probabilities;
3. ``improve``: one step from pi_0, as in Iterative PPO (``off_policy.step``);
4. ``gate``: what that gains over pi_0 is estimated on a share of the log that none of the above has
   seen, pi_0's probabilities standing in for the unknown ones. A step that is turned down leaves
   the clone, and so does one that strays further than any log can tell of. Where there is too
   little to judge by, there is no gate: nobody will know more, and the report's notes say so.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from convgym.agents.improvement.problem import Improvement
from convgym.agents.improvement.token_ppo import TokenPPO
from convgym.agents.model.config import PolicyConfig
from convgym.agents.off_policy.behaviour import with_estimated_behaviour
from convgym.agents.off_policy.gate import GateConfig
from convgym.agents.off_policy.step import gate, improve
from convgym.agents.protocol import TrainingReport
from convgym.agents.training.base import LanguageModelAgent
from convgym.agents.training.collector import Collector
from convgym.agents.training.imitation import Imitation
from convgym.agents.training.logged import read_or_write_log, refuse_one_sided
from convgym.agents.values.fitted import fit_q, held_out_of
from convgym.agents.values.q_function import QEnsemble, QFunctionConfig
from convgym.checks import check_fields
from convgym.progress import Progress, ProgressCallback, no_progress


@dataclass(frozen=True, slots=True)
class OfflineIterativePPOConfig:
    """Hyperparameters; see ``QFunctionConfig`` and the solvers of the improvement step."""

    policy: PolicyConfig = field(default_factory=PolicyConfig)
    epsilon: float = 0.1
    """Share of random acts of the mediocre seller that writes the log, where none is given."""
    cloning: Imitation = field(default_factory=Imitation)
    """Of the whole log, the gate's share left out; ``epochs=0`` where the policy wrote it."""
    q_function: QFunctionConfig = field(default_factory=QFunctionConfig)
    imitation: Imitation = field(default_factory=Imitation)
    """Of the sold conversations, before the improvement step."""
    improvement: Improvement = field(default_factory=TokenPPO)
    gate: GateConfig = field(default_factory=GateConfig)

    def __post_init__(self) -> None:
        check_fields(self, shares=("epsilon",))


class OfflineIterativePPO(LanguageModelAgent):
    """Iterative PPO with a log in place of deployments: clone, fit Q, improve once.

    With pi_0 the clone of the log and Q fitted to it::

        pi = argmax over pi of  E_{s in log, a ~ pi} Q(s, a) - beta KL(pi, pi_0)

    which improves on whoever wrote the log (arXiv 2511.21638, Theorem 1) as far as pi_0 speaks like
    them. It needs words and outcomes alone (``Collector(log=...)``), of any seller; without a log
    the mediocre scripted seller writes one with the whole budget.

    Raises:
        ConvgymError: when the model that ``config.policy`` names cannot be loaded.
    """

    Config = OfflineIterativePPOConfig
    config: OfflineIterativePPOConfig

    def train(
        self,
        collector: Collector,
        *,
        folder: Path | None = None,
        progress: ProgressCallback = no_progress,
    ) -> TrainingReport:
        """Learn from the collector's log; see ``Agent.train``.

        Raises:
            ConvgymError: for a log in which all conversations sold, or none did.
        """
        config, model = self.config, self.model
        run = self.start_run(collector, folder)
        generator = torch.Generator().manual_seed(collector.seed)
        episodes = read_or_write_log(collector, config.epsilon, progress)
        refuse_one_sided(episodes, self.name)

        if not run.state:
            log = model.tokenise(episodes)
            learned = log[held_out_of(log, config.gate.held_out) :]
            loss = config.cloning.imitate(model, learned, generator=generator, progress=progress)
            run.rows.append({} if loss is None else {"cloning_loss": loss})
            run.save({"model": model.weights(), "generator": generator.get_state(), "notes": None})
        assert run.state is not None
        model.load_weights(run.state["model"])
        generator.set_state(run.state["generator"])

        if run.state["notes"] is None:
            ensemble = QEnsemble(model, config.q_function)
            held_out = config.gate.held_out
            fitted = fit_q(
                model, ensemble, episodes, held_out=held_out, generator=generator, progress=progress
            )
            fitted = replace(fitted, log=with_estimated_behaviour(model, fitted.log))
            improved, metrics = improve(model, fitted, config, generator, progress)
            gain = gate(improved, model, fitted, config.gate)
            verdict, doubts = gain.verdict(config.gate), gain.doubts(config.gate)
            notes: list[str] = []
            if verdict == "turned down" or (doubts and gain.strays(config.gate)):
                why = doubts or ["the gate turned the improved policy down"]
                notes = [f"{each}: this is the clone of the log" for each in why]
            else:
                model.load_weights(improved.weights())
                notes = [f"no gate, as {doubt}" for doubt in doubts]
            run.rows.append(
                {
                    **fitted.metrics,
                    **metrics,
                    **gain.metrics(),
                    "passed_gate": float(verdict == "passed"),
                    "gate_judged": float(verdict != "cannot judge"),
                }
            )
            run.save({**run.state, "model": model.weights(), "notes": notes})
            progress(Progress("train", 1, 1, run.rows[-1]))
        return run.report(notes=tuple(run.state["notes"]))
