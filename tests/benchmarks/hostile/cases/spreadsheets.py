"""Hostile OpenDocument spreadsheets: repetitions, depth, entities, parts that lie."""

import io
import random
import zipfile
from collections.abc import Callable, Iterator

from tests.benchmarks.hostile.case import MB, Bounds, FileCase
from tests.benchmarks.hostile.packing import DEFLATED, Member, archive, bomb
from tests.support.spreadsheets import MANIFEST, MIME_TYPE, cell, ods, row, table

SEED = 9
#: Bytes that a worker may hold: a horse with its libraries has about 250 MB.
SMALL = Bounds(worker=700 * MB)
#: Seconds for a file of a million rows.
LONG = Bounds(worker=700 * MB, seconds=120)
GIGABYTE = 1 << 30


def cases() -> list[FileCase]:
    return [*_repetitions(), *_sizes(), *_xml(), *_archives()]


def _ods(name: str, build: Callable[[], bytes], **more: object) -> FileCase:
    return FileCase(f"ods: {name}", build, "hostile.ods", **more)  # type: ignore[arg-type]  # the fields of a FileCase


def _good() -> str:
    return table(["n", "name"], *[(n, "x") for n in range(500)])


def _often(xml: str, name: str, times: int) -> str:
    """The first element of some XML, repeated so often."""
    return xml.replace(">", f' table:number-{name}-repeated="{times}">', 1)


def _repetitions() -> Iterator[FileCase]:
    full = f"<table:table-row>{_often(cell('x'), 'columns', 16_384)}</table:table-row>"
    yield _ods("an ordinary one", lambda: ods(_good()), must_complete=True)
    yield _ods(
        "a million rows of 16,384 cells", lambda: ods(table(["a"], _often(full, "rows", 1_048_575))), bounds=SMALL
    )
    yield _ods("a row of 16,384 cells", lambda: ods(table(full, full)))
    yield _ods("200 rows of 16,384 cells", lambda: ods(table(*[full] * 200)), bounds=SMALL)
    yield _ods("two thousand million rows", lambda: ods(table(["a"], _often(row("x"), "rows", 2 * 10**9 // 3))))
    yield _ods("a row repeated a million times", lambda: ods(table(["a"], _often(row("x"), "rows", MB))), bounds=LONG)
    yield _ods(
        "a long text repeated a million times",
        lambda: ods(table(["a"], _often(row("x" * 10_000), "rows", MB))),
        bounds=SMALL,
    )
    yield _ods("a cell far to the right in each row", lambda: ods(table(*[_far(16_000)] * 20_000)), bounds=SMALL)
    yield _ods("no number of repetitions", lambda: ods(table(_often(row("x"), "rows", -5))))
    yield _ods("spaces by the thousand million", lambda: ods(table(_spaces(999_999_999))), bounds=SMALL)


def _far(column: int) -> str:
    empty = _often("<table:table-cell></table:table-cell>", "columns", column)
    return f"<table:table-row>{empty}{cell(1)}</table:table-row>"


def _spaces(count: int) -> str:
    text = f'<text:p>a<text:s text:c="{count}"/>b</text:p>' * 1_000
    return f'<table:table-row><table:table-cell office:value-type="string">{text}</table:table-cell></table:table-row>'


def _sizes() -> Iterator[FileCase]:
    yield _ods("a text of 80 MB", lambda: ods(table(["a", "b"], ["x" * (80 * MB), 1])), bounds=SMALL)
    yield _ods("10,001 worksheets", lambda: ods(*[table(["a"], [1], name=f"S{n}") for n in range(10_001)]))
    yield _ods("500 worksheets", lambda: ods(*[table(["a", "b"], [n, "x"], name=f"S{n}") for n in range(500)]))
    yield _ods("a worksheet whose name is a megabyte", lambda: ods(table(["a", "b"], [1, 2], name="n" * MB)))
    yield _ods("a number of a million digits", lambda: ods(table(cell(1).replace('"1"', f'"{"7" * MB}"'))))


def _xml() -> Iterator[FileCase]:
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10 if n else "lol"}">' for n in range(10))
    document = f"<!DOCTYPE a [{laughs}]><a>&l9;</a>".encode()
    groups = "<table:table-row-group>" * 200_000
    yield _ods("a billion laughs", lambda: ods(content=document), bounds=SMALL)
    yield _ods("groups 200,000 deep", lambda: ods(table(groups)), bounds=SMALL)
    yield _ods("tables in tables", lambda: ods("<table:table>" * 900 + row(1) + "</table:table>" * 900))
    yield _ods("a tag that never ends", lambda: ods(content=b"<a " + b"x" * (20 * MB)), bounds=SMALL)
    yield _ods(
        "100,000 attributes", lambda: ods(content=b"<a " + b" ".join(b'a%d="1"' % n for n in range(100_000)) + b"/>")
    )
    yield _ods("no XML", lambda: ods(content=random.Random(SEED).randbytes(MB)))
    yield _ods("nothing", lambda: ods(content=b""))
    yield _ods("another document", lambda: ods(content=b"<html/>"))
    yield _ods("cut off in the middle", lambda: ods(content=b"<a><b>" * 3))
    yield _ods("texts with NULs and surrogates", lambda: ods(table(["a", "b"], ["\ufffe", "\u202e"])))


def _archives() -> Iterator[FileCase]:
    head = b"<office:document-content><a>"
    encrypted = MANIFEST.replace(b"/>", b"><manifest:encryption-data/></manifest:manifest>")

    def packed(*parts: tuple[bytes, int], claims: int | None = None) -> Callable[[], bytes]:
        return lambda: archive(
            [Member(b"mimetype", bomb((MIME_TYPE, 1))), Member(b"content.xml", bomb(*parts), DEFLATED, claims=claims)]
        )

    yield _ods("a gigabyte of spaces", packed((head, 1), (b" ", GIGABYTE)), expanded=GIGABYTE, bounds=SMALL)
    yield _ods("a gigabyte that claims a kilobyte", packed((head, 1), (b" ", GIGABYTE), claims=1_000), bounds=SMALL)
    yield _ods("encrypted", lambda: ods(_good(), manifest=encrypted))
    yield _ods("no content", lambda: _without_content())
    yield _ods("a manifest of a gigabyte", lambda: _manifest(), bounds=SMALL)
    yield _ods("cut off", lambda: ods(_good())[:-30])


def _without_content() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as target:
        target.writestr("mimetype", MIME_TYPE)
        target.writestr("META-INF/manifest.xml", MANIFEST)
    return file.getvalue()


def _manifest() -> bytes:
    members = [(b"mimetype", bomb((MIME_TYPE, 1))), (b"META-INF/manifest.xml", bomb((b" ", GIGABYTE // 8)))]
    return archive([*(Member(name, packed) for name, packed in members), Member(b"content.xml", bomb((b"<a/>", 1)))])
