"""What is asked, offered and answered in everyday words: idioms that the words one by one hide."""

from __future__ import annotations

import re
from dataclasses import replace

from convgym.customers.scripted.understanding import SENTENCE, Meaning
from convgym.shop.language import tokens

_YES = frozenset("yes yeah yep sure indeed certainly absolutely definitely".split())
_NO = frozenset("no nope not".split())
_REGRET = frozenset("sorry unfortunately sadly".split())
_NEGATIVE = re.compile(
    r"\b(?:not|no|none|never|doesn't|hasn't|isn't|don't|haven't|can't|cannot|without|lacks?|"
    r"missing)\b"
)
_IT = r"(?:it|that|this one|the \w+)"
_AFFIRMING = re.compile(
    rf"{_IT} (?:does|has|is|comes with|includes)(?: (?:indeed|too|that|it|included))*$"
)
_DENYING = re.compile(
    rf"(?:i'm afraid |i am afraid |sadly )?(?:that )?(?:{_IT} )?"
    r"(?:(?:does |has |is )?not|doesn't|hasn't|isn't|lacks)(?: (?:have|include|included|that|it))*$"
)
"""Answers without a yes or a no: "It does.", "I'm afraid it does not have that."."""
_ASKING = re.compile(
    r"(?:so|and|now|well|okay|thank you[^.]*,)?,? ?(?:wh|how|is|are|do|does|could|can|tell)"
)
DENIED = re.compile(r"\b(?:not|no|never|don't|cannot|without)\b")
_WILLING = (
    r"(?:shall|should|may|can|could|would|want|like|ready|let us|let's|happy|care|wish|do we|is it|"
    r"are we)"
)
_ENDING = (
    r"(?:go ahead|go for it|go through with|have a deal|a deal\b|shake on|seal|"
    r"settle (?:it|this|on)|sign|ring it up|ring up|wrap it|wrap up|pack it|pack up|"
    r"get (?:it|one|this) ready|get you (?:it|one|this)|set (?:it|one) aside|"
    r"put (?:it|one) aside|put you down|proceed|finali[sz]e|complete (?:the|your|this)|"
    r"make it yours|take it home|have it\b|take (?:it|this|that|one)\b|till\b|counter\b|"
    r"checkout|do it\b|decide (?:for|on) it|commit|book it|secure it)"
)
_CLOSING = re.compile(
    rf"\b{_WILLING}\b[^.?!]{{0,40}}\b{_ENDING}[^.?!]*\?|"
    r"^\W*(?:so|well|and|okay|then|now)?\W*(?:(?:do|would|will|don't|"
    r"won't) you )?(?:you )?(?:still )?"
    r"(?:want|take|taking|buy|buying|keep|fancy|like to have) (?:it|this|that|one)(?: one)?"
    r"(?: (?:then|now|home|today|for that))?\W*\?|"
    r"^\W*(?:so|well|and|okay|then)?\W*(?:is it |have we |do we have )?(?:an? )?"
    r"(?:deal|sold|agreed|yes or no|will you|shall we|shall i|are you in|are we on)(?: then)?\W*\?"
)
"""Ways to ask for the order that name no buying: "Shall we shake on it?", "Want it?"."""
_AGAIN = re.compile(
    r"\b(?:say|repeat|tell me|explain) (?:that|it|this|yourself)?\b ?(?:once more|(?:once )?again|"
    r"one more time)\b|\b(?:could|can|would|will|please) (?:you )?(?:please )?repeat\b|"
    r"come again\b|"
    r"^\W*(?:pardon|sorry|excuse me|i beg your pardon|what|beg your pardon)(?: me)?\W*\?|"
    r"\bwhat (?:did you (?:just )?say|was that|do you mean)\b|(?:did not|didn't) (?:quite )?"
    r"(?:catch|get|hear|understand) (?:that|you|it)\b"
)
"""Ways to ask for the last words once more."""
_QUESTIONS = tuple(
    (topic, re.compile("|".join(ways)))
    for topic, ways in (
        (
            "concern",
            (
                r"hesitat|hold(?:ing)? (?:you )?back|in the way|on your mind|stop(?:s|ping)? you",
                r"bother|keep(?:s|ing)? you from|unsure|second thoughts|not quite right|missing",
                r"why not|puts? you off|uncertain|reservation|obstacle|what do you think",
                r"\bis (?:it|this|that) (?:(?:just|only|about|because of|really|perhaps|maybe) )*"
                r"(?:the|your|too|a matter of|a question of)\b",
                r"^\W*(?:is it |still )?too (?:expensive|dear|much|slow|late|pricey)\b",
                r"what(?:'s| is| would be) (?:wrong|the (?:matter|problem|trouble|catch|issue|"
                r"snag))",
                r"speaks against|what would it take|convince you|worr(?:y|ies)|still need to know",
                r"is there (?:a|any) (?:problem|issue|reason)|not happy|what else do you need",
                r"how (?:do you like|does (?:it|that|this) sound)|do you like (?:it|that|this)",
                r"^\W*(?:but )?why\W*\?",
            ),
        ),
        (
            "budget",
            (
                r"how much|what price|price range|spend|afford|comfortable pay|budget|most you",
                r"upper limit|cost you|want to pay|set aside for|figure|how high|ceiling",
                r"(?:would|could|can|will|do) you pay|expensive may|cost at most|may it cost",
                r"lay out|how deep|stretch to|what (?:sum|amount)|your price",
            ),
        ),
        (
            "feature",
            (
                r"must.?have|(?:do|live|be|go) without|deal.?breaker|essential|matter|priorit",
                r"look(?:ing)? for in|care (?:most )?about|particular|above all|first of all",
                r"can't miss|key thing|value most|wish list|decisive|what counts|non.?negotiable",
                r"insist on|should it (?:have|be able)|must it have|comes? first|the one thing",
                r"miss (?:the )?most|top of your list|makes? or breaks?|a must\b",
            ),
        ),
        (
            "need",
            (
                r"what for|be for|us(?:e|ed|ing) (?:it|the|this|that|them)|used for|do with it",
                r"in mind for|purpose|occasion|who is it for|plans? for|activities",
                r"what brings you|tell me (?:more )?about",
                r"(?:what|who|which \w+)(?:'s| is| are| was)? (?:it|this|that|one|the \w+|a \w+)"
                r"(?: \w+)? for\b",
                r"(?:what|how|where) (?:are you going|will you|would you|do you (?:want|plan|"
                r"intend))"
                r"\b.*\b(?:with|it|use|do)\b|who will (?:use|ride|have)|how will it be used",
            ),
        ),
    )
)
"""Ways to ask, by topic; the first that fits. A guess at what stands in the way asks what does."""


