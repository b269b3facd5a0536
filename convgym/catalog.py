"""Product catalogues: validated data files that customers and sellers share."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from convgym.errors import ConvgymError, unknown

_FOLDER = Path(__file__).parent / "catalogs"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Need(_Frozen):
    """What a product is for: how customers say it and the words that give it away."""

    phrases: tuple[str, ...] = Field(min_length=1)
    words: tuple[str, ...] = Field(min_length=1)


class Feature(Need):
    """A property of a product: besides a need's fields, how sellers claim it and ask for it."""

    claim: str
    question: str


class Product(_Frozen):
    """One product. ``name`` is a single word that nothing else in the catalogue uses."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9]+$")
    price: int = Field(gt=0)
    needs: tuple[str, ...] = Field(min_length=1)
    features: tuple[str, ...] = Field(min_length=1)


class Catalog(_Frozen):
    """A shop: its products and the vocabulary to talk about them."""

    name: str
    item: str
    items: str
    currency: str
    needs: dict[str, Need] = Field(min_length=2)
    features: dict[str, Feature] = Field(min_length=2)
    products: tuple[Product, ...] = Field(min_length=12)

    @model_validator(mode="after")
    def _consistent(self) -> Catalog:
        for product in self.products:
            for kind, names, known in (
                ("need", product.needs, self.needs),
                ("feature", product.features, self.features),
            ):
                for name in names:
                    if name not in known:
                        raise ValueError(
                            f"product {product.name!r} has an undeclared {kind} {name!r}"
                        )
        counts = Counter(product.name.lower() for product in self.products)
        counts.update(word for topic in self.needs.values() for word in topic.words)
        counts.update(word for topic in self.features.values() for word in topic.words)
        twice = sorted(word for word, count in counts.items() if count > 1)
        if twice:
            raise ValueError(f"words with two meanings: {', '.join(twice)}")
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

    def briefing(self) -> str:
        """Return what a seller knows: every product with its price, uses and features."""
        lines = [f"You sell {self.items}. The catalogue:"]
        lines += [
            f"- {product.name}: {self.currency}{product.price}, for {' and '.join(product.needs)};"
            f" it {' and '.join(self.features[feature].claim for feature in product.features)}"
            for product in self.products
        ]
        return "\n".join(lines)


def catalog_names() -> list[str]:
    """Return the names of the catalogues that come with the package."""
    return sorted(path.stem for path in _FOLDER.glob("*.json"))


def load_catalog(source: str | Path | Catalog) -> Catalog:
    """Return a catalogue by name, from a JSON file, or as given.

    Raises ConvgymError for an unknown name, a file that is missing or one that does not validate.
    """
    if isinstance(source, Catalog):
        return source
    if isinstance(source, str) and not source.endswith(".json"):
        if source not in catalog_names():
            raise unknown("catalog", source, catalog_names())
        return _read(_FOLDER / f"{source}.json")
    return _read(Path(source))


@lru_cache(maxsize=32)
def _read(path: Path) -> Catalog:
    try:
        return Catalog.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConvgymError(f"cannot read the catalog {path}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise ConvgymError(f"catalog {path} is not valid at {where}: {first['msg']}") from None
