"""Hostile connections: slow, idle, unread, many; and heads of requests that are not as they should be."""

import random
import socket
import time
from collections.abc import Callable, Iterator

from tests.benchmarks.hostile.case import MB, Bounds, Outcome, RequestCase
from tests.benchmarks.hostile.instance import Instance
from tests.benchmarks.hostile.wire import connect, connections, exchange, is_closed, request

SEED = 9
#: Seconds after which the server must have closed connections whose head is not complete: its deadline is 10 s.
HEAD_SECONDS = 20.0
#: Seconds between two bytes of a slow sender.
DRIP_SECONDS = 0.5
#: Seconds in which a page must load while others misuse their connections.
PAGE_SECONDS = 2.0
#: Seconds for which connections are misused when the server need not close them.
HELD_SECONDS = 4.0
#: The longest head that a server must accept, and one that it must not.
HEAD_BYTES = 32 << 10

HISTORY, GENERAL = "/uploads", "/api/v1/events"


def cases() -> list[RequestCase]:
    return [*_slow(), *_held(), *_heads(), *_methods(), *_queries(), *_protocols()]


def _page(instance: Instance) -> list[str]:
    """That an ordinary page loads at once, on a connection of its own."""
    began = time.monotonic()
    try:
        with instance.new_client() as client:
            client.get(HISTORY, timeout=PAGE_SECONDS * 5).raise_for_status()
    except Exception as error:
        return [f"the history did not load meanwhile: {error!r}"]
    seconds = time.monotonic() - began
    return [] if seconds <= PAGE_SECONDS else [f"the history took {seconds:.1f} s meanwhile"]


def _slow() -> Iterator[RequestCase]:
    """Heads that are never complete."""

    def dripping(name: str, count: int, begin: bytes, drip: bytes) -> RequestCase:
        def attack(instance: Instance) -> Outcome:
            began = time.monotonic()
            with connections(instance, count, begin) as opened:
                violations = _page(instance)
                while opened and time.monotonic() - began < HEAD_SECONDS:
                    opened = [each for each in opened if not is_closed(each) and _sent(each, drip)]
                    time.sleep(DRIP_SECONDS)
            seconds = time.monotonic() - began
            if opened:
                violations.append(f"{len(opened)} of {count} connections are still open after {seconds:.0f} s")
            return Outcome(f"{count} connections, {len(opened)} open after {seconds:.1f} s", violations)

        return RequestCase(f"slow: {name}", attack)

    yield dripping("400 heads, byte by byte", 400, b"GET / HTTP/1.1\r\nX: ", b"x")
    yield dripping("400 heads, header by header", 400, b"GET / HTTP/1.1\r\n", b"X: y\r\n")
    yield dripping("400 connections without a byte", 400, b"", b"")
    yield dripping("400 methods without an end", 400, b"G", b"E")
    yield dripping("100 heads of 1 MB that do not end", 100, b"GET / HTTP/1.1\r\nX: " + b"x" * 60_000, b"x" * MB)
    yield dripping("100 heads of many headers that do not end", 100, b"GET / HTTP/1.1\r\n", b"X: y\r\n" * 20_000)


def _sent(connection: socket.socket, content: bytes) -> bool:
    """Send as much as goes without waiting. Says whether the connection is still open."""
    try:
        connection.send(content)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return True


def _held() -> Iterator[RequestCase]:
    """Connections that are used once and kept, and answers that nobody reads."""

    def holding(name: str, count: int, path: str, *, reads: bool, seconds: float = HELD_SECONDS) -> RequestCase:
        def attack(instance: Instance) -> Outcome:
            target = _address(instance, path)
            with connections(instance, count, request(instance, "GET", target)) as opened:
                violations: list[str] = []
                deadline = time.monotonic() + seconds
                while time.monotonic() < deadline:
                    violations = violations or _page(instance)
                    closed = sum(map(is_closed, opened)) if reads else 0
                    time.sleep(DRIP_SECONDS)
            return Outcome(f"{len(opened)} connections, {closed} closed", violations)

        return RequestCase(f"held: {name}", attack)

    yield holding("400 idle connections after a page", 400, "/healthz", reads=True)
    yield holding("1,200 idle connections after a page", 1_200, "/healthz", reads=True)
    yield holding("200 streams unread", 200, GENERAL, reads=False)
    yield holding("200 streams of the history unread", 200, "/uploads/events", reads=False)
    yield holding("700 streams", 700, GENERAL, reads=True)
    yield holding("100 downloads stalled", 100, "rows.csv", reads=False)
    yield holding("100 originals stalled", 100, "original", reads=False)
    yield RequestCase("held: 500 streams that are dropped at once", _dropped)
    yield RequestCase("held: 1,000 requests in a row, unread", _pipelined)
    yield RequestCase("held: 2,000 connections that are reset", _reset)


