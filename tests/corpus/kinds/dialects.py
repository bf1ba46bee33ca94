"""Delimiters, quotes and escapes, usual and unusual."""

from collections.abc import Iterator

from tests.corpus import tables
from tests.corpus.case import Case, Table, case, read
from tests.corpus.tables import NUMBER, TEXT, WHOLE, table
from tests.corpus.writing import body, csv, joined, line, lines


def cases() -> Iterator[Case]:
    yield from _delimiters()
    yield from _quotes()
    yield from _spaces()
    yield from _columns_of_spaces()
    yield from _broken()


def _delimiters() -> Iterator[Case]:
    survey, orders = tables.survey(), tables.orders()
    tasks = table(
        {"HITId": TEXT, "Title": TEXT, "Keywords": TEXT, "Reward": NUMBER, "Answer": TEXT},
        (
            (
                f"3X{n:05}Y",
                "Label the picture; please",
                "image; label; fast; easy",
                "0.05",
                "cat; dog; none; other; both",
            )
            for n in range(30)
        ),
    )
    yield case("dialects/semicolons in quoted cells", csv(tasks, always=True), read(tasks))
    addresses = table(
        {"name": TEXT, "address": TEXT, "notes": TEXT},
        ((f"Person {n}", f"Mill Road {n}, Cork, Ireland", "a, b, c, d") for n in range(24)),
    )
    yield case("dialects/commas in cells between semicolons", csv(addresses, ";"), read(addresses))
    yield case("dialects/commas in cells between tabs", csv(addresses, "\t"), read(addresses), ending="tsv")
    yield case("dialects/commas in cells between pipes", csv(addresses, "|"), read(addresses), ending="psv")
    yield case("dialects/no ending", csv(orders, ";"), read(orders), ending="")
    yield case("dialects/.dat", csv(orders, "|"), read(orders), ending="dat")
    yield case("dialects/.ssv", csv(orders, ";"), read(orders), ending="ssv")
    prices = table(
        {"Artikel": TEXT, "Preis": NUMBER, "Gewicht": NUMBER},
        ((f"Artikel {n}", f"{n},{n * 7 % 90 + 10}", f"{n % 9},{n % 90 + 10}5") for n in range(1, 26)),
    )
    yield case("dialects/decimal commas between semicolons", csv(prices, ";"), read(prices))
    yield case("dialects/decimal commas in quotes", csv(prices, always=True), read(prices))
    yield case("dialects/carets", csv(orders, "^"), read(orders), ending="txt")
    yield case("dialects/tildes", csv(survey, "~"), read(survey), ending="txt")
    yield case("dialects/colons", csv(tables.beds(), ":"), read(tables.beds()), ending="txt")


def _quotes() -> Iterator[Case]:
    survey, schools, books = tables.survey(), tables.schools(), tables.books()
    yield case("dialects/single quotes", csv(schools, ",", "'"), read(schools))
    yield case("dialects/single quotes everywhere", csv(schools, ";", "'", always=True), read(schools))
    yield case("dialects/backslash escapes", joined(lines(survey, always=True, escape="\\")), read(survey))
    yield case("dialects/backslash escapes where needed", joined(lines(survey, escape="\\")), read(survey))
    late = table(
        {"id": WHOLE, "text": TEXT},
        ((n, 'a "new" one, at last' if n > 400 else "an old one, as ever") for n in range(500)),
    )
    yield case("dialects/backslash escapes far below", joined(lines(late, always=True, escape="\\")), read(late))
    apostrophes = table(
        {"author": TEXT, "title": TEXT},
        (("O'Brien", "'Tis the season") if n % 3 else ("D'Arcy", "The dogs' days, and nights") for n in range(24)),
    )
    yield case("dialects/apostrophes that quote nothing", csv(apostrophes), read(apostrophes))
    paths = table({"file": TEXT, "owner": TEXT}, ((f"C:\\data\\new\\{n}\\", "root") for n in range(24)))
    yield case("dialects/backslashes that escape nothing", csv(paths), read(paths))
    yield case("dialects/backslashes that escape nothing, quoted", csv(paths, always=True), read(paths))
    whole = Table(["id,name,town"], [[",".join(row)] for row in _flat_table().rows])
    around = joined([f'"{line(row)}"' for row in [_flat_table().columns, *_flat_table().rows]])
    yield case("dialects/quotes around every record", around, read(_flat_table()), read(whole))
    text = table({"q": TEXT, "a": TEXT}, ((f'He said "{n}, then {n + 1}" twice', "yes") for n in range(20)))
    yield case("dialects/doubled quotes", csv(text, always=True), read(text))
    yield case("dialects/only some cells quoted", csv(books), read(books))


