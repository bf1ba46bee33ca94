"""A running instance to attack: `bulk-upload serve` on a free port of this machine, with a folder of its own."""

import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

from jobs.database import Database
from jobs.settings import Settings
from jobs.tables import uploads
from jobs.uploads import ACTIVE, TERMINAL, Processor, Status
from tests.support.supervised import Serve, children_of, is_running, kill
from tests.support.waiting import until

#: The secret of reports.
TOKEN = "the-secret-of-the-benchmark"
#: Seconds without data after which a request of ours has failed.
TIMEOUT = 60.0
#: Seconds that the processes have to shut down.
END_SECONDS = 40.0
#: Seconds between two looks at an upload.
POLL_SECONDS = 0.05
#: Files of the data folder that belong to no upload: the database with its locks, Redis, the supervisor's claim.
_OWN_FILES = ("bulk_upload.db", "redis/", "serve")

Json = dict[str, Any]


class Instance:
    """Everything that `make run` starts. Temporary files go to a folder of its own, so that left-overs are seen."""

    def __init__(self, folder: Path, *, workers: int = 2, database_url: str | None = None, **variables: str) -> None:
        """folder: an empty one. database_url: of an empty database; None: SQLite in the folder."""
        self._temporary = folder / "tmp"
        self._temporary.mkdir(parents=True)
        variables |= {"TMPDIR": str(self._temporary), "BULK_UPLOAD_NOTIFY_TOKEN": TOKEN}
        variables |= {"DATABASE_URL": database_url} if database_url else {}
        self._serve = Serve(folder, "data", "--workers", str(workers), port=0, **variables)
        self.settings = Settings(data=self._serve.data, database_url=database_url)
        self._log_seen = -1
        self._children: dict[str, int] = {}
        self._own = set(self._files()) if self.url else set()
        self.client = self.new_client()

    @property
    def is_sqlite(self) -> bool:
        return self.settings.sqlite_folder is not None

    @cached_property
    def url(self) -> str:
        return self._serve.url

    @cached_property
    def address(self) -> tuple[str, int]:
        """Host and port, for sockets."""
        url = httpx.URL(self.url)
        return url.host, url.port or 80

    @cached_property
    def database(self) -> Database:
        """What the instance has recorded, read past it."""
        return Database(self.settings.database)

    def new_client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=TIMEOUT, limits=httpx.Limits(max_connections=None))

    # Uploads

    def post(self, content: bytes, filename: str, **fields: str) -> httpx.Response:
        """An upload by the API, the file as the body."""
        return self.client.post("/api/v1/uploads", params={"filename": filename, **fields}, content=content)

    def upload(self, upload_id: int) -> Json:
        found: Json = self.client.get(f"/api/v1/uploads/{upload_id}").raise_for_status().json()
        return found

    def ended(self, upload_id: int, seconds: float) -> Json | None:
        """The upload once it has ended; None if it has not in time."""
        deadline = time.monotonic() + seconds
        while (upload := self.upload(upload_id))["status"] in list(ACTIVE):
            if time.monotonic() > deadline:
                return None
            time.sleep(POLL_SECONDS)
        return upload

    def active(self) -> list[int]:
        """The uploads that a worker imports or will import."""
        is_ours = (uploads.c.status.in_(list(ACTIVE))) & (uploads.c.processor == Processor.WORKER)
        with self.database.reading() as connection:
            return list(connection.execute(sa.select(uploads.c.id).where(is_ours)).scalars())

    def ended_count(self, *statuses: Status) -> int:
        """How many uploads have ended, or ended like this."""
        query = sa.select(sa.func.count()).where(uploads.c.status.in_(list(statuses or TERMINAL)))
        with self.database.reading() as connection:
            return int(connection.execute(query).scalar_one())

    def horse_of(self, upload_id: int) -> int | None:
        """The process that imports an upload at the moment."""
        query = sa.select(uploads.c.worker).where(uploads.c.id == upload_id)
        with self.database.reading() as connection:
            worker: str | None = connection.execute(query).scalar()
        number = (worker or "").rpartition(":")[2]
        return int(number) if number.isdecimal() else None

    def cancel(self, upload_id: int, seconds: float = 2.0) -> bool:
        """Cancel an upload. Says whether its work horse ended by itself in time; if not, it is killed."""
        horse = self.horse_of(upload_id)
        self.client.post(f"/api/v1/uploads/{upload_id}/cancel")
        deadline = time.monotonic() + seconds
        while horse and is_running(horse):
            if time.monotonic() > deadline:
                kill(horse)
                return False
            time.sleep(POLL_SECONDS)
        return True

    # Processes

    @property
    def children(self) -> dict[str, int]:
        """The process id of each child of `serve`, by its name."""
        size = self._serve.log_size
        if size != self._log_seen:
            self._log_seen, self._children = size, self._serve.children
        return self._children

    @property
    def web(self) -> int:
        return self.children["The web process"]

    def restart_web(self) -> None:
        """Kill the web process, which `serve` starts again."""
        before = self.web
        kill(before)
        until(lambda: self.web != before and self._is_healthy(), "the web process to be started again", END_SECONDS)

    def _is_healthy(self) -> bool:
        try:
            return self.client.get("/healthz").status_code == 200
        except httpx.TransportError:
            return False

    def workers(self) -> Iterator[int]:
        """The workers and their work horses."""
        for name, pid in self.children.items():
            if name.startswith("Worker"):
                yield pid
                yield from children_of(pid)

    @property
    def log_size(self) -> int:
        return self._serve.log_size

    def log_since(self, size: int) -> str:
        return self._serve.log_since(size)

    # Files

    def left_over(self) -> list[str]:
        """Files that no record names, spools of uploads that have ended, temporary files."""
        with self.database.reading() as connection:
            rows = connection.execute(sa.select(uploads.c.stored_as, uploads.c.status)).all()
        known = {f"files/{name}" for name, _ in rows}
        active = {name.partition(".")[0] for name, status in rows if status in list(ACTIVE)}
        found = [
            name
            for name in self._files()
            if name not in known
            and name not in self._own
            and not name.startswith(_OWN_FILES)
            and name.removeprefix("files/").partition(".")[0] not in active
        ]
        temporary = [f"tmp/{path.name}" for path in self._temporary.rglob("*") if path.is_file()]
        return sorted(found + temporary)

    def _files(self) -> list[str]:
        data = self.settings.data
        found = []
        for path in data.rglob("*"):
            with suppress(OSError):
                if path.is_file():
                    found.append(str(path.relative_to(data)))
        return found

    def end(self) -> None:
        """End every process, killing what does not end by itself."""
        self.client.close()
        left = [*self.children.values(), *self.workers()]
        self._serve.process.terminate()
        with suppress(Exception):
            self._serve.process.wait(END_SECONDS)
        self._serve.kill_everything()
        for pid in left:
            if is_running(pid):
                kill(pid)
        if "database" in self.__dict__:
            self.database.close()
