"""The log: one line an event on stderr, the same for every process."""

import logging
import sys

from jobs.settings import Settings

#: Loggers of libraries whose everyday sentences say nothing to whoever runs this.
CHATTY = ("alembic", "asyncio", "uvicorn")


def configure(settings: Settings, role: str) -> None:
    """Send every logger of this process to stderr, each line with its time, level, and this process's role and id."""
    line = f"%(asctime)s %(levelname)-7s {role}[%(process)d] %(message)s"
    logging.basicConfig(level=settings.log_level, format=line, datefmt="%Y-%m-%d %H:%M:%S", stream=sys.stderr)
    if settings.log_level != "DEBUG":
        for name in CHATTY:
            logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
