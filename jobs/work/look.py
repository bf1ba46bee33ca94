"""The look at a file before its import: what a person should know of it, from its beginning.

It writes nothing: the attempt (attempt.py) holds the upload if there is something to ask.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs import datasets, review
from jobs.excerpt import excerpt
from jobs.pipeline import matching
from jobs.pipeline.accepting import fields_of
from jobs.pipeline.chunk import Chunk
from jobs.pipeline.matching import Column, Match
from jobs.pipeline.mending.rule_set import RuleSet
from jobs.pipeline.prepared_table import PreparedTable
from jobs.pipeline.profiler import Profile
from jobs.pipeline.validator import Validator
from jobs.schema import TableSchema
from jobs.uploads import Hold, HoldCode, Upload, hold_of
from jobs.warnings import UploadWarning

#: Bytes of the beginning that is looked at.
LOOK_BYTES = 1 << 18
#: The share of its rows from which there is something to ask if they fail.
MANY = 0.2
#: Rows that a review shows, characters of a cell, and of all of them: a page has at most 1 MB.
ROWS, CELL_LENGTH, ROWS_LENGTH = 20, 200, 300_000
#: Samples of a column that a review shows, and characters of each.
SAMPLES, SAMPLE_LENGTH = 5, 60
#: Names that a reason lists.
NAMED = 5


@dataclass(frozen=True)
class Look:
    """What the beginning of a file tells.

    schema: of the existing dataset; None: the file makes a new one. remembered: what somebody chose once for such
    columns. chosen: for all columns of this file; None: nobody did yet. chunk: the beginning; None: there are no rows.
    rules: those of the dataset.
    """

    upload: Upload
    table: PreparedTable
    schema: TableSchema | None
    remembered: Mapping[str, str | None]
    chosen: Mapping[str, str | None] | None
    chunk: Chunk | None
    rules: RuleSet | None = None

    def reasons(self) -> list[Hold]:
        """What there is to ask."""
        found = [self._columns(), self._failing(), self._sheet(), self._header()]
        return [reason for reason in found if reason is not None]

    def _sheet(self) -> Hold | None:
        """Worksheets with data that would not be imported."""
        found = self._warning("sheets_ignored")
        if found is None:
            return None
        others = [str(each["name"]) for each in found["sheets"]]
        more = found.get("more", 0)
        which = f"{_listed(others)} {'has' if len(others) == 1 else 'have'} data too"
        if len(others) + more > NAMED:
            which = f"{len(others) + more:,} other worksheets have data too: {_listed(others, more)}"
        read = excerpt(str(self.table.options.get("sheet", "")), SAMPLE_LENGTH)
        return hold_of(HoldCode.SHEET, f"Only the worksheet “{read}” would be imported. {which}.")

    def _header(self) -> Hold | None:
        """Whether the first row is the header is a guess."""
        if self.upload.options.header_row is not None:
            return None
        if self._warning("no_header") is not None:
            told = "The file seems to have no header, so its first row would be imported as data. If it is the header,"
            return hold_of(HoldCode.HEADER, f"{told} enter its line number under “Header row”.")
        if self._warning("header_guessed") is not None:
            told = f"The first row ({_listed(self.table.names)}) was taken as the header, but it could as well be data."
            return hold_of(HoldCode.HEADER, f"{told} If it is, choose “First row is data”.")
        return None

    def _warning(self, code: str) -> UploadWarning | None:
        return next((each for each in self.table.warnings if each["code"] == code), None)

    def _columns(self) -> Hold | None:
        """A field that needs a column has none, or one that is left over may be another that is left over."""
        if self.schema is None:
            return None
        if self.chosen is not None:
            missing = review.missing_fields(self.schema, self.chosen)
            return hold_of(HoldCode.COLUMNS, f"No column fills {_listed(missing)}.") if missing else None
        missing = review.missing_fields(self.schema, self._certain)
        alike = [each for each in self.matches if each.field is not None and each.column not in self._certain_columns]
        parts = []
        if missing:
            parts.append(f"No column is certain to be {_listed(missing)}, which every row needs.")
        left = [name for name in self.table.names if name not in self._certain_columns]
        resembling = matching.resembling(self.matches, self._named, self._fields) if left else []
        pairs = [(each.column, each.field or "") for each in alike] + [(name, field) for name, field, _ in resembling]
        if pairs:
            may_be = [f"“{excerpt(name, SAMPLE_LENGTH)}” may be “{field}”" for name, field in pairs[:NAMED]]
            more = f" and {len(pairs) - NAMED:,} more" if len(pairs) > NAMED else ""
            parts.append(f"{', '.join(may_be)}{more}.")
        return hold_of(HoldCode.COLUMNS, " ".join(parts)) if parts else None

    def _failing(self) -> Hold | None:
        """Many of the first rows would fail."""
        if self.schema is None or self.chunk is None or not self.chunk.count:
            return None
        sources = {field: name for name, field in self.mapping.items() if field is not None}
        if review.missing_fields(self.schema, self.mapping):
            return None  # then every row would fail, which is said already
        validated = Validator(self.schema, sources).validate(self.chunk.rows, self.rules)
        failed = len(self.chunk.failed) + len(validated.failed)
        if failed <= MANY * self.chunk.count:
            return None
        which = f"{failed:,} of the first {self.chunk.count:,} rows" if self.chunk.count > 1 else "The first row"
        return hold_of(HoldCode.FAILING, f"{which} would fail.")

    @cached_property
    def _certain(self) -> dict[str, str | None]:
        """Column → field, by its name or by what somebody chose before."""
        assert self.schema is not None
        found = datasets.pairs(self.schema, self.table.names, self.remembered)
        fields = {name: field for field, name in found.sources.items()}
        return {name: fields.get(name) for name in self.table.names}

    @cached_property
    def _certain_columns(self) -> set[str]:
        return {name for name, field in self._certain.items() if field is not None} | {
            name for name, field in self.remembered.items() if field is None
        }

    @cached_property
    def _named(self) -> list[Column]:
        return [Column(name, tuple(self._samples(name, matching.MAX_SAMPLES, None))) for name in self.table.names]

    @cached_property
    def _fields(self) -> list[matching.FieldOf]:
        assert self.schema is not None
        return fields_of(self.schema, self._named)

    @cached_property
    def matches(self) -> list[Match]:
        """A match for each column of the file. Names decide first, as in an import that nobody looks at."""
        if self.schema is None:
            return [self._of_new(name) for name in self.table.names]
        certain = {name: field for name, field in self._certain.items() if field is not None}
        if len(certain) == len(self.table.names) or len(certain) == len(self.schema.names):
            found = [Match(name, certain.get(name), "name" if name in certain else None) for name in self.table.names]
        else:
            ignored = {name: None for name, field in self.remembered.items() if field is None}
            found = matching.match(self._named, self._fields, {**ignored, **certain})
        return [self._said(each) for each in found]

    def _of_new(self, column: str) -> Match:
        """The match for a column of a file that makes a dataset: a field of the same name, unless somebody chose."""
        field = column if self.upload.mapping is None else self.upload.mapping.get(column)
        if field == column:
            return Match(column, field, "name", 1.0)
        return Match(column, field, "remembered", None if field is None else 1.0)

    def _said(self, match: Match) -> Match:
        """The match, with how it came about."""
        if match.column in self.remembered and self.remembered[match.column] == match.field:
            return Match(match.column, match.field, "remembered", None if match.field is None else 1.0)
        if match.column not in self._certain_columns or self.schema is None or match.field is None:
            return match
        is_name = datasets.normalized(match.column) == datasets.normalized(match.field)
        return Match(match.column, match.field, "name" if is_name else "alias", 1.0)

    @property
    def mapping(self) -> dict[str, str | None]:
        """Column → the field that it fills."""
        return dict(self.chosen or {each.column: each.field for each in self.matches})

    def reading(self, planned: TableSchema | None = None) -> dict[str, Any]:
        """What a review shows of the file. planned: of the new dataset; None: as the beginning of the file lets
        expect it."""
        new = (planned or self._inferred) if self.schema is None else None
        by_column = {each.column: each for each in self.matches}
        options = {**dict.fromkeys(("encoding", "delimiter", "header_row", "sheet")), **self.table.options}
        found = options.pop("parts", [])
        return {
            "options": options,
            "parts": found,
            "columns": [
                {
                    "name": name,
                    "samples": self._samples(name, SAMPLES, SAMPLE_LENGTH),
                    "filled": self._filled(name),
                    "field": by_column[name].field,
                    "matched_by": by_column[name].matched_by,
                    "score": by_column[name].score,
                    **({} if self.mapping.get(name) else self._new_field(place)),
                }
                for place, name in enumerate(self.table.names)
            ],
            "fields": [] if new is None else self._fields_of(new),
            "primary_key": [] if new is None else new.primary_key,
            "rows": self._rows(),
        }

    def _fields_of(self, schema: TableSchema) -> list[dict[str, Any]]:
        """The fields of a new dataset, as Table Schema has them, each with the column that fills it."""
        columns = {field: name for name, field in self.mapping.items()}
        return [
            {**described, "type": each.type, "required": schema.is_required(each), "column": columns.get(each.name)}
            for each, described in zip(schema.fields, schema.as_json()["fields"], strict=True)
        ]

    def _new_field(self, place: int) -> dict[str, Any]:
        """The field that an existing dataset would have if it took a column as a new one. place: of the column."""
        if self.schema is None:
            return {}
        field: dict[str, Any] = self._inferred.as_json()["fields"][place]
        taken, name = {each.casefold() for each in self.schema.names}, field["name"]
        free = (each for number in itertools.count(1) if (each := name if number == 1 else f"{name}_{number}"))
        field["name"] = next(each for each in free if each.casefold() not in taken)
        return {"new_field": {key: value for key, value in field.items() if key != "description"}}

    @cached_property
    def _inferred(self) -> TableSchema:
        options = self.upload.options
        profile = Profile(
            self.table.names, text_only=options.all_text, wanted=options.types_of_columns, hints=self.table.hints
        )
        if self.chunk is not None:
            profile.see(self.chunk.rows, self.chunk.count)
        return profile.schema()

    def _rows(self) -> list[list[str]]:
        rows: list[list[str]] = []
        if self.chunk is None:
            return rows
        left = ROWS_LENGTH
        for number in self.chunk.rows.index[:ROWS].tolist():
            cells = [excerpt(cell, CELL_LENGTH) for cell in self.chunk.cells([number])[0]]
            left -= sum(map(len, cells)) + 4 * len(cells)
            if rows and left < 0:
                break
            rows.append(cells)
        return rows

    def _samples(self, name: str, count: int, length: int | None) -> list[str]:
        """Different values of a column."""
        present = self._present(name)
        if present is None:
            return []
        found = [str(each) for each in pc.unique(present.slice(0, 2_000)).slice(0, count).to_pylist()]
        return found if length is None else [excerpt(each, length) for each in found]

    def _filled(self, name: str) -> float | None:
        """The share of rows with a value; None without rows."""
        present = self._present(name)
        assert self.chunk is not None or present is None
        return None if present is None or self.chunk is None else round(len(present) / len(self.chunk.rows), 4)

    def _present(self, name: str) -> pa.Array | None:
        """The values of a column that are not empty."""
        if self.chunk is None or not len(self.chunk.rows):
            return None
        values = self.chunk.rows[name].array.__arrow_array__()
        values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
        return values.filter(pc.not_equal(values, ""))


def _listed(names: Sequence[str], more: int = 0) -> str:
    """more: names that are not among them."""
    shown = ", ".join(f"“{excerpt(name, SAMPLE_LENGTH)}”" for name in names[:NAMED])
    left = len(names) + more - NAMED
    return shown + (f" and {left:,} more" if left > 0 else "")
