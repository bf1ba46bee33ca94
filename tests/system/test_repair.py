"""The repair of a file with many kinds of wrong rows, in a real browser, on the page of its upload."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.support import commands
from tests.support.serving import Served
from tests.system.test_review import send, state

SALES = {
    "fields": [
        {"name": "id", "type": "integer"},
        {"name": "country", "type": "string", "constraints": {"enum": ["Germany", "France", "Spain"]}},
        {"name": "amount", "type": "number"},
        {"name": "signup", "type": "date"},
    ],
    "primaryKey": "id",
}
#: How every seventh row is wrong, in turn: the country, the amount or the day.
WRONG = [
    ("FRANCE", "1", "2026-01-31"),
    ("Allemagne", "1", "2026-01-31"),
    ("Spain", "twelve", "2026-01-31"),
    ("Spain", "12 EUR", "2026-01-31"),
    ("Spain", "1", "31.01.2026"),
]


def sales(first: int, rows: int = 350) -> bytes:
    """A file every seventh row of which is wrong, and in which two more rows need a look."""
    lines = ["id,country,amount,signup"]
    for number in range(first, first + rows):
        cells = WRONG[number // 7 % len(WRONG)] if number % 7 == 0 else ("Germany", f"{number}.5", "2026-01-31")
        lines.append(",".join([str(number), *cells]))
    return "\n".join(lines).encode()


def odd() -> bytes:
    """Two rows that only a person can mend."""
    return b"\n9001,Germany,7,31/02/2026\nx9002,Germany,8,2026-01-31\n"


@pytest.fixture
def served(site: Callable[..., Served], tmp_path: Path) -> Served:
    served = site()
    schema = tmp_path / "sales.json"
    schema.write_text(json.dumps(SALES), "utf-8")
    status, _, complaint = commands.run("dataset", "add", "sales", schema, "--data", served.settings.data)
    assert status == 0, complaint
    return served


def apply(page: Page, title: str) -> None:
    """Apply a suggestion to this file and all that follow."""
    suggestion = page.locator(".suggestions li", has_text=title)
    suggestion.get_by_label("Do this for every file").check()
    suggestion.get_by_role("button", name="Apply").click()
    expect(page.locator("#repair-said")).to_contain_text("changed")
    expect(page.locator(".suggestions li", has_text=title)).to_have_count(0)


def replace(page: Page, value: str, text: str) -> None:
    """Replace a value wherever it is, also in later files."""
    row = page.locator(".values li", has_text=value)
    if not row.is_visible():
        page.locator("details", has=page.locator(".values li", has_text=value)).locator("summary").click()
    row.get_by_label("Every file").check()
    row.get_by_role("textbox").fill(text)
    row.get_by_role("textbox").press("Enter")
    expect(page.locator(".values li", has_text=value)).to_have_count(0)


def test_a_file_is_brought_to_all_of_its_rows_without_leaving_its_page(served: Served, context: BrowserContext) -> None:
    page = context.new_page()
    upload_id = send(page, served.url, "june.csv", sales(1) + odd(), "sales")
    if page.locator("#upload-import").is_visible():
        page.click("#upload-import")
    expect(page.locator("#repair-title")).to_have_text("Fix 52 failed rows")
    expect(page.locator(".suggestions li").first).to_be_visible()

    apply(page, "Spell values as in the list")
    apply(page, "Read numbers like")
    apply(page, "Read dates like")
    replace(page, "Allemagne", "Germany")
    replace(page, "twelve", "12")
    expect(page.locator("#repair-sum")).to_have_text("50 fixed · 2 open")

    page.locator("#repair-rows > summary").click()
    page.click("#next-bad")
    expect(page.locator("table.grid input:focus")).to_have_attribute("aria-invalid", "true")
    fix(page, "31/02/2026", "2026-02-28")
    fix(page, "x9002", "9002")
    page.click("#repair-import button")
    expect(page.locator("#upload-sum")).to_have_text("352 rows: 300 + 52 after repair, 0 open")
    assert page.url.partition("?")[0] == f"{served.url}/uploads/{upload_id}"
    assert state(served.url, upload_id)["rows_open"] == 0

    following = send(page, served.url, "july.csv", sales(10_001), "sales")
    expect(page.locator("#upload .badge")).to_have_text(re.compile("Completed"))
    found = state(served.url, following)
    assert (found["rows_success"], found["rows_failed"]) == (350, 0)


def test_rows_that_are_right_can_be_imported_while_their_cells_have_the_focus(
    served: Served, context: BrowserContext
) -> None:
    page = context.new_page()
    send(page, served.url, "june.csv", sales(1) + odd(), "sales")
    if page.locator("#upload-import").is_visible():
        page.click("#upload-import")
    expect(page.locator("#repair-title")).to_have_text("Fix 52 failed rows")
    page.locator("#repair-rows > summary").click()
    page.click("#next-bad")
    cell = page.locator("table.grid input:focus")
    expect(cell).to_have_value("Allemagne")
    cell.fill("Germany")
    cell.press("Enter")

    expect(page.locator("#repair-sum")).to_have_text("1 fixed · 51 open")
    expect(page.locator("table.grid input:focus")).to_have_count(1)
    page.click("#repair-import button")
    expect(page.locator("#upload-sum")).to_contain_text("after repair")


def fix(page: Page, value: str, text: str) -> None:
    """Edit the cell of the grid that has a value, as in a spreadsheet."""
    cell = page.locator(f"table.grid input[value='{value}']")
    line = page.locator("table.grid tr", has=page.locator(f"input[value='{value}']")).locator("th").inner_text()
    cell.fill(text)
    cell.press("Enter")
    expect(page.locator("#grid-said")).to_have_text(f"Line {line} is right.")
