"""Checker: chunk to rows and failed rows, both packed for the database."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import pandas as pd

from jobs.failed_rows import FailedRow
from jobs.pipeline import conflicts
from jobs.pipeline.chunk import Chunk
from jobs.pipeline.conflicts import Collisions
from jobs.pipeline.failed_rows_writer import PackedFailedRows
from jobs.pipeline.mending.rule_set import RuleSet
from jobs.pipeline.tally import Tallier, Tally
from jobs.pipeline.validator import Validated, Validator
from jobs.pipeline.writer import PackedRows
from jobs.traces.row_lines import LineRun


class Packer(Protocol):
    """Converts rows for the database."""

    def pack(self, rows: pd.DataFrame) -> PackedRows:
        """rows: one typed column for each field, index = row number."""
        ...


class Checker:
    """Validates chunks and packs them for the database."""

    def __init__(
        self,
        validator: Validator,
        sources: Mapping[str, str],
        rows: Packer,
        *,
        tick: Callable[[], None],
        rules: RuleSet | None = None,
        tallier: Tallier | None = None,
    ) -> None:
        """sources: field → the file's column. rows: who packs them. tick: called between two steps. rules: those of the
        dataset; whoever replaces them changes how the next chunks are checked, not the one that is at it. tallier: of
        the rows that are to be written, if somebody wants to know. Whoever learns that few of them are, lets it be:
        `tallies`."""
        self._validator = validator
        self._sources = sources
        self._tick = tick
        self._rows = rows
        self.rules = rules
        self._tallier = tallier
        self.tallies = tallier is not None

    def __call__(self, chunk: Chunk) -> "CheckedChunk":
        rules = self.rules
        validated = self._validator.validate(chunk.rows, rules)
        self._tick()
        failed = PackedFailedRows.pack(chunk.located(_in_order(chunk.failed, validated.failed)))
        self._tick()
        to_write = self._rows.pack(validated.good)
        tally = self._tallier.of(to_write.packed.batch) if self._tallier and self.tallies else None
        version = rules.version if rules else 0
        return CheckedChunk(chunk, self._sources, validated, to_write, failed, chunk.line_run(), version, tally)


@dataclass(frozen=True)
class CheckedChunk:
    """A chunk with its validated rows.

    sources: field → the file's column. to_write, failed: packed for the database. lines: where all rows begin.
    rules_version: of the rules that were applied (RuleSet.version). tally: of the rows that are to be written, if made.
    """

    source: Chunk
    sources: Mapping[str, str]
    validated: Validated
    to_write: PackedRows
    failed: PackedFailedRows
    lines: LineRun | None
    rules_version: int = 0
    tally: Tally | None = None

    def failed_with(self, collisions: Collisions) -> PackedFailedRows:
        """All failed rows, including those whose keys or unique values other rows have."""
        if not collisions:
            return self.failed
        cells = self.source.cells(list(collisions))
        place_of = {name: place for place, name in enumerate(self.source.rows.columns)}
        places = {field: place_of[column] for field, column in self.sources.items()}
        collided = [
            FailedRow(number, row, [conflicts.quoted(reason, row, places) for reason in reasons])
            for (number, reasons), row in zip(collisions.items(), cells, strict=True)
        ]
        failed = _in_order(self.source.failed, self.validated.failed, collided)
        return PackedFailedRows.pack(self.source.located(failed))


def _in_order(*failed: list[FailedRow]) -> list[FailedRow]:
    return sorted(itertools.chain(*failed), key=lambda row: row.row_number)
