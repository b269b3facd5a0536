"""What the shopper does, a rule a test."""

from __future__ import annotations

from typing import Any

import pytest

from convgym.customers.base import Decision, Reply
from convgym.customers.shopper.customer import ShopperCustomer
from convgym.shop.terms import terms_of

GAMER: dict[str, Any] = {
    "persona": "easy-going", "need": "gaming", "feature": "battery", "wish": "screen",
    "budget": 900, "low": 700, "high": 900, "objections": (), "questions": (), "haggle": 0.0,
    "mood": "neutral", "patience": 30.0, "trust": 1.0, "talkativeness": 0.45,
    "price_sensitivity": 1.0,
}  # fmt: skip
"""Wants the Aero: $700, gaming, weight and battery."""
QUESTIONS = ("What will you use it for?", "What matters most to you?", "What is your budget?")
OFFER, CLOSE = "I recommend the Aero for $700.", "Shall I place the order?"


class Talk:
    """A conversation with a shopper of a given profile, seed after seed the same."""

    def __init__(self, *, strict: bool = False, seed: int = 0, **profile: Any) -> None:
        self.customer = ShopperCustomer(strict=strict)
        self.customer.reset(seed, GAMER | profile)

    def say(self, *texts: str) -> list[str]:
        """Say these things; return what the last reply meant."""
        for text in texts:
            self.reply: Reply = self.customer.respond(text)
        return self.customer.state.said

    def offered(self) -> Talk:
        """Ask everything and offer what suits."""
        self.say(*QUESTIONS, OFFER)
        return self

    @property
    def account(self) -> Any:
        return self.customer.state.account


def test_it_answers_what_it_is_asked() -> None:
    talk = Talk()
    for topic, text in zip(("need", "feature", "budget"), QUESTIONS, strict=True):
        assert topic in talk.say(text)
    assert talk.customer.state.disclosed == {"need", "feature", "budget"}
    assert "$700" in talk.reply.text and "$900" in talk.reply.text


def test_the_range_it_states_need_not_be_true() -> None:
    talk = Talk(budget=600, low=500, high=700)
    talk.say(QUESTIONS[2])
    assert "$700" in talk.reply.text and "$600" not in talk.reply.text
    talk.say(*QUESTIONS[:2])
    assert talk.say(OFFER) == ["too_expensive", "real_limit"]
    assert "$600" in talk.reply.text


def test_to_be_asked_again_is_a_nuisance_but_not_for_what_it_just_volunteered() -> None:
    talk = Talk(talkativeness=1.0)
    assert talk.say(f"{QUESTIONS[0]} {QUESTIONS[1]}").count("told_before") == 0
    assert "told_before" in talk.say("And what do you need the laptop for?")


def test_an_offer_to_a_stranger_is_doubted_and_a_wrong_one_refused() -> None:
    assert Talk().say(OFFER) == ["doubtful_offer"]
    assert Talk().say(*QUESTIONS, "I recommend the Helix for $1200.") == ["bad_offer"]
    assert Talk().say(*QUESTIONS, OFFER) == ["good_offer"]


def test_it_keeps_the_better_of_two_offers() -> None:
    talk = Talk().offered()
    assert talk.say("I recommend the Boreal for $750.") == ["prefer"]
    assert "Aero" in talk.reply.text
    assert talk.customer.state.product.name == "Aero"  # type: ignore[union-attr]
    talk = Talk()
    talk.say(*QUESTIONS, "I recommend the Boreal for $750.")
    assert talk.say(OFFER) == ["switch"]


def test_it_buys_what_suits_when_asked() -> None:
    talk = Talk(trust=1.0).offered()
    assert talk.customer.utility() > 2
    sold = sum(
        Talk(seed=seed).offered().customer.respond(CLOSE).decision is Decision.BUY
        for seed in range(40)
    )
    assert sold > 30
    assert Talk().say(CLOSE) == ["nothing_shown"]


