"""The job that RQ calls for a question of a request (questions.py): what needs the validator."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from redis import Redis

from jobs import questions
from jobs.database import Database
from jobs.failed_rows import Reason
from jobs.pipeline.bench import Bench, Change, Substitution
from jobs.process import horse_state
from jobs.repair.open_rows import OpenRow
from jobs.repair.repairs import Repair
from jobs.repair.rules import Rule
from jobs.schema import TableSchema
from jobs.settings import Settings
from jobs.undo import previews as undo_previews
from jobs.work import mender, verification
from jobs.work.mender import Mender

T = TypeVar("T")

log = logging.getLogger(__name__)

#: Pairs of values that a preview shows.
SAMPLES = 5


def run(kind: str, arguments: Mapping[str, Any], reply_to: str, once: str | None = None) -> None:
    """Answer a question. RQ calls this function by name in a child process. once: see `Questions.send`."""
    settings = Settings.load()
    redis: Any = Redis.from_url(settings.redis)
    try:
        content = {"answer": _KINDS[kind](settings, **arguments)}
    except Exception as error:
        log.exception("The question “%s” could not be answered.", kind)
        content = {"defect": f"{type(error).__name__}: {error}"}
    questions.answer(redis, reply_to, content, once)
    redis.close()


def check(
    _settings: Settings,
    *,
    schema: Mapping[str, Any],
    sources: Mapping[str, str],
    header: list[str],
    rules: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
) -> list[list[Reason]]:
    """What is wrong with edited rows. rows: cells, reasons and edits of each."""
    bench = Bench(TableSchema.stored(schema), sources, header, list(map(Rule.from_json, rules)))
    pairs = [
        (OpenRow(place, None, each["cells"], [Reason(*reason) for reason in each["reasons"]]), each["edits"])
        for place, each in enumerate(rows)
    ]
    return bench.judge(pairs)


def edit(
    settings: Settings, *, upload_id: int, repairs: Sequence[Mapping[str, Any]], title: str, by: str | None
) -> dict[str, int]:
    """Apply repairs to the failed rows of an upload, as edits."""
    wanted = list(map(_change, repairs))
    return _with_database(settings, lambda database: _mender(database, upload_id).apply(wanted, title=title, by=by))


def preview(settings: Settings, *, upload_id: int, repairs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What repairs would change."""
    wanted = list(map(_change, repairs))
    return _with_database(settings, lambda database: _mender(database, upload_id).preview(wanted, samples=SAMPLES))


def measure(settings: Settings, *, upload_id: int) -> None:
    """Try suggestions on the failed rows of an upload."""
    _with_database(settings, lambda database: mender.measure(database, upload_id, tick=horse_state.state.progress))


def verify(settings: Settings, *, upload_id: int) -> dict[str, Any]:
    """Whether the rows of an upload are as they were imported."""

    def work(database: Database) -> dict[str, Any]:
        with database.reading() as connection:
            return verification.told(connection, upload_id, tick=horse_state.state.progress)

    return _with_database(settings, work)


def undo(settings: Settings, *, upload_id: int, repairs: bool) -> None:
    """Count what undoing an upload would do."""
    tick = horse_state.state.progress
    _with_database(settings, lambda database: undo_previews.find(database, upload_id, repairs=repairs, tick=tick))


def _change(asked: Mapping[str, Any]) -> Change:
    return Substitution(**asked) if "find" in asked else Repair.from_json(asked)


def _mender(database: Database, upload_id: int) -> Mender:
    return Mender(database, upload_id, tick=horse_state.state.progress)


def _with_database(settings: Settings, work: Callable[[Database], T]) -> T:
    database = Database(settings.database, bulk=True, idle_timeout=settings.idle_timeout)
    try:
        with database.right_of_way():
            return work(database)
    finally:
        database.close()


_KINDS: Mapping[str, Callable[..., Any]] = {
    "check": check, "edit": edit, "preview": preview, "measure": measure, "verify": verify, "undo": undo
}  # fmt: skip
