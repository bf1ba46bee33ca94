"""What an upload of kind `repair` does with the failed rows of its parent, as somebody ordered it. Its worker applies
it to the rows that are open then (mender.py). No pandas: the web processes import this module.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from jobs import datasets, uploads
from jobs.database import utc_now
from jobs.datasets import Dataset
from jobs.errors import NothingToImportError, NotRepairableError, RemovedError, StaleRepairError
from jobs.files import StoredFile, display_name
from jobs.import_options import ImportOptions
from jobs.lanes import QUICK_BYTES, Lane
from jobs.modes import Mode
from jobs.repair import open_rows, rules
from jobs.repair.repairs import Repair, Suggestion
from jobs.repair.rules import Rule
from jobs.tables import repair_states, repairs
from jobs.tables import uploads as records
from jobs.uploads import ACTIVE, REPAIR, Upload

#: How a repair reads the file that it made itself.
OPTIONS = ImportOptions(encoding="utf-8", delimiter=",", header_row=1)


@dataclass(frozen=True)
class Wanted:
    """repairs: to apply, one after the other. edited: import the rows that are edited and right instead."""

    repairs: Sequence[Repair] = ()
    edited: bool = False

    def as_json(self) -> dict[str, Any]:
        return {"repairs": [each.to_json() for each in self.repairs], "edited": self.edited}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        return cls([Repair.from_json(each) for each in stored["repairs"]], stored["edited"])

    @property
    def title(self) -> str:
        """For people."""
        return "The edited rows" if self.edited else "; ".join(f"{each.column}: {each.title}" for each in self.repairs)


@dataclass(frozen=True)
class Repairable:
    """An upload whose failed rows can be repaired. sources: field → the column of the file that fills it. rules: those
    of the dataset that are on."""

    upload: Upload
    dataset: Dataset
    sources: Mapping[str, str]
    rules: Sequence[Rule] = ()

    @property
    def header(self) -> Sequence[str]:
        return self.upload.header or []

    @classmethod
    def of(cls, connection: sa.Connection, upload: Upload) -> Self:
        """Raises NotRepairableError, RemovedError."""
        if upload.is_external:
            raise NotRepairableError(
                f"An external script imports upload #{upload.id}, so its failed rows are not here."
            )
        if upload.failed_rows_removed_at is not None:
            raise RemovedError("The failed rows", upload.id, upload.failed_rows_removed_at)
        if upload.is_held or upload.dataset is None or upload.header is None:
            raise NotRepairableError(f"Upload #{upload.id} has no failed rows.")
        if not datasets.exists(connection, upload.dataset):
            raise _without_dataset(upload)
        dataset = datasets.get(connection, upload.dataset)
        sources = datasets.pairs(dataset.schema, upload.header, upload.mapping).sources
        ruled = [rule for rule in rules.of_dataset(connection, dataset.name) if rule.enabled]
        return cls(upload, dataset, sources, ruled)

    def field_of(self, column: str) -> str | None:
        """The field that a name means, which is its own or that of its column; None: there is none."""
        fields = {name: field for field, name in self.sources.items()}
        return column if column in self.sources else fields.get(column)

    def column_of(self, name: str) -> str | None:
        """The column of the file that a name means, which is its own or that of its field; None: there is none."""
        return name if name in self.header else self.sources.get(name)

    def require_open(self) -> None:
        """Raises NotRepairableError."""
        if not self.upload.is_active and not self.upload.rows_open:
            raise NotRepairableError(f"Upload #{self.upload.id} has no open failed rows.")


def order(
    connection: sa.Connection, of: Repairable, wanted: Wanted, *, quick_bytes: int = QUICK_BYTES, **values: Any
) -> Upload:
    """Record an upload of kind `repair`. quick_bytes: of the largest file on the quick lane. values: more of
    `uploads.create`. Raises NotRepairableError, NothingToImportError."""
    of.require_open()
    parent = of.upload
    if wanted.edited:
        _require_edited(connection, parent)
    if not datasets.exists_to_upload(connection, of.dataset.name):
        raise _without_dataset(parent)
    name, dot, extension = parent.filename.rpartition(".")
    file = StoredFile(display_name(f"{name if dot else extension} repaired.csv"), stored_as="", size=0, sha256="")
    upload = uploads.create(
        connection,
        file,
        dataset=parent.dataset,
        options=OPTIONS,
        parent=parent.id,
        kind=REPAIR,
        mapping=parent.mapping,
        mode=None if parent.mode_wanted is Mode.REPLACE else parent.mode_wanted,
        lane=Lane.of(_expected_bytes(parent), quick_bytes),
        **values,
    )
    connection.execute(sa.insert(repairs).values(upload_id=upload.id, wanted=wanted.as_json()))
    return upload


def _require_edited(connection: sa.Connection, parent: Upload) -> None:
    """Raises NothingToImportError unless edited rows are right that no repair will take once a worker begins it."""
    uploads.lock(connection, [parent.id])  # nobody else orders the same meanwhile
    for repair, wanted in under_way(connection, parent.id):
        if wanted.edited and not repair.has_file:
            raise NothingToImportError(parent.id, taken_by=repair.id)
    if not open_rows.progress(connection, parent).right:
        raise NothingToImportError(parent.id)


def _without_dataset(upload: Upload) -> NotRepairableError:
    return NotRepairableError(f"The dataset of upload #{upload.id} was deleted.")


def _expected_bytes(parent: Upload) -> int:
    """Of the file that a repair makes, at most. Of an upload that runs, nobody knows how many rows will fail."""
    share = 1.0 if parent.is_active or not parent.rows_processed else parent.rows_open / parent.rows_processed
    return int(parent.size * share)


def wanted_of(connection: sa.Connection, upload_id: int) -> Wanted:
    return Wanted.from_json(connection.execute(sa.select(repairs.c.wanted).filter_by(upload_id=upload_id)).scalar_one())


def under_way(connection: sa.Connection, parent_id: int) -> list[tuple[Upload, Wanted]]:
    """The repairs of an upload that wait or run, oldest first."""
    columns = records.c
    statement = sa.select(columns.id).where(
        columns.parent == parent_id, columns.kind == REPAIR, columns.status.in_(ACTIVE)
    )
    ids = list(connection.scalars(statement.order_by(columns.id)))
    return [(upload, wanted_of(connection, upload.id)) for upload in uploads.get_many(connection, ids)]


def state_of(connection: sa.Connection, of: Repairable) -> str:
    """Names the state of an upload's open rows, of which suggestions are measured: another one after each change."""
    upload, schema = of.upload, of.dataset.schema.as_json()
    described = hashlib.sha256(json.dumps(schema, sort_keys=True).encode()).hexdigest()[:12]
    is_over = (records.c.parent == upload.id) & (records.c.kind == REPAIR) & records.c.status.not_in(ACTIVE)
    repaired = connection.scalar(sa.select(sa.func.count()).select_from(records).where(is_over))
    version = rules.version_of(connection, of.dataset.name)
    counts = (upload.rows_failed, upload.rows_corrected, upload.rows_failed_again, repaired, version)
    return f"{'.'.join(map(str, counts))}.{open_rows.edits_of(connection, upload.id)}.{described}"


