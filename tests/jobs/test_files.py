"""Receiving and storing files."""

import errno
import hashlib
import os
import threading
from pathlib import Path

import pytest

from jobs import files
from jobs.errors import DiskFullError, RefusedError, TooLargeError
from jobs.files import KERNEL, LONGEST_NAME, SUPPORTED, Arrival, Name, StoredFile, display_name, in_use, path_of, unused
from tests.support.files import written


def arrived(folder: Path, *pieces: bytes | memoryview, filename: str = "june.csv", limit: int = 100) -> StoredFile:
    with Arrival(folder, filename, limit=limit) as arrival:
        for piece in pieces:
            arrival.write(piece)
        return arrival.keep()


def test_a_file_is_stored_unchanged_with_its_size_and_hash(tmp_path: Path) -> None:
    stored = arrived(tmp_path / "files", b"a,b\n", b"", b"1,2\n")

    assert path_of(tmp_path / "files", stored.stored_as).read_bytes() == b"a,b\n1,2\n"
    assert (stored.filename, stored.size) == ("june.csv", 8)
    assert hashlib.sha256(b"a,b\n1,2\n").hexdigest() == stored.sha256
    assert [stored.stored_as] == os.listdir(tmp_path / "files")


def test_a_piece_may_be_a_view_of_a_buffer(tmp_path: Path) -> None:
    stored = arrived(tmp_path, memoryview(bytearray(b"a,b\n1,2\n"))[2:4])

    assert (tmp_path / stored.stored_as).read_bytes() == b"b\n"


def test_two_files_with_the_same_name_are_stored_separately(tmp_path: Path) -> None:
    first, second = arrived(tmp_path, b"first"), arrived(tmp_path, b"second")

    assert (tmp_path / first.stored_as).read_bytes() == b"first"
    assert (tmp_path / second.stored_as).read_bytes() == b"second"


def test_an_empty_file_is_rejected_and_removed(tmp_path: Path) -> None:
    with pytest.raises(
        RefusedError, match=r"“june.csv” is empty. Choose a file with a header row and at least one row of data."
    ):
        arrived(tmp_path, b"")

    assert os.listdir(tmp_path) == []


def test_a_file_may_be_as_large_as_the_limit(tmp_path: Path) -> None:
    assert arrived(tmp_path, b"x" * 60, b"x" * 40, limit=100).size == 100


def test_a_file_over_the_limit_is_rejected_and_removed(tmp_path: Path) -> None:
    with pytest.raises(TooLargeError, match=r"larger than 1,000 bytes.* to raise BULK_UPLOAD_MAX_UPLOAD_BYTES"):
        arrived(tmp_path, b"x" * 999, b"xx", limit=1000)

    assert os.listdir(tmp_path) == []


def test_a_file_is_rejected_if_the_disk_is_full(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full, where every write fails for want of space")
    with Arrival(tmp_path, "june.csv", limit=100) as arrival, Path("/dev/full").open("wb", buffering=0) as full:
        arrival._file.close()
        arrival._file = full  # a disk cannot be filled up for a test

        with pytest.raises(DiskFullError, match=r"The server's disk is full, so the file was not stored."):
            arrival.write(b"a,b\n")


def test_a_file_whose_sender_disconnects_is_removed(tmp_path: Path) -> None:
    def broken_off() -> None:
        with Arrival(tmp_path, "june.csv", limit=100) as arrival:
            arrival.write(b"a,b\n")
            raise ConnectionError

    with pytest.raises(ConnectionError):
        broken_off()

    assert os.listdir(tmp_path) == []


def test_a_file_that_is_not_kept_is_removed(tmp_path: Path) -> None:
    with Arrival(tmp_path, "june.csv", limit=100) as arrival:
        arrival.write(b"a,b\n")
        part = os.listdir(tmp_path)

    assert [name.rpartition(".")[2] for name in part] == ["part"]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("june.csv", "june.csv"),
        ("/home/zoe/june.csv", "june.csv"),
        ("C:\\Users\\Zoë\\june.csv", "june.csv"),
        ("../../etc/june.csv", "june.csv"),
        (" june\r\n\t\x00.csv ", "june.csv"),
        ("Ventes été.csv", "Ventes été.csv"),
        ("many.dots.in.csv", "many.dots.in.csv"),
        ("", ""),
        ("folder/", ""),
    ],
)
def test_a_name_loses_its_path_and_control_characters(sent: str, shown: str) -> None:
    assert shown == display_name(sent)


