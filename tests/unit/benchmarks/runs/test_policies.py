"""Policies that are kept small talk as they did."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

import pytest

from convgym.benchmarks.runs.frontier import FRONTIER
from convgym.benchmarks.runs.policies import keep_policies, keep_policy
from convgym.benchmarks.runs.runner import run_suite
from convgym.benchmarks.runs.suites import Suite, select
from convgym.errors import ConvgymError
from convgym.rollout import rollout
from convgym.seeds import evaluation_seeds
from tests.unit.benchmarks.conftest import World

torch = pytest.importorskip("torch")


def test_a_kept_policy_sells_as_before_at_half_the_size(tmp_path: Path) -> None:
    from convgym.agents.model.policy import LanguageModelPolicy

    policy = LanguageModelPolicy.from_pretrained()
    trained = tmp_path / "agents" / "bc@2-seed0" / "policy"
    policy.save(trained)
    (kept,) = keep_policies(tmp_path, ["bc@*"])
    assert kept == tmp_path / "policies" / "bc@2-seed0"
    size, smaller = ((each / "model.safetensors").stat().st_size for each in (trained, kept))
    assert smaller < 0.52 * size and smaller < 1_500_000
    again = LanguageModelPolicy.from_pretrained(kept)
    seeds = evaluation_seeds(0, 48)
    sold = [
        [episode.converted for episode in rollout(each, seeds, policy_seed=0)]
        for each in (policy, again)
    ]
    agreed = sum(a == b for a, b in zip(*sold, strict=True))
    assert agreed >= 44  # a word in thousands is drawn otherwise, and its conversation goes on so
    assert {p.name for p in kept.iterdir()} == {p.name for p in trained.iterdir()}


def test_what_cannot_be_kept_is_named(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    policy = tmp_path / "agents" / "a-seed0" / "policy"
    policy.mkdir(parents=True)
    with pytest.raises(ConvgymError, match="only policies in Hugging Face format"):
        keep_policy(policy, tmp_path / "policies" / "a")
    save_file({"w": torch.tensor([1e6])}, policy / "model.safetensors")
    with pytest.raises(ConvgymError, match="half precision cannot hold the weights w"):
        keep_policy(policy, tmp_path / "policies" / "a")
    with pytest.raises(ConvgymError, match=r"'b' fits no trained policy .* there are a-seed0"):
        keep_policies(tmp_path, ["b"])
    assert not (tmp_path / "policies").exists()


def test_a_suite_names_the_policies_that_it_keeps(
    tmp_path: Path, suite: Suite, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Path] = []

    def keep(source: Path, target: Path) -> None:
        assert (source / "weights").read_text() == "bc"
        kept.append(target)

    monkeypatch.setattr("convgym.benchmarks.runs.runner.keep_policy", keep)
    suite = replace(select(suite, agents=["bc@1", "bc@2"]), keep=("*@2", "small*"))
    run_suite(suite, tmp_path, parts=world)
    assert kept == [tmp_path / "policies" / "bc@2-seed0"]
    run_suite(suite, tmp_path / "other", seed=3, parts=world)
    assert kept[1:] == [tmp_path / "other" / "policies" / "bc@2-seed6"]


def test_the_frontier_keeps_a_policy_of_every_family() -> None:
    families = {name.rstrip("0123456789") for name in FRONTIER.agents}
    kept = [name for name in FRONTIER.agents if any(fnmatch(name, each) for each in FRONTIER.keep)]
    assert sorted(kept) == sorted(f"{family}4" for family in families)
