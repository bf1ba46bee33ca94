"""The beginning of what an archive holds first."""

import gzip
import io
import zipfile

import pytest

from jobs.formats.first_member import beginning

TEXT = b"_upload_id,_row_number,_error\n" + b"1,2,3\n" * 20_000


def zipped(method: int, *names: str) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", method) as file:
        for name in names:
            file.writestr(name, TEXT if name == names[0] else b"other")
    return archive.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        TEXT,
        gzip.compress(TEXT),
        zipped(zipfile.ZIP_STORED, "a.csv"),
        zipped(zipfile.ZIP_DEFLATED, "a.csv", "b.csv"),
        zipped(zipfile.ZIP_DEFLATED, "Zoë, a long name " * 20),
    ],
    ids=["plain", "gzip", "stored", "deflated", "long name"],
)
def test_it_is_that_of_the_first_member(content: bytes) -> None:
    found = beginning(io.BytesIO(content), 60_000)

    assert TEXT.startswith(found)
    assert 50_000 < len(found) <= 60_000


def test_a_small_archive_of_much_gives_no_more_than_was_asked_for() -> None:
    assert len(beginning(io.BytesIO(gzip.compress(bytes(10_000_000))), 1_000)) == 1_000


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"\x1f\x8b", b"\x1f\x8b\x08damaged", zipped(8, "a")[:20]])
def test_what_cannot_be_read_is_left_as_it_is(content: bytes) -> None:
    assert beginning(io.BytesIO(content), 100) in (content, b"")


def test_an_encrypted_member_is_left_as_it_is() -> None:
    content = bytearray(zipped(zipfile.ZIP_DEFLATED, "a.csv"))
    content[6] |= 1

    assert beginning(io.BytesIO(bytes(content)), 100) == content[:100]
