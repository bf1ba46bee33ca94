"""Accounts for tests."""

import sqlalchemy as sa

from jobs.people import accounts
from jobs.people.accounts import Account
from jobs.people.audit import Actor, Via
from jobs.people.passwords import Hashed
from jobs.people.roles import Role
from jobs.people.sessions import Lifetime

#: Stands for a hash where nobody signs in: a real one takes time.
HASHED = Hashed("a hash")
#: Of sessions that outlive every test.
LIFETIME = Lifetime(3600, 7200)
ACTOR = Actor("root", Via.API, "192.0.2.1")
#: Is neither common nor like a name.
PASSWORD = "violet harbour 29"


def add_account(connection: sa.Connection, name: str, role: Role = Role.VIEWER) -> Account:
    return accounts.add(connection, name, role, hashed=HASHED)
