"""Inferring column types, with the evidence."""

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from jobs.errors import UnreadableFileError
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
        (["1.50", "2.00"], "number", {"decimals": 2}),
        (["3.0", "2.25"], "number", {"decimals": 1}),
        (["1.5", "2.25"], "number", {}),
        (["1.50", "2.25", "2.5"], "number", {}),
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
        "007", "00", "+5", "-0", "1,000", "1e3", "0x1F", "1_000", "½", "٣", "5 6",
        "12345678901234567890", "1000000000000000000", "twelve", "none so far", "--1", "#REF!",
    ],
)  # fmt: skip
def test_other_spellings_of_whole_numbers_are_not_integers(value: str) -> None:
    assert profiled(["1", "2", value]).type != "integer"


@pytest.mark.parametrize(
    "value",
    [
        "00.5", "+0.5", "1e3", "1E-3", "0,5", ".5", "5.", "1.2.3", "inf", "-inf", "Infinity", "0x1F",
        "0.1234567890123456", "1234567890123456.5", "12345678901234567890", "007", "$5",
    ],
)  # fmt: skip
def test_values_that_a_double_would_change_are_text(value: str) -> None:
    assert profiled(["0.5", "2", value]).type == "string"


@pytest.mark.parametrize("value", ["True", "TRUE", "t", "yes", "1", "0"])
def test_booleans_have_one_spelling(value: str) -> None:
    assert profiled(["true", "false", value]).type == "string"


@pytest.mark.parametrize(
    "value",
    [
        "2023-02-29", "2023-02-30", "2023-1-5", "2023-13-01", "2023-00-10", "2023-01-00", "0000-01-01", "20230105",
        "01/02/2023", "2023/01/05", "12023-01-05", "-2023-01-05", "2023-01-05T00:00:00",
    ],
)  # fmt: skip
def test_invalid_or_differently_written_days_are_not_dates(value: str) -> None:
    assert profiled(["2023-01-05", value]).type == "string"


@pytest.mark.parametrize(
    "value",
    [
        "2023-02-30T10:00:00Z", "2023-01-05T24:00:00Z", "2023-01-05T23:60:00Z", "2023-01-05T23:59:60Z",
        "2023-01-05T10:00:00", "2023-01-05 10:00:00Z", "2023-01-05T10:00:00.50Z", "2023-01-05T10:00Z",
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
        (
            [["1/2/2026", "13/2/2026"]],
            "date",
            "%d/%m/%Y",
            "each of 2 values is a date like 31/1/2026; “13/2/2026” has no other reading",
        ),
        ([["1/02/2026", "13/2/2026"]], "string", "default", "text: no other type fits all 2 values"),
        ([["31/04/2026"]], "string", "default", "text: no other type fits all 1 values"),
    ],
)
def test_day_and_month_are_distinguished_only_with_proof(
    chunks: list[list[str]], type_: str, format_: str, evidence: str
) -> None:
    field = profiled(*chunks)

    assert (field.type, field.format, field.description) == (type_, format_, evidence)


@pytest.mark.parametrize(
    ("cells", "near", "evidence"),
    [
        (["495"] * 495 + ["n/a"] * 4 + ["twelve"], "integer", "495 of 500 are numbers; not: `n/a` (4), `twelve` (1)"),
        (["1.5", "2", "3", "none so far"], "number", "3 of 4 are numbers; not: `none so far` (1)"),
        (["2026-01-30", "2026-01-31", "today"], "date", "2 of 3 are dates like 2026-01-31; not: `today` (1)"),
        (["$1.50", "$2.00", "free", ""], "number", "2 of 3 are numbers like $1.50; not: `free` (1); 1 cell is empty"),
        (["1"] * 90 + list("abcdefg"), "integer",
         "90 of 97 are numbers; not: `a` (1), `b` (1), `c` (1), `d` (1), `e` (1) and 2 more"),
    ],
)  # fmt: skip
def test_a_column_that_is_text_because_of_few_values_names_them(cells: list[str], near: str, evidence: str) -> None:
    field = profiled(cells)

    assert (field.type, field.near_type, field.description) == ("string", near, f"text: {evidence}")


def test_values_that_do_not_fit_are_counted_over_all_chunks() -> None:
    field = profiled(["1", "2", "NA"], ["3", "x", "NA"], ["4", "5", "x"])

    assert field.description == "text: 5 of 9 are numbers; not: `NA` (2), `x` (2)"


