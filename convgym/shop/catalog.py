"""Product catalogues: validated data files that customers and sellers share."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from convgym import datafiles
from convgym.datafiles import Frozen
from convgym.errors import ConvgymError, unknown


class Need(Frozen):
    """What a product is for: how customers say it and the words that give it away."""

    phrases: tuple[str, ...] = Field(min_length=1)
    words: tuple[str, ...] = Field(min_length=1)


class Feature(Need):
    """A property of a product: besides a need's fields, how sellers claim it and ask for it."""

    claim: str
    question: str


class Product(Frozen):
    """One product. Of the words of its ``name``, it is known by those that nothing else uses."""

    name: str = Field(pattern=r"^[A-Za-z0-9]+(?:[ -][A-Za-z0-9]+)*$")
    price: int | float = Field(gt=0)
    needs: tuple[str, ...] = Field(min_length=1)
    features: tuple[str, ...] = Field(min_length=1)

    @field_validator("price")
    @classmethod
    def _in_cents(cls, price: int | float) -> int | float:
        if round(price, 2) != price:
            raise ValueError("a price has two decimals at most")
        return int(price) if price == int(price) else price


class Objection(Frozen):
    """How this shop's customers word an objection, and how its sellers answer it."""

    phrases: tuple[str, ...] = Field(min_length=1)
    answers: tuple[str, ...] = Field(min_length=1)


class Wording(Frozen):
    """What is said otherwise in this shop; what is not given stays as it is elsewhere."""

    openings: tuple[str, ...] = ()
    questions: dict[Literal["need", "feature", "budget"], tuple[str, ...]] = Field(
        default_factory=dict
    )
    objections: dict[Literal["price", "warranty", "delivery", "reviews"], Objection] = Field(
        default_factory=dict
    )


