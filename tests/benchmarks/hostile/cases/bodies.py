"""Hostile bodies of requests: lengths that lie, forms, JSON."""

import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial

from tests.benchmarks.hostile.case import MB, Outcome, RequestCase
from tests.benchmarks.hostile.instance import TOKEN, Instance
from tests.benchmarks.hostile.wire import connections, exchange, is_closed, request

TABLE = b"a,b\n1,2\n"
UPLOADS = "/api/v1/uploads"
RAW = f"{UPLOADS}?filename=hostile.csv"
NOTIFY = "/api/v1/internal/notify"
#: Seconds after which the server must have refused what it can refuse without reading the body.
AT_ONCE = 3.0
#: Seconds after which a body that has stopped must be given up: the server's deadline is 30 s.
STOPPED = 45.0


def cases() -> list[RequestCase]:
    return [*_lengths(), *_chunks(), *_forms(), *_json()]


def _answered(
    name: str,
    build: Callable[[Instance], bytes],
    allowed: Collection[int | None] = (),
    *,
    within: float | None = None,
    more: Callable[[], Iterable[bytes]] = lambda: (),
) -> RequestCase:
    """One request. allowed: its statuses, 0 for a closed connection; none: any but 500 and no answer."""

    def attack(instance: Instance) -> Outcome:
        reply = exchange(instance, build(instance), more=more())
        wrong = reply.status not in allowed if allowed else reply.status is None or reply.status == 500
        violations = [f"was answered: {reply}"] if wrong else []
        if within is not None and reply.seconds > within:
            violations.append(f"was answered only after {reply.seconds:.1f} s and {reply.sent:,} bytes")
        return Outcome(str(reply), violations)

    return RequestCase(name, attack)


def _post(body: bytes = TABLE, path: str = RAW, **headers: str) -> Callable[[Instance], bytes]:
    return lambda instance: request(instance, "POST", path, body, **headers)


def _lengths() -> Iterator[RequestCase]:
    refused, form = (400, 413, 0), "multipart/form-data; boundary=x"
    yield _answered("length: 10 TB", _post(b"", Content_Length=str(10**13)), (413,), within=AT_ONCE)
    yield _answered(
        "length: 10 TB of a form",
        _post(b"", UPLOADS, Content_Length=str(10**13), Content_Type=form),
        (413,),
        within=AT_ONCE,
    )
    yield _answered(
        "length: 10 TB of the page's form",
        _post(b"", "/uploads", Content_Length=str(10**13), Content_Type=form),
        (413,),
        within=AT_ONCE,
    )
    yield _answered(
        "length: 10 TB of JSON",
        _post(b"", NOTIFY, Content_Length=str(10**13), Authorization=f"Bearer {TOKEN}"),
        (413,),
        within=AT_ONCE,
    )
    yield _answered(
        "length: 10 TB, expecting to go on",
        _post(b"", Content_Length=str(10**13), Expect="100-continue"),
        (413, 417),
        within=AT_ONCE,
    )
    yield _answered("length: 5,000 digits", _post(Content_Length="9" * 5_000), refused)
    yield _answered("length: negative", _post(Content_Length="-1"), refused)
    yield _answered("length: a word", _post(Content_Length="many"), refused)
    yield _answered("length: with a sign", _post(Content_Length="+8"), (*refused, 201))
    yield _answered("length: two that differ", _post(Content_Length="8\r\nContent-Length: 9"), refused)
    yield _answered("length: shorter than the body", _post(b"a,b\n" + TABLE * 1_000, Content_Length="8"), (201, 400))
    yield RequestCase("length: longer than the body", lambda instance: _stopped(instance, 1))
    yield RequestCase("length: longer than 40 bodies", lambda instance: _stopped(instance, 40))
    yield RequestCase("length: the sender leaves", _leave)


def _stopped(instance: Instance, count: int) -> Outcome:
    """Bodies that begin and never go on."""
    began = time.monotonic()
    content = request(instance, "POST", RAW, TABLE, Content_Length=str(MB))
    with connections(instance, count, content) as opened:
        while not all(map(is_closed, opened)):
            if time.monotonic() - began > STOPPED:
                return Outcome("still open", [f"connections are still open after {STOPPED:g} s without a byte"])
            time.sleep(0.2)
    return Outcome(f"closed after {time.monotonic() - began:.1f} s")


