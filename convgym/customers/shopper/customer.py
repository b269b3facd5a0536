"""The customer of ``convgym/Sales-v1``: a shopper that asks, haggles, hesitates and says why.

The shopper has a hidden profile (``convgym.customers.shopper.profile``) and a hidden state that the
seller's words change. Every turn it reads the utterance (``convgym.customers.shopper.ear``), is put
off or pleased, and answers by a grammar (``convgym.shop.grammar``). What it does beyond
the scripted customer of v0:

- **It is understood only if what follows fits.** A question that a seller asks pays when the product
  it then shows meets the answer, and not otherwise.
- **It asks questions of its own** once it is interested: whether the product has a second feature, in
  how many days it comes, how it compares with another one. A true answer pleases, a "no" that is true
  too; none is a nuisance, a false one is noticed.
- **It hesitates for reasons** and buys only once they are put right: the price (a discount, or
  instalments if it wants nothing in particular), repairs, delivery, reviews, a partner who must
  agree, a rival that is cheaper. It gives them when it refuses, talkative ones at once, others when
  they are asked what holds them back. A remedy for what nobody has said costs a turn and convinces
  nobody.
- **It states its budget as a range**, and not always the truth.
- **It keeps the better of two offers**, and says so.
- **A discount** counts up to what the shop's sign allows (``convgym.shop.terms``); more is not
  believed, and one that nobody asked for raises doubts.

**Utility of the product under discussion** (log-odds of buying; weights in ``Weights``)::

    u = base + need * [it is for what I need] + feature * [it has what I care about most]
        + understood * (topics I was asked about *and* that it meets) / 3
        + trust * trust - annoyance * annoyance
        - price_sensitivity * price_term - raised * open reasons - unspoken * unspoken ones
        - unanswered * [a question of mine waits]

    price_term = over * max(0, price / budget - 1) + cheap * max(0, 0.6 - price / budget)

with the price as discounted. Asked to buy, it does so with probability ``sigmoid(u)`` the first time;
asked again it compares with the highest utility that it refused, as in v0: a threshold drawn once.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, cast

from convgym.checks import check_flag, check_patience
from convgym.customers.base import Decision, Reply
from convgym.customers.personas import Persona, Personas, load_personas
from convgym.customers.scripted.buying import NEVER, purchase_probability
from convgym.customers.scripted.understanding import MAX_WORDS
from convgym.customers.shopper import law
from convgym.customers.shopper.ear import Claim, Heard, ear
from convgym.customers.shopper.law import State, Weights, utility
from convgym.customers.shopper.profile import Shopper, check_shopper, draw_shopper
from convgym.errors import ConvgymError
from convgym.reasoning import heard as read_aloud
from convgym.shop.catalog import Catalog, Product, load_catalog
from convgym.shop.grammar import grammar, wording
from convgym.shop.language import TOPICS
from convgym.shop.terms import MOST_DISCOUNT, briefing, discounted, terms_of

VERSION = 1
"""Raised with every change of behaviour, together with the environment's ``-vN``."""

PATIENCE = 1.0
"""Turns that the shopper bears beyond its persona's patience: there is more to talk about."""

MAX_ACTS, MAX_REMEDIES = 3, 2
"""A message that wants more of the shopper, or offers more remedies, is "too much at once"."""

MOODY = 0.25
"""How often a reply begins with a word of the shopper's mood."""

Snapshot = tuple[Shopper, "State", tuple[Any, ...]]

_briefing = lru_cache(maxsize=8)(briefing)


