"""Pulls that are due, and vendors that keep messages for us: each is a visit of its own (hub.kernel.visits)."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable

import structlog

import catalog.api
import connectors.api
from hub.kernel import db
from hub.kernel.visits import Visits

log = structlog.get_logger()
WELL = 48  # vendors pulled at once by one process; a vendor's own limits are kept by its connector
UNWELL = 12  # of those whose last run failed
POLL_EVERY_S = 30.0


def places(visit: Callable[[int], Awaitable[None]]) -> Visits[int]:
    """Room for visits to vendors, by connection."""
    return Visits(visit, called="connection_id", well=WELL, unwell=UNWELL)


async def _pull(connection_id: int) -> None:
    outcome = await catalog.api.sync(connection_id)
    if outcome.error:
        log.warning("pull_failed", connection_id=connection_id, error=outcome.error)


async def _poll(connection_id: int) -> None:
    await connectors.api.poll_messages(connection_id)


_mine: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[Visits[int], Visits[int]]] = (
    weakref.WeakKeyDictionary()
)


def _visits() -> tuple[Visits[int], Visits[int]]:
    return _mine.setdefault(asyncio.get_running_loop(), (places(_pull), places(_poll)))


def pulls() -> Visits[int]:
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
