"""Events and the outbox: what has happened is written in the transaction in which it happened, and each
handler's effect is written together with the note that it ran, so that a crash neither loses nor doubles it.

A handler is `async def handler(tx, event)`. It runs inside a transaction, calls no vendor, and may emit more
events. Which handler follows which event is said in one place only: hub.app.wiring.FLOW."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar

import structlog

from hub.kernel import metrics, store
from hub.kernel.db import HUB, Tx, uow
from hub.kernel.errors import Retry
from hub.kernel.failpoints import failpoint
from hub.kernel.types import Frozen

log = structlog.get_logger()
MAX_ATTEMPTS = 12


class Event(Frozen):
    """Base of every event. Subclasses are coarse (one per run or order, never one per item) and carry ids and
    figures, never personal data."""

    registry: ClassVar[dict[str, type[Event]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        Event.registry[cls.__name__] = cls

    def outbox_row(self) -> tuple[str, str]:
        return type(self).__name__, self.model_dump_json()


Handler = Callable[[Tx, Any], Awaitable[None]]
Flow = Mapping[type[Event], Sequence[Handler]]


def handler_name(handler: Handler) -> str:
    return f"{handler.__module__}.{handler.__qualname__}"


async def drain(flow: Flow, *, width: int = 4, limit: int = 100_000) -> int:
    """Deliver pending events until none is due; returns how many were looked at. Any number of processes may
    drain at once: rows are claimed with SKIP LOCKED inside the transaction that applies them."""
    done = 0

    async def lane() -> None:
        nonlocal done
        while done < limit and await deliver_next(flow):
            done += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(width):
            group.create_task(lane())
    return done


async def deliver_next(flow: Flow) -> bool:
    """Deliver the oldest due event that nobody else holds; False when there is none."""
    async with uow(HUB) as tx:
        row = await store.claim_event(tx)
        if row is None:
            return False
        failpoint("outbox.claimed")
        event_type = Event.registry.get(row["type"])
        failure: str | None = None
        retry_after: float | None = None
        if event_type is None:
            failure = f"unknown event type {row['type']}"
        else:
            event = event_type.model_validate_json(row["payload"])
            for handler in flow.get(event_type, ()):
                name = handler_name(handler)
                try:
                    async with tx.savepoint():
                        if await store.first_delivery(tx, row["id"], name):
                            await handler(tx, event)
                except Retry as error:
                    failure, retry_after = f"{name}: {error}", error.after
                except Exception as error:
                    log.exception("handler_failed", handler=name, event_id=row["id"], event_type=row["type"])
                    failure = f"{name}: {type(error).__name__}: {error}"
        failpoint("outbox.handled")
        if failure is None:
            await store.finish_event(tx, row["id"])
            metrics.EVENTS.labels(row["type"], "done").inc()
        else:
            dead = row["attempts"] + 1 >= MAX_ATTEMPTS
            delay = retry_after if retry_after is not None else min(300.0, 0.5 * 2 ** row["attempts"])
            await store.postpone_event(tx, row["id"], failure[:2000], delay, dead)
            metrics.EVENTS.labels(row["type"], "dead" if dead else "retried").inc()
    return True
