"""The routes of tus: create a file, ask how far it is, append to it, remove it."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from jobs import files, incoming
from jobs.errors import (
    BulkUploadError,
    DiskFullError,
    IncomingGoneError,
    IncomingNotFoundError,
    InvalidDatasetNameError,
    InvalidImportOptionError,
    NotAllowedError,
    QuotaExceededError,
    RefusedError,
    TooLargeError,
)
from jobs.files import StoredFile
from jobs.incoming import Incoming
from jobs.people import audit
from jobs.people.policy import Caller
from jobs.people.roles import Scope as TokenScope
from jobs.store.chosen import store_of
from jobs.store.store import Growing, Store
from jobs.uploads import Upload
from webapp import parameters, threads
from webapp.access.needs import CREATE, GuardedRoute
from webapp.database_access import read, write
from webapp.errors import FileLockedError, TusError, WrongOffsetError
from webapp.operation import BINARY, DONE, Answer, Operation
from webapp.parameters import Parameter
from webapp.routes import actions
from webapp.routes.actions import RESUMABLE_PATH
from webapp.state import AppRequest
from webapp.tus import headers, part
from webapp.tus.headers import Checksum

#: What a refusal ends: the same file would be refused again.
_FINAL = (RefusedError, InvalidDatasetNameError, InvalidImportOptionError)


async def options(request: AppRequest) -> Response:
    """What this server can do."""
    return Response(
        status_code=204,
        headers={
            "Tus-Version": headers.VERSION,
            "Tus-Extension": headers.EXTENSIONS,
            "Tus-Max-Size": str(request.state["settings"].max_upload_bytes),
            "Tus-Checksum-Algorithm": ",".join(headers.ALGORITHMS),
        },
    )


async def create(request: AppRequest) -> Response:
    """A new file, with its first bytes if there is a body. Raises what `POST /api/v1/uploads` raises for its fields."""
    headers.require_version(request.headers)
    size, checksum = headers.length(request.headers), Checksum.of(request.headers)
    if _has_body(request):
        headers.require_part(request.headers)
    metadata = request.headers.get("upload-metadata", "")
    fields = headers.metadata(metadata)
    limit = request.state["settings"].max_upload_bytes
    if size > limit:
        raise TooLargeError(files.too_large(limit))
    name = files.required_name(_filename(fields))
    if not size:
        raise RefusedError(files.empty(name))
    found = await _recorded(request, StoredFile(name, uuid4().hex, size, ""), fields, metadata)
    if not _has_body(request):
        return _answer(201, found, 0, {"Location": f"{RESUMABLE_PATH}/{found.id}"})
    async with part.locked(request.state, found) as (present, file):
        try:
            return await _received(request, present, file, checksum, 201, {"Location": f"{RESUMABLE_PATH}/{found.id}"})
        except BulkUploadError:
            await _discard(request, present, file)  # its client does not know of it
            raise


async def _recorded(request: AppRequest, file: StoredFile, fields: Mapping[str, str], metadata: str) -> Incoming:
    """The record of a new file, if its upload could be created now."""
    owner = request.state["policy"].owner
    seconds = request.state["settings"].resume_hours * 3600

    def record(connection: sa.Connection) -> tuple[Incoming, list[str]]:
        replaced: list[str] = []
        try:
            actions.rehearse(connection, request, file, fields)
        except QuotaExceededError:  # perhaps because of the same file, which its sender does not go on with
            replaced = incoming.end_same(connection, file.size, metadata, owner, seconds=seconds)
            if not replaced:
                raise
            actions.rehearse(connection, request, file, fields)
        created = incoming.create(
            connection,
            file.stored_as,
            file.filename,
            file.size,
            metadata,
            owner,
            seconds=seconds,
            is_of_form=actions.is_of_form(request),
        )
        return created, replaced

    created, replaced = await write(request.state["database"], record)
    await threads.files.run(partial(_remove_all, store_of(request.state["settings"]), replaced))
    return created


def _remove_all(store: Store, ids: Sequence[str]) -> None:
    for id_ in ids:
        store.remove_incoming(id_)


def _durable_size(request: AppRequest, found: Incoming) -> int:
    return store_of(request.state["settings"]).durable_size(request.state["database"], found.id)


async def offset(request: AppRequest) -> Response:
    """How many bytes of a file are there. Of one that is complete, the upload is created, if it was not yet."""
    headers.require_version(request.headers)
    found = await _visible(request)
    if found.upload_id is not None:
        return _answer(200, found, found.size, _about(found))
    try:
        async with part.locked(request.state, found) as (present, file):
            if present.upload_id is not None:
                return _answer(200, present, present.size, _about(present))
            if not file.is_complete:
                await threads.files.run(file.sync)
                return _answer(200, present, file.offset, _about(present))
            upload = await _finished(request, present, file)
            return _answer(200, present, present.size, _about(present), upload)
    except FileLockedError:
        present = await _visible(request)
        size = await threads.files.run(partial(_durable_size, request, found))
        if present.unchecked_from is not None:
            size = min(size, present.unchecked_from)
        return _answer(200, present, size, _about(present))


async def append(request: AppRequest) -> Response:
    """The next bytes of a file."""
    headers.require_version(request.headers)
    headers.require_part(request.headers)
    begin, checksum = headers.number(request.headers, "Upload-Offset"), Checksum.of(request.headers)
    found = await _visible(request)
    if found.upload_id is not None:
        if begin != found.size:
            raise WrongOffsetError(found.size)
        return _answer(204, found, found.size)
    async with part.locked(request.state, found) as (present, file):
        size = present.size if present.upload_id is not None else file.offset
        if begin != size:
            raise WrongOffsetError(size)
        if present.upload_id is not None:
            return _answer(204, present, present.size)
        return await _received(request, present, file, checksum, 204)


async def remove(request: AppRequest) -> Response:
    """Nothing more of this file is wanted. Raises IncomingGoneError."""
    headers.require_version(request.headers)
    found = await _visible(request)
    if found.upload_id is not None:
        raise NotAllowedError(f"This file is complete: it is upload {found.upload_id}, which can be cancelled.")
    async with part.locked(request.state, found) as (present, file):
        if present.upload_id is not None:
            raise NotAllowedError(f"This file is complete: it is upload {present.upload_id}, which can be cancelled.")
        await _discard(request, present, file)
    return Response(status_code=204)


async def overridden(request: AppRequest) -> Response:
    """The method in X-HTTP-Method-Override, for clients that can send no other than POST."""
    endpoint = {"PATCH": append, "DELETE": remove, "HEAD": offset}.get(
        request.headers.get("x-http-method-override", "").upper()
    )
    if endpoint is None:
        raise TusError("Send PATCH, DELETE or HEAD, or name one of them in X-HTTP-Method-Override.")
    return await endpoint(request)


async def _received(
    request: AppRequest,
    found: Incoming,
    file: Growing,
    checksum: Checksum | None,
    status: int,
    more: Mapping[str, str] = {},  # unchanged
) -> Response:
    """Receive a part, and create the upload if it was the last one."""
    try:
        present = await part.receive(request, found, file, checksum)
        upload = await _finished(request, present, file) if file.is_complete else None
    except _FINAL as error:
        if not isinstance(error, TooLargeError | DiskFullError):
            await _discard(request, found, file)
        raise
    return _answer(status, present, file.offset, more, upload)


async def _finished(request: AppRequest, found: Incoming, file: Growing) -> Upload:
    """The upload of a complete file. Raises what `POST /api/v1/uploads` raises."""
    request.state["is_of_form"] = found.is_of_form
    async for _ in threads.files.iterate(file.hashing()):
        pass
    await threads.files.run(file.sync)
    stored = await threads.files.run(file.stored)

    def once(connection: sa.Connection, create_upload: Callable[[sa.Connection], Upload]) -> Upload:
        return incoming.finish(connection, create_upload, found.id)

    upload = await actions.create_from_stored(request, stored, headers.metadata(found.metadata), once)
    await threads.files.run(file.forget_pieces)
    return upload


async def _discard(request: AppRequest, found: Incoming, file: Growing) -> None:
    def end(connection: sa.Connection) -> bool:
        is_ended = incoming.end(connection, found.id)
        if is_ended:
            audit.write(connection, request.state["actor"], "upload.discard", f"file {found.id}", detail=found.filename)
        return is_ended

    if await write(request.state["database"], end):
        await threads.files.run(file.remove)


async def _visible(request: AppRequest) -> Incoming:
    """The file that a request names. Raises IncomingNotFoundError, also for somebody else's; IncomingGoneError,
    UploadNotFoundError."""
    policy = request.state["policy"]

    def find(connection: sa.Connection) -> Incoming:
        found = incoming.get(connection, request.path_params["file_id"])
        if not _is_mine(policy.caller, found):
            raise IncomingNotFoundError
        if found.is_gone:
            raise IncomingGoneError
        if found.upload_id is not None:
            policy.upload(connection, found.upload_id)
        return found

    return await read(request.state["database"], find)


def _is_mine(caller: Caller, found: Incoming) -> bool:
    """A token that is limited to a dataset, or may not upload all files, has only those that it began itself."""
    if found.account_id != caller.account_id:
        return False
    is_limited = caller.dataset is not None or (caller.scopes is not None and TokenScope.UPLOAD not in caller.scopes)
    return not is_limited or (caller.token_id is not None and found.token_id == caller.token_id)


def _filename(fields: Mapping[str, str]) -> str:
    """Clients have different names for it."""
    return fields.get("filename") or fields.get("name", "")


def _has_body(request: AppRequest) -> bool:
    return request.headers.get("content-length", "0").strip("0 ") != "" or "transfer-encoding" in request.headers


def _about(found: Incoming) -> dict[str, str]:
    """What only HEAD tells."""
    described = {"Upload-Length": str(found.size)}
    return described | ({"Upload-Metadata": found.metadata} if found.metadata else {})


def _answer(
    status: int,
    found: Incoming,
    size: int,
    more: Mapping[str, str] = {},
    upload: Upload | None = None,  # unchanged
) -> Response:
    """size: bytes that are there. upload: of the file, if it was just created."""
    given = {"Upload-Offset": str(size), **more}
    upload_id = upload.id if upload else found.upload_id
    if upload_id is None:
        given["Upload-Expires"] = headers.moment(found.expires_at)
    else:
        given["Content-Location"] = f"/api/v1/uploads/{upload_id}"
    return Response(status_code=status, headers=given)


class TusRoute(GuardedRoute):
    """Says in each response which version of tus it follows."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_version(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = MutableHeaders(scope=message)
                given["Tus-Resumable"] = headers.VERSION
                if message["status"] == HTTPStatus.PRECONDITION_FAILED:
                    given["Tus-Version"] = headers.VERSION
            await send(message)

        await super().handle(scope, receive, with_version)


