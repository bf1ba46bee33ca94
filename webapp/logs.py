"""The log: one line per event on stderr, in the same format for every process."""

import logging
import sys

from jobs.settings import Settings

#: Loggers of libraries whose INFO messages do not help an operator.
CHATTY = ("alembic", "asyncio", "uvicorn")


def configure(settings: Settings, role: str) -> None:
    """Log to stderr. Each line has the time, the level, and the role and id of this process."""
    line = f"%(asctime)s %(levelname)-7s {role}[%(process)d] %(message)s"
    logging.basicConfig(level=settings.log_level, format=line, datefmt="%Y-%m-%d %H:%M:%S", stream=sys.stderr)
    if settings.log_level != "DEBUG":
        for name in CHATTY:
            logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
