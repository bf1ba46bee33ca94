"""What an upload of kind `undo` undoes, as somebody ordered it, and whether that is possible. Its worker does it
(undoing.py). No pandas: the web processes import this module.

An upload that was undone is named by `undone_by` of its record. An undo can be undone itself: then what it had undone
is in effect again. An undo that was stopped half-way is neither: the rows that it changed stay so, and a person either
continues it or undoes it.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from jobs import datasets, deleted_names, lineage, uploads
from jobs.errors import RetryRefusedError, UndoRefusedError
from jobs.files import StoredFile, display_name
from jobs.lanes import Lane
from jobs.modes import Mode
from jobs.tables import datasets as dataset_records
from jobs.tables import undo_previews
from jobs.tables import uploads as records
from jobs.traces import before_images
from jobs.traces.before_images import Lost
from jobs.uploads import ACTIVE, UNDO, Status, Upload

#: Rows of uploads whose undo the quick lane does.
QUICK_ROWS = 20_000
#: Uploads that a refusal names.
_NAMED = 5
_WHY_LOST = {
    Lost.OFF: "this server keeps no rows that uploads replace",
    Lost.OLD: "the days are over for which they are kept",
    Lost.CHANGED: "the columns or the key of the dataset were changed since",
}


@dataclass(frozen=True)
class Effect:
    """What the records say once an undo is completed. dead: the uploads that are undone then, for a while or by this.
    newly_dead: those of them that this undoes, directly or because it brings an undo back. revived: uploads that are in
    effect again. undone_by: of each of both, what its record says."""

    dead: frozenset[int]
    newly_dead: frozenset[int]
    revived: frozenset[int]
    undone_by: Mapping[int, int | None]

    @classmethod
    def of(cls, connection: sa.Connection, dataset: str, undoes: Sequence[int], undo_id: int) -> Self:
        """undo_id: of the undo, which need not exist yet."""
        undone_by: dict[int, int | None] = {}

        def undo(upload_id: int, by: int) -> None:
            undone_by[upload_id] = by
            for each in uploads.get(connection, upload_id).undoes:
                revive(each)

        def revive(upload_id: int) -> None:
            undone_by[upload_id] = None
            for each in uploads.get(connection, upload_id).undoes:
                undo(each, upload_id)

        for each in undoes:
            undo(each, undo_id)
        newly_dead = frozenset(each for each, by in undone_by.items() if by is not None)
        revived = frozenset(undone_by) - newly_dead
        dead = (uploads.undone(connection, dataset) - revived) | newly_dead
        return cls(frozenset(dead), newly_dead, revived, undone_by)

    def record(self, connection: sa.Connection) -> list[Upload]:
        """Mark the uploads whose state changes, and note what becomes of the failed rows that they corrected. Returns
        all uploads that change."""
        concerned = uploads.get_many(connection, self.undone_by)
        eldest = {lineage.eldest(connection, each) for each in concerned if each.parent is not None}
        present = uploads.lock(connection, eldest.union(self.undone_by))
        marked = [
            uploads.mark_undone(connection, each, self.undone_by[each])
            for each in sorted(present.keys() & self.undone_by.keys())
            if present[each].undone_by != self.undone_by[each]
        ]
        return lineage.note_undone(connection, marked)


def order(connection: sa.Connection, upload: Upload, *, repairs: bool = False, **values: Any) -> Upload:
    """Record an undo of an upload. repairs: and of the uploads that corrected its failed rows. values: more of
    `uploads.create`. Raises UndoRefusedError."""
    chosen = undoes_of(connection, upload, repairs=repairs)
    present = uploads.lock(connection, chosen)
    upload = present[upload.id]
    if upload.dataset is not None:
        datasets.exists_to_upload(connection, upload.dataset)
    require_all(connection, upload, repairs=repairs)
    values.pop("quick_bytes", None)
    rows = sum(present[each].rows_success for each in present)
    return uploads.create(
        connection,
        StoredFile(title_of(connection, upload), stored_as="", size=0, sha256=""),
        dataset=upload.dataset,
        parent=upload.id,
        kind=UNDO,
        undoes=chosen,
        lane=Lane.QUICK if rows <= QUICK_ROWS and not upload.replaces_all else Lane.BULK,
        **values,
    )


def title_of(connection: sa.Connection, upload: Upload) -> str:
    """What the undo of an upload is called in lists, in place of the name of a file."""
    first = upload
    while first.is_undo and first.parent is not None:
        first = uploads.get(connection, first.parent)
    return display_name(f"Undo of #{upload.id}, {first.filename}")


def require_all(connection: sa.Connection, upload: Upload, *, repairs: bool) -> None:
    """As `require_possible`, for an upload and the uploads that corrected its failed rows, if they go with it."""
    require_possible(connection, upload)
    if repairs:
        for each in repairs_of(connection, upload):
            require_possible(connection, each)
        _require_rest(connection, upload)


def require_possible(connection: sa.Connection, upload: Upload) -> None:
    """Raises UndoRefusedError, which says why an upload cannot be undone."""
    name = f"#{upload.id}"
    if upload.undone_by is not None:
        raise UndoRefusedError(f"Upload {name} was undone already, by #{upload.undone_by}.")
    if (earlier := open_undo(connection, upload)) is not None:
        if earlier.is_active:
            raise UndoRefusedError(_being_undone(upload, earlier))
        raise UndoRefusedError(f"{_stopped(upload, earlier)} Continue it, or undo #{earlier.id}.")
    if upload.is_external:
        raise UndoRefusedError(f"An external script imported upload {name}, so its rows are not known here.")
    if upload.is_active:
        raise UndoRefusedError(f"Upload {name} has not ended yet. Wait for its end, or cancel it first.")
    if upload.holds_totals:
        raise UndoRefusedError(f"Upload {name} does not balance and waits for a person. Accept it, or cancel it first.")
    if upload.is_held:
        raise UndoRefusedError(f"Upload {name} waits for a review: nothing of it was imported.")
    if upload.is_divided:
        numbers = ", ".join(f"#{each['upload']}" for each in upload.parts[:_NAMED])
        more = " and more" if len(upload.parts) > _NAMED else ""
        raise UndoRefusedError(f"The parts of upload {name} are uploads of their own. Undo these: {numbers}{more}.")
    if (former := deleted_names.former(upload.dataset)) is not None:
        raise UndoRefusedError(f"The dataset “{former}”, into which upload {name} went, was deleted.")
    is_completed_undo = upload.is_undo and upload.status is Status.COMPLETED
    if upload.dataset is None or not (upload.rows_success or is_completed_undo):
        raise UndoRefusedError(f"No row of upload {name} was imported, so there is nothing to undo.")
    effect = Effect.of(connection, upload.dataset, [upload.id], 0)
    for each in sorted(effect.newly_dead):
        found = uploads.get(connection, each)
        if found.undone_by is not None:  # an undo that comes into effect again would undo it twice
            raise UndoRefusedError(
                f"Upload #{each} was undone since, by #{found.undone_by}. Undo #{found.undone_by} first."
            )
        _require_images(connection, found)
    for undo in uploads.get_many(connection, sorted(effect.revived)):
        if undo.is_undo and undo.status is not Status.COMPLETED:  # what it left was neither the one nor the other
            raise UndoRefusedError(
                f"Undo #{undo.id}, which would be in effect again, was stopped half-way. Undo #{undo.undoes[0]}"
                " instead."
            )


def require_retry(connection: sa.Connection, upload: Upload) -> None:
    """Whether an upload may begin or go on after it failed or was cancelled. Raises RetryRefusedError."""
    if upload.undone_by is not None:
        raise RetryRefusedError(
            f"Upload #{upload.id} was undone, by #{upload.undone_by}. Undo #{upload.undone_by} first."
        )
    if (undo := open_undo(connection, upload)) is not None:
        if undo.is_active:
            raise RetryRefusedError(_being_undone(upload, undo))
        raise RetryRefusedError(f"{_stopped(upload, undo)} Undo #{undo.id} first.")
    if not upload.is_undo:
        return
    present = uploads.lock(connection, upload.undoes)
    effect = Effect.of(connection, upload.dataset or "", upload.undoes, upload.id)
    for each in (*present.values(), *uploads.get_many(connection, sorted(effect.newly_dead - present.keys()))):
        if each.undone_by is not None:
            raise RetryRefusedError(f"Upload #{each.id} was undone already, by #{each.undone_by}.")
        if each.is_active:
            raise RetryRefusedError(f"Upload #{each.id} has not ended yet. Wait for its end, or cancel it first.")


def is_overtaken(connection: sa.Connection, undo: Upload) -> bool:
    """Whether something that an undo was to undo was undone otherwise."""
    return any(each.undone_by not in (None, undo.id) for each in uploads.get_many(connection, undo.undoes))


def _being_undone(upload: Upload, undo: Upload) -> str:
    """undo: of the upload, or of one that its own undo concerns."""
    named = upload.id if upload.id in undo.undoes else undo.undoes[0]
    return f"Upload #{named} is being undone, by #{undo.id}."


def _stopped(upload: Upload, undo: Upload) -> str:
    rows = "1 row" if undo.rows_success == 1 else f"{undo.rows_success:,} rows"
    whose = "Its undo" if upload.id in undo.undoes else f"The undo of #{undo.undoes[0]}"
    return f"{whose}, #{undo.id}, was stopped after {rows}."


def open_undo(connection: sa.Connection, upload: Upload) -> Upload | None:
    """Another undo that waits, runs, or was stopped after it had changed rows, and concerns the upload, or another one
    that undoing the upload concerns; None if there is none."""
    columns = records.c
    of_dataset = (columns.kind == UNDO) & (columns.dataset == upload.dataset) & (columns.id != upload.id)
    is_stopped = columns.status.in_([Status.FAILED, Status.CANCELLED]) & (columns.rows_success > 0)
    is_open = columns.status.in_(ACTIVE) | (is_stopped & columns.undone_by.is_(None))
    ids = connection.scalars(sa.select(columns.id).where(of_dataset, is_open).order_by(columns.id.desc()))
    opened = uploads.get_many(connection, list(ids))[::-1]
    concerned = _concerned(connection, [upload.id]) if opened else set()
    return next((each for each in opened if concerned & _concerned(connection, each.undoes)), None)


def under_way(connection: sa.Connection) -> dict[int, int]:
    """Which uploads the undos concern that wait or run: the id of each → that of the newest of them."""
    columns = records.c
    active = sa.select(columns.id).where(columns.kind == UNDO, columns.status.in_(ACTIVE)).order_by(columns.id)
    undos = uploads.get_many(connection, list(connection.scalars(active)))
    return {each: undo.id for undo in undos for each in _concerned(connection, undo.undoes)}


def _concerned(connection: sa.Connection, upload_ids: Sequence[int]) -> set[int]:
    """Some uploads, and those that become undone or are in effect again when these are undone."""
    found, left = set[int](), list(upload_ids)
    while left:
        found.update(left)
        left = [each for upload in uploads.get_many(connection, left) for each in upload.undoes if each not in found]
    return found


def repairs_of(connection: sa.Connection, upload: Upload) -> list[Upload]:
    """The uploads that brought failed rows of an upload into the dataset, and of these, and are in effect."""
    return [each for each in _corrections(connection, upload) if each.rows_success and each.undone_by is None]


def _corrections(connection: sa.Connection, upload: Upload) -> list[Upload]:
    generation, found = [] if upload.is_undo else [upload.id], list[int]()
    while generation:
        generation = [each for ids in lineage.children(connection, generation).values() for each in ids]
        found += generation
    return uploads.get_many(connection, found)


def _require_rest(connection: sa.Connection, upload: Upload) -> None:
    """Raises UndoRefusedError while failed rows of an upload are being corrected."""
    running = [each for each in _corrections(connection, upload) if each.is_active or each.is_held]
    if running:
        raise UndoRefusedError(f"#{running[0].id} corrects rows of upload #{upload.id} and has not ended yet.")


def _require_images(connection: sa.Connection, upload: Upload) -> None:
    """Whether the rows that an upload replaced are known. Raises UndoRefusedError."""
    kept = before_images.of(connection, upload.id)
    if kept is not None and kept.lost is not None and kept.replaced:
        what = "removed" if upload.is_undo else "replaced"
        why = _WHY_LOST[kept.lost]
        raise UndoRefusedError(f"Upload #{upload.id} {what} rows that are not kept: {why}. So it cannot be undone.")
    if kept is None and upload.rows_unchanged is None and not _inserted_alone(connection, upload):
        raise UndoRefusedError(
            f"Upload #{upload.id} may have replaced rows, and the release that imported it kept none of them. So it"
            " cannot be undone."
        )


def _inserted_alone(connection: sa.Connection, upload: Upload) -> bool:
    if upload.is_undo or upload.mode in (Mode.INSERT, Mode.ONLY_NEW):
        return True
    if upload.mode is Mode.UPSERT and upload.rows_added == upload.rows_success:
        return True
    return upload.mode is not Mode.REPLACE and not datasets.get(connection, upload.dataset or "").schema.primary_key


@dataclass(frozen=True)
class Preview:
    """What an undo would do, in rows. remove: that would be gone. restore: that would get earlier values, or come back.
    keep: that would stay as they are: a later upload → how many. gone: that are no longer there. repairs: uploads
    that corrected failed rows, which an undo can take along."""

    remove: int
    restore: int
    keep: Mapping[int, int]
    gone: int
    repairs: Sequence[int] = ()

    @property
    def changes(self) -> int:
        return self.remove + self.restore

    def as_json(self) -> dict[str, Any]:
        kept = [{"upload": each, "rows": rows} for each, rows in sorted(self.keep.items())]
        return {
            "remove": self.remove, "restore": self.restore, "keep": kept, "gone": self.gone,
            "repairs": list(self.repairs),
        }  # fmt: skip

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        keep = {each["upload"]: each["rows"] for each in stored["keep"]}
        return cls(stored["remove"], stored["restore"], keep, stored["gone"], tuple(stored["repairs"]))


def undoes_of(connection: sa.Connection, upload: Upload, *, repairs: bool) -> list[int]:
    """What an undo of an upload undoes. repairs: also the uploads that corrected its failed rows."""
    return [upload.id, *(each.id for each in repairs_of(connection, upload) if repairs)]


def state_of(connection: sa.Connection, upload: Upload) -> str:
    """Names the state of a dataset as far as the undo of one of its uploads depends on it."""
    columns = records.c
    of_dataset = columns.dataset == upload.dataset
    changed = connection.execute(
        sa.select(sa.func.max(columns.updated_at), sa.func.count()).where(of_dataset, columns.id >= upload.id)
    ).one()
    of_rows = sa.select(dataset_records.c.changed_at, dataset_records.c.rows, dataset_records.c.schema)
    found = connection.execute(of_rows.where(dataset_records.c.name == upload.dataset)).one_or_none()
    described = json.dumps([list(map(str, changed)), list(map(str, found or ()))])
    return hashlib.sha256(described.encode()).hexdigest()[:16]


def known(connection: sa.Connection, upload: Upload, *, repairs: bool) -> Preview | None:
    """What was counted for the present state of the dataset; None if nothing was."""
    of_upload = sa.select(undo_previews).where(undo_previews.c.upload_id == upload.id)
    row = connection.execute(of_upload).one_or_none()
    if row is None or row.state != state_of(connection, upload):
        return None
    stored = row.found.get(_place(repairs))
    return stored and Preview.from_json(stored)


def keep(connection: sa.Connection, upload: Upload, state: str, found: Preview, *, repairs: bool) -> None:
    """Keep what was counted for a state of the dataset."""
    of_upload = sa.select(undo_previews).where(undo_previews.c.upload_id == upload.id)
    row = connection.execute(of_upload.with_for_update()).one_or_none()
    others: Mapping[str, Any] = row.found if row is not None and row.state == state else {}
    values = {"state": state, "found": {**others, _place(repairs): found.as_json()}}
    inserts: Any = sqlite if connection.dialect.name == "sqlite" else postgresql
    insert = inserts.insert(undo_previews).values(upload_id=upload.id, **values)
    connection.execute(insert.on_conflict_do_update(index_elements=[undo_previews.c.upload_id], set_=values))


def _place(repairs: bool) -> str:
    return "with repairs" if repairs else "alone"