def _header(name: str, description: str, **schema: Any) -> Parameter[str]:
    return parameters.text(name, description, longest=0, schema=schema)


_VERSION = _header("Tus-Resumable", "The version of tus.", enum=[headers.VERSION])
_LENGTH = _header("Upload-Length", "Bytes of the whole file.", pattern="^[0-9]+$")
_METADATA = _header("Upload-Metadata", "The fields of an upload, and `filename`: names, and values in base64.")
_OFFSET = _header("Upload-Offset", "Where the part begins.", pattern="^[0-9]+$")
_CHECKSUM = _header("Upload-Checksum", f"Of the part: one of {', '.join(headers.ALGORITHMS)}, and base64.")
_METHOD = _header("X-HTTP-Method-Override", "The method that is meant.", enum=["PATCH", "DELETE", "HEAD"])
_STATE = ("Upload-Offset", "Upload-Expires", "Content-Location")
_PROBLEMS = (404, 409, 410, 412, 413, 415, 422, 423, 460)
_OPTIONS = Operation(
    "Tell what of tus this server can do.",
    {204: Answer("In the headers.", headers=("Tus-Version", "Tus-Extension", "Tus-Max-Size"))},
)
_FILE_PATH = f"{RESUMABLE_PATH}/{{file_id}}"

