"""What a language model only thought, told from what it says: one place for both sides.

Reasoning models write their thoughts before, and sometimes between, their words. Thoughts are
nobody's answer: no customer hears a seller's, and no purchase is made by a customer who only
considered it. Recognised are

- tags of any name that speaks of thinking: ``<think>``, ``<thinking>``, ``<reasoning>``,
  ``<seed:think>``, ``<|START_THINKING|>``, ``<|begin_of_thought|>``, ``[THINK]``, ``◁think▷``,
  ``<details type="reasoning">``, a fenced block of the kind ``thinking``, also escaped as HTML or
  JSON, and in other brackets (``【think】``, ``{think}``) where they are closed;
- the channels of Harmony (``<|channel|>analysis<|message|>``), of which only ``final`` is said,
  also where a tokenizer has dropped the marks (``analysisWe need ...assistantfinalHello.``);
- prefaces without tags: ``Here is my thought process: ... Here is my response:``,
  ``Thinking... done thinking.``, and ``**Reasoning:** ...`` before a line ``**Answer:** ...``.

A closing mark without an opening one ends thoughts that began in the prompt; an opening one
without a closing one begins thoughts that were cut off, and all that follows is thought.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from convgym.conversation import clean, without_invisible


class Stripped(NamedTuple):
    """What a model says, and what it thought besides ("" where there is no mark of thinking)."""

    text: str
    reasoning: str


_Parts = tuple[str, list[str]]
"""What is said, and the thoughts that were found."""

# Without one of these a text holds no mark, which is quickly seen.
_HINTS = (
    "<",
    "[",
    "◁",
    "```",
    "&lt;",
    "&#",
    "\uff1c",
    "~~~",
    *("/think", "/Think", "/THINK", "/thought", "/Thought", "/THOUGHT"),
    *("/reasoning", "/Reasoning", "/REASONING"),
    "\\u003",
    "analysis",
    "commentary",
    "assistantfinal",
    "rocess:",
    *("hinking...", "hinking…", "HINKING...", "HINKING…"),
)

_NAME = (
    r"(?:(?:(?:my|inner|internal|hidden|private)\ )?[\w:▁-]{0,24}?"
    r"(?:think|thought|reasoning|reflection|reflexion|rationale|scratch[_-]?pad|monologue"
    r"|deliberat|ponder|brainstorm|planning|seed:cot)[\w:▁-]{0,48}"
    r"|reason|reflect|analysis|cot|chain[\ _-]of[\ _-]thought)"
)
_BAR = r"[|\uff5c]"
_LESS = r"(?:[<\uff1c]|&(?:lt|\#0*60|\#x0*3c);|\\u003c)"
_GREATER = r"(?:[>\uff1e]|&(?:gt|\#0*62|\#x0*3e);|\\u003e)"
_OPEN, _CLOSE = r"[\[〈《【«\u2039⟨{(]", r"[\]〉》】»\u203a⟩})]"
"""Brackets that have other uses too."""
_MARK = re.compile(
    rf"""{_LESS}\s{{0,4}}(?P<close_tag>\\?[/\uff0f]|\\)?\s{{0,4}}(?P<tag>{_NAME})
        (?:\s[^<>]{{0,200}}?)?(?P<empty>/)?\s{{0,4}}{_GREATER}
      | <{_BAR}(?P<close_token>/)?(?P<token>{_NAME}){_BAR}>
      | (?P<response><{_BAR}(?:start_response|begin_of_(?:solution|response|answer)){_BAR}>)
      | ◁(?P<close_triangle>/)?{_NAME}▷
      | <\|channel>\s*(?:thought|thinking|analysis)\b | (?P<close_channel><channel\|>)
      | <unused94> | (?P<close_unused><unused95>)
      | (?P<square>{_OPEN}(?P<close_square>/)?(?:think|thinking|thought|thoughts|reasoning){_CLOSE})
    """,
    re.I | re.X,
)
_CLOSINGS = (
    *("close_tag", "close_token", "close_triangle", "close_channel", "close_square"),
    "close_unused",
)
_CLOSES_BRACKETS = re.compile(rf"{_OPEN}/")
_ENDS = re.compile(r"(?:^|[_:▁-])end(?:$|[_:▁-])", re.I)
"""In names such as ``end_of_thought`` and ``think_end``."""
_WRAPPERS = re.compile(
    r"</?(?:answer|response|output|final_answer)>|\[/?(?:RESPONSE|ANSWER)\]"
    rf"|<{_BAR}(?:end_response|end_of_(?:solution|response|answer)|end_of_turn_token){_BAR}>",
    re.I,
)
_DETAILS = re.compile(
    r"<details\b(?:[^>]{0,200}\btype=[\"']?reasoning\b[^>]{0,200}>"
    r"|[^>]{0,200}>\s{0,9}<summary>[^<]{0,60}(?:think|thought|reasoning)[^<]{0,60}</summary>)"
    r"(.*?)(?:</details>|\Z)",
    re.S | re.I,
)
_FENCES = re.compile(
    r"(`{3,9}|~{3,9})[ ]?(?:think|thought|reason)\w{0,20}[ ]*\n(.*?)(?:\1|\Z)", re.S | re.I
)
_PREFACES = re.compile(
    r"\A\W{0,8}(?:here(?:['’]s| is) (?:my|a|the) (?:thought|thinking|reasoning) process:(.*?)"
    r"(?:here(?:['’]s| is) (?:my|the)(?: final)? (?:response|answer|reply):|\Z)"
    r"|thinking(?:\.\.\.|…)\s*\n(.*?)\n(?:\.\.\.|…)\s*done thinking\.)",
    re.S | re.I,
)
_HEADED = re.compile(
    r"\A\W{0,8}(?:thinking|thoughts?|reasoning|analysis)(?: process)?[*_]{0,3}(?::|\s*\n)(.*?)"
    r"\n[#*_ ]{0,6}(?:(?:final )?(?:answer|output)|final (?:response|reply))"
    r"[*_]{0,3}(?::[*_]{0,3}|[ ]*\n)",
    re.S | re.I,
)
_DECIDED = re.compile(r"^\W{0,6}(?:decision|action)\W{0,6}[:=]", re.M | re.I)
"""Fields of an answer that was asked for: then thoughts are one of them, and no preface."""
_HARMONY = re.compile(r"<\|(start|channel|constrain|message|end|return|call)\|>")
_UNMARKED_CHANNEL = re.compile(r"\s*analysis(?=[A-Z])")
_UNMARKED_FINAL = "assistantfinal"
_SPACED_CHANNELS = re.compile(
    r"\s*(?:assistant\s{0,3})?(?:analysis|commentary)\s(.*)\bassistant\s{0,3}final\b(.*)", re.S
)


def strip_reasoning(text: str) -> Stripped:
    """Return what a model's text says and what it only thought; text without marks is unchanged."""
    if not _hinted(text):
        return Stripped(text, "")
    given = text
    text = without_invisible(text)  # a mark may be parted by what nobody sees
    said, thoughts = text, list[str]()
    for split in (_channels, _unmarked_channels, _blocks, _prefaces, _marks):
        said, split_off = split(said)
        thoughts += split_off
    if said == text:
        return Stripped(given, "")
    reasoning = "\n".join(thought.strip() for thought in thoughts if thought.strip())
    return Stripped(_WRAPPERS.sub("", said).strip(), reasoning)


