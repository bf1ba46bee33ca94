"""The parts of a workbook's archive."""

import warnings
import zipfile
from pathlib import Path

import pytest

from jobs.errors import UnreadableFileError
from jobs.pipeline.archive import ZipArchive
from jobs.pipeline.xlsx import package
from jobs.pipeline.xlsx.package import Package, Sheet
from tests.support.files import nothing
from tests.support.workbooks import handmade


def packaged(path: Path) -> Package:
    with ZipArchive(path) as archive:
        return Package(archive, nothing)


def test_the_worksheets_and_the_other_parts_are_found(tmp_path: Path) -> None:
    found = packaged(handmade(tmp_path, "", properties='<workbookPr date1904="1"/>'))

    assert found.sheets == [Sheet("June", "xl/worksheets/sheet1.xml", False)]
    assert (found.strings, found.styles, found.from_1904) == ("xl/sharedStrings.xml", None, True)


def test_a_part_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "MAX_LIST_BYTES", 10_000)
    path = handmade(tmp_path, "", properties=" " * 10_000)

    with pytest.raises(UnreadableFileError, match=r"part xl/workbook.xml has 10,.* bytes; at most 10,000 can be read"):
        packaged(path)


@pytest.mark.parametrize("part", ["workbook", "workbook.xml"])
def test_a_list_of_very_many_worksheets_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    monkeypatch.setattr(package, "MAX_SHEETS", 100)
    many = {
        "workbook": "<workbook>" + "<sheet name='a'/>" * 101 + "</workbook>",
        "workbook.xml": "<Relationships>"
        + "".join(f'<Relationship Id="{number}" Type="/worksheet" Target="a"/>' for number in range(101))
        + "</Relationships>",
    }

    with pytest.raises(UnreadableFileError, match="more than 100 worksheets"):
        packaged(handmade(tmp_path, "", **{part: many[part]}))


def test_two_parts_of_one_name_are_reported_as_damage(tmp_path: Path) -> None:
    path = handmade(tmp_path, "")
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("XL/Workbook.xml", "<workbook/>")

    with pytest.raises(UnreadableFileError, match="two parts have the name"):
        packaged(path)


def test_a_document_type_in_any_part_is_refused(tmp_path: Path) -> None:
    xml = '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a [<!ENTITY b "cc">]><workbook/>'

    with pytest.raises(UnreadableFileError, match="document type definition"):
        packaged(handmade(tmp_path, "", workbook=xml.encode("utf-16")))
