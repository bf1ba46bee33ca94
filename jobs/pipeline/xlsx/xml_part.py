"""Parses the XML of a workbook's part as a stream, with memory that does not grow with the part.

Excel writes no document type and no entities, so a part that has them is refused: an entity may expand to anything.
"""

from collections.abc import Iterable, Iterator
from typing import NoReturn
from xml.parsers import expat

from jobs.errors import UnreadableFileError
from jobs.pipeline.xlsx.problem import damaged

#: Levels of elements, of which Excel uses about ten. Checked after each piece.
MAX_DEPTH = 1_000
#: Names of elements and attributes that a part may have: the parser keeps each of them.
MAX_NAMES = 10_000
#: Bytes of one tag or comment: the parser begins it again with each piece that does not end it.
MAX_TAG_BYTES = 8 << 20


class Handler:
    """What is done with the elements of a part. Names have no prefixes.

    depth: how many elements are open; the subclasses count it.
    """

    depth = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        raise NotImplementedError

    def end(self, name: str) -> None:
        raise NotImplementedError

    def text(self, text: str) -> None:
        """Some of the text of the innermost element."""


def parse(pieces: Iterable[bytes], handler: Handler) -> Iterator[None]:
    """Parse a part. Yields after each piece. Raises UnreadableFileError."""
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = handler.start
    parser.EndElementHandler = handler.end
    parser.CharacterDataHandler = handler.text
    parser.StartDoctypeDeclHandler = _refuse_document_type
    given = 0
    for piece in pieces:
        _feed(parser, piece, final=False)
        given += len(piece)
        if handler.depth > MAX_DEPTH:
            raise damaged(ValueError(f"more than {MAX_DEPTH:,} elements within one another"))
        if len(parser.intern) > MAX_NAMES:
            raise damaged(ValueError(f"more than {MAX_NAMES:,} names of elements and attributes"))
        if given - parser.CurrentByteIndex > MAX_TAG_BYTES:
            raise damaged(ValueError(f"a tag of more than {MAX_TAG_BYTES:,} bytes"))
        yield
    _feed(parser, b"", final=True)
    yield


def local(name: str) -> str:
    """A name without its prefix."""
    return name.rpartition(":")[2] if ":" in name else name


def _feed(parser: expat.XMLParserType, piece: bytes, *, final: bool) -> None:
    try:
        parser.Parse(piece, final)
    except UnreadableFileError:
        raise
    except (expat.ExpatError, ValueError, LookupError, OverflowError) as error:  # the last three: of encodings, values
        raise damaged(error) from error


def _refuse_document_type(*_: object) -> NoReturn:
    raise UnreadableFileError(
        "The workbook contains a document type definition (DTD), which Excel never writes and which can be harmful."
        " Open it in Excel and save it, then upload it again."
    )
