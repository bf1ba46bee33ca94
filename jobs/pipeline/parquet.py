"""Reads a Parquet file as rows of text, with what is known of the types of its columns.

Pages are read one after the other, never a whole row group. A small file may repeat a long text in millions of rows, so
the length of the texts that a row group repeats decides how many rows are read at once.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.errors import MisreadFileError, UnreadableFileError
from jobs.formats.header import shortened
from jobs.pipeline.parsing import SIGNIFICANT_DIGITS
from jobs.pipeline.prepared_table import Hint
from jobs.schema import MAX_COLUMNS
from jobs.warnings import UploadWarning, values_rounded

#: Cells of a batch, and rows.
BATCH_CELLS, BATCH_ROWS = 200_000, 20_000
#: Bytes of the texts of a batch, if they may be repetitions of each other.
BATCH_BYTES = 32 << 20
#: Bytes of the description at the end of a file. 1,500 columns in 100 row groups have 15 MB.
MAX_FOOTER_BYTES = 64 << 20
#: Bytes that are read at once of each column.
BUFFER_BYTES = 1 << 16

_MAGIC = b"PAR1"
_EXPORT = "Export the table without it, or as CSV, then upload that file."
#: A time without a zone, as it is written here.
_NAIVE = "%Y-%m-%d %H:%M:%S.%f"

#: A progress callback. It may raise an exception to stop the work.
Tick = Callable[[], None]
Cells = list[str | None]


@dataclass(frozen=True)
class _Column:
    """hint: its type. cells: an array of it as text."""

    hint: Hint
    cells: Callable[[pa.Array], Cells]


class ParquetFile:
    """A Parquet file, as a context manager. Raises UnreadableFileError.

    names: its columns. hints: their types. expanded: bytes of its pages without compression, as it says.
    """

    def __init__(self, path: Path, tick: Tick) -> None:
        _check_footer(path)
        self._tick = tick
        with _refusing():
            self._file = _opened(path)
            texts = [column.path for column in _columns_of(self._file) if column.physical_type == "BYTE_ARRAY"]
            self._dictionaries = _opened(path, read_dictionary=texts)
        try:
            self._read_schema()
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def _read_schema(self) -> None:
        with _refusing():
            schema, metadata = self._file.schema_arrow, self._file.metadata
            self.expanded = sum(metadata.row_group(place).total_byte_size for place in range(metadata.num_row_groups))
        self.names: list[str] = list(schema.names)
        if not self.names:
            raise UnreadableFileError("The Parquet file has no columns.")
        if len(self.names) > MAX_COLUMNS:
            raise MisreadFileError(
                f"The file has {len(self.names):,} columns; at most {MAX_COLUMNS:,} can be imported."
            )
        self._rounded = _Rounded()
        self._columns = [_column(field.name, field.type, self._rounded) for field in schema]
        self.hints = [column.hint for column in self._columns]

    @property
    def warnings(self) -> list[UploadWarning]:
        """About values that were shortened. Known when all rows were read."""
        return self._rounded.warnings

    def rows(self) -> Iterator[tuple[str | None, ...]]:
        for group in range(self._file.metadata.num_row_groups):
            with _refusing():
                size = self._batch_rows(group)
                batches = self._file.iter_batches(batch_size=size, row_groups=[group], use_threads=False)
            while True:
                with _refusing():
                    batch = next(batches, None)
                    if batch is None:
                        break
                    columns = [column.cells(each) for column, each in zip(self._columns, batch.columns, strict=True)]
                yield from zip(*columns, strict=True)
                self._tick()

    def _batch_rows(self, group: int) -> int:
        """How many rows of a row group may be read at once."""
        longest, repeated = 0, []
        metadata = self._file.metadata.row_group(group)
        for place, column in enumerate(_columns_of(self._file)):
            chunk = metadata.column(place)
            if column.physical_type == "FIXED_LEN_BYTE_ARRAY":
                longest += column.length
            elif column.physical_type == "BYTE_ARRAY" and "DELTA_BYTE_ARRAY" in chunk.encodings:
                longest += chunk.total_uncompressed_size  # each text may repeat the one before
            elif column.physical_type == "BYTE_ARRAY" and chunk.has_dictionary_page:
                repeated.append(column.path)
        if repeated:
            first = self._dictionaries.iter_batches(
                batch_size=1, row_groups=[group], columns=repeated, use_threads=False
            )
            longest += sum(map(_longest, next(first, pa.record_batch([], names=[])).columns))
        rows = min(BATCH_ROWS, BATCH_CELLS // len(self.names), BATCH_BYTES // max(1, longest))
        return max(1, rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()
        self._dictionaries.close()


class _Rounded:
    """Which values a table here cannot keep whole."""

    def __init__(self) -> None:
        self.numbers = self.times = False

    @property
    def warnings(self) -> list[UploadWarning]:
        is_any = self.numbers or self.times
        return [values_rounded(numbers=self.numbers, times=self.times)] if is_any else []


class _refusing:  # noqa: N801  # reads as a statement
    """Raises UnreadableFileError instead of Arrow's errors about a file."""

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not isinstance(error, pa.ArrowException | OSError | ValueError | OverflowError):
            return
        if isinstance(error, MemoryError):  # Arrow's own is one
            return
        what = " ".join(str(error)[:1_000].split())[:200]
        if "encrypt" in what.lower() or "decrypt" in what.lower():
            raise UnreadableFileError(f"The Parquet file is encrypted. {_EXPORT}") from error
        raise UnreadableFileError(f"The Parquet file is damaged ({what}). Export it again, then upload it.") from error


