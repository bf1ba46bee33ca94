"""Hostile JSON: depth, lengths, names, and tables that are far larger than their objects."""

import json
from collections.abc import Callable, Iterator

from tests.benchmarks.hostile.case import MB, Bounds, FileCase

#: Bytes that a worker may hold: a horse with its libraries has about 250 MB, and an object has at most 8 million
#: characters.
SMALL = Bounds(worker=700 * MB)
GOOD = b"".join(b'{"a": %d, "b": "x"}\n' % number for number in range(500))


def cases() -> list[FileCase]:
    return [*_depths(), *_lengths(), *_fields(), *_broken()]


def _json(name: str, build: Callable[[], bytes], **more: object) -> FileCase:
    return FileCase(f"json file: {name}", build, "hostile.jsonl", **more)  # type: ignore[arg-type]  # the fields of a FileCase


def _depths() -> Iterator[FileCase]:
    yield _json("an ordinary one", lambda: GOOD, must_complete=True)
    yield _json("20 million brackets", lambda: b'{"a": ' + b"[" * (20 * MB), bounds=SMALL)
    yield _json("objects 5 million deep", lambda: b'{"a":' * (5 * MB), bounds=SMALL)
    yield _json("arrays in an array", lambda: b"[" * (20 * MB), bounds=SMALL)
    yield _json("a nested object in the last of many", lambda: GOOD * 200 + b'{"a": {"b": 1}}')


def _lengths() -> Iterator[FileCase]:
    yield _json("a line of 200 MB", lambda: b'{"a": "' + b"x" * (200 * MB) + b'"}', bounds=SMALL)
    yield _json("a text of 2 MB", lambda: b'{"a": "' + b"x" * (2 * MB) + b'"}\n{"a": "y"}\n')
    yield _json("a number of a million digits", lambda: b'{"a": ' + b"7" * MB + b', "b": 1}\n' + GOOD)
    yield _json("texts of nothing but escapes", lambda: b'{"a": "' + b"\\u0041" * MB + b'"}\n' + GOOD)
    yield _json("spaces", lambda: b'{"a": 1}' + b" \n" * (20 * MB) + b'{"a": 2}', must_complete=True, bounds=SMALL)
    yield _json("spaces within an object", lambda: b'{"a": 1' + b" " * (40 * MB) + b"}", bounds=SMALL)
    yield _json("quotes", lambda: b'{"a": "' + b'\\"' * (4 * MB) + b'"}')
    yield _json("5 million empty objects", lambda: b"{}" * (5 * MB), bounds=SMALL)
    yield _json("empty objects before one", lambda: b"{}\n" * (2 * MB) + b'{"a": 1, "b": 2}', must_complete=True)
    yield _json("every second object without a value", lambda: b'{"a":1,"b":2}{"a":null,"b":null}' * 300_000)


def _fields() -> Iterator[FileCase]:
    def objects(of: Callable[[int], dict[str, object]], count: int) -> Callable[[], bytes]:
        return lambda: b"".join(json.dumps(of(number)).encode() + b"\n" for number in range(count))

    yield _json("a field of its own in each object", objects(lambda number: {f"f{number}": 1}, 100_000), bounds=SMALL)
    sparse = objects(lambda number: {f"f{number % 1500}": 1}, 100_000)
    yield _json("1,500 fields, one in each object", sparse, expanded=100_000 * 1_500)
    yield _json("a million fields in an object", objects(lambda _: {f"f{number}": 1 for number in range(MB)}, 1))
    yield _json("names of a megabyte", objects(lambda number: {f"{number}" + "n" * MB: 1}, 30), bounds=SMALL)
    yield _json("the same field a million times", lambda: b"{" + b'"a":1,' * MB + b'"a":1}', bounds=SMALL)
    yield _json(
        "names that are special", objects(lambda _: {"__proto__": 1, "_upload_id": 2, "": 3, "\0": 4, '"': 5}, 9)
    )
    yield _json("names that differ by case", objects(lambda _: {"a": 1, "A": 2, "ａ": 3}, 9))  # noqa: RUF001


def _broken() -> Iterator[FileCase]:
    yield _json("cut off", lambda: GOOD[:-5])
    yield _json("an array without an end", lambda: b"[" + GOOD.replace(b"\n", b","))
    yield _json("malformed after a megabyte", lambda: GOOD * 60 + b"{'a': 1}\n" + GOOD * 2_000)
    yield _json("bytes that are no UTF-8", lambda: b'{"a": "\xff\xfe", "b": "\xed\xa0\x80"}\n' + GOOD)
    yield _json("lone surrogates and NULs", lambda: b'{"a": "\\ud800", "b": "\\u0000"}\n' + GOOD)
    yield _json("values of every kind", lambda: b'{"a": NaN}{"a": -Infinity}{"a": true}{"a": "x"}{"a": 1e999}{"a": -0}')
    yield _json("formulas", lambda: b'{"=cmd|\' /C calc\'!A0": "=1+1", "+x": "@y"}\n')
