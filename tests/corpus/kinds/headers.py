"""What stands above a table, in the place of its header, and between its rows."""

from collections.abc import Iterator

from tests.corpus import tables
from tests.corpus.case import Case, Table, case, read
from tests.corpus.tables import DATE, NUMBER, TEXT, WHOLE, rows_of, table
from tests.corpus.writing import body, csv, joined, line, lines


def cases() -> Iterator[Case]:
    yield from _titles()
    yield from _comments()
    yield from _several_rows()
    yield from _headerless()
    yield from _guessed()
    yield from _sections()


def _titles() -> Iterator[Case]:
    orders, beds, bank = tables.orders(), tables.beds(), tables.transactions()
    above = {
        "one sentence": ["Orders of the first quarter"],
        "one word": ["Orders"],
        "a sentence and a blank line": ["Orders of the first quarter", ""],
        "several sentences": ["Ministry of Trade", "Orders of the first quarter", "Created 2025-04-01 08:15", ""],
        "a title filled up with delimiters": ["Orders of the first quarter,,,,", ",,,,"],
        "labels and values": ["Report:,Orders", "Created:,2025-04-01", "By:,Finance", ""],
        "labels in a first cell": ["Report: Orders", "Period: 2025-01-01 to 2025-03-31", "Currency: EUR", ""],
        "a title wider than the table": [
            "Orders,first quarter,all regions,preliminary,not audited,version 3,internal",
            "",
        ],
        "a title with empty cells": ["Orders,,,Page 1,", ""],
        "a title with a repeated cell": ["Orders,Orders,,,", ""],
        "a quoted title with a comma": ['"Orders, first quarter, all regions"', ""],
        "a title that is centred": [",,Orders of the first quarter,,"],
        "blank lines": ["", "", ""],
        "a line of dashes": ["Orders of the first quarter", "---------------------------", ""],
    }
    for name, titles in above.items():
        yield case(f"titles/{name}", joined([*titles, *lines(orders)]), read(orders))
    for name, titles in {
        "one sentence, semicolons": ["Bettenstatistik der Kliniken, Stand: 31.12.2024", ""],
        "labels and values, semicolons": ["Erstellt am;31.12.2024", "Land;Sachsen", ""],
        "filled up, semicolons": ["Bettenstatistik;;;", "Stand: 31.12.2024;;;", ";;;"],
    }.items():
        yield case(f"titles/{name}", joined([*titles, *lines(beds, ";")], "\r\n"), read(beds))
    bank_head = ['"Kontonummer:";"DE02120300000000202051 / Girokonto"', "", '"Von:";"01.01.2025"',
                 '"Bis:";"31.03.2025"', '"Kontostand vom 31.03.2025:";"4.711,00 EUR"', ""]  # fmt: skip
    yield case(
        "titles/head of a bank's export", joined([*bank_head, *lines(bank, ";", always=True)], "\r\n"), read(bank)
    )
    tabbed = ["Instrument\tReader 5", "Operator\tGarcia", "Plate\t7", "", *lines(tables.plate(), "\t")]
    yield case("titles/head of an instrument", joined(tabbed), read(tables.plate()), ending="txt")
    sep = ["sep=;", *lines(beds, ";")]
    yield case("titles/the line for Excel", joined(sep, "\r\n"), read(beds))
    footer = joined([*lines(orders), "", "Source: Ministry of Trade"])
    foot = len(orders.rows) + 3
    yield case("titles/a source below", footer, read(orders, failed=(foot,)), read(orders, warnings="lines_skipped"))
    total = Table(orders.columns, [*orders.rows, ["Total", "", "1234", "", ""]], [TEXT, TEXT, WHOLE, NUMBER, DATE])
    yield case("titles/a row of totals", csv(total), read(total))


def _comments() -> Iterator[Case]:
    weather, beds = tables.weather(), tables.beds()
    above = ["# Hourly readings, version 3", "# Stations: KJFK, KLGA, KEWR", "#", "# Missing cells are empty"]
    yield case("comments/above", joined([*above, *lines(weather)]), read(weather))
    yield case("comments/above, tabs", joined([*above, *lines(weather, "\t")]), read(weather), ending="tsv")
    yield case("comments/one, with as many cells", joined(["# a,b,c,d,e", *lines(weather)]), read(weather))
    yield case("comments/above, and a blank line", joined([*above, "", *lines(beds, ";")]), read(beds))
    records = lines(weather)
    between = [*records[:20], "# Sensor replaced", *records[20:50], "# Daylight saving, clock moved", *records[50:]]
    yield case("comments/between", joined(between), read(weather), read(weather, warnings="lines_skipped"))
    tags = table({"#": WHOLE, "tag": TEXT, "uses": WHOLE}, ((n, f"#tag{n}", n * 3) for n in range(1, 22)))
    yield case("comments/a hash that is none", csv(tags), read(tags))
    hashes = table({"channel": TEXT, "members": WHOLE}, ((f"#room-{n}", n * 11) for n in range(1, 22)))
    yield case("comments/rows that begin with a hash", csv(hashes), read(hashes))