@lru_cache(maxsize=64)
def _fingerprint(
    catalog: Catalog, personas: Personas, persona: str | None, patience: float | None, words: str
) -> str:
    settings = {
        "catalog": catalog.model_dump(mode="json", exclude_defaults=True),
        "persona": persona,
        "patience": patience,
        "personas": personas.settings(),
        "utility": asdict(Weights()),
        "wording": wording(words).model_dump(mode="json"),
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
    return f"shopper-v{VERSION}:{catalog.name}:{digest}"


class ShopperCustomer:
    """A shopper with a hidden profile, by rules: no model, no network.

    ``help(convgym.customers.shopper.customer)`` has the law.

    Args:
        catalog: a catalogue's name, JSON file or object.
        persona: the name of one of the personas, or None to draw one per episode.
        patience: turns until the shopper leaves, or None to draw it with the persona.
        personas: the kinds of customers that come in: ``"default"``, ``"difficult"``, a JSON
            file or an object.
        wording: what it says: ``"shopper"``, or a JSON file (``convgym.shop.grammar``).
        strict: whether a shopper that was told something false reads the label again at the till,
            and leaves: a sale that a false claim won is none.

    Raises:
        ConvgymError: for an unknown catalogue, persona or wording, a data file that does not
            validate, or a patience that is not positive.
    """

    law: ClassVar[str] = "v1"
    """Reference sellers have a form of their own for it: ``convgym.sellers.make_seller``."""

    def __init__(
        self,
        catalog: str | Path | Catalog = "laptops",
        persona: str | None = None,
        patience: float | None = None,
        personas: str | Path | Personas = "default",
        wording: str = "shopper",
        strict: bool = False,
    ) -> None:
        self.personas = load_personas(personas)
        if persona is not None:
            self.personas[persona]  # raises for one that is unknown
        patience = check_patience(patience)
        self.catalog = load_catalog(catalog)
        self.briefing = _briefing(self.catalog)
        self._persona, self._patience, self._wording = persona, patience, wording
        self._words, self._short = grammar(wording, False), grammar(wording, True)
        self._strict = check_flag("strict", strict)
        self._weights = Weights()
        self._ear = ear(self.catalog)
        self._terms = terms_of(self.catalog)
        self._rng = random.Random()
        self._profile: Shopper | None = None
        self._state: State | None = None

    @property
    def fingerprint(self) -> str:
        """Name, version and a hash of every setting that changes behaviour."""
        name = _fingerprint(
            self.catalog, self.personas, self._persona, self._patience, self._wording
        )
        return f"{name}:strict" if self._strict else name

    @property
    def profile(self) -> Shopper:
        """The hidden profile of the present shopper."""
        if self._profile is None:
            raise ConvgymError("the customer has no profile yet: call reset(seed) first")
        return self._profile

    @property
    def state(self) -> State:
        """The hidden state of the present conversation."""
        if self._state is None:
            raise ConvgymError("the customer has no state yet: call reset(seed) first")
        return self._state

    @property
    def latent(self) -> dict[str, Any]:
        """Profile and state as plain data; empty before the first reset.

        ``said`` are the meanings of the last reply, ``account`` what is counted of the seller.
        """
        if self._state is None:
            return {}
        state = self._state
        return {
            **asdict(self.profile),
            "patience_left": state.patience,
            "trust_now": state.trust,
            "annoyance": state.annoyance,
            "disclosed": sorted(state.disclosed),
            "unspoken_objections": list(state.unspoken),
            "raised_objections": list(state.raised),
            "open_question": state.question,
            "asked_about": state.about,
            "product": state.product.name if state.product else None,
            "discount": state.discount,
            "utility": self.utility() if state.product else None,
            "would_buy": self._kind.buys,
            "said": list(state.said),
            "account": asdict(state.account),
        }

    @property
    def record(self) -> dict[str, Any]:
        """What is counted of the seller, for the metadata of episodes: see ``Account``.

        ``price`` and ``margin`` of a sale are in the shop's currency.
        """
        return {} if self._state is None else asdict(self._state.account)

    @property
    def _kind(self) -> Persona:
        return self.personas[self.profile.persona]

    def utility(self) -> float:
        """Return the log-odds of buying the product under discussion now, -inf if there is none."""
        if self.state.product is None:
            return -math.inf
        u = utility(self.profile, self.state, self.state.product, self._weights)
        return u if self._kind.buys else u - NEVER

    def reset(self, seed: int, profile: Mapping[str, Any] | None = None) -> str:
        """Draw a new shopper and return its opening words; the same seed, the same shopper.

        Args:
            seed: everything random follows from it.
            profile: fields of ``Shopper`` to fix, such as ``{"need": "gaming", "budget": 900}``;
                the others are drawn.

        Raises:
            ConvgymError: for a field that is unknown or a value that it cannot have.
        """
        fixed = None if profile is None else check_shopper(profile, self.catalog, self.personas)
        self._rng = random.Random(seed)
        self._profile = drawn = draw_shopper(
            self._rng,
            self.catalog,
            self._persona,
            self._patience,
            personas=self.personas,
            fixed=fixed,
        )
        given = self._patience is not None or "patience" in (fixed or {})
        self._state = State(
            patience=drawn.patience + (0.0 if given else PATIENCE),
            trust=drawn.trust,
            unspoken=list(drawn.objections),
            questions=list(drawn.questions),
        )
        if self._rng.random() < drawn.talkativeness - 0.5:
            return self._say("opening_need", need=self._tell("need"))
        return self._say("opening")

    def snapshot(self) -> object:
        """Return a copy of the whole state, randomness included."""
        return self.profile, self.state.copy(), self._rng.getstate()

    def restore(self, state: object, seed: int | None = None) -> None:
        """Go back to a snapshot; with ``seed``, go on with fresh randomness."""
        self._profile, kept, randomness = cast("Snapshot", state)
        self._state = kept.copy()
        if seed is None:
            self._rng.setstate(randomness)
        else:
            self._rng.seed(seed)

    def respond(self, utterance: str) -> Reply:
        """Answer one utterance of the seller's."""
        state = self.state
        text = read_aloud(utterance)
        state.patience -= 1
        state.said = []
        evaded = len(state.evaded)
        words, decision = self._react(text, self._ear.understand(text))
        if len(state.evaded) == evaded:  # what was evaded may be asked again in the same words
            state.heard.add(text.lower())
        if decision is Decision.CONTINUE and state.patience <= 0:
            annoyed = state.annoyance > 1.5
            return Reply(self._say("leave_annoyed" if annoyed else "leave"), Decision.LEAVE)
        return Reply(self._moodily(" ".join(words)), decision)

    # How the shopper takes an utterance: its words in reply, and its decision.

    def _react(self, text: str, heard: Heard) -> tuple[list[str], Decision]:
        state, meaning = self.state, heard.meaning
        for kind, temper, applies in (
            ("silence", law.SILENCE, not text),
            ("wrong_shop", law.WRONG_SHOP, heard.foreign),
            ("garbled", law.GARBLED, meaning.garbled),
            ("repeated", law.REPEATED, text.lower() in state.heard),
            ("stuffed", law.STUFFED, self._stuffed(heard)),
        ):
            if applies:
                state.feel(temper)
                state.account.repetitions += kind == "repeated"
                return [self._say(kind)], Decision.CONTINUE
        words: list[str] = []
        if meaning.words > MAX_WORDS:
            state.feel(law.TOO_LONG)
            words.append(self._say("too_long"))
        if meaning.pushy:
            state.feel(law.PUSHY)
            state.account.pushes += 1
            words.append(self._say("pushy"))
        if self._is_false(heard):
            state.feel(law.FALSE_CLAIM)
            state.account.false_claims += 1
            return [*words, self._say("false_claim")], Decision.CONTINUE
        spoken = len(words)
        answered = self._hear_answer(heard)
        words += answered
        if meaning.recommends and not (answered and meaning.recommends == state.about):
            words += self._hear_offer(self.catalog.product(meaning.recommends))
        if heard.concedes and state.product:
            words += self._hear_discount(heard)
        remedies = tuple(
            kind for kind in heard.remedies if not (kind == "price" and heard.concedes)
        )
        if answered and "delivery" in remedies and "delivery" not in state.raised:
            remedies = tuple(kind for kind in remedies if kind != "delivery")
        if remedies:
            words += self._hear_remedies(remedies, in_passing=bool(meaning.recommends or answered))
        # Of several questions at once a taciturn shopper answers the first.
        patient = self.profile.talkativeness > 0.5
        for topic in meaning.asks if patient else meaning.asks[:1]:
            words += self._hear_question(topic)
        if state.question and not answered and not meaning.closes:
            if state.question in state.evaded:
                state.feel(law.DODGED)
                words.append(self._say("unanswered"))
            state.evaded.add(state.question)
        elif self._interested and state.question is None and not meaning.closes:
            words += self._ask()
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

    def _stuffed(self, heard: Heard) -> bool:
        names = len(heard.meaning.products)
        return heard.acts > MAX_ACTS or names > 2 or len(heard.remedies) > MAX_REMEDIES

    def _is_false(self, heard: Heard) -> bool:
        """Tell whether the label of what is claimed contradicts the seller."""
        meaning, state = heard.meaning, self.state
        talked_of = (
            self.catalog.product(meaning.recommends) if meaning.recommends else state.product
        )
        for claim in heard.claims:
            product = self.catalog.product(claim.product) if claim.product else talked_of
            if product is not None and self._contradicts(claim, product, heard):
                return True
        product = talked_of
        if product is None:
            return False
        if state.question == "spec" and heard.affirms is not None and not heard.claims:
            return heard.affirms != (self.profile.wish in product.features)
        promised = heard.days is not None and ("delivery" in meaning.answers or self._waits)
        return promised and cast(int, heard.days) < self._terms[product.name].days

    @property
    def _waits(self) -> bool:
        return self.state.question == "delivery"

    def _contradicts(self, claim: Claim, product: Product, heard: Heard) -> bool:
        for price in claim.prices:
            low = discounted(product, MOST_DISCOUNT) if heard.concedes else product.price
            off = heard.amount == price or (heard.concedes and price < product.price / 2)
            if not off and not 0.98 * low <= price <= 1.02 * product.price:
                return True
        if claim.denied:
            return any(feature in product.features for feature in claim.features)
        return any(need not in product.needs for need in claim.needs) or any(
            feature not in product.features for feature in claim.features
        )

    def _hear_answer(self, heard: Heard) -> list[str]:
        """Take a true answer to the question that waits; false ones were noticed before."""
        state, product = self.state, self.state.product
        if state.question is None or product is None:
            return []
        good = True
        if state.question == "spec":
            claimed = {feature for claim in heard.claims for feature in claim.features}
            if heard.affirms is None and self.profile.wish not in claimed:
                return []
            good = self.profile.wish in product.features
        elif state.question == "delivery":
            if heard.days is None:
                return []
        elif not (
            {state.about, product.name} & set(heard.meaning.products)
            and any(claim.features or claim.prices or claim.needs for claim in heard.claims)
        ):
            return []
        state.question = None
        state.feel(law.GOOD_ANSWER if good else law.HONEST_NO)
        return [self._say("answered" if good else "answered_no")]

    def _hear_offer(self, product: Product) -> list[str]:
        state, before = self.state, self.state.product
        if before == product:
            return []
        value = utility(self.profile, state, product, self._weights, discount=0.0)
        if before is not None:
            kept = utility(self.profile, state, before, self._weights)
            if kept >= value:
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
        if not self._suits(product):
            return [self._say("bad_offer")]
        words = [self._say("too_expensive")]
        if self.profile.budget != self.profile.high:
            words.append(self._say("real_limit"))
        return words

    def _hear_discount(self, heard: Heard) -> list[str]:
        state, profile = self.state, self.profile
        product = cast(Product, state.product)
        discount = heard.discount
        if discount is None and heard.amount is not None:
            discount = heard.amount / product.price
        if discount is None:
            prices = [price for claim in heard.claims for price in claim.prices]
            discount = max(0.0, 1 - min(prices, default=product.price) / product.price)
        if discount > MOST_DISCOUNT + 0.005:
            state.feel(law.FALSE_CLAIM)
            state.account.false_claims += 1
            return [self._say("not_allowed")]
        wanted = "price" in state.raised or product.price > profile.budget
        state.discount = max(state.discount, discount)
        state.account.discount = state.discount
        if not wanted:
            state.feel(law.UNASKED_DISCOUNT)
            return [self._say("discount_unasked")]
        if discount + 0.005 < profile.haggle:
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

    def _suits(self, product: Product) -> bool:
        return self.profile.need in product.needs and self.profile.feature in product.features

    @property
    def _interested(self) -> bool:
        """Whether the product under discussion suits, is affordable and was offered knowingly."""
        state, product = self.state, self.state.product
        return (
            product is not None
            and len(state.disclosed) >= 2
            and self._suits(product)
            and discounted(product, state.discount) <= 1.1 * self.profile.budget
        )

    def _ask(self) -> list[str]:
        """Ask the next question of its own, if any."""
        state = self.state
        if not state.questions or state.product is None:
            return []
        state.question = state.questions.pop(0)
        if state.question == "compare":
            others = [p for p in self.catalog.products if p != state.product]
            near = [p for p in others if self.profile.need in p.needs] or others
            state.about = near[int(self._rng.random() * len(near))].name
            return [self._say("ask_compare", other=state.about)]
        return [self._say(f"ask_{state.question}")]

    def _give_reason(self) -> list[str]:
        """Speak the next unspoken reason, if any and if none is open."""
        state = self.state
        if not state.unspoken or state.raised or state.product is None:
            return []
        kind = state.unspoken.pop(0)
        state.raised.append(kind)
        return [self._reason(kind)]

    def _reason(self, kind: str) -> str:
        if kind == "price" and self.profile.haggle:
            return self._say("haggle")
        return self._say(f"reason_{kind}")

    def _hear_question(self, topic: str) -> list[str]:
        state, profile = self.state, self.profile
        if topic == "concern":
            state.vague = False
            if state.raised:
                return [self._reason(state.raised[0])]
            return self._give_reason() or [self._say("no_concern")]
        if topic == "open":
            hidden = [name for name in TOPICS if name not in state.disclosed]
            topic = hidden[0] if hidden else "need"
        if topic in state.disclosed:
            state.feel(law.TOLD_BEFORE)
            return [self._say("told_before"), self._say(topic, **self._values(topic))]
        kind = self._kind
        if kind.evades and topic not in state.evaded and self._rng.random() < kind.evades:
            state.evaded.add(topic)
            return [self._say(f"evade_{kind.evasion}")]
        state.feel(law.GOOD_QUESTION)
        words = [self._say(topic, **self._values(topic))]
        hidden = [name for name in TOPICS if name not in state.disclosed]
        if hidden and self._rng.random() < profile.talkativeness - 0.4:
            words.append(self._say(hidden[0], **self._values(hidden[0])))
        return words

    def _hear_close(self) -> tuple[str, Decision]:
        state = self.state
        if state.product is None:
            state.feel(law.CLOSED_TOO_EARLY)
            return self._say("nothing_shown"), Decision.CONTINUE
        u = self.utility()
        if self._rng.random() < purchase_probability(u, state.refused):
            if self._strict and state.account.false_claims:
                return self._say("voided"), Decision.LEAVE
            self._pay(state.product)
            return self._say("buy"), Decision.BUY
        again = state.refused > -math.inf and u <= state.refused
        state.refused = max(state.refused, u)
        suits = self._suits(state.product)
        state.feel(law.REFUSED if suits and not again else law.CLOSED_TOO_EARLY)
        return self._refusal(suits, again), Decision.CONTINUE

    def _refusal(self, suits: bool, again: bool) -> str:
        """Return the words of a no: what stands in the way, as far as the shopper says it."""
        state = self.state
        if not self._kind.buys:
            return self._say("just_looking")
        if again:
            return self._say("refuse_again")
        if not suits:
            return self._say("refuse_unsuitable")
        if state.question:
            return self._say("refuse_question")
        if not state.raised and not state.unspoken:
            return self._say("refuse_unsure")
        if state.unspoken and not state.raised and self.profile.talkativeness < 0.35:
            state.vague = True
            return self._say("vague")
        return self._reason(state.raised[0]) if state.raised else self._give_reason()[0]

    def _pay(self, product: Product) -> None:
        account = self.state.account
        account.price = round(discounted(product, self.state.discount), 2)
        account.margin = round(self._terms[product.name].margin(account.price), 2)

    # Words.

    def _values(self, topic: str) -> dict[str, str]:
        """Disclose a topic and return the values of its slots."""
        return {} if topic == "budget" and self._disclose(topic) else {topic: self._tell(topic)}

    def _disclose(self, topic: str) -> bool:
        self.state.disclosed.add(topic)
        return True

    def _tell(self, topic: str) -> str:
        """Disclose a topic and return the words for it."""
        self.state.disclosed.add(topic)
        profile, catalog = self.profile, self.catalog
        what = catalog.needs[profile.need] if topic == "need" else catalog.features[profile.feature]
        return self._phrase(what.words if self._kind.fragments else what.phrases)

    def _phrase(self, phrases: tuple[str, ...]) -> str:
        return phrases[int(self._rng.random() * len(phrases))]

    def _say(self, meaning: str, **values: str) -> str:
        short = self._kind.fragments
        text = (self._short if short else self._words).say(meaning, self._rng)
        if "{" in text:
            text = text.format(**self._slots(text, values))
        if self._state is not None:
            self._state.said.append(meaning)
        return text[:1].upper() + text[1:]

    def _slots(self, text: str, values: dict[str, str]) -> dict[str, str]:
        """Return what the slots of a text stand for."""
        profile, catalog = self.profile, self.catalog
        product = self._state.product if self._state else None
        money = catalog.currency
        slots = {
            "item": catalog.item,
            "items": catalog.items,
            "low": f"{money}{profile.low}",
            "high": f"{money}{profile.high}",
            "limit": f"{money}{profile.budget}",
        }
        if product is not None:
            wanted = int(discounted(product, profile.haggle))
            slots |= {
                "product": product.name,
                "price": f"{money}{product.price}",
                "offer": f"{money}{wanted}",
            }
        if "{wish}" in text:
            slots["wish"] = catalog.features[profile.wish].question
        return slots | values

    def _moodily(self, text: str) -> str:
        """Put a word of the shopper's mood before a reply, now and then."""
        mood = "grumpy" if self.state.annoyance > 1.5 else self.profile.mood
        if self._kind.fragments or self._rng.random() >= MOODY:
            return text
        moods = wording(self._wording).moods
        return f"{self._phrase(moods[mood])} {text}" if mood in moods else text
