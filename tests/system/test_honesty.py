"""In a real browser: what a page says of itself is true, and rows do not jump about under who reads them."""

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, Route, expect

from jobs.settings import Settings
from jobs.uploads import Upload
from tests.support.browsing import open_live
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
    return page.get_by_role("link", name=re.compile(r"^\d+ changes?: show$"))


def test_a_filtered_page_stays_as_it_is_and_announces_what_came_to_belong_to_it(
    served: Served, context: BrowserContext
) -> None:
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
    expect(changes).to_have_text("3 changes: show")
    for _ in range(5):
        second = records.advance(second)
    records.fail(claimed[0])
    expect(page.locator(row_of(second))).to_have_attribute("data-seq", str(second.seq))
    expect(changes).to_have_text("2 changes: show")
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


def test_a_page_is_told_once_of_what_matches_its_search_and_the_link_leads_to_it(
    served: Served, context: BrowserContext
) -> None:
    address = f"{served.url}/uploads?q=august"
    page = open_live(context, address)
    changes = announcement(page)
    expect(page.get_by_text("Nothing matches")).to_be_visible()

    served.records.completed("july.csv")
    served.records.completed("august.csv")
    expect(changes).to_have_text("1 change: show")
    other = context.new_page()
    other.goto(str(changes.evaluate("link => link.href")))

    assert other.url == address
    expect(other.locator("#upload-rows .file")).to_have_text(["august.csv"])


def test_what_belongs_behind_a_full_page_is_not_announced_on_it(served: Served, context: BrowserContext) -> None:
    records = served.records
    old = records.processing()
    for _ in range(PAGE_SIZE + 1):
        records.cancel(records.pending())
    page = open_live(context, f"{served.url}/uploads?status=cancelled")
    expect(page.locator("#upload-rows tr")).to_have_count(PAGE_SIZE)
    page.evaluate("document.addEventListener('fitting', ({ detail }) => (window.told = detail.data))")

    records.cancel(old)
    new = records.cancel(records.pending())
    until(lambda: f'"{new.id}": true' in page.evaluate("window.told ?? ''"), "the page to be told of both")

    assert announcement(page).text_content() == "1 change: show"


def test_what_was_announced_is_shown_when_the_stream_begins_anew(served: Served, context: BrowserContext) -> None:
    page = open_live(context, f"{served.url}/uploads?status=pending")
    served.records.pending("june.csv")
    changes = announcement(page)
    expect(changes).to_have_text("1 change: show")

    hide(page)
    show(page)

    expect(page.locator("#upload-rows .file")).to_have_text(["june.csv"])
    expect(changes).to_have_count(0)


def hide(page: Page) -> None:
    """Tell the page what a browser tells one whose tab is left; headless, it never does."""
    page.evaluate(f"{HIDDEN}; document.dispatchEvent(new Event('visibilitychange'))")


def show(page: Page) -> None:
    page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")


HIDDEN = "Object.defineProperty(document, 'hidden', {configurable: true, get: () => true})"

#: Notes what the badge says as long as the page is there.
WATCH_BADGE = """
    window.said = [];
    const badge = document.getElementById("connection");
    new MutationObserver(() => said.push(badge.textContent)).observe(badge, { subtree: true, childList: true });
"""

#: Of hx-sse: what it tells of each that it opened.
KEEP_CONNECTIONS = """
    window.connections = [];
    document.addEventListener("htmx:sse:after:connection", ({ detail }) => connections.push(detail.connection));
"""

NEXT_PING = "new Promise((resolve) => document.addEventListener('ping', () => resolve(), { once: true }))"


@contextmanager
def frozen(web: Web) -> Iterator[None]:
    """Inside the block its connections are open, and silent."""
    web.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        web.process.send_signal(signal.SIGCONT)


