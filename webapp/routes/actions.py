"""Actions on uploads that pages and API share: create, cancel, retry."""

import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator
from starlette.responses import JSONResponse

from jobs import corrections, datasets, files, lineage, parts, review, uploads
from jobs.corrections import CorrectionsHead
from jobs.errors import (
    InvalidDatasetNameError,
    InvalidImportOptionError,
    NoFileError,
    OriginalNeededError,
    RefusedError,
    TooLargeError,
)
from jobs.excerpt import excerpt
from jobs.expectations import ROWS, Expectations
from jobs.files import StoredFile
from jobs.formats import first_member
from jobs.import_options import ImportOptions
from jobs.modes import OF_NEW_DATASETS, Mode, listed
from jobs.people import access, audit
from jobs.people.policy import Policy
from jobs.people.quotas import Quotas
from jobs.people.roles import Scope
from jobs.reports import Rows
from jobs.store.chosen import store_of
from jobs.store.store import Store
from jobs.undo import orders as undo_orders
from jobs.upkeep import leftovers
from jobs.upload_log import By, Via
from jobs.uploads import HoldCode, Processor, Review, Target, Task, Upload
from webapp import threads
from webapp.database_access import read
from webapp.routes import json_body, options_body, upload_json
from webapp.routes.upload_body import PART_FIELDS, receive
from webapp.state import AppRequest, AppState
from webapp.templating import STATIC

#: A file to try: a shop's orders, with words for missing values and a few rows that fail.
SAMPLE = STATIC / "sample-orders.csv"
#: Columns of the sample file in which some values are of another type, so that these rows fail.
SAMPLE_TYPES = {"ordered_on": "date", "quantity": "integer", "unit_price": "number"}

#: Where files are sent in several requests.
RESUMABLE_PATH = "/api/v1/uploads/tus"
#: Whether a person looks first at a file that is sent with the form, if nothing else says so.
DEFAULT_REVIEW = Review.AUTO
#: What runs around the creation of an upload, in its transaction.
Around = Callable[[sa.Connection, Callable[[sa.Connection], Upload]], Upload]
#: How the requests of the bulk-upload command name their sender.
COMMAND_AGENT = "bulk-upload/"


async def create_from_file(request: AppRequest, *, raw_allowed: bool, entered: dict[str, str] | None = None) -> Upload:
    """Store the file in the request, record the upload, and enqueue it. entered: receives the fields of a form, also of
    one that is refused.

    Raises RefusedError, InvalidDatasetNameError, InvalidImportOptionError.

    `duplicates=hold`: a file that was already imported, into any dataset, is held until a person decides.
    `review=auto|always`: a worker looks at it first, and it is held if there is something to ask, or always.
    `mode`: what the rows do with those of the dataset, which it must allow.
    `processor=external`: an external script imports the file, not a worker.
    `parts=all` or names: each part of the file becomes an upload of its own.
    """
    file, fields = await _received(request, raw_allowed=raw_allowed, entered=entered)
    is_made = False  # whether the transaction reached its COMMIT

    def noted(connection: sa.Connection, create: Callable[[sa.Connection], Upload]) -> Upload:
        nonlocal is_made
        upload = create(connection)
        is_made = True
        return upload

    try:
        return await create_from_stored(request, file, fields, noted)
    except BaseException:
        state = request.state
        remove = partial(leftovers.remove_unrecorded, state["database"], store_of(state["settings"]), file.stored_as)
        await threads.files.run(partial(remove, may_be_recorded=is_made))
        raise


async def create_from_stored(
    request: AppRequest, file: StoredFile, fields: Mapping[str, str], around: Around
) -> Upload:
    """Record the upload of a stored file, and enqueue it. fields: as in `create_from_file`. around: runs in the
    transaction, and calls the creation that it gets.

    Raises RefusedError, InvalidDatasetNameError, InvalidImportOptionError, QuotaExceededError, NotAllowedError; the
    file stays.
    """
    state = request.state
    head = await threads.files.run(partial(_head, store_of(state["settings"]), file))
    create = _creation(request, file, fields, head)

    return await _change(state, lambda connection: around(connection, create))


def rehearse(connection: sa.Connection, request: AppRequest, file: StoredFile, fields: Mapping[str, str]) -> None:
    """Raise what `create_from_stored` would raise for a file that is still to come. Nothing is recorded."""
    with connection.begin_nested() as savepoint:
        _creation(request, file, fields, None)(connection)
        savepoint.rollback()


