"""The parts of a file as the page of its upload shows them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.excerpt import excerpt
from jobs.siblings import Sibling
from jobs.uploads import Status, Upload
from webapp.templating import size

#: Columns of a part that are shown, and characters of each, and of the name of a part.
COLUMNS_SHOWN, COLUMN_LENGTH, TITLE_LENGTH = 4, 24, 80
#: What became of an upload, in a few words.
_STATES = {
    Status.PENDING: "waits",
    Status.PROCESSING: "is imported",
    Status.HELD: "needs review",
    Status.FAILED: "failed",
    Status.CANCELLED: "was cancelled",
}


@dataclass(frozen=True)
class PartView:
    """id: of its controls. size: rows or bytes. offered: datasets with its columns. upload: that was made of it."""

    id: str
    name: str
    title: str
    columns: Sequence[str]
    more_columns: int
    size: str
    dataset: str
    offered: Sequence[str]
    note: str
    can_import: bool
    is_chosen: bool
    duplicate_of: int | None
    upload: int | None
    state: str


class PartsView:
    """items: none if the file has no parts."""

    def __init__(self, upload: Upload, parts: Sequence[Mapping[str, Any]], made: Mapping[int, Sibling]) -> None:
        """parts: as the review tells them. made: the uploads that were made of some."""
        #: Of a file that was divided before, whoever wants more parts chooses them.
        is_first = not upload.is_divided
        self.items = [_part(number, part, made, is_first=is_first) for number, part in enumerate(parts, 1)]
        is_workbook = bool(parts) and parts[0]["kind"] == "sheet"
        self.title = "Parts of the workbook" if is_workbook else "Parts of the archive"
        self.name_heading, self.size_heading = ("Name", "Rows") if is_workbook else ("Name", "Size")

    @property
    def can_import(self) -> bool:
        return any(part.can_import for part in self.items)

    @property
    def import_label(self) -> str:
        count = sum(part.is_chosen for part in self.items)
        return "Import 1 part" if count == 1 else f"Import {count:,} parts" if count else "Import parts"


def _part(number: int, part: Mapping[str, Any], made: Mapping[int, Sibling], *, is_first: bool) -> PartView:
    upload = made.get(part["upload"] or 0)
    can_import = part["upload"] is None and part["problem"] is None
    columns = [excerpt(name, COLUMN_LENGTH) for name in part["columns"][:COLUMNS_SHOWN]]
    return PartView(
        id=f"part-{number}",
        name=part["name"],
        title=excerpt(part["name"], TITLE_LENGTH),
        columns=columns,
        more_columns=max(0, len(part["columns"]) - COLUMNS_SHOWN),
        size=f"{part['rows']:,}" if part["rows"] is not None else size(part["size"] or 0),
        dataset=part["dataset"],
        offered=part["datasets"],
        note=part["problem"] or _note(part),
        can_import=can_import,
        is_chosen=is_first and can_import and not part["hidden"] and part["duplicate_of"] is None,
        duplicate_of=part["duplicate_of"],
        upload=part["upload"],
        state=_state(upload) if upload else "",
    )


def _note(part: Mapping[str, Any]) -> str:
    target = "Has the columns of this dataset" if part["dataset"] in part["datasets"] else "New dataset"
    return f"Hidden. {target}" if part["hidden"] else target


def _state(upload: Sibling) -> str:
    if upload.status is not Status.COMPLETED:
        return _STATES[upload.status]
    failed = f", {upload.rows_failed:,} failed" if upload.rows_failed else ""
    return f"{'1 row' if upload.rows_success == 1 else f'{upload.rows_success:,} rows'} imported{failed}"
