"""A seller behind an OpenAI-compatible endpoint: held, recorded, replayed, and counted.

Run it with ``python examples/api_seller.py``. It needs no key and no network: a server on this
machine stands in for the endpoint, and now and then it fails. With a server of your own leave that
out, and name the model and its ``base_url``; docs/llm_backends.md says how.
"""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from convgym.conversation import Episode, render
from convgym.llm.fake_server import Action, ChatServer
from convgym.llm.openai_backend import ledgers
from convgym.policy import Conversation
from convgym.rollout import rollout
from convgym.seeds import train_seeds
from convgym.sellers import make_seller
from convgym.statistics import wilson_interval

CONVERSATIONS = 60
SHOP_ASSISTANT = make_seller("competent")


def stand_in(request: dict[str, Any]) -> Action:
    """Answer as a good shop assistant would, and break down in some places."""
    if request["seed"] % 50 == 0:
        return Action(status=503)
    said = request["messages"][1:]  # after the system message
    conversation = Conversation(0, said, random.Random(request["seed"]))
    return Action(text=SHOP_ASSISTANT.act([conversation])[0].text)


def hold(**options: Any) -> list[Episode]:
    """Let the model sell to customers of the training range."""
    seller = make_seller("openai:shop-assistant", **options)
    return rollout(seller, train_seeds(0, CONVERSATIONS))


def main() -> None:
    """Hold conversations through an endpoint, then again from their recording."""
    with tempfile.TemporaryDirectory() as folder:
        recording = Path(folder) / "talks.jsonl"
        with ChatServer(stand_in) as server:
            options = {"base_url": server.url, "retries": 1, "first_wait": 0.01}
            episodes = hold(record=recording, budget={"requests": 2000}, **options)
        replayed = hold(replay=recording)

    print(render(next(episode for episode in episodes if episode.converted).messages()))
    counted = [episode for episode in episodes if episode.valid]
    rate = wilson_interval(sum(episode.converted for episode in counted), len(counted))
    print(f"conversion {rate.value:.1%}, 95% interval {rate.low:.1%} to {rate.high:.1%}")
    failed = [episode for episode in episodes if episode.outcome == "seller_failure"]
    print(f"outcomes {dict(Counter(episode.outcome for episode in episodes))}")
    print(f"the first of {len(failed)} failures: {failed[0].metadata['failure']}")
    (ledger,) = ledgers().values()
    print(f"spent {ledger.spent.requests} requests, {ledger.spent.tokens} tokens")
    print(f"the replay, without an endpoint, is the same: {replayed == episodes}")


if __name__ == "__main__":
    main()
