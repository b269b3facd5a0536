"""A customer of a bookshop: buys a book once somebody has found out what it likes to read."""

from __future__ import annotations

import random
from typing import Any

from convgym.customers import Decision, Reply
from convgym.errors import ConvgymError

LIKES = ("crime stories", "poems", "cook books", "books on history")


class Reader:
    """Likes one kind of book; buys when it is asked to, after it was asked about itself.

    Args:
        talkative: how many questions it answers before it finds them too many.
    """

    def __init__(self, talkative: int = 3) -> None:
        if talkative < 1:
            raise ConvgymError(f"talkative must be at least 1 question, got {talkative!r}")
        self.talkative = talkative
        self.likes, self.asked, self.patience = "", 0, 0

    @property
    def fingerprint(self) -> str:
        """Name, version and settings: the version is raised whenever the behaviour changes."""
        return f"bookshop-v1:{self.talkative}"

    @property
    def latent(self) -> dict[str, Any]:
        """The hidden state."""
        return {"likes": self.likes, "asked": self.asked, "patience": self.patience}

    def reset(self, seed: int) -> str:
        """Become another reader; all that is random comes from ``seed``."""
        rng = random.Random(seed)
        self.likes, self.asked, self.patience = rng.choice(LIKES), 0, rng.randint(2, 6)
        return rng.choice(["Hello, I am looking for a book.", "Good morning!"])

    def respond(self, utterance: str) -> Reply:
        """Answer questions, buy when asked to order, and leave when its patience is used up."""
        words = utterance.lower()
        self.patience -= 1
        if "order" in words or "buy" in words:
            if self.asked:
                return Reply("Yes, I will take it.", Decision.BUY)
            answer = "But you know nothing of me."
        elif "?" in words and self.asked < self.talkative:
            self.asked += 1
            answer = f"I like {self.likes}."
        else:
            answer = "I see."
        if self.patience <= 0:
            return Reply("I have to go.", Decision.LEAVE)
        return Reply(answer)