def _creation(
    request: AppRequest, file: StoredFile, fields: Mapping[str, str], head: CorrectionsHead | None
) -> Callable[[sa.Connection], Upload]:
    """What creates the upload of a file in a transaction. head: of a file of corrections."""
    policy = request.state["policy"]

    def create(connection: sa.Connection) -> Upload:
        processor, wanted_parts = _processor(fields), parts.wanted_of(fields)
        holds_duplicates = _holds_duplicates(fields)
        options = ImportOptions.from_fields(fields if wanted_parts is None else _whole(fields))
        chosen, name = _dataset(connection, policy, fields.get("dataset", ""), processor)
        parent = _parent(connection, policy, head, name) if processor is Processor.WORKER else None
        into = parent.dataset if parent else chosen
        policy.require_upload_into(into, _scopes(processor))
        is_imported_here = processor is Processor.WORKER and parent is None
        wanted = _review(connection, request, fields, into, parent)
        if processor is Processor.EXTERNAL:
            wanted = Review.NEVER
        expected = _expected(connection, file, fields, into, processor, is_whole=wanted_parts is None)
        if is_imported_here and into is not None and not expected.has_totals:
            _require_no_totals(connection, into)
        upload = create_upload(
            connection,
            request,
            file,
            dataset=into,
            dataset_wanted=name,
            options=options,
            processor=processor,
            parent=parent.id if parent else None,
            review=wanted,
            part=parts.part_of(options),
            parts_wanted=wanted_parts if is_imported_here else None,
            mode=_mode(connection, fields, into, parent, processor),
            expected=expected.as_json(),
        )
        if upload.duplicate_of is not None and (holds_duplicates or wanted is not Review.NEVER):
            earlier = uploads.get(connection, upload.duplicate_of).dataset
            names_it = earlier is None or not access.of_dataset(connection, earlier).restricted
            return uploads.hold_as_duplicate(connection, upload, names_it=names_it)
        return upload

    return create


async def _received(
    request: AppRequest, *, raw_allowed: bool, entered: dict[str, str] | None
) -> tuple[StoredFile, dict[str, str]]:
    """The stored file in a request, and the other fields, which `entered` receives as well. Raises RefusedError,
    QuotaExceededError."""
    state, account_id = request.state, request.state["policy"].owner.account_id
    limit, limits = state["settings"].max_upload_bytes, quotas(state)
    left = await read(state["database"], lambda connection: limits.require(connection, account_id))
    allowed = limit if left is None else min(limit, left)
    try:
        return await receive(
            request, store_of(state["settings"]), limit=allowed, raw_allowed=raw_allowed, entered=entered
        )
    except TooLargeError:
        if allowed < limit:  # the quotas know how to say so
            await read(state["database"], lambda connection: limits.require(connection, account_id, allowed + 1))
        raise


def quotas(state: AppState) -> Quotas:
    settings = state["settings"]
    return Quotas(
        bytes_per_day=settings.quota_bytes_per_day,
        uploads_per_day=settings.quota_uploads_per_day,
        active_uploads=settings.quota_active_uploads,
        total_bytes=settings.quota_total_bytes,
    )


def _scopes(processor: Processor) -> tuple[Scope, ...]:
    """One of which a token needs: what a script imports, it may announce with the scope for reports too."""
    return (Scope.UPLOAD, Scope.NOTIFY) if processor is Processor.EXTERNAL else (Scope.UPLOAD,)


def note(connection: sa.Connection, request: AppRequest, action: str, upload: Upload) -> None:
    """Write what somebody does to an upload into the audit log."""
    into = f"{upload.filename} into {upload.dataset or upload.dataset_wanted or 'a new dataset'}"
    audit.write(connection, request.state["actor"], action, f"upload {upload.id}", detail=into)


async def create_sample(request: AppRequest) -> Upload:
    """Record an upload of the sample file, into a new dataset. Raises RefusedError."""
    state = request.state

    def store() -> StoredFile:
        with store_of(state["settings"]).receive(SAMPLE.name, limit=SAMPLE.stat().st_size) as arrival:
            arrival.write(SAMPLE.read_bytes())
            return arrival.keep()

    def record(connection: sa.Connection) -> Upload:
        state["policy"].require_upload_into(None)
        return create_upload(connection, request, file, options=ImportOptions(types=SAMPLE_TYPES))

    file = await threads.files.run(store)
    return await _recorded(state, file, record)


