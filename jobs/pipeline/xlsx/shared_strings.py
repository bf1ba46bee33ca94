"""SharedStrings: the texts that the cells of a workbook refer to by number."""

import re
from array import array
from collections.abc import Iterable

from jobs.pipeline.xlsx.package import MAX_STRINGS_BYTES, Package
from jobs.pipeline.xlsx.xml_part import Handler, local, parse

#: A character that XML does not allow, as Excel writes it: _x000D_.
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")


class SharedStrings:
    """The shared strings in one run of UTF-8: as objects, short ones would take five times the memory."""

    def __init__(self) -> None:
        self._text = bytearray()
        self._ends = array("Q", [0])

    @classmethod
    def from_package(cls, package: Package) -> "SharedStrings":
        strings = cls()
        if package.strings is not None:
            strings.load(package.pieces(package.strings, MAX_STRINGS_BYTES))
        return strings

    def load(self, pieces: Iterable[bytes]) -> None:
        """Add the strings of a part."""
        for _ in parse(pieces, _Strings(self)):
            pass

    def append(self, text: str) -> None:
        self._text += text.encode("utf-8", "surrogatepass")
        self._ends.append(len(self._text))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def size(self, number: int) -> int:
        """Bytes of a string. Raises IndexError."""
        if not 0 <= number < len(self):
            raise IndexError(f"there is no shared string {number}")
        return self._ends[number + 1] - self._ends[number]

    def __getitem__(self, number: int) -> str:
        """number: of a string that exists."""
        return self._text[self._ends[number] : self._ends[number + 1]].decode("utf-8", "surrogatepass")

    def beginning(self, number: int, size: int) -> str:
        """At most this many bytes of a string that exists."""
        start = self._ends[number]
        return self._text[start : min(self._ends[number + 1], start + size)].decode("utf-8", "ignore")


class StringHandler(Handler):
    """Collects the text of a string: of its <t>, and of the <t> in its runs <r>, but not of phonetic ones.

    string_depth: the level of the element that holds a string.
    """

    string_depth = 2

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._in_run = False
        self._in_text = False

    def start_inside(self, name: str, depth: int) -> None:
        """An element begins inside of a string."""
        below = depth - self.string_depth
        if below == 1:
            self._in_run = name == "r"
        self._in_text = name == "t" and (below == 1 or (below == 2 and self._in_run))

    def end_inside(self) -> None:
        self._in_text = False


class _Strings(StringHandler):
    def __init__(self, strings: SharedStrings) -> None:
        super().__init__()
        self._strings = strings

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        if self.depth > 2:
            self.start_inside(local(name), self.depth)

    def end(self, name: str) -> None:
        if self.depth > 2:
            self.end_inside()
        elif self.depth == 2 and local(name) == "si":
            self._strings.append(unescaped("".join(self.texts)))
            self.texts = []
        self.depth -= 1

    def text(self, text: str) -> None:
        if self._in_text:
            self.texts.append(text)


def unescaped(text: str) -> str:
    """A text of a workbook without Excel's escapes."""
    if "_x" not in text:
        return text
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