@pytest.mark.parametrize("ending", [".csv", ".CSV", ".tsv", ".tab", ".txt", ".gz", ".zip", ".xlsx", ".XLSM"])
def test_a_long_name_is_shortened_and_keeps_its_extension(tmp_path: Path, ending: str) -> None:
    stored = arrived(tmp_path, b"a\n", filename="é" * 300 + ending)

    assert "é" * (LONGEST_NAME - len(ending)) + ending == stored.filename


@pytest.mark.parametrize(
    ("filename", "content"),
    [("photo.jpg", b"a\n"), ("june.csv.exe", b"a\n"), ("june.csv.", b"\1\2\3\4"), ("x" * 300, b"\1" * 5000)],
)
def test_an_unsupported_file_type_is_rejected_with_what_to_do(tmp_path: Path, filename: str, content: bytes) -> None:
    with pytest.raises(RefusedError) as refused:
        arrived(tmp_path, content, filename=filename, limit=10_000)

    assert str(refused.value) == (
        f"The file type of “{filename[:LONGEST_NAME]}” is not supported. Save it as CSV or as an Excel"
        f" workbook (.xlsx) and upload that. Supported extensions: {', '.join(SUPPORTED)}."
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("filename", ["june.psv", "june.dat", "june.ssv", "june", "june.2026", "june.xls", "june.csv."])
@pytest.mark.parametrize(
    "content", [b"a,b\n1,2\n", "é;ö\n1;2\n".encode("cp1252"), "a\tb\n".encode("utf-16"), b"PK\3\4" + b"\0" * 40]
)
def test_a_file_with_another_extension_is_judged_by_its_content(tmp_path: Path, filename: str, content: bytes) -> None:
    assert arrived(tmp_path, content, filename=filename).size == len(content)


@pytest.mark.parametrize(
    ("filename", "content", "sentence"),
    [
        ("june.feather", b"ARROW1\0\0", "This looks like an Arrow or Feather file, not a table."),
        ("june.sav", b"$FL2@(#) SPSS", "This looks like an SPSS file (.sav), not a table. Export it as CSV"),
        ("june.dta", b"<stata_dta><header>", "This looks like a Stata file (.dta), not a table. Export it as CSV"),
        ("june.dta", b"\x72\2\1\0\5\0", "This looks like a Stata file (.dta), not a table. Export it as CSV"),
        ("june.html", b"<!-- June --><html>", "This looks like a web page or an XML document, not a table."),
        ("june.xls", b"<html><table>", "This looks like a web page or an XML document, not a table. If a program"),
        ("june.xls", b"MIME-Version: 1.0\nX: y\nContent-Type: multipart/related; b", "This looks like a web page"),
        (
            "june.xls",
            b'<?xml version="1.0"?>\n<?mso-application progid="Excel.Sheet"?>\n<Workbook>',
            "This is a workbook in the XML format of Excel 2003. Open it in Excel",
        ),
        (
            "june.xml",
            b'\xef\xbb\xbf<?xml version="1.0"?>\n<ss:Workbook xmlns:ss="urn:schemas-microsoft-com:office">',
            "This is a workbook in the XML format of Excel 2003.",
        ),
        (
            "june.odt",
            b"PK\3\4" + b"\0" * 26 + b"mimetypeapplication/vnd.oasis.opendocument.text",
            "This is an OpenDocument file, but no spreadsheet.",
        ),
        ("june.png", b"\x89PNG\r\n\x1a\n", "This looks like a PNG image, not a table."),
    ],
)
@pytest.mark.parametrize("parts", [1, 3])
def test_a_file_that_is_no_table_is_called_by_its_name(
    tmp_path: Path, filename: str, content: bytes, sentence: str, parts: int
) -> None:
    content += b"\0" * 2000
    size = len(content) // parts + 1
    pieces = [content[start : start + size] for start in range(0, len(content), size)]

    with pytest.raises(RefusedError) as refused:
        arrived(tmp_path, *pieces, filename=filename, limit=10_000)

    assert str(refused.value).startswith(sentence)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("filename", ["", "  ", "folder/", "\x00"])
def test_a_form_without_a_file_is_rejected(tmp_path: Path, filename: str) -> None:
    with pytest.raises(RefusedError, match=r"No file was sent. Choose a CSV file and try again."):
        Arrival(tmp_path, filename, limit=100)


def test_a_file_that_is_being_received_is_locked_and_a_stored_one_is_not(tmp_path: Path) -> None:
    with Arrival(tmp_path, "june.csv", limit=100) as arrival:
        arrival.write(b"a,b\n")
        [part] = tmp_path.iterdir()
        with unused(part, without_locks=True) as is_unused:
            assert not is_unused
        stored = arrival.keep()
    with unused(tmp_path / stored.stored_as, without_locks=False) as is_unused:
        assert is_unused


def test_a_file_that_was_taken_for_abandoned_as_it_began_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try_lock, parts = files.try_lock, []

    def removed_before(descriptor: int, how: int) -> bool:
        [part] = tmp_path.iterdir()
        parts.append(part)
        if len(parts) == 1:
            part.unlink()
        return try_lock(descriptor, how)

    monkeypatch.setattr(files, "try_lock", removed_before)
    stored = arrived(tmp_path, b"a,b\n")

    assert len(parts) == 2
    assert (tmp_path / stored.stored_as).read_bytes() == b"a,b\n"


@pytest.mark.parametrize("step", ["fsync", "rename", "folder"])
def test_a_file_that_cannot_be_made_durable_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    targets = {"fsync": (os, "fsync"), "rename": (Path, "rename"), "folder": (files, "sync_folder")}
    monkeypatch.setattr(*targets[step], full)

    with pytest.raises(DiskFullError):
        arrived(tmp_path, b"a,b\n")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("suffix", "is_spool", "is_part"),
    [
        ("", False, False),
        (".part", False, True),
        (f".{KERNEL}.part", False, True),
        (".table", True, False),
        (".table.json", True, False),
        (f".table-0123456789ab.json.{'0' * 32}.part", True, True),
    ],
)
def test_names_in_the_folder_are_understood(suffix: str, is_spool: bool, is_part: bool) -> None:
    name = Name.parse("f" * 32 + suffix)

    assert name is not None
    assert (name.stored_as, name.suffix, name.is_spool, name.is_part) == ("f" * 32, suffix, is_spool, is_part)


