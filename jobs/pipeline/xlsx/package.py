"""The parts of a workbook's archive: which worksheets it has, and where its strings and formats are."""

import posixpath
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from jobs.errors import UnreadableFileError
from jobs.pipeline.archive import ARCHIVE_ERRORS, ZipArchive
from jobs.pipeline.xlsx.problem import damaged
from jobs.pipeline.xlsx.xml_part import Handler, local, parse

#: The member of the archive that lists the worksheets. It identifies a workbook.
MAIN_PART = "xl/workbook.xml"
_RELATIONS = "xl/_rels/workbook.xml.rels"
_STRINGS, _STYLES = "xl/sharedstrings.xml", "xl/styles.xml"
#: Bytes that the list of worksheets and that of their parts may have. A million defined names take 60 MB.
MAX_LIST_BYTES = 64 << 20
#: Bytes that the number formats may have. Excel allows 65,490, which take 10 MB.
MAX_STYLES_BYTES = 64 << 20
#: Bytes that the shared strings may have. Kept in memory row by row, they take up to 0.9 GB.
MAX_STRINGS_BYTES = 512 << 20
#: Worksheets that a workbook may have. Excel itself becomes slow with hundreds.
MAX_SHEETS = 10_000
#: Characters that are kept of the name of a worksheet. Excel allows 31.
MAX_NAME = 255

#: A progress callback. It may raise an exception to stop the work.
Tick = Callable[[], None]


@dataclass(frozen=True)
class Sheet:
    """A worksheet. part: its member of the archive."""

    name: str
    part: str
    hidden: bool


class Parts:
    """The members of a workbook's archive, by their names. Raises UnreadableFileError."""

    def __init__(self, archive: ZipArchive, tick: Tick) -> None:
        self._archive = archive
        self._tick = tick
        self._members: dict[str, zipfile.ZipInfo] = {}
        self._ambiguous: set[str] = set()
        for member in archive.members:
            if self._members.setdefault(_key(member.filename), member) is not member:
                self._ambiguous.add(_key(member.filename))

    def __contains__(self, part: str) -> bool:
        return _key(part) in self._members

    def size(self, part: str) -> int:
        """Bytes of a part."""
        return self._member(part).file_size

    def packed_size(self, part: str) -> int:
        """Bytes of a part in the archive."""
        return self._member(part).compress_size

    def pieces(self, part: str, limit: int | None = None) -> Iterator[bytes]:
        """The content of a part. limit: bytes that it may have. Ticks."""
        member = self._member(part)
        if limit is not None and member.file_size > limit:
            raise UnreadableFileError(
                f"The workbook's part {part[:100]} has {member.file_size:,} bytes; at most {limit:,} can be read."
                " Save the worksheet as CSV, then upload that file."
            )
        pieces = self._archive.pieces(member)
        while True:
            try:
                piece = next(pieces, None)
            except ARCHIVE_ERRORS as error:
                raise damaged(error) from error
            if piece is None:
                return
            self._tick()
            yield piece

    def _member(self, part: str) -> zipfile.ZipInfo:
        if _key(part) in self._ambiguous:
            raise damaged(ValueError(f"two parts have the name {part}"))
        try:
            return self._members[_key(part)]
        except KeyError:
            raise damaged(KeyError(f"there is no part {part}")) from None


class Package(Parts):
    """The parts of a workbook. Raises UnreadableFileError.

    sheets: the worksheets, including hidden ones, in the workbook's order; not the chart sheets, which have no cells.
    from_1904: whether dates count from 1904. strings, styles: the names of the parts; None: the workbook has none.
    """

    def __init__(self, archive: ZipArchive, tick: Tick) -> None:
        super().__init__(archive, tick)
        relations, main = Relations(), _Main()
        for part, handler in ((_RELATIONS, relations), (MAIN_PART, main)):
            for _ in parse(self.pieces(part, MAX_LIST_BYTES), handler):
                pass
        self.from_1904 = main.from_1904
        self.strings = self._found(relations.strings or _STRINGS)
        self.styles = self._found(relations.styles or _STYLES)
        self.sheets = [
            Sheet(name, relations.worksheets[identifier], hidden)
            for name, identifier, hidden in main.sheets
            if identifier in relations.worksheets
        ]

    def _found(self, part: str) -> str | None:
        return part if part in self else None


def _key(part: str) -> str:
    """Excel ignores the case of names; some programs write them with backslashes."""
    return part.replace("\\", "/").lower()


class Relations(Handler):
    """Where the parts of a workbook are. worksheets: identifier → part."""

    def __init__(self) -> None:
        self.worksheets: dict[str, str] = {}
        self.strings: str | None = None
        self.styles: str | None = None

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        target = attributes.get("Target", "")
        if not target or local(name) != "Relationship":
            return
        part = posixpath.normpath(posixpath.join("xl", target.replace("\\", "/"))).lstrip("/")
        match attributes.get("Type", "").rpartition("/")[2]:
            case "worksheet":
                self.worksheets[attributes.get("Id", "")] = part
                _check_count(len(self.worksheets))
            case "sharedStrings":
                self.strings = part
            case "styles":
                self.styles = part

    def end(self, name: str) -> None:
        self.depth -= 1


class _Main(Handler):
    """What xl/workbook.xml says. sheets: name, identifier of the part, whether it is hidden."""

    def __init__(self) -> None:
        self.sheets: list[tuple[str, str, bool]] = []
        self.from_1904 = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        match local(name):
            case "workbookPr":
                self.from_1904 = attributes.get("date1904") in ("1", "true")
            case "sheet":
                identifier = next((value for each, value in attributes.items() if each.endswith(":id")), "")
                hidden = attributes.get("state", "visible") != "visible"
                self.sheets.append((attributes.get("name", "")[:MAX_NAME], identifier, hidden))
                _check_count(len(self.sheets))

    def end(self, name: str) -> None:
        self.depth -= 1


def _check_count(sheets: int) -> None:
    if sheets > MAX_SHEETS:
        raise UnreadableFileError(
            f"The workbook has more than {MAX_SHEETS:,} worksheets."
            " Save the one with the table as CSV, then upload that file."
        )
