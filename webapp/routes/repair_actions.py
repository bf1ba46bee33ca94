"""What people and programs do with the failed rows of an upload: edit them, repair them, import them. Shared by pages
and API; what needs the validator is asked of a worker."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from jobs.errors import (
    NotAllowedError,
    NotRepairableError,
    RowChangedError,
    RowNotOpenError,
    UnknownColumnError,
)
from jobs.failed_rows import Reason
from jobs.files import StoredFile
from jobs.people import audit
from jobs.people.roles import Role, Scope
from jobs.repair import open_rows, rules
from jobs.repair import orders as repair_orders
from jobs.repair.open_rows import Edited, OpenRow, Undone
from jobs.repair.orders import Repairable, Wanted
from jobs.repair.repairs import LONGEST, Repair, Suggestion
from jobs.uploads import Upload
from webapp import threads
from webapp.database_access import read
from webapp.errors import InvalidBodyError
from webapp.routes import actions
from webapp.state import AppRequest

#: Seconds to wait for the check of edited rows, for edits of all rows, and for suggestions that are needed.
CHECK_PATIENCE, EDIT_PATIENCE, MEASURE_PATIENCE = 10.0, 60.0, 20.0
#: Seconds that a request waits for suggestions before it says that they are being measured; between two looks; and how
#: old those of an upload that runs may be.
PATIENCE, PAUSE, FRESH = 2.0, 0.05, 3.0
#: Seconds after which suggestions are measured again if no answer came.
_MEASURED_AGAIN = 60.0
#: Rows that one request edits.
MAX_ROWS = 500

T = TypeVar("T")

_STRICT = ConfigDict(strict=True, extra="forbid", frozen=True, populate_by_name=True)
_Column = Annotated[str, Field(min_length=1, max_length=10_000)]
_Value = Annotated[str, Field(max_length=LONGEST)]
_Number = Annotated[int, Field(ge=0, lt=2**63)]


class CellEdits(BaseModel):
    """Column of the file → text. version: of the row, as it was read."""

    model_config = _STRICT

    cells: Annotated[dict[str, str], Field(min_length=1)]
    version: _Number


class RowEdits(CellEdits):
    row_number: _Number


class SeveralEdits(BaseModel):
    """Edits of several rows, all of them or none."""

    model_config = _STRICT

    rows: Annotated[list[RowEdits], Field(min_length=1, max_length=MAX_ROWS)]


class Replacement(BaseModel):
    """Replaces a value. column: a field, or a column of the file."""

    model_config = _STRICT

    column: _Column
    source: _Value = Field(alias="from")
    target: _Value = Field(alias="to")


class Finding(Replacement):
    """Replaces a text wherever it is in the values of a column."""

    source: Annotated[str, Field(alias="from", min_length=1, max_length=LONGEST)]


class Repairs(BaseModel):
    """apply: ids of suggestions. replace: values to replace. remember: do the same for every file of the dataset."""

    model_config = _STRICT

    apply: Annotated[list[str], Field(max_length=100)] = []
    replace: Annotated[list[Replacement], Field(max_length=1_000)] = []
    remember: bool = False


class BulkEdit(BaseModel):
    """As Repairs, but the rows are edited, not imported. find: texts to replace within values."""

    model_config = _STRICT

    apply: Annotated[list[str], Field(max_length=100)] = []
    replace: Annotated[list[Replacement], Field(max_length=1_000)] = []
    find: Annotated[list[Finding], Field(max_length=20)] = []


CELL_EDITS, SEVERAL_EDITS = TypeAdapter(CellEdits), TypeAdapter(SeveralEdits)
REPAIRS, BULK_EDIT = TypeAdapter(Repairs), TypeAdapter(BulkEdit)


def clean(text: str) -> str:
    """A text without halves of characters, which JSON can write and no database takes."""
    return text.encode("utf-8", "replace").decode()


async def repairable(request: AppRequest) -> Repairable:
    """The upload of a request, whose rows whoever asks may repair. Raises UploadNotFoundError, NotRepairableError,
    NotAllowedError."""
    upload_id, policy = request.path_params["upload_id"], request.state["policy"]

    def query(connection: sa.Connection) -> Repairable:
        upload = policy.upload(connection, upload_id)
        policy.require_own(upload)
        return Repairable.of(connection, upload)

    return await read(request.state["database"], query)


async def edit_cells(request: AppRequest, row_number: int, wanted: CellEdits) -> tuple[OpenRow, Repairable]:
    """The row after an edit, with what is still wrong.

    Raises UploadNotFoundError, NotAllowedError, RowNotOpenError, RowChangedError, RowTakenError, UnknownColumnError,
    NoAnswerError.
    """
    try:
        of = await repairable(request)
    except NotRepairableError as error:
        raise RowNotOpenError(request.path_params["upload_id"], row_number) from error
    [row] = await _edit(request, of, {row_number: wanted})
    return row, of


async def edit_rows(request: AppRequest, wanted: SeveralEdits) -> tuple[list[OpenRow], Repairable]:
    """As `edit_cells`, of several rows together."""
    numbers = [each.row_number for each in wanted.rows]
    if len(set(numbers)) < len(numbers):
        raise InvalidBodyError([("rows", "names a row twice")])
    of = await repairable(request)
    return await _edit(request, of, {each.row_number: each for each in wanted.rows}), of


async def _edit(request: AppRequest, of: Repairable, wanted: Mapping[int, CellEdits]) -> list[OpenRow]:
    state, upload_id = request.state, of.upload.id
    changed = {number: _by_column(of, each.cells) for number, each in wanted.items()}
    stored = await read(state["database"], lambda connection: open_rows.some(connection, upload_id, wanted))
    for number, each in wanted.items():
        if number not in stored:
            raise RowNotOpenError(upload_id, number)
        if stored[number].version != each.version:
            raise RowChangedError(number, stored[number].version, stored[number].edited_by)
    edits = {number: row.edits_with(of.header, changed[number]) for number, row in stored.items()}
    wrong = await _judged(request, of, [(stored[number], edits[number]) for number in wanted])
    rows = [
        Edited(number, each.version, edits[number], reasons)
        for (number, each), reasons in zip(wanted.items(), wrong, strict=True)
    ]
    title = f"Row {rows[0].row_number:,}" if len(rows) == 1 else f"{len(rows):,} rows"

    def change(connection: sa.Connection) -> list[OpenRow]:
        name = state["policy"].caller.name
        after = open_rows.edit_several(connection, upload_id, rows, title=title, by=name)
        audit.write(connection, state["actor"], "upload.edit", f"upload {upload_id}", detail=title)
        return after

    return await _write(request, change)


def _by_column(of: Repairable, cells: Mapping[str, str]) -> dict[str, str]:
    """Raises UnknownColumnError."""
    found: dict[str, str] = {}
    for name, text in cells.items():
        column = of.column_of(name)
        if column is None:
            raise UnknownColumnError(name, "cells")
        found[column] = clean(text)
    return found


async def _judged(
    request: AppRequest, of: Repairable, rows: Sequence[tuple[OpenRow, Mapping[str, str]]]
) -> list[list[Reason]]:
    """What is wrong with rows once they have these edits. Raises NoAnswerError."""
    if not any(edits for _, edits in rows):
        return [[] for _ in rows]
    asked = [{"cells": row.cells, "reasons": row.reasons, "edits": edits} for row, edits in rows]
    found = await threads.questions.run(
        lambda: request.state["questions"].ask(
            "check",
            seconds=CHECK_PATIENCE,
            schema=of.dataset.schema.as_json(),
            sources=of.sources,
            header=list(of.header),
            rules=[rule.to_json() for rule in of.rules],
            rows=asked,
        )
    )
    return [[Reason(*each) for each in reasons] for reasons in found]


async def _write(request: AppRequest, change: Callable[[sa.Connection], T]) -> T:
    def work() -> T:
        with request.state["database"].transaction() as connection:
            return change(connection)

    return await threads.writes.run(work)


async def undo(request: AppRequest) -> Undone:
    """Undo the last edit. Raises UploadNotFoundError, NotAllowedError, NotRepairableError, NothingToUndoError."""
    of, state = await repairable(request), request.state

    def change(connection: sa.Connection) -> Undone:
        undone = open_rows.undo(connection, of.upload.id, by=state["policy"].caller.name)
        audit.write(connection, state["actor"], "upload.undo_edit", f"upload {of.upload.id}", detail=undone.title)
        return undone

    return await _write(request, change)


@dataclass(frozen=True)
class Measured:
    """is_current: whether the suggestions are for the rows as they are."""

    suggestions: Sequence[Suggestion]
    is_current: bool


async def suggestions(request: AppRequest, *, seconds: float = PATIENCE) -> Measured:
    """What was measured, if a worker measures it in time. Raises UploadNotFoundError, NoAnswerError."""
    upload_id, policy, database = request.path_params["upload_id"], request.state["policy"], request.state["database"]

    def look(connection: sa.Connection) -> tuple[repair_orders.Found | None, str, Upload]:
        upload = policy.upload(connection, upload_id)
        try:
            of = Repairable.of(connection, upload)
        except NotRepairableError:
            return None, "", upload
        if not upload.rows_open:
            return None, "", upload
        return repair_orders.found(connection, upload_id), repair_orders.state_of(connection, of), upload

    until = time.monotonic() + seconds
    while True:
        found, state, upload = await read(database, look)
        if not state or (found and (found.state == state)):
            return Measured(found.suggestions if found else [], True)
        if found and upload.is_active and (datetime.now(UTC) - found.at).total_seconds() < FRESH:
            return Measured(found.suggestions, True)
        await threads.questions.run(
            lambda: request.state["questions"].send(
                "measure", once=f"measure:{upload_id}", seconds=_MEASURED_AGAIN, upload_id=upload_id
            )
        )
        if found and upload.is_active:  # rows fail all the time: the next ones are being measured
            return Measured(found.suggestions, True)
        if time.monotonic() >= until:
            return Measured(found.suggestions if found else [], False)
        await asyncio.sleep(PAUSE)


async def repair(request: AppRequest, wanted: Repairs) -> Upload:
    """Record the upload that repairs rows and brings those that are right.

    Raises UploadNotFoundError, NotAllowedError, NotRepairableError, StaleRepairError, InvalidBodyError,
    QuotaExceededError, NoAnswerError.
    """
    if not wanted.apply and not wanted.replace:
        raise InvalidBodyError([("apply", "names no suggestion, and `replace` no value")])
    of = await repairable(request)
    if wanted.remember:
        require_rules(request)
    replaced = _replacements(of, wanted.replace)
    await _settle(request, of, wanted.apply)

    def create(connection: sa.Connection) -> Upload:
        of = _again(connection, request)
        applied = repair_orders.chosen(connection, of.upload.id, wanted.apply, use_up=True)
        if wanted.remember:
            remember(connection, request, of, [*applied, *replaced])
        return _order(connection, request, of, Wanted([*applied, *replaced]))

    return await threads.writes.run(lambda: request.state["changes"].make(create))


def require_rules(request: AppRequest) -> None:
    """Raises NotAllowedError unless whoever asks may make rules of datasets."""
    request.state["policy"].require(Role.ADMIN, (Scope.ADMIN,))


def may_make_rules(request: AppRequest) -> bool:
    """Whether `require_rules` lets whoever asks pass."""
    try:
        require_rules(request)
    except NotAllowedError:
        return False
    return True


async def make_rules(request: AppRequest, wanted: Repairs) -> None:
    """Make rules of suggestions and replacements. Raises what `repair` raises."""
    require_rules(request)
    of = await repairable(request)
    replaced = _replacements(of, wanted.replace)

    def change(connection: sa.Connection) -> None:
        applied = repair_orders.chosen(connection, of.upload.id, wanted.apply, use_up=False)
        remember(connection, request, of, [*applied, *replaced])

    await _write(request, change)


def remember(connection: sa.Connection, request: AppRequest, of: Repairable, repairs: Sequence[Repair]) -> None:
    """Make rules of repairs, for every file of the dataset. Raises InvalidChangeError."""
    for repair in repairs:
        rules.add(connection, request.state["actor"], of.dataset.name, repair)


async def import_edited(request: AppRequest) -> Upload:
    """Record the upload that brings the edited rows that are right. Raises UploadNotFoundError, NotAllowedError,
    NotRepairableError, NothingToImportError, QuotaExceededError."""

    def create(connection: sa.Connection) -> Upload:
        return _order(connection, request, _again(connection, request), Wanted(edited=True))

    await repairable(request)
    return await threads.writes.run(lambda: request.state["changes"].make(create))


def _again(connection: sa.Connection, request: AppRequest) -> Repairable:
    policy = request.state["policy"]
    upload = policy.upload(connection, request.path_params["upload_id"])
    policy.require_own(upload)
    return Repairable.of(connection, upload)


def _order(connection: sa.Connection, request: AppRequest, of: Repairable, wanted: Wanted) -> Upload:
    def order(connection: sa.Connection, _file: StoredFile, **values: Any) -> Upload:
        return repair_orders.order(connection, of, wanted, **values)

    no_file = StoredFile("", stored_as="", size=0, sha256="")
    return actions.create_upload(connection, request, no_file, create=order, action="upload.repair")


def _replacements(of: Repairable, replace: Sequence[Replacement]) -> list[Repair]:
    """Raises UnknownColumnError."""
    found = []
    for place, each in enumerate(replace):
        field = of.field_of(each.column)
        if field is None:
            raise UnknownColumnError(each.column, f"replace[{place}].column")
        found.append(Repair.single(field, "replace", clean(each.source), clean(each.target)))
    return found


async def _settle(request: AppRequest, of: Repairable, ids: Sequence[str]) -> None:
    """Have suggestions measured for the rows as they are, unless they are about to change anyway. Raises
    NoAnswerError."""
    if not ids or of.upload.is_active:
        return
    database = request.state["database"]
    if await read(database, lambda connection: bool(repair_orders.under_way(connection, of.upload.id))):
        return
    await suggestions(request, seconds=MEASURE_PATIENCE)


async def edit_all(request: AppRequest, wanted: BulkEdit) -> dict[str, int]:
    """Edit all rows that changes are about: how many there were, and how many of them are right now. Raises what
    `repair` raises."""
    of, changes, title = await _bulk(request, wanted)
    state, upload_id = request.state, of.upload.id
    by = state["policy"].caller.name
    found: dict[str, int] = await threads.questions.run(
        lambda: state["questions"].ask(
            "edit", seconds=EDIT_PATIENCE, upload_id=upload_id, repairs=changes, title=title, by=by
        )
    )
    await _write(
        request,
        lambda connection: audit.write(
            connection, state["actor"], "upload.edit", f"upload {upload_id}", detail=f"{found['rows']:,} rows: {title}"
        ),
    )
    return found


async def preview(request: AppRequest, wanted: BulkEdit) -> dict[str, Any]:
    """What `edit_all` would do: how many rows would change, how many of them would be right, and pairs of values."""
    of, changes, _ = await _bulk(request, wanted)
    found: dict[str, Any] = await threads.questions.run(
        lambda: request.state["questions"].ask(
            "preview", seconds=EDIT_PATIENCE, upload_id=of.upload.id, repairs=changes
        )
    )
    return found


async def _bulk(request: AppRequest, wanted: BulkEdit) -> tuple[Repairable, Sequence[Mapping[str, Any]], str]:
    """The changes that a worker makes, and their title."""
    if not wanted.apply and not wanted.replace and not wanted.find:
        raise InvalidBodyError([("apply", "names no suggestion, `replace` no value, and `find` no text")])
    of = await repairable(request)
    replaced = _replacements(of, wanted.replace)
    found = [
        (field, each) for field, each in zip((of.field_of(e.column) for e in wanted.find), wanted.find, strict=True)
    ]
    for place, (field, each) in enumerate(found):
        if field is None:
            raise UnknownColumnError(each.column, f"find[{place}].column")
    await _settle(request, of, wanted.apply)
    chosen = await read(
        request.state["database"],
        lambda connection: repair_orders.chosen(connection, of.upload.id, wanted.apply, use_up=False),
    )
    titles = [f"{each.column}: {each.title}" for each in [*chosen, *replaced]]
    titles += [f"{field}: replace “{each.source}” by “{each.target}” in values" for field, each in found]
    changes = [*(each.to_json() for each in [*chosen, *replaced])]
    changes += [{"column": field, "find": clean(each.source), "text": clean(each.target)} for field, each in found]
    return of, changes, "; ".join(titles)[:1_000]
