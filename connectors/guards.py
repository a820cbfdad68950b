"""What stands between us and one vendor connection: a rate (token bucket), the budget of its published quota, a
bulkhead, a pause that the vendor asked for, a circuit breaker, and the purse with its token. One set per connection and
event loop, shared by everything in the process that calls that vendor, so that a slow or failing vendor costs its own
calls only. Times are monotonic seconds. Quotas priced in points (GraphQL) are a `Points` that the adapter keeps."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import time
import weakref
from collections.abc import AsyncIterator, Callable

import structlog

from connectors.tokens import Purse
from hub.kernel.errors import Retry

log = structlog.get_logger()
FAILURES_TO_OPEN = 5
FAILING_TO_OPEN_S = 6.0  # or nothing but failures for so long: a vendor that hangs is not asked five times
OPEN_S = 10.0
LONGEST_OPEN_S = 300.0


class Points:
    """A bucket of points that leaks full again: what GraphQL APIs charge for a query. The vendor tells its state with
    every answer (`told`); `take` waits until a query of a given price fits. Unknown until the vendor has told."""

    def __init__(self) -> None:
        self._available = math.inf
        self._restore = 1.0
        self._maximum = math.inf
        self._at = 0.0

    def told(self, available: float, restore_per_s: float, maximum: float) -> None:
        """The vendor's own word about what is left now."""
        self._available, self._restore = available, max(restore_per_s, 0.1)
        self._maximum, self._at = maximum, time.monotonic()

    async def take(self, price: float) -> None:
        """Wait until `price` points are there, then count them as spent. A price beyond the bucket's size waits for a
        full bucket."""
        price = min(price, self._maximum)
        while True:
            tick = time.monotonic()
            self._available = min(self._maximum, self._available + (tick - self._at) * self._restore)
            self._at = tick
            if self._available >= price:
                self._available -= price
                return
            await asyncio.sleep((price - self._available) / self._restore)


class Guard:
    """The brakes of one connection."""

    def __init__(
        self,
        name: str,
        *,
        rate: float | None,
        burst: int,
        concurrency: int,
        budget: tuple[int, float] | None = None,
    ) -> None:
        self.name = name
        self.purse = Purse()
        self.points = Points()
        self._budget = budget
        self._spent = 0
        self._window_ends = 0.0
        self._rate = rate
        self._burst = float(burst)
        self._tokens = float(burst)
        self._filled_at = time.monotonic()
        self._seats = asyncio.Semaphore(concurrency)
        self._paused_until = 0.0
        self._failures = 0
        self._failing_since = 0.0
        self._opened_until = 0.0
        self._open_for = OPEN_S
        self._probing = False

    @contextlib.asynccontextmanager
    async def seat(self, longest_wait_s: float) -> AsyncIterator[None]:
        """A place among the calls in flight, once rate and pause allow it. Raises Retry at once when the breaker is
        open, or when the vendor asked for a longer pause than `longest_wait_s`."""
        self._refuse_when_open()
        async with self._seats:
            await self._wait_for_turn(longest_wait_s)
            self._refuse_when_open()  # it may have opened while this call waited
            probe = self._opened_until > 0
            self._probing = self._probing or probe
            try:
                yield
            finally:
                if probe:
                    self._probing = False

    async def _wait_for_turn(self, longest_wait_s: float) -> None:
        while True:
            tick = time.monotonic()
            paused = max(self._paused_until - tick, self._until_budget(tick))
            if paused > longest_wait_s:
                raise Retry(f"{self.name} asked for a pause", code="vendor_throttles", after=paused)
            if paused > 0:
                await asyncio.sleep(paused)
                continue
            if self._rate is None:
                self._spent += 1
                return
            self._tokens = min(self._burst, self._tokens + (tick - self._filled_at) * self._rate)
            self._filled_at = tick
            if self._tokens >= 1.0:
                self._tokens -= 1.0
                self._spent += 1
                return
            await asyncio.sleep((1.0 - self._tokens) / self._rate)

    def _until_budget(self, tick: float) -> float:
        """Seconds until a call fits into the budget: 0 while there is some left in its window."""
        if self._budget is None:
            return 0.0
        calls, per_s = self._budget
        if tick >= self._window_ends:
            self._spent, self._window_ends = 0, tick + per_s
        return self._window_ends - tick if self._spent >= calls else 0.0

    def _refuse_when_open(self) -> None:
        """Raises Retry while the breaker is open; once half open, one probe at a time may pass."""
        if not self._opened_until:
            return
        left = self._opened_until - time.monotonic()
        if left > 0:
            raise Retry(f"{self.name} is failing; calls are held back", code="breaker_open", after=left)
        if self._probing:
            raise Retry(f"{self.name} is being probed", code="breaker_open", after=1.0)

    def pause(self, seconds: float) -> None:
        """No call before `seconds` from now: the vendor said Retry-After."""
        self._paused_until = max(self._paused_until, time.monotonic() + seconds)

    def succeeded(self) -> None:
        """The vendor answered within its protocol (a refusal is an answer too)."""
        if self._opened_until:
            log.info("vendor_recovered", connection=self.name)
        self._failures = 0
        self._opened_until = 0.0
        self._open_for = OPEN_S

    def failed(self, took_s: float = 0.0) -> None:
        """The vendor timed out, could not be reached or answered 5xx, and that took so many seconds."""
        tick = time.monotonic()
        if not self._failures:
            self._failing_since = tick - took_s
        self._failures += 1
        if self._failures < FAILURES_TO_OPEN and tick - self._failing_since < FAILING_TO_OPEN_S:
            return
        if not self._opened_until:
            log.warning("vendor_unavailable", connection=self.name, failures=self._failures)
        else:
            self._open_for = min(LONGEST_OPEN_S, self._open_for * 2)
        self._opened_until = time.monotonic() + self._open_for

    @property
    def is_open(self) -> bool:
        return self._opened_until > time.monotonic()


_guards: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Guard]] = weakref.WeakKeyDictionary()


def guard_of(name: str, make: Callable[[], Guard]) -> Guard:
    """The guard of this connection in this process, made on first use."""
    own = _guards.setdefault(asyncio.get_running_loop(), {})
    found = own.get(name)
    if found is None:
        found = own[name] = make()
    return found


def forget(name: str | None = None) -> None:
    """Drop one connection's guard (its settings changed), or all of them."""
    for own in _guards.values():
        if name is None:
            own.clear()
        else:
            own.pop(name, None)


def jitter(attempt: int, least: float) -> float:
    """Seconds to wait before try number `attempt` + 1: never less than `least`, and only ever more."""
    backoff = min(10.0, 0.25 * 2.0 ** (attempt - 1))
    return max(least, backoff) + random.uniform(0, 0.25 * max(least, backoff))  # noqa: S311 - spreads load
