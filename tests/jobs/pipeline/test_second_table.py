"""A second table ends the first one; rows in groups do not."""

import pytest

from jobs.pipeline import second_table

ROWS = [["1", "Ann", "2026-01-31"], ["2", "Bob", "2026-02-01"], ["3", "Cid", "2026-02-02"]]
OTHER = [["product", "price", "sold on"], ["lamp", "9.50", "2026-03-01"], ["desk", "99.00", "2026-03-02"]]
NAMES = ["id", "name", "born"]
NARROW = [["product", "price"], ["lamp", "9.50"]]


@pytest.mark.parametrize("blank", [[[]], [["", "", ""]], [[], []]])
@pytest.mark.parametrize("second", [OTHER, NARROW, [["Sales"], *OTHER], [["Sales"], ["of March"], *NARROW]])
def test_names_of_other_columns_behind_a_blank_line_begin_a_second_table(
    blank: list[list[str]], second: list[list[str]]
) -> None:
    records = [*ROWS, *blank, *second]

    assert second_table.find(records, (), NAMES) == len(ROWS) + len(blank)


def test_a_gap_that_is_not_among_the_records_is_as_good_as_a_blank_line() -> None:
    assert second_table.find([*ROWS, *OTHER], {len(ROWS)}, NAMES) == len(ROWS)


@pytest.mark.parametrize(
    "records",
    [
        [*ROWS, *OTHER],
        [*ROWS, [], *ROWS],
        [*ROWS, [], ["4", "Dan", "unknown"], ["5", "Eve", "2026-02-04"]],
        [*ROWS, [], ["Total", "", "3"]],
        [*ROWS, [], ["Source: the registry"]],
        [[], *OTHER],
        [*ROWS, [], ["id", " name", "born "], *ROWS],
        [*ROWS, [], ["People"], NAMES, *ROWS],
        [["a", "b", "c"], [], ["d", "e", "f"], ["g", "h", "i"]],
        [],
    ],
)
def test_rows_in_groups_footers_and_names_without_a_blank_line_begin_none(records: list[list[str]]) -> None:
    assert second_table.find(records, (), NAMES) is None


def test_only_so_many_gaps_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_table, "MAX_GAPS", 2)
    records = [*ROWS, [], ROWS[0], [], ROWS[1], [], *OTHER]

    assert second_table.find(records, (), NAMES) is None
