"""Fitting the learned customer, and the one that is shipped."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from convgym.agents import pretrain_adapter
from convgym.agents.customers.format import DECIDED, SAID_BY_CUSTOMER, SAID_BY_SELLER
from convgym.agents.customers.recorded import Recorded
from convgym.agents.customers.voice import voice
from convgym.agents.pretrain_customer import (
    MIXTURE,
    UNFINISHED,
    Book,
    losses_by_kind,
    pretrain_customer,
    rows,
    step,
    token_losses,
)
from convgym.agents.training.optim import Optimiser
from convgym.customers.scripted.customer import ScriptedCustomer
from convgym.errors import ConvgymError
from convgym.progress import Progress
from convgym.seeds import train_seeds
from convgym.shop.catalog import load_catalog
from tests.unit.agents.learned import SCRIPTED, TINY, tiny_learned_customer
from tests.unit.agents.training.test_parallel import as_process


class Interrupted(Exception):
    pass


def test_a_training_that_was_interrupted_ends_as_it_would_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convgym.agents.pretrain_customer.MIXTURE", SCRIPTED)
    news: list[Progress] = []
    whole = pretrain_customer(tmp_path / "whole", config=TINY, progress=news.append)
    begins, *news = news
    assert (begins.stage, begins.done, begins.total) == ("begins with chapter 1 of 2", 0, 2)
    assert [each.done for each in news] == list(range(1, 21))
    assert news[-1].metrics["loss"] < news[0].metrics["loss"] - 0.5
    weights = (tmp_path / "whole" / "model.safetensors").read_bytes()
    assert whole["weights_sha256"] == hashlib.sha256(weights).hexdigest()
    assert json.loads((tmp_path / "whole" / "recipe.json").read_text()) == whole

    def interrupt(news: Progress) -> None:
        if news.done == 15:  # in the second chapter
            raise Interrupted

    with pytest.raises(Interrupted):
        pretrain_customer(tmp_path / "parts", config=TINY, progress=interrupt)
    with pytest.raises(ConvgymError, match="other settings"):
        pretrain_customer(tmp_path / "parts", seed=1, config=TINY)
    resumed: list[Progress] = []
    parts = pretrain_customer(tmp_path / "parts", config=TINY, progress=resumed.append)
    goes_on, *steps = resumed
    assert (goes_on.stage, goes_on.done, goes_on.total) == ("goes on with chapter 2 of 2", 0, 1)
    assert [each.done for each in steps] == list(range(11, 21))
    # Rounding hangs on where tensors lie in memory: the last digits are not the same.
    losses = [name for name in whole if name.startswith("held_out_nats")]
    assert len(losses) == 3
    for name in losses:
        assert parts.pop(name) == pytest.approx(whole.pop(name), abs=0.02)
    assert {**parts, "weights_sha256": ""} == {**whole, "weights_sha256": ""}
    assert not (tmp_path / "parts" / UNFINISHED).exists()


def test_the_mixture_is_whole_and_its_customers_are_as_they_are() -> None:
    assert sum(share for _, _, share in MIXTURE) == pytest.approx(1)
    book = Book("scripted", "laptops", replace(TINY, conversations=100, strange=0.0), 0)
    original = ScriptedCustomer()
    episodes = book.chapter(1)
    assert len(episodes) == len({episode.seed for episode in episodes}) == 100
    assert {"silent", "oracle", "hf:default"} <= {episode.policy for episode in episodes}
    for episode in episodes[:5]:
        original.reset(episode.seed)
        assert episode.metadata["profile"] == asdict(original.profile)


def test_the_patience_of_some_is_drawn_anew() -> None:
    strange, plain = Recorded("scripted", strange=1.0), Recorded("scripted")
    original = ScriptedCustomer()
    patience = []
    for seed in train_seeds(0, 40):
        original.reset(seed)
        strange.reset(seed)
        plain.reset(seed)
        assert plain.record["profile"] == asdict(original.profile)
        assert {**strange.record["profile"], "patience": original.profile.patience} == (
            plain.record["profile"]
        )
        patience.append(strange.record["profile"]["patience"])
    assert min(patience) < 3 < 12.5 < max(patience)


def test_a_shopper_can_be_fitted_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    book = Book("shopper", "laptops", replace(TINY, conversations=20), 0)
    assert book.law == "v1"
    monkeypatch.setattr(
        "convgym.agents.pretrain_customer.MIXTURE",
        (("silent", {}, 0.2), ("competent", {}, 0.8)),
    )
    episodes = book.chapter(0)
    assert {episode.policy for episode in episodes} == {"silent", "competent-v1"}
    assert {"haggle", "mood", "questions"} <= set(episodes[0].metadata["profile"])


def test_evaluation_shops_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConvgymError, match="bicycles"):
        pretrain_customer(tmp_path, catalog="bicycles", config=TINY)
    with pytest.raises(ConvgymError, match="at least 20 conversations"):
        replace(TINY, conversations=19)


def test_the_losses_are_those_of_each_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convgym.agents.pretrain_customer.MIXTURE", SCRIPTED)
    speaker = voice(tiny_learned_customer())
    book = Book("scripted", "laptops", replace(TINY, conversations=20, strange=0.0), 5)
    read = rows(book.chapter(0)[:4], speaker.format, load_catalog("laptops"), 1024)
    losses, kinds = token_losses(speaker.network, read, speaker.format.pad_id)
    assert set(kinds.tolist()) == {SAID_BY_SELLER, SAID_BY_CUSTOMER, DECIDED}
    expected = []
    with torch.inference_mode():
        for row in read:
            logprobs = speaker.network(torch.tensor([row.ids])).logits[0].log_softmax(-1)
            expected += [
                -logprobs[i - 1, row.ids[i]].item() for i in range(1, len(row.ids)) if row.kinds[i]
            ]
    assert losses.tolist() == pytest.approx(expected, abs=0.15, rel=0.05)  # bfloat16
    told = losses_by_kind(speaker.network, read, speaker.format.pad_id, size=2)
    decided = losses[kinds == DECIDED].mean().item()
    assert told["held_out_nats_per_decision"] == pytest.approx(decided, abs=0.01)


def test_processes_share_a_minibatch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convgym.agents.pretrain_customer.MIXTURE", SCRIPTED)
    speaker = voice(tiny_learned_customer())
    network = copy.deepcopy(speaker.network).requires_grad_(True)
    book = Book("scripted", "laptops", replace(TINY, conversations=20, strange=0.0), 5)
    part = rows(book.chapter(0)[:5], speaker.format, load_catalog("laptops"), 1024)
    weights = torch.tensor([0.0, 0.2, 1.0, 4.0])
    gradients, told = [], []
    for number, count in ((0, 1), (0, 2), (1, 2)):
        as_process(monkeypatch, number, count)
        optimiser = Optimiser(network.parameters(), 0.0, math.inf)
        told.append(step(network, optimiser, part, speaker.format.pad_id, weights, autocast=False))
        gradients.append([parameter.grad for parameter in network.parameters()])
    for whole, first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(first + second, whole, atol=1e-5, rtol=1e-3)
    for name in ("loss", "decision"):
        assert told[1][name] + told[2][name] == pytest.approx(told[0][name], rel=1e-4)


def test_the_documentation_tells_the_mixtures() -> None:
    page = (Path(__file__).parents[3] / "docs" / "learned_customer.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+) \| (\d+)% \| (\d+)% \|$", page, flags=re.MULTILINE)
    for column, mixture in ((1, MIXTURE), (2, pretrain_adapter.MIXTURE)):
        told = {row[0]: int(row[column]) / 100 for row in rows if row[column] != "0"}
        names = {
            f"the small seller at temperature {options['temperature']:g}"
            if spec == "hf:default"
            else spec: share
            for spec, options, share in mixture
        }
        assert told == pytest.approx(names)
