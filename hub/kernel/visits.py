"""Visits to others' servers that are under way in one process, each on its own. A visit is mostly waiting, so one
process holds many; whoever hangs keeps its own place only, and those that failed last time share a few places among
themselves, so that however many are down, the healthy find room at once. One's trouble is logged and is nobody
else's."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Generic, TypeVar

import structlog

from hub.kernel.errors import Conflict, HubError

log = structlog.get_logger()
K = TypeVar("K", bound=Hashable)


class Visits(Generic[K]):
    """`visit` makes one visit; at most `well` of those who are well are visited at once, and `unwell` of the others.
    `called` is what the log calls whoever is visited."""

    def __init__(self, visit: Callable[[K], Awaitable[object]], *, called: str, well: int, unwell: int) -> None:
        self.running: dict[K, asyncio.Task[None]] = {}
        self._visit = visit
        self._called = called
        self._well = well
        self._most_unwell = unwell
        self._unwell: set[K] = set()

    @property
    def room(self) -> int:
        """How many more could be visited."""
        return self._well + self._most_unwell - len(self.running)

    def begin(self, due: Iterable[tuple[K, int]]) -> int:
        """Start what has room and is not running, of (whom, failures in a row); returns how many were started."""
        started = 0
        for whom, failures in due:
            if whom in self.running or not self._has_room(failures):
                continue
            if failures:
                self._unwell.add(whom)
            self.running[whom] = asyncio.create_task(self._go(whom))
            started += 1
        return started

    def _has_room(self, failures: int) -> bool:
        if failures:
            return len(self._unwell) < self._most_unwell
        return len(self.running) - len(self._unwell) < self._well

    async def _go(self, whom: K) -> None:
        try:
            await self._visit(whom)
        except Conflict:
            pass  # somebody else was quicker
        except HubError as error:
            log.warning("visit_failed", error=str(error), **{self._called: str(whom)})
        except Exception:
            log.exception("visit_crashed", **{self._called: str(whom)})
        finally:
            self.running.pop(whom, None)
            self._unwell.discard(whom)

    async def stop(self) -> None:
        """Break off what runs; each visit notes where it stands, or its lease ends, and whoever comes next goes on."""
        tasks = list(self.running.values())
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
        self.running.clear()  # one that was cancelled before it began has not tidied up after itself
        self._unwell.clear()