def _address(instance: Instance, path: str) -> str:
    """The path, or that of a download of some megabytes."""
    if path.startswith("/"):
        return path
    rows = b"n,text\n" + b"".join(b"%d,%s\n" % (n, b"x" * 1_000) for n in range(5_000))
    answer = instance.post(rows, "large.csv").json()
    upload = instance.ended(answer["id"], 60)
    assert upload is not None
    return f"/uploads/{upload['id']}/original" if path == "original" else f"/datasets/{upload['dataset']}/rows.csv"


def _dropped(instance: Instance) -> Outcome:
    for _ in range(5):
        with connections(instance, 100, request(instance, "GET", "/uploads/events")):
            pass
    return Outcome("dropped", _page(instance))


def _pipelined(instance: Instance) -> Outcome:
    with connect(instance) as connection:
        connection.settimeout(1.0)
        try:
            connection.sendall(request(instance, "GET", HISTORY) * 1_000)
        except OSError as error:
            return Outcome(f"{error!r}", _page(instance))
        time.sleep(HELD_SECONDS)
        return Outcome("sent", _page(instance))


def _reset(instance: Instance) -> Outcome:
    for _ in range(20):
        with connections(instance, 100, b"GET / HT") as opened:
            for connection in opened:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    return Outcome("reset", _page(instance))


def _asked(name: str, *contents: Callable[[Instance], bytes]) -> RequestCase:
    """Requests one after the other, each on a connection of its own: none may be answered with 500, or not at all."""

    def attack(instance: Instance) -> Outcome:
        replies = [exchange(instance, content(instance)) for content in contents]
        wrong = [str(reply) for reply in replies if reply.status is None or reply.status == 500]
        statuses = sorted({str(reply).partition(" after")[0] for reply in replies})
        return Outcome(f"{len(replies)} requests: {', '.join(statuses)}", [f"was answered: {each}" for each in wrong])

    return RequestCase(name, attack, Bounds(seconds=60.0))


def _get(path: str, **headers: str) -> Callable[[Instance], bytes]:
    return lambda instance: request(instance, "GET", path, b"", **headers)


def _heads() -> Iterator[RequestCase]:
    """Headers."""
    wild = [
        "",
        " ",
        "x" * 1_000,
        "evil.example",
        "127.0.0.1:x",
        "[::1",
        "127.0.0.1, x",
        "localhost\\x",
        "é",
        "@127.0.0.1",
    ]
    yield _asked("head: foreign and broken hosts", *(_get(HISTORY, Host=host) for host in wild))
    yield _asked("head: no host, and two", lambda _: b"GET / HTTP/1.1\r\n\r\n", _get("/", Host="localhost\r\nHost: x"))
    yield _asked("head: a header of 20 MB", _get(HISTORY, X="x" * 20 * MB))
    yield _asked("head: a header of 60 kB", _get(HISTORY, Cookie="x" * 60_000))
    yield _asked("head: 100,000 headers", lambda i: request(i, "GET", HISTORY)[:-2] + b"X: y\r\n" * 100_000 + b"\r\n")
    yield _asked("head: a name of 20 MB", lambda i: request(i, "GET", HISTORY)[:-2] + b"x" * (20 * MB) + b": y\r\n\r\n")
    yield _asked(
        "head: folded lines, NULs, bare line ends",
        *map(_with_line, [b" folded: x", b"x: \0", b"x\0: y", b"x : y", b": x", b"x\ry: z", b"no colon"]),
    )
    accept = ["text/html;q=x", "*/*;q=" + "9" * 5_000, ",".join(["a/b"] * 2_000), ";;;", "text/event-stream", "\xff"]
    yield _asked("head: what is accepted", *(_get("/nothing", Accept=each) for each in accept))
    codings = ["gzip;q=x", ",".join(["gzip"] * 2_000), "br;q=1e400", "*;q=0", "\xff"]
    yield _asked("head: codings that are accepted", *(_get(HISTORY, Accept_Encoding=each) for each in codings))
    ranges = [
        "bytes=0-,0-",
        "bytes=" + ",".join(["0-"] * 2_000),
        "bytes=-" + "9" * 5_000,
        "bytes=9-1",
        "x=1",
        "bytes=" + ",".join(f"{n}-{n}" for n in range(2_000)),
    ]
    yield _asked("head: ranges", *(_get("/static/style.css", Range=each) for each in ranges))
    yield RequestCase("head: ranges of an original", _ranges)
    yield _asked(
        "head: conditions",
        *(
            _get("/static/style.css", If_None_Match=x, If_Modified_Since=x, If_Range=x)
            for x in ("x" * 9_000, '"' * 9_000, "Thu, 99 Jan 99999 99:99:99 GMT")
        ),
    )
    forwarded = ["x", "127.0.0.1", ",".join(["1.1.1.1"] * 2_000), "[::", "\xff"]
    yield _asked(
        "head: addresses that were forwarded",
        *(_get(HISTORY, X_Forwarded_For=each, Forwarded=f"for={each}") for each in forwarded),
    )
    origins = ["null", "http://evil.example", "http://[", "x" * 9_000, "\xff"]
    yield _asked("head: posts from elsewhere", *(_sent_from(origin) for origin in origins))


