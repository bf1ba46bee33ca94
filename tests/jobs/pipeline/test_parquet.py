"""Reading Parquet files as rows of text."""

import struct
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.errors import UnreadableFileError
from jobs.pipeline import parquet
from jobs.pipeline.parquet import ParquetFile
from tests.support.files import nothing


def saved(folder: Path, table: pa.Table, **options: Any) -> Path:
    path = folder / "file.parquet"
    pq.write_table(table, path, **options)
    return path


def read(path: Path) -> tuple[list[str], list[dict[str, Any]], list[tuple[str | None, ...]], list[str]]:
    with ParquetFile(path, nothing) as file:
        rows = list(file.rows())
        return file.names, file.hints, rows, [each["detail"] for each in file.warnings]


def refusal(path: Path) -> str:
    with pytest.raises(UnreadableFileError) as refused:
        read(path)
    return str(refused.value)


NAIVE = {"type": "datetime", "format": "%Y-%m-%d %H:%M:%S.%f"}
MOMENT = datetime(2026, 1, 31, 9, 0, 0, 5)


@pytest.mark.parametrize(
    ("kind", "values", "hint", "cells"),
    [
        (pa.int64(), [1, -(2**63), 2**63 - 1], {"field": {"type": "integer"}}, ["1", str(-(2**63)), str(2**63 - 1)]),
        (pa.uint64(), [2**64 - 1], {"among": ["integer", "number"]}, ["18446744073709551615"]),
        (pa.float64(), [0.1, 2.0, 1e-7, 1e300, float("nan"), float("inf")],
         {"field": {"type": "number", "exponent": "auto"}}, ["0.1", "2", "1e-07", "1e+300", None, "inf"]),
        (pa.float32(), [0.1, 16777216.0], {"field": {"type": "number", "exponent": "auto"}}, ["0.1", "16777216"]),
        (pa.decimal128(10, 2), [Decimal("1.10"), Decimal("-2")], {"field": {"type": "number", "decimals": 2}},
         ["1.10", "-2.00"]),
        (pa.decimal128(10, 0), [Decimal("7")], {"field": {"type": "integer"}}, ["7"]),
        (pa.decimal128(30, 1), [Decimal("12345678901234567890.5")], {"among": ["integer", "number"]},
         ["12345678901234567890.5"]),
        (pa.string(), ["007", "", "é\n"], {"among": []}, ["007", "", "é\n"]),
        (pa.large_string(), ["a"], {"among": []}, ["a"]),
        (pa.binary(), [b"a", b"\xff"], {"among": []}, ["a", "\udcff"]),
        (pa.dictionary(pa.int8(), pa.string()), ["x", "y", "x"], {"among": []}, ["x", "y", "x"]),
        (pa.bool_(), [True, False], {"field": {"type": "boolean"}}, ["true", "false"]),
        (pa.date32(), [date(2026, 1, 31), date(1, 1, 1)], {"field": {"type": "date"}}, ["2026-01-31", "0001-01-01"]),
        (pa.time64("us"), [time(9), time(9, 0, 0, 5)], {"field": {"type": "time"}}, ["09:00:00", "09:00:00.000005"]),
        (pa.timestamp("us"), [MOMENT, datetime(2026, 1, 31)], {"field": NAIVE},
         ["2026-01-31 09:00:00.000005", "2026-01-31 00:00:00"]),
        (pa.timestamp("ms", "Europe/Berlin"), [datetime(2026, 1, 31, 9)], {"field": {"type": "datetime"}},
         ["2026-01-31 09:00:00Z"]),
        (pa.duration("s"), [timedelta(hours=30)], {"among": []}, ["108000.0"]),
        (pa.null(), [], {"among": []}, []),
    ],
)  # fmt: skip
def test_values_keep_their_types(
    tmp_path: Path, kind: pa.DataType, values: list[Any], hint: dict[str, Any], cells: list[str | None]
) -> None:
    names, hints, rows, notes = read(saved(tmp_path, pa.table({"a": pa.array([*values, None], kind)})))

    assert (names, hints, notes) == (["a"], [hint], [])
    assert rows == [(cell,) for cell in [*cells, None]]


