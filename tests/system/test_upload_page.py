"""The page of an upload in a real browser, while its import runs."""

from collections.abc import Callable

import httpx
from playwright.sync_api import BrowserContext, Page, expect

from tests.support.browsing import open_live
from tests.support.serving import Served
from tests.support.waiting import until

#: A chunk of this size takes milliseconds to import, so that a file of a few megabytes takes seconds.
SMALL_CHUNKS = {"BULK_UPLOAD_CHUNK_BYTES": "32768"}
#: The most that the layout of a page may shift while an import runs.
MOST_SHIFTED = 0.02

#: Adds up the shifts of a page's layout that no click or key explains.
OBSERVE_SHIFTS = """
window.shifted = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifted += entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""
FORGET_SHIFTS = """
new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))).then(() => { window.shifted = 0; })
"""


def send(url: str, name: str, content: str) -> int:
    answer = httpx.post(
        f"{url}/api/v1/uploads", params={"filename": name, "dataset": "words"}, content=content, timeout=60
    )
    assert answer.status_code == 201
    return int(answer.json()["id"])


def a_failing_import(url: str) -> int:
    """The id of an upload that has just begun, of which every fourth row fails."""
    first = send(url, "words.csv", "id,word\n1,one\n2,two\n")
    until(lambda: status(url, first) == "completed", "the first import")
    rows = "".join(f"{'x' if n % 4 == 0 else n},word {n}\n" for n in range(100, 150_100))
    return send(url, "mixed.csv", f"id,word\n{rows}")


def status(url: str, upload_id: int) -> str:
    return str(httpx.get(f"{url}/api/v1/uploads/{upload_id}", timeout=30).json()["status"])


def first_line(page: Page) -> str:
    return page.locator("#failed-rows tbody th").first.inner_text()


def test_failed_rows_appear_while_the_import_runs_and_nothing_else_moves(
    site: Callable[..., Served], context: BrowserContext
) -> None:
    url = site(**SMALL_CHUNKS).url
    upload_id = a_failing_import(url)
    page = context.new_page()
    page.add_init_script(OBSERVE_SHIFTS)
    page.goto(f"{url}/uploads/{upload_id}")
    expect(page.locator("#failed-rows tbody tr")).to_have_count(50)

    assert page.locator("#upload").get_attribute("data-status") == "processing"

    moved = page.evaluate("window.shifted")
    page.click("#upload-attempts summary")
    expect(page.locator("#upload-attempts table")).to_be_visible()
    page.evaluate(FORGET_SHIFTS)  # the reader opened it; a busy browser may not see that this was why things moved
    expect(page.locator("#upload .spark polyline")).to_have_count(1)
    expect(page.locator("#upload .badge")).to_have_text("Completed with failed rows")
    expect(page.locator("#upload-attempts table")).to_be_visible()
    expect(page.locator("#upload-log .what").last).to_have_text("Completed 150,000 rows, 37,500 failed")
    expect(page.locator("#upload-failed-rows")).to_have_text("Download 37,500 failed rows")

    assert moved + page.evaluate("window.shifted") < MOST_SHIFTED

    page.click("#upload-reasons a")
    expect(page.locator("#failed-rows h2")).to_have_text("Failed rows 37,500")
    expect(page.locator("#failed-rows .chip")).to_contain_text("id: is not a whole number")
    expect(page.locator("#failed-rows td.bad").first).to_contain_text("is not a whole number")

    before = first_line(page)
    page.click("#failed-rows [rel=next]")
    page.wait_for_url("**after=*")

    assert first_line(page) != before


def test_a_reader_of_a_later_page_of_failed_rows_is_not_thrown_back(
    site: Callable[..., Served], context: BrowserContext
) -> None:
    url = site(**SMALL_CHUNKS).url
    upload_id = a_failing_import(url)
    page = open_live(context, f"{url}/uploads/{upload_id}")
    expect(page.locator("#failed-rows [rel=next]")).to_have_count(1)
    page.click("#failed-rows [rel=next]")
    page.wait_for_url("**after=*")
    shown = page.locator("#failed-rows").inner_html()
    counted = page.locator("#upload .stat-bad dd").inner_text()
    expect(page.locator("#upload .badge")).to_have_text("Completed with failed rows")

    assert counted != "37,500"
    expect(page.locator("#upload .stat-bad dd")).to_have_text("37,500")
    assert shown == page.locator("#failed-rows").inner_html()
