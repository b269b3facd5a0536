"""The default customer: a latent-state shopper that needs no model and no network.

The customer has a hidden profile (``convgym.customers.profile``) and a hidden state that the
seller's words change. Every turn it

1. reads the utterance (``convgym.customers.scripted.understanding``);
2. is put off by what is unclear, repeated, false or pushy, and pleased by what helps;
3. answers in words that show what happened, disclosing only what was asked;
4. buys, when it is asked to and its utility says so, or leaves when its patience is used up.

**Utility of the product under discussion** (log-odds of buying; weights in ``Utility``)::

    u = base + need * [it is for what I need] + feature * [it has what I care about most]
        + understood * (topics I was asked about out of need, feature, budget) / 3
        + trust * trust - annoyance * annoyance
        - price_sensitivity * price_term - raised * open objections - unspoken * unspoken ones

    price_term = over * max(0, price / budget - 1) + cheap * max(0, 0.6 - price / budget)

A customer asked to buy accepts with probability ``sigmoid(u)`` the first time. Asked again, it
compares with the highest utility r that it refused before: the probability is
``(sigmoid(u) - sigmoid(r)) / (1 - sigmoid(r))`` if u > r and 0 otherwise. That is the law of a
threshold drawn once per customer: asking again without improving the offer never helps.

Some personas have manners of their own (``convgym.customers.personas.Persona``): they evade
questions, answer in fragments, or only look, their utility being lower by ``NEVER``.
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
from typing import Any

from convgym.checks import check_patience
from convgym.customers.base import Decision, Reply
from convgym.customers.personas import Persona, Personas, load_personas
from convgym.customers.profile import Profile, check_profile, draw_profile
from convgym.customers.scripted.buying import (
    BAD_OFFER,
    CLOSED_TOO_EARLY,
    FALSE_CLAIM,
    GARBLED,
    GOOD_ANSWER,
    GOOD_OFFER,
    GOOD_QUESTION,
    NEVER,
    OFF_TOPIC,
    PUSHY,
    REFUSED,
    REPEATED,
    SILENCE,
    STUFFED,
    TOLD_BEFORE,
    TOO_LONG,
    State,
    Utility,
    purchase_probability,
    utility,
)
from convgym.customers.scripted.understanding import MAX_WORDS, Meaning, understanding
from convgym.customers.scripted.wording import EVASIONS, FRAGMENTS, PHRASES
from convgym.customers.snapshots import Snapshot, opened
from convgym.errors import ConvgymError
from convgym.reasoning import heard
from convgym.shop.catalog import Catalog, Product, load_catalog
from convgym.shop.language import TOPICS

VERSION = 0
"""Raised with every change of behaviour, together with the environment's ``-vN``."""


MAX_ACTS = 3
"""A message that wants more than this of the customer is "too much at once"."""


# Many customers share one catalogue: what depends on it alone is made once.
_briefing = lru_cache(maxsize=8)(Catalog.briefing)


@lru_cache(maxsize=16)
def _phrases(catalog: Catalog, fragments: bool) -> Mapping[str, tuple[str, ...]]:
    """Return what is said in a shop, in whole sentences or in a word or two."""
    wording = catalog.wording
    phrases = {**PHRASES, **EVASIONS}
    if wording.openings:
        phrases["opening"] = wording.openings
    for kind, objection in wording.objections.items():
        phrases[f"objection_{kind}"] = objection.phrases
    return {**phrases, **FRAGMENTS} if fragments else phrases


@lru_cache(maxsize=64)
def _fingerprint(
    catalog: Catalog,
    personas: Personas,
    persona: str | None,
    patience: float | None,
    weights: Utility,
) -> str:
    settings: dict[str, Any] = {
        "catalog": catalog.model_dump(mode="json", exclude_defaults=True),
        "persona": persona,
        "patience": patience,
        "personas": personas.settings(),
        "utility": asdict(weights),
        "phrases": dict(PHRASES),
    }
    if personas.mannered:
        settings["manners"] = [dict(EVASIONS), dict(FRAGMENTS)]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
    return f"scripted-v{VERSION}:{catalog.name}:{digest}"


