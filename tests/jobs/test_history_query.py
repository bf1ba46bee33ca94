"""Which uploads a search finds: the database and Python give the same answer."""

import unicodedata
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs import uploads
from jobs.database import Database
from jobs.files import StoredFile
from jobs.history_query import Facts, HistoryQuery, Outcome, fold, outcomes, search_text
from jobs.settings import Settings
from jobs.uploads import Claim, Status, Upload
from tests.jobs.test_uploads import begun, claimed, set_to
from tests.support.databases import ONE_DATABASE

#: The same examples in every run; the transaction may be shared, because each example looks at its own uploads only.
STEADY = settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def created(connection: sa.Connection, filename: str, dataset: str | None = None) -> Upload:
    return uploads.create(connection, StoredFile(filename, "00ff", 8, "beef"), dataset=dataset)


def facts(upload: Upload) -> Facts:
    found = outcomes(upload.status, upload.rows_failed, upload.warnings, upload.attempt, upload.error)
    return Facts(upload.filename, upload.dataset, upload.status, found, upload.created_at)


def by_python(query: HistoryQuery, among: list[Upload]) -> list[str]:
    return [each.filename for each in among if query.matches(facts(each))]


def by_sql(connection: sa.Connection, query: HistoryQuery, among: list[Upload]) -> list[str]:
    ids = {each.id for each in among}
    found = uploads.page(connection, query, limit=10_000).items
    return [each.filename for each in reversed(found) if each.id in ids]


NAMES = [
    "Ärger.csv",
    "A\u0308RGER.csv",
    "STRASSE.csv",
    "straße.csv",
    "ΟΔΟΣ.csv",
    "июнь.csv",
    "100%_done.csv",
    "\\'/.csv",
]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("", NAMES),
        ("ärger", ["Ärger.csv", "A\u0308RGER.csv"]),
        ("a\u0308rger", ["Ärger.csv", "A\u0308RGER.csv"]),
        ("ÄRGER", ["Ärger.csv", "A\u0308RGER.csv"]),
        ("arger", []),
        ("Straße", ["STRASSE.csv", "straße.csv"]),
        ("οδος", ["ΟΔΟΣ.csv"]),
        ("ИЮНЬ", ["июнь.csv"]),
        ("%", ["100%_done.csv"]),
        ("0__", []),
        ("\\'/", ["\\'/.csv"]),
    ],
)
def test_case_and_composition_make_no_difference_and_every_character_stands_for_itself(
    connection: sa.Connection, search: str, found: list[str]
) -> None:
    among = [created(connection, name) for name in NAMES]
    query = HistoryQuery(search)

    assert by_sql(connection, query, among) == found
    assert by_python(query, among) == found


def test_an_upload_is_found_by_its_dataset_once_it_is_known(connection: sa.Connection) -> None:
    into_existing, new = created(connection, "a.csv", "verkäufe"), claimed(connection, created(connection, "b.csv"))
    query = HistoryQuery("VERKÄUFE")

    assert by_sql(connection, query, [into_existing, new]) == ["a.csv"]

    new = begun(connection, Claim(new.id, new.attempt), dataset="Verka\u0308ufe_2")

    assert by_sql(connection, query, [into_existing, new]) == ["a.csv", "b.csv"]
    assert by_python(query, [into_existing, new]) == ["a.csv", "b.csv"]


def test_search_and_status_must_both_be_met(connection: sa.Connection) -> None:
    among = [claimed(connection, created(connection, "june.csv")), created(connection, "june.csv")]
    among.append(created(connection, "july.csv"))
    for query, expected in [
        (HistoryQuery("june", Status.PENDING), among[1:2]),
        (HistoryQuery("june", Status.FAILED), []),
        (HistoryQuery("", Status.PENDING), among[1:]),
    ]:
        assert by_sql(connection, query, among) == by_python(query, among) == [each.filename for each in expected]


