"""Columns whose type is written in one of the world's ways. What came in comes out, whatever the type."""

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta

from tests.corpus.case import Case, case, read
from tests.corpus.tables import BOOLEAN, DATE, MOMENT, NUMBER, TEXT, TIME, WHOLE, german, table
from tests.corpus.writing import csv

#: Rows of each table here.
COUNT = 36


def cases() -> Iterator[Case]:
    yield from _numbers()
    yield from _texts()
    yield from _moments()
    yield from _booleans()


def _one(name: str, kind: str | None, cell: Callable[[int], str], delimiter: str = ",", **more: object) -> Case:
    """A table with a key, a column of this kind, and a word."""
    original = table(
        {"key": TEXT, "value": kind, "place": TEXT},
        ((f"k{n}", cell(n), "Cork" if n % 2 else "Faro") for n in range(COUNT)),
    )
    return case(f"types/{name}", csv(original, delimiter), read(original, **more))


def _numbers() -> Iterator[Case]:
    yield _one("whole numbers", WHOLE, lambda n: str(n * n - 300))
    yield _one("two decimals", NUMBER, lambda n: f"{n * 3.17:.2f}")
    yield _one("two decimals, all even", NUMBER, lambda n: f"{n}.00")
    yield _one("one decimal that ends with zero", NUMBER, lambda n: f"{n // 3}.{'05'[n % 2]}")
    yield _one("decimals without zeros behind", NUMBER, lambda n: f"{n}.{n % 9 + 1}" if n % 2 else f"{n}.1{n % 9 + 1}")
    yield _one("whole numbers and decimals", NUMBER, lambda n: str(n) if n % 3 else f"{n}.5")
    yield _one(
        "decimals of different lengths", NUMBER, lambda n: f"{n}.50" if n % 2 else f"{n}.125", any_spelling=("value",)
    )
    yield _one("decimal comma", NUMBER, lambda n: f"{n - 9},{n % 90 + 10}", ";")
    yield _one("decimal comma, three decimals", NUMBER, lambda n: f"{n},{n + 525}", ";")
    yield _one("decimal comma and points", NUMBER, lambda n: german((n - 12) * 1234.56), ";")
    yield _one("decimal comma and spaces", NUMBER, lambda n: german((n - 12) * 1234.56).replace(".", " "), ";")
    yield _one("decimal comma and narrow spaces", NUMBER, lambda n: german(n * 1234.56).replace(".", "\u202f"), ";")
    yield _one("decimal point and commas", NUMBER, lambda n: f"{(n - 12) * 1234.56:,.2f}")
    yield _one("decimal point and apostrophes", NUMBER, lambda n: f"{n * 1234.56:,.2f}".replace(",", "'"))
    yield _one("thousands with commas", "integer|number", lambda n: f"{(n + 1) * 123457:,}")
    yield _one("thousands with points", "integer|number", lambda n: f"{(n + 1) * 1234567:,}".replace(",", "."), ";")
    yield _one("thousands or decimals, nobody knows", TEXT, lambda n: f"{n % 9 + 1},{n * 17 % 900 + 100}", ";")
    yield _one("points that may be thousands", None, lambda n: f"{n % 9 + 1}.{n * 17 % 900 + 100}")
    yield _one("dollars", NUMBER, lambda n: f"${n * 311.75:,.2f}")
    yield _one("euros behind", NUMBER, lambda n: f"{german(n * 311.75)} €", ";")
    yield _one("euros in front", NUMBER, lambda n: f"€{n * 3.75:.2f}")
    yield _one("pounds", NUMBER, lambda n: f"£{n * 3.75:.2f}")
    yield _one("code of a currency behind", None, lambda n: f"{german(n * 311.75)} EUR", ";")
    yield _one("percent", NUMBER, lambda n: f"{n * 2.5:.1f}%")
    yield _one("percent with a space and a comma", NUMBER, lambda n: f"{n * 2},{n % 10} %", ";")
    yield _one("whole percent", "integer|number", lambda n: f"{n * 2}%")
    yield _one("exponents", NUMBER, lambda n: f"{(n + 1) * 0.00137:.3e}", any_spelling=("value",))
    yield _one(
        "exponents, capital letter", NUMBER, lambda n: f"{n % 9 + 1}.{n % 10}E+0{n % 4}", any_spelling=("value",)
    )
    yield _one("without a zero in front", None, lambda n: f".{n + 10}", any_spelling=("value",))
    yield _one("spaces in front", "integer|number", lambda n: f"{n * 7:>6}", any_space=True)
    yield _one("spaces around decimals", NUMBER, lambda n: f" {n * 7.25:.2f} ", any_space=True)
    yield _one("plus signs", TEXT, lambda n: f"+{n * 3}")
    yield _one("minus signs behind", None, lambda n: f"{n * 3}.50-")
    yield _one("negative in brackets", None, lambda n: f"({n * 3}.50)" if n % 4 == 0 else f"{n * 3}.50")
    yield _one("long minus sign", None, lambda n: f"\u2212{n + 1}.5")
    yield _one("15 digits", "integer|number|string", lambda n: f"{900719925474099 - n}")
    yield _one("16 significant digits", TEXT, lambda n: f"0.{1234567890123456 + n * 7}")


