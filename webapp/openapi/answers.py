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
    phase: Literal["check", "import", "undo"]
    kind: str
    hold: list[dict[str, str]]
    rows_unchanged: int
    undone_by: int | None


class UploadLinks(TypedDict):
    self: str
    events: str
    html: str
    original: NotRequired[str]
    failed_rows: NotRequired[str]
    dataset: NotRequired[str]
    parent: NotRequired[str]


class MadePart(TypedDict):
    """A part of a file, and the upload that was made of it."""

    name: str
    upload: int


class RuledCells(TypedDict):
    """How many cells a rule of the dataset changed."""

    id: int
    cells: int


class Expected(TypedDict):
    """What the sender expects of the import. sums: by column, as they were written."""

    rows: NotRequired[int]
    sums: NotRequired[dict[str, str]]
    sha256: NotRequired[str]


class Balance(TypedDict):
    """what: rows, sum.<column> or sha256. found: in the dataset."""

    what: str
    expected: int | float | str
    found: int | float | str


class Upload(Event):
    id: int
    processor: Literal["worker", "external"]
    mode: Literal["insert", "upsert", "only_new", "replace"] | None
    rows_added: int | None
    rows_removed: int | None
    lane: str | None
    position: int | None
    expected_start: str | None
    size: int | None
    sha256: str | None
    started_at: str | None
    finished_at: str | None
    silent_since: str | None
    deleted_at: str | None
    duplicate_of: int | None
    parent: int | None
    children: list[int]
    part: str | None
    part_of: int | None
    parts: list[MadePart]
    notes: list[str]
    rules: list[RuledCells]
    undoes: list[int]
    original_removed_at: str | None
    failed_rows_removed_at: str | None
    expected: Expected | None
    balance: list[Balance]
    links: UploadLinks


class ReceiptRows(TypedDict):
    """written: those that the digest is made of."""

    processed: int
    success: int
    failed: int
    written: int
    added: int
    removed: int
    unchanged: int


class AppliedRule(TypedDict):
    id: int
    version: int
    cells: int


class Receipt(TypedDict):
    """What was imported, how, and what came of it. mapping: column of the file → field. fields: those that the file
    fills. digest: null if an earlier release began the import."""

    upload: int
    kind: str
    filename: str
    size: int
    sha256: str | None
    dataset: str | None
    mode: str | None
    uploaded_by: str | None
    started_at: str | None
    finished_at: str | None
    options: dict[str, Any]
    mapping: dict[str, str | None]
    fields: list[str]
    rules: list[AppliedRule]
    schema_version: int | None
    rows: ReceiptRows
    sums: dict[str, int | float]
    balance: list[Balance]
    digest: str | None
    version: str


class Digests(TypedDict):
    expected: str | None
    found: str | None


class WrittenRows(TypedDict):
    expected: int | None
    found: int | None


class Verdict(TypedDict):
    """Whether the rows of an upload are as they were imported."""

    upload: int
    result: Literal["equal", "changed", "unknown"]
    detail: str
    digest: Digests
    rows: WrittenRows


class KeptRows(TypedDict):
    """Rows that stay as they are, because of an upload."""

    upload: int
    rows: int


class UndoPreview(TypedDict):
    """What an undo would do, in rows. gone: that are not there any more. repairs: uploads that can be undone too."""

    remove: int
    restore: int
    keep: list[KeptRows]
    gone: int
    repairs: list[int]


class RefusedPart(TypedDict):
    name: str
    detail: str


class MadeParts(TypedDict):
    uploads: list[Upload]
    refused: list[RefusedPart]


class ReadOptions(TypedDict):
    """How a file was read."""

    encoding: str | None
    delimiter: str | None
    header_row: int | None
    sheet: str | None
    sheets: NotRequired[list[str]]


class ReadProblem(TypedDict):
    """Why the file cannot be read so. option: the one that is to blame, if it is known."""

    option: str | None
    detail: str


class ReviewedColumn(TypedDict):
    name: str
    samples: list[str]
    filled: float | None
    field: str | None
    matched_by: Literal["remembered", "name", "alias", "similar", "values"] | None
    score: float | None
    new_field: NotRequired[dict[str, Any]]