def _sent_from(origin: str) -> Callable[[Instance], bytes]:
    return lambda instance: request(instance, "POST", HISTORY, b"x", Origin=origin)


def _with_method(method: str, path: str) -> Callable[[Instance], bytes]:
    return lambda instance: request(instance, method, path)


def _bytes(content: bytes) -> Callable[[Instance], bytes]:
    return lambda _: content


def _with_line(line: bytes) -> Callable[[Instance], bytes]:
    return lambda instance: request(instance, "GET", HISTORY)[:-2] + line + b"\r\n\r\n"


def _ranges(instance: Instance) -> Outcome:
    target = _address(instance, "original")
    ranges = [
        "bytes=0-,0-,0-",
        "bytes=" + ",".join(["0-"] * 2_000),
        "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 4_000, 2)),
    ]
    return _asked("", *(_get(target, Range=each) for each in ranges)).attack(instance)


def _methods() -> Iterator[RequestCase]:
    paths = [
        "/",
        HISTORY,
        "/uploads/1",
        "/uploads/events",
        GENERAL,
        "/api/v1/uploads",
        "/static/style.css",
        "/healthz",
        "*",
    ]
    for method in ("HEAD", "OPTIONS", "TRACE", "PUT", "PATCH", "DELETE", "CONNECT", "PROPFIND", "HUGE" * 100):
        yield _asked(f"method: {method[:12]}", *(_with_method(method, path) for path in paths))


def _queries() -> Iterator[RequestCase]:
    """Paths and queries."""
    paths = [
        "/%ff%fe",
        "/%00",
        "/uploads/%00",
        "/datasets/%ff",
        "/datasets/" + "x" * 9_000,
        "/uploads/" + "9" * 5_000,
        "/uploads/-1",
    ]
    paths += [
        "/uploads/\u0661",
        "//evil.example/",
        "/uploads/1/../../etc/passwd",
        "/datasets/..%2f..%2fetc%2fpasswd",
        "/uploads/99999999999999999999",
    ]
    paths += [
        f"/datasets/{name}" for name in ("%25(x)s", "x%22;DROP", "%F0%9F%98%80", "_x", "sqlite_master", "uploads")
    ]
    yield _asked("path: odd ones", *map(_get, paths))
    static = [
        "..%2f..%2fpyproject.toml",
        "../../pyproject.toml",
        "%2e%2e/%2e%2e/etc/passwd",
        "/etc/passwd",
        "%00",
        "x" * 9_000,
        "vendor/",
        "\\..\\",
    ]
    yield _asked("path: out of /static", *(_get(f"/static/{path}") for path in static))
    yield _asked("path: 100 kB", _get("/" + "x" * 100_000), _get("/" + "../" * 30_000), _get("/" + "%41" * 30_000))
    yield _asked(
        "query: 100 kB",
        *(_get(f"{path}?q={'x' * 100_000}") for path in (HISTORY, "/api/v1/uploads", "/uploads/events")),
    )
    yield _asked(
        "query: 20 kB of a search",
        *(
            _get(f"{path}?q={x * 6_000}")
            for path in (HISTORY, "/api/v1/uploads")
            for x in ("%25", "_", "%5C", "é", "%00")
        ),
    )
    yield _asked(
        "query: 10,000 parameters",
        *(_get(f"{path}?{'&'.join(['a=b'] * 6_000)}") for path in (HISTORY, "/api/v1/uploads", GENERAL)),
    )
    values = ["", "x", "-1", "0", "9" * 400, "%00", "%ff", "1e9", "\u0661", "1;2", "null", "%25(x)s"]
    names = ["q", "status", "dataset", "cursor", "limit", "since", "after", "before", "upload"]
    for path in (
        HISTORY,
        "/api/v1/uploads",
        "/api/v1/datasets",
        "/api/v1/datasets/normal_1/rows",
        "/datasets/normal_1",
    ):
        yield _asked(
            f"query: nonsense for {path}", *(_get(f"{path}?{name}={value}") for name in names for value in values)
        )
    nonsense = [
        "",
        "x",
        "-1",
        "9" * 400,
        "2026-99-99T99:99:99Z",
        "0001-01-01T00:00:00.000000Z",
        "9999-12-31T23:59:59.999999Z",
        "\xff",
        "\x01",
    ]
    for path in ("/uploads/events", GENERAL, "/uploads/1/events", "/api/v1/uploads/1/events"):
        yield _asked(
            f"stream: Last-Event-ID nonsense for {path}", *(_get(path, Last_Event_ID=each) for each in nonsense)
        )
        yield _asked(
            f"stream: since nonsense for {path}",
            *(
                _get(f"{path}?since={each}&upload={each}&status={each}")
                for each in ("x", "9" * 400, "%ff", "%00", "0001-01-01T00:00:00Z")
            ),
        )


