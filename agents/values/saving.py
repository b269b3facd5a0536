"""A fitted Q on disk: one safetensors file that holds all the next step of a round reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from convgym.agents.model.batch import TokenisedEpisode
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.weights import load_trained_weights, trained_weights
from convgym.agents.settings import configured
from convgym.agents.training.checkpoint import load_checkpoint, save_checkpoint
from convgym.agents.values.estimates import ValueEstimates
from convgym.agents.values.fitted import FittedQ
from convgym.agents.values.q_function import QEnsemble, QFunctionConfig
from convgym.errors import ConvgymError
from convgym.llm.local.loading import refusing

_KIND = "fitted-q/1"
_PARTS: Mapping[str, type] = {"settings": dict, "model": dict, "weights": dict}
_AGAIN = "fit Q again by convgym fit-q"


def save_ensemble(path: Path, ensemble: QEnsemble, **beside: Any) -> None:
    """Write an ensemble, its settings, and whatever tensors and plain data belong beside it.

    Of members with adapters the frozen weights stay out: they are the policy's.
    """
    members = list(ensemble)
    tree = {
        "kind": _KIND,
        "settings": asdict(ensemble.config),
        "model": _shape(members[0].model),
        "weights": trained_weights(ensemble),
        **beside,
    }
    save_checkpoint(path, tree)


def read_q_file(path: Path, beside: Mapping[str, type] | None = None) -> dict[str, Any]:
    """Return what ``save_ensemble`` wrote, before there is a model to load it into.

    Args:
        path: the file.
        beside: what must stand beside the ensemble, and of which type it is.

    Raises:
        ConvgymError: for a file that is missing, damaged, or none of a Q.
    """
    if not path.is_file():
        raise ConvgymError(f"no Q at {path.parent}: {_instead(path)}")
    tree = load_checkpoint(path, "Q", _AGAIN)
    if tree.get("kind") != _KIND:
        raise ConvgymError(f"{path} is no Q: expected kind {_KIND!r}, got {tree.get('kind')!r}")
    parts = {**_PARTS, **(beside or {})}
    if damaged := [name for name, kind in parts.items() if not isinstance(tree.get(name), kind)]:
        raise ConvgymError(
            f"the Q in {path.parent} is damaged, its {damaged[0]} are missing: {_AGAIN}"
        )
    return tree


def _instead(path: Path) -> str:
    """Return what a folder without a Q is, or where one is."""
    folder = path.parent
    if (folder / "config.json").is_file() and any(folder.glob("*.safetensors")):
        return (
            f"it is a policy; fit a Q to its log by convgym fit-q LOG --policy {folder} --output q,"
            " and give that folder"
        )
    if below := sorted(str(file.parent) for file in folder.glob(f"**/{path.name}")):
        return f"did you mean {', '.join(below[:4])}?"
    there = "" if folder.exists() else ", and there is no such folder"
    return f"expected a folder with {path.name}, from convgym fit-q{there}"


def restored_ensemble(tree: dict[str, Any], model: LanguageModel, source: Path) -> QEnsemble:
    """Return the ensemble of a file that was read, its members being copies of ``model``.

    Raises:
        ConvgymError: when the Q was fitted to a model of another vocabulary or shape.
    """
    config = configured(QFunctionConfig(), tree["settings"], f"the Q in {source}")
    try:
        ensemble = QEnsemble(model, config)
    except ConvgymError as error:
        if config.trunk is None:
            raise
        raise ConvgymError(
            f"the Q in {source} reads by a model of its own, the trunk {config.trunk!r}: {error}"
        ) from None
    shape = _shape(ensemble.interpreter.trunk)
    if tree["model"] != shape:
        raise ConvgymError(
            f"the Q in {source} was fitted to another model: expected one of"
            f" {_words(tree['model'])}, got one of {_words(shape)}"
        )
    try:
        load_trained_weights(ensemble, tree["weights"])
    except RuntimeError:  # which lists every layer that differs
        raise ConvgymError(
            f"the Q in {source} has other layers than this model: give the policy that it was"
            " fitted to"
        ) from None
    return ensemble


def save_fitted(path: Path, fitted: FittedQ, generator: torch.Generator, **beside: Any) -> None:
    """Write a fit of a log: the ensemble, its estimates, and where the random numbers stand."""
    save_ensemble(
        path,
        fitted.ensemble,
        estimates=_packed(fitted.estimates),
        held_out=fitted.held_out,
        metrics=dict(fitted.metrics),
        generator=generator.get_state(),
        **beside,
    )


def restored_fitted(
    tree: dict[str, Any], ensemble: QEnsemble, log: Sequence[TokenisedEpisode], source: Path
) -> tuple[FittedQ, torch.Generator]:
    """Return a fit of a log that was read, and a generator that goes on where the fit's stood.

    Args:
        tree: what ``read_q_file`` returned.
        ensemble: of ``restored_ensemble``.
        log: in the policy's tokens, as the ensemble's interpreter reads it.
        source: of the file, for errors.

    Raises:
        ConvgymError: for a Q of another log.
    """
    generator = torch.Generator()
    with refusing(f"the Q in {source} is damaged", f": {_AGAIN}"):
        estimates = _unpacked(tree["estimates"])
        generator.set_state(tree["generator"])
        held_out, metrics = int(tree["held_out"]), dict(tree["metrics"])
    if [len(estimate.values) for estimate in estimates] != [episode.n_turns for episode in log]:
        raise ConvgymError(f"the Q in {source} was fitted to another log: give that log")
    return FittedQ(ensemble, log, estimates, held_out, metrics), generator


def _shape(model: LanguageModel) -> dict[str, int]:
    return {"vocabulary": model.vocabulary, "width": model.width}


def _words(shape: Mapping[str, int]) -> str:
    return f"{shape.get('vocabulary')} tokens and width {shape.get('width')}"


def _packed(estimates: Sequence[ValueEstimates]) -> dict[str, dict[str, Tensor]]:
    """Return estimates as flat arrays; in double precision, so that they come back equal."""
    cpu = torch.device("cpu")
    packed = {}
    for field in fields(ValueEstimates):
        rows = [getattr(estimate, field.name) for estimate in estimates]
        flat = [value for row in rows for value in row]
        packed[field.name] = {
            "values": torch.tensor(flat, dtype=torch.float64, device=cpu),
            "lengths": torch.tensor([len(row) for row in rows], dtype=torch.long, device=cpu),
        }
    return packed


def _unpacked(packed: dict[str, dict[str, Tensor]]) -> list[ValueEstimates]:
    columns = [
        [tuple(row.tolist()) for row in column["values"].split(column["lengths"].tolist())]
        for column in (packed[field.name] for field in fields(ValueEstimates))
    ]
    return [ValueEstimates(*rows) for rows in zip(*columns, strict=True)]
