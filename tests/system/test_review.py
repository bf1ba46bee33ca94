"""The review of an upload before its import, in a real browser."""

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import BrowserContext, FilePayload, Page, expect

from tests.support import commands, workbooks
from tests.support.serving import Served
from tests.support.waiting import until

CUSTOMERS = {
    "fields": [
        {"name": "customer_id", "type": "integer", "constraints": {"required": True}},
        {"name": "email", "constraints": {"required": True}},
        {"name": "remark", "type": "string"},
    ],
    "primaryKey": "customer_id",
}


def renamed(first: int) -> bytes:
    """A file two of whose columns have names that say nothing."""
    rows = (f"{n},contact {n},called {n} times" for n in range(first, first + 20))
    return "\n".join(["customer_id,Column X,Column Y", *rows]).encode()


@pytest.fixture
def served(site: Callable[..., Served], tmp_path: Path) -> Served:
    served = site()
    schema = tmp_path / "customers.json"
    schema.write_text(json.dumps(CUSTOMERS), "utf-8")
    status, _, complaint = commands.run(
        "dataset", "add", "customers", schema, "--mode", "upsert", "--data", served.settings.data
    )
    assert status == 0, complaint
    return served


def send(page: Page, url: str, name: str, content: bytes, dataset: str = "") -> int:
    """Send a file with the form, and open its page. Returns the id."""
    page.goto(f"{url}/uploads")
    page.evaluate("document.getElementById('upload-details').open = true")
    page.fill("#upload-dataset", dataset)
    page.set_input_files("#upload-file", {"name": name, "mimeType": "text/csv", "buffer": content})
    page.click("#upload-submit")
    page.wait_for_url("**/uploads/*")
    return int(page.url.rpartition("/")[2].partition("?")[0])


def state(url: str, upload_id: int) -> dict[str, object]:
    found: dict[str, object] = httpx.get(f"{url}/api/v1/uploads/{upload_id}", timeout=30).json()
    return found


def test_renamed_columns_are_mapped_by_two_choices_and_the_next_file_needs_none(
    served: Served, context: BrowserContext
) -> None:
    page = context.new_page()
    send(page, served.url, "june.csv", renamed(1), "customers")
    expect(page.locator("#upload .badge")).to_have_text("Needs review")
    expect(page.locator(".left-over")).to_contain_text("email")

    page.get_by_label("Column X").focus()
    page.get_by_label("Column X").select_option("email")
    expect(page.locator(".left-over")).not_to_contain_text("email")
    expect(page.get_by_label("Column X")).to_be_focused()
    page.get_by_label("Column Y").select_option("remark")
    expect(page.locator(".left-over")).to_have_count(0)
    expect(page.get_by_label("Column X")).to_have_value("email")
    page.click("#upload-import")
    expect(page.locator("#upload .badge")).to_have_text("Completed")
    expect(page.locator(".headline")).to_have_text("20 rows imported into customers.")

    following = send(page, served.url, "july.csv", renamed(101), "customers")
    expect(page.locator("#upload .badge")).to_have_text("Completed")
    assert state(served.url, following)["rows_success"] == 20


def test_a_workbook_is_imported_by_its_third_sheet_without_typing(served: Served, context: BrowserContext) -> None:
    page = context.new_page()
    upload_id = send(page, served.url, "parts.xlsx", workbooks.of_sheets(*(f"Part {n}" for n in range(1, 6))))
    expect(page.locator("#upload .badge")).to_have_text("Needs review")

    page.get_by_label("Worksheet").select_option("Part 3")
    expect(page.locator("#review")).to_contain_text("3-1")
    page.click("#upload-import")

    expect(page.locator("#upload .badge")).to_have_text("Completed")
    assert state(served.url, upload_id)["rows_success"] == 10


