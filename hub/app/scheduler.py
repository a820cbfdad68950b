"""The scheduler: sends each task at its pace. Any number may run; a tick belongs to whoever inserts its row
first, and a tick lost with its scheduler is only a sweep that comes one period later."""

from __future__ import annotations

import asyncio
import signal
import time

import structlog

from hub.app import runtime
from hub.app.wakes import Waker
from hub.app.wiring import TASKS
from hub.kernel import db, log, store
from hub.kernel.errors import HubError
from hub.kernel.settings import settings

logger = structlog.get_logger()


async def run_scheduler() -> None:
    """Tick until SIGTERM or SIGINT."""
    log.configure(settings())
    urls = runtime.urls()
    db.connect(urls.database, settings())
    waker = Waker(urls.redis)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    taken: dict[str, int] = {}
    failing = False
    while not stopped.is_set():
        try:
            await _tick(waker, taken)
            if failing:
                logger.info("scheduler_recovered")
            failing = False
        except HubError as error:
            if not failing:
                logger.warning("scheduler_waits", error=str(error))
            failing = True
        try:
            await asyncio.wait_for(stopped.wait(), 0.25)
        except TimeoutError:
            continue
    await waker.close()
    await db.disconnect()


async def _tick(waker: Waker, taken: dict[str, int]) -> None:
    due = []
    for name, task in TASKS.items():
        slot = int(time.time() // task.every_s)
        if taken.get(name) != slot:
            due.append((name, slot))
    if not due:
        return
    async with db.uow() as tx:
        mine = [name for name, slot in due if await store.take_tick(tx, name, slot)]
    for name, slot in due:
        taken[name] = slot
    for name in mine:
        waker.wake(name)
