"""In a real browser: what a tab in the background tells, and how what it told is found again."""

import re

from playwright.sync_api import BrowserContext, Page, expect

from tests.support.browsing import hide, open_live, show
from tests.support.databases import ONE_DATABASE
from tests.support.serving import Served
from tests.support.waiting import until

pytestmark = ONE_DATABASE

#: Records the notifications that a page shows, and the times that it asks for the permission. A headless browser
#: shows none.
RECORD_NOTIFICATIONS = """
    window.shown = [];
    window.asked = 0;
    window.Notification = class extends EventTarget {
      static permission = "default";
      static async requestPermission() { asked += 1; return (Notification.permission = "granted"); }
      constructor(title, options) { super(); shown.push(options); }
    };
"""


def icon_of(page: Page) -> str:
    return str(page.locator("link[rel=icon]").get_attribute("href"))


def subscribers(served: Served) -> int:
    return served.open[-1]


def test_a_hidden_tab_of_a_running_upload_shows_its_progress_and_its_end(
    served: Served, context: BrowserContext
) -> None:
    upload = served.records.processing("june.csv", rows=100)
    page = open_live(context, f"{served.url}/uploads/{upload.id}")

    hide(page)
    upload = served.records.advance(upload, 45)
    progress = served.records.get(upload).progress
    expect(page).to_have_title(f"{progress} % · june.csv · Bulk Upload")
    assert re.search(r"/icons/working-\d+\.svg$", icon_of(page))
    assert page.request.get(f"{served.url}{icon_of(page)}").headers["content-type"] == "image/svg+xml"

    served.records.fail(upload)
    expect(page).to_have_title("✕ june.csv · Bulk Upload")
    assert icon_of(page).endswith("/icons/ended-bad.svg")

    show(page)
    expect(page).to_have_title("june.csv · Bulk Upload")
    assert "/favicon.svg?v=" in icon_of(page)


def test_a_hidden_history_counts_what_runs_and_lets_its_stream_go_when_nothing_does(
    served: Served, context: BrowserContext
) -> None:
    first, second = served.records.processing("first.csv"), served.records.processing("second.csv")
    page = open_live(context, f"{served.url}/uploads")
    expect(page).to_have_title("(2) Uploads · Bulk Upload")

    hide(page)
    served.records.complete(first)
    expect(page).to_have_title("(1) Uploads · Bulk Upload")
    served.records.complete(second)
    expect(page).to_have_title("✓ Uploads · Bulk Upload")
    until(lambda: not subscribers(served), "the hidden page to let its stream go")

    third = served.records.processing("third.csv")
    show(page)
    expect(page.locator(f"#upload-{third.id}")).to_be_visible()
    expect(page).to_have_title("(1) Uploads · Bulk Upload")
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")


def test_few_hidden_tabs_hold_a_stream_so_that_the_browser_can_open_more_pages(
    served: Served, context: BrowserContext
) -> None:
    upload = served.records.processing("june.csv")
    pages = []
    for _ in range(8):  # a browser opens six connections to a host
        pages.append(open_live(context, f"{served.url}/uploads/{upload.id}"))
        hide(pages[-1])
    until(lambda: subscribers(served) == 2, "two of the hidden pages to hold a stream")

    show(pages[0])
    show(pages[7])
    served.records.complete(upload)
    for number in (0, 1, 7):
        expect(pages[number].locator("#upload")).to_have_attribute("data-status", "completed")
    expect(pages[2].locator("#upload")).to_have_attribute("data-status", "processing")


