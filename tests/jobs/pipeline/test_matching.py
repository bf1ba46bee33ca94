import random
from itertools import permutations

import pytest

from jobs.pipeline.matching import Column, FieldOf, Match, match, meanings, reassigned, resembling


def text(name: str, title: str | None = None, *aliases: str) -> FieldOf:
    return FieldOf(name, title, aliases)


def whole_number(name: str) -> FieldOf:
    return FieldOf(name, accepts=str.isdecimal, is_text=False)


def assigned(columns: list[Column], fields: list[FieldOf], **remembered: str | None) -> dict[str, str | None]:
    return {each.column: each.field for each in match(columns, fields, remembered)}


def test_equal_names_come_before_aliases_and_likeness() -> None:
    columns = [Column("E-mail"), Column("email"), Column("ArtNo"), Column("Order Date"), Column("Menge")]
    fields = [text("email"), text("sku", None, "artno"), text("order_date"), text("quantity")]

    found = match(columns, fields, {})

    assert found == [
        Match("E-mail"),
        Match("email", "email", "name", 1.0),
        Match("ArtNo", "sku", "alias", 1.0),
        Match("Order Date", "order_date", "name", 1.0),
        Match("Menge", "quantity", "similar", 0.94),
    ]


def test_what_a_person_assigned_comes_first_and_what_a_person_ignores_stays_ignored() -> None:
    columns = [Column("email"), Column("Contact"), Column("Notes")]

    found = match(columns, [text("email"), text("notes")], {"Contact": "email", "Notes": None, "gone": "notes"})

    assert found == [Match("email"), Match("Contact", "email", "remembered", 1.0), Match("Notes", None, "remembered")]


def test_a_remembered_field_that_no_longer_exists_is_forgotten() -> None:
    assert match([Column("Menge")], [text("quantity")], {"Menge": "gone"})[0].field == "quantity"


def test_a_title_is_a_name() -> None:
    found = match([Column("Date of sale")], [text("sold", "Date of sale")], {})

    assert found == [Match("Date of sale", "sold", "name", 1.0)]


def test_values_that_a_field_refuses_speak_against_it() -> None:
    names, numbers = Column("Kunde", ("Ada", "Grace")), Column("Kunde", ("17", "18"))

    assert assigned([numbers], [whole_number("customer")]) == {"Kunde": "customer"}
    assert assigned([names], [whole_number("customer")]) == {"Kunde": None}
    assert assigned([names], [text("customer")]) == {"Kunde": "customer"}


def test_a_column_that_fits_two_fields_alike_is_not_assigned() -> None:
    assert assigned([Column("Street")], [text("billing_street"), text("shipping_street")]) == {"Street": None}


def test_a_field_that_two_columns_fit_alike_is_not_assigned() -> None:
    found = assigned([Column("Billing street"), Column("Shipping street")], [text("street")])

    assert found == {"Billing street": None, "Shipping street": None}


def test_numbered_names_match_only_the_same_number() -> None:
    found = assigned([Column("temp3"), Column("temp1")], [text("temperature_1"), text("temperature_2")])

    assert found == {"temp3": None, "temp1": "temperature_1"}


def test_values_of_an_unmistakable_form_need_no_name() -> None:
    code = FieldOf("tracking_code", accepts=lambda value: len(value) == 13 and value.endswith("DE"), is_text=False)

    found = match([Column("Sendung", ("RR123456785DE", "RR987654321DE")), Column("Ref", ("A-1",))], [code], {})

    assert found == [Match("Sendung", "tracking_code", "values", 0.75), Match("Ref")]


def test_whole_numbers_have_no_unmistakable_form() -> None:
    assert assigned([Column("foo", ("1", "2"))], [whole_number("bar")]) == {"foo": None}


def test_a_column_of_email_addresses_is_an_email_column_unless_there_are_two() -> None:
    mails = ("ada@example.org", "grace@example.org")

    assert assigned([Column("Kontakt", mails)], [text("email")]) == {"Kontakt": "email"}
    assert set(assigned([Column("a", mails), Column("b", mails)], [text("email")]).values()) == {None}


def test_the_order_of_columns_and_fields_does_not_matter() -> None:
    columns = [Column("Nom"), Column("Prénom"), Column("Date naiss."), Column("Tel", ("01 02",))]
    fields = [text("last_name"), text("first_name"), text("birth_date"), text("phone")]
    expected = assigned(columns, fields)

    for some in permutations(columns):
        for others in permutations(fields):
            assert assigned(list(some), list(others)) == expected


def test_each_field_is_taken_at_most_once() -> None:
    rng = random.Random(7)
    words = ["date", "Datum", "order", "Bestellung", "id", "Nr", "name", "Kunde", "customer", "1", "2"]
    for _ in range(200):
        columns = [Column(name) for name in {" ".join(rng.sample(words, 2)) for _ in range(6)}]
        fields = [text(name) for name in {"_".join(rng.sample(words, 2)) for _ in range(6)}]
        taken = [each.field for each in match(columns, fields, {}) if each.field is not None]
        assert len(taken) == len(set(taken))


def test_changing_one_column_moves_no_other() -> None:
    before = [Match("a", "x", "name", 1.0), Match("b", "y", "similar", 0.8), Match("c")]

    assert reassigned(before, "c", "x") == [Match("a"), before[1], Match("c", "x", "remembered", 1.0)]
    assert reassigned(before, "b", None) == [before[0], Match("b", None, "remembered"), before[2]]


def test_a_column_left_over_resembles_a_field_left_over() -> None:
    columns = [Column("Street"), Column("Weather"), Column("Ignored street")]
    fields = [text("billing_street"), text("shipping_street")]

    found = resembling(match(columns, fields, {"Ignored street": None}), columns, fields)

    assert [(column, field) for column, field, _ in found] == [
        ("Street", "billing_street"),
        ("Street", "shipping_street"),
    ]


def test_nothing_resembles_when_nothing_is_left_over() -> None:
    columns, fields = [Column("email"), Column("Weather")], [text("email")]

    assert resembling(match(columns, fields, {}), columns, fields) == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Rechnungsbetrag", ("invoice", "amount")),
        ("Bestelldatum", ("order", "date")),
        ("N° de facture", ("number", "invoice")),
        ("Fecha de nacimiento", ("date", "birth")),
        ("firstName", ("given_name",)),
        ("orderdate", ("order", "date")),
        ("MwSt.", ("tax",)),
        ("C.P.", ("postcode",)),
        ("Artikel-Nr.", ("sku",)),
        ("of the", ("of", "the")),
        ("", ()),
        ("***", ()),
        ("数量", ("数量",)),
    ],
)
def test_a_name_has_the_meanings_of_its_words(name: str, words: tuple[str, ...]) -> None:
    assert meanings(name) == words


def test_nothing_matches_nothing() -> None:
    assert match([], [], {}) == []
    assert match([Column("")], [text("a")], {}) == [Match("")]
    assert match([Column("***", ("", " "))], [whole_number("a")], {}) == [Match("***")]


@pytest.mark.parametrize(
    ("column", "field"), [("prise", "price"), ("pirce", "price"), ("Nmae", "name"), ("statsu", "status")]
)
def test_a_misspelled_name_resembles_the_right_one(column: str, field: str) -> None:
    columns, fields = [Column(column, ("2.5", "3"))], [FieldOf(field), FieldOf("remark")]
    matches = match(columns, fields, {})
    alike = resembling(matches, columns, fields)

    assert matches[0].field == field or [each[:2] for each in alike] == [(column, field)]
