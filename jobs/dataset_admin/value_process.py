"""Asks a process of its own whether a field takes values (value_check.py), because it loads what no web process may."""

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from jobs.errors import CheckTookTooLongError
from jobs.schema import SchemaField, TableSchema

#: What the process runs: by its name, because nothing of it is loaded here.
_MODULE = "jobs.dataset_admin.value_check"


class ValueProcess:
    """One process for the values of one column, as a context manager. It is ended when its time is over."""

    def __init__(self, schema: TableSchema, field: SchemaField, *, seconds: float) -> None:
        self._seconds = seconds
        missing = {"missingValues": schema.missing_values_of(field)}
        self._schema = {"fields": [field.model_dump(by_alias=True, exclude_unset=True)], **missing}
        self._is_over = False

    def __enter__(self) -> Self:
        path = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, "-m", _MODULE],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._timer = threading.Timer(self._seconds, self._end)
        self._timer.daemon = True
        self._timer.start()
        try:
            self._send(self._schema)
        except BaseException:  # then nobody calls `__exit__`
            self._close()
            raise
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        self._timer.cancel()
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()

    def check(self, texts: list[str]) -> tuple[list[Any], set[int]]:
        """The values that some texts stand for, and the places of those that are not valid. Raises
        CheckTookTooLongError."""
        self._send(texts)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if self._is_over:
            raise CheckTookTooLongError(self._seconds)
        if not line:
            raise RuntimeError(f"The check of values ended with status {self._process.wait()}.")
        values, failed = json.loads(line)
        return values, set(failed)

    def _send(self, what: object) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(what).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise (CheckTookTooLongError(self._seconds) if self._is_over else error) from error

    def _end(self) -> None:
        self._is_over = True
        self._process.kill()
