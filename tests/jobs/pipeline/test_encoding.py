"""Detecting the encoding of a text and transcoding it to UTF-8."""

import io
import itertools
import time
from pathlib import Path

import pytest

from jobs.errors import UnreadableFileError
from jobs.pipeline import encoding
from tests.support.files import nothing, written

#: Short tables in many languages.
GERMAN = "Name;Stadt;Straße\nMüller;Köln;Hauptstraße 1\nJörg Weiß;München;Königsallee 3\n"
FRENCH = "nom,ville\nDupré,Orléans\nHélène,Besançon\nCécile,Sète\nFrançois,Château-Thierry\n"
SPANISH = "nombre,ciudad\nPeña,Málaga\nNúñez,León\nGarcía,Córdoba\n"
PORTUGUESE = "nome,cidade\nJoão,São Paulo\nConceição,Brasília\n"
SWEDISH = "namn,ort\nÅsa,Malmö\nBjörn,Västerås\nGöran,Örebro\n"
DANISH = "navn,by\nSøren,København\nÅse,Århus\nKjær,Ærø\n"
ICELANDIC = "nafn,borg\nJón,Ísafjörður\nÞórunn,Akureyri\nGuðrún,Reykjavík\n"
POLISH = "imię;miasto\nŁukasz;Łódź\nZażółć;Gdańsk\nMałgorzata;Wrocław\n"
CZECH = "jméno;město\nJiří;Plzeň\nŘehoř;Ústí\nTomáš;Příbram\n"
HUNGARIAN = "név;város\nErzsébet;Győr\nLőrinc;Szűcs\nÁrpád;Pécs\n"
ROMANIAN = "nume;oraş\nIon;Braşov\nŞtefan;Bucureşti\nMărioara;Constanţa\n"
TURKISH = "ad;şehir\nAyşe;İstanbul\nOğuz;Eskişehir\nIşıl;Diyarbakır\n"  # noqa: RUF001
LITHUANIAN = "vardas;miestas\nJonas;Šiauliai\nĖglė;Panevėžys\nŽydrūnas;Klaipėda\n"
RUSSIAN = "имя;город\nИван;Москва\nСветлана;Новосибирск\nСергей;Екатеринбург\n"  # noqa: RUF001
GREEK = "όνομα;πόλη\nΓιώργος;Αθήνα\nΕλένη;Θεσσαλονίκη\n"  # noqa: RUF001
JAPANESE = "名前,都市\n田中太郎,東京\n鈴木花子,大阪市\nカタカナ,ひらがな\n"
CHINESE = "姓名,城市\n王小明,北京\n李华,上海市浦东新区\n张伟,广州\n"
KOREAN = "이름,도시\n김철수,서울특별시\n이영희,부산광역시\n"


def detected(folder: Path, content: bytes) -> encoding.Encoding:
    return encoding.detect(written(folder, content), nothing)


def transcoded(content: bytes, codec: str) -> bytes:
    target = io.BytesIO()
    encoding.transcode(io.BytesIO(content), target, codec, nothing)
    return target.getvalue()


@pytest.mark.parametrize("content", ["a,b\n1,2\n", GERMAN, RUSSIAN, CHINESE, "a\n😀\n"])
def test_valid_utf8_is_detected_as_utf8(tmp_path: Path, content: str) -> None:
    assert encoding.Encoding("utf-8", "Read as UTF-8.", is_proven=True) == detected(tmp_path, content.encode())


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_decides_the_encoding(tmp_path: Path, codec: str) -> None:
    found = detected(tmp_path, GERMAN.encode(codec))

    assert codec.removesuffix("-sig") == found.codec
    assert f"Read as {codec.removesuffix('-sig').upper()}, according to its byte order mark." == found.note


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("content", [GERMAN, RUSSIAN, CHINESE])
def test_utf16_without_a_byte_order_mark_is_detected_by_its_nul_bytes(tmp_path: Path, codec: str, content: str) -> None:
    assert codec == detected(tmp_path, content.encode(codec)).codec


@pytest.mark.parametrize("mark", ["\ufeff", ""])
def test_an_unpaired_surrogate_does_not_make_utf16_binary(tmp_path: Path, mark: str) -> None:
    content = f"{mark}{GERMAN}\ud822\n".encode("utf-16-le", "surrogatepass")

    assert detected(tmp_path, content).codec.startswith("utf-16")