def _texts() -> Iterator[Case]:
    yield _one("leading zeros", TEXT, lambda n: f"{n * 37:06}")
    yield _one("leading zeros in a few", TEXT, lambda n: f"{n * 997 % 100000:05}")
    yield _one("twenty digits", TEXT, lambda n: f"{12345678901234567890 + n}")
    yield _one("versions", TEXT, lambda n: f"1.{n}")
    yield _one("versions of three parts", TEXT, lambda n: f"2.{n % 6}.{n % 11}")
    yield _one("section numbers, one in two ways", TEXT, lambda n: ["1.1", "1.10", "1.2", "1.3"][n % 4])
    yield _one("addresses of machines", TEXT, lambda n: f"10.0.{n}.{n * 3 % 250}")
    yield _one("hexadecimal", TEXT, lambda n: f"0x{n * 4099:06X}")
    yield _one(
        "hexadecimal that looks like an exponent", TEXT, lambda n: f"{n % 9}e{n * 7 % 90}" if n % 5 else f"a{n}f3"
    )
    yield _one("words for no numbers", TEXT, lambda n: ["Inf", "12", "NaN", "-Inf"][n % 4])
    yield _one("fractions", TEXT, lambda n: f"{n % 7}/{n % 9 + 1}")
    yield _one("dimensions", TEXT, lambda n: f"{n}x{n + 2}")
    yield _one("degrees", TEXT, lambda n: f"{n} °C")
    yield _one("a currency for each", TEXT, lambda n: f"{'€$£'[n % 3]}{n}.50")
    yield _one("one word among numbers", TEXT, lambda n: "twelve" if n == 12 else str(n))
    yield _one("texts with spaces at the end", TEXT, lambda n: f"code {n}  ", any_space=True)
    yield _one("one leading zero", TEXT, lambda n: "007" if n == 7 else str(n * 3))
    yield _one("one plus sign", TEXT, lambda n: "+12" if n == 12 else str(n))
    yield _one("one digit", WHOLE, lambda n: str(n % 10))
    yield _one("two numbers", WHOLE, lambda n: str(n % 2))