def test_a_server_that_froze_is_noticed_and_the_page_counts_how_long_it_is_stale(
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
        for _ in range(4):  # more in all than a silence may last
            page.evaluate(NEXT_PING)
            page.clock.fast_forward(2_000)
        assert page.evaluate("said") == []

        with frozen(web):
            page.clock.fast_forward(10_000)
            expect(badge).to_have_text(re.compile(r"^Stale\sfor \d\d s$"))
            page.clock.fast_forward(3_600_000)
            expect(badge).to_have_text(re.compile(r"^Stale\sfor 6\d min$"))
            records.pending("june.csv")

        expect(badge).to_have_text("Live")
        expect(page.locator("#upload-rows .file")).to_have_text(["june.csv"])


def test_a_short_break_is_not_worth_a_word(served: Served, context: BrowserContext) -> None:
    page = context.new_page()
    page.clock.install()
    page.add_init_script(KEEP_CONNECTIONS)
    page.goto(f"{served.url}/uploads")
    expect(page.locator("#connection")).to_have_text("Live")
    page.clock.pause_at(page.evaluate("Date.now() / 1000 + 1"))
    page.evaluate(WATCH_BADGE)

    page.evaluate("connections[0].reader.cancel()")
    page.clock.run_for(1_000)  # hx-sse waits for half of it before it connects again, more or less
    until(lambda: page.evaluate("connections.length") == 2, "the next connection")

    assert page.evaluate("said") == []


def test_a_page_that_slept_says_so_and_comes_back_to_the_truth(served: Served, context: BrowserContext) -> None:
    page = context.new_page()
    page.clock.install()
    page.goto(f"{served.url}/uploads")
    expect(page.locator("#connection")).to_have_text("Live")
    page.evaluate(WATCH_BADGE)

    with page.expect_response("**/uploads/events**"):
        page.clock.fast_forward(8 * 3_600_000)

    expect(page.locator("#connection")).to_have_text("Live")

    assert list(dict.fromkeys(page.evaluate("said"))) == ["Stale\u00a0for 8 h", "Live"]


def has_a_seat(served: Served) -> bool:
    with served.client.stream("GET", "/api/v1/events") as answer:
        return answer.status_code == 200


def test_a_hidden_tab_holds_no_connection_and_comes_back_with_all_that_happened(
    one_stream: Served, context: BrowserContext
) -> None:
    page = context.new_page()
    page.clock.install()
    page.goto(f"{one_stream.url}/uploads")
    badge = page.locator("#connection")
    expect(badge).to_have_text("Live")
    page.evaluate(WATCH_BADGE)

    hide(page)
    until(lambda: has_a_seat(one_stream), "the only seat to be free")
    completed = one_stream.records.completed("june.csv")
    page.clock.fast_forward(3_600_000)
    show(page)

    expect(page.locator(f"{row_of(completed)} .badge")).to_have_text("Completed")
    expect(page.locator("#toasts .toast")).to_have_count(1)
    expect(badge).to_have_text("Live")
    assert set(page.evaluate("said")) == {"Connecting…", "Live"}


def test_a_tab_that_was_opened_behind_others_connects_when_it_is_seen(served: Served, context: BrowserContext) -> None:
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


def test_a_page_whose_first_connection_takes_long_opens_no_other(served: Served, context: BrowserContext) -> None:
    page = context.new_page()
    page.clock.install()
    held: list[Route] = []
    page.route("**/uploads/events**", lambda route: held.append(route))
    with page.expect_request("**/uploads/events**"):
        page.goto(f"{served.url}/uploads")
    page.clock.fast_forward(12_000)
    expect(page.locator("#connection")).to_have_text(re.compile(r"^Stale\sfor 1\d s$"))

    held.pop().continue_()
    expect(page.locator("#connection")).to_have_text("Live")
    page.clock.fast_forward(10_000)
    served.records.pending()
    expect(page.locator("#upload-rows tr")).to_have_count(1)

    assert held == []


def test_a_page_that_is_refused_a_stream_says_why_and_tries_again(one_stream: Served, context: BrowserContext) -> None:
    first, second = context.new_page(), context.new_page()
    for page in (first, second):
        page.clock.install()
    first.goto(f"{one_stream.url}/uploads")
    expect(first.locator("#connection")).to_have_text("Live")
    one_stream.records.completed("june.csv")
    first.click(".toast-close")
    second.goto(f"{one_stream.url}/uploads")
    refusal = second.locator("#refusal")

    expect(refusal).to_have_text(
        re.compile("^This page is not live, and tries again by itself. This server has reached")
    )
    second.clock.fast_forward(6_000)
    expect(second.locator("#connection")).to_have_text(re.compile(r"^Stale\sfor \d s$"))
    expect(second.locator("#uploads")).to_contain_text("june.csv")

    hide(first)
    second.clock.run_for(10_000)
    expect(second.locator("#connection")).to_have_text("Live")
    expect(refusal).to_be_empty()

    show(first)
    expect(first.locator("#refusal")).to_contain_text("This page is not live")
    hide(second)
    first.clock.run_for(10_000)
    expect(first.locator("#connection")).to_have_text("Live")
    expect(first.locator("#refusal")).to_be_empty()
    assert first.locator("#toasts .toast").count() == 0
