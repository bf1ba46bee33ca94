"""Rules of a dataset, and imports that apply them, on both databases."""

from collections.abc import Callable
from typing import Any

import pytest

import jobs.changes
from jobs import bulk_upload, datasets, failed_rows, uploads
from jobs.database import Database
from jobs.dataset_admin import changes as dataset_changes
from jobs.datasets import Mode
from jobs.errors import InvalidChangeError, RuleNotFoundError
from jobs.events import Ticker
from jobs.people.audit import Actor, AuditQuery, Via, page
from jobs.repair import rules
from jobs.repair.repairs import Repair
from jobs.repair.rules import Rule, Ruled, Wanted
from jobs.schema import TableSchema
from jobs.settings import Settings
from jobs.uploads import Status, Upload
from jobs.work import attempt
from tests.support.corrections import corrections_file
from tests.support.files import store

ACTOR = Actor("root", Via.API)
SCHEMA = TableSchema.parse(
    {
        "fields": [
            {"name": "id", "type": "integer"},
            {"name": "amount", "type": "number", "constraints": {"minimum": 0}},
            {"name": "country", "constraints": {"enum": ["Germany", "France"]}},
        ]
    }
)
NUMBER = Repair.single("amount", "number", "1.234,5")
TYPO = Repair.single("country", "replace", "Germny", "Germany")


@pytest.fixture
def database(settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """With the dataset `sales`. The job reads the settings of the test; a chunk holds some twenty rows."""
    for name, value in settings.model_copy(update={"chunk_bytes": 256, "lease": 20}).environment().items():
        monkeypatch.setenv(name, value)
    with database.transaction() as connection:
        dataset_changes.declare(connection, ACTOR, "sales", SCHEMA, Mode.INSERT)
    return database


def added(database: Database, repair: Repair, **more: Any) -> Rule:
    with database.transaction() as connection:
        return rules.add(connection, ACTOR, "sales", repair, **more)


def changed(database: Database, rule: Rule, **wanted: Any) -> Rule:
    with database.transaction() as connection:
        return rules.change(connection, ACTOR, "sales", rule.id, Wanted(**wanted))


def present(database: Database, name: str = "sales") -> list[Rule]:
    with database.reading() as connection:
        return rules.of_dataset(connection, name)


def recorded(settings: Settings, database: Database, content: str) -> Upload:
    with database.transaction() as connection:
        return uploads.create(connection, store(settings, content, "june.csv"), dataset="sales")


def run(database: Database, upload: Upload) -> Upload:
    bulk_upload.run(upload.id)
    with database.reading() as connection:
        return uploads.get(connection, upload.id)


def rows_of(database: Database) -> list[list[str]]:
    with database.reading() as connection:
        found = datasets.each_after(connection, datasets.get(connection, "sales"), None, limit=999)
        return [row.cells for row in found]


def failed_of(database: Database, upload: Upload) -> list[tuple[int, list[str], list[str | None]]]:
    with database.reading() as connection:
        found = failed_rows.rows(connection, upload.id, limit=999)
    return [(row.row_number, row.cells, [reason.column for reason in row.reasons]) for row in found]


@pytest.fixture
def after_chunk(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], None]], None]:
    """Do something after so many chunks of an import have been committed."""

    def arrange(chunks: int, action: Callable[[], None]) -> None:
        seen: list[None] = []

        class Interrupting(Ticker[Upload]):
            def tick(self, upload: Upload) -> None:
                if upload.rows_processed:
                    seen.append(None)
                    if len(seen) == chunks:
                        action()
                super().tick(upload)

        monkeypatch.setattr(jobs.changes, "Ticker", Interrupting)

    return arrange


def test_an_import_applies_the_rules_before_it_reads_values_and_counts_the_cells(
    settings: Settings, database: Database
) -> None:
    number, typo = added(database, NUMBER), added(database, TYPO)
    content = 'id,amount,country\n1,"1.204,50",Germny\n2,7.5,France\n3,7.5,Germny\nx,"2,5",Germny\n5,-1,France\n'

    upload = run(database, recorded(settings, database, content))

    assert rows_of(database) == [["1", "1204.5", "Germany"], ["2", "7.5", "France"], ["3", "7.5", "Germany"]]
    assert failed_of(database, upload) == [(4, ["x", "2,5", "Germny"], ["id"]), (5, ["5", "-1", "France"], ["amount"])]
    assert rules.cells(upload.rules) == [{"id": number.id, "cells": 2}, {"id": typo.id, "cells": 3}]
    assert upload.rules[0] == {
        "id": number.id,
        "version": 1,
        "cells": 2,
        "samples": [["1.204,50", "1204.5"], ["2,5", "2.5"]],
    }


