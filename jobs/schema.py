"""A Frictionless Table Schema (https://specs.frictionlessdata.io/table-schema/): the columns of a dataset.

A schema is validated when it is declared, and errors name the path of each problem. A property that would have no
effect is an error. Extensions of the standard: `aliases` are other names for a field's column in a header; `decimals`,
`prefix`, `suffix`, `exponent`, `unpadded`, `offset` and `missingAs` say how values are spelled in a download.

Schemas come from people, so their size is checked before anything else looks at them.
"""

import re
import sys
from datetime import date, datetime, time
from math import isfinite
from typing import Annotated, Any, Literal, Self

import re2
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from jobs.errors import SchemaError

Type = Literal["string", "integer", "number", "boolean", "date", "datetime", "time"]

#: PostgreSQL's limit for the name of a column, in bytes.
MAX_NAME_BYTES = 63
#: Columns that every dataset's table has in addition to those of the file.
OWN_COLUMNS = ("_upload_id", "_row_number")
#: Column names that PostgreSQL reserves in every table.
SYSTEM_COLUMNS = ("tableoid", "xmin", "cmin", "xmax", "cmax", "ctid")
#: Columns that a schema may have: PostgreSQL's limit is 1,600, two of them are OWN_COLUMNS.
MAX_COLUMNS = 1_500

#: Fields that a key may have: PostgreSQL's limit.
MAX_KEY_FIELDS = 32
#: Unique fields: each has an index, which slows down every import.
MAX_UNIQUE_FIELDS = 32
#: Entries that a list may have. Each validated row is compared with the entries of some of them.
MAX_ENTRIES = {
    "fields": MAX_COLUMNS, "primaryKey": MAX_KEY_FIELDS, "enum": 10_000, "aliases": 100, "missingValues": 1_000,
    "trueValues": 100, "falseValues": 100,
}  # fmt: skip
#: Characters that a text may have; MAX_TEXT if it is not named here.
MAX_CHARACTERS = {"pattern": 1_000, "format": 100, "prefix": 20, "suffix": 20, "offset": 10}
MAX_TEXT = 10_000
#: Characters, values and levels of a whole schema. 1,500 inferred fields have fewer than 1,000,000 characters.
MAX_ALL_TEXT, MAX_VALUES, MAX_DEPTH = 2_000_000, 200_000, 20
#: Bits of a whole number: the largest double has 1,024.
MAX_BITS = 2_048
#: Instructions to which RE2 may compile the different patterns of a schema, 2 s of work: `[a-z]{1,1000}` has 2,000 of
#: them, `\\p{L}{1,100}` 120,000.
MAX_INSTRUCTIONS = 1_000_000
#: Problems that an error names, and characters of each. A schema may have one in each of its fields.
MAX_PROBLEMS, MAX_PROBLEM = 20, 500
#: The largest length that Arrow compares the lengths of texts with.
MAX_LENGTH = 2**31 - 1
#: The largest absolute values of a type.
LARGEST = {"integer": 2**63 - 1, "number": sys.float_info.max}

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
#: The strptime directives that a format may have, and the pattern that each matches in a cell.
DIRECTIVES = {
    "Y": "[0-9]{4}",
    **dict.fromkeys("mdHIMS", "[0-9]{2}"),
    "f": "[0-9]{1,6}",
    "p": "(?i:[AP]M)",
    "b": "(?i:" + "|".join(month[:3] for month in MONTHS) + ")",
    "B": "(?i:" + "|".join(MONTHS) + ")",
    "z": "(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)",
}
#: The formats that a text may have, apart from `default`.
TEXT_FORMATS = ("email", "uri", "uuid")
_FORMATS_OF_TEXT = f"default, {', '.join(TEXT_FORMATS[:-1])} or {TEXT_FORMATS[-1]}"
#: A fixed distance from UTC, as `%z` reads it.
OFFSET = re.compile(r"[+-](?:0[0-9]|1[0-4])(?::?[0-5][0-9])?")
#: How a number with an exponent is written: always, or only where that is shorter or usual.
Exponent = Literal["e", "E", "auto", "short"]

#: Where a value is in a schema: the names of properties, and positions in lists.
_Path = tuple[str | int, ...]
_SURROGATE = re.compile("[\ud800-\udfff]")

_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True)

