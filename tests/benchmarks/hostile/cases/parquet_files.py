"""Hostile Parquet files: few bytes that stand for many, nested types, descriptions that lie."""

import io
import random
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

from tests.benchmarks.hostile.case import MB, Bounds, FileCase

SEED = 9
#: Bytes that a worker may hold: a horse with its libraries has about 250 MB.
SMALL = Bounds(worker=700 * MB)
#: Seconds for a file whose rows are many.
LONG = Bounds(worker=700 * MB, seconds=180)


def cases() -> list[FileCase]:
    return [*_bombs(), *_kinds(), *_lies()]


def _parquet(name: str, build: Callable[[], bytes], **more: object) -> FileCase:
    return FileCase(f"parquet: {name}", build, "hostile.parquet", **more)  # type: ignore[arg-type]  # the fields of a FileCase


def _written(columns: dict[str, Any], **options: Any) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pa.table(columns), file, **options)
    return file.getvalue()


def _good() -> bytes:
    return _written({"a": list(range(500)), "b": ["x"] * 500})


def _bombs() -> Iterator[FileCase]:
    def repeated(text: str, count: int) -> Callable[[], bytes]:
        return lambda: _written(
            {"s": pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), count), [text])}
        )

    yield _parquet("an ordinary one", _good, must_complete=True)
    yield _parquet("20 million rows of one number", lambda: _written({"a": pa.repeat(7, 20 * MB)}), bounds=LONG)
    yield _parquet("a text of a megabyte in a million rows", repeated("x" * MB, MB), bounds=SMALL)
    yield _parquet("a text of 100 kB in 20,000 rows, in chaos", lambda: _chaos(100_000, 20_000), bounds=LONG)
    yield _parquet("a text of 300 MB", lambda: _written({"s": ["x" * (300 * MB)]}, compression="zstd"), bounds=SMALL)
    yield _parquet("a row group of 2 million rows", _large_group, must_complete=True, bounds=LONG)
    yield _parquet("20,000 row groups", lambda: _written({"a": list(range(20_000))}, row_group_size=1), bounds=LONG)
    yield _parquet("1,500 columns", lambda: _written({f"c{n}": ["x"] * 50 for n in range(1_500)}), must_complete=True)
    yield _parquet("12,000 columns", lambda: _written({f"c{n}": [7] for n in range(12_000)}))


def _chaos(length: int, count: int) -> bytes:
    """A text that does not compress, by a dictionary."""
    text = random.Random(SEED).randbytes(length // 2).hex()
    return _written({"s": pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), count), [text])})


def _large_group() -> bytes:
    numbers = list(range(2 * MB))
    columns = {"a": pa.array(numbers), "b": pa.array([f"name {n}" for n in numbers])}
    return _written(columns, row_group_size=2 * MB, use_dictionary=False)


def _kinds() -> Iterator[FileCase]:
    deep = pa.int64()
    for _ in range(90):
        deep = pa.list_(deep)
    yield _parquet("lists 90 deep", lambda: _written({"a": pa.nulls(3, deep)}))
    yield _parquet("a name of a megabyte", lambda: _written({"n" * MB: [1, 2]}))
    yield _parquet("names with NULs and quotes", lambda: _written({'a\n"': ["1"], "_upload_id": ["2"], "": ["3"]}))
    yield _parquet("texts with NULs", lambda: _written({"a": ["x\0y", "z"]}))
    yield _parquet("bytes that are no UTF-8", lambda: _written({"a": pa.array([b"\xff\xfe", b"z"])}))
    yield _parquet("dates beyond all years", lambda: _written({"a": pa.array([2**31 - 1, 0], pa.date32())}))
    yield _parquet(
        "times beyond all years", lambda: _written({"a": pa.array([2**63 - 1, 0], pa.timestamp("us"))}), bounds=SMALL
    )
    yield _parquet("infinities", lambda: _written({"a": [float("inf"), float("-inf"), float("nan"), 1.5]}))


def _lies() -> Iterator[FileCase]:
    def footer(length: int) -> Callable[[], bytes]:
        return lambda: _good()[:-8] + struct.pack("<L", length) + b"PAR1"

    yield _parquet("a signature alone", lambda: b"PAR1\x15PAR1")
    yield _parquet("cut off", lambda: _good()[:-9])
    yield _parquet("a description of 4 GB", footer(2**32 - 1))
    yield _parquet("a description of nothing", footer(0))
    yield _parquet(
        "a description of 60 MB of zeros", lambda: b"PAR1\x15" + bytes(60 * MB) + _ended(60 * MB), bounds=SMALL
    )
    yield _parquet("a description that is random", lambda: b"PAR1\x15" + random.Random(SEED).randbytes(MB) + _ended(MB))
    yield _parquet("encrypted", lambda: b"PARE\x10\0\0\0" + bytes(500) + b"\x20\0\0\0PARE")
    for number in range(8):
        yield _parquet(f"damaged at random, {number}", lambda number=number: _damaged(number))  # type: ignore[misc]  # a default


def _ended(length: int) -> bytes:
    return struct.pack("<L", length) + b"PAR1"


def _damaged(seed: int) -> bytes:
    rng, content = random.Random(seed), bytearray(_good())
    for _ in range(1 + seed):
        content[rng.randrange(5, len(content) - 8)] ^= 1 << rng.randrange(8)
    return bytes(content)
