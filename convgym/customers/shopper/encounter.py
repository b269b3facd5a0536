"""One conversation of the shopper's: how it takes an utterance, what it says, and whether it buys.

The rules stand in the text of ``convgym.customers.shopper.customer``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import cast

from convgym.customers.base import Decision
from convgym.customers.personas import Persona
from convgym.customers.scripted.buying import NEVER, purchase_probability
from convgym.customers.scripted.understanding import MAX_WORDS
from convgym.customers.shopper import law
from convgym.customers.shopper.claims import Claim
from convgym.customers.shopper.ear import Heard, ShopperEar
from convgym.customers.shopper.law import State, Weights, affordable, suits, utility
from convgym.customers.shopper.profile import Shopper
from convgym.customers.shopper.truth import contradicts, taken_off, tells_days, tells_feature
from convgym.customers.shopper.voice import Voice
from convgym.shop.catalog import Catalog, Product
from convgym.shop.language import TOPICS
from convgym.shop.terms import MOST_DISCOUNT, Terms, discounted

MAX_ACTS, MAX_REMEDIES = 3, 2
"""A message that wants more of the shopper, or offers more remedies, is "too much at once"."""

ANNOYED = 1.5
"""From which annoyance on a shopper is in a bad mood, and leaves without thanks."""

_HONEST = 0.005
"""How much a share of the price may be off by rounding."""

_AGAIN = "again"
"""What a reply means that is the last one once more."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What all conversations in a shop have in common."""

    catalog: Catalog
    terms: Mapping[str, Terms]
    ear: ShopperEar
    voice: Voice
    weights: Weights
    strict: bool


