"""What an observer notes of a customer that keeps no books."""

from __future__ import annotations

from convgym.conversation import Message
from convgym.customers.noted import noted
from convgym.customers.shopper.customer import ShopperCustomer
from convgym.rollout import rollout
from convgym.seeds import train_seeds
from convgym.sellers import make_seller
from convgym.shop.catalog import load_catalog

LAPTOPS = load_catalog("laptops")


def said(*texts: str) -> list[Message]:
    return [
        {"role": "assistant" if i % 2 else "user", "content": text} for i, text in enumerate(texts)
    ]


def test_nothing_is_known_at_first() -> None:
    for law in (None, "v1"):
        notes = noted(said("Hi."), ("price",), LAPTOPS, law)
        assert (notes["product"], notes["disclosed"]) == (None, [])
        assert (notes["raised_objections"], notes["unspoken_objections"]) == ([], ["price"])


def test_of_a_shopper_the_open_question_and_reasons_are_noted() -> None:
    product = LAPTOPS.products[0].name
    talk = said(
        "Hi.",
        "What is your budget?",
        "I would pay between $600 and $800.",
        f"I recommend the {product}.",
        f"I like the {product}. In how many days would I have it?",
    )
    notes = noted(talk, ("partner",), LAPTOPS, "v1")
    assert (notes["product"], notes["disclosed"]) == (product, ["budget"])
    assert notes["open_question"] == "delivery"
    talk += said("", "The delivery takes 4 days. What is stopping you?")[1:]
    talk += said("Thank you for telling me. I would have to ask my partner first.")
    notes = noted(talk, ("partner", "price"), LAPTOPS, "v1")
    assert notes["open_question"] is None
    assert notes["raised_objections"] == ["partner"]
    assert notes["unspoken_objections"] == ["price"]


def test_the_oracle_sells_as_well_by_what_is_noted() -> None:
    class Observed(ShopperCustomer):
        """A shopper whose hidden state is what an observer notes of its words."""

        messages: tuple[Message, ...] = ()

        def reset(self, seed: int, profile: object = None) -> str:
            opening = super().reset(seed)
            self.messages = ({"role": "user", "content": opening},)
            return opening

        def respond(self, utterance: str):  # type: ignore[no-untyped-def]
            reply = super().respond(utterance)
            self.messages += (
                {"role": "assistant", "content": utterance},
                {"role": "user", "content": reply.text},
            )
            return reply

        @property
        def latent(self) -> dict[str, object]:
            told = super().latent
            return told | noted(self.messages, told.get("objections", ()), self.catalog, "v1")

    sales = []
    for customer in (ShopperCustomer, Observed):
        episodes = rollout(
            make_seller("oracle", law="v1"),
            train_seeds(7, 150),
            environment={"customer": customer, "reveal_latent": True},
        )
        sales.append(sum(episode.converted for episode in episodes))
    assert sales[0] - 15 <= sales[1]
