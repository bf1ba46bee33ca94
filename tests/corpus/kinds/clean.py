"""Plain clean tables of many kinds. Each must be read exactly and without a warning: detection must not overreach."""

# ruff: noqa: RUF001  # the signs that resemble others are meant

from collections.abc import Iterator

from tests.corpus import tables
from tests.corpus.case import Case, Table, case, read
from tests.corpus.tables import DATE, MOMENT, NUMBER, TEXT, WHOLE, table
from tests.corpus.writing import body, csv, joined, line, lines


def cases() -> Iterator[Case]:
    yield from _dialects()
    yield from _small()
    yield from _contents()
    yield from _tempting()
    yield from _names()


def _dialects() -> Iterator[Case]:
    people, orders, weather, schools = tables.people(), tables.orders(), tables.weather(), tables.schools()
    bank, survey, plate, books = tables.transactions(), tables.survey(), tables.plate(), tables.books()
    places, companies, beds = tables.places(), tables.companies(), tables.beds()
    yield case("clean/staff", csv(people), read(people))
    yield case("clean/staff of Excel", "\ufeff" + csv(people, ";", end="\r\n"), read(people))
    yield case("clean/orders, semicolons", csv(orders, ";"), read(orders))
    yield case("clean/orders, tabs", csv(orders, "\t"), read(orders), ending="tsv")
    yield case("clean/orders, pipes", csv(orders, "|"), read(orders), ending="txt")
    yield case("clean/weather", csv(weather), read(weather))
    yield case("clean/weather, carriage returns", csv(weather, end="\r"), read(weather))
    yield case("clean/weather without a last line end", csv(weather).rstrip("\n"), read(weather))
    yield case("clean/schools, everything quoted", csv(schools, always=True), read(schools))
    yield case("clean/schools, tabs", csv(schools, "\t"), read(schools), ending="tab")
    yield case("clean/bank, semicolons", csv(bank, ";", end="\r\n"), read(bank))
    yield case("clean/bank, commas", csv(bank), read(bank))
    yield case("clean/survey", csv(survey), read(survey))
    yield case("clean/survey, semicolons", csv(survey, ";"), read(survey))
    yield case("clean/plate reader", csv(plate, end="\r\n"), read(plate))
    yield case("clean/library", csv(books), read(books))
    yield case("clean/stops", csv(places), read(places))
    yield case("clean/register of companies", csv(companies, always=True, end="\r\n"), read(companies))
    yield case("clean/hospital beds", csv(beds, ";"), read(beds))
    yield case("clean/releases", csv(tables.releases()), read(tables.releases()))
    yield case("clean/election", csv(tables.results()), read(tables.results()))
    yield case("clean/names only", csv(tables.plain()), read(tables.plain()))
    yield case("clean/names only, tabs", csv(tables.plain(), "\t"), read(tables.plain()), ending="txt")
    yield case("clean/years as columns", csv(tables.years()), read(tables.years()))
    yield case("clean/large", csv(tables.people(1200)), read(tables.people(1200)))
    spaced = joined([lines(beds)[0], "", *body(beds)[:9], "", "", *body(beds)[9:], "", ""])
    yield case("clean/blank lines here and there", spaced, read(beds))


def _small() -> Iterator[Case]:
    numbers = table({"amount": WHOLE}, ((n * 7,) for n in range(1, 30)))
    yield case("clean/one column of numbers", csv(numbers), read(numbers))
    words = table({"e-mail": TEXT}, ((f"user{n}@example.org",) for n in range(25)))
    yield case("clean/one column of text", csv(words), read(words))
    sentences = table(
        {"comment": TEXT}, ((text,) for text in ["All fine", "Too slow", "No idea", "Good; but loud"] * 6)
    )
    yield case("clean/one column of sentences", csv(sentences), read(sentences), ending="txt")
    one = tables.rows_of(tables.people(), lambda place: place == 0)
    yield case("clean/one row", csv(one), read(one))
    two = tables.rows_of(tables.orders(), lambda place: place < 2)
    yield case("clean/two rows", csv(two, ";"), read(two))
    none = Table(tables.people().columns, [])
    yield case("clean/header only", csv(none), read(none))
    pairs = table(
        {"code": TEXT, "country": TEXT}, [["AT", "Austria"], ["BE", "Belgium"], ["CZ", "Czechia"], ["DK", "Denmark"]]
    )
    yield case("clean/two columns of text", csv(pairs), read(pairs))


