"""In a real browser: a page reports its own connection correctly, and rows do not move while someone reads them."""

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, Route, expect

from jobs.settings import Settings
from jobs.uploads import Upload
from tests.support.browsing import HIDDEN, hide, open_live, show
from tests.support.databases import ONE_DATABASE
from tests.support.serving import Records, Served, Web
from tests.support.waiting import until
from webapp.history import PAGE_SIZE

pytestmark = ONE_DATABASE


@pytest.fixture
def one_stream(settings: Settings) -> Iterator[Served]:
    """An application with a limit of one open stream."""
    with Served(settings.model_copy(update={"streams": 1})) as served:
        yield served


def row_of(upload: Upload) -> str:
    return f"#upload-{upload.id}"


def announcement(page: Page) -> Locator:
    return page.get_by_role("link", name=re.compile(r"^Show \d+ more uploads?$"))


def test_a_filtered_page_keeps_its_rows_and_announces_new_matches(served: Served, context: BrowserContext) -> None:
    records = served.records
    first, second = records.processing("first.csv"), records.processing("second.csv")
    waiting = [records.pending(f"waiting {n}.csv") for n in range(3)]
    page = open_live(context, f"{served.url}/uploads?status=processing")
    rows, changes = page.locator("#upload-rows .file"), announcement(page)
    expect(rows).to_have_text(["second.csv", "first.csv"])

    records.complete(first)
    expect(page.locator(f"{row_of(first)} .badge")).to_have_text("Completed")
    expect(changes).to_have_count(0)

    claimed = [records.claim(upload) for upload in waiting]
    expect(changes).to_have_text("Show 3 more uploads")
    for _ in range(5):
        second = records.advance(second)
    records.fail(claimed[0])
    expect(page.locator(row_of(second))).to_have_attribute("data-seq", str(second.seq))
    expect(changes).to_have_text("Show 2 more uploads")
    expect(rows).to_have_text(["second.csv", "first.csv"])

    page.evaluate("window.neverReloaded = true")
    changes.focus()
    changes.press("Enter")
    expect(rows).to_have_text(["waiting 2.csv", "waiting 1.csv", "second.csv"])
    expect(changes).to_have_count(0)
    expect(page.locator("#uploads")).to_be_focused()

    records.cancel(claimed[1])
    expect(page.locator(f"{row_of(claimed[1])} .badge")).to_have_text("Cancelled")
    assert page.evaluate("window.neverReloaded") is True
    assert page.url.endswith("?status=processing")


def test_a_search_page_announces_a_new_match_with_a_link(served: Served, context: BrowserContext) -> None:
    address = f"{served.url}/uploads?q=august"
    page = open_live(context, address)
    changes = announcement(page)
    expect(page.get_by_text("No matching uploads")).to_be_visible()

    served.records.completed("july.csv")
    served.records.completed("august.csv")
    expect(changes).to_have_text("Show 1 more upload")
    other = context.new_page()
    other.goto(str(changes.evaluate("link => link.href")))

    assert other.url == address
    expect(other.locator("#upload-rows .file")).to_have_text(["august.csv"])


def test_uploads_of_a_later_page_are_not_announced(served: Served, context: BrowserContext) -> None:
    records = served.records
    old = records.processing()
    for _ in range(PAGE_SIZE + 1):
        records.cancel(records.pending())
    page = open_live(context, f"{served.url}/uploads?status=cancelled")
    expect(page.locator("#upload-rows tr")).to_have_count(PAGE_SIZE)
    page.evaluate("document.addEventListener('matches', ({ detail }) => (window.received = detail.data))")

    records.cancel(old)
    new = records.cancel(records.pending())
    until(lambda: f'"{new.id}": true' in page.evaluate("window.received ?? ''"), "the page to receive both")

    assert announcement(page).text_content() == "Show 1 more upload"


def test_a_reconnected_page_shows_what_it_announced(served: Served, context: BrowserContext) -> None:
    page = open_live(context, f"{served.url}/uploads?status=pending")
    served.records.pending("june.csv")
    changes = announcement(page)
    expect(changes).to_have_text("Show 1 more upload")

    hide(page)
    show(page)

    expect(page.locator("#upload-rows .file")).to_have_text(["june.csv"])
    expect(changes).to_have_count(0)


#: Records every text of the badge.
WATCH_BADGE = """
    window.texts = [];
    const badge = document.getElementById("connection");
    new MutationObserver(() => texts.push(badge.textContent)).observe(badge, { subtree: true, childList: true });
"""

#: Records the connections that hx-sse opens.
KEEP_CONNECTIONS = """
    window.connections = [];
    document.addEventListener("htmx:sse:after:connection", ({ detail }) => connections.push(detail.connection));
"""

NEXT_PING = "new Promise((resolve) => document.addEventListener('ping', () => resolve(), { once: true }))"


@contextmanager
def frozen(web: Web) -> Iterator[None]:
    """Inside the block its connections stay open and silent."""
    web.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        web.process.send_signal(signal.SIGCONT)


