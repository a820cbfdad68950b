"""Pulls that are due, a few at a time, each on its own: one vendor's trouble is logged and is nobody else's."""

from __future__ import annotations

import asyncio

import structlog

import catalog.api
import connectors.api
from hub.kernel import db
from hub.kernel.errors import Conflict, HubError

log = structlog.get_logger()
WIDTH = 4  # vendors pulled at once by one process; a vendor's own limits are kept by its connector


async def pull_due() -> int:
    """Pull every connection that is due and that nobody else is pulling; returns how many were pulled."""
    async with db.uow() as tx:
        due = await connectors.api.due_connections(tx)
    gate = asyncio.Semaphore(WIDTH)

    async def one(connection_id: int) -> bool:
        async with gate:
            try:
                outcome = await catalog.api.sync(connection_id)
            except Conflict:
                return False  # somebody else was quicker
            except HubError as error:
                log.warning("pull_failed", connection_id=connection_id, error=str(error))
                return False
            if outcome.error:
                log.warning("pull_failed", connection_id=connection_id, error=outcome.error)
            return outcome.error is None

    return sum(await asyncio.gather(*(one(connection_id) for connection_id in due)))