#: As Arrow compiles a pattern, without a message on stderr for a bad one. RE2 is the engine that Arrow's kernels match
#: with in the worker; the web processes check patterns too, and must not load Arrow for it.
_RE2_OPTIONS = re2.Options()
_RE2_OPTIONS.log_errors = False
#: Bytes of a compiled pattern. RE2 gives up within 0.1 s; with its default of 8 MiB, a pattern took 1.3 s.
_RE2_OPTIONS.max_mem = 4 << 20


class _Patterns:
    """Checks the patterns of one schema, and that all of them together are not too complex."""

    def __init__(self) -> None:
        self._instructions_left = MAX_INSTRUCTIONS
        self._checked: set[str] = set()

    def check(self, pattern: str) -> None:
        """Raises ValueError."""
        if pattern in self._checked:
            return
        if self._instructions_left <= 0:
            raise ValueError("is too complex, together with the patterns before it; use shorter repetitions")
        try:
            re2.compile(pattern, _RE2_OPTIONS)
            # As the validator matches it: not every pattern bears it.
            self._instructions_left -= re2.compile(f"^(?:{pattern})$", _RE2_OPTIONS).programsize
        except re2.error as error:
            detail = error.args[0].decode("utf-8", "replace")
            if "too large" in detail:  # it took as long as the largest possible one
                self._instructions_left = 0
            raise ValueError(f"is not a valid regular expression: {detail}") from error
        self._checked.add(pattern)


class Constraints(BaseModel):
    """https://specs.frictionlessdata.io/table-schema/#constraints"""

    model_config = _STRICT

    required: bool = False
    unique: bool = False
    enum: list[str | int | float | bool] | None = None
    minimum: str | int | float | None = None
    maximum: str | int | float | None = None
    min_length: Annotated[int | None, Field(alias="minLength", ge=0, le=MAX_LENGTH)] = None
    max_length: Annotated[int | None, Field(alias="maxLength", ge=0, le=MAX_LENGTH)] = None
    pattern: str | None = None

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and isinstance(info.context, _Patterns):
            info.context.check(value)
        return value

    @field_validator("enum")
    @classmethod
    def _is_not_empty(cls, value: list[Any] | None) -> list[Any] | None:
        if value is not None and not value:
            raise ValueError("must list at least one value")
        return value


#: The types that a constraint applies to; `required`, `unique` and `enum` apply to all.
_CONSTRAINTS_OF = {
    "minimum": {"integer", "number", "date", "datetime", "time"},
    "maximum": {"integer", "number", "date", "datetime", "time"},
    "min_length": {"string"},
    "max_length": {"string"},
    "pattern": {"string"},
}
#: The types that a property applies to.
_PROPERTIES_OF = {
    "decimal_char": {"number"},
    "group_char": {"integer", "number"},
    "bare_number": {"integer", "number"},
    "prefix": {"number"},
    "suffix": {"number"},
    "exponent": {"number"},
    "decimals": {"number", "datetime", "time"},
    "unpadded": {"date", "datetime", "time"},
    "offset": {"datetime"},
    "true_values": {"boolean"},
    "false_values": {"boolean"},
}