def test_the_badge_shows_for_how_long_a_frozen_server_has_been_silent(
    settings: Settings, context: BrowserContext
) -> None:
    page = context.new_page()
    page.clock.install()
    badge = page.locator("#connection")
    with (
        Web(settings, "from webapp.live.delivery import heartbeat; heartbeat.HEARTBEAT_INTERVAL = 0.5") as web,
        Records(settings) as records,
    ):
        page.goto(f"{web.url}/uploads")
        expect(badge).to_have_text("Live")
        page.evaluate(WATCH_BADGE)
        for _ in range(4):  # longer in total than the longest allowed silence
            page.evaluate(NEXT_PING)
            page.clock.fast_forward(2_000)
        assert page.evaluate("texts") == []

        with frozen(web):
            page.clock.fast_forward(10_000)
            expect(badge).to_have_text(re.compile(r"^Not updated\sfor \d\d s$"))
            page.clock.fast_forward(3_600_000)
            expect(badge).to_have_text(re.compile(r"^Not updated\sfor 6\d min$"))
            records.pending("june.csv")

        expect(badge).to_have_text("Live")
        expect(page.locator("#upload-rows .file")).to_have_text(["june.csv"])


def test_the_badge_ignores_a_short_break(served: Served, context: BrowserContext) -> None:
    page = context.new_page()
    page.clock.install()
    page.add_init_script(KEEP_CONNECTIONS)
    page.goto(f"{served.url}/uploads")
    expect(page.locator("#connection")).to_have_text("Live")
    page.clock.pause_at(page.evaluate("Date.now() / 1000 + 1"))
    page.evaluate(WATCH_BADGE)

    page.evaluate("connections[0].reader.cancel()")
    page.clock.run_for(1_000)  # hx-sse waits for about half of it before it reconnects
    until(lambda: page.evaluate("connections.length") == 2, "the next connection")

    assert page.evaluate("texts") == []


def test_a_page_that_slept_shows_its_age_and_then_updates(served: Served, context: BrowserContext) -> None:
    page = context.new_page()
    page.clock.install()
    page.goto(f"{served.url}/uploads")
    expect(page.locator("#connection")).to_have_text("Live")
    page.evaluate(WATCH_BADGE)

    with page.expect_response("**/uploads/events**"):
        page.clock.fast_forward(8 * 3_600_000)

    expect(page.locator("#connection")).to_have_text("Live")

    assert list(dict.fromkeys(page.evaluate("texts"))) == ["Not updated for 8 h", "Live"]


def accepts_streams(served: Served) -> bool:
    with served.client.stream("GET", "/api/v1/events") as answer:
        return answer.status_code == 200


def test_a_hidden_tab_disconnects_and_catches_up_when_it_is_shown(one_stream: Served, context: BrowserContext) -> None:
    page = context.new_page()
    page.clock.install()
    page.goto(f"{one_stream.url}/uploads")
    badge = page.locator("#connection")
    expect(badge).to_have_text("Live")
    page.evaluate(WATCH_BADGE)

    hide(page)
    until(lambda: accepts_streams(one_stream), "the only stream to be closed")
    completed = one_stream.records.completed("june.csv")
    page.clock.fast_forward(3_600_000)
    show(page)

    expect(page.locator(f"{row_of(completed)} .badge")).to_have_text("Completed")
    expect(page.locator("#toasts .toast")).to_have_count(1)
    expect(badge).to_have_text("Live")
    assert set(page.evaluate("texts")) == {"Connecting…", "Live"}


def test_a_tab_opened_in_the_background_connects_when_it_is_shown(served: Served, context: BrowserContext) -> None:
    page = context.new_page()
    page.clock.install()
    page.add_init_script(HIDDEN)
    streams: list[str] = []
    page.on("request", lambda request: streams.append(request.url) if "events" in request.url else None)
    page.goto(f"{served.url}/uploads")
    page.clock.fast_forward(60_000)

    assert streams == []

    show(page)
    expect(page.locator("#connection")).to_have_text("Live")

    assert len(streams) == 1


def test_a_page_with_a_slow_first_connection_opens_no_other(served: Served, context: BrowserContext) -> None:
    page = context.new_page()
    page.clock.install()
    held: list[Route] = []
    page.route("**/uploads/events**", lambda route: held.append(route))
    with page.expect_request("**/uploads/events**"):
        page.goto(f"{served.url}/uploads")
    page.clock.fast_forward(12_000)
    expect(page.locator("#connection")).to_have_text(re.compile(r"^Not updated\sfor 1\d s$"))

    held.pop().continue_()
    expect(page.locator("#connection")).to_have_text("Live")
    page.clock.fast_forward(10_000)
    served.records.pending()
    expect(page.locator("#upload-rows tr")).to_have_count(1)

    assert held == []


def test_a_page_without_a_stream_shows_the_reason_and_retries(one_stream: Served, context: BrowserContext) -> None:
    first, second = context.new_page(), context.new_page()
    for page in (first, second):
        page.clock.install()
    first.goto(f"{one_stream.url}/uploads")
    expect(first.locator("#connection")).to_have_text("Live")
    one_stream.records.completed("june.csv")
    first.click(".toast-close")
    second.goto(f"{one_stream.url}/uploads")
    refusal = second.locator("#refusal")

    expect(refusal).to_have_text(re.compile("^Live updates are unavailable. .*: This server has reached its limit"))
    second.clock.fast_forward(6_000)
    expect(second.locator("#connection")).to_have_text(re.compile(r"^Not updated\sfor \d s$"))
    expect(second.locator("#uploads")).to_contain_text("june.csv")

    hide(first)
    second.clock.run_for(10_000)
    expect(second.locator("#connection")).to_have_text("Live")
    expect(refusal).to_be_empty()

    show(first)
    expect(first.locator("#refusal")).to_contain_text("Live updates are unavailable")
    hide(second)
    first.clock.run_for(10_000)
    expect(first.locator("#connection")).to_have_text("Live")
    expect(first.locator("#refusal")).to_be_empty()
    assert first.locator("#toasts .toast").count() == 0
