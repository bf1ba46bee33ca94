"""The import options that the sender chose for a file; the import detects the others (pipeline/source.py)."""

import codecs
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Self, get_args

from jobs.errors import InvalidImportOptionError
from jobs.excerpt import excerpt
from jobs.formats.dialect import CHOICES
from jobs.schema import MAX_COLUMNS, SchemaField, Type

UTF_8 = "utf-8"
#: Python codecs that decode bytes into text but are not encodings of files.
_NOT_ENCODINGS = ("idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined")
#: Names for delimiters that are awkward to type into a form or a query.
_DELIMITER_NAMES = {"tab": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
#: Characters of the JSON object of types; 1,500 columns with short names have 50,000.
_MAX_TYPES_LENGTH = 200_000
_TYPES = "types must be auto (infer them from the file), text (keep every column as text), or a JSON object such as"
#: The most digits of a header row: no file has its header below line 999,999.
_MAX_ROW_DIGITS = 6


def codec_of(name: str) -> str:
    """Python's name of an encoding. Raises InvalidImportOptionError if Python has no encoding of this name."""
    try:
        codec = codecs.lookup(name).name.replace("_", "-")
        "".encode(codec)
    except (LookupError, ValueError):  # ValueError: a codec that does not encode text, or a NUL in the name
        codec = ""
    if not codec or codec in _NOT_ENCODINGS:
        raise InvalidImportOptionError(
            f"Unknown encoding “{name}”. Use a name such as utf-8, cp1252, cp1250, utf-16 or gb18030, or leave it out.",
            "encoding",
        )
    return UTF_8 if codec in ("ascii", "utf-8-sig") else codec


@dataclass(frozen=True)
class ImportOptions:
    """How to read a file; None means auto-detect. Raises InvalidImportOptionError.

    encoding: a name that Python knows. header_row: line number of the header, from 1; 0: the first row is data. sheet:
    the worksheet of a workbook. member: the name of the file in an archive. types:
    how a new dataset gets its types: inferred from the file ("auto"), text for every column, or those of some columns;
    the others are inferred. A type may have a format: "date:%d/%m/%Y".
    """

    encoding: str | None = None
    delimiter: str | None = None
    header_row: int | None = None
    sheet: str | None = None
    types: Literal["auto", "text"] | Mapping[str, str] = "auto"
    member: str | None = None

    def __post_init__(self) -> None:
        if self.encoding is not None:
            codec_of(self.encoding)
        if self.delimiter is not None and self.delimiter not in CHOICES:
            raise InvalidImportOptionError(
                f"Unsupported delimiter “{self.delimiter}”. Use one of , ; |, a tab or a space.", "delimiter"
            )
        if self.header_row is not None and self.header_row < 0:
            raise InvalidImportOptionError(
                f"header_row cannot be {self.header_row}: the first line is 1, and 0 means that there is no header.",
                "header_row",
            )
        if isinstance(self.types, Mapping):
            _check_types(self.types)
        elif self.types not in ("auto", "text"):
            raise InvalidImportOptionError(f'{_TYPES} {{"price": "number"}}.', "types")

    @classmethod
    def from_fields(cls, given: Mapping[str, str]) -> Self:
        """From the fields of a form or a query; an empty one is not set. Raises InvalidImportOptionError."""
        chosen: dict[str, Any] = {name: value for name in cls.names() if (value := given.get(name, ""))}
        if (row := chosen.get("header_row")) is not None:
            if not row.isdecimal() or len(row) > _MAX_ROW_DIGITS:
                raise InvalidImportOptionError(
                    "header_row must be the line number of the header: 1 or more, or 0 if the first row is data.",
                    "header_row",
                )
            chosen["header_row"] = int(row)
        if "delimiter" in chosen:
            chosen["delimiter"] = _DELIMITER_NAMES.get(chosen["delimiter"], chosen["delimiter"])
        if chosen.get("types", "").lstrip().startswith("{"):
            chosen["types"] = _types_of(chosen["types"])
        return cls(**chosen)

    def changed(self, given: Mapping[str, str]) -> Self:
        """With the fields that are given, as in `from_fields`; an empty one is detected again. Raises
        InvalidImportOptionError."""
        chosen = self.from_fields(given)
        return replace(self, **{name: getattr(chosen, name) for name in self.names() if name in given})

    @classmethod
    def names(cls) -> list[str]:
        """The names of all options."""
        return [field.name for field in fields(cls)]

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """From the result of `as_json`."""
        return cls(**stored)

    def as_json(self) -> dict[str, Any]:
        """The options that the sender chose, without those to detect."""
        default = type(self)()
        return {name: value for name in self.names() if (value := getattr(self, name)) != getattr(default, name)}

    @property
    def all_text(self) -> bool:
        """Whether every column of a new dataset is text."""
        return self.types == "text"

    @property
    def types_of_columns(self) -> Mapping[str, str]:
        """The chosen types of a new dataset's columns; the others are inferred."""
        return self.types if isinstance(self.types, Mapping) else {}


def _types_of(text: str) -> dict[str, str]:
    """Raises InvalidImportOptionError."""
    if len(text) > _MAX_TYPES_LENGTH:
        raise InvalidImportOptionError(f"types has more than {_MAX_TYPES_LENGTH:,} characters.", "types")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidImportOptionError(f'{_TYPES} {{"price": "number"}}.', "types") from error
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
        raise InvalidImportOptionError(f'{_TYPES} {{"price": "number"}}.', "types")
    return found


def _check_types(types: Mapping[str, str]) -> None:
    """Raises InvalidImportOptionError."""
    if len(types) > MAX_COLUMNS:
        raise InvalidImportOptionError(
            f"types names {len(types):,} columns; at most {MAX_COLUMNS:,} are possible.", "types"
        )
    for column, type_ in types.items():
        name, _, format_ = type_.partition(":")
        if name not in get_args(Type):
            known = ", ".join(get_args(Type))
            raise InvalidImportOptionError(
                f"types.{excerpt(column)} is “{excerpt(type_)}”. Use one of {known}.", "types"
            )
        try:
            SchemaField.model_validate({"name": "x", "type": name, **({"format": format_} if format_ else {})})
        except ValueError as error:
            raise InvalidImportOptionError(
                f"types.{excerpt(column)} has the format “{excerpt(format_)}”, which is not one of the type {name}.",
                "types",
            ) from error
