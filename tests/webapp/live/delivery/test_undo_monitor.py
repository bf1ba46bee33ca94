"""Which uploads are being undone, as open pages are told."""

import asyncio

from jobs.events import Event
from jobs.undo import orders as undo_orders
from jobs.uploads import Upload
from tests.support.hubs import Client, blocking
from tests.support.serving import Records
from webapp.live.delivery.feeds import Feeds
from webapp.live.delivery.undo_monitor import INTERVAL, UndoMonitor


def imported(records: Records) -> Upload:
    return records.complete(records.advance(records.processing(), 10))


def undo(records: Records, upload: Upload) -> Upload:
    with records.database.transaction() as connection:
        return undo_orders.order(connection, upload)


def test_an_upload_is_invalidated_when_an_undo_of_it_begins_and_when_that_is_stopped(own_records: Records) -> None:
    records, feeds = own_records, Feeds(0.001)
    records.dataset("june")
    sent = imported(records)
    monitor = UndoMonitor(records.database, feeds)

    async def play() -> None:
        with feeds.subscribe((client := Client()).subscriber, sent.id):
            await monitor.refresh()
            undone_by = await blocking(undo, records, sent)
            await monitor.refresh()
            await client.is_invalidated(sent)
            client.invalidated.clear()
            await blocking(records.cancel, undone_by)
            await monitor.refresh()
            await client.is_invalidated(sent)

    asyncio.run(play())


def test_it_looks_when_an_event_of_an_undo_arrives(own_records: Records) -> None:
    records, feeds = own_records, Feeds(0.001)
    records.dataset("june")
    sent = imported(records)
    monitor = UndoMonitor(records.database, feeds)

    async def play() -> None:
        with feeds.subscribe((client := Client()).subscriber, sent.id):
            looking = asyncio.create_task(monitor.run())
            ordered = await blocking(undo, records, sent)
            feeds.put(Event.from_upload(ordered))
            async with asyncio.timeout(INTERVAL / 2):
                await looking
            await client.is_invalidated(sent)

    asyncio.run(play())
