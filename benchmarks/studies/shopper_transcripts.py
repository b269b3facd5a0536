"""Twenty conversations with shoppers, as the page of documentation that shows them.

    convgym study shopper-transcripts FILE.md

Training customers of every shop and of both populations, with the three sellers in turn, and what
gives sellers and customers away (``convgym.benchmarks.studies.shopper_remarks``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from convgym.benchmarks.studies.shopper_remarks import reading, remarks_on, table
from convgym.benchmarks.studies.study import show
from convgym.conversation import Episode, render
from convgym.customers.shopper.customer import ShopperCustomer
from convgym.datafiles import check_new_file, write_atomically
from convgym.rollout import rollout
from convgym.seeds import train_seeds
from convgym.sellers import make_seller
from convgym.shop.catalog import catalog_names

SEED, CONVERSATIONS = 3, 20
SELLERS = ("mediocre", "competent", "oracle")
HEAD = """# Conversations with shoppers

Twenty conversations of `convgym/Sales-v1` with training customers: three reference sellers, four
shops and two populations in turn, none of them chosen. Written by
`convgym study shopper-transcripts FILE.md`; who shoppers are is told in [shopper.md](shopper.md).
Under each stands what gives it away: which seller it is, and that the customer is a machine.
"""
GIVEAWAYS = """## What gives them away

Counted by reading, once and not blind: the reader knew who the sellers were, and that no customer
is a person. A test holds that the words are there, and that no other of the twenty has those of a
customer's sign; what counts as a sign is judgement. **The customer** gives itself away in all
twenty, hardly in two (10 and 15, where curt people speak in scraps):

{customers}

Besides, in all twenty nothing is asked about the goods before the first offer, nobody asks what a
thing costs, and no word is misspelled. All take one road, as far as they get: use, feature and
budget in some order, an offer, a greeting for it, questions and doubts, yes or no. The profile
hardly shows: nobody hurried speaks of time (2, 11, 17), and two of the three cheerful ones say no
cheerful word (15, 16).

**The seller** is known by what it does, never by its words, which all three share:

{sellers}

Where a customer has neither doubts nor questions nothing tells the competent seller from the oracle
(2, 11, 12), and but for the order of its questions the mediocre one may have a good day (16).

What that means:

- Show these customers to nobody as people. They are for training and measuring what a seller
  *does*: what it asks, shows, answers and remedies decides the sale, by a documented law.
- Do not judge an agent's wording by them. They do not mind a bare answer, a remedy of one sentence
  or a missing price, and people do.
- An agent that reads words may learn the stock phrases as signs of what comes next. Try it on
  others: `wording=` takes a file of your own, and a chat model can word the scripted customer's
  decisions ([llm_customers.md](llm_customers.md#hybrid-the-script-decides-the-model-words-it)).
- A reading is no measurement of realism; [realism.md](realism.md) tells what is measured.
"""
ENDS = {"purchase": "sold", "walk_away": "walked away", "turn_limit": "the limit of turns"}


def hold(number: int) -> tuple[str, dict[str, Any], Episode]:
    """Return a conversation by its number, with its seller and its environment."""
    seller = SELLERS[number % len(SELLERS)]
    shops = catalog_names()
    environment = {
        "customer": "shopper",
        "catalog": shops[number % len(shops)],
        "personas": "difficult" if number % 5 == 4 else "default",
        "reveal_latent": seller == "oracle",
    }
    seed = train_seeds(SEED, CONVERSATIONS)[number]
    policy = make_seller(seller, str(environment["catalog"]), "v1")
    (episode,) = rollout(policy, [seed], environment=environment)
    return seller, environment, episode


def section(number: int) -> str:
    """Return a conversation as a section: who the shopper was, what was said, what tells it."""
    seller, environment, episode = hold(number)
    customer = ShopperCustomer(environment["catalog"], personas=environment["personas"])
    customer.reset(episode.seed)
    who = customer.profile
    reasons, questions = ", ".join(who.objections) or "none", ", ".join(who.questions) or "none"
    return (
        f"## {number + 1}. {seller.capitalize()}, `{environment['catalog']}`:"
        f" {ENDS[episode.outcome]}\n\n"
        f"{who.persona.capitalize()}, {who.mood}; {who.need} with {who.feature}, budget"
        f" {who.budget} (says {who.low} to {who.high}); reasons: {reasons}; questions: {questions}."
        f"\n\n```text\n{render(episode.messages())}\n```\n\n{remarks_on(number + 1)}"
    )


def giveaways() -> str:
    """Return the section about what gives customers and sellers away, with counts."""
    signs = reading()
    return GIVEAWAYS.format(
        customers=table(signs.customers, CONVERSATIONS),
        sellers=table(signs.sellers, CONVERSATIONS),
    )


def page() -> str:
    """Return the page."""
    return "\n".join([HEAD, giveaways(), *map(section, range(CONVERSATIONS))])


def main(output: Annotated[Path, typer.Argument(help="New file.")]) -> None:
    """Write twenty conversations with shoppers."""
    check_new_file(output)
    write_atomically(output, page())
    show(f"{CONVERSATIONS} conversations are in {output}")