class ScriptedCustomer:
    """A shopper with a hidden profile, by rules: no model, no network.

    Every turn it reads the utterance, is annoyed or pleased, and answers what it was asked. Asked
    to buy, it does so with probability ``sigmoid(u)`` the first time, u the utility of what is on
    offer; asked again it buys only what is better than all that it refused. It leaves when its
    patience is used up. ``help(convgym.customers.scripted.customer)`` has the formulas.

    Args:
        catalog: a catalogue's name, JSON file or object.
        persona: the name of one of the personas, or None to draw one per episode.
        patience: turns until the customer leaves, or None to draw it with the persona.
        personas: the kinds of customers that come in: ``"default"``, ``"difficult"``, a JSON
            file or an object.

    Raises:
        ConvgymError: for an unknown catalogue or persona, a data file that does not validate, or
            a patience that is not positive.
    """

    def __init__(
        self,
        catalog: str | Path | Catalog = "laptops",
        persona: str | None = None,
        patience: float | None = None,
        personas: str | Path | Personas = "default",
    ) -> None:
        self.personas = load_personas(personas)
        if persona is not None:
            self.personas[persona]  # raises for one that is unknown
        patience = check_patience(patience)
        self.catalog = load_catalog(catalog)
        self.briefing = _briefing(self.catalog)
        self._persona, self._patience = persona, patience
        self._weights = Utility()
        self._ear = understanding(self.catalog)
        self._rng = random.Random()
        self._profile: Profile | None = None
        self._state: State | None = None

    @property
    def fingerprint(self) -> str:
        """Name, version and a hash of every setting that changes behaviour."""
        return _fingerprint(
            self.catalog, self.personas, self._persona, self._patience, self._weights
        )

    @property
    def profile(self) -> Profile:
        """The hidden profile of the present customer."""
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
        """Profile and state as plain data; empty before the first reset."""
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
            "product": state.product.name if state.product else None,
            "utility": self.utility() if state.product else None,
            "would_buy": self._kind.buys,
        }

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
        """Draw a new customer and return its opening words; the same seed, the same customer.

        Args:
            seed: everything random follows from it.
            profile: fields of ``Profile`` to fix, such as ``{"need": "gaming", "budget": 900}``;
                the others are drawn.

        Raises:
            ConvgymError: for a field that is unknown or a value that it cannot have.
        """
        fixed = None if profile is None else check_profile(profile, self.catalog, self.personas)
        self._rng = random.Random(seed)
        self._profile = drawn = draw_profile(
            self._rng,
            self.catalog,
            self._persona,
            self._patience,
            personas=self.personas,
            fixed=fixed,
        )
        self._state = State(
            patience=drawn.patience, trust=drawn.trust, unspoken=list(drawn.objections)
        )
        if self._rng.random() < drawn.talkativeness - 0.5:
            return self._say("opening_need", need=self._tell("need"))
        return self._say("opening")

    @property
    def _owner(self) -> str:
        """Whose snapshots these are."""
        return f"scripted {self.catalog.name}"

    def snapshot(self) -> object:
        """Return a copy of the whole state, randomness included."""
        state = self.profile, self.state.copy(), self._rng.getstate()
        return Snapshot(self._owner, state)

    def restore(self, state: object, seed: int | None = None) -> None:
        """Go back to a snapshot; with ``seed``, go on with fresh randomness.

        Raises ConvgymError for what is no snapshot of such a customer.
        """
        self._profile, kept, randomness = opened(state, self._owner)
        self._state = kept.copy()
        if seed is None:
            self._rng.setstate(randomness)
        else:
            self._rng.seed(seed)

    def respond(self, utterance: str) -> Reply:
        """Answer one utterance of the seller's."""
        state = self.state
        text = heard(utterance)
        state.patience -= 1
        meaning = self._ear.understand(text)
        evaded = len(state.evaded)
        words, decision = self._react(text, meaning)
        if len(state.evaded) == evaded:  # what was evaded may be asked again in the same words
            state.heard.add(text.lower())
        if decision is Decision.CONTINUE and state.patience <= 0:
            annoyed = state.annoyance > 1.5
            return Reply(self._say("leave_annoyed" if annoyed else "leave"), Decision.LEAVE)
        return Reply(" ".join(words), decision)

    # How the customer takes an utterance: its words in reply, and its decision.

    def _react(self, text: str, meaning: Meaning) -> tuple[list[str], Decision]:
        state = self.state
        for kind, temper, applies in (
            ("silence", SILENCE, not text),
            ("garbled", GARBLED, meaning.garbled),
            ("repeated", REPEATED, text.lower() in state.heard),
            ("stuffed", STUFFED, meaning.acts > MAX_ACTS or len(meaning.products) > 2),
        ):
            if applies:
                state.feel(temper)
                return [self._say(kind)], Decision.CONTINUE
        words: list[str] = []
        if meaning.words > MAX_WORDS:
            state.feel(TOO_LONG)
            words.append(self._say("too_long"))
        if meaning.pushy:
            state.feel(PUSHY)
            words.append(self._say("pushy"))
        if self._is_false(meaning):
            state.feel(FALSE_CLAIM)
            return [*words, self._say("false_claim")], Decision.CONTINUE
        spoken = len(words)
        if meaning.recommends:
            words += self._hear_offer(self.catalog.product(meaning.recommends))
        if meaning.answers:
            words += self._hear_answers(meaning.answers, in_passing=bool(meaning.recommends))
        if self._interested:
            words += self._object()
        # Of several questions at once a taciturn customer answers the first.
        patient = self.profile.talkativeness > 0.5
        for topic in meaning.asks if patient else meaning.asks[:1]:
            words += self._hear_question(topic)
        if meaning.closes:
            closing, decision = self._hear_close()
            return ([closing] if decision is Decision.BUY else [*words, closing]), decision
        if len(words) == spoken:
            if meaning.courtesy and not state.heard:
                words.append(self._say("courtesy"))
            else:
                state.feel(OFF_TOPIC)
                words.append(self._say("irrelevant"))
        return words, Decision.CONTINUE

    def _is_false(self, meaning: Meaning) -> bool:
        """Tell whether the label of the product in question contradicts the seller."""
        product = (
            self.catalog.product(meaning.recommends) if meaning.recommends else self.state.product
        )
        if product is None:
            return False
        return (
            any(
                abs(price - int(product.price)) > 0.02 * product.price  # cents are not heard
                for price in meaning.claimed_prices
            )
            or any(need not in product.needs for need in meaning.claimed_needs)
            or any(feature not in product.features for feature in meaning.claimed_features)
        )

    def _hear_answers(self, answers: tuple[str, ...], in_passing: bool) -> list[str]:
        state = self.state
        resolved = [kind for kind in answers if kind in state.raised]
        # An answer given before the worry was spoken works too, once there is a product.
        early = [kind for kind in answers if state.product and kind in state.unspoken]
        state.raised = [kind for kind in state.raised if kind not in resolved]
        state.unspoken = [kind for kind in state.unspoken if kind not in early]
        if resolved or early:
            state.feel(GOOD_ANSWER)
            return [self._say("resolved")]
        if in_passing:
            return []
        state.feel(OFF_TOPIC)
        return [self._say("wrong_answer" if state.raised else "not_asked")]

    def _hear_offer(self, product: Product) -> list[str]:
        state = self.state
        if state.product == product:
            return []
        state.product = product
        if self._interested:
            state.feel(GOOD_OFFER)
            return [self._say("good_offer")]
        state.feel(BAD_OFFER)
        if len(state.disclosed) < 2:
            return [self._say("doubtful_offer")]
        return [self._say("bad_offer" if not self._suits(product) else "too_expensive")]

    def _suits(self, product: Product) -> bool:
        return self.profile.need in product.needs and self.profile.feature in product.features

    @property
    def _interested(self) -> bool:
        """Whether the product under discussion suits, is affordable and was offered knowingly."""
        product = self.state.product
        return (
            product is not None
            and len(self.state.disclosed) >= 2
            and self._suits(product)
            and product.price <= 1.1 * self.profile.budget
        )

    def _object(self) -> list[str]:
        """Speak the next unspoken objection, if any and if none is open."""
        state = self.state
        if not state.unspoken or state.raised or state.product is None:
            return []
        kind = state.unspoken.pop(0)
        state.raised.append(kind)
        return [self._say(f"objection_{kind}")]

    def _hear_question(self, topic: str) -> list[str]:
        state, profile = self.state, self.profile
        if topic == "concern":
            if state.raised:
                return [self._say(f"objection_{state.raised[0]}")]
            return self._object() or [self._say("no_concern")]
        if topic == "open":
            hidden = [name for name in TOPICS if name not in state.disclosed]
            topic = hidden[0] if hidden else "need"
        if topic in state.disclosed:
            state.feel(TOLD_BEFORE)
            return [self._say("told_before", again=self._say(topic, **{topic: self._tell(topic)}))]
        kind = self._kind
        if kind.evades and topic not in state.evaded and self._rng.random() < kind.evades:
            state.evaded.add(topic)
            return [self._say(f"evade_{kind.evasion}")]
        state.feel(GOOD_QUESTION)
        words = [self._say(topic, **{topic: self._tell(topic)})]
        hidden = [name for name in TOPICS if name not in state.disclosed]
        if hidden and self._rng.random() < profile.talkativeness - 0.4:
            words.append(self._say(hidden[0], **{hidden[0]: self._tell(hidden[0])}))
        return words

    def _hear_close(self) -> tuple[str, Decision]:
        state = self.state
        if state.product is None:
            state.feel(CLOSED_TOO_EARLY)
            return self._say("nothing_shown"), Decision.CONTINUE
        u = self.utility()
        if self._rng.random() < purchase_probability(u, state.refused):
            return self._say("buy"), Decision.BUY
        asked_before = state.refused > -math.inf
        state.refused = max(state.refused, u)
        state.feel(REFUSED if u > 0 else CLOSED_TOO_EARLY)
        if not self._kind.buys:
            return self._say("just_looking"), Decision.CONTINUE
        if state.raised or state.unspoken:
            return self._say("refuse_objection"), Decision.CONTINUE
        if not self._suits(state.product):
            return self._say("refuse_unsuitable"), Decision.CONTINUE
        return self._say("refuse_again" if asked_before else "refuse_unsure"), Decision.CONTINUE

    # Words.

    def _tell(self, topic: str) -> str:
        """Disclose a topic and return the words for it."""
        self.state.disclosed.add(topic)
        profile, catalog = self.profile, self.catalog
        if topic == "budget":
            return f"{catalog.currency}{profile.budget}"
        what = catalog.needs[profile.need] if topic == "need" else catalog.features[profile.feature]
        phrases = what.words if self._kind.fragments else what.phrases
        return phrases[int(self._rng.random() * len(phrases))]

    def _say(self, kind: str, **values: str) -> str:
        fragments = self._kind.fragments
        phrases = _phrases(self.catalog, fragments)[kind]
        phrase = phrases[int(self._rng.random() * len(phrases))]
        if "{" in phrase:
            product = self._state.product if self._state else None
            name = product.name if product else ""
            phrase = phrase.format(item=self.catalog.item, product=name, **values)
        return phrase[:1].upper() + phrase[1:] if fragments else phrase