class SchemaField(BaseModel):
    """A column. Properties that are not named here (`example`, `unit`) are kept.

    decimals: digits after the decimal point, at least. prefix, suffix: signs around a number ("$", " %"). bare_number:
    False if other text may surround the digits. unpadded: directives of the format that are written without a leading
    zero ("dm"). offset: of the times in a download, for `%z`. missing_as: the missing value that a download has.
    near_type: the type that most values of an inferred text column have.
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    name: str
    type: Type = "string"
    title: str | None = None
    description: str | None = None
    format: str = "default"
    constraints: Constraints = Constraints()
    aliases: list[str] = []
    missing_values: Annotated[list[str] | None, Field(alias="missingValues")] = None
    decimal_char: Annotated[str, Field(alias="decimalChar", min_length=1, max_length=1)] = "."
    group_char: Annotated[str | None, Field(alias="groupChar", min_length=1, max_length=1)] = None
    bare_number: Annotated[bool, Field(alias="bareNumber")] = True
    prefix: str = ""
    suffix: str = ""
    exponent: Exponent | None = None
    decimals: Annotated[int, Field(ge=0, le=14)] = 0
    unpadded: Annotated[str, Field(max_length=4)] = ""
    offset: str | None = None
    missing_as: Annotated[str | None, Field(alias="missingAs")] = None
    near_type: Annotated[Type | None, Field(alias="nearType")] = None
    true_values: Annotated[list[str], Field(alias="trueValues", min_length=1)] = ["true", "True", "TRUE", "1"]
    false_values: Annotated[list[str], Field(alias="falseValues", min_length=1)] = ["false", "False", "FALSE", "0"]

    @field_validator("name")
    @classmethod
    def _is_a_column_name(cls, value: str) -> str:
        if not value or value != value.strip() or not value.isprintable():
            raise ValueError("must be printable, must not be empty, and must not begin or end with a space")
        if len(value.encode()) > MAX_NAME_BYTES:
            raise ValueError(f"is longer than {MAX_NAME_BYTES} bytes, the limit for column names")
        if value.casefold() in (*OWN_COLUMNS, *SYSTEM_COLUMNS):
            raise ValueError("is a reserved column name")
        return value

    @model_validator(mode="after")
    def _has_only_applicable_properties(self) -> Self:
        self._check_format()
        for name, types in _PROPERTIES_OF.items():
            if name in self.model_fields_set and self.type not in types:
                raise ValueError(f"{_alias(SchemaField, name)} does not apply to the type {self.type}")
        for name, types in _CONSTRAINTS_OF.items():
            if getattr(self.constraints, name) is not None and self.type not in types:
                raise ValueError(f"constraints.{_alias(Constraints, name)} does not apply to the type {self.type}")
        for name, value in [("minimum", self.constraints.minimum), ("maximum", self.constraints.maximum)]:
            if value is not None:
                self._check_value(f"constraints.{name}", value)
        for position, value in enumerate(self.constraints.enum or []):
            self._check_value(f"constraints.enum[{position}]", value)
        if self.type == "boolean" and (both := set(self.true_values) & set(self.false_values)):
            raise ValueError(f"trueValues and falseValues both contain “{sorted(both)[0]}”")
        if self.group_char is not None and self.group_char == self.decimal_char:
            raise ValueError("groupChar and decimalChar must differ")
        self._check_spelling()
        return self

    def _check_spelling(self) -> None:
        """Raises ValueError if numbers or moments could not be read as they are written."""
        for name, affix in [("prefix", self.prefix), ("suffix", self.suffix)]:
            if re.search(r"[0-9+\-.,]", affix):
                raise ValueError(f"{name} “{affix}” has a digit, a sign or a separator, which belong to the number")
            if affix and self.bare_number:
                raise ValueError(f"{name} needs bareNumber, which must be false")
        if self.missing_as is not None and self.missing_as not in (self.missing_values or [self.missing_as]):
            raise ValueError(f"missingAs “{self.missing_as}” is not one of missingValues")
        directives = [] if self.format == "default" else format_directives(self.format)
        if wrong := [letter for letter in self.unpadded if letter not in "dmHI" or letter not in directives]:
            raise ValueError(f"unpadded has “{wrong[0]}”, which must be one of d, m, H and I, and in the format")
        if self.offset is not None and (OFFSET.fullmatch(self.offset) is None or "z" not in directives):
            raise ValueError(f"offset “{self.offset}” must be like +01:00, and needs %z in the format")
        if self.type in ("datetime", "time") and self.decimals and ("f" not in directives or self.decimals > 6):
            raise ValueError("decimals needs %f in the format, and at most 6 are possible")

    def _check_format(self) -> None:
        if self.format == "default":
            return
        if self.type == "string":
            if self.format not in TEXT_FORMATS:
                raise ValueError(f"format “{self.format}” is not supported for the type string; use {_FORMATS_OF_TEXT}")
            return
        if self.type not in ("date", "datetime", "time"):
            raise ValueError(f"format “{self.format}” is not supported for the type {self.type}; leave it out")
        needed = {"date": "Ymd", "datetime": "YmdHM", "time": "HM"}[self.type]
        possible = {"date": "Ymd", "datetime": "YmdHMSfz", "time": "HMSf"}[self.type]
        found = format_directives(self.format)
        # A month may have a name, and an hour two halves of a day.
        usual = {"b": "m", "B": "m", "I": "H"}
        read = [usual.get(each, each) for each in found if each != "p" or "I" not in found]
        if foreign := [f"%{each}" for each in read if each not in possible]:
            raise ValueError(f"format “{self.format}” has {foreign[0]}, which does not apply to the type {self.type}")
        if len(set(read)) < len(read):
            raise ValueError(f"format “{self.format}” has the month or the hour twice")
        missing = [f"%{directive}" for directive in needed if directive not in read]
        if "I" in found and "p" not in found:
            missing.append("%p")
        if missing:
            raise ValueError(f"format “{self.format}” lacks {' and '.join(missing)}")

    def _check_value(self, where: str, value: str | int | float | bool) -> None:
        """Raises ValueError unless a bound or an allowed value has the type of the field."""
        error = ValueError(f"{where} is {value!r}, which is not of the type {self.type}")
        if self.type == "integer" and (not isinstance(value, int) or isinstance(value, bool)):
            raise error
        if self.type == "number" and (not isinstance(value, int | float) or isinstance(value, bool)):
            raise error
        if self.type in ("integer", "number") and not abs(value) <= LARGEST[self.type]:  # type: ignore[arg-type]  # a number
            raise error
        if self.type == "boolean" and not isinstance(value, bool):
            raise error
        if self.type in ("string", "date", "datetime", "time") and not isinstance(value, str):
            raise error
        parse = {"date": date.fromisoformat, "datetime": datetime.fromisoformat, "time": time.fromisoformat}
        if self.type in parse:
            try:
                parse[self.type](str(value))
            except ValueError:
                raise ValueError(f"{where} is {value!r}; use ISO 8601") from None

    @property
    def is_required(self) -> bool:
        return self.constraints.required

    @property
    def is_in_utc(self) -> bool:
        """Whether a datetime has a time zone, so that it is stored in UTC."""
        return self.format.endswith(("Z", "%z")) or self.format == "default"


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


#: The columns of a key. The name of a single one may stand without a list, as in Table Schema.
KeyNames = Annotated[list[str], BeforeValidator(_as_list)]


class TableSchema(BaseModel):
    """The columns in order, and the primary key."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    fields: Annotated[list[SchemaField], Field(min_length=1, max_length=MAX_COLUMNS)]
    missing_values: Annotated[list[str], Field(alias="missingValues")] = [""]
    primary_key: Annotated[KeyNames, Field(alias="primaryKey", max_length=MAX_KEY_FIELDS)] = []

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if "foreignKeys" in (self.model_extra or {}):
            raise ValueError("foreignKeys are not supported")
        seen: dict[str, str] = {}
        for field in self.fields:
            for name in [field.name, *field.aliases]:
                if name.casefold() in seen:
                    raise ValueError(f"“{name}” and “{seen[name.casefold()]}” are the same column name, ignoring case")
                seen[name.casefold()] = name
        for name in self.primary_key:
            if name not in self.names:
                raise ValueError(f"primaryKey contains “{name}”, which is not a field")
        if len(set(self.primary_key)) < len(self.primary_key):
            raise ValueError("primaryKey contains a field twice")
        return self

    @property
    def title(self) -> str | None:
        """What people call the dataset: a property that the standard leaves open, kept as it was given."""
        title = (self.model_extra or {}).get("title")
        return title.strip() or None if isinstance(title, str) else None

    @property
    def names(self) -> list[str]:
        return [field.name for field in self.fields]

    def missing_values_of(self, field: SchemaField) -> list[str]:
        return self.missing_values if field.missing_values is None else field.missing_values

    def is_required(self, field: SchemaField) -> bool:
        """Whether a value is required: by the constraints, or because the field is part of the key."""
        return field.is_required or field.name in self.primary_key

    def rules(self, field: SchemaField) -> list[str]:
        """The constraints of a field in addition to its type, as short phrases for people."""
        rules = field.constraints
        texts = [
            ("required", self.is_required(field)),
            ("part of the key" if len(self.primary_key) > 1 else "key", field.name in self.primary_key),
            ("unique", rules.unique),
            (f"at least {rules.minimum}", rules.minimum is not None),
            (f"at most {rules.maximum}", rules.maximum is not None),
            (f"at least {rules.min_length} characters", rules.min_length is not None),
            (f"at most {rules.max_length} characters", rules.max_length is not None),
            (f"matches {rules.pattern}", rules.pattern is not None),
            (f"one of {', '.join(map(str, rules.enum or []))}", rules.enum is not None),
            (f"format {field.format}", field.format != "default"),
        ]
        return [text for text, holds in texts if holds]

    @classmethod
    def parse(cls, data: object) -> Self:
        """A schema from JSON. Raises SchemaError with the path of each problem."""
        _check_size(data)
        try:
            schema = cls.model_validate(data, context=_Patterns())
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            problems = [_sentence(each["loc"], each["msg"], each["type"]) for each in found[:MAX_PROBLEMS]]
            more = [f"{len(found) - MAX_PROBLEMS:,} more problems"] if len(found) > MAX_PROBLEMS else []
            raise SchemaError([*problems, *more]) from error
        finally:
            re2.purge()  # its cache keeps up to 128 compiled patterns
        if (count := sum(field.constraints.unique for field in schema.fields)) > MAX_UNIQUE_FIELDS:
            raise SchemaError([f"fields: {count:,} fields are unique; at most {MAX_UNIQUE_FIELDS} can be"])
        return schema

    @classmethod
    def stored(cls, data: object) -> Self:
        """A schema that `parse` accepted when it was stored, without checking its size and compiling its patterns."""
        return cls.model_validate(data)

    def as_json(self) -> dict[str, Any]:
        """The JSON that `parse` takes, with only the properties that were given."""
        return self.model_dump(by_alias=True, exclude_unset=True)


