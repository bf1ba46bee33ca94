"""What a line of the log is about: the request, whoever sent it, the upload. And the log as JSON, which has it."""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

#: Of the request that is being answered: its id, and the account that sent it.
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
user_id: ContextVar[int | None] = ContextVar("user_id", default=None)
#: The upload that is being worked on.
upload_id: ContextVar[int | None] = ContextVar("upload_id", default=None)

_KNOWN: dict[str, ContextVar[Any]] = {"upload_id": upload_id, "request_id": request_id, "user_id": user_id}


@contextmanager
def about(upload: int) -> Iterator[None]:
    """What is logged inside is about this upload."""
    token = upload_id.set(upload)
    try:
        yield
    finally:
        upload_id.reset(token)


class JsonFormatter(logging.Formatter):
    """Each record as one JSON object on one line. A traceback is a field of it."""

    def __init__(self, role: str) -> None:
        """role: what the process does, such as `web`."""
        super().__init__()
        self.role = role

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        line = {
            "timestamp": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "role": self.role,
            "pid": os.getpid(),
        }
        for name, variable in _KNOWN.items():
            value = getattr(record, name, None)
            value = variable.get() if value is None else value
            if value is not None:
                line[name] = value
        if record.exc_info and record.exc_info[0] is not None:
            line["traceback"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return json.dumps(line)  # in ASCII: no program takes one of Unicode's line ends for the end of the object


def become(role: str) -> None:
    """Name this process otherwise in its log as JSON: it is a fork of one with another role."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler.formatter, JsonFormatter):
            handler.setFormatter(JsonFormatter(role))
