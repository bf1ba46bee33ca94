"""The commands that talk to a running server, where that has accounts."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from jobs.errors import SettingsError
from jobs.people import tokens
from jobs.people.roles import Role, Scope
from jobs.settings import Settings
from jobs.uploads import Status
from tests.support import commands
from tests.support.databases import ONE_DATABASE
from tests.support.files import written
from tests.support.serving import Worker
from tests.support.team import Team, a_team
from webapp.client.remote import Remote, Server, server_at


@pytest.fixture
def team(settings: Settings) -> Iterator[Team]:
    with a_team(settings) as team:
        team.add("ann", Role.UPLOADER)
        yield team


def token_of(team: Team, name: str, *scopes: Scope) -> str:
    with team.database.transaction() as connection:
        return tokens.add(connection, team.get(name).id, name="laptop", scopes=scopes)[1]


@ONE_DATABASE
def test_a_token_lets_commands_in_where_there_are_accounts(team: Team, tmp_path: Path) -> None:
    file, url = written(tmp_path, "id,country\n1,Germany\n2,France\n"), ("--url", team.served.url)
    secret = token_of(team, "ann", Scope.UPLOAD, Scope.READ)
    with Worker(team.served.settings):
        refused = commands.run("load", file, *url)
        status, out, err = commands.run("load", file, *url, "--token", secret)
        watched = commands.run("watch", 1, *url, BULK_UPLOAD_TOKEN=secret)
        unknown = commands.run("watch", 1, *url, "--token", "bu_none")

    [upload] = team.served.records.all()
    assert (upload.status, upload.rows_success, upload.uploaded_by) == (Status.COMPLETED, 2, "ann")
    assert (status, out) == (0, "file: completed, 2 rows\n"), err
    assert watched[0] == 0, watched
    assert (refused[0], unknown[0]) == (2, 2)
    assert secret not in "".join([out, err, *map(str, refused), *map(str, watched)])


def test_a_token_is_sent_with_each_request() -> None:
    with Remote(Server(httpx.URL("http://host"), "bu_x")) as remote:
        assert remote.client.headers["authorization"] == "Bearer bu_x"
    with Remote(server_at("http://host", None, Settings)) as remote:
        assert "authorization" not in remote.client.headers


@pytest.mark.parametrize("token", ["bu_ö", "bu_1\n2", "two words"])
def test_a_token_that_no_header_can_have_is_refused(token: str) -> None:
    with pytest.raises(SettingsError, match="no API token"):
        Remote(Server(httpx.URL("http://host"), token))
