"""What offline agents learn from: a log that somebody wrote, or one of the mediocre seller."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from convgym.agents.training.collector import Collector
from convgym.conversation import Episode
from convgym.customers import customer_law
from convgym.errors import ConvgymError
from convgym.progress import ProgressCallback, no_progress
from convgym.sellers import make_seller
from convgym.shop.catalog import Catalog


def read_or_write_log(
    collector: Collector, epsilon: float, progress: ProgressCallback = no_progress
) -> list[Episode]:
    """Return the collector's log, failed conversations included.

    Args:
        collector: whose log is read. Without one the mediocre scripted seller of its shop writes
            it with the whole budget, a deployment.
        epsilon: share of random acts of that seller.
        progress: told the conversations that are held.

    Raises:
        ConvgymError: for a log that must not or cannot be learned from.
    """
    shop: str | Path | Catalog = collector.environment.get("catalog") or "laptops"
    seller = make_seller("mediocre", shop, customer_law(collector.environment), epsilon=epsilon)
    return collector.logged(seller, progress=progress)


def refuse_one_sided(episodes: Sequence[Episode], name: str) -> None:
    """Raise ConvgymError unless some conversations sold and others did not.

    Args:
        episodes: a log; conversations that failed count for neither.
        name: of the agent, which learns from the difference.
    """
    valid = [episode for episode in episodes if episode.valid]
    sales = sum(episode.converted for episode in valid)
    if sales in (0, len(valid)):
        ended = "none that sold" if sales == 0 else "none that did not sell"
        raise ConvgymError(
            f"{name} learns from how conversations that sold differ from those that did not, and"
            f" of {len(valid)} in the log there are {ended}: use a larger log, or bc, which"
            " imitates any"
        )
