"""Conversations written to a log, added to, read again, and what a cut-off line does.

Run it with ``python examples/write_and_read_logs.py``; it cleans up behind itself. The fields of
a log are described in ``docs/conversation_logs.md``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from convgym.conversation import Episode, render
from convgym.logs import read_log, validate_log, write_log
from convgym.rollout import rollout
from convgym.seeds import train_seeds
from convgym.sellers import make_seller

EPSILON = 0.2


def mediocre_episodes(seed: int, n: int) -> Iterator[Episode]:
    """Yield ``n`` conversations of the mediocre seller that say how it was set."""
    seller = make_seller("mediocre", epsilon=EPSILON)
    for episode in rollout(seller, train_seeds(seed, n), policy_seed=seed):
        yield replace(episode, metadata={"epsilon": EPSILON})


def main() -> None:
    """Write, append, read, damage."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mediocre.jsonl"
        print(f"wrote {write_log(path, mediocre_episodes(seed=0, n=100))} conversations")
        print(f"added {write_log(path, mediocre_episodes(seed=1, n=20), append=True)}")

        log = read_log(path)
        print(f"read {log.report.n}: {dict(log.report.outcomes)}")
        sale = next(episode for episode in log.episodes if episode.converted)
        print(f"\nA sale by the {sale.policy} seller, {dict(sale.metadata)}:")
        print(render(sale.messages()))

        # As if the program that wrote it had been stopped in the middle of the last line.
        path.write_bytes(path.read_bytes()[:-50])
        report = validate_log(path)
        (problem,) = report.problems
        print(f"\ncut off: {report.n} are whole; line {problem.line}: {problem.message}")


if __name__ == "__main__":
    main()
