"""A customer as adapters on a chat model."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from convgym.agents.customers.adapter import ADAPTER, RECIPE, base_digest, load_customer
from convgym.agents.customers.learned import LearnedCustomer, LearnedShopper, SmolLM2Customer
from convgym.agents.customers.voice import SHIPPED, merge, voice
from convgym.agents.model.policy import load_network
from convgym.customers import customer_law, make_customer
from convgym.customers.llm.fitted import FittedCustomer
from convgym.customers.shopper.customer import ShopperCustomer
from convgym.errors import ConvgymError
from convgym.llm.local.transformers_backend import TransformersBackend
from convgym.rollout import rollout
from convgym.seeds import train_seeds
from convgym.sellers import make_seller
from tests.unit.agents.learned import tiny_adapter, tiny_chat_model, tiny_learned_customer

SAID = ("What is your budget?", "I recommend the Nova for $850.", "Shall I place the order?")


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("merged") / "model"
    assert merge(tiny_adapter(), folder) > 1000
    return folder


def talk(model: str | Path, seed: int = 4) -> list[Any]:
    customer = SmolLM2Customer(model=model)
    return [customer.reset(seed), *(customer.respond(words) for words in SAID)]


def test_it_is_whom_the_shopper_is() -> None:
    customer, original = SmolLM2Customer(model=tiny_adapter()), ShopperCustomer()
    assert customer_law({"customer": "smollm2-customer"}) == "v1"
    assert customer.briefing == original.briefing
    for seed in range(3):
        customer.reset(seed)
        original.reset(seed)
        told, asked = customer.latent, original.latent
        for name in ("persona", "need", "wish", "low", "high", "haggle", "mood", "patience"):
            assert told[name] == asked[name]
    assert customer.fingerprint.startswith("learned-v1:")
    assert customer.fingerprint.endswith(f"({original.fingerprint})")


def test_adapters_are_peft_s_own_and_small() -> None:
    network, _ = load_network(tiny_chat_model())
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # of peft's own making
        adapted = PeftModel.from_pretrained(network, tiny_adapter())
    ids = torch.arange(40)[None]
    with torch.inference_mode():
        theirs = adapted(input_ids=ids).logits
        ours = load_customer(Path(tiny_adapter()))[0](input_ids=ids).logits
        plain = load_network(tiny_chat_model())[0](input_ids=ids).logits
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    assert (ours - plain).abs().max() > 0.01
    config = json.loads(Path(tiny_adapter(), "adapter_config.json").read_text())
    assert (config["r"], config["base_model_name_or_path"]) == (2, tiny_chat_model())


def test_merged_it_is_the_same_customer(merged: Path) -> None:
    assert talk(merged) == talk(tiny_adapter())
    assert not (merged / ADAPTER).exists()
    assert voice(str(merged)).digest != voice(tiny_adapter()).digest


def test_merged_it_is_spoken_with_as_any_chat_model(merged: Path) -> None:
    backend = TransformersBackend(merged, device="cpu")
    customer = FittedCustomer(backend=backend, repairs=30, max_tokens=24)
    customer.reset(4)
    for words in SAID:
        customer.respond(words)
    # What the server reads is what the format spells.
    format = voice(str(merged)).format
    talk = customer.talk
    ids = format.profile(talk.profile) + format.response(talk.chat[1]["content"])
    ids += format.heard(SAID[0], talk.profile["patience"])
    assert backend._model._ids(list(talk.chat[:3])) == ids


def test_adapters_belong_to_one_model(tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_adapter(), tmp_path / "adapter")
    recipe = json.loads((folder / RECIPE).read_text())
    assert recipe["base_sha256"] == base_digest(tiny_chat_model())
    (folder / RECIPE).write_text(json.dumps({**recipe, "base_sha256": "0"}))
    with pytest.raises(ConvgymError, match="belong to another"):
        load_customer(folder)
    for content in ("{", "[]", "{}"):
        (folder / RECIPE).write_text(content)
        with pytest.raises(ConvgymError, match="recipe"):
            load_customer(folder)
    with pytest.raises(ConvgymError, match="no chat model at"):
        base_digest(str(tmp_path / "nowhere"))


def test_damaged_adapters_are_told(tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_adapter(), tmp_path / "adapter")
    (folder / ADAPTER).write_bytes(b"none")
    with pytest.raises(ConvgymError, match="cannot be loaded"):
        SmolLM2Customer(model=folder)


def test_who_has_no_adapters_is_told_how_to_make_them(tmp_path: Path) -> None:
    if SHIPPED["smollm2-shopper"].exists():
        pytest.skip("they are here")
    with pytest.raises(ConvgymError, match="with --base smollm2 one for smollm2-customer"):
        make_customer("smollm2-customer")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            {"catalog": "insurance"},
            "knows the shop 'laptops' by heart.*customer --base smollm2 --c",
        ),
        ({"catalog": "bicycles"}, "'bicycles': that is reserved for evaluation, and no customer"),
        ({"personas": "difficult"}, "personas='default', and knows no persona .*: leave out"),
    ],
)
def test_what_it_was_not_fitted_to_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConvgymError, match=told):
        make_customer("smollm2-customer", model=tiny_adapter(), **options)


def test_models_of_another_kind_are_refused() -> None:
    with pytest.raises(ConvgymError, match="imitates 'scripted'"):
        LearnedShopper(model=tiny_learned_customer())
    with pytest.raises(ConvgymError, match="imitates 'shopper'"):
        LearnedCustomer(model=tiny_adapter())
    with pytest.raises(ConvgymError, match="tokens of its own"):
        merge(tiny_learned_customer(), Path("nowhere"))


def test_sellers_talk_to_it() -> None:
    environment = {"customer": "smollm2-customer", "customer_options": {"model": tiny_adapter()}}
    episodes = rollout(
        make_seller("competent", law="v1"), train_seeds(5, 4), environment=environment
    )
    assert all(episode.valid for episode in episodes)
