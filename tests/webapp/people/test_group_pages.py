"""The pages of groups, for administrators."""

import re

import pytest

from jobs.people import access, groups
from jobs.people.access import Access, Grant
from jobs.people.roles import Role
from tests.support.team import Team
from webapp.people import group_pages


def test_a_group_gets_members_and_loses_them(team: Team) -> None:
    team.add("bob")
    root = team.browser("root")
    added = root.post("/people/groups", data={"name": "Sales & Support"})
    page = root.get(added.headers["location"])

    assert (added.status_code, page.status_code) == (303, 200)
    path = added.headers["location"]
    assert root.post(f"{path}/members", data={"user": "BOB"}).status_code == 303
    assert "/people/accounts/bob" in root.get(path).text
    assert "Sales &amp; Support" in root.get("/people/accounts/bob").text
    unknown = root.post(f"{path}/members", data={"user": "nobody"})
    assert (unknown.status_code, 'value="nobody"' in unknown.text, 'id="user-error"' in unknown.text) == (
        422,
        True,
        True,
    )
    assert root.post(f"{path}/remove-member", data={"user": "bob"}).status_code == 303
    with team.database.reading() as connection:
        assert groups.get(connection, "sales & support").members == []


@pytest.mark.parametrize(("name", "status"), [("", 422), ("FINANCE", 409)])
def test_a_name_that_cannot_be_is_refused_beside_the_field(team: Team, name: str, status: int) -> None:
    root = team.browser("root")
    root.post("/people/groups", data={"name": "Finance"})
    answer = root.post("/people/groups", data={"name": name})

    assert answer.status_code == status
    assert 'id="name-error"' in answer.text
    assert f'value="{name}"' in answer.text


def test_removing_a_group_says_what_its_members_lose(team: Team) -> None:
    root = team.browser("root")
    root.post("/people/groups", data={"name": "Finance"})
    root.post("/people/groups/finance/members", data={"user": "root"})
    with team.database.transaction() as connection:
        access.put(connection, "sales", Access(True, [Grant(None, "finance", Role.VIEWER)]))
    page = " ".join(root.get("/people/groups/finance").text.split())

    assert "1 person loses what is granted to “Finance”: sales." in page
    assert root.post("/people/groups/finance/remove").headers["location"] == "/people/groups"
    assert root.get("/people/groups/finance").status_code == 404
    assert root.post("/people/groups/finance/remove").status_code == 404


def test_groups_come_a_page_at_a_time(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_pages, "SHOWN", 1)
    root = team.browser("root")
    for name in ("sales", "Finance"):
        root.post("/people/groups", data={"name": name})
    first = root.get("/people/groups").text
    [following] = re.findall(r'rel="next" href="([^"]*)"', first)

    assert "/people/groups/Finance" in first
    assert "/people/groups/sales" in root.get(following).text
