"""Divides an upload into uploads of its parts: worksheets of a workbook, files in an archive."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from starlette.responses import JSONResponse, Response

from jobs import parts, review, uploads
from jobs.errors import BulkUploadError, InvalidDatasetNameError, NotAllowedError, RefusedError, TransitionError
from jobs.files import StoredFile
from jobs.people import audit
from jobs.people.policy import Policy
from jobs.store.chosen import store_of
from jobs.upkeep import leftovers
from jobs.uploads import DIVIDE_HELD, Upload
from webapp import threads
from webapp.access.needs import UPLOAD, GuardedRoute
from webapp.database_access import read
from webapp.errors import InvalidBodyError
from webapp.openapi import answers
from webapp.operation import JSON, Operation, made
from webapp.routes import actions, json_body, upload_json, visible
from webapp.state import AppRequest, AppState


class ChosenPart(BaseModel):
    """A part of a file, by its name, and the dataset that receives it: an existing one or a new one. Without one, as
    the review proposes."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: str
    dataset: str | None = None


class ChosenParts(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    parts: Annotated[list[ChosenPart], Field(min_length=1, max_length=parts.MAX_PARTS)]


CHOSEN = TypeAdapter(ChosenParts)


@dataclass(frozen=True)
class Refused:
    """A part that was not made an upload, and why."""

    name: str
    error: BulkUploadError


@dataclass(frozen=True)
class Divided:
    """divided: the upload whose parts these are."""

    divided: Upload
    uploads: Sequence[Upload]
    refused: Sequence[Refused]


async def create(request: AppRequest) -> Response:
    """Raises InvalidBodyError, and what `divide` raises."""
    await visible.upload(request, request.path_params["upload_id"])
    found = await divide(request, json_body.parse(CHOSEN, await json_body.read(request)).parts)
    refused = [{"name": each.name, "detail": str(each.error)} for each in found.refused]
    answered = [upload_json.as_json(each) for each in found.uploads]
    return JSONResponse({"uploads": answered, "refused": refused}, HTTPStatus.CREATED)


async def divide(request: AppRequest, chosen: Sequence[ChosenPart]) -> Divided:
    """Make an upload of each chosen part of a held upload, or of one that was divided before.

    A part that cannot be imported, or not into its dataset, is refused, the others are made. Raises
    UploadNotFoundError, NotAllowedError, TransitionError, InvalidBodyError for a name that is no part, and why the
    parts are refused if all are.
    """
    state, upload_id = request.state, request.path_params["upload_id"]

    def find(connection: sa.Connection) -> Upload:
        upload = state["policy"].upload(connection, upload_id)
        state["policy"].require_change_of(upload)
        if not (upload.is_held or upload.is_divided):
            raise TransitionError(upload_id, upload.status, DIVIDE_HELD.participle)
        return upload

    upload = await read(state["database"], find)
    try:
        store = partial(parts.stored, store_of(state["settings"]), upload, len(chosen))
        files = await threads.files.run(store)
    except FileNotFoundError as error:
        raise RefusedError("The uploaded file is no longer stored on the server. Upload it again.") from error
    used: set[str] = set()
    is_made = False  # whether the transaction reached its COMMIT

    def change(connection: sa.Connection) -> tuple[Divided, list[Upload]]:
        nonlocal is_made
        made = _divided(connection, request, upload_id, chosen, files)
        is_made = True
        return made

    try:
        divided = await threads.writes.run(lambda: state["changes"].make_several(change))
        used = {each.stored_as for each in divided.uploads}
    finally:
        unused = [each for each in files if each.stored_as not in used]
        await threads.files.run(partial(_remove, state, unused, may_be_recorded=is_made and not used))
    return divided


def _divided(
    connection: sa.Connection,
    request: AppRequest,
    upload_id: int,
    chosen: Sequence[ChosenPart],
    files: Sequence[StoredFile],
) -> tuple[Divided, list[Upload]]:
    """What was made, and all uploads that changed."""
    state = request.state
    policy, settings = state["policy"], state["settings"]
    upload = policy.upload(connection, upload_id)
    policy.require_change_of(upload)
    if not (upload.is_held or upload.is_divided):
        raise TransitionError(upload_id, upload.status, DIVIDE_HELD.participle)
    plan = _Plan(connection, policy, upload, chosen)
    actions.quotas(state).require_room(connection, upload.account_id, len(plan.targets))
    parts.require_one_replacement(upload, plan.targets)
    by = actions.asked_by(request)
    children = parts.create(
        connection,
        upload,
        plan.targets,
        files[: len(plan.targets)],
        policy=policy,
        quick_bytes=settings.quick_bytes,
        by=by,
    )
    divided = uploads.divide_held(connection, upload, parts.as_made(plan.targets, children), by=by)
    for each in children:
        actions.note(connection, request, "upload.create", each)
    audit.write(
        connection,
        state["actor"],
        "upload.divide",
        f"upload {upload_id}",
        detail=f"{len(children):,} parts of {upload.filename}",
    )
    return Divided(divided, children, plan.refused), [divided, *children]


class _Plan:
    """targets: the parts that can be made. refused: the others.

    Raises InvalidBodyError for a name that is no part, and why all are refused if they are.
    """

    def __init__(self, connection: sa.Connection, policy: Policy, upload: Upload, chosen: Sequence[ChosenPart]) -> None:
        self._connection, self._policy = connection, policy
        found = parts.proposals(connection, upload, review.parts_of(connection, upload.id), policy.view)
        if chosen and not review.was_seen(connection, upload.id):
            raise InvalidBodyError([("parts", "cannot be chosen before a worker has looked at the file")])
        by_name = {each.part.name: each for each in found}
        self.targets: list[parts.Target] = []
        self.refused: list[Refused] = []
        for place, each in enumerate(chosen):
            if each.name not in by_name:
                raise InvalidBodyError([(f"parts[{place}].name", "is not a part of the file")])
            if each.name in {other.name for other in chosen[:place]}:
                raise InvalidBodyError([(f"parts[{place}].name", "is named twice")])
            try:
                self.targets.append(self._target(by_name[each.name], each))
            except (RefusedError, InvalidDatasetNameError, NotAllowedError) as error:
                self.refused.append(Refused(each.name, error))
        if not self.targets:
            raise self.refused[0].error

    def _target(self, proposal: parts.Proposal, wanted: ChosenPart) -> parts.Target:
        """Raises RefusedError, InvalidDatasetNameError, NotAllowedError."""
        if proposal.upload is not None:
            raise RefusedError(f"“{wanted.name}” is imported already, as #{proposal.upload}.")
        if proposal.part.problem is not None:
            raise RefusedError(f"“{wanted.name}” cannot be imported. {proposal.part.problem}")
        dataset, name = actions.target(self._connection, self._policy, wanted.dataset or proposal.dataset)
        self._policy.require_upload_into(dataset)
        return parts.Target(proposal.part, dataset, name or proposal.part.dataset_name)


def _remove(state: AppState, files: Sequence[StoredFile], *, may_be_recorded: bool) -> None:
    for file in files:
        with suppress(OSError):
            leftovers.remove_unrecorded(
                state["database"], store_of(state["settings"]), file.stored_as, may_be_recorded=may_be_recorded
            )


def refusals(refused: Sequence[Refused]) -> str:
    """Sentences about the parts that were refused; "" for none."""
    return " ".join(f"“{each.name}” was not imported: {each.error}" for each in refused)


routes: list[Any] = [
    GuardedRoute(
        "/api/v1/uploads/{upload_id:id}/parts",
        create,
        UPLOAD,
        methods=["POST"],
        operation=Operation(
            "Import parts of a held upload, each as an upload of its own.",
            made(answers.MadeParts),
            body={JSON: CHOSEN},
            problems=(409,),
        ),
    ),
]
