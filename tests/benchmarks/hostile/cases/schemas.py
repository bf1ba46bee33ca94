"""Datasets whose schemas are hostile, declared as `bulk-upload dataset add` does, and files for them."""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from jobs import datasets
from jobs.datasets import Mode
from jobs.errors import BulkUploadError
from jobs.schema import TableSchema
from tests.benchmarks.hostile.case import MB, Bounds, Outcome, RequestCase
from tests.benchmarks.hostile.instance import Instance
from tests.benchmarks.hostile.looks import Looks

#: Seconds for declaring a dataset, importing a small file into it, and looking at it.
SECONDS = 45.0

_numbers = count(1)
Field = dict[str, Any]


def cases() -> list[RequestCase]:
    return list(_schemas())


def _schema(
    name: str, build: Callable[[], dict[str, Any]], content: Callable[[], bytes], mode: Mode = Mode.INSERT
) -> RequestCase:
    return RequestCase(
        f"schema: {name}", lambda instance: _declare(instance, build(), content(), mode), Bounds(seconds=SECONDS)
    )


def _declare(instance: Instance, schema: dict[str, Any], content: bytes, mode: Mode) -> Outcome:
    """Declare a dataset, if it may exist, and import a file into it."""
    name = f"schema_{next(_numbers)}"
    try:
        parsed = TableSchema.parse(schema)
        with instance.database.transaction() as connection:
            datasets.declare(connection, name, parsed, mode)
    except BulkUploadError as error:
        return Outcome(f"refused: {error}")
    answer = instance.post(content, "hostile.csv", dataset=name)
    if answer.status_code != 201:
        return Outcome(f"{answer.status_code}", [f"was answered with {answer.status_code}"])
    upload = instance.ended(answer.json()["id"], SECONDS)
    if upload is None:
        instance.cancel(answer.json()["id"])
        return Outcome("not ended", [f"has not ended after {SECONDS:g} s"])
    text = upload["error"] or f"{upload['rows_success']:,} rows, {upload['rows_failed']:,} failed"
    violations = Looks(instance).at(upload | {"dataset": name})
    if upload["attempt"] > 1:
        violations.append(f"needed {upload['attempt']} attempts: {upload['error']}")
    return Outcome(f"{upload['status']}: {text}", violations)


def _one(**field: Any) -> dict[str, Any]:
    return {"fields": [{"name": "value"} | field]}


def _lines(*values: str, times: int = 100) -> bytes:
    return "\n".join(["value", *values * times, ""]).encode()


