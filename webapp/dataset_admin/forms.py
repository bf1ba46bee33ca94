"""The forms that change datasets, for administrators: a new dataset, settings, columns. They need no script."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, get_args
from urllib.parse import urlencode

import sqlalchemy as sa
from starlette.responses import RedirectResponse, Response

from jobs import datasets, review
from jobs.dataset_admin import changes as dataset_changes
from jobs.dataset_admin.changes import Settings
from jobs.dataset_admin.retyping import Fit
from jobs.datasets import Dataset, Mode
from jobs.errors import (
    BulkUploadError,
    CheckTookTooLongError,
    DatasetExistsError,
    DatasetInUseError,
    InvalidChangeError,
    InvalidDatasetNameError,
    MappingNotFoundError,
    SchemaError,
    TookTooLongError,
    ValuesDoNotFitError,
)
from jobs.expectations import OnMismatch
from jobs.modes import OF_DATASETS, possible
from jobs.repair import rules
from jobs.rows.time_limit import limited
from jobs.schema import SchemaField, TableSchema, Type
from jobs.uploads import Review
from webapp.access.needs import ADMIN, SERVER, GuardedRoute
from webapp.database_access import read
from webapp.dataset_admin import rule_kinds
from webapp.dataset_admin.api import LONGEST_TITLE, require
from webapp.page import page
from webapp.people import change
from webapp.people.form import Form
from webapp.problems import details
from webapp.routes.dataset_pages import context_of
from webapp.state import AppRequest
from webapp.views.dataset import DatasetState

#: Empty rows of the form of a new dataset, and rows that it may have.
EMPTY_ROWS, MOST_ROWS = 3, 200
#: Remembered columns that the settings show.
REMEMBERED_SHOWN = 500
#: Seconds in which the values of a column are counted, or not at all.
COUNT_LIMIT = 2.0
#: Properties of a field that its form has. What another type cannot have, a change of the type removes.
OWN_PROPERTIES = ("name", "title", "description", "aliases", "type", "format", "constraints")
#: Why a change is refused, other than by values that do not fit.
REFUSALS = (DatasetInUseError, InvalidChangeError, CheckTookTooLongError)
#: What is not told of a field that is refused, but of the form.
GENERAL = ""
TYPES: Sequence[str] = get_args(Type)


@dataclass
class FieldRow:
    """A row of the form of a new dataset: one column. error: what is wrong with it."""

    name: str = ""
    type: str = "string"
    required: bool = False
    unique: bool = False
    key: bool = False
    error: str = ""

    @property
    def as_field(self) -> dict[str, Any]:
        rules = {name: True for name in ("required", "unique") if getattr(self, name)}
        return {"name": self.name.strip(), "type": self.type} | ({"constraints": rules} if rules else {})


@dataclass
class NewDataset:
    """The form of a new dataset, as it was filled in. errors: by the name of the field."""

    name: str = ""
    title: str = ""
    mode: str = Mode.INSERT
    rows: list[FieldRow] = field(default_factory=lambda: [FieldRow() for _ in range(EMPTY_ROWS)])
    errors: dict[str, str] = field(default_factory=dict)
    #: The place of the row that has the focus, from 0.
    focus: int | None = None

    @classmethod
    def of(cls, form: Form) -> "NewDataset":
        chosen = {name: set(form.all(name)) for name in ("required", "unique", "key")}
        rows = [
            FieldRow(
                name,
                type_ if type_ in TYPES else "string",
                required=str(place) in chosen["required"],
                unique=str(place) in chosen["unique"],
                key=str(place) in chosen["key"],
            )
            for place, (name, type_) in enumerate(zip(form.all("field"), form.all("type"), strict=False))
        ]
        return cls(form["name"], form["title"], form["mode"], rows[:MOST_ROWS])

    @property
    def filled(self) -> list[FieldRow]:
        return [row for row in self.rows if row.name.strip()]

    @property
    def schema(self) -> dict[str, Any]:
        title = self.title.strip()
        key = [row.name.strip() for row in self.filled if row.key]
        return {
            "fields": [row.as_field for row in self.filled],
            **({"title": title} if title else {}),
            **({"primaryKey": key} if key else {}),
        }

    def add_row(self) -> None:
        if len(self.rows) < MOST_ROWS:
            self.rows.append(FieldRow())
        self.focus = len(self.rows) - 1

    def refuse(self, error: SchemaError) -> None:
        """Say what is wrong, beside the rows that it is about."""
        for path, what in dataset_changes.problems(error):
            place = path.partition("[")[2].partition("]")[0]
            if path.startswith("fields[") and place.isdecimal() and int(place) < len(self.filled):
                self.filled[int(place)].error = f"This column {what}" if path.count(".") else what
            elif path == "fields":
                self.errors["fields"] = "Enter the name of at least one column."
            elif path == "primaryKey":
                self.errors["mode"] = "This mode needs a key: choose at least one column as the key."
            else:
                self.errors["fields"] = f"{path}: {what}" if path else what


async def new(request: AppRequest) -> Response:
    """The form of a new dataset."""
    return await _new(request, NewDataset())


async def create(request: AppRequest) -> Response:
    """Declare a dataset, or return the form with one more row for a column."""
    form = await Form.read(request)
    wanted = NewDataset.of(form)
    if form["do"] == "add":
        wanted.add_row()
        return await _new(request, wanted)
    mode = Mode(wanted.mode) if wanted.mode in OF_DATASETS else Mode.INSERT
    if len(wanted.title) > LONGEST_TITLE:
        wanted.errors["title"] = f"A title has at most {LONGEST_TITLE} characters."
        return await _new(request, wanted, HTTPStatus.UNPROCESSABLE_ENTITY)
    try:
        dataset = await change.make(
            request,
            lambda connection: dataset_changes.declare(
                connection, request.state["actor"], wanted.name, TableSchema.parse(wanted.schema), mode
            ),
        )
    except SchemaError as error:
        wanted.refuse(error)
    except (InvalidDatasetNameError, DatasetExistsError) as error:
        wanted.errors["name"] = str(error)
    else:
        return RedirectResponse(f"/datasets/{dataset.name}", HTTPStatus.SEE_OTHER)
    return await _new(request, wanted, HTTPStatus.UNPROCESSABLE_ENTITY)


async def _new(request: AppRequest, wanted: NewDataset, status: int = HTTPStatus.OK) -> Response:
    context = {"new": wanted, "types": TYPES, "most": MOST_ROWS, "focus": wanted.focus}
    return await page(request, "new_dataset.html", context, status)


async def settings(request: AppRequest) -> Response:
    return await settings_page(request, {}, {})


async def change_settings(request: AppRequest) -> Response:
    """Change the title, the mode, the modes, the review and the totals."""
    form = await Form.read(request)
    modes = [Mode(name) for name in form.all("modes") if name in list(Mode)]
    values: dict[str, Any] = {"title": form["title"], "mode": form["mode"], "review": form["review"]}
    values |= {"modes": modes} if form["has_modes"] else {}
    if len(form["title"]) > LONGEST_TITLE:
        return await settings_page(request, values, {"title": f"A title has at most {LONGEST_TITLE} characters."}, 422)
    review = form["review"] if form.all("review") and form["review"] in ("", *Review) else None
    if form["has_modes"] and not modes:
        return await settings_page(request, values, {"modes": "Choose at least what is usual for the dataset."}, 422)
    mode = Mode(form["mode"]) if form["mode"] in OF_DATASETS else None
    values |= {"totals": form["totals"], "totals_required": bool(form["totals_required"])} if form["has_totals"] else {}
    totals = form["totals"] if form["has_totals"] and form["totals"] in ("", *OnMismatch) else None
    required = bool(form["totals_required"]) if form["has_totals"] else None
    wanted = Settings(form["title"], mode, review, modes if form["has_modes"] else None, totals, required)

    def configure(connection: sa.Connection) -> str:
        name = require(request, connection)
        dataset_changes.configure(connection, request.state["actor"], name, wanted)
        return name

    try:
        name = await change.make(request, configure)
    except (DatasetInUseError, InvalidChangeError) as error:
        return await settings_page(request, values, _errors(error, "mode"), _status(error))
    return RedirectResponse(f"/datasets/{name}/settings?done=settings", HTTPStatus.SEE_OTHER)


async def change_key(request: AppRequest) -> Response:
    """Let other columns identify rows, or only check whether the rows that exist allow that."""
    form = await Form.read(request)
    key = form.all("key")

    def try_it(connection: sa.Connection) -> Fit:
        return dataset_changes.try_change_of_key(connection, require(request, connection), key)

    def change_it(connection: sa.Connection) -> str:
        name = require(request, connection)
        dataset_changes.change_key(connection, request.state["actor"], name, key)
        return name

    try:
        if form["do"] == "check":
            fit = (await change.make(request, try_it)).as_json()
            return await settings_page(request, {"key": key, "fit": fit}, {})
        name = await change.make(request, change_it)
    except ValuesDoNotFitError as error:
        return await settings_page(request, {"key": key, "fit": error.fit}, {}, _status(error))
    except REFUSALS as error:
        told = {"key": " ".join(_errors(error, GENERAL).values())}
        return await settings_page(request, {"key": key}, told, _status(error))
    return RedirectResponse(f"/datasets/{name}/settings?done=settings#key", HTTPStatus.SEE_OTHER)


async def delete(request: AppRequest) -> Response:
    """Delete the dataset, if its name was typed."""
    form = await Form.read(request)

    def remove(connection: sa.Connection) -> None:
        dataset_changes.delete(connection, request.state["actor"], require(request, connection), form["confirm"])

    try:
        await change.make(request, remove)
    except (DatasetInUseError, InvalidChangeError) as error:
        return await settings_page(request, {"confirm": form["confirm"]}, _errors(error, "confirm"), _status(error))
    return RedirectResponse("/datasets", HTTPStatus.SEE_OTHER)


async def forget_mapping(request: AppRequest) -> Response:
    """Forget which field columns of a name fill."""
    form = await Form.read(request)

    def forget(connection: sa.Connection) -> str:
        name = require(request, connection)
        with suppress(MappingNotFoundError):  # somebody else was faster
            dataset_changes.forget_mapping(connection, request.state["actor"], name, form["column"])
        return name

    name = await change.make(request, forget)
    return RedirectResponse(f"/datasets/{name}/settings?done=forgotten#remembered", HTTPStatus.SEE_OTHER)


async def settings_page(
    request: AppRequest, values: Mapping[str, Any], errors: Mapping[str, str], status: int = HTTPStatus.OK
) -> Response:
    def find(connection: sa.Connection) -> dict[str, Any]:
        dataset = datasets.get(connection, require(request, connection))
        totals = datasets.totals_of(connection, dataset.name)
        present = {
            "title": dataset.schema.title or "",
            "mode": str(dataset.mode),
            "modes": dataset.modes,
            "key": dataset.schema.primary_key,
            "fit": None,
            "review": datasets.review_of(connection, dataset.name) or "",
            "totals": totals.on_mismatch or "",
            "totals_required": totals.are_required,
            "confirm": "",
            **dict.fromkeys(("rule_column", "rule_kind", "rule_from", "rule_to"), ""),
        }
        state = DatasetState.read(connection, dataset.name)
        return context_of(request, dataset, state, "settings") | {
            "values": {**present, **values},
            "possible_modes": possible(dataset.schema.primary_key),
            "rules": rules.of_dataset(connection, dataset.name),
            "remembered": review.all_remembered(connection, dataset.name, limit=REMEMBERED_SHOWN),
            "rows": state.entry.rows,
            "running": state.running,
        }

    found = await read(request.state["database"], find)
    done = request.query_params.get("done", "") if not errors else ""
    kinds = rule_kinds.offered(found["dataset"].schema.fields)
    context = {**found, "errors": errors, "done": done, "rule_kinds": kinds}
    return await page(request, "dataset_settings.html", context, status)


async def new_column(request: AppRequest) -> Response:
    return await _column(request, None)


async def add_column(request: AppRequest) -> Response:
    form = await Form.read(request)

    def add(connection: sa.Connection) -> str:
        name = require(request, connection)
        given = {key: value for key, value in _properties(form, {}).items() if value is not None}
        dataset_changes.add_field(connection, request.state["actor"], name, given)
        return name

    return await _saved(request, None, form, add)


async def edit_column(request: AppRequest) -> Response:
    return await _column(request, request.query_params.get("column", ""))


async def change_column(request: AppRequest) -> Response:
    form, column = await Form.read(request), request.query_params.get("column", "")

    def try_it(connection: sa.Connection) -> Fit:
        name = require(request, connection)
        present = dataset_changes.field_of(datasets.get(connection, name), column)
        wanted = _properties(form, present.model_dump(by_alias=True, exclude_unset=True))
        return dataset_changes.try_change_of_field(connection, name, column, wanted)

    if form["do"] == "check":
        try:
            fit = await change.make(request, try_it)
        except REFUSALS as error:
            return await _column(request, column, form, _errors(error, GENERAL), _status(error))
        return await _column(request, column, form, fit=fit.as_json())

    def change_it(connection: sa.Connection) -> str:
        name = require(request, connection)
        present = dataset_changes.field_of(datasets.get(connection, name), column)
        wanted = _properties(form, present.model_dump(by_alias=True, exclude_unset=True))
        dataset_changes.change_field(connection, request.state["actor"], name, column, wanted)
        return name

    return await _saved(request, column, form, change_it)


async def drop_column(request: AppRequest) -> Response:
    column = request.query_params.get("column", "")

    def drop(connection: sa.Connection) -> str:
        name = require(request, connection)
        dataset_changes.drop_field(connection, request.state["actor"], name, column)
        return name

    return await _saved(request, column, None, drop)


async def _saved(
    request: AppRequest, column: str | None, form: Form | None, change_it: Callable[[sa.Connection], str]
) -> Response:
    """To the columns after a change; the form again, as it was filled in, if that is refused."""
    try:
        name = await change.make(request, change_it)
    except ValuesDoNotFitError as error:
        return await _column(request, column, form, status=_status(error), fit=error.fit)
    except REFUSALS as error:
        return await _column(request, column, form, _errors(error, GENERAL), _status(error))
    return RedirectResponse(f"/datasets/{name}/columns", HTTPStatus.SEE_OTHER)


async def _column(
    request: AppRequest,
    column: str | None,
    form: Form | None = None,
    errors: Mapping[str, str] | None = None,
    status: int = HTTPStatus.OK,
    fit: Mapping[str, Any] | None = None,
) -> Response:
    """The form of a column; of a new one if it has no name yet. fit: what would not fit after the change."""

    def find(connection: sa.Connection) -> dict[str, Any]:
        dataset = datasets.get(connection, require(request, connection))
        field = None if column is None else dataset_changes.field_of(dataset, column)
        rows = datasets.row_count(connection, dataset)
        is_key = field is not None and field.name in dataset.schema.primary_key
        return {
            "dataset": dataset,
            "column": field,
            "rows": rows,
            "is_key": is_key,
            "fit": fit,
            "is_only": len(dataset.schema.fields) == 1,
            "values": _entered(form) if form else _values(field),
            "lost": None if field is None or is_key or not rows else _filled_rows(connection, dataset, field.name),
            "action": f"/datasets/{dataset.name}/"
            + ("add-column" if field is None else f"edit-column?{urlencode({'column': field.name})}"),
            "drop_action": field and f"/datasets/{dataset.name}/drop-column?{urlencode({'column': field.name})}",
        }

    found = await read(request.state["database"], find)
    return await page(
        request,
        "dataset_column.html",
        {**found, "types": TYPES, "errors": errors or {}, "is_again": bool(form)},
        status,
    )


def _filled_rows(connection: sa.Connection, dataset: Dataset, name: str) -> int | None:
    """How many rows have a value in a column; None if it takes too long to count them."""
    try:
        with limited(connection, COUNT_LIMIT):
            return dataset_changes.values_in(connection, dataset, name)
    except TookTooLongError:
        return None


def _values(field: SchemaField | None) -> Mapping[str, Any]:
    """What the form of a column says."""
    if field is None:
        return defaultdict(str, type="string")
    rules = field.constraints.model_dump(by_alias=True, exclude_none=True)
    lists = {"aliases": "\n".join(field.aliases), "enum": "\n".join(map(_written, rules.pop("enum", [])))}
    texts = {name: getattr(field, name) or "" for name in ("title", "description")}
    format_ = "" if field.format == "default" else field.format
    given = {"name": field.name, "type": field.type, "format": format_, **texts, **lists}
    return defaultdict(str, {**given, **{name: value for name, value in rules.items() if value is not False}})


def _entered(form: Form) -> Mapping[str, Any]:
    names = ("name", "title", "description", "aliases", "type", "format", *_RULES)
    return defaultdict(str, {name: form[name] for name in names})


#: Constraints that the form of a column has.
_RULES = ("required", "unique", "minimum", "maximum", "minLength", "maxLength", "pattern", "enum")


def _properties(form: Form, present: Mapping[str, Any]) -> dict[str, Any]:
    """The properties of Table Schema that a form gives a field; None for those that it takes away."""
    lines = [line.strip() for line in form["aliases"].splitlines() if line.strip()]
    wanted: dict[str, Any] = {
        "name": form["name"].strip(),
        "title": form["title"].strip() or None,
        "description": form["description"].strip() or None,
        "aliases": lines or None,
    }
    if form["has_rules"] != "1":
        return wanted
    type_ = form["type"]
    if type_ != present.get("type", "string"):  # what belonged to the former type
        wanted |= {name: None for name in present if name not in OWN_PROPERTIES}
    others = {name: value for name, value in present.get("constraints", {}).items() if name not in _RULES}
    rules = {name: value for name in _RULES if (value := _rule(name, form[name], type_)) is not None}
    return wanted | {
        "type": type_,
        "format": form["format"].strip() or None,
        "constraints": {**others, **rules} or None,
    }


def _rule(name: str, text: str, type_: str) -> Any:
    """A constraint as a schema has it; None for none. What cannot be read stays text, which the schema refuses."""
    if name in ("required", "unique"):
        return True if text else None
    if name == "enum":
        return [_value(line.strip(), type_) for line in text.splitlines() if line.strip()] or None
    if not text.strip():
        return None
    if name == "pattern":
        return text
    return _value(text.strip(), "integer" if name in ("minLength", "maxLength") else type_)


def _value(text: str, type_: str) -> str | int | float | bool:
    if type_ == "boolean" and text in ("true", "false"):
        return text == "true"
    if type_ not in ("integer", "number") or len(text) > 100:
        return text
    try:
        return int(text) if type_ == "integer" else float(text)
    except ValueError:
        return text


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _errors(error: BulkUploadError, otherwise: str) -> dict[str, str]:
    """What is wrong, by the field of the form. otherwise: the field of what is about none."""
    if not isinstance(error, InvalidChangeError):
        return {otherwise: str(error)}
    found: dict[str, str] = {}
    for path, what in error.problems:
        name = path.removeprefix("constraints.")
        if not path:  # the schema names the property itself
            name = next((each for each in ("format", *_RULES) if what.startswith((each, f"constraints.{each} "))), "")
        found.setdefault(name, what[:1].upper() + what[1:] if name else what)
    return found


def _status(error: BulkUploadError) -> int:
    return int(details(error)["status"])


routes = [
    GuardedRoute("/new-dataset", new, SERVER),
    GuardedRoute("/new-dataset", create, SERVER, methods=["POST"]),
    GuardedRoute("/datasets/{name}/settings", settings, ADMIN),
    GuardedRoute("/datasets/{name}/settings", change_settings, ADMIN, methods=["POST"]),
    GuardedRoute("/datasets/{name}/key", change_key, ADMIN, methods=["POST"]),
    GuardedRoute("/datasets/{name}/forget-column", forget_mapping, ADMIN, methods=["POST"]),
    GuardedRoute("/datasets/{name}/delete", delete, ADMIN, methods=["POST"]),
    GuardedRoute("/datasets/{name}/add-column", new_column, ADMIN),
    GuardedRoute("/datasets/{name}/add-column", add_column, ADMIN, methods=["POST"]),
    GuardedRoute("/datasets/{name}/edit-column", edit_column, ADMIN),
    GuardedRoute("/datasets/{name}/edit-column", change_column, ADMIN, methods=["POST"]),
    GuardedRoute("/datasets/{name}/drop-column", drop_column, ADMIN, methods=["POST"]),
]