#: Characters that databases, locales and normal forms treat differently, beside any other that a database can store.
HARD = "aAäÄ\u0308éÉe\u0301ßẞsS\u017fİiI\u0131Kk\u212aΣ\u03c3ςǅǆﬁΐ\u0345ᾳ가\u1100\u1161\u212bÅå%_\\/'\" \n."
TEXTS = st.text(st.sampled_from(HARD) | st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
OTHER_SPELLINGS: list[Callable[[str], str]] = [
    str,
    str.upper,
    str.lower,
    str.swapcase,
    lambda text: unicodedata.normalize("NFC", text),
    lambda text: unicodedata.normalize("NFD", text),
]


@st.composite
def searches(draw: st.DrawFn) -> tuple[list[tuple[str, str | None]], str]:
    """Names of files and datasets, and a word: often a part of one of them, in another spelling."""
    names = draw(st.lists(st.tuples(TEXTS, st.none() | TEXTS), min_size=1, max_size=4))
    if draw(st.integers(0, 3)) == 0:
        return names, draw(TEXTS)
    whole = draw(st.sampled_from([text for pair in names for text in pair if text is not None]))
    begin, end = sorted(draw(st.tuples(*[st.integers(0, len(whole))] * 2)))
    return names, draw(st.sampled_from(OTHER_SPELLINGS))(whole[begin:end])


@STEADY
@given(case=searches())
def test_for_any_names_and_any_word_the_database_and_python_agree(
    connection: sa.Connection, case: tuple[list[tuple[str, str | None]], str]
) -> None:
    names, word = case
    among = [created(connection, filename, dataset) for filename, dataset in names]
    query = HistoryQuery(word)

    assert by_sql(connection, query, among) == by_python(query, among)


@STEADY
@given(text=TEXTS)
def test_folded_text_does_not_change_when_folded_again(text: str) -> None:
    assert fold(fold(text)) == fold(text)
    assert fold(unicodedata.normalize("NFD", text)) == fold(unicodedata.normalize("NFC", text)) == fold(text)


NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
MOMENTS = st.sampled_from([NOON + timedelta(microseconds=step) for step in (-(10**12), -1, 0, 1, 10**12)])
DATASETS = st.sampled_from([None, "sales", "Sales", "sales_2"])
#: What uploads may have, in any combination.
RECORDS = st.fixed_dictionaries(
    {
        "status": st.sampled_from(Status),
        "rows_failed": st.sampled_from([0, 1, 18]),
        "warnings": st.sampled_from([[], None, [{"code": "no_header", "detail": "[]"}]]),
        "attempt": st.sampled_from([0, 1]),
        "error": st.sampled_from([None, "", "No."]),
        "dataset": DATASETS,
        "created_at": MOMENTS,
    }
)
QUERIES = st.builds(
    HistoryQuery,
    search=st.sampled_from(["", "", "june", "SALES", "2"]),
    status=st.none() | st.sampled_from(Status),
    outcome=st.none() | st.sampled_from(Outcome),
    dataset=DATASETS,
    since=st.none() | MOMENTS,
    until=st.none() | MOMENTS,
)


@STEADY
@given(records=st.lists(RECORDS, min_size=1, max_size=6), queries=st.lists(QUERIES, min_size=1, max_size=12))
def test_for_any_uploads_and_any_filters_the_database_and_python_agree(
    connection: sa.Connection, records: list[dict[str, Any]], queries: list[HistoryQuery]
) -> None:
    among = []
    for number, values in enumerate(records):
        name = f"June {number}.csv"
        values = {**values, "search_text": search_text(name, values["dataset"])}
        among.append(set_to(connection, created(connection, name), **values))

    for query in queries:
        assert by_sql(connection, query, among) == by_python(query, among)


@pytest.mark.parametrize(
    ("outcome", "found"),
    [
        (Outcome.CLEAN, ["clean"]),
        (Outcome.FAILED_ROWS, ["failed rows", "both"]),
        (Outcome.WARNINGS, ["warnings", "both"]),
        (Outcome.HELD, ["held"]),
    ],
)
def test_an_outcome_is_what_the_status_does_not_say(
    connection: sa.Connection, outcome: Outcome, found: list[str]
) -> None:
    warned = [{"code": "no_header", "detail": "The first row was imported as data."}]
    records: dict[str, dict[str, Any]] = {
        "clean": {"status": Status.COMPLETED},
        "failed rows": {"status": Status.COMPLETED, "rows_failed": 1},
        "warnings": {"status": Status.COMPLETED, "warnings": warned},
        "both": {"status": Status.COMPLETED, "rows_failed": 1, "warnings": warned},
        "held": {"status": Status.CANCELLED, "error": "It was imported before."},
        "cancelled": {"status": Status.CANCELLED, "attempt": 1},
        "failed": {"status": Status.FAILED, "rows_failed": 3, "warnings": warned, "error": "No."},
        "processing": {"status": Status.PROCESSING, "rows_failed": 3, "warnings": warned},
    }
    among = [set_to(connection, created(connection, name), **values) for name, values in records.items()]

    assert by_sql(connection, HistoryQuery(outcome=outcome), among) == found
    assert by_python(HistoryQuery(outcome=outcome), among) == found


def test_the_text_of_a_search_fits_into_an_index(connection: sa.Connection) -> None:
    longest = created(connection, "\U0001f600" * 10_000, "\U0001f600" * 10_000)

    assert by_sql(connection, HistoryQuery("\U0001f600\n\U0001f600"), [longest]) == [longest.filename]


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (HistoryQuery(status=Status.FAILED), "uploads_status"),
        (HistoryQuery(dataset="sales"), "uploads_dataset"),
        (HistoryQuery("june"), "uploads_history"),
        (HistoryQuery("june", Status.COMPLETED), "uploads_history"),
        (HistoryQuery(outcome=Outcome.HELD), "uploads_history"),
        (HistoryQuery(dataset="sales", since=NOON), "uploads_history"),
    ],
)
@ONE_DATABASE
def test_each_query_is_answered_by_an_index_on_sqlite(settings: Settings, query: HistoryQuery, index: str) -> None:
    with closing(Database(settings.database)) as database, database.reading() as connection:
        plans: list[str] = []

        def explain(_connection: object, cursor: Any, statement: str, values: Any, *_: object) -> None:
            plans.extend(row[3] for row in cursor.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall())

        sa.event.listen(connection, "before_cursor_execute", explain)
        uploads.page(connection, query, limit=25, cursor=9)
        sa.event.remove(connection, "before_cursor_execute", explain)

    about_uploads = [plan for plan in plans if "uploads" in plan and "INTEGER PRIMARY KEY" not in plan]
    assert len(about_uploads) == 2
    assert all(f" INDEX {index}" in plan for plan in about_uploads)