def _check_footer(path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - 8))
        end = file.read(8)
    if end[4:] == b"PARE":
        raise UnreadableFileError(f"The Parquet file is encrypted. {_EXPORT}")
    if len(end) < 8 or end[4:] != _MAGIC:
        raise UnreadableFileError("The file is incomplete: its end is missing. Upload it again.")
    (length,) = struct.unpack("<L", end[:4])
    if length > MAX_FOOTER_BYTES:
        raise UnreadableFileError(
            "The Parquet file describes too many columns and row groups, or is damaged. Export it with larger row"
            " groups."
        )


def _opened(path: Path, **more: Any) -> pq.ParquetFile:
    return pq.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER_BYTES, **more)


def _columns_of(file: pq.ParquetFile) -> list[Any]:
    """The columns of single values, as Parquet describes them."""
    return [file.schema.column(place) for place in range(len(file.schema))]


def _longest(array: pa.Array) -> int:
    """Bytes of the longest text that a dictionary has."""
    values = array.dictionary if pa.types.is_dictionary(array.type) else array
    return int(pc.max(pc.binary_length(values)).as_py() or 0)


def _column(name: str, kind: pa.DataType, rounded: _Rounded) -> _Column:
    """Raises UnreadableFileError for nested values."""
    if isinstance(kind, pa.BaseExtensionType):
        return _extension(name, kind, rounded)
    if pa.types.is_dictionary(kind):
        inner = _column(name, kind.value_type, rounded)
        return _Column(inner.hint, lambda array: _of_dictionary(array, inner.cells))
    if pa.types.is_nested(kind):
        what = "lists" if pa.types.is_list(kind) or pa.types.is_large_list(kind) else "nested values"
        raise UnreadableFileError(
            f"The column “{shortened(name)}” has {what} ({str(kind)[:100]}), and only single values can be imported."
            f" {_EXPORT}"
        )
    if pa.types.is_boolean(kind):
        return _Column({"field": {"type": "boolean"}}, _texts_of)
    if pa.types.is_integer(kind):
        hint: Hint = {"among": ["integer", "number"]} if pa.types.is_uint64(kind) else {"field": {"type": "integer"}}
        return _Column(hint, _texts_of)
    if pa.types.is_floating(kind):
        return _Column({"field": {"type": "number", "exponent": "auto"}}, lambda array: _floats(array, rounded))
    if pa.types.is_decimal(kind):
        return _Column(_hint_of_decimal(kind), lambda array: [_plain(value) for value in array.to_pylist()])
    if pa.types.is_date(kind):
        return _Column({"field": {"type": "date"}}, _texts_of)
    if pa.types.is_time(kind):
        return _Column({"field": {"type": "time"}}, lambda array: _times(array, pa.time64("us"), rounded))
    if pa.types.is_timestamp(kind):
        zone = "UTC" if kind.tz else None
        field = {"type": "datetime"} if zone else {"type": "datetime", "format": _NAIVE}
        return _Column({"field": field}, lambda array: _times(array, pa.timestamp("us", zone), rounded))
    return _Column({"among": []}, _others)


