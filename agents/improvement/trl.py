"""TRL's GRPO and RLOO trainers as off-the-shelf solvers of the improvement step.

The algorithms are TRL's; this module makes its trainers see our problem as it is:

- States are token ids, which do not survive being decoded and encoded again. So TRL is given every
  id as a word of its own, and a tokenizer that knows just these words.
- The policy never says a forbidden token. So the output layer gets a bias that bars them: TRL then
  samples, trains and measures with the very distribution that is deployed.
- What TRL logs as its KL divergence, a mean over tokens, becomes nats per response. The step ends
  once it passes its target, and goes back to the last weights that did not.

``trl`` is imported here and nowhere else; ``preferences`` has its DPO from here.
"""

from __future__ import annotations

import math
import random
import tempfile
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from convgym.agents.improvement.problem import PolicyWatch, SingleTurnProblem, watch_nothing
from convgym.agents.model.devices import computes_in_bfloat16
from convgym.agents.model.format import ConversationFormat, Tokens
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.lora import merged
from convgym.agents.model.minibatches import shuffled
from convgym.agents.model.weights import load_trained_weights, trained_weights
from convgym.checks import check_fields, check_number
from convgym.errors import ConvgymError
from convgym.installing import install_command
from convgym.llm.local.loading import without_progress_bars
from convgym.progress import Progress, ProgressCallback, no_progress

try:
    from datasets import Dataset  # type: ignore[import-untyped]
    from huggingface_hub import constants
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast, PrinterCallback, TrainerCallback
    from trl import (  # type: ignore[attr-defined]
        DPOConfig,
        DPOTrainer,
        GRPOConfig,
        GRPOTrainer,
        RLOOConfig,
        RLOOTrainer,
    )
except ModuleNotFoundError as error:
    raise ConvgymError(
        f"improvement by TRL needs {error.name!r}: {install_command('trl')}"
    ) from error

# With what ``preferences`` has from TRL.
__all__ = [
    "GRPO",
    "RLOO",
    "DPOConfig",
    "DPOTrainer",
    "Dataset",
    "Reporter",
    "Words",
    "bar",
    "draw_prompts",
    "quiet",
    "seclusion",
    "words_of",
]

_BARRED = -1e9
"""Logit of a forbidden token: its probability is 0, and their product is no NaN."""


