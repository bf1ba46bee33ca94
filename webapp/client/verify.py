"""The command `bulk-upload verify`: compares the rows of an upload with its receipt."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import httpx
import sqlalchemy as sa

from jobs.settings import Settings
from webapp.client.remote import Remote, RemoteError, Server

#: A process of its own: it loads numpy and pyarrow, as workers do.
_MODULE = "jobs.work.verification"
#: Seconds to wait for the answer of a server, which reads all rows.
_TIMEOUT = httpx.Timeout(330, connect=5)
_STATUS = {"equal": 0, "changed": 1, "unknown": 2}


def run(upload_id: int, settings: Settings, server: Server | None) -> int:
    """Print the verdict on an upload. server: to ask; None: read the database of the settings. Returns the exit status:
    0 if the rows are as they were imported, 1 if they were changed, 2 if nobody can tell."""
    try:
        verdict = _asked(upload_id, server) if server else _computed(upload_id, settings)
    except RemoteError as error:
        click.echo(str(error)[:1].upper() + str(error)[1:], err=True)
        return 2
    _tell(verdict)
    return _STATUS[verdict["result"]]


def _tell(verdict: dict[str, Any]) -> None:
    status = _STATUS[verdict["result"]]
    digest = verdict["digest"]
    word = ("as imported", "CHANGED", "cannot tell")[status]
    click.echo(f"#{verdict['upload']}: {word}. {verdict['detail']}", err=status == 2)
    if status == 0 and digest["found"]:
        click.echo(f"digest {digest['found']}")
    elif digest["found"]:
        click.echo(f"digest of the receipt {digest['expected']}")
        click.echo(f"digest of the rows    {digest['found']}")


def _asked(upload_id: int, server: Server) -> dict[str, Any]:
    """Raises RemoteError."""
    with Remote(server) as remote:
        try:
            answer = remote.client.get(f"/api/v1/uploads/{upload_id}/verification", timeout=_TIMEOUT)
        except httpx.TransportError as error:
            raise remote.unavailable() from error
        if answer.status_code != 200:
            remote.parse_upload(answer, 200)  # raises with what the server says
        found: dict[str, Any] = answer.json()
        return found


def _computed(upload_id: int, settings: Settings) -> dict[str, Any]:
    """Raises RemoteError."""
    database = sa.make_url(settings.database)
    if database.get_backend_name() == "sqlite" and not Path(database.database or "").exists():
        raise RemoteError(
            f"there is no database at {database.database}. Name its folder with --data, or a server with --url."
        )
    done = subprocess.run(
        [sys.executable, "-m", _MODULE, str(upload_id)],
        env={**os.environ, **settings.environment()},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it ended"])[-1]
        raise RemoteError(f"the rows of upload #{upload_id} could not be read: {last}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found
