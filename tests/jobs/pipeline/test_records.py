"""Reading records one by one: the same as the obvious way, and no byte again and again."""

import csv
import io
import itertools
import re
import tracemalloc
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobs.pipeline import records
from jobs.pipeline.records import UNCLOSED, Pattern, Patterns, Record, Records
from tests.support import quadratic_records
from tests.support.csv_texts import TEXTS
from tests.support.files import nothing

#: How often a byte may be looked at: twice as the part of a line, twice in the search for the end of a record, once as
#: the part of a record, and once more because a line or the search may be cut by the end of what was loaded.
LOOKS = 6


def read(text: bytes, delimiter: str = ",", size: int | None = None) -> list[Record]:
    batches = Records(io.BytesIO(text), delimiter, nothing).batches(0, len(text) if size is None else size)
    return list(itertools.chain.from_iterable(batches))


def outcome(found: Iterable[Record], limit: int) -> list[tuple[list[str], int, str | None]]:
    """As the obvious way shows it, which knows nothing of invalid bytes."""
    known = (UNCLOSED.rule, f"is longer than {limit:,} bytes")
    return [(cells, end, problem.rule if problem and problem.rule in known else None) for cells, end, problem in found]


@given(
    text=TEXTS,
    limit=st.one_of(st.integers(1, 300), st.just(1 << 20)),
    delimiter=st.sampled_from(",;\t|"),
    batch_records=st.sampled_from([1, 3, 1000]),
    batch_bytes=st.sampled_from([1, 20, 1 << 16]),
)
@example(b'"\n,"\n"""\r\n,";\n,"\xff', 6, ",", 1000, 1 << 16)
@example(b'\n",",a","\n' * 12 + b'"a\r\n"\n', 60, ",", 1000, 1 << 16)
def test_every_text_is_read_as_in_the_obvious_way(
    text: bytes, limit: int, delimiter: str, batch_records: int, batch_bytes: int
) -> None:
    text = text.replace(b",", delimiter.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "MAX_RECORD_BYTES", limit)
        patch.setattr(records, "BATCH_RECORDS", batch_records)
        patch.setattr(records, "BATCH_BYTES", batch_bytes)
        found = read(text, delimiter)

    assert quadratic_records.read(text, delimiter, limit) == outcome(found, limit)


@given(text=TEXTS, limit=st.sampled_from([10, 100, 1 << 20]), size=st.integers(1, 100))
def test_reading_can_go_on_after_any_record(text: bytes, limit: int, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "MAX_RECORD_BYTES", limit)
        whole, parts, start = read(text), list[Record](), 0
        one = Records(io.BytesIO(text), ",", nothing)
        while part := list(itertools.chain.from_iterable(one.batches(start, size))):
            another = Records(io.BytesIO(text), ",", nothing)

            assert part == list(itertools.chain.from_iterable(another.batches(start, size)))

            parts, start = [*parts, *part], part[-1].end

    assert whole == parts


@dataclass
class Looks:
    """Counts the bytes that are read, scanned and parsed."""

    read: int = 0
    scanned: int = 0
    parsed: int = 0

    @property
    def total(self) -> int:
        return self.read + self.scanned + self.parsed

    def file(self, text: bytes) -> io.BytesIO:
        looks = self

        class File(io.BytesIO):
            def read(self, size: int | None = -1, /) -> bytes:
                found = super().read(size)
                looks.read += len(found)
                return found

        return File(text)

    def patch(self, patch: pytest.MonkeyPatch) -> None:
        parse, patterns = csv.reader, records.patterns

        def counted(pattern: Pattern) -> Pattern:
            return _Counted(pattern, self)

        def reader(texts: Iterable[str], **options: Any) -> Iterator[list[str]]:
            texts = list(texts)
            self.parsed += sum(map(len, texts))
            return parse(texts, **options)

        def of(delimiter: str) -> Patterns:
            found = patterns(delimiter)
            return Patterns(*map(counted, (found.line, found.line_end, found.quoted, found.unquoted)))

        patch.setattr(records, "patterns", of)
        patch.setattr(csv, "reader", reader)


@dataclass
class _Counted:
    """A pattern that counts what it has matched, and a byte for each look at where it ends."""

    pattern: Pattern
    looks: Looks

    def match(self, text: bytes, start: int, /) -> re.Match[bytes] | None:
        found = self.pattern.match(text, start)
        assert found is not None
        self.looks.scanned += found.end() - start + 1
        return found


