"""Tokens that must be fetched before a vendor may be called. One purse per connection and event loop (it hangs at the
connection's guard), shared by all that call the vendor: a token is fetched once however many wait for it, and
forgotten when the vendor denies it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

EARLY_S = 30.0  # a token is fetched anew so long before it ends


@dataclass(frozen=True, slots=True)
class Fetched:
    """A token and how many seconds it lives."""

    value: str
    lives_s: float


Fetch = Callable[[], Awaitable[Fetched]]


@dataclass(slots=True)
class Purse:
    """The token of one connection."""

    value: str | None = field(default=None, repr=False)
    until: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def take(self, fetch: Fetch) -> str:
        """The token, fetched when there is none that still lives."""
        async with self.lock:
            if self.value is None or time.monotonic() >= self.until:
                fetched = await fetch()
                early = min(EARLY_S, fetched.lives_s / 10)
                self.value, self.until = fetched.value, time.monotonic() + fetched.lives_s - early
            return self.value

    def drop(self, denied: str) -> bool:
        """Forget the token that was denied; False when it had been replaced already or never was taken from here."""
        if self.value != denied:
            return False
        self.value = None
        return True