def create_upload(
    connection: sa.Connection,
    request: AppRequest,
    file: StoredFile,
    *,
    create: Callable[..., Upload] | None = None,
    action: str = "upload.create",
    **values: Any,
) -> Upload:
    """Record an upload of whoever asks, and that they sent it. create: does so, if not `uploads.create`. action: for
    the audit log. values: more of `uploads.create`. Raises QuotaExceededError."""
    state = request.state
    policy = state["policy"]
    quotas(state).require(connection, policy.owner.account_id, file.size if file.stored_as else 0)
    upload = (create or uploads.create)(
        connection,
        file,
        quick_bytes=state["settings"].quick_bytes,
        sender=_sender(request),
        owner=policy.owner,
        view=policy.view,
        by=asked_by(request),
        **values,
    )
    note(connection, request, action, upload)
    return upload


async def _recorded(state: AppState, file: StoredFile, create: Callable[[sa.Connection], Upload]) -> Upload:
    """Record an upload of a file that is stored; remove the file if that fails. Raises what `create` raises."""
    try:
        return await _change(state, create)
    except BaseException:
        remove = partial(leftovers.remove_unrecorded, state["database"], store_of(state["settings"]), file.stored_as)
        await threads.files.run(partial(remove, may_be_recorded=True))
        raise


def _sender(request: AppRequest) -> str:
    """Whose turn an upload takes: that of the account, or of the address of the client, which a trusted proxy may
    tell."""
    account_id = request.state["policy"].owner.account_id
    if account_id is not None:
        return f"account {account_id}"
    return request.client.host if request.client else "a local socket"


def asked_by(request: AppRequest) -> By:
    """Who asks for a change, for the log of the upload."""
    name = request.state["policy"].caller.name
    if not request.url.path.startswith("/api/") or is_of_form(request):
        return By(Via.WEB, name)
    is_command = request.headers.get("user-agent", "").startswith(COMMAND_AGENT)
    return By(Via.COMMAND if is_command else Via.API, name)


def is_of_form(request: AppRequest) -> bool:
    """Whether the form of a page sends a large file, for which it uses a part of the API. Programs send neither of the
    headers, and browsers not always; what is known of the file says so too."""
    if request.scope["state"].get("is_of_form"):
        return True
    is_part = request.url.path.startswith(RESUMABLE_PATH)
    return is_part and ("origin" in request.headers or "sec-fetch-site" in request.headers)


def created(request: AppRequest, upload: Upload) -> JSONResponse:
    """The answer of the API to the creation of an upload."""
    place = request.state["hub"].queue_monitor.places_of([upload]).get(upload.id)
    return JSONResponse(upload_json.as_json(upload, place=place), 201, {"Location": f"/api/v1/uploads/{upload.id}"})


#: Bytes at the beginning of a file in which the columns are that identify a file of corrections.
_HEAD_BYTES = 1 << 16


def _head(store: Store, file: StoredFile) -> CorrectionsHead | None:
    """What the beginning of a file, or of the first one in an archive, tells if it has corrected rows: an upload into a
    dataset that is hidden from some is hidden from them before a worker reads it. None also for a workbook: the worker
    sees its columns."""
    content = io.BytesIO(store.beginning(file.stored_as, _HEAD_BYTES))
    return CorrectionsHead.read(first_member.beginning(content, _HEAD_BYTES))


def _parent(connection: sa.Connection, policy: Policy, head: CorrectionsHead | None, wanted: str) -> Upload | None:
    """The upload whose failed rows a file corrects. wanted: the requested dataset.

    Raises RefusedError if the rows belong in another one, or in one that was deleted.
    """
    parent = lineage.find_parent(connection, head.parent, head.names, policy.view) if head else None
    if parent and parent.dataset and not datasets.exists_to_upload(connection, parent.dataset):
        raise RefusedError(corrections.deleted_dataset(parent.id, parent.dataset))
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


EXTERNAL_UPLOAD = TypeAdapter(ExternalUpload)


