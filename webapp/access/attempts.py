"""Attempts: how often somebody may try a password or a secret. Counted in Redis, for all web processes together."""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Any

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from redis import RedisError
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from starlette.requests import Request

from jobs.people import audit, names, secrets
from webapp.access import refusals
from webapp.errors import TooManyAttemptsError

log = logging.getLogger(__name__)

#: Failed sign-ins for one account, and from one address.
ACCOUNT = RateLimitItemPerMinute(5, namespace="sign-in-account")
ADDRESS = RateLimitItemPerMinute(20, namespace="sign-in-address")
#: Refused API tokens and secrets from one address.
TOKEN = RateLimitItemPerMinute(20, namespace="token-address")
#: Entries in the audit log about one account that may not do what it tries.
FORBIDDEN = RateLimitItemPerMinute(20, namespace="forbidden-account")
#: Entries in the audit log about one limit that is reached: who goes on all the same must not fill it.
NOTED = RateLimitItemPerMinute(1, namespace="noted")
#: The action in the audit log.
SIGN_IN = "sign_in"
#: Seconds that Redis may take to answer; and, after it took longer, seconds in which it is not asked.
REDIS_SECONDS = 0.5
REDIS_PAUSE_SECONDS = 5.0
#: Seconds that a sign-in waits for others that are being checked, and seconds after which one counts as over although
#: nobody told its result.
PATIENCE = 5.0
LONGEST = 15.0
#: The prefix length of the IPv6 network that one customer of a provider usually has (RFC 6177).
IPV6_PREFIX = 64


@dataclass(frozen=True)
class _Limit:
    item: RateLimitItemPerMinute
    key: str