def test_a_rule_never_touches_a_value_that_is_valid_already(settings: Settings, database: Database) -> None:
    added(database, NUMBER)

    upload = run(database, recorded(settings, database, 'id,amount,country\n1,1.204,France\n2,"1,204",France\n'))

    assert [row[1] for row in rows_of(database)] == ["1.204", "1.204"]
    assert [each["cells"] for each in upload.rules] == [1]


def test_rules_that_are_off_do_nothing_and_the_others_go_in_their_order(settings: Settings, database: Database) -> None:
    first = added(database, Repair.single("country", "replace", "D", "Germny"))
    added(database, TYPO)
    off = added(database, Repair.single("country", "replace", "F", "France"), enabled=False)

    upload = run(database, recorded(settings, database, "id,amount,country\n1,1,D\n2,1,F\n"))
    changed(database, first, position=2)
    changed(database, off, enabled=True)
    other = run(database, recorded(settings, database, "id,amount,country\n3,1,D\n4,1,F\n"))

    assert [each[0] for each in failed_of(database, upload)] == [2]
    assert [each[0] for each in failed_of(database, other)] == [1]
    assert [row[0] for row in rows_of(database)] == ["1", "4"]


#: 200 rows; every second one has an amount that only a rule can read.
MESSY = [f'{n},"{n},5",France\n' if n % 2 else f"{n},{n},France\n" for n in range(1, 201)]
CONTENT = "id,amount,country\n" + "".join(MESSY)


def test_a_running_import_takes_a_rule_with_its_next_chunk(
    settings: Settings, database: Database, after_chunk: Callable[[int, Callable[[], None]], None]
) -> None:
    taken: list[int] = []

    def accept() -> None:
        added(database, NUMBER)
        with database.reading() as connection:
            taken.append(uploads.get(connection, upload.id).rows_processed)

    upload = recorded(settings, database, CONTENT)
    after_chunk(3, accept)
    ended = run(database, upload)

    [before] = taken
    assert 20 <= before <= 100
    assert ended.status is Status.COMPLETED
    assert [each[0] for each in failed_of(database, ended)] == [n for n in range(1, before + 1) if n % 2]
    assert ended.rows_success == 200 - ended.rows_failed
    assert rules.cells(ended.rules)[0]["cells"] == sum(n % 2 for n in range(before + 1, 201))


def test_failed_rows_that_nobody_changed_land_once_there_is_a_rule_for_what_is_wrong(
    settings: Settings, database: Database
) -> None:
    failed = run(
        database, recorded(settings, database, 'id,amount,country\n1,"2,5",France\n2,"3,5",Spain\n3,4,France\n')
    )
    added(database, NUMBER)
    with database.transaction() as connection:
        file = store(settings, corrections_file(database, failed), "failed-rows.csv")
        child = uploads.create(connection, file)

    child = run(database, child)

    assert (failed.rows_failed, child.parent, child.rows_success) == (2, failed.id, 1)
    assert [each[1] for each in failed_of(database, child)] == [["2", "3,5", "Spain"]]
    assert sorted(row[1] for row in rows_of(database)) == ["2.5", "4"]


