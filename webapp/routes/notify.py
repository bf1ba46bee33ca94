"""POST /api/v1/internal/notify: an external script reports the progress of its upload; every stream receives it."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import Field, TypeAdapter
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from jobs import idempotency, reports
from jobs.idempotency import Answer
from jobs.people.policy import SINGLE_USER, Policy
from jobs.people.roles import Role, Scope
from jobs.reports import Refusal, Report
from jobs.uploads import Upload
from webapp import operation, parameters, problems, threads
from webapp.access.needs import REPORT, GuardedRoute
from webapp.errors import InvalidHeaderError, InvalidQueryError
from webapp.openapi import answers
from webapp.operation import JSON, Operation
from webapp.problem_details import MEDIA_TYPE
from webapp.routes import json_body, upload_json
from webapp.state import AppRequest, RequestState

#: Maximum number of reports in one request.
MAX_REPORTS = 1_000
#: Maximum length of an Idempotency-Key, in characters.
MAX_KEY_LENGTH = 200

_ONE = TypeAdapter(Report)
_SEVERAL = TypeAdapter(Annotated[list[Report], Field(min_length=1, max_length=MAX_REPORTS)])
#: What the body may be; which of the two it is decides how its problems are told.
_ANY: TypeAdapter[Any] = TypeAdapter(Report | Annotated[list[Report], Field(min_length=1, max_length=MAX_REPORTS)])


def _checked_key(key: str) -> str:
    """Raises ValueError."""
    if not (0 < len(key) <= MAX_KEY_LENGTH and key.isascii() and key.isprintable()):
        raise ValueError
    return key


IDEMPOTENCY_KEY = parameters.found_by(
    "Idempotency-Key",
    "The same for each attempt to send a request: it is recorded once.",
    _checked_key,
    f"must have 1 to {MAX_KEY_LENGTH} printable ASCII characters.",
    None,
)


async def notify(request: AppRequest) -> Response:
    """One report, answered with its upload or a problem; or a list, answered with a list of results."""
    await _check_token(request)
    key = _key(request)
    body = await json_body.read(request)
    several = isinstance(body, list)
    found = json_body.parse(_SEVERAL, body) if several else [json_body.parse(_ONE, body)]
    answer = await threads.writes.run(lambda: _record(request.state, found, several, key, body))
    return JSONResponse(answer.content, answer.status, media_type=None if answer.status < 400 else MEDIA_TYPE)


def _record(state: RequestState, found: Sequence[Report], several: bool, key: str | None, body: Any) -> Answer:
    """Commit the reports and the answer in one transaction, then publish."""
    recorded: list[Upload] = []
    policy = state["policy"]

    def answer(connection: sa.Connection) -> Answer:
        outcomes = reports.record(connection, found, policy.may_report_on)
        recorded.extend(outcome for outcome in outcomes if isinstance(outcome, Upload))
        return _several(found, outcomes) if several else _one(outcomes[0])

    def record(connection: sa.Connection) -> tuple[Answer, list[Upload]]:
        given = _once(connection, policy, key, body, lambda: answer(connection)) if key else answer(connection)
        return given, recorded

    return state["changes"].make_several(record)


def _once(connection: sa.Connection, policy: Policy, key: str, body: Any, answer: Callable[[], Answer]) -> Answer:
    account_id = policy.owner.account_id
    return idempotency.once(connection, key, body, answer, "" if account_id is None else f"account {account_id}")


def _one(outcome: Upload | Refusal) -> Answer:
    if isinstance(outcome, Upload):
        return Answer(200, upload_json.as_json(outcome))
    problem = problems.details(outcome)
    return Answer(problem["status"], problem)


def _several(found: Sequence[Report], outcomes: Sequence[Upload | Refusal]) -> Answer:
    """200 if all were recorded, else 207 (Multi-Status) with the status of each."""
    results: list[dict[str, Any]] = []
    for report, outcome in zip(found, outcomes, strict=True):
        one = _one(outcome)
        what = "upload" if isinstance(outcome, Upload) else "problem"
        results.append({"file_id": report.file_id, "status": one.status, what: one.content})
    return Answer(200 if all(result["status"] == 200 for result in results) else 207, results)


async def _check_token(request: AppRequest) -> None:
    """A report needs a token also where nobody has to sign in. Raises HTTPException, NotAllowedError,
    TooManyAttemptsError."""
    policy = request.state["policy"]
    if policy != Policy(SINGLE_USER):
        policy.require(Role.UPLOADER, [Scope.NOTIFY])
        return
    if request.state["settings"].notify_token is None:
        raise HTTPException(
            403,
            "This server does not accept reports because it has no secret for them. Start it with"
            " BULK_UPLOAD_NOTIFY_TOKEN, and send the secret as “Authorization: Bearer …”.",
        )
    if not request.headers.get("authorization", "").lower().startswith("bearer "):
        raise HTTPException(
            401,
            "Send the secret of BULK_UPLOAD_NOTIFY_TOKEN as “Authorization: Bearer …”.",
            {"WWW-Authenticate": 'Bearer realm="bulk-upload"'},
        )
    await request.state["attempts"].note_refused_token(request)
    raise HTTPException(
        401,
        "The secret after “Bearer” is not that of BULK_UPLOAD_NOTIFY_TOKEN.",
        {"WWW-Authenticate": 'Bearer realm="bulk-upload", error="invalid_token"'},
    )


def _key(request: AppRequest) -> str | None:
    """Raises InvalidHeaderError."""
    try:
        return IDEMPOTENCY_KEY.read(request.headers)
    except InvalidQueryError as error:
        raise InvalidHeaderError(error.parameter, error.problem) from error


_OPERATION = Operation(
    "Report the progress of an external upload, or of several.",
    {
        200: operation.Answer("What was recorded.", {JSON: answers.Upload | list[answers.Reported]}),
        207: operation.Answer("Some of several reports were rejected.", {JSON: list[answers.Reported]}),
    },
    headers=(IDEMPOTENCY_KEY,),
    body={JSON: _ANY},
    problems=(404, 409),
)
routes = [
    GuardedRoute(path, notify, REPORT, methods=["POST"], operation=_OPERATION)
    # The second is the address that scripts of the previous system use.
    for path in ("/api/v1/internal/notify", "/api/v1/internal/websocket/notify")
]
