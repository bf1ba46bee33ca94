"""What a process of the tests makes once, though each test has an engine and an application of its own: compiled SQL
statements and templates. Without it, a third of the time that tests take in their own processes goes into them."""

from functools import partial
from typing import Any

import jinja2
import sqlalchemy as sa
from jinja2.bccache import Bucket
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.dialects.sqlite.base import SQLiteDialect
from sqlalchemy.util import LRUCache

from webapp import templating

#: Statements by dialect; far more than there are.
_statements: dict[type[sa.Dialect], LRUCache[Any, Any]] = {}


def share_what_is_compiled() -> None:
    """Call once."""
    for dialect in (SQLiteDialect, PGDialect):  # a key of a compiled statement names its dialect
        dialect.__eq__ = lambda self, other: type(self) is type(other)  # type: ignore[method-assign]
        dialect.__hash__ = lambda self: hash(type(self))  # type: ignore[method-assign]
    sa.event.listen(sa.Engine, "engine_connect", _share_statements)
    setattr(templating, "Environment", partial(jinja2.Environment, bytecode_cache=_Templates()))  # noqa: B010


def _share_statements(connection: sa.Connection) -> None:
    kind = type(connection.dialect)
    connection.engine._compiled_cache = _statements.setdefault(kind, LRUCache(10_000))


class _Templates(jinja2.BytecodeCache):
    """In memory."""

    def __init__(self) -> None:
        self._compiled: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if (compiled := self._compiled.get(bucket.key)) is not None:
            bucket.bytecode_from_string(compiled)

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._compiled[bucket.key] = bucket.bytecode_to_string()
