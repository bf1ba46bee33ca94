"""Adding up the warnings of an upload."""

from jobs.warnings import MAX_WARNINGS, lines_skipped, merged, surplus_cells, values_as_missing


def test_tallies_are_added_up_in_one_order_whatever_comes_first() -> None:
    skipped, surplus = lines_skipped(2, 7), surplus_cells(5)

    assert merged([surplus], [skipped]) == merged([skipped], [surplus]) == [skipped, surplus]
    assert merged([surplus, lines_skipped(1, 9)], [skipped]) == [lines_skipped(3, 7), surplus]


def test_there_is_always_room_for_tallies() -> None:
    others = [values_as_missing(f"column {n}", {"n/a": n}) for n in range(MAX_WARNINGS)]

    assert merged(others, [surplus_cells(1)]) == [*others[:-1], surplus_cells(1)]
