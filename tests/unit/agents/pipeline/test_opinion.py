"""What Q thinks of anybody's words, from its folder."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.pipeline.fitting import FitSettings, fit_to_folder
from convgym.agents.pipeline.opinion import Opinion
from convgym.agents.values.q_function import QFunctionConfig
from convgym.errors import ConvgymError
from convgym.logs import write_log
from convgym.policy import Conversation
from convgym.rollout import rollout
from convgym.sellers import make_seller

torch.set_num_threads(1)

CONVERSATION = Conversation(4, [{"role": "user", "content": "Hello."}], random.Random(0))


@pytest.fixture
def q(tmp_path: Path, make_model: Callable[..., LanguageModel]) -> Path:
    """The folder of a Q, with a tiny policy and a log beside it."""
    LanguageModelPolicy(make_model(layers=1)).save(tmp_path / "start")
    write_log(tmp_path / "log.jsonl", rollout(make_seller("mediocre"), range(4)))
    settings = FitSettings(
        held_out=0.0, q_function=QFunctionConfig(epochs=1, replies=1, max_reply_tokens=4)
    )
    fit_to_folder(tmp_path / "log.jsonl", str(tmp_path / "start"), tmp_path / "q", settings)
    return tmp_path / "q"


def test_words_are_judged_again_and_again_alike(q: Path) -> None:
    opinion = Opinion.of_folder(q)
    words = ["What is your budget?", "Shall I order it?", "What is your budget?"]
    values = opinion.values(CONVERSATION, words)
    assert len(values) == 3 and values[0] == values[2] != values[1]
    assert values == opinion.values(CONVERSATION, words)
    assert CONVERSATION.rng.random() == random.Random(0).random()
    with pytest.raises(ConvgymError, match="another model"):
        Opinion.of_folder(q, "default")
