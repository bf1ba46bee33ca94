"""Ordinary tables of many fields, from which the files of the corpus are written. The same in every run.

Cells are text as it stands in files. Decimals of a column all have the same number of places, since an export gives
uniform decimals as they came.
"""

import random
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta

from tests.corpus.case import Table

TEXT, WHOLE, NUMBER, BOOLEAN = "string", "integer", "number", "boolean"
DATE, MOMENT, TIME = "date", "datetime", "time"

_FIRST = [
    "Ann", "Bob", "Carla", "Dmitri", "Elena", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Katja", "Liam",
    "Mona", "Noah", "Olga", "Pedro", "Rosa", "Sven", "Tara", "Uwe",
]  # fmt: skip
_LAST = [
    "Adams", "Berger", "Costa", "Duval", "Eriksen", "Fischer", "Garcia", "Huber", "Ivanova", "Jansen",
    "Keller", "Lopez", "Meyer", "Novak", "Olsen",
]  # fmt: skip
_TOWNS = [
    "Aarhus", "Bergen", "Cork", "Dresden", "Evora", "Faro", "Ghent", "Hamar", "Innsbruck", "Jena", "Kaunas",
    "Lille", "Malmo", "Namur", "Oulu", "Porto",
]  # fmt: skip


def table(columns: dict[str, str | None], rows: Iterable[Iterable[object]]) -> Table:
    """columns: name → type, None if nobody could be sure."""
    return Table(list(columns), [[str(cell) for cell in row] for row in rows], list(columns.values()))


def people(count: int = 40) -> Table:
    """Staff: numbers, names, towns, dates, salaries."""
    chance = random.Random(1)
    return table(
        {"id": WHOLE, "name": TEXT, "town": TEXT, "born": DATE, "salary": NUMBER, "active": BOOLEAN},
        (
            (
                n,
                f"{chance.choice(_FIRST)} {chance.choice(_LAST)}",
                chance.choice(_TOWNS),
                date(1960, 1, 1) + timedelta(days=chance.randrange(15_000)),
                f"{chance.uniform(1800, 6900):.2f}",
                chance.choice(["true", "false"]),
            )
            for n in range(1001, 1001 + count)
        ),
    )


def orders(count: int = 50) -> Table:
    """Sales: codes, quantities, prices, dates."""
    chance = random.Random(2)
    wares = ["Desk lamp", "Office chair", "Paper A4", "Stapler", "Monitor 27 in", "USB cable", "Whiteboard"]
    return table(
        {"order": TEXT, "product": TEXT, "quantity": WHOLE, "unit price": NUMBER, "ordered on": DATE},
        (
            (
                f"SO-{20000 + 7 * n}",
                chance.choice(wares),
                chance.randrange(1, 60),
                f"{chance.uniform(2, 400):.2f}",
                date(2025, 1, 2) + timedelta(days=n),
            )
            for n in range(count)
        ),
    )


def weather(count: int = 72) -> Table:
    """Hourly readings of a station."""
    chance = random.Random(3)
    return table(
        {"station": TEXT, "time": MOMENT, "temperature": NUMBER, "humidity": WHOLE, "wind": NUMBER},
        (
            (
                chance.choice(["KJFK", "KLGA", "KEWR"]),
                (datetime(2025, 2, 1) + timedelta(hours=n)).strftime("%Y-%m-%d %H:%M:%S"),
                f"{chance.uniform(-12, 9):.1f}",
                chance.randrange(30, 100),
                f"{chance.uniform(0, 21):.1f}",
            )
            for n in range(count)
        ),
    )


def schools(count: int = 30) -> Table:
    """A register with codes that begin with zeros, telephone numbers, addresses with commas."""
    chance = random.Random(4)
    kinds = ["Primary", "Secondary", "Vocational"]
    return table(
        {"code": TEXT, "school": TEXT, "kind": TEXT, "address": TEXT, "postcode": TEXT, "phone": TEXT, "pupils": WHOLE},
        (
            (
                f"0{chance.randrange(10**6):06}",
                f"{chance.choice(_LAST)} {chance.choice(kinds)} School",
                chance.choice(kinds),
                f"{chance.randrange(1, 99)} Mill Road, {chance.choice(_TOWNS)}",
                f"0{chance.randrange(1000, 9999)}",
                f"+44 20 {chance.randrange(1000, 9999)} {chance.randrange(1000, 9999)}",
                chance.randrange(60, 1400),
            )
            for _ in range(count)
        ),
    )


