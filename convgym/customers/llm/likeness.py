"""Whether two wordings of a customer's line say the same: by words, strict, and quick.

A chat model that rewords a scripted line may drop the budget, turn a no into a yes or slip into the
seller's role. So the two are compared, and they say the same only if they agree in

1. **facts**: numbers, products, needs and features, by the catalogue's own vocabulary
   (``convgym.customers.scripted.understanding``);
2. **acts**: what the line does (``ACTS``): accept, take leave, like, worry, complain and so on, and
   whether it denies something;
3. **what sellers hear**: the reference sellers (``convgym.sellers.scripted``) note the same need,
feature,
   budget, worry and refusal;

and if the wording is about as short, sells nothing itself and does not talk about the task. All
this looks at words, not at grammar: it turns down many a good paraphrase, and one that swaps the
meaning with the very same words passes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from types import MappingProxyType

from convgym.conversation import Message
from convgym.customers.scripted.understanding import Understanding
from convgym.customers.scripted.wording import FRAGMENTS, PHRASES
from convgym.sellers.knowledge import Notes, SellerKnowledge
from convgym.shop.catalog import Catalog
from convgym.shop.language import tokens

_CONTRACTIONS = (
    (r"\b(?:can't|cannot)\b", "cannot"),
    (r"\bwon't\b", "will not"),
    (r"\bshan't\b", "shall not"),
    (r"(\w)n't\b", r"\1 not"),
    (r"\blet's\b", "let us"),
    (r"\bi'm\b", "I am"),
    (r"\b(it|that|this|there|what|how|where|who|here)'s\b", r"\1 is"),
    (r"(\w)'ll\b", r"\1 will"),
    (r"(\w)'ve\b", r"\1 have"),
    (r"(\w)'re\b", r"\1 are"),
)

_NEGATIONS = frozenset("no not never nothing none nobody cannot hardly neither nor without".split())

_BROKEN = frozenset({"Cc", "Cn", "Co", "Cs"})
"""Categories of characters that no text has: controls, undefined, private, half."""
# First bytes of letters in UTF-8, read as Latin-1 or Windows-1252, and what can follow them there.
_MOJIBAKE = re.compile(
    "[\u00c2\u00c3][\u0080-\u00bf\u20ac\u2122]|\u00e2\u20ac|\u00e2[\u0080-\u009f]|\u00f0\u0178"
)

_ME = frozenset("i me my mine myself i'd i'm i'll i've".split())
_YOU = frozenset("you your yours yourself you're you'll you've".split())

# What shoppers say anyhow, beside the words that the customer understands.
_OWN_WORDS = frozenset(
    tokens(" ".join(" ".join(phrases) for phrases in (*PHRASES.values(), *FRAGMENTS.values())))
    + "alright helpful honestly hmm perfect roughly rather sold sound terrific".split()
)
_MOST_EXTRA_WORDS = 12

ACTS: Mapping[str, str] = MappingProxyType(
    {
        # What ends a conversation.
        "accept": r"^(yes|yeah|sure|deal|sold|absolutely|definitely|certainly|of course|gladly)\b"
        r"|\b(it is a|it's a) deal\b|\bsold\b|\bno problem\b"
        r"|\b(will|let me|let us|going to|happy to|ready to|like to|want to)"
        r" (\w+ ){0,2}(take|taking|buy|buying|order|purchase|get|getting|do)"
        r"( (it|this|that|one|the \w+)\b|$)",
        "leave": r"\b(good ?bye|bye|farewell|leaving|(have|need) to go|must go|off now|elsewhere"
        r"|somewhere else|other (shop|store)|see you)\b",
        # How an offer or an answer is taken.
        "like": r"(?<!any )\bgood\b(?! (morning|afternoon|evening|day))"
        r"|\b(sounds|i|quite|really) like\b"
        r"|\b(great|love|perfect|nice|fine|glad|settle[sd]|helps|helpful|excellent|wonderful"
        r"|relieved|reassuring|promising|tempting)\b",
        "unfit": r"\b(suits?|fits?|right for|after|convinces?|(want|need) that|for me"
        r"|looking for)\b",
        "cost": r"\b(budget|pay|afford|expensive|pricey|money|price|steep)\b",
        "worry": r"\b(concerns?|concerned|worry|worries|worried|bothers?|bothering|mind|doubts?)\b",
        "unready": r"\b(yet|ready|sure|later|convinced|decided?|still)\b",
        "beside": r"\b(question|point|matters?|asked about|wondering|my issue)\b",
        # Complaints.
        "again": r"\b(told|already|before|again|repeat\w*|i said|asking|twice)\b",
        "unclear": r"\b(understand|mean|follow|sense|unclear|pardon)\b",
        "much": r"\b(too much|at once|one thing|slow down|long speech|a speech|long-winded)\b",
        "push": r"\b(push\w*|rush\w*|pressure|hurry)\b",
        "label": r"\blabel\b",
        "looking": r"\b(just|only) (looking|having a look|browsing)\b",
        "silence": r"\b(hello|are you there|anybody|anyone there)\b.*\?",
        "pointless": r"\b(helps? me|here for|so about|back to)\b",
        "unshown": r"\b(buy what|shown|showed|show me|what exactly)\b",
        "unknown": r"\b(how do you know|hardly know|how would you know|barely know)\b",
    }
)
"""Acts of customers, and the words that give them away, contractions written out."""

_SELLING = re.compile(
    r"\b(how (can|may) i (help|assist)|welcome to|i recommend|we (have|offer|sell)|our (shop|store"
    r"|products?|laptops?)|would you like|are you looking|can i (help|show|offer)|your budget"
    r"|let me (show|help)|i can (offer|help|assist)|special offer|dear customer"
    r"|(glad|happy|pleased) (to (help|hear|assist|know that you)|you|i could)|here to help"
    r"|(sorry|regret) (to|for|about|i|but)|thank you for)\b",
    re.I,
)
_TASK = re.compile(
    r"\b(rephras\w*|reword\w*|paraphras\w*|rewrit\w*|template|instructions?|as an ai"
    r"|language model|the customer|other words|here is|here are|original line|sentence|my line"
    r"|a word|confusion|misunderstanding|inconvenience|ai)\b",
    re.I,
)


def written_out(text: str) -> str:
    """Return ``text`` with "don't" as "do not" and so on, as the scripted customer speaks."""
    text = text.replace("\u2019", "'")
    for short, long in _CONTRACTIONS:
        text = re.sub(short, long, text, flags=re.I)
    return text


def is_broken(text: str) -> bool:
    """Tell whether a text holds half characters, ones that nobody has defined, or mojibake.

    Models that write bytes leave replacement characters where an answer was cut inside a letter;
    servers that mix up encodings make "donâ€™t" of "don’t".
    """
    if text.isascii() and text.isprintable():
        return False
    if "\ufffd" in text or any(unicodedata.category(letter) in _BROKEN for letter in text):
        return True
    return bool(_MOJIBAKE.search(text))


def _stutters(text: str) -> bool:
    """Tell whether a word, or two in a row, come again at once or nearly so."""
    words = tokens(text)
    pairs = list(pairwise(words))
    return len(set(pairs)) < len(pairs) or any(a == b for a, b in pairs)


class Likeness:
    """Compares wordings in one shop."""

    def __init__(self, catalog: Catalog) -> None:
        understanding = Understanding(catalog)
        self._understand, self._lexicon = understanding.understand, understanding.lexicon
        self._item = set(tokens(catalog.item))
        self._shop = SellerKnowledge(catalog)
        # Objections are heard only once a product is on the table.
        self._offer: Message = {"role": "assistant", "content": catalog.products[0].name}
        # The script says the same lines, and uses the same words, again and again.
        self.facts = lru_cache(maxsize=8192)(self._facts)
        self._noted = lru_cache(maxsize=8192)(self._note)
        self._carries = lru_cache(maxsize=8192)(self._tells)

    def difference(self, template: str, wording: str) -> str | None:
        """Return in which respect ``wording`` does not say what ``template`` says, None if it does.

        The answer is one of "empty", "unchanged", "length", "task", "stutter", "question",
        "person", "selling", "numbers", "products", "needs", "features", "item", "negation",
        "hearing", "strange", or the name of an act.
        """
        if not tokens(wording):
            return "empty"
        if is_broken(wording):
            return "strange"
        if tokens(wording) == tokens(template):
            return "unchanged"
        if len(wording.split()) > 2 * len(template.split()) + _MOST_EXTRA_WORDS:
            return "length"
        if _TASK.search(wording):
            return "task"
        if _stutters(wording):
            return "stutter"
        if "?" in template and "?" not in wording:
            return "question"
        if self._turned(template, wording):
            return "person"
        if _SELLING.search(wording) or self._sells(template, wording):
            return "selling"
        said, meant = self.facts(wording), self.facts(template)
        for respect in meant:
            # A product need not be named again, and what the shop sells only if the line says so.
            extra, lost = said[respect] - meant[respect], meant[respect] - said[respect]
            if (extra and respect != "item") or (lost and respect != "products"):
                return respect
        acts = self.acts(wording) ^ self.acts(template)
        if acts:
            return min(acts, key=list(ACTS).index)
        if self._noted(wording) != self._noted(template):
            return "hearing"
        return "strange" if self._strays(template, wording) else None

    def _facts(self, text: str) -> dict[str, frozenset[str]]:
        """Return the numbers, products, needs, features, item and negation in a text."""
        words = tokens(text)
        union = 0
        for token in words:
            union |= self._lexicon.concepts(token) or 0
        return {
            "numbers": frozenset(token for token in words if token[0].isdigit()),
            "products": self._labels(union, "product:"),
            "needs": self._labels(union, "need:"),
            "features": self._labels(union, "feature:"),
            "item": frozenset(self._item & set(words)),
            "negation": frozenset(["negated"] if _NEGATIONS & set(words) else []),
        }

    def _labels(self, union: int, prefix: str) -> frozenset[str]:
        return frozenset(self._lexicon.labels(union, prefix) if union else ())

    def acts(self, text: str) -> frozenset[str]:
        """Return which ``ACTS`` a text does."""
        words = re.findall(r"[\w'?-]+", written_out(text).lower())
        acts = {act for act, pattern in _COMPILED.items() if pattern.search(" ".join(words))}
        if not _NEGATIONS & set(words):
            acts -= {"unfit", "beside"}
        if any(word.isdigit() for word in words):  # a budget, not a complaint
            acts -= {"cost"}
        if "accept" in acts:
            acts -= {"like"}
        return frozenset(acts)

    def kept(self, template: str) -> list[str]:
        """Return the words of ``template`` that carry what is compared, to tell the model."""
        words = [word.strip(".,;:!?") for word in template.split()]
        return [word for word in dict.fromkeys(words) if word and self._carries(word)]

    def _tells(self, word: str) -> bool:
        notes = self._note(word)
        return any(self._facts(word).values()) or notes.refused or notes.worry is not None

    def _sells(self, template: str, wording: str) -> bool:
        said, meant = self._understand(wording), self._understand(template)
        asks = set(said.asks) - set(meant.asks) - {"open"}
        asks_you = asks and "?" in wording and _YOU & set(tokens(wording))
        return bool(asks_you or set(said.answers) - set(meant.answers))

    def _turned(self, template: str, wording: str) -> bool:
        """Tell whether a statement of the customer's has become one about the seller."""
        said, meant = set(tokens(wording)), set(tokens(template))
        about_you = bool(said & _YOU) and "?" not in wording and not meant & _YOU
        return about_you or (bool(said & _ME) < bool(meant & _ME) and bool(said & _YOU))

    def _strays(self, template: str, wording: str) -> bool:
        """Tell whether more than a fifth of the words are neither the line's nor the shop's."""
        known, said = {*tokens(template), *_OWN_WORDS}, tokens(wording)
        odd = [w for w in said if w not in known and self._lexicon.concepts(w) is None]
        return len(odd) > max(1, len(said) / 5)

    def _note(self, text: str) -> Notes:
        return self._shop.note([self._offer, {"role": "user", "content": text}])


_COMPILED = {act: re.compile(words) for act, words in ACTS.items()}

likeness = lru_cache(maxsize=8)(Likeness)
"""The ``Likeness`` of a catalogue, made once."""
