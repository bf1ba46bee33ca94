"""The audit log: the page, the file, and the API."""

import csv
import re
from typing import Any

import pytest

from jobs.people import audit
from jobs.people.audit import Actor, Result, Via
from jobs.people.roles import Role
from tests.support.databases import BOTH_DATABASES
from tests.support.team import ACTOR, Team
from webapp.people import audit_log


@pytest.fixture(autouse=True)
def _entries(team: Team) -> None:
    with team.database.transaction() as connection:
        audit.write(connection, ACTOR, "user.add", "user ana", detail="viewer")
        audit.write(connection, Actor(None, Via.WEB, "192.0.2.3"), "sign_in", "user <b>ana", result=Result.REFUSED)
        audit.write(connection, Actor("ana", Via.CLI), "upload.cancel", "upload 7", detail='=HYPERLINK("http://x")')


def items(team: Team, **query: Any) -> list[dict[str, Any]]:
    answer = team.program("root").get("/api/v1/audit", params=query)
    assert answer.status_code == 200
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


def test_an_entry_has_the_fields_of_the_contract(team: Team) -> None:
    entry = items(team)[2]

    assert list(entry) == ["id", "at", "actor", "via", "address", "action", "object", "result", "detail"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", entry["at"])
    assert (entry["actor"], entry["via"], entry["address"]) == ("root", "api", "192.0.2.1")
    assert (entry["action"], entry["object"], entry["result"], entry["detail"]) == (
        "user.add",
        "user ana",
        "ok",
        "viewer",
    )


@BOTH_DATABASES
@pytest.mark.parametrize(
    ("query", "actions"),
    [
        ({"actor": "ana"}, ["upload.cancel"]),
        ({"action": "sign_in"}, ["sign_in"]),
        ({"object": "user ana"}, ["user.add"]),
        ({"result": "refused"}, ["sign_in"]),
        ({"since": "1h"}, ["upload.cancel", "sign_in", "user.add"]),
        ({"since": "2999-01-01"}, []),
        ({"until": "2020-01-01"}, []),
        ({"until": "2999-01-01T00:00:00Z", "action": "sign_in"}, ["sign_in"]),
        ({"actor": "a\x00"}, []),
        ({"cursor": "1"}, []),
    ],
    ids=str,
)
def test_each_filter_chooses(team: Team, query: dict[str, str], actions: list[str]) -> None:
    assert [each["action"] for each in items(team, **query)] == actions
    page = team.browser("root").get("/audit", params=query)
    assert page.status_code == 200
    assert re.findall(r"<code>([\w.]+)</code>", page.text) == actions


@pytest.mark.parametrize(
    "query", [{"since": "yesterday"}, {"until": "x"}, {"result": "maybe"}, {"cursor": "x"}, {"limit": "0"}], ids=str
)
def test_a_filter_that_cannot_be_is_refused(team: Team, query: dict[str, str]) -> None:
    assert team.program("root").get("/api/v1/audit", params=query).status_code == 422
    if "limit" not in query:
        page = team.browser("root").get("/audit", params=query)
        assert page.status_code == 422
        assert next(iter(query)) in page.text
        assert team.browser("root").get("/audit.csv", params=query).status_code == 422


def test_pages_follow_each_other_with_their_filters(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_log, "SHOWN", 1)
    root = team.program("root")
    first = root.get("/api/v1/audit", params={"limit": 2, "since": "1h"}).json()
    second = root.get(first["links"]["next"]).json()

    assert [len(first["items"]), len(second["items"])] == [2, 1]
    assert "since=1h" in first["links"]["next"]
    assert second["cursor"] is second["links"]["next"] is None
    page = team.browser("root").get("/audit", params={"via": "x", "object": "user ana", "result": "ok"}).text
    assert re.findall(r'rel="next"', page) == []
    [following] = re.findall(r'rel="next" href="([^"]*)"', team.browser("root").get("/audit?since=1h").text)
    assert "since=1h" in following
    assert "user &lt;b&gt;ana" in team.browser("root").get(following.replace("&amp;", "&")).text


def test_the_file_has_all_entries_and_runs_no_formula(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_log, "ENTRIES_READ", 2)
    answer = team.browser("root").get("/audit.csv", params={"until": "2999-01-01"})
    rows = list(csv.DictReader(answer.text.removeprefix("\ufeff").splitlines()))

    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="audit.csv"'
    assert [row["action"] for row in rows] == ["audit.download", "upload.cancel", "sign_in", "user.add"]
    assert rows[1]["detail"] == '\'=HYPERLINK("http://x")'
    assert [row["actor"] for row in rows] == ["root", "ana", "", "root"]


def test_it_is_for_administrators(team: Team) -> None:
    team.add("bob", Role.UPLOADER)

    assert team.program("bob").get("/api/v1/audit").status_code == 403
    assert team.browser("bob").get("/audit").status_code == 403
