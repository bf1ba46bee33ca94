"""What the commands about stored files and backups print."""

import sys
import time
from pathlib import Path

import click

from jobs.database import Database
from jobs.errors import BackupError
from jobs.settings import FILE, Settings
from jobs.store import moving
from jobs.store.chosen import named
from jobs.store.moving import Moved
from jobs.upkeep import backup as backups

#: Seconds between two lines about how far a move is.
TOLD_EVERY = 2.0


def move(settings: Settings, database: Database, source: str | None, target: str | None, *, keep: bool) -> None:
    """Exit status 1 if files remain. Raises BackupError, StoreUnavailableError."""
    into = target or settings.store
    of = source or (settings.store if into != settings.store else settings.store_before or FILE)
    for each in (into, of):
        if each != FILE:
            Settings.load(store=each)
    if into == of:
        raise BackupError(
            f"The files are in {into} already. Name the store to move them from: --from s3://bucket/prefix."
        )
    told = time.monotonic()

    def tell(moved: Moved) -> None:
        nonlocal told
        if time.monotonic() > told + TOLD_EVERY:
            told = time.monotonic()
            click.echo(f"{moved.files:,} files, {moved.size:,} bytes so far", err=True)

    moved = moving.move(database, named(settings, of), named(settings, into), keeps=keep, tell=tell)
    what = "Copied" if keep else "Moved"
    click.echo(f"{what} {_files(moved.files)} ({moved.size:,} bytes) from {of} to {into}.")
    if moved.in_use:
        click.echo(f"{_files(moved.in_use)} in use stay where they were as well. Run this again later.", err=True)
    if moved.damaged:
        click.echo(
            f"Not moved, because their bytes are not those that were uploaded: {', '.join(moved.damaged)}.", err=True
        )
    if moved.in_use or moved.damaged:
        sys.exit(1)


def backup(settings: Settings, folder: Path, *, objects: bool) -> None:
    """Raises BackupError."""
    about = backups.make(settings, folder, objects=objects)
    click.echo(f"Backed up {about.uploads:,} uploads and {_files(about.files)} ({about.bytes:,} bytes) into {folder}.")
    if about.lost:
        click.echo(f"The server does not have these files any more: {', '.join(about.lost)}.", err=True)
    if about.damaged:
        click.echo(f"The bytes of these files are not those that were uploaded: {', '.join(about.damaged)}.", err=True)


def restore(settings: Settings, folder: Path) -> None:
    """Raises BackupError."""
    about = backups.restore(settings, folder)
    click.echo(f"Restored {about.uploads:,} uploads and {_files(about.files)} from the backup of {about.made_at}.")
    if about.lost:
        uploads = f"{len(about.lost):,} upload{'' if len(about.lost) == 1 else 's'}"
        click.echo(
            f"Of {uploads} the file is neither in the backup nor in {settings.store}, so it can be neither downloaded"
            " nor imported again.",
            err=True,
        )


def _files(count: int) -> str:
    return f"{count:,} file{'' if count == 1 else 's'}"