def test_numbers_that_a_table_cannot_keep_are_rounded_and_a_warning_says_so(tmp_path: Path) -> None:
    _, _, rows, said = read(saved(tmp_path, pa.table({"a": [0.1 + 0.2, 0.5]})))

    assert rows == [("0.3",), ("0.5",)]
    assert said == ["Numbers of more than 15 digits were rounded to 15."]


def test_times_are_cut_to_microseconds_and_a_warning_says_so_if_that_changes_one(tmp_path: Path) -> None:
    exact = pa.table({"a": pa.array([1_000_000_000], pa.timestamp("ns"))})
    finer = pa.table({"a": pa.array([1_000_000_001], pa.timestamp("ns"))})

    assert read(saved(tmp_path, exact))[2:] == ([("1970-01-01 00:00:01",)], [])
    assert read(saved(tmp_path, finer))[2:] == ([("1970-01-01 00:00:01",)], ["Times were cut to microseconds."])


@pytest.mark.parametrize(
    ("values", "what"), [([[1]], "lists"), ([{"x": 1}], "nested values"), ([[("k", 1)]], "nested values")]
)
def test_nested_values_are_refused_by_the_name_of_their_column(tmp_path: Path, values: list[Any], what: str) -> None:
    kind = pa.map_(pa.string(), pa.int64()) if values == [[("k", 1)]] else None
    path = saved(tmp_path, pa.table({"id": [1], "tags": pa.array(values, kind)}))

    assert refusal(path).startswith(f"The column “tags” has {what}")


def test_rows_of_many_row_groups_are_in_order_and_in_small_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "BATCH_CELLS", 10)
    table = pa.table({"n": range(1_000), "s": [f"s{n}" for n in range(1_000)]})

    assert read(saved(tmp_path, table, row_group_size=70))[2] == [(str(n), f"s{n}") for n in range(1_000)]


@pytest.mark.parametrize("encoding", ["dictionary", "delta"])
def test_few_rows_are_read_at_once_if_they_may_repeat_a_long_text(tmp_path: Path, encoding: str) -> None:
    text = "x" * 1_000_000
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 20_000, pa.int32()), [text])
    options = {"use_dictionary": False, "column_encoding": {"s": "DELTA_BYTE_ARRAY"}} if encoding == "delta" else {}
    rows = 20_000 if encoding == "dictionary" else 200
    path = saved(tmp_path, pa.table({"s": column.slice(0, rows).dictionary_decode() if options else column}), **options)
    before = pa.total_allocated_bytes()

    with ParquetFile(path, nothing) as file:
        found = list(islice(file.rows(), 40))
        assert pa.total_allocated_bytes() - before < 2 * parquet.BATCH_BYTES
    assert found == [(text,)] * 40


def test_a_file_without_rows_has_its_columns(tmp_path: Path) -> None:
    assert read(saved(tmp_path, pa.table({"a": pa.array([], pa.int64())})))[:3] == (
        ["a"], [{"field": {"type": "integer"}}], [],
    )  # fmt: skip


def test_a_damaged_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    content = saved(tmp_path, pa.table({"a": list(range(10_000))})).read_bytes()
    path = tmp_path / "damaged"

    for changed, sentence in [
        (content[:-1], "The file is incomplete: its end is missing."),
        (content[:8], "The file is incomplete: its end is missing."),
        (content[:-8] + struct.pack("<L", 2**31) + b"PAR1", "The Parquet file describes too many columns"),
        (content[:-8] + struct.pack("<L", 10_000_000) + b"PAR1", "The Parquet file is damaged ("),
        (content[:-4] + b"PARE", "The Parquet file is encrypted."),
        (content[:4] + bytes(2_000) + content[2_004:], "The Parquet file is damaged ("),
    ]:
        path.write_bytes(changed)
        assert refusal(path).startswith(sentence)


def test_too_many_columns_are_refused(tmp_path: Path) -> None:
    table = pa.table({f"c{n}": [1] for n in range(1_501)})

    assert refusal(saved(tmp_path, table)) == "The file has 1,501 columns; at most 1,500 can be imported."