def _leave(instance: Instance) -> Outcome:
    """Clients that leave in the middle of a large body."""
    with connections(instance, 20, request(instance, "POST", RAW, TABLE, Content_Length=str(10 * MB))) as opened:
        for connection in opened:
            connection.setblocking(True)
            connection.sendall(b"1,2\n" * MB)
    return Outcome(f"{len(opened)} left")


def _chunks() -> Iterator[RequestCase]:
    def chunked(name: str, more: Callable[[], Iterable[bytes]], allowed: Collection[int | None] = ()) -> RequestCase:
        build = _post(b"", Transfer_Encoding="chunked")
        return _answered(f"chunks: {name}", build, allowed, more=more)

    end = b"0\r\n\r\n"
    yield chunked("a table", lambda: [b"8\r\n" + TABLE + b"\r\n" + end], (201,))
    yield chunked("300,000 of a byte", lambda: [b"1\r\na\r\n" * 10_000] * 30 + [end], (201,))
    yield chunked("an extension of 20 MB", lambda: [b"1;", *[b"x" * MB] * 20, b"\r\na\r\n", end], (201, 400, 431, 0))
    yield chunked(
        "a trailer of 20 MB", lambda: [b"1\r\na\r\n0\r\nx: ", *[b"x" * MB] * 20, b"\r\n\r\n"], (201, 400, 431, 0)
    )
    yield chunked(
        "200,000 trailers", lambda: [b"1\r\na\r\n0\r\n", *[b"x: x\r\n" * 10_000] * 20, b"\r\n"], (201, 400, 431, 0)
    )
    yield chunked("a size of 100 digits", lambda: [b"f" * 100 + b"\r\na\r\n"], (400, 413, 0))
    yield chunked("a size that is none", lambda: [b"x\r\na\r\n"], (400, 0))
    yield chunked("a negative size", lambda: [b"-1\r\na\r\n"], (400, 0))
    yield RequestCase("chunks: 300 MB, then silence", _flood)


def _flood(instance: Instance) -> Outcome:
    piece = b"100000\r\n" + b"1,2\n" * (1 << 18) + b"\r\n"
    head = request(instance, "POST", RAW, Transfer_Encoding="chunked")
    reply = exchange(instance, head, more=[b"4\r\na,b\n\r\n", *[piece] * 300], seconds=STOPPED)
    return Outcome(str(reply), [f"waits for a body that has stopped: {reply}"] if reply.status is None else [])


def _form(*parts: tuple[str, bytes], boundary: str = "x", end: bool = True) -> bytes:
    """A form. parts: the value of Content-Disposition after "form-data; ", and the content."""
    body = b"".join(
        f"--{boundary}\r\nContent-Disposition: form-data; {name}\r\n\r\n".encode() + content + b"\r\n"
        for name, content in parts
    )
    return body + (f"--{boundary}--\r\n".encode() if end else b"")


_FILE = ('name="file"; filename="hostile.csv"', TABLE)


