"""Parcels are followed: a carrier account that can be told to push is told about every parcel on its way, once. No
parcel is asked about in bulk."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Protocol, runtime_checkable

import structlog

from connectors import api as connectors
from fulfillment import store
from fulfillment.carriers import intake
from fulfillment.carriers.tables import table_of
from fulfillment.tracking import NO_CARRIER
from hub.kernel.db import uow
from hub.kernel.errors import HubError, Misconfigured, Retry

log = structlog.get_logger()
FOLLOWER = "kuaidi100"  # the connector whose accounts follow parcels
YOUNG = timedelta(days=30)  # older parcels are left alone
MOST = 200  # parcels told about in one turn
_LEASE = timedelta(minutes=10)  # longer than a turn takes
_BACKOFF = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=2))


@runtime_checkable
class Follows(Protocol):
    """A connector that can be told to follow a parcel."""

    async def subscribe(self, company: str, number: str, *, phone: str | None = None) -> Any: ...


async def follow_due() -> int:
    """A task: tell the account about parcels that nobody follows yet; returns how many it took. Without a live account
    nothing happens. Any number may run at once: each takes others."""
    async with uow() as tx:
        await intake.forget_old(tx)
        accounts = [
            c.id for c in await connectors.list_connections(tx) if c.connector == FOLLOWER and c.status == "live"
        ]
        if not accounts:
            return 0
        account = min(accounts)
        carriers = [carrier for carrier in await store.carriers.carriers_under_way(tx, YOUNG) if _can_follow(carrier)]
        await store.carriers.ask_to_follow(tx, account, carriers, YOUNG, MOST)
    async with uow() as tx:
        await store.carriers.end_arrived(tx)
        due = await store.carriers.take_follows(tx, account, MOST, _LEASE)
    if not due:
        return 0
    taken = 0
    async with connectors.open_connector(account) as adapter:
        if not isinstance(adapter, Follows):
            return 0
        for place, row in enumerate(due):
            try:
                taken += await _follow(adapter, row["parcel_id"], row["carrier"], row["tracking_no"])
            except (Retry, Misconfigured) as error:
                await _later([r["parcel_id"] for r in due[place:]], error, row["attempts"])
                log.warning("following_waits", connection_id=account, parcels=len(due) - place, error=str(error))
                break
    return taken


async def _follow(adapter: Follows, parcel_id: int, carrier: str, number: str) -> int:
    """Tell about one parcel; 1 when it is followed now. Raises Retry and Misconfigured: the next fares no better."""
    company = "" if carrier == NO_CARRIER else table_of(carrier).kuaidi100 or ""
    try:
        await adapter.subscribe(company, number)
    except (Retry, Misconfigured):
        raise
    except HubError as error:
        state = "phone_needed" if error.code == "phone_needed" else "refused"
        await _save(parcel_id, state, error.detail)
        return 0
    await _save(parcel_id, "followed", None)
    return 1


async def _save(parcel_id: int, state: str, detail: str | None) -> None:
    async with uow() as tx:
        await store.carriers.save_follow(tx, parcel_id, state, tx.now, detail[:500] if detail else None)


async def _later(parcel_ids: list[int], error: HubError, attempts: int) -> None:
    pause = _BACKOFF[min(attempts, len(_BACKOFF)) - 1]
    after = max(pause, timedelta(seconds=error.after)) if isinstance(error, Retry) else max(pause, _BACKOFF[2])
    async with uow() as tx:
        for parcel_id in parcel_ids:
            await store.carriers.save_follow(tx, parcel_id, "asked", tx.now + after, error.detail[:500])


async def ask_again(state: str) -> int:
    """Have parcels that could not be followed asked for once more: the account got its phone number, say."""
    async with uow() as tx:
        return await store.carriers.ask_again(tx, state)


def _can_follow(carrier: str) -> bool:
    """Whether Kuaidi100 knows this carrier; of a parcel of no named carrier it finds out whose it is."""
    return carrier == NO_CARRIER or table_of(carrier).kuaidi100 is not None


__all__ = ["FOLLOWER", "ask_again", "follow_due"]