class ReviewedField(TypedDict):
    name: str
    type: str
    required: bool
    column: str | None
    is_new: NotRequired[bool]


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
    """What an import would do. The five figures add up to rows. would_remove: rows of the dataset, of a replacement."""

    mode: Literal["insert", "upsert", "only_new", "replace"]
    rows: int
    would_insert: int
    would_update: int
    unchanged: int
    superseded: int
    would_fail: int
    would_remove: int
    reasons: list[CheckReason]
    updates: list[CheckUpdate]


class ReviewedPart(TypedDict):
    """A part of a file: a worksheet, or a file in an archive."""

    name: str
    kind: Literal["sheet", "member"]
    rows: int | None
    size: int | None
    hidden: bool
    columns: list[str]
    problem: str | None
    dataset: str
    datasets: list[str]
    duplicate_of: int | None
    upload: int | None


class Review(TypedDict):
    """mode: what the rows do with those of the dataset. modes: that may be chosen."""

    mode: Literal["insert", "upsert", "only_new", "replace"] | None
    modes: list[str]
    options: ReadOptions
    problem: ReadProblem | None
    columns: list[ReviewedColumn]
    fields: list[ReviewedField]
    primary_key: list[str]
    rows: list[list[str]]
    parts: list[ReviewedPart]
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
    version: int
    edited: bool
    original: dict[str, str]
    edited_by: str | None
    edited_at: str | None


class RepairOfField(TypedDict):
    """What a repair does, as a rule of the dataset would do it. Of a compound, from and to are lists."""

    column: str
    kind: str


class Suggestion(TypedDict):
    """A repair that was tried. rescues: rows that land with it alone. of: open rows of the group that it is for."""

    id: str
    column: str
    kind: str
    title: str
    rule: str
    rescues: int
    of: int
    samples: list[list[str]]
    repair: RepairOfField


class LastEdit(TypedDict):
    """What would be undone."""

    at: str
    by: str | None
    title: str
    rows: int


class Edits(TypedDict):
    """How many failed rows are open, edited, and edited and right."""

    open: int
    edited: int
    right: int
    last: LastEdit | None


class EditedRows(TypedDict):
    """How many rows changed, and how many of them are right now."""

    rows: int
    right: int


class EditPreview(EditedRows):
    """samples: pairs of a value before and after."""

    samples: list[list[str]]


class Undone(TypedDict):
    """rows: that are as before. kept: that somebody edited since, or that landed."""

    title: str
    rows: int
    kept: int


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
    modes: list[str]
    rows: int
    columns: int
    upload_id: int | None
    created_at: str
    changed_at: str | None
    last_upload: LastUpload | None
    links: DatasetLinks
    review: NotRequired[str | None]
    totals: NotRequired[str | None]
    totals_required: NotRequired[bool]
    schema_version: NotRequired[int]
    schema: NotRequired[dict[str, Any]]


class FailingValue(TypedDict):
    value: str
    rows: int


class Remembered(TypedDict):
    """Which field columns of a name fill; null: none."""

    column: str
    field: str | None
    changed_at: str


#: `from` and `to` of a rule: of a compound, an element for each step.
RuleText = str | None | list[str | None]
Rule = TypedDict(
    "Rule",
    {
        "id": int,
        "column": str,
        "kind": str,
        "from": RuleText,
        "to": RuleText,
        "enabled": bool,
        "version": int,
        "position": int,
    },
)


class Fit(TypedDict):
    """What would not fit after a change of a column."""

    rows: int
    would_fail: int
    values: list[FailingValue]


class Row(TypedDict):
    upload_id: int
    row_number: int
    line: int | None
    position: str
    cells: list[str]


class FoundBy(TypedDict):
    upload: int
    line: int | None


class RowVersion(TypedDict):
    """What an upload did to a row. before, after: its cells in the order of the columns; null: it was not there, or
    that is not kept (before_lost, after_lost)."""

    upload: int
    kind: str
    filename: str | None
    line: int | None
    row_number: int | None
    at: str
    by: str | None
    before: list[str] | None
    after: list[str] | None
    before_lost: bool
    after_lost: bool
    replaced_by: int | None
    undone_by: int | None
    found_by: list[FoundBy]
    rules: list[RuledCells]
    deleted: bool


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