def test_parts_of_a_workbook_are_chosen_by_keyboard_and_the_others_later(
    served: Served, context: BrowserContext
) -> None:
    page = context.new_page()
    upload_id = send(page, served.url, "parts.xlsx", workbooks.of_sheets("June", "July", "August"))
    expect(page.locator("#upload .badge")).to_have_text("Needs review")
    expect(page.locator("#parts-import")).to_have_text("Import 3 parts")

    page.get_by_role("checkbox", name="July").focus()
    page.keyboard.press("Space")
    expect(page.locator("#parts-import")).to_have_text("Import 2 parts")
    page.get_by_label("Dataset for June").fill("summer")
    page.get_by_label("Dataset for August").fill("summer")
    page.keyboard.press("Enter")

    page.wait_for_url("**/uploads")
    expect(page.locator("#upload-rows .badge")).to_have_text(["Completed", "Completed", "In 2 parts"])
    expect(page.locator("#upload-rows .cell-file .sub").nth(0)).to_have_text("August in summer")
    page.goto(f"{served.url}/uploads/{upload_id}")
    expect(page.locator("#review")).to_contain_text("10 rows imported")
    page.get_by_role("checkbox", name="July").check()
    page.click("#parts-import")
    page.wait_for_url(f"**/uploads/{upload_id + 3}")
    expect(page.locator("h1")).to_have_text("parts.xlsx July")
    expect(page.locator("#upload .badge")).to_have_text("Completed")
    assert [state(served.url, upload_id + n)["dataset"] for n in (1, 2, 3)] == ["summer", "summer", "summer"]


def test_the_button_of_the_parts_counts_what_is_chosen_when_the_file_was_read_anew(
    served: Served, context: BrowserContext
) -> None:
    page = context.new_page()
    send(page, served.url, "parts.xlsx", workbooks.of_sheets("June", "July", "August"))
    page.get_by_role("checkbox", name="July").uncheck()
    page.get_by_label("Worksheet").select_option("August")
    expect(page.locator("#review")).to_contain_text("3-1")

    expect(page.get_by_role("checkbox", name="July")).not_to_be_checked()
    expect(page.locator("#parts-import")).to_have_text("Import 2 parts")


def test_of_twelve_files_the_one_with_a_wrong_header_waits_and_the_others_go_in(
    served: Served, context: BrowserContext
) -> None:
    page = context.new_page()
    page.goto(f"{served.url}/uploads")
    page.evaluate("document.getElementById('upload-details').open = true")
    # All different: a file with the same bytes as one that is already imported would wait too.
    contents = {
        f"file {file:02}.csv": "customer_id,email,remark\n"
        + "".join(f"{n},a{n}@b.example,r{file}\n" for n in range(20))
        for file in range(1, 13)
    }
    contents["file 07.csv"] = contents["file 07.csv"].replace("customer_id", "code", 1)
    files: list[FilePayload] = [
        {"name": name, "mimeType": "text/csv", "buffer": each.encode()} for name, each in contents.items()
    ]
    page.set_input_files("#upload-file", files)
    page.fill("#upload-dataset", "customers")
    page.get_by_role("button", name="Upload 12 files").click()

    expect(page.locator("#upload-rows .badge", has_text="Completed")).to_have_count(11)
    waiting = page.locator("#upload-rows tr", has_text="Needs review")
    expect(waiting).to_have_count(1)
    expect(waiting).to_contain_text("file 07.csv")
    expect(waiting).to_contain_text("customer_id")
    assert page.title().startswith("(1)")
    found = httpx.get(f"{served.url}/api/v1/uploads?status=completed", timeout=30).json()["items"]
    assert [each["rows_success"] for each in found] == [20] * 11


