"""Detecting the dialect."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobs.formats.dialect import DELIMITERS, detect_delimiter, detect_dialect, header_of, tidy_records
from jobs.formats.tokenizer import Dialect, Tokenizer, Tokens


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
        ('"id","title","k","ok"\n"1","a;b;c","x;y"\n"2","d;e;f","z;w"\n"3","q;r;t","u;v"\n', ","),
        ('"id";"text"\n1;"a, b"\n2;"c, d, e"\n3;"f, g"\n', ";"),
    ],
)
def test_the_delimiter_that_makes_a_table_is_detected(sample: str, delimiter: str) -> None:
    assert delimiter == detect_delimiter(sample)


@pytest.mark.parametrize(
    "sample", ["name\nAnn\nBob\n", "comment\nHello, world\nYes, fine, thanks\nOK\n", "name", "", "\n\n"]
)
def test_the_cells_of_a_single_column_are_not_split(sample: str) -> None:
    assert detect_delimiter(sample) not in sample


@pytest.mark.parametrize("delimiter", DELIMITERS)
def test_column_names_are_read_from_the_beginning_of_a_text(delimiter: str) -> None:
    lines = [["id", " first  name ", "born"], ["1", "Ann", "1999"], ["2", "Bob", "2000"]]
    text = "\n".join(delimiter.join(cells) for cells in lines)

    assert header_of(text) == ["id", "first name", "born"]


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
    assert names == header_of(sample)


@pytest.mark.parametrize(
    "text",
    [
        "id,name\n1,'Ann, Lee'\n2,Bob\n",
        'id, name\n1, "Ann, Lee"\n2, Bob\n',
        'id name\n1 "Ann, Lee"\n2 Bob\n',
        "id    name\n1     Ann, Lee\n2     Bob\n",
    ],
)
def test_column_names_are_read_in_unusual_dialects(text: str) -> None:
    assert header_of(text) == ["id", "name"]


def test_a_text_without_a_header_has_no_names() -> None:
    assert header_of("1,2\n3,4\n") == []


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_the_dialect_of_a_large_sample_is_detected_from_its_beginning(newline: str) -> None:
    lines = ["id,name", *(f"{n},'Ann, Lee'" for n in range(20_000))]

    assert detect_dialect(newline.join(lines) + newline) == Dialect(",", "'")


@pytest.mark.parametrize(
    "unit", [",", "'", '"', ",'", "\\'", " ", '","', "\n", '"\n', "#\n", ', "', "' \" ", "a,'\",\\'\n"]
)
def test_hostile_samples_take_little_time(unit: str) -> None:
    started = time.process_time()

    detect_dialect(unit * (1_000_000 // len(unit)))

    assert time.process_time() - started < 5


@given(
    st.lists(
        st.lists(
            st.sampled_from(["a", "é", "", " ", "a b", "1,5", ' "x"', '"x" ', '""', '"a, b"', '"a""b"', '"a\nb"', '"'])
        ),
        max_size=4,
    ),
    st.sampled_from(DELIMITERS),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
@example([["a", '"a, b"', '""'], ["1", "é", '"c"']], ",", "\n")
def test_tidy_lines_are_split_as_the_tokenizer_splits_them(records: list[list[str]], delimiter: str, end: str) -> None:
    lines = end.join(delimiter.join(cells) for cells in records).splitlines(keepends=True)

    found = tidy_records(lines, delimiter)

    assert found is None or found == list(Tokenizer(Dialect(delimiter)).records(lines))


def test_lines_with_quotes_around_some_cells_are_tidy() -> None:
    assert tidy_records(['a,"b, c",""\n'], ",") == [Tokens('a,"b, c",""\n', ["a", "b, c", ""], 2)]
    assert tidy_records(['a,"b""c"\n'], ",") is None
    assert tidy_records(['a,"b\n', 'c"\n'], ",") is None
    assert tidy_records(['a,b"c\n'], ",") is None
