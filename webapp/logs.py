"""The log: one line per event on stderr, in the same format for every process."""

import logging
import os
import sys
import threading
from types import TracebackType
from typing import Any

from jobs.process.log_context import JsonFormatter
from jobs.settings import Settings

#: Loggers of libraries whose INFO messages do not help an operator.
CHATTY = ("alembic", "asyncio", "uvicorn")

log = logging.getLogger(__name__)


def configure(settings: Settings, role: str) -> None:
    """Log to stderr, in the format of the settings. role: what this process does."""
    if is_json(settings.log_format):
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonFormatter(role))
        logging.basicConfig(level=settings.log_level, handlers=[handler])
        _log_all_else()
    else:
        line = f"%(asctime)s %(levelname)-7s {role}[%(process)d] %(message)s"
        logging.basicConfig(level=settings.log_level, format=line, datefmt="%Y-%m-%d %H:%M:%S", stream=sys.stderr)
    if settings.log_level != "DEBUG":
        for name in CHATTY:
            logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))


def is_json(log_format: str | None = None) -> bool:
    """Whether lines are JSON. log_format: of the settings; None: as the environment says, if they could not be read."""
    given = os.environ.get("BULK_UPLOAD_LOG_FORMAT", "") if log_format is None else log_format
    return given.lower() == "json"


def refuse(sentence: str, role: str) -> None:
    """Say on stderr, as a line of JSON, why this process does not start."""
    print(as_line(sentence, role, logging.ERROR), file=sys.stderr, flush=True)


def as_line(sentence: str, role: str, level: int = logging.INFO) -> str:
    """A sentence that is not for the log, but stands among its lines, as JSON."""
    return JsonFormatter(role).format(logging.LogRecord("webapp", level, "", 0, sentence, (), None))


def _log_all_else() -> None:
    """Log what Python would print: warnings, and exceptions that nothing handles."""
    logging.captureWarnings(True)

    def excepthook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            log.critical("The process ends: %s", error or kind.__name__, exc_info=(kind, error, traceback))

    def of_thread(args: Any) -> None:
        if args.exc_value is not None:
            info = (args.exc_type, args.exc_value, args.exc_traceback)
            log.error("A thread ended: %s", args.exc_value, exc_info=info)

    def unraisable(args: Any) -> None:
        if args.exc_value is not None:
            info = (args.exc_type, args.exc_value, args.exc_traceback)
            log.error("%s: %r", args.err_msg or "An exception was ignored in", args.object, exc_info=info)

    sys.excepthook = excepthook
    threading.excepthook = of_thread
    sys.unraisablehook = unraisable