def test_the_fields_of_a_new_dataset_are_changed_before_the_import(served: Served, context: BrowserContext) -> None:
    page = context.new_page()
    content = b"code,amount\n" + b"".join(f"{n},{n if n % 4 else 'twelve'}\n".encode() for n in range(1, 21))
    upload_id = send_by_api(served.url, content, dataset="")
    until(lambda: state(served.url, upload_id)["status"] == "held", "the review")
    page.goto(f"{served.url}/uploads/{upload_id}")
    expect(page.get_by_label("Type of amount")).to_have_value("string")

    page.get_by_label("Type of amount").select_option("integer")
    expect(page.locator(".fields .some")).to_contain_text("5is not a whole number: twelve")
    expect(page.locator("#upload-import")).to_have_text("Import 15 rows")
    page.get_by_label("Key: code").check()
    expect(page.get_by_label("Key: code")).to_be_checked()
    page.get_by_label("Name of the dataset").fill("codes")
    page.keyboard.press("Enter")
    until(lambda: state(served.url, upload_id)["status"] == "held", "the check")
    expect(page.locator("#upload-import")).to_have_text("Import 15 rows")
    expect(page.get_by_label("Name of the dataset")).to_have_value("codes")
    page.get_by_label("Name of the dataset").fill("customers")
    page.keyboard.press("Enter")
    expect(page.locator("#review-name-error")).to_have_text("The name “customers” is taken. Choose another one.")
    page.goto(page.url)
    page.click("#upload-import")

    expect(page.locator("#upload .badge")).to_have_text("Completed with failed rows")
    assert (state(served.url, upload_id)["dataset"], state(served.url, upload_id)["rows_success"]) == ("codes", 15)
    page.goto(f"{served.url}/datasets/codes/columns")
    expect(page.locator("table.columns")).to_contain_text("required; key")


def test_what_is_wrong_with_a_choice_stays_while_live_updates_arrive(served: Served, context: BrowserContext) -> None:
    page = context.new_page()
    upload_id = send_by_api(served.url, b"code,amount\n1,2\n3,4\n", dataset="")
    until(lambda: state(served.url, upload_id)["status"] == "held", "the review")
    page.goto(f"{served.url}/uploads/{upload_id}")
    expect(page.locator("#connection")).to_have_text("Live")
    page.get_by_label("Name of the dataset").fill("customers")
    page.get_by_label("Name of the dataset").blur()
    expect(page.locator("#review-name-error")).to_be_visible()

    changed = httpx.post(f"{served.url}/api/v1/uploads/{upload_id}/check", timeout=30)
    assert changed.status_code in (200, 202), changed.text
    expect(page.locator("#upload .tag")).to_have_text("Attempt 2")
    expect(page.locator("#upload .badge")).to_have_text("Needs review")
    expect(page.locator("#review-name-error")).to_have_text("The name “customers” is taken. Choose another one.")
    expect(page.get_by_label("Name of the dataset")).to_have_value("customers")
    page.get_by_label("Name of the dataset").fill("codes")
    page.get_by_label("Name of the dataset").blur()
    expect(page.locator("#upload .tag")).to_have_text("Attempt 3")
    expect(page.locator("#review-name-error")).to_have_count(0)


def test_why_a_choice_of_columns_was_refused_stays_while_live_updates_arrive(
    served: Served, context: BrowserContext
) -> None:
    page = context.new_page()
    upload_id = send_by_api(served.url, renamed(1))
    until(lambda: state(served.url, upload_id)["status"] == "held", "the review")
    page.goto(f"{served.url}/uploads/{upload_id}")
    expect(page.locator("#connection")).to_have_text("Live")
    page.get_by_label("Column X").evaluate("each => each.replaceChildren(new Option('nowhere', 'nowhere', true, true))")
    page.get_by_label("Column X").dispatch_event("change")
    expect(page.locator("#review-problem")).to_contain_text("nowhere")

    assert httpx.post(f"{served.url}/api/v1/uploads/{upload_id}/check", timeout=30).status_code in (200, 202)
    expect(page.locator("#upload .badge")).to_have_text("Needs review")
    expect(page.locator("#upload .tag")).to_have_text("Attempt 2")
    expect(page.locator("#review-problem")).to_contain_text("nowhere")
    page.get_by_label("Column X").select_option("email")
    expect(page.locator(".left-over")).not_to_contain_text("email")
    expect(page.locator("#review-problem")).to_have_count(0)


