"""How many calls a key may make. Each key has a bucket that refills steadily and holds a minute's worth, so a burst
is welcome and a flood is not. The buckets live on the Redis server that all web processes share; a process draws a
few calls at a time from there and spends them by itself, so that a busy key costs one question in many calls. While
that server is away nothing is refused: a quota protects the hub, and must not be what brings it down."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass, field
from typing import Any, Protocol

import redis.asyncio as redis
import structlog
from redis.exceptions import RedisError

from hub.kernel import metrics
from hub.kernel.errors import TooMany
from hub.kernel.settings import settings

log = structlog.get_logger()

MINUTE_MS = 60_000
SPEND_WITHIN_S = 1.0  # what was drawn and not spent by then is let go
SHARE_DRAWN = 600  # at most this part of a minute's calls is drawn at once: 100 ms' worth
ASK_AGAIN_S = 1.0  # while the server is away
ANSWER_WITHIN_S = 0.25
_REMEMBERED = 20_000  # keys

# A bucket is one number: the moment at which it will be full again (the "theoretical arrival time" of the generic cell
# rate algorithm, ITU-T I.371), in ms of the server's own clock, so that web processes need not agree on the time.
_DRAW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local each = tonumber(ARGV[1])
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
local free = math.floor((tonumber(ARGV[2]) - (full - now)) / each + 1e-6)
local given = math.max(0, math.min(free, tonumber(ARGV[3])))
if given > 0 then
  full = full + given * each
  redis.call('SET', KEYS[1], string.format('%.3f', full), 'PX', math.ceil(full - now) + 1000)
end
return {given, math.max(0, free - given), math.ceil(full - now)}
"""


class Caller(Protocol):
    """Of a caller's key only this matters here."""

    @property
    def scope(self) -> str: ...
    @property
    def key_id(self) -> int: ...
    @property
    def per_minute(self) -> int | None: ...


@dataclass(slots=True)
class _Bucket:
    """What this process knows of one key's bucket."""

    drawn: int = 0  # calls in hand
    until: float = 0.0  # when what is in hand is let go, monotonic
    draw: int = 1  # how many to draw next time
    left: int = 0  # on the server at the last drawing
    full_in_s: float = 0.0
    shut_until: float = 0.0
    asked: asyncio.Lock = field(default_factory=asyncio.Lock)


def per_minute(caller: Caller) -> int:
    """The calls a minute that this key may make; 0 is no limit."""
    if caller.per_minute is not None:
        return caller.per_minute
    config = settings()
    return int(getattr(config, f"quota_{caller.scope}_per_minute"))


class Quota:
    """The buckets as one process sees them. Make it on the loop that uses it."""

    def __init__(self, redis_url: str) -> None:
        address = redis_url.replace("redis+socket://", "unix://", 1)  # kombu's name of a Unix socket, and redis-py's
        self._redis: Any = redis.from_url(
            address, socket_timeout=ANSWER_WITHIN_S, socket_connect_timeout=ANSWER_WITHIN_S, max_connections=8
        )
        self._script = self._redis.register_script(_DRAW)
        self._buckets: dict[int, _Bucket] = {}
        self._away_until = 0.0
        self._away = False

    async def spend(self, caller: Caller) -> dict[str, str]:
        """Count one call; the headers that tell the caller where it stands. Raises TooMany when there is none left."""
        limit = per_minute(caller)
        if limit == 0:
            return {}
        tick = time.monotonic()
        bucket = self._buckets.get(caller.key_id)
        if bucket is None:
            if len(self._buckets) > _REMEMBERED:
                self._buckets.clear()
            bucket = self._buckets[caller.key_id] = _Bucket()
        if bucket.drawn > 0 and bucket.until > tick:
            bucket.drawn -= 1
        elif tick < self._away_until:
            metrics.QUOTA_UNCHECKED.inc()
            return {}
        elif not await self._draw(bucket, caller.key_id, limit):
            return {}
        return _headers(bucket, limit)

    async def _draw(self, bucket: _Bucket, key_id: int, limit: int) -> bool:
        """Take one call for this caller and some for those that follow; False: nobody could be asked."""
        async with bucket.asked:  # whoever waited here meanwhile finds what the first one drew
            tick = time.monotonic()
            if bucket.drawn > 0 and bucket.until > tick:
                bucket.drawn -= 1
                return True
            if bucket.shut_until > tick:
                raise _too_many(bucket, limit, bucket.shut_until - tick)
            if tick < self._away_until:
                metrics.QUOTA_UNCHECKED.inc()
                return False
            brisk = bucket.drawn == 0 and tick < bucket.until  # the last drawing was spent before its time
            bucket.draw = min(max(1, limit // SHARE_DRAWN), bucket.draw * 2) if brisk else 1
            each = MINUTE_MS / limit
            try:
                given, left, full_in = await self._script(
                    keys=[f"quota:{key_id}"], args=[f"{each:.6f}", MINUTE_MS, bucket.draw]
                )
            except (RedisError, OSError, TimeoutError) as error:
                self._gone(error)
                return False
            self._back()
            tick = time.monotonic()
            bucket.left, bucket.full_in_s = int(left), int(full_in) / 1000
            if not given:
                wait = max(0.001, (int(full_in) - MINUTE_MS + each) / 1000)
                bucket.drawn, bucket.shut_until = 0, tick + min(wait, 1.0)  # others may have drawn more than they spend
                raise _too_many(bucket, limit, wait)
            bucket.drawn, bucket.until = int(given) - 1, tick + SPEND_WITHIN_S
            return True

    def _gone(self, error: Exception) -> None:
        self._away_until = time.monotonic() + ASK_AGAIN_S
        metrics.QUOTA_UNCHECKED.inc()
        if not self._away:
            log.warning("quota_unreachable", error=str(error), effect="no quota is applied until it is back")
        self._away = True

    def _back(self) -> None:
        if self._away:
            log.info("quota_back")
        self._away = False

    async def close(self) -> None:
        await self._redis.aclose()


def _headers(bucket: _Bucket, limit: int) -> dict[str, str]:
    """As draft-ietf-httpapi-ratelimit-headers names them: the policy, what is left, and seconds until it is full."""
    left = bucket.left + bucket.drawn
    return {
        "RateLimit-Policy": f'"key";q={limit};w=60',
        "RateLimit": f'"key";r={left};t={math.ceil(bucket.full_in_s)}',
    }


def _too_many(bucket: _Bucket, limit: int, wait: float) -> TooMany:
    metrics.QUOTA_REFUSED.inc()
    return TooMany(
        f"this key may make {limit} calls a minute; wait {max(1, math.ceil(wait))} s, or send more in one call",
        code="quota",
        after=max(1.0, math.ceil(wait)),
        headers=_headers(bucket, limit),
    )


_quota: Quota | None = None


def connect(redis_url: str) -> None:
    """Apply quotas in this process from now on."""
    global _quota
    _quota = Quota(redis_url)


async def disconnect() -> None:
    """Apply none any more."""
    global _quota
    if _quota is not None:
        closing, _quota = _quota, None
        await closing.close()


async def spend(caller: Caller) -> dict[str, str]:
    """Count one call of this key, if this process applies quotas; headers for the answer. Raises TooMany."""
    return {} if _quota is None else await _quota.spend(caller)
