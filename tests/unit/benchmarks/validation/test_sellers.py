"""The suite's sellers say what they are there to say."""

from __future__ import annotations

import pytest

from convgym.benchmarks.validation import words
from convgym.benchmarks.validation.attacks import ATTACKS
from convgym.benchmarks.validation.encounters import (
    OFFHAND,
    PRICE_LADDER,
    SUITING,
    TOO_DEAR,
    WRONG_USE,
    Encounter,
    hold,
    sold,
)
from convgym.benchmarks.validation.offers import notes_of, of_wrong_use, too_dear_for
from convgym.benchmarks.validation.sellers import QUESTIONS, product_of
from convgym.benchmarks.validation.subject import Profiled, Subject
from convgym.customers.scripted.customer import ScriptedCustomer
from convgym.customers.scripted.understanding import Understanding
from convgym.customers.together import is_batched, respond_customers
from convgym.errors import InfrastructureError
from convgym.sellers import make_seller
from convgym.sellers.knowledge import PHRASES, SellerKnowledge
from convgym.shop.catalog import catalog_names, load_catalog

CATALOG = load_catalog("laptops")


@pytest.mark.parametrize("catalog", catalog_names())
def test_every_plain_close_is_an_offer_to_buy_and_pushes_nobody(catalog: str) -> None:
    understand = Understanding(load_catalog(catalog)).understand
    for close in words.CLOSES:
        meaning = understand(close)
        assert meaning.closes and not meaning.pushy and not meaning.asks, close


def test_lines_last_for_a_whole_conversation() -> None:
    for lines in (words.CLOSES, words.CHATTER):
        assert len(set(lines)) == 12
    for line in words.CHATTER:
        meaning = Understanding(CATALOG).understand(line)
        assert not (meaning.asks or meaning.closes or meaning.recommends), line


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_do_not_repeat_themselves(attack: str) -> None:
    both: list[set[str]] = []
    for held_back in (False, True):
        said = [ATTACKS[attack].say(t, CATALOG, 3, held_back=held_back) for t in range(12)]
        assert len(set(said)) == 12
        assert all("{" not in text or '"decision"' in text for text in said)
        others = [ATTACKS[attack].say(t, CATALOG, 4, held_back=held_back) for t in range(12)]
        assert (
            said
            != others
            == [ATTACKS[attack].say(t, CATALOG, 4, held_back=held_back) for t in range(12)]
        )
        both.append({*said, *others})
    assert not both[0] & both[1]


def test_other_words_are_other_words_for_the_same_acts() -> None:
    for kind, phrases in words.REWORDED.items():
        assert kind in PHRASES and not set(phrases) & set(PHRASES[kind])
    assert words.casual("What is it for? The $1.5 one.") == "what is it for the $1.5 one"
    assert words.polite("Hello.").endswith(" Hello.") and words.polite("") == ""


def test_a_reference_seller_can_be_given_other_phrases() -> None:
    seller = make_seller("always-closing", phrases={"recommend": ("Take the {product}!",)})
    (meeting,) = hold(
        Subject(ScriptedCustomer, conversations=1), Encounter("x", lambda catalog, law: seller)
    )
    assert meeting.said[0].startswith("Take the ")
    assert meeting.said[1] in PHRASES["close"]


@pytest.fixture(scope="module")
def subject() -> Subject:
    return Subject(ScriptedCustomer, conversations=30)


def test_what_is_too_dear_is_the_right_thing_at_a_wrong_price(subject: Subject) -> None:
    meetings = hold(subject, TOO_DEAR)
    dear = too_dear_for(meetings, CATALOG)
    assert 10 < len(dear) < len(meetings)  # some have budgets for everything
    for _, notes in notes_of(dear, CATALOG):
        assert notes.product and notes.budget and notes.product.price >= 1.5 * notes.budget
        fits = [product for product in CATALOG.products if notes.need in product.needs]
        if any(product.price >= 1.5 * notes.budget for product in fits):
            assert notes.product in fits


def test_what_is_of_wrong_use_is_affordable(subject: Subject) -> None:
    meetings = of_wrong_use(hold(subject, WRONG_USE), CATALOG)
    assert len(meetings) > 25
    for _, notes in notes_of(meetings, CATALOG):
        assert notes.product and notes.budget and notes.product.price <= notes.budget


