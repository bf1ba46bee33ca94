"""Rewriting texts of unusual dialects."""

import csv
import io
import time

import pytest

from jobs.formats import tokenizer
from jobs.formats.dialect import detect_dialect
from jobs.formats.tokenizer import Dialect
from jobs.pipeline import rewriting
from tests.support.files import nothing


def rewritten(text: bytes, dialect: Dialect) -> bytes:
    target = io.BytesIO()
    rewriting.rewrite(io.BytesIO(text), target, dialect, nothing)
    return target.getvalue()


def table(text: str) -> list[list[str]]:
    """As the reader sees a text that is rewritten in its detected dialect."""
    result = rewritten(text.encode(), detect_dialect(text)).decode()
    return [record for record in csv.reader(io.StringIO(result, newline="")) if record]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b,c\n1,'x, y',2\n2,it's,3\n", [["a", "b", "c"], ["1", "x, y", "2"], ["2", "it's", "3"]]),
        ("'a','b'\n'x','it''s'\n'y','5\" pipe'\n", [["a", "b"], ["x", "it's"], ["y", '5" pipe']]),
        ("a,b\n'it\\'s, ok',2\n'x',3\n", [["a", "b"], ["it's, ok", "2"], ["x", "3"]]),
        ("a,b\n'two\nlines, ok',2\nx,3\n", [["a", "b"], ["two\nlines, ok", "2"], ["x", "3"]]),
        ('a,b\n"say \\"hi\\", ok",C:\\new\n"x",3\n', [["a", "b"], ['say "hi", ok', "C:\\new"], ["x", "3"]]),
        ("a,b\nx\\,y,2\nz,3\n", [["a", "b"], ["x,y", "2"], ["z", "3"]]),
        (
            'a, b, c\n1, "x, y", 2\n2, "z", \n, "", 4\n',
            [["a", "b", "c"], ["1", "x, y", "2"], ["2", "z", ""], ["", "", "4"]],
        ),
        ("a, b\n1, x\n2, y\n3, z\n", [["a", "b"], ["1", "x"], ["2", "y"], ["3", "z"]]),
        ('id name n\n1 "Ann Lee" 5,5\n2 Bob ""\n', [["id", "name", "n"], ["1", "Ann Lee", "5,5"], ["2", "Bob", ""]]),
        (
            "name        city       age\nAnn Lee     New York   5\nBob         Oslo       6\n",
            [["name", "city", "age"], ["Ann Lee", "New York", "5"], ["Bob", "Oslo", "6"]],
        ),
        (" x    y\n 1.5  2\n 10   3  \n", [["x", "y"], ["1.5", "2"], ["10", "3"]]),
        ("'x' 'y' 'z'\n1 2 3\n4 5 6\n", [["x", "y", "z"], ["1", "2", "3"], ["4", "5", "6"]]),
        ("0.5 1.25\n-0.1 2.5\n0.3 1.0\n", [["0.5", "1.25"], ["-0.1", "2.5"], ["0.3", "1.0"]]),
        ("a,b\n1,2\n# note\n3,4\n", [["a", "b"], ["1", "2"], ["3", "4"]]),
        ("a~b~c\n1~2~3\n4~5~6\n", [["a", "b", "c"], ["1", "2", "3"], ["4", "5", "6"]]),
        ("a;b\r\n1;'x; y'\r\n2;z", None),
    ],
)
def test_an_unusual_dialect_is_read_as_it_is_meant(text: str, expected: list[list[str]] | None) -> None:
    if expected is None:
        assert rewritten(text.encode(), detect_dialect(text)) == b'a;b\r\n1;"x; y"\r\n2;z'
    else:
        assert expected == table(text)


def test_every_record_keeps_its_lines() -> None:
    text = b"# x\na,b\r\n\r\n# y\r\n'1\n1',2\r3,'4, 4'\n\n"

    assert rewritten(text, Dialect(",", "'", comments=2)) == b'\na,b\r\n\r\n\r\n"1\n1",2\r3,"4, 4"\n\n'


def test_a_quote_that_never_closes_is_a_row_of_one_cell() -> None:
    text = b"a,b\n1,'Smith\n2,'Jones'\n3,'open\n4,x\n"

    assert rewritten(text, Dialect(",", "'")) == b'a,b\n"1,\'Smith"\n2,Jones\n"3,\'open"\n4,x\n'


def test_bytes_that_are_not_text_and_empty_cells_stay() -> None:
    assert rewritten(b"a\n''\n\xff\xe9\n", Dialect(",", "'")) == b'a\n""\n\xff\xe9\n'


def test_a_line_that_is_too_long_for_a_row_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewriting, "MAX_RECORD", 100)
    monkeypatch.setattr(tokenizer, "MAX_RECORD", 100)
    monkeypatch.setattr(rewriting, "BLOCK_BYTES", 50)
    text = b"a,b\n'x','" + b"z" * 1000 + b"'\n'1',2\n"

    assert rewritten(text, Dialect(",", "'")) == b"a,b\n'x','" + b"z" * 1000 + b"'\n1,2\n"


@pytest.mark.parametrize(
    "line", ["x,'\n", "','\n", "a','b\n", "'a'b\n", "'", "\\'\n", "'\\\n", "''", "'x\n,", " 'y'z,'"]
)
@pytest.mark.parametrize("escapes", [False, True])
def test_hostile_text_takes_linear_time(line: str, escapes: bool) -> None:
    text = (line * (100_000 // len(line))).encode()
    started = time.process_time()

    rewritten(b"q,'open\n" + text, Dialect(",", "'", escapes=escapes, skips_spaces=True))

    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,2\n",
        'a,b\n"x, y",2\n"it\'s",3\n',
        "a,b\n'tis,5\n'twas,6\ndon't,7\n",
        'a,b\n"C:\\dir\\",5\n"D:\\",6\n',
        "comment\nHello, world\nYes, fine\nOK, good\n",
        "full name\nAnn Lee\nBob Ray\n",
        "date time\n2024-01-01 10:00\n2024-01-02 11:00\n",
        "room number\nRoom 5\nRoom 6\n",
        "text\nThis is one sentence here.\nAnd that is another one.\n",
        "a,b\n#x,2\n#y,4\n",
        "a\tb\n x\t y\n z\t w\n",
        "a;b\n1,5;2,5\n3,5;4,5\n",
        "name,said\nAnn,\"'hi'\"\nBob,\"'yo'\"\n",
        'name\ttext\nAnn\tsays "hi" to\nBob\t5" pipe\nEve\t\'no\' is "no"\n',
        "name\n",
        "",
        "a\n\n",
        "total count\n1 234 567\n2 345 678\n",
    ],
)
def test_a_usual_text_is_not_taken_for_an_unusual_one(text: str) -> None:
    dialect = detect_dialect(text)

    assert dialect == Dialect(dialect.delimiter)
    assert dialect.delimiter != " "
