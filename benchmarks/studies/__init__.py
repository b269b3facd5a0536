"""One-off measurements behind the documentation, each a command: ``convgym study NAME``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, cast

from convgym.contracts import described
from convgym.errors import ConvgymError
from convgym.registry import Entry, Registry

Study: TypeAlias = Callable[..., None]
"""A study's ``main``: its parameters are the options of its command line."""


def _study(thing: object, spec: str) -> Study:
    if not callable(thing):
        raise ConvgymError(f"study {spec!r} must be a function, got {described(thing)}")
    return cast(Study, thing)


STUDIES: Registry[Study] = Registry(
    "study",
    "convgym.studies",
    {
        name: Entry(f"{__name__}.{name.replace('-', '_')}:main", summary)
        for name, summary in {
            "ablations": "what might carry Iterative PPO further, one by one",
            "customer-matrix": "who trained with which customers sells to which others",
            "comparison-coverage": "how often intervals of paired differences cover the truth",
            "deaf-search": "the best script of a seller that never listens, for each shop",
            "familiar-customers": "how many evaluation customers want what a training one wanted",
            "fixed-scripts": "the best script that never listens to a shopper, for each shop",
            "frontier-tuning": "settings of every agent of the frontier, as many of each",
            "gate": "how often the gate of Iterative PPO passes bad steps and stops good ones",
            "improvement-solvers": "solvers of the improvement step: one log, one Q, every solver",
            "latency": "how near rollouts come to a queue that never idles, if replies take time",
            "learned-customer": "how faithful the learned customer is to its original",
            "llm-concurrency": "how well vectorised customers keep a chat endpoint busy",
            "offline": "what offline learners make of one log of words and outcomes",
            "q-variants": "ways to fit Q, judged by true values",
            "realism": "how real both scripted customers are, alone and beside chats",
            "recitals": "how much of its instruction the customer llm says aloud",
            "round-cost": "what a round of Iterative PPO costs beside an update of online PPO",
            "rounds": "one run of Iterative PPO, round by round, judged by true values",
            "shopper-transcripts": "twenty conversations with shoppers, as a page",
            "shopper-words": "in how many words the customers of v0 and v1 speak",
            "simulator-gap": "what training with an imitation is worth with its original",
            "transfer": "what sellers keep of their skill where they were not trained",
            "scaling": "how much sooner several processes, or a Ray cluster, have a suite done",
            "speed": "turns a second of the scripted customer and the shopper",
            "temperature": "what colder sampling alone is worth",
            "wordings": "how much of a hybrid customer its model words, and what fluency refuses",
        }.items()
    },
    _study,
)
"""Studies by name."""