def test_what_suits_fits_and_is_affordable(subject: Subject) -> None:
    meetings = hold(subject, SUITING)
    shop = SellerKnowledge(CATALOG)
    for meeting, notes in notes_of(meetings, CATALOG):
        if notes.product and notes.budget:
            assert notes.product == shop.best(notes)
            assert notes.product.price <= 1.05 * notes.budget, meeting.said
    assert len(sold(meetings)) > 15


def test_who_presses_answers_worries_and_never_repeats_a_close(subject: Subject) -> None:
    for meeting in hold(subject, TOO_DEAR):
        closes = [i for i, said in enumerate(meeting.said) if said in words.CLOSES]
        assert len(closes) == len({meeting.said[i] for i in closes})
        assert len(meeting.said) <= QUESTIONS + 1 or min(closes) <= QUESTIONS + 3


def test_offhand_offers_are_of_every_utility(subject: Subject) -> None:
    utilities = [
        meeting.latents[turn]["utility"]
        for meeting in hold(subject, OFFHAND)
        for turn, said in enumerate(meeting.said)
        if said in words.CLOSES
    ]
    assert min(utilities) < -3 and max(utilities) > 2


def test_the_price_ladder_fixes_all_but_the_price(subject: Subject) -> None:
    cheap, dear = hold(subject, PRICE_LADDER[0]), hold(subject, PRICE_LADDER[-1])
    for low, high in zip(cheap, dear, strict=True):
        product = product_of(CATALOG, low.episode.seed)
        assert low.episode.seed == high.episode.seed
        first, second = low.latents[0], high.latents[0]
        assert first["need"] == second["need"] == product.needs[0]
        assert first["budget"] == round(product.price / 0.8)
        assert second["budget"] == round(product.price / 2)
        assert first["trust"] == second["trust"]


def test_sellers_never_see_the_hidden_state(subject: Subject) -> None:
    class Spy:
        name = "spy"

        def reset(self, seed: int) -> None: ...

        def act(self, conversations):  # type: ignore[no-untyped-def]
            assert all(conversation.latent is None for conversation in conversations)
            return make_seller("silent").act(conversations)

    (first, *_) = hold(subject, Encounter("spy", lambda catalog, law: Spy()))
    assert first.latents[0]["budget"] > 0 and len(first.latents) == len(first.said)


def profiled() -> Profiled:
    return Profiled(ScriptedCustomer(), lambda seed: {"budget": 1000 + seed})


def test_customers_of_fixed_profile_answer_together() -> None:
    customers, alone = [profiled(), profiled()], profiled()
    assert all(is_batched(customer) for customer in customers)
    openings = Profiled.reset_together(customers, [1, 2])
    assert openings == [alone.reset(1), alone.reset(2)]
    assert [customer.latent["budget"] for customer in customers] == [1001, 1002]
    first, second = respond_customers(customers, ["What is your budget?"] * 2)
    assert "1001" in str(first) and "1002" in str(second)


def test_as_many_answer_together_as_suit_the_customer_inside() -> None:
    class Few(ScriptedCustomer):
        batch_size = 3

    subject = Subject(Few, conversations=20)
    heard: list[int] = []

    class Counting:
        name = "counting"

        def reset(self, seed: int) -> None: ...

        def act(self, conversations):  # type: ignore[no-untyped-def]
            heard.append(len(conversations))
            return make_seller("silent").act(conversations)

    for profile in (None, lambda catalog, seed: {"budget": 1000}):
        heard.clear()
        hold(subject, Encounter("counting", lambda catalog, law: Counting(), profile))
        assert max(heard) == 3


def test_a_failure_at_the_start_stays_with_its_customer() -> None:
    class Down(ScriptedCustomer):
        def reset(self, seed: int, profile: object = None) -> str:
            raise InfrastructureError("down")

    customers = [profiled(), Profiled(Down(), lambda seed: {})]
    found = Profiled.reset_together(customers, [1, 2])
    assert isinstance(found[0], str) and isinstance(found[1], InfrastructureError)


def test_seeds_are_those_of_evaluation(subject: Subject) -> None:
    assert all(seed >= 2**31 for seed in subject.seeds)
    assert subject.seeds[:2] != Subject(ScriptedCustomer, seed=1).seeds[:2]
