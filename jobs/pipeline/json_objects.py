"""Reads JSON objects one after the other: an array of objects, or objects one below the other (JSON Lines).

Memory is bounded by MAX_OBJECT. The text of a number is kept as it stands in the file: 1.10 is not 1.1.
"""

import codecs
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NoReturn

from jobs.errors import MisreadFileError, UnreadableFileError
from jobs.formats.header import shortened
from jobs.schema import MAX_COLUMNS

#: Bytes that are read at once.
PIECE_BYTES = 1 << 20
#: Characters of the longest object. A row may have 1 MiB.
MAX_OBJECT = 8 << 20
#: Characters of the longest name of a field; a column's has 63 bytes.
MAX_NAME = 200

#: A progress callback, called for each piece. It may raise an exception to stop the work.
Tick = Callable[[], None]

_FLATTEN = "Only flat objects can be imported: put each value into a field of its own, then upload the file again."
_SPACE = re.compile(r"[ \t\r\n]*")


class Number(str):
    """A number as it stands in the file."""

    __slots__ = ()


#: A value of a flat object.
Value = str | Number | bool | None
_FLAT = frozenset({str, Number, bool, type(None)})


class Fields:
    """The fields of the objects that it has seen, in the order in which they appeared.

    kinds: field → the classes of its values that are not missing: str, Number, bool.
    """

    def __init__(self) -> None:
        self.kinds: dict[str, set[type]] = {}
        self._seen = 0
        self._last: tuple[list[str], list[type]] = [], []

    def see(self, found: dict[str, Value]) -> bool:
        """Whether all fields of an object were known. Raises MisreadFileError."""
        self._seen += 1
        kinds = list(found), list(map(type, found.values()))
        if kinds == self._last:
            return True
        self._last = kinds
        are_known = True
        for name, kind in zip(*kinds, strict=True):
            if name not in self.kinds:
                self._add(name)
                are_known = False
            if kind is not type(None):
                self.kinds[name].add(kind)
        return are_known

    def _add(self, name: str) -> None:
        if len(name) > MAX_NAME:
            raise MisreadFileError(
                f"Object {self._seen:,} has a field whose name has {len(name):,} characters (“{shortened(name)}”)."
                f" At most {MAX_NAME} are possible."
            )
        self.kinds[name] = set()
        if len(self.kinds) > MAX_COLUMNS:
            raise MisreadFileError(f"The objects have more than {MAX_COLUMNS:,} different fields.")


class Objects:
    """The objects of a file in their order, as an iterator. Raises UnreadableFileError.

    is_array: whether they are in an array, and not one below the other; known from the first one on.
    """

    def __init__(self, file: BinaryIO, tick: Tick) -> None:
        """file: at its beginning."""
        self._stream = _Stream(file, tick)
        self._found = self._stream.objects()

    def __iter__(self) -> Iterator[dict[str, Value]]:
        return self._found

    @property
    def is_array(self) -> bool:
        return self._stream.is_array


def cells_of(found: dict[str, Value], names: list[str]) -> list[str | None]:
    """The values of some fields as a CSV writer takes them."""
    values = list(found.values()) if list(found) == names else [found.get(name) for name in names]
    return [("true" if value else "false") if isinstance(value, bool) else value for value in values]


class _Stream:
    """The text of a file, of which a piece is held."""

    def __init__(self, file: BinaryIO, tick: Tick) -> None:
        self._file = file
        self._tick = tick
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
        self._text = ""
        self._at = 0
        self._is_whole = False
        self._number = 0
        self.is_array = False

    def objects(self) -> Iterator[dict[str, Value]]:
        self.is_array = self._next() == "["
        if not self.is_array:
            while self._next():
                yield self._object()
            return
        self._at += 1
        if self._next() != "]":
            yield self._object()
            while self._next() == ",":
                self._at += 1
                yield self._object()
        if (end := self._next()) != "]":
            self._refuse_text(end)
        self._at += 1
        if self._next():
            raise UnreadableFileError(
                f"The file goes on behind the end of its array (after object {self._number:,})."
                " Put all objects into one array."
            )

    def _object(self) -> dict[str, Value]:
        if (found := self._next()) != "{":
            self._refuse_text(found)
        self._number += 1
        try:
            pairs = self._decoded()
        except RecursionError:
            raise UnreadableFileError(f"Object {self._number:,} is nested too deeply. {_FLATTEN}") from None
        values = dict(pairs)
        if len(values) < len(pairs):
            ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
            raise UnreadableFileError(f"Object {self._number:,} has the field “{shortened(twice)}” twice.")
        if not _FLAT.issuperset(map(type, values.values())):
            name, value = next((name, value) for name, value in pairs if isinstance(value, list))
            what = "an object" if isinstance(value, _Pairs) else "a list"
            raise UnreadableFileError(
                f"The field “{shortened(name)}” has {what} as its value (object {self._number:,}). {_FLATTEN}"
            )
        return values

    def _decoded(self) -> "_Pairs":
        """The object at the current place, with as much more of the file as it needs."""
        while True:
            try:
                found, self._at = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if self._is_whole:
                    self._refuse(error)
                if len(self._text) - self._at > MAX_OBJECT:
                    raise UnreadableFileError(
                        f"Object {self._number:,} is malformed or has more than {MAX_OBJECT:,} characters. Upload a"
                        " file of JSON objects, each with one value for each field."
                    ) from error
                self._more()
            else:
                return found  # type: ignore[no-any-return]  # the place has a brace, so it is an object

    def _next(self) -> str:
        """The next character that is no space, where the current place is now; "" at the end."""
        while True:
            self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]  # it may match nothing
            if self._at < len(self._text) or self._is_whole:
                return self._text[self._at : self._at + 1]
            self._more()

    def _more(self) -> None:
        """Read more: as much again as is held, so that a long object is decoded only a few times."""
        rest = self._text[self._at :]
        data = self._file.read(max(PIECE_BYTES, len(rest)))
        self._is_whole = not data
        self._text, self._at = rest + self._decoder.decode(data, final=self._is_whole), 0
        self._tick()

    def _refuse(self, error: json.JSONDecodeError) -> NoReturn:
        if error.pos >= len(self._text.rstrip()) or "Unterminated" in error.msg:
            raise UnreadableFileError(
                f"The file is incomplete: it ends within object {self._number:,}. Upload it again."
            ) from error
        raise UnreadableFileError(f"Object {self._number:,} is malformed JSON ({error.msg}).") from error

    def _refuse_text(self, found: str) -> NoReturn:
        if not found:
            raise UnreadableFileError(
                f"The file is incomplete: its array has no end behind object {self._number:,}. Upload it again."
            )
        where = f"behind object {self._number:,}" if self._number else "at the beginning"
        raise UnreadableFileError(
            f"The file is no list of JSON objects ({where}). Upload an array of objects, or one object a line."
        )


class _Pairs(list[tuple[str, Any]]):
    """The fields of an object, also those that it has twice."""


_DECODER = json.JSONDecoder(
    object_pairs_hook=_Pairs, parse_float=Number, parse_int=Number, parse_constant=Number, strict=False
)
