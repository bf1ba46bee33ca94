"""The link with which a person makes the first administrator, where nobody may do anything before."""

from jobs.database import Database
from jobs.people import invitations
from jobs.settings import Settings


def is_wanted(settings: Settings) -> bool:
    """Whether everybody has to sign in although there may be no account yet."""
    return settings.setup or bool(settings.oidc_issuer or settings.auth_header)


def make(settings: Settings) -> str | None:
    """Its secret; None if it is not wanted, or there is an account. The database must be migrated."""
    if not is_wanted(settings):
        return None
    database = Database(settings.database)
    try:
        with database.transaction() as connection:
            return invitations.make_set_up_link(connection)
    finally:
        database.close()


def url(server: str, secret: str) -> str:
    """server: its address, as a browser on this machine reaches it."""
    return f"{server}/set-up/{secret}"
