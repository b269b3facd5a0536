"""Noisy words: slips of the keyboard and fillers in what a customer says.

Chance for ``Scenario.noise``. The customer is the same and means the same: only what is heard of it
is worse. Numbers stay as they are.
"""

from __future__ import annotations

import random
import re

VERSION = 0
"""Raised with every change of what is heard."""

FILLERS = ("um", "uh", "well", "you know", "I mean", "like", "so", "actually")
_WORD = re.compile(r"[A-Za-z']{4,}")
_SENT = re.compile(r"\[sent: [^\]]*\] ?")


def noisy(text: str, share: float, rng: random.Random) -> str:
    """Return ``text`` with noise.

    Every word of at least four letters has a slip with probability ``share``: two neighbouring
    letters swapped, one dropped or one doubled. Before every word a filler comes with a probability
    of a quarter of that. What a business tells of its own words (``show_sent``) is left alone.
    """
    sent = _SENT.match(text)
    start = sent.end() if sent else 0
    words = []
    for word in text[start:].split():
        if rng.random() < share / 4:
            words.append(rng.choice(FILLERS))
        letters = _WORD.search(word)
        if letters and rng.random() < share:
            word = word[: letters.start()] + _slip(letters[0], rng) + word[letters.end() :]
        words.append(word)
    return text[:start] + " ".join(words)


def _slip(word: str, rng: random.Random) -> str:
    at = rng.randrange(1, len(word) - 1)
    kind = rng.randrange(3)
    if kind == 0:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return word[:at] + word[at + 1 :] if kind == 1 else word[: at + 1] + word[at:]