def _contents() -> Iterator[Case]:
    chat = table(
        {"id": WHOLE, "text": TEXT, "language": TEXT},
        [
            (n, text, code)
            for n, (text, code) in enumerate(
                [("Grüße aus Köln", "de"), ("Привет, мир", "ru"), ("こんにちは", "ja"), ("مرحبا", "ar"),
                 ("Γειά σου", "el"), ("👍🏽 great", "en"), ("Dzień dobry", "pl"), ("Çok güzel", "tr")] * 3, start=1)
        ],
    )  # fmt: skip
    yield case("clean/many scripts", csv(chat), read(chat))
    letters = table(
        {"ticket": TEXT, "opened": DATE, "body": TEXT},
        (
            (f"T-{n}", f"2025-03-{n + 1:02}", f'Dear team,\n\nthe "{n}th" door, again, is stuck;\nplease help\tsoon.')
            for n in range(18)
        ),
    )
    yield case("clean/cells of several lines", csv(letters), read(letters))
    yield case("clean/cells of several lines, Windows", csv(letters, ";", end="\r\n"), read(letters))
    notes = table({"key": TEXT, "note": TEXT}, ((f"k{n}", "lorem ipsum " * (1500 if n == 7 else 2)) for n in range(15)))
    yield case("clean/a very long cell", csv(notes), read(notes, any_space=True))
    events = table(
        {"at": MOMENT, "level": TEXT, "message": TEXT},
        (
            (f"2025-06-01T08:{n:02}:00Z", ["INFO", "WARN", "ERROR"][n % 3], f'{{"user": {n}, "path": "/a,b"}}')
            for n in range(30)
        ),
    )
    yield case("clean/log with JSON in a column", csv(events), read(events))
    links = table(
        {"uuid": TEXT, "url": TEXT, "sha1": TEXT},
        (
            (f"{n:08x}-0000-4000-8000-{n * n:012x}", f"https://example.org/a?b={n};c=2|3", f"{n * 7919:040x}")
            for n in range(1, 25)
        ),
    )
    yield case("clean/identifiers and addresses", csv(links), read(links))
    digits = table(
        {"account": TEXT, "zip": TEXT, "phone": TEXT, "card": TEXT},
        ((f"{n:010}", f"{n * 331 % 9000:05}", f"+1-555-{n:04}", f"4{n:019}") for n in range(101, 130)),
    )
    yield case("clean/digits that are no numbers", csv(digits), read(digits))
    wide = table({f"item_{n}": WHOLE for n in range(120)}, ([(n * m) % 97 for n in range(120)] for m in range(3, 20)))
    yield case("clean/wide", csv(wide), read(wide))
    sparse = table(
        {"id": WHOLE, "a": NUMBER, "b": TEXT, "c": DATE, "d": None},
        (
            (n, f"{n}.5" if n % 3 else "", "x" if n % 4 == 0 else "", "" if n % 5 else f"2024-01-{n % 28 + 1:02}", "")
            for n in range(1, 40)
        ),
    )
    yield case("clean/many empty cells", csv(sparse), read(sparse))
    quotes = table(
        {"part": TEXT, "size": TEXT, "price": NUMBER},
        ((f"P{n}", f'{n}" x {n + 1}" pipe', f"{n}.25") for n in range(2, 24)),
    )
    yield case("clean/inches, doubled quotes", csv(quotes), read(quotes))
    stray = [line(quotes.columns), *(",".join(row) for row in quotes.rows)]
    yield case("clean/inches, stray quotes", joined(stray), read(quotes))
    formulas = table(
        {"name": TEXT, "handle": TEXT, "delta": TEXT},
        ((f"=SUM(A{n})", f"@user{n}", f"+{n}") for n in range(1, 20)),
    )
    yield case("clean/cells that look like formulas", csv(formulas), read(formulas))
    mixed = table(
        {"reading": None, "device": TEXT},
        ((cell, f"dev{n % 4}") for n, cell in enumerate(["12", "13", "off", "14", "on", "15", "16", "17"] * 4)),
    )
    yield case("clean/numbers with words among them", csv(mixed), read(mixed))
    yield case("clean/same cell in every row", csv(_constant()), read(_constant()))
    scores = table({"player": TEXT, "score": TEXT}, ((f"Player {n}", f"{n % 5}:{n % 3}") for n in range(20)))
    yield case("clean/scores with colons", csv(scores), read(typed_any(scores, "score")))
    ranges = table({"age group": TEXT, "share": NUMBER}, ((f"{n}-{n + 4}", f"{n / 7:.2f}") for n in range(20, 90, 5)))
    yield case("clean/ranges", csv(ranges), read(ranges))


def typed_any(original: Table, *names: str) -> Table:
    return tables.typed(original, **dict.fromkeys(names))


def _constant() -> Table:
    return table({"year": WHOLE, "region": TEXT, "value": WHOLE}, ((2024, "North", n) for n in range(25)))


