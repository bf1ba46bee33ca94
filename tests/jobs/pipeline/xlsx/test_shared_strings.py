"""The shared strings of a workbook."""

from pathlib import Path

import pytest

from jobs.pipeline.archive import ZipArchive
from jobs.pipeline.xlsx.package import Package
from jobs.pipeline.xlsx.shared_strings import SharedStrings
from tests.support.files import nothing
from tests.support.workbooks import handmade


def test_strings_are_the_text_of_their_runs(tmp_path: Path) -> None:
    xml = (
        "<sst><si><t>ä</t></si><si/><si><r><rPr><t>no</t></rPr><t>a</t></r><r><t>_x000D_b</t></r>"
        "<rPh><t>no</t></rPh></si></sst>"
    )
    with ZipArchive(handmade(tmp_path, "", sharedStrings=xml)) as archive:
        strings = SharedStrings.from_package(Package(archive, nothing))

    assert [strings[number] for number in range(len(strings))] == ["ä", "", "a\rb"]
    assert strings.size(0) == 2
    with pytest.raises(IndexError):
        strings.size(3)
    with pytest.raises(IndexError):
        strings.size(-1)
