"""Parameters of a query: what each is called, what it may be, and what it means.

Requests are read with them, and the description of the API (webapp/openapi) is made of them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from starlette.datastructures import QueryParams

from webapp import moments
from webapp.errors import InvalidQueryError

T = TypeVar("T")
#: Digits of the largest number that fits into the database.
MOST_DIGITS = 18


@dataclass(frozen=True)
class Parameter(Generic[T]):
    """parse: the value of a text; raises ValueError, or InvalidQueryError if the rest of the query matters. wanted: the
    rest of the sentence that says what the value must be. schema: the same in JSON Schema. default: without the
    parameter."""

    name: str
    description: str
    parse: Callable[[str], T]
    wanted: str
    schema: Mapping[str, Any]
    default: T

    def read(self, query: Mapping[str, str]) -> T:
        """Raises InvalidQueryError."""
        value = query.get(self.name)
        if value is None:
            return self.default
        try:
            return self.parse(value)
        except ValueError as error:
            raise InvalidQueryError(self.name, self.wanted) from error


class Several(Parameter[frozenset[str]]):
    """Values of a parameter that is repeated, or has commas."""

    def read(self, query: Mapping[str, str]) -> frozenset[str]:
        """Raises InvalidQueryError."""
        texts = query.getlist(self.name) if isinstance(query, QueryParams) else []
        return self.parse(",".join(texts)) if texts else self.default


def several(
    name: str, description: str, is_valid: Callable[[str], bool], wanted: str, schema: Mapping[str, Any]
) -> Several:
    """wanted: the rest of the sentence, before the first value that is not valid."""

    def parse(joined: str) -> frozenset[str]:
        values = frozenset(value.strip() for value in joined.split(","))
        if "" in values:
            raise InvalidQueryError(name, "is empty. Give it a value, or leave it out.")
        if invalid := sorted(value for value in values if not is_valid(value)):
            raise InvalidQueryError(name, f"{wanted}, separated by commas, not “{invalid[0]}”.")
        return values

    listed = {"type": "array", "items": schema, "minItems": 1}
    return Several(name, description, parse, "", listed, frozenset())


def number(
    name: str, description: str, *, least: int, most: int, default: T, wanted: str = "", empty_too: bool = False
) -> "Parameter[int | T]":
    """A whole number. empty_too: an empty text is the same as none."""

    def parse(value: str) -> int | T:
        if empty_too and not value:
            return default
        if not (value.isascii() and value.isdecimal() and len(value) <= MOST_DIGITS and least <= int(value) <= most):
            raise ValueError
        return int(value)

    schema: dict[str, Any] = {"type": "integer", "minimum": least, "maximum": most}
    if isinstance(default, int):
        schema["default"] = default
    wanted = wanted or f"must be a whole number from {least} to {most}."
    return Parameter(name, description, parse, wanted, schema, default)


def choice(name: str, description: str, values: Iterable[str], *, empty_too: bool = True) -> Parameter[str | None]:
    """One of several words. empty_too: an empty text is the same as none."""
    known = [str(each) for each in values]

    def parse(value: str) -> str | None:
        if empty_too and not value:
            return None
        if value not in known:
            raise ValueError
        return value

    *others, last = known
    listed = ", ".join(known) if len(known) > 2 else f"{others[0]} or {last}"
    return Parameter(name, description, parse, f"must be one of {listed}.", {"type": "string", "enum": known}, None)


def text(name: str, description: str, *, longest: int, schema: Mapping[str, Any] = {}) -> Parameter[str]:  # unchanged
    """Any text; of a longer one the beginning counts. No database stores NUL."""

    def parse(value: str) -> str:
        return value.replace("\x00", "").strip()[:longest]

    return Parameter(name, description, parse, "", {"type": "string", **schema}, "")


def moment(name: str, description: str) -> Parameter[str]:
    """A day, a time, or an age."""
    schema = {"type": "string", "examples": ["2026-01-31", "2026-01-31T09:00:00Z", "7d", "24h"]}
    return Parameter(name, description, lambda value: moments.parse({name: value}, name), "", schema, "")


def flag(name: str, description: str) -> Parameter[bool]:
    """1 for yes, 0 for no. Other words are refused: who tries a change with `dry_run=true` must not make it."""

    def parse(value: str) -> bool:
        return bool(("0", "1").index(value))

    return Parameter(name, description, parse, "must be 1 or 0.", {"type": "string", "enum": ["0", "1"]}, False)


def found_by(name: str, description: str, parse: Callable[[str], T], wanted: str, default: T) -> Parameter[T]:
    """A text with rules of its own."""
    return Parameter(name, description, parse, wanted, {"type": "string"}, default)


#: Items on a page of a list, at most.
MAX_LIMIT = 500
#: Items on a page of a list.
LIMIT = number("limit", "Items on a page.", least=1, most=MAX_LIMIT, default=50)