@dataclass(frozen=True, slots=True)
class _TRL(ABC):
    """What both solvers have in common."""

    steps: int = 20
    """Batches of fresh responses."""
    prompts: int = 32
    """States per batch."""
    samples: int = 4
    """Responses per state; at least 2."""
    minibatches: int = 1
    """Optimiser steps per batch. From the second on, probability ratios differ from 1."""
    learning_rate: float = 3e-4
    """At first; it falls to 0 in a line."""
    clip: float = 0.2
    """TRL's ``epsilon``."""
    kl_coefficient: float = 0.05
    """TRL's ``beta``, positive."""
    target_kl: float = 1.5
    """The step ends where TRL's estimate of the divergence, in nats per response, passes this, and
    goes back to the last weights whose estimate did not."""
    max_gradient_norm: float = 1.0

    def __post_init__(self) -> None:
        check_fields(
            self,
            counts=("steps", "prompts", "samples", "minibatches"),
            from_zero=("learning_rate",),
            positive=("clip",),
            bounds=("target_kl", "max_gradient_norm"),
        )
        check_number("kl_coefficient", self.kl_coefficient)
        if self.samples < 2:
            raise ConvgymError(
                "samples must be at least 2, as scores are compared within a state, "
                f"got {self.samples}"
            )
        if not self.kl_coefficient > 0:
            raise ConvgymError(
                "kl_coefficient must be positive, as TRL measures no divergence without it, "
                f"got {self.kl_coefficient}"
            )
        if self.prompts * self.samples % self.minibatches:
            raise ConvgymError(
                f"prompts x samples = {self.prompts * self.samples} responses cannot be split into "
                f"{self.minibatches} equal minibatches"
            )

    @abstractmethod
    def _trainer(self, settings: dict[str, Any], **parts: Any) -> Any:
        """Return TRL's trainer, its config made of ``settings`` and the solver's own."""

    def improve(
        self,
        reference: LanguageModel,
        problem: SingleTurnProblem,
        *,
        generator: torch.Generator,
        progress: ProgressCallback = no_progress,
        watch: PolicyWatch = watch_nothing,
    ) -> tuple[LanguageModel, dict[str, float]]:
        """Return the improved copy of ``reference``; see ``Improvement``.

        Returns:
            The model, and TRL's metrics of the last step: ``kl_of_pass`` (nats per response,
            estimated from the sampled tokens before the step's update), ``fresh_score``,
            ``clip_fraction`` and ``entropy`` (nats per token); and ``taken_back``, 1 where the
            step went beyond ``target_kl``.
        """
        format = reference.format
        words = words_of(reference)
        chosen = draw_prompts(problem.prompts(), self.steps * self.prompts, generator)
        states = {words.spell(prompt): prompt for prompt in chosen}

        def score(prompts: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
            responses = [tuple(ids) for ids in completion_ids]
            scores: list[float] = problem.score(
                [states[text] for text in prompts], responses
            ).tolist()
            return scores

        reporter = Reporter(progress, "improve", _OF_IMPROVEMENT, self.target_kl)
        network = reference.copy().network
        with tempfile.TemporaryDirectory() as folder, seclusion(reference.device):
            # TRL loads the reference from where the model says that it came from.
            merged(network).save_pretrained(folder)
            network.config._name_or_path = folder
            bar(network, format)
            trainer = self._trainer(
                self._settings(
                    folder,
                    reference,
                    int(torch.randint(2**31, (), generator=generator, device="cpu")),
                ),
                model=network,
                reward_funcs=score,
                train_dataset=Dataset.from_dict({"prompt": list(map(words.spell, chosen))}),
                processing_class=words.tokenizer,
                callbacks=[reporter],
            )
            bar(trainer.ref_model, format)
            trainer.remove_callback(PrinterCallback)
            trainer.train()
        improved = reference.copy()
        _take_weights(improved, network)
        # No batch has seen the last update.
        last = improved.divergence(reference, problem.log[: self.prompts])
        if not reporter.left and not last <= self.target_kl:
            reporter.go_back(network)
            _take_weights(improved, network)
        watch(improved)
        return improved, {**reporter.metrics, "taken_back": float(reporter.left)}

    def _settings(self, folder: str, reference: LanguageModel, seed: int) -> dict[str, Any]:
        """Return what both trainers are told: our hyperparameters, and no side effects."""
        return {
            "output_dir": folder,
            "max_steps": self.steps * self.minibatches,
            "per_device_train_batch_size": self.prompts * self.samples // self.minibatches,
            "steps_per_generation": self.minibatches,
            "num_generations": self.samples,
            "shuffle_dataset": False,  # the prompts are in random order
            "temperature": reference.sampling.temperature,
            "max_completion_length": reference.sampling.max_new_tokens,
            "learning_rate": self.learning_rate,
            "epsilon": self.clip,
            "beta": self.kl_coefficient,
            "max_grad_norm": self.max_gradient_norm,
            **quiet(reference, seed),
        }


@dataclass(frozen=True, slots=True)
class GRPO(_TRL):
    """Group relative policy optimisation, by TRL (Shao et al. 2024, arXiv 2402.03300).

    Of n responses to a state, with scores r_1 .. r_n, every token of response i has the advantage::

        A_i = (r_i - mean(r)) / deviation(r)

    which PPO's clipped objective makes use of, less ``kl_coefficient`` times the divergence per
    token from the reference. ``learning_rate``, ``kl_coefficient`` and ``steps`` matter most.

    Raises:
        ConvgymError: for settings that cannot be.
    """

    kl_coefficient: float = 0.5
    scale_rewards: Literal["group", "batch", "none"] = "group"
    """What advantages are divided by: the scores' deviation within the state, that of all of the
    batch, or nothing."""
    loss_type: Literal["grpo", "bnpo", "dr_grpo", "dapo"] = "dapo"
    """How losses of tokens are summed up, see ``trl.GRPOConfig``."""

    def _trainer(self, settings: dict[str, Any], **parts: Any) -> Any:
        config = GRPOConfig(**settings, scale_rewards=self.scale_rewards, loss_type=self.loss_type)
        return GRPOTrainer(args=config, **parts)


@dataclass(frozen=True, slots=True)
class RLOO(_TRL):
    """REINFORCE leave-one-out, by TRL (Ahmadian et al. 2024, arXiv 2402.14740).

    Of n responses to a state, a response's score, less ``kl_coefficient`` times its divergence, is
    compared with the mean of the others'::

        A_i = r_i - mean over j != i of  r_j

    ``learning_rate``, ``kl_coefficient`` (in units of the score) and ``steps`` matter most.

    Raises:
        ConvgymError: for settings that cannot be.
    """

    normalize_advantages: bool = False
    """Whether the advantages of a batch get mean 0 and deviation 1."""

    def _trainer(self, settings: dict[str, Any], **parts: Any) -> Any:
        config = RLOOConfig(**settings, normalize_advantages=self.normalize_advantages)
        return RLOOTrainer(args=config, **parts)


def quiet(reference: LanguageModel, seed: int) -> dict[str, Any]:
    """Return what every trainer is told: where it computes, and no side effects."""
    return {
        "disable_dropout": True,
        "seed": seed,
        "use_cpu": reference.device.type == "cpu",
        "bf16": computes_in_bfloat16(reference.network),
        "activation_checkpointing": False,
        "dataloader_pin_memory": False,
        "logging_steps": 1,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
    }


def draw_prompts(prompts: Sequence[Tokens], n: int, generator: torch.Generator) -> list[Tokens]:
    """Return n prompts in random order, none a second time before all others had their turn."""
    order: list[int] = []
    while len(order) < n:
        order += shuffled(len(prompts), generator)
    return [prompts[i] for i in order[:n]]


class Words:
    """Token ids as words of a text."""

    def __init__(self, format: ConversationFormat, vocabulary: int) -> None:
        # The brackets keep the special token 1 from being found in 12.
        names = {f"<{token}>": token for token in range(vocabulary)}
        spelt = Tokenizer(WordLevel(names, unk_token=f"<{format.pad_id}>"))
        spelt.pre_tokenizer = WhitespaceSplit()
        self.tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=spelt,
            eos_token=f"<{format.end_id}>",
            pad_token=f"<{format.pad_id}>",
            padding_side="left",
        )

    def spell(self, ids: Tokens) -> str:
        return " ".join(f"<{token}>" for token in ids)


