"""The running web application: on a uvicorn in a thread of the test, or as a process of its own."""

import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from html import unescape
from os import environ
from pathlib import Path
from typing import Any, Self

import httpx
import sqlalchemy as sa
import uvicorn
from httpx_sse import EventSource, ServerSentEvent

from jobs import datasets, reports, tables, uploads, warnings
from jobs.database import Database
from jobs.datasets import Dataset, Mode
from jobs.events import Publisher
from jobs.failed_rows import FailedRow
from jobs.files import StoredFile
from jobs.lanes import QUICK_BYTES
from jobs.pipeline import failed_rows_writer
from jobs.pipeline.failed_rows_writer import PackedFailedRows
from jobs.queue import UploadQueue
from jobs.reports import Report
from jobs.schema import TableSchema
from jobs.settings import Settings
from jobs.uploads import Claim, Processor, Remedy, Upload
from jobs.warnings import UploadWarning
from tests import ROOT
from tests.support.clients import client_of
from tests.support.databases import insert_rows
from tests.support.files import store
from tests.support.forking import ForkedProcess, fork
from tests.support.waiting import until
from webapp.app import create_app
from webapp.server import connection
from webapp.server.connections import Connections

#: Seconds of a lease; longer than any test.
LEASE = 600.0
#: Limit on stored failed rows; more than any test has.
KEPT = 1_000_000


