"""What the API answers, as types. Fields are only ever added, so clients ignore those that they do not know."""

from typing import Any, Generic, Literal, NotRequired, TypeVar

from typing_extensions import TypedDict

T = TypeVar("T")

RoleName = Literal["viewer", "uploader", "admin"]
ScopeName = Literal["read", "upload", "notify", "admin"]


class Next(TypedDict):
    next: str | None


class Page(TypedDict, Generic[T]):
    """A page of a list. cursor: of the next page, as in links.next; null on the last."""

    items: list[T]
    cursor: str | None
    links: Next


class Whole(TypedDict, Generic[T]):
    """A list that has one page."""

    items: list[T]
    links: Next


class Event(TypedDict):
    event: Literal["bulk_upload_progress", "bulk_upload_complete", "bulk_upload_error", "bulk_upload_cancelled"]
    file_id: int
    seq: int
    attempt: int
    filename: str
    dataset: str | None
    status: str
    progress: int
    rows_total: int | None
    rows_processed: int
    rows_success: int
    rows_failed: int
    error: str | None
    timestamp: str
    warnings: list[dict[str, Any]]
    rows_corrected: int
    rows_open: int
    created_at: str
    uploaded_by: str | None
    phase: Literal["check", "import"]
    kind: str
    hold: list[dict[str, str]]


class UploadLinks(TypedDict):
    self: str
    events: str
    html: str
    original: NotRequired[str]
    failed_rows: NotRequired[str]
    dataset: NotRequired[str]
    parent: NotRequired[str]


class Upload(Event):
    id: int
    processor: Literal["worker", "external"]
    lane: str | None
    position: int | None
    expected_start: str | None
    size: int | None
    sha256: str | None
    started_at: str | None
    finished_at: str | None
    silent_since: str | None
    duplicate_of: int | None
    parent: int | None
    children: list[int]
    notes: list[str]
    links: UploadLinks


class ReadOptions(TypedDict):
    """How a file was read."""

    encoding: str | None
    delimiter: str | None
    header_row: int | None
    sheet: str | None
    sheets: NotRequired[list[str]]


class ReviewedColumn(TypedDict):
    name: str
    samples: list[str]
    filled: float | None
    field: str | None
    matched_by: Literal["remembered", "name", "alias", "similar", "values"] | None
    score: float | None


class ReviewedField(TypedDict):
    name: str
    type: str
    required: bool
    column: str | None


class CheckValue(TypedDict):
    value: str
    rows: int


class CheckReason(TypedDict):
    column: str | None
    rule: str
    rows: int
    values: list[CheckValue]


class CheckUpdate(TypedDict):
    key: dict[str, str]
    before: dict[str, str]
    after: dict[str, str]


class Check(TypedDict):
    """What an import would do. The five figures add up to rows."""

    rows: int
    would_insert: int
    would_update: int
    unchanged: int
    superseded: int
    would_fail: int
    reasons: list[CheckReason]
    updates: list[CheckUpdate]


class Review(TypedDict):
    options: ReadOptions
    columns: list[ReviewedColumn]
    fields: list[ReviewedField]
    primary_key: list[str]
    rows: list[list[str]]
    check: Check | None


class PlainProblem(TypedDict):
    """Of a part of a request."""

    id: int
    status: int
    title: str
    detail: str


class Changed(TypedDict):
    id: int
    status: int
    upload: Event


class BatchResult(TypedDict):
    detail: str
    results: list[Changed | PlainProblem]


class Attempt(TypedDict):
    attempt: int
    worker: str | None
    began_at: str
    began_at_row: int
    ended_at: str | None
    ended_at_row: int | None
    end: str | None
    why: str | None


class LogEntry(TypedDict):
    seq: int
    timestamp: str
    kind: str
    attempt: int
    rows_processed: int
    rows_failed: int
    worker: str | None
    lane: str | None
    detail: str | None
    via: str | None
    by: str | None


class Log(TypedDict):
    attempts: list[Attempt]
    events: list[LogEntry]


class FailedValue(TypedDict):
    value: str | None
    rows: int


class Failure(TypedDict):
    column: str | None
    rule: str
    rows: int
    values: list[FailedValue]
    more_values: bool


class Reason(TypedDict):
    column: str | None
    rule: str
    value: str | None
    detail: str | None


class FailedRow(TypedDict):
    row_number: int
    line: int | None
    cells: dict[str, str]
    surplus: list[str]
    reasons: list[Reason]


class Reported(TypedDict):
    """What became of one report of several."""

    file_id: int
    status: int
    upload: NotRequired[Upload]
    problem: NotRequired[dict[str, Any]]


class SelfAndPage(TypedDict):
    self: str
    html: str


class LastUpload(TypedDict):
    id: int
    status: str
    rows_success: int
    rows_failed: int
    warnings: int
    links: SelfAndPage


class DatasetLinks(TypedDict):
    self: str
    rows: str
    csv: str
    html: str


class Dataset(TypedDict):
    name: str
    title: str | None
    mode: str
    rows: int
    columns: int
    upload_id: int | None
    created_at: str
    changed_at: str | None
    last_upload: LastUpload | None
    links: DatasetLinks
    review: NotRequired[str | None]
    schema: NotRequired[dict[str, Any]]


class FailingValue(TypedDict):
    value: str
    rows: int


class Remembered(TypedDict):
    """Which field columns of a name fill; null: none."""

    column: str
    field: str | None
    changed_at: str


class Fit(TypedDict):
    """What would not fit after a change of a column."""

    rows: int
    would_fail: int
    values: list[FailingValue]


class Row(TypedDict):
    upload_id: int
    row_number: int
    cells: list[str]


class Rows(Page[Row]):
    columns: list[str]


class Matched(TypedDict):
    dataset: str | None
    datasets: list[str]


class DatasetName(TypedDict):
    name: str
    exists: bool
    rows: int | None


class Self(TypedDict):
    self: str


class User(TypedDict):
    name: str
    role: RoleName
    disabled: bool
    has_password: bool
    created_at: str
    last_used_at: str | None
    links: Self
    invitation: NotRequired[str]


class Invitation(TypedDict):
    invitation: str


class Group(TypedDict):
    name: str
    members: list[str]
    links: Self


class Grant(TypedDict):
    user: NotRequired[str]
    group: NotRequired[str]
    role: RoleName


class Access(TypedDict):
    restricted: bool
    grants: list[Grant]


class Token(TypedDict):
    id: int
    name: str
    user: str
    scopes: list[ScopeName]
    dataset: str | None
    created_at: str
    expires_at: str | None
    last_used_at: str | None


class NewToken(Token):
    token: str


class SignedIn(TypedDict):
    name: str
    role: RoleName


class Session(TypedDict):
    id: int
    address: str | None
    agent: str | None
    created_at: str
    last_used_at: str
    is_own: bool


class AuditEntry(TypedDict):
    id: int
    at: str
    actor: str | None
    via: Literal["web", "api", "cli"]
    address: str
    action: str
    object: str
    result: Literal["ok", "refused"]
    detail: str


class InvalidPart(TypedDict):
    path: str
    detail: str


class Problem(TypedDict):
    """Problem details (RFC 9457)."""

    type: str
    status: int
    title: str
    detail: str
    errors: NotRequired[list[InvalidPart]]
