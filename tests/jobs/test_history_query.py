"""Which uploads a search finds: the database and Python give the same answer."""

import unicodedata
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs import uploads
from jobs.files import StoredFile
from jobs.history_query import HistoryQuery, fold
from jobs.uploads import Claim, Status, Upload
from tests.jobs.test_uploads import begun, claimed

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


def by_python(query: HistoryQuery, among: list[Upload]) -> list[str]:
    return [each.filename for each in among if query.matches(each.filename, each.dataset, each.status)]


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