def words_of(model: LanguageModel) -> Words:
    """Return the words of a model's token ids."""
    return Words(model.format, model.network.config.get_text_config().vocab_size)


def _take_weights(model: LanguageModel, barred: PreTrainedModel) -> None:
    """Give a model the weights of TRL's, which has other parts: its head is within another."""
    head = barred.get_output_embeddings()
    barred.set_output_embeddings(head.head)
    model.load_weights(trained_weights(barred))
    barred.set_output_embeddings(head)


class _BarredHead(nn.Module):
    """An output layer under which some tokens have no probability."""

    bars: Tensor

    def __init__(self, head: nn.Linear, barred: Tokens) -> None:
        super().__init__()
        self.head = head
        device = head.weight.device
        barred_ids = torch.tensor(barred, dtype=torch.long, device=device)
        bars = torch.zeros(len(head.weight), device=device).index_fill(0, barred_ids, _BARRED)
        self.register_buffer("bars", bars, persistent=False)

    @property
    def weight(self) -> Tensor:
        weight: Tensor = self.head.weight
        return weight

    @property
    def bias(self) -> Tensor:
        return self.bars if self.head.bias is None else self.head.bias + self.bars

    def forward(self, hidden: Tensor) -> Tensor:
        return functional.linear(hidden, self.weight, self.bias)


def bar(model: PreTrainedModel, format: ConversationFormat) -> None:
    """Give a model an output layer that never chooses what the format forbids."""
    head = model.get_output_embeddings()
    model.set_output_embeddings(_BarredHead(head, format.forbidden_ids))


_OF_IMPROVEMENT = {
    "kl": "kl_of_pass",
    "reward": "fresh_score",
    "clip_ratio/region_mean": "clip_fraction",
    "entropy": "entropy",
}
"""TRL's names of metrics, and ours."""


class Reporter(TrainerCallback):
    """Tells how training goes, and ends it at the target divergence, if one is measured.

    The model is then brought back to its last weights that were within the target.

    Attributes:
        metrics: as they were told last.
        left: whether the model was beyond the target, and hence brought back.
    """

    def __init__(
        self,
        progress: ProgressCallback,
        stage: str,
        names: Mapping[str, str],
        target_kl: float = math.inf,
    ) -> None:
        self.metrics: dict[str, float] = {}
        self._progress, self._stage, self._names = progress, stage, names
        self._target_kl, self._length = target_kl, 0.0
        self._begun: dict[str, Tensor] = {}
        self._within: dict[str, Tensor] = {}
        self.left = False

    def on_step_begin(
        self, args: Any, state: Any, control: Any, *, model: Any = None, **_: Any
    ) -> None:
        if self._target_kl < math.inf:
            self._begun = {name: t.clone() for name, t in trained_weights(model).items()}
            self._within = self._within or self._begun

    def on_log(
        self, args: Any, state: Any, control: Any, *, logs: Any = None, model: Any = None, **_: Any
    ) -> None:
        # A batch's later minibatches have not all of these, the summary at the end has none.
        self._length = logs.get("completions/mean_length", self._length)
        values = {ours: logs[theirs] for theirs, ours in self._names.items() if theirs in logs}
        if "kl_of_pass" in values:
            values["kl_of_pass"] *= self._length
        if values:
            self.metrics |= values
            self._progress(Progress(self._stage, state.global_step, state.max_steps, self.metrics))
        if self._begun and "kl_of_pass" in values:
            # What was estimated is the divergence before the step's update.
            if values["kl_of_pass"] <= self._target_kl:
                self._within = self._begun
            else:
                self.go_back(model)
                control.should_training_stop = True

    def go_back(self, model: nn.Module) -> None:
        """Bring the model back to its last weights that were within the target."""
        self.left = True
        load_trained_weights(model, self._within)


@contextmanager
def seclusion(device: torch.device) -> Iterator[None]:
    """Keep TRL from the caller's random numbers and progress bars, and from calling home."""
    states = random.getstate(), np.random.get_state()
    telemetry = constants.HF_HUB_DISABLE_TELEMETRY
    constants.HF_HUB_DISABLE_TELEMETRY = True
    try:
        with (
            torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
            # TRL computes on the present GPU, and on no other.
            torch.cuda.device(device) if device.type == "cuda" else nullcontext(),
            without_progress_bars(),
            warnings.catch_warnings(),
        ):
            # TRL 1.16 asks newer transformers by an older name.
            warnings.filterwarnings(
                "ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning
            )
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        constants.HF_HUB_DISABLE_TELEMETRY = telemetry
