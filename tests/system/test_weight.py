"""In a real browser: pages are light, do not wait for scripts, and nothing on them moves by itself."""

from collections.abc import Callable
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from jobs.failed_rows import FailedRow, Reason
from tests.support.browsing import open_live
from tests.support.databases import ONE_DATABASE
from tests.support.serving import Served
from tests.support.supervised import Serve
from tests.support.waiting import until
from webapp.history import PAGE_SIZE

#: Bytes of a page and all that it loads, as they come over the wire: compressed, with the headers.
HEAVIEST = 60_000
#: The sum of all layout shifts of a page during an import.
MOST_SHIFTED = 0.02

IS_PAINTED = "performance.getEntriesByName('first-contentful-paint').length === 1"
#: With each shift, what moved: from where to where, in pixels from the top.
RECORD_SHIFTS = """
    window.shifts = [];
    const moved = ({ node, previousRect, currentRect }) =>
      `${Math.round(previousRect.y)} to ${Math.round(currentRect.y)}: ${node?.outerHTML?.slice(0, 60) ?? node?.data}`;
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries())
        if (!entry.hadRecentInput) shifts.push([entry.value, ...entry.sources.map(moved)]);
    }).observe({ type: "layout-shift", buffered: true });
"""


@pytest.fixture
def furnished(served: Served) -> Served:
    """Pages that are full."""
    served.records.dataset("sales", [(number, f"Person {number}", number % 2 == 0) for number in range(200)])
    for number in range(PAGE_SIZE):
        served.records.completed(f"sales of week {number}.csv")
    upload = served.records.processing("june.csv", header=["id", "name", "amount"])
    failed = [FailedRow(n, [str(n), "Ana", "x"], [Reason("amount", "is not a number", "x")]) for n in range(100)]
    served.records.complete(served.records.advance(upload, 900, failed))
    return served


@ONE_DATABASE
def test_a_page_that_was_never_visited_is_light_and_comes_from_one_host(furnished: Served, browser: Browser) -> None:
    upload = furnished.records.all()[0]
    weights: dict[str, float] = {}
    hosts = set()
    for path in ("/uploads", f"/uploads/{upload.id}", "/datasets", "/datasets/sales", "/uploads/recent", "/none"):
        context = browser.new_context()
        page = context.new_page()
        cdp = context.new_cdp_session(page)
        cdp.send("Network.enable")
        sizes: list[float] = []
        cdp.on("Network.loadingFinished", lambda event, sizes=sizes: sizes.append(event["encodedDataLength"]))
        page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
        page.goto(f"{furnished.url}{path}")
        page.wait_for_load_state("load")
        weights[path] = sum(sizes)
        context.close()

    assert {path: weight for path, weight in weights.items() if weight > HEAVIEST} == {}
    assert min(weights.values()) > 10_000  # the measurement sees the scripts
    assert hosts == {urlsplit(furnished.url).netloc}


@ONE_DATABASE
def test_a_page_is_painted_before_its_scripts_arrive(furnished: Served, context: BrowserContext) -> None:
    page = context.new_page()
    held: list[Route] = []
    page.route("**/*.js*", lambda route: held.append(route))
    page.goto(f"{furnished.url}/uploads", wait_until="commit")

    until(lambda: page.evaluate(IS_PAINTED), "the page to be painted")
    assert held
    assert page.evaluate("typeof htmx") == "undefined"
    assert page.locator("#upload-rows tr").count() == PAGE_SIZE

    for route in held:
        route.continue_()
    page.unroute("**/*.js*")


def test_nothing_moves_on_pages_that_watch_a_whole_import(start: Callable[..., Serve], context: BrowserContext) -> None:
    context.add_init_script(RECORD_SHIFTS)
    url = start(BULK_UPLOAD_CHUNK_BYTES="32768").url
    for name in ("april", "may"):
        send(url, f"{name}.csv", b"id,word\n1,one\n")
    rows = [
        f"{number},{'word' if number % 9 else ''},{number if number % 50 else 'NA'},{number if number % 40 else '-'}"
        for number in range(60_000)
    ]
    history = open_live(context, f"{url}/uploads")
    upload_id = send(url, "june.csv", "\n".join(["id,word,value,other", *rows]).encode())
    page = open_live(context, f"{url}/uploads/{upload_id}")
    for each in (page.locator("#upload"), history.locator(f"#upload-{upload_id}")):
        expect(each).to_have_attribute("data-status", "completed")

    assert_still(history)
    assert_still(page)


def assert_still(page: Page) -> None:
    shifts = page.evaluate("shifts")

    assert sum(value for value, *_ in shifts) < MOST_SHIFTED, shifts


def send(url: str, filename: str, content: bytes) -> int:
    answer = httpx.post(f"{url}/api/v1/uploads", params={"filename": filename}, content=content, timeout=60)
    return int(answer.json()["id"])