def affirms(text: str) -> bool | None:
    """Return the yes or the no of the first sentence that begins with one, or is one."""
    for sentence in SENTENCE.findall(text):
        words = tokens(sentence)
        first = next(iter(words), "")
        if "?" in sentence:
            continue
        if first in _YES or first in _NO:
            return first in _YES
        said = " ".join(words)
        if first in _REGRET and (len(words) == 1 or _NEGATIVE.search(said)):
            return False
        if _AFFIRMING.match(said) or _DENYING.match(said):
            return _DENYING.match(said) is None
    return None


def with_idioms(meaning: Meaning, text: str) -> tuple[Meaning, bool]:
    """Add what idioms say: offers to buy, and questions; tell whether it asks to say it again."""
    asks, closes, again = list(meaning.asks), meaning.closes, False
    for sentence in SENTENCE.findall(text.lower()):
        asks_something = "?" in sentence or _ASKING.match(sentence.strip())
        if not meaning.products and _AGAIN.search(sentence):
            again = True
        elif not closes and _CLOSING.search(sentence) and not DENIED.search(sentence):
            closes = True
        elif asks_something and not meaning.products and not (_plain(meaning) or closes):
            asks += [ask for ask, idiom in _QUESTIONS if idiom.search(sentence)][:1]
    # "Whenever you are ready to order" asks for nothing else.
    if again or (closes and not meaning.closes):
        asks = []
    if closes == meaning.closes and tuple(asks) == meaning.asks:
        return meaning, again
    told = tuple(ask for ask in dict.fromkeys(asks) if ask != "open" or len(asks) == 1)
    return replace(meaning, closes=closes, asks=told, courtesy=False), again


def _plain(meaning: Meaning) -> bool:
    """Tell whether the words one by one say what is asked, better than "do you want ...?"."""
    return bool(meaning.closes or set(meaning.asks) - {"open"})
