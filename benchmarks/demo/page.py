"""The page: what stands where, and what a click does. All that visitors do is in ``house``."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from convgym.benchmarks.demo import markup
from convgym.benchmarks.demo.house import House, Refusal, View, Visit, another_seed
from convgym.benchmarks.terminal import say
from convgym.conversation import MAX_UTTERANCE_CHARS
from convgym.errors import ConvgymError, InfrastructureError

_FOLDER = Path(__file__).parent
_BROKEN = "The customer or the seller is out of order: this counts neither as a sale nor as a loss."
_AT_ONCE = 16
"""Events of one kind that are under way at once: slow customers keep nobody else waiting."""
_WAITING = 200
"""Events that may wait for that, all visitors together."""
_HOURS = 6
"""Hours after which a conversation in which nothing happens is forgotten."""

_YOU, _ADVICE = "Your conversation", "Ask for advice"


def make_page(gradio: Any, house: House, *, seed: int, curve: str = "") -> Any:
    """Return the page as ``gradio.Blocks``.

    Args:
        gradio: the library.
        house: what visitors come to.
        seed: of the first customer.
        curve: the learning curve to show, as HTML; empty for none.
    """
    with gradio.Blocks(title="convgym: sell to a customer", analytics_enabled=False) as page:
        _html(gradio, f"{_text('head.html')}", "cg-head")
        with gradio.Tabs():
            with gradio.Tab("Sell", id="sell"):
                _sell(gradio, house, seed)
            with gradio.Tab("Watch", id="watch"):
                _watch(gradio, house, seed)
            if curve:
                with gradio.Tab("Learning curve", id="curve"):
                    _html(gradio, curve, "cg-curves")
    page.queue(default_concurrency_limit=_AT_ONCE, max_size=_WAITING, api_open=False)
    return page


def looks(gradio: Any) -> dict[str, Any]:
    """Return theme, styles and script of the page: nothing of them comes from elsewhere."""
    fonts = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
    theme = gradio.themes.Base(
        primary_hue="teal",
        neutral_hue="slate",
        font=fonts,
        font_mono=("ui-monospace", "monospace"),
        radius_size="lg",
    ).set(
        # Contrasts of at least 4.5 to 1, in daylight and in the dark.
        color_accent="*primary_700",
        body_background_fill="*neutral_50",
        block_title_text_color="*neutral_700",
        block_title_text_weight="600",
        input_background_fill="white",
        input_border_width="1px",
        input_border_color="*neutral_400",
        input_border_color_dark="*neutral_500",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        button_large_text_size="*text_md",
        button_large_text_weight="600",
        button_border_width="1px",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
        button_primary_text_color="white",
        button_secondary_background_fill="white",
        button_secondary_background_fill_hover="*neutral_100",
        button_secondary_border_color="*neutral_400",
        button_secondary_text_color="*neutral_800",
    )
    return {
        "theme": theme,
        "css": _text("page.css"),
        "head": f"<script>{_text('page.js')}</script>",
    }


def _text(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _html(gradio: Any, content: str, name: str) -> Any:
    return gradio.HTML(content, elem_id=name, js_on_load=None, apply_default_css=False)


class _Acts:
    """What a visitor who sells does, as new contents of the page.

    Args:
        house: where.
        kept: stands for a content that stays as it is.
    """

    def __init__(self, house: House, kept: Any) -> None:
        self._house, self._kept = house, kept
        self._hint = markup.no_advice(house.adviser.has_q)

    def begin(self, seed: object) -> tuple[Any, ...]:
        """Return visit, status, conversation, notice and advice with a new customer."""
        visit = self._house.meet(seed)
        return (visit, *self._shown(self._house.show(visit)), "", self._hint)

    def draw(self) -> tuple[Any, ...]:
        """Return a seed that was drawn, and the same."""
        seed = another_seed()
        return (seed, *self.begin(seed))

    def speak(self, visit: Visit | None, words: str) -> Iterator[tuple[Any, ...]]:
        """Yield status, conversation, notice, advice, and what stands on the line to write on."""
        try:
            for view in self._house.say(visit, words):
                # Once the words are out; what is written while the customer thinks stays.
                left = "" if view.waits_for else self._kept
                yield (*self._shown(view), "", self._hint, left)
        except Exception as error:
            if visit is None or isinstance(error, Refusal):
                raise
            # What was to be said is in the page already: it shows how the conversation stands.
            told = markup.notice(_sentence(error))
            yield (*self._shown(self._house.show(visit)), told, self._hint, self._kept)

    def advise(self, visit: Visit | None, words: str) -> tuple[str, str]:
        """Return advice and notice."""
        offers = self._house.advise(visit, words)
        return markup.advice(offers, self._house.adviser.has_q), ""

    def _shown(self, view: View) -> tuple[str, str]:
        return markup.status(view, self._house.scene), markup.transcript(view, _YOU)


def _sell(gradio: Any, house: House, seed: int) -> None:
    visit = gradio.State(
        None, time_to_live=_HOURS * 3600, delete_callback=lambda visit: visit and visit.close()
    )
    with gradio.Row(elem_classes="cg-bar-row"):
        number = _seed(gradio, seed, "cg-sell-seed")
        meet = gradio.Button(
            "Meet this customer", variant="primary", min_width=150, elem_id="cg-meet"
        )
        other = gradio.Button("Another customer", min_width=150, elem_id="cg-other")
    with gradio.Row(equal_height=False):
        with gradio.Column(scale=3, min_width=320):
            status = _html(gradio, markup.status(None, house.scene), "cg-status")
            talk = _html(gradio, markup.transcript(None, _YOU), "cg-sell-talk")
            notice = _html(gradio, "", "cg-sell-notice")
            words = gradio.Textbox(
                label="What you say to the customer",
                placeholder="What will you use it for?",
                max_length=MAX_UTTERANCE_CHARS,
                lines=1,
                max_lines=4,
                elem_id="cg-words",
            )
            with gradio.Row():
                send = gradio.Button("Say it", variant="primary", elem_id="cg-send")
                ask = gradio.Button(_ADVICE, elem_id="cg-ask")
        with gradio.Column(scale=2, min_width=300):
            advice = _html(gradio, markup.no_advice(house.adviser.has_q), "cg-advice")
            with gradio.Accordion("What you sell", open=True):
                _html(gradio, markup.catalogue(house.scene), "cg-catalogue")
    shown = [visit, status, talk, notice, advice]
    acts = _Acts(house, gradio.skip())
    says = {"inputs": [visit, words], "outputs": [status, talk, notice, advice, words]}
    gradio.on([words.submit, send.click], _told(gradio, acts.speak, 5, 2), **says, **_quiet())
    meet.click(_told(gradio, acts.begin, 5, 3), [number], shown, **_quiet())
    other.click(_told(gradio, acts.draw, 6, 4), None, [number, *shown], **_quiet())
    ask.click(_told(gradio, acts.advise, 2, 1), [visit, words], [advice, notice], **_quiet())


def _watch(gradio: Any, house: House, seed: int) -> None:
    labels = house.cast.labels
    with gradio.Row(elem_classes="cg-bar-row"):
        first = _choice(gradio, "First seller", labels, house.cast.first, "cg-first")
        second = _choice(gradio, "Second seller", labels, house.cast.second, "cg-second")
        number = _seed(gradio, seed, "cg-watch-seed")
        start = gradio.Button("Let both sell", variant="primary", min_width=150, elem_id="cg-start")
        other = gradio.Button("Another customer", min_width=150, elem_id="cg-start-other")
    notice = _html(gradio, "", "cg-watch-notice")
    with gradio.Row(equal_height=False):
        talks = []
        for place in ("first", "second"):
            with gradio.Column(min_width=300):
                talks.append(_html(gradio, "", f"cg-{place}-talk"))

    def watch(left: str, right: str, wanted: object) -> Iterator[tuple[str, ...]]:
        for views in house.watch((left, right), wanted):
            yield (*(_column(view) for view in views), "")

    def draw(left: str, right: str) -> Iterator[tuple[Any, ...]]:
        drawn = another_seed()
        for shown in watch(left, right, drawn):
            yield (drawn, *shown)

    start.click(_told(gradio, watch, 3, 2), [first, second, number], [*talks, notice], **_quiet())
    told = [number, *talks, notice]
    other.click(_told(gradio, draw, 4, 3), [first, second], told, **_quiet())


def _column(view: View) -> str:
    heading = markup.heading(view)
    return heading + markup.transcript(view, f"Conversation of {view.seller}")


def _seed(gradio: Any, seed: int, name: str) -> Any:
    return gradio.Number(seed, label="Seed", min_width=120, elem_id=name)


def _choice(gradio: Any, label: str, labels: list[str], value: str, name: str) -> Any:
    return gradio.Dropdown(
        labels, value=value, label=label, filterable=False, min_width=150, elem_id=name
    )


def _quiet() -> dict[str, Any]:
    """Return what all events have in common: no interface for programs, no overlay."""
    return {"show_progress": "hidden", "api_visibility": "private"}


def _told(gradio: Any, act: Callable[..., Any], n: int, place: int) -> Callable[..., Any]:
    """Return ``act``, with what goes wrong told in the page.

    Args:
        gradio: the library.
        act: returns ``n`` new contents, or yields them.
        n: how many.
        place: which of them the notice is; all others stay as they are.
    """

    def told(*given: Any) -> Iterator[Any]:
        try:
            shown = act(*given)
            yield from shown if isinstance(shown, Iterator) else [shown]
        except Exception as error:
            sentence = _sentence(error)
            kept = [gradio.skip() for _ in range(n)]
            kept[place] = markup.notice(sentence)
            yield tuple(kept)

    return told


def _sentence(error: Exception) -> str:
    """Return what a visitor is told of an error; the rest is for whoever serves the page."""
    if isinstance(error, Refusal):
        return str(error)
    if isinstance(error, (ConvgymError, InfrastructureError)):
        say(f"a visitor's conversation broke off: {error}", error=True)
    else:
        say("".join(traceback.format_exception(error)), error=True)
    return _BROKEN
