"""This machine: the settings, the versions, the data folder, its disk, open files."""

import fcntl
import os
import resource
import shutil
import sqlite3
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from ipaddress import ip_address
from pathlib import Path

from packaging.requirements import Requirement

from jobs.process import disk
from jobs.settings import SECRETS, Settings, variable
from webapp.doctor.finding import Finding, failed, ok, warning

PACKAGE = "bulk-upload"
#: SQLite has RETURNING since then.
OLDEST_SQLITE = (3, 35, 0)
NEWEST_PYTHON = (3, 14)
#: Bytes that should be free: the imports of a few large files need as much for their copies.
FEW_FREE_BYTES = 2 * 1024**3
#: File systems of other machines, as /proc/mounts names them. SQLite's locks do not work on them.
REMOTE = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "fuse.s3fs", "9p", "ceph", "glusterfs", "afs"}
)
#: Variables of this product that are no settings of the server.
OTHER_VARIABLES = frozenset(
    {"BULK_UPLOAD_TOKEN", "BULK_UPLOAD_TOKEN_FILE", "BULK_UPLOAD_DOMAIN", "BULK_UPLOAD_PUBLISH", "BULK_UPLOAD_PROXY"}
)
#: Seconds that two clocks may differ: leases and the order of changes bear that.
CLOCKS_DIFFER = 1.0


def settings(found: Settings) -> Iterator[Finding]:
    known = {variable(name) for name in Settings.model_fields} | {f"{variable(name)}_FILE" for name in SECRETS}
    unknown = sorted(
        name for name in os.environ if name.startswith("BULK_UPLOAD_") and name not in known | OTHER_VARIABLES
    )
    if unknown:
        yield warning("settings", f"Not a setting, so it has no effect: {', '.join(unknown)}. Is the name misspelled?")
    is_near = _is_loopback(found.host)
    if found.open and not is_near:
        yield warning(
            "settings",
            "BULK_UPLOAD_OPEN lets everybody who can connect do everything while there is no account. Add one with"
            " `bulk-upload user add`.",
        )
    elif found.base_url and found.base_url.startswith("https:") and not found.trusted_proxies:
        yield warning(
            "settings",
            "BULK_UPLOAD_BASE_URL speaks TLS, but no proxy is trusted to say so: name it in"
            " BULK_UPLOAD_TRUSTED_PROXIES, or browsers cannot change anything.",
        )
    elif not unknown:
        yield ok("settings", f"All are valid; the data folder is {found.data}.")


def versions(found: Settings) -> Iterator[Finding]:
    python = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] > NEWEST_PYTHON:
        newest = ".".join(map(str, NEWEST_PYTHON))
        yield warning("python", f"Python {python} is newer than {newest}, with which this release was tested.")
    else:
        yield ok("python", f"Python {python}; {PACKAGE} {version(PACKAGE)}.")
    if found.database.startswith("sqlite"):
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            oldest = ".".join(map(str, OLDEST_SQLITE))
            yield failed("sqlite", f"SQLite {sqlite3.sqlite_version} is too old: Python needs one with {oldest}.")
        else:
            yield ok("sqlite", f"SQLite {sqlite3.sqlite_version}.")
    wrong = sorted(_wrong_packages("postgres" if found.database.startswith("postgresql") else ""))
    if wrong:
        mend = "Install requirements.lock of this release again"
        yield failed("libraries", f"{'; '.join(wrong)}. {mend}: pip install --require-hashes -r requirements.lock.")
    else:
        yield ok("libraries", "All that this release needs are installed, in versions that it allows.")


def _wrong_packages(extra: str) -> Iterator[str]:
    for text in requires(PACKAGE) or ():
        needed = Requirement(text)
        if needed.marker is not None and not needed.marker.evaluate({"extra": extra}):
            continue
        try:
            installed = version(needed.name)
        except PackageNotFoundError:
            yield f"{needed.name} is not installed"
        else:
            if not needed.specifier.contains(installed, prereleases=True):
                yield f"{needed.name} {installed} is installed, {needed.specifier} is needed"


def storage(found: Settings) -> Iterator[Finding]:
    """Whether this user can write, lock and read back a file where uploaded files are kept."""
    folder = found.data
    if not folder.exists():
        yield warning("storage", f"{folder} does not exist yet. `bulk-upload migrate` creates it, or the first start.")
        return
    mode = folder.stat().st_mode
    if mode & stat.S_IWOTH:
        yield failed("storage", f"Every user of this machine may write to {folder}: chmod o-w {folder}.")
        return
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-") as file:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            age = time.time() - os.stat(file.name).st_mtime
    except OSError as error:
        yield failed("storage", f"{folder}: {error.strerror}. The user of this process ({os.getuid()}) must own it.")
        return
    if abs(age) > CLOCKS_DIFFER:
        yield warning(
            "storage",
            f"The clock of the file system of {folder} differs by {abs(age):.1f} s. Let NTP set both.",
        )
    else:
        yield ok("storage", f"{folder} can be written and locked ({_file_system(folder)}).")


def free_space(found: Settings) -> Iterator[Finding]:
    for folder in dict.fromkeys(filter(None, (found.data, found.sqlite_folder))):
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free
        text = f"{free / 1024**3:,.1f} GiB are free on the disk of {folder}"
        if not disk.has_room(folder):
            yield failed("disk", f"{text}: it is full, so no upload starts. Free space, or move the data folder.")
        elif free < FEW_FREE_BYTES:
            yield warning("disk", f"{text}. Imports need room for copies of their files: free some.")
        else:
            yield ok("disk", f"{text}.")


def open_files(found: Settings) -> Iterator[Finding]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = found.streams + 3_300
    if hard != resource.RLIM_INFINITY and hard < needed:
        yield warning(
            "open files",
            f"A process may open {hard:,} files here, and {needed:,} are needed for {found.streams:,} event streams."
            " Raise LimitNOFILE of systemd, or `ulimit -n`.",
        )
    else:
        yield ok("open files", f"Enough for {found.streams:,} event streams.")


def is_remote(folder: Path) -> str | None:
    """The kind of a file system that is another machine's; None: it is this machine's, or nobody can tell."""
    kind = _file_system(folder)
    return kind if kind in REMOTE else None


def _file_system(folder: Path) -> str:
    """Of the mount with the longest path that the folder is below."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text("utf-8", "replace").splitlines()]
    except OSError:
        return "unknown file system"
    resolved = folder.resolve()
    above = [(len(path), kind) for path, kind in mounts if resolved.is_relative_to(path)]
    return max(above)[1] if above else "unknown file system"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