def _flat_table() -> Table:
    return table({"id": WHOLE, "name": TEXT, "town": TEXT}, ((n, f"Name {n}", "Cork") for n in range(1, 25)))


def _spaces() -> Iterator[Case]:
    survey, schools, people = tables.survey(), tables.schools(), tables.people()
    quoted = [
        ", ".join(f'"{cell.replace(chr(34), chr(34) * 2)}"' for cell in row) for row in [schools.columns, *schools.rows]
    ]
    yield case("dialects/a space before quotes", joined(quoted), read(schools))
    some = [", ".join(_quoted(cell) for cell in row) for row in [survey.columns, *survey.rows]]
    yield case("dialects/a space behind each comma", joined(some), read(survey))
    spaced = [", ".join(row) for row in [people.columns, *people.rows]]
    yield case("dialects/a space behind each comma, no quotes", joined(spaced), read(people))
    semicolons = ["; ".join(row) for row in [people.columns, *people.rows]]
    yield case("dialects/a space behind each semicolon", joined(semicolons), read(people))
    both = [" | ".join(row) for row in [people.columns, *people.rows]]
    yield case("dialects/spaces around pipes", joined(both), read(people), ending="txt")
    widths = [max(len(row[place]) for row in [people.columns, *people.rows]) for place in range(len(people.columns))]
    padded = [
        ",".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in [people.columns, *people.rows]
    ]
    yield case("dialects/cells padded with spaces", joined(padded), read(people, any_space=True))


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if "," in cell or '"' in cell else cell


def _columns_of_spaces() -> Iterator[Case]:
    numbers = table(
        {"step": WHOLE, "energy": NUMBER, "force": NUMBER},
        ((n, f"{-100 + n / 3:.4f}", f"{2.5 / n:.4f}") for n in range(1, 41)),
    )
    yield case("dialects/one space", csv(numbers, " "), read(numbers), ending="txt")
    yield case("dialects/one space, quoted text", csv(tables.people(), " "), read(tables.people()), ending="txt")
    header = "step      energy     force"
    aligned = [header, *(f"{row[0]:>4}  {row[1]:>10}  {row[2]:>8}" for row in numbers.rows)]
    yield case("dialects/several spaces", joined(aligned), read(numbers), ending="dat")
    left = ["step  energy    force", *(f"{row[0]:<4}  {row[1]:<10}  {row[2]}" for row in numbers.rows)]
    yield case("dialects/several spaces, left", joined(left), read(numbers), ending="txt")
    bare = tables.renamed(numbers, "column_1", "column_2", "column_3")
    rows = [f"{row[0]:>4}  {row[1]:>10}  {row[2]:>8}" for row in numbers.rows]
    yield case("dialects/several spaces, headerless", joined(rows), read(bare, warnings="no_header"), ending="dat")
    sentences = Table(
        ["remark"], [[text] for text in ["The lamp is broken", "Door sticks", "All fine here today"] * 7], [TEXT]
    )
    yield case("dialects/spaces in a single column", csv(sentences), read(sentences))


def _broken() -> Iterator[Case]:
    """Quotes that are never closed fail their line, and no other."""
    orders = tables.orders()
    cut = tables.rows_of(orders, lambda place: place != 14)
    broken = body(orders)
    broken[14] = line(orders.rows[14][:1]) + ',"' + ",".join(orders.rows[14][1:])
    text = joined([lines(orders)[0], *broken])
    yield case("dialects/a quote that is never closed", text, read(cut, failed=(16,)))
    nul = csv(orders).encode().replace(b"SO-20070", b"SO-\x0020070")
    bad = tables.rows_of(orders, lambda place: place != 10)
    yield case("dialects/a NUL byte", nul, read(bad, failed=(12,)))