MISSING = [
    "NA", "N/A", "n/a", "#N/A", "null", "NULL", "None", "none", "nil", "-", "\u2013", "—", "?", ".", "..", "nan", "NaN",
    "missing", "unknown", " NA ",
]  # fmt: skip


@pytest.mark.parametrize("word", MISSING)
@pytest.mark.parametrize(
    ("cells", "type_"),
    [(["1", "2"], "integer"), (["1.5", "2"], "number"), (["2026-01-31", "2026-02-01"], "date"), (["9,5"], "number")],
)
def test_words_for_no_value_are_missing_where_all_others_have_a_type(word: str, cells: list[str], type_: str) -> None:
    field = profiled([*cells, word])

    assert (field.type, field.missing_values, field.missing_as) == (type_, ["", word.strip()], word.strip())


@pytest.mark.parametrize("chunks", [[["NA"], ["NA", "$5"]], [["$5"], ["NA"]], [["NA", "$5"]]])
def test_words_for_no_value_may_come_first_or_last(chunks: list[list[str]]) -> None:
    assert profiled(*chunks).prefix == "$"


@pytest.mark.parametrize("word", ["unknown", "none", "?", "not applicable"])
def test_a_third_answer_beside_yes_and_no_is_a_category(word: str) -> None:
    assert profiled(["yes", "no", word]).type == "string"


@pytest.mark.parametrize("cells", [["a", "NA"], ["NA", "NA"], ["-", "x", "?"], ["none", "some"]])
def test_among_texts_a_word_for_no_value_is_a_text(cells: list[str]) -> None:
    field = profiled(cells)

    assert (field.type, field.missing_values) == ("string", None)


@pytest.mark.parametrize(
    ("cells", "written"),
    [
        (["1", "NA", "NA", "-"], "NA"),
        (["1", "NA", "-", "-", ""], "-"),
        (["1", "NA", ""], "NA"),
        (["1", "NA", "", ""], None),
    ],
)
def test_a_missing_value_is_written_as_most_of_them_were(cells: list[str], written: str | None) -> None:
    assert written == profiled(cells).missing_as


def test_the_words_that_are_missing_are_warned_of() -> None:
    profile = Profile(["a", "b"])
    frame = {"a": ["1", "n/a", "n/a", "-"], "b": ["x", "NA", "", ""]}
    profile.see(pd.DataFrame(frame, dtype=pd.ArrowDtype(pa.string())), 4)
    profile.schema()

    assert [(each["code"], each["column"], each["words"]) for each in profile.warnings()] == [
        ("values_as_missing", "a", {"n/a": 2, "-": 1})
    ]


@pytest.mark.parametrize(
    ("cells", "details"),
    [
        (["1,5", "2,25"], {"decimalChar": ","}),
        (["1,50", "12,25"], {"decimalChar": ",", "decimals": 2}),
        (["1.234,50", "2,00"], {"decimalChar": ",", "groupChar": ".", "decimals": 2}),
        (["1,234.50", "2.00"], {"groupChar": ",", "decimals": 2}),
        (["1 234,5", "2"], {"decimalChar": ",", "groupChar": " "}),
        (["1\u202f234", "12"], {"groupChar": "\u202f"}),
        (["1'234.50", "999.00"], {"groupChar": "'", "decimals": 2}),
        (["1,234,567", "12"], {"groupChar": ","}),
        (["1", "2", "1,000"], {"groupChar": ","}),
        (["0,123", "1,234"], {"decimalChar": ",", "decimals": 3}),
        (["$5", "-$1,234"], {"prefix": "$", "groupChar": ",", "bareNumber": False}),
        (["€ 1,50"], {"decimalChar": ",", "prefix": "€ ", "bareNumber": False, "decimals": 2}),
        (["1.234,50 €", "3,00 €"], {"decimalChar": ",", "groupChar": ".", "suffix": " €", "bareNumber": False,
                                    "decimals": 2}),
        (["12%", "3.5%"], {"suffix": "%", "bareNumber": False}),
        (["CHF 12.50", "CHF 3.00"], {"prefix": "CHF ", "bareNumber": False, "decimals": 2}),
        (["1e-05", "0.5", "3"], {"exponent": "auto"}),
        (["1e+05", "12"], {"exponent": "short"}),
        (["1.50E+03", "2.25E-04"], {"exponent": "E", "decimals": 2}),
    ],
)  # fmt: skip
def test_numbers_keep_how_they_are_written(cells: list[str], details: dict[str, object]) -> None:
    said = profiled(cells).model_dump(by_alias=True, exclude_unset=True, exclude={"name", "description"})

    assert {"type": "number", **details} == said


