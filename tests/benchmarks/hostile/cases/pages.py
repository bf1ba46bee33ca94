"""Pages, downloads and streams of data that is large, many of them at once."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from tests.benchmarks.hostile.case import MB, Bounds, Outcome, RequestCase
from tests.benchmarks.hostile.instance import Instance, Json
from tests.benchmarks.hostile.looks import PAGE_BYTES, Looks

#: Seconds for an import of the data and for all that is asked.
SECONDS = 120.0
#: Bytes by which eight readers at once of pages that have 10 MB may make the web process grow.
READERS_BYTES = 250 * MB
#: Seconds in which the first messages of a stream arrive.
SNAPSHOT_SECONDS = 3.0


def cases() -> list[RequestCase]:
    return list(_pages())


def _imported(instance: Instance, content: bytes, **fields: str) -> Json:
    answer = instance.post(content, "pages.csv", **fields).raise_for_status()
    upload = instance.ended(answer.json()["id"], SECONDS)
    assert upload is not None, "the import has not ended"
    return upload


def _many(instance: Instance, path: str, times: int, at_once: int = 8) -> list[str]:
    """Read a path to its end so many times. Returns what went wrong."""

    def read(_: int) -> str | None:
        with instance.client.stream("GET", path) as response:
            size = sum(len(piece) for piece in response.iter_raw())
        return None if response.status_code == 200 and size else f"{path} answers {response.status_code}"

    with ThreadPoolExecutor(at_once) as readers:
        return sorted({each for each in readers.map(read, range(times)) if each})


def _snapshot(instance: Instance, path: str) -> int:
    """Bytes that a stream sends at first."""
    size, deadline = 0, time.monotonic() + SNAPSHOT_SECONDS
    with instance.client.stream("GET", path, timeout=SNAPSHOT_SECONDS) as response:
        try:
            for piece in response.iter_raw():
                size += len(piece)
                if time.monotonic() > deadline:
                    break
        except Exception:  # the silence after the snapshot
            return size
    return size


def _pages() -> Iterator[RequestCase]:
    def case(name: str, attack: Callable[[Instance], Outcome]) -> RequestCase:
        return RequestCase(f"pages: {name}", attack, Bounds(seconds=SECONDS))

    def readers(name: str, attack: Callable[[Instance], Outcome]) -> RequestCase:
        return RequestCase(f"pages: {name}", attack, Bounds(seconds=SECONDS, growth=READERS_BYTES))

    yield readers("500 rows of 100 kB, eight readers", lambda instance: _read(instance, _rows(500, 100_000), 16))
    yield readers("60 rows of 1 MB, eight readers", lambda instance: _read(instance, _rows(60, MB), 16))
    yield case("684 columns, 150 downloads", lambda instance: _read(instance, _wide(684, 40), 150))
    yield readers("1,500 columns, eight readers", lambda instance: _read(instance, _wide(1_500, 600), 16))
    yield case("a cell of 30 MB", lambda instance: _read(instance, b"n,text\n1," + b"x" * (30 * MB) + b"\n", 4))
    yield case("failed rows of 1 MB in pages and streams", _failed)
    yield case("the history of 100 uploads with long names", _history)


def _rows(count: int, size: int) -> bytes:
    return b"n,text\n" + b"".join(b"%d,%s\n" % (n, b"x" * size) for n in range(count))


def _wide(columns: int, rows: int) -> bytes:
    header = ",".join(f"column {n}" for n in range(columns))
    return "\n".join([header, *[",".join(["value"] * columns)] * rows, ""]).encode()


def _read(instance: Instance, content: bytes, times: int) -> Outcome:
    upload = _imported(instance, content)
    name = upload["dataset"]
    if upload["status"] != "completed":
        return Outcome(f"{upload['status']}: {upload['error']}", Looks(instance).at(upload))
    violations = Looks(instance).at(upload)
    for path in (f"/datasets/{name}/rows.csv", f"/datasets/{name}", f"/api/v1/datasets/{name}/rows?limit=500"):
        violations += _many(instance, path, times)
    return Outcome(f"{upload['status']}: {upload['rows_success']:,} rows", violations)


def _failed(instance: Instance) -> Outcome:
    """A file whose second half is not of its declared types: its failed rows are shown and streamed."""
    first = _imported(instance, b"n,text\n1,x\n", types="auto")
    upload = _imported(instance, b"n,text\n2,x\n" + (b"word," + b"x" * MB + b"\n") * 30, dataset=first["dataset"])
    violations = Looks(instance).at(upload)
    violations += _many(instance, f"/uploads/{upload['id']}", 16) + _many(
        instance, f"/uploads/{upload['id']}/failed-rows.csv", 16
    )
    for path in (f"/uploads/{upload['id']}/events", "/uploads/events", f"/api/v1/uploads/{upload['id']}/events"):
        if (size := _snapshot(instance, path)) > PAGE_BYTES:
            violations.append(f"the snapshot of {path} has {size:,} bytes")
    return Outcome(f"{upload['status']}: {upload['rows_failed']:,} failed rows", violations)


def _history(instance: Instance) -> Outcome:
    names = [f"{'é' * 180}{number}.csv" for number in range(100)]
    begun = [instance.post(b"a\n", name).json()["id"] for name in names]
    violations = _many(instance, "/uploads", 30)
    violations += [f"upload {upload_id} has not ended" for upload_id in begun if not instance.ended(upload_id, SECONDS)]
    if (size := _snapshot(instance, "/uploads/events")) > PAGE_BYTES:  # nothing changes meanwhile
        violations.append(f"the snapshot of the history has {size:,} bytes")
    return Outcome(f"a snapshot of {size:,} bytes", violations)
