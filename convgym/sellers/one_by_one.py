"""Sellers that answer every conversation by itself: all that follow rules."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache

from convgym.conversation import Response
from convgym.errors import ConvgymError
from convgym.policy import Conversation
from convgym.shop.catalog import Catalog

_leaflet = lru_cache(maxsize=8)(Catalog.leaflet)


def check_shop(conversation: Conversation, catalog: Catalog) -> None:
    """Raise ConvgymError where a seller that sees the hidden state sells for another shop.

    Others would sell badly there, and that is a result; one that is to be the best there can be
    would give a wrong ceiling.
    """
    latent = conversation.latent or {}
    wishes = (("need", catalog.needs), ("feature", catalog.features))
    strange = any(latent.get(kind, kind) not in {kind, *known} for kind, known in wishes)
    if strange or conversation.leaflet not in ("", _leaflet(catalog)):
        raise ConvgymError(
            f"the oracle sells the {catalog.items} of catalog {catalog.name!r}, and this customer"
            " is of another shop: give make_seller the customers' catalogue (--catalog)"
        )


class OneByOne(ABC):
    """A policy whose words in a conversation depend on that conversation alone.

    It is safe to use on any number of conversations at once.
    """

    def __init__(self, name: str) -> None:
        self._name, self._seed = name, 0

    @property
    def name(self) -> str:
        return self._name

    def reset(self, seed: int) -> None:
        """Keep the seed: what of a seller lasts for a conversation may be drawn by it.

        All other randomness comes from each conversation's own stream.
        """
        self._seed = seed

    def act(self, conversations: Sequence[Conversation]) -> list[Response]:
        """Return one response for each conversation."""
        return [Response(self._answer(conversation)) for conversation in conversations]

    @abstractmethod
    def _answer(self, conversation: Conversation) -> str:
        """Return what is said in one conversation."""
