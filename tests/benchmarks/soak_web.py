"""Thousands of mixed uploads with pages, downloads and streams open all the while: `make soak-web`.

Prints what the web process and the workers hold in memory after each thousand. The exit status is 1 if the web process
ends more than 30 MB above where it stood after the first thousand, or if anything but the intended failures failed.
"""

import argparse
import io
import itertools
import random
import re
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
from openpyxl import Workbook

from jobs.uploads import Status
from tests.benchmarks.hostile.case import MB
from tests.benchmarks.hostile.instance import Instance
from tests.benchmarks.processes import resident

#: Uploads between two measurements, and bytes by which the web process may grow after the first.
STEP, GROWTH_BYTES = 1_000, 30 * MB
#: Workers, and uploads that wait for them at most.
WORKERS, WAITING = 2, 20
#: Datasets that most uploads go to, and columns of the wide one.
DATASETS, WIDE_COLUMNS = 20, 684
#: Streams of each kind that are always open, and clients that read pages and downloads one after the other.
STREAMS, READERS = 5, 3
#: Share of a reader's requests that is of the wide dataset.
WIDE_SHARE = 0.1
#: Seconds before a stream that has ended is opened again.
REOPEN_SECONDS = 1.0
#: Seconds between two requests of a reader: enough of them to reach every page thousands of times.
PAUSE = 0.2
#: Seconds after the last upload of a thousand until the memory is measured.
SETTLE_SECONDS = 3.0
#: Seconds without any upload ending after which nothing works any more.
STUCK_SECONDS = 120.0

#: The name, the dataset (empty: a new one) and the content of a file.
Sent = tuple[str, str, bytes]


