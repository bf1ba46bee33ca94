"""What a person says about how a file is to be read, where what is detected would be wrong."""

import codecs
from dataclasses import dataclass

from jobs.dialect import DELIMITERS
from jobs.errors import InvalidImportOptionError

UTF_8 = "utf-8"
#: Codecs of Python that make text of bytes and are no encoding of files.
_NO_ENCODINGS = ("idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined")


def codec_of(name: str) -> str:
    """Python's name of an encoding. Raises InvalidImportOptionError if there is none of this name."""
    try:
        codec = codecs.lookup(name).name.replace("_", "-")
        "".encode(codec)
    except (LookupError, ValueError):  # the second: a codec that turns no text into bytes, or a NUL in the name
        codec = ""
    if not codec or codec in _NO_ENCODINGS:
        raise InvalidImportOptionError(
            f"Unknown encoding “{name}”. Use a name such as utf-8, cp1252, cp1250, utf-16 or gb18030, or leave it out."
        )
    return UTF_8 if codec in ("ascii", "utf-8-sig") else codec


@dataclass(frozen=True)
class Reading:
    """What a person says about a file; None: to be detected. Raises InvalidImportOptionError if it cannot be.

    encoding: a name of one that Python knows. header_row: of the header, as an editor or Excel counts, from 1.
    """

    encoding: str | None = None
    delimiter: str | None = None
    header_row: int | None = None
    sheet: str | None = None

    def __post_init__(self) -> None:
        if self.encoding is not None:
            codec_of(self.encoding)
        if self.delimiter is not None and self.delimiter not in DELIMITERS:
            raise InvalidImportOptionError(f"Unsupported delimiter “{self.delimiter}”. Use one of , ; | or a tab.")
        if self.header_row is not None and self.header_row < 1:
            raise InvalidImportOptionError(f"header_row cannot be {self.header_row}: the first line is 1.")
