from jobs.pipeline.accepting import fields_of
from jobs.pipeline.matching import PROBES, Column
from jobs.schema import TableSchema

COLUMNS = [Column("a", ("1", "x@example.org", "31.01.2026", "2026-01-31", "red"))]


def accepted(**field: object) -> set[str]:
    (found,) = fields_of(TableSchema.parse({"fields": [{"name": "f", **field}]}), COLUMNS)
    assert not found.is_text
    return {text for text in COLUMNS[0].samples if found.accepts(text)}


def test_a_field_accepts_what_its_validator_accepts() -> None:
    assert accepted(type="integer") == {"1"}
    assert accepted(type="date", format="%d.%m.%Y") == {"31.01.2026"}
    assert accepted(format="email") == {"x@example.org"}
    assert accepted(constraints={"enum": ["red", "blue"]}) == {"red"}
    assert accepted(constraints={"pattern": "[a-z]+"}) == {"red"}


def test_a_text_accepts_anything_and_is_not_asked() -> None:
    (found,) = fields_of(TableSchema.parse({"fields": [{"name": "f", "title": "F", "aliases": ["g"]}]}), COLUMNS)

    assert (found.is_text, found.title, found.aliases) == (True, "F", ("g",))


def test_a_field_is_asked_about_the_probes_too() -> None:
    (found,) = fields_of(TableSchema.parse({"fields": [{"name": "f", "type": "integer"}]}), [])

    assert [text for text in PROBES if found.accepts(text)] == ["0", "1", "7"]


def test_fields_with_the_same_rules_share_their_answers() -> None:
    schema = TableSchema.parse({"fields": [{"name": "a", "type": "integer"}, {"name": "b", "type": "integer"}]})
    one, other = fields_of(schema, COLUMNS)

    assert one.accepts == other.accepts