class Mixture:
    """Files of all kinds, in the same order for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._numbers = itertools.count(1)
        #: Files that cannot be imported.
        self.unreadable = 0
        self._kinds: dict[Callable[[], Sent], int] = {
            self._table: 60, self._duplicate: 8, self._workbook: 10, self._with_failures: 12, self._unreadable: 4,
            self._new_dataset: 3, self._wide: 3,
        }  # fmt: skip

    def file(self) -> Sent:
        [kind] = self._random.choices(list(self._kinds), list(self._kinds.values()))
        return kind()

    def _rows(self, count: int = 20) -> list[list[str]]:
        number = next(self._numbers)
        return [[f"{number}-{row}", f"item {row}", str(self._random.randrange(1_000))] for row in range(count)]

    def _dataset(self) -> str:
        return f"dataset_{self._random.randrange(DATASETS)}"

    def _table(self) -> Sent:
        return "table.csv", self._dataset(), _csv(["key", "name", "count"], self._rows())

    def _duplicate(self) -> Sent:
        return "again.csv", "dataset_0", _csv(["key", "name", "count"], [["the same", "x", "1"]])

    def _new_dataset(self) -> Sent:
        return "new.csv", f"new_{next(self._numbers)}", _csv(["key", "name", "count"], self._rows())

    def _with_failures(self) -> Sent:
        rows = self._rows()
        for row in rows[::3]:
            row[2] = "a few"
        return "failures.csv", self._dataset(), _csv(["key", "name", "count"], rows)

    def _unreadable(self) -> Sent:
        self.unreadable += 1
        return "document.csv", self._dataset(), b"%PDF-1.7\n" + bytes(2_000)

    def _workbook(self) -> Sent:
        book = Workbook(write_only=True)
        sheet = book.create_sheet("items")
        for row in [["key", "name", "count"], *self._rows()]:
            sheet.append(row)
        content = io.BytesIO()
        book.save(content)
        return "book.xlsx", self._dataset(), content.getvalue()

    def _wide(self) -> Sent:
        names = [f"column {number}" for number in range(WIDE_COLUMNS)]
        return "wide.csv", "wide", _csv(names, [[str(next(self._numbers))] * WIDE_COLUMNS])


class Crowd:
    """Readers of pages and downloads, and open streams, in threads, until `end`."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._over = threading.Event()
        self.answers: Counter[str] = Counter()
        streams = ["/uploads/events", "/api/v1/events", "/uploads/{}/events", "/api/v1/uploads/{}/events"]
        self._threads = [threading.Thread(target=self._listen, args=[path]) for path in streams * STREAMS]
        self._threads += [threading.Thread(target=self._read, args=[seed]) for seed in range(READERS)]

    def begin(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _listen(self, path: str) -> None:
        """Read a stream, that of the newest upload if it is of one, and open it again when it ends."""
        with self._instance.new_client() as client:
            while not self._over.wait(REOPEN_SECONDS):
                newest = path.format(self._instance.ended_count() + 1)
                with suppress(httpx.TransportError), client.stream("GET", newest, timeout=20) as response:
                    self._count(path, response)
                    for _ in response.iter_raw():
                        if self._over.is_set():
                            break

    def _read(self, seed: int) -> None:
        numbers = random.Random(seed)
        with self._instance.new_client() as client:
            for path in self._paths(numbers):
                if self._over.wait(PAUSE):
                    return
                with client.stream("GET", path) as response:
                    for _ in response.iter_raw():
                        pass
                    self._count(path, response)

    def _count(self, path: str, response: httpx.Response) -> None:
        self.answers[f"{re.sub(r'[0-9]+|{}', 'N', path)} {response.status_code}"] += 1

    def _paths(self, numbers: random.Random) -> Iterator[str]:
        while True:
            dataset = "wide" if numbers.random() < WIDE_SHARE else f"dataset_{numbers.randrange(DATASETS)}"
            upload_id = numbers.randint(1, max(1, self._instance.ended_count()))
            yield from numbers.sample(self._all_paths(dataset, upload_id), 5)

    def _all_paths(self, dataset: str, upload_id: int) -> list[str]:
        of_dataset = f"/datasets/{dataset}"
        pages = ["/uploads", "/uploads?q=table", f"/uploads/{upload_id}", "/datasets", of_dataset]
        downloads = [f"{of_dataset}/rows.csv", f"{of_dataset}/template.csv", f"/uploads/{upload_id}/failed-rows.csv"]
        api = [f"/api/v1/uploads/{upload_id}", "/api/v1/uploads?limit=200", f"/api/v1{of_dataset}/rows?limit=500"]
        return [*pages, *downloads, f"/uploads/{upload_id}/original", *api, f"/api/v1{of_dataset}"]


class Soak:
    """So many uploads. `resident` has the bytes of the web process after each thousand."""

    def __init__(self, instance: Instance, uploads: int, seed: int) -> None:
        self._instance = instance
        self._uploads, self._step = uploads, min(STEP, max(1, uploads // 10))
        self._mixture = Mixture(seed)
        self._crowd = Crowd(instance)
        self.resident: list[int] = []

    def run(self) -> None:
        self._send_first()
        self._crowd.begin()
        try:
            print("| uploads | web | workers | uploads/s |\n|---|---|---|---|", flush=True)
            while (ended := self._instance.ended_count()) < self._uploads:
                began = time.monotonic()
                count = min(self._step, self._uploads - ended)
                self._send(count)
                self._measure(count / (time.monotonic() - began))
        finally:
            self._crowd.end()
        print(", ".join(f"{count:,} {what}" for what, count in sorted(self._crowd.answers.items())), flush=True)

    def _send_first(self) -> None:
        """One file for each dataset that pages are read of."""
        for name in [f"dataset_{number}" for number in range(DATASETS)]:
            self._post("first.csv", name, _csv(["key", "name", "count"], [["first", "x", "1"]]))
        self._post(*self._mixture._wide())
        self._wait(lambda: not self._instance.active())

    def _send(self, count: int) -> None:
        """So many uploads, and wait for their end."""
        for number in range(count):
            if number % WAITING == 0:
                self._wait(lambda: len(self._instance.active()) < WAITING)
            self._post(*self._mixture.file())
        self._wait(lambda: not self._instance.active())

    def _post(self, filename: str, dataset: str, content: bytes) -> None:
        self._instance.post(content, filename, dataset=dataset).raise_for_status()

    def _wait(self, condition: Callable[[], bool]) -> None:
        ended, since = self._instance.ended_count(), time.monotonic()
        while not condition():
            time.sleep(0.1)
            if (now := self._instance.ended_count()) > ended:
                ended, since = now, time.monotonic()
            if time.monotonic() - since > STUCK_SECONDS:
                raise TimeoutError(f"No upload has ended for {STUCK_SECONDS:g} s.")

    def _measure(self, rate: float) -> None:
        time.sleep(SETTLE_SECONDS)
        self.resident.append(resident(self._instance.web))
        workers = "; ".join(f"{resident(pid) / MB:.0f} MB" for pid in self._instance.workers())
        ended = self._instance.ended_count()
        print(f"| {ended:,} | {self.resident[-1] / MB:.0f} MB | {workers} | {rate:.1f} |", flush=True)

    @property
    def violations(self) -> list[str]:
        grown = self.resident[-1] - self.resident[0]
        found = (
            [f"the web process grew by {grown / MB:.0f} MB after the first {self._step:,} uploads"]
            if grown > GROWTH_BYTES
            else []
        )
        if (failed := self._instance.ended_count(Status.FAILED)) != self._mixture.unreadable:
            found.append(f"{failed:,} uploads failed, not the {self._mixture.unreadable:,} that cannot be imported")
        wrong = [what for what in self._crowd.answers if what.rpartition(" ")[2].startswith("5")]
        return found + [f"{self._crowd.answers[what]} answers: {what}" for what in wrong]


def _csv(header: list[str], rows: list[list[str]]) -> bytes:
    return "\n".join([*(",".join(row) for row in [header, *rows]), ""]).encode()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.soak_web", description=__doc__)
    parser.add_argument("--uploads", type=int, default=10_000, help="[default: 10,000]")
    parser.add_argument("--seed", type=int, default=1, help="of the mixture [default: 1]")
    words = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bulk-soak-") as folder:
        instance = Instance(Path(folder), workers=WORKERS)
        try:
            soak = Soak(instance, words.uploads, words.seed)
            soak.run()
            violations = soak.violations
        finally:
            instance.end()
    print(f"{words.uploads:,} uploads in {(time.monotonic() - began) / 60:.1f} minutes.")
    for violation in violations:
        print(f"BEYOND: {violation}")
    sys.exit(1 if violations else 0)


if __name__ == "__main__":
    main()
