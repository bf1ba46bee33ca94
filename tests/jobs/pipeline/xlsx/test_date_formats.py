"""Which number formats show dates."""

from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from jobs.pipeline.archive import ZipArchive
from jobs.pipeline.xlsx.date_formats import DateFormats
from jobs.pipeline.xlsx.package import Package
from tests.support.files import nothing
from tests.support.workbooks import handmade


def formats(folder: Path, codes: list[str], styles: list[int]) -> DateFormats:
    listed = "".join(f'<numFmt numFmtId="{164 + number}" formatCode="{code}"/>' for number, code in enumerate(codes))
    used = "".join(f'<xf numFmtId="{number}"/>' for number in styles)
    xml = f"<styleSheet><numFmts>{listed}</numFmts><cellStyleXfs><xf/></cellStyleXfs><cellXfs>{used}</cellXfs>"
    with ZipArchive(handmade(folder, "", styles=f"{xml}</styleSheet>")) as archive:
        return DateFormats.from_package(Package(archive, nothing))


def test_dates_and_durations_are_told_from_other_formats(tmp_path: Path) -> None:
    found = formats(tmp_path, ["yyyy", "0.00", "[h]:mm", "[" * 100_000], [0, 14, 164, 165, 166, 167])

    assert found.dates == {"1", "2", "4"}
    assert found.convert(46_053, "1") == datetime(2026, 1, 31)
    assert found.convert(1.5, "4") == timedelta(hours=36)
    assert found.from_iso("2026-01-31") == date(2026, 1, 31)


@pytest.mark.parametrize("number", [1e300, float("nan"), float("inf"), -1e9])
def test_a_number_that_is_no_date_is_an_error(tmp_path: Path, number: float) -> None:
    with pytest.raises((ValueError, OverflowError)):
        formats(tmp_path, [], [14]).convert(number, "0")
