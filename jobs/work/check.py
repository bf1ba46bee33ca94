"""The check of a file: its import without its writes, which tells what the import would do.

Reader, validator and writer are those of the import; the writer writes into a shadow of the table (shadow.py). A check
that is interrupted begins again.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from jobs import datasets
from jobs.database import Database
from jobs.datasets import Dataset
from jobs.excerpt import excerpt
from jobs.modes import Mode
from jobs.pipeline.checker import CheckedChunk, Checker
from jobs.pipeline.chunk import Chunk
from jobs.pipeline.corrector import Corrector, Judged
from jobs.pipeline.long_call import run_with_ticks
from jobs.pipeline.mending.rule_set import RuleSet
from jobs.pipeline.prefetch import prefetch
from jobs.pipeline.shadow import Comparison, Shadow
from jobs.pipeline.validator import Validator
from jobs.rows.spelling import format_value

#: Reasons that are listed, as of an import.
REASONS_LISTED = 500
#: Rows that a check shows as they are and as they would be; and characters of a value.
EXAMPLES, VALUE_LENGTH = 20, 200
#: Values that a reason lists: the first ones.
VALUES = 5


class Check:
    """Counts what an import would do."""

    def __init__(
        self,
        database: Database,
        dataset: Dataset,
        upload_id: int,
        sources: Mapping[str, str],
        *,
        stored: Dataset | None,
        mode: Mode,
        tick: Callable[[], None],
        rules: RuleSet | None = None,
        corrector: Corrector | None = None,
    ) -> None:
        """stored: the dataset as it is; None: it has no table yet. sources: field → the file's column. mode: what
        the rows do with those of the table. tick: called during long work. rules: those of the dataset. corrector: of
        a file of corrections."""
        replaces_all = mode is Mode.REPLACE
        self._mode = mode
        self._removed = 0
        if stored is not None:
            with database.reading() as connection:
                if replaces_all:
                    self._removed = datasets.row_count(connection, dataset)
                if replaces_all or not datasets.has_rows(connection, stored):
                    stored = None
        dataset = dataset.importing(mode)
        self._database = database
        self._dataset = dataset
        self._upload_id = upload_id
        self._tick = tick
        self._corrector = corrector
        self._shadow = Shadow(database.engine.dialect, dataset, upload_id, sources.keys(), stored=stored)
        self._checker = Checker(Validator(dataset.schema, sources), sources, self._shadow, tick=tick, rules=rules)
        self._good = self._failed = self._added = 0
        self._reasons: Counter[tuple[str, str]] = Counter()
        self._values: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)

    def run(self, chunks: Iterable[Chunk], progress: Callable[[Chunk], None]) -> dict[str, Any]:
        """The figures of a review. progress: called after each chunk."""
        with self._database.session() as connection:
            with connection.begin():
                self._shadow.create(connection)
            for checked, judged in self._checked(chunks):
                with connection.begin():
                    written = self._shadow.write(connection, checked.to_write)
                if judged is not None and self._corrector is not None:
                    landed = set(checked.validated.good.index.tolist()) - written.collisions.keys()
                    self._corrector.land(judged, landed, self._upload_id)
                failed = checked.failed_with(written.collisions)
                self._good += len(checked.validated.good) - len(written.collisions)
                self._failed += len(failed)
                self._added += written.added
                self._reasons.update(failed.counts)
                self._see(failed.values)
                progress(checked.source)
            with connection.begin():
                found = run_with_ticks(lambda: self._shadow.compare(connection, examples=EXAMPLES), self._tick)
        return self._figures(found)

    def _checked(self, chunks: Iterable[Chunk]) -> Iterator[tuple[CheckedChunk, Judged | None]]:
        """The chunks, and what their rows correct."""
        if self._corrector is None:
            yield from ((checked, None) for checked in prefetch(map(self._checker, chunks)))
            return
        ruled = self._checker.rules.fields if self._checker.rules else ()
        for chunk in chunks:  # none ahead: what becomes of its rows depends on the chunk before
            with self._database.reading() as connection:
                judged = self._corrector.judge(connection, chunk, ruled)
            checked = self._checker(judged.chunk)
            single = judged.without_repeated(checked.validated.good.index.tolist())
            yield checked if single is judged else self._checker(single.chunk), judged

    def _see(self, values: Mapping[tuple[str, str], Counter[str]]) -> None:
        """Count the first values that break each rule."""
        for key, found in values.items():
            known = self._values[key]
            for value, rows in found.items():
                if value in known or len(known) < VALUES:
                    known[value] += rows

    def _figures(self, found: Comparison | None) -> dict[str, Any]:
        # Of rows that replace none, those that were not added exist already, and stay as they are.
        left_out = self._good - self._added
        ends = found or Comparison(self._good, left_out, left_out, [])
        listed = sorted(self._reasons.items(), key=lambda each: (-each[1], each[0][1], each[0][0]))
        return {
            "mode": self._mode,
            "rows": self._good + self._failed,
            "would_insert": ends.in_all - ends.stored,
            "would_update": ends.stored - ends.alike,
            "unchanged": ends.alike,
            "superseded": self._good - ends.in_all,
            "would_fail": self._failed,
            "would_remove": self._removed,
            "reasons": [
                {"column": column or None, "rule": rule, "rows": rows, "values": self._first(column, rule)}
                for (column, rule), rows in listed[:REASONS_LISTED]
            ],
            "updates": [self._update(before, after) for before, after in ends.examples],
        }

    def _first(self, column: str, rule: str) -> list[dict[str, Any]]:
        found = self._values[column, rule].most_common()
        return [{"value": excerpt(value, VALUE_LENGTH), "rows": rows} for value, rows in found]

    def _update(self, before: list[Any], after: list[Any]) -> dict[str, dict[str, str]]:
        """A row as it is and as it would be: its key, and the fields that change."""
        schema = self._dataset.schema

        def text(place: int, value: Any) -> str:
            return excerpt(format_value(schema, schema.fields[place], value), VALUE_LENGTH)

        key = [place for place, each in enumerate(schema.fields) if each.name in schema.primary_key]
        changed = [place for place, value in enumerate(before) if value != after[place]]
        return {
            "key": {schema.fields[place].name: text(place, after[place]) for place in key},
            "before": {schema.fields[place].name: text(place, before[place]) for place in changed},
            "after": {schema.fields[place].name: text(place, after[place]) for place in changed},
        }