def _tempting() -> Iterator[Case]:
    """Tables that resemble a mess but are none."""
    fruit = ["Apples", "Pears", "Plums"]
    chosen = table(
        {"Respondent": WHOLE, **dict.fromkeys(fruit, TEXT)},
        ((500 + n, *(name if (n + place) % 3 else "" for place, name in enumerate(fruit))) for n in range(40)),
    )
    yield case("clean/names that recur in their columns", csv(chosen), read(chosen))
    grouped = table(
        {"region": TEXT, "town": TEXT, "visits": WHOLE},
        (("North" if n == 0 else "South" if n == 12 else "", f"Town {n}", n * 31) for n in range(24)),
    )
    yield case("clean/groups named once", csv(grouped), read(grouped))
    remarks = table(
        {"id": WHOLE, "amount": WHOLE, "remark": TEXT, "checked by": TEXT},
        ((n, n * 12, "late" if n == 30 else "", "") for n in range(1, 45)),
    )
    yield case("clean/last columns that are nearly empty", csv(remarks), read(typed_any(remarks, "checked by")))
    days = [f"2024-01-{n:02}" for n in range(1, 15)]
    pivot = table(
        {"station": TEXT, **dict.fromkeys(days, WHOLE)}, ((f"S{n}x", *(n * m for m in range(14))) for n in range(20))
    )
    yield case("clean/dates as columns", csv(pivot), read(pivot), read(pivot, warnings="header_guessed"))
    flags = table({"name": TEXT, "male": WHOLE, "female": WHOLE}, ((f"P{n}", n % 2, 1 - n % 2) for n in range(30)))
    yield case("clean/zeros and ones", csv(flags), read(flags))
    ticks = table({"task": TEXT, "done": TEXT}, ((f"Task {n}", "x" if n % 3 else "") for n in range(30)))
    yield case("clean/ticks", csv(ticks), read(ticks))
    units = table(
        {"Height; cm": WHOLE, "Weight; kg": NUMBER, "Name; first": TEXT},
        ((n, f"{n}.5", f"N{n}") for n in range(150, 180)),
    )
    yield case("clean/semicolons in the names between commas", csv(units), read(units))
    inner = table({"id": WHOLE, "line": TEXT}, ((n, f"id,name,town {n}") for n in range(25)))
    yield case("clean/cells that contain lines of tables", csv(inner, ";"), read(inner))
    same = table({"id": WHOLE, "field": TEXT}, ((n, "field" if n == 9 else "other") for n in range(25)))
    yield case("clean/a name that is a value once", csv(same), read(same))
    doubled = tables.people()
    repeated = Table(doubled.columns, [*doubled.rows, *doubled.rows], doubled.types)
    yield case("clean/each row twice", csv(repeated), read(repeated))


def _names() -> Iterator[Case]:
    beds = tables.beds()
    for what, names in {
        "with spaces and signs": ["Hospital (name)", "Beds [#]", "Occupied %", "Intensive / day"],
        "in Greek": ["Νοσοκομείο", "κλίνες", "κατειλημμένες", "εντατική"],
        "in Chinese": ["医院", "床位", "占用", "重症"],
        "in capital letters": ["HOSPITAL", "BEDS", "OCCUPIED", "INTENSIVE"],
        "like SQL": ["select", "from", "where", "order"],
        "with dots": ["Hospital.Name", "Beds.Total", "Beds.Occupied", "Beds.Intensive"],
    }.items():
        named = tables.renamed(beds, *names)
        yield case(f"clean/names {what}", csv(named), read(named))
    twice = tables.renamed(tables.people(), "id", "name", "date", "date", "value", "value")
    right = tables.renamed(twice, "id", "name", "date", "date_2", "value", "value_2")
    people = tables.people()
    reordered = Table(
        right.columns,
        [[r[0], r[1], r[3], r[3], r[4], r[4]] for r in people.rows],
        [WHOLE, TEXT, DATE, DATE, NUMBER, NUMBER],
    )
    yield case("names/twice", csv(Table(twice.columns, reordered.rows)), read(reordered))
    lined = Table(["Hospital", "Beds\n(total)", "Beds\n(occupied)", "Intensive"], beds.rows)
    spaced = Table(["Hospital", "Beds (total)", "Beds (occupied)", "Intensive"], beds.rows, beds.types)
    yield case("names/with line breaks", csv(lined), read(spaced))
    yield case("names/with line breaks, Excel", "\ufeff" + csv(lined, ";", end="\r\n"), read(spaced))
    padded = Table([" Hospital ", " Beds", "Occupied  ", "Intensive"], beds.rows)
    stripped = Table(["Hospital", "Beds", "Occupied", "Intensive"], beds.rows, beds.types)
    yield case("names/with spaces around", csv(padded), read(stripped))
    index = Table(["", *beds.columns], [[str(n), *row] for n, row in enumerate(beds.rows)])
    unnamed = Table(["column_1", *beds.columns], index.rows, [WHOLE, *beds.types])
    yield case("names/first one empty, as of pandas", csv(index), read(unnamed))
    yield case("names/first one empty, as of R", csv(index, always=True), read(unnamed))
    long = "The total number of beds that the hospital had on the last day of the year, all wards"
    question = Table([beds.columns[0], long, *beds.columns[2:]], beds.rows)
    cut = Table([beds.columns[0], long.encode()[:63].decode().rstrip(), *beds.columns[2:]], beds.rows, beds.types)
    yield case("names/a long question", csv(question), read(cut))