class Stream:
    """An open event stream, read by the test as it goes."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        # For a comment after an id, httpx-sse dispatches an event without data; browsers do not.
        self._events = (event for event in EventSource(response).iter_sse() if event.data)

    def next(self) -> ServerSentEvent:
        """The next message that is not a heartbeat."""
        return next(event for event in self._events if event.event != "ping")

    def until(self, condition: Callable[[ServerSentEvent], object]) -> list[ServerSentEvent]:
        """All messages up to the first that meets the condition."""
        found = [self.next()]
        deadline = time.monotonic() + 60
        while not condition(found[-1]):
            assert time.monotonic() < deadline, f"Waited in vain; what came: {found}"
            found.append(self.next())
        return found

    def until_seq(self, upload: Upload) -> list[ServerSentEvent]:
        """All messages of a JSON stream up to the one that shows this state."""
        return self.until(lambda event: (event.json()["file_id"], event.json()["seq"]) == (upload.id, upload.seq))

    def until_text(self, text: str) -> str:
        """The data of an HTML stream up to the first message with this text."""
        return "\n".join(event.data for event in self.until(lambda event: text in event.data))

    def rest(self) -> list[ServerSentEvent]:
        """All messages until the server ends the stream."""
        return [event for event in self._events if event.event != "ping"]


@contextmanager
def stream(client: httpx.Client, path: str, last_event_id: str | None = None) -> Iterator[Stream]:
    """A stream whose response has begun; none of its messages are read yet."""
    headers = {"Last-Event-ID": last_event_id} if last_event_id is not None else {}
    with client.stream("GET", path, headers=headers) as response:
        yield Stream(response)


class Records:
    """Changes uploads and publishes the changes as workers do, without reading files."""

    def __init__(self, settings: Settings, quick_bytes: int = QUICK_BYTES) -> None:
        """quick_bytes: 0 puts the uploads on the bulk lane, where workers of the quick one leave them alone."""
        self.settings = settings
        self._quick_bytes = quick_bytes
        self.database = Database(settings.database)
        self.publisher = Publisher(settings.redis)

    def get(self, upload: Upload) -> Upload:
        with self.database.reading() as connection:
            return uploads.get(connection, upload.id)

    def all(self) -> list[Upload]:
        """Newest first."""
        with self.database.reading() as connection:
            return uploads.page(connection, limit=999).items

    def change(self, change: Callable[[sa.Connection], Upload | None]) -> Upload:
        """Commit a change without publishing it, as a process that crashes after the commit."""
        with self.database.transaction() as connection:
            upload = change(connection)
        assert upload is not None
        return upload

    def tell(self, change: Callable[[sa.Connection], Upload | None]) -> Upload:
        """Commit a change and publish it."""
        upload = self.change(change)
        self.publisher.publish(upload)
        return upload

    def pending(
        self, filename: str = "june.csv", content: bytes | str = "a,b\n1,2\n", dataset: str | None = None
    ) -> Upload:
        file, lane = store(self.settings, content, filename), self._quick_bytes
        return self.tell(lambda connection: uploads.create(connection, file, quick_bytes=lane, dataset=dataset))

    def external(self, filename: str = "june.csv", **more: Any) -> Upload:
        """An upload that an external script imports from its own file."""
        file = StoredFile(filename, stored_as="", size=0, sha256="")
        return self.tell(lambda connection: uploads.create(connection, file, processor=Processor.EXTERNAL, **more))

    def report(self, upload: Upload, event: str = "progress", **said: Any) -> Upload:
        """Record a report of its script: progress, complete, error or cancelled."""
        report = Report(file_id=upload.id, event=f"bulk_upload_{event}", **said)  # type: ignore[arg-type]  # of the four

        def record(connection: sa.Connection) -> Upload:
            [outcome] = reports.record(connection, [report])
            assert isinstance(outcome, Upload), outcome
            return outcome

        return self.tell(record)

    def claim(self, upload: Upload) -> Upload:
        return self.tell(lambda connection: uploads.claim(connection, upload.id, worker="a test", lease=LEASE))

    def processing(
        self,
        filename: str = "june.csv",
        rows: int = 100,
        dataset: str = "june",
        header: Sequence[str] = ("a", "b"),
        parent: int | None = None,
        is_named: bool = False,
    ) -> Upload:
        """An upload whose import a worker has begun. is_named: into a dataset that existed when the file came."""
        upload = self.claim(self.pending(filename, dataset=dataset if is_named else None))
        known: dict[str, Any] = {"dataset": dataset, "rows_total": rows, "header": list(header), "notes": []}
        known |= {"next_byte": 0, "bytes_total": upload.size, "parent": parent}
        return self.tell(lambda connection: uploads.begin(connection, claim_of(upload), lease=LEASE, **known))

    def advance(self, upload: Upload, good: int = 10, bad: list[FailedRow] | None = None) -> Upload:
        def change(connection: sa.Connection) -> Upload:
            failed = PackedFailedRows.pack(bad or [])
            rows: dict[str, Any] = {"good": good, "bad": len(failed), "next_byte": upload.next_byte + good}
            advanced = uploads.advance(connection, claim_of(upload), lease=LEASE, **rows)
            failed_rows_writer.record(connection, upload.id, failed, room=KEPT)
            return advanced

        return self.tell(change)

    def warn(self, upload: Upload, *found: UploadWarning) -> str:
        """Give an upload these warnings, or one about a column. Returns the sentence of the first."""
        wanted = list(found) or [warnings.columns_ignored(["Full name"])]
        with self.database.transaction() as connection:
            connection.execute(
                sa.update(tables.uploads).where(tables.uploads.c.id == upload.id).values(warnings=wanted)
            )
        return str(wanted[0]["detail"])

    def complete(self, upload: Upload) -> Upload:
        return self.tell(lambda connection: uploads.complete(connection, claim_of(upload)))

    def completed(self, filename: str = "june.csv") -> Upload:
        return self.complete(self.processing(filename))

    def fail(self, upload: Upload, error: str = "The file cannot be read.", remedy: Remedy = Remedy.RETRY) -> Upload:
        return self.tell(lambda connection: uploads.fail(connection, claim_of(upload), error, remedy))

    def cancel(self, upload: Upload) -> Upload:
        return self.tell(lambda connection: uploads.cancel(connection, upload.id))

    def retry(self, upload: Upload) -> Upload:
        return self.tell(lambda connection: uploads.retry(connection, upload.id))

    def declare(self, name: str, *fields: dict[str, Any], mode: Mode = Mode.INSERT, **properties: Any) -> Dataset:
        """An empty dataset."""
        schema = TableSchema.parse({"fields": list(fields), **properties})
        with self.database.transaction() as connection:
            return datasets.declare(connection, name, schema, mode)

    def dataset(self, name: str, rows: Iterable[tuple[int | None, str, bool]] = ()) -> Dataset:
        """A dataset with the columns id, name and paid, from an upload that is completed."""
        rows = list(rows)
        upload = self.advance(self.processing(f"{name}.csv", dataset=name, rows=len(rows)), len(rows))
        fields = [
            {"name": "id", "type": "integer", "description": "each is one"},
            {"name": "name", "type": "string"},
            {"name": "paid", "type": "boolean", "trueValues": ["yes"], "falseValues": ["no"]},
        ]
        with self.database.transaction() as connection:
            dataset = datasets.create(connection, name, TableSchema.parse({"fields": fields}), upload.id)
            values = [{"id": id_, "name": text, "paid": paid} for id_, text, paid in rows]
            insert_rows(connection, dataset, *values, upload_id=upload.id)
            datasets.count_rows(connection, name, len(values))
        self.complete(upload)
        return dataset

    def close(self) -> None:
        self.publisher.close()
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def links(html: str, rel: str = "") -> list[str]:
    """Addresses of the links of a page, only those of one `rel` if it is given."""
    found = re.findall(r'<a [^>]*href="([^"]*)"[^>]*>' if not rel else rf'<a [^>]*rel="{rel}" href="([^"]*)"', html)
    return [unescape(link) for link in found]


def claim_of(upload: Upload) -> Claim:
    return Claim(upload.id, upload.attempt)


class Served:
    """The application on its own uvicorn, in a thread: it starts fast, and tests can monkeypatch it."""

    def __init__(self, settings: Settings, connections: Connections | None = None) -> None:
        self.settings = settings
        self.records = Records(settings)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.client = client_of(self.url)
        self._server = uvicorn.Server(
            uvicorn.Config(
                create_app(settings),
                http=connection.protocol(connections),
                lifespan="on",
                log_config=None,
                ws="none",
                timeout_graceful_shutdown=5,
                proxy_headers=bool(settings.trusted_proxies),
                forwarded_allow_ips=settings.trusted_proxies,
            )
        )
        self._thread = threading.Thread(target=self._server.run, args=[[self._listening]], name="uvicorn")

    @property
    def stored(self) -> list[Path]:
        """The files in the folder of uploaded files."""
        return sorted(self.settings.files.glob("*"))

    @property
    def open(self) -> tuple[int, int, int, int]:
        """Numbers of connections, of requests that are being answered, of counted streams, and of subscribers."""
        server, state = self._server.server_state, self._server.lifespan.state
        subscribers = sum(len(feed.subscribers) for feed in state["hub"].feeds.all())
        return len(server.connections), len(server.tasks), state["stream_limiter"].open, subscribers

    def stream(self, path: str, last_event_id: str | None = None) -> Any:
        return stream(self.client, path, last_event_id)

    def post(self, content: bytes | str, filename: str = "june.csv", **fields: str) -> httpx.Response:
        """A raw upload by the API."""
        return self.client.post("/api/v1/uploads", params={"filename": filename, **fields}, content=content)

    def finished(self) -> Upload:
        """The newest upload, after it has ended."""
        until(lambda: not self.records.all()[0].is_active, "the upload to end")
        return self.records.all()[0]

    def page(self, path: str, **query: str | int) -> str:
        """The HTML of a page, which must exist."""
        answer = self.client.get(path, params=query or None)

        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        return answer.text

    def __enter__(self) -> Self:
        self._thread.start()
        until(lambda: self._server.started or not self._thread.is_alive(), "uvicorn to start")
        assert self._server.started
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self._server.should_exit = True
        self._thread.join(60)
        self._listening.close()
        self.records.close()
        assert not self._thread.is_alive(), "uvicorn did not end"


class _Command:
    """A command in its own process, with its log in a file next to the data folder."""

    command = ""

    def __init__(self, settings: Settings, tweak: str = "", words: Sequence[str] = ()) -> None:
        """tweak: Python that runs first, to shorten intervals. words: more words of the command."""
        self._settings = settings
        self._words = words
        self._code = f"{tweak}\nfrom webapp.cli import main\nmain()"
        self._log = settings.data.parent / f"{self.command}-{time.monotonic_ns()}.log"
        self.process = self._start()

    def _start(self, **variables: str) -> "subprocess.Popen[bytes] | ForkedProcess":
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", self._code, self.command, *self._words],
                env=self._environment(**variables),
                stdin=subprocess.DEVNULL,
                stderr=log,
            )

    def _environment(self, **variables: str) -> dict[str, str]:
        return {**environ, **self._settings.environment(), "PYTHONPATH": str(ROOT), **variables}

    @property
    def log(self) -> str:
        return self._log.read_text("utf-8")

    def kill(self) -> None:
        """End it with SIGKILL."""
        self.process.kill()
        self.process.wait(60)

    def terminate(self) -> int:
        """End it with SIGTERM. Returns the exit status."""
        self.process.terminate()
        return self.process.wait(60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(60)
        finally:
            self.kill()


class Web(_Command):
    """`bulk-upload web` on a free port."""

    command = "web"

    def __init__(self, settings: Settings, tweak: str = "") -> None:
        super().__init__(settings, tweak)
        self.url = self._address()
        self.client = client_of(self.url)
        until(self.is_healthy, "the web process to answer")

    def _address(self) -> str:
        found = until(
            lambda: self.process.poll() is not None or re.search(r"Listening on (http://\S+)\.\n", self.log),
            "the web process to listen",
        )
        assert isinstance(found, re.Match), self.log
        return str(found[1])

    def is_healthy(self) -> bool:
        try:
            return self.client.get("/healthz").status_code == 200
        except httpx.TransportError:
            return False

    def restart(self) -> None:
        """Start it again on the same port, after it has ended."""
        self.process = self._start(BULK_UPLOAD_PORT=str(httpx.URL(self.url).port))
        until(self.is_healthy, "the web process to answer again")

    def __exit__(self, *_: object) -> None:
        self.client.close()
        super().__exit__()


class Worker(_Command):
    """`bulk-upload worker`, ready to take an upload."""

    command = "worker"

    def __init__(self, settings: Settings, *words: str) -> None:
        super().__init__(settings, words=words)
        queue = UploadQueue(settings.redis)
        until(lambda: self.process.poll() is not None or queue.status().workers.total, "the worker to report")
        queue.close()
        assert self.process.poll() is None, self.log

    def _start(self, **variables: str) -> ForkedProcess:
        return fork(self._code, [self.command, *self._words], self._environment(**variables), self._log)
