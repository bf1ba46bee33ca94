"""The lines at which rows begin."""

import re
from pathlib import Path
from threading import Thread
from typing import NoReturn

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.pipeline import line_numbers
from jobs.pipeline.line_numbers import LF, LineCounter, SheetRows, TextLines, count_byte, count_line_ends
from jobs.traces.row_lines import LineRun
from tests.support.files import written


@given(pieces=st.lists(st.sampled_from([b"a", b"\n", b"\r", b"\r\n", b'"'])), size=st.integers(1, 9))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_lines_end_in_lf_cr_or_both(tmp_path: Path, pieces: list[bytes], size: int) -> None:
    text = b"".join(pieces) + b"x"
    starts = [0, *(found.end() for found in re.finditer(rb"\r\n|\r|\n", text))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_numbers, "PIECE_BYTES", size)
        counter = LineCounter(written(tmp_path, text))

        assert counter.at(np.array(starts)) == list(range(1, len(starts) + 1))
        for line in range(len(starts), 0, -1):
            assert counter.at(np.array(starts[line - 1 :][:2])) == list(range(1, len(starts) + 1))[line - 1 :][:2]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@given(
    text=st.lists(st.sampled_from([b"a", b"\n", b"\r"]), max_size=12).map(b"".join), stop=st.none() | st.integers(0, 12)
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bytes_and_line_ends_are_counted_in_slices(
    text: bytes, stop: int | None, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_numbers, "_SLICE_BYTES", size)
    whole = text[:stop]

    assert count_byte(text, LF, stop) == whole.count(b"\n")
    assert count_line_ends(text, stop) == len(re.findall(rb"\r\n|\r|\n", whole))


def test_nothing_is_counted_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_numbers, "PIECE_BYTES", 10)
    ticks: list[None] = []
    counter = LineCounter(written(tmp_path, "1,2\n" * 1_000), tick=lambda: ticks.append(None))
    lines = [counter.at(np.array([4 * line])) for line in range(1_000)]

    assert lines == [[line + 1] for line in range(1_000)]
    assert len(ticks) <= 2_000


def test_several_threads_may_ask(tmp_path: Path) -> None:
    counter = LineCounter(written(tmp_path, "1,2\n" * 1_000))
    found: list[int] = []
    threads = [Thread(target=lambda: found.extend(counter.at(np.arange(0, 4_000, 40)))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == list(range(1, 1_001, 10)) * 8


def test_rows_of_a_worksheet_go_on_behind_each_gap() -> None:
    rows = SheetRows([(1, 4), (3, 9), (4, 11)])

    assert rows.of([1, 2, 3, 4, 5]) == [4, 5, 9, 11, 12]


def test_a_run_of_rows_of_a_worksheet_has_steps_only_across_a_gap() -> None:
    rows = SheetRows([(1, 4), (3, 9), (4, 11)])

    assert rows.run(4, 100) == LineRun(4, 11)
    assert rows.run(1, 2) == LineRun(1, 4)
    across = rows.run(2, 3)
    assert [across.line_of(number) for number in (2, 3, 4)] == [5, 9, 11]


def test_a_run_of_lines_is_told_without_reading_the_rows(tmp_path: Path) -> None:
    counter = LineCounter(written(tmp_path, "id\n" + "1\n" * 9))
    counter.passed(3, 21, 9)

    def unread() -> NoReturn:
        pytest.fail("the offsets of the rows were looked for")

    lines = TextLines(counter, 3, True, 1, unread, np.empty(0, dtype=np.int64))

    assert lines.run(1, 9) == LineRun(1, 2)
    assert counter.at(np.array([21])) == [11]
