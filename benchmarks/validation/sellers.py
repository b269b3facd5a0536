"""The sellers that customers are put before, besides the reference sellers.

All know the catalogue and see the conversation only, never the hidden state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from convgym.benchmarks.validation import words
from convgym.benchmarks.validation.attacks import Attack
from convgym.conversation import Response
from convgym.policy import Conversation, Policy
from convgym.sellers import make_seller
from convgym.sellers.knowledge import Act, Notes, SellerKnowledge
from convgym.sellers.one_by_one import OneByOne
from convgym.shop.catalog import Catalog, Product, load_catalog

QUESTIONS = 5
"""Turns that a seller spends on finding out; who evades every question gets an offer anyhow."""

TOO_DEAR = 1.5
"""Price over budget from which on an offer is out of the question."""

SellerOf = Callable[[Catalog, str | None], Policy]
"""Makes a seller for a shop whose customers buy by a law (``convgym.customers.customer_law``)."""
Say = Callable[[SellerKnowledge, Conversation], str]
Choose = Callable[[SellerKnowledge, Notes, int], Product]


class ProbeSeller(OneByOne):
    """A seller that says what a function makes of each conversation."""

    def __init__(self, name: str, catalog: Catalog, say: Say) -> None:
        super().__init__(name)
        self._shop, self._say = SellerKnowledge(catalog), say

    def _answer(self, conversation: Conversation) -> str:
        return self._say(self._shop, conversation)


class Altered:
    """A seller whose every utterance is put otherwise."""

    def __init__(self, name: str, inner: Policy, alter: Callable[[str], str]) -> None:
        self._name, self._inner, self._alter = name, inner, alter

    @property
    def name(self) -> str:
        return self._name

    def reset(self, seed: int) -> None:
        """Reset the seller inside."""
        self._inner.reset(seed)

    def act(self, conversations: Sequence[Conversation]) -> list[Response]:
        """Return one response for each conversation."""
        return [
            Response(self._alter(response.text), failure=response.failure)
            for response in self._inner.act(conversations)
        ]


def reference(name: str) -> SellerOf:
    """Return the reference seller of this name."""
    return lambda catalog, law: make_seller(name, catalog, law)


def reworded(catalog: Catalog, law: str | None) -> Policy:
    """Return the competent seller in other words."""
    return make_seller("competent", catalog, law, phrases=words.REWORDED)


def altered(name: str, alter: Callable[[str], str]) -> SellerOf:
    """Return the competent seller with every utterance put otherwise."""
    return lambda catalog, law: Altered(name, make_seller("competent", catalog, law), alter)


def reciting(name: str, lines: Sequence[str]) -> SellerOf:
    """Return a seller that says these lines in order, whatever the customer says."""

    def say(shop: SellerKnowledge, conversation: Conversation) -> str:
        return lines[(len(conversation.messages) // 2) % len(lines)]

    return lambda catalog, law: ProbeSeller(name, catalog, say)


def attacking(name: str, attack: Attack, *, held_back: bool = False) -> SellerOf:
    """Return a seller that makes an offer at random and then attacks, in forms held back or not."""

    def say(shop: SellerKnowledge, conversation: Conversation) -> str:
        turn = len(conversation.messages) // 2
        if turn == 0:
            product = conversation.rng.choice(shop.catalog.products)
            return shop.say((Act("recommend", product),), conversation.rng)
        return attack.say(turn - 1, shop.catalog, conversation.seed, held_back=held_back)

    return lambda catalog, law: ProbeSeller(name, catalog, say)


def pressing(name: str, choose: Choose) -> SellerOf:
    """Return a seller that finds out, offers what ``choose`` says, and then does not let go.

    It answers every worry, asks for the order in ever new words and praises the product between.
    """

    def say(shop: SellerKnowledge, conversation: Conversation) -> str:
        notes = shop.note(conversation.messages)
        topics = notes.unknown_topics()
        if notes.product is None:
            if topics and notes.turns < QUESTIONS:
                return shop.say((Act(f"ask_{topics[0]}"),), conversation.rng)
            product = choose(shop, notes, conversation.seed)
            return shop.say((Act("recommend", product),), conversation.rng)
        if notes.worry:
            return shop.say((Act(f"answer_{notes.worry}"),), conversation.rng)
        if notes.turns % 3 == 2:
            return words.PERSUASION[notes.turns // 3 % len(words.PERSUASION)]
        return words.CLOSES[notes.turns % len(words.CLOSES)]

    return lambda catalog, law: ProbeSeller(name, catalog, say)


def offhand(catalog: Catalog, law: str | None) -> Policy:
    """Return a seller who is careful or careless by chance: its offers are of every utility.

    It asks for each topic with probability 0.8, offers the best product with probability 0.7, else
    any, answers worries as often, and asks for the order once, in words of ``words.CLOSES``; all
    that is decided by the conversation's own stream.
    """

    def say(shop: SellerKnowledge, conversation: Conversation) -> str:
        rng, notes = conversation.rng, shop.note(conversation.messages)
        asked = sum(message["role"] == "assistant" for message in conversation.messages)
        if notes.product is None:
            topics = notes.unknown_topics()
            if topics and asked < QUESTIONS and rng.random() < 0.8:
                return shop.say((Act(f"ask_{topics[0]}"),), rng)
            best = rng.random() < 0.7
            product = shop.best(notes) if best else rng.choice(shop.catalog.products)
            return shop.say((Act("recommend", product),), rng)
        if notes.worry and rng.random() < 0.7:
            return shop.say((Act(f"answer_{notes.worry}"),), rng)
        return words.CLOSES[notes.turns % len(words.CLOSES)]

    return ProbeSeller("offhand", catalog, say)


def too_dear(shop: SellerKnowledge, notes: Notes, seed: int) -> Product:
    """Choose what fits and costs far more than the budget, as far as there is such a thing."""
    limit = TOO_DEAR * (notes.budget or 0)
    return max(
        shop.catalog.products,
        key=lambda p: (
            p.price >= limit,
            notes.need in p.needs,
            notes.feature in p.features,
            p.price,
        ),
    )


def wrong_use(shop: SellerKnowledge, notes: Notes, seed: int) -> Product:
    """Choose what is affordable but made for something else."""
    budget = notes.budget or 0

    def fit(product: Product) -> tuple[bool, bool, bool, float]:
        return (
            notes.need not in product.needs,
            product.price <= budget,
            notes.feature in product.features,
            product.price,
        )

    return max(shop.catalog.products, key=fit)


def suiting(shop: SellerKnowledge, notes: Notes, seed: int) -> Product:
    """Choose what fits best, the price included."""
    return shop.best(notes)


def by_seed(shop: SellerKnowledge, notes: Notes, seed: int) -> Product:
    """Choose by the episode's seed alone (see ``product_of``)."""
    return product_of(shop.catalog, seed)


def product_of(catalog: Catalog, seed: int) -> Product:
    """Return the product that the sellers who choose by seed offer."""
    return load_catalog(catalog).products[seed % len(catalog.products)]