def _protocols() -> Iterator[RequestCase]:
    """Bytes that are another protocol, or that two servers may read in two ways."""
    post = b"POST /api/v1/uploads?filename=a.csv HTTP/1.1\r\nHost: localhost\r\n"
    hidden = b"GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n"
    shapes = [
        b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n1\r\na\r\n0\r\n\r\n",
        b"Transfer-Encoding: xchunked\r\nContent-Length: 4\r\n\r\na,b\n",
        b"Transfer-Encoding: chunked, identity\r\n\r\n1\r\na\r\n0\r\n\r\n",
        b"Transfer-Encoding : chunked\r\nContent-Length: 4\r\n\r\na,b\n",
        b"Transfer-Encoding:\x0bchunked\r\nContent-Length: 4\r\n\r\na,b\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n1\r\na\r\n0\r\n\r\n",
        b"Content-Length: 4\r\nContent-Length: 4\r\n\r\na,b\n",
        b"Content-Length: 4, 4\r\n\r\na,b\n",
        b"Content-Length: 0x4\r\n\r\na,b\n",
    ]
    yield _asked("protocol: two lengths", *(_bytes(post + shape + hidden) for shape in shapes))
    yield RequestCase("protocol: a request hidden in a body", lambda instance: _smuggled(instance, post, hidden))
    noise = random.Random(SEED)
    others = [
        b"GET /\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + noise.randbytes(500),
        b"SSH-2.0-x\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"\r\n" * 10_000 + b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://localhost/uploads HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET  /  HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"get / http/1.1\r\nhost: localhost\r\n\r\n",
        b"\0" * 10_000 + b"\r\n\r\n",
    ]
    yield _asked("protocol: others", *map(_bytes, others))
    yield _asked("protocol: random bytes", *(_bytes(noise.randbytes(5_000) + b"\r\n\r\n") for _ in range(30)))
    upgrades = [
        {"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Key": "x"},
        {"Upgrade": "h2c", "Connection": "Upgrade, HTTP2-Settings", "HTTP2_Settings": "AAMAAABkAAQAAP__"},
    ]
    yield _asked("protocol: upgrades", *(_get(path, **headers) for headers in upgrades for path in (HISTORY, GENERAL)))


def _smuggled(instance: Instance, post: bytes, hidden: bytes) -> Outcome:
    """A body that both lengths announce: what follows may not be answered as a request of its own."""
    content = post + b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n%s" % (5 + len(hidden), hidden)
    with connect(instance) as connection:
        connection.sendall(content)
        connection.settimeout(HELD_SECONDS)
        received = b""
        try:
            while data := connection.recv(65_536):
                received += data
        except OSError:
            pass
    answers = received.count(b"HTTP/1.1 ")
    violations = ["the request that was hidden in the body was answered"] if answers > 1 else []
    return Outcome(f"{answers} answers: {received[:40].decode('latin-1')}", violations)