def _forms() -> Iterator[RequestCase]:
    def form(
        name: str,
        body: Callable[[], bytes],
        allowed: Collection[int | None] = (),
        kind: str = "multipart/form-data; boundary=x",
    ) -> RequestCase:
        return _answered(f"form: {name}", lambda instance: _post(body(), UPLOADS, Content_Type=kind)(instance), allowed)

    refused = (400, 413, 422, 0)
    yield form("an ordinary one", lambda: _form(_FILE), (201,))
    yield form("1,000 parts", lambda: _form(*[('name="x"', b"")] * 1_000, _FILE), refused)
    yield form("200,000 parts", lambda: _form(*[('name="x"', b"")] * 200_000, _FILE), refused)
    yield form("two files", lambda: _form(_FILE, _FILE), refused)
    yield form("no file", lambda: _form(('name="dataset"', b"x")), refused)
    yield form("a field of 20 MB", lambda: _form(('name="dataset"', b"x" * (20 * MB)), _FILE), refused)
    yield form("a field's name of 20 MB", lambda: _form((f'name="{"x" * 20 * MB}"', b"x"), _FILE), refused)
    yield form("a header of 20 MB", lambda: b"--x\r\nX-Y: " + b"y" * (20 * MB) + b"\r\n\r\n\r\n--x--\r\n", refused)
    yield form(
        "200,000 headers of a part", lambda: b"--x\r\n" + b"X-Y: y\r\n" * 200_000 + b"\r\n\r\n--x--\r\n", refused
    )
    yield form("a header's name of 20 MB", lambda: b"--x\r\n" + b"y" * (20 * MB) + b": x\r\n\r\n\r\n--x--\r\n", refused)
    yield form(
        "200,000 parameters", lambda: _form(("; ".join(f"p{n}=x" for n in range(200_000)), b"x"), _FILE), refused
    )
    yield form(
        "backslashes in a parameter", lambda: _form((f'name="{chr(92) * 60_000}"', b"x"), _FILE), (*refused, 201)
    )
    yield form(
        "50,000 parameters that continue",
        lambda: _form(("; ".join(f"filename*{n}=x" for n in range(50_000)), b"x")),
        refused,
    )
    yield form("no boundary", lambda: _form(_FILE), refused, "multipart/form-data")
    yield form("an empty boundary", lambda: _form(_FILE), refused, 'multipart/form-data; boundary=""')
    yield form(
        "a boundary of 10,000 letters",
        lambda: _form(_FILE, boundary="x" * 10_000),
        refused,
        f"multipart/form-data; boundary={'x' * 10_000}",
    )
    yield form(
        "a boundary of odd characters", lambda: _form(_FILE), refused, 'multipart/form-data; boundary="\x01\\\xff;"'
    )
    yield form("two boundaries", lambda: _form(_FILE), (*refused, 201), "multipart/form-data; boundary=x; boundary=y")
    yield form("another boundary in the body", lambda: _form(_FILE, boundary="y"), refused)
    yield form("20 MB that look like its boundary", lambda: _form((_FILE[0], b"\r\n--" * (5 * MB))), (*refused, 201))
    yield form(
        "boundaries that almost fit",
        lambda: _form((_FILE[0], b"\r\n--y" * (4 * MB)), boundary="yy"),
        (*refused, 201),
        "multipart/form-data; boundary=yy",
    )
    yield form("20 MB before the first part", lambda: b"x" * (20 * MB) + b"\r\n" + _form(_FILE), (*refused, 201))
    yield form("20 MB after the last part", lambda: _form(_FILE) + b"x" * (20 * MB), (*refused, 201))
    yield form("no last boundary", lambda: _form(_FILE, end=False), refused)
    yield form("cut off in a header", lambda: _form(_FILE)[:30], refused)
    yield form("nothing", lambda: b"", refused)
    yield form("random bytes", lambda: bytes(range(256)) * 40_000, refused)
    yield form("another kind of form", lambda: b"file=x", refused, "multipart/mixed; boundary=x")
    yield form(
        "a form in a form",
        lambda: _form(("name=x\r\nContent-Type: multipart/mixed; boundary=y", _form(_FILE, boundary="y"))),
        refused,
    )
    yield form(
        "base64 that is announced",
        lambda: _form((f"{_FILE[0]}\r\nContent-Transfer-Encoding: base64", b"YSxiCjEsMgo=")),
        (*refused, 201),
    )
    yield form(
        "fields that are no UTF-8",
        lambda: (
            _form(('name="\udcff"', b"\xff\xfe"), _FILE)
            if False
            else _form(_FILE).replace(b'name="file"; ', b'name="\xff\xfe"; ')
        ),
        (*refused, 201),
    )
    for what, filename in [
        ("of 60,000 letters", "x" * 60_000 + ".csv"),
        ("with a path", "..\\..\\../../etc/passwd.csv"),
        ("with NULs and escapes", "a\0b\x1b[2J.csv"),
        ("that reads from right to left", "\u202evsc.exe.csv"),
        ("with a line end", "a\nb.csv"),
        ("of spaces", "   .csv"),
        ("of marks", "Z" + "\u0351" * 5_000 + ".csv"),
    ]:
        yield form(
            f"a filename {what}",
            partial(_form, (f'name="file"; filename="{filename}"', TABLE)),
            (*refused, 201),
        )
    for field, value in [
        ("encoding", "utf-16"),
        ("header_row", "9" * 5_000),
        ("header_row", "999999"),
        ("delimiter", "\0"),
        ("types", "x" * 10_000),
        ("dataset", "\0"),
        ("dataset", "\ud83d"),
        ("processor", "external"),
        ("sheet", "x" * 10_000),
    ]:
        content = value.encode("utf-8", "surrogatepass")
        yield form(
            f"{field} {value[:10]!r}",
            partial(_form, (f'name="{field}"', content), _FILE),
            (*refused, 201),
        )


