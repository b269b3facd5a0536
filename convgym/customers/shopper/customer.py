"""The customer of ``convgym/Sales-v1``: a shopper that asks, haggles, hesitates and says why.

The shopper has a hidden profile (``convgym.customers.shopper.profile``) and a hidden state that the
seller's words change. Every turn it reads the utterance (``convgym.customers.shopper.ear``), is put
off or pleased, and answers by a grammar (``convgym.shop.grammar``). What it does beyond
the scripted customer of v0:

- **It is understood only if what follows fits.** A question that a seller asks pays when the
  product it then shows meets the answer, and not otherwise.
- **It asks questions of its own** once it is interested: whether the product has a second feature,
  in how many days it comes, how it compares with another one. A true answer pleases, a "no" that
  is true too; none is a nuisance, a false one is noticed.
- **It hesitates for reasons** and buys only once they are put right: the price (a discount, or
  instalments if it wants nothing in particular), repairs, delivery, reviews, a partner who must
  agree, a rival that is cheaper. It gives them when it refuses, talkative ones at once, others when
  they are asked what holds them back. A remedy for what nobody has said costs a turn and convinces
  nobody.
- **It states its budget as a range**, and not always the truth.
- **It keeps the better of two offers**, and says so.
- **A discount** counts up to what the shop's sign allows (``convgym.shop.terms``); more is not
  believed, nor is what is free, and one that nobody asked for raises doubts.
- **A time of delivery** is to be the briefing's: a sooner one is false, and a later one.
- **It says it again** when it is asked to.

**Utility of the product under discussion** (log-odds of buying; weights in ``Weights``)::

    u = base + need * [it is for what I need] + feature * [it has what I care about most]
        + understood * (topics I was asked about *and* that it meets) / 3
        + trust * trust - annoyance * annoyance
        - price_sensitivity * price_term - raised * open reasons - unspoken * unspoken ones
        - unanswered * [a question of mine waits]

    price_term = over * max(0, price / budget - 1) + cheap * max(0, 0.6 - price / budget)

with the price as discounted. Asked to buy, it does so with probability ``sigmoid(u)`` the first
time; asked again it compares with the highest utility that it refused, as in v0: a threshold drawn
once.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from convgym.checks import check_flag, check_patience
from convgym.customers.base import Reply
from convgym.customers.personas import Personas, load_personas
from convgym.customers.shopper.ear import ear
from convgym.customers.shopper.encounter import Encounter, Setting
from convgym.customers.shopper.law import State, Weights
from convgym.customers.shopper.profile import Shopper, check_shopper, draw_shopper
from convgym.customers.shopper.voice import voice
from convgym.customers.snapshots import Snapshot, opened
from convgym.errors import ConvgymError
from convgym.reasoning import heard as read_aloud
from convgym.shop.catalog import Catalog, load_catalog
from convgym.shop.grammar import wording
from convgym.shop.terms import LAW, briefing, terms_of

VERSION = 1
"""Raised with every change of behaviour, together with the environment's ``-vN``."""

PATIENCE = 1.0
"""Turns that the shopper bears beyond its persona's patience: there is more to talk about."""


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

    law: ClassVar[str] = LAW
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
        self._setting = Setting(
            self.catalog,
            terms_of(self.catalog),
            ear(self.catalog),
            voice(self.catalog, wording),
            Weights(),
            check_flag("strict", strict),
        )
        self._present: Encounter | None = None

    @property
    def fingerprint(self) -> str:
        """Name, version and a hash of every setting that changes behaviour."""
        name = _fingerprint(
            self.catalog, self.personas, self._persona, self._patience, self._wording
        )
        return f"{name}:strict" if self._setting.strict else name

    @property
    def _met(self) -> Encounter:
        if self._present is None:
            raise ConvgymError("the customer has nobody to play yet: call reset(seed) first")
        return self._present

    @property
    def profile(self) -> Shopper:
        """The hidden profile of the present shopper."""
        return self._met.profile

    @property
    def state(self) -> State:
        """The hidden state of the present conversation."""
        return self._met.state

    @property
    def latent(self) -> dict[str, Any]:
        """Profile and state as plain data; empty before the first reset.

        ``said`` are the meanings of the last reply, ``account`` what is counted of the seller.
        """
        if self._present is None:
            return {}
        state = self.state
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
            "would_buy": self._met.kind.buys,
            "said": list(state.said),
            "account": asdict(state.account),
        }

    @property
    def record(self) -> dict[str, Any]:
        """What is counted of the seller, for the metadata of episodes: see ``Account``.

        ``price`` and ``margin`` of a sale are in the shop's currency.
        """
        return {} if self._present is None else asdict(self.state.account)

    def utility(self) -> float:
        """Return the log-odds of buying the product under discussion now, -inf if there is none."""
        return self._met.utility()

    def reset(self, seed: int, profile: Mapping[str, Any] | None = None) -> str:
        """Draw a new shopper and return its opening words; the same seed, the same shopper.

        Args:
            seed: everything random follows from it.
            profile: fields of ``Shopper`` to fix, such as ``{"need": "gaming", "budget": 900}``;
                the others are drawn.

        Raises:
            ConvgymError: for a field that is unknown or a value that it cannot have.
        """
        fixed = {} if profile is None else check_shopper(profile, self.catalog, self.personas)
        rng = random.Random(seed)
        drawn = draw_shopper(
            rng, self.catalog, self._persona, self._patience, personas=self.personas, fixed=fixed
        )
        given = self._patience is not None or "patience" in fixed
        state = State(
            patience=drawn.patience + (0.0 if given else PATIENCE),
            trust=drawn.trust,
            unspoken=list(drawn.objections),
            questions=list(drawn.questions),
        )
        self._present = self._encounter(drawn, state, rng)
        return self._present.open()

    @property
    def _owner(self) -> str:
        """Whose snapshots these are."""
        return f"shopper {self.catalog.name}"

    def snapshot(self) -> object:
        """Return a copy of the whole state, randomness included."""
        state = self.profile, self.state.copy(), self._met.rng.getstate()
        return Snapshot(self._owner, state)

    def restore(self, state: object, seed: int | None = None) -> None:
        """Go back to a snapshot; with ``seed``, go on with fresh randomness.

        Raises ConvgymError for what is no snapshot of such a customer.
        """
        profile, kept, randomness = opened(state, self._owner)
        rng = random.Random(seed)
        if seed is None:
            rng.setstate(randomness)
        self._present = self._encounter(profile, kept.copy(), rng)

    def respond(self, utterance: str) -> Reply:
        """Answer one utterance of the seller's."""
        return Reply(*self._met.respond(read_aloud(utterance)))

    def _encounter(self, profile: Shopper, state: State, rng: random.Random) -> Encounter:
        return Encounter(self._setting, profile, self.personas[profile.persona], state, rng)
