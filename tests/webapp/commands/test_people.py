"""`bulk-upload user`, `token` and `audit`, on a data folder of the test."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from jobs.database import Database
from jobs.people import accounts, audit, passwords, tokens
from jobs.people.accounts import Account
from jobs.people.audit import AuditQuery
from jobs.people.roles import Role
from jobs.settings import Settings
from tests.support.serving import Served
from tests.support.team import BROWSER, PASSWORD
from tests.support.waiting import until
from webapp.cli import main


@pytest.fixture(autouse=True)
def _environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("BULK_UPLOAD_PORT", "8000")


def run(*words: str, stdin: str = "") -> Result:
    return CliRunner().invoke(main, words, input=stdin)


def add(name: str, role: str = "admin") -> Result:
    return run("user", "add", name, "--role", role, "--password-stdin", stdin=f"{PASSWORD}\n")


def account(settings: Settings, name: str) -> Account:
    database = Database(settings.database)
    try:
        with database.reading() as connection:
            return accounts.get(connection, name)
    finally:
        database.close()


def test_a_user_is_added_with_the_password_on_stdin(settings: Settings) -> None:
    result = add("Ana")
    database = Database(settings.database)
    with database.reading() as connection:
        found = accounts.credentials(connection, "ana")
    database.close()

    assert (result.exit_code, result.output) == (0, "Added the account “Ana”: admin.\n")
    assert passwords.verify(PASSWORD, found.hashed)


def test_without_a_password_a_link_is_printed() -> None:
    add("ana")
    result = run("user", "add", "bob", "--role", "viewer", "--url", "https://uploads.example")

    assert result.exit_code == 0
    assert "https://uploads.example/invitation/" in result.output


@pytest.mark.parametrize(
    ("words", "stdin", "status", "message"),
    [
        (["user", "add", "bob", "--role", "viewer", "--password-stdin"], "short", 1, "at least 10"),
        (["user", "add", "bob", "--role", "viewer", "--password-stdin"], "", 2, "no password on stdin"),
        (["user", "add", "bob", "--role", "emperor"], "", 2, "emperor"),
        (["user", "add", "bob"], "", 2, "--role"),
        (["user", "add", "ANA", "--role", "viewer"], "", 1, "already an account"),
        (["user", "add", "a/b", "--role", "viewer"], "", 1, "no slash"),
        (["user", "disable", "ana"], "", 1, "only administrator"),
        (["user", "role", "ana", "viewer"], "", 1, "only administrator"),
        (["user", "disable", "nobody"], "", 1, "no account called"),
        (["user", "password", "ana"], PASSWORD, 2, "--password-stdin"),
        (["user", "password", "nobody", "--password-stdin"], PASSWORD, 1, "no account called"),
        (["token", "add", "nobody", "--name", "n", "--scope", "read"], "", 1, "no account called"),
        (["token", "add", "ana", "--name", "n"], "", 2, "--scope"),
        (["token", "add", "ana", "--name", "", "--scope", "read"], "", 1, "needs a name"),
        (["token", "add", "ana", "--name", "n", "--scope", "read", "--dataset", "none"], "", 1, "no dataset"),
        (["token", "add", "ana", "--name", "n", "--scope", "read", "--expires", "soon"], "", 2, "--expires"),
        (["token", "add", "ana", "--name", "n", "--scope", "read", "--expires", "2020-01-01"], "", 1, "expired"),
        (["token", "revoke", "7"], "", 1, "no API token"),
        (["token", "list", "nobody"], "", 1, "no account called"),
        (["audit", "--since", "yesterday"], "", 1, "since"),
        (["audit", "--result", "maybe"], "", 2, "maybe"),
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_cannot_be_is_refused_with_a_sentence(words: list[str], stdin: str, status: int, message: str) -> None:
    add("ana")
    result = run(*words, stdin=stdin)

    assert result.exit_code == status
    assert message in result.output
    assert "Traceback" not in result.output


def test_the_first_account_must_be_an_administrator() -> None:
    result = add("ana", "viewer")

    assert (result.exit_code, "no administrator yet" in result.output) == (1, True)


def test_accounts_are_listed_changed_and_each_change_is_in_the_audit_log(settings: Settings) -> None:
    assert run("user", "list").output == "No accounts yet.\n"
    add("ana")
    add("Zoë Ng", "viewer")
    assert run("user", "role", "zoë ng", "uploader").exit_code == 0
    assert account(settings, "zoë ng").role is Role.UPLOADER
    assert run("user", "disable", "ZOË NG").exit_code == 0
    listed = run("user", "list").output.splitlines()
    assert listed[0].split() == ["NAME", "ROLE", "STATE", "LAST", "USED"]
    assert [line.split("  ")[0].strip() for line in listed[1:]] == ["ana", "Zoë Ng"]
    assert listed[2].split()[2:] == ["uploader", "disabled", "never"]
    assert run("user", "enable", "zoë ng").exit_code == 0
    assert run("user", "password", "zoë ng", "--password-stdin", stdin="another harbour 3").exit_code == 0

    printed = [line.split("\t") for line in run("audit").output.splitlines()]
    assert [parts[4] for parts in printed] == [
        "user.password",
        "user.enable",
        "user.disable",
        "user.role",
        "user.add",
        "user.add",
    ]
    assert {(parts[2], parts[3], parts[6]) for parts in printed} == {("cli", "-", "ok")}
    assert [line.split("\t")[5] for line in run("audit", "--action", "user.add").output.splitlines()] == [
        "user Zoë Ng",
        "user ana",
    ]
    assert len(run("audit", "--limit", "2", "--since", "1h", "--object", "user Zoë Ng").output.splitlines()) == 2
    assert run("audit", "--until", "2020-01-01").output == ""


def test_a_token_is_the_only_thing_on_stdout(settings: Settings) -> None:
    add("ana")
    result = run(
        "token", "add", "ANA", "--name", "nightly", "--scope", "read", "--scope", "upload", "--expires", "2999-12-31"
    )
    secret = result.stdout.strip()
    database = Database(settings.database)
    with database.reading() as connection:
        token = tokens.find(connection, secret)
        entries = audit.page(connection, AuditQuery(action="token.add"), limit=9)
    database.close()

    assert token is not None
    assert (token.name, sorted(token.scopes)) == ("nightly", ["read", "upload"])
    assert token.expires_at is not None
    assert str(token.expires_at) == "2999-12-31 00:00:00+00:00"
    assert [each.via for each in entries] == ["cli"]
    [_, line] = run("token", "list", "ana").output.splitlines()
    assert line.split() == ["1", "ana", "nightly", "read,upload", "all", "2999-12-31", "00:00", "never"]
    assert secret not in line
    assert run("token", "revoke", "1").output == "Token 1 (nightly) is revoked.\n"
    assert run("token", "list").output == "No tokens.\n"


def test_commands_take_effect_in_a_running_server(settings: Settings) -> None:
    with Served(settings) as served:
        assert served.client.get("/api/v1/uploads").status_code == 200
        command(settings, "user", "add", "ana", "--role", "admin", "--password-stdin", stdin=PASSWORD)
        until(lambda: served.client.get("/api/v1/uploads").status_code == 401, "the account to take effect")
        command(settings, "user", "add", "bob", "--role", "viewer", "--password-stdin", stdin=PASSWORD)
        signed_in = served.client.post("/sign-in", data={"name": "bob", "password": PASSWORD}, headers=BROWSER)
        assert signed_in.status_code == 303
        assert served.client.get("/uploads").status_code == 200
        command(settings, "user", "disable", "bob")
        assert served.client.get("/uploads").status_code == 303


def command(settings: Settings, *words: str, stdin: str = "") -> None:
    """In a process of its own, beside the server."""
    done = subprocess.run(
        [sys.executable, "-m", "webapp.cli", *words],
        cwd=Path(__file__).parents[3],
        input=stdin,
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
