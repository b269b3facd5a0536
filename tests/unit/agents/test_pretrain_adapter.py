"""Fitting a customer as adapters on a chat model."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from convgym.agents.customers.adapter import ADAPTER, base_digest
from convgym.agents.pretrain_adapter import MIXTURE, AdapterConfig, pretrain_adapter
from convgym.agents.pretrain_customer import UNFINISHED, Book, Shares
from convgym.errors import ConvgymError
from convgym.progress import Progress
from tests.unit.agents.learned import FOR_ADAPTERS, TINY_ADAPTER, tiny_chat_model


class Interrupted(Exception):
    pass


def test_a_training_that_was_interrupted_ends_as_it_would_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convgym.agents.pretrain_adapter.MIXTURE", FOR_ADAPTERS)
    base, news = tiny_chat_model(), list[Progress]()
    whole = pretrain_adapter(
        tmp_path / "whole", base=base, config=TINY_ADAPTER, progress=news.append
    )
    assert (news[0].stage, news[0].done) == ("begins with chapter 1 of 2", 0)
    assert [each.done for each in news[1:]] == list(range(1, 21))
    weights = (tmp_path / "whole" / ADAPTER).read_bytes()
    assert whole["weights_sha256"] == hashlib.sha256(weights).hexdigest()
    assert whole["base_sha256"] == base_digest(base)
    assert (whole["bytes"], whole["law"]) == (len(weights), "v1")
    assert json.loads((tmp_path / "whole" / "recipe.json").read_text()) == whole

    def interrupt(news: Progress) -> None:
        if news.done == 15:  # in the second chapter
            raise Interrupted

    with pytest.raises(Interrupted):
        pretrain_adapter(tmp_path / "parts", base=base, config=TINY_ADAPTER, progress=interrupt)
    # What is frozen is not in the checkpoint.
    assert (tmp_path / "parts" / UNFINISHED).stat().st_size < 60_000
    with pytest.raises(ConvgymError, match="other settings"):
        pretrain_adapter(tmp_path / "parts", base=base, config=replace(TINY_ADAPTER, rank=3))
    steps: list[int] = []
    parts = pretrain_adapter(
        tmp_path / "parts",
        base=base,
        config=TINY_ADAPTER,
        progress=lambda news: steps.append(news.done),
    )
    assert steps == [0, *range(11, 21)]
    losses = [name for name in whole if name.startswith("held_out_nats")]
    assert len(losses) == 3
    for name in losses:
        assert parts.pop(name) == pytest.approx(whole.pop(name), abs=0.02)
    assert {**parts, "weights_sha256": ""} == {**whole, "weights_sha256": ""}
    assert not (tmp_path / "parts" / UNFINISHED).exists()


def test_the_adapters_of_the_package_have_at_most_ten_megabytes() -> None:
    hidden, wide, narrow, layers = 576, 1536, 192, 30  # SmolLM2-135M
    rows = 2 * (hidden + hidden) + 2 * (hidden + narrow) + 3 * (hidden + wide)
    assert 2 * AdapterConfig().rank * rows * layers < 9.9e6


def test_the_mixture_is_whole() -> None:
    assert sum(share for _, _, share in MIXTURE) == pytest.approx(1)
    with pytest.raises(ConvgymError, match="rank"):
        AdapterConfig(rank=0)
    with pytest.raises(ConvgymError, match="at least 20 conversations"):
        AdapterConfig(conversations=3)


def test_chapters_are_held_with_the_sellers_that_a_book_names() -> None:
    sellers: Shares = (("silent", {}, 0.2), ("competent", {}, 0.8))
    book = Book("shopper", "laptops", replace(TINY_ADAPTER, conversations=20), 0, sellers)
    assert {episode.policy for episode in book.chapter(0)} == {"silent", "competent-v1"}


def test_evaluation_shops_and_other_models_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConvgymError, match="bicycles"):
        pretrain_adapter(tmp_path, base=tiny_chat_model(), catalog="bicycles")
    with pytest.raises(ConvgymError, match="no chat model at"):
        pretrain_adapter(tmp_path, base=str(tmp_path))
