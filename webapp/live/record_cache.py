"""The newest records of uploads, kept in memory."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from jobs import uploads
from jobs.database import Database
from jobs.uploads import Upload
from webapp.database_access import read
from webapp.live.single_flight import SingleFlight

#: Uploads whose record is kept: more than change at the same time.
MAX_RECORDS = 1_000
#: Column names and notes that all records together may have. A file can have 1,500 columns, and each takes about 100
#: bytes of memory.
MAX_TEXTS = 100_000
#: Texts that a warning counts for: it may list 20 names, and has a sentence.
WARNING_TEXTS = 25


class RecordCache:
    """Events say which state an upload has; rows of the history need its record, which many clients want at once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._records: OrderedDict[int, Upload] = OrderedDict()  # by upload id, least recently stored first
        self._texts = 0
        self._wanted: set[int] = set()
        self._reads: SingleFlight[None, dict[int, Upload]] = SingleFlight(self._read_wanted)

    async def get(self, seqs: Mapping[int, int]) -> list[Upload]:
        """The records of these uploads, at least as new as their seq, in the same order. All concurrent callers share
        one query. An upload that does not exist is left out."""
        found = {upload_id: self._records[upload_id] for upload_id in seqs if upload_id in self._records}
        outdated = {id_ for id_, seq in seqs.items() if id_ not in found or found[id_].seq < seq}
        if outdated:
            self._wanted |= outdated
            found |= await self._reads.get(None)
        return [found[upload_id] for upload_id in seqs if upload_id in found]

    def remember(self, records: Iterable[Upload]) -> None:
        """Keep these records, unless newer ones are kept already."""
        self._store(records)
        self._drop_surplus()

    async def _read_wanted(self, _key: None) -> dict[int, Upload]:
        wanted, self._wanted = self._wanted, set()
        records = await read(self._database, lambda connection: uploads.get_many(connection, wanted))
        self._store(records)
        found = {record.id: self._records[record.id] for record in records}  # before any of them is dropped
        self._drop_surplus()
        return found

    def _store(self, records: Iterable[Upload]) -> None:
        for record in records:
            known = self._records.get(record.id)
            if known is None or known.seq <= record.seq:
                self._texts += _texts(record) - (0 if known is None else _texts(known))
                self._records[record.id] = record
                self._records.move_to_end(record.id)

    def _drop_surplus(self) -> None:
        while len(self._records) > MAX_RECORDS or self._texts > MAX_TEXTS:
            _, dropped = self._records.popitem(last=False)
            self._texts -= _texts(dropped)


def _texts(record: Upload) -> int:
    return len(record.header or ()) + len(record.notes) + WARNING_TEXTS * len(record.warnings)
