"""Trained policies, kept small: half precision, and nothing beside what it takes to talk.

A policy in a results folder lies with its checkpoints, and as large as they are. What is kept here
can be shared, and judged again by others::

    policy = LanguageModelPolicy.from_pretrained("results/mine/policies/online-ppo-seed0")
    episodes = rollout(policy, evaluation_seeds(0, 2000))
"""

from __future__ import annotations

import fnmatch
import shutil
from collections.abc import Sequence
from pathlib import Path

from convgym.datafiles import part_of
from convgym.errors import ConvgymError

_WEIGHTS = "model.safetensors"


def keep_policies(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """Keep the trained policies of a results folder whose labels fit one of the patterns.

    They go from ``agents/LABEL/policy`` to ``policies/LABEL``, a label being a name and its
    training seed (``online-ppo@4-seed0``).

    Returns where they are. Raises ConvgymError for a pattern that fits none, and as
    ``keep_policy``.
    """
    labels = sorted(path.parent.name for path in folder.glob("agents/*/policy"))
    kept = []
    for pattern in patterns:
        fitting = fnmatch.filter(labels, pattern)
        if not fitting:
            raise ConvgymError(
                f"{pattern!r} fits no trained policy in {folder}; there are"
                f" {', '.join(labels) or 'none'}"
            )
        kept += [
            keep_policy(folder / "agents" / label / "policy", folder / "policies" / label)
            for label in fitting
        ]
    return list(dict.fromkeys(kept))


def keep_policy(source: Path, target: Path) -> Path:
    """Write a policy in Hugging Face format to ``target`` with weights of half precision.

    Raises ConvgymError for a folder of another format, and weights that half precision cannot hold.
    """
    import torch
    from safetensors.torch import load_file, save_file

    if not (source / _WEIGHTS).is_file():
        raise ConvgymError(
            f"{source} holds no {_WEIGHTS}: only policies in Hugging Face format are kept small"
        )
    weights = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in load_file(source / _WEIGHTS).items()
    }
    wrong = [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]
    if wrong:
        raise ConvgymError(f"half precision cannot hold the weights {wrong[0]} of {source}")
    part = part_of(target)
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(source, part, ignore=shutil.ignore_patterns(_WEIGHTS))
    save_file(weights, part / _WEIGHTS, metadata={"format": "pt"})
    shutil.rmtree(target, ignore_errors=True)
    return part.rename(target)
