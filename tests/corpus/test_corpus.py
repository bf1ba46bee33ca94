"""An eighth of the files of the corpus through the job; `make corpus`, which CI calls, imports all. And the judge, on
examples."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from jobs.settings import Settings
from tests.corpus.case import Case, Found, Right, Table, Verdict, judge
from tests.corpus.desk import Desk, opened
from tests.corpus.files import cases
from tests.support.services import RedisServer

CASES = cases()
#: Those that are imported here, in a few seconds.
SOME = CASES[::8]
KINDS = list(dict.fromkeys(each.kind for each in SOME))
#: Verdicts that no file may have.
NEVER = {Verdict.CRASH, Verdict.GREEN}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, _redis_of_session: RedisServer) -> Iterator[Desk]:
    settings = Settings.load(
        data=tmp_path_factory.mktemp("corpus") / "data", database_url=None, redis_url=_redis_of_session.url
    )
    with opened(settings) as desk:
        yield desk


@pytest.mark.parametrize("kind", KINDS)
def test_no_file_has_a_verdict_that_none_may_have(desk: Desk, kind: str) -> None:
    judged = {each.name: judge(each, desk.send(each)) for each in SOME if each.kind == kind}

    assert {name: each.difference for name, each in judged.items() if each.verdict in NEVER} == {}


def test_the_corpus_is_as_large_as_it_should_be() -> None:
    green = [each for each in CASES if each.right[0].table and not each.right[0].failed and not each.right[0].warnings]

    assert len(CASES) >= 170
    assert len(green) >= 40
    assert sum(len(each.content) for each in CASES if each.kind == "real") < 2_000_000


@pytest.mark.parametrize("each", CASES, ids=lambda each: each.name)
def test_each_right_table_is_one(each: Case) -> None:
    for right in each.right:
        assert (right.table is None) == (right.refused is not None)
        if right.table is not None:
            assert {len(row) for row in right.table.rows} <= {len(right.table.columns)}
            assert len(right.table.types) in (0, len(right.table.columns))


# The judge

TABLE = Table(["id", "price"], [["1", "2.50"], ["3", "4.00"]], ["integer", "number"])
CASE = Case("kind/name", "name.csv", b"", (Right(TABLE),))
FOUND = Found(["id", "price"], [["1", "2.50"], ["3", "4.00"]], ["integer", "number"])


@pytest.mark.parametrize(
    ("right", "found", "verdict"),
    [
        (Right(TABLE), FOUND, Verdict.EXACT),
        (Right(TABLE), replace(FOUND, rows=[["1", "2.5"], ["3", "4.00"]]), Verdict.GREEN),
        (Right(TABLE, any_spelling=("price",)), replace(FOUND, rows=[["1", "2.5"], ["3", "4"]]), Verdict.EXACT),
        (Right(TABLE), replace(FOUND, rows=FOUND.rows[:1]), Verdict.GREEN),
        (Right(TABLE), replace(FOUND, rows=FOUND.rows[:1], failed=[(3, ["3"])]), Verdict.SAID_SO),
        (Right(TABLE), replace(FOUND, columns=["1", "2.50"]), Verdict.GREEN),
        (Right(TABLE), replace(FOUND, columns=["id", "Price"]), Verdict.GREEN),
        (Right(TABLE, any_names=True), replace(FOUND, columns=["ID", "Price "]), Verdict.EXACT),
        (Right(TABLE), replace(FOUND, warnings=frozenset(["no_header"])), Verdict.SAID_SO),
        (Right(TABLE, warnings=frozenset(["no_header"])), FOUND, Verdict.GREEN),
        (Right(TABLE, failed=(4,)), FOUND, Verdict.GREEN),
        (Right(TABLE, failed=(4,)), replace(FOUND, failed=[(4, [])]), Verdict.EXACT),
        (Right(TABLE, failed=(4,)), replace(FOUND, failed=[(5, [])]), Verdict.SAID_SO),
        (Right(TABLE, failed=(4,)), replace(FOUND, failed=[(None, [])]), Verdict.EXACT),
        (Right(TABLE), Found(error="All rows failed."), Verdict.REFUSED),
        (Right(TABLE), Found(crash="ValueError"), Verdict.CRASH),
        (Right(refused="PDF"), Found(error="This looks like a PDF document."), Verdict.EXACT),
        (Right(refused="PDF"), Found(error="This is not supported."), Verdict.SAID_SO),
        (Right(refused="PDF"), FOUND, Verdict.GREEN),
    ],
)  # fmt: skip
def test_an_import_is_judged_by_what_it_says_and_does(right: Right, found: Found, verdict: Verdict) -> None:
    assert judge(replace(CASE, right=(right,)), found).verdict is verdict


def test_the_best_of_several_right_tables_counts() -> None:
    case = replace(CASE, right=(Right(TABLE, failed=(9,)), Right(TABLE)))

    assert judge(case, FOUND).verdict is Verdict.EXACT


def test_types_are_counted_where_they_are_beyond_doubt() -> None:
    right = Right(replace(TABLE, types=[None, "integer|number"]))

    assert judge(replace(CASE, right=(right,)), FOUND).types_sure == 1
    assert judge(replace(CASE, right=(right,)), FOUND).types_right == 1
    assert judge(CASE, replace(FOUND, types=["integer", "string"])).wrong_types == ("price is string, expected number",)