def test_a_notification_is_shown_only_after_an_opt_in_and_only_by_a_hidden_tab(
    served: Served, context: BrowserContext
) -> None:
    context.add_init_script(RECORD_NOTIFICATIONS)
    uploads = [served.records.processing(f"{name}.csv") for name in ("first", "second", "third")]
    page = open_live(context, f"{served.url}/uploads")
    hide(page)
    served.records.complete(uploads[0])
    expect(page.locator("#toasts .toast")).to_have_count(1)
    assert page.evaluate("[asked, shown.length]") == [0, 0]

    show(page)
    page.click("#recent-link")
    choice = page.get_by_role("button", name="Notify me when an upload ends")
    choice.click()
    expect(choice).to_have_attribute("aria-pressed", "true")
    served.records.complete(uploads[1])
    expect(page.locator("#toasts .toast")).to_have_count(2)
    assert page.evaluate("[asked, shown.length]") == [1, 0]

    hide(page)
    failed = served.records.fail(uploads[2], "The disk is full.")
    expect(page.locator("#toasts .toast")).to_have_count(3)
    assert page.evaluate("shown") == [
        {"body": "third.csv failed: The disk is full.", "tag": f"toast-{failed.id}-{failed.attempt}"}
    ]

    other = open_live(context, f"{served.url}/uploads")
    other.evaluate("Notification.permission = 'denied'")
    other.click("#recent-link")
    other.get_by_role("button", name="Notify me when an upload ends").click()
    expect(other.locator("#notify-hint")).to_contain_text("Notifications are blocked")
    assert other.evaluate("asked") == 0


def test_what_was_announced_is_counted_until_it_is_seen_in_the_list_of_what_ended(
    served: Served, context: BrowserContext
) -> None:
    first, second = served.records.processing("first.csv"), served.records.processing("second.csv")
    pages = [open_live(context, f"{served.url}/uploads") for _ in range(2)]
    served.records.complete(first)
    served.records.fail(second, "The disk is full.")
    link = pages[0].get_by_role("link", name="Recently ended 2 not yet seen")
    expect(link).to_be_visible()
    expect(pages[1].locator("#recent-count")).to_have_text("2 not yet seen")

    pages[0].locator(f"#toast-{first.id}-1").get_by_role("button", name="Close notification").click()
    expect(pages[1].locator("#recent-count")).to_have_text("1 not yet seen")

    link = pages[0].locator("#recent-link")
    link.focus()
    link.press("Enter")
    expect(link).to_have_attribute("aria-expanded", "true")
    expect(pages[0].locator("#recent-list li p:first-child")).to_have_text(
        ["second.csv failed: The disk is full.", "first.csv completed: 0 rows imported"]
    )
    expect(pages[1].locator("#recent-count")).to_be_hidden()

    pages[0].keyboard.press("Tab")
    expect(pages[0].locator("#recent-list a").first).to_be_focused()
    pages[0].keyboard.press("Escape")
    expect(pages[0].locator("#recent")).to_be_hidden()
    expect(link).to_have_attribute("aria-expanded", "false")


def test_of_many_uploads_that_end_well_the_last_three_are_announced_and_every_one_that_failed(
    served: Served, context: BrowserContext
) -> None:
    page = open_live(context, f"{served.url}/uploads")
    page.evaluate("document.styleSheets[0].insertRule('.toast { animation: none !important; }')")  # so that none leaves
    failed = served.records.processing("failed.csv")
    served.records.fail(failed, "The disk is full.")
    for number in range(6):
        served.records.complete(served.records.processing(f"{number}.csv"))
        expect(page.locator("#recent-count")).to_have_text(f"{number + 2} not yet seen")

    expect(page.locator("#toasts .toast-good")).to_have_text([re.compile(rf"{number}\.csv") for number in (3, 4, 5)])
    expect(page.locator("#toasts .toast-bad")).to_contain_text("failed.csv failed: The disk is full.")


def test_times_are_relative_in_the_zone_of_the_reader_and_go_on(served: Served, context: BrowserContext) -> None:
    upload = served.records.completed("june.csv")
    page = context.new_page()
    page.clock.install(time=upload.created_at)
    page.goto(f"{served.url}/uploads")
    time = page.locator(f"#upload-{upload.id} time")
    expect(time).to_have_text("now")
    zone = page.evaluate("new Date().toLocaleTimeString(undefined, { timeZoneName: 'short' }).split(' ').pop()")
    expect(time).to_have_attribute("title", re.compile(rf" {re.escape(zone)}$"))

    page.clock.fast_forward(125_000)
    expect(time).to_have_text("2 min. ago")

    page.clock.fast_forward(40 * 86_400_000)
    expect(time).not_to_contain_text("ago")