class Catalog(Frozen):
    """A shop: its products and the vocabulary to talk about them.

    ``jargon`` lists words that everybody in the shop knows and that tell nothing.
    ``budget_step`` is what customers round their budgets to. A ``held_out`` catalogue is
    reserved for evaluation: training refuses it (``refuse_held_out``).
    """

    name: str
    item: str
    items: str
    currency: str
    needs: dict[str, Need] = Field(min_length=2)
    features: dict[str, Feature] = Field(min_length=2)
    products: tuple[Product, ...] = Field(min_length=3)
    # Optional fields are left out of fingerprints where they have their default.
    jargon: tuple[str, ...] = ()
    budget_step: int = Field(50, gt=0)
    wording: Wording = Wording()
    held_out: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Catalog:
        problems = [
            f"product {product.name!r} has an undeclared {kind} {name!r}"
            for product in self.products
            for kind, names, known in (
                ("need", product.needs, self.needs),
                ("feature", product.features, self.features),
            )
            for name in names
            if name not in known
        ]
        counts = Counter(product.name.lower() for product in self.products)
        counts.update(word for topic in self.needs.values() for word in topic.words)
        counts.update(word for topic in self.features.values() for word in topic.words)
        twice = sorted(word for word, count in counts.items() if count > 1)
        if twice:
            problems.append(f"words with two meanings: {', '.join(twice)}")
        problems += [
            f"product {product.name!r} has no word of two letters or more that nothing else uses"
            for product in self.products
            if not self.words_of(product)
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def __hash__(self) -> int:
        # Fields hold dictionaries; the name is enough to key caches, equality does the rest.
        return hash(self.name)

    def product(self, name: str) -> Product:
        """Return the product called ``name``, whatever its case; ConvgymError if there is none."""
        for product in self.products:
            if product.name.lower() == name.lower():
                return product
        raise unknown("product", name, [product.name for product in self.products])

    def words_of(self, product: Product) -> tuple[str, ...]:
        """Return the words by which a product is known, in small letters.

        They are those of its name that are in no other's, and give no need or feature away.
        """
        others = [set(_words(each.name)) for each in self.products if each is not product]
        topics = (*self.needs.values(), *self.features.values())
        taken = set.union(*others, *({*topic.words} for topic in topics))
        return tuple(
            word
            for word in dict.fromkeys(_words(product.name))
            if len(word) > 1 and word not in taken
        )

    def money(self, amount: float) -> str:
        """Return an amount as it is written in the shop: $700, or $19.50."""
        return f"{self.currency}{amount if isinstance(amount, int) else f'{amount:.2f}'}"

    def briefing(self) -> str:
        """Return what a seller knows: every product with its price, uses and features."""
        lines = [f"You sell {self.items}. The catalogue:"]
        lines += [
            f"- {product.name}: {self.money(product.price)}, for {' and '.join(product.needs)};"
            f" it {' and '.join(self.features[feature].claim for feature in product.features)}"
            for product in self.products
        ]
        return "\n".join(lines)

    def leaflet(self) -> str:
        """Return the shop for a small model that is to read it: short, and made to be looked up in.

        First what it sells, and every word that customers may say, followed by the need or feature
        that it gives away; then what there is for every need with every feature, the cheaper first,
        in the words of a seller that reads it (``convgym.sellers.habitual``). What is looked up
        stands right behind what it is looked up by::

            laptop, gaming gaming, game gaming, ... gaming battery $700 Aero. ...
        """
        return f"{self.item}, {self._meanings()}. {'. '.join(self.offers())}."

    def offers(self) -> list[str]:
        """Return the leaflet's offers, in its order: ``"gaming battery $700 Aero"``."""
        return [
            self.offer(product, need, feature)
            for need in self.needs
            for feature in self.features
            for product in sorted(self.meeting(need, feature), key=_price)
        ]

    def offer(self, product: Product, need: str, feature: str) -> str:
        """Return a product as leaflets, and sellers that read them, name it."""
        return f"{need} {feature} {self.money(product.price)} {product.name}"

    def read_out(self, product: Product, need: str, feature: str) -> str:
        """Return how a seller that reads its leaflet recommends a product for a need and a feature.

        The first words tell what follows: whether it is the cheapest that there is for both.
        """
        cheapest = min(map(_price, self.meeting(need, feature)))
        lead = "For" if product.price <= cheapest else "I suggest for"
        return f"{lead} {self.offer(product, need, feature)}."

    def inventory(self) -> str:
        """Return all that who knows the shop by heart knows of it: the same text, the same shop."""
        offers = [
            f"{need} with {feature}: {self.money(product.price)} {product.name}"
            for need in self.needs
            for feature in self.features
            for product in self.meeting(need, feature)
        ]
        return f"{self._meanings()}. {'. '.join(offers)}."

    def _meanings(self) -> str:
        topics = [*self.needs.items(), *self.features.items()]
        return ", ".join(f"{word} {name}" for name, topic in topics for word in topic.words)

    def meeting(self, need: str, feature: str) -> list[Product]:
        """Return the products that suit both a need and a feature."""
        return [
            product
            for product in self.products
            if need in product.needs and feature in product.features
        ]


def _price(product: Product) -> int | float:
    return product.price


def _words(name: str) -> list[str]:
    """Return the words of a name as they are heard: letters, in small."""
    return re.findall("[a-z]+", name.lower())


def catalog_names() -> list[str]:
    """Return the names of the catalogues that come with the package."""
    return datafiles.names("catalogs")


def load_catalog(source: str | Path | Catalog) -> Catalog:
    """Return a catalogue by name, from a JSON file, or as given.

    Raises ConvgymError for an unknown name, a file that is missing or one that does not validate.
    """
    if isinstance(source, Catalog):
        return source
    return _read(datafiles.find(source, "catalogs", "catalog"))


@lru_cache(maxsize=32)
def _read(path: Path) -> Catalog:
    return datafiles.read(Catalog, path, "catalog")


def refuse_held_out(environment: Mapping[str, Any] | None) -> None:
    """Raise ConvgymError if these options of ``SalesEnv`` lead to a held-out catalogue.

    Everything that learns from conversations calls this before it holds any. The catalogue is
    looked for in the option ``catalog``, in the ``customer_options``, and in a customer object or
    ``functools.partial``, the one behind a business (``inner``) included.
    """
    options = environment or {}
    more = options.get("customer_options") or {}
    brought = (
        getattr(customer, "keywords", {}).get("catalog", getattr(customer, "catalog", None))
        for customer in (options.get("customer"), more.get("inner"))
    )
    for source in (options.get("catalog"), more.get("catalog"), *brought):
        if isinstance(source, (str, Path, Catalog)) and load_catalog(source).held_out:
            raise ConvgymError(
                f"the catalog {load_catalog(source).name!r} is reserved for evaluation: train on"
                " another one, and judge the result on it with `convgym bench --evaluate-on`"
            )


@lru_cache(maxsize=1)
def held_out_names() -> frozenset[str]:
    """Return the names of the package's catalogues that are reserved for evaluation."""
    return frozenset(
        catalog.name for name in catalog_names() if (catalog := load_catalog(name)).held_out
    )
