"""The forms of a review's page → what they change."""

from urllib.parse import urlencode

import pytest

from webapp.errors import InvalidBodyError
from webapp.review import form


def sent(*pairs: tuple[str, str]) -> form.Form:
    return form.parse(urlencode(pairs).encode())


def a_column(name: str, field: str, was: str) -> list[tuple[str, str]]:
    return [("column", name), ("was", was), ("field", field)]


def a_field(column: str, **changed: str) -> list[tuple[str, str]]:
    values = {"column": column, "name": column.lower(), "type": "string", "format": "", "enum": ""}
    return list((values | {"minimum": "", "maximum": "", "pattern": ""} | changed).items())


def test_only_columns_that_were_changed_are_named() -> None:
    found = sent(*a_column("E-mail", "email", ""), *a_column("Notes", "", "notes"), *a_column("Name", "name", "name"))

    assert form.mapping(found) == {"E-mail": "email", "Notes": None}


#: Of a new dataset, as a worker inferred it.
INFERRED = {
    "columns": [{"name": "Id"}, {"name": "Notes"}, {"name": "Day"}, {"name": "Price"}],
    "fields": [
        {"name": "id", "type": "integer", "column": "Id", "required": False, "missingValues": ["n/a"]},
        {"name": "day", "type": "date", "column": "Day", "required": False, "format": "%d.%m.%Y"},
        {"name": "price", "type": "number", "column": "Price", "required": False, "decimalChar": ","},
    ],
    "primary_key": [],
}


def test_a_schema_has_what_was_entered_and_keeps_what_was_inferred() -> None:
    found = sent(
        *a_field("Id", type="integer", minimum="1", maximum="x"),
        *a_field("Day", type="date", format="%d.%m.%Y", name="on day"),
        *a_field("Price", type="number", enum="1, 2.5,"),
        ("required", "Id"),
        ("key", "Id"),
        ("unique", "Day"),
    )
    rules = {"required": True, "minimum": 1, "maximum": "x"}

    assert form.schema(found, INFERRED) == {
        "fields": [
            {"name": "id", "type": "integer", "missingValues": ["n/a"], "constraints": rules, "column": "Id"},
            {"name": "on day", "type": "date", "format": "%d.%m.%Y", "constraints": {"unique": True}, "column": "Day"},
            {
                "name": "price",
                "type": "number",
                "decimalChar": ",",
                "constraints": {"enum": [1.0, 2.5]},
                "column": "Price",
            },
        ],
        "primaryKey": ["id"],
    }


def test_another_type_forgets_the_spelling_and_the_limits_of_the_first() -> None:
    [price] = [
        each
        for each in form.schema(sent(*a_field("Price", type="string", minimum="1")), INFERRED)["fields"]
        if each["column"] == "Price"
    ]

    assert price == {"name": "price", "type": "string", "column": "Price"}


def test_fields_on_other_pages_stay() -> None:
    found = form.schema(sent(*a_field("Id", type="string", name="number")), {**INFERRED, "primary_key": ["day"]})

    assert [each["name"] for each in found["fields"]] == ["number", "day", "price"]
    assert found["fields"][2]["decimalChar"] == ","
    assert found["primaryKey"] == ["day"]


def test_everything_as_text_forgets_types_and_rules() -> None:
    found = sent(*a_field("Id", type="integer", minimum="1"), ("required", "Id"), ("all_text", "1"))
    fields = form.schema(found, INFERRED)["fields"]

    assert fields[0] == {"name": "id", "type": "string", "missingValues": ["n/a"], "column": "Id"}
    assert [each["type"] for each in fields] == ["string"] * 3


@pytest.mark.parametrize("body", [b"column=a&field=b", b"\xff", b"&".join([b"a=b"] * 3_000)])
def test_a_form_that_no_page_of_ours_sends_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidBodyError):
        form.mapping(form.parse(body))


def test_a_column_is_ignored_and_another_one_is_taken_again_at_its_place() -> None:
    found = sent(*a_field("Day", type=""), *a_field("Notes", name="", type="string"), ("required", "Notes"))

    assert [(each["name"], each.get("constraints")) for each in form.schema(found, INFERRED)["fields"]] == [
        ("id", None), ("Notes", {"required": True}), ("price", None)
    ]  # fmt: skip