def _extension(name: str, kind: pa.BaseExtensionType, rounded: _Rounded) -> _Column:
    if kind.extension_name == "arrow.uuid":
        return _Column({"field": {"type": "string", "format": "uuid"}}, _others)
    inner = _column(name, kind.storage_type, rounded)
    return _Column(inner.hint, lambda array: inner.cells(array.storage))


def _hint_of_decimal(kind: pa.Decimal128Type) -> Hint:
    if kind.precision > SIGNIFICANT_DIGITS or kind.scale < 0:
        return {"among": ["integer", "number"]}
    return {"field": {"type": "number", "decimals": min(kind.scale, 14)} if kind.scale else {"type": "integer"}}


def _texts_of(array: pa.Array) -> Cells:
    found: Cells = pc.cast(array, pa.string()).to_pylist()
    return found


def _of_dictionary(array: pa.DictionaryArray, cells: Callable[[pa.Array], Cells]) -> Cells:
    return cells(array.dictionary_decode())


def _floats(array: pa.Array, rounded: _Rounded) -> Cells:
    """In the shortest form that is the same number. NaN is no value, as programs for statistics write it."""
    if not pa.types.is_float64(array.type):  # as the shorter type prints it: 0.1, not 0.10000000149011612
        array = pc.cast(pc.cast(array, pa.string()), pa.float64())
    return [None if value is None or value != value else _spelled(value, rounded) for value in array.to_pylist()]


def _spelled(value: float, rounded: _Rounded) -> str:
    text = repr(value)
    if len(text) <= SIGNIFICANT_DIGITS:
        return text.removesuffix(".0")
    short = f"{value:.{SIGNIFICANT_DIGITS}g}"
    rounded.numbers |= float(short) != value
    return short


def _plain(value: Any) -> str | None:
    return None if value is None else format(value, "f")


def _times(array: pa.Array, kind: pa.DataType, rounded: _Rounded) -> Cells:
    """In microseconds. kind: with a zone, if the array has one."""
    if array.type.unit == "ns":
        cut = pc.cast(array, kind, safe=False)
        rounded.times |= not pc.all(pc.equal(pc.cast(cut, array.type, safe=False), array)).as_py()
        array = cut
    texts = pc.cast(pc.cast(array, kind), pa.string())
    if pa.types.is_timestamp(kind) or pa.types.is_time(kind):
        texts = pc.replace_substring_regex(texts, r"\.0+(Z?)$", r"\1")
    found: Cells = texts.to_pylist()
    return found


def _others(array: pa.Array) -> Cells:
    """Texts, bytes and whatever else there is."""
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type) or pa.types.is_string_view(array.type):
        try:
            return list(array.to_pylist())
        except UnicodeDecodeError:
            array = pc.cast(array, pa.binary())
    return [_text(value) for value in array.to_pylist()]


def _text(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, bytes):  # bytes that are no UTF-8 make their row fail
        return value.decode("utf-8", "surrogateescape")
    return str(value) if not isinstance(value, timedelta) else str(value.total_seconds())
