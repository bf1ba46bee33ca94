"""Table Schemas, and the errors of invalid ones."""

import json
import subprocess
import sys
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import re2
from hypothesis import example, given
from hypothesis import strategies as st

from jobs.errors import SchemaError
from jobs.schema import MAX_COLUMNS, MAX_KEY_FIELDS, TableSchema, format_directives

WHOLE: dict[str, Any] = {
    "title": "Sales by day",
    "fields": [
        {
            "name": "sku",
            "title": "Article",
            "description": "As on the label.",
            "aliases": ["article", "Artikel"],
            "example": "AB1234",
            "constraints": {"required": True, "pattern": "[A-Z]{2}[0-9]{4}", "minLength": 6, "maxLength": 6},
        },
        {"name": "sold", "type": "date", "format": "%d/%m/%Y", "constraints": {"minimum": "2020-01-01"}},
        {"name": "at", "type": "time", "missingValues": ["-"]},
        {"name": "seen", "type": "datetime", "format": "%Y-%m-%dT%H:%M:%SZ"},
        {"name": "price", "type": "number", "decimalChar": ",", "groupChar": ".", "constraints": {"maximum": 1e6}},
        {"name": "pieces", "type": "integer", "groupChar": " ", "constraints": {"enum": [1, 2, 5]}},
        {"name": "paid", "type": "boolean", "trueValues": ["ja"], "falseValues": ["nein"]},
        {"name": "receipt", "constraints": {"unique": True}},
        {"name": "fee", "type": "number", "prefix": "$", "bareNumber": False, "decimals": 2, "groupChar": ","},
        {"name": "tiny", "type": "number", "exponent": "auto", "missingValues": ["", "NA"], "missingAs": "NA"},
        {"name": "day", "type": "datetime", "format": "%m/%d/%Y %I:%M:%S.%f %p", "unpadded": "dmI", "decimals": 3},
        {"name": "zone", "type": "datetime", "format": "%Y-%m-%dT%H:%M%z", "offset": "+01:00"},
    ],
    "primaryKey": ["sku", "sold"],
    "missingValues": ["", "NA"],
}


def problems(data: object) -> tuple[str, ...]:
    with pytest.raises(SchemaError) as refused:
        TableSchema.parse(data)
    assert str(refused.value) == "; ".join(refused.value.problems)
    return refused.value.problems


def schema_with(**field: Any) -> dict[str, Any]:
    """A schema with one field."""
    return {"fields": [{"name": "a", **field}]}


def test_a_schema_survives_a_round_trip() -> None:
    assert TableSchema.parse(WHOLE).as_json() == WHOLE


def test_a_schema_survives_storage_as_text() -> None:
    schema = TableSchema.parse(WHOLE)

    assert schema == TableSchema.parse(json.loads(json.dumps(schema.as_json())))


def test_defaults_are_those_of_the_standard() -> None:
    schema = TableSchema.parse({"fields": [{"name": "a"}]})
    (field,) = schema.fields

    assert (field.type, field.format, field.is_required, schema.missing_values) == ("string", "default", False, [""])
    assert (field.decimal_char, field.group_char, schema.primary_key) == (".", None, [])
    assert schema.as_json() == {"fields": [{"name": "a"}]}


def test_a_key_of_one_field_may_be_its_name() -> None:
    assert TableSchema.parse({**schema_with(), "primaryKey": "a"}).primary_key == ["a"]


def test_a_field_has_its_own_missing_values_or_those_of_the_schema() -> None:
    schema = TableSchema.parse(WHOLE)

    assert [schema.missing_values_of(field) for field in schema.fields[1:3]] == [["", "NA"], ["-"]]


def test_required_fields_and_key_fields_are_required() -> None:
    schema = TableSchema.parse(WHOLE)

    assert [field.name for field in schema.fields if schema.is_required(field)] == ["sku", "sold"]