@pytest.mark.parametrize(
    "cells",
    [
        ["1,234", "5,678"], ["1,234", "12"], ["1.234", "12.500", "999"], ["1.234 €", "2.500 €"],
        ["1,234%"], ["192.168.100.100", "10.100.100.200"], ["555 123 456", "555 987 654"], ["$5", "€5"], ["$5", "5"],
        ["1,234", "1234"], ["1e3"], ["2E5", "3E7"], ["(5)", "3"], ["12 apples"], ["1-2"], ["1.1", "1.10"],
        ["1.1", "1.2", "1.10", "1.9"], ["1,1", "1,10"],
    ],
)  # fmt: skip
def test_what_could_be_another_number_or_none_is_text(cells: list[str]) -> None:
    assert profiled(cells).type == "string"


def test_a_number_that_is_spelled_in_two_ways_in_two_chunks_makes_the_column_text() -> None:
    field = profiled(["1.1", "1.2"], ["1.3", "1.10"])

    assert field.description == "text: “1.1” and “1.10” are one number, spelled in two ways"


@pytest.mark.parametrize(
    ("yes", "no"), [("yes", "no"), ("Y", "N"), ("JA", "NEIN"), ("oui", "non"), ("sí", "no"), ("Sim", "Não"),
                    ("ja", "nej"), ("tak", "nie"), ("да", "нет"), ("t", "f"), ("VRAI", "FAUX")],
)  # fmt: skip
def test_yes_and_no_of_many_languages_are_booleans(yes: str, no: str) -> None:
    field = profiled([yes], [no, yes, ""])

    assert (field.type, field.true_values, field.false_values) == ("boolean", [yes], [no])


@pytest.mark.parametrize("cells", [["no"], ["ja"], ["0", "1"], ["yes", "nein"], ["Yes", "no"], ["M", "F"], ["s", "n"]])
def test_one_answer_or_other_pairs_are_no_booleans(cells: list[str]) -> None:
    assert profiled(cells).type != "boolean"


@pytest.mark.parametrize(
    ("cells", "type_", "format_", "unpadded"),
    [
        (["5/19/2006 0:00", "12/1/2006 13:05"], "datetime", "%m/%d/%Y %H:%M", "dmH"),
        (["5/19/2006 12:00:00 AM"], "datetime", "%m/%d/%Y %I:%M:%S %p", "dm"),
        (["31.1.2026", "1.12.2026"], "date", "%d.%m.%Y", "dm"),
        (["2026/01/31"], "date", "%Y/%m/%d", ""),
        (["2026-1-5", "2026-11-15"], "date", "%Y-%m-%d", "dm"),
        (["19 May 2006", "3 Jun 2007"], "date", "%d %b %Y", "d"),
        (["May 19, 2006", "June 3, 2007"], "date", "%B %d, %Y", "d"),
        (["09:30", "14:00"], "time", "%H:%M", ""),
        (["9:30", "14:00"], "time", "%H:%M", "H"),
        (["09:30:15"], "time", "%H:%M:%S", ""),
        (["2026-01-31T09:00Z"], "datetime", "%Y-%m-%dT%H:%MZ", ""),
        (["2026-01-31 09:00:00.123", "2026-01-31 09:00:00.500"], "datetime", "%Y-%m-%d %H:%M:%S.%f", ""),
        (["2026-01-31T09:00:00+01:00"], "datetime", "%Y-%m-%dT%H:%M:%S%z", ""),
    ],
)
def test_days_and_times_have_many_formats(cells: list[str], type_: str, format_: str, unpadded: str) -> None:
    field = profiled(cells)

    assert (field.type, field.format, field.unpadded) == (type_, format_, unpadded)


@pytest.mark.parametrize(
    "cells",
    [
        ["3:45", "4:10"], ["31/12/26"], ["5/1/2026"], ["2026-01-31T09:00:00+01:00", "2026-07-31T09:00:00+02:00"],
        ["25:00"], ["31 Febr 2026"], ["2026-01-31 09:00:00.50", "2026-01-31 09:00:00.5"], ["20260131x"],
    ],
)  # fmt: skip
def test_durations_ambiguous_days_and_mixed_zones_are_text(cells: list[str]) -> None:
    assert profiled(cells).type == "string"


