"""Selection: which rows of a dataset, and in which order."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Operator(StrEnum):
    """How a column is compared with a value."""

    EQUAL = "eq"
    CONTAINS = "contains"  # letters of ASCII regardless of case
    AT_LEAST = "gte"
    AT_MOST = "lte"
    EMPTY = "empty"  # no value, or an empty text


@dataclass(frozen=True)
class Condition:
    """value: of the type of the column, as its driver takes it; of EMPTY whether it is. is_text: of the field."""

    column: str
    operator: Operator
    value: Any
    is_text: bool = False


@dataclass(frozen=True)
class Sort:
    """Rows that are alike follow in the order of the key; those without a value come last."""

    column: str
    descending: bool = False


@dataclass(frozen=True)
class Search:
    """Rows that have a text in one of some columns of text; letters of ASCII regardless of case."""

    text: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Selection:
    """Rows that meet all conditions, and the search if there is one. sort: None for the order of the key. until: the
    key of the last row, if there is one that ends it."""

    conditions: tuple[Condition, ...] = ()
    sort: Sort | None = None
    until: tuple[Any, ...] = ()
    search: Search | None = None

    @property
    def is_filtered(self) -> bool:
        """Whether it may leave rows out."""
        return bool(self.conditions or self.search)


#: All rows of a dataset in the order of its key.
ALL = Selection()
