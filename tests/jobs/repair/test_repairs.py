"""What repairs are, in JSON and in words."""

from typing import Any

import pytest

from jobs.errors import InvalidChangeError
from jobs.repair.repairs import KINDS, Repair, Step, Suggestion

COMPOUND = Repair("code", (Step("trim"), Step("case", target="upper")))
REPAIRS = [
    (Repair.single("country", "replace", "Germny", "Germany"), "Replace “Germny” with “Germany”"),
    (Repair.single("country", "replace", "x", ""), "Treat “x” as empty"),
    (Repair.single("country", "trim"), "Remove spaces around values"),
    (Repair.single("price", "missing", "n/a"), "Treat “n/a” as empty"),
    (Repair.single("price", "missing"), "Treat words for “no value” as empty"),
    (Repair.single("price", "number", "1.234,5 EUR"), "Read numbers like 1.234,5 EUR"),
    (Repair.single("price", "number", "1 %", "fraction"), "Read numbers like 1 % as fractions"),
    (Repair.single("since", "date", "%d/%m/%Y | %d.%m.%y@1990-2030"), "Read dates like 31/12/2026 and 31.12.26"),
    (Repair.single("since", "date"), "Read dates in other notations"),
    (Repair.single("paid", "boolean", "s/n"), "Read s as yes, n as no"),
    (Repair.single("country", "nearest"), "Replace misspellings with the nearest allowed value"),
    (COMPOUND, "Remove spaces around values, then write in capital letters"),
]


@pytest.mark.parametrize(("repair", "title"), REPAIRS, ids=lambda each: each.kind if isinstance(each, Repair) else "")
def test_a_repair_is_the_same_from_its_json_and_has_a_title(repair: Repair, title: str) -> None:
    assert Repair.from_json(repair.to_json()) == repair
    assert repair.title == title


def test_different_repairs_have_different_ids_that_never_change() -> None:
    assert len({repair.id for repair, _ in REPAIRS}) == len(REPAIRS)
    assert Repair.single("price", "number").id == "4eb5f2116095"


def test_a_compound_has_lists_with_an_element_for_each_step() -> None:
    assert COMPOUND.to_json() == {"column": "code", "kind": "trim+case", "from": [None, None], "to": [None, "upper"]}


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({}, "column"),
        ({"column": "x"}, "kind"),
        ({"column": "x", "kind": "guess"}, "kind"),
        ({"column": "x", "kind": "+".join(["trim"] * 5)}, "kind"),
        ({"column": "x", "kind": "replace", "from": "a"}, "to"),
        ({"column": "x", "kind": "replace", "to": "a"}, "from"),
        ({"column": "x", "kind": "replace", "from": 1, "to": "a"}, "from"),
        ({"column": "x", "kind": "replace", "from": "a", "to": "b" * 1_001}, "to"),
        ({"column": "x", "kind": "trim", "from": "a"}, "from"),
        ({"column": "x", "kind": "date", "to": "a"}, "to"),
        ({"column": "x", "kind": "number", "to": "half"}, "to"),
        ({"column": "x", "kind": "case", "to": "title"}, "to"),
        ({"column": "x", "kind": "trim+case", "from": [None]}, "from"),
    ],
)
def test_what_is_no_repair_is_refused_with_its_place(data: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidChangeError) as refused:
        Repair.from_json(data)

    assert [where for where, _ in refused.value.problems] == [path]


def test_a_suggestion_is_the_same_from_its_json() -> None:
    suggestion = Suggestion(COMPOUND, "is wrong", 3, 4, [("a ", "A")])

    assert Suggestion.from_json(suggestion.to_json()) == suggestion
    assert {"id", "column", "kind", "title", "rescues", "of", "samples"} <= suggestion.to_json().keys()
    assert set(COMPOUND.kind.split("+")) <= set(KINDS)
