"""The audit log: in the transaction of what it tells, never altered, without secrets."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from jobs.database import Database
from jobs.people import audit
from jobs.people.audit import Actor, AuditQuery, Entry, Result, Via
from jobs.tables import audit as table
from tests.support.team import ACTOR, add_account

START = datetime(2026, 1, 31, 9, tzinfo=UTC)


def all_entries(connection: sa.Connection, **query: Any) -> list[Entry]:
    return list(audit.each(connection, AuditQuery(**query), at_once=2))


@pytest.fixture
def entries(connection: sa.Connection) -> list[Entry]:
    """Five, an hour apart, the newest first."""
    audit.write(connection, ACTOR, "user.add", "user ana", detail="viewer")
    audit.write(connection, Actor("ana", Via.WEB, "192.0.2.2"), "upload.cancel", "upload 7")
    audit.write(connection, Actor(None, Via.WEB, "192.0.2.3"), "sign_in", "user ana", result=Result.REFUSED)
    audit.write(connection, Actor("ana", Via.CLI), "upload.cancel", "upload 8")
    audit.write(connection, ACTOR, "user.disable", "user ana")
    for number, entry_id in enumerate(connection.execute(sa.select(table.c.id).order_by(table.c.id)).scalars().all()):
        at = START + timedelta(hours=number)
        connection.execute(sa.update(table).where(table.c.id == entry_id).values(at=at))
    return all_entries(connection)


def test_an_entry_says_who_did_what_how_and_from_where(connection: sa.Connection) -> None:
    before = datetime.now(UTC) - timedelta(seconds=5)
    audit.write(connection, ACTOR, "user.add", "user ana", detail="viewer")
    [entry] = all_entries(connection)

    assert before < entry.at < before + timedelta(minutes=5)
    assert (entry.actor, entry.via, entry.address) == ("root", "api", "192.0.2.1")
    assert (entry.action, entry.object, entry.result, entry.detail) == ("user.add", "user ana", "ok", "viewer")


def test_an_account_is_found_in_any_case(connection: sa.Connection) -> None:
    add_account(connection, "Ana Müller")
    audit.write(connection, Actor("Ana Müller", Via.WEB), "sign_in")
    audit.write(connection, Actor("root", Via.CLI), "user.add")

    assert [each.action for each in all_entries(connection, actor="ANA MÜLLER")] == ["sign_in"]
    assert [each.action for each in all_entries(connection, actor="Ana Müller")] == ["sign_in"]
    assert [each.action for each in all_entries(connection, actor="root")] == ["user.add"]


def test_an_entry_is_rolled_back_with_its_change(database: Database) -> None:
    def change() -> None:
        with database.transaction() as connection:
            add_account(connection, "ana")
            audit.write(connection, ACTOR, "user.add", "user ana")
            raise RuntimeError("no COMMIT")

    with pytest.raises(RuntimeError):
        change()

    with database.reading() as connection:
        assert all_entries(connection) == []


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, [4, 3, 2, 1, 0]),
        ({"actor": "ana"}, [3, 1]),
        ({"action": "upload.cancel"}, [3, 1]),
        ({"object": "user ana"}, [4, 2, 0]),
        ({"result": "refused"}, [2]),
        ({"actor": "ana", "object": "upload 7"}, [1]),
        ({"actor": "a\x00"}, []),
        ({"since": START + timedelta(hours=3)}, [4, 3]),
        ({"until": START + timedelta(hours=3)}, [2, 1, 0]),
        ({"since": START + timedelta(minutes=30), "until": START + timedelta(hours=2)}, [1]),
        ({"since": START + timedelta(days=1)}, []),
        ({"until": START}, []),
        ({"until": START + timedelta(days=1)}, [4, 3, 2, 1, 0]),
    ],
    ids=str,
)
def test_each_filter_chooses_what_it_says(
    connection: sa.Connection, entries: list[Entry], query: dict[str, Any], found: list[int]
) -> None:
    assert all_entries(connection, **query) == [entries[4 - number] for number in found]


def test_entries_that_were_written_at_once_are_chosen_by_their_time(
    connection: sa.Connection, entries: list[Entry]
) -> None:
    late, early = entries[1], entries[2]
    for entry, at in ((late, early.at), (early, late.at)):
        connection.execute(sa.update(table).where(table.c.id == entry.id).values(at=at))

    assert [each.id for each in all_entries(connection, since=late.at)] == [entries[0].id, early.id]
    assert [each.id for each in all_entries(connection, until=late.at)] == [late.id, entries[3].id, entries[4].id]


def test_pages_follow_each_other(connection: sa.Connection, entries: list[Entry]) -> None:
    first = audit.page(connection, AuditQuery(), limit=2)
    second = audit.page(connection, AuditQuery(), limit=9, before=first[-1].id)

    assert first + second == entries


@pytest.mark.parametrize("typed", ["x" * 400, "nul \x00", "half \ud800"])
def test_what_somebody_typed_is_kept_as_far_as_it_can_be(connection: sa.Connection, typed: str) -> None:
    audit.write(connection, ACTOR, "sign_in", typed, detail=typed)
    [entry] = all_entries(connection)

    assert entry.object == entry.detail
    assert entry.object[:4] == typed[:4]
    assert len(entry.object) <= audit.LONGEST + 1
