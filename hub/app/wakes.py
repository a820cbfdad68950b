"""Carries wake-ups from this process to the workers through Celery, gathered for a moment so that a burst of
commits costs one message. A broker that is down is logged once; the scheduler's sweeps do the rest."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from celery import Celery

log = structlog.get_logger()
GATHER_S = 0.01


class Waker:
    """Sends task names to their queues without ever blocking the loop."""

    def __init__(self, redis_url: str) -> None:
        self._url = redis_url
        self._celery: Celery | None = None
        self._loop = asyncio.get_running_loop()
        self._pending: set[str] = set()
        self._sender = ThreadPoolExecutor(1, thread_name_prefix="wakes")
        self._down = False
        self._closed = False

    def wake(self, task: str) -> None:
        """Ask workers to run `task` soon. Safe to call from the loop only."""
        if not self._pending:
            self._loop.call_later(GATHER_S, self._flush)
        self._pending.add(task)

    def _flush(self) -> None:
        names, self._pending = self._pending, set()
        if self._closed:
            return  # the sweeps find what this process leaves behind
        self._sender.submit(self._send, names)

    def _send(self, names: set[str]) -> None:
        from hub.app.broker import make_celery, queue_of  # Celery is slow to import and the first wake-up can wait

        try:
            if self._celery is None:
                self._celery = make_celery(self._url)
            for name in names:
                self._celery.send_task(name, queue=queue_of(name), expires=60, retry=False)
        except Exception as error:
            if not self._down:
                log.warning("broker_unreachable", error=str(error), effect="sweeps take over until it is back")
            self._down = True
        else:
            if self._down:
                log.info("broker_back")
            self._down = False

    async def close(self) -> None:
        """Send what is on its way and no more."""
        self._closed = True
        await asyncio.to_thread(self._sender.shutdown)
        if self._celery is not None:
            self._celery.close()
