"""Sellers by name: those that others are measured against, and anybody's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias, cast

from convgym.contracts import call, described, require, takes
from convgym.errors import ConvgymError
from convgym.policy import Policy
from convgym.registry import Entry, Registry
from convgym.shop.catalog import Catalog
from convgym.shop.terms import LAW

SellerFactory: TypeAlias = Callable[..., Policy]
"""A class of sellers, or anything else that returns one when it is called with its options."""


def _factory(thing: object, spec: str) -> SellerFactory:
    if not callable(thing):
        raise ConvgymError(f"seller {spec!r} must be a factory, got {described(thing)}")
    return cast(SellerFactory, thing)


SELLERS: Registry[SellerFactory] = Registry(
    "seller",
    "convgym.sellers",
    {
        "silent": Entry("convgym.sellers.scripted:silent", "says nothing: the floor"),
        "random": Entry("convgym.sellers.scripted:random_acts", "says anything at any time"),
        "always-closing": Entry(
            "convgym.sellers.scripted:always_closing", "recommends something and asks for the order"
        ),
        "deaf": Entry(
            "convgym.sellers.scripted:deaf",
            "keeps to the best script that does not listen: the floor for who has learnt to",
        ),
        "mediocre": Entry(
            "convgym.sellers.scripted:mediocre", "knows the flow but is sloppy: writes the logs"
        ),
        "habitual": Entry(
            "convgym.sellers.habitual:habitual",
            "mediocre by habit, not by chance: what most of its sellers do is not best",
        ),
        "careless": Entry(
            "convgym.sellers.scripted:careless", "competent, but offers whatever comes to mind"
        ),
        "competent": Entry(
            "convgym.sellers.scripted:competent",
            "asks, recommends what fits, answers worries, closes",
        ),
        "oracle": Entry(
            "convgym.sellers.scripted:oracle", "sees the customer's hidden state: the ceiling"
        ),
        "random-v1": Entry(
            "convgym.sellers.shopper_sellers:random_acts",
            "says anything to a shopper (Sales-v1) at any time",
        ),
        "always-closing-v1": Entry(
            "convgym.sellers.shopper_sellers:always_closing", "the like for shoppers"
        ),
        "deaf-v1": Entry(
            "convgym.sellers.script:deaf", "keeps to the best script found, whatever shoppers say"
        ),
        "mediocre-v1": Entry(
            "convgym.sellers.shopper_sellers:mediocre", "the like for shoppers, and gives in"
        ),
        "habitual-v1": Entry(
            "convgym.sellers.shopper_habits:habitual", "mediocre by habit, for shoppers"
        ),
        "careless-v1": Entry("convgym.sellers.shopper_sellers:careless", "the like for shoppers"),
        "competent-v1": Entry(
            "convgym.sellers.shopper_sellers:competent",
            "also answers, gives reasons their remedy, haggles",
        ),
        "oracle-v1": Entry(
            "convgym.sellers.shopper_sellers:oracle", "sees the shopper's hidden state"
        ),
        "smollm2": Entry(
            "convgym.agents.model.seller:smollm2", "a small chat model in this process, prompted"
        ),
    },
    _factory,
    families={
        "openai": Entry(
            "convgym.sellers.chat:openai_seller",
            "a chat model behind an OpenAI-compatible endpoint",
            argument="MODEL",
        ),
        "hf": Entry(
            "convgym.agents.model.seller:folder_seller",
            "a language model in this process, from a folder in Hugging Face format",
            argument="FOLDER",
        ),
    },
)
"""Sellers by name. Those that follow rules stand in order, from the floor to the ceiling."""

REFERENCE_SELLERS: tuple[str, ...] = (
    "silent",
    "random",
    "always-closing",
    "mediocre",
    "competent",
    "oracle",
)
"""The sellers that suites compare, from the floor to the ceiling. ``deaf`` and ``habitual`` came
later, and join where they are asked for: stored runs and new ones have the same rows."""


OF_CUSTOMERS = ("catalog", "law")
"""Options of a seller that follow from whom it talks to, where that is known."""


def check_own_options(options: Mapping[str, object]) -> None:
    """Raise ConvgymError for options that follow from the customers whom a seller talks to."""
    for name, mend in zip(OF_CUSTOMERS, ("give --catalog", "drop it"), strict=True):
        if name in options:
            raise ConvgymError(f"a seller's {name!r} is that of its customers here: {mend}")


def make_seller(
    spec: str,
    catalog: str | Path | Catalog | None = None,
    law: str | None = None,
    **options: Any,
) -> Policy:
    """Return a seller: a policy that nobody trains.

    Args:
        spec: a name, ``"openai:MODEL"`` (``convgym.sellers.chat``), ``"hf:FOLDER"``
            (``convgym.agents.model.seller``) or ``"package.module:factory"``, see
            ``convgym.registry``. The factory is a class or another callable that returns a
            ``Policy``.
        catalog: what it sells, which must be the customers' catalogue. A seller whose factory takes
            no ``catalog`` sells what it sells.
        law: by which its customers buy (``convgym.customers.customer_law``): ``"v1"`` makes of
            ``"competent"`` ``"competent-v1"``, as of every seller that has such a form. Language
            models are told of the shop's terms. None is the law of ``Sales-v0``.
        **options: of the factory: ``phrases`` for all that follow rules, ``epsilon`` for
            ``"mediocre"``, ``prompt``, ``temperature`` and ``max_tokens`` for language models.

    Raises:
        ConvgymError: for an unknown name or law, a module that cannot be imported, an option that
            the factory does not take or a value that cannot be, and if what it makes is no seller.
    """
    if law is not None and law != LAW:
        raise ConvgymError(
            f"the law by which customers buy must be {LAW!r}, or None for those of Sales-v0, got"
            f" {repr(law)[:60]}"
        )
    if law is not None and f"{spec}-{law}" in SELLERS.shipped:
        spec = f"{spec}-{law}"
    factory = SELLERS.resolve(spec)
    if catalog is not None and takes(factory, "catalog"):
        options["catalog"] = catalog
    if law is not None and takes(factory, "law"):
        options["law"] = law
    seller = call(factory, options, f"seller {spec!r}")
    require(seller, Policy, f"{described(seller)}, from {spec!r}, is no seller")
    return seller