def _moments() -> Iterator[Case]:
    def day(n: int) -> date:
        return date(2023, 12, 25) + timedelta(days=n * 5)

    def moment(n: int) -> datetime:
        return datetime(2023, 12, 25, 7, 5, 9) + timedelta(hours=n * 31, minutes=n * 7)

    for name, format_ in {
        "ISO dates": "%Y-%m-%d",
        "day first, points": "%d.%m.%Y",
        "day first, slashes": "%d/%m/%Y",
        "day first, hyphens": "%d-%m-%Y",
        "month first, slashes": "%m/%d/%Y",
        "year first, slashes": "%Y/%m/%d",
    }.items():
        yield _one(name, DATE, lambda n, format_=format_: day(n).strftime(format_))  # type: ignore[misc]  # bound at once
    yield _one("month first, single digits", DATE, lambda n: f"{day(n).month}/{day(n).day}/{day(n).year}")
    yield _one("day first, single digits", DATE, lambda n: f"{day(n).day}.{day(n).month}.{day(n).year}", ";")
    yield _one("day and month could be swapped", TEXT, lambda n: f"{n % 12 + 1:02}/{n % 11 + 1:02}/2024")
    yield _one("two orders in one column", TEXT, lambda n: ["25/12/2023", "12/25/2023"][n % 2])
    yield _one("dates far away", DATE, lambda n: f"{1750 + n * 200}-07-04")
    yield _one("eight digits", None, lambda n: day(n).strftime("%Y%m%d"))
    yield _one("years of two digits", None, lambda n: day(n).strftime("%d.%m.%y"))
    yield _one("names of months", None, lambda n: day(n).strftime("%d-%b-%Y"))
    yield _one("months", TEXT, lambda n: day(n).strftime("%Y-%m"))
    yield _one("quarters", TEXT, lambda n: f"{day(n).year}-Q{n % 4 + 1}")
    yield _one("a day that does not exist", TEXT, lambda n: "2024-02-30" if n == 20 else day(n).isoformat())
    yield _one("times", TIME, lambda n: moment(n).strftime("%H:%M:%S"))
    yield _one("times without seconds", TIME, lambda n: moment(n).strftime("%H:%M"))
    yield _one("durations", TEXT, lambda n: f"{n * 3}:{n % 60:02}:00")
    for name, format_ in {
        "ISO timestamps": "%Y-%m-%dT%H:%M:%S",
        "timestamps with a space": "%Y-%m-%d %H:%M:%S",
        "timestamps in UTC": "%Y-%m-%dT%H:%M:%SZ",
        "timestamps without seconds": "%Y-%m-%d %H:%M",
        "timestamps, day first": "%d.%m.%Y %H:%M",
        "timestamps, day first, with seconds": "%d/%m/%Y %H:%M:%S",
        "timestamps with an offset": "%Y-%m-%dT%H:%M:%S+01:00",
        "timestamps with milliseconds": "%Y-%m-%d %H:%M:%S.125",
        "timestamps with microseconds": "%Y-%m-%dT%H:%M:%S.125250",
        "timestamps with milliseconds in UTC": "%Y-%m-%dT%H:%M:%S.125Z",
    }.items():
        yield _one(name, MOMENT, lambda n, format_=format_: moment(n).strftime(format_))  # type: ignore[misc]  # bound at once
    yield _one("timestamps of Excel in America", MOMENT, lambda n: f"{day(n).month}/{day(n).day}/{day(n).year} 0:00")
    yield _one("timestamps of two offsets", None, lambda n: moment(n).isoformat() + ["+01:00", "+02:00"][n % 2])
    yield _one("seconds since 1970", WHOLE, lambda n: str(1_700_000_000 + n * 977))


def _booleans() -> Iterator[Case]:
    for yes, no in [
        ("true", "false"), ("True", "False"), ("TRUE", "FALSE"), ("yes", "no"), ("Yes", "No"), ("YES", "NO"),
        ("ja", "nein"), ("Ja", "Nein"), ("oui", "non"), ("Oui", "Non"), ("sí", "no"), ("sim", "não"), ("tak", "nie"),
        ("ja", "nej"),
    ]:  # fmt: skip
        yield _one(f"{yes} and {no}", BOOLEAN, lambda n, yes=yes, no=no: yes if n % 3 else no)  # type: ignore[misc]
    yield _one("Y and N", None, lambda n: "Y" if n % 3 else "N")
    yield _one("yes, no and maybe", TEXT, lambda n: ["yes", "no", "maybe"][n % 3])
    yield _one("only yes", None, lambda n: "yes")
    several = table(
        {"id": WHOLE, "active": BOOLEAN, "paid": BOOLEAN, "amount": NUMBER, "due": DATE},
        (
            (n, "true" if n % 2 else "false", "Yes" if n % 5 else "No", f"{n}.10", f"2025-0{n % 9 + 1}-15")
            for n in range(1, COUNT)
        ),
    )
    yield case("types/several", csv(several), read(several))