async def create_external(request: AppRequest) -> Upload:
    """Record an upload that an external script imports, from the JSON in the request. Raises InvalidBodyError,
    InvalidDatasetNameError, RefusedError."""
    body = json_body.parse(EXTERNAL_UPLOAD, await json_body.read(request))
    file = StoredFile(body.filename, stored_as="", size=body.size, sha256="")

    policy = request.state["policy"]

    def record(connection: sa.Connection) -> Upload:
        dataset, _ = _dataset(connection, policy, body.dataset or "", Processor.EXTERNAL)
        policy.require_upload_into(dataset, _scopes(Processor.EXTERNAL))
        return create_upload(
            connection, request, file, dataset=dataset, processor=Processor.EXTERNAL, rows_total=body.rows_total
        )

    return await _change(request.state, record)


async def import_as_near_type(request: AppRequest) -> Upload:
    """Import the file of an inferred dataset again, into a new one whose column has the type of most of its values.

    The column is named in the query. Raises DatasetNotFoundError, RefusedError, NoFileError.
    """
    state, column = request.state, request.query_params.get("column", "")
    policy = state["policy"]
    name = request.path_params["name"]

    def find(connection: sa.Connection) -> tuple[StoredFile, ImportOptions]:
        dataset = policy.dataset(connection, name)
        policy.require_upload_into(None)
        near = {field.name: field.near_type for field in dataset.schema.fields}.get(column)
        if near is None or dataset.upload_id is None:
            raise RefusedError(f"The column “{excerpt(column)}” of “{name}” is not a column whose type can be changed.")
        upload = uploads.get(connection, dataset.upload_id)
        if not upload.has_file:
            raise NoFileError(upload.id)
        if upload.original_removed_at is not None:
            raise OriginalNeededError(upload.id, upload.original_removed_at, "it cannot be imported again")
        types = {**upload.options.types_of_columns, column: near}
        file = StoredFile(upload.filename, upload.stored_as, upload.size, upload.sha256)
        return file, replace(upload.options, types=types)

    original, options = await read(state["database"], find)
    try:
        file = await threads.files.run(partial(store_of(state["settings"]).again, original))
    except FileNotFoundError as error:
        raise RefusedError("The uploaded file is no longer stored on the server. Upload it again.") from error
    create = partial(create_upload, request=request, file=file, dataset_wanted=name, options=options)
    return await _recorded(state, file, create)


def _whole(fields: Mapping[str, str]) -> dict[str, str]:
    """The fields without those that name one part of the file."""
    return {name: value for name, value in fields.items() if name not in PART_FIELDS}


def _processor(fields: Mapping[str, str]) -> Processor:
    """Raises InvalidImportOptionError."""
    name = fields.get("processor") or Processor.WORKER
    if name not in list(Processor):
        raise InvalidImportOptionError(
            "processor must be worker, or external if an external script imports the file.", "processor"
        )
    return Processor(name)


def _holds_duplicates(fields: Mapping[str, str]) -> bool:
    """Raises InvalidImportOptionError: a misspelt word must not import a file twice."""
    name = fields.get("duplicates", "")
    if name not in ("", "import", "hold"):
        raise InvalidImportOptionError("duplicates must be hold or import.", "duplicates")
    return name == "hold"


def _review(
    connection: sa.Connection, request: AppRequest, fields: Mapping[str, str], into: str | None, parent: Upload | None
) -> Review:
    """What the request says, else the dataset's own, else what is usual for its way. Corrections were seen: nobody is
    asked about them by `auto`. Raises InvalidImportOptionError."""
    name = fields.get("review", "")
    if name and name not in list(Review):
        raise InvalidImportOptionError("review must be never, auto or always.", "review")
    if name:
        return Review(name)
    own = datasets.review_of(connection, into) if into else None
    if parent is not None:
        return Review.ALWAYS if own == Review.ALWAYS else Review.NEVER
    if own is not None:
        return Review(own)
    return DEFAULT_REVIEW if asked_by(request).via is Via.WEB else Review.NEVER


def _mode(
    connection: sa.Connection, fields: Mapping[str, str], into: str | None, parent: Upload | None, processor: Processor
) -> Mode | None:
    """What the rows do with those of the dataset; None: what is usual for it. Corrected rows do what those did that
    failed, and are added where these replaced all. Raises InvalidImportOptionError, RefusedError."""
    name = fields.get("mode", "")
    if not name:
        return parent.mode_wanted if parent and parent.mode_wanted is not Mode.REPLACE else None
    if processor is Processor.EXTERNAL:
        raise InvalidImportOptionError("mode is for uploads that a worker imports.", "mode")
    wanted = mode_of(connection, name, into)
    if parent and wanted is Mode.REPLACE:
        raise InvalidImportOptionError(corrections.REPLACES_NOTHING, "mode")
    return wanted