@dataclass(slots=True)
class Encounter:
    """One shopper in a conversation."""

    setting: Setting
    profile: Shopper
    kind: Persona
    state: State
    rng: Random

    def utility(self) -> float:
        """Return the log-odds of buying the product under discussion now, -inf if there is none."""
        if self.state.product is None:
            return -math.inf
        u = utility(self.profile, self.state, self.state.product, self.setting.weights)
        return u if self.kind.buys else u - NEVER

    def open(self) -> str:
        """Return the shopper's first words."""
        tells = self.rng.random() < self.profile.talkativeness - 0.5
        words = self._disclose("need", "opening_need") if tells else self._say("opening")
        self.state.last = words
        return words

    def respond(self, text: str) -> tuple[str, Decision]:
        """Take an utterance, and return the reply and the decision."""
        state = self.state
        state.patience -= 1
        state.said = []
        evaded = len(state.evaded)
        words, decision = self._react(text, self.setting.ear.understand(text))
        if len(state.evaded) == evaded:  # what was evaded may be asked again in the same words
            state.heard.add(text.lower())
        if decision is Decision.CONTINUE and state.patience <= 0:
            state.said = []
            annoyed = state.annoyance > ANNOYED
            return self._say("leave_annoyed" if annoyed else "leave"), Decision.LEAVE
        reply = " ".join(words)
        if state.said == [_AGAIN]:
            return reply, decision
        state.last = reply
        if decision is Decision.CONTINUE and not self.kind.fragments:
            mood = "grumpy" if state.annoyance > ANNOYED else self.profile.mood
            reply = self.setting.voice.moodily(reply, state.said[0], mood, self.rng)
        return reply, decision

    def _react(self, text: str, heard: Heard) -> tuple[list[str], Decision]:
        """Return the words in reply to an utterance, and the decision."""
        state, meaning = self.state, heard.meaning
        refused = self._refuse_to_hear(text, heard)
        if refused:
            return [self._say(refused)], Decision.CONTINUE
        if heard.again:
            state.said = [_AGAIN]
            return [state.last], Decision.CONTINUE
        words: list[str] = []
        if meaning.words > MAX_WORDS:
            state.feel(law.TOO_LONG)
            words.append(self._say("too_long"))
        if meaning.pushy:
            state.feel(law.PUSHY)
            state.account.pushes += 1
            words.append(self._say("pushy"))
        if self._is_false(heard):
            return [*words, self._catch("false_claim")], Decision.CONTINUE
        spoken = len(words)
        words += self._hear_content(heard)
        if meaning.closes:
            closing, decision = self._hear_close()
            ends = decision is not Decision.CONTINUE
            return ([closing] if ends else [*words, closing]), decision
        if len(words) == spoken:
            if meaning.courtesy and not state.heard:
                words.append(self._say("courtesy"))
            else:
                state.feel(law.OFF_TOPIC)
                words.append(self._say("irrelevant"))
        return words, Decision.CONTINUE

    def _refuse_to_hear(self, text: str, heard: Heard) -> str | None:
        """Return what is wrong with an utterance that is not listened to, if anything is."""
        state = self.state
        stuffed = (
            heard.acts > MAX_ACTS
            or len(heard.meaning.products) > 2
            or len(heard.remedies) > MAX_REMEDIES
        )
        for kind, temper, applies in (
            ("silence", law.SILENCE, not text),
            ("wrong_shop", law.WRONG_SHOP, heard.foreign),
            ("garbled", law.GARBLED, heard.meaning.garbled),
            ("repeated", law.REPEATED, text.lower() in state.heard),
            ("stuffed", law.STUFFED, stuffed),
        ):
            if applies:
                state.feel(temper)
                state.account.repetitions += kind == "repeated"
                return kind
        return None

    def _hear_content(self, heard: Heard) -> list[str]:
        """Take answers, offers, remedies and questions, and ask a question of its own."""
        state, meaning = self.state, heard.meaning
        words = answered = self._hear_answer(heard)
        if meaning.recommends and not (answered and meaning.recommends == state.about):
            words = words + self._hear_offer(self.setting.catalog.product(meaning.recommends))
        self._know_already(heard.claims)
        conceded = self._hear_discount(heard) if self._bargains(heard) and state.product else []
        words = words + conceded
        remedies = tuple(kind for kind in heard.remedies if not (kind == "price" and conceded))
        asked = bool(answered) or state.question == "delivery"
        if asked and "delivery" in remedies and "delivery" not in state.raised:
            remedies = tuple(kind for kind in remedies if kind != "delivery")
        if remedies:
            in_passing = bool(meaning.recommends or answered or conceded)
            words = words + self._hear_remedies(remedies, in_passing)
        words = words + self._hear_questions(meaning.asks)
        if meaning.closes:
            return words
        if state.question and not answered:
            if state.question in state.evaded:
                state.feel(law.DODGED)
                words = [*words, self._say("unanswered")]
            state.evaded.add(state.question)
        elif self._interested and state.question is None:
            words = words + self._ask()
        return words

    # What is false.

    def _catch(self, meaning: str) -> str:
        """Notice a false claim."""
        self.state.feel(law.FALSE_CLAIM)
        self.state.account.false_claims += 1
        return self._say(meaning)

    def _is_false(self, heard: Heard) -> bool:
        """Tell whether the label of what is claimed contradicts the seller."""
        state, recommended = self.state, heard.meaning.recommends
        product = self.setting.catalog.product(recommended) if recommended else state.product
        for claim in heard.claims:
            of = self.setting.catalog.product(claim.product) if claim.product else product
            if of is not None and contradicts(
                claim,
                of,
                self._terms(of),
                bargaining=self._bargains(heard),
                asked=state.question == "delivery",
            ):
                return True
        if product is None or state.question != "spec" or heard.affirms is None:
            return False
        # A yes or a no that stands alone is about what was asked.
        alone = not any(c.features or c.denied or c.needs or c.prices for c in heard.claims)
        return alone and heard.affirms != (self.profile.wish in product.features)

    def _bargains(self, heard: Heard) -> bool:
        """Tell whether a price below the label's is an offer: while haggling it needs no word."""
        return heard.concession is not None or "price" in self.state.raised

    def _terms(self, product: Product) -> Terms:
        return self.setting.terms[product.name]

    # What the shopper takes in.

    def _hear_answer(self, heard: Heard) -> list[str]:
        """Take a true answer to the question that waits; false ones were noticed before."""
        state, product = self.state, self.state.product
        if state.question is None or product is None:
            return []
        good = True
        if state.question == "spec":
            good = self.profile.wish in product.features
            if (
                not tells_feature(heard.claims, product, self.profile.wish)
                and heard.affirms is not good
            ):
                return []
        elif state.question == "delivery":
            if not tells_days(heard.claims, product, self._terms(product), asked=True):
                return []
        elif not (
            {state.about, product.name} & set(heard.meaning.products)
            and any(claim.features or claim.prices or claim.needs for claim in heard.claims)
        ):
            return []
        state.question = None
        state.feel(law.GOOD_ANSWER if good else law.HONEST_NO)
        return [self._say("answered" if good else "answered_no")]

    def _know_already(self, claims: Iterable[Claim]) -> None:
        """Drop the questions of its own that the seller has answered unasked."""
        state, product = self.state, self.state.product
        if product is None:
            return
        if "delivery" in state.questions and tells_days(
            claims, product, self._terms(product), asked=False
        ):
            state.questions.remove("delivery")
        if "spec" in state.questions and tells_feature(claims, product, self.profile.wish):
            state.questions.remove("spec")

    def _hear_offer(self, product: Product) -> list[str]:
        state, before, weights = self.state, self.state.product, self.setting.weights
        if before == product:
            return []
        value = utility(self.profile, state, product, weights, discount=0.0)
        if before is not None and utility(self.profile, state, before, weights) >= value:
            state.feel(law.BAD_OFFER)
            return [self._say("prefer", other=before.name)]
        state.product, state.discount, state.question = product, 0.0, None
        if self._interested:
            state.feel(law.GOOD_OFFER)
            if before is not None:
                return [self._say("switch", other=before.name)]
            return [self._say("good_offer")]
        if len(state.disclosed) < 2:
            state.feel(law.BLIND_OFFER)
            return [self._say("doubtful_offer")]
        state.feel(law.BAD_OFFER)
        return self._objections_to(product)

    def _objections_to(self, product: Product) -> list[str]:
        """Say what is wrong with a product itself."""
        if not suits(self.profile, product):
            return [self._say("bad_offer")]
        words = [self._say("too_expensive")]
        if self.profile.budget != self.profile.high:
            words.append(self._say("real_limit"))
        return words

    def _hear_discount(self, heard: Heard) -> list[str]:
        """Take a discount on the product under discussion, if what was said is one."""
        state, profile = self.state, self.profile
        product = cast(Product, state.product)
        discount = taken_off(heard.concession, heard.claims, product)
        if discount == 0:  # "special", and at the price on the label
            return []
        if not 0 < discount <= MOST_DISCOUNT + _HONEST:
            return [self._catch("not_allowed")]
        wanted = "price" in state.raised or product.price > profile.budget
        state.discount = max(state.discount, discount)
        state.account.discount = state.discount
        if not wanted:
            state.feel(law.UNASKED_DISCOUNT)
            return [self._say("discount_unasked")]
        if discount + _HONEST < profile.haggle:
            return [self._say("discount_small")]
        if "price" in state.raised:
            state.raised.remove("price")
        state.feel(law.GOOD_ANSWER)
        return [self._say("discount_good")]

    def _hear_remedies(self, remedies: tuple[str, ...], in_passing: bool) -> list[str]:
        state = self.state
        # Instalments put a price right for who wants nothing in particular off.
        resolved = [
            kind
            for kind in remedies
            if kind in state.raised and not (kind == "price" and self.profile.haggle)
        ]
        state.raised = [kind for kind in state.raised if kind not in resolved]
        if resolved:
            state.feel(law.GOOD_ANSWER)
            return [self._say("resolved")]
        if in_passing:
            return []
        state.feel(law.WRONG_REMEDY)
        return [self._say("wrong_answer" if state.raised else "not_asked")]

    @property
    def _interested(self) -> bool:
        """Whether the product under discussion suits, is affordable and was offered knowingly."""
        state, product = self.state, self.state.product
        return (
            product is not None
            and len(state.disclosed) >= 2
            and suits(self.profile, product)
            and affordable(self.profile, product, state.discount)
        )

    def _ask(self) -> list[str]:
        """Ask the next question of its own, if any."""
        state = self.state
        if not state.questions or state.product is None:
            return []
        state.question = state.questions.pop(0)
        if state.question == "compare":
            others = [p for p in self.setting.catalog.products if p != state.product]
            near = [p for p in others if self.profile.need in p.needs] or others
            state.about = near[int(self.rng.random() * len(near))].name
            return [self._say("ask_compare", other=state.about)]
        return [self._say(f"ask_{state.question}")]

    def _hear_questions(self, topics: Iterable[str]) -> list[str]:
        """Answer; of several questions at once a taciturn shopper answers the first."""
        known = frozenset(self.state.disclosed)
        words: list[str] = []
        for topic in topics:
            words += self._hear_question(topic, known)
            if self.profile.talkativeness <= 0.5:
                break
        return words

    def _hear_question(self, topic: str, known: frozenset[str]) -> list[str]:
        """Answer one question; ``known`` are the topics that were disclosed before this turn."""
        state, profile = self.state, self.profile
        if topic == "concern":
            return self._hear_concern()
        if topic == "open":
            hidden = [name for name in TOPICS if name not in state.disclosed]
            topic = hidden[0] if hidden else "need"
        if topic in known:
            state.feel(law.TOLD_BEFORE)
            return [self._say("told_before"), self._disclose(topic)]
        if topic in state.disclosed:  # just now, of its own accord
            return []
        if self.kind.evades and topic not in state.evaded and self.rng.random() < self.kind.evades:
            state.evaded.add(topic)
            return [self._say(f"evade_{self.kind.evasion}")]
        state.feel(law.GOOD_QUESTION)
        words = [self._disclose(topic)]
        hidden = [name for name in TOPICS if name not in state.disclosed]
        if hidden and self.rng.random() < profile.talkativeness - 0.4:
            words.append(self._disclose(hidden[0]))
        return words

    def _hear_concern(self) -> list[str]:
        """Say what stands in the way: the product itself, an open reason, or the next one."""
        state, product = self.state, self.state.product
        if product is None:
            return [self._say("no_concern_yet")]
        if not self.kind.buys:
            return [self._say("just_looking")]
        if not (suits(self.profile, product) and affordable(self.profile, product, state.discount)):
            return self._objections_to(product)
        if state.raised:
            return [self._reason(state.raised[0])]
        if state.unspoken:
            return [self._raise()]
        return [self._say("no_concern" if state.refused == -math.inf else "no_reason")]

    def _raise(self) -> str:
        """Speak the next unspoken reason."""
        kind = self.state.unspoken.pop(0)
        self.state.raised.append(kind)
        return self._reason(kind)

    def _reason(self, kind: str) -> str:
        haggles = kind == "price" and self.profile.haggle
        return self._say("haggle" if haggles else f"reason_{kind}")

    # Whether it buys.

    def _hear_close(self) -> tuple[str, Decision]:
        state = self.state
        if state.product is None:
            state.feel(law.CLOSED_TOO_EARLY)
            return self._say("nothing_shown"), Decision.CONTINUE
        u = self.utility()
        if self.rng.random() < purchase_probability(u, state.refused):
            if self.setting.strict and state.account.false_claims:
                return self._say("voided"), Decision.LEAVE
            self._pay(state.product)
            return self._say("buy"), Decision.BUY
        again = state.refused > -math.inf and u <= state.refused
        state.refused = max(state.refused, u)
        suitable = suits(self.profile, state.product)
        state.feel(law.REFUSED if suitable and not again else law.CLOSED_TOO_EARLY)
        return self._refusal(suitable, again), Decision.CONTINUE

    def _refusal(self, suitable: bool, again: bool) -> str:
        """Return the words of a no: what stands in the way, as far as the shopper says it."""
        state = self.state
        if not self.kind.buys:
            return self._say("just_looking")
        if again:
            return self._say("refuse_again")
        if not suitable:
            return self._say("refuse_unsuitable")
        if state.question:
            return self._say("refuse_question")
        if state.raised:
            return self._reason(state.raised[0])
        if not state.unspoken:
            return self._say("refuse_unsure")
        if self.profile.talkativeness < law.TACITURN:
            return self._say("vague")
        return self._raise()

    def _pay(self, product: Product) -> None:
        account = self.state.account
        account.price = round(discounted(product, self.state.discount), 2)
        account.margin = round(self._terms(product).margin(account.price), 2)

    # Words.

    def _disclose(self, topic: str, meaning: str | None = None) -> str:
        self.state.disclosed.add(topic)
        return self._say(meaning or topic)

    def _say(self, meaning: str, other: str = "") -> str:
        self.state.said.append(meaning)
        return self.setting.voice.say(
            meaning,
            self.rng,
            self.profile,
            self.state.product,
            fragments=self.kind.fragments,
            other=other,
        )