def _check_size(data: object) -> None:
    """Raises SchemaError if a schema, or a part of it, is larger than any that is of use. Needs no recursion."""
    characters, values = 0, 1
    rest: list[tuple[_Path, object]] = [((), data)]
    while rest:
        path, value = rest.pop()
        if isinstance(value, str):
            characters += _checked_length(path, value)
        elif isinstance(value, float) and not isfinite(value) and "constraints" not in path:  # these are checked
            raise SchemaError([_sentence(path, "is not a finite number", "")])
        elif isinstance(value, int) and value.bit_length() > MAX_BITS:
            raise SchemaError([_sentence(path, "is too large a number", "")])
        elif isinstance(value, dict | list):
            values += len(value)
            _check_entries(path, value)
            inner = value.items() if isinstance(value, dict) else enumerate(value)
            rest += [((*path, key), each) for key, each in inner] if values <= MAX_VALUES else []
            if isinstance(value, dict):
                characters += sum(_checked_length(path, str(key)) for key in value)
        if characters > MAX_ALL_TEXT or values > MAX_VALUES:
            limits = f"{MAX_ALL_TEXT:,} characters and {MAX_VALUES:,} values"
            raise SchemaError([f"schema: is too large; it may have {limits}"])


def _check_entries(path: _Path, value: dict[Any, Any] | list[Any]) -> None:
    """Raises SchemaError."""
    if len(path) >= MAX_DEPTH:
        raise SchemaError([_sentence(path[:3], f"is nested more than {MAX_DEPTH} levels deep", "")])
    most = MAX_ENTRIES.get(str(path[-1]), MAX_VALUES) if path else MAX_VALUES
    if isinstance(value, list) and len(value) > most:
        raise SchemaError([_sentence(path, f"has {len(value):,} entries; at most {most:,} are possible", "")])


