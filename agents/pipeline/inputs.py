"""What the steps read: a log to learn from, a policy, a fitted Q; and how each is known again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from convgym.agents.model.config import PolicyConfig
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.policy import LanguageModelPolicy, is_there
from convgym.agents.pipeline.outputs import REPORT, read_report
from convgym.agents.protocol import Q_FILE
from convgym.agents.settings import configured
from convgym.agents.training.collector import read_training_log
from convgym.agents.values.fitted import FittedQ
from convgym.agents.values.q_function import QEnsemble
from convgym.agents.values.saving import read_q_file, restored_ensemble, restored_fitted
from convgym.conversation import Episode
from convgym.errors import ConvgymError
from convgym.logs import Log
from convgym.seeds import EVALUATION_BASE
from convgym.shop.catalog import catalog_names, refuse_held_out

DIGESTS = ("policy_sha256", "log_sha256")
"""What a Q is known to belong to."""
_BESIDE = {"policy_settings": dict, **dict.fromkeys(DIGESTS, str)}
"""What stands beside a Q in its file."""


def read_usable(path: Path) -> Log:
    """Return a log that may be learned from.

    Raises:
        ConvgymError: for a log that is missing, damaged, empty or of customers that are reserved
            for evaluation, or in which every conversation failed.
    """
    log = read_training_log(path, EVALUATION_BASE)
    if not any(episode.valid and episode.turns for episode in log.episodes):
        raise ConvgymError(f"the log {path} holds no conversation to learn from")
    return log


def load_policy(source: str | Path, config: PolicyConfig) -> LanguageModelPolicy:
    """Return a policy by folder or name, which it is called by; ConvgymError if there is none."""
    name = Path(source).name or "language-model"
    return LanguageModelPolicy.from_pretrained(source, name=name, config=config)


def check_shop(policy: LanguageModelPolicy, config: PolicyConfig) -> None:
    """Check that a policy which reads its shop's leaflet is told which one a log is of.

    Raises:
        ConvgymError: where it is not, or where that shop is reserved for evaluation.
    """
    if policy.model.format.leaflet == "":
        raise ConvgymError(
            f"{policy.name} reads its shop's leaflet, and a log does not keep it: say which shop"
            f" the log is of, {', '.join(catalog_names())} or a JSON file, by --set"
            " policy.catalog=SHOP"
        )
    refuse_held_out({"catalog": config.catalog})


def log_sha256(episodes: Sequence[Episode]) -> str:
    """Return a digest of all that is learned from conversations, however the file is packed."""
    digest = hashlib.sha256()
    for episode in episodes:
        turns = [
            (turn.response.text, turn.response.token_ids, turn.response.token_logprobs, turn.reply)
            for turn in episode.turns
        ]
        digest.update(json.dumps([episode.opening, turns, episode.outcome]).encode())
    return digest.hexdigest()


def policy_sha256(model: LanguageModel) -> str:
    """Return a digest of a model's weights and of the words of its tokenizer."""
    digest = hashlib.sha256(json.dumps(sorted(model.format.tokenizer.get_vocab().items())).encode())
    for name, tensor in sorted(model.network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        whole = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(whole.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class OpenQ:
    """A Q folder with the policy and the log that it was fitted to, as after the fit."""

    policy: LanguageModelPolicy
    fitted: FittedQ
    generator: torch.Generator
    """Goes on where the fit's stood."""
    settings: PolicyConfig
    """How the policy was loaded."""
    made_from: dict[str, Any]
    """Digests of the policy, of the log and of Q."""


def open_q(
    folder: Path, policy: str | Path, log: Path, computing: Mapping[str, Any] | None = None
) -> OpenQ:
    """Return a Q, its policy loaded with the settings of the fit, but for ``computing``.

    ``computing`` may hold another ``device`` and ``dtype``: a Q is often used on another machine.

    Raises:
        ConvgymError: for a folder without a Q, a policy or a log other than that of the fit.
    """
    tree = read_q_file(folder / Q_FILE, _BESIDE)
    told = {**tree["policy_settings"], **(computing or {})}
    settings = configured(PolicyConfig(), told, "the policy")
    speaker = _policy_of(folder, policy, settings)
    episodes = read_usable(log).episodes
    # The shape comes first: that it is another kind of model says more than another digest.
    ensemble = restored_ensemble(tree, speaker.model, folder)
    log_read, _ = ensemble.interpreter.read(episodes)
    fitted, generator = restored_fitted(tree, ensemble, log_read, folder)
    made_from = {"policy_sha256": policy_sha256(speaker.model), "log_sha256": log_sha256(episodes)}
    _check_digest(tree, "policy", made_from["policy_sha256"], policy, folder)
    _check_digest(tree, "log", made_from["log_sha256"], log, folder)
    made_from["q_sha256"] = hashlib.sha256((folder / Q_FILE).read_bytes()).hexdigest()
    return OpenQ(speaker, fitted, generator, settings, made_from)


def open_ensemble(
    folder: Path, policy: str | Path | None = None, *, device: str | None = None
) -> tuple[LanguageModelPolicy, QEnsemble]:
    """Return a Q that is to be asked alone, without its log, and the policy that it is of.

    Args:
        folder: of the Q.
        policy: the one that it was fitted to; None is the one that its report names.
        device: where it is computed; None is as in the fit.

    Raises:
        ConvgymError: for a folder without a Q, or a policy that is not there or another one.
    """
    tree = read_q_file(folder / Q_FILE, _BESIDE)
    settings = configured(PolicyConfig(), tree["policy_settings"], "the policy")
    if device is not None:
        settings = replace(settings, device=device)
    source = _policy_named(folder) if policy is None else policy
    speaker = _policy_of(folder, source, settings)
    ensemble = restored_ensemble(tree, speaker.model, folder)
    _check_digest(tree, "policy", policy_sha256(speaker.model), source, folder)
    return speaker, ensemble


def _policy_of(folder: Path, source: str | Path, settings: PolicyConfig) -> LanguageModelPolicy:
    """Return the policy of a Q, in the shop of the fit; ConvgymError where that is not known."""
    policy = load_policy(source, settings)
    if policy.model.format.leaflet == "":
        raise ConvgymError(
            f"the Q in {folder} is of a policy that reads its shop's leaflet, and was fitted before"
            " a Q kept which shop: fit it again, with --set policy.catalog=SHOP"
        )
    return policy


def _policy_named(folder: Path) -> str:
    """Return the policy that a Q's report names; ConvgymError where it is not there any more."""
    try:
        source = read_report(folder / REPORT).get("policy")
    except ConvgymError as error:
        raise ConvgymError(f"{error}; say by --policy which policy Q is of") from None
    if not isinstance(source, str):
        raise ConvgymError(
            f"the report in {folder} names no policy: say by --policy which one Q is of"
        )
    if not is_there(source):
        raise ConvgymError(
            f"the Q in {folder} is of the policy {source!r}, which is not there, seen from here:"
            " say by --policy where it is now"
        )
    return source


def _check_digest(
    tree: dict[str, Any], kind: str, digest: str, given: str | Path, folder: Path
) -> None:
    if digest != tree[f"{kind}_sha256"]:
        raise ConvgymError(
            f"the Q in {folder} was fitted to another {kind} than {given}: give that {kind},"
            " or fit Q again"
        )
