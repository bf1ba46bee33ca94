"""Files for tests: on the disk, in an archive, and as they lie in the folder of files."""

import io
import zipfile
from pathlib import Path

from jobs.files import Arrival, StoredFile
from jobs.settings import Settings


def written(folder: Path, content: bytes | str, name: str = "file") -> Path:
    """The path of a new file."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def zipped(**members: bytes) -> bytes:
    """The bytes of a .zip archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def nothing() -> None:
    """What the readers of a file call between their steps, in tests that do not count the calls."""


def store(settings: Settings, content: bytes | str, filename: str = "june.csv") -> StoredFile:
    """A file after it has arrived."""
    with Arrival(settings.files, filename, limit=1 << 30) as arrival:
        arrival.write(content.encode() if isinstance(content, str) else content)
        return arrival.keep()
