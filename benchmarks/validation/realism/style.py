"""How a customer speaks: length, questions, lexical diversity, repetition.

**Lexical diversity** is the share of different words among k words that are drawn from all that
was said, in the mean over all draws: for a word that was said f times among N words, the chance to
be among k is 1 - C(N - f, k) / C(N, k) (Hurlbert 1971, Ecology 52, 577-586; with k = 42 it is HD-D
of McCarthy and Jarvis 2007, Language Testing 24, 459-488). It does not depend on how much was said,
and has no order. MTLD and MATTR need running text: replies are of half a dozen words and
conversations of some forty, so that their windows would span conversations, whose order is
arbitrary. As every such measure depends on the k chosen (Bestgen 2023,
arXiv 2307.04626), there are two, 42 and 500.

**Repetition** is the share of the 25 commonest replies, with what fills slots left out
(``convgym.shop.templates``). It falls with the number of replies, so that two speakers are compared
on equally many.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
from scipy.sparse import csr_array
from scipy.special import gammaln

from convgym.benchmarks.validation.realism.bootstrap import (
    bootstrap,
    mean_of,
    share_of,
    within,
)
from convgym.benchmarks.validation.realism.figures import (
    Figure,
    all_beside,
    beside,
    figure,
    not_measured,
)
from convgym.conversation import Episode
from convgym.shop.catalog import Catalog
from convgym.shop.templates import mask
from convgym.statistics import Array, Estimate

Clusters = Sequence[Sequence[Episode]]
"""Conversations that belong together, those of one customer."""

DIVERSITY = (42, 500)
"""How many words are drawn: those of HD-D, and about as many as ten conversations have."""

COMMONEST = 25

_WORD = re.compile(r"\w+(?:['\u2019]\w+)*")

REPETITION = f"share of the {COMMONEST} commonest replies"


def words(text: str) -> list[str]:
    """Return the words of a text, in any script that parts them by blanks, and its numbers."""
    return [word.casefold() for word in _WORD.findall(text)]


def replies(episodes: Iterable[Episode]) -> list[str]:
    """Return what customers said, openings included, silence left out."""
    said = chain.from_iterable(
        (episode.opening, *(turn.reply for turn in episode.turns)) for episode in episodes
    )
    return [text for text in said if text.strip()]


def expected_kinds(counts: Array, k: int) -> Array:
    """Return how many kinds k draws without replacement have in the mean, (R,) of counts (R, V).

    Hurlbert's rarefaction: the sum over kinds of 1 - C(N - f, k) / C(N, k); nan where N < k.
    """
    f = np.asarray(counts, float)
    n = f.sum(-1, keepdims=True)
    rest = n - f
    with np.errstate(invalid="ignore"):
        logs = gammaln(rest + 1) - gammaln(rest - k + 1) - gammaln(n + 1) + gammaln(n - k + 1)
        missed = np.where(rest >= k, np.exp(logs), 0.0)
    kinds = np.where(f > 0, 1 - missed, 0.0).sum(-1)
    return np.asarray(np.where(n[..., 0] >= k, kinds, np.nan))


def count_table(clusters: Iterable[Iterable[str]]) -> csr_array:
    """Return how often (N, V) each of V kinds comes in each of N clusters."""
    kinds: dict[str, int] = {}
    rows, columns, values = [], [], []
    size = 0
    for row, things in enumerate(clusters):
        size = row + 1
        for thing, count in Counter(things).items():
            rows.append(row)
            columns.append(kinds.setdefault(thing, len(kinds)))
            values.append(float(count))
    return csr_array((values, (rows, columns)), shape=(size, len(kinds)))


def diversity(table: csr_array, k: int) -> Estimate:
    """Return the share of different words among k, of words by cluster (N, V)."""

    def statistic(weights: Array) -> Array:
        return np.asarray(expected_kinds(weights @ table, k) / k)

    return within(bootstrap(statistic, table.shape[0]))


def top_share(counts: Array, most: int = COMMONEST) -> Array:
    """Return which share (R,) the commonest kinds have in counts (R, V)."""
    counts = np.asarray(counts, float)
    first = max(0, counts.shape[-1] - most)
    top = np.partition(counts, first, axis=-1)[..., first:] if first else counts
    total = counts.sum(-1)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(total > 0, top.sum(-1) / total, np.nan))


def repetition(table: csr_array) -> Estimate:
    """Return the share of the commonest replies, of templates by cluster (N, V)."""

    def statistic(weights: Array) -> Array:
        return top_share(weights @ table)

    return within(bootstrap(statistic, table.shape[0]))


def repetition_among(table: csr_array, total: int, draws: int = 200) -> Estimate:
    """Return the share of the commonest among ``total`` replies, of clusters drawn at random.

    The share is the mean over draws of whole clusters, the last one making it ``total`` or a little
    more; the interval is that of clusters drawn with replacement.
    """
    sizes = np.asarray(table.sum(1)).ravel()
    rng = np.random.default_rng(total)

    def thin(given: Array) -> Array:
        drawn = rng.permutation(np.repeat(np.arange(len(sizes)), given.astype(int)))
        upto = int(np.searchsorted(np.cumsum(sizes[drawn]), total)) + 1
        return np.bincount(drawn[:upto], minlength=len(sizes)).astype(float)

    def statistic(weights: Array) -> Array:
        return top_share(np.stack([thin(given) for given in weights]) @ table)

    value = float(np.nanmean(statistic(np.ones((draws, len(sizes))))))
    spread = bootstrap(statistic, len(sizes))
    moved = value - spread.value
    return within(Estimate(value, spread.low + moved, spread.high + moved))


def _measured(clusters: Clusters, catalog: Catalog) -> list[Figure]:
    said = [replies(cluster) for cluster in clusters]
    said = [texts for texts in said if texts]
    lengths = [[len(words(text)) for text in texts] for texts in said]
    numbers, n = [len(texts) for texts in said], sum(map(len, said))
    asked = [sum("?" in text or "\uff1f" in text for text in texts) for texts in said]
    turns = [[len(episode.turns) for episode in cluster] for cluster in clusters]
    talks = [len(cluster) for cluster in clusters]
    table = count_table(chain.from_iterable(map(words, texts)) for texts in said)
    total = int(table.sum())
    figures = [
        figure("words a reply", mean_of([*map(sum, lengths)], numbers), n, "replies", "words"),
        figure("turns a conversation", mean_of([*map(sum, turns)], talks), sum(talks),
               "conversations", "turns"),
        figure("replies with a question", share_of(asked, numbers), n, "replies"),
    ]  # fmt: skip
    for k in DIVERSITY:
        name = f"different words among {k}"
        if total < k:
            figures.append(not_measured(name, f"only {total:,} words were said"))
        else:
            figures.append(figure(name, diversity(table, k), total, "words"))
    return [*figures, figure(REPETITION, repetition(templates(clusters, catalog)), n, "replies")]


def templates(clusters: Clusters, catalog: Catalog) -> csr_array:
    """Return how often each cluster used each template; clusters without words are left out."""
    said = (replies(cluster) for cluster in clusters)
    return count_table(
        [mask(text, catalog).casefold() for text in texts] for texts in said if texts
    )


def style(clusters: Clusters, catalog: Catalog, reference: Clusters | None) -> tuple[Figure, ...]:
    """Return the figures of style, with a reference's beside them if there is one.

    Args:
        clusters: the customer's conversations.
        catalog: its shop, whose names and phrases fill slots.
        reference: people's conversations.
    """
    own = _measured(clusters, catalog)
    if reference is None:
        return tuple(own)
    *figures, plain = all_beside(own, _measured(reference, catalog))
    return (*figures, replace(plain, distance=None), _equally_many(clusters, reference, catalog))


def _equally_many(clusters: Clusters, reference: Clusters, catalog: Catalog) -> Figure:
    """Return repetition beside the reference's, of equally many replies."""
    tables = [templates(each, catalog) for each in (clusters, reference)]
    total = int(min(table.sum() for table in tables))
    if not total:
        return not_measured(REPETITION, "one of the two says nothing")
    name = f"{REPETITION}, of {total:,}"
    mine, theirs = (figure(name, repetition_among(t, total), total, "replies") for t in tables)
    return beside(mine, theirs)
