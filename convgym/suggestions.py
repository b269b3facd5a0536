"""What became of suggestions, read off an episode's metadata (``convgym.customers.suggested``)."""

from __future__ import annotations

from convgym.conversation import Episode


def count_accepted(episode: Episode) -> tuple[int, int]:
    """Return how many suggestions were sent verbatim or edited, and how many there were.

    Abstentions are no suggestions. Both are 0 if the episode's metadata hold none.
    """
    kinds = [row["kind"] for row in episode.metadata.get("suggestions", ())]
    return (
        kinds.count("verbatim") + kinds.count("edited"),
        len(kinds) - kinds.count("abstained"),
    )
