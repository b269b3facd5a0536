"""A customer that a chat model plays: the model decides and speaks.

Who comes in is drawn as for the scripted customer (``convgym.customers.profile``): equal seeds give
equal profiles. The profile goes into a prompt (``convgym.customers.llm.prompts``) together with the
rules of deciding; whether the model keeps to them is up to the model, and ``convgym validate``
measures it. The seller's words reach the model as marked-off data.

Every answer is read tolerantly (``convgym.customers.llm.parsing``). One that holds no readable
decision
is sent back with what is wrong, at most ``repairs`` times a turn; after that the customer has
failed. No decision is ever made up.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from convgym.conversation import clean
from convgym.customers.base import Decision, Reply
from convgym.customers.llm.chat_customer import ChatCustomer
from convgym.customers.llm.examples import example_for, shown
from convgym.customers.llm.exchange import (
    Exchange,
    answer_of,
    call_seed,
)
from convgym.customers.llm.parsing import Said, UnreadableAnswer, plain, read_answer
from convgym.customers.llm.prompts import (
    MAX_EXCHANGES,
    PROMPTS,
    SCHEMA,
    as_answer,
    chat,
    opening_prompt,
    repair_prompt,
    system_prompt,
    turn_prompt,
)
from convgym.customers.personas import Personas, load_personas
from convgym.customers.profile import Profile, check_profile, draw_profile
from convgym.customers.snapshots import Snapshot, opened
from convgym.errors import ConvgymError, InfrastructureError
from convgym.llm import ChatAnswer, ChatBackend, ChatRequest
from convgym.llm.base import check_sampling
from convgym.reasoning import heard, strip_reasoning
from convgym.shop.catalog import Catalog, load_catalog

VERSION = 2
"""Raised with every change of behaviour that the prompts do not show."""

LABELS = 2
"""Of so many products, the ones named last, the customer reads the labels."""


@dataclass(frozen=True, slots=True)
class Talk:
    """A conversation as the model sees it, and who it plays.

    ``stream`` names the randomness, ``turns`` are the two sides in turn, the seller's first;
    ``products`` the names of those that were spoken of, in the order of last mention;
    ``reasoning`` what the model thought before each answer, which it is not shown again.
    """

    profile: Profile
    system: str
    stream: str
    turns: tuple[str, ...] = ()
    products: tuple[str, ...] = ()
    turn: int = 0
    last: Said | None = None
    reasoning: tuple[str, ...] = ()


class LLMCustomer(ChatCustomer):
    """A chat model plays a drawn profile: it decides, and it speaks.

    Equal seeds give equal profiles. A prompt tells the model whom it plays and how to decide;
    whether it keeps to that, ``convgym validate`` measures. An answer without a readable decision
    is sent back ``repairs`` times a turn, then the customer has failed
    (``InfrastructureError``): no decision is ever made up.

    Args:
        catalog: a catalogue's name, JSON file or object.
        persona: the name of one of the personas, or None to draw one per episode.
        patience: messages of the seller's that it bears, or None to draw it with the persona.
        personas: the kinds of customers that come in: ``"default"``, ``"difficult"``, a JSON
            file or an object.
        backend: the chat model: a name that ``convgym.llm.make_backend`` knows, or an object.
        temperature: of sampling.
        max_tokens: the longest answer.
        repairs: how often an unreadable answer is sent back in one turn.
        **backend_options: as for ``make_backend``, if the backend is given by name: ``model``,
            ``base_url``, ``record`` and so on.

    Raises:
        ConvgymError: for a name that is unknown or a value that cannot be.
    """

    def __init__(
        self,
        catalog: str | Path | Catalog = "laptops",
        persona: str | None = None,
        patience: float | None = None,
        personas: str | Path | Personas = "default",
        *,
        backend: str | ChatBackend = "openai",
        temperature: float = 0.7,
        max_tokens: int = 200,
        repairs: int = 2,
        **backend_options: Any,
    ) -> None:
        self.personas = load_personas(personas)
        if persona is not None:
            self.personas[persona]  # raises for one that is unknown
        if patience is not None and not 0 < patience < math.inf:
            raise ConvgymError(f"patience must be a positive number of turns, got {patience!r}")
        check_sampling(temperature, max_tokens, repairs=repairs)
        self.catalog = load_catalog(catalog)
        self.briefing = self.catalog.briefing()
        self._names = {
            word: product.name
            for product in self.catalog.products
            for word in self.catalog.words_of(product)
        }
        super().__init__(backend, backend_options)
        self._persona, self._patience = persona, patience
        self._temperature, self._max_tokens, self._repairs = temperature, max_tokens, repairs
        self._talk: Talk | None = None
        self._counts: Counter[str] = Counter()

    @property
    def fingerprint(self) -> str:
        """Name, version, a hash of prompts and settings, and the model's fingerprint."""
        settings = {
            "catalog": self.catalog.model_dump(mode="json", exclude_defaults=True),
            "personas": self.personas.settings(),
            "persona": self._persona,
            "patience": self._patience,
            "prompts": [dict(PROMPTS), SCHEMA, shown(example_for(self.catalog))],
            "sampling": [self._temperature, self._max_tokens, self._repairs],
        }
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
        return f"llm-v{VERSION}:{self.catalog.name}:{digest}({self.backend.fingerprint})"

    @property
    def talk(self) -> Talk:
        """The present conversation."""
        if self._talk is None:
            raise ConvgymError("there is no conversation yet: call reset(seed) first")
        return self._talk

    @property
    def latent(self) -> dict[str, Any]:
        """The profile, and what the model thought last; empty before the first reset."""
        if self._talk is None:
            return {}
        talk = self._talk
        return {
            **asdict(talk.profile),
            "turn": talk.turn,
            "turns_left": talk.profile.patience - talk.turn,
            "product": talk.products[-1] if talk.products else None,
            "would_buy": self.personas[talk.profile.persona].buys,
            "thought": talk.last.thought if talk.last else "",
        }

    @property
    def record(self) -> dict[str, Any]:
        """Of this conversation: answers ``parsed``, ``repairs`` asked for, and ``failures``.

        Of a model that reasons before it answers also ``reasoning``: its thoughts, the opening's
        first, "" where it had none.
        """
        record: dict[str, Any] = {
            name: self._counts[name] for name in ("parsed", "repairs", "failures")
        }
        if self._talk is not None and any(self._talk.reasoning):
            record["reasoning"] = list(self._talk.reasoning)
        return record

    @property
    def _owner(self) -> str:
        """Whose snapshots these are."""
        return f"llm {self.catalog.name}"

    def snapshot(self) -> object:
        """Return a copy of the whole state."""
        return Snapshot(self._owner, (self.talk, dict(self._counts)))

    def restore(self, state: object, seed: int | None = None) -> None:
        """Go back to a snapshot; with ``seed``, the model goes on with fresh randomness.

        Raises ConvgymError for what is no snapshot of such a customer.
        """
        talk, counts = opened(state, self._owner)
        self._talk = talk if seed is None else replace(talk, stream=f"llm/branch/{seed}")
        self._counts = Counter(counts)

    def _open(self, seed: int, profile: Mapping[str, Any] | None = None) -> Exchange[str]:
        fixed = None if profile is None else check_profile(profile, self.catalog, self.personas)
        drawn = draw_profile(
            random.Random(seed),
            self.catalog,
            self._persona,
            self._patience,
            personas=self.personas,
            fixed=fixed,
        )
        system = system_prompt(self.catalog, self.personas[drawn.persona], drawn)
        self._talk, self._counts = Talk(drawn, system, f"llm/{seed}"), Counter()
        prompt = opening_prompt(self.catalog, drawn)
        said = yield from self._answer(self._talk, prompt)
        self._talk = replace(
            self._talk, turns=(prompt, as_answer(said)), reasoning=(said.reasoning,)
        )
        return said.say

    def _hear(self, utterance: str) -> Exchange[Reply]:
        talk = self.talk
        named = self._named(utterance)
        earlier = [name for name in talk.products if name not in named]
        talk = replace(talk, turn=talk.turn + 1, products=(*earlier, *named))
        products = [self.catalog.product(name) for name in talk.products[-LABELS:]]
        prompt = turn_prompt(utterance, products, talk.turn, talk.profile.patience, self.catalog)
        said = yield from self._answer(talk, prompt)
        # Only now: a turn in which the model fails leaves the customer as it was.
        self._talk = replace(
            talk,
            turns=(*talk.turns, prompt, as_answer(said)),
            last=said,
            reasoning=(*talk.reasoning, said.reasoning),
        )
        return Reply(said.say, said.decision)

    def _named(self, utterance: str) -> list[str]:
        """Return the products that are named, in the order of the words."""
        words = re.findall(r"[^\W\d_]+", heard(utterance).lower())
        return list(dict.fromkeys(self._names[word] for word in words if word in self._names))

    def _answer(self, talk: Talk, prompt: str) -> Exchange[Said]:
        """Ask the model until its answer can be read, or there are no repairs left."""
        turns = asked = (*talk.turns[:2], *talk.turns[2:][-2 * MAX_EXCHANGES :], prompt)
        problem = cut = ""
        for attempt in range(self._repairs + 1):
            result = yield ChatRequest(
                chat(talk.system, *turns),
                call_seed(talk.stream, talk.turn, attempt),
                self._max_tokens,
                self._temperature,
                SCHEMA,
            )
            try:
                answer = answer_of(result)
                said = self._read(answer, talk)
            except InfrastructureError:
                self._counts["failures"] += 1
                raise
            except UnreadableAnswer as error:
                problem = str(error)
                cut = f" (cut off at max_tokens={self._max_tokens})" if answer.cut else ""
                bad = clean(plain(strip_reasoning(answer.text).text))[:300] or "..."
                turns = (*asked, bad, repair_prompt(problem))
                self._counts["repairs"] += attempt < self._repairs
                continue
            self._counts["parsed"] += 1
            return said
        self._counts["failures"] += 1
        raise InfrastructureError(
            f"the model gave no readable answer in {self._repairs + 1} attempts: {problem}{cut}"
        )

    def _read(self, answer: ChatAnswer, talk: Talk) -> Said:
        said = read_answer(answer.text)
        if not talk.turn and said.decision is not Decision.CONTINUE:
            raise UnreadableAnswer('at the beginning "decision" must be "continue"')
        thoughts = [thought for thought in (answer.reasoning, said.reasoning) if thought]
        return replace(said, reasoning="\n".join(thoughts))
