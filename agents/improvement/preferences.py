"""TRL's DPO on pairs of conversations.

A pair is two rows of token ids, of which the customer's are masked: there are no texts for TRL to
tokenise. So it is given the numbers of pairs alone, and its collator looks them up. What else makes
it see our policy as it is stands in ``trl``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PrinterCallback

from convgym.agents.improvement.trl import (
    Dataset,
    DPOConfig,
    DPOTrainer,
    Reporter,
    bar,
    quiet,
    seclusion,
    words_of,
)
from convgym.agents.model.batch import TokenisedEpisode, collate
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.weights import trained_weights
from convgym.checks import check_fields
from convgym.progress import ProgressCallback, no_progress

_OF_PREFERENCES = {
    "loss": "preference_loss",
    "rewards/accuracies": "accuracy",
    "rewards/margins": "margin",
}
"""TRL's names of metrics, and ours."""


@dataclass(frozen=True, slots=True)
class DPO:
    """Direct preference optimisation, by TRL (Rafailov et al. 2023, arXiv 2305.18290, equation 7).

    Of two conversations, of which the first is preferred, with log pi(c) the sum over all response
    tokens of the conversation c::

        minimise  - log sigmoid( beta [ log pi(c_w) / pi_0(c_w)  -  log pi(c_l) / pi_0(c_l) ] )

    Probabilities are those at temperature 1.

    Raises:
        ConvgymError: for settings that cannot be.
    """

    beta: float = 0.1
    """What holds the policy to the reference: the larger, the nearer it stays."""
    per_token: bool = False
    """Whether log-ratios are means over a conversation's response tokens and not sums (TRL's
    ``sigmoid_norm``), so that long conversations count no more than short ones; then ``beta`` must
    be some ten times as large."""
    epochs: int = 1
    """Passes over the pairs."""
    minibatch: int = 16
    """Pairs per optimiser step."""
    learning_rate: float = 1e-4
    """At first; it falls to 0 in a line."""
    max_gradient_norm: float = 1.0

    def __post_init__(self) -> None:
        check_fields(
            self,
            counts=("minibatch", "epochs"),
            positive=("beta",),
            from_zero=("learning_rate",),
            bounds=("max_gradient_norm",),
        )

    def prefer(
        self,
        reference: LanguageModel,
        pairs: Sequence[tuple[TokenisedEpisode, TokenisedEpisode]],
        *,
        generator: torch.Generator,
        progress: ProgressCallback = no_progress,
    ) -> tuple[LanguageModel, dict[str, float]]:
        """Return a copy of ``reference`` that prefers the first conversation of every pair.

        Args:
            reference: pi_0, which stays as it is.
            pairs: conversations, the preferred one first.
            generator: order of the pairs.
            progress: told after every step, as stage "prefer".

        Returns:
            The model, and TRL's metrics of the last step: ``preference_loss``, ``accuracy``, the
            share of the minibatch's pairs that it orders rightly, and ``margin``, the mean of what
            the sigmoid is taken of.
        """
        reporter = Reporter(progress, "prefer", _OF_PREFERENCES)
        network, anchor = reference.copy().network, reference.copy().network
        seed = int(torch.randint(2**31, (), generator=generator, device="cpu"))
        with tempfile.TemporaryDirectory() as folder, seclusion(reference.device):
            for each in (network, anchor):
                bar(each, reference.format)
            trainer = _PairTrainer(
                model=network,
                ref_model=anchor,
                args=DPOConfig(
                    output_dir=folder,
                    num_train_epochs=self.epochs,
                    per_device_train_batch_size=self.minibatch,
                    learning_rate=self.learning_rate,
                    beta=self.beta,
                    loss_type=["sigmoid_norm" if self.per_token else "sigmoid"],
                    max_grad_norm=self.max_gradient_norm,
                    max_length=None,
                    remove_unused_columns=False,
                    **quiet(reference, seed),
                ),
                data_collator=_PairCollator(pairs, reference.format.pad_id),
                train_dataset=Dataset.from_dict({"pair": list(range(len(pairs)))}),
                processing_class=words_of(reference).tokenizer,
                callbacks=[reporter],
            )
            trainer.remove_callback(PrinterCallback)
            trainer.train()
        network.set_output_embeddings(network.get_output_embeddings().head)
        preferring = reference.copy()
        preferring.load_weights(trained_weights(network))
        return preferring, reporter.metrics


class _PairTrainer(DPOTrainer):
    """TRL's trainer on numbers of pairs: there are no texts that it could tokenise."""

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset


@dataclass(frozen=True)
class _PairCollator:
    """Rows of numbers of pairs to TRL's batch: preferred conversations first, then the others."""

    pairs: Sequence[tuple[TokenisedEpisode, TokenisedEpisode]]
    pad_id: int

    def __call__(self, rows: Sequence[dict[str, int]]) -> dict[str, Tensor]:
        numbers = [row["pair"] for row in rows]
        both = [self.pairs[number][side] for side in (0, 1) for number in numbers]
        batch = collate(both, self.pad_id, device=torch.device("cpu"))
        return {
            "input_ids": batch.ids,
            "attention_mask": batch.present.long(),
            "completion_mask": batch.response.long(),
        }
