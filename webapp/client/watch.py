"""The command `bulk-upload watch`: prints the states of a server's uploads as they change."""

import sys
from contextlib import nullcontext
from datetime import datetime

import click

from webapp.client.follower import Follower, State, outcome, print_warnings, rows
from webapp.client.progress import ProgressBars, on_terminal
from webapp.client.remote import Remote, RemoteError, Server

_COLOURS = {"processing": "blue", "failed": "red", "cancelled": "yellow", "held": "yellow"}


def run(upload_id: int | None, server: Server) -> int:
    """Watch one upload to its end, or all of them until Ctrl-C. Returns the exit status.

    0 if all rows were imported, with or without warnings, which go to stderr; 1 if the upload failed, was cancelled or
    has failed rows; 2 if the server does not have it, does not respond or is not Bulk Upload; 3 if it waits for a
    person; 130 after Ctrl-C.
    """
    bars = on_terminal() if upload_id is not None and sys.stdout.isatty() else None
    with Remote(server) as remote, bars or nullcontext():
        try:
            return _Watching(remote, upload_id, ProgressBars(bars) if bars else None).status()
        except RemoteError as error:
            click.echo(_sentence(error), err=True)
            return 2
        except KeyboardInterrupt:
            return 130


class _Watching:
    def __init__(self, remote: Remote, upload_id: int | None, bars: ProgressBars | None) -> None:
        self._remote = remote
        self._bars = bars
        self._has_begun = False
        self._follower = Follower(remote, upload_id, patient=True, on_open=self._opened, on_disconnect=self._lost)

    def status(self) -> int:
        """Raises RemoteError."""
        last = None
        for state in self._follower.states():
            if self._bars is None:
                click.echo(line(state, self._remote.page(state.file_id)))
                print_warnings(state)
            elif last is None:
                self._bars.follow(state)
            else:
                self._bars.show(state)
            last = state
        assert last is not None  # the follower of one upload ends after its final state
        sentence, status = outcome(last, self._remote.page(last.file_id))
        if self._bars is not None:
            self._bars.end()
            click.echo(f"{last.filename}: {sentence}")
            print_warnings(last)
        return status

    def _opened(self) -> None:
        if self._has_begun:
            click.echo(f"Reconnected to {self._remote.name}.", err=True)
        elif self._bars is None:
            click.echo(f"Watching {self._remote.name}. Press Ctrl-C to stop.", err=True)
        self._has_begun = True

    def _lost(self) -> None:
        if not self._has_begun:
            raise self._remote.unavailable()
        click.echo(f"{self._remote.name} does not respond. Trying again until it does.", err=True)


def line(state: State, page: str) -> str:
    """A state as one line: time, upload, status and progress. page: address of the upload's page."""
    moment = datetime.fromisoformat(state.timestamp).astimezone()
    what = outcome(state, page)[0] if state.is_over else _so_far(state)
    status, rest = what[: len(state.status)], what[len(state.status) :]
    return (
        f"{moment:%Y-%m-%d %H:%M:%S}  #{state.file_id} {state.filename}: {click.style(status, fg=_colour(state))}{rest}"
    )


def _colour(state: State) -> str | None:
    """Green only if everything is as a person would expect."""
    if state.status == "completed":
        return "green" if state.is_clean else "yellow"
    return _COLOURS.get(state.status)


def _so_far(state: State) -> str:
    if state.status == "pending":
        return "pending"
    of_all = "" if state.rows_total is None else f" of {state.rows_total:,}"
    failed = f", {state.rows_failed:,} failed" if state.rows_failed else ""
    return f"{state.status}, {state.progress} %, {rows(state.rows_processed)}{of_all}{failed}"


def _sentence(error: RemoteError) -> str:
    text = str(error)
    return text[:1].upper() + text[1:]