@given(text=TEXTS, times=st.integers(1, 30), limit=st.sampled_from([20, 100, 1000, 1 << 20]))
def test_no_byte_is_looked_at_more_than_a_few_times(text: bytes, times: int, limit: int) -> None:
    text, looks = text * times, Looks()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "MAX_RECORD_BYTES", limit)
        looks.patch(patch)
        for _ in Records(looks.file(text), ",", nothing).batches(0, len(text)):
            pass

    assert looks.read <= len(text)
    assert looks.total <= LOOKS * len(text) + 10


#: Lines that made each other be read again, up to MAX_RECORD_BYTES.
HOSTILE = (b'a","', b'tv 55","lcd', b'5","6","7', b'"', b'1,"2', b'"a"b,"', b'a,"x","","')


@pytest.mark.parametrize("line", HOSTILE)
@pytest.mark.parametrize("line_end", [b"\n", b"\r", b"\r\n"])
def test_a_hostile_line_is_looked_at_a_few_times_however_often_it_is_repeated(
    line: bytes, line_end: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = Looks()
    looks.patch(monkeypatch)
    count = 100_000 // len(line + line_end)
    text = (line + line_end) * count
    found = read(text)

    assert looks.total <= LOOKS * len(text) + 10
    assert {None, UNCLOSED} >= {record.problem for record in found}


def test_eighty_thousand_unclosed_quotes_fail_their_lines_only() -> None:
    found = read(b'a","\n' * 80_000 + b"1,2\n")

    assert {(record.cells[0], record.problem) for record in found[:-1]} == {('a","', UNCLOSED)}
    assert [record.end for record in found] == [*range(5, 400_001, 5), 400_004]
    assert found[-1] == Record(["1", "2"], 400_004, None)


class Endless(io.BytesIO):
    """`before`, then `content` again and again, up to `size` bytes."""

    def __init__(self, before: bytes, content: bytes, size: int) -> None:
        super().__init__()
        self._before, self._content, self._size = before, content, size
        self._position = 0

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._position = offset
        return offset

    def read(self, length: int | None = -1, /) -> bytes:
        assert length is not None
        start, stop = self._position, min(self._position + length, self._size)
        self._position = stop
        skipped = max(start - len(self._before), 0) % len(self._content)
        content = self._content * (length // len(self._content) + 2)
        return (self._before[start:] + content[skipped:])[: stop - start]


@pytest.mark.parametrize("content", [b"x", b'"', b'""', b",", b'",', b'","', b"\0", b"x" * 99_999 + b"\n"])
@pytest.mark.parametrize("before", [b"", b'"'])
def test_a_text_of_many_megabytes_needs_few_of_them_in_memory(content: bytes, before: bytes) -> None:
    size = 24 << 20
    tracemalloc.start()
    try:
        for _ in Records(Endless(before, content, size), ",", nothing).batches(0, size):
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 16 * records.MAX_RECORD_BYTES


def test_a_tick_comes_for_each_megabyte_and_each_thousand_records() -> None:
    ticks: list[None] = []

    def ticked(text: bytes) -> int:
        ticks.clear()
        for _ in Records(io.BytesIO(text), ",", lambda: ticks.append(None)).batches(0, len(text)):
            pass
        return len(ticks)

    assert ticked(b"x" * (10 << 20)) >= 9
    assert ticked(b'a","\n' * 100_000) >= 100
    assert ticked(b"\n" * 100_000) >= 100


@pytest.mark.parametrize(
    "line",
    ['a,9.50"software, licences",b', 'a,"9.50,"software, licences",b', 'a,x"y,z"'],
)
def test_a_quote_inside_of_a_cell_that_encloses_a_delimiter_makes_the_cells_uncertain(line: str) -> None:
    [record] = read(line.encode())

    assert record.problem == records.SHIFTED


@pytest.mark.parametrize(
    "line",
    ['5" pipe,10" pipe,x', '5",10",x', '5" pipe,"a, b",x', '"say ""a, b"" c",d', '"a,""b,c",d,e', 'a"b"c,d,e'],
)
def test_a_stray_quote_alone_leaves_the_cells_as_they_are(line: str) -> None:
    [record] = read(line.encode())

    assert record.problem is None