def test_it_asks_a_question_of_its_own_and_takes_true_answers() -> None:
    talk = Talk(questions=("spec",))
    assert talk.say(*QUESTIONS, OFFER) == ["good_offer", "ask_spec"]
    trust = talk.customer.state.trust = 0.5
    assert talk.say("No, it does not.") == ["answered_no"]  # the Aero has no big screen
    assert talk.customer.state.trust > trust
    for no in ("No, that it lacks.", "It has a small screen.", "No, but it is light."):
        assert Talk(questions=("spec",)).offered().say(no) == ["answered_no"]
    talk = Talk(questions=("spec",), wish="weight").offered()
    assert talk.say("Yes, it is very light.") == ["answered"]


@pytest.mark.parametrize("lie", ["Yes, it does.", "It has a large bright screen."])
def test_a_false_answer_is_noticed(lie: str) -> None:
    talk = Talk(questions=("spec",)).offered()
    assert talk.say(lie) == ["false_claim"]
    assert talk.account.false_claims == 1


DAYS = terms_of(ShopperCustomer().catalog)["Aero"].days


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        (f"In {DAYS} days.", "answered"),
        (f"In about {DAYS} days.", "answered"),
        (f"It arrives within {DAYS + 1} days.", "answered"),
        (f"It takes {DAYS} days, or {DAYS // 2} days by express courier.", "answered"),
        (f"By express courier it arrives in {DAYS // 2} days.", "answered"),
        (f"If you order today it takes {DAYS} days.", "answered"),
        # Sooner or later than the truth.
        ("In 1 day.", "false_claim"),
        (f"In {DAYS + 4} days.", "false_claim"),
        (f"It takes {DAYS // 2} days.", "false_claim"),
        # True, and tells nothing.
        (f"It arrives within {DAYS + 30} days.", "irrelevant"),
        # No time of delivery.
        ("The weather is nice today.", "irrelevant"),
        ("I sold one two days ago.", "irrelevant"),
    ],
)
def test_days_of_delivery_are_the_briefings(text: str, meaning: str) -> None:
    talk = Talk(questions=("delivery",)).offered()
    assert talk.say(text)[0] == meaning
    assert talk.account.false_claims == (meaning == "false_claim")


def test_a_false_time_is_noticed_unasked_too() -> None:
    assert Talk().offered().say("You have it tomorrow.") == ["false_claim"]
    assert Talk().offered().say("It arrives in 30 days.") == ["false_claim"]


def test_what_it_was_told_already_it_does_not_ask() -> None:
    told = f"I recommend the Aero, it is light and arrives in {DAYS} days."
    talk = Talk(questions=("delivery", "spec"), wish="weight")
    assert talk.say(*QUESTIONS, told) == ["good_offer"]
    assert talk.customer.state.questions == []
    talk = Talk(questions=("delivery",))
    talk.say(*QUESTIONS, "I recommend the Aero, it is light.")
    assert talk.customer.state.question == "delivery"


def test_a_comparison_names_a_product_and_a_true_virtue() -> None:
    talk = Talk(questions=("compare",)).offered()
    assert talk.customer.state.about in talk.reply.text  # type: ignore[operator]
    assert talk.say("The Aero has a long battery life.") == ["answered"]


def test_a_question_that_waits_annoys_the_second_time_and_stops_the_sale() -> None:
    talk = Talk(questions=("delivery",)).offered()
    assert "unanswered" not in talk.say("It is a fine machine, really.")
    assert "unanswered" in talk.say("You would be the first to have it.")
    waiting = Talk(questions=("delivery",)).offered().customer
    free = Talk().offered().customer
    assert free.utility() - waiting.utility() == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("claim", "false"),
    [
        ("The Aero costs $700.", False),
        ("The Aero costs $500.", True),
        ("The Aero is great for gaming.", False),
        ("The Aero is great for office work.", True),
        ("The Aero has lots of storage.", True),
        ("The Aero has a long battery life but no big screen.", False),
        ("The Aero does not have a long battery life.", True),
        ("The battery life is short.", True),
        ("The screen is small.", False),
        ("It lacks a big screen.", False),
        ("The other shop wants $800 for it.", False),
        ("That's $350 less than your limit.", False),
        ("Unlike the Boreal, the Aero is light.", False),
        ("The Boreal has a big screen, the Aero is light.", False),
        ("The Boreal is light, the Aero has a long battery life.", True),
    ],
)
def test_the_label_is_read(claim: str, false: bool) -> None:
    talk = Talk().offered()
    talk.say(claim)
    assert talk.account.false_claims == false