def heard(utterance: str) -> str:
    """Return what the other side hears of an utterance: without thoughts, cleaned, in one line."""
    text = clean(strip_reasoning(utterance).text)
    # What was cut or taken out may have stood inside a mark.
    while _hinted(text) and (again := clean(strip_reasoning(text).text)) != text:
        text = again
    return text


def _hinted(text: str) -> bool:
    return any(hint in text for hint in _HINTS) or ("\n" in text and bool(_HEADED.match(text)))


def _marks(text: str) -> _Parts:
    """Split at the tags of thinking."""
    said: list[str] = []
    thoughts: list[str] = []
    thinking, at, closed = False, 0, bool(_CLOSES_BRACKETS.search(text))
    for mark in _MARK.finditer(text):
        square = mark["square"]
        if square and not (closed or (square[0] == "[" and square.isupper())):
            continue  # a stage direction, such as "[thinking]", which nobody closes
        (thoughts if thinking else said).append(text[at : mark.start()])
        at = mark.end()
        if _closes(mark):
            if not thinking:  # it began in the prompt
                thoughts += said
                said = []
            thinking = False
        else:
            thinking = not mark["empty"]  # an empty one within thoughts is meant to close them
    (thoughts if thinking else said).append(text[at:])
    return " ".join(said) if thoughts or at else text, thoughts


def _closes(mark: re.Match[str]) -> bool:
    named_end = _ENDS.search(mark["tag"] or mark["token"] or "")
    return bool(named_end or mark["response"] or any(mark[name] for name in _CLOSINGS))


def _channels(text: str) -> _Parts:
    """Split Harmony's messages by channel: those of the channel ``final``, or none, are said."""
    if "<|channel|>" not in text and "<|message|>" not in text:
        return text, []
    before, *pieces = _HARMONY.split(text)
    pairs = list(zip(pieces[::2], pieces[1::2], strict=True))
    said: list[str] = []
    thoughts: list[str] = []
    channel = ""
    if pairs and pairs[0][0] == "message":  # the rest of the mark stood in the prompt
        channel = before.strip()
    else:
        thoughts.append(before)
    for mark, piece in pairs:
        if mark == "channel":
            channel = (piece.split() or ["cut off"])[0]
        elif mark == "message":
            (said if channel.lower() in ("", "final") else thoughts).append(piece)
        elif mark != "constrain":
            channel = ""
    return " ".join(said), thoughts


def _unmarked_channels(text: str) -> _Parts:
    """Split Harmony's messages whose marks were dropped in decoding."""
    if spaced := _SPACED_CHANNELS.fullmatch(text):
        return spaced[2], [spaced[1]]
    before, final, after = text.rpartition(_UNMARKED_FINAL)
    if final:
        return after, [_UNMARKED_CHANNEL.sub("", before, count=1)]
    match = _UNMARKED_CHANNEL.match(text)
    return ("", [text[match.end() :]]) if match else (text, [])


def _blocks(text: str) -> _Parts:
    """Take out folded details and fenced blocks of thoughts."""
    thoughts = _DETAILS.findall(text)
    text = _DETAILS.sub(" ", text)
    thoughts += [fence[2] for fence in _FENCES.finditer(text)]
    return _FENCES.sub(" ", text), thoughts


def _prefaces(text: str) -> _Parts:
    match = _PREFACES.match(text)
    if match:
        return text[match.end() :], [match[1] or match[2] or ""]
    headed = _HEADED.match(text)
    return (
        (text[headed.end() :], [headed[1]])
        if headed and not _DECIDED.search(headed[1])
        else (text, [])
    )
