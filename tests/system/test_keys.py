"""In a real browser: everything by keyboard, and where the focus goes."""

import re

from playwright.sync_api import BrowserContext, Page, expect

from tests.support.browsing import open_live
from tests.support.databases import ONE_DATABASE
from tests.support.serving import Served

pytestmark = ONE_DATABASE


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def loaded(page: Page) -> None:
    """Wait until the page whose address is there listens to keys: its scripts run before it counts as loaded."""
    page.wait_for_load_state("load")


def test_a_walk_by_keyboard_from_the_history_to_a_dataset_and_back(served: Served, context: BrowserContext) -> None:
    served.records.dataset("sales", [(1, "Ana", True), (2, "Zoë", False)])
    uploads = [served.records.processing(f"{name}.csv") for name in ("june", "july", "august")]
    page = open_live(context, f"{served.url}/uploads")
    rows = page.locator("#upload-rows .file")

    press(page, "Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    press(page, "Enter")
    expect(page.locator("#main")).to_be_focused()

    press(page, "j")
    expect(rows.nth(0)).to_be_focused()
    press(page, "j", "j", "k")
    expect(rows.nth(1)).to_be_focused()
    served.records.advance(uploads[1])
    expect(page.locator(f"#upload-{uploads[1].id}")).to_have_attribute("data-seq", str(uploads[1].seq + 1))
    expect(rows.nth(1)).to_be_focused()
    press(page, "Enter")
    expect(page).to_have_url(re.compile(rf"/uploads/{uploads[1].id}$"))
    expect(page.get_by_role("heading", name="july.csv")).to_be_visible()

    loaded(page)
    press(page, "g", "d")
    expect(page).to_have_url(re.compile(r"/datasets$"))
    loaded(page)
    press(page, "j")
    expect(page.get_by_role("link", name="sales", exact=True)).to_be_focused()
    press(page, "Enter")
    expect(page.get_by_role("heading", name="sales")).to_be_visible()

    loaded(page)
    press(page, "g", "h")
    expect(page).to_have_url(re.compile(r"/uploads$"))
    loaded(page)
    press(page, "/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("juju?g d")
    expect(page.get_by_role("searchbox")).to_have_value("juju?g d")
    page.keyboard.press("Control+a")
    page.keyboard.type("august")
    press(page, "Enter")
    expect(rows).to_have_text(["august.csv"])

    with page.expect_file_chooser() as chooser:
        press(page, "Escape", "Tab", "u")
    chooser.value.set_files({"name": "may.csv", "mimeType": "text/csv", "buffer": b"a,b\n1,2\n"})
    expect(page.locator("#upload-submit")).to_be_enabled()


def test_shortcuts_are_listed_and_can_be_turned_off(served: Served, context: BrowserContext) -> None:
    page = open_live(context, f"{served.url}/uploads")
    help_, choice = (
        page.get_by_role("dialog", name="Keyboard shortcuts"),
        page.get_by_role("checkbox", name="shortcuts"),
    )
    press(page, "?")
    expect(help_).to_be_visible()
    press(page, "Escape")
    expect(help_).to_be_hidden()
    press(page, "Control+j", "Alt+j", "Meta+g")
    expect(page.locator("body")).to_be_focused()

    opener = page.get_by_role("button", name="Keyboard shortcuts")
    opener.focus()
    press(page, "Enter")
    choice.uncheck()
    help_.get_by_role("button", name="Close").click()
    expect(opener).to_be_focused()
    press(page, "?", "g", "d")
    expect(help_).to_be_hidden()
    assert page.url.endswith("/uploads")

    page.reload()
    loaded(page)
    opener.click()
    expect(choice).not_to_be_checked()
    choice.check()
    press(page, "Escape", "g", "d")
    expect(page).to_have_url(re.compile(r"/datasets$"))


def test_the_focus_stays_while_an_import_goes_on_and_moves_to_its_outcome(
    served: Served, context: BrowserContext
) -> None:
    upload = served.records.processing()
    page = open_live(context, f"{served.url}/uploads/{upload.id}")
    cancel = page.locator("#upload-cancel button")
    cancel.focus()

    upload = served.records.advance(upload)
    expect(page.locator("#upload")).to_have_attribute("data-seq", str(upload.seq))
    expect(cancel).to_be_focused()

    served.records.complete(upload)
    expect(cancel).to_have_count(0)
    expect(page.locator("#main")).to_be_focused()

    close = page.get_by_role("button", name="Close notification")
    close.focus()
    press(page, "Enter")
    expect(page.locator("#toasts .toast")).to_have_count(0)
    expect(page.locator("#main")).to_be_focused()


def test_after_an_action_the_focus_is_in_the_content_of_the_page(served: Served, context: BrowserContext) -> None:
    upload = served.records.processing()
    page = open_live(context, f"{served.url}/uploads/{upload.id}")

    for button, status in (("#upload-cancel button", "cancelled"), ("#upload-retry button", "pending")):
        page.locator(button).focus()
        press(page, "Enter")
        expect(page.locator("#upload")).to_have_attribute("data-status", status)
        expect(page.locator("#main")).to_be_focused()
        assert page.evaluate("scrollY") == 0


def test_what_is_refused_stands_beside_its_field_which_gets_the_focus(served: Served, context: BrowserContext) -> None:
    page = open_live(context, f"{served.url}/uploads")
    page.locator("#upload-details > summary").click()
    page.locator(".import-options > summary").click()
    encoding = page.get_by_label("Encoding")
    encoding.fill("klingon")
    page.locator(".import-options > summary").click()
    page.set_input_files("#upload-file", {"name": "june.csv", "mimeType": "text/csv", "buffer": b"a,b\n1,2\n"})
    page.click("#upload-submit")

    expect(encoding).to_be_focused()
    expect(encoding).to_have_attribute("aria-invalid", "true")
    expect(page.locator(".field", has=encoding).get_by_role("alert")).to_contain_text("Unknown encoding “klingon”")
    expect(encoding).to_have_value("klingon")

    encoding.fill("")
    page.click("#upload-submit")
    expect(page.get_by_role("heading", name="june.csv")).to_be_visible()
