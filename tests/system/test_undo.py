"""An upload is undone in a real browser: what it would do, the undo while it runs, and the pages afterwards."""

from collections.abc import Callable

import httpx
from playwright.sync_api import BrowserContext, expect

from tests.support.browsing import open_live
from tests.support.serving import Served
from tests.support.waiting import until

#: So that an undo has many chunks, and can be seen.
SMALL_CHUNKS = {"BULK_UPLOAD_CHUNK_BYTES": "10000"}


def send(url: str, first: int, rows: int, word: str) -> int:
    content = "id,word\n" + "".join(f"{n},{word} {n}\n" for n in range(first, first + rows))
    query = {"filename": f"{word}.csv", "dataset": "words"}
    answer = httpx.post(f"{url}/api/v1/uploads", params=query, content=content, timeout=60)
    assert answer.status_code == 201
    upload_id = int(answer.json()["id"])
    until(lambda: asked(url, upload_id)["status"] == "completed", "the import")
    return upload_id


def asked(url: str, upload_id: int) -> dict[str, object]:
    found: dict[str, object] = httpx.get(f"{url}/api/v1/uploads/{upload_id}", timeout=30).json()
    return found


def test_an_upload_is_undone_while_one_watches(site: Callable[..., Served], context: BrowserContext) -> None:
    url = site(**SMALL_CHUNKS).url
    send(url, 1, 10, "june")
    wrong = send(url, 1_000, 40_000, "wrong")

    page = open_live(context, f"{url}/uploads")
    page.goto(f"{url}/uploads/{wrong}")
    page.get_by_role("link", name="Undo…").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Undo wrong.csv?")
    expect(page.locator("#undo-figures")).to_contain_text("40,000 rows will be removed from words")
    page.get_by_role("link", name="Keep").click()
    other = open_live(context, f"{url}/uploads/{wrong}")
    page.get_by_role("link", name="Undo…").click()
    page.get_by_role("button", name="Undo 40,000 rows").click()

    expect(page.get_by_role("button", name="Stop undo")).to_be_visible()
    expect(page.locator(".headline")).to_have_text(f"Undoing #{wrong} in words.")
    expect(page.locator(".stat-rows dd")).to_contain_text("of 40,000 (")
    page.get_by_role("button", name="Stop undo").press("Enter")  # a click waits until nothing moves
    expect(page.locator(".headline")).to_have_text("The undo was stopped.")
    expect(page.locator("#upload-problem")).to_contain_text("Continue it, or undo it to put them back.")
    expect(other.locator("#upload-undo-note")).to_have_text(f"Its undo was stopped half-way: #{wrong + 1}")
    expect(other.get_by_role("link", name="Undo…")).to_have_count(0)
    page.get_by_role("button", name="Continue undo").click()
    expect(page.locator(".headline")).to_have_text(f"#{wrong} is undone: 40,000 rows removed.")
    expect(page.locator("#upload .badge")).to_have_text("Completed")

    expect(other.locator("#upload .badge")).to_have_text("Undone")
    page.get_by_role("link", name=f"upload #{wrong}").click()
    expect(page.locator("#upload .badge")).to_have_text("Undone")
    expect(page.locator("#upload")).to_have_class("upload tone-muted")
    page.get_by_role("link", name=f"#{wrong + 1}").first.click()
    page.get_by_role("link", name="Undo…").click()
    expect(page.locator("#undo-figures")).to_contain_text("40,000 rows come back")
    page.goto(f"{url}/uploads?outcome=undone")
    expect(page.locator("#uploads tbody tr")).to_have_count(1)
    expect(page.locator("#uploads tbody")).to_contain_text(f"By #{wrong + 1}")
