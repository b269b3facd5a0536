"""A fitted Q on disk says what it said, and goes on drawing where it stood."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from convgym.agents.model.format import ConversationFormat
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.training.checkpoint import load_checkpoint, save_checkpoint
from convgym.agents.values.fitted import FittedQ
from convgym.agents.values.fitting import fit
from convgym.agents.values.q_function import QEnsemble, QFunctionConfig
from convgym.agents.values.saving import (
    read_q_file,
    restored_ensemble,
    restored_fitted,
    save_fitted,
)
from convgym.errors import ConvgymError
from tests.unit.agents.logs import pairs_of, synthetic_log, written_by

torch.set_num_threads(1)

MakeModel = Callable[..., LanguageModel]
CONFIG = QFunctionConfig(
    form="dueling",
    folds=2,
    epochs=1,
    first_steps=0,
    replies=1,
    max_reply_tokens=4,
    max_gradient_norm=float("inf"),
)


@pytest.fixture
def kept(
    make_model: MakeModel, format: ConversationFormat, tmp_path: Path
) -> tuple[LanguageModel, FittedQ, torch.Generator, Path]:
    model = make_model()
    log = written_by(model, synthetic_log(format, 6))
    generator = torch.Generator().manual_seed(5)
    ensemble = QEnsemble(model, CONFIG)
    fitted = FittedQ(ensemble, log, fit(ensemble, log, generator=generator), 2, {"auc": 0.5})
    save_fitted(tmp_path / "q.safetensors", fitted, generator)
    return model, fitted, generator, tmp_path / "q.safetensors"


def test_what_is_read_is_what_was_fitted(
    kept: tuple[LanguageModel, FittedQ, torch.Generator, Path],
) -> None:
    model, fitted, generator, path = kept
    tree = read_q_file(path)
    again, drawing = restored_fitted(tree, restored_ensemble(tree, model, path), fitted.log, path)
    assert again.ensemble.config == CONFIG
    assert (again.estimates, again.held_out, again.metrics) == (fitted.estimates, 2, {"auc": 0.5})
    pairs = pairs_of(fitted.log)
    scores = fitted.ensemble.score(*pairs, generator=generator)
    assert scores.std() > 0
    assert torch.equal(again.ensemble.score(*pairs, generator=drawing), scores)
    assert torch.equal(torch.rand(3, generator=drawing), torch.rand(3, generator=generator))


def test_another_model_and_another_log_are_refused(
    kept: tuple[LanguageModel, FittedQ, torch.Generator, Path], make_model: MakeModel
) -> None:
    model, fitted, _, path = kept
    tree = read_q_file(path)
    with pytest.raises(ConvgymError, match="another model: expected one of 280 tokens"):
        restored_ensemble(tree, make_model(hidden=32), path)
    with pytest.raises(ConvgymError, match="other layers"):
        restored_ensemble(tree, make_model(layers=1), path)
    longer = replace(fitted.log[0], turns=tuple(t + (t >= 0) for t in fitted.log[0].turns))
    ensemble = restored_ensemble(tree, model, path)
    for log in (fitted.log[:-1], [longer, *fitted.log[1:]]):
        with pytest.raises(ConvgymError, match="another log"):
            restored_fitted(tree, ensemble, log, path)


def test_files_of_something_else_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConvgymError, match="no Q at"):
        read_q_file(tmp_path / "q.safetensors")
    save_checkpoint(tmp_path / "q.safetensors", {"kind": "a run"})
    with pytest.raises(ConvgymError, match="is no Q: expected kind"):
        read_q_file(tmp_path / "q.safetensors")
    (tmp_path / "q.safetensors").write_bytes(b"nothing")
    with pytest.raises(ConvgymError, match="damaged"):
        read_q_file(tmp_path / "q.safetensors")


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("settings", None),
        ("model", [1]),
        ("weights", "heavy"),
        ("estimates", {"values": 3}),
        ("estimates", None),
        ("generator", torch.zeros(3)),
        ("held_out", "all"),
        ("metrics", 3),
    ],
)
def test_a_damaged_part_is_one_line_that_says_what_to_do(
    kept: tuple[LanguageModel, FittedQ, torch.Generator, Path], part: str, value: object
) -> None:
    model, fitted, _, path = kept
    save_checkpoint(path, {**load_checkpoint(path), part: value})
    with pytest.raises(ConvgymError, match=r"is damaged.*: fit Q again by convgym fit-q$"):
        tree = read_q_file(path)
        restored_fitted(tree, restored_ensemble(tree, model, path), fitted.log, path)


def test_what_must_stand_beside_a_q_is_looked_for(
    kept: tuple[LanguageModel, FittedQ, torch.Generator, Path],
) -> None:
    with pytest.raises(
        ConvgymError, match="is damaged, its policy_sha256 are missing: fit Q again"
    ):
        read_q_file(kept[-1], {"policy_sha256": str})