@dataclass(frozen=True)
class Found:
    """Suggestions that were measured. state: of the rows then. at: when."""

    suggestions: Sequence[Suggestion]
    state: str
    at: datetime


def found(connection: sa.Connection, upload_id: int) -> Found | None:
    """The suggestions that were measured last, without those that somebody applied since."""
    row = connection.execute(sa.select(repair_states).where(repair_states.c.upload_id == upload_id)).one_or_none()
    if row is None or row.found is None:
        return None
    return Found([Suggestion.from_json(each) for each in row.found], row.found_for, row.found_at)


def keep_suggestions(connection: sa.Connection, upload_id: int, state: str, suggestions: Sequence[Suggestion]) -> None:
    """Keep what was measured. state: of the rows that were seen."""
    inserts: Any = sqlite if connection.dialect.name == "sqlite" else postgresql
    values = {"found": [each.to_json() for each in suggestions], "found_for": state, "found_at": utc_now()}
    insert = inserts.insert(repair_states).values(upload_id=upload_id, edits=0, **values)
    connection.execute(insert.on_conflict_do_update(index_elements=[repair_states.c.upload_id], set_=values))


def chosen(connection: sa.Connection, upload_id: int, ids: Sequence[str], *, use_up: bool) -> list[Repair]:
    """The repairs of suggestions. use_up: they are no longer suggested. Raises StaleRepairError."""
    if not ids:
        return []
    of_upload = sa.select(repair_states).where(repair_states.c.upload_id == upload_id)
    row = connection.execute(of_upload.with_for_update() if use_up else of_upload).one_or_none()
    known = {each["id"]: each for each in (row.found or [] if row else [])}
    for repair_id in ids:
        if repair_id not in known:
            raise StaleRepairError(repair_id)
    if use_up:
        left = [each for each in known.values() if each["id"] not in ids]
        connection.execute(sa.update(repair_states).where(repair_states.c.upload_id == upload_id).values(found=left))
    return [Suggestion.from_json(known[repair_id]).repair for repair_id in dict.fromkeys(ids)]