@pytest.mark.parametrize(
    ("content", "codec"),
    [
        *((each, "cp1252") for each in (GERMAN, FRENCH, SPANISH, PORTUGUESE, SWEDISH, DANISH, ICELANDIC)),
        (GERMAN + FRENCH + SPANISH + PORTUGUESE + SWEDISH, "cp1252"),
        *((each, "cp1250") for each in (POLISH, CZECH, HUNGARIAN, ROMANIAN)),
        (POLISH, "iso8859-2"),
        (TURKISH, "cp1254"),
        (LITHUANIAN, "cp1257"),
        (FRENCH, "mac-roman"),
        (GERMAN, "cp850"),
        *((RUSSIAN, codec) for codec in ("cp1251", "koi8-r", "cp866")),
        (GREEK, "cp1253"),
        *((JAPANESE, codec) for codec in ("cp932", "euc-jp")),
        (CHINESE, "gb18030"),
        (KOREAN, "cp949"),
    ],
)
@pytest.mark.parametrize("times", [1, 100])
def test_other_encodings_are_distinguished_by_their_text(tmp_path: Path, content: str, codec: str, times: int) -> None:
    data = (content * times).encode(codec)

    assert content * times == data.decode(detected(tmp_path, data).codec)


@pytest.mark.parametrize(
    "content",
    ["name\ncafé\n", "price\n12 €\n", "n\n1\xa0000\n5 °C\n", "t\nit’s a “test” – ok…\n"],  # noqa: RUF001
)
def test_a_single_non_ascii_character_is_windows_1252(tmp_path: Path, content: str) -> None:
    assert detected(tmp_path, content.encode("cp1252")).codec == "cp1252"


@pytest.mark.parametrize("damaged", [b"don\xcdt", b"it\xd5s", b"caf\x8e\x8fs", b"we\xcdre here"])
def test_english_with_a_few_damaged_bytes_is_not_another_script(tmp_path: Path, damaged: bytes) -> None:
    content = b"id,text\n" + b"1,I think that this is fine\n" * 200 + b"2,I " + damaged + b" know\n"
    codec = detected(tmp_path, content).codec

    assert codec in ("cp1252", "mac-roman", "cp850")


def test_the_note_has_the_evidence(tmp_path: Path) -> None:
    expected = (
        "Read as Windows-1252: it is not valid UTF-8, and 8 of 8 distinct words with non-ASCII letters look right,"
        " for example “Hauptstraße”."
    )

    assert expected == detected(tmp_path, GERMAN.encode("cp1252")).note


def test_without_evidence_the_note_says_what_to_do(tmp_path: Path) -> None:
    assert detected(tmp_path, RUSSIAN.encode("cp1251")).note.endswith(
        "If letters look wrong, upload the file again and choose its encoding."
    )


def test_utf8_with_a_few_invalid_bytes_is_still_utf8(tmp_path: Path) -> None:
    found = detected(tmp_path, (GERMAN * 3).encode() + b"M\xfcller\n")

    assert found.codec == "utf-8"
    expected = "Read as UTF-8, although 1 of 25 non-ASCII sequences is invalid: rows that contain one fail."
    assert expected == found.note


def test_windows_1252_with_a_few_utf8_rows_is_noted(tmp_path: Path) -> None:
    found = detected(tmp_path, (GERMAN * 3).encode("cp1252") + "Müller\n".encode())

    assert found.codec == "cp1252"
    assert "(only 1 of 25 non-ASCII sequences)" in found.note


def test_an_invalid_byte_is_found_at_any_position(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "CHUNK_BYTES", 64)
    monkeypatch.setattr(encoding, "MAX_SEQUENCES", 3)
    for place in range(0, 3_000, 97):
        content = bytearray(("é," * 1_500).encode())
        content[place] = 0xFF

        assert "invalid" in detected(tmp_path, bytes(content)).note


def test_characters_may_cross_the_end_of_a_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for size in range(4, 12):
        monkeypatch.setattr(encoding, "CHUNK_BYTES", size)

        assert detected(tmp_path, "aé€😀bö".encode() * 20).note == "Read as UTF-8."


def test_letters_at_the_end_of_a_file_are_evidence(tmp_path: Path) -> None:
    content = b"name,city\n" + b"Smith,London\n" * 400_000 + POLISH.encode("cp1250")

    assert detected(tmp_path, content).codec == "cp1250"


@pytest.mark.parametrize("content", [bytes(range(256)) * 10, b"\xff\xfe" + bytes(range(256)) * 10, b"\0\1\2\3" * 100])
def test_a_binary_file_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UnreadableFileError, match="binary file"):
        detected(tmp_path, content)


def test_a_few_nul_bytes_do_not_make_a_file_binary(tmp_path: Path) -> None:
    assert detected(tmp_path, b"a,b\n1,\0\n\0,2\n").codec == "utf-8"


