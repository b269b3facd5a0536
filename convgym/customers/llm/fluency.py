"""Whether a wording is at least as fluent as the script's own line: by a language model's odds.

What is compared is the **mean log-probability per token of the line, its end included, after the
conversation so far**, under a causal language model that is the scorer::

    fluency(line) = 1/n sum_i log p(token_i | conversation, tokens before i)

A wording passes if its fluency is not below the template's (plus a margin, in nats a token): if its
perplexity is not above that of the line which it replaces. Why this one:

- The **mean**, since a sum is smaller for every word more. With the **end of the line** as one of
  the tokens, a line pays for stopping where nobody would; without it fragments would win.
- **After the conversation**: "Game of the day!" is good English, and no answer to what the seller
  asked. No more than ``RECENT`` messages of it are read, as a plain transcript of two speakers and
  not in a chat's roles: a chat model's roles make it expect a helpful assistant, and the customer
  is none; and a transcript can be read by any language model.
- **Against the template**, not against a threshold: names and amounts are unlikely in any line, and
  both lines hold the same ones.

What it cannot do: where the template itself is odd to the model ("Not more than $600 or so."), an
odd wording passes too (``margin`` asks for more); dull lines and such as repeat the seller's words
are the likeliest; and the longer of two lines has a small advantage, since later tokens follow from
earlier ones, which is one reason why the wording's length is bounded beforehand
(``convgym.customers.llm.likeness``). A scorer is no judge of meaning: all other checks come first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from convgym.checks import check_number
from convgym.contracts import described, require
from convgym.conversation import Message
from convgym.customers.llm.exchange import Exchange, Scoring
from convgym.errors import ConvgymError
from convgym.llm import ChatBackend, make_backend
from convgym.llm.base import Continuation, ScoringBackend
from convgym.shop.catalog import Catalog

RECENT = 4
"""Messages before the line that are read."""

SPEAKERS: Mapping[str, str] = {"user": "Customer", "assistant": "Seller"}
"""How the speakers are called in the transcript, by their roles in a conversation."""

DECIMALS = 4
"""What is after them is rounding, which depends on what is scored beside it."""

_OF_THE_MODEL = ("model", "device", "dtype", "batch_size")


@dataclass(frozen=True, slots=True)
class Fluency:
    """The measure of one shop.

    Attributes:
        scorer: the language model.
        margin: nats a token by which a wording must be more fluent than the template.
        catalog: the shop that the transcript is of.
    """

    scorer: ScoringBackend
    margin: float
    catalog: Catalog

    @property
    def settings(self) -> list[Any]:
        """What decides, as plain data: for fingerprints."""
        return [self.scorer.fingerprint, self.margin, RECENT, self.before([])]

    def before(self, messages: Sequence[Message]) -> str:
        """Return the transcript of the last messages, up to the line that is scored."""
        lines = [f"{SPEAKERS[said['role']]}: {said['content']}" for said in messages[-RECENT:]]
        head = f"A conversation in a shop for {self.catalog.items}.\n"
        return "\n".join([head, *lines, f"{SPEAKERS['user']}:"])

    def passes(self, messages: Sequence[Message], template: str, wording: str) -> Exchange[bool]:
        """Tell whether a wording is at least as fluent as the template after these messages."""
        before = self.before(messages)
        # The end of a line is the end of what its speaker says.
        lines = (Continuation(before, f" {line}\n") for line in (template, wording))
        scoring = Scoring(self.scorer, tuple(lines))
        yield scoring
        of_template, of_wording = scoring.scores
        return is_fluent(of_template, of_wording, self.margin)


def is_fluent(template: float, wording: float, margin: float) -> bool:
    """Compare the fluency of a template and a wording, in nats a token."""
    return round(wording, DECIMALS) >= round(template + margin, DECIMALS)


def fluency_by(
    scorer: str | Path | ScoringBackend | None,
    margin: float,
    catalog: Catalog,
    backend: str | ChatBackend,
    options: Mapping[str, Any],
) -> Fluency | None:
    """Return the measure that a customer's options ask for.

    Args:
        scorer: ``"auto"``, a model as the backend ``"transformers"`` takes it, an object, or None.
        margin: nats a token.
        catalog: the shop.
        backend: the chat model that words the lines, which ``"auto"`` is where it is
            ``"transformers"`` or an object that can score; elsewhere ``"auto"`` is nothing, as
            endpoints tell no likelihoods of given texts.
        options: of that backend.

    Raises:
        ConvgymError: for a margin that is no number, a model that is not there, a package that is
            missing, or an object that scores nothing.
    """
    check_number("fluency_margin", margin, "a number of nats a token")
    opened: object
    if scorer is None:
        return None
    if scorer == "auto":
        if isinstance(backend, str) and backend == "transformers":
            # Recorded or replayed, it is the same model that judges.
            given = {name: options[name] for name in _OF_THE_MODEL if name in options}
            opened = make_backend("transformers", **given)
        elif isinstance(backend, ScoringBackend):
            opened = backend
        else:
            return None
    elif isinstance(scorer, str | Path):
        if not str(scorer).strip():
            raise ConvgymError("fluency must name a model, or be 'auto' or None, got ''")
        opened = make_backend("transformers", model=str(scorer))
    else:
        opened = scorer
    require(opened, ScoringBackend, f"{described(opened)} is no scorer of fluency")
    return Fluency(cast("ScoringBackend", opened), margin, catalog)
