"""Inferring column types, with the evidence."""

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from jobs.pipeline.profiler import Profile
from jobs.schema import SchemaField


def profiled(*chunks: list[str]) -> SchemaField:
    """The field inferred for a column from these chunks of cells."""
    profile = Profile(["column"])
    for cells in chunks:
        profile.see(pd.DataFrame({"column": pd.Series(cells, dtype=pd.ArrowDtype(pa.string()))}), len(cells))
    (field,) = profile.schema().fields
    return field


@pytest.mark.parametrize(
    ("cells", "type_", "details"),
    [
        (["0", "-1", "42"], "integer", {}),
        (["999999999999999999", "-999999999999999999"], "integer", {}),
        (["0.5", "-0.25", "3", "100"], "number", {}),
        (["1.50", "2.00"], "number", {}),
        (["123456789012345", "0.12345678901234", "0.5"], "number", {}),
        (["0.00000000000001", "1.1"], "number", {}),
        (["true", "false", "true"], "boolean", {"trueValues": ["true"], "falseValues": ["false"]}),
        (["True"], "boolean", {"trueValues": ["True"], "falseValues": ["False"]}),
        (["FALSE"], "boolean", {"trueValues": ["TRUE"], "falseValues": ["FALSE"]}),
        (["2024-02-29", "0001-01-01", "9999-12-31"], "date", {}),
        (["2026-01-31T09:00:00Z", "0001-01-01T00:00:00Z"], "datetime", {"format": "%Y-%m-%dT%H:%M:%SZ"}),
        (["2026-01-31T09:00:00", "9999-12-31T23:59:59"], "datetime", {"format": "%Y-%m-%dT%H:%M:%S"}),
        (["2026-01-31 09:00:00"], "datetime", {"format": "%Y-%m-%d %H:%M:%S"}),
        (["Zoë", "1"], "string", {}),
        ([" "], "string", {}),
    ],
)
def test_a_column_has_the_narrowest_type_that_all_its_values_fit(
    cells: list[str], type_: str, details: dict[str, list[str]]
) -> None:
    field = profiled(cells)

    said = field.model_dump(by_alias=True, exclude_unset=True, exclude={"name", "description"})
    assert {"type": type_, **details} == said


@pytest.mark.parametrize(
    "value",
    [
        "007", "00", "+5", "-0", "1,000", " 5", "5 ", "1e3", "0x1F", "1_000", "½", "٣",
        "12345678901234567890", "1000000000000000000", "NA", "null", "-", "--1",
    ],
)  # fmt: skip
def test_other_spellings_of_whole_numbers_are_not_integers(value: str) -> None:
    assert profiled(["1", "2", value]).type != "integer"


@pytest.mark.parametrize(
    "value",
    [
        "00.5", "+0.5", "1e3", "1E-3", "0,5", ".5", "5.", "1.2.3", "inf", "-inf", "nan", "NaN", "Infinity", "0x1F",
        "0.1234567890123456", "1234567890123456.5", "12345678901234567890", "007", "NA", "$5",
    ],
)  # fmt: skip
def test_values_that_a_double_would_change_are_text(value: str) -> None:
    assert profiled(["0.5", "2", value]).type == "string"


@pytest.mark.parametrize("value", ["True", "TRUE", "t", "yes", "1", "0", "true "])
def test_booleans_have_one_spelling(value: str) -> None:
    assert profiled(["true", "false", value]).type == "string"


@pytest.mark.parametrize(
    "value",
    [
        "2023-02-29", "2023-02-30", "2023-1-5", "2023-13-01", "2023-00-10", "2023-01-00", "0000-01-01", "20230105",
        "01/02/2023", "2023/01/05", "12023-01-05", "-2023-01-05", "2023-01-05 ", "2023-01-05T00:00:00", "NA",
    ],
)  # fmt: skip
def test_invalid_or_differently_written_days_are_not_dates(value: str) -> None:
    assert profiled(["2023-01-05", value]).type == "string"


@pytest.mark.parametrize(
    "value",
    [
        "2023-02-30T10:00:00Z", "2023-01-05T24:00:00Z", "2023-01-05T23:60:00Z", "2023-01-05T23:59:60Z",
        "2023-01-05T10:00:00", "2023-01-05 10:00:00Z", "2023-01-05T10:00:00.5Z", "2023-01-05T10:00Z",
        "2023-01-05T10:00:00+00:00", "2023-01-05T10:00:00z", "0000-01-01T00:00:00Z", "2023-01-05",
    ],
)  # fmt: skip
def test_invalid_or_differently_written_times_are_not_datetimes(value: str) -> None:
    assert profiled(["2023-01-05T10:00:00Z", value]).type == "string"


@pytest.mark.parametrize(
    ("cells", "evidence"),
    [
        (["1", "2", "2"], "each of 3 values is a whole number"),
        (["1", "", "2", ""], "each of 2 values is a whole number; 2 cells are empty"),
        (["0.5"] * 1234, "each of 1,234 values is a decimal number"),
        (["true", "false"], "each of 2 values is true or false"),
        (["2023-01-05"] * 2, "each of 2 values is a date like 2026-01-31"),
        (["2023-01-05 10:00:00"] * 2, "each of 2 values is a date and time like 2026-01-31 09:00:00"),
        (["a", "1", ""], "text: no other type fits all 2 values; 1 cell is empty"),
        (["", ""], "text: every cell is empty"),
        ([], "text: every cell is empty"),
    ],
)
def test_the_description_has_the_evidence(cells: list[str], evidence: str) -> None:
    assert evidence == profiled(cells).description


