"""TRL's own trainer, with Q as its reward function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from convgym.agents.model.language_model import LanguageModel
from convgym.agents.serving.reward import QReward
from convgym.agents.serving.scores import Pair, Score
from convgym.agents.serving.scoring import QScorer
from convgym.agents.values.q_function import QEnsemble, QFunctionConfig

TEMPLATE = (
    "{% for message in messages %}<|{{ 'seller' if message.role == 'assistant' else 'customer' }}|>"
    "{{ message.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|seller|>{% endif %}"
)


class Watched:
    """Remembers what a scorer said."""

    def __init__(self, scorer: QScorer) -> None:
        self.read, self._scorer = scorer.read, scorer
        self.said: list[float] = []

    def score(self, pairs: Sequence[Pair]) -> list[Score]:
        scores = self._scorer.score(pairs)
        self.said += [score.q for score in scores]
        return scores


@pytest.mark.parametrize("conversational", [True, False])
def test_grpo_trains_on_q(
    tmp_path: Path, make_model: Callable[..., LanguageModel], conversational: bool
) -> None:
    pytest.importorskip("trl")
    from datasets import Dataset  # type: ignore[import-untyped]
    from trl import GRPOConfig, GRPOTrainer  # type: ignore[attr-defined]

    from convgym.agents.improvement.trl import seclusion

    torch.manual_seed(0)
    model = make_model(layers=1)
    ensemble = QEnsemble(model, QFunctionConfig(replies=1, max_reply_tokens=3))
    for member in ensemble:
        torch.nn.init.normal_(member.value_head.weight)
    scorer = Watched(QScorer(model, ensemble))
    prompt: Any = "Customer: Hi, I need a laptop.\nSeller:"
    if conversational:
        prompt = [{"role": "user", "content": "Hi, I need a laptop."}]
    tokenizer = model.format.tokenizer
    tokenizer.chat_template = TEMPLATE
    trained = model.copy()
    before = {name: weights.clone() for name, weights in trained.weights().items()}
    settings = GRPOConfig(
        output_dir=str(tmp_path),
        max_steps=2,
        per_device_train_batch_size=4,
        num_generations=4,
        max_completion_length=4,
        learning_rate=1e-2,
        logging_steps=1,
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        dataloader_pin_memory=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )
    with seclusion(model.device):
        trainer = GRPOTrainer(
            trained.network,
            reward_funcs=QReward(scorer),
            args=settings,
            train_dataset=Dataset.from_list([{"prompt": prompt, "state": "x"}] * 2),
            processing_class=tokenizer,
        )
        trainer.train()
    rewards = [row["rewards/q/mean"] for row in trainer.state.log_history if "reward" in row]
    means = [sum(scorer.said[i : i + 4]) / 4 for i in (0, 4)]
    assert rewards == pytest.approx(means, abs=1e-5) and len(scorer.said) == 8
    assert len({round(said, 5) for said in scorer.said}) > 1
    assert any(not torch.equal(now, before[name]) for name, now in trained.weights().items())