def _expected(
    connection: sa.Connection,
    file: StoredFile,
    fields: Mapping[str, str],
    into: str | None,
    processor: Processor,
    *,
    is_whole: bool,
) -> Expectations:
    """What is expected of the import. is_whole: the file is not divided. Raises InvalidImportOptionError, also for a
    file that is not the expected one, and for columns that the dataset does not have."""
    expected = Expectations.from_fields(fields)
    if processor is Processor.EXTERNAL and expected.as_json():
        raise InvalidImportOptionError(f"{ROWS} and the like are for uploads that a worker imports.", ROWS)
    if expected.has_totals and not is_whole:
        raise InvalidImportOptionError(
            "Rows and sums are expected of one table. Leave them out, or import one part of the file.", ROWS
        )
    expected.require_file(file.sha256)
    if into is not None:
        expected.fields(datasets.get(connection, into).schema)
    return expected


def _require_no_totals(connection: sa.Connection, into: str) -> None:
    """Raises InvalidImportOptionError if an upload must say what to expect of it."""
    if datasets.totals_of(connection, into).are_required:
        raise InvalidImportOptionError(
            f"An upload into “{into}” must say how many rows or which sums to expect, with {ROWS} or expect_sum.", ROWS
        )


def mode_of(connection: sa.Connection, name: str, into: str | None) -> Mode:
    """A mode that an upload may ask for. into: the dataset; None: a new one. Raises InvalidImportOptionError."""
    if name not in list(Mode):
        raise InvalidImportOptionError(f"mode must be {listed(list(Mode))}.", "mode")
    wanted = Mode(name)
    if into is None and wanted not in OF_NEW_DATASETS:
        raise InvalidImportOptionError(
            f"The mode of an upload into a new dataset must be {listed(OF_NEW_DATASETS)}, not {wanted}.", "mode"
        )
    if into is not None:
        dataset = datasets.get(connection, into)
        if wanted not in dataset.modes:
            raise InvalidImportOptionError(datasets.not_allowed(dataset, wanted), "mode")
    return wanted


def target_of(
    connection: sa.Connection, request: AppRequest, upload: Upload, given: Mapping[str, str]
) -> Target | None:
    """The dataset that somebody chose for a held upload; None: nobody chose another one. Its mode goes with it if that
    is possible there. Raises InvalidDatasetNameError, RefusedError, NotAllowedError."""
    if "dataset" not in given:
        return None
    policy = request.state["policy"]
    chosen, name = _dataset(connection, policy, given["dataset"], Processor.WORKER)
    if (chosen, name if chosen is None else chosen) == (upload.dataset, upload.dataset or upload.dataset_wanted):
        return None
    if upload.parent is not None:
        raise RefusedError("Corrected rows go into the dataset in which they failed.")
    policy.require_upload_into(chosen)
    allowed = OF_NEW_DATASETS if chosen is None else datasets.get(connection, chosen).modes
    return Target(chosen, name, upload.mode_wanted if upload.mode_wanted in allowed else None)


def _dataset(connection: sa.Connection, policy: Policy, requested: str, processor: Processor) -> tuple[str | None, str]:
    """The requested dataset if it exists, and the name for a new one. An API token for one dataset requests that.

    Raises InvalidDatasetNameError, RefusedError.
    """
    name = datasets.checked_name(requested or policy.caller.dataset or "")
    if name and datasets.exists_to_upload(connection, name):
        if not policy.view.shows(name):
            raise InvalidDatasetNameError(f"The name “{name}” cannot be used. Choose another one.")
        return name, name
    if name and processor is Processor.EXTERNAL:
        raise RefusedError(
            f"There is no dataset called “{name}”, and an external script cannot create it. Declare it first with"
            " `bulk-upload dataset add`, or leave the dataset out."
        )
    return None, name


def target(connection: sa.Connection, policy: Policy, requested: str) -> tuple[str | None, str]:
    """The requested dataset if it exists, and the name for a new one. Raises InvalidDatasetNameError."""
    return _dataset(connection, policy, requested, Processor.WORKER)


