"""A customer at the terminal: somebody types the replies and decides."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from convgym import terminal
from convgym.customers.base import Decision, Reply
from convgym.customers.personas import load_personas
from convgym.customers.profile import Profile, check_profile, draw_profile
from convgym.shop.catalog import Catalog, load_catalog
from convgym.terminal import QuitError, ask

_COMMANDS = {
    "/buy": (Decision.BUY, "I will take it."),
    "/leave": (Decision.LEAVE, "Goodbye."),
}
_HELP = (
    "Type your replies. /buy buys and /leave leaves, with words after it if you like; /help says"
    " this again, and /quit ends the program."
)


class HumanCustomer:
    """Shows the seller's words and reads the answers, for one conversation at a time.

    At the start a shopping list is drawn from the episode's seed, as for the scripted customer,
    so that what was wanted is known afterwards (``latent``). Keeping to it is up to the human.

    Args:
        catalog: the shop, by name, JSON file or object.
        show: prints a line; ``Seller: ...`` is one.
    """

    fingerprint = "human-v0"

    def __init__(
        self,
        catalog: str | Path | Catalog = "laptops",
        show: Callable[[str], None] = terminal.show,
    ) -> None:
        self._show = show
        self.catalog = load_catalog(catalog)
        self.briefing = self.catalog.briefing()
        self._profile: Profile | None = None

    @property
    def latent(self) -> dict[str, Any]:
        """The shopping list; empty before the first reset."""
        return asdict(self._profile) if self._profile else {}

    def reset(self, seed: int, profile: Mapping[str, Any] | None = None) -> str:
        """Show the shopping list and read the opening words.

        Raises ConvgymError if the input ends, or for a profile that cannot be (see
        ``ScriptedCustomer.reset``).
        """
        catalog = self.catalog
        fixed = check_profile(profile or {}, catalog, load_personas("default"))
        drawn = draw_profile(random.Random(seed), catalog, None, None, fixed=fixed)
        self._profile = drawn
        self._show(
            f"You are the customer. You want a {catalog.item} for"
            f" {catalog.needs[drawn.need].phrases[0]}; what matters most to you:"
            f" {catalog.features[drawn.feature].phrases[0]}; you can spend about"
            f" {catalog.currency}{drawn.budget}.\n{_HELP}\n"
        )
        while True:
            reply = self._read()
            if reply.decision is Decision.CONTINUE:
                return reply.text
            self._show("Nothing has been said yet: greet the seller first.")

    def respond(self, utterance: str) -> Reply:
        """Show the seller's words and read the reply; ConvgymError if the input ends."""
        self._show(f"Seller: {utterance}")
        return self._read()

    def _read(self) -> Reply:
        """Read one reply, however many attempts it takes; QuitError if its author has enough."""
        while True:
            line = ask("Customer: ").strip()
            if not line.startswith("/"):
                return Reply(line)
            command, _, words = line.partition(" ")
            if command in _COMMANDS:
                decision, usual = _COMMANDS[command]
                return Reply(words.strip() or usual, decision)
            if command == "/quit":
                raise QuitError
            self._show(_HELP if command == "/help" else f"{command} is no command. {_HELP}")
