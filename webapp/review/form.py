"""The forms of a review's page → what they change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from webapp.errors import InvalidBodyError
from webapp.review.view import WITH_FORMAT

#: Fields of a form: a page has some for each of its columns.
MAX_FIELDS = 2_000
#: Properties of a field that are constraints, as one text each.
_LIMITS = ("minimum", "maximum", "pattern")

Form = Mapping[str, Sequence[str]]


def parse(body: bytes) -> Form:
    """The values of each field, in order. Raises InvalidBodyError."""
    try:
        return parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError as error:  # UnicodeDecodeError is one
        raise InvalidBodyError([("", f"The form cannot be read, or has more than {MAX_FIELDS:,} fields.")]) from error


def mapping(form: Form) -> dict[str, str | None]:
    """The columns whose field was changed → the field; None: ignored.

    What another person changed meanwhile stays: a column counts only if its field is not the one that the form began
    with. Raises InvalidBodyError.
    """
    columns, fields, before = _together(form, "column", "field", "was")
    return {column: field or None for column, field, was in zip(columns, fields, before, strict=True) if field != was}


def parts(form: Form) -> dict[str, str]:
    """The parts of a file that were chosen → the dataset of each. Raises InvalidBodyError."""
    names, datasets = _together(form, "name", "dataset")
    chosen = set(form.get("part", ()))
    return {name: dataset for name, dataset in zip(names, datasets, strict=True) if name in chosen}


def schema(form: Form, review: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a new dataset: that of its review, with what the form changes. Raises InvalidBodyError.

    A field whose type stays keeps what was inferred for it, such as its decimal character.
    """
    entered = _entered(form)
    key = _key(review)
    fields, names = [], []
    for present in review["fields"]:
        column = present["column"]
        found = entered.get(column)
        if found and not found.texts["type"]:
            continue
        field = _changed(present, found) if found else _plain(present)
        if "all_text" in form:
            field = {"name": field["name"], "type": "string"} | _kept(field, "missingValues")
        fields.append(field | {"column": column})
        if found.is_key if found else present["name"] in key:
            names.append(field["name"])
    known = {present["column"] for present in review["fields"]}
    for column, found in entered.items():
        if column not in known and found.texts["type"]:  # it was ignored before
            name, rules = found.texts["name"].strip() or column, _flags(found)
            field = {"name": name, "type": found.texts["type"], "column": column}
            fields.append(field | ({"constraints": rules} if rules else {}))
            names += [name] if found.is_key else []
    order = {each["name"]: place for place, each in enumerate(review["columns"])}
    fields.sort(key=lambda field: order.get(field["column"], 0))
    return {"fields": fields, "primaryKey": names}


@dataclass(frozen=True)
class _Entered:
    """What a form has of a field. texts: by the name of the property."""

    texts: Mapping[str, str]
    required: bool
    unique: bool
    is_key: bool


def _entered(form: Form) -> dict[str, _Entered]:
    """By column."""
    names = ("name", "type", "format", *_LIMITS, "enum")
    columns, *texts = _together(form, "column", *names)
    required, unique, key = (set(form.get(name, ())) for name in ("required", "unique", "key"))
    return {
        column: _Entered(dict(zip(names, values, strict=True)), column in required, column in unique, column in key)
        for column, *values in zip(columns, *texts, strict=True)
    }


def _changed(present: Mapping[str, Any], entered: _Entered) -> dict[str, Any]:
    texts = {name: text.strip() for name, text in entered.texts.items()}
    is_same_type = texts["type"] == present["type"]
    field = _plain(present) if is_same_type else _kept(present, "missingValues", "aliases", "title")
    field |= {"name": texts["name"], "type": texts["type"]}
    if texts["format"] and (is_same_type or texts["type"] in WITH_FORMAT):
        field["format"] = texts["format"]
    else:
        field.pop("format", None)
    rules = _rules(present, entered, texts) if is_same_type else _flags(entered)
    field.pop("constraints", None)
    return field | ({"constraints": rules} if rules else {})


def _rules(present: Mapping[str, Any], entered: _Entered, texts: Mapping[str, str]) -> dict[str, Any]:
    """The constraints of a field, without those that are not set; those that no form has stay."""
    others = {
        name: value
        for name, value in (present.get("constraints") or {}).items()
        if name not in ("required", "unique", "enum", *_LIMITS)
    }
    limits = {name: _value(texts[name], name, texts["type"]) for name in _LIMITS if texts[name]}
    values = [value.strip() for value in texts["enum"].split(",") if value.strip()]
    choices = {"enum": [_value(value, "enum", texts["type"]) for value in values]} if values else {}
    return others | _flags(entered) | limits | choices


def _flags(entered: _Entered) -> dict[str, Any]:
    flags = {"required": entered.required, "unique": entered.unique}
    return {name: True for name, is_set in flags.items() if is_set}


def _plain(present: Mapping[str, Any]) -> dict[str, Any]:
    """A field of a review as Table Schema has it."""
    return {name: value for name, value in present.items() if name not in ("column", "required")}


def _kept(field: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: field[name] for name in names if name in field}


def _key(review: Mapping[str, Any]) -> Sequence[str]:
    found: Sequence[str] = review.get("primary_key") or []
    return found


def _value(text: str, name: str, type_: str) -> Any:
    """A limit as the type has it; as text where it is none, which the schema then refuses in its own words."""
    if name == "pattern" or type_ not in ("integer", "number"):
        return text
    try:
        return int(text) if type_ == "integer" else float(text)
    except ValueError:
        return text


def _together(form: Form, *names: str) -> list[Sequence[str]]:
    """Fields that a form has once for each column."""
    found = [form.get(name, ()) for name in names]
    if len({len(each) for each in found}) != 1:
        raise InvalidBodyError([("", "The form is not complete. Reload the page.")])
    return found
