"""The command `bulk-upload repair`: lists what failed and what would help, and repairs it."""

import time
from collections.abc import Sequence
from typing import Any

import click
import httpx

from webapp.client.follower import Follower, outcome, print_warnings
from webapp.client.remote import Remote, RemoteError, Server

#: Seconds between two questions whether the suggestions are measured.
PAUSE = 0.3
#: Values that are listed of each reason, and characters of each.
VALUES, LENGTH = 5, 40


def run(
    upload_id: int,
    server: Server,
    *,
    apply: Sequence[str] = (),
    replace: Sequence[tuple[str, str, str]] = (),
    edited: bool = False,
    remember: bool = False,
) -> int:
    """Repair failed rows of an upload and follow the repair to its end; with nothing to do, list what there is.

    apply: ids of suggestions. replace: column, value and what replaces it. edited: import the edited rows that are
    right. remember: do the same for every file of the dataset. Returns the exit status: 0 if all went well; 1 if the
    repair failed, or some of its rows did; 2 if the server refuses it or does not respond; 130 after Ctrl-C.
    """
    with Remote(server) as remote:
        try:
            repairing = _Repairing(remote, upload_id)
            if not apply and not replace and not edited:
                repairing.list()
                return 0
            status = 0
            if apply or replace:
                status = repairing.repair(apply, replace, remember=remember)
                edited = edited and repairing.is_something_right()  # the repair has imported what it made right
            return max(status, repairing.import_edited()) if edited else status
        except RemoteError as error:
            click.echo(str(error)[:1].upper() + str(error)[1:], err=True)
            return 2
        except KeyboardInterrupt:
            return 130


class _Repairing:
    def __init__(self, remote: Remote, upload_id: int) -> None:
        self._remote = remote
        self._upload_id = upload_id
        self._path = f"/api/v1/uploads/{upload_id}"

    def list(self) -> None:
        """Print the reasons with their values, and the suggestions."""
        upload = self._remote.parse_upload(self._send("GET", ""), 200)
        failures = self._list("/failures")
        click.echo(
            f"#{self._upload_id} {upload['filename']}: {upload['rows_failed']:,} failed,"
            f" {upload['rows_corrected']:,} repaired, {upload['rows_open']:,} open"
        )
        for failure in failures:
            column = f"{failure['column']}: " if failure["column"] else ""
            click.echo(f"\n{column}{failure['rule']} ({failure['rows']:,})")
            for each in failure["values"][:VALUES]:
                click.echo(f"  {_short(each['value'])!r}  {each['rows']:,}")
            if len(failure["values"]) > VALUES or failure["more_values"]:
                click.echo("  …")
        found = self._suggestions() if failures else []
        if found:
            click.echo("\nSuggestions:")
        for each in found:
            pairs = ", ".join(f"{_short(before)!r} → {_short(after)!r}" for before, after in each["samples"])
            click.echo(
                f"  {each['id']}  {each['column']}: {each['title']}, rescues {each['rescues']:,} of {each['of']:,}"
            )
            click.echo(f"  {' ' * len(each['id'])}  {pairs}")

    def _suggestions(self) -> Any:
        """Raises RemoteError."""
        while (answer := self._send("GET", "/repairs")).status_code == 202:
            time.sleep(PAUSE)
        return self._items(answer)

    def repair(self, apply: Sequence[str], replace: Sequence[tuple[str, str, str]], *, remember: bool) -> int:
        """Raises RemoteError."""
        values = [dict(zip(("column", "from", "to"), each, strict=True)) for each in replace]
        body = {"apply": list(apply), "replace": values, "remember": remember}
        return self._follow(self._send("POST", "/repairs", body))

    def is_something_right(self) -> bool:
        """Whether rows that somebody edited can be imported. Raises RemoteError."""
        return bool(self._items(self._send("GET", "/edits"))["right"])

    def import_edited(self) -> int:
        """Raises RemoteError."""
        return self._follow(self._send("POST", "/failed-rows/import"))

    def _follow(self, answer: httpx.Response) -> int:
        """Follow a repair to its end."""
        child = self._remote.parse_upload(answer, 201)
        last = None
        for state in Follower(self._remote, child["id"], patient=False).states():
            last = state
        assert last is not None
        sentence, status = outcome(last, self._remote.page(child["id"]))
        click.echo(f"#{child['id']} {last.filename}: {sentence}")
        print_warnings(last)
        parent = self._remote.parse_upload(self._send("GET", ""), 200)
        click.echo(
            f"#{self._upload_id} {parent['filename']}: {parent['rows_success']:,} + {parent['rows_corrected']:,} after"
            f" repair, {parent['rows_open']:,} open"
        )
        return status

    def _send(self, method: str, path: str, body: object = None) -> httpx.Response:
        try:
            return self._remote.client.request(method, f"{self._path}{path}", json=body)
        except httpx.TransportError as error:
            raise self._remote.unavailable() from error

    def _list(self, path: str) -> Any:
        return self._items(self._send("GET", path))

    def _items(self, answer: httpx.Response) -> Any:
        """What is in an answer. Raises RemoteError."""
        if answer.status_code != 200:
            self._remote.parse_upload(answer, 200)  # raises with what the server says
        return answer.json()


def _short(text: str) -> str:
    return text if len(text) <= LENGTH else f"{text[:LENGTH]}…"
