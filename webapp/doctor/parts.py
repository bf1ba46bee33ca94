"""The other parts of the system: database, Redis, workers, and their clocks."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from alembic.script import ScriptDirectory
from redis import Redis, RedisError

from jobs import migrations
from jobs.database import Database, utc_now
from jobs.errors import BulkUploadError, StoreUnavailableError
from jobs.lanes import Lane
from jobs.queue import UploadQueue
from jobs.settings import Settings
from jobs.store.chosen import named
from jobs.tables import UtcDateTime
from webapp.doctor import machine
from webapp.doctor.finding import Finding, failed, ok, warning
from webapp.supervisor import banner

#: Seconds that a part may take to answer.
PATIENCE = 5.0
OLDEST_POSTGRESQL = 13
OLDEST_REDIS = (6, 2)
#: Seconds that the clocks of two machines may differ before it is worth mending, and before leases go wrong.
CLOCKS_DIFFER, CLOCKS_BREAK = 1.0, 5.0


def bucket(settings: Settings) -> Iterator[Finding]:
    """Whether a file can be written into the bucket, read and removed."""
    store = named(settings, settings.store)
    if not store.is_bucket:
        return
    name, content = uuid4().hex, b"bulk-upload doctor"
    try:
        store.put(name, iter([content]))
        same = b"".join(store.blocks(name, 0, len(content))) == content
        store.remove(name)
    except (StoreUnavailableError, FileNotFoundError) as error:
        reason = (getattr(error, "why", "") or str(error)).partition("\n")[0]
        yield failed("bucket", f"{store} cannot be used: {reason}. Check its name, the endpoint and the key.")
        return
    if not same:
        yield failed("bucket", f"{store} does not give back what is written into it.")
        return
    yield ok("bucket", f"{store} can be written and read.")


def database(settings: Settings) -> Iterator[Finding]:
    """What is wrong with the database; if nothing is, also whether its clock is right."""
    where = banner.database(settings)
    if settings.sqlite_folder is None:
        if find_spec("psycopg") is None:
            yield failed("database", "The driver of PostgreSQL is missing: pip install 'bulk-upload[postgres]'.")
            return
        os.environ.setdefault("PGCONNECT_TIMEOUT", f"{PATIENCE:.0f}")
    else:
        path = Path(settings.database.partition(":///")[2])
        if not path.exists():
            yield warning("database", f"{path} does not exist yet. `bulk-upload migrate` creates it.")
            return
        if not os.access(path, os.R_OK | os.W_OK):
            yield failed("database", f"{path} may not be written by this user. Give it to the user of the server.")
            return
    try:
        opened = Database(settings.database, lock_timeout=PATIENCE)
        try:
            with opened.reading() as connection:
                yield from _of_database(connection, settings, where)
        finally:
            opened.close()
    except (sa.exc.SQLAlchemyError, BulkUploadError, OSError) as error:
        reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
        yield failed("database", f"{where} cannot be used: {reason}. Check DATABASE_URL, and that it runs.")


def _of_database(connection: sa.Connection, settings: Settings, where: str) -> Iterator[Finding]:
    is_sqlite = settings.sqlite_folder is not None
    if is_sqlite:
        yield from _of_sqlite(connection, settings, where)
    else:
        yield from _of_postgresql(connection, where)
    yield _migrations(connection)
    if not is_sqlite:
        moment = connection.execute(sa.select(sa.type_coerce(utc_now(), UtcDateTime))).scalar_one()
        yield _clock("the database", (moment - datetime.now(UTC)).total_seconds())


def _of_sqlite(connection: sa.Connection, settings: Settings, where: str) -> Iterator[Finding]:
    mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
    folder = settings.sqlite_folder
    assert folder is not None
    if (kind := machine.is_remote(folder)) is not None:
        yield failed(
            "database",
            f"{where} is on a file system of another machine ({kind}), where SQLite's locks do not work, and rows can"
            " be lost. Move it to a disk of this machine, or use PostgreSQL.",
        )
    elif mode != "wal":
        yield failed(
            "database", f"{where} is in the mode {mode} instead of wal: its disk cannot be shared by processes."
        )
    else:
        yield ok("database", f"{where}, in WAL mode, on a disk of this machine.")


def _of_postgresql(connection: sa.Connection, where: str) -> Iterator[Finding]:
    number = int(str(connection.exec_driver_sql("SHOW server_version_num").scalar()))
    may_create = connection.exec_driver_sql(
        "SELECT has_schema_privilege(current_user, current_schema(), 'CREATE')"
    ).scalar()
    user = connection.exec_driver_sql("SELECT current_user").scalar()
    is_read_only = connection.exec_driver_sql("SELECT pg_is_in_recovery()").scalar()
    if number // 10_000 < OLDEST_POSTGRESQL:
        yield failed("database", f"PostgreSQL {number // 10_000} is too old: use {OLDEST_POSTGRESQL} or newer.")
    elif is_read_only:
        yield failed("database", f"{where} is a standby, which takes no changes. Name the primary in DATABASE_URL.")
    elif not may_create:
        yield failed(
            "database",
            f"The user {user} may not create tables in {where}. As its owner: GRANT CREATE ON SCHEMA public TO {user};",
        )
    else:
        yield ok("database", f"{where}, version {number // 10_000}.{number % 10_000}.")


def _migrations(connection: sa.Connection) -> Finding:
    scripts = ScriptDirectory(str(Path(str(migrations.__file__)).parent))
    [newest] = scripts.get_heads()
    if not sa.inspect(connection).has_table("alembic_version"):
        return warning("migrations", "The database is empty. Run `bulk-upload migrate`.")
    present = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    if present == newest:
        return ok("migrations", f"The schema is the newest, {newest}.")
    if present in {each.revision for each in scripts.walk_revisions()}:
        return failed("migrations", f"The schema is {present}, this release needs {newest}. Run `bulk-upload migrate`.")
    return warning(
        "migrations",
        f"The schema is {present}, which this release does not know: a newer one runs already. Install it here too.",
    )


def redis(settings: Settings) -> Iterator[Finding]:
    where = banner.redis(settings)
    try:
        with Redis.from_url(settings.redis, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE) as client:
            info: dict[str, Any] = client.info()
            seconds, microseconds = client.time()
            here = time.time()
    except (RedisError, OSError, ValueError) as error:
        if settings.redis_url is None:
            yield warning("redis", "The private Redis does not run. It does while `bulk-upload serve` does.")
        else:
            reason = str(error).removesuffix(".")
            yield failed("redis", f"Redis {where} cannot be used: {reason}. Check REDIS_URL, and that it runs.")
        return
    yield _of_redis(info, where)
    yield _clock("Redis", seconds + microseconds / 1e6 - here)


def _of_redis(info: dict[str, Any], where: str) -> Finding:
    name = "Valkey" if "valkey_version" in info else "Redis"
    text = f"{name} {info.get('valkey_version') or info['redis_version']} {where}"
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if tuple(int(part) for part in str(info["redis_version"]).split(".")[:2]) < OLDEST_REDIS:
        return failed("redis", f"{text} is too old: use {'.'.join(map(str, OLDEST_REDIS))} or newer.")
    if info.get("role") not in (None, "master"):
        return failed("redis", f"{text} is a replica, which takes no changes. Name the primary in REDIS_URL.")
    if policy != "noeviction":
        return failed(
            "redis",
            f"{text} may drop waiting uploads (maxmemory-policy {policy}): CONFIG SET maxmemory-policy noeviction, and"
            " the same in its file.",
        )
    limit, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    if limit and used > 0.9 * limit:
        return warning("redis", f"{text} has used {used:,} of {limit:,} bytes. Raise maxmemory.")
    if not int(info.get("aof_enabled", 0)):
        return ok("redis", f"{text}. It keeps nothing over a restart, so uploads wait some seconds then.")
    return ok("redis", f"{text}.")


def workers(settings: Settings) -> Iterator[Finding]:
    queue = UploadQueue(settings.redis, settings.sqlite_folder)
    try:
        status = queue.status()
        found = queue.versions() if status.reachable else {}
    finally:
        queue.close()
    if not status.reachable:
        yield warning("workers", "Not checked: Redis does not answer.")
        return
    for lane in Lane:
        count = status.workers.taking(lane)
        what = "small files" if lane is Lane.QUICK else "large files"
        if count:
            yield ok(f"workers {lane}", f"{count:,} take {what}.")
        else:
            yield failed(f"workers {lane}", f"None takes {what}. Start `bulk-upload worker --lane {lane}`, or without.")
    own = version(machine.PACKAGE)
    others = {each or "an earlier release": count for each, count in found.items() if each != own}
    if others:
        which = ", ".join(f"{count:,} of {each}" for each, count in sorted(others.items()))
        yield warning(
            "worker versions", f"This is {own}, but there are workers of other releases: {which}. Restart them."
        )
    elif found:
        yield ok("worker versions", f"All are of {own}.")


def _clock(of: str, ahead: float) -> Finding:
    check = f"clock of {of}"
    if abs(ahead) <= CLOCKS_DIFFER:
        return ok(check, f"It differs by {abs(ahead):.2f} s from this machine's.")
    text = f"It is {abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} this machine's. Let NTP set both."
    return failed(check, text) if abs(ahead) > CLOCKS_BREAK else warning(check, text)
