"""The numbers in a seller's words: prices, what is taken off them, and days of delivery.

A number is the product's price if it has the shop's currency before it, money's name behind it, a
word such as "costs" before it, or, where a product is named, "for" or "only", and no unit behind
it. What another shop asks, what the shopper has, savings, instalments and fees are no prices of it.

A time is one of delivery if the clause speaks of delivering, or is nothing but that time: "the
weather is nice today", "two days ago" and "a two year warranty" promise nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from convgym.shop.catalog import Catalog
from convgym.shop.language import numbers

RIVALS = re.compile(
    r"\b(?:rivals?|competit\w+|elsewhere|across the (?:street|road)|internet|online|amazon|"
    r"(?:other|another|next|different|any) (?:shops?|stores?|sellers?|dealers?|places?|"
    r"providers?))\b"
)
"""Who else sells: what is said of them is nothing that is said of a product here."""
_PARTS = re.compile(r"(?<=[,:]) | - | \u2014 |\u2014| \u2013 | while | whereas ")
_OTHERS = re.compile(
    rf"{RIVALS.pattern}|\bthey\b|\btheirs?\b|\bbudgets?\b|\blimit\b|\bspend|\bafford|\bin mind|"
    r"\brange\b|\bceiling\b|\byou(?:'ve| have|'d)? (?:said|told|mentioned|named|wanted?|asked|"
    r"gave)|"
    r"\b(?:you|to) (?:want|would like|are willing|are ready|plan) to pay|\binstal|\bfinanc|"
    r"\b(?:trade.?in|voucher|gift card|accessor\w+)\b"
)
"""Whose number it is that is not the product's price."""
_FEE = (
    r"(?:deposit|down payment|fees?|shipping|postage|delivery|saves?|saving|saved|leaves?|keeps?|"
    r"by|another|extra|additional)"
)
_BEFORE = re.compile(rf"\b{_FEE}(?: (?:is|are|of|costs?|you|up to|about|only|just))* ?\W?$")
_DIFFERENCE = (
    r"(?! ?(?:dollars?|bucks|euros?|pounds?)? ?(?:less\b|more\b|under\b|below\b|above\b|over\b|"
    r"cheaper|off\b|extra\b|left\b|short\b|within\b|lower|higher|deposit|down\b|discount|rebate|"
    r"fee\b|upfront|voucher|saved|worth))"
)
_UNIT = (
    r"(?! ?(?:%|percent|(?:business |working )?(?:day|week|month|year|hour|minute)s?\b|stars?\b|"
    r"times\b|gb\b|gigabytes?\b|inch|out of))"
)
_ENDED = (
    r"(?=\s*(?:$|[.,;:!?)]|(?:an?|per|each|for|and|or|with|in|including|if|today|now|only|instead|"
    r"this|as|altogether|total|all|flat|net|right|here|yearly|monthly)\b))"
)
_NUMBER = r"(\d+)(?![\d%])"
_STRONG = r"\b(?:costs?|prices?|priced|pay|price tag)(?: (?:is|of|at|just|only|you|about|around))*"
_WEAK = r"\b(?:for|at|only|just|is|to)"
_MONTHLY = re.compile(r" ?(?:a|per|each|every|/) ?month| monthly")

