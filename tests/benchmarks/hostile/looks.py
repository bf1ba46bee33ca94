"""Looks at everything that shows an upload: pages, rows, downloads."""

import time
from dataclasses import dataclass, field
from typing import Any

from tests.benchmarks.hostile.case import MB
from tests.benchmarks.hostile.instance import Instance

#: Seconds in which a page has to come.
PAGE_SECONDS = 10.0
#: Bytes of a page, and of a page of rows of the API.
PAGE_BYTES, ROWS_BYTES = MB, 10 * MB
#: Bytes of a download that are read.
DOWNLOADED_BYTES = 64 * MB


@dataclass
class Looks:
    """Looks at everything that shows an upload. found: what is too large, too slow or broken."""

    instance: Instance
    found: list[str] = field(default_factory=list)

    def at(self, upload: dict[str, Any]) -> list[str]:
        self._page("/uploads")
        self._page(f"/uploads/{upload['id']}")
        self._stream(f"/uploads/{upload['id']}/failed-rows.csv")
        if name := upload["dataset"]:
            self._page(f"/datasets/{name}")
            self._page(f"/api/v1/datasets/{name}/rows?limit=500", ROWS_BYTES)
            self._stream(f"/datasets/{name}/rows.csv")
        return self.found

    def _page(self, path: str, limit: int = PAGE_BYTES) -> None:
        self._read(path, limit, whole=True)

    def _stream(self, path: str) -> None:
        self._read(path, DOWNLOADED_BYTES, whole=False)

    def _read(self, path: str, limit: int, *, whole: bool) -> None:
        """Read so many bytes; whole: there may be no more, and they must come fast."""
        began, size = time.monotonic(), 0
        with self.instance.client.stream("GET", path, headers={"Accept-Encoding": "identity"}) as response:
            if response.status_code >= 500:
                self.found.append(f"{path} answers {response.status_code}")
            for piece in response.iter_raw():
                size += len(piece)
                if size > limit:
                    break
        seconds = time.monotonic() - began
        if whole and size > limit:
            self.found.append(f"{path} has more than {limit:,} bytes")
        if whole and seconds > PAGE_SECONDS:
            self.found.append(f"{path} took {seconds:.1f} s")
