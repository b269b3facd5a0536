"""The page as visitors meet it, in headless Chromium."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.benchmarks.demo.conftest import RELEASE

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="needs playwright, which the tests do not install"
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, which is not on this machine"),
]
WIDTHS = {"desktop": (1280, 800), "phone": (390, 844)}
EVIL = "<img src=x onerror=\"document.title='broken'\"> ${document.title='broken'} {{1+1}}"


class Browser:
    """Visitors, and what their browsers asked for and complained of."""

    def __init__(self, browser: Any, address: str) -> None:
        self._browser, self._address = browser, address
        self.asked: list[str] = []
        self.complaints: list[str] = []

    def visit(self, width: str = "desktop") -> Any:
        wide, high = WIDTHS[width]
        page = self._browser.new_context(viewport={"width": wide, "height": high}).new_page()
        page.set_default_timeout(20_000)
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("console", lambda message: self._note(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(self._address)
        page.get_by_role("button", name="Meet this customer").wait_for()
        return page

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)


@pytest.fixture(scope="module")
def chromium(served: str) -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def browser(chromium: Any, served: str) -> Iterator[Browser]:
    """Browsers that ask nobody but the server for anything, and find nothing amiss."""
    browser = Browser(chromium, served)
    yield browser
    for context in chromium.contexts:
        context.close()
    foreign = [url for url in browser.asked if not url.startswith((served, "data:"))]
    assert browser.asked and not foreign and not browser.complaints


def say(page: Any, words: str) -> None:
    page.get_by_role("textbox", name="What you say to the customer").fill(words)
    page.keyboard.press("Enter")


def shows(page: Any, text: str | re.Pattern[str], place: str = "#cg-sell-talk") -> None:
    sync_api.expect(page.locator(place)).to_contain_text(text, timeout=20_000)


@pytest.mark.parametrize("width", WIDTHS)
def test_by_keyboard_and_screen_reader_alone(browser: Browser, width: str) -> None:
    page = browser.visit(width)
    assert page.get_by_role("heading", level=1).count() == 1
    page.get_by_role("tab", name="Sell").focus()
    pressed: list[str] = []
    while "Meet this customer" not in pressed:
        page.keyboard.press("Tab")
        pressed.append(page.evaluate("document.activeElement.innerText.trim()"))
        assert len(pressed) < 12, pressed
    page.keyboard.press("Enter")
    shows(page, "Hello from 17.", "#cg-news")
    sync_api.expect(page.locator("#cg-words textarea")).to_be_focused()
    page.keyboard.type("What is your budget?")
    page.keyboard.press("Enter")
    shows(page, "Customer: You said: What is your budget?", "#cg-news")
    shows(page, "Q 20%")
    page.keyboard.type("leave")
    page.keyboard.press("Enter")
    shows(page, "secret seed17")
    shows(page, "No sale: the customer left.", "#cg-news")
    assert page.locator("#cg-words textarea").input_value() == ""
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    unnamed = page.evaluate(
        """[...document.querySelectorAll('button, input, textarea, summary, [role=tab]')]
        .filter(e => e.checkVisibility() && !(e.innerText || e.ariaLabel || e.labels?.length))
        .map(e => e.outerHTML)"""
    )
    assert not unnamed


def test_visitors_do_not_wait_for_each_other_and_see_their_own(browser: Browser) -> None:
    pages = [browser.visit() for _ in range(3)]
    for number, page in enumerate(pages):
        page.get_by_role("spinbutton", name="Seed").first.fill(str(number))
        page.get_by_role("button", name="Meet this customer").click()
        shows(page, f"Hello from {number}.")
    slow, *others = pages
    say(slow, "slow")
    sync_api.expect(slow.locator(".cg-waits")).to_be_visible()
    for number, page in enumerate(others):
        say(page, f"I am {number}.")
        shows(page, f"You said: I am {number}.")
    say(slow, "Hello?")
    RELEASE.set()
    shows(slow, "You said: slow")
    assert slow.locator("#cg-words textarea").input_value() == "Hello?"  # neither said nor lost
    say(slow, "Hello?")
    shows(slow, "You said: Hello?")
    for page, strange in zip(pages, ("I am", "slow", "slow"), strict=True):
        assert strange not in page.locator("#cg-sell-talk").inner_text()


def test_what_is_said_is_text_and_runs_nowhere(browser: Browser) -> None:
    page = browser.visit()
    page.get_by_role("button", name="Meet this customer").click()
    shows(page, "Hello from 17.")
    say(page, EVIL)
    shows(page, f"You said: {EVIL}")
    page.get_by_role("textbox", name="What you say to the customer").fill(EVIL)
    page.get_by_role("button", name="Ask for advice").click()
    shows(page, EVIL, "#cg-advice")
    use = page.get_by_role("button", name="Use these words")
    use.click()
    words = page.locator("#cg-words textarea").input_value()
    assert words and words != EVIL
    assert page.title() == "convgym: sell to a customer"
    assert not page.locator("#cg-sell-talk img, #cg-advice img").count()


@pytest.mark.parametrize("words", ["fail", "bug"])
def test_what_goes_wrong_is_one_sentence_without_secrets(
    browser: Browser, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    page = browser.visit()
    seed = page.get_by_role("spinbutton", name="Seed").first
    seed.fill("-3")
    page.get_by_role("button", name="Meet this customer").click()
    alert = page.get_by_role("alert")
    sync_api.expect(alert).to_have_text(re.compile("A seed is a whole number from 0 to"))
    say(page, "Hello.")
    sync_api.expect(alert).to_have_text(re.compile("meet a customer first"))
    page.get_by_role("button", name="Another customer").first.click()
    shows(page, "Hello from")
    assert int(seed.input_value()) >= 0 and not alert.count()
    say(page, words)
    sync_api.expect(alert).to_have_text(re.compile("out of order: this counts neither"))
    assert not page.locator(".cg-waits").count() and "do-not-tell" not in page.content()
    assert "do-not-tell" in capfd.readouterr().err


@pytest.mark.parametrize("width", WIDTHS)
def test_two_sellers_and_the_learning_curve(browser: Browser, width: str) -> None:
    page = browser.visit(width)
    page.get_by_role("tab", name="Watch").click()
    first = page.get_by_label("First seller")
    first.focus()
    page.get_by_role("option", name="oracle").wait_for()
    for _ in range(20):  # the list is there a moment before it listens
        page.keyboard.press("ArrowUp")
        page.wait_for_timeout(200)
        if page.locator("[role=option].active:not(:has-text('mediocre'))").count():
            break
    page.keyboard.press("Enter")
    sync_api.expect(first).not_to_have_value("mediocre")
    chosen = first.input_value()
    assert chosen in ("random", "always-closing", "oracle")
    page.get_by_role("button", name="Let both sell").click()
    for place, seller in (("first", chosen), ("second", "competent")):
        shows(page, f"{seller} customer 17, turn", f"#cg-{place}-talk")
        shows(page, "What the customer kept to itself", f"#cg-{place}-talk")
    page.get_by_role("tab", name="Learning curve").click()
    drawings = page.get_by_role("img", name="Conversion against customer conversations")
    sync_api.expect(drawings).to_have_count(1)
    page.get_by_text("The numbers").click()
    assert page.get_by_role("rowheader", name="iterative-ppo").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
