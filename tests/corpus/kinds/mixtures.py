"""Several kinds of mess in one file, as they come together in practice."""

import gzip
from collections.abc import Iterator

from tests.corpus import tables
from tests.corpus.case import Case, Table, case, read
from tests.corpus.tables import DATE, NUMBER, TEXT, WHOLE, rows_of, table
from tests.corpus.writing import body, csv, joined, line, lines


def cases() -> Iterator[Case]:
    accents, bank, orders, people = tables.accents(), tables.transactions(), tables.orders(), tables.people()
    titled = joined(["Besuche je Stadt, 2024", "", *lines(accents, ";"), ";;;", ";;;"], "\r\n")
    yield case("mixtures/title, cp1252, empty rows behind", titled, read(accents), encoding="cp1252")
    records = lines(accents, ";")
    records[5] = line([*accents.rows[4][:2], "", *accents.rows[4][2:-1], ""], ";")
    shifted = joined(["Besuche", *records], "\r\n")
    kept = rows_of(accents, lambda place: place != 4)
    yield case("mixtures/title, cp1252, one row shifted", shifted, read(kept, failed=(7,)), encoding="cp1252")
    surplus = joined(["# export 17", line(orders.columns, ";"), *(each + ";" for each in body(orders, ";"))])
    yield case("mixtures/comment, surplus cells", surplus, read(orders, warnings="surplus_cells"))
    bare = tables.renamed(bank, *(f"column_{n}" for n in range(1, 5)))
    old = joined(body(bank, ";", always=True), "\r\n")
    yield case("mixtures/no header, quotes, Windows", old, read(bare, warnings="no_header"), encoding="cp1252")
    hidden = table(
        {"Ort": TEXT, "Datum": DATE, "Preis": NUMBER, "Menge": WHOLE},
        ((f"Köln-{n}", f"{n % 28 + 1:02}.0{n % 9 + 1}.2024",
          "-" if n % 9 == 2 else f"{n * 1111},{n % 90 + 10}", n) for n in range(1, 46)),
    )  # fmt: skip
    yield case(
        "mixtures/cp1252, decimal commas, hyphens",
        csv(hidden, ";"),
        read(hidden, warnings="values_as_missing"),
        encoding="cp1252",
    )
    again = [*lines(people)[:21], lines(people)[0], *lines(people)[21:]]
    both = joined(["Staff", "", *again[:30], ",,,,,", *again[30:]])
    yield case("mixtures/title, the header again, an empty row", both, read(people, warnings="lines_skipped"))
    gz = gzip.compress(joined(["Orders", "", *lines(orders, "\t")]).encode("utf-16"), mtime=0)
    yield case("mixtures/gzip, UTF-16, tabs, title", gz, read(orders), ending="csv.gz")
    twice = ["order,order,quantity,,", *body(orders)]
    named = tables.renamed(orders, "order", "order_2", "quantity", "column_4", "column_5")
    yield case(
        "mixtures/repeated and empty names above types",
        joined(twice),
        read(named),
        read(named, warnings="header_guessed"),
    )
    spaced = joined([", ".join(f'"{cell}"' for cell in row) + "," for row in [orders.columns, *orders.rows]])
    wider = Table([*orders.columns, "column_6"], [[*row, ""] for row in orders.rows], [*orders.types, None])
    ways = read(orders), read(orders, warnings="surplus_cells"), read(wider)
    yield case("mixtures/spaces before quotes, a comma behind", spaced, *ways)
    cut = lines(people, ";")
    cut[12] = line(people.rows[11][:4], ";")
    cut[30] = line([*people.rows[29], "x"], ";")
    rest = rows_of(people, lambda place: place not in (11, 29))
    ragged = joined(["\ufeffStaff of all branches", "Created: 2025-04-01 08:00", "", *cut], "\r\n")
    yield case("mixtures/mark, titles, ragged rows", ragged, read(rest, failed=(16, 34)))
    yield _instrument()
    yield _statistics()
    yield _till()


def _instrument() -> Case:
    """Decimal commas between tabs, a head of labels, units below the names, the end in words."""
    rows = table(
        {"Zeit [s]": WHOLE, "Kraft [N]": NUMBER, "Weg [mm]": NUMBER},
        ((n, f"{n * 3},{n % 90 + 10}", f"0,{n + 101}") for n in range(40)),
    )
    head = ["Prüfmaschine 4", "Prüfer:\tMüller", "Datum:\t12.03.2025", "Probe:\tS-17", ""]
    text = joined([*head, "Zeit\tKraft\tWeg", "[s]\t[N]\t[mm]", *body(rows, "\t")], "\r\n")
    return case("mixtures/testing machine", text, read(rows, any_names=True), ending="txt", encoding="cp1252")


def _statistics() -> Case:
    """A statistical office: title, groups above names, points for missing values, notes below."""
    rows = Table(
        ["Land", "Kreis", "2023 Geburten", "2023 Sterbefälle", "2024 Geburten", "2024 Sterbefälle"],
        [
            ["Sachsen", f"Kreis {n}", str(900 + n), "-" if n == 7 else str(700 + n), str(950 - n), str(640 + 2 * n)]
            for n in range(20)
        ],
    )
    partly = Table(["Land", "Kreis", "2023 Geburten", "Sterbefälle", "2024 Geburten", "Sterbefälle_2"], rows.rows)
    text = joined(
        [
            "Bevölkerungsbewegung nach Kreisen;;;;;",
            ";;;;;",
            ";;2023;;2024;",
            "Land;Kreis;Geburten;Sterbefälle;Geburten;Sterbefälle",
            *body(rows, ";"),
        ],
        "\r\n",
    )
    noted = [read(each, any_names=True, warnings="values_as_missing") for each in (rows, partly)]
    return case("mixtures/statistical office", text, *noted, encoding="cp1252")


def _till() -> Case:
    """A till's journal: pipes, currency, American times, a total that is cut off."""
    rows = table(
        {"Receipt": TEXT, "Sold at": "datetime", "Amount": NUMBER, "Card": TEXT},
        (
            (f"R{n:05}", f"{n % 12 + 1}/{n % 27 + 1}/2024 14:0{n % 10}", f"${n * 311.5:,.2f}", ["VISA", "cash"][n % 2])
            for n in range(1, 40)
        ),
    )
    text = joined([*lines(rows, "|"), "|||", "End of journal"])
    end = len(rows.rows) + 3
    return case("mixtures/till", text, read(rows, failed=(end,)), read(rows, warnings="lines_skipped"), ending="dat")