def test_the_progress_callback_is_called_for_every_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "CHUNK_BYTES", 10)
    ticks: list[None] = []

    encoding.detect(written(tmp_path, b"a,b\n" * 100), lambda: ticks.append(None))
    encoding.transcode(io.BytesIO(b"a,b\n" * 100), io.BytesIO(), "cp1252", lambda: ticks.append(None))

    assert len(ticks) >= 80


@pytest.mark.parametrize("codec", ["cp1252", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "gb18030", "utf-8"])
@pytest.mark.parametrize("chunk_bytes", [1, 3, 4096])
def test_text_is_transcoded_with_any_chunk_size(codec: str, chunk_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "CHUNK_BYTES", chunk_bytes)

    assert GERMAN.encode() == transcoded(GERMAN.encode(codec), codec)


def test_bytes_that_are_invalid_in_an_encoding_are_kept() -> None:
    assert transcoded(b"a\x81,b\x8d\n", "cp1252") == b"a\x81,b\x8d\n"


def test_invalid_bytes_never_become_valid_utf8() -> None:
    with pytest.raises(UnicodeDecodeError):
        transcoded(b"\xd9\x81", "cp1255").decode()


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_an_unpaired_surrogate_damages_only_its_cell(codec: str) -> None:
    content = "a,".encode(codec) + "\ud822".encode(codec, "surrogatepass") + '"\nc,d\n'.encode(codec)

    assert transcoded(content, codec) == b'a,\xff"\nc,d\n'


def test_an_incomplete_character_at_the_end_becomes_an_invalid_byte() -> None:
    assert transcoded("a\nb".encode("utf-16-le")[:-1], "utf-16-le") == b"a\n\xff"


def test_an_incomplete_line_end_at_the_end_is_a_line_end() -> None:
    assert transcoded("a,b\n".encode("utf-16-le")[:-1], "utf-16-le") == b"a,b\n"


def test_a_chosen_encoding_is_used() -> None:
    assert encoding.Encoding("cp1250", "Read as Windows-1250, as chosen.") == encoding.chosen("windows-1250", b"a")


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
@pytest.mark.parametrize(
    "content", [b"a,b\n1,2\n", b"\xef\xbb\xbfa,b\n1,2\n", GERMAN.encode("cp1252"), CHINESE.encode()]
)
def test_a_chosen_encoding_that_cannot_be_is_refused(codec: str, content: bytes) -> None:
    with pytest.raises(UnreadableFileError, match=r"The file is not UTF-.* Upload it again with another encoding"):
        encoding.chosen(codec, content)


@pytest.mark.parametrize("name", ["utf-16", "utf-32"])
@pytest.mark.parametrize("order", ["", "-le", "-be"])
@pytest.mark.parametrize("content", [GERMAN, CHINESE])
def test_a_chosen_wide_encoding_needs_no_byte_order_mark(name: str, order: str, content: str) -> None:
    encoded = content.encode(name + order)

    codec = encoding.chosen(name, encoded).codec

    assert transcoded(encoded, codec) == content.encode()


def test_a_surrogate_that_a_codec_lets_through_becomes_an_invalid_byte() -> None:
    assert transcoded(b"a+2AA-,+3IA-b\n", "utf-7") == b"a\xff,\x80b\n"


def test_an_escape_sequence_that_never_ends_is_refused_with_a_sentence() -> None:
    with pytest.raises(
        UnreadableFileError, match=r"cannot be read as ISO2022-JP .*Upload it again with another encoding"
    ):
        transcoded(b"\x1b$((((((((((((" * 400_000, "iso2022-jp")


def test_the_sample_is_bounded_however_many_chunks_a_file_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "CHUNK_BYTES", 1_000)
    monkeypatch.setattr(encoding, "SAMPLE_BYTES", 100)
    monkeypatch.setattr(encoding, "MAX_SAMPLE_BYTES", 10_000)
    evidence = encoding._Evidence(500_000)
    for _ in range(500):
        evidence.see("ä".encode("cp1252") + b"x" * 999)

    assert 10_000 <= sum(map(len, evidence.sample)) <= 11_000
    assert detected(tmp_path, GERMAN.encode("cp1252") * 1_000).codec == "cp1252"


def test_detection_calls_the_progress_callback_every_second(tmp_path: Path) -> None:
    path = written(tmp_path, ((GERMAN + FRENCH) * 20_000).encode("cp1252"))
    ticks = [time.process_time()]  # of the processor: other tests run beside this one

    encoding.detect(path, lambda: ticks.append(time.process_time()))

    ticks.append(time.process_time())
    assert max(later - sooner for sooner, later in itertools.pairwise(ticks)) < 1
