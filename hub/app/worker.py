"""The Celery worker. Tasks are thin shells: each runs the same async services on the one event loop of its
process. PostgreSQL is the queue of record, so a task carries no payload, may be lost, and may run twice."""

from __future__ import annotations

import asyncio
import os
import threading
import warnings
from typing import Any

import celery.apps.worker
import structlog
from celery import signals
from celery.exceptions import SecurityWarning

from hub.app import runtime
from hub.app.broker import QUEUES, make_celery
from hub.kernel import db, log, tasks, webhook_lanes
from hub.kernel.settings import settings

logger = structlog.get_logger()


class _Loop:
    """One event loop in a thread of its own; task threads hand coroutines to it and wait."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="loop", daemon=True)
        self._thread.start()

    def call(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)


_loop: _Loop | None = None


def run_worker(queues: list[str], concurrency: int, name: str) -> None:
    """Work until SIGTERM (warm: finishes what runs). `concurrency` is how many tasks may wait at once."""
    from hub.app.pulls import stop_pulls
    from hub.app.wakes import Waker
    from hub.app.wiring import TASKS

    config = settings()
    log.configure(config)
    # who waits for an answer (the web) goes first, then orders, then pulls, then matching
    os.nice({"sync": 10, "match": 15}.get(queues[0], 5) if len(queues) == 1 else 5)
    urls = runtime.urls()
    broker = make_celery(urls.redis)

    async def connect() -> Waker:
        db.connect(urls.database, config)
        waker = Waker(urls.redis)
        tasks.install(waker.wake)
        return waker

    waker: Waker | None = None

    def start(**_: Any) -> None:
        global _loop
        nonlocal waker
        runtime.calm_collector()
        _loop = _Loop()
        waker = _loop.call(connect())

    stopping = threading.Event()

    def finish(**_: Any) -> None:
        stopping.set()

    def stop(**_: Any) -> None:
        if _loop is not None:
            tasks.install(None)
            _loop.call(stop_pulls())
            _loop.call(webhook_lanes.stop())
            if waker is not None:
                _loop.call(waker.close())
            _loop.call(db.disconnect())
            _loop.stop()

    signals.worker_init.connect(start, weak=False)
    signals.worker_shutting_down.connect(finish, weak=False)
    signals.worker_shutdown.connect(stop, weak=False)

    def register(task_name: str) -> None:
        task = TASKS[task_name]
        again = threading.Event()
        busy = threading.Lock()

        @broker.task(name=task_name)
        def shell() -> None:
            # Wake-ups pile up while a task runs; all but the running one and one more look are the same look.
            again.set()
            while again.is_set() and not stopping.is_set() and busy.acquire(blocking=False):
                try:
                    again.clear()
                    assert _loop is not None
                    _loop.call(task.run())
                except Exception:
                    logger.exception("task_failed", task=task_name)
                finally:
                    busy.release()

    for task_name in TASKS:
        register(task_name)
    _be_quiet()
    broker.worker_main(
        [
            "--quiet", "worker", "--pool", "threads", "--concurrency", str(concurrency), "--queues", ",".join(queues),
            "--hostname", f"{name}@%h", "--loglevel", "WARNING", "--without-gossip", "--without-mingle",
            "--without-heartbeat",
        ]
    )  # fmt: skip


def _be_quiet() -> None:
    """Celery talks to the terminal beside the log: a warning to run as root (containers do), words about stopping."""
    warnings.filterwarnings("ignore", category=SecurityWarning)
    setattr(celery.apps.worker, "safe_say", lambda *_words, **_where: None)  # noqa: B010 - it is not declared public


__all__ = ["QUEUES", "run_worker"]