def transactions(count: int = 40) -> Table:
    """A bank's export as in Germany: day first, decimal comma with points between thousands."""
    chance = random.Random(5)
    purposes = ["Miete Januar", "Gehalt", "Einkauf Supermarkt", "Strom Abschlag", "Versicherung", "Rueckerstattung"]
    return table(
        {"Buchungstag": DATE, "Verwendungszweck": TEXT, "IBAN": TEXT, "Betrag": NUMBER},
        (
            (
                (date(2025, 1, 3) + timedelta(days=3 * n)).strftime("%d.%m.%Y"),
                chance.choice(purposes),
                f"DE{chance.randrange(10, 99)}{chance.randrange(10**17, 10**18)}",
                german(chance.choice([-1, 1]) * chance.uniform(3, 9000)),
            )
            for n in range(count)
        ),
    )


def german(number: float) -> str:
    """1.234,56"""
    return f"{number:,.2f}".translate(str.maketrans(",.", ".,"))


def survey(count: int = 36) -> Table:
    """Answers, some of them long and with commas."""
    chance = random.Random(6)
    scale = ["Strongly disagree", "Disagree", "Neither", "Agree", "Strongly agree"]
    remarks = ["", "Fine, thanks", "Too long; too many questions", "I liked it", 'The "new" office is loud', "No, none"]
    return table(
        {"Respondent": WHOLE, "Q1 The team works well": TEXT, "Q2 I have the tools": TEXT, "Remarks": TEXT},
        ((90210 + n, chance.choice(scale), chance.choice(scale), remarks[n % len(remarks)]) for n in range(count)),
    )


def plate(count: int = 48) -> Table:
    """A plate reader's export: wells and optical densities."""
    chance = random.Random(7)
    return table(
        {"Well": TEXT, "Sample": TEXT, "OD600": NUMBER, "Cycle": WHOLE},
        (
            (f"{'ABCDEFGH'[n // 12 % 8]}{n % 12 + 1}", f"S{n // 3:03}x", f"{chance.uniform(0.04, 1.9):.4f}", n % 5 + 1)
            for n in range(count)
        ),
    )


def books(count: int = 28) -> Table:
    """A library's list: long numbers that are names, years, titles."""
    chance = random.Random(8)
    return table(
        {"isbn": None, "title": TEXT, "author": TEXT, "year": WHOLE, "copies": WHOLE},
        (
            (
                f"978{chance.randrange(10**9, 10**10)}",
                f"The {chance.choice(_TOWNS)} {chance.choice(['Letters', 'Papers', 'Chronicle', 'Affair'])}",
                f"{chance.choice(_LAST)}, {chance.choice(_FIRST)}",
                chance.randrange(1931, 2024),
                chance.randrange(1, 9),
            )
            for _ in range(count)
        ),
    )


def places(count: int = 32) -> Table:
    """Stops with coordinates."""
    chance = random.Random(9)
    return table(
        {"stop_id": TEXT, "stop_name": TEXT, "stop_lat": NUMBER, "stop_lon": NUMBER, "zone": TEXT},
        (
            (
                f"st{n:04}",
                f"{chance.choice(_TOWNS)} {chance.choice(['Central', 'North', 'Harbour', 'Market'])}",
                f"{chance.uniform(47, 55):.5f}1",
                f"{chance.uniform(6, 15):.5f}3",
                chance.choice("ABC"),
            )
            for n in range(count)
        ),
    )


def companies(count: int = 30) -> Table:
    """A commercial register."""
    chance = random.Random(10)
    return table(
        {"company_number": TEXT, "company_name": TEXT, "status": TEXT, "incorporated": DATE, "sic": TEXT},
        (
            (
                f"0{chance.randrange(10**6, 10**7)}",
                f"{chance.choice(_LAST)} {chance.choice(['Holdings', 'Trading', 'Foods'])} Ltd",
                chance.choice(["Active", "Dissolved", "Liquidation"]),
                date(1990, 5, 1) + timedelta(days=chance.randrange(12_000)),
                f"0{chance.randrange(1000, 9999)}",
            )
            for _ in range(count)
        ),
    )


def beds(count: int = 26) -> Table:
    """Only text and whole numbers: hospitals and their beds."""
    chance = random.Random(11)
    return table(
        {"hospital": TEXT, "beds": WHOLE, "occupied": WHOLE, "intensive": WHOLE},
        (
            (f"{chance.choice(_TOWNS)} Clinic {n}", beds_, chance.randrange(beds_), chance.randrange(1, 30))
            for n, beds_ in ((n, chance.randrange(40, 900)) for n in range(count))
        ),
    )


