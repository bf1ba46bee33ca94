"""Detecting the delimiter and the header row."""

import csv
import io

import pytest

from jobs import dialect
from jobs.dialect import DELIMITERS, detect_delimiter, find_header, skipped_note, table_of

# Delimiters


@pytest.mark.parametrize(
    ("sample", "delimiter"),
    [
        ("a,b\n1,2\n", ","),
        ("a;b\n1;2\n", ";"),
        ("a\tb\n1\t2\n", "\t"),
        ("a|b\n1|2\n", "|"),
        ("a;b\n1,5;2,5\n3,5;4,5\n", ";"),
        ("amount, EUR;price, EUR\n1,5;2,5\n3,5;4,5\n", ";"),
        ("name;amount\nMüller;1.234,56\nMeier;7,00\n", ";"),
        ("id;text\n1;one, two, three\n2;four, five\n3;six\n", ";"),
        ("id,text\n1,one; two\n2,three; four\n", ","),
        ("name|notes\nAnn|a, b, c\nBob|d, e, f\n", "|"),
        ("id\ttext\n1\ta, b; c\n2\td, e; f\n", "\t"),
        ('a,b\n"1;2;3","4;5;6"\n"7;8;9","0;1;2"\n', ","),
        ('a;b\n"x, y";"z\nw, v"\n"p, q";r\n', ";"),
        ("a,b,c\n1,2,3\n1,2\n1,2,3,4\n" + "4,5,6\n" * 20, ","),
        ('a,b\n1,"never closed\n' + "3,4\n" * 5, ","),
        ("Report; June, 2026\n\nid,name,amount\n1,Ann,5\n2,Bob,6\n", ","),
        ("Report for June, 2026\nCreated: today\nid;name;amount\n1;Ann;1,5\n2;Bob;2,5\n", ";"),
        ("sep=;\na;b,c\n1;2,3\n", ";"),
        ("sep=|\r\na,b|c\r\n", "|"),
        ("a;b;c\n", ";"),
        ("a,b,c", ","),
        ("2026-01-31 09:00:00,x\n2026-01-31 09:00:00,y\n", ","),
        ("a,b,\n1,2,\n3,4,\n", ","),
        ("name;\nAnn;\nBob;\n", ";"),
        ("name,\n1,2\n3,4\n", ","),
    ],
)
def test_the_delimiter_that_makes_a_table_is_detected(sample: str, delimiter: str) -> None:
    assert delimiter == detect_delimiter(sample)


@pytest.mark.parametrize(
    "sample", ["name\nAnn\nBob\n", "comment\nHello, world\nYes, fine, thanks\nOK\n", "name", "", "\n\n"]
)
def test_the_cells_of_a_single_column_are_not_split(sample: str) -> None:
    assert detect_delimiter(sample) not in sample


# Headers


def split(text: str, delimiter: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(text), delimiter=delimiter))


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("a,b\n1,2\n", 0),
        ("Report for June\na,b\n1,2\n", 1),
        ("Report for June\n\nCreated: 2026-01-31\n\nid,name\n1,x\n2,y\n", 4),
        ("Report for June,,\n,,\nid,name,amount\n1,x,2\n2,y,3\n", 2),
        ("Created:,2026-01-31\nBy:,Ann\nid,name,amount,note\n1,x,2,\n2,y,3,z\n", 2),
        ("Report\nid,name\n1,x\n2,y\n", 1),
        ("\n\na,b\n1,2\n", 2),
        ("sep=,\na,b\n1,2\n", 1),
        ("sep=,\nname\nAnn\n", 1),
        (
            "Source,World Bank,\n\nUpdated,2026-01-31,\n\nCountry,Code,1960,1961,1962\nAruba,ABW,1,2,3\nChad,TCD,,3,\n",
            4,
        ),
        ("Report for June\n,name,amount\n,Ann,1\n,Bob,2\n", 1),
        ("Report for June\nid,name,note\n1,x,\n2,y\n3,z,a\n4,p,b,c\n" + "5,q,r\n" * 20, 1),
    ],
)
def test_lines_above_a_table_are_not_the_header(text: str, header: int) -> None:
    assert header == find_header(split(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name\nAnn\nBob\n",
        "id,name\n1,x,surplus\n2,y,surplus\n",
        "name,city\nAnn,Rome,x\nBob,Oslo,y\n",
        "id,name,,\n1,Ann,x,y\n2,Bob,p,q\n",
        "comment\nHello, world\nYes, fine\nOK, good\n",
        "Report for June\n1,2\n3,4\n",
        "Report for June\nid,id\n1,2\n",
        "Report for June\nid,\n1,2\n",
        "a note\nAnn,Rome\n",
        "a,b\nonly one cell\nonly one cell\nonly one cell\n1,2\n",
        "some prose, with commas\nmore of it\nand, again, and again\nthe end\n",
        "1,2\n3,4\n",
        "a,b,c\n1\n2\n3\n",
    ],
)
def test_without_proof_the_first_line_is_the_header(text: str) -> None:
    assert find_header(split(text)) == 0


def test_the_note_about_skipped_lines_is_short() -> None:
    above = [["Report", "for June"], [], ["x" * 100], ["third"], ["fourth"]]

    assert skipped_note(above, 5) == f"Skipped 5 lines above the header: “Report for June”, “{'x' * 59}…”, “third” …."
    assert skipped_note([["Report"]], 1, "row") == "Skipped 1 row above the header: “Report”."


@pytest.mark.parametrize("delimiter", DELIMITERS)
def test_column_names_are_read_from_the_beginning_of_a_text(delimiter: str) -> None:
    lines = [["id", " first  name ", "born"], ["1", "Ann", "1999"], ["2", "Bob", "2000"]]
    text = "\n".join(delimiter.join(cells) for cells in lines)

    assert table_of(text)[0] == ["id", "first name", "born"]


@pytest.mark.parametrize(
    ("sample", "names"),
    [
        ("", []),
        ("\n", []),
        ("id,name", ["id", "name"]),
        ("id,name\n1,x\n2,cut he", ["id", "name"]),
        ("Report for June\n\nid;name\n1;x\n", ["id", "name"]),
        ("only one\n", ["only one"]),
    ],
)
def test_the_beginning_may_be_short_and_cut_anywhere(sample: str, names: list[str]) -> None:
    assert names == table_of(sample)[0]


class _Counted(str):
    """A cell that counts how often it is looked at."""

    looks = 0

    def strip(self, chars: str | None = None, /) -> str:
        _Counted.looks += 1
        return super().strip(chars)


def test_records_of_very_many_cells_are_looked_at_a_few_times() -> None:
    _Counted.looks = 0
    header, wide = ["one", "two", "three"], [_Counted("")] * 10_000

    assert find_header([*[["sep=,"]] * 97, header, wide]) == 97
    assert _Counted.looks <= 4 * len(wide)


def test_a_record_of_very_many_cells_does_not_make_the_others_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    value, looks = dialect._VALUE, list[str]()

    class Counted:
        def fullmatch(self, text: str) -> object:
            looks.append(text)
            return value.fullmatch(text)

    monkeypatch.setattr(dialect, "_VALUE", Counted())  # nothing public tells how many cells were looked at
    header, wide = ["one", "two", "three"], [""] * 10_000

    assert find_header([["title"], header, wide, *[["a", "b", "c"]] * 97]) == 0
    assert len(looks) <= 2 * len(wide)
