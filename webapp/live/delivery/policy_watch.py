"""Ends the streams of clients who may no longer see what they saw when they connected."""

import asyncio
import time
from collections.abc import Iterable

import sqlalchemy as sa

from jobs.database import Database
from jobs.people import accounts, sessions, tokens
from jobs.people.policy import SINGLE_USER, Caller, Policy
from jobs.people.sessions import Lifetime
from webapp.access.mode import Mode
from webapp.database_access import read
from webapp.live.delivery.feeds import Feeds

#: Seconds between two looks at the number that each change of permissions makes larger.
INTERVAL = 1.0
#: Seconds between two looks at what ends by itself: sessions and tokens expire.
EXPIRY_INTERVAL = 3.0


class PolicyWatch:
    """A client whose policy changes reconnects, and gets what it may see now; 401 if that is nothing."""

    def __init__(self, database: Database, feeds: Feeds, mode: Mode, lifetime: Lifetime) -> None:
        self._database = database
        self._feeds = feeds
        self._mode = mode
        self._lifetime = lifetime
        self._looked_at = time.monotonic()
        #: Of the policy when it was last looked at; requests that change it refresh the mode too.
        self._version = mode.version

    async def run(self) -> None:
        """Wait, then look whether anything changed."""
        await asyncio.sleep(INTERVAL)
        await self._mode.refresh()
        if self._mode.version != self._version or time.monotonic() - self._looked_at >= EXPIRY_INTERVAL:
            self._looked_at, self._version = time.monotonic(), self._mode.version
            await self.enforce()

    async def enforce(self) -> None:
        """Compare the policy of each open stream with what the database says now."""
        subscribers = [each for feed in self._feeds.all() for each in feed.subscribers]
        if self._mode.is_team:
            policies = await self._policies({each.policy.caller for each in subscribers})
        else:
            policies = {SINGLE_USER: Policy(SINGLE_USER)}
        for subscriber in subscribers:
            if policies.get(subscriber.policy.caller) != subscriber.policy:
                subscriber.end()

    async def _policies(self, callers: Iterable[Caller]) -> dict[Caller, Policy]:
        """Of those callers that are still known as they were."""

        def find(connection: sa.Connection) -> dict[Caller, Policy]:
            known = list(self._still_known(connection, [each for each in callers if each.account_id is not None]))
            return dict(zip(known, Policy.of_all(connection, known), strict=True))

        return await read(self._database, find)

    def _still_known(self, connection: sa.Connection, callers: list[Caller]) -> Iterable[Caller]:
        owners = accounts.enabled(connection, {each.account_id for each in callers if each.account_id is not None})
        open_sessions = sessions.alive(
            connection, [each.session_id for each in callers if each.session_id is not None], self._lifetime
        )
        valid_tokens = tokens.valid(connection, [each.token_id for each in callers if each.token_id is not None])
        for caller in callers:
            owner = owners.get(caller.account_id or 0)
            if (
                owner is not None
                and owner.role is caller.role
                and caller.session_id in (None, *open_sessions)
                and caller.token_id in (None, *valid_tokens)
            ):
                yield caller
