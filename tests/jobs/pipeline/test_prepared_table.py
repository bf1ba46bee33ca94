"""What a file made ready to read tells the reader."""

from pathlib import Path

from jobs.corrections import Marks
from jobs.pipeline.prepared_table import PreparedTable
from tests.support.files import written


def test_a_record_has_a_cell_for_each_column_and_each_tracking_column() -> None:
    assert PreparedTable(Path("june.csv"), ",", ["a", "b"], 4).width == 2
    assert PreparedTable(Path("failed-rows.csv"), ",", ["a", "b"], 4, marks=Marks(2, 3, 4)).width == 5


def test_the_size_is_that_of_the_text_in_bytes(tmp_path: Path) -> None:
    path = written(tmp_path, "a,b\n1,é\n")

    assert PreparedTable(path, ",", ["a", "b"], 4).bytes_total == 9


def test_tables_do_not_share_their_notes_and_problems() -> None:
    first, second = (PreparedTable(Path("june.csv"), ",", ["a"], 2) for _ in range(2))
    first.notes.append("Read as UTF-8.")
    first.problems[1] = [(0, "is damaged")]

    assert (second.notes, second.problems) == ([], {})
