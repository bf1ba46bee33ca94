"""Parsing the XML of a part as a stream."""

from collections.abc import Iterable

import pytest

from jobs.errors import UnreadableFileError
from jobs.pipeline.xlsx import xml_part
from jobs.pipeline.xlsx.xml_part import Handler, local, parse


class _Counting(Handler):
    def __init__(self) -> None:
        self.names: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        self.names.append(local(name))

    def end(self, name: str) -> None:
        self.depth -= 1


def names_of(pieces: Iterable[bytes]) -> list[str]:
    handler = _Counting()
    for _ in parse(pieces, handler):
        pass
    return handler.names


def test_names_have_no_prefixes_and_pieces_may_end_anywhere() -> None:
    xml = b'<x:a xmlns:x="x"><b/></x:a>'

    assert names_of(xml[place : place + 1] for place in range(len(xml))) == ["a", "b"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "latin-1"])
def test_a_document_type_is_refused_in_any_encoding(encoding: str) -> None:
    declared = "utf-16" if "16" in encoding else encoding
    xml = f'<?xml version="1.0" encoding="{declared}"?><!DOCTYPE a [<!ENTITY b "cc">]><a>&b;</a>'

    with pytest.raises(UnreadableFileError, match="contains a document type definition"):
        names_of([xml.encode(encoding)])


@pytest.mark.parametrize(
    ("pieces", "sentence"),
    [
        ([b"<a>" * 1_001], "more than 1,000 elements within one another"),
        ([b"<a>", *(f"<b{number}/>".encode() for number in range(10_001))], "more than 10,000 names"),
        ([b"<a ", *[b"x" * (1 << 20)] * 9], "a tag of more than 8,388,608 bytes"),
        ([b"<a>", b"<!--", *[b"x" * (1 << 20)] * 9], "a tag of more than 8,388,608 bytes"),
        ([b"<a>"], "no element found"),
        ([b'<?xml version="1.0" encoding="hex"?><a/>'], "encoding"),
        ([b'<?xml version="1.0" encoding="utf-7"?><a/>'], "encoding"),
        ([b"<a>&b;</a>"], "undefined entity"),
    ],
)
def test_what_would_take_much_memory_or_time_is_reported_as_damage(pieces: list[bytes], sentence: str) -> None:
    with pytest.raises(UnreadableFileError, match=f"The workbook is damaged or incomplete .*{sentence}"):
        names_of(pieces)


def test_a_long_text_is_no_long_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xml_part, "MAX_TAG_BYTES", 100)

    assert names_of([b"<a>", *[b"x" * 1_000] * 10, b"</a>"]) == ["a"]
