"""A review as the page of a held upload shows it."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from jobs.excerpt import excerpt
from jobs.modes import Mode
from jobs.siblings import Sibling
from jobs.uploads import Upload
from webapp.review.parts_view import PartsView
from webapp.views.form import FormView

#: Columns, and rows of the file, on a page.
COLUMNS_SHOWN, ROWS_SHOWN = 50, 20
#: Columns of the first rows that are shown, and characters of a cell.
PREVIEW_COLUMNS, CELL_LENGTH = 12, 60
#: Fields that a select offers. Of more, a text field with proposals takes the name.
FIELDS_OFFERED = 100
#: Samples of a column, and characters of each.
SAMPLES_SHOWN, SAMPLE_LENGTH = 3, 40
#: Reasons and examples of updates that are shown.
REASONS_SHOWN, UPDATES_SHOWN = 20, 5
#: The choice to add a column to the dataset as a new field. No field has such a name: none begins with a space.
NEW_FIELD = " new"
#: Why a column has its field, in words.
_WHY = {
    "remembered": "chosen by a person",
    "name": "same name",
    "alias": "another name of the field",
    "similar": "similar name",
    "values": "its values fit",
}
#: A guess is never shown as certain: the page asks somebody to look at it.
MOST_SURE = 0.99
#: A space at which no line ends.
NO_BREAK = "\u00a0"
#: Types that a field of a new dataset can have, and what they are called.
TYPES = {
    "string": "Text",
    "integer": "Whole number",
    "number": "Number",
    "boolean": "Yes or no",
    "date": "Date",
    "datetime": "Date and time",
    "time": "Time",
}
#: The types whose values may be written in a format of their own.
WITH_FORMAT = ("date", "datetime", "time")


@dataclass(frozen=True)
class Choice:
    """An option of a select. value: the name of a field, or "" to ignore the column."""

    value: str
    text: str
    is_chosen: bool


#: What the rows of a file do with those of the dataset, as a choice, and what it means.
MODES = {
    Mode.INSERT: ("Add only", "A row whose key exists fails."),
    Mode.UPSERT: ("Update", "A row whose key exists replaces the stored one."),
    Mode.ONLY_NEW: ("Leave as they are", "A row whose key exists changes nothing."),
    Mode.REPLACE: ("Replace all rows", "The rows of the file take the place of all others at once."),
}


@dataclass(frozen=True)
class ColumnView:
    """A column of the file. id: of its control. filled: percent. choices: none if there are too many to list.
    is_open: whether it has no field although one is left over."""

    id: str
    name: str
    title: str
    samples: Sequence[str]
    filled: str
    field: str
    why: str
    choices: Sequence[Choice]
    is_open: bool


@dataclass(frozen=True)
class FieldView:
    """A field of a new dataset. would_fail: rows, None if that is not known. values: the first ones that do not fit."""

    id: str
    column: str
    name: str
    type: str
    format: str
    takes_format: bool
    required: bool
    unique: bool
    minimum: str
    maximum: str
    pattern: str
    enum: str
    is_key: bool
    samples: Sequence[str]
    filled: str
    would_fail: int | None
    reasons: Sequence["ReasonView"]


@dataclass(frozen=True)
class ReasonView:
    column: str
    rule: str
    rows: int
    values: Sequence[str]


@dataclass(frozen=True)
class UpdateView:
    """A row that would change. key: in words. changes: field, before, after."""

    key: str
    changes: Sequence[tuple[str, str, str]]


class CheckView:
    """What an import would do. The five figures add up to `rows`."""

    def __init__(self, check: Mapping[str, Any]) -> None:
        self.rows = int(check["rows"])
        self.would_insert = int(check["would_insert"])
        self.would_update = int(check["would_update"])
        self.unchanged = int(check["unchanged"])
        self.superseded = int(check["superseded"])
        self.would_fail = int(check["would_fail"])
        self.would_remove = int(check.get("would_remove") or 0)
        self.replaces_all = check.get("mode") == Mode.REPLACE
        reasons = [_reason(each) for each in check["reasons"]]
        self.reasons, self.more_reasons = reasons[:REASONS_SHOWN], max(0, len(reasons) - REASONS_SHOWN)
        self.updates = [_update(each) for each in check["updates"][:UPDATES_SHOWN]]

    @property
    def would_import(self) -> int:
        """Rows that do not fail."""
        return self.rows - self.would_fail

    def share(self, rows: int) -> float:
        """Percent of all rows."""
        return rows * 100 / self.rows if self.rows else 0.0


class ReviewView:
    """What the three parts of the page are made of.

    rows: the first rows of the file. preview: the columns that they show. columns: those of this page. left: the fields
    that no column fills; required: those of them that need one. check: None until it was made.
    """

    def __init__(
        self,
        upload: Upload,
        review: Mapping[str, Any],
        *,
        first_column: int = 1,
        made: Mapping[int, Sibling] | None = None,
    ) -> None:
        """review: as the API tells it. made: the uploads that were made of parts of the file."""
        self._upload, self._review = upload, review
        self.parts = PartsView(upload, review.get("parts", ()), made or {})
        self.options: Mapping[str, Any] = review["options"]
        self.sheets: Sequence[str] = self.options.get("sheets") or []
        #: Whether a worksheet can be chosen.
        self.has_sheets = bool(self.sheets) or upload.filename.lower().endswith((".xlsx", ".xls", ".xlsb", ".ods"))
        self.dataset = upload.dataset
        names = [str(column["name"]) for column in review["columns"]]
        self.preview = [excerpt(name, CELL_LENGTH) for name in names[:PREVIEW_COLUMNS]]
        self.more_columns = max(0, len(names) - PREVIEW_COLUMNS)
        self.rows = [
            [excerpt(str(cell or ""), CELL_LENGTH) for cell in row[:PREVIEW_COLUMNS]]
            for row in review["rows"][:ROWS_SHOWN]
        ]
        self.column_count = len(names)
        self.first_column = min(first_column, max(1, self.column_count))
        self.last_column = min(self.column_count, self.first_column - 1 + COLUMNS_SHOWN)
        taken = {column["field"] for column in review["columns"] if column["field"] is not None}
        #: Fields that the import adds.
        self.new_fields = [str(field["name"]) for field in review["fields"] if field.get("is_new")]
        self.left = [str(field["name"]) for field in review["fields"] if field["name"] not in taken]
        self.required = [
            str(field["name"]) for field in review["fields"] if field["required"] and field["name"] not in taken
        ]
        self.types = TYPES
        #: Whether a worker looks at the file again: what it found before no longer holds.
        self.is_busy = upload.is_active
        self.check = CheckView(review["check"]) if review["check"] and not self.is_busy else None
        self.has_select = len(self.left) < FIELDS_OFFERED
        #: None of a file that other uploads import, or of which nobody has chosen a part yet.
        self.columns = [] if upload.is_divided else [self._column(place) for place in self._places]
        self.fields = [self._field(place) for place in self._places] if self.is_new else []

    @property
    def is_new(self) -> bool:
        """Whether the import makes a new dataset, whose fields can be changed."""
        return self.dataset is None

    @property
    def name(self) -> str:
        """Of a new dataset, as it was wanted or is proposed."""
        return str(self._review.get("dataset") or self._upload.dataset_wanted or "")

    @property
    def modes(self) -> list[Choice]:
        """What the rows may do with those of the dataset; none if there is nothing to choose."""
        allowed = self._review.get("modes") or []
        if self.is_new or len(allowed) < 2:
            return []
        return [Choice(mode, MODES[Mode(mode)][0], is_chosen=mode == self._review["mode"]) for mode in allowed]

    @property
    def targets(self) -> list[Choice]:
        """The datasets that its rows can go into: a new one first."""
        names = list(self._review.get("datasets") or [])
        if self.dataset is not None and self.dataset not in names:
            names = [self.dataset, *names] if names else []
        new = Choice("", "New dataset", is_chosen=self.dataset is None)
        return [new, *(Choice(name, name, is_chosen=name == self.dataset) for name in names)] if names else []

    @property
    def problem(self) -> Mapping[str, Any] | None:
        """Why the file cannot be read with the present options."""
        found: Mapping[str, Any] | None = self._review.get("problem")
        return None if self.is_busy else found

    @property
    def refused(self) -> FormView | None:
        """The form of the import options, if one of them is to blame."""
        if self.problem is None or self.problem["option"] is None:
            return None
        chosen = self._upload.options.as_json().items()
        values = {name: value if isinstance(value, str) else json.dumps(value) for name, value in chosen}
        status = HTTPStatus.UNPROCESSABLE_ENTITY
        return FormView(defaultdict(str, values), {self.problem["option"]: self.problem["detail"]}, status)

    @property
    def mode_meaning(self) -> str:
        return MODES[Mode(self._review["mode"])][1] if self._review.get("mode") else ""

    @property
    def import_label(self) -> str:
        only = " of this worksheet" if self.parts.items else ""
        if self.check is None:
            if self._review.get("mode") == Mode.REPLACE and not self.is_new:
                return "Replace all rows"
            return f"Import only{only[3:]}" if only else "Import"
        if self.check.replaces_all and not self.is_new:
            return f"Replace all rows by {self.check.would_insert:,}"
        rows = "1 row" if self.check.would_import == 1 else f"{self.check.would_import:,} rows"
        return f"Import {rows}{only}"

    @property
    def previous_columns_url(self) -> str | None:
        return self._url(max(1, self.first_column - COLUMNS_SHOWN)) if self.first_column > 1 else None

    @property
    def next_columns_url(self) -> str | None:
        following = self.first_column + COLUMNS_SHOWN
        return self._url(following) if following <= self.column_count else None

    def action(self, part: str) -> str:
        """Where a form of the page leads to, which then shows the same columns."""
        query = f"?{urlencode({'columns': self.first_column})}" if self.first_column > 1 else ""
        place = part if part == "check" else f"review/{part}"
        return f"/uploads/{self._upload.id}/{place}{query}"

    def _url(self, first_column: int) -> str:
        return f"/uploads/{self._upload.id}?{urlencode({'columns': first_column})}#review"

    @property
    def _places(self) -> range:
        return range(self.first_column - 1, self.last_column)

    def _column(self, place: int) -> ColumnView:
        column = self._review["columns"][place]
        name, field = str(column["name"]), column["field"]
        return ColumnView(
            id=f"column-{place + 1}",
            name=name,
            title=excerpt(name, CELL_LENGTH),
            samples=_samples(column),
            filled=_percent(column["filled"]),
            field=field or "",
            why=_why(column),
            choices=self._choices(field, column.get("new_field")) if self.has_select else [],
            is_open=field is None and bool(self.left),
        )

    def _choices(self, field: str | None, new: Mapping[str, Any] | None) -> list[Choice]:
        """The column's own field first, then those that no column fills: a choice never takes a field from another. At
        last the new field that the column can become."""
        own = [Choice(field, excerpt(field, CELL_LENGTH), is_chosen=True)] if field else []
        left = [Choice(name, excerpt(name, CELL_LENGTH), is_chosen=False) for name in self.left]
        added = []
        if new is not None and field != new["name"]:
            what = TYPES[new["type"]].lower()
            added = [
                Choice(NEW_FIELD, f"Add as new field {excerpt(new['name'], CELL_LENGTH)} ({what})", is_chosen=False)
            ]
        return [Choice("", "Ignore", is_chosen=field is None), *own, *left, *added]

    def _field(self, place: int) -> FieldView:
        column = self._review["columns"][place]
        found = next((each for each in self._review["fields"] if each["name"] == column["field"]), None)
        field: Mapping[str, Any] = found or {"name": "", "type": ""}
        rules: Mapping[str, Any] = field.get("constraints") or {}
        reasons = [_reason(each) for each in (self._review["check"] or {}).get("reasons", [])] if self.check else []
        reasons = [each for each in reasons if each.column in (field["name"], column["name"])]
        return FieldView(
            id=f"field-{place + 1}",
            column=str(column["name"]),
            name=str(field["name"]),
            type=str(field["type"]),
            format="" if field.get("format") in (None, "default") else str(field["format"]),
            takes_format=field["type"] in WITH_FORMAT,
            required=bool(field.get("required") or rules.get("required")),
            unique=bool(rules.get("unique")),
            minimum=_text(rules.get("minimum")),
            maximum=_text(rules.get("maximum")),
            pattern=_text(rules.get("pattern")),
            enum=", ".join(map(str, rules.get("enum") or [])),
            is_key=field["name"] in (self._review.get("primary_key") or []),
            samples=_samples(column),
            filled=_percent(column["filled"]),
            would_fail=sum(each.rows for each in reasons) if self.check else None,
            reasons=reasons,
        )


def _samples(column: Mapping[str, Any]) -> list[str]:
    return [excerpt(str(sample), SAMPLE_LENGTH) for sample in column["samples"][:SAMPLES_SHOWN]]


def _why(column: Mapping[str, Any]) -> str:
    """Why a column has its field, in words: a score is said where a guess was made."""
    matched, score = column.get("matched_by"), column.get("score")
    words = _WHY.get(str(matched), "") if column["field"] is not None else ""
    if matched in ("similar", "values") and score is not None and words:
        return f"{words}, {_percent(min(score, MOST_SURE))} sure".replace(" %", NO_BREAK + "%")
    return words


def _percent(share: float | None) -> str:
    """A share in words that are never rounded to all or to nothing."""
    if share is None:
        return ""
    if 0 < share < 0.01:
        return "< 1 %"
    return f"{int(share * 100)} %"


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _reason(reason: Mapping[str, Any]) -> ReasonView:
    values = [
        excerpt(str(each["value"] if isinstance(each, Mapping) else each), SAMPLE_LENGTH)
        for each in reason.get("values") or []
    ]
    return ReasonView(str(reason["column"] or ""), excerpt(reason["rule"]), int(reason["rows"]), values[:SAMPLES_SHOWN])


def _update(update: Mapping[str, Any]) -> UpdateView:
    key = ", ".join(f"{name} {excerpt(_text(value), SAMPLE_LENGTH)}" for name, value in update["key"].items())
    before, after = update["before"], update["after"]
    changes = [
        (name, excerpt(_text(before.get(name)), SAMPLE_LENGTH), excerpt(_text(after.get(name)), SAMPLE_LENGTH))
        for name in after
    ]
    return UpdateView(key, changes)
