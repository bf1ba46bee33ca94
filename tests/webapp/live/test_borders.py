"""What each person's streams carry is what the policy allows, whatever is granted and whatever happens."""

import random
import re
from contextlib import ExitStack
from itertools import count

import pytest

from jobs.people import accounts
from jobs.people.roles import Role
from jobs.uploads import Upload
from tests.support import people
from tests.support.databases import ONE_DATABASE
from tests.support.serving import Served, Stream, stream
from tests.support.streams import GENERAL, HISTORY
from tests.support.waiting import until

PEOPLE = ("ana", "ben")
#: Names of the datasets of one example, to which its number is added.
DATASETS = ("open", "closed", "half")

WHAT_HAPPENS = ("begin", "advance", "complete", "fail", "cancel")
#: Random worlds that one test looks at. (Hypothesis minds that the server in the same process uses `random`.)
WORLDS = 15

_numbers = count()
_MENTION = re.compile(r'"file_id":(\d+)|id="upload-(\d+)"|#upload-(\d+)"|href="/uploads/(\d+)"|"(\d+)": (?:true|false)')


class Town:
    """A server, its people, and the datasets of the current example."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.secrets = {name: people.add(served.records.database, name) for name in PEOPLE}
        self.secrets["admin"] = people.add(served.records.database, "admin", Role.ADMIN)
        with people.client(served.url, self.secrets["admin"]) as admin:
            until(lambda: served.client.get("/api/v1/uploads").status_code == 401, "the server to see the accounts")
            assert admin.get("/api/v1/uploads").status_code == 200

    def begin(self, access: list[set[str] | None]) -> dict[str, str]:
        """New datasets with this access, by the names of DATASETS."""
        number, database = next(_numbers), self.served.records.database
        names = {name: f"{name}_{number}" for name in DATASETS}
        for name, granted in zip(DATASETS, access, strict=True):
            self.served.records.declare(names[name], {"name": "a"}, {"name": "b"})
            if granted is not None:
                people.restrict(database, names[name], dict.fromkeys(granted, Role.VIEWER))
        return names

    def happen(self, names: dict[str, str], happenings: list[tuple[str, str]]) -> list[Upload]:
        """The uploads to which something happened, in their last states."""
        records, found = self.served.records, dict[str, list[Upload]]()
        for dataset, what in happenings:
            uploads = found.setdefault(dataset, [])
            if what == "begin" or not uploads or not uploads[-1].is_active:
                uploads.append(records.processing(f"{names[dataset]}.csv", dataset=names[dataset], is_named=True))
            if what != "begin":
                uploads[-1] = getattr(records, what)(uploads[-1])
        return [each for uploads in found.values() for each in uploads]


def mentioned(text: str) -> set[int]:
    """Ids of the uploads of which a stream tells."""
    found = re.findall(
        r'"file_id":(\d+)|id="upload-(\d+)"|#upload-(\d+)"|href="/uploads/(\d+)"|"(\d+)": (?:true|false)', text
    )
    return {int(next(filter(None, groups))) for groups in found}


def told(listener: Stream, last: Upload) -> str:
    """Everything up to the news of an upload that everybody may see."""
    return "\n".join(event.data for event in listener.until(lambda event: last.id in mentioned(event.data)))


def random_access(chance: random.Random) -> list[set[str] | None]:
    """For each dataset, None if it is open, or who may see it."""
    return [chance.choice([None, {each for each in PEOPLE if chance.random() < 0.5}]) for _ in DATASETS]


def random_happenings(chance: random.Random) -> list[tuple[str, str]]:
    """What happens, in this order, to an upload into this dataset."""
    return [(chance.choice(DATASETS), chance.choice(WHAT_HAPPENS)) for _ in range(chance.randint(1, 12))]


@ONE_DATABASE
def test_no_stream_tells_of_what_is_hidden_and_each_tells_of_all_else(served: Served) -> None:
    seed = random.randrange(1_000_000)
    print(f"The seed is {seed}.")
    town, chance = Town(served), random.Random(seed)
    for _ in range(WORLDS):
        access = random_access(chance)
        names = town.begin(access)
        earlier = town.happen(names, random_happenings(chance))
        with ExitStack() as stack:
            listeners = {
                (name, path): stack.enter_context(stream(stack.enter_context(people.client(served.url, secret)), path))
                for name, secret in town.secrets.items()
                for path in (GENERAL, HISTORY, f"{HISTORY}?q=.csv")
            }
            later = town.happen(names, random_happenings(chance))
            last = served.records.pending("for all.csv")
            heard = {key: told(listener, last) for key, listener in listeners.items()}
        seen_by = dict(zip(names.values(), access, strict=True))
        for (name, path), text in heard.items():
            for upload in (*earlier, *later):
                granted = seen_by[upload.dataset or ""]
                if not (granted is None or name == "admin" or name in granted):
                    assert upload.id not in mentioned(text), (name, path)
                    assert (upload.dataset or "") not in text
                elif upload in later:
                    assert upload.id in mentioned(text), (name, path)


@ONE_DATABASE
@pytest.mark.parametrize("path", [GENERAL, HISTORY])
def test_a_stream_ends_when_what_its_client_may_see_changes(served: Served, path: str) -> None:
    town, database = Town(served), served.records.database
    upload = served.records.processing(dataset="june")
    served.records.declare("june", {"name": "a"}, {"name": "b"})
    with people.client(served.url, town.secrets["ana"]) as ana:
        with stream(ana, path) as listener:
            assert upload.id in mentioned(listener.next().data)

            people.restrict(database, "june")
            listener.rest()

        assert ana.get(f"/uploads/{upload.id}").status_code == 404
        with stream(ana, path) as listener:
            last = served.records.pending("for all.csv")
            assert upload.id not in mentioned(told(listener, last))


@ONE_DATABASE
def test_whoever_is_disabled_is_shut_out_while_the_stream_is_open(served: Served) -> None:
    town, database = Town(served), served.records.database
    with people.client(served.url, town.secrets["ana"]) as ana, stream(ana, HISTORY) as listener:
        listener.next()
        with database.transaction() as connection:
            accounts.disable(connection, "ana")
        listener.rest()

        assert ana.get(HISTORY).status_code == 401


@ONE_DATABASE
def test_the_first_account_ends_the_streams_of_those_who_have_not_signed_in(served: Served) -> None:
    with served.stream(GENERAL) as listener:
        last = served.records.pending()
        assert last.id in mentioned(told(listener, last))
        people.add(served.records.database, "ana", Role.ADMIN)
        listener.rest()

    assert served.client.get(GENERAL).status_code == 401
