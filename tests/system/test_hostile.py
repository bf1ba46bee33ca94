"""Hostile files and requests against a running instance: a few of what `make hostile` does at length."""

import gzip
from pathlib import Path

import pytest

from tests.benchmarks.hostile.case import FileCase
from tests.benchmarks.hostile.cases import all_cases
from tests.benchmarks.hostile.instance import Instance
from tests.benchmarks.hostile.mutation import LONGEST, Mutator
from tests.benchmarks.hostile.packing import bomb, gzipped
from tests.benchmarks.hostile.trial import Trial
from tests.support.parts import require
from tests.support.services import require_redis

#: Cases that are over at once, of different kinds.
FEW = [
    "csv: a byte order mark alone",
    "csv: inches among good rows",
    "csv: names: quotes",
    "zip: an ordinary one",
    "zip: cut off in the middle",
    "gzip: a checksum that is wrong",
    "xlsx: without _rels/.rels",
    "other: a PDF",
    "form: an ordinary one",
    "json: an upload nested deeply",
    "path: odd ones",
]
#: Times by which a machine that runs other tests meanwhile may be slower.
PATIENCE = 10.0


@pytest.mark.timeout(180)
def test_a_normal_import_completes_beside_each_hostile_one(tmp_path: Path) -> None:
    require(Path("/proc/self/status").exists(), "needs /proc to look at processes")
    require_redis()
    cases = {case.name: case for case in all_cases()}
    instance = Instance(tmp_path / "instance")
    try:
        with Trial(instance, patience=PATIENCE) as trial:
            results = [trial.run(cases[name]) for name in FEW]
    finally:
        instance.end()

    assert [(result.name, result.violations) for result in results if result.violations] == []
    assert trial.normal.imported == len(FEW) + 1


def test_there_are_more_than_120_cases_each_with_its_own_name() -> None:
    names = [case.name for case in all_cases()]

    assert len(names) > 120
    assert len(set(names)) == len(names)


def test_each_file_can_be_made() -> None:
    for case in all_cases():
        if isinstance(case, FileCase):
            assert case.build() or case.name == "other: an empty file", case.name


def test_a_bomb_expands_to_what_its_checksum_says() -> None:
    expected = b"a,b\n" + b"1,2\n" * 1_000_003

    assert gzip.decompress(gzipped(bomb((b"a,b\n", 1), (b"1,2\n", 1_000_003)))) == expected


def test_the_same_seed_makes_the_same_mutants() -> None:
    first, second, other = Mutator(1), Mutator(1), Mutator(2)
    mutants = [first.mutant(number) for number in range(60)]

    assert mutants == [second.mutant(number) for number in range(60)]
    assert mutants != [other.mutant(number) for number in range(60)]
    assert {mutant.kind for mutant in mutants} == {"csv", "xlsx", "zip", "gzip", "form"}
    assert max(len(mutant.content) for mutant in mutants) <= LONGEST
