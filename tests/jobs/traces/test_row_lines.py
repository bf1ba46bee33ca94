"""The lines of rows are found again, and take one record where each row takes one line."""

import sqlalchemy as sa

from jobs import uploads
from jobs.database import Database
from jobs.files import StoredFile
from jobs.traces import row_lines
from jobs.traces.row_lines import LineRun


def recorded(database: Database, *runs: LineRun) -> int:
    """The upload that the runs are of."""
    with database.transaction() as connection:
        upload = uploads.create(connection, StoredFile("june.csv", "00ff", 8, "beef"))
        for run in runs:
            row_lines.record(connection, upload.id, run)
    return upload.id


def lines_of(database: Database, upload_id: int, *numbers: int) -> list[int | None]:
    with database.reading() as connection:
        found = row_lines.lines_of(connection, [(upload_id, number) for number in numbers])
        each = [row_lines.line_of(connection, upload_id, number) for number in numbers]
    assert each == [found.get((upload_id, number)) for number in numbers]
    return each


def test_rows_of_one_line_each_need_no_steps() -> None:
    assert LineRun.of(5, [7, 8, 9]) == LineRun(5, 7, None)
    assert LineRun.of(5, [7]) == LineRun(5, 7, None)
    assert LineRun.of(5, [7, 8, 11]).steps is not None


def test_the_line_of_each_row_is_found(database: Database) -> None:
    even, uneven = LineRun(1, 2), LineRun.of(4, [5, 8, 9, 70_000])
    upload_id = recorded(database, even, uneven, LineRun(8, 70_001))
    other_id = recorded(database, LineRun(1, 9))

    assert lines_of(database, upload_id, 1, 3) == [2, 4]
    assert lines_of(database, upload_id, 4, 5, 6, 7, 8, 108) == [5, 8, 9, 70_000, 70_001, 70_101]
    assert lines_of(database, other_id, 2) == [10]
    with database.reading() as connection:
        assert row_lines.lines_of(connection, [(upload_id, 6), (other_id, 1), (upload_id, 2)]) == {
            (upload_id, 6): 9,
            (other_id, 1): 9,
            (upload_id, 2): 3,
        }


def test_rows_above_all_that_are_known_have_no_line(database: Database) -> None:
    upload_id = recorded(database, LineRun(100, 120))

    assert lines_of(database, upload_id, 99, 100) == [None, 120]
    assert lines_of(database, recorded(database), 1) == [None]


def test_a_run_is_continued_only_by_one_that_tells_nothing_new() -> None:
    run = LineRun(1, 2)

    assert run.is_continued_by(LineRun(50, 51))
    assert not run.is_continued_by(LineRun(50, 52))
    assert not run.is_continued_by(LineRun.of(50, [51, 53]))
    assert not LineRun.of(1, [2, 4]).is_continued_by(LineRun(3, 5))


def test_the_lines_go_when_an_upload_starts_again(database: Database) -> None:
    upload_id, other_id = recorded(database, LineRun(1, 2)), recorded(database, LineRun(1, 2))
    with database.transaction() as connection:
        row_lines.delete_all(connection, upload_id)
        left = connection.execute(sa.text("SELECT upload_id FROM row_lines")).scalars().all()

    assert left == [other_id]
