"""The page of a dataset in a real browser."""

from collections.abc import Callable

import httpx
from playwright.sync_api import BrowserContext, Page, expect

from tests.support.browsing import open_live
from tests.support.serving import Served
from tests.support.waiting import until

COLUMNS = [f"column {number}" for number in range(30)]
TOP = 48


def table(first: int, rows: int) -> bytes:
    """A file whose first column counts."""
    lines = [",".join(f"{row}" if place == 0 else f"word {row}" for place in range(30)) for row in range(first, rows)]
    return "\n".join([",".join(COLUMNS), *lines, ""]).encode()


def send(url: str, content: bytes, **fields: str) -> None:
    answer = httpx.post(f"{url}/api/v1/uploads", params={"filename": "wide.csv", **fields}, content=content, timeout=60)
    assert answer.status_code == 201
    address = answer.json()["links"]["self"]
    until(lambda: httpx.get(f"{url}{address}").json()["status"] == "completed", "the import")


def place(page: Page, selector: str) -> tuple[float, float]:
    """Where an element is in the window."""
    box = page.locator(selector).first.bounding_box()
    assert box is not None
    return box["x"], box["y"]


def test_the_head_and_the_numbers_of_the_rows_stay_in_view(
    site: Callable[..., Served], context: BrowserContext
) -> None:
    url = site().url
    send(url, table(0, 200))
    page = open_live(context, f"{url}/datasets/wide")
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 800})
        page.evaluate("scrollTo(0, 0)")
        tools = place(page, ".toolbar")
        page.evaluate("scrollTo(900, 700)")
        until(lambda: page.evaluate("scrollX") == 900, "the page to scroll")

        assert page.evaluate("[...document.querySelectorAll('*')].filter((e) => e.scrollLeft).length") == 1  # the page
        assert place(page, ".top .wordmark")[0] < width
        assert place(page, ".rows thead th:nth-child(9)")[1] == TOP
        assert place(page, ".rows thead .rownum") == (0, TOP)
        assert place(page, ".rows tbody tr:nth-child(30) .rownum")[0] == 0
        page.evaluate("scrollTo(900, 0)")
        until(lambda: page.evaluate("scrollY") == 0, "the page to scroll back")
        assert place(page, ".toolbar") == tools


def test_the_name_of_a_dataset_ends_within_the_line_that_takes_files(
    site: Callable[..., Served], context: BrowserContext
) -> None:
    url, name = site().url, "all_the_customers_of_the_northern_branch"
    send(url, table(0, 2), dataset=name)
    page = open_live(context, f"{url}/datasets/{name}")
    page.set_viewport_size({"width": 390, "height": 800})
    page.get_by_text("Upload into this dataset").click()
    line, text = (page.locator(each).bounding_box() for each in ("#drop", "#drop-text"))

    assert line is not None
    assert text is not None
    assert line["x"] < text["x"] < text["x"] + text["width"] < line["x"] + line["width"]


def test_rows_are_filtered_at_the_head_of_their_column(site: Callable[..., Served], context: BrowserContext) -> None:
    url = site().url
    send(url, table(0, 200))
    page = open_live(context, f"{url}/datasets/wide")
    menu = page.get_by_label("Sort and filter column 0", exact=True)

    menu.and_(page.get_by_role("link")).click()
    panel = page.locator("#column-panel")
    expect(panel).to_be_visible()
    panel.get_by_label("From").fill("ten")
    panel.get_by_label("To").fill("12")
    panel.get_by_role("button", name="Apply").click()
    expect(panel.locator(".field-error")).to_have_text("This must be a whole number, because “column 0” is one.")
    expect(panel.get_by_label("From")).to_have_value("ten")
    expect(panel.get_by_label("From")).to_be_focused()
    panel.get_by_label("From").fill("10")
    panel.get_by_label("From").press("Enter")
    expect(page.locator(".rows tbody tr")).to_have_count(3)
    expect(page.locator(".chip").first).to_contain_text("column 0 is at least “10”")
    expect(page.locator(".shown")).to_have_text("Rows 1 to 3 of 3 that match")

    menu.and_(page.get_by_role("link")).click()
    expect(panel.get_by_label("To")).to_have_value("12")
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    expect(menu.and_(page.get_by_role("link"))).to_be_focused()


def test_the_number_of_rows_is_live_and_the_rows_stay_until_they_are_asked_for(
    site: Callable[..., Served], context: BrowserContext
) -> None:
    url = site().url
    send(url, table(0, 60))
    page = open_live(context, f"{url}/datasets/wide")
    page.evaluate("scrollTo(300, 400)")
    send(url, table(60, 100), dataset="wide")

    expect(page.locator(".rows-kept")).to_have_text("100 rows")
    expect(page.locator(".news")).to_have_text("40 new rows. Show them")
    assert page.evaluate("[scrollX, scrollY]") == [300, 400]
    expect(page.locator(".rows tbody tr").first.locator("td").first).to_have_text("0")

    page.locator(".news a").click()
    expect(page.locator(".rows tbody tr")).to_have_count(40)
    expect(page.locator(".chip")).to_contain_text("From upload #2")
    expect(page.locator(".news")).to_be_empty()


def test_a_file_that_is_dropped_on_the_page_goes_into_the_dataset(
    site: Callable[..., Served], context: BrowserContext
) -> None:
    url = site().url
    send(url, table(0, 20))
    page = open_live(context, f"{url}/datasets/wide")
    files = page.evaluate_handle(
        """(text) => {
            const files = new DataTransfer();
            files.items.add(new File([text], "dropped.csv", { type: "text/csv" }));
            return files;
        }""",
        table(20, 50).decode(),
    )
    page.dispatch_event(".rows", "drop", {"dataTransfer": files})
    page.locator("#upload-submit").click()
    page.wait_for_url(f"{url}/uploads/2")
    expect(page.locator("#upload .badge").first).to_have_text("Completed")

    assert httpx.get(f"{url}/api/v1/datasets/wide").json()["rows"] == 50
