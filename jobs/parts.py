"""The parts of a file: the worksheets of a workbook, the files in an archive. Each can be an upload of its own.

The upload that the file was sent as is *divided*: it is completed without a row, and names the uploads of its parts.
They share its bytes (Store.again), and each names its part in its import options, so everything else (checks,
checkpoints, failed rows, retries) is as for any other upload. No pandas: the web processes import this module.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Literal, Self

import sqlalchemy as sa

from jobs import datasets, uploads
from jobs.errors import InvalidImportOptionError, MisreadFileError, RefusedError
from jobs.excerpt import excerpt
from jobs.files import StoredFile
from jobs.import_options import ImportOptions
from jobs.lanes import QUICK_BYTES
from jobs.modes import Mode
from jobs.people import access
from jobs.people.policy import Policy
from jobs.store.store import Store
from jobs.tables import uploads as records
from jobs.upload_log import By
from jobs.uploads import Owner, Review, Upload
from jobs.view import EVERYTHING, View

#: Parts that a file can be divided into.
MAX_PARTS = 200
#: Characters of the longest name of a part that is shown in full.
LONGEST_NAME = 200
#: Columns of a part that are kept, to find its dataset; of more, none.
MAX_COLUMNS = 200
#: Names that an error lists.
NAMED = 10
#: What is wanted of a file of which every part is to be imported.
ALL: Literal["all"] = "all"
#: "all", or the names of parts.
Wanted = Literal["all"] | list[str]


@dataclass(frozen=True)
class Part:
    """kind: which import option names it. rows: below the header; None: not counted. size: bytes; None: of a worksheet.
    hidden: whether it is only imported if somebody names it. columns: their names, if there are not too many. problem:
    why it cannot be imported, as a sentence."""

    name: str
    kind: Literal["sheet", "member"]
    rows: int | None = None
    size: int | None = None
    hidden: bool = False
    columns: Sequence[str] = ()
    problem: str | None = None

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        return cls(**stored)

    def as_json(self) -> dict[str, Any]:
        return {**vars(self), "columns": list(self.columns) if len(self.columns) <= MAX_COLUMNS else []}

    @property
    def is_usual(self) -> bool:
        """Whether it is among all parts of a file."""
        return not self.hidden and self.problem is None

    @property
    def dataset_name(self) -> str:
        """Of a new dataset that is named after it."""
        named = f"{self.name}." if self.kind == "sheet" else self.name.replace("\\", "/").rpartition("/")[2]
        return datasets.name_from_filename(named)

    def options(self, of_file: ImportOptions) -> ImportOptions:
        """How it is read. of_file: as the file was to be read."""
        return replace(of_file, sheet=self.name) if self.kind == "sheet" else replace(of_file, member=self.name)


def part_of(options: ImportOptions, sheet: str | None = None) -> str | None:
    """What some import options take of a file; None: the whole file. sheet: the worksheet that was read."""
    return " / ".join(each for each in (options.member, options.sheet or sheet) if each is not None) or None


def wanted_of(fields: Mapping[str, str]) -> Wanted | None:
    """What a request wants of its file, by its field `parts`; None if it does not say.

    Raises InvalidImportOptionError.
    """
    text = fields.get("parts", "")
    if text in ("", ALL):
        return ALL if text else None
    try:
        names = json.loads(text)
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, list) or not names or not all(isinstance(each, str) for each in names):
        raise InvalidImportOptionError('parts must be all, or a JSON list of names such as ["June", "July"].', "parts")
    if len(names) > MAX_PARTS:
        raise InvalidImportOptionError(
            f"parts names {len(names):,} parts; at most {MAX_PARTS:,} are possible.", "parts"
        )
    return list(dict.fromkeys(names))


def chosen(found: Sequence[Part], wanted: Wanted) -> list[Part]:
    """Raises MisreadFileError if the file has none of that name."""
    if wanted == ALL:
        return [part for part in found if part.is_usual]
    by_name = {part.name: part for part in found}
    for name in wanted:
        if name not in by_name:
            names = ", ".join(f"“{excerpt(part.name, 60)}”" for part in found[:NAMED])
            more = f" and {len(found) - NAMED:,} more" if len(found) > NAMED else ""
            raise MisreadFileError(f"The file has no part “{excerpt(name, 60)}”. It has {names}{more}.")
    return [by_name[name] for name in wanted]


@dataclass(frozen=True)
class Proposal:
    """Where a part may go. datasets: those that have its columns, the last used first. dataset: the first of them, or
    the name of a new one. duplicate_of: the latest upload of the same part with rows. upload: the one that was made of
    it."""

    part: Part
    dataset: str
    datasets: list[str] = field(default_factory=list)
    duplicate_of: int | None = None
    upload: int | None = None

    @property
    def is_new(self) -> bool:
        """Whether it would make a dataset."""
        return self.dataset not in self.datasets

    def as_json(self) -> dict[str, Any]:
        proposed = {"dataset": self.dataset, "datasets": self.datasets}
        return self.part.as_json() | proposed | {"duplicate_of": self.duplicate_of, "upload": self.upload}


def proposals(
    connection: sa.Connection, upload: Upload, found: Sequence[Part], seen: View = EVERYTHING
) -> list[Proposal]:
    """Where the parts of an upload may go. seen: what exists for whoever asks."""
    known: dict[tuple[str, ...], list[str]] = {}
    made = {each["name"]: each["upload"] for each in upload.parts}
    earlier = _imported(connection, upload, seen)
    taken: set[str] = set()
    proposed = []
    for part in found:
        columns = tuple(part.columns)
        if columns and columns not in known:
            known[columns] = datasets.matching(connection, columns, seen)
        matching = known.get(columns, [])
        target = upload.dataset or upload.dataset_wanted or (matching[0] if matching else "")
        if not target:
            target = _free(connection, part.dataset_name, taken)
            taken.add(target)
        offered = list(dict.fromkeys([*([upload.dataset] if upload.dataset else []), *matching]))
        key = part_of(part.options(upload.options)) or ""
        proposed.append(Proposal(part, target, offered, earlier.get(key), made.get(part.name)))
    return proposed


def _free(connection: sa.Connection, wanted: str, taken: Collection[str]) -> str:
    """The first free name of `wanted`, `wanted_2`, …"""
    names = (wanted if number == 1 else f"{wanted}_{number}" for number in count(1))
    return next(name for name in names if name not in taken and not datasets.exists(connection, name))


def _imported(connection: sa.Connection, upload: Upload, seen: View) -> dict[str, int]:
    """The latest upload with rows of each part of the same bytes."""
    columns = records.c
    same = (columns.sha256 == upload.sha256) & (columns.sha256 != "") & (columns.rows_success > 0)
    found = sa.select(columns.part, sa.func.max(columns.id)).where(same, columns.part.is_not(None))
    found = found.where(seen.condition(columns.dataset)).group_by(columns.part)
    return {row[0]: row[1] for row in connection.execute(found)}


@dataclass(frozen=True)
class Target:
    """A part, and the dataset that receives it: an existing one, or the name of a new one."""

    part: Part
    dataset: str | None = None
    wanted: str = ""


def stored(store: Store, upload: Upload, times: int) -> list[StoredFile]:
    """The file of an upload, once for each of its parts. Raises FileNotFoundError, DiskFullError."""
    file = StoredFile(upload.filename, upload.stored_as, upload.size, upload.sha256)
    return [store.again(file) for _ in range(times)]


def create(
    connection: sa.Connection,
    upload: Upload,
    targets: Sequence[Target],
    stored_files: Sequence[StoredFile],
    *,
    policy: Policy,
    quick_bytes: int = QUICK_BYTES,
    by: By | None = None,
    holds_duplicates: bool = False,
) -> list[Upload]:
    """The uploads of some parts of an upload, as whoever sent the file owns them. stored_files: one for each. policy:
    of whoever divides it. holds_duplicates: as if each part had been sent by itself."""
    made = []
    for target, file in zip(targets, stored_files, strict=True):
        options = target.part.options(upload.options)
        child = uploads.create(
            connection,
            file,
            dataset=target.dataset,
            dataset_wanted=target.wanted,
            options=options,
            quick_bytes=quick_bytes,
            sender=upload.sender,
            owner=Owner(upload.account_id, upload.token_id, upload.uploaded_by),
            view=policy.view,
            by=by,
            review=upload.review,
            mode=upload.mode_wanted,
            part=part_of(options),
            part_of=upload.id,
        )
        if holds_duplicates and child.duplicate_of is not None and upload.review is not Review.NEVER:
            earlier = uploads.get(connection, child.duplicate_of).dataset
            names_it = earlier is None or not access.of_dataset(connection, earlier).restricted
            child = uploads.hold_as_duplicate(connection, child, names_it=names_it)
        made.append(child)
    return made


def require_one_replacement(upload: Upload, targets: Sequence[Target]) -> None:
    """Raises RefusedError if several parts would each replace all rows of one dataset."""
    names = [target.dataset or target.wanted for target in targets]
    twice = next((name for name in names if names.count(name) > 1), None)
    if upload.mode_wanted is Mode.REPLACE and twice is not None:
        raise RefusedError(f"Only one part can replace all rows of “{twice}”. Choose one, or another mode.")


def as_made(targets: Sequence[Target], made: Sequence[Upload]) -> list[dict[str, Any]]:
    """The parts of an upload and the uploads that were made of them, as `uploads.parts` has them."""
    return [{"name": target.part.name, "upload": each.id} for target, each in zip(targets, made, strict=True)]


def siblings(connection: sa.Connection, upload: Upload) -> list[int]:
    """The ids of the uploads of other parts of the same file."""
    if upload.part_of is None:
        return []
    others = (records.c.part_of == upload.part_of) & (records.c.id != upload.id)
    return list(connection.scalars(sa.select(records.c.id).where(others)))


def dataset_of_siblings(connection: sa.Connection, upload: Upload) -> str | None:
    """The new dataset that an upload wants, if another part of its file has made it meanwhile."""
    if upload.part_of is None or not upload.dataset_wanted:
        return None
    return datasets.made_by(connection, upload.dataset_wanted, siblings(connection, upload))
