"""Load on a system whose parts fail: whoever sends files, and pages that are open, go on until they succeed."""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Self

import httpx
from httpx_sse import connect_sse

from tests.support.resumable import Sender
from tests.support.waiting import until

#: Rows of each file that are right, and that are not.
GOOD, BAD = 300, 3
#: Bytes of a part of a file that is sent in parts.
PART_BYTES = 3_000
#: Seconds until a request has to succeed at last.
PATIENCE = 120.0

#: A client that may be used by one thread.
Connect = Callable[[], httpx.Client]


def rows(name: str, good: int = GOOD, bad: int = BAD) -> bytes:
    """A file of a dataset with a text and a number. Its keys are found nowhere else."""
    right = (f"{name}-{number},{number}\n" for number in range(good))
    return "".join(itertools.chain(["key,count\n"], right, (f"{name}-bad-{n},x\n" for n in range(bad)))).encode()


def insistently(attempt: Callable[[], httpx.Response], *statuses: int) -> httpx.Response:
    """The answer with one of these statuses, however often it takes."""

    def answer() -> httpx.Response | None:
        with suppress(httpx.HTTPError):
            given = attempt()
            if given.status_code in statuses:
                return given
            assert given.status_code >= 500 or given.status_code in (409, 423), f"{given.status_code}: {given.text}"
        time.sleep(0.1)
        return None

    return until(answer, f"an answer with status {statuses}", PATIENCE)


class Senders:
    """Threads that send files into one dataset, each until it is an upload, whatever becomes of the requests. One of
    them sends each file in parts."""

    def __init__(self, connect: Connect, dataset: str) -> None:
        self._connect = connect
        self._dataset = dataset
        self._over = threading.Event()
        #: The uploads, by the names of their files.
        self.sent: dict[str, int] = {}
        self.errors: list[BaseException] = []
        #: How often each whole file was sent: an answer that was lost may have been that of an upload.
        self.requests: Counter[str] = Counter()
        ways = (self._send_whole, self._send_whole, self._send_in_parts)
        self._threads = [threading.Thread(target=self._send_all, args=[way, n]) for n, way in enumerate(ways)]

    def _send_all(self, way: Callable[[httpx.Client, str, bytes], int], sender: int) -> None:
        try:
            with self._connect() as client:
                for number in itertools.count():
                    if self._over.is_set():
                        return
                    name = f"{sender}-{number}"
                    self.sent[f"{name}.csv"] = upload = way(client, name, rows(name))
                    self._wait_for(client, upload)
        except BaseException as error:
            self.errors.append(error)

    def _wait_for(self, client: httpx.Client, upload: int) -> None:
        """So that never more than a few uploads wait."""
        while not self._over.wait(0.1):
            with suppress(httpx.HTTPError):
                answer = client.get(f"/api/v1/uploads/{upload}")
                if answer.status_code == 200 and answer.json()["status"] not in ("pending", "processing"):
                    return

    def _send_whole(self, client: httpx.Client, name: str, content: bytes) -> int:
        named = {"filename": f"{name}.csv", "dataset": self._dataset}

        def send() -> httpx.Response:
            self.requests[named["filename"]] += 1
            return client.post("/api/v1/uploads", params=named, content=content)

        return int(insistently(send, 201).json()["id"])

    def _send_in_parts(self, client: httpx.Client, name: str, content: bytes) -> int:
        sender, named = Sender(client), {"filename": f"{name}.csv", "dataset": self._dataset}
        path = insistently(lambda: sender.create(len(content), b"", None, **named), 201).headers["Location"]
        while "Content-Location" not in (state := insistently(lambda: sender.head(path), 200)).headers:
            at = int(state.headers["Upload-Offset"])
            with suppress(httpx.HTTPError):
                sender.append(path, at, content[at : at + PART_BYTES])
        return int(state.headers["Content-Location"].rpartition("/")[2])

    def unexpected(self, filenames: Iterable[str]) -> list[str]:
        """What became uploads more often than it was sent. filenames: of all uploads."""
        return [name for name, count in Counter(filenames).items() if count > max(1, self.requests[name])]

    def end(self) -> None:
        """What was begun is sent to its end."""
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


class Page:
    """What an open page knows: it follows all uploads, and connects again whenever it is cut off."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self.known: dict[int, dict[str, Any]] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow)

    def _follow(self) -> None:
        last: dict[str, str] = {}
        with self._connect() as client:
            while not self._over.wait(0.2):
                with (
                    suppress(httpx.HTTPError),
                    connect_sse(client, "GET", "/api/v1/events", headers=last, timeout=20) as source,
                ):
                    for event in source.iter_sse():
                        last = {"Last-Event-ID": event.id} if event.id else last
                        if event.event.startswith("bulk_upload_"):
                            self._learn(event.json())
                        if self._over.is_set():
                            return

    def _learn(self, state: dict[str, Any]) -> None:
        """Drop what is older than what it knows."""
        before = self.known.get(state["file_id"], {"seq": 0})
        self.known[state["file_id"]] = max(before, state, key=lambda each: each["seq"])

    def lacks(self, seqs: Mapping[int, int]) -> dict[int, int | None]:
        """What it knows of uploads whose last state it does not know. seqs: of the last states."""
        known = {id_: self.known.get(id_, {}).get("seq") for id_ in seqs}
        return {id_: seq for id_, seq in known.items() if seq != seqs[id_]}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(60)