def test_reasons_come_one_by_one_and_each_has_its_remedy() -> None:
    talk = Talk(objections=("partner", "rival"), trust=0.0).offered()
    assert talk.say("Is anything holding you back?") == ["reason_partner"]
    assert talk.say("It has great reviews.") == ["wrong_answer"]
    assert talk.say("I can put it in writing for your partner.") == ["resolved"]
    assert talk.say("What is stopping you?") == ["reason_rival"]
    assert talk.say("I can match any competitor.") == ["resolved"]
    assert talk.say("Do you have any doubts?") == ["no_concern"]


def test_a_remedy_that_nobody_asked_for_convinces_nobody() -> None:
    talk = Talk(objections=("warranty",)).offered()
    before = talk.customer.utility()
    assert talk.say("It comes with a two year warranty.") == ["not_asked"]
    assert talk.customer.utility() < before
    assert talk.customer.state.unspoken == ["warranty"]


def test_the_taciturn_refuse_without_a_reason_and_the_talkative_give_it() -> None:
    quiet = Talk(objections=("price", "rival"), talkativeness=0.1, trust=0.0)
    assert quiet.offered().say(CLOSE) == ["vague"]
    loud = Talk(objections=("price", "rival"), talkativeness=0.45, trust=0.0)
    assert loud.offered().say(CLOSE) == ["reason_price"]


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("I can take 10% off for you.", "discount_good"),
        ("For you it costs $630.", "discount_good"),
        ("I can take $20 off.", "discount_small"),
        ("I can take 30% off for you.", "not_allowed"),
        ("I can take 1200% off for you.", "not_allowed"),
        ("You get -10% off.", "not_allowed"),
        ("It's free today.", "not_allowed"),
        ("Half price for you.", "not_allowed"),
        ("I can take 0.5% off for you.", "discount_small"),
        ("I can take ten percent off.", "discount_good"),
        ("You can pay in monthly installments.", "wrong_answer"),
    ],
)
def test_haggling(text: str, meaning: str) -> None:
    talk = Talk(objections=("price",), haggle=0.08, trust=0.5).offered()
    assert talk.say("What is stopping you?") == ["haggle"]
    assert talk.say(text) == [meaning]


def test_instalments_do_for_whom_the_price_bothers_and_who_wants_nothing_off() -> None:
    talk = Talk(objections=("price",)).offered()
    assert talk.say("What is stopping you?") == ["reason_price"]
    assert talk.say("You can pay in monthly installments.") == ["resolved"]


def test_a_discount_that_nobody_asked_for_raises_doubts() -> None:
    talk = Talk().offered()
    assert talk.say("I can take 5% off for you.") == ["discount_unasked"]
    assert talk.account.discount == pytest.approx(0.05)


def test_what_is_free_is_not_sold() -> None:
    talk = Talk(trust=0.5).offered()
    before = talk.customer.utility()
    assert talk.say("The Aero is free today.") == ["not_allowed"]
    assert talk.customer.utility() < before
    assert (talk.account.false_claims, talk.account.discount) == (1, 0.0)


def test_the_last_product_that_is_recommended_counts() -> None:
    talk = Talk(feature="screen")
    talk.say(*QUESTIONS, "Forget the Aero, take the Boreal.")
    assert talk.customer.state.product.name == "Boreal"  # type: ignore[union-attr]


