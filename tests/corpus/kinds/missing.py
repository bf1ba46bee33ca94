"""Words for missing values, and the same words where they are values."""

# ruff: noqa: RUF001  # the signs that resemble others are meant

from collections.abc import Iterator

from tests.corpus import tables
from tests.corpus.case import Case, case, read
from tests.corpus.tables import DATE, NUMBER, TEXT, WHOLE, table
from tests.corpus.writing import csv

NOTED = "values_as_missing"


def cases() -> Iterator[Case]:
    for name, word, delimiter in [
        ("NA", "NA", ","), ("N-A", "N/A", ","), ("n-a", "n/a", ";"), ("null", "null", ","), ("none", "none", ","),
        ("NULL in capitals", "NULL", "\t"), ("a hyphen", "-", ","), ("a dash", "–", ";"), ("#N-A", "#N/A", ","),
        ("NaN", "NaN", ","),
    ]:  # fmt: skip
        readings = table(
            {"station": TEXT, "level": WHOLE, "flow": NUMBER},
            ((f"S{n}x", word if n % 9 == 4 else n * 3, word if n % 7 == 2 else f"{n}.25") for n in range(45)),
        )
        yield case(f"missing/{name}", csv(readings, delimiter), read(readings, warnings=NOTED))
    yield from _others()
    yield from _words_that_are_values()


def _others() -> Iterator[Case]:
    dates = table(
        {"case": TEXT, "opened": DATE, "closed": DATE},
        ((f"C{n}", f"2025-01-{n % 28 + 1:02}", "N/A" if n % 4 == 0 else f"2025-02-{n % 28 + 1:02}") for n in range(40)),
    )
    yield case("missing/among dates", csv(dates), read(dates, warnings=NOTED))
    several = table(
        {"id": WHOLE, "value": NUMBER},
        ((n, ["NA", "n/a", "-", f"{n}.5", f"{n}.7", f"{n}.9", "NA"][n % 7]) for n in range(49)),
    )
    yield case("missing/several words", csv(several), read(several, warnings=NOTED, any_word=("value",)))
    empty = table(
        {"id": WHOLE, "value": WHOLE, "unit": TEXT},
        ((n, "" if n % 5 == 1 else "NA" if n % 5 == 3 else n * 2, "kg") for n in range(50)),
    )
    yield case("missing/a word and empty cells", csv(empty), read(empty, warnings=NOTED, any_word=("value",)))
    most = table({"id": WHOLE, "speed": WHOLE}, ((n, n * 3 if n % 8 == 0 else "NA") for n in range(48)))
    yield case("missing/in most rows", csv(most), read(most, warnings=NOTED))
    late = table({"id": WHOLE, "reading": NUMBER}, ((n, "n/a" if n == 889 else f"{n}.5") for n in range(900)))
    yield case("missing/once, near the end", csv(late), read(late, warnings=NOTED))
    german = table(
        {"Ort": TEXT, "Preis": NUMBER},
        ((f"Ort {n}", "k.A." if n % 11 == 5 else f"{n},{n % 90 + 10}") for n in range(44)),
    )
    yield case(
        "missing/k.A. among decimal commas",
        csv(german, ";"),
        read(german, warnings=NOTED),
        read(tables.typed(german, Preis=TEXT)),
    )
    hyphens = table(
        {"Gemeinde": TEXT, "Betten": WHOLE, "Quote": NUMBER},
        ((f"Gemeinde {n}", "-" if n % 6 == 1 else n * 4, "-" if n % 6 == 1 else f"{n},{n % 9}") for n in range(42)),
    )
    yield case("missing/hyphens among decimal commas", csv(hyphens, ";"), read(hyphens, warnings=NOTED))
    dots = table({"id": WHOLE, "wage": NUMBER}, ((n, "." if n % 9 == 3 else f"{n}.75") for n in range(45)))
    yield case("missing/a point, as of SAS", csv(dots), read(dots, warnings=NOTED), read(tables.typed(dots, wage=TEXT)))


def _words_that_are_values() -> Iterator[Case]:
    damage = table({"id": WHOLE, "damage": TEXT}, ((n, ["None", "Minor", "Substantial"][n % 3]) for n in range(30)))
    yield case("missing/none as a category", csv(damage), read(damage))
    codes = table(
        {"iso": TEXT, "country": TEXT, "population": WHOLE},
        [
            ["NA", "Namibia", 2530151],
            ["NE", "Niger", 25252722],
            ["NO", "Norway", 5408320],
            ["NZ", "New Zealand", 5129727],
        ]
        * 6,
    )
    yield case("missing/NA as a country", csv(codes), read(codes))
    sexes = table({"id": WHOLE, "sex": TEXT}, ((n, ["male", "female", "NA"][n % 3]) for n in range(30)))
    yield case("missing/NA among words", csv(sexes), read(sexes))
    nothing = table({"id": WHOLE, "remark": TEXT}, ((n, "NA") for n in range(30)))
    yield case("missing/nothing but NA", csv(nothing), read(nothing))
    signs = table({"id": WHOLE, "effect": TEXT}, ((n, "+-"[n % 2]) for n in range(30)))
    yield case("missing/plus and minus", csv(signs), read(signs))
    sentinels = table({"id": WHOLE, "depth": WHOLE}, ((n, -999 if n % 5 == 2 else n * 3) for n in range(40)))
    yield case("missing/-999 is a number", csv(sentinels), read(sentinels))
    mixed = table({"id": WHOLE, "grade": TEXT}, ((n, ["1", "2", "N/A", "absent", "3"][n % 5]) for n in range(40)))
    yield case("missing/with another word", csv(mixed), read(mixed))
