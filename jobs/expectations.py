"""What the sender of a file expects of its import: rows, sums of columns, the SHA-256 of the file.

A sum is compared with the sum of what the table has after the last row, correctly rounded. Numbers are stored as
doubles, which keep 15 to 17 significant digits, so a sum may differ from the expected one by what is lost because of
that: 2**-52 of the sum of the absolute values, and not more.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Any, Self

from jobs import datasets
from jobs.errors import InvalidImportOptionError
from jobs.excerpt import excerpt
from jobs.schema import MAX_COLUMNS, SchemaField, TableSchema

ROWS, SHA256, SUM = "expect_rows", "expect_sha256", "expect_sum"
#: All sums in one field of a form: amount = 1204.50; tax = 12
SUMS = "expect_sums"
#: Of the sum of the absolute values: how much a sum may differ.
TOLERANCE = Fraction(1, 1 << 52)
#: Characters of a number, and of the largest exponent.
_LONGEST = 60
_WHOLE = re.compile(r"\d+|\d{1,3}(?:,\d{3})+")
_NUMBER = re.compile(r"[+-]?(?:\d+|\d{1,3}(?:,\d{3})+)?(?:\.\d+)?(?:[eE][+-]?\d{1,3})?")
_HEXADECIMAL = re.compile(r"[0-9a-f]{64}")


class OnMismatch(StrEnum):
    """What becomes of an upload into a dataset that does not balance."""

    WARN = "warn"  # it is completed, with a warning
    HOLD = "hold"  # it waits for a person
    UNDO = "undo"  # it is completed, with a warning, and undone at once


#: A comparison: {"what", "expected", "found"}.
Balance = dict[str, Any]


@dataclass(frozen=True)
class Expectations:
    """None, empty: nothing is expected. rows: that are imported. sums: column → the number, as it was written, without
    separators of thousands. sha256: of the file."""

    rows: int | None = None
    sums: Mapping[str, str] = field(default_factory=dict)
    sha256: str | None = None

    @classmethod
    def from_fields(cls, given: Mapping[str, str]) -> Self:
        """From the fields of a form or a query; an empty one is not set. Raises InvalidImportOptionError."""
        sums = {
            name.removeprefix(f"{SUM}."): _number(name, name, value)
            for name, value in given.items()
            if name.startswith(f"{SUM}.") and value.strip()
        } | _pairs(given.get(SUMS, ""))
        if len(sums) > MAX_COLUMNS:
            raise InvalidImportOptionError(f"{SUM} names more than {MAX_COLUMNS:,} columns.", SUM)
        sha256 = given.get(SHA256, "").strip().lower()
        if sha256 and not _HEXADECIMAL.fullmatch(sha256):
            raise InvalidImportOptionError(f"{SHA256} must be a SHA-256: 64 hexadecimal digits.", SHA256)
        return cls(_rows(given.get(ROWS, "").strip()), sums, sha256 or None)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any] | None) -> Self:
        return cls() if stored is None else cls(stored.get("rows"), stored.get("sums") or {}, stored.get("sha256"))

    def as_json(self) -> dict[str, Any] | None:
        """None: nothing is expected."""
        found = {"rows": self.rows, "sums": dict(self.sums), "sha256": self.sha256}
        return {name: value for name, value in found.items() if value not in (None, {})} or None

    @property
    def has_totals(self) -> bool:
        """Whether something of the rows is expected."""
        return self.rows is not None or bool(self.sums)

    def require_file(self, sha256: str) -> None:
        """Raises InvalidImportOptionError if the file is another one. sha256: "" if it is not known yet."""
        if self.sha256 and sha256 and self.sha256 != sha256:
            raise InvalidImportOptionError(
                f"The file is another one than expected: its SHA-256 is {sha256}, not {self.sha256}.", SHA256
            )

    def fields(self, schema: TableSchema) -> dict[str, SchemaField]:
        """The field that each column of the sums is. Raises InvalidImportOptionError for one that does not exist, or
        has no numbers."""
        return {name: _field(schema, name) for name in self.sums}


def _rows(text: str) -> int | None:
    if not text:
        return None
    if len(text) > _LONGEST or not _WHOLE.fullmatch(text) or (rows := int(text.replace(",", ""))) >= 2**63:
        raise InvalidImportOptionError(
            f"{ROWS} must be a number of rows, 0 or more, not “{excerpt(text, _LONGEST)}”.", ROWS
        )
    return rows


def _pairs(text: str) -> dict[str, str]:
    """Sums as a person wrote them: amount = 1204.50; tax = 12."""
    sums: dict[str, str] = {}
    for pair in filter(str.strip, text.split(";")):
        column, separator, number = map(str.strip, pair.rpartition("="))
        if not (column and separator):
            raise InvalidImportOptionError(
                f"Write each sum as column = number, such as amount = 1204.50, not “{excerpt(pair.strip(), 40)}”.",
                SUMS,
            )
        sums[column] = _number(SUMS, f"The sum of {column}", number)
    return sums


def _number(field: str, name: str, text: str) -> str:
    text = text.strip()
    if len(text) > _LONGEST or not _NUMBER.fullmatch(text) or not any(map(str.isdecimal, text.split("e")[0])):
        raise InvalidImportOptionError(
            f"{excerpt(name, 100)} must be a number such as 1204.50, not “{excerpt(text, _LONGEST)}”.", field
        )
    return text.replace(",", "")


def _field(schema: TableSchema, name: str) -> SchemaField:
    found = datasets.field_called(schema, name)
    if found is None:
        raise InvalidImportOptionError(
            f"{SUM}.{excerpt(name, 100)}: there is no column “{excerpt(name, 100)}”.", f"{SUM}.{name}"
        )
    if found.type not in ("integer", "number"):
        raise InvalidImportOptionError(
            f"{SUM}.{excerpt(name, 100)}: the column “{found.name}” is {_KINDS[found.type]}, so it has no sum.",
            f"{SUM}.{name}",
        )
    return found


_KINDS = {
    "string": "text",
    "boolean": "yes or no",
    "date": "a date",
    "datetime": "a date and time",
    "time": "a time",
}


@dataclass(frozen=True)
class FoundSum:
    """What the table has. exact: the sum. told: the nearest number. size: the sum of the absolute values."""

    exact: Fraction
    told: int | float
    size: float


def compare(
    expected: Expectations, *, rows: int, sha256: str, sums: Mapping[str, FoundSum]
) -> tuple[list[Balance], list[str]]:
    """All comparisons, and a sentence about each that does not balance. sums: those of the columns in `expected`."""
    balance: list[Balance] = []
    problems: list[str] = []
    if expected.rows is not None:
        balance.append({"what": "rows", "expected": expected.rows, "found": rows})
        if rows != expected.rows:
            problems.append(f"expected {expected.rows:,} rows, {rows:,} {'was' if rows == 1 else 'were'} imported")
    for name, text in expected.sums.items():
        found, wanted = sums[name], Decimal(text)
        balance.append({"what": f"sum.{name}", "expected": _as_number(wanted), "found": found.told})
        if not is_alike(wanted, found):
            told = f"expected {wanted:,f}, the table has {_told(found.told, wanted)}"
            problems.append(f"{told} as the sum of “{excerpt(name, 60)}”")
    if expected.sha256 is not None:
        balance.append({"what": "sha256", "expected": expected.sha256, "found": sha256})
    return balance, problems


def is_alike(wanted: Decimal, found: FoundSum) -> bool:
    return abs(found.exact - Fraction(wanted)) <= TOLERANCE * Fraction(found.size)


def _as_number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() and abs(value) < 2**63 else float(value)


def _told(found: int | float, wanted: Decimal) -> str:
    """A sum with as many decimals as the expected one has, or more if it needs them."""
    decimals = max(0, -int(wanted.as_tuple().exponent))
    if not _is_finite(found):
        return str(found)
    text = f"{Decimal(f'{found:.15g}'):,f}" if isinstance(found, float) else f"{found:,}"
    whole, _, rest = text.partition(".")
    return f"{whole}.{rest.ljust(decimals, '0')}" if rest or decimals else whole


def _is_finite(found: int | float) -> bool:
    return found not in (float("inf"), float("-inf"))


def in_words(problems: Iterable[str]) -> str:
    return f"Does not balance: {'; '.join(problems)}."


def balances(upload_balance: Sequence[Balance], warnings: Sequence[Mapping[str, Any]]) -> bool | None:
    """Whether an upload balanced; None: nothing was compared."""
    if not upload_balance:
        return None
    return not any(each["code"] == "totals" for each in warnings)
