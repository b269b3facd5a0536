"""Models that read their shop's leaflet, and those that have no place for one."""

from __future__ import annotations

import gzip
import random
from dataclasses import replace
from pathlib import Path

import pytest

from convgym.agents.model.find_format import find_format
from convgym.agents.model.format import (
    CUSTOMER,
    SELLER,
    ConversationFormat,
    compact_format,
)
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.model.reading import SHOP, ReadingFormat
from convgym.agents.model.sampling import SamplingConfig
from convgym.agents.pretrain import build_tokenizer
from convgym.agents.pretrain_reading import ReadingConfig, build_reading_model
from convgym.agents.reading_vocabulary import build_reading_tokenizer
from convgym.agents.training.collector import Collector
from convgym.conversation import Episode, Message, Response, Turn
from convgym.errors import ConvgymError
from convgym.policy import Conversation
from convgym.rollout import rollout
from convgym.sellers import make_seller
from convgym.shop.catalog import load_catalog

TOKENIZER = build_reading_tokenizer()
HELLO: list[Message] = [{"role": "user", "content": "hello"}]


@pytest.fixture
def reader() -> LanguageModelPolicy:
    config = ReadingConfig(hidden=16, layers=2, heads=4, head_size=4, intermediate=16)
    network = build_reading_model(config, TOKENIZER, 0)
    for parameter in network.parameters():
        if parameter.ndim == 2:
            parameter.data *= 6  # far from uniform, so that every mistake shows
    model = LanguageModel.of(network, ReadingFormat(TOKENIZER), SamplingConfig(1.0, 8))
    return LanguageModelPolicy(model)


def words(format: ConversationFormat) -> list[str]:
    return list(TOKENIZER.convert_ids_to_tokens(list(format.opening("hi"))))


def test_the_leaflet_stands_before_all_else() -> None:
    format = ReadingFormat(TOKENIZER)
    assert words(format)[:2] == [SHOP, CUSTOMER]
    about = format.about("game gaming.")
    assert words(about)[0] == SHOP
    assert words(about)[-1] == SELLER
    assert words(about).index(CUSTOMER) == about.overhead - 2 > 2
    assert (
        about.tokenizer.decode(list(about.opening("hi")))
        == f"{SHOP} game gaming.{CUSTOMER} hi{SELLER}"
    )
    assert about.reply("hi") == format.reply("hi")
    assert format.overhead == 3


def test_a_leaflet_that_leaves_no_room_for_a_conversation_is_refused(
    reader: LanguageModelPolicy,
) -> None:
    reader.reset(0)
    room = reader.model.room
    long = " ".join(["game gaming,"] * room)
    told = (
        rf"the shop's leaflet takes \d+ tokens, and the model reads {room} beside its response, so"
        r" less than 16 are left for the conversation: use a catalogue with fewer products"
    )
    with pytest.raises(ConvgymError, match=told):
        reader.act([Conversation(1, HELLO, random.Random(1), leaflet=long)])
    turns = (Turn(Response("hi"), "bye"),)
    with pytest.raises(ConvgymError, match=told):
        reader.model.tokenise([Episode(0, "hi", turns, "purchase", "", "", leaflet=long)])


def test_a_shop_is_encoded_once_and_none_changes_nothing() -> None:
    format = ReadingFormat(TOKENIZER)
    about = format.about("game gaming.")
    assert format.about("game gaming.") is about
    assert about.about("game gaming.") is about.about("") is about
    assert about.about("pet dog.").about("game gaming.") is about
    assert format.about("") is format
    for shop in range(100):
        assert str(shop) in TOKENIZER.decode(list(format.about(f"shop {shop}").opening("hi")))


def test_a_model_without_a_place_for_it_reads_none() -> None:
    format = compact_format(build_tokenizer(["hello"], 300))
    assert format.leaflet is None
    assert format.about("game gaming.") is format


def test_a_leaflet_smuggles_no_special_token_in() -> None:
    opening = ReadingFormat(TOKENIZER).about(f"a {SELLER} b").opening("hi")
    assert TOKENIZER.convert_ids_to_tokens(list(opening)).count(SELLER) == 1


def test_the_tokenizer_tells_which_format_it_is() -> None:
    assert find_format(TOKENIZER, "").leaflet == ""
    assert find_format(build_tokenizer(["hello"], 300), "").leaflet is None


def test_forbidden_words_of_a_shop_are_those_of_the_model() -> None:
    format = ReadingFormat(TOKENIZER)
    format.about("game gaming.")
    wider = format.within(len(TOKENIZER) + 2)
    assert wider.forbidden_ids != format.forbidden_ids
    assert wider.about("game gaming.").forbidden_ids == wider.forbidden_ids


def test_every_conversation_is_read_in_its_own_shop(reader: LanguageModelPolicy) -> None:
    shops = [load_catalog(name).leaflet() for name in ("laptops", "mobile", "laptops")]

    def conversations() -> list[Conversation]:
        return [Conversation(1, HELLO, random.Random(1), leaflet=leaflet) for leaflet in shops]

    one, other, again = reader.act(conversations())
    assert one.token_logprobs == pytest.approx(again.token_logprobs, abs=1e-4)
    assert one.text == again.text
    assert (one.token_ids, one.token_logprobs) != (other.token_ids, other.token_logprobs)
    heard: list[Message] = [
        *HELLO,
        {"role": "assistant", "content": one.text},
        {"role": "user", "content": "no"},
    ]
    assert reader._prompt(Conversation(1, heard, random.Random(1), leaflet=shops[0])).history


@pytest.mark.parametrize("shop", ["laptops", "bicycles"])
def test_what_was_read_is_what_is_learned_from(reader: LanguageModelPolicy, shop: str) -> None:
    episodes = rollout(reader, range(3), environment={"catalog": shop})
    model = reader.model
    log = model.tokenise(episodes)
    leaflet = model.format.about(load_catalog(shop).leaflet())
    assert all(row.ids[: leaflet.overhead - 1] == leaflet.opening("")[:-1] for row in log)
    (batch,) = model.batches(log, 3)
    logprobs = model.logprobs(batch)
    assert logprobs.tolist() == pytest.approx(batch.logprobs[batch.response].tolist(), abs=1e-3)


def test_logs_do_not_keep_the_leaflet_and_the_collector_puts_it_back(tmp_path: Path) -> None:
    environment = {"catalog": "mobile"}
    leaflet = load_catalog("mobile").leaflet()

    def collector() -> Collector:
        return Collector(4, seed=0, environment=environment, folder=tmp_path)

    held = collector().deploy(make_seller("habitual", "mobile"), 4)
    read = collector().deploy(make_seller("silent"), 4)
    assert read == held == [replace(episode, leaflet="") for episode in held]
    assert {episode.leaflet for episode in (*held, *read)} == {leaflet}
    log = Collector(4, seed=0, environment=environment, log=tmp_path / "deployment-000.jsonl.gz")
    assert {episode.leaflet for episode in log.logged(make_seller("silent"))} == {leaflet}
    (kept,) = tmp_path.glob("*.gz")
    assert leaflet.encode() not in gzip.decompress(kept.read_bytes())
    assert {episode.leaflet for episode in collector().deployed(0)} == {leaflet}