_SHARE = r"(?<![\d.,])(-? ?\d+(?:[.,]\d+)?) ?(?:%|percent)"
_SAVING = (
    r"(?:off\b|discount|rebate|reduction|deduct|price cut|cheaper|less(?! \w)|"
    r"less (?:for|than the))"
)
_SHARE_OFF = re.compile(
    rf"{_SHARE}(?: \w+){{0,2}}? {_SAVING}|"
    rf"(?:discount|reduc|rebate|lower|knock|deduct|cut|drop|take|price|come down|bargain)"
    rf"\w*\b[^.?!%]{{0,30}}?{_SHARE}(?! (?:more|less|light|fast|larg|big|long|bright|of\b))|"
    r"(?<![\w])(-\d+(?:[.,]\d+)?) ?(?:%|percent)"
)
_HALF = re.compile(r"\bhalf(?: the)? price|\bhalf off|\bhalf of (?:the|its) price")
_FREE = re.compile(
    r"\b(?:it|this|that|one|yours|product|PRODUCT)(?:'s| is| comes)?"
    r"(?: (?:\w+ly|for|all|now|yours|today|even))* free\b"
    r"(?! (?:deliver|shipping|return|of (?:delivery|shipping|\w+ charges)|from|to\b|with))|"
    r"\b(?:costs?|pay|for) (?:you )?nothing\b|\bfree of charge\b(?! deliver)|\bas a (?:gift|"
    r"present)\b|"
    r"\b(?:give|get|have|take|keep) (?:it|this|that|one|PRODUCT)(?: to you| all)? for free\b"
)
_FREE_EXTRAS = re.compile(
    r"deliver|shipping|ship\b|return|warrant|refund|courier|express|accessor|cancel"
)
_AMOUNT_OFF = re.compile(
    r"(\d+) (?:(?:dollars?|bucks|euros?|pounds?|\w+) )?"
    r"(?:off\b|discount|rebate|reduction|less\b(?! than (?!before|the (?:label|sticker|list)|"
    r"usual|normal)))|"
    r"(?:discount|rebate|reduction) of \W?(\d+)(?! ?(?:%|percent))|"
    r"(?:down|lower\w*|reduc\w*|cut|drop|knock\w*|take) (?:\w+ ){0,3}(?:by|off) \W?(\d+)(?! ?(?:%|"
    r"percent))"
)
_LOWERED = re.compile(
    r"down to|special price|reduc|lower|cheaper|instead of|let you have|let it go|make it|can do"
)
_SUM = re.compile(
    r"(?<![\w.,])\d+(?![\d.,]* ?-?(?:(?:business|working) )?"
    r"(?:%|(?:days?|weeks?|hours?|months?|years?|minutes?|percent|gb|inch|kg)\b))"
)
"""A number that can be one of money."""
_DENIED = re.compile(r"\b(?:not|no|never|don't|cannot|can't|won't|without)\b")
_VAGUE = 0.05
"""What "a discount" is taken for when no number is said."""


@dataclass(frozen=True, slots=True)
class Concession:
    """What is taken off a price: a ``share`` of it, an ``amount``, or what a price tells."""

    share: float | None = None
    amount: int | None = None


def concession(clauses: Sequence[str]) -> Concession | None:
    """Return what is taken off, None if nothing is; a share can be impossible."""
    for clause in clauses:
        if _FREE.search(clause) and not (_FREE_EXTRAS.search(clause) or _DENIED.search(clause)):
            return Concession(1.0)
        if _DENIED.search(clause):
            continue
        if share := _SHARE_OFF.search(clause):
            said = (share[1] or share[2] or share[3]).replace(",", ".").replace(" ", "")
            return Concession(float(said[:9]) / 100)
        if _HALF.search(clause):
            return Concession(0.5)
        off = _AMOUNT_OFF.search(clause)
        if off and not _OTHERS.search(clause[off.end() :]):
            return Concession(None, int((off[1] or off[2] or off[3])[:9]))
        if re.search(r"\bdiscount", clause):
            return Concession(_VAGUE)
        if _LOWERED.search(clause) and _SUM.search(clause):
            return Concession()
    return None


class Prices:
    """Finds the prices in the words of one shop."""

    def __init__(self, catalog: Catalog) -> None:
        money = re.escape(catalog.currency)
        self._with_sign = (
            rf"{money} ?{_NUMBER}{_DIFFERENCE}{_UNIT}|"
            rf"\b{_NUMBER}{_DIFFERENCE} ?(?:dollars?|bucks|euros?|pounds?)\b|{_STRONG} {_NUMBER}\b"
            rf"{_DIFFERENCE}{_UNIT}"
        )
        self._plain = re.compile(self._with_sign)
        self._of_named = re.compile(rf"{self._with_sign}|{_WEAK} {_NUMBER}\b{_UNIT}{_ENDED}")
        self._by_month = "month" in catalog.items
        self._smallest = min(product.price for product in catalog.products) / 2

    def find(self, clause: str, named: bool) -> tuple[int, ...]:
        """Return the prices in a clause in digits; ``named``: it names a product."""
        if not any(map(str.isdigit, clause)):
            return ()
        pattern = self._of_named if named else self._plain
        prices: list[int] = []
        for part in _PARTS.split(clause):
            for match in pattern.finditer(part):
                number = next(filter(None, match.groups()))
                if self._is_price(part, match):
                    prices += numbers([number])
        return tuple(price for price in prices if price >= self._smallest)

    def _is_price(self, part: str, match: re.Match[str]) -> bool:
        if _OTHERS.search(part) or _BEFORE.search(part[: match.start()]):
            return False
        return self._by_month or _MONTHLY.match(part, match.end()) is None


Days = tuple[int, int]
"""The least and the most days that words stand for: "in 6 days" are five or six."""

