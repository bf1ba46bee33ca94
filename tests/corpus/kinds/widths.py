"""Rows with too many or too few cells, and rows of nothing but delimiters."""

from collections.abc import Iterator

from tests.corpus import tables
from tests.corpus.case import Case, Right, Table, case, read, refused
from tests.corpus.tables import rows_of
from tests.corpus.writing import body, csv, joined, line, lines


def cases() -> Iterator[Case]:
    yield from _shifted()
    yield from _surplus()
    yield from _short()
    yield from _empty_rows()


def _without(original: Table, *places: int) -> Table:
    return rows_of(original, lambda place: place not in places)


def _shifted() -> Iterator[Case]:
    """One delimiter too many: the cells behind it are in the wrong columns, and the last one may be empty."""
    for name, original, delimiter, place, before in [
        ("orders, commas", tables.orders(), ",", 20, 1),
        ("orders, semicolons", tables.orders(), ";", 3, 3),
        ("orders, tabs", tables.orders(), "\t", 44, 2),
        ("weather", tables.weather(), ",", 30, 4),
        ("names only", tables.plain(), ",", 11, 2),
        ("the first row", tables.people(), ",", 0, 1),
        ("the last row", tables.people(), ";", 39, 5),
    ]:
        row, right = original.rows[place], read(_without(original, place), failed=(place + 2,))
        records = lines(original, delimiter)
        records[place + 1] = line([*row[:before], "", *row[before:]], delimiter)
        yield case(f"widths/shifted, {name}", joined(records), right)
        records[place + 1] = line([*row[:before], "", *row[before:-1], ""], delimiter)
        yield case(f"widths/shifted with an empty last cell, {name}", joined(records), right)
    orders = tables.orders()
    records = lines(orders)
    records[13] += ","
    yield case("widths/one delimiter at the end of one row", joined(records), read(_without(orders, 12), failed=(14,)))
    records = lines(orders)
    records[1:9] = [f"{record},," for record in records[1:9]]
    yield case(
        "widths/delimiters at the end of a few rows",
        joined(records),
        read(_without(orders, *range(8)), failed=tuple(range(2, 10))),
    )


def _surplus() -> Iterator[Case]:
    """Every row ends with a delimiter, the header does not."""
    for name, original, delimiter, tail in [
        ("commas", tables.orders(), ",", ","),
        ("semicolons", tables.transactions(), ";", ";"),
        ("tabs", tables.plain(), "\t", "\t"),
        ("two of them", tables.weather(), ",", ",,"),
        ("a space in it", tables.orders(), ",", ", "),
        ("a line break in it", tables.beds(), ",", ',"\n"'),
    ]:
        records = [line(original.columns, delimiter), *(record + tail for record in body(original, delimiter))]
        yield case(f"widths/surplus, {name}", joined(records), read(original, warnings="surplus_cells"))
    orders = tables.orders()
    records = [lines(orders)[0], *(record + "," for record in body(orders))]
    broken = orders.rows[30]
    records[31] = line([broken[0], "", *broken[1:], ""])
    right = read(_without(orders, 30), failed=(32,), warnings="surplus_cells")
    yield case("widths/surplus, and one row shifted", joined(records), right)
    records[31] = line([broken[0], f"{broken[1]} {broken[2]}", *broken[3:], ""])
    yield case("widths/surplus, and one row short of a delimiter", joined(records), right)
    everywhere = joined([record + "," for record in lines(orders)])
    kept = Table([*orders.columns, "column_6"], [[*row, ""] for row in orders.rows], [*orders.types, None])
    yield case(
        "widths/a delimiter at the end of each line",
        everywhere,
        read(orders),
        read(orders, warnings="surplus_cells"),
        read(kept),
    )
    header = lines(orders)[0]
    yield case("widths/header with empty names behind", joined([header + ",,,", *body(orders)]), read(orders))
    wide = joined([lines(orders, ";")[0] + ";;", *body(orders, ";")])
    yield case("widths/header with empty names behind, semicolons", wide, read(orders))


def _short() -> Iterator[Case]:
    people, orders = tables.people(), tables.orders()
    records = lines(people)
    row = people.rows[17]
    records[18] = line([*row[:2], f"{row[2]} {row[3]}", *row[4:]])
    yield case("widths/one delimiter lost", joined(records), read(_without(people, 17), failed=(19,)))
    records = lines(people)
    records[7] = line(people.rows[6][:3])
    yield case("widths/a row that is cut", joined(records), read(_without(people, 6), failed=(8,)))
    records = lines(orders, ";")
    records[50] = records[50][:9]
    yield case("widths/a last line that is cut", joined(records).rstrip("\n"), read(_without(orders, 49), failed=(51,)))
    records = lines(people)
    for place in (4, 9, 25):
        records[place + 1] = line([*people.rows[place], "new", "cells"])
    right = read(_without(people, 4, 9, 25), failed=(6, 11, 27))
    yield case("widths/rows with more filled cells", joined(records), right)
    headless = joined([line(orders.columns[1:]), *body(orders)])
    named = Table(["column_1", *orders.columns[1:]], orders.rows)
    yield case(
        "widths/header one name short, as of R",
        headless,
        refused("cells"),
        Right(named, any_names=True),
        Right(named, any_names=True, warnings=frozenset(["header_guessed"])),
    )
    longer = joined([line([*orders.columns, "remark"]), *body(orders)])
    yield case("widths/header one name longer than all rows", longer, refused("cells"))


def _empty_rows() -> Iterator[Case]:
    """Rows of nothing but delimiters are blank lines."""
    for name, original, delimiter in [
        ("commas", tables.people(), ","),
        ("semicolons", tables.transactions(), ";"),
        ("tabs", tables.schools(), "\t"),
    ]:
        nothing = delimiter * (len(original.columns) - 1)
        records = lines(original, delimiter)
        yield case(f"widths/empty rows behind, {name}", joined([*records, *[nothing] * 60]), read(original))
        between = [*records[:5], nothing, *records[5:12], nothing, nothing, *records[12:]]
        yield case(f"widths/empty rows between, {name}", joined(between), read(original))
    beds = tables.beds()
    records = lines(beds)
    odd = [*records[:9], ",", *records[9:], ",,,,,", ",,"]
    yield case("widths/empty rows of other widths", joined(odd), read(beds))
    spaces = [*records[:9], " , , , ", *records[9:]]
    yield case("widths/a row of spaces and delimiters", joined(spaces), read(beds))
    first = [*records[:1], ",,,", *records[1:]]
    yield case("widths/an empty row below the header", joined(first), read(beds))
    above = [",,,", *records]
    yield case("widths/an empty row above the header", joined(above), read(beds))
    blank = csv(beds).replace("\n", "\n   \n", 6)
    yield case("widths/lines of spaces", blank, read(beds), read(beds, failed=(2, 4, 6, 8, 10, 12)))