async def cancel(request: AppRequest) -> Upload:
    """Raises UploadNotFoundError, TransitionError, NotAllowedError."""
    upload_id = request.path_params["upload_id"]
    return await _change(request.state, lambda connection: cancelled(connection, request, upload_id))


def cancelled(connection: sa.Connection, request: AppRequest, upload_id: int) -> Upload:
    """Raises UploadNotFoundError, TransitionError, NotAllowedError."""
    policy = request.state["policy"]
    policy.require_change_of(policy.upload(connection, upload_id))
    upload = uploads.cancel(connection, upload_id, by=asked_by(request))
    note(connection, request, "upload.cancel", upload)
    return upload


async def approve(request: AppRequest, *, remember: bool = False) -> Upload:
    """Import a held upload. remember: which fields its columns fill, for the next files of its dataset. Raises
    UploadNotFoundError, TransitionError, NotAllowedError, RefusedError."""
    upload_id = request.path_params["upload_id"]
    policy = request.state["policy"]

    def change(connection: sa.Connection) -> Upload:
        upload = policy.upload(connection, upload_id)
        policy.require_change_of(upload)
        if remember and upload.is_held and upload.mapping:
            upload = review.map_columns(connection, upload, upload.mapping, remember=True)
        return _approved(connection, request, upload)

    return await _change(request.state, change)


def _approved(connection: sa.Connection, request: AppRequest, upload: Upload) -> Upload:
    """Raises TransitionError, RefusedError if a field that needs a column has none."""
    if upload.is_held and not upload.holds_totals:
        review.require_complete(connection, upload)
    approved = uploads.approve(
        connection, upload.id, quick_bytes=request.state["settings"].quick_bytes, by=asked_by(request)
    )
    note(connection, request, "upload.import", approved)
    return approved


async def check(request: AppRequest) -> Upload:
    """Check a held upload: the import without its writes. Raises UploadNotFoundError, TransitionError,
    NotAllowedError."""
    upload_id = request.path_params["upload_id"]
    policy = request.state["policy"]

    def change(connection: sa.Connection) -> Upload:
        policy.require_change_of(policy.upload(connection, upload_id))
        ordered = uploads.order(
            connection,
            upload_id,
            Task.CHECK,
            quick_bytes=request.state["settings"].quick_bytes,
            by=asked_by(request),
        )
        note(connection, request, "upload.check", ordered)
        return ordered

    return await _change(request.state, change)


async def retry(request: AppRequest, entered: dict[str, str] | None = None) -> Upload:
    """Retry an upload, with the import options that the body changes, if it has any. entered: receives them, also if
    they are refused.

    Raises UploadNotFoundError, TransitionError, OptionsFixedError, InvalidImportOptionError, InvalidBodyError,
    NotAllowedError.
    """
    upload_id = request.path_params["upload_id"]
    given = await options_body.read(request)
    if entered is not None:
        entered.update(given)

    def change(connection: sa.Connection) -> tuple[Upload, list[Upload]]:
        present = request.state["policy"].upload(connection, upload_id).options
        options = present.changed(given)
        return retried(connection, request, upload_id, options if options != present else None)

    upload = await threads.writes.run(lambda: request.state["changes"].make_several(change))
    request.state["changes"].retries += 1
    return upload


def retried(
    connection: sa.Connection, request: AppRequest, upload_id: int, options: ImportOptions | None = None
) -> tuple[Upload, list[Upload]]:
    """The upload, and all that changed. options: other ones than before. Raises UploadNotFoundError, TransitionError,
    OptionsFixedError, NotAllowedError."""
    policy = request.state["policy"]
    found_before = policy.upload(connection, upload_id)
    policy.require_change_of(found_before)
    is_duplicate = found_before.is_held and all(each["code"] == HoldCode.DUPLICATE for each in found_before.hold)
    if is_duplicate and options is None:  # as earlier releases imported it
        approved = _approved(connection, request, found_before)
        return approved, [approved]
    undo_orders.require_retry(connection, found_before)
    found = lineage.retry(connection, upload_id, options, by=asked_by(request))
    datasets.drop_unused(connection, upload_id)
    note(connection, request, "upload.retry", found[0])
    return found


async def _change(state: AppState, change: Callable[[sa.Connection], Upload]) -> Upload:
    """Make a change in a thread, off the event loop. Raises what it raises, and ServerBusyError."""
    return await threads.writes.run(lambda: state["changes"].make(change))
