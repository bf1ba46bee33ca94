"""Encodings, found from the bytes alone."""

# ruff: noqa: RUF001  # the signs that resemble others are meant

from collections.abc import Iterator

from tests.corpus import tables
from tests.corpus.case import Case, Table, case, read
from tests.corpus.tables import TEXT, WHOLE, table
from tests.corpus.writing import csv, joined, lines


def _towns(*names: str) -> Table:
    return table(
        {"id": WHOLE, "name": TEXT, "visits": WHOLE}, ((n, names[n % len(names)], n * 13) for n in range(1, 40))
    )


POLISH = _towns("Łódź", "Gdańsk", "Wrocław", "Białystok", "Częstochowa", "Świdnica", "Zażółć gęślą jaźń", "Kielce")
CZECH = _towns("Plzeň", "Hradec Králové", "České Budějovice", "Ústí nad Labem", "Žďár", "Třebíč", "Příbram", "Děčín")
RUSSIAN = _towns("Москва", "Санкт-Петербург", "Новосибирск", "Екатеринбург", "Казань", "Нижний Новгород", "Самара")
GREEK = _towns("Αθήνα", "Θεσσαλονίκη", "Πάτρα", "Ηράκλειο", "Λάρισα", "Βόλος", "Ιωάννινα")
CHINESE = _towns("北京市", "上海市", "广州市", "深圳市", "成都市海淀区中关村大街", "重庆市", "天津市人民政府")
JAPANESE = _towns("東京都千代田区", "大阪府大阪市", "京都市左京区", "さいたま市", "ナゴヤ港区", "札幌市中央区")
KOREAN = _towns("서울특별시", "부산광역시", "대구광역시", "인천광역시", "광주광역시 동구")
TURKISH = _towns("İstanbul", "Diyarbakır", "Şanlıurfa", "Muğla", "Eskişehir", "Iğdır", "Çanakkale")


def cases() -> Iterator[Case]:
    accents = tables.accents()
    yield case("encodings/cp1252", csv(accents, ";", end="\r\n"), read(accents), encoding="cp1252")
    yield case("encodings/UTF-8", csv(accents), read(accents))
    yield case("encodings/UTF-8 with a mark", "\ufeff" + csv(accents, ";", end="\r\n"), read(accents))
    yield case(
        "encodings/UTF-16 with a mark", csv(accents, "\t", end="\r\n"), read(accents), encoding="utf-16", ending="txt"
    )
    yield case("encodings/UTF-16 without a mark", csv(accents, "\t", end="\r\n"), read(accents), encoding="utf-16-le")
    yield case("encodings/UTF-16, big end first", "\ufeff" + csv(accents), read(accents), encoding="utf-16-be")
    yield case("encodings/UTF-32", csv(accents), read(accents), encoding="utf-32")
    yield case("encodings/Mac Roman", csv(_mac(), end="\r"), read(_mac()), encoding="mac-roman")
    yield case("encodings/cp1250, Polish", csv(POLISH, ";"), read(POLISH), encoding="cp1250")
    yield case("encodings/cp1250, Czech", csv(CZECH, ";"), read(CZECH), encoding="cp1250")
    yield case("encodings/ISO-8859-2", csv(CZECH), read(CZECH), encoding="iso8859-2")
    yield case("encodings/cp1251", csv(RUSSIAN, ";"), read(RUSSIAN), encoding="cp1251")
    yield case("encodings/KOI8-R", csv(RUSSIAN), read(RUSSIAN), encoding="koi8-r")
    yield case("encodings/cp1253", csv(GREEK, ";"), read(GREEK), encoding="cp1253")
    yield case("encodings/cp1254", csv(TURKISH, ";"), read(TURKISH), encoding="cp1254")
    yield case("encodings/GB18030", csv(CHINESE), read(CHINESE), encoding="gb18030")
    yield case("encodings/Shift-JIS", csv(JAPANESE), read(JAPANESE), encoding="cp932")
    yield case("encodings/EUC-KR", csv(KOREAN), read(KOREAN), encoding="euc-kr")
    yield from _almost_english()
    yield from _damaged()


def _mac() -> Table:
    return _towns("Zürich", "Genève", "Málaga", "Besançon", "Köln", "Orléans", "Nîmes", "Düsseldorf")


def _almost_english() -> Iterator[Case]:
    """English with a few signs of Windows-1252."""
    words = [
        "I don’t know",
        "It’s “fine”",
        "Works – mostly",
        "Nothing to add",
        "A café nearby",
        "Costs €5",
        "All good…",
        "No",
    ]
    answers = table({"id": WHOLE, "answer": TEXT, "score": WHOLE}, ((n, words[n % 8], n % 5 + 1) for n in range(1, 60)))
    yield case("encodings/English with typographic signs", csv(answers), read(answers), encoding="cp1252")
    one = table(
        {"id": WHOLE, "answer": TEXT}, ((n, "I don’t know" if n == 44 else "No idea, sorry") for n in range(1, 90))
    )
    yield case("encodings/English with one apostrophe", csv(one), read(one), encoding="cp1252")
    far = table(
        {"id": WHOLE, "answer": TEXT}, ((n, "It’s late" if n == 2700 else "No idea, sorry") for n in range(3000))
    )
    yield case("encodings/English with one apostrophe, far below", csv(far), read(far), encoding="cp1252")
    degrees = table({"id": WHOLE, "reading": TEXT}, ((n, f"{n}.5 °C ± 0.2 µm") for n in range(1, 40)))
    yield case("encodings/signs of measures", csv(degrees), read(degrees), encoding="cp1252")
    pounds = table({"item": TEXT, "price": tables.NUMBER}, ((f"Item {n}", f"£{n}.50") for n in range(1, 40)))
    yield case("encodings/pounds", csv(pounds), read(pounds), encoding="cp1252")


def _damaged() -> Iterator[Case]:
    """A few bytes that are not of the file's encoding: their rows fail, and no others."""
    accents = tables.accents()
    records = lines(accents)
    bad = joined(records).encode().split(b"\n")
    bad[7] = bad[7].replace("ü".encode(), b"\xfc") if "ü".encode() in bad[7] else bad[7].replace(b",", b"\xe9,", 1)
    kept = tables.rows_of(accents, lambda place: place != 6)
    yield case("encodings/UTF-8 with one byte of cp1252", b"\n".join(bad), read(kept, failed=(8,)))
    english = tables.people(60)
    text = csv(english).encode().split(b"\n")
    text[30] = text[30].replace(b" ", b"\xcd ", 1)
    rest = tables.rows_of(english, lambda place: place != 29)
    rows = [text[30].decode("cp1252").split(",") if place == 29 else row for place, row in enumerate(english.rows)]
    other = Table(english.columns, rows, english.types)
    yield case("encodings/English with damaged bytes", b"\n".join(text), read(rest, failed=(31,)), read(other))