def releases() -> Table:
    """Versions are text: 1.1 and 1.10 are two."""
    rows = [(f"1.{n}", date(2020, 1, 15) + timedelta(days=40 * n), 100 + 13 * n) for n in range(1, 21)]
    return table({"version": TEXT, "released": DATE, "commits": WHOLE}, rows)


def results(count: int = 24) -> Table:
    """An election, with shares in percent without a sign."""
    chance = random.Random(12)
    return table(
        {"constituency": TEXT, "electorate": WHOLE, "turnout": NUMBER, "winner": TEXT},
        (
            (
                f"{chance.choice(_TOWNS)} {n % 4 + 1}",
                chance.randrange(40_000, 90_000),
                f"{chance.uniform(48, 81):.1f}",
                chance.choice(["Green Party", "Labour", "Liberals", "Independent"]),
            )
            for n in range(count)
        ),
    )


def plain(count: int = 30) -> Table:
    """Names only: nothing but the words of the header tells it from the rows."""
    chance = random.Random(13)
    return table(
        {"first_name": TEXT, "last_name": TEXT, "department": TEXT, "city": TEXT},
        (
            (
                chance.choice(_FIRST),
                chance.choice(_LAST),
                chance.choice(["Sales", "Finance", "Research", "Legal"]),
                chance.choice(_TOWNS),
            )
            for _ in range(count)
        ),
    )


def years(count: int = 22) -> Table:
    """A wide table whose columns are years."""
    chance = random.Random(14)
    names: dict[str, str | None] = {"Country": TEXT, "Indicator": TEXT}
    names |= {str(year): WHOLE for year in range(2015, 2023)}
    return table(
        names,
        (
            (f"Country {chr(65 + n)}", "Population", *(chance.randrange(10**5, 10**7) for _ in range(8)))
            for n in range(count)
        ),
    )


def accents() -> Table:
    """Names of Western Europe, all in Windows-1252."""
    rows = [
        ("Zürich", "Jörg Müller", "Bahnhofstraße 7", 12), ("Genève", "Hélène Françon", "Rue du Rhône 3", 7),
        ("Málaga", "Íñigo Núñez", "Calle Peña 22", 15), ("København", "Søren Kjærgård", "Åboulevard 4", 3),
        ("Malmö", "Åsa Sjöström", "Östergatan 19", 9), ("Coimbra", "João Conceição", "Praça da República 1", 4),
        ("Besançon", "Benoît Lefèvre", "Rue de l'Église 8", 6), ("Köln", "Käthe Größl", "Domstraße 11", 8),
        ("Tromsø", "Bjørn Ødegård", "Sjøgata 5", 2), ("León", "Begoña Ibáñez", "Avenida de España 40", 21),
    ]  # fmt: skip
    return table({"Stadt": TEXT, "Name": TEXT, "Straße": TEXT, "Besuche": WHOLE}, rows * 2)


def with_(original: Table, **changes: Callable[[str], str]) -> Table:
    """A table whose columns of these names (spaces as _) have other cells."""
    by_name = {name: changes.get(name.replace(" ", "_"), str) for name in original.columns}
    rows = [[by_name[name](cell) for name, cell in zip(original.columns, row, strict=True)] for row in original.rows]
    return Table(original.columns, rows, original.types)


def typed(original: Table, **types: str | None) -> Table:
    """The same table with other types for some columns."""
    kinds = [
        types.get(name.replace(" ", "_"), kind) for name, kind in zip(original.columns, original.types, strict=True)
    ]
    return Table(original.columns, original.rows, kinds)


def of_text(original: Table) -> Table:
    """The same table if all its columns are text."""
    return Table(original.columns, original.rows, [TEXT] * len(original.columns))


def renamed(original: Table, *names: str) -> Table:
    return Table(list(names), original.rows, original.types)


def rows_of(original: Table, keep: Callable[[int], bool]) -> Table:
    """Only the rows at these places, from 0."""
    return Table(original.columns, [row for place, row in enumerate(original.rows) if keep(place)], original.types)


def columns_of(original: Table, *names: str) -> Table:
    """Only these columns."""
    found = [original.columns.index(name) for name in names]
    rows = [[row[place] for place in found] for row in original.rows]
    return Table(list(names), rows, [original.types[place] for place in found])