def _schemas() -> Iterator[RequestCase]:
    def pattern(name: str, text: str, *values: str) -> RequestCase:
        return _schema(f"a pattern {name}", lambda: _one(constraints={"pattern": text}), lambda: _lines(*values))

    yield pattern("that backtracks", "(a*)*b", "a" * 50_000)
    yield pattern("of alternatives that backtrack", "(a|a|aa)+$", "a" * 50_000 + "!")
    yield pattern("that repeats a million times", "((x{1,100}){1,100}){1,100}", "x" * 10_000)
    yield pattern("of 100 kB", "(" + "|".join(f"w{n}" for n in range(15_000)) + ")", "w1", "x")
    yield pattern("nested 5,000 deep", "(" * 5_000 + "a" + ")" * 5_000, "a")
    yield pattern("of any character", r"[\s\S]*" * 500, "x" * 10_000)
    yield pattern("of classes", r"[\p{L}\p{N}]{1,500}", "é" * 1_000)
    yield pattern("that is broken", "(", "a")
    yield pattern("with a look-ahead", "(?=a)a", "a")
    yield pattern("that ends early", ")|(x", "a")
    yield _schema("10,000 fields", lambda: {"fields": _named(10_000)}, lambda: b"f1\n1\n")
    yield _schema("1,500 fields", lambda: {"fields": _named(1_500)}, lambda: _wide(1_500, 20))
    yield _schema(
        "1,500 fields with constraints",
        lambda: {"fields": [each | {"constraints": {"maxLength": 3, "pattern": "[0-9]+"}} for each in _named(1_500)]},
        lambda: _wide(1_500, 20),
    )
    yield _schema(
        "an enum of 100,000 words",
        lambda: _one(constraints={"enum": [f"word {n}" for n in range(100_000)]}),
        lambda: _lines("word 7", "x"),
    )
    yield _schema("an enum of a word of 1 MB", lambda: _one(constraints={"enum": ["x" * MB]}), lambda: _lines("x"))
    yield _schema(
        "an enum of 100,000 numbers",
        lambda: _one(type="integer", constraints={"enum": list(range(100_000))}),
        lambda: _lines("7", "x"),
    )
    yield _schema(
        "100,000 missing values",
        lambda: {"fields": [{"name": "value"}], "missingValues": [f"m{n}" for n in range(100_000)]},
        lambda: _lines("m7", "x"),
    )
    yield _schema(
        "100,000 words that are true",
        lambda: _one(type="boolean", trueValues=[f"t{n}" for n in range(100_000)]),
        lambda: _lines("t7", "x"),
    )
    yield _schema("100,000 aliases", lambda: _one(aliases=[f"a{n}" for n in range(100_000)]), lambda: b"a99999\nx\n")
    yield _schema(
        "a description of 10 MB", lambda: _one(description="x" * (10 * MB), title="y" * MB), lambda: _lines("x")
    )
    yield _schema(
        "titles of markup",
        lambda: _one(title="<script>alert(1)</script>", description="{{ 7 * 7 }} %(x)s"),
        lambda: _lines("x"),
    )
    yield _schema(
        "bounds that nothing meets",
        lambda: _one(type="number", constraints={"minimum": 1.7e308, "maximum": -1.7e308}),
        lambda: _lines("1", "1e400"),
    )
    yield _schema(
        "a length of 2^63", lambda: _one(constraints={"minLength": 2**63, "maxLength": 2**70}), lambda: _lines("x")
    )
    yield _schema(
        "a key of 32 fields",
        lambda: {"fields": _named(32), "primaryKey": [f"f{n}" for n in range(1, 33)]},
        lambda: _wide(32, 500),
        Mode.UPSERT,
    )
    yield _schema(
        "a key of long texts",
        lambda: _one() | {"primaryKey": "value"},
        lambda: _lines("x" * 100_000, "y" * 100_000, times=3),
        Mode.UPSERT,
    )
    yield _schema(
        "a unique column of long texts",
        lambda: _one(constraints={"unique": True}),
        lambda: _lines("x" * 100_000, "y" * 100_000, times=3),
    )
    yield _schema(
        "the same key again and again",
        lambda: _one() | {"primaryKey": "value"},
        lambda: _lines("x", times=100_000),
        Mode.UPSERT,
    )
    yield _schema(
        "names of parameters",
        lambda: {
            "fields": [{"name": name} for name in ("%(x)s", "x", ":x", "%(param_1)s", "?")],
            "primaryKey": "%(x)s",
        },
        lambda: b"%(x)s,x,:x,%(param_1)s,?\na,b,c,d,e\n",
        Mode.UPSERT,
    )
    yield _schema("unknown properties nested deeply", lambda: _one(example=_nested(900)), lambda: _lines("x"))
    yield _schema(
        "30 failed rows of 1 MB",
        lambda: {"fields": [{"name": "value"}, {"name": "n", "type": "integer"}]},
        lambda: b"value,n\ngood,1\n" + (b"x" * MB + b",x\n") * 30,
    )
    yield _schema(
        "30 failed rows of 1,500 cells",
        lambda: {"fields": [each | {"type": "integer"} for each in _named(1_500)]},
        lambda: _wide(1_500, 3) + b"\n".join([b",".join([b"word" * 50] * 1_500)] * 30),
    )


def _named(number: int) -> list[Field]:
    return [{"name": f"f{n}"} for n in range(1, number + 1)]


def _wide(columns: int, rows: int) -> bytes:
    header = ",".join(f"f{n}" for n in range(1, columns + 1))
    return "\n".join([header, *(",".join([str(row)] * columns) for row in range(rows)), ""]).encode()


def _nested(depth: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found
