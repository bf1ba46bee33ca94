"""The beginning of what an archive holds first, without its directory: with little memory, whatever the archive."""

import struct
import zlib
from typing import BinaryIO

from jobs.formats.file_kinds import ZIPS

#: A member of a ZIP archive: signature, version, flags, method, six fields that do not matter here, lengths of its name
#: and of what follows the name (APPNOTE 4.3.7).
_MEMBER = struct.Struct("<4sHHH16xHH")
_GZIP = b"\x1f\x8b\x08"
_ENCRYPTED, _STORED, _DEFLATED = 0x1, 0, 8
#: zlib's window for deflated data without a header, and for that with the header of gzip.
_BARE, _WITH_GZIP_HEADER = -15, 31


def beginning(content: BinaryIO, size: int) -> bytes:
    """The first bytes of a file or, if it is a ZIP archive or a gzip file, of its first member. Damaged and encrypted
    ones are read as they are. size: bytes at most."""
    head = content.read(size)
    if head.startswith(_GZIP):
        return _inflated(head, _WITH_GZIP_HEADER, size)
    if head.startswith(ZIPS[0]) and len(head) >= _MEMBER.size:
        _, _, flags, method, name, extra = _MEMBER.unpack_from(head)
        data = head[_MEMBER.size + name + extra :]
        if method == _STORED and not flags & _ENCRYPTED:
            return data
        if method == _DEFLATED and not flags & _ENCRYPTED:
            return _inflated(data, _BARE, size)
    return head


def _inflated(data: bytes, window: int, size: int) -> bytes:
    try:
        return zlib.decompressobj(window).decompress(data, size)
    except zlib.error:
        return data
