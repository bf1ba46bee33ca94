"""Columns of every spelling: the type that is found reads each value, and writes it again as it was."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.pipeline.profiler import Profile
from jobs.pipeline.validator import Validator
from jobs.rows.spelling import format_value
from jobs.schema import SchemaField

STEADY = settings(
    max_examples=40, derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)


def through(*chunks: list[str]) -> tuple[SchemaField, list[str]]:
    """The field of a column, and its values after they were read and written. No value may fail."""
    profile = Profile(["a"])
    frames = [pd.DataFrame({"a": pd.Series(cells, dtype=pd.ArrowDtype(pa.string()))}) for cells in chunks]
    for frame in frames:
        profile.see(frame, len(frame))
    schema = profile.schema()
    texts: list[str] = []
    for frame in frames:
        frame.index = pd.RangeIndex(1, 1 + len(frame))
        validated = Validator(schema, {"a": "a"}).validate(frame)
        assert validated.failed == [], schema.fields[0]
        values = validated.good["a"].array.__arrow_array__().to_pylist()
        texts += [format_value(schema, schema.fields[0], value) for value in values]
    return schema.fields[0], texts


def in_english(number: float) -> str:
    return f"{number:,.2f}"


def in_german(number: float) -> str:
    return in_english(number).translate(str.maketrans(",.", ".,"))


AMOUNTS = st.floats(-1e9, 1e9).map(lambda number: round(number, 2) + 0.0)
MOMENTS = st.datetimes()


def moments(spell: Callable[[datetime], str]) -> st.SearchStrategy[str]:
    return MOMENTS.map(spell)


#: Columns whose values have the same spelling: each must come back as it was, whatever type it gets.
UNIFORM: dict[str, st.SearchStrategy[str]] = {
    "integers": st.integers(-(2**65), 2**65).map(str),
    "two decimals": AMOUNTS.map(lambda number: f"{abs(number):.2f}"),
    "shortest decimals": AMOUNTS.map(lambda number: repr(abs(number))),
    "english": AMOUNTS.map(lambda number: in_english(abs(number))),
    "german": AMOUNTS.map(lambda number: in_german(abs(number))),
    "dollars": AMOUNTS.map(lambda number: f"${in_english(abs(number))}"),
    "euros": AMOUNTS.map(lambda number: f"{in_german(abs(number))} €"),
    "percent": st.integers(0, 100).map(lambda number: f"{number}%"),
    "python": st.floats(1e-30, 1e30).map(repr),
    "c": st.floats(1, 1e30).map(lambda number: f"{number:.6e}"),
    "excel": st.floats(1, 1e30).map(lambda number: f"{number:.2E}"),
    "booleans": st.sampled_from(["Oui", "Non"]),
    "us dates": moments(lambda day: f"{day.month}/{day.day}/{day.year:04}"),
    "german dates": moments(lambda day: f"{day:%d.%m.}{day.year:04}"),
    "us times": moments(lambda day: f"{day.month}/{day.day}/{day.year:04} {day.hour}:{day.minute:02}"),
    "milliseconds": moments(lambda moment: moment.isoformat(sep=" ", timespec="milliseconds")),
    "zones": moments(lambda moment: moment.isoformat(timespec="seconds") + "+02:00"),
    "minutes": moments(lambda moment: moment.isoformat(timespec="minutes") + "Z"),
    "months": moments(lambda day: f"{day.day} {day:%b} {day.year:04}"),
    "times": st.times().map(lambda moment: moment.isoformat()),
    "anything": st.text("0123456789.,- €$%:/", max_size=8),
    "versions": st.sampled_from(["1.1", "1.10", "2.1", "2.10"]),
}


@pytest.mark.parametrize("kind", UNIFORM)
@STEADY
@given(data=st.data())
def test_a_column_comes_back_as_it_was(kind: str, data: st.DataObject) -> None:
    odd = data.draw(st.sampled_from([st.nothing(), st.just(""), st.just("NA"), st.just("twelve")]))
    cells = st.lists(UNIFORM[kind] | odd, min_size=1, max_size=8)
    chunks = data.draw(st.lists(cells, min_size=1, max_size=3))
    field, texts = through(*chunks)

    came = [cell for chunk in chunks for cell in chunk]
    assert all(kept == cell or is_as_good(field, cell, kept) for cell, kept in zip(came, texts, strict=True)), field


def is_as_good(field: SchemaField, cell: str, kept: str) -> bool:
    """Whether the text is the shortest spelling of the same number in a column of mixed ones, or a missing value."""
    if cell.strip() in ["", *(field.missing_values or [])]:
        return kept in ("", field.missing_as)
    return field.type == "number" and shortest(field, cell) == shortest(field, kept)


def shortest(field: SchemaField, text: str) -> Any:
    """The number without zeros at its end. -0.00 and 0.00 are one number."""
    digits = text.strip().removesuffix(field.suffix)
    whole, _, decimals = digits.partition(field.decimal_char)
    found = whole + (f".{decimals.rstrip('0')}" if decimals.rstrip("0") else "")
    return "0" if not re.search("[1-9]", found) else found


@pytest.mark.parametrize(
    "cells",
    [
        ["1.10", "2.25"], ["$1,234.50", "-$5.00"], ["1.234,50 €", "-2,00 €"], ["12 %", "3.5 %"], ["1e-05", "0.25"],
        ["5/19/2006 0:00", "12/1/2006 10:05"], ["5/19/2006 12:00:00 AM"], ["May 19, 2006"], ["yes", "no"],
        ["2026-01-31T09:00:00.123+01:00"], ["1'234.50", "12.00"], ["9:30", "14:15"], ["1", "n/a"],
    ],
)  # fmt: skip
def test_these_columns_have_a_type_and_come_back(cells: list[str]) -> None:
    field, texts = through(cells)

    assert (field.type != "string", texts) == (True, cells)