def test_all_rows_are_replaced_as_the_review_said(served: Served, context: BrowserContext) -> None:
    page, mapped = context.new_page(), b"customer_id,email,remark\n"
    first = send_by_api(served.url, mapped + b"".join(b"%d,a@b.example,\n" % n for n in range(30)), review="never")
    until(lambda: state(served.url, first)["status"] == "completed", "the first import")
    upload_id = send_by_api(served.url, mapped + b"".join(b"%d,c@d.example,new\n" % n for n in range(20, 40)))
    until(lambda: state(served.url, upload_id)["status"] == "held", "the review")
    page.goto(f"{served.url}/uploads/{upload_id}")
    expect(page.get_by_label("Rows that exist")).to_have_value("upsert")
    expect(page.locator("#upload-import")).to_have_text("Import 20 rows")

    page.get_by_label("Rows that exist").select_option("replace")
    expect(page.locator("#upload-import")).to_have_text("Replace all rows by 20")
    expect(page.locator(".outcomes")).to_contain_text("Removed30")
    page.click("#upload-import")

    expect(page.locator(".headline")).to_have_text("Replaced all rows of customers: 20 new, 30 removed.")
    assert httpx.get(f"{served.url}/api/v1/datasets/customers", timeout=30).json()["rows"] == 20


def test_another_persons_choice_appears_on_an_open_page(served: Served, context: BrowserContext) -> None:
    page, other = context.new_page(), context.new_page()
    send(page, served.url, "june.csv", renamed(1), "customers")
    expect(page.locator("#upload .badge")).to_have_text("Needs review")
    other.goto(page.url)
    other.locator("#connection[data-state=live]").wait_for()

    page.get_by_label("Column X").select_option("email")

    expect(other.get_by_label("Column X")).to_have_value("email")


def test_a_review_is_done_by_keyboard_alone(served: Served, context: BrowserContext) -> None:
    page = context.new_page()
    upload_id = send(page, served.url, "june.csv", renamed(1), "customers")
    expect(page.locator("#upload .badge")).to_have_text("Needs review")

    for label, first_letter in (("Column X", "e"), ("Column Y", "r")):
        walk_to(page, f"document.activeElement.labels?.[0]?.textContent === '{label}'")
        page.keyboard.press(first_letter)
        expect(page.get_by_label(label)).to_have_value({"e": "email", "r": "remark"}[first_letter])
    walk_to(page, "document.activeElement.id === 'upload-import'")
    page.keyboard.press("Enter")

    until(lambda: state(served.url, upload_id)["status"] == "completed", "the import")


def walk_to(page: Page, condition: str) -> None:
    """Press Tab until something has the focus."""
    for _ in range(80):
        if page.evaluate(condition):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab never leads to where {condition}")


def test_a_review_works_without_scripts(served: Served, context: BrowserContext) -> None:
    assert context.browser is not None
    scriptless = context.browser.new_context(java_script_enabled=False)
    page = scriptless.new_page()
    upload_id = send_by_api(served.url, renamed(1))
    until(lambda: state(served.url, upload_id)["status"] == "held", "the review")
    page.goto(f"{served.url}/uploads/{upload_id}")
    page.get_by_label("Column X").select_option("email")
    page.click("#review-mapping button")
    expect(page.get_by_label("Column X")).to_have_value("email")
    page.click("#upload-import")

    until(lambda: state(served.url, upload_id)["status"] == "completed", "the import")
    scriptless.close()


def send_by_api(url: str, content: bytes, dataset: str = "customers", review: str = "always") -> int:
    query = {"filename": "june.csv", "dataset": dataset, "review": review}
    answer = httpx.post(f"{url}/api/v1/uploads", params=query, content=content, timeout=60)
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])