def test_constraints_are_described_in_words() -> None:
    schema = TableSchema.parse(WHOLE)

    assert [schema.rules(field) for field in schema.fields] == [
        ["required", "part of the key", "at least 6 characters", "at most 6 characters", "matches [A-Z]{2}[0-9]{4}"],
        ["required", "part of the key", "at least 2020-01-01", "format %d/%m/%Y"],
        [],
        ["format %Y-%m-%dT%H:%M:%SZ"],
        ["at most 1000000.0"],
        ["one of 1, 2, 5"],
        [],
        ["unique"],
        [],
        [],
        ["format %m/%d/%Y %I:%M:%S.%f %p"],
        ["format %Y-%m-%dT%H:%M%z"],
    ]
    assert TableSchema.parse({**schema_with(), "primaryKey": "a"}).rules(
        schema.fields[2].model_copy(update={"name": "a"})
    ) == [
        "required",
        "key",
    ]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (None, "schema: Input should be a valid dictionary or instance of TableSchema"),
        ([], "schema: Input should be a valid dictionary or instance of TableSchema"),
        ({}, "fields: is missing"),
        ({"fields": []}, "fields: List should have at least 1 item after validation, not 0"),
        ({"fields": {}}, "fields: Input should be a valid list"),
        ({"fields": [{}]}, "fields[0].name: is missing"),
        ({"fields": ["a"]}, "fields[0]: Input should be a valid dictionary or instance of SchemaField"),
        (schema_with(name=7), "fields[0].name: Input should be a valid string"),
        (
            schema_with(name=""),
            "fields[0].name: must be printable, must not be empty, and must not begin or end with a space",
        ),
        (
            schema_with(name=" a"),
            "fields[0].name: must be printable, must not be empty, and must not begin or end with a space",
        ),
        (
            schema_with(name="a\nb"),
            "fields[0].name: must be printable, must not be empty, and must not begin or end with a space",
        ),
        (
            schema_with(name="a\u200b"),
            "fields[0].name: must be printable, must not be empty, and must not begin or end with a space",
        ),
        (schema_with(name="é" * 32), "fields[0].name: is longer than 63 bytes, the limit for column names"),
        (schema_with(name="_Upload_ID"), "fields[0].name: is a reserved column name"),
        (schema_with(name="xmin"), "fields[0].name: is a reserved column name"),
        (
            schema_with(type="text"),
            "fields[0].type: Input should be 'string', 'integer', 'number', 'boolean', 'date', 'datetime' or 'time'",
        ),
        (schema_with(constraints={"requierd": True}), "fields[0].constraints.requierd: is not a known property"),
        (
            schema_with(constraints={"required": "yes"}),
            "fields[0].constraints.required: Input should be a valid boolean",
        ),
        (
            schema_with(constraints={"minLength": -1}),
            "fields[0].constraints.minLength: Input should be greater than or equal to 0",
        ),
        (schema_with(constraints={"enum": []}), "fields[0].constraints.enum: must list at least one value"),
        (
            schema_with(constraints={"pattern": "(a"}),
            "fields[0].constraints.pattern: is not a valid regular expression: missing ): (a",
        ),
        (
            schema_with(constraints={"pattern": "(?=a)"}),
            "fields[0].constraints.pattern: is not a valid regular expression: invalid perl operator: (?=",
        ),
        (schema_with(constraints={"minimum": "a"}), "fields[0]: constraints.minimum does not apply to the type string"),
        (
            schema_with(type="integer", constraints={"minLength": 1}),
            "fields[0]: constraints.minLength does not apply to the type integer",
        ),
        (
            schema_with(type="date", constraints={"pattern": "x"}),
            "fields[0]: constraints.pattern does not apply to the type date",
        ),
        (
            schema_with(type="integer", constraints={"minimum": 1.5}),
            "fields[0]: constraints.minimum is 1.5, which is not of the type integer",
        ),
        (
            schema_with(type="integer", constraints={"maximum": 2**63}),
            f"fields[0]: constraints.maximum is {2**63}, which is not of the type integer",
        ),
        (
            schema_with(type="number", constraints={"maximum": "1"}),
            "fields[0]: constraints.maximum is '1', which is not of the type number",
        ),
        (
            schema_with(type="number", constraints={"maximum": 10**400}),
            f"fields[0]: constraints.maximum is {10**400}, which is not of the type number",
        ),
        (
            schema_with(type="number", constraints={"maximum": float("inf")}),
            "fields[0]: constraints.maximum is inf, which is not of the type number",
        ),
        (
            schema_with(type="number", constraints={"minimum": float("nan")}),
            "fields[0]: constraints.minimum is nan, which is not of the type number",
        ),
        (
            schema_with(type="boolean", constraints={"enum": [1]}),
            "fields[0]: constraints.enum[0] is 1, which is not of the type boolean",
        ),
        (
            schema_with(constraints={"enum": ["a", 1]}),
            "fields[0]: constraints.enum[1] is 1, which is not of the type string",
        ),
        (
            schema_with(type="date", constraints={"maximum": "31/01/2026"}),
            "fields[0]: constraints.maximum is '31/01/2026'; use ISO 8601",
        ),
        (
            schema_with(type="time", constraints={"minimum": "9am"}),
            "fields[0]: constraints.minimum is '9am'; use ISO 8601",
        ),
        (
            schema_with(type="datetime", constraints={"minimum": 7}),
            "fields[0]: constraints.minimum is 7, which is not of the type datetime",
        ),
        (schema_with(decimalChar=","), "fields[0]: decimalChar does not apply to the type string"),
        (schema_with(type="integer", decimalChar=","), "fields[0]: decimalChar does not apply to the type integer"),
        (schema_with(type="date", groupChar=","), "fields[0]: groupChar does not apply to the type date"),
        (schema_with(type="number", trueValues=["y"]), "fields[0]: trueValues does not apply to the type number"),
        (schema_with(type="number", decimalChar=",,"), "fields[0].decimalChar: String should have at most 1 character"),
        (schema_with(type="number", groupChar=""), "fields[0].groupChar: String should have at least 1 character"),
        (schema_with(type="number", groupChar="."), "fields[0]: groupChar and decimalChar must differ"),
        (
            schema_with(type="boolean", trueValues=["1", "y"], falseValues=["y"]),
            "fields[0]: trueValues and falseValues both contain “y”",
        ),
        (schema_with(type="boolean", falseValues=["1"]), "fields[0]: trueValues and falseValues both contain “1”"),
        (
            schema_with(type="boolean", trueValues=[]),
            "fields[0].trueValues: List should have at least 1 item after validation, not 0",
        ),
        (
            schema_with(format="binary"),
            "fields[0]: format “binary” is not supported for the type string; use default, email, uri or uuid",
        ),
        (
            schema_with(type="integer", format="email"),
            "fields[0]: format “email” is not supported for the type integer; leave it out",
        ),
        (
            schema_with(type="number", format="%d"),
            "fields[0]: format “%d” is not supported for the type number; leave it out",
        ),
        (schema_with(type="date", format="%d/%m"), "fields[0]: format “%d/%m” lacks %Y"),
        (schema_with(type="date", format="any"), "fields[0]: format “any” lacks %Y and %m and %d"),
        (
            schema_with(type="date", format="%Y-%m-%d %H:%M"),
            "fields[0]: format “%Y-%m-%d %H:%M” has %H, which does not apply to the type date",
        ),
        (
            schema_with(type="time", format="%H:%M %d"),
            "fields[0]: format “%H:%M %d” has %d, which does not apply to the type time",
        ),
        (schema_with(type="datetime", format="%Y-%m-%d"), "fields[0]: format “%Y-%m-%d” lacks %H and %M"),
        (
            schema_with(type="date", format="%d.%m.%y"),
            "fields[0]: format “%d.%m.%y”: %y is not supported; use %Y, %m, %d, %H, %I, %M, %S, %f, %p, %b, %B, %z",
        ),
        (schema_with(type="string", decimals=2), "fields[0]: decimals does not apply to the type string"),
        (schema_with(type="number", decimals=20), "fields[0].decimals: Input should be less than or equal to 14"),
        (schema_with(type="number", prefix="$"), "fields[0]: prefix needs bareNumber, which must be false"),
        (
            schema_with(type="number", suffix="-1", bareNumber=False),
            "fields[0]: suffix “-1” has a digit, a sign or a separator, which belong to the number",
        ),
        (
            schema_with(type="date", unpadded="d"),
            "fields[0]: unpadded has “d”, which must be one of d, m, H and I, and in the format",
        ),
        (
            schema_with(type="datetime", offset="+01:00"),
            "fields[0]: offset “+01:00” must be like +01:00, and needs %z in the format",
        ),
        (
            schema_with(type="time", format="%H:%M", decimals=3),
            "fields[0]: decimals needs %f in the format, and at most 6 are possible",
        ),
        (schema_with(type="time", format="%I:%M"), "fields[0]: format “%I:%M” lacks %p"),
        (
            schema_with(type="date", format="%d %m %b %Y"),
            "fields[0]: format “%d %m %b %Y” has the month or the hour twice",
        ),
        (schema_with(missingValues=["NA"], missingAs="-"), "fields[0]: missingAs “-” is not one of missingValues"),
        (schema_with(type="date", format="%d%d%m%Y"), "fields[0]: format “%d%d%m%Y” has %d twice"),
        (
            schema_with(type="date", format="%Y%m%d%"),
            "fields[0]: format “%Y%m%d%”: % is not supported; use %Y, %m, %d, %H, %I, %M, %S, %f, %p, %b, %B, %z",
        ),
        ({**schema_with(), "primaryKey": ["b"]}, "schema: primaryKey contains “b”, which is not a field"),
        ({**schema_with(), "primaryKey": ["a", "a"]}, "schema: primaryKey contains a field twice"),
        ({**schema_with(), "primaryKey": 7}, "primaryKey: Input should be a valid list"),
        ({**schema_with(), "foreignKeys": []}, "schema: foreignKeys are not supported"),
        ({**schema_with(), "missingValues": "NA"}, "missingValues: Input should be a valid list"),
        ({"fields": [{"name": "a"}, {"name": "A"}]}, "schema: “A” and “a” are the same column name, ignoring case"),
        (
            {"fields": [{"name": "a"}, {"name": "b", "aliases": ["A"]}]},
            "schema: “A” and “a” are the same column name, ignoring case",
        ),
    ],
)
def test_errors_name_the_path_of_the_problem(data: object, expected: str) -> None:
    assert (expected,) == problems(data)