routes = [
    TusRoute(
        RESUMABLE_PATH,
        options,
        CREATE,
        methods=["OPTIONS"],
        operation=_OPTIONS,
    ),
    TusRoute(
        RESUMABLE_PATH,
        create,
        CREATE,
        methods=["POST"],
        operation=Operation(
            "Create a file that is sent in several requests, with its first bytes if there is a body.",
            {201: Answer("It can be sent to the address in Location.", headers=("Location", *_STATE))},
            headers=(_VERSION, _LENGTH, _METADATA, _CHECKSUM),
            body={headers.PART: BINARY},
            body_needed=False,
            problems=_PROBLEMS,
        ),
    ),
    TusRoute(
        _FILE_PATH,
        offset,
        CREATE,
        methods=["HEAD"],
        operation=Operation(
            "Tell how many bytes of a file are there; of one that is complete, which upload it is.",
            {200: Answer("In the headers.", headers=(*_STATE, "Upload-Length", "Upload-Metadata"))},
            headers=(_VERSION,),
            problems=_PROBLEMS,
        ),
    ),
    TusRoute(
        _FILE_PATH,
        append,
        CREATE,
        methods=["PATCH"],
        operation=Operation(
            "Append a part to a file.",
            {204: Answer("The part is stored.", headers=_STATE)},
            headers=(_VERSION, _OFFSET, _CHECKSUM),
            body={headers.PART: BINARY},
            body_needed=False,
            problems=_PROBLEMS,
        ),
    ),
    TusRoute(
        _FILE_PATH,
        remove,
        CREATE,
        methods=["DELETE"],
        operation=Operation("Remove a file that is not complete.", DONE, headers=(_VERSION,), problems=_PROBLEMS),
    ),
    TusRoute(
        _FILE_PATH,
        overridden,
        CREATE,
        methods=["POST"],
        operation=Operation(
            "What another method does, for clients that can send no other.",
            {200: Answer("As HEAD answers."), 204: Answer("As PATCH or DELETE answers.", headers=_STATE)},
            headers=(_METHOD, _VERSION, _OFFSET, _CHECKSUM),
            body={headers.PART: BINARY},
            body_needed=False,
            problems=_PROBLEMS,
        ),
    ),
    TusRoute(
        _FILE_PATH,
        options,
        CREATE,
        methods=["OPTIONS"],
        operation=_OPTIONS,
    ),
]