class Attempts:
    """A sign-in calls `check` before it looks at the password, and then `note_failure` or `note_success`.

    What this process counted counts too, whether Redis answers or not: while it does not, each web process has limits
    of its own. Sign-ins that are being checked count as failures, so that no number of them at once exceeds a limit.
    """

    def __init__(self, redis_url: str) -> None:
        self._pool = ConnectionPool.from_url(
            redis_url,
            socket_timeout=REDIS_SECONDS,
            socket_connect_timeout=REDIS_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        storage = RedisStorage(
            "async+redis://",
            implementation="redispy",
            key_prefix="bulk_upload:attempts",
            connection_pool=self._pool,  # type: ignore[arg-type]  # documented, but not in its annotation
        )
        self._shared = MovingWindowRateLimiter(storage)
        self._own = MovingWindowRateLimiter(MemoryStorage())
        self._redis_rests_until = 0.0
        #: By limit: when each sign-in that is being checked counts as over.
        self._running: dict[_Limit, list[float]] = {}
        self._change = asyncio.Event()
        #: Sign-ins that failed since this process began, those that were not even tried included.
        self.failures = 0
        #: By address: the moment until which a secret from it is refused.
        self._blocked: dict[str, float] = {}

    async def close(self) -> None:
        with suppress(RedisError, OSError):
            await self._pool.disconnect()

    async def check(self, request: Request[Any], name: str | None) -> None:
        """name: of the account, as it was typed; None: it is not known yet, so only the address counts.

        Raises TooManyAttemptsError, also for those who know the password.
        """
        limits, deadline = _of_sign_in(request, name), time.monotonic() + PATIENCE
        while True:
            change = self._change
            used = [await self._used(limit) for limit in limits]
            for limit, (count, wait) in zip(limits, used, strict=True):
                if count >= limit.item.amount:
                    await self._refuse(request, name, limit, wait)
            if change is self._change and self._reserve(limits, [count for count, _ in used]):
                return
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TooManyAttemptsError("Too many sign-ins at once.", 1)
            with suppress(TimeoutError):
                await asyncio.wait_for(change.wait(), min(remaining, 1))

    async def note_failure(self, request: Request[Any], name: str | None, reason: str = "") -> None:
        """Count it, and note it in the audit log."""
        await self.count_failure(request, name)
        await refusals.note(request, SIGN_IN, _object(name), detail=reason)

    async def count_failure(self, request: Request[Any], name: str | None) -> None:
        self.failures += 1
        limits = _of_sign_in(request, name)
        for limit in limits:
            await self._hit(limit)
        self._release(limits)

    async def note_success(self, request: Request[Any], name: str | None) -> None:
        self._release(_of_sign_in(request, name))

    def check_secret(self, request: Request[Any]) -> None:
        """Raises TooManyAttemptsError for addresses from which too many secrets were wrong: it is guessable, being
        chosen by people. API tokens are not, so an office need not wait for one script of somebody's."""
        wait = self._blocked.get(_address(request), 0) - time.monotonic()
        if wait > 0:
            raise TooManyAttemptsError(_TOKENS, wait)

    async def note_refused_token(self, request: Request[Any]) -> None:
        """Note an API token or a secret that is wrong. Raises TooManyAttemptsError after too many."""
        address = _address(request)
        limit = _Limit(TOKEN, address)
        if await self._hit(limit):
            await refusals.note_token(request)
            return
        _count, wait = await self._used(limit)
        now = time.monotonic()
        self._blocked = {each: until for each, until in self._blocked.items() if until > now}
        self._blocked[address] = now + wait
        raise TooManyAttemptsError(_TOKENS, wait)

    async def note_refused_name(self, request: Request[Any], name: str, reason: str) -> None:
        """Note somebody whom a proxy names and who may not use this server. Nothing is limited but the notes."""
        if await self._hit(_Limit(NOTED, f"name:{secrets.digest(_printable(name))}")):
            await refusals.note(request, SIGN_IN, _object(name), detail=reason)

    async def note_forbidden(self, request: Request[Any], name: str) -> None:
        """Note somebody who is known and may not do this. Nothing is limited but the notes."""
        if await self._hit(_Limit(FORBIDDEN, secrets.digest(names.key(name)))):
            await refusals.note(request, "forbidden", f"{request.method} {request.url.path}", actor=name)

    def _reserve(self, limits: Sequence[_Limit], used: Sequence[int]) -> bool:
        """Count a sign-in as running, if no limit would be exceeded if all that are running failed."""
        now = time.monotonic()
        running = [[until for until in self._running.get(limit, ()) if until > now] for limit in limits]
        is_free = all(
            count + len(ends) < limit.item.amount for limit, count, ends in zip(limits, used, running, strict=True)
        )
        for limit, ends in zip(limits, running, strict=True):
            self._keep(limit, [*ends, now + LONGEST] if is_free else ends)
        return is_free

    def _release(self, limits: Sequence[_Limit]) -> None:
        for limit in limits:
            self._keep(limit, self._running.get(limit, [])[1:])
        self._change.set()
        self._change = asyncio.Event()

    def _keep(self, limit: _Limit, ends: list[float]) -> None:
        if ends:
            self._running[limit] = ends
        else:
            self._running.pop(limit, None)

    async def _refuse(self, request: Request[Any], name: str | None, limit: _Limit, wait: float) -> None:
        """Raises TooManyAttemptsError."""
        self.failures += 1
        if await self._hit(_Limit(NOTED, f"{limit.item.namespace}:{limit.key}")):
            await refusals.note(request, SIGN_IN, _object(name), detail="Too many failed attempts.")
        what = "for this account" if limit.item is ACCOUNT else "from this address"
        raise TooManyAttemptsError(f"Too many failed sign-ins {what}.", wait)

    async def _hit(self, limit: _Limit) -> bool:
        """Count one. Returns whether it was within the limit."""
        is_within = await self._own.hit(limit.item, limit.key)
        if self._asks_redis:
            try:
                async with asyncio.timeout(REDIS_SECONDS):
                    return await self._shared.hit(limit.item, limit.key) and is_within
            except (RedisError, OSError) as error:
                self._rest(error)
        return is_within

    async def _used(self, limit: _Limit) -> tuple[int, float]:
        """How many are counted, and seconds until the first of them counts no longer."""
        stats = [await self._own.get_window_stats(limit.item, limit.key)]
        if self._asks_redis:
            try:
                async with asyncio.timeout(REDIS_SECONDS):
                    stats.append(await self._shared.get_window_stats(limit.item, limit.key))
            except (RedisError, OSError) as error:
                self._rest(error)
        fewest = min(stats, key=lambda each: each.remaining)
        return limit.item.amount - fewest.remaining, max(1.0, fewest.reset_time - time.time())

    @property
    def _asks_redis(self) -> bool:
        return time.monotonic() >= self._redis_rests_until

    def _rest(self, error: Exception) -> None:
        log.warning("Redis does not answer, so each web process counts failed sign-ins for itself: %s", error)
        self._redis_rests_until = time.monotonic() + REDIS_PAUSE_SECONDS


_TOKENS = "Too many wrong tokens or secrets from this address."


def _of_sign_in(request: Request[Any], name: str | None) -> list[_Limit]:
    address = _Limit(ADDRESS, _address(request))
    if name is None:
        return [address]
    # A digest: Redis keeps no names, and no long ones.
    return [_Limit(ACCOUNT, secrets.digest(names.key(_printable(name)))), address]


def _address(request: Request[Any]) -> str:
    """The address of a client, or the IPv6 network of one, who may use all of its addresses."""
    host = request.client.host if request.client else ""
    try:
        address = ip_address(host)
    except ValueError:
        return host[:100]
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or IPv6Address(int(address) >> (128 - IPV6_PREFIX) << (128 - IPV6_PREFIX))
    return str(address)


def _object(name: str | None) -> str:
    if name is None:
        return ""
    return f"user {_printable(name)[: audit.TYPED]}"


def _printable(name: str) -> str:
    """What a database can store of what somebody typed."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in name[:1000])
