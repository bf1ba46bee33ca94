"""A receipt as its page shows it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jobs.excerpt import excerpt
from jobs.receipts import Receipt

#: Rows of a table of the page, which is one sheet of paper, and characters of a value.
MOST_LISTED, LONGEST = 24, 80
_OPTIONS = {
    "encoding": "Encoding",
    "delimiter": "Delimiter",
    "header_row": "Header row",
    "sheet": "Worksheet",
    "member": "File in the archive",
    "types": "Types",
}
_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe", " ": "space"}


@dataclass(frozen=True)
class Listed:
    """Pairs of texts, and how many were left out."""

    pairs: list[tuple[str, str]]
    more: int = 0

    @classmethod
    def of(cls, found: list[tuple[str, str]]) -> "Listed":
        shown = [(excerpt(name, LONGEST), excerpt(value, LONGEST)) for name, value in found[:MOST_LISTED]]
        return cls(shown, max(0, len(found) - MOST_LISTED))


class ReceiptView:
    def __init__(self, receipt: Receipt) -> None:
        self._receipt = receipt
        self.columns = Listed.of([(column, field or "not imported") for column, field in receipt["mapping"].items()])
        self.sums = Listed.of([(name, number(value)) for name, value in receipt["sums"].items()])
        self.options = Listed.of(_options(receipt["options"]))
        rules = sum(each["cells"] for each in receipt["rules"])
        self.rules = f"{len(receipt['rules']):,}, {rules:,} cells changed" if receipt["rules"] else "none"
        self.started_at, self.finished_at = _moment(receipt["started_at"]), _moment(receipt["finished_at"])

    def __getitem__(self, name: str) -> Any:
        return self._receipt[name]

    @property
    def balance(self) -> "list[BalanceView]":
        return [BalanceView.of(each) for each in self._receipt["balance"]]


@dataclass(frozen=True)
class BalanceView:
    """A comparison of what was expected with what was found."""

    what: str
    expected: str
    found: str

    @classmethod
    def of(cls, balance: Mapping[str, Any]) -> "BalanceView":
        what = str(balance["what"])
        name = {"rows": "Rows imported", "sha256": "SHA-256"}.get(what) or f"Sum of {excerpt(what[4:], LONGEST)}"
        return cls(name, number(balance["expected"]), number(balance["found"]))


def number(value: int | float | str) -> str:
    """Grouped, with as many digits as a double keeps."""
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{float(f'{value:.15g}'):,}"


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _options(options: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = {_OPTIONS[name]: value for name, value in options.items() if name in _OPTIONS and value is not None}
    if "Delimiter" in found:
        found["Delimiter"] = _DELIMITERS.get(found["Delimiter"], found["Delimiter"])
    return [(name, str(value)) for name, value in found.items()]
