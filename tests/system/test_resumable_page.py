"""The form sends large files in parts: cut again and again, and with its tab closed."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import httpx
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.support.browsing import window
from tests.support.cutting import Cutting
from tests.support.serving import Served
from tests.support.supervised import Serve
from tests.support.waiting import until

#: Bytes of the file: as many as the environment says, to try more by hand.
SIZE = int(os.environ.get("RESUMABLE_BYTES", 32 << 20))
CUTS, SEED = 20, 4
#: Notes all that is said about the files that are sent.
LISTENING = """
window.said = [];
new MutationObserver(() => {
  const text = document.querySelector(".sending-state")?.textContent;
  if (text && window.said.at(-1) !== text) window.said.push(text);
}).observe(document, { subtree: true, childList: true, characterData: true });
"""


def a_file(folder: Path, size: int) -> tuple[Path, str]:
    """A table of this size, and its SHA-256."""
    path, made, left, number = folder / "large.csv", hashlib.sha256(), size, 0
    with path.open("wb") as file:
        data = b"id,text\n"
        while left > 0:
            data = data[:left]
            file.write(data)
            made.update(data)
            left -= len(data)
            data = b"".join(b"%d,%s\n" % (each, b"x" * 20_000) for each in range(number, number + 50))
            number += 50
    return path, made.hexdigest()


def choose(page: Page, path: Path) -> None:
    page.set_input_files("#upload-file", path)
    page.click("#upload-submit")


def said(page: Page) -> list[str]:
    found: list[str] = page.evaluate("window.said")
    return found


def opened(context: BrowserContext, url: str) -> Page:
    page = context.new_page()
    page.add_init_script(LISTENING)
    page.goto(f"{url}/uploads")
    return page


def test_a_file_that_is_cut_twenty_times_with_its_tab_closed_arrives_whole(
    site: Callable[..., Served], browser: Browser, tmp_path: Path
) -> None:
    url = site().url
    path, sha256 = a_file(tmp_path, SIZE)
    between = (SIZE // 60, SIZE // 25)
    with (
        Cutting(url, cuts=CUTS, seed=SEED, between=between, pause_after=SIZE // 2) as cutting,
        window(browser) as context,
    ):
        page = opened(context, cutting.url)
        choose(page, path)
        until(lambda: cutting.is_paused, "a part to be sent", 600)
        page.close()
        cutting.go_on()
        cuts_before = cutting.cuts
        page = opened(context, cutting.url)

        assert httpx.get(f"{url}/api/v1/uploads").json()["items"] == []

        choose(page, path)
        until(lambda: "/uploads/1" in page.url or any("Resuming at " in each for each in said(page)), "to go on")
        first = next((each for each in said(page) if "Resuming at " in each), "none")
        page.wait_for_url("**/uploads/1", timeout=900_000)
        [upload] = httpx.get(f"{url}/api/v1/uploads").json()["items"]

    assert (upload["size"], upload["sha256"]) == (SIZE, sha256)
    assert 0 < cuts_before < cutting.cuts == CUTS
    assert int(first.removeprefix("Resuming at ").removesuffix(" %")) > 0


def test_a_large_file_that_is_cancelled_or_refused_leaves_nothing(
    start: Callable[..., Serve], context: BrowserContext, tmp_path: Path
) -> None:
    serve = start()
    path, sha256 = a_file(tmp_path, 17 << 20)
    with Cutting(serve.url, pause_after=3 << 20) as slow:
        page = opened(context, slow.url)
        choose(page, path)
        until(lambda: slow.is_paused, "some megabytes to be sent")
        page.click(".sending button")
        expect(page.locator(".sending-state")).to_have_count(0)
        slow.go_on()
        until(lambda: not list(serve.data.glob("files/*")), "the file to be removed")

        page.set_input_files("#upload-file", path)
        page.fill("#upload-dataset", "!!!")
        page.click("#upload-submit")
        expect(page.locator("#upload-error")).to_contain_text("Invalid dataset name")
        expect(page.locator("#upload-dataset")).to_have_attribute("aria-invalid", "true")

        page.fill("#upload-dataset", "sales")
        page.click("#upload-submit")
        page.wait_for_url("**/uploads/1")

    upload = httpx.get(f"{serve.url}/api/v1/uploads/1").json()
    assert upload["sha256"] == sha256