def wanted(type_: str, *cells: str) -> SchemaField:
    """The field of a column whose type was chosen."""
    profile = Profile(["column"], wanted={"column": type_})
    profile.see(pd.DataFrame({"column": pd.Series(cells, dtype=pd.ArrowDtype(pa.string()))}), len(cells))
    (field,) = profile.schema().fields
    return field


@pytest.mark.parametrize(
    ("type_", "cells", "details"),
    [
        ("integer", ["1", "2", "twelve"], {}),
        ("number", ["1", "2", "n/a", "twelve"], {"missingValues": ["", "n/a"], "missingAs": "n/a"}),
        ("number", ["$1", "$2", "x", "y", "z"], {"prefix": "$", "bareNumber": False}),
        ("date", ["31/01/2026", "soon"], {"format": "%d/%m/%Y"}),
        ("date", ["soon", "later"], {}),
        ("boolean", ["1", "0"], {"trueValues": ["1"], "falseValues": ["0"]}),
        ("string", ["1", "2"], {}),
    ],
)
def test_a_column_has_the_type_that_was_chosen(type_: str, cells: list[str], details: dict[str, object]) -> None:
    field = wanted(type_, *cells)

    said = field.model_dump(by_alias=True, exclude_unset=True, exclude={"name", "description"})
    assert {"type": type_, **details} == said
    assert "as chosen" in str(field.description)


def test_a_type_that_was_chosen_is_refused_if_it_could_be_read_in_two_ways() -> None:
    with pytest.raises(UnreadableFileError, match="day and month could be swapped in all 1 dates"):
        wanted("date", "01/02/2026")
    assert wanted("date:%m/%d/%Y", "01/02/2026").format == "%m/%d/%Y"


def test_a_type_for_a_column_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(UnreadableFileError, match=r"“price”, which .*: “a”, “b”"):
        Profile(["a", "b"], wanted={"price": "number"})


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


def hinted(hint: dict[str, object], *cells: str, wanted: str | None = None) -> SchemaField:
    """The field of a column of which the file's format knows something."""
    profile = Profile(["column"], hints=[hint], wanted={"column": wanted} if wanted else None)
    profile.see(pd.DataFrame({"column": pd.Series(cells, dtype=pd.ArrowDtype(pa.string()))}), len(cells))
    (field,) = profile.schema().fields
    return field


@pytest.mark.parametrize(
    ("among", "cells", "type_"),
    [
        (["integer", "number"], ["1", "0"], "integer"),
        (["integer", "number"], ["1", "2.50"], "number"),
        (["boolean"], ["true", "false"], "boolean"),
        (["boolean"], ["true"], "boolean"),
        (["iso"], ["1", "2"], "string"),
        (["iso"], ["true", "false"], "string"),
        (["iso"], ["2026-01-31", "2026-02-01"], "date"),
        (["iso"], ["2026-01-31T09:00:00Z"], "datetime"),
        (["iso"], ["2026-01-31 09:00:00"], "datetime"),
        (["iso"], ["31.01.2026"], "string"),
        (["iso"], ["2026/01/31"], "string"),
        (["iso"], ["2026-01-31", "soon"], "string"),
        (["iso"], ["09:00"], "string"),
        ([], ["1", "2"], "string"),
    ],
)
def test_a_type_is_inferred_only_among_those_that_the_format_leaves(
    among: list[str], cells: list[str], type_: str
) -> None:
    assert hinted({"among": among}, *cells).type == type_


def test_a_type_that_the_format_knows_needs_no_values() -> None:
    field = hinted({"field": {"type": "number", "decimals": 2}}, "", "1.50")

    assert (field.type, field.decimals) == ("number", 2)
    assert field.description == "number: as in the file; 1 cell is empty"
    assert hinted({"field": {"type": "date"}}, "").type == "date"


def test_a_chosen_type_overrules_what_the_format_knows() -> None:
    assert hinted({"among": ["iso"]}, "1", "2", wanted="integer").type == "integer"
    assert hinted({"field": {"type": "integer"}}, "1", "2", wanted="string").type == "string"
