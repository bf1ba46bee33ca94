"""Actions on uploads that pages and API share: create, cancel, retry."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator
from starlette.responses import JSONResponse

from jobs import corrections, datasets, files, leftovers, lineage, uploads
from jobs.corrections import CorrectionsHead
from jobs.errors import InvalidImportOptionError, NoFileError, RefusedError
from jobs.excerpt import excerpt
from jobs.files import StoredFile
from jobs.import_options import ImportOptions
from jobs.reports import Rows
from jobs.upload_log import By, Via
from jobs.uploads import Processor, Upload
from webapp import threads
from webapp.database_access import read
from webapp.routes import json_body, options_body, upload_json
from webapp.routes.upload_body import receive
from webapp.state import AppRequest, AppState
from webapp.templating import STATIC

#: A file to try: a shop's orders, with words for missing values and a few rows that fail.
SAMPLE = STATIC / "sample-orders.csv"

#: How the requests of the bulk-upload command name their sender.
COMMAND_AGENT = "bulk-upload/"


async def create_from_file(request: AppRequest, *, raw_allowed: bool, entered: dict[str, str] | None = None) -> Upload:
    """Store the file in the request, record the upload, and enqueue it. entered: receives the fields of a form, also of
    one that is refused.

    Raises RefusedError, InvalidDatasetNameError, InvalidImportOptionError.

    `duplicates=hold`: a file that was already imported, into any dataset, is cancelled; a retry imports it.
    `processor=external`: an external script imports the file, not a worker.
    """
    state = request.state
    file, fields = await receive(request, state["settings"], raw_allowed=raw_allowed, entered=entered)
    head: CorrectionsHead | None = None
    is_made = False  # whether the transaction reached its COMMIT

    def record(connection: sa.Connection) -> Upload:
        nonlocal is_made
        upload = create(connection)
        is_made = True
        return upload

    def create(connection: sa.Connection) -> Upload:
        processor, options = _processor(fields), ImportOptions.from_fields(fields)
        chosen, name = _dataset(connection, fields.get("dataset", ""), processor)
        parent = _parent(connection, head, name) if processor is Processor.WORKER else None
        upload = uploads.create(
            connection,
            file,
            dataset=parent.dataset if parent else chosen,
            dataset_wanted=name,
            options=options,
            processor=processor,
            parent=parent.id if parent else None,
            quick_bytes=state["settings"].quick_bytes,
            sender=_sender(request),
            by=asked_by(request),
        )
        if upload.duplicate_of is not None and fields.get("duplicates") == "hold":
            return uploads.cancel_as_duplicate(connection, upload)
        return upload

    try:
        head = await threads.files.run(partial(_head, state["settings"].files, file))
        return await _change(state, record)
    except BaseException:
        remove = partial(leftovers.remove_unrecorded, state["database"], state["settings"].files, file.stored_as)
        await threads.files.run(partial(remove, may_be_recorded=is_made))
        raise


async def create_sample(request: AppRequest) -> Upload:
    """Record an upload of the sample file, into a new dataset. Raises RefusedError."""
    state = request.state

    def store() -> StoredFile:
        with files.Arrival(state["settings"].files, SAMPLE.name, limit=SAMPLE.stat().st_size) as arrival:
            arrival.write(SAMPLE.read_bytes())
            return arrival.keep()

    file = await threads.files.run(store)
    create = partial(
        uploads.create,
        file=file,
        quick_bytes=state["settings"].quick_bytes,
        sender=_sender(request),
        by=asked_by(request),
    )
    return await _recorded(state, file, create)


async def _recorded(state: AppState, file: StoredFile, create: Callable[[sa.Connection], Upload]) -> Upload:
    """Record an upload of a file that is stored; remove the file if that fails. Raises what `create` raises."""
    try:
        return await _change(state, create)
    except BaseException:
        remove = partial(leftovers.remove_unrecorded, state["database"], state["settings"].files, file.stored_as)
        await threads.files.run(partial(remove, may_be_recorded=True))
        raise


def _sender(request: AppRequest) -> str:
    """Whose turn an upload takes: the address of the client, which a trusted proxy may tell."""
    return request.client.host if request.client else "a local socket"


def asked_by(request: AppRequest) -> By:
    """Who asks for a change, for the log of the upload."""
    if not request.url.path.startswith("/api/"):
        return By(Via.WEB)
    is_command = request.headers.get("user-agent", "").startswith(COMMAND_AGENT)
    return By(Via.COMMAND if is_command else Via.API)


def created(request: AppRequest, upload: Upload) -> JSONResponse:
    """The answer of the API to the creation of an upload."""
    place = request.state["hub"].queue_monitor.places_of([upload]).get(upload.id)
    return JSONResponse(upload_json.as_json(upload, place=place), 201, {"Location": f"/api/v1/uploads/{upload.id}"})


#: Bytes at the beginning of a file in which the columns are that identify a file of corrections.
_HEAD_BYTES = 1 << 16


def _head(folder: Path, file: StoredFile) -> CorrectionsHead | None:
    """What the beginning of a file tells if it has corrected rows. None also for an archive and for a workbook: the
    worker sees their columns."""
    with files.path_of(folder, file.stored_as).open("rb") as content:
        return CorrectionsHead.read(content.read(_HEAD_BYTES))


def _parent(connection: sa.Connection, head: CorrectionsHead | None, wanted: str) -> Upload | None:
    """The upload whose failed rows a file corrects. wanted: the requested dataset.

    Raises RefusedError if the rows belong in another one.
    """
    parent = lineage.find_parent(connection, head.parent, head.names) if head else None
    if parent and parent.dataset and wanted not in ("", parent.dataset):
        raise RefusedError(corrections.wrong_dataset(parent.id, parent.dataset, wanted))
    return parent


class ExternalUpload(BaseModel):
    """An upload that an external script imports from its own file. size: bytes."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    processor: Literal["external"]
    filename: Annotated[str, Field(max_length=10_000)]
    dataset: str | None = None
    size: Annotated[int, Field(ge=0, lt=2**63)] = 0
    rows_total: Rows | None = None

    @field_validator("filename")
    @classmethod
    def _presentable(cls, value: str) -> str:
        name = files.display_name(value)
        if not name:
            raise ValueError("has no printable characters")
        return name