def test_all_problems_are_reported_at_once() -> None:
    data = {"fields": [{"name": ""}, {"name": "b", "type": "money"}, {"name": "c", "constraints": {"least": 1}}]}

    assert [problem.partition(":")[0] for problem in problems(data)] == [
        "fields[0].name",
        "fields[1].type",
        "fields[2].constraints.least",
    ]


@pytest.mark.parametrize("value", [True, [1], {"a": 1}])
def test_a_bound_of_an_impossible_type_is_an_error(value: object) -> None:
    found = problems(schema_with(type="integer", constraints={"minimum": value}))

    assert all(problem.startswith("fields[0].constraints.minimum.") for problem in found)


def test_columns_and_key_fields_are_limited() -> None:
    fields = [{"name": f"c{number}"} for number in range(MAX_COLUMNS + 1)]
    names = [each["name"] for each in fields]

    assert len(TableSchema.parse({"fields": fields[:-1], "primaryKey": names[:MAX_KEY_FIELDS]}).fields) == 1_500
    assert problems({"fields": fields}) == ("fields: has 1,501 entries; at most 1,500 are possible",)
    assert problems({"fields": fields[:-1], "primaryKey": names[: MAX_KEY_FIELDS + 1]}) == (
        "primaryKey: has 33 entries; at most 32 are possible",
    )