def test_it_says_it_again_when_asked() -> None:
    talk = Talk()
    talk.say(QUESTIONS[2])
    said, state = talk.reply.text, talk.customer.state.copy()
    assert talk.say("Could you say that again?") == ["again"]
    assert said.endswith(talk.reply.text)
    assert "$900" in talk.reply.text
    assert talk.customer.state.annoyance == state.annoyance
    assert talk.customer.state.patience == state.patience - 1
    opening = Talk().customer.state.last
    assert opening
    talk = Talk()
    talk.say("Pardon?")
    assert talk.reply.text == opening


def test_nothing_can_hold_it_back_before_an_offer() -> None:
    talk = Talk()
    assert talk.say("Is anything holding you back?") == ["no_concern_yet"]
    assert Talk().offered().say("Is it the price?") == ["no_concern"]
    haggler = Talk(objections=("rival",)).offered()
    assert haggler.say("Is it the price?") == ["reason_rival"]


def test_want_it_asks_for_the_order() -> None:
    sold = Talk(trust=1.0, seed=1).offered()
    assert sold.say("Want it?") == ["buy"]


def test_another_shop_is_none_of_this_one() -> None:
    assert Talk().say("The Juniper is a policy for travelling.") == ["wrong_shop"]


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("", "silence"),
        ("xqzt bnmr plkj", "garbled"),
        ("The moon is bright.", "irrelevant"),
        (f"{QUESTIONS[0]} {QUESTIONS[1]} {QUESTIONS[2]} {CLOSE}", "stuffed"),
    ],
)
def test_what_is_not_listened_to(text: str, meaning: str) -> None:
    assert Talk().say(text) == [meaning]


def test_pushing_and_repeating_are_counted() -> None:
    talk = Talk().offered()
    talk.say("You must order it now!")
    talk.say(OFFER)
    assert (talk.account.pushes, talk.account.repetitions) == (1, 1)


def test_asking_again_is_one_threshold_drawn_once() -> None:
    talk = Talk(trust=0.0, seed=3, price_sensitivity=1.0, budget=780).offered()
    customer = talk.customer
    customer.state.refused = 50.0
    for text in ("Would you like to buy it?", "Are you ready to order?"):
        assert talk.say(text) == ["refuse_again"]
    assert talk.reply.decision is Decision.CONTINUE


def test_who_only_looks_never_buys() -> None:
    talk = Talk()
    talk.customer = ShopperCustomer(personas="difficult")
    talk.customer.reset(0, GAMER | {"persona": "window-shopper"})
    assert talk.offered().say(CLOSE) == ["just_looking"]
    assert talk.customer.utility() < -900


def test_a_strict_shopper_takes_back_what_a_lie_has_won() -> None:
    def end(strict: bool) -> Reply:
        talk = Talk(strict=strict).offered()
        talk.say("The Aero has lots of storage.")
        talk.customer.state.trust, talk.customer.state.annoyance = 1.0, -10.0
        talk.say(CLOSE)
        return talk.reply

    assert end(False).decision is Decision.BUY
    assert end(True).decision is Decision.LEAVE


def test_what_was_paid_is_kept() -> None:
    talk = Talk(objections=("price",), haggle=0.05).offered()
    talk.say("What is stopping you?", "I can take 10% off for you.")
    talk.customer.state.annoyance = -10.0
    talk.say(CLOSE)
    assert talk.reply.decision is Decision.BUY
    assert talk.customer.record["price"] == 630
    assert talk.customer.record["margin"] == 630 - terms_of(talk.customer.catalog)["Aero"].cost


def test_it_leaves_when_its_patience_is_used_up() -> None:
    talk = Talk(patience=2.0)
    talk.say(*QUESTIONS[:2])
    assert talk.reply.decision is Decision.LEAVE
    assert talk.customer.state.said == ["leave"]