def _several_rows() -> Iterator[Case]:
    """Headers of several rows: joined, whichever way."""
    original = table(
        {
            "Region": TEXT, "Code": TEXT, "2023 Births": WHOLE, "2023 Deaths": WHOLE, "2024 Births": WHOLE,
            "2024 Deaths": WHOLE,
        },
        ((f"Region {chr(65 + n)}", f"R{n:02}x", 900 + n, 700 + n, 950 - n, 640 + 2 * n) for n in range(20)),
    )  # fmt: skip
    groups = [",,2023,,2024,", "Region,Code,Births,Deaths,Births,Deaths"]
    filled = ["Region,Code,2023,2023,2024,2024", ",,Births,Deaths,Births,Deaths"]
    partly = Table(
        ["Region", "Code", "2023 Births", "Deaths", "2024 Births", "Deaths_2"], original.rows, original.types
    )
    yield case(
        "headers/groups above names",
        joined([*groups, *body(original)]),
        read(original, any_names=True),
        read(partly, any_names=True),
    )
    yield case("headers/names and groups", joined([*filled, *body(original)]), read(original, any_names=True))
    title = ["Population movement", "", *groups]
    yield case(
        "headers/a title, groups and names",
        joined([*title, *body(original)]),
        read(original, any_names=True),
        read(partly, any_names=True),
    )
    plate = table(
        {"Time (s)": WHOLE, "Temp (C)": NUMBER, "Flow (l/min)": NUMBER},
        ((n * 10, f"{20 + n / 8:.2f}", f"{3 - n / 90:.3f}") for n in range(30)),
    )
    units = ["Time,Temp,Flow", "(s),(C),(l/min)", *body(plate)]
    yield case("headers/units below names", joined(units), read(plate, any_names=True))
    tabbed = ["Time\tTemp\tFlow", "(s)\t(C)\t(l/min)", *body(plate, "\t")]
    yield case("headers/units below names, tabs", joined(tabbed), read(plate, any_names=True), ending="txt")


def _columns(original: Table) -> Table:
    return tables.renamed(original, *(f"column_{n}" for n in range(1, len(original.columns) + 1)))


def _headerless() -> Iterator[Case]:
    for name, original, delimiter in [
        ("orders", tables.orders(), ","),
        ("weather", tables.weather(), ","),
        ("staff, semicolons", tables.people(), ";"),
        ("bank", tables.transactions(), ";"),
        ("plate, tabs", tables.plate(), "\t"),
        ("stops", tables.places(), ","),
        ("beds, pipes", tables.beds(), "|"),
        ("only numbers", table(dict.fromkeys("abcd", WHOLE), ((n, n * n, 3 * n + 1, 7) for n in range(2, 40))), ","),
        ("decimals", table(dict.fromkeys("abc", NUMBER), _decimals()), ","),
    ]:  # fmt: skip
        named = _columns(original)
        yield case(f"headerless/{name}", joined(body(original, delimiter)), read(named, warnings="no_header"))
    answers = table(
        dict.fromkeys("abcd"),
        (
            (
                ["Yes", "No"][n % 3 > 0],
                ["Agree", "Disagree"][n % 2],
                ["Agree", "Neither"][n % 5 > 0],
                ["No", "Yes"][n % 2],
            )
            for n in range(36)
        ),
    )
    yield case("headerless/answers that recur", joined(body(answers)), read(_columns(answers), warnings="no_header"))
    yes, agree, sex, hours = ["Yes", "No"], ["Agree", "Disagree"], ["Male", "Female"], ["Full time", "Part time"]
    staff = table(
        dict.fromkeys("abcd"),
        ((yes[n % 2], agree[n % 3 > 0], sex[n % 5 > 1], hours[n % 7 > 3]) for n in range(42)),
    )
    yield case(
        "headerless/answers, each another word", joined(body(staff)), read(_columns(staff), warnings="no_header")
    )
    repeated = Table(
        list("abcd"), [["KJFK", "clear", "clear", "10"], ["KLGA", "rain", "fog", "8"], ["KEWR", "fog", "rain", "4"]] * 6
    )
    yield case(
        "headerless/a cell twice in the first row",
        joined(body(repeated)),
        read(_columns(repeated), warnings="no_header"),
    )
    gaps = table(
        dict.fromkeys("abcd"), ((f"2025-01-{n:02}", "", "" if n == 1 else f"{n}.5", "m") for n in range(1, 28))
    )
    yield case("headerless/with empty cells", joined(body(gaps)), read(_columns(gaps), warnings="no_header"))
    log = table(
        dict.fromkeys("abcd"),
        (
            (f"2025-06-01T08:{n:02}:00", "web-1" if n % 2 else "web-2", ["GET", "POST"][n % 2], 200 if n % 7 else 500)
            for n in range(40)
        ),
    )
    yield case("headerless/log", joined(body(log)), read(_columns(log), warnings="no_header"), ending="log")
    single = Table(["column_1"], [[str(n * 17 % 101)] for n in range(40)], [WHOLE])
    yield case("headerless/one column of numbers", csv(single).split("\n", 1)[1], read(single, warnings="no_header"))


