"""Inspection: a worker looks at an upload before its import, and holds it if there is something to ask.

What it sees is a look at the beginning of the file (look.py), and if somebody wanted it, a check of all of it
(check.py). It writes no row of a dataset.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from jobs import datasets, review, uploads, warnings
from jobs.changes import Changes
from jobs.datasets import Dataset
from jobs.events import Ticker
from jobs.import_options import ImportOptions
from jobs.modes import Mode
from jobs.pipeline import reader
from jobs.pipeline.chunk import Chunk
from jobs.pipeline.corrector import Corrector
from jobs.pipeline.mending.rule_set import RuleSet
from jobs.pipeline.prepared_table import PreparedTable
from jobs.process import horse_state
from jobs.schema import TableSchema
from jobs.uploads import Claim, HoldCode, Task, Upload
from jobs.warnings import UploadWarning
from jobs.work.check import Check
from jobs.work.look import LOOK_BYTES, Look

#: Seconds between two notes of how far a check is: each is a transaction of its own.
CHECK_INTERVAL = 0.5


@dataclass(frozen=True)
class Inspection:
    """A look at one upload, under a claim.

    table: its file, prepared. existing: the dataset that receives its rows; None: a new one, which `planned` describes
    if a person chose it, and `inferred` else. stored: the existing one without the fields that the import adds. mode:
    what the rows do with those of the dataset. remembered: what somebody chose once for columns of this dataset.
    assigned: what holds for those of this file. chunks: from the first row on. keep_claim: called during long work.
    rules: those of the dataset. parent: the upload whose failed rows the file corrects.
    """

    changes: Changes
    claim: Claim
    upload: Upload
    table: PreparedTable
    existing: Dataset | None
    mode: Mode
    stored: Dataset | None
    planned: TableSchema | None
    inferred: Callable[[], TableSchema]
    remembered: Mapping[str, str | None]
    assigned: Mapping[str, str | None]
    chunks: Callable[[], Iterator[Chunk]]
    keep_claim: Callable[[], None]
    lease: float
    rules: RuleSet | None
    parent: Upload | None = None

    def hold(self) -> bool:
        """Hold the upload if there is something to ask, or somebody wanted to see it. Returns whether it is held."""
        upload, table, existing = self.upload, self.table, self.existing
        beginning = reader.chunks(
            table, start=table.first_byte, row=1, chunk_bytes=LOOK_BYTES, tick=horse_state.state.progress
        )
        schema = existing.schema if existing else None
        seen = Look(upload, table, schema, self.remembered, upload.mapping, next(beginning, None), self.rules)
        hold = [*(each for each in upload.hold if each["code"] == HoldCode.DUPLICATE), *seen.reasons()]
        if upload.task is not Task.IMPORT and not hold:
            hold = [uploads.hold_of(HoldCode.REVIEW, "Look at how the file was read before it is imported.")]
        if not hold:
            return False
        is_check, planned = upload.task is Task.CHECK, self.planned
        if is_check and existing is None and planned is None:
            planned = self.inferred()
        checked = self._checked(seen, planned) if is_check else None
        warnings = [*table.warnings, *(about_columns(existing, table, self.assigned) if existing else [])]
        is_new = existing is None

        def held(connection: sa.Connection) -> Upload:
            found = uploads.hold_for_review(
                connection,
                self.claim,
                hold,
                header=table.names,
                mapping=upload.mapping if is_new else seen.mapping,
                notes=table.notes,
                warnings=warnings,
                corrects=self.parent,
                mode=self.mode,
            )
            review.record(connection, upload.id, seen.reading(planned), checked)
            return found

        self.changes.make(held)
        return True

    def _checked(self, seen: Look, planned: TableSchema | None) -> dict[str, Any] | None:
        """What the import would do; None if a field that needs a column has none. planned: of a new dataset."""
        if self.existing is None and planned is not None:
            wanted = self.upload.dataset_wanted or datasets.name_from_filename(self.upload.filename)
            dataset = datasets.planned(wanted, planned)
            sources = datasets.match(planned, self.table.names, self.assigned).sources
        elif self.existing is None or review.missing_fields(self.existing.schema, seen.mapping):
            return None
        else:
            dataset = self.existing
            sources = {field: name for name, field in seen.mapping.items() if field is not None}
        progress = Ticker(self._tell_of_check, interval=CHECK_INTERVAL)

        def passed(chunk: Chunk) -> None:
            self.keep_claim()
            progress.tick(chunk.next_byte * 100 // max(1, self.table.bytes_total))

        check = Check(
            self.changes.database,
            dataset,
            self.upload.id,
            sources,
            stored=self.stored,
            mode=self.mode,
            tick=self.keep_claim,
            rules=self.rules,
            corrector=Corrector(self.parent, self.table.names) if self.parent else None,
        )
        return check.run(self.chunks(), passed)

    def _tell_of_check(self, percent: int) -> None:
        self.changes.progress(
            lambda connection: uploads.report_check(connection, self.claim, lease=self.lease, percent=percent)
        )


#: What errors say of each option that a person can choose.
_SAID_OF = {
    "sheet": ("worksheet",),
    "header_row": ("header", "empty. Choose another"),
    "encoding": ("encoding", "decode", "characters"),
    "delimiter": ("delimiter", "column"),
}


def option_to_blame(options: ImportOptions, error: str) -> str | None:
    """Which of the options that somebody chose an error is about; None if that is not known."""
    chosen = [name for name in _SAID_OF if getattr(options, name) is not None]
    named = [name for name in chosen if any(words in error for words in _SAID_OF[name])]
    return next(iter(named), chosen[0] if len(chosen) == 1 else None)


def about_columns(dataset: Dataset, table: PreparedTable, assigned: Mapping[str, str | None]) -> list[UploadWarning]:
    """Warnings about columns that no field takes, and fields that no column fills."""
    found = datasets.pairs(dataset.schema, table.names, assigned)
    empty: Sequence[str] = [name for name in dataset.schema.names if name not in found.sources]
    return [
        *([warnings.columns_ignored(found.ignored)] if found.ignored else []),
        *([warnings.fields_empty(empty)] if empty else []),
    ]