def nested(levels: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(levels):
        found = {"a": found}
    return found


#: Schemas that would take much time or memory, and what is wrong with them.
HOSTILE: dict[str, tuple[dict[str, Any], str]] = {
    "many fields": ({"fields": [{"name": "a"}] * 10_000}, "fields: has 10,000 entries; at most 1,500 are possible"),
    "a long name": (schema_with(name="x" * 10_000), "fields[0].name: is longer than 63 bytes"),
    "many allowed values": (
        schema_with(constraints={"enum": ["x"] * 1_000_000}),
        "fields[0].constraints.enum: has 1,000,000 entries; at most 10,000 are possible",
    ),
    "many aliases": (schema_with(aliases=["x"] * 101), "fields[0].aliases: has 101 entries; at most 100 are possible"),
    "many words": ({**schema_with(), "missingValues": ["x"] * 1_001}, "missingValues: has 1,001 entries"),
    "a long pattern": (
        schema_with(constraints={"pattern": "x" * 1_000_000}),
        "fields[0].constraints.pattern: has 1,000,000 characters; at most 1,000 are possible",
    ),
    "a complex pattern": (schema_with(constraints={"pattern": r"\pL{1,900}"}), "pattern too large"),
    "a long format": (schema_with(type="date", format="%Y" * 500_000), "fields[0].format: has 1,000,000 characters"),
    "a long text": (schema_with(title="x" * 10_001), "fields[0].title: has 10,001 characters; at most 10,000"),
    "a long property": (schema_with(**{"x" * 10_001: 1}), "fields[0]: has 10,001 characters; at most 10,000"),
    "much text": (
        {**schema_with(), "x": ["y" * 10_000] * 300},
        "schema: is too large; it may have 2,000,000 characters",
    ),
    "many values": ({**schema_with(), "x": [[1] * 999] * 999}, "and 200,000 values"),
    "a long list": ({**schema_with(), "x": [1] * 1_000_000}, "x: has 1,000,000 entries; at most 200,000 are possible"),
    "deep nesting": ({**schema_with(), "x": nested(100_000)}, "x.a.a: is nested more than 20 levels deep"),
    "a long number": (
        schema_with(type="integer", constraints={"maximum": 10**5_000}),
        "fields[0].constraints.maximum: is too large a number",
    ),
    "a long length": (
        schema_with(constraints={"minLength": 10**30}),
        "fields[0].constraints.minLength: Input should be less than or equal to 2147483647",
    ),
    "half a character": (schema_with(title="\ud83d"), "fields[0].title: contains a NUL or a lone surrogate"),
    "a NUL": (schema_with(constraints={"enum": ["\0"]}), "fields[0].constraints.enum[0]: contains a NUL"),
    "many indexes": (
        {"fields": [{"name": f"c{number}", "constraints": {"unique": True}} for number in range(33)]},
        "fields: 33 fields are unique; at most 32 can be",
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_schema_without_bounds_is_refused_in_a_short_sentence(kind: str) -> None:
    data, expected = HOSTILE[kind]
    (problem,) = problems(data)

    assert expected in problem
    assert len(problem) < 200


def test_patterns_that_are_complex_together_are_refused_without_compiling_all(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []
    compile_pattern = re2.compile

    def counting(pattern: str, *options: Any) -> Any:
        compiled.append(pattern)
        return compile_pattern(pattern, *options)

    monkeypatch.setattr(re2, "compile", counting)
    fields = [{"name": f"c{number}", "constraints": {"pattern": rf"\pL{{1,90}}x{number}"}} for number in range(999)]
    found = problems({"fields": fields})

    assert found[0].endswith("is too complex, together with the patterns before it; use shorter repetitions")
    assert len(compiled) < 30


def test_many_fields_may_have_the_same_complex_pattern() -> None:
    names = [{"name": f"c{number}", "constraints": {"pattern": r"\pL[\pL\pM' -]{0,99}"}} for number in range(999)]

    assert len(TableSchema.parse({"fields": names}).fields) == 999


def test_compiled_patterns_are_not_kept() -> None:
    TableSchema.parse(schema_with(constraints={"pattern": "[a-z]+"}))

    assert re2._Regexp._make.cache_info().currsize == 0


def test_an_error_names_the_first_problems_and_how_many_there_are() -> None:
    found = problems({"fields": [{"name": f"c{number}", "type": "money"} for number in range(999)]})

    assert [each.partition(":")[0] for each in found[:20]] == [f"fields[{number}].type" for number in range(20)]
    assert found[20:] == ("979 more problems",)


def test_a_quoted_text_is_shortened() -> None:
    aliases = [{"name": name, "aliases": ["x" * 9_999]} for name in "ab"]

    assert all(len(problem) < 600 for problem in problems({"fields": aliases}))
    assert all(len(problem) < 600 for problem in problems(schema_with(constraints={"x" * 9_999: 1})))


def test_the_largest_inferred_schema_is_valid() -> None:
    """1,500 names of 63 bytes, each with the longest description that the profiler writes."""
    fields = [{"name": f"{number:04}" + "x" * 59, "description": "x" * 300, "type": "date"} for number in range(1_500)]

    assert len(TableSchema.parse({"fields": fields}).fields) == 1_500


def test_a_stored_schema_is_read_without_compiling_its_patterns(monkeypatch: pytest.MonkeyPatch) -> None:
    schema = TableSchema.parse(WHOLE)
    monkeypatch.setattr(re2, "compile", None)

    assert TableSchema.stored(schema.as_json()) == schema


@pytest.mark.parametrize(
    "name", ["a b", "it's", 'say "hi"', "100%", ":p", "été", "売上", "😀", "select", "é" * 31, "_"]
)
def test_almost_any_column_name_is_valid(name: str) -> None:
    assert TableSchema.parse(schema_with(name=name)).names == [name]


def test_the_directives_of_a_format_are_returned_in_order() -> None:
    assert format_directives("%d. %m. %Y um %H:%M") == ["d", "m", "Y", "H", "M"]
    assert format_directives("no directive") == []


#: Parts of random patterns: complete and incomplete constructs, and some that RE2 rejects.
PIECES = [
    *("a", "b", "é", "売", "-", ",", " ", "0", ".", "^", "$", "|", "*", "+", "?", "(", ")", "[", "]", "{", "}", "\\"),
    *("(?:", "(?P<n>", "(?i)", "(?s)", "(?=", "(?<!", "[^", "[a-b", "[b-a]", "[[:alpha:]]", "{2}", "{1,}", "{1001}"),
    *(r"\d", r"\W", r"\b", r"\A", r"\z", r"\Z", r"\1", r"\pL", r"\p{Greek}", r"\p{None}", r"\C", r"\Q", r"\E", r"\x41"),
]


@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join), st.text("abAé売-, 01\n", max_size=6))
@example("(a", "a")
@example("a{1000}{1000}", "a")
@example(r"\Qabc", "a")
def test_patterns_are_checked_and_matched_as_by_arrow(pattern: str, text: str) -> None:
    try:
        matches = pc.match_substring_regex(pa.array([text]), pattern).to_pylist()
        pc.match_substring_regex(pa.array([text]), f"^(?:{pattern})$")  # as the validator matches it
    except pa.ArrowInvalid as error:
        detail = str(error).removeprefix("Invalid regular expression: ")
        message = f"is not a valid regular expression: {detail}"
        assert problems(schema_with(constraints={"pattern": pattern})) == (f"fields[0].constraints.pattern: {message}",)
    else:
        TableSchema.parse(schema_with(constraints={"pattern": pattern}))
        assert [re2.search(pattern, text.encode()) is not None] == matches


def test_a_schema_with_a_pattern_is_parsed_without_arrow() -> None:
    # The web processes parse schemas and must stay small.
    code = (
        "from jobs.schema import TableSchema; import sys;"
        " TableSchema.parse({'fields': [{'name': 'a', 'constraints': {'pattern': '[a-z]+'}}]});"
        " sys.exit('pyarrow' in sys.modules or 'pandas' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