_EXTERNAL_UPLOAD = TypeAdapter(ExternalUpload)


async def create_external(request: AppRequest) -> Upload:
    """Record an upload that an external script imports, from the JSON in the request. Raises InvalidBodyError,
    InvalidDatasetNameError, RefusedError."""
    body = json_body.parse(_EXTERNAL_UPLOAD, await json_body.read(request))
    file = StoredFile(body.filename, stored_as="", size=body.size, sha256="")

    def record(connection: sa.Connection) -> Upload:
        dataset, _ = _dataset(connection, body.dataset or "", Processor.EXTERNAL)
        return uploads.create(
            connection,
            file,
            dataset=dataset,
            processor=Processor.EXTERNAL,
            rows_total=body.rows_total,
            by=asked_by(request),
        )

    return await _change(request.state, record)


async def import_as_near_type(request: AppRequest) -> Upload:
    """Import the file of an inferred dataset again, into a new one whose column has the type of most of its values.

    The column is named in the query. Raises DatasetNotFoundError, RefusedError, NoFileError.
    """
    state, column = request.state, request.query_params.get("column", "")
    name = request.path_params["name"]

    def find(connection: sa.Connection) -> tuple[StoredFile, ImportOptions]:
        dataset = datasets.get(connection, name)
        near = {field.name: field.near_type for field in dataset.schema.fields}.get(column)
        if near is None or dataset.upload_id is None:
            raise RefusedError(f"The column “{excerpt(column)}” of “{name}” is not a column whose type can be changed.")
        upload = uploads.get(connection, dataset.upload_id)
        if not upload.has_file:
            raise NoFileError(upload.id)
        types = {**upload.options.types_of_columns, column: near}
        file = StoredFile(upload.filename, upload.stored_as, upload.size, upload.sha256)
        return file, replace(upload.options, types=types)

    original, options = await read(state["database"], find)
    folder = state["settings"].files
    try:
        file = await threads.files.run(partial(files.stored_again, folder, original))
    except FileNotFoundError as error:
        raise RefusedError("The uploaded file is no longer stored on the server. Upload it again.") from error
    create = partial(
        uploads.create,
        file=file,
        dataset_wanted=name,
        options=options,
        quick_bytes=state["settings"].quick_bytes,
        sender=_sender(request),
        by=asked_by(request),
    )
    return await _recorded(state, file, create)


def _processor(fields: Mapping[str, str]) -> Processor:
    """Raises InvalidImportOptionError."""
    name = fields.get("processor") or Processor.WORKER
    if name not in list(Processor):
        raise InvalidImportOptionError(
            "processor must be worker, or external if an external script imports the file.", "processor"
        )
    return Processor(name)


def _dataset(connection: sa.Connection, requested: str, processor: Processor) -> tuple[str | None, str]:
    """The requested dataset if it exists, and the name for a new one. Raises InvalidDatasetNameError, RefusedError."""
    name = datasets.checked_name(requested)
    if name and datasets.exists(connection, name):
        return name, name
    if name and processor is Processor.EXTERNAL:
        raise RefusedError(
            f"There is no dataset called “{name}”, and an external script cannot create it. Declare it first with"
            " `bulk-upload dataset add`, or leave the dataset out."
        )
    return None, name


async def cancel(request: AppRequest) -> Upload:
    """Raises UploadNotFoundError, TransitionError."""
    upload_id, by = request.path_params["upload_id"], asked_by(request)
    return await _change(request.state, lambda connection: uploads.cancel(connection, upload_id, by=by))


async def retry(request: AppRequest, entered: dict[str, str] | None = None) -> Upload:
    """Retry an upload, with the import options that the body changes, if it has any. entered: receives them, also if
    they are refused.

    Raises UploadNotFoundError, TransitionError, OptionsFixedError, InvalidImportOptionError, InvalidBodyError.
    """
    upload_id, by = request.path_params["upload_id"], asked_by(request)
    given = await options_body.read(request)
    if entered is not None:
        entered.update(given)

    def change(connection: sa.Connection) -> tuple[Upload, list[Upload]]:
        present = uploads.get(connection, upload_id).options
        options = present.changed(given)
        retried = lineage.retry(connection, upload_id, options if options != present else None, by=by)
        datasets.drop_unused(connection, upload_id)
        return retried

    return await threads.writes.run(lambda: request.state["changes"].make_several(change))


async def _change(state: AppState, change: Callable[[sa.Connection], Upload]) -> Upload:
    """Make a change in a thread, off the event loop. Raises what it raises, and ServerBusyError."""
    return await threads.writes.run(lambda: state["changes"].make(change))