@pytest.mark.parametrize("name", ["june.csv", "june.csv.part", "f" * 31, "F" * 32, "f" * 32 + ".csv", "f" * 32 + "\n"])
def test_names_of_other_programs_are_not_ours(name: str) -> None:
    assert Name.parse(name) is None


def test_a_file_in_use_by_several_is_unused_after_the_last(tmp_path: Path) -> None:
    path = written(tmp_path, b"a,b\n")
    with in_use(path):
        with in_use(path), unused(path, without_locks=True) as is_unused:
            assert not is_unused
        with unused(path, without_locks=True) as is_unused:
            assert not is_unused
    with unused(path, without_locks=False) as is_unused:
        assert is_unused


def test_whoever_uses_a_file_waits_until_its_spools_are_removed(tmp_path: Path) -> None:
    path, steps = written(tmp_path, b"a,b\n"), []

    def use() -> None:
        with in_use(path):
            steps.append("used")

    user = threading.Thread(target=use)
    with unused(path, without_locks=True):
        user.start()
        user.join(0.1)
        steps.append("removed")
    user.join(60)

    assert steps == ["removed", "used"]


def test_a_file_that_does_not_exist_may_be_used_and_removed(tmp_path: Path) -> None:
    with in_use(tmp_path / "gone"), unused(tmp_path / "gone", without_locks=False) as is_unused:
        assert is_unused