_TIME = re.compile(
    r"\b(?P<bare>today|the same day|tonight|overnight|tomorrow|the next day|"
    r"the day after tomorrow)\b|"
    r"\b(?P<low>\d{1,3}|an?)(?:(?: to | or | ?- ?| ?\u2013 ?)(?P<high>\d{1,3}))?[ -]"
    r"(?:(?:business|working|full|short|more) )?(?P<unit>day|week|hour|month)s?\b"
)
_AT_ONCE = {"today": 0, "tonight": 0, "the same day": 0, "the day after tomorrow": 2}
_ROUGHLY = re.compile(
    r"\b(?:about|around|roughly|approximately|circa|maybe|some|nearly|almost)\W*$"
)
_AT_MOST = re.compile(
    r"\b(?:within|at most|max|maximum|maximum of|up to|more than|longer than|less than|under|"
    r"over)\W*$"
)
_AT_MOST_BEHIND = re.compile(r" (?:at most|at the (?:latest|most)|or (?:less|sooner|faster)|max)")
_NO_DELIVERY = re.compile(
    r"\b(?:for|lasts?|every|past|previous|order|buy|decide|ordered|bought|open|closed|here|each|"
    r"not|doesn't|won't|isn't|instead of|\d)(?: \w+){0,2} ?$"
)
_NO_DELIVERY_BEHIND = re.compile(
    r"[ -](?:ago|old|return|refund|money|trial|warrant|guarantee|of\b|a week|a day|per\b|each|"
    r"in a row|"
    r"battery|notice|money|cooling)"
)
_DELIVERING = re.compile(
    r"deliver|\bship|\barriv|\bcomes?\b(?! with)|\bcoming\b|\bsen[dt]\b|\bdispatch|express|courier|"
    r"\b(?:get|have|hold|receive|collect|use|expect) (?:it|this|that|one|yours?)\b|"
    r"\bthere (?:in|within|by|after)\b|\bwith you\b|\b(?:your|the) door|\bbe (?:here|yours|"
    r"at your|in your)|\btakes?\b|"
    r"\bwait\b|\bstarts?\b|\bbegins?\b|\bactivat|\bready\b|\byours\b"
)
_SENDING = re.compile(r"\b(?:ship(?:s|ped)?|sends?|sent|dispatch\w*|hand\w* over|leaves?)\b[^,]*$")
_ALONE = re.compile(
    r"\W*(?:(?:yes|sure|well|okay|ok|oh|so|then|and|it is|it's|that is|that's|that would be|"
    r"it would be|"
    r"it will be|just|only|about|around|roughly|maybe|at most|max|maximum|in|within|by|after|up to|"
    r"less than|no more than|not more than|under|exactly|the|a|quick|hm|sorry|unfortunately|"
    r"i'm afraid|approximately|good question|gladly|already|answer)\b\W*)*$"
)
_EXPRESS = re.compile(r"express|courier|priority|faster delivery|rush")


@dataclass(frozen=True, slots=True)
class Delivery:
    """A time of delivery; ``express`` is the quick one, ``alone`` said without a word of it."""

    days: Days
    express: bool
    alone: bool


def deliveries(clause: str) -> Iterator[Delivery]:
    """Yield the times of delivery in a clause in digits."""
    express = _EXPRESS.search(clause) is not None
    for match in _TIME.finditer(clause):
        before, behind = clause[: match.start()], clause[match.end() :]
        if _NO_DELIVERY_BEHIND.match(behind) or _NO_DELIVERY.search(_without_bounds(before)):
            continue
        alone = _ALONE.match(before) is not None and len(behind.split()) <= 4
        if not (alone or _DELIVERING.search(clause)):
            continue
        if match["bare"]:
            # What is sent today has not arrived.
            if _SENDING.search(before) or (not alone and not _near(clause, match)):
                continue
            days = _AT_ONCE.get(match["bare"], 1)
            yield Delivery((max(0, days - 1), days), express, alone)
        else:
            yield Delivery(_span(match, before, behind), express, alone)


def _without_bounds(before: str) -> str:
    return re.sub(r"\b(?:no|not) (?:more|longer|later) than\W*$", "", before)


def _near(clause: str, match: re.Match[str]) -> bool:
    """Tell whether a word of delivery stands near "today" or "tomorrow"."""
    around = clause[: match.start()].split()[-6:] + clause[match.end() :].split()[:6]
    return _DELIVERING.search(" ".join(around)) is not None


def _span(match: re.Match[str], before: str, behind: str) -> Days:
    unit = match["unit"]
    factor = {"hour": 1 / 24, "week": 7, "month": 30}.get(unit, 1)
    low = 1 if match["low"][0] == "a" else int(match["low"])
    high = int(match["high"] or low)
    if _AT_MOST.search(before) or _AT_MOST_BEHIND.match(behind):
        return 0, int(high * factor)
    loose = int(unit in ("week", "month") or _ROUGHLY.search(before) is not None)
    least = int(low * factor) - (0 if match["high"] else 1)
    return max(0, least), int(high * factor) + loose
