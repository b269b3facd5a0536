"""Direct preference optimisation of whole conversations, of which one sold and the other did not.

DPO (arXiv 2305.18290) needs pairs: two answers to one prompt, of which one is preferred. A log has
no two conversations in one state. What comes nearest are conversations that began alike: every
one that sold is paired with the lost one whose opening has the most words in common with its own.
From there on they differ in what the seller said and in what the customer answered, and DPO
compares them whole, over all of the seller's words and none of the customer's.

So trajectories of agents have been compared before (ETO, arXiv 2403.02502), and it is
not what DPO was derived for: probabilities of the customer's words cancel in the ratio of policies,
but what the customer is like does not cancel in the outcome, and neither does the partition
function where states differ (arXiv 2406.14868, which mends it by weights that TRL does
not have). A pair says which conversation was better, not whose merit that was.

As the paper does where the pairs were not sampled from the reference (section 4), the reference is
a policy that has imitated the preferred ones. TRL's trainer does the rest
(``improvement.preferences``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from convgym.agents.improvement.preferences import DPO
from convgym.agents.model.config import PolicyConfig
from convgym.agents.protocol import TrainingReport
from convgym.agents.training.base import LanguageModelAgent
from convgym.agents.training.collector import Collector
from convgym.agents.training.imitation import Imitation
from convgym.agents.training.logged import read_or_write_log, refuse_one_sided
from convgym.checks import check_fields
from convgym.progress import ProgressCallback, no_progress


@dataclass(frozen=True, slots=True)
class OutcomeDPOConfig:
    """Hyperparameters; those of ``DPO`` matter most."""

    policy: PolicyConfig = field(default_factory=PolicyConfig)
    epsilon: float = 0.1
    """Share of random acts of the mediocre seller that writes the log, where none is given."""
    imitation: Imitation = field(default_factory=Imitation)
    """Of the sold conversations, which makes the reference."""
    dpo: DPO = field(default_factory=DPO)

    def __post_init__(self) -> None:
        check_fields(self, shares=("epsilon",))


class OutcomeDPO(LanguageModelAgent):
    """DPO on pairs of whole conversations with openings alike (arXiv 2305.18290, 2403.02502).

    With pi_0 the policy that has imitated the sold conversations, c_w a sold one, c_l the lost one
    that it is paired with, and log pi(c) the sum over all response tokens of c::

        minimise  - E log sigmoid( beta [ log pi(c_w) / pi_0(c_w)  -  log pi(c_l) / pi_0(c_l) ] )

    It needs words and outcomes alone (``Collector(log=...)``), of any seller; without a log the
    mediocre scripted seller writes one with the whole budget.

    Raises:
        ConvgymError: when the model that ``config.policy`` names cannot be loaded, or TRL is
            missing.
    """

    Config = OutcomeDPOConfig
    config: OutcomeDPOConfig

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
        # One by one, so that every conversation that can be read keeps its opening.
        read = [(episode, tokens) for episode in episodes for tokens in model.tokenise([episode])]
        refuse_one_sided([episode for episode, _ in read], self.name)
        sold = [(episode.opening, tokens) for episode, tokens in read if episode.converted]
        lost = [(episode.opening, tokens) for episode, tokens in read if not episode.converted]

        if not run.state:
            chosen = [tokens for _, tokens in sold]
            loss = config.imitation.imitate(model, chosen, generator=generator, progress=progress)
            run.rows.append({} if loss is None else {"imitation_loss": loss})
            run.save({"model": model.weights(), "generator": generator.get_state(), "done": False})
        assert run.state is not None
        model.load_weights(run.state["model"])
        generator.set_state(run.state["generator"])

        if not run.state["done"]:
            partners = pair_by_opening([text for text, _ in sold], [text for text, _ in lost])
            pairs = [(sold[i][1], lost[j][1]) for i, j in enumerate(partners)]
            preferring, metrics = config.dpo.prefer(
                model, pairs, generator=generator, progress=progress
            )
            model.load_weights(preferring.weights())
            run.rows.append({"pairs": len(pairs), **metrics})
            run.save({**run.state, "model": model.weights(), "done": True})
        return run.report()


def pair_by_opening(sold: Sequence[str], lost: Sequence[str]) -> list[int]:
    """Return for every sold conversation which of the lost ones its opening is most like.

    Likeness is the share of words that two openings have in common (Jaccard): of all different
    words of either, upper or lower case alike, those of both. Of equally like ones the one that was
    taken least often so far is taken, the earlier before the later.

    Args:
        sold: openings of conversations that sold.
        lost: openings of conversations that did not, at least one.
    """
    likeness = _common_words(sold, lost)
    taken = np.zeros(len(lost))
    partners = []
    for row in likeness:
        best = np.flatnonzero(row >= row.max() - 1e-9)
        partner = int(best[taken[best].argmin()])
        taken[partner] += 1
        partners.append(partner)
    return partners


def _common_words(texts: Sequence[str], others: Sequence[str]) -> NDArray[np.float64]:
    """Return the words that texts (N,) and others (M,) have in common, as shares (N, M)."""
    words = [set(re.findall(r"\w+", text.lower())) for text in (*texts, *others)]
    columns = {word: i for i, word in enumerate(sorted(set().union(*words)))}
    holds = np.zeros((len(words), len(columns)))
    for row, of_text in enumerate(words):
        holds[row, [columns[word] for word in of_text]] = 1
    left, right = holds[: len(texts)], holds[len(texts) :]
    common = left @ right.T
    either = left.sum(1)[:, None] + right.sum(1)[None] - common
    shares: NDArray[np.float64] = common / np.maximum(either, 1)
    return shares
