"""Scanning the XML of a worksheet."""

from collections.abc import Callable

import pytest

from jobs.errors import UnreadableFileError
from jobs.pipeline.xlsx import problem, survey
from jobs.pipeline.xlsx.survey import Survey


def surveyed(rows: str | bytes) -> Survey:
    result = Survey()
    result.see(rows.encode() if isinstance(rows, str) else rows)
    result.finish()
    return result


def test_cells_and_the_rectangle_around_them_are_counted() -> None:
    found = surveyed(
        '<row r="2"><c r="B2"><v>1</v></c><c s="1" r="AA2" t="s"><v>0</v></c></row><row r="9"><c r="C9"/></row>'
    )

    assert (found.plain, found.cells, found.area, found.strings) == (True, 3, 8 * 26, 1)


def test_problems_are_found_with_prefixes_quotes_and_spaces() -> None:
    found = surveyed(
        """<x:c r='B2' t = 'e'><x:v>#N/A</x:v></x:c><x:c r="C2"><x:f>A1 &amp; "e"</x:f> <x:v/> </x:c>"""
        """<c r="D2" t="str"><f>""</f><v></v></c><c r="E2"><f t="shared" si="0"/></c><c r="F2"><f>1</f><v>1</v></c>"""
    )

    assert {place: each.text for place, each in found.problems[2].items()} == {1: "#N/A", 2: '=A1 & "e"', 4: "="}


@pytest.mark.parametrize(
    "cell",
    [
        "<c><v>1</v></c>",
        '<c r="ABCD1"/>',
        '<c r="A12345678"/>',
        '<c r="&#65;1"/>',
        '<c r=A1 x="1"/>',
        '<é:c r = "A1/>',
    ],
)
def test_a_reference_that_the_patterns_do_not_see_makes_a_worksheet_not_plain(cell: str) -> None:
    assert surveyed('<row r="1"><c r="A1"><v>1</v></c></row>').plain
    assert not surveyed(f'<row r="1"><c r="A1"><v>1</v></c>{cell}<x r="A1"/></row>').plain


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf16_is_not_plain(encoding: str) -> None:
    assert not surveyed('<row r="1"><c r="A1"/></row>'.encode(encoding)).plain


def test_a_very_long_row_is_not_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "PIECE_BYTES", 1_000)
    monkeypatch.setattr(survey, "MAX_ROW_BYTES", 10_000)
    found = Survey()
    for _ in range(20):
        found.see(b" " * 1_000)

    assert not found.plain


def test_a_cell_outside_of_the_worksheet_is_reported_as_damage() -> None:
    with pytest.raises(UnreadableFileError, match="a cell beyond row 1,048,576"):
        surveyed('<c r="A1048577"/>')
    with pytest.raises(UnreadableFileError, match="or column 16,384"):
        surveyed('<c r="XFE1"/>')


def test_too_many_problems_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "MAX_PROBLEMS", 2)

    with pytest.raises(UnreadableFileError, match=f"more than {problem.MAX_PROBLEMS:,} cells with errors"):
        surveyed("".join(f'<c r="A{row}" t="e"><v>#N/A</v></c>' for row in range(1, 4)))


@pytest.mark.parametrize(
    "xml",
    [
        lambda size: '<c r="A2"><f>1</f>' + " " * size + "<is/></c>",
        lambda size: '<c r="A2"><f>1</f>' + "<v> </v>" * (size // 8),
        lambda size: '<c r="A2"><f' + " a" * (size // 2) + "</c>",
        lambda size: "<c " + 't="e" ' * (size // 6) + "<",
        lambda size: '<c r="A1" ' + 't="e" ' * (size // 6) + ">",
        lambda size: '<c r="A1" t="str"><v>' + '"e" ' * (size // 4) + "</v></c>",
        lambda size: '<c r="A1" t="e">' + " " * size + "<v/>",
        lambda size: '<c r="A1"/>' * (size // 11) + '"e"' * (size // 3),
        lambda size: "<" + "w" * size,
        lambda size: "<c" + ' a="1"' * (size // 6) + ' r="1"/>',
        lambda size: "<c" + " " * size + "/>",
        lambda size: ' r="' + "A" * size,
        lambda size: '<c r="A1"/>' + "<f>" * (size // 3),
        lambda size: "<f/>" * (size // 4),
    ],
)
@pytest.mark.timeout(100)  # a pattern that goes back over what it has seen does not end within hours
def test_the_time_is_linear_in_the_size(xml: Callable[[int], str]) -> None:
    surveyed(xml(4_000_000))
