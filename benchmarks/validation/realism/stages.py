"""How near to buying a customer's words are, read by one instrument for everybody.

Five stages, in the order of a purchase. arXiv 2606.20708 compares how deep into a purchase real and
simulated customers are; its states were read by a language model, ours are read by patterns, so
that reading needs no model, is the same everywhere, and can be checked. Words alone are read, never
the hidden state nor the decision: a log of people has neither.

Replies in another language than English are not read (``is_read``): patterns would call all of them
neutral.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import IntEnum

from convgym.conversation import Episode


class Stage(IntEnum):
    """What a customer's words do; the number is how near they are to buying."""

    LEAVES = 0
    RESISTS = 1
    OPEN = 2
    DELIBERATES = 3
    COMMITS = 4


NAMES = {
    Stage.LEAVES: "take leave",
    Stage.RESISTS: "resist",
    Stage.OPEN: "neither for nor against",
    Stage.DELIBERATES: "deliberate",
    Stage.COMMITS: "commit",
}


def _any(*ways: str) -> re.Pattern[str]:
    return re.compile("|".join(ways), re.IGNORECASE)


_IT = r"(?:it|this|that|one|them|both|these|those|the \w+)"

_COMMITS = _any(
    r"\b(?:i|we)(?:'ll| will|'d like to| would like to|'m going to| am going to| want to)"
    rf" (?:take|buy|order|purchase|have|get) {_IT}",
    r"\b(?:let me|i'll just|happy to|gladly) (?:take|buy|order|purchase)\b",
    r"^(?:\w+\W+){0,2}i take |\bi take (?:it|them|this|that)\b|\bwrap it up\b|\btake my money\b",
    r"\b(?:deal|sold|agreed|bought|ordered|ordering)\b|\border (?:it|them|both|now)\b",
    r"\bconvinced me\b|\bi am convinced\b|\blet us do it\b|\blet's do it\b",
    r"^\W*(?:yes|yeah|yep|sure|ok(?:ay)?|perfect)\W*(?:please|go ahead|do it|of course)?\W*$",
)
_LEAVES = _any(
    r"\b(?:good ?bye|bye|farewell|see you|so long|have a nice day)\b",
    r"\b(?:look|try|go|buy|shop)\w* (?:somewhere else|elsewhere|at another shop)\b",
    r"\b(?:have to|must|need to|better) (?:go|leave|be (?:going|off))\b",
    r"\bwaste of (?:my )?time\b|\bnever ?mind\b|\bforget it\b",
)
_DENIED = (
    "interested|convince[sd]?|sure|certain|ready|right|suits?|want|need|like|buy|pay|afford"
    "|believe|trust|yet|today|now|worth|for me|after|asked?|answer(?:ed)?|what|much|matter|bother"
    "|help|point|worry|question|problem|heard|in mind|before|listen"
)
_RESISTS = _any(
    # A no, and what is denied.
    r"^\W*no\b(?!\W+(?:worries|doubts?|concerns?|problems?|nothing))|\bno,? thank|\bsaid no\b",
    r"\b(?:still|means) no\b|\bno then\b|\? *(?:still )?no\b",
    rf"(?:\b(?:not|never|no|cannot|nothing|nobody)\b|n't\b).{{0,25}}\b(?:{_DENIED})\b",
    # The price.
    r"\b(?:too|rather|quite|a bit|very|so) (?:expensive|dear|pricey|much|steep|costly|long|late)\b",
    r"\bexpensive\b|\ba lot of money\b|\bfor less\b|\bless money\b|\bover my budget\b|\bmore off\b",
    r"\bmore than i\b|\bbeyond what\b|\bout of my\b|\babove my\b|\bhardly anything\b|\bouch\b",
    r"\b(?:the price|it) (?:is the trouble|worries|bothers)\b|\bputs? me off\b",
    # Doubts, and what is put off.
    r"\bdoubt\b|\bconcern\b|\bhesitat|\bi (?:worry|fear|am afraid)\b|\b(?:let me down|failed me)\b",
    r"\b(?:keeps|holding|holds) me\b|\bsomething (?:bothers|is holding)|\bme cold\b",
    r"\bhardly know\b",
    r"\b(?:later|another time|some other time)\b|\bjust (?:looking|asking|browsing)\b",
    r"\bonly (?:having a look|looking|here to look)\b|\bhaving a look\b|\blook around\b",
    # Complaints.
    r"\bstop (?:asking|pushing|it)\b|\b(?:push|rush|hurry) me\b|\b(?:pushed|rushed|hurried)\b",
    r"\b(?:you said that|repeating yourself|told you|the first time)\b|\bnot ask for\b",
    r"\basked (?:you )?(?:that|me|something)\b|\b(?:same|that) again\b|\bonce again\b",
    r"\b(?:miss(?:es|ing)?|was not) (?:the|my) point\b|\b(?:my question|dodging)\b",
    r"\bthe (?:label|leaflet|sign)\b|\byour sign\b|\b(?:fooling|stories|lies?)\b",
    r"\btoo (?:much|many)\b|\bone thing at a time\b|\bslow down\b",
)
_DELIBERATES = _any(
    r"\b(?:sounds|looks|seems) (?:good|right|fine|promising|fair|better|like|great|perfect)\b",
    r"\b(?:i|quite) (?:quite )?(?:like|love|prefer)\b|\bliked the\b|\bworth a thought\b",
    r"\bcould (?:well )?be (?:it|the one|mine)\b|\bmight do\b|\bmore like it\b|\bi am listening\b",
    r"\b(?:think|sleep) (?:again|about it|it over|on it)\b|\bi do(?:n't| not) know\b",
    r"\b(?:that|this) (?:helps|settles|answers|makes it clear|is (?:better|a relief|closer))\b",
    r"\b(?:good|glad) to (?:know|hear)\b|\b(?:fair|good|better|decent) price\b|\bwe can talk\b",
    r"\b(?:interesting|promising|not bad|getting (?:somewhere|closer))\b",
    r"\b(?:is|much|was|it) better\b|^(?:much )?better\b|\bcompared?\b|\bdifference\b",
    r"\bi would (?:rather|sooner|be happier|not think twice|say yes)\b",
    r"\b(?:takes care|taken care|settled|worry less|live with|is fine now)\b",
    r"\btell me\b|\bwhat about (?!the\b)|\bhow about\b|\babout the price\b",
)
_OF_THE_OFFER = _any(
    r"\b(?:it|its|that|this|the|price|costs?|deliver\w*|ship\w*|arrive|warranty|discount|come)\b",
    r"\b(?:included?|includes|have|has|get|room|off|less|days?|when|soon|long|which|why|how)\b",
    r"\b(?:what if|is|are|does|any|happy|take|accept)\b",
)
_OF_THE_TALK = _any(
    r"\bwhat do you mean\b|\bare you (?:still )?(?:there|listening)\b|\banybody\b|\bhello\?",
    r"\bpardon\b|\bexcuse me\b|\bsorry\b|\bbuy what\b|\bto buy\?|\b(?:right|wrong) shop\b",
    r"\bam i in\b|\bthis morning\b|\b(?:not see how|how that helps|helps me|can you help)\b",
    r"\b(?:about|do with|me to) the \w+\?",
)