def _decimals() -> Iterator[tuple[str, str, str]]:
    for n in range(3, 44):
        yield f"{n / 7:.3f}", f"{n / 3:.2f}", f"{n * 1.5:.1f}"


def _guessed() -> Iterator[Case]:
    """The names are values, or could be: it must be said, whichever way it is taken."""
    panel = table({"2019": WHOLE, "2020": WHOLE, "2021": WHOLE}, ((n * 3, n * 5, n * 7 + 1) for n in range(300, 330)))
    rows = _columns(Table(panel.columns, [panel.columns, *panel.rows]))
    yield case(
        "headers/only years",
        csv(panel),
        read(panel, warnings="header_guessed"),
        read(rows, warnings="no_header"),
    )
    loose = Table(["1", "2", "3"], [["a", "b", "c"], ["d", "e", "f"], ["g", "h", "i"], ["k", "l", "m"]] * 4)
    yield case(
        "headers/numbers above text",
        csv(loose),
        read(loose, warnings="header_guessed"),
        read(_columns(Table(loose.columns, [loose.columns, *loose.rows])), warnings="no_header"),
    )


def _sections() -> Iterator[Case]:
    """Concatenated exports: second headers, and second tables."""
    orders, beds, weather = tables.orders(), tables.beds(), tables.weather()
    records = lines(orders)
    again = [*records[:21], records[0], *records[21:]]
    yield case("sections/the header again", joined(again), read(orders, warnings="lines_skipped"))
    thrice = [*records[:11], records[0], *records[11:31], records[0], *records[31:]]
    yield case("sections/the header twice again", joined(thrice), read(orders, warnings="lines_skipped"))
    many = lines(tables.people(1500))
    far = [*many[:1201], many[0], *many[1201:]]
    yield case("sections/the header again, far below", joined(far), read(tables.people(1500), warnings="lines_skipped"))
    blank = [*records[:21], "", records[0], *records[21:]]
    yield case("sections/a blank line and the header again", joined(blank), read(orders, warnings="lines_skipped"))
    semicolons = lines(beds, ";", always=True)
    yield case(
        "sections/the header again, quoted",
        joined([*semicolons[:14], semicolons[0], *semicolons[14:]], "\r\n"),
        read(beds, warnings="lines_skipped"),
    )
    words = lines(tables.plain())
    yield case(
        "sections/the header again among text",
        joined([*words[:14], words[0], *words[14:]]),
        read(tables.plain(), warnings="lines_skipped"),
    )
    other = ["", "product,stock", *(f"{name},{n * 4}" for n, name in enumerate(["Desk lamp", "Stapler", "Monitor"]))]
    yield case("sections/a second table below", joined([*records, *other]), read(orders, warnings="lines_skipped"))
    wider = [
        "",
        "station,time,temperature,humidity,wind,rain,snow",
        *(f"{','.join(row)},0.0,0.0" for row in weather.rows[:6]),
    ]
    yield case(
        "sections/a wider second table below", joined([*lines(beds), *wider]), read(beds, warnings="lines_skipped")
    )
    titled = ["", "Stock at the end of the quarter", "product,stock", "Desk lamp,12", "Stapler,40", "Monitor,3"]
    yield case(
        "sections/a second table with a title", joined([*records, *titled]), read(orders, warnings="lines_skipped")
    )
    pages = [*records[:26], "", "Orders of the first quarter", "", records[0], *records[26:]]
    cut = read(orders, warnings="lines_skipped")
    paged = joined(["Orders of the first quarter", "", *pages])
    yield case("sections/pages with title and header", paged, cut, read(orders, warnings="lines_skipped", failed=(30,)))
    half = rows_of(orders, lambda place: place < 25)
    back = [*lines(half), "", line(orders.columns[::-1]), *(line(row[::-1]) for row in orders.rows[25:])]
    below = tuple(range(28, 28 + 26))
    yield case(
        "sections/a second table as wide", joined(back), read(half, warnings="lines_skipped"), read(half, failed=below)
    )
