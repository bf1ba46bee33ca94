"""Hostile tables of text: quotes, sizes, encodings, names of columns, values."""

import random
from collections.abc import Callable, Iterator
from functools import partial

from tests.benchmarks.hostile.case import MB, FileCase

SEED = 9
#: Bytes of the files that are only large enough to show that time grows with the square of something.
MEDIUM = 400_000


def cases() -> list[FileCase]:
    return [*_quotes(), *_sizes(), *_encodings(), *_names(), *_values()]


def _csv(name: str, build: Callable[[], bytes], **more: object) -> FileCase:
    return FileCase(f"csv: {name}", build, "hostile.csv", **more)  # type: ignore[arg-type]  # the fields of a FileCase


def _repeated(head: bytes, unit: bytes, size: int = MEDIUM, tail: bytes = b"") -> Callable[[], bytes]:
    """head, then the unit so often that there are about `size` bytes, then tail."""
    return lambda: head + unit * (size // len(unit)) + tail


def _quotes() -> Iterator[FileCase]:
    """Quotes where a parser that searches for the other end of a quoted cell searches again and again."""
    yield _csv("a quote that closes on the next line", _repeated(b"h1,h2\n", b'a","\n'))
    yield _csv("a quote after each inch", _repeated(b"name,kind\n", b'tv 55","lcd\n'))
    yield _csv("numbers without a first quote", _repeated(b"a,b,c\n", b'5","6","7\n'))
    yield _csv("numbers without a last quote", _repeated(b"a,b,c\n", b'"5","6","7\n'))
    yield _csv("one quote that is never closed", _repeated(b'a,b\n"', b"x,y\n", 4 * MB))
    yield _csv("an unclosed quote in the header", _repeated(b'"a,b\n', b"x,y\n", 4 * MB))
    yield _csv("an unclosed quote on each line", _repeated(b"a,b\n", b'x,"y\n', 4 * MB))
    yield _csv("an unclosed quote in the last cell", _repeated(b"a,b\n", b"x,y\n", 4 * MB, b'x,"y'))
    yield _csv("quotes only", _repeated(b"a\n", b'"'))
    yield _csv("pairs of quotes without line ends", _repeated(b"a,b\n", b'""', 4 * MB))
    yield _csv("quoted line ends", _repeated(b'a\n"', b"\n", 4 * MB, b'"\n'))
    yield _csv("quotes inside of cells", _repeated(b"a,b\n", b'x"y"z,"a""b\n'))
    yield _csv("single quotes", _repeated(b"a,b\n", b"'x,y','\n"))
    yield _csv("backslashes before quotes", _repeated(b"a,b\n", b'"x\\",y\\""\n'))
    yield _csv("each delimiter after a quote", _repeated(b"a;b\n", b'";"\t"|","\n'))
    yield _csv("text after a closing quote", _repeated(b"a,b\n", b'"x"y,"z" \n'))
    yield _csv(
        "inches among good rows",
        lambda: b"".join([b"n,name\n", *(b'%d,tv %d"\n' % (n, n) for n in range(300))]),
        must_complete=True,
    )


def _sizes() -> Iterator[FileCase]:
    yield _csv("one line of 50 MB", _repeated(b"", b"abcdefghi ", 50 * MB))
    yield _csv("one row of 50 MB of cells", _repeated(b"", b"x,", 50 * MB))
    yield _csv("a line of 20 MB below the header", _repeated(b"a\n", b"abcdefghi ", 20 * MB, b"\nb\n"))
    yield _csv("a quoted cell of 20 MB", _repeated(b'a,b\n1,"', b"abcdefghi\n", 20 * MB, b'"\n2,x\n'))
    yield _csv(
        "500 rows of 100 kB", lambda: b"n,text\n" + b"".join(b"%d,%s\n" % (n, b"x" * 100_000) for n in range(500))
    )
    yield _csv("12,000 columns", lambda: _wide(12_000, rows=20, cell="7"))
    yield _csv("1,500 columns of one letter", lambda: _wide(1_500, rows=200, cell="x"), must_complete=True)
    yield _csv(
        "1,500 columns of numbers",
        lambda: _wide(1_500, rows=200, cell="7"),
        must_complete=True,
        beyond_postgresql="too many columns for PostgreSQL",
    )
    yield _csv("200,000 columns", lambda: _wide(200_000, rows=2, cell="7"))
    yield _csv("rows of growing length", lambda: b"a,b\n" + b"".join(b"x," * n + b"\n" for n in range(2_000)))
    yield _csv("a million blank lines", lambda: b"a,b\n" + b"\n" * MB + b"1,2\n")
    yield _csv("a million blank lines first", lambda: b"\n" * MB + b"a,b\n1,2\n")
    yield _csv("a million lines of spaces", lambda: b"a,b\n" + b"  \n" * MB)
    yield _csv("delimiters only", _repeated(b"", b",", 4 * MB))
    yield _csv("lines of delimiters only", _repeated(b"a,b,c\n", b",,\n", 4 * MB))
    yield _csv("line ends of old Macs", _repeated(b"a,b\r", b"1,2\r", 2 * MB))
    yield _csv("every kind of line end", _repeated(b"a,b\r\n", b"1,2\r3,4\n5,6\r\n\r7,8\n\r"))
    yield _csv("carriage returns only", _repeated(b"", b"\r", 4 * MB))
    yield _csv("one byte", lambda: b"a")
    yield _csv("a header without rows", lambda: b"a,b,c\n")
    yield _csv("a million rows of one digit", lambda: b"a\n" + b"1\n" * MB, must_complete=True)
    yield _csv("spaces between quotes and delimiters", _repeated(b"a,b\n", b'"x" , "y"\n'))


def _wide(columns: int, rows: int, cell: str) -> bytes:
    header = ",".join(f"c{number}" for number in range(columns))
    row = ",".join([cell] * columns)
    return "\n".join([header, *[row] * rows, ""]).encode()


def _encodings() -> Iterator[FileCase]:
    text = "name,city\nZoë,Łódź\n美咲,東京\n" * 200

    def declared(name: str, encoding: str, content: bytes) -> FileCase:
        return _csv(f"{name} declared as {encoding}", lambda: content, fields={"encoding": encoding})

    yield _csv("NUL bytes", _repeated(b"a,b\n", b"\0,\0\n"))
    yield _csv("NUL bytes only", _repeated(b"", b"\0", 2 * MB))
    yield _csv("a NUL in the header", lambda: b"a\0,b\n1,2\n")
    yield _csv("byte order marks again and again", _repeated(b"\xef\xbb\xbf", b"\xef\xbb\xbfa,b\n"))
    yield _csv("a byte order mark alone", lambda: b"\xef\xbb\xbf")
    yield _csv("bytes of no encoding", _repeated(b"a,b\n", b"\xff\xfe\xfd,\x80\x81\n"))
    yield _csv("invalid UTF-8 after 2 MB", _repeated(b"a,b\n", b"x,y\n", 2 * MB, b"\xc3\x28,z\n"))
    yield _csv("surrogates", _repeated(b"a,b\n", b"\xed\xa0\x80,\xed\xbf\xbf\n"))
    yield _csv("overlong UTF-8", _repeated(b"a,b\n", b"\xc0\xaf,\xe0\x80\xaf\n"))
    for codec in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
        yield _csv(f"{codec} without a byte order mark", partial(text.encode, codec))
        yield _csv(f"{codec} with a byte order mark", partial(("\ufeff" + text).encode, codec))
    yield _csv("UTF-16 of an odd length", lambda: ("\ufeff" + text).encode("utf-16-le")[:-1])
    yield _csv(
        "UTF-16 with lone surrogates", lambda: b"\xff\xfe" + "a,b\n".encode("utf-16-le") + b"\x00\xd8\x0a\x00" * 99
    )
    yield _csv("UTF-7", lambda: text.encode("utf-7"))
    yield declared("UTF-8", "utf-16", text.encode())
    yield declared("UTF-8", "utf-32", text.encode())
    yield declared("UTF-8", "utf-7", text.encode())
    yield declared("UTF-8", "cp037", text.encode())
    yield declared("random bytes", "shift_jis", random.Random(SEED).randbytes(MEDIUM))
    yield declared("random bytes", "gb18030", random.Random(SEED).randbytes(MEDIUM))
    yield declared("random bytes", "iso2022_jp_2", random.Random(SEED).randbytes(MEDIUM))
    yield declared("random bytes", "hz", random.Random(SEED).randbytes(MEDIUM))
    yield declared("a table", "rot13", text.encode())
    yield declared("a table", "zlib_codec", text.encode())
    yield declared("a table", "x" * 10_000, text.encode())
    yield declared("a table", "utf-8\0", text.encode())


def _names() -> Iterator[FileCase]:
    """Names of columns that mean something to SQL, to HTML or to a format string. Each cell has to be read back."""

    def header(name: str, *names: str) -> FileCase:
        rows = [[f"r{row}c{column}" for column in range(len(names))] for row in range(1, 6)]
        lines = [",".join(_quoted(name) for name in names), *(",".join(row) for row in rows)]
        content = "\n".join(lines).encode() + b"\n"
        return _csv(f"names: {name}", lambda: content, cells=rows, must_complete=True)

    yield header("%(x)s beside x and ?", "%(x)s", "x", "?")
    yield header("parameters of SQLAlchemy", "%(param_1)s", "param_1", ":param_1", "%(param_1)s ")
    yield header("parameters of drivers", ":x", ":1", "$1", "?1", "@x", "%s", "%")
    yield header("percent signs", "100%", "%%", "%%s", "%d %d", "%(")
    yield header("quotes", '"', '""', "'", "`", "[x]", '"; --')
    yield header("braces", "{x}", "{{ x }}", "{% x %}", "${x}", "{0}")
    yield header("brackets and dots", "a.b", "a[0]", "a()", "data.a", "*")
    yield header("statements", 'x"; DROP TABLE uploads; --', "x'; DELETE FROM uploads; --", "1=1", "select")
    yield header("markup", "<script>alert(1)</script>", "<b>", "&amp;", '"><img src=x onerror=alert(1)>')
    yield header("formulas", "=1+1", "+x", "-x", "@x", "\t=x")
    yield header("backslashes", "\\", "\\n", "\\x00", "a\\")
    yield header("names of their own", "_upload_id", "_row_number", "id", "rowid", "ctid", "oid", "xmin")
    yield header("upper and lower case", "a", "A", "ß", "SS", "ss", "İ", "i")
    yield header("invisible characters", "a\u200b", "a", "a\u00a0", "\u202eabc", "\ufeffa")
    yield header("empty names", "a", "b", "c", " ", "\u3000", "")
    yield header("line ends in names", "a\nb", "a\r\nb", "a b")
    yield header("64 kB", "x" * 65_536, "y" * 65_535 + "é", "z")
    yield header("63 bytes and one more", "x" * 63, "x" * 64, "é" * 32, "é" * 31)
    yield header("as numbers", "1", "2", "3.5", "-1")
    yield _csv("names: the same one 5,000 times", lambda: b",".join([b"x"] * 5_000) + b"\n" + b",".join([b"1"] * 5_000))
    yield _csv("names: the same one 1,000 times", lambda: b",".join([b"x"] * 1_000) + b"\n" + b",".join([b"1"] * 1_000))
    yield _csv("names: the same one with numbers", lambda: b"x,x_2,x,x_3,x_2,x\n" * 2)
    yield _csv("names: a dataset's name of 10,000 letters", lambda: b"a\n1\n", fields={"dataset": "x" * 10_000})
    yield _csv(
        "names: a dataset's name that is SQL", lambda: b"a\n1\n", fields={"dataset": 'x"; DROP TABLE uploads; --'}
    )
    yield _csv("names: a dataset's name that is a path", lambda: b"a\n1\n", fields={"dataset": "../../etc/passwd"})


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _values() -> Iterator[FileCase]:
    def column(name: str, *values: str, times: int = 50) -> FileCase:
        lines = ["n,value", *(f"{n},{_quoted(values[n % len(values)])}" for n in range(times * len(values)))]
        return _csv(f"values: {name}", lambda: "\n".join(lines).encode())

    yield column("numbers of 10,000 digits", "1" * 10_000, "-" + "9" * 10_000, times=100)
    yield column("numbers beyond a float", "1e400", "-1e400", "1e-400", "1e999999999999", "1E+308")
    yield column("numbers of a million digits", "1" * MB, "0." + "0" * MB + "1", times=2)
    yield column("integers at their limits", str(2**63 - 1), str(2**63), str(-(2**63)), str(-(2**63) - 1), str(2**64))
    yield column("deep decimals", "0." + "1" * 400, "-0." + "0" * 400 + "1", "1." + "9" * 999)
    yield column("what a float also may be", "nan", "inf", "-inf", "NaN", "Infinity", "1_000", "0x1F", "1e5", "١٢٣")
    yield column(
        "days that never were", "0000-00-00", "9999999-1-1", "2023-02-30", "0001-01-01", "9999-12-31", "10000-01-01"
    )
    yield column(
        "days of few and many digits", "1-1-1", "2023-1-1", "2023-001", "2023-W01-1", "20230101", "+2023-01-01"
    )
    yield column("times that never were", "24:00:00", "23:59:60", "99:99", "00:00:00.123456789123", "12:00+99:99")
    yield column("moments with zones", "2023-01-01T00:00:00Z", "2023-01-01 00:00:00+23:59", "0001-01-01T00:00:00+14:00")
    yield column(
        "killers of backtracking patterns", "a" * 50_000 + "!", "1" * 50_000 + "x", " " * 50_000 + "x", times=10
    )
    yield column("dashes and spaces of 100 kB", "-" * 100_000, "." * 100_000, "e" * 100_000, "0" * 100_000, times=5)
    yield column("formulas", "=1+1", "=cmd|'/c calc'!A1", "+1", "-1+1", "@SUM(1)", "\t=1", "\uff1d1", "x;=1", "\n=1")
    yield column("markup", "<script>alert(1)</script>", "<!--", "]]>", "</textarea>", "&#0;", "<svg onload=alert(1)>")
    yield column("statements", "'; DROP TABLE uploads; --", '"', "\\", "%s", "%(x)s", "${x}", "{{ 7 * 7 }}")
    yield column("from right to left", "\u202etxt.exe", "\u2066x\u2069", "\u200f", "a\u0301" * 1_000)
    yield column("control characters", "".join(map(chr, range(1, 32))), "\x7f", "\x85", "\u2028", "\u2029")
    yield column("terminal escapes", "\x1b[2J\x1b]0;title\x07", "\x9b31m", "\x08" * 99)
    yield column(
        "combining marks", "Z" + "\u0351" * 20_000, "\U0001f468\u200d\U0001f469\u200d\U0001f467" * 5_000, times=5
    )
    yield column("characters of each plane", "\U0010ffff", "\ufffe", "\uffff", "\U0001f600", "\ue000")
    yield _csv(
        "values: other types after 2 MB",
        lambda: b"n,v\n" + b"".join(b"%d,%d\n" % (n, n) for n in range(150_000)) + b"x,=1\n",
    )
    yield _csv("values: 60,000 distinct cells of 100 digits", lambda: _distinct(60_000))


def _distinct(rows: int) -> bytes:
    numbers = random.Random(SEED)
    return b"n,v\n" + b"".join(b"%d,%d\n" % (n, numbers.getrandbits(330)) for n in range(rows))
