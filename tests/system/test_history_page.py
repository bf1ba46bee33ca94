"""The history in a real browser: files that are dropped, rows that are selected, and nothing that jumps."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import httpx
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.support.browsing import open_live
from tests.support.serving import Served
from tests.support.waiting import until

#: Dispatches what a browser dispatches when something is dragged over the page and dropped.
DRAG = """([files, text, kinds]) => {
    const carried = new DataTransfer();
    for (const [name, content] of files) carried.items.add(new File([content], name, { type: "text/csv" }));
    if (text) carried.setData("text/plain", text);
    const target = document.getElementById("uploads");
    return kinds.map((kind) => {
        const event = new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer: carried });
        target.dispatchEvent(event);
        return event.defaultPrevented;
    });
}"""
#: Adds up the layout shifts from now on.
WATCH_SHIFTS = """() => {
    window.shifts = 0;
    const add = (list) => list.getEntries().forEach((entry) => (window.shifts += entry.value));
    new PerformanceObserver(add).observe({ type: "layout-shift" });
}"""
TOP_OF_ROW_20 = "Math.round(document.getElementById('upload-20').getBoundingClientRect().top)"


def drag(page: Page, kinds: Sequence[str], *files: tuple[str, str], text: str = "") -> list[bool]:
    """Returns for each event whether the page handled it."""
    handled: list[bool] = page.evaluate(DRAG, [[list(file) for file in files], text, list(kinds)])
    return handled


def rows(count: int, first: int = 0) -> str:
    return "id,word\n" + "".join(f"{n},word {n}\n" for n in range(first, first + count))


def send(url: str, name: str, content: str = rows(3), **fields: str) -> int:
    answer = httpx.post(f"{url}/api/v1/uploads", params={"filename": name, **fields}, content=content, timeout=60)

    assert answer.status_code == 201
    return int(answer.json()["id"])


def upload_of(url: str, upload_id: int) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.get(f"{url}/api/v1/uploads/{upload_id}", timeout=30).json()
    return answer


def until_completed(url: str, upload_id: int) -> None:
    until(lambda: upload_of(url, upload_id)["status"] == "completed", f"upload {upload_id} to be completed")


def test_files_dropped_anywhere_are_sent_one_after_the_other_and_shown(
    site: Callable[..., Served], context: BrowserContext
) -> None:
    url = site().url
    until_completed(url, send(url, "first.csv"))
    page = open_live(context, f"{url}/uploads")
    overlay = page.locator("#drop-overlay")

    assert drag(page, ["dragover", "drop"], text="https://example.com/") == [False, False]
    expect(overlay).to_be_hidden()

    assert drag(page, ["dragover"], ("a.csv", rows(4))) == [True]
    expect(overlay).to_be_visible()
    files = [("a.csv", rows(4)), ("empty.csv", ""), ("b.csv", rows(5))]

    assert drag(page, ["drop"], *files) == [True]
    expect(overlay).to_be_hidden()
    expect(page.locator("#drop-text")).to_contain_text("3 files")
    expect(page.locator("#upload-dataset")).to_be_visible()
    page.fill("#upload-dataset", "both")
    page.get_by_role("button", name="Upload 3 files").click()

    expect(page.locator("#upload-sent")).to_have_text("2 of 3 files sent")
    expect(page.locator(".sending-state")).to_have_text(["Sent", "Failed", "Sent"])
    expect(page.locator(".sending-error").nth(1)).to_contain_text("“empty.csv” is empty.")
    expect(page.locator("#upload-rows .file")).to_have_text(["b.csv", "a.csv", "first.csv"])
    expect(page.locator("#upload-rows .rows")).to_have_text([f"{n} of {n} (100 %)" for n in (5, 4, 3)])

    assert page.url == f"{url}/uploads"
    assert [upload_of(url, number)["dataset"] for number in (2, 3)] == ["both", "both"]

    page.get_by_role("button", name="Close", exact=True).click()
    expect(page.locator("#upload-tray")).to_be_hidden()
    drag(page, ["dragover", "drop"], ("single.csv", rows(6)))
    page.click("#upload-submit")
    page.wait_for_url(re.compile(r"/uploads/4$"))


def test_a_file_that_is_being_sent_can_be_cancelled(site: Callable[..., Served], context: BrowserContext) -> None:
    url = site().url
    until_completed(url, send(url, "first.csv"))
    page = open_live(context, f"{url}/uploads")
    # The first request never gets an answer, until it is cancelled.
    page.route("**/uploads", lambda route: None if "a.csv" in (route.request.post_data or "") else route.continue_())
    drag(page, ["drop"], ("a.csv", rows(4)), ("b.csv", rows(5)), ("c.csv", rows(6)))
    page.click("#upload-submit")
    expect(page.locator(".sending-state").nth(2)).to_have_text("Waiting")

    page.get_by_role("button", name="Cancel: c.csv").click()
    page.get_by_role("button", name="Cancel: a.csv").click()

    expect(page.locator(".sending-state")).to_have_text(["Cancelled", "Sent", "Cancelled"])
    expect(page.locator("#upload-rows .file")).to_have_text(["b.csv", "first.csv"])


def test_rows_that_are_selected_stay_and_can_be_cancelled_and_retried(
    site: Callable[..., Served], context: BrowserContext
) -> None:
    url = site(workers=0).url
    sent = [send(url, f"{number}.csv") for number in range(5)]
    page = open_live(context, f"{url}/uploads")
    boxes, count = page.locator("#upload-rows input"), page.locator("#batch-count")

    boxes.nth(0).click()
    boxes.nth(2).click(modifiers=["Shift"])
    expect(count).to_have_text("3 selected")
    expect(page.get_by_role("button", name="Cancel 3")).to_be_enabled()
    expect(page.get_by_role("button", name="Retry")).to_be_disabled()

    httpx.post(f"{url}/api/v1/uploads/{sent[4]}/cancel")
    expect(page.locator(f"#upload-{sent[4]} .badge")).to_have_text("Cancelled")
    expect(boxes.nth(0)).to_be_checked()
    expect(page.get_by_role("button", name="Cancel 2")).to_be_enabled()
    expect(page.get_by_role("button", name="Retry 1")).to_be_enabled()

    new = send(url, "new.csv")
    expect(page.locator("#changes a")).to_have_text("Show 1 new upload")
    expect(page.locator(f"#upload-{new}")).to_have_count(0)

    page.get_by_role("button", name="Cancel 2").click()
    expect(page.locator("#toasts")).to_contain_text("2 uploads cancelled.")
    expect(page.locator("#upload-rows .badge")).to_have_text(["Cancelled"] * 3 + ["Pending"] * 2)
    expect(page.locator("#batch")).to_be_hidden()

    page.locator("#changes a").click()
    expect(page.locator("#upload-rows tr")).to_have_count(6)
    expect(page.locator("#changes a")).to_be_hidden()
    page.check("#select-all")
    expect(count).to_have_text("6 selected")
    page.get_by_role("button", name="Retry 3").click()
    expect(page.locator("#upload-rows .badge")).to_have_text(["Pending"] * 6)


def test_a_reader_who_scrolled_is_told_of_new_uploads_and_nothing_moves(
    site: Callable[..., Served], context: BrowserContext
) -> None:
    url = site(workers=0).url
    for number in range(30):
        send(url, f"{number}.csv")
    page = open_live(context, f"{url}/uploads")
    page.evaluate(WATCH_SHIFTS)
    newest = send(url, "at the top.csv")
    expect(page.locator("#upload-rows tr").first).to_have_id(f"upload-{newest}")
    unfolds = f"document.getElementById('upload-{newest}').getAnimations().length"
    until(lambda: page.evaluate(unfolds) == 0, "the new row to unfold")
    page.evaluate("scrollTo(0, 400)")
    place = page.evaluate(TOP_OF_ROW_20)

    for name in ("one.csv", "two.csv"):
        send(url, name)
    expect(page.locator("#changes a")).to_have_text("Show 2 new uploads")
    expect(page.locator("#changes a")).to_be_in_viewport()

    assert page.evaluate(TOP_OF_ROW_20) == place
    assert page.evaluate("shifts") < 0.02

    page.locator("#changes a").click()
    expect(page.locator("#upload-rows .file").first).to_have_text("two.csv")
    expect(page.locator("#upload-rows tr")).to_have_count(25)


def height(element: Locator) -> float:
    box = element.bounding_box()

    assert box is not None
    return box["height"]


def test_compact_rows_are_remembered(site: Callable[..., Served], context: BrowserContext) -> None:
    url = site(workers=0).url
    send(url, "june.csv")
    page = open_live(context, f"{url}/uploads")
    row = page.locator("#upload-1")

    assert height(row) == 44

    page.click("#density")
    expect(page.locator("#density")).to_have_attribute("aria-pressed", "true")

    assert height(row) == 32

    page.evaluate("document.dispatchEvent(new Event('reconnect', {cancelable: true}))")
    page.reload()

    assert height(row) == 32

    page.set_viewport_size({"width": 390, "height": 844})
    name, status = (row.locator(each).bounding_box() for each in (".file", ".badge"))
    assert name is not None
    assert status is not None
    assert name["x"] + name["width"] <= status["x"]


def test_filters_and_actions_work_without_scripts(site: Callable[..., Served], browser: Browser) -> None:
    url = site(workers=0).url
    for name in ("june.csv", "july.csv", "august.csv"):
        send(url, name)
    plain = browser.new_context(java_script_enabled=False)
    page = plain.new_page()
    page.goto(f"{url}/uploads")

    page.fill("[type=search]", "ju")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#upload-rows .file")).to_have_text(["july.csv", "june.csv"])
    page.check("#upload-1 input")
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.locator(".said")).to_have_text("1 upload cancelled.")
    page.click(".filter:has-text('Status') summary")
    page.get_by_role("link", name="Cancelled", exact=True).click()
    expect(page.locator("#upload-rows .file")).to_have_text(["june.csv"])
    page.get_by_role("link", name="Remove the filter: Cancelled").click()
    expect(page.locator("#upload-rows tr")).to_have_count(2)
    plain.close()


def test_a_sample_is_imported_by_one_click(site: Callable[..., Served], context: BrowserContext) -> None:
    url = site().url
    page = open_live(context, f"{url}/uploads")
    page.get_by_role("button", name="Try a sample file").click()
    page.wait_for_url(re.compile(r"/uploads/1$"))
    expect(page.locator("#upload .badge").first).to_have_text("Completed with failed rows")

    state = upload_of(url, 1)
    assert (state["rows_success"], state["rows_failed"]) == (180, 20)
    assert [each["code"] for each in state["warnings"]] == ["values_as_missing"]