def _checked_length(path: _Path, text: str) -> int:
    """The characters of a text. Raises SchemaError if they are too many, or if one of them cannot be stored."""
    longest = MAX_CHARACTERS.get(str(path[-1]), MAX_TEXT) if path else MAX_TEXT
    if len(text) > longest:
        problem = f"has {len(text):,} characters; at most {longest:,} are possible"
        raise SchemaError([_sentence(path, problem, "")])
    if "\0" in text or not (text.isascii() or _SURROGATE.search(text) is None):
        raise SchemaError([_sentence(path, "contains a NUL or a lone surrogate, which cannot be stored", "")])
    return len(text)


def format_directives(format_: str) -> list[str]:
    """The directives of a format, in order. Raises ValueError for an unsupported or repeated one."""
    found = re.findall(r"%(.?)", format_)
    for directive in found:
        if directive not in DIRECTIVES:
            supported = ", ".join(f"%{each}" for each in DIRECTIVES)
            raise ValueError(f"format “{format_}”: %{directive} is not supported; use {supported}")
        if found.count(directive) > 1:
            raise ValueError(f"format “{format_}” has %{directive} twice")
    return found


def _alias(model: type[BaseModel], name: str) -> str:
    return model.model_fields[name].alias or name


def _sentence(path: _Path, message: str, kind: str) -> str:
    """A problem and its place, shortened if it quotes a long text."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{_shortened(str(part), MAX_NAME_BYTES)}" for part in path)
    text = {"extra_forbidden": "is not a known property", "missing": "is missing"}.get(kind)
    sentence = text or message.removeprefix("Value error, ")
    return f"{''.join(parts).lstrip('.') or 'schema'}: {_shortened(sentence, MAX_PROBLEM)}"


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}…"
