"""Finding the header."""

import csv
import io

import pytest

from jobs.formats import header
from jobs.formats.header import Header, detect_header, find_header, skipped_note, without_header


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
        ("Report for June\nTotal,1500\nsku,amount\nA1,700\nA2,800\n", 2),
        ("Created:,2026-01-31\nTotal:,1500\nsku,amount\nA1,700\nA2,800\n", 2),
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
        "sku,price,note\nA1,2.00,x\nA2,2.0,\nA3,unknown,\nA4,1,\nA5,2,\n",  # columns at the end are often empty
        "sku,price,note\nA1,unknown,\nA2,1,\nA3,2,\n",
        ",price\nA1,2\nA2,unknown\nA3,1\nA4,2\n",  # a name is missing, or is repeated, or is a year
        "sku,price,price\nA1,2,3\nA2,unknown,none yet\nA3,1,1\nA4,2,2\n",
        "2020,price\nA1,2\nA2,unknown\nA3,1\nA4,2\n",
    ],
)
def test_without_proof_the_first_line_is_the_header(text: str) -> None:
    assert find_header(split(text)) == 0


def test_the_note_about_skipped_lines_is_short() -> None:
    above = [["Report", "for June"], [], ["x" * 100], ["third"], ["fourth"]]

    assert skipped_note(above, 5) == f"Skipped 5 lines above the header: “Report for June”, “{'x' * 59}…”, “third” …."
    assert skipped_note([["Report"]], 1, "row") == "Skipped 1 row above the header: “Report”."


class _Counted(str):
    """A cell that counts how often it is looked at."""

    looks = 0

    def strip(self, chars: str | None = None, /) -> str:
        _Counted.looks += 1
        return super().strip(chars)


def test_records_of_very_many_cells_are_looked_at_a_few_times() -> None:
    _Counted.looks = 0
    names, wide = ["one", "two", "three"], [_Counted("")] * 10_000

    assert find_header([*[["sep=,"]] * 97, names, wide]) == 97
    assert _Counted.looks <= 4 * len(wide)


def test_a_record_of_very_many_cells_does_not_make_the_others_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    value, looks = header._VALUE, list[str]()

    class Counted:
        def fullmatch(self, text: str) -> object:
            looks.append(text)
            return value.fullmatch(text)

    monkeypatch.setattr(header, "_VALUE", Counted())  # nothing public tells how many cells were looked at
    names, wide = ["one", "two", "three"], [""] * 10_000

    assert find_header([["title"], names, wide, *[["a", "b", "c"]] * 97]) == 1
    assert len(looks) <= 2 * len(wide)


# Whether there is one


@pytest.mark.parametrize(
    "text",
    [
        "1,2\n3,4\n",
        "12,Ann,2020-01-01\n13,Bob,2020-02-02\n",
        "5/19/2006,0:00,5,CC-9259,16.17\n5/20/2006,1:00,6,CC-9260,1.17\n",
        "Male,yes,Lyon\nFemale,no,Paris\nMale,no,Lyon\nMale,yes,Nice\n",
        "NA,5\n3,6\n4,7\n",
        "a@b.com,Ann\nc@d.org,Bob\n",
        "5\n6\n7\n",
        "1,2\n",
        "1,2,3\n4,5,6\n7,8,9\n",
        "2001,2002\n2003,2004\n",
        ",".join("odd" if n == 4 else "7" for n in range(12)) + "\n" + (",".join("5" * 12) + "\n") * 5,
    ],
)
def test_a_first_row_like_those_below_is_data(text: str) -> None:
    found = detect_header(split(text))

    assert (found.position, found.rows, found.is_guessed) == (0, 0, False)
    assert found.names == [""] * len(split(text)[0])


@pytest.mark.parametrize(
    "text",
    [
        "name,city\nAnn,Rome\nBob,Oslo\n",
        "id,name\n",
        "id,name\n1,Ann\n",
        "name\nAnn\nBob\n",
        "Country,1960,1961\nAruba,5,6\nChad,7,8\n",
        "a,b\nc,d\ne,f\n1,2\n",
        "id,name\nx,foo\n1,Ann\n2,Bob\n",
        "name,name,age\nAnn,Bob,5\nEve,Joe,6\n",
        ",x,y\na,1,2\nb,3,4\n",
        "name,city\nAnn,Rome\nname,city\nBob,Oslo\n",
        "n,Apples,Pears\n1,Apples,\n2,,Pears\n3,Apples,Pears\n",
        "id\n2019-01-01\n2019-01-02\n",
    ],
)
def test_a_usual_header_is_not_doubted(text: str) -> None:
    found = detect_header(split(text))

    assert (found.position, found.rows, found.is_guessed) == (0, 1, False)


@pytest.mark.parametrize(
    "text",
    [
        "0,1,2,3\n5.1,3.5,1.4,0.2\n4.9,3,1.4,.2\n",
        "Region,1,2,3\nNorth,5,6,7\nSouth,8,9,1\n",
        "name,name\nAnn,Bob\n",
        "yes,name\nyes,Ann\nno,Bob\n",
        "id,101,205\n5,7,8\n6,1,2\n",
        "150,4,setosa\n5.1,3.5,0\n4.9,3.0,1\n",
        "2019,2020\n900,1500\n903,1505\n",
    ],
)
def test_a_header_that_could_as_well_be_data_is_a_guess(text: str) -> None:
    found = detect_header(split(text))

    assert (found.rows, found.is_guessed) == (1, True)


