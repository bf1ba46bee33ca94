"""The files in an archive as parts of an upload: how large each is, its columns, and whether it can be imported."""

import zipfile
from collections.abc import Callable, Iterator, Sequence

from jobs.errors import UnreadableFileError
from jobs.files import NEVER_TABLES
from jobs.formats import file_kinds
from jobs.formats.dialect import header_of
from jobs.formats.file_kinds import OLE, ZIPS
from jobs.parts import Part
from jobs.pipeline.archive import ARCHIVE_ERRORS, ZipArchive

#: Bytes of a file that are looked at.
HEAD_BYTES = 1 << 16
#: What a workbook in an archive is called.
_WORKBOOKS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
#: Pieces without content that a beginning may have: each took 64 KiB of the archive.
_EMPTY_PIECES = 4

Tick = Callable[[], None]


def members_of(archive: ZipArchive, members: Sequence[zipfile.ZipInfo], tick: Tick) -> list[Part]:
    """In the archive's order. A file that cannot be imported has a problem, which does not concern the others."""
    found = []
    for member in members:
        found.append(_part(archive, member))
        tick()
    return found


def _part(archive: ZipArchive, member: zipfile.ZipInfo) -> Part:
    try:
        head = _beginning(archive.pieces(member))
    except (*ARCHIVE_ERRORS, UnreadableFileError):
        return Part(member.filename, "member", size=member.file_size, problem="It cannot be unpacked.")
    problem = _problem(member.filename, head)
    is_text = problem is None and not file_kinds.is_container(head) and not file_kinds.is_json(head)
    columns = header_of(head.decode("utf-8-sig", "replace")) if is_text else []
    return Part(member.filename, "member", size=member.file_size, columns=columns, problem=problem)


def _beginning(pieces: Iterator[bytes]) -> bytes:
    head, empty = b"", 0
    while len(head) < HEAD_BYTES and empty < _EMPTY_PIECES:
        piece = next(pieces, None)
        if piece is None:
            break
        empty += not piece
        head += piece[:HEAD_BYTES]
    return head[:HEAD_BYTES]


def _problem(name: str, head: bytes) -> str | None:
    """Why a file cannot be imported."""
    if not head:
        return "It is empty."
    if head.startswith((*ZIPS, OLE)):
        is_workbook = name.lower().endswith(_WORKBOOKS)
        return None if is_workbook else "It is an archive or a document itself."
    if file_kinds.packing_of(head) is not None:
        return "It is an archive itself. Unpack it first."
    if name.lower().endswith(NEVER_TABLES) or file_kinds.other_kind(head) is not None:
        return "It is not a table."
    return None if file_kinds.is_parquet(head) or file_kinds.is_text(head) else "It is not a table."
