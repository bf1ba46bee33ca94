"""The kinds of rules that the page of a dataset's settings offers."""

from collections.abc import Mapping, Sequence

from jobs.repair import repairs
from jobs.schema import SchemaField

#: Kinds as the form of a rule offers them; compounds are made from suggestions and in the API.
KINDS: Mapping[str, str] = {
    "replace": "Replace a value",
    "missing": "Treat a word as empty",
    "trim": "Remove spaces around values",
    "number": "Read numbers in other spellings",
    "date": "Read dates and times in other notations",
    "boolean": "Read other words for yes and no",
    "case": "Spell values as in the list of allowed values",
    "upper": "Write in capital letters",
    "lower": "Write in small letters",
    "nearest": "Replace misspellings of allowed values",
}
#: Kinds of the form that are another kind with something in `to`.
CASES = ("upper", "lower")


def offered(fields: Sequence[SchemaField]) -> Mapping[str, str]:
    """The kinds that are of use for one of the fields."""
    types = {field.type for field in fields}
    has_list = any(field.constraints.enum is not None and field.type == "string" for field in fields)
    return {
        kind: words
        for kind, words in KINDS.items()
        if types & repairs.TYPES_OF.get("case" if kind in CASES else kind, types)
        and (has_list or kind not in ("case", "nearest"))
    }
