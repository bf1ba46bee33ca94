"""Changes of what people may see and do."""

from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa

from jobs import datasets
from jobs.errors import InvalidGrantError, NotAllowedError
from jobs.excerpt import excerpt
from jobs.people import accounts, passwords
from jobs.people.accounts import Account
from jobs.people.passwords import Hashed
from webapp import threads
from webapp.access import refusals
from webapp.database_access import read, write
from webapp.state import AppRequest

#: Datasets that a form offers.
DATASETS_OFFERED = 500

T = TypeVar("T")


async def make(request: AppRequest, change: Callable[[sa.Connection], T]) -> T:
    """Make a change, which takes effect at once in this process; others look every second."""
    result = await write(request.state["database"], change)
    await request.state["mode"].refresh()
    return result


async def hashed(password: str, name: str) -> Hashed:
    """Raises UnsafePasswordError, ServerBusyError."""
    return await threads.hashes.run(lambda: passwords.hashed(password, name))


async def knows_password(request: AppRequest, name: str, password: str) -> bool:
    """Whether whoever has signed in knows the password of the account too. Raises TooManyAttemptsError."""
    attempts = request.state["attempts"]
    await attempts.check(request, name)
    found = await read(request.state["database"], lambda connection: accounts.credentials(connection, name))
    is_right = await threads.hashes.run(lambda: passwords.verify(password, found.hashed))
    await (attempts.note_success if is_right else attempts.count_failure)(request, name)
    if not is_right:
        await refusals.note(request, "user.password", f"user {name}", actor=name)
    return is_right


def known_dataset(request: AppRequest, connection: sa.Connection, name: str | None) -> str | None:
    """The dataset for which a token is to be. None, "": for all. Raises InvalidGrantError if the caller sees none with
    this name."""
    if not name:
        return None
    if not (request.state["policy"].view.shows(name) and "\x00" not in name and datasets.exists(connection, name)):
        raise InvalidGrantError(f"There is no dataset called “{excerpt(name)}”.")
    return name


def offered_datasets(request: AppRequest, connection: sa.Connection) -> list[str]:
    """Names that a form offers; others can be typed."""
    view = request.state["policy"].view
    return [name for name in datasets.names(connection) if view.shows(name)][:DATASETS_OFFERED]


def own_account(request: AppRequest, connection: sa.Connection) -> Account:
    """The caller's. Raises NotAllowedError: the single user has none."""
    account_id = request.state["policy"].caller.account_id
    account = None if account_id is None else accounts.by_id(connection, account_id)
    if account is None:
        raise NotAllowedError("This belongs to an account, and nobody has one yet: add people first.")
    return account
