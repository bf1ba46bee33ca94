"""A headless Chromium, and windows whose pages must not report errors."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from tests.support.parts import require

#: Of headless Chromium, and so that it does not look for its maker's hosts.
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

#: What a script reads in a hidden tab. A headless browser never hides one.
HIDDEN = "Object.defineProperty(document, 'hidden', {configurable: true, get: () => true})"

#: Milliseconds after which a page is given up. No slow machine may reach them: tests check what is shown in the end.
PATIENCE = 90_000
expect.set_options(timeout=PATIENCE)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running browser. Meanwhile no event loop can run in the same thread."""
    program = shutil.which("chromium")
    require(program is not None, "needs a browser: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@contextmanager
def window(browser: Browser) -> Iterator[BrowserContext]:
    """A window whose pages must not report errors, such as a script that the policy forbids."""
    complaints: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 900})

    def note(message: ConsoleMessage) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text and "htmx:" not in message.text:
            complaints.append(message.text)

    context.on("console", note)
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    context.set_default_timeout(PATIENCE)
    yield context
    context.close()

    assert complaints == []


def open_live(context: BrowserContext, url: str) -> Page:
    """A page whose stream is open."""
    page = context.new_page()
    page.goto(url)
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    return page


def hide(page: Page) -> None:
    """Dispatch what a browser dispatches when a tab is hidden."""
    page.evaluate(f"{HIDDEN}; document.dispatchEvent(new Event('visibilitychange'))")


def show(page: Page) -> None:
    page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
