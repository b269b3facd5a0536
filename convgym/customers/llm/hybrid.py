"""A customer that decides by script and speaks through a chat model.

Profile, hidden state and decisions are those of the scripted customer, seed by seed; so true values
stay known, and the two can be compared. The scripted reply is the template. The model rewords it,
and what it writes is compared with the template: only a wording that says the same
(``convgym.customers.llm.likeness``) and is at least as fluent where it stands
(``convgym.customers.llm.fluency``) is spoken. Otherwise the model is asked again, ``attempts``
times in all, and then the template itself is spoken and counted.

The model never reads what the seller says, so no seller can talk to it. The scorer of fluency does
read it, and says nothing.

Where the backend fails, the episode fails, although the template is at hand: a run whose model is
down would silently become one with scripted words. ``on_failure="template"`` allows just that, for
long training runs, and counts it.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from convgym.conversation import Message
from convgym.customers.base import Reply
from convgym.customers.llm.chat_customer import ChatCustomer
from convgym.customers.llm.exchange import (
    Exchange,
    answer_of,
    call_seed,
)
from convgym.customers.llm.fluency import RECENT, fluency_by
from convgym.customers.llm.likeness import likeness, written_out
from convgym.customers.llm.parsing import read_words
from convgym.customers.llm.prompts import WORDING_PROMPTS, plain_words, wording_chat
from convgym.customers.personas import Personas
from convgym.customers.scripted.customer import ScriptedCustomer
from convgym.customers.snapshots import Snapshot, opened
from convgym.errors import ConvgymError, InfrastructureError
from convgym.llm import ChatBackend, ChatRequest
from convgym.llm.base import ScoringBackend, check_sampling
from convgym.shop.catalog import Catalog
from convgym.shop.language import tokens

VERSION = 2
"""Raised with every change of behaviour that the prompts do not show."""


class HybridCustomer(ChatCustomer):
    """A scripted customer in a chat model's words.

    Profile, hidden state and decisions are the scripted customer's, seed by seed. The model rewords
    its replies and never reads the seller; a wording that says something else, or is less fluent
    than the scripted reply, is asked for again, ``attempts`` times in all, and then the scripted
    reply itself is spoken and counted.

    Args:
        catalog: a catalogue's name, JSON file or object.
        persona: the name of one of the personas, or None to draw one per episode.
        patience: turns until the customer leaves, or None to draw it with the persona.
        personas: the kinds of customers that come in: ``"default"``, ``"difficult"``, a JSON
            file or an object.
        backend: the chat model: a name that ``convgym.llm.make_backend`` knows, or an object.
        temperature: of sampling.
        max_tokens: the longest wording.
        attempts: how many wordings are asked for, at most, before the template is spoken.
        on_failure: ``"fail"``, or ``"template"`` to speak the template when the backend fails.
        fluency: the language model by which a wording must be as likely as the template where it
            stands (``convgym.customers.llm.fluency``): ``"smollm2"`` or a folder, as the backend
            ``"transformers"`` takes them, or an object (``convgym.llm.base.ScoringBackend``).
            ``"auto"`` is the chat model itself where it is ``"transformers"`` or an object that
            can score, else none; None measures nothing.
        fluency_margin: nats a token by which a wording must be likelier than the template.
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
        temperature: float = 0.6,
        max_tokens: int = 60,
        attempts: int = 2,
        on_failure: Literal["fail", "template"] = "fail",
        fluency: str | Path | ScoringBackend | None = "auto",
        fluency_margin: float = 0.0,
        **backend_options: Any,
    ) -> None:
        check_sampling(temperature, max_tokens, attempts=attempts)
        if attempts < 1:
            raise ConvgymError(f"attempts must be 1 or more, got {attempts!r}")
        if on_failure not in ("fail", "template"):
            raise ConvgymError(f"on_failure must be 'fail' or 'template', got {on_failure!r}")
        self.inner = ScriptedCustomer(catalog, persona, patience, personas)
        self.catalog, self.briefing = self.inner.catalog, self.inner.briefing
        super().__init__(backend, backend_options)
        self._temperature, self._max_tokens = temperature, max_tokens
        self._attempts, self._on_failure = attempts, on_failure
        self._likeness = likeness(self.catalog)
        self._fluency = fluency_by(fluency, fluency_margin, self.catalog, backend, backend_options)
        self._stream, self._turn = "", 0
        self._messages: tuple[Message, ...] = ()  # the last ones
        self._reasons: Counter[str] = Counter()
        self._worded = 0

    @property
    def fingerprint(self) -> str:
        """Name, version, a hash of prompts and settings, and scripted and model fingerprints."""
        sampling = [self._temperature, self._max_tokens, self._attempts, self._on_failure]
        measure = self._fluency.settings if self._fluency is not None else None
        settings = json.dumps([dict(WORDING_PROMPTS), sampling, measure])
        digest = hashlib.sha256(settings.encode()).hexdigest()[:12]
        inner = f"{self.inner.fingerprint}, {self.backend.fingerprint}"
        return f"hybrid-v{VERSION}:{digest}({inner})"

    @property
    def latent(self) -> dict[str, Any]:
        """The scripted customer's hidden state."""
        return self.inner.latent

    @property
    def record(self) -> dict[str, Any]:
        """Of this conversation: lines ``worded`` by the model, spoken as ``template``, and why.

        ``reasons`` counts, for the latter, why the last wording was turned down (see
        ``Likeness.difference``, or "fluency"), "wordless" for a template such as "...", or
        "outage".
        """
        reasons = dict(sorted(self._reasons.items()))
        return {"worded": self._worded, "template": sum(reasons.values()), "reasons": reasons}

    def snapshot(self) -> object:
        """Return a copy of the whole state, randomness included."""
        own = (self._stream, self._turn, self._worded, dict(self._reasons), self._messages)
        return Snapshot("hybrid", (self.inner.snapshot(), own))

    def restore(self, state: object, seed: int | None = None) -> None:
        """Go back to a snapshot; with ``seed``, script and model go on with fresh randomness.

        Raises ConvgymError for what is no snapshot of such a customer.
        """
        inner, own = opened(state, "hybrid")
        self.inner.restore(inner, seed)
        self._stream, self._turn, self._worded, reasons, self._messages = own
        self._reasons = Counter(reasons)
        if seed is not None:
            self._stream = f"hybrid/branch/{seed}"

    def _open(self, seed: int, profile: Mapping[str, Any] | None = None) -> Exchange[str]:
        template = self.inner.reset(seed, profile)
        self._stream, self._turn = f"hybrid/{seed}", 0
        self._worded, self._reasons = 0, Counter()
        return (yield from self._speak(template, ()))

    def _hear(self, utterance: str) -> Exchange[Reply]:
        before = self.inner.snapshot()
        reply = self.inner.respond(utterance)
        self._turn += 1
        try:
            heard: Message = {"role": "assistant", "content": plain_words(utterance)}
            words = yield from self._speak(reply.text, (*self._messages, heard))
        except InfrastructureError:
            self.inner.restore(before)
            self._turn -= 1
            raise
        return Reply(words, reply.decision)

    def _speak(self, template: str, messages: tuple[Message, ...]) -> Exchange[str]:
        """Return what is said after these messages, and remember it with them."""
        words = yield from self._word(template, messages)
        spoken: Message = {"role": "user", "content": words}
        self._messages = (*messages, spoken)[-RECENT:]
        return words

    def _word(self, template: str, messages: Sequence[Message]) -> Exchange[str]:
        """Return a wording that says the same as the template, or the template, counted."""
        reason = "wordless"
        for attempt in range(self._attempts if tokens(template) else 0):
            result = yield ChatRequest(
                wording_chat(template, self._likeness.kept(template), self.catalog),
                call_seed(self._stream, self._turn, attempt),
                self._max_tokens,
                self._temperature,
            )
            try:
                wording = written_out(read_words(answer_of(result).text))
            except InfrastructureError:
                if self._on_failure == "fail":
                    raise
                reason = "outage"
                break
            difference = self._likeness.difference(template, wording)
            if difference is None and (
                self._fluency is None
                or (yield from self._fluency.passes(messages, template, wording))
            ):
                self._worded += 1
                return wording
            reason = difference or "fluency"
        self._reasons[reason] += 1
        return template
