"""One action on several uploads: as if it were done to one after the other."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal, Self
from urllib.parse import parse_qs

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from jobs.errors import BulkUploadError, HeldError, NotAllowedError, TransitionError, UploadNotFoundError
from jobs.history_query import Outcome
from jobs.uploads import Upload
from webapp import threads
from webapp.errors import InvalidBodyError
from webapp.routes import actions, json_body
from webapp.state import AppRequest

#: Uploads of one request. A page of the history has fewer.
MAX_UPLOADS = 100


class Batch(BaseModel):
    """What is to be done, and with which uploads."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    action: Literal["cancel", "retry"]
    ids: Annotated[list[Annotated[int, Field(ge=1, lt=2**63)]], Field(min_length=1, max_length=MAX_UPLOADS)]


BATCH = TypeAdapter(Batch)


async def of_json(request: AppRequest) -> Batch:
    """Raises BodyTooLargeError, InvalidBodyError."""
    return json_body.parse(BATCH, await json_body.read(request))


async def of_form(request: AppRequest) -> Batch | None:
    """From `action` and each `id` of a form; None if no upload is selected. Raises BodyTooLargeError,
    InvalidBodyError."""
    body = await json_body.read_bytes(request)
    try:
        form = parse_qs(body.decode("ascii"), max_num_fields=MAX_UPLOADS + 1)  # everything else is escaped
        ids = [int(text) for text in form.get("id", ())]
    except ValueError as error:  # UnicodeDecodeError is one
        raise InvalidBodyError([("", f"The form cannot be read, or names more than {MAX_UPLOADS} uploads.")]) from error
    return json_body.parse(BATCH, {"action": form.get("action", [""])[-1], "ids": ids}) if ids else None


@dataclass(frozen=True)
class Result:
    """What became of one upload: its new record, or why nothing was done."""

    upload_id: int
    upload: Upload | None = None
    error: BulkUploadError | None = None


async def run(request: AppRequest, batch: Batch) -> list[Result]:
    """Do it to each upload, in a transaction of its own, in the order in which they are named. Raises
    ServerBusyError."""
    act: Callable[[AppRequest, int], Upload] = {"cancel": _cancel, "retry": _retry}[batch.action]
    ids = dict.fromkeys(batch.ids)

    def attempt(upload_id: int) -> Result:
        try:
            return Result(upload_id, upload=act(request, upload_id))
        except BulkUploadError as error:
            return Result(upload_id, error=error)

    return await threads.writes.run(lambda: [attempt(each) for each in ids])


def _cancel(request: AppRequest, upload_id: int) -> Upload:
    """Raises UploadNotFoundError, TransitionError, NotAllowedError."""
    return request.state["changes"].make(lambda connection: actions.cancelled(connection, request, upload_id))


def _retry(request: AppRequest, upload_id: int) -> Upload:
    """Raises UploadNotFoundError, TransitionError, NotAllowedError, and HeldError: nobody imports a file twice by
    selecting all."""

    def change(connection: sa.Connection) -> tuple[Upload, list[Upload]]:
        found = request.state["policy"].upload(connection, upload_id)
        if found.is_held or found.outcome == Outcome.HELD:
            raise HeldError(upload_id)
        return actions.retried(connection, request, upload_id)

    upload = request.state["changes"].make_several(change)
    request.state["changes"].retries += 1
    return upload


class _Kind(StrEnum):
    """What can become of an upload, in the order of the counts in a summary's text."""

    DONE = "done"
    UNFIT = "unfit"
    HELD = "held"
    MISSING = "missing"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True)
class Summary:
    """How many uploads of a batch became what."""

    action: str
    counts: tuple[int, ...]

    @classmethod
    def of(cls, batch: Batch, results: Sequence[Result]) -> Self:
        found = Counter(_kind(each) for each in results)
        return cls(batch.action, tuple(found[kind] for kind in _Kind))

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """From its text; None for any other one."""
        found = re.fullmatch(r"(cancel|retry)((?:-\d{1,3}){6})", text, re.ASCII)
        return cls(found[1], tuple(map(int, found[2].split("-")[1:]))) if found else None

    def __str__(self) -> str:
        return "-".join([self.action, *map(str, self.counts)])

    @property
    def sentence(self) -> str:
        """For people: 3 uploads cancelled, 1 had ended already."""
        if not any(self.counts):
            return "No upload is selected."
        counts = dict(zip(_Kind, self.counts, strict=True))
        done = counts.pop(_Kind.DONE)
        words = _WORDS[self.action]
        parts = [f"{count} {words[kind]}" for kind, count in counts.items() if count]
        what = f"{done} upload{'' if done == 1 else 's'} {words[_Kind.DONE]}" if done else words["nothing"]
        return f"{', '.join([what, *parts])}."


#: Of a form without an upload.
NOTHING_SELECTED = Summary("cancel", (0,) * len(_Kind))

_COMMON = {
    _Kind.MISSING: "not found",
    _Kind.REFUSED: "not allowed",
    _Kind.FAILED: "not possible now, try again",
}
_WORDS: dict[str, dict[Any, str]] = {
    "cancel": {
        _Kind.DONE: "cancelled",
        _Kind.UNFIT: "had ended already",
        _Kind.HELD: "held",
        "nothing": "Nothing was cancelled",
        **_COMMON,
    },
    "retry": {
        _Kind.DONE: "started again",
        _Kind.UNFIT: "neither failed nor cancelled",
        _Kind.HELD: "held: review it on its own page",
        "nothing": "Nothing was started again",
        **_COMMON,
    },
}


def _kind(result: Result) -> _Kind:
    match result.error:
        case None:
            return _Kind.DONE
        case TransitionError():
            return _Kind.UNFIT
        case HeldError():
            return _Kind.HELD
        case UploadNotFoundError():
            return _Kind.MISSING
        case NotAllowedError():
            return _Kind.REFUSED
        case _:
            return _Kind.FAILED