# Titles, comments, several rows, names of nothing


@pytest.mark.parametrize(
    ("text", "position", "names"),
    [
        ("Report,June,2026,final,v2\nid,name\n1,x\n2,y\n", 1, ["id", "name"]),
        ("Report,Report,Report\nid,name,amount\n1,x,2\n2,y,3\n", 1, ["id", "name", "amount"]),
        ("Report,,,June 2026\nid,name,amount,note\n1,x,2,z\n2,y,3,z\n", 1, ["id", "name", "amount", "note"]),
        ("Report\nname,city,land\nAnn,Rome,IT\nBob,Oslo,NO\n", 1, ["name", "city", "land"]),
        (
            "Created;2024-12-31\nLand;Saxony\n\nname;a;b;c\nx;1;2;3\ny;4;5;6\n".replace(";", ","),
            3,
            ["name", "a", "b", "c"],
        ),
        (
            "People\n\n,2023,,2024,\nLand,m,f,m,f\nA,1,2,3,4\nB,5,6,7,8\n",
            2,
            ["Land", "2023 m", "2023 f", "2024 m", "2024 f"],
        ),
        ("# made by X\n# in 2020\nid,name\n1,a\n2,b\n", 2, ["id", "name"]),
        ("# made by X\n#id,name\n1,a\n2,b\n", 1, ["id", "name"]),
        ("#id,name\n1,a\n2,b\n", 0, ["id", "name"]),
        ("#,name\n1,a\n2,b\n", 0, ["#", "name"]),
        ("# made by X, on Monday\n1,2\n3,4\n", 1, ["", ""]),
        ("a,b,,\n1,2\n3,4\n", 0, ["a", "b"]),
        ("a,b,\n1,2,\n", 0, ["a", "b", ""]),
        ("a,,c,\n", 0, ["a", "", "c", ""]),
    ],
)
def test_names_are_read_below_titles_and_comments(text: str, position: int, names: list[str]) -> None:
    found = detect_header(split(text))

    assert (found.position, found.names) == (position, names)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("2019,,2020,\nQ1,Q2,Q1,Q2\n1,2,3,4\n5,6,7,8\n", ["2019 Q1", "2019 Q2", "2020 Q1", "2020 Q2"]),
        (
            ",2019,,2020,\nLand,Q1,Q2,Q1,Q2\nA,1,2,3,4\nB,5,6,7,8\n",
            ["Land", "2019 Q1", "2019 Q2", "2020 Q1", "2020 Q2"],
        ),
        (
            "Land,People,,Area,\n,male,female,land,water\nA,1,2,3,4\nB,5,6,7,8\n",
            ["Land", "People male", "People female", "Area land", "Area water"],
        ),
        ("Land,2023,2023\n,male,female\nA,1,2\nB,3,4\n", ["Land", "2023 male", "2023 female"]),
        ("temp,wind\nC,m/s\n1,2\n3,4\n", ["temp C", "wind m/s"]),
    ],
)
def test_a_header_of_several_rows_is_joined(text: str, names: list[str]) -> None:
    found = detect_header(split(text))

    assert (found.position, found.rows, found.names, found.is_guessed) == (0, 2, names, False)


def test_without_a_header_the_usual_row_tells_the_columns() -> None:
    assert without_header(split("\n1\n2,x\n3,y\n")) == Header(1, 0, ["", ""])


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", " "])
def test_a_header_may_be_split_at_another_delimiter_than_the_rows(delimiter: str) -> None:
    records = [[delimiter.join(["id", "name", "born"])], ["1", "Ann", "2000-01-01"], ["2", "Bob", "2001-01-01"]]

    assert detect_header(records) == Header(0, 1, ["id", "name", "born"])


@pytest.mark.parametrize("title", ["Sales by region", "Sales,by,region"])
@pytest.mark.parametrize("between", [[], [["-" * 15], []]])
def test_a_title_with_as_many_words_as_columns_is_no_header(title: str, between: list[list[str]]) -> None:
    records = [[title], *between, ["id", "name", "born"], ["1", "Ann", "2000-01-01"], ["2", "Bob", "2001-01-01"]]

    assert detect_header(records).names == ["id", "name", "born"]


def test_an_empty_name_is_dropped_where_the_header_has_one_cell_too_many() -> None:
    records = [["id", "", "name", "born"], ["1", "Ann", "2000-01-01"], ["2", "Bob", "2001-01-01"]]

    assert detect_header(records).names == ["id", "name", "born"]


def test_names_below_a_title_of_several_cells_are_a_guess_where_all_is_text() -> None:
    rows = [["a", "b", "", "", ""], ["r", "s", "t", "u", "v"], ["w", "x", "y", "z", "q"], ["k", "l", "m", "n", "o"]]

    assert (detect_header(rows).position, detect_header(rows).is_guessed) == (1, True)
    assert not detect_header([*rows[:2], ["1", "x", "y", "z", "q"], ["2", "l", "m", "n", "o"]]).is_guessed
