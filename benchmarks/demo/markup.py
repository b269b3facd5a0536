"""What is shown as HTML: every text that somebody wrote is escaped, and nothing else is a tag."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from convgym.benchmarks.demo.house import View
from convgym.benchmarks.talks.advice import Advice
from convgym.benchmarks.talks.scene import Scene
from convgym.conversation import Message, Outcome

_ENDINGS: dict[Outcome, tuple[str, str]] = {
    "purchase": ("Sold!", "sale"),
    "walk_away": ("No sale: the customer left.", "loss"),
    "turn_limit": ("No sale: time is up.", "loss"),
    "infrastructure_failure": ("Broken off.", "failure"),
    "seller_failure": ("Broken off.", "failure"),
}


def status(view: View | None, scene: Scene) -> str:
    """Return the line above a conversation: goal, shop and how many turns are left."""
    turn = view.turn if view else 0
    shop = scene.catalog.name.replace("_", " ")
    return (
        '<div class="cg-status">'
        f"<span><b>Goal</b> {escape(scene.goal)}</span>"
        f"<span><b>Shop</b> {escape(shop)}</span>"
        + (f"<span><b>Customer</b> {view.seed}</span>" if view else "")
        + f'<span class="cg-turns"><b>Turn</b> {turn} of {scene.max_turns}'
        f'<progress max="{scene.max_turns}" value="{turn}" aria-hidden="true"></progress>'
        "</span></div>"
    )


def transcript(view: View | None, label: str) -> str:
    """Return a conversation, oldest words first, and how it ended.

    The attribute ``data-news`` is what a screen reader is to say of it now.
    """
    if view is None:
        return (
            f'<div class="cg-talk cg-empty" role="group" aria-label="{escape(label)}">'
            "<p><b>Nobody is in the shop yet.</b><br>Meet a customer: the same seed brings the"
            " same one again.</p></div>"
        )
    values = iter(view.values)
    items = "".join(
        _bubble(message, view, next(values, None) if message["role"] == "assistant" else None)
        for message in view.messages
    )
    waits = (
        '<li class="cg-waits" aria-hidden="true"><i></i><i></i><i></i></li>'
        if view.waits_for
        else ""
    )
    return (
        f'<div class="cg-talk" tabindex="0" role="group" aria-label="{escape(label)}"'
        f' data-news="{escape(_news(view))}"><ol>{items}{waits}</ol></div>{ending(view)}'
    )


def _bubble(message: Message, view: View, q: float | None) -> str:
    is_seller = message["role"] == "assistant"
    side, who = ("seller", view.seller) if is_seller else ("customer", "Customer")
    words = escape(message["content"]) or "<em>says nothing</em>"
    chip = "" if q is None else f'<span class="cg-q" title="{_Q_TITLE}">Q {q:.0%}</span>'
    return (
        f'<li class="cg-{side}"><span class="cg-who">{escape(who)}{chip}</span><p>{words}</p></li>'
    )


_Q_TITLE = "how likely a purchase is in the end, by the learned Q"


def _news(view: View) -> str:
    if view.waits_for or not view.messages:
        return ""
    ended = "" if view.outcome is None else f"{_ENDINGS[view.outcome][0]} {_why(view)}"
    if view.seller != "You":  # two at a time: only how they ended
        return f"{view.seller}: {ended}" if ended else ""
    return f"Customer: {view.messages[-1]['content']} {ended}".strip()


def _why(view: View) -> str:
    return _sentence(view.facts[0][1]) if view.facts else ""


def heading(view: View) -> str:
    """Return who sells in a conversation, to which customer, and how far it is."""
    return (
        f'<h3 class="cg-heading">{escape(view.seller)} <small>customer {view.seed}, turn'
        f" {view.turn} of {view.max_turns}</small></h3>"
    )


def ending(view: View) -> str:
    """Return how a conversation ended, and what nobody knew before; nothing while it goes on."""
    if view.outcome is None:
        return ""
    title, kind = _ENDINGS[view.outcome]
    listed = "".join(
        f"<dt>{escape(label)}</dt><dd>{escape(told)}</dd>" for label, told in view.facts[1:]
    )
    behind = f"<h4>What the customer kept to itself</h4><dl>{listed}</dl>" if listed else ""
    return (
        f'<div class="cg-end cg-{kind}" role="group" aria-label="How it ended"><h3>{title}</h3>'
        f"<p>{escape(_why(view))}</p>{behind}</div>"
    )


def no_advice(has_q: bool) -> str:
    """Return what stands where advice will be."""
    rated = ", rated by the learned Q" if has_q else ""
    return (
        '<p class="cg-hint">Stuck? Ask for advice: you see what other sellers would say'
        f"{rated}, beside your own words if you have written some.</p>"
    )


def advice(offers: Sequence[Advice], has_q: bool) -> str:
    """Return what could be said now, the best first where there is a Q."""
    if not offers:
        return '<p class="cg-hint">Nobody has any advice to give just now.</p>'
    ranked = sorted(offers, key=lambda offer: -(offer.q or 0.0)) if has_q else offers
    items = "".join(_offer(offer) for offer in ranked)
    about = (
        "The bar is the learned Q: how likely a purchase is in the end if that is said."
        if has_q
        else "No learned Q is served with this page, so words come without a rating."
    )
    return f'<ul class="cg-advice">{items}</ul><p class="cg-hint">{about}</p>'


def _offer(offer: Advice) -> str:
    words, who = escape(offer.words), escape(offer.who)
    bar = ""
    if offer.q is not None:
        bar = (
            f'<span class="cg-bar" aria-hidden="true"><span style="width:{offer.q:.1%}"></span>'
            f'</span><span class="cg-value">{offer.q:.0%}</span>'
        )
    use = (
        ""
        if offer.who == "you"
        else f'<button type="button" class="cg-use" data-words="{words}"'
        f' aria-label="Use these words: {words}">Use</button>'
    )
    return (
        f'<li><div class="cg-rated"><span class="cg-who">{who}</span>{bar}</div>'
        f'<div class="cg-words"><q>{words}</q>{use}</div></li>'
    )


def catalogue(scene: Scene) -> str:
    """Return what there is to sell, as a list, and what else a seller knows."""
    head, *lines = scene.briefing.split("\n")
    products = [line.removeprefix("- ") for line in lines if line.startswith("- ")]
    others = [line for line in lines if not line.startswith("- ")]
    items = ""
    for product in products:
        name, colon, told = product.partition(": ")
        items += f"<li><b>{escape(name)}</b>{colon}{escape(told)}</li>"
    more = "".join(f"<p>{escape(line)}</p>" for line in others if line)
    return (
        '<div class="cg-shelf" tabindex="0" role="region" aria-label="What you sell">'
        f'<p>{escape(head)}</p><ul class="cg-products">{items}</ul>{more}</div>'
    )


def notice(text: str) -> str:
    """Return a sentence for the visitor that a screen reader says at once; none for no text."""
    return f'<p class="cg-notice" role="alert">{escape(_sentence(text))}</p>' if text else ""


def _sentence(text: str) -> str:
    whole = text[:1].upper() + text[1:]
    return whole if whole.endswith((".", "!", "?")) else f"{whole}."