def _json() -> Iterator[RequestCase]:
    def sent(
        name: str, body: Callable[[], bytes], path: str, allowed: Collection[int | None] = (), **headers: str
    ) -> RequestCase:
        more = {"Content_Type": "application/json", "Authorization": f"Bearer {TOKEN}"} | headers
        return _answered(f"json: {name}", lambda instance: _post(body(), path, **more)(instance), allowed)

    refused = (400, 413, 422, 0)
    for what, path in [("an upload", UPLOADS), ("a report", NOTIFY)]:
        yield sent(f"{what} nested deeply", lambda: b"[" * 900_000, path, refused)
        yield sent(f"{what} of objects nested deeply", lambda: b'{"a":' * 180_000, path, refused)
        yield sent(f"{what} of 20 MB", lambda: b'"' + b"x" * (20 * MB) + b'"', path, refused)
        yield sent(f"{what} that is NaN", lambda: b'{"file_id": NaN, "rows_processed": Infinity}', path, refused)
        yield sent(
            f"{what} with a number of 900,000 digits", lambda: b'{"file_id": ' + b"1" * 900_000 + b"}", path, refused
        )
        yield sent(
            f"{what} with 50,000 fields",
            lambda: json.dumps({f"f{n}": n for n in range(50_000)}).encode(),
            path,
            refused,
        )
        yield sent(
            f"{what} with the same field again and again", lambda: b"{" + b'"a":1,' * 100_000 + b'"a":1}', path, refused
        )
        yield sent(f"{what} that is no UTF-8", lambda: b'{"filename": "\xff\xfe"}', path, refused)
        yield sent(f"{what} in UTF-32", lambda: json.dumps({"a": 1}).encode("utf-32"), path, refused)
        yield sent(
            f"{what} with surrogates",
            lambda: b'{"processor": "external", "filename": "\\ud800.csv"}',
            path,
            (*refused, 201),
        )
    external = {"processor": "external", "filename": "x.csv"}
    yield sent(
        "an upload of a huge size",
        lambda: json.dumps(external | {"size": 2**63 - 1, "rows_total": 2**63 - 1}).encode(),
        UPLOADS,
        (*refused, 201),
    )
    yield sent(
        "an upload with NULs",
        lambda: json.dumps(external | {"filename": "a\0b.csv", "dataset": "\0"}).encode(),
        UPLOADS,
        (*refused, 201),
    )
    yield sent("reports on uploads that do not exist", lambda: _reports(1_000, file_id=2**62), NOTIFY, (*refused, 207))
    yield sent("too many reports", lambda: _reports(1_001), NOTIFY, refused)
    yield sent("reports on an upload of 2^64", lambda: _reports(1, file_id=2**64), NOTIFY, (*refused, 207))
    yield sent(
        "a report with counts that are nonsense",
        lambda: _reports(1, rows_processed=-(2**70), rows_failed=1e300),
        NOTIFY,
        refused,
    )
    yield sent(
        "a report with an error of 900 kB",
        lambda: _reports(1, event="bulk_upload_error", error="x" * 900_000),
        NOTIFY,
        (*refused, 207),
    )
    yield sent(
        "a report with a NUL", lambda: _reports(1, event="bulk_upload_error", error="a\0b"), NOTIFY, (*refused, 207)
    )
    yield sent(
        "a report with a secret of 30 kB",
        lambda: _reports(1),
        NOTIFY,
        (401, 403, 431),
        Authorization="Bearer " + "é" * 15_000,
    )
    yield sent("an idempotency key of 1 MB", lambda: _reports(1), NOTIFY, (400, 422, 431, 0), Idempotency_Key="x" * MB)
    yield sent("an idempotency key of 10 kB", lambda: _reports(1), NOTIFY, (400, 422), Idempotency_Key="x" * 10_000)
    yield sent("a header row of quotes to match", lambda: b'a","\n' * 200_000, "/api/v1/datasets/match")
    yield sent("a header row of 20 MB to match", lambda: b"x," * (10 * MB), "/api/v1/datasets/match")
    yield sent("numbers with quotes to match", lambda: b'"5","6","7\n' * 20_000, "/api/v1/datasets/match")


def _reports(count: int, **fields: object) -> bytes:
    report = {"file_id": 10**9, "event": "bulk_upload_progress", "rows_processed": 1} | fields
    return json.dumps([report] * count).encode()