def test_an_import_that_is_interrupted_counts_each_cell_once_and_goes_on_with_the_present_rules(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = added(database, NUMBER)
    upload = recorded(settings, database, CONTENT)
    advance, calls = uploads.advance, list[None]()

    def dying(*words: Any, **more: Any) -> Upload:
        calls.append(None)
        found = advance(*words, **more)
        if len(calls) == 4:  # its transaction is rolled back
            raise OSError("the disk is gone")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(uploads, "advance", dying)
        with pytest.raises(OSError, match="the disk is gone"):
            bulk_upload.run(upload.id)
    with database.reading() as connection:
        stopped = uploads.get(connection, upload.id)
    changed(database, rule, enabled=False)
    other = added(database, Repair.single("amount", "number"))

    ended = run(database, upload)

    assert stopped.rows_processed > 0
    assert rules.cells(stopped.rules) == [
        {"id": rule.id, "cells": sum(n % 2 for n in range(1, stopped.rows_processed + 1))}
    ]
    assert ended.rows_failed == 0
    assert sum(each["cells"] for each in ended.rules) == 100
    assert [(each["id"], each["version"]) for each in ended.rules] == [(rule.id, 1), (other.id, 1)]


def test_a_chunk_that_was_checked_before_a_change_of_rules_is_checked_again(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = list[None]()
    upload = recorded(settings, database, CONTENT)
    renew = attempt.Attempt._renew_rules

    def adding(self: Any, check: Any, dataset: Any, connection: Any) -> None:
        if not calls:
            rules.add(connection, ACTOR, "sales", NUMBER)
        calls.append(None)
        renew(self, check, dataset, connection)

    monkeypatch.setattr(attempt.Attempt, "_renew_rules", adding)
    ended = run(database, upload)

    assert len(calls) > 3
    assert ended.rows_failed == 0


def test_rules_are_numbered_versioned_and_ordered(database: Database) -> None:
    first, second = added(database, NUMBER), added(database, TYPO)
    third = added(database, Repair.single("country", "case"), position=1)

    assert [(each.id, each.position) for each in present(database)] == [(third.id, 1), (first.id, 2), (second.id, 3)]
    assert changed(database, first, enabled=False).version == 2
    assert changed(database, first, enabled=False).version == 2
    assert added(database, NUMBER).enabled
    with database.transaction() as connection:
        rules.remove(connection, ACTOR, "sales", third.id)
        with pytest.raises(RuleNotFoundError):
            rules.remove(connection, ACTOR, "sales", third.id)
    assert [(each.id, each.position, each.version) for each in present(database)] == [
        (first.id, 1, 3),
        (second.id, 2, 1),
    ]
    with database.reading() as connection:
        found = [each.action for each in page(connection, AuditQuery(), limit=99) if "rule" in each.action]
    assert found[::-1] == ["dataset.rule_add"] * 3 + ["dataset.rule_change"] * 2 + ["dataset.rule_remove"]


def test_rules_follow_their_column_and_go_with_it(database: Database) -> None:
    added(database, NUMBER)
    added(database, TYPO)
    with database.transaction() as connection:
        version = rules.version_of(connection, "sales")
        dataset_changes.change_field(connection, ACTOR, "sales", "amount", {"name": "price"})
        assert rules.version_of(connection, "sales") > version
        dataset_changes.drop_field(connection, ACTOR, "sales", "country")

    assert [(each.repair.column, each.version, each.position) for each in present(database)] == [("price", 2, 1)]
    with database.transaction() as connection:
        dataset_changes.delete(connection, ACTOR, "sales", "sales")
    assert present(database) == []


@pytest.mark.parametrize(
    ("repair", "path"),
    [
        (Repair.single("nothing", "trim"), "column"),
        (Repair.single("country", "number"), "kind"),
        (Repair.single("amount", "nearest"), "kind"),
        (Repair.single("id", "case"), "kind"),
    ],
)
def test_a_rule_must_be_for_its_column(database: Database, repair: Repair, path: str) -> None:
    with pytest.raises(InvalidChangeError) as refused:
        added(database, repair)

    assert [where for where, _ in refused.value.problems] == [path]


def test_what_rules_changed_is_summed_up() -> None:
    kept = rules.merged([], [Ruled(7, 1, 2, [("a", "b")])])
    kept = rules.merged(kept, [Ruled(7, 1, 3, [("a", "b"), ("c" * 99, "d")]), Ruled(7, 2, 4, [])])

    assert [(each["id"], each["version"], each["cells"]) for each in kept] == [(7, 1, 5), (7, 2, 4)]
    assert [len(pair[0]) for pair in kept[0]["samples"]] == [1, 61]
    assert rules.cells(kept) == [{"id": 7, "cells": 9}]
