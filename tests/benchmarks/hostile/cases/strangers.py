"""Files that are no tables, under names of tables."""

import json
import random
from collections.abc import Callable, Iterator

from tests.benchmarks.hostile.case import MB, FileCase

SEED = 9


def cases() -> list[FileCase]:
    return list(_strangers())


def _other(name: str, build: Callable[[], bytes], filename: str = "hostile.csv") -> FileCase:
    return FileCase(f"other: {name}", build, filename)


def _strangers() -> Iterator[FileCase]:
    yield _other("a PDF", lambda: b"%PDF-1.7\n" + _noise())
    yield _other("a PNG", lambda: b"\x89PNG\r\n\x1a\n" + _noise())
    yield _other("a program", lambda: b"\x7fELF\x02\x01\x01" + bytes(9) + _noise())
    yield _other("random bytes", _noise)
    yield _other("random bytes of 20 MB", lambda: _noise(20 * MB))
    yield _other("random bytes as a workbook", _noise, "hostile.xlsx")
    yield _other("random bytes as an archive", _noise, "hostile.zip")
    yield _other("random printable characters", lambda: bytes(32 + each % 95 for each in _noise()))
    yield _other("JSON", lambda: json.dumps([{"a": number, "b": [number]} for number in range(20_000)]).encode())
    yield _other("JSON nested deeply", lambda: b"[" * MB)
    yield _other("lines of JSON", lambda: b'{"a": 1, "b": {"c": 2}}\n' * 20_000)
    yield _other("a web page", lambda: b"<!DOCTYPE html><html><body>" + b"<table><tr><td>1</td></tr></table>" * 20_000)
    yield _other("an XML bomb", lambda: b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]><x>' + b"&a;" * MB)
    yield _other("a Parquet file", lambda: b"PAR1\x15" + _noise() + b"PAR1")
    yield _other("an SQLite database", lambda: b"SQLite format 3\0" + _noise())
    yield _other("a pickle", lambda: b"\x80\x04\x95" + b"cos\nsystem\n(S'true'\ntR." * 100)
    yield _other("a log of control sequences", lambda: b"\x1b[31merror\x1b[0m \x07\x08,x\n" * 20_000)
    yield _other("source code", lambda: b"def f(x):\n    return {'a': [1, 2], 'b': (x, \"y\")}\n\n" * 10_000)
    yield _other("English prose", lambda: b"It was, as he said, a dark and stormy night; the rain fell.\n" * 20_000)
    yield _other("an empty file", lambda: b"")
    yield _other("an extension that is not supported", lambda: b"a,b\n1,2\n", "hostile.exe")
    yield _other("no extension", lambda: b"a,b\n1,2\n", "hostile")
    yield _other("a name of 64 kB", lambda: b"a,b\n1,2\n", f"{'x' * 60_000}.csv")
    yield _other("a name with a path", lambda: b"a,b\n1,2\n", "../../../../etc/cron.d/hostile.csv")
    yield _other("a name of control characters", lambda: b"a,b\n1,2\n", "a\0\r\nSet-Cookie: x=1\r\n\u202evsc.csv")
    yield _other("a name of markup", lambda: b"a,b\n1,2\n", "<img src=x onerror=alert(1)>.csv")


def _noise(size: int = MB) -> bytes:
    return random.Random(SEED).randbytes(size)
