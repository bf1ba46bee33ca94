"""Which records are rows."""

import pytest

from jobs.pipeline.chunk import is_blank, repeats, usual_surplus

PLAIN, SURPLUS, SHORT = ["1", "2"], ["1", "2", ""], ["1"]


@pytest.mark.parametrize(
    ("records", "surplus"),
    [
        ([], range(0)),
        ([PLAIN], range(0)),
        ([SURPLUS], range(1, 2)),
        ([SURPLUS] * 95 + [PLAIN] * 5, range(1, 2)),
        ([SURPLUS] * 94 + [PLAIN] * 6, range(0)),
        ([SURPLUS] * 9 + [PLAIN], range(0)),
        ([SURPLUS] * 9 + [["1", "2", "x"]], range(0)),
        ([SURPLUS, [], ["", "", ""], [" "]], range(1, 2)),
        ([["1", "2", " ", "\n"]] * 3, range(2, 3)),
        ([SURPLUS, [*SURPLUS, "", ""]], range(1, 4)),
        ([*[[*SURPLUS, ""]] * 99, SHORT], range(2, 3)),
    ],
)
def test_surplus_cells_are_usual_if_nearly_every_record_has_them(records: list[list[str]], surplus: range) -> None:
    assert usual_surplus(records, 2) == surplus


def test_a_record_without_values_is_blank_unless_it_could_be_a_value() -> None:
    assert is_blank(["", " ", "\n"], 3)
    assert is_blank([" "], 3)
    assert not is_blank([" "], 1)
    assert not is_blank([""], 1)
    assert not is_blank(["", "0"], 2)


def test_a_record_repeats_the_header_only_as_a_whole() -> None:
    assert repeats(["a ", "b"], ["a", " b"])
    assert repeats(["a", "b", ""], ["a", "b"])
    assert not repeats(["a", "b", "c"], ["a", "b"])
    assert not repeats(["a", ""], ["a", "b"])
    assert not repeats(["a"], ["a"])
    assert not repeats(["1", "2"], ["1", "2"])
    assert not repeats(["a", "b"], [])