def stage_of(text: str) -> Stage:
    """Return the stage of one reply, by its words; what no pattern knows is neutral.

    Of several, the purchase counts before the leave, the leave before the refusal, and that before
    interest: "No, that sounds good but it is too dear" resists.
    """
    text = text.replace("\u2019", "'")
    resists = _RESISTS.search(text) is not None
    if _COMMITS.search(text) and not resists:
        return Stage.COMMITS
    if _LEAVES.search(text):
        return Stage.LEAVES
    if resists:
        return Stage.RESISTS
    if _DELIBERATES.search(text):
        return Stage.DELIBERATES
    if "?" in text and not _OF_THE_TALK.search(text) and _OF_THE_OFFER.search(text):
        return Stage.DELIBERATES
    return Stage.OPEN


_COMMON = frozenset(
    "the a an is are am i you it for of to and in on my your do does have has with not that this"
    " we what which can will be me at from just please hi hello thanks yes no ok".split()
)
_WORD = re.compile(r"[^\W\d_]+")

ENGLISH = 0.2
"""Share of common English words from which on a conversation is read; in English prose it is
about a half, in other languages next to nothing."""


def is_read(episode: Episode) -> bool:
    """Tell whether a conversation is in English, as far as both sides' commonest words show."""
    said = _WORD.findall(" ".join(m["content"] for m in episode.messages()).casefold())
    return bool(said) and sum(word in _COMMON for word in said) >= ENGLISH * len(said)


def stages(episode: Episode) -> list[Stage]:
    """Return the stage of each reply in which something was said."""
    return [stage_of(turn.reply) for turn in episode.turns if turn.reply.strip()]


def read_only(episodes: Sequence[Episode]) -> list[Episode]:
    """Return those conversations that are in English."""
    return [episode for episode in episodes if is_read(episode)]
