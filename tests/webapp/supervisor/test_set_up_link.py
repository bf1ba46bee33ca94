"""The link for the first administrator: when it is printed, and that it works."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from jobs.database import Database
from jobs.people import accounts, invitations
from jobs.settings import Settings
from tests import ROOT
from tests.support.supervised import Serve
from tests.support.team import BROWSER, PASSWORD, add_account
from tests.support.waiting import until
from webapp.supervisor import set_up_link


@pytest.mark.parametrize(
    "changes", [{"setup": True}, {"oidc_issuer": "https://issuer.example"}, {"auth_header": "Remote-User"}], ids=str
)
def test_it_is_made_where_everybody_has_to_sign_in_until_there_is_an_account(
    settings: Settings, changes: dict[str, object]
) -> None:
    assert set_up_link.make(settings) is None
    secret = set_up_link.make(settings.model_copy(update=changes))
    database = Database(settings.database)
    with database.transaction() as connection:
        assert secret is not None
        assert invitations.is_set_up(connection, secret)
        add_account(connection, "ana")
    database.close()

    assert set_up_link.make(settings.model_copy(update=changes)) is None


def test_serve_shows_it_in_its_banner_and_nothing_else_answers_until_it_was_used(start: Callable[..., Serve]) -> None:
    serve = start(BULK_UPLOAD_SETUP="1")
    found = until(lambda: re.search(r"Set up +(http://\S+/set-up/\S+)", serve.banner), "the set-up link in the banner")
    assert isinstance(found, re.Match)
    with httpx.Client(base_url=serve.url, headers=BROWSER, timeout=20) as browser:
        assert browser.get("/api/v1/uploads").status_code == 401
        answer = browser.post(found[1], data={"name": "ana", "password": PASSWORD})
        assert answer.status_code == 303
        assert browser.get("/api/v1/uploads").status_code == 200


def test_a_web_process_of_its_own_prints_it_at_each_start(settings: Settings, tmp_path: Path) -> None:
    first, second = printed_link(settings, tmp_path / "first"), printed_link(settings, tmp_path / "second")
    database = Database(settings.database)
    with database.reading() as connection:
        assert invitations.is_set_up(connection, second)
        assert not accounts.exist(connection)
    database.close()

    assert first != second


def printed_link(settings: Settings, output: Path) -> str:
    """The secret in the link that a web process prints."""
    with output.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "webapp.cli", "web", "--port", "0"],
            env={**os.environ, **settings.environment(), "PYTHONPATH": str(ROOT), "BULK_UPLOAD_SETUP": "1"},
            stdout=stream,
            stderr=subprocess.DEVNULL,
        )
    try:
        found = until(lambda: re.search(r"http://\S+/set-up/(\S+)", output.read_text()), "the web process to print it")
    finally:
        process.terminate()
        process.wait(60)
    assert isinstance(found, re.Match)
    return str(found[1])
