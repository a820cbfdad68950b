"""Pulls that are due, each on its own. A pull is mostly waiting for a vendor, so one process holds many; a vendor that
hangs keeps its own place only, and vendors that failed last time share a few places among themselves, so that however
many are down, the healthy find room at once. One vendor's trouble is logged and is nobody else's."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import Awaitable, Callable, Sequence

import structlog

import catalog.api
import connectors.api
from hub.kernel import db
from hub.kernel.errors import Conflict, HubError

log = structlog.get_logger()
WELL = 48  # vendors pulled at once by one process; a vendor's own limits are kept by its connector
UNWELL = 12  # of those whose last run failed
POLL_EVERY_S = 30.0


class Pulls:
    """Visits to vendors that are under way in one process; `visit` makes one."""

    def __init__(self, visit: Callable[[int], Awaitable[None]]) -> None:
        self.running: dict[int, asyncio.Task[None]] = {}
        self._visit = visit
        self._unwell: set[int] = set()

    def begin(self, due: Sequence[connectors.api.Due]) -> int:
        """Start what has room and is not running; returns how many were started."""
        started = 0
        for connection_id, failures in due:
            if connection_id in self.running or not self._has_room(failures):
                continue
            if failures:
                self._unwell.add(connection_id)
            self.running[connection_id] = asyncio.create_task(self._go(connection_id))
            started += 1
        return started

    def _has_room(self, failures: int) -> bool:
        if failures:
            return len(self._unwell) < UNWELL
        return len(self.running) - len(self._unwell) < WELL

    async def _go(self, connection_id: int) -> None:
        try:
            await self._visit(connection_id)
        except Conflict:
            pass  # somebody else was quicker
        except HubError as error:
            log.warning("visit_failed", connection_id=connection_id, error=str(error))
        except Exception:
            log.exception("visit_crashed", connection_id=connection_id)
        finally:
            self.running.pop(connection_id, None)
            self._unwell.discard(connection_id)

    async def stop(self) -> None:
        """Break off what runs; each run notes where it stands and is resumed by whoever comes next."""
        tasks = list(self.running.values())
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
        self.running.clear()  # one that was cancelled before it began has not tidied up after itself
        self._unwell.clear()


async def _pull(connection_id: int) -> None:
    outcome = await catalog.api.sync(connection_id)
    if outcome.error:
        log.warning("pull_failed", connection_id=connection_id, error=outcome.error)


async def _poll(connection_id: int) -> None:
    await connectors.api.poll_messages(connection_id)


_mine: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[Pulls, Pulls]] = weakref.WeakKeyDictionary()


def _visits() -> tuple[Pulls, Pulls]:
    return _mine.setdefault(asyncio.get_running_loop(), (Pulls(_pull), Pulls(_poll)))


def pulls() -> Pulls:
    """The pulls of this process."""
    return _visits()[0]


async def pull_due() -> int:
    """Start pulling every connection that is due, has room here and is not being pulled; returns how many. They go on
    by themselves; the next call starts what found no room."""
    async with db.uow() as tx:
        due = await connectors.api.due_connections(tx)
    return pulls().begin(due)


async def poll_due() -> int:
    """Start asking vendors that keep messages for us, each about once in POLL_EVERY_S; returns how many."""
    async with db.uow() as tx:
        due = await connectors.api.connections_to_poll(tx, POLL_EVERY_S)
    return _visits()[1].begin([connectors.api.Due(connection_id, 0) for connection_id in due])


async def stop_pulls() -> None:
    """Break off this process's visits to vendors, before it stops."""
    for visits in _visits():
        await visits.stop()
