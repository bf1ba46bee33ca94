"""Somebody signs in at an issuer, works, and signs out, in a real browser with the policy that the pages have."""

import re
from pathlib import Path

from playwright.sync_api import Browser, expect

from jobs.settings import Settings
from tests.support.browsing import window
from tests.support.databases import ONE_DATABASE
from tests.support.issuers import provider, settings_for
from tests.support.serving import Served


@ONE_DATABASE
def test_a_browser_signs_in_and_out_at_the_issuer(settings: Settings, browser: Browser, tmp_path: Path) -> None:
    with (
        provider(tmp_path) as issuer,
        Served(settings.model_copy(update={**settings_for(issuer.url), "oidc_role_claim": "role"})) as served,
        window(browser) as context,
    ):
        issuer.know("ana-1", preferred_username="Ana", role="uploader")
        page = context.new_page()

        page.goto(f"{served.url}/datasets")
        expect(page).to_have_url(f"{served.url}/sign-in?next=%2Fdatasets")
        page.get_by_role("link", name="Sign in with localhost").click()
        page.get_by_placeholder("sub").fill("ana-1")
        page.get_by_role("button", name="Authorize").click()
        expect(page).to_have_url(f"{served.url}/datasets")
        assert {cookie["name"] for cookie in context.cookies(served.url)} == {"session"}
        assert page.evaluate("document.cookie") == ""

        page.goto(f"{served.url}/account")
        expect(page.get_by_role("heading", name="Ana uploader")).to_be_visible()
        page.get_by_role("link", name="Sign out").click()
        expect(page).to_have_url(re.compile(re.escape(f"{issuer.url}/oauth2/end_session?")))
        assert context.cookies(served.url) == []
        page.get_by_role("button").first.click()
        expect(page).to_have_url(f"{served.url}/sign-in")
        page.goto(f"{served.url}/datasets")
        expect(page).to_have_url(f"{served.url}/sign-in?next=%2Fdatasets")
