"""The command `bulk-upload undo`: says what undoing an upload would do, and does it."""

import time
from collections.abc import Mapping
from typing import Any

import click
import httpx

from webapp.client.follower import Follower, State, outcome, rows
from webapp.client.remote import Remote, RemoteError, Server

#: Seconds between two questions whether the rows are counted.
PAUSE = 0.3


def run(upload_id: int, server: Server, *, repairs: bool = False, is_confirmed: bool = False) -> int:
    """Say what undoing an upload would do; if that is confirmed, undo it and follow that to its end.

    repairs: undo the uploads as well that corrected its failed rows. Returns the exit status: 0 if all went well; 1 if
    the undo failed or was stopped; 2 if the server refuses it or does not respond; 130 after Ctrl-C.
    """
    with Remote(server) as remote:
        try:
            undoing = _Undoing(remote, upload_id, repairs=repairs)
            undoing.preview()
            if not is_confirmed:
                click.echo("Nothing is undone yet. Add --yes to do it.")
                return 0
            return undoing.undo()
        except RemoteError as error:
            click.echo(str(error)[:1].upper() + str(error)[1:], err=True)
            return 2
        except KeyboardInterrupt:
            return 130


class _Undoing:
    def __init__(self, remote: Remote, upload_id: int, *, repairs: bool) -> None:
        self._remote = remote
        self._upload_id = upload_id
        self._repairs = repairs
        self._path = f"/api/v1/uploads/{upload_id}/undo"

    def preview(self) -> None:
        """Raises RemoteError."""
        upload = self._remote.upload(self._upload_id)
        found = self._found()
        click.echo(f"#{self._upload_id} {upload['filename']}, in {upload['dataset']}:")
        click.echo(f"  {found['remove']:>11,}  removed")
        click.echo(
            f"  {found['restore']:>11,}  {'put back' if upload['kind'] == 'undo' else 'get earlier values back'}"
        )
        for each in found["keep"]:
            click.echo(f"  {each['rows']:>11,}  stay, because of #{each['upload']}")
        if found["gone"]:
            click.echo(f"  {found['gone']:>11,}  no longer there")
        if found["repairs"] and not self._repairs:
            numbers = ", ".join(f"#{each}" for each in found["repairs"])
            click.echo(f"What {numbers} corrected stays. Add --repairs to undo that too.")

    def _found(self) -> Mapping[str, Any]:
        """Raises RemoteError."""
        query = {"repairs": "1"} if self._repairs else {}
        while (answer := self._send("GET", params=query)).status_code == 202:
            time.sleep(PAUSE)
        if answer.status_code != 200:
            self._remote.parse_upload(answer, 200)  # raises with what the server says
        found: Mapping[str, Any] = answer.json()
        return found

    def undo(self) -> int:
        """Raises RemoteError."""
        child = self._remote.parse_upload(self._send("POST", json={"repairs": self._repairs}), 201)
        last: State | None = None
        for state in Follower(self._remote, child["id"], patient=False).states():
            last = state
        assert last is not None
        sentence, status = outcome(last, self._remote.page(child["id"]))
        click.echo(f"#{child['id']} undoes #{self._upload_id}: {sentence}")
        if last.status == "cancelled" and last.rows_processed:
            click.echo(f"{rows(last.rows_processed)} stay undone. Retry #{child['id']} to go on, or undo it.")
        return status

    def _send(self, method: str, **more: Any) -> httpx.Response:
        try:
            return self._remote.client.request(method, self._path, **more)
        except httpx.TransportError as error:
            raise self._remote.unavailable() from error
