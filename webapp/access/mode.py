"""Mode: whether everybody has to sign in."""

import logging

import sqlalchemy as sa

from jobs.database import Database
from jobs.people import accounts, policy_version
from jobs.settings import Settings
from webapp.database_access import read

log = logging.getLogger(__name__)


class Mode:
    """is_team: there is an account, or accounts come from elsewhere. needs_set_up: nobody may do anything yet.

    version: of the policy, as the last look at the database found it.
    """

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._comes_from_elsewhere = bool(settings.oidc_issuer or settings.auth_header)
        self._is_set_up_first = settings.setup
        self._has_account = False
        self.version = -1

    @property
    def is_team(self) -> bool:
        return self._has_account or self._comes_from_elsewhere

    @property
    def needs_set_up(self) -> bool:
        return self._is_set_up_first and not self.is_team

    async def refresh(self) -> bool:
        """Look at the database. Returns whether what anybody may see or do has changed since the last look."""

        def look(connection: sa.Connection) -> tuple[bool, int]:
            version = policy_version.current(connection)
            return (self._has_account or accounts.exist(connection)), version

        before = self.version
        self._has_account, self.version = await read(self._database, look)
        return self.version != before
