"""A team in real browsers: set up, invited, signed in, locked out; and whether its pages are accessible."""

import re
from collections.abc import Callable

import httpx
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.support.accessibility import violations
from tests.support.browsing import window
from tests.support.serving import Served
from tests.support.supervised import Serve
from tests.support.team import PASSWORD
from tests.support.waiting import until


def test_a_second_person_is_invited_signs_in_and_is_locked_out(
    start: Callable[..., Serve], browser: Browser, context: BrowserContext
) -> None:
    serve = start(BULK_UPLOAD_SETUP="1")
    url = serve.url
    [link] = re.findall(r"Set up +(\S+)", serve.banner)
    admin = context.new_page()
    admin.goto(link)
    admin.fill("#name", "Ana")
    admin.fill("#password", PASSWORD)
    admin.keyboard.press("Enter")
    admin.wait_for_url("**/people")
    admin.click("text=Add a person")
    admin.fill("#name", "Bob")
    admin.click("text=Add the person")
    invitation = admin.input_value("[aria-label='Invitation link']")

    with window(browser) as other:
        bob = other.new_page()
        bob.goto(f"{url}/uploads")
        expect(bob.get_by_role("heading", name="Sign in")).to_be_visible()
        bob.goto(invitation)
        bob.fill("#password", PASSWORD)
        bob.keyboard.press("Enter")
        bob.wait_for_url("**/uploads")
        bob.goto(f"{url}/account")
        bob.click("text=Sign out")
        bob.wait_for_url("**/sign-in")
        bob.fill("#name", "BOB")
        bob.fill("#password", PASSWORD)
        bob.keyboard.press("Enter")
        bob.wait_for_url("**/uploads")
        expect(bob.locator("#connection[data-state=live]")).to_be_visible()

        admin.goto(f"{url}/people/accounts/bob")
        admin.click("text=Disable the account")
        admin.click("button:has-text('Disable Bob')")
        expect(admin.get_by_role("status").filter(has_text="Bob is disabled")).to_be_visible()
        expect(bob.locator("#signed-out")).to_be_visible()
        expect(bob.locator("#connection")).to_be_hidden()
        bob.goto(f"{url}/datasets")
        expect(bob.get_by_role("heading", name="Sign in")).to_be_visible()
        assert "next=%2Fdatasets" in bob.url
        bob.fill("#name", "bob")
        bob.fill("#password", PASSWORD)
        bob.keyboard.press("Enter")
        expect(bob.get_by_role("alert")).to_contain_text("wrong")


def test_the_pages_of_accounts_break_no_rule_of_accessibility_and_fit_a_phone(
    site: Callable[..., Served], context: BrowserContext
) -> None:
    url = site().url
    page = context.new_page()
    httpx.post(f"{url}/api/v1/uploads", params={"filename": "sales.csv"}, content="a,b\n1,2\n").raise_for_status()
    page.goto(f"{url}/people")
    check(page, "first account")
    page.fill("#name", "Ana")
    page.fill("#password", PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="People")).to_be_visible()
    page.click("text=Add a person")
    page.fill("#name", "Bob")
    page.click("text=Add the person")
    check(page, "invitation link")
    invitation = page.input_value("[aria-label='Invitation link']")
    page.goto(f"{url}/people/groups")
    page.fill("#name", "Finance")
    page.click("text=Add the group")
    page.fill("#user", "bob")
    page.click("button:has-text('Add')")
    expect(page.get_by_role("link", name="Bob")).to_be_visible()
    page.click("summary")
    check(page, "group")
    page.goto(f"{url}/account")
    page.click("text=Make a token")
    page.fill("#token-name", "nightly")
    page.click("text=Make the token")
    check(page, "token")
    for path in ("/people", "/people/groups", "/people/accounts/Bob", "/audit", "/audit?since=x"):
        page.goto(url + path)
        for summary in page.locator("main summary").all():
            summary.click()
        check(page, path)
    page.goto(f"{url}/datasets/sales/access")
    page.locator("[name=name]").first.fill("nobody")
    page.click("text=Save")
    expect(page.locator(".field-error").first).to_be_visible()
    check(page, "access")
    page.goto(invitation)
    check(page, "invitation")
    context.clear_cookies()
    page.goto(f"{url}/sign-in")
    page.fill("#name", "nobody")
    page.fill("#password", "x")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    check(page, "sign in")


def check(page: Page, name: str) -> None:
    """In both themes; and no page is wider than a phone."""
    page.emulate_media(reduced_motion="reduce")
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        page.evaluate("Promise.allSettled(document.getAnimations().map(each => each.finished))")
        assert violations(page) == [], (name, theme)
    page.set_viewport_size({"width": 390, "height": 844})
    narrow = "innerWidth === 390 && document.documentElement.scrollWidth <= 390"
    until(lambda: page.evaluate(narrow), f"{name} to fit a phone")
    assert violations(page) == [], (name, "on a phone")
    page.set_viewport_size({"width": 1280, "height": 900})
