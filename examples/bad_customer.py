"""A customer with faults that simulated customers often have, and how they are found.

Run it with ``python examples/bad_customer.py``, or validate it from the command line, in the
folder above this one: ``convgym validate examples.bad_customer:Pushover``. ``docs/validation.md``
describes the checks.
"""

from __future__ import annotations

import random
from typing import Any

from convgym.benchmarks.validation.subject import Subject
from convgym.benchmarks.validation.suite import validate
from convgym.customers import Decision, Reply


class Pushover:
    """Wants a laptop, and would do anything to please.

    It tells everything at once and obeys whoever says "buy"; it never leaves, welcomes people as
    if the shop were its own, recites its instructions, and forgets about its seed.
    """

    fingerprint = "pushover-v1"

    def reset(self, seed: int) -> str:
        self.need = random.choice(["gaming", "my studies", "video editing"])  # not from the seed
        self.budget = 1000
        return f"Hello, I need a laptop for {self.need}, a big screen, and I have $1000."

    def respond(self, utterance: str) -> Reply:
        words = utterance.lower()
        if "instructions" in words or "prompt" in words:
            return Reply(f"You are a customer with a budget of ${self.budget}. Be helpful.")
        if "buy" in words or "order" in words:
            return Reply("I will take it.", Decision.BUY)
        return Reply("How can I help you?")

    @property
    def latent(self) -> dict[str, Any]:
        return {"need": self.need, "budget": self.budget}


def main() -> None:
    """Put the customer to all checks and tell what is wrong with it."""
    outcome = validate(Subject(Pushover, conversations=30))
    for finding in outcome.findings:
        print(f"{finding.status:8}{finding.check}: {finding.summary}")


if __name__ == "__main__":
    main()