def test_a_column_without_values_is_text() -> None:
    assert profiled(["", "", ""], [""]).type == "string"


@pytest.mark.parametrize(
    ("before", "after", "type_"),
    [
        ("1", "0.5", "number"),
        ("1", "x", "string"),
        ("0.5", "7", "number"),
        ("", "7", "integer"),
        ("7", "", "integer"),
        ("true", "True", "string"),
        ("2023-01-05", "2023-02-30", "string"),
        ("2023-01-05T10:00:00Z", "2023-01-05T10:00:00", "string"),
        ("1", "2023-01-05", "string"),
    ],
)
def test_a_later_chunk_can_rule_out_a_type(before: str, after: str, type_: str) -> None:
    assert type_ == profiled([before] * 100, [before], [after]).type


def test_a_ruled_out_type_never_returns() -> None:
    assert profiled(["x"], ["1"] * 100).type == "string"


def test_every_column_is_text_if_chosen() -> None:
    profile = Profile(["a", "b"], text_only=True)
    profile.see(pd.DataFrame({"a": ["1", ""], "b": ["", ""]}, dtype=pd.ArrowDtype(pa.string())), 2)

    assert [(field.type, field.description) for field in profile.schema().fields] == [
        ("string", "text: as chosen; 1 cell is empty"),
        ("string", "text: every cell is empty"),
    ]


def test_columns_keep_their_order_and_failed_rows_count() -> None:
    profile = Profile(["b", "a"])
    cells = pd.Series(["1", "2"], dtype=pd.ArrowDtype(pa.string()))
    profile.see(pd.DataFrame({"b": cells, "a": cells}), 3)

    assert [field.name for field in profile.schema().fields] == ["b", "a"]
    assert profile.rows == 3


@pytest.mark.parametrize(
    ("chunks", "type_", "format_", "evidence"),
    [
        (
            [["01/02/2026", "12/12/2026"]],
            "string",
            "default",
            "text: day and month could be swapped in all 2 dates",
        ),
        (
            [["01/02/2026"], ["13/02/2026"], ["03/04/2026", ""]],
            "date",
            "%d/%m/%Y",
            "each of 3 values is a date like 31/01/2026; “13/02/2026” has no other reading; 1 cell is empty",
        ),
        (
            [["01-02-2026", "01-31-2026"]],
            "date",
            "%m-%d-%Y",
            "each of 2 values is a date like 01-31-2026; “01-31-2026” has no other reading",
        ),
        ([["13.01.2026", "01.13.2026"]], "string", "default", "text: no other type fits all 2 values"),
        ([["1/2/2026", "13/2/2026"]], "string", "default", "text: no other type fits all 2 values"),
        ([["31/04/2026"]], "string", "default", "text: no other type fits all 1 values"),
    ],
)
def test_day_and_month_are_distinguished_only_with_proof(
    chunks: list[list[str]], type_: str, format_: str, evidence: str
) -> None:
    field = profiled(*chunks)

    assert (field.type, field.format, field.description) == (type_, format_, evidence)


@pytest.mark.parametrize(
    ("cells", "evidence"),
    [
        (["1", "2", "NA"], "text: “NA” does not fit as a whole number, unlike most values"),
        (["1.5", "2", "3", "none"], "text: “none” does not fit as a decimal number, unlike most values"),
        (
            ["2026-01-30", "2026-01-31", "today"],
            "text: “today” does not fit as a date like 2026-01-31, unlike most values",
        ),
    ],
)
def test_the_evidence_names_a_value_that_ruled_out_a_type(cells: list[str], evidence: str) -> None:
    field = profiled(cells)

    assert (field.type, field.description) == ("string", evidence)


def test_the_value_that_ruled_out_a_date_format_is_found_in_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    match, steps = pc.match_substring_regex, list[int]()

    def counted(values: pa.Array, pattern: str) -> pa.Array:
        steps.append(len(values))
        return match(values, pattern)

    monkeypatch.setattr(pc, "match_substring_regex", counted)
    days = [
        f"{day:02}/{month:02}/{year}" for year in range(1900, 2000) for month in range(1, 13) for day in range(1, 13)
    ]
    field = profiled([*days, "13/01/2026", "01/02/2003", "14/01/2026"])

    assert field.description == "each of 14,403 values is a date like 31/01/2026; “13/01/2026” has no other reading"
    assert len(steps) < 100


def test_a_tick_comes_for_each_column_of_a_chunk() -> None:
    ticks: list[None] = []
    profile = Profile(["a", "b", "c"], tick=lambda: ticks.append(None))
    profile.see(pd.DataFrame({name: ["1"] for name in "abc"}, dtype=pd.ArrowDtype(pa.string())), 1)

    assert len(ticks) == 3
