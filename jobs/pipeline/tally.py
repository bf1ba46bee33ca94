"""Tally: a digest over rows and the exact sums of their numeric columns, whatever the order of the rows.

docs/receipts.md defines the digest, and has a script that computes it by other means. Both parts are sums, so tallies
of chunks are added, and that of rows that are gone is subtracted. All of it works on whole columns.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jobs.pipeline.parsing import Mask
from jobs.schema import SchemaField

Words = npt.NDArray[np.uint64]

#: Odd constants that spread bits: that of Degski's mixing function, and the golden ratio.
_MIX, _GOLDEN = np.uint64(0xD6E8FEB86659FD93), np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)
_MASK = (1 << 64) - 1
#: By how many bytes of a word belong to a text: a mask of these.
_MASKS = np.array([(1 << 8 * size) - 1 for size in range(9)], dtype=np.uint64)
#: Texts that are longer than all but so many others of their column are read one by one.
_FEW = 4
#: Rows whose numbers the processor's cache holds; larger arrays would also be given back to the system each time.
_SLICE = 16_384
#: Sums are whole multiples of 2 to this power: the smallest double.
UNIT = -1074


@dataclass(frozen=True)
class Tally:
    """rows: how many. high, low: two sums modulo 2**64. sums: of each numeric column, exact, in units of 2**UNIT (of
    whole numbers: in units of 1); sizes: of the absolute values of numbers, as a double."""

    rows: int = 0
    high: int = 0
    low: int = 0
    sums: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: "Tally") -> "Tally":
        return self._with(other, 1)

    def __sub__(self, other: "Tally") -> "Tally":
        return self._with(other, -1)

    def _with(self, other: "Tally", sign: int) -> "Tally":
        names = {**self.sums, **other.sums}
        return Tally(
            self.rows + sign * other.rows,
            (self.high + sign * other.high) & _MASK,
            (self.low + sign * other.low) & _MASK,
            {name: self.sums.get(name, 0) + sign * other.sums.get(name, 0) for name in names},
        )

    @property
    def digest(self) -> str:
        return f"{self.high:016x}{self.low:016x}"

    def as_json(self) -> dict[str, Any]:
        """For `from_json`. The numbers are longer than those of JSON are for some of its readers."""
        sums = {name: _packed(value) for name, value in self.sums.items()}
        return {"rows": self.rows, "digest": self.digest, "sums": sums}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        digest = stored["digest"]
        sums = {name: int(digits, 16) << shift for name, (digits, shift) in stored["sums"].items()}
        return cls(stored["rows"], int(digest[:16], 16), int(digest[16:], 16), sums)


def _packed(value: int) -> tuple[str, int]:
    """A number as hexadecimal digits, and by how many bits it is to be shifted."""
    shift = (value & -value).bit_length() - 1 if value else 0
    return f"{value >> shift:x}", shift


class Tallier:
    """Makes tallies of rows, of some fields of a dataset."""

    def __init__(self, fields: Sequence[SchemaField]) -> None:
        self._fields = [(each, _seed(each.name)) for each in fields]

    @property
    def fields(self) -> list[SchemaField]:
        return [each for each, _ in self._fields]

    def of(self, rows: pa.RecordBatch) -> Tally:
        """rows: a column for each field, by its name, as they are packed for the database: dates and times as ISO text,
        or as what they are."""
        total = Tally()
        for start in range(0, rows.num_rows, _SLICE):
            total += self._of_slice(rows.slice(start, _SLICE))
        return total

    def of_some(self, rows: pa.RecordBatch, chosen: Mask, *, whole: Tally | None) -> Tally:
        """Of the chosen rows. whole: of all of them, if it is known; then the fewer are read: those, or the others."""
        count = int(chosen.sum())
        if whole is None or 2 * count < len(chosen):
            return self.of(rows if count == len(chosen) else rows.filter(pa.array(chosen)))
        return whole - self.of(rows.filter(pa.array(~chosen)))

    def _of_slice(self, rows: pa.RecordBatch) -> Tally:
        count = rows.num_rows
        total = np.zeros(count, dtype=np.uint64)
        sums: dict[str, int] = {}
        for each, seed in self._fields:
            array = rows.column(each.name)
            if each.type in ("integer", "number"):
                sums[each.name] = 0
            if array.null_count == count:
                continue
            total += _cells(each, array, seed)
            if each.type == "integer":
                sums[each.name] = _sum_of_integers(array)
            elif each.type == "number":
                sums[each.name] = _sum_of_numbers(array)
        high, low = _mixed(total ^ _MIX), _mixed(total ^ _GOLDEN)
        return Tally(count, int(high.sum(dtype=np.uint64)), int(low.sum(dtype=np.uint64)), sums)


def _cells(each: SchemaField, array: pa.Array, seed: np.uint64) -> Words:
    """A number for each cell; 0 for one without a value."""
    if each.type == "string":
        values = _of_texts(array)
    elif each.type == "number":
        values = (_numpy(array, np.float64) + 0.0).view(np.uint64)  # -0.0 is 0.0
    else:
        values = _numpy(_as_integers(each, array), np.int64).view(np.uint64)
    cells = _mixed(values ^ seed)
    if array.null_count:
        cells[pc.is_null(array).to_numpy(zero_copy_only=False)] = 0
    return cells


def _mixed(values: Words) -> Words:
    """Changes the array that it gets."""
    values ^= values >> _HALF
    values *= _MIX
    values ^= values >> _HALF
    values *= _MIX
    values ^= values >> _HALF
    return values


@lru_cache(maxsize=4096)
def _seed(name: str) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little"))


def _numpy(array: pa.Array, kind: Any) -> Any:
    """The values of a column of numbers; anything where there is none."""
    filled = pc.fill_null(array, 0) if array.null_count else array
    return filled.to_numpy(zero_copy_only=False).astype(kind, copy=False)


def _as_integers(each: SchemaField, array: pa.Array) -> pa.Array:
    """Days since 1970, microseconds since 1970 or since midnight, 1 for true."""
    if each.type == "date":
        return pc.cast(pc.cast(pc.cast(array, pa.date32()), pa.int32()), pa.int64())
    if each.type == "datetime":
        zone = "UTC" if each.is_in_utc else None
        return pc.cast(pc.cast(array, pa.timestamp("us", tz=zone)), pa.int64())
    if each.type == "time":
        if pa.types.is_string(array.type):  # Arrow casts a time only as part of a timestamp
            array = pc.cast(pc.binary_join_element_wise("1970-01-01T", array, ""), pa.timestamp("us"))
        return pc.cast(array, pa.int64())
    return pc.cast(array, pa.int64())


def _of_texts(array: pa.Array) -> Words:
    """The length of each text in bytes, and its words of eight bytes, each multiplied by a power of _MIX and mixed."""
    offsets = np.frombuffer(array.buffers()[1], np.int32)[array.offset : array.offset + len(array) + 1].astype(np.int64)
    begin, end = int(offsets[0]), int(offsets[-1])
    data = np.zeros(end - begin + 8, dtype=np.uint8)
    if end > begin:
        data[:-8] = np.frombuffer(array.buffers()[2], np.uint8)[begin:end]
    words: Any = np.ndarray((len(data) - 7,), "<u8", data, strides=(1,))  # the word at each byte
    starts, lengths = offsets[:-1] - begin, np.diff(offsets)
    values: Words = lengths.astype(np.uint64)
    values += _of_words(words[starts], np.minimum(lengths, 8), _MIX)
    places, number = np.flatnonzero(lengths > 8), 1
    while len(places) > _FEW:
        rest = lengths[places] - 8 * number
        found = words[starts[places] + 8 * number]
        values[places] += _of_words(found, np.minimum(rest, 8), _powers(number + 1)[number])
        places, number = places[rest > 8], number + 1
    for place in places:
        size = int(lengths[place]) - 8 * number
        begin = int(starts[place]) + 8 * number
        found = words[begin : begin + size : 8]
        sizes = np.minimum(size - 8 * np.arange(len(found)), 8)
        powers = _powers(number + len(found))[number : number + len(found)]
        values[place : place + 1] += _of_words(found, sizes, powers).sum(dtype=np.uint64)
    return values


def _of_words(words: Words, sizes: npt.NDArray[np.int64], powers: Any) -> Words:
    """sizes: how many bytes of each word belong to its text."""
    words = words & _MASKS.take(sizes)
    words *= powers
    words ^= words >> _HALF
    words *= _GOLDEN
    return words


_known_powers: Words = np.cumprod(np.full(64, _MIX, dtype=np.uint64), dtype=np.uint64)


def _powers(count: int) -> Words:
    """At least so many powers of _MIX, from the first."""
    global _known_powers
    if count > len(_known_powers):
        _known_powers = np.cumprod(np.full(2 * count, _MIX, dtype=np.uint64), dtype=np.uint64)
    return _known_powers


def _sum_of_integers(array: pa.Array) -> int:
    values = _numpy(array, np.int64)
    return (int((values >> 32).sum()) << 32) + int((values & 0xFFFFFFFF).sum())


def _sum_of_numbers(array: pa.Array) -> int:
    """Exact, in units of 2**UNIT. Mantissas are added up for each exponent, in halves whose sums a double holds."""
    mantissas, exponents = np.frexp(_numpy(array, np.float64))
    mantissas *= 1 << 27
    upper = np.floor(mantissas)
    lower = (mantissas - upper) * (1 << 26)
    least = int(exponents.min(initial=0))
    exponents -= least
    total = 0
    for half, places in ((upper, 27), (lower, 53)):
        for exponent, found in enumerate(np.bincount(exponents, weights=half).tolist()):
            if found:
                total += _shifted(int(found), exponent + least - places - UNIT)
    return total


def _shifted(value: int, by: int) -> int:
    return value << by if by >= 0 else value >> -by  # the bits of a denormal number that are shifted out are zero


def number_of(each: SchemaField, value: int) -> int | float:
    """An exact sum as it is told: of numbers, the nearest double."""
    return value if each.type == "integer" else _nearest(value)


def exact(each: SchemaField, value: int) -> Fraction:
    """An exact sum as a fraction."""
    return Fraction(value) if each.type == "integer" else Fraction(value, 1 << -UNIT)


def _nearest(value: int) -> float:
    try:
        return value / (1 << -UNIT)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
