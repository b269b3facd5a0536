"""Two sellers that realism needs: a deliberately bad one, and one that asks everything twice."""

from __future__ import annotations

from random import Random

from convgym.benchmarks.validation import words
from convgym.benchmarks.validation.sellers import ProbeSeller
from convgym.policy import Conversation, Policy
from convgym.sellers.knowledge import Act, Notes, SellerKnowledge
from convgym.shop.catalog import Catalog, Product
from convgym.shop.language import TOPICS

BAD_WAYS = ("unfit", "again", "push", "chat", "deaf")
"""What a bad turn may be; all equally likely."""


def bad(catalog: Catalog, law: str | None) -> Policy:
    """Return a seller that is bad on purpose, as one arm of arXiv 2602.16938 was.

    It begins with a question, as any seller does, and then by chance recommends what is not for the
    need that it was told, says its last line again, pushes, chats, or asks what it was told, and
    closes in between. It never lies, so that what annoys is the conduct.
    """

    def say(shop: SellerKnowledge, conversation: Conversation) -> str:
        notes, rng = shop.note(conversation.messages), conversation.rng
        lines = [m["content"] for m in conversation.messages if m["role"] == "assistant"]
        if not lines:
            return shop.say((Act("ask_need"),), rng)
        way = rng.choice(BAD_WAYS)
        if way == "again":
            return lines[-1]
        if way == "push":
            return shop.say((Act("push"),), rng)
        if way == "chat":
            return rng.choice(words.CHATTER)
        if way == "deaf":
            return shop.say((Act(f"ask_{rng.choice(TOPICS)}"),), rng)
        if notes.product is not None and rng.random() < 0.5:
            return words.CLOSES[len(lines) % len(words.CLOSES)]
        return shop.say((Act("recommend", _unfit(shop, notes, rng)),), rng)

    return ProbeSeller("bad", catalog, say)


def _unfit(shop: SellerKnowledge, notes: Notes, rng: Random) -> Product:
    """Choose what is not for the need that was told, anything where it was not told."""
    unfit = [p for p in shop.catalog.products if notes.need not in p.needs]
    return rng.choice(unfit or list(shop.catalog.products))


def asked(seed: int) -> tuple[str, ...]:
    """Return what the examining seller does turn by turn, by the episode's seed.

    Each topic is the first to be asked again in a third of the conversations: who is asked twice
    soon loses patience, and the last topic would seldom be heard of.
    """
    first = seed % len(TOPICS)
    return (*TOPICS, "offer", *TOPICS[first:], *TOPICS[:first])


def examining(catalog: Catalog, law: str | None) -> Policy:
    """Return a seller that asks for need, feature and budget, makes an offer, and asks again.

    It never says the same words twice, as far as its words go.
    """

    def say(shop: SellerKnowledge, conversation: Conversation) -> str:
        turn, rng = len(conversation.messages) // 2, conversation.rng
        acts = asked(conversation.seed)
        if turn >= len(acts):
            return words.CHATTER[turn % len(words.CHATTER)]
        if acts[turn] == "offer":
            notes = shop.note(conversation.messages)
            return shop.say((Act("recommend", shop.best(notes)),), rng)
        said = {message["content"] for message in conversation.messages}
        ways = [shop.say((Act(f"ask_{acts[turn]}"),), rng) for _ in range(12)]
        return next((way for way in ways if way not in said), ways[-1])

    return ProbeSeller("examining", catalog, say)
