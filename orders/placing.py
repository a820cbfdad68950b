"""Calling vendors, in three steps that a crash may separate anywhere: the attempt is recorded and committed; the
vendor is called outside any transaction with the purchase order's number as the stable key; the outcome is
recorded. An answer that was lost means *unknown*: the vendor is asked by our number before anything else happens,
and no other vendor is asked while it is unknown. A cancellation at the vendor goes the same three steps."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncpg
import structlog

from connectors import api as connectors
from connectors.contracts import PoLine, PurchaseOrder, Receipt, ReceiptStatus, ShipTo
from connectors.protocol import PlacesOrders
from hub.kernel import secrets, tasks
from hub.kernel.db import Tx, uow
from hub.kernel.errors import HubError, Misconfigured, Retry
from hub.kernel.failpoints import failpoint
from hub.kernel.settings import settings
from orders import outcomes, store
from orders.book import Book, Po, open_book
from orders.lifecycle import PoStatus

log = structlog.get_logger()

CALL_LIMIT_S = 60.0  # longest call; the connection's own time-outs are shorter
LEASE_S = 180.0  # after which a silent worker counts as dead; well above CALL_LIMIT_S, so that no call outlives it
PER_CONNECTION = 4  # calls at once, so that a hanging vendor cannot take every lane
RUN_OF_ONE_VENDOR = 25  # calls over one opened connection before other vendors' attempts get their turn
ATTENTION_AFTER = 20  # attempts at one purchase order before a person should look
SLOW_S = 60.0  # first pause after an error that repeating seldom cures
LONGEST_PAUSE_S = 300.0


@dataclass(frozen=True, slots=True)
class Job:
    """One claimed attempt, with what the call needs."""

    id: int
    po_id: uuid.UUID
    order_id: uuid.UUID
    connection_id: int
    no: int
    kind: str
    number: str
    vendor_order_no: str | None
    letter: tuple[asyncpg.Record, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """The vendor's answer; None when it was asked for our number and knows no such order."""

    receipt: Receipt | None


@dataclass(frozen=True, slots=True)
class Lost:
    """No usable answer, so whether the vendor acted is unknown. `slow`: repeating seldom cures it."""

    error: str
    after: float = 0.0
    slow: bool = False


Outcome = Answered | Lost


async def place_due(limit: int = 1000, concurrency: int = 8) -> int:
    """Make the vendor calls that are due, at most about `limit` of them; returns how many were made. Any number
    of processes may run this at once. Attempts of workers that died in a call are taken over first: the vendor
    is asked what it has before it is told anything again."""
    made = await take_over_abandoned(limit)
    share = max(1, limit // concurrency)
    turn = asyncio.Lock()
    ended = await asyncio.gather(*(_lane(share, turn) for _ in range(concurrency)), return_exceptions=True)
    for end in ended:  # only now, so that one lane's trouble cuts off no other lane's call
        if isinstance(end, BaseException):
            raise end
        made += end
    return made


async def take_over_abandoned(limit: int = 100) -> int:
    """Record calls whose lease ran out as lost; returns how many."""
    async with uow() as tx:
        abandoned = [_job(row) for row in await store.abandoned_attempts(tx, limit)]
    for job in abandoned:
        await record(job, Lost("the worker stopped during this call"))
    return len(abandoned)


async def _lane(limit: int, turn: asyncio.Lock) -> int:
    made = 0
    while made < limit:
        async with turn:  # lanes that choose at the same time would not see which vendor the others keep busy
            job = await claim()
        if job is None:
            break
        made += await _visit(job, limit - made)
    return made


async def _visit(first: Job, limit: int) -> int:
    """Call one vendor for `first`, then for more that is due there, over one opened connection."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            connector = await stack.enter_async_context(connectors.open_connector(first.connection_id))
        except HubError as error:
            await _recorded(first, _lost(error))
            return 1
        made = 0
        job: Job | None = first
        while job is not None:
            await _recorded(job, await call(connector, job))
            made += 1
            job = await claim(first.connection_id) if made < min(limit, RUN_OF_ONE_VENDOR) else None
        return made


async def _recorded(job: Job, outcome: Outcome) -> None:
    """`record`, tried again while the database is busy. Given up, the lease runs out and the vendor is asked."""
    for wait in (0.2, 1.0):
        try:
            await record(job, outcome)
            return
        except Retry:
            await asyncio.sleep(wait)
    await record(job, outcome)


async def claim(connection_id: int | None = None) -> Job | None:
    """Take one due attempt (of one connection, if given) and commit that we hold it."""
    async with uow() as tx:
        row = await store.claim_attempt(tx, tx.now + timedelta(seconds=LEASE_S), PER_CONNECTION, connection_id)
        if row is None:
            return None
        job = _job(row, await store.letter(tx, row["po_id"]))
    failpoint("orders.attempt_claimed")
    return job


def _job(row: asyncpg.Record, letter: Sequence[asyncpg.Record] = ()) -> Job:
    return Job(
        row["id"], row["po_id"], row["order_id"], row["connection_id"], row["no"], row["kind"], row["number"],
        row["vendor_order_no"], tuple(letter),
    )  # fmt: skip


def letter_of(number: str, rows: Sequence[asyncpg.Record]) -> PurchaseOrder:
    """The purchase order as the vendor is told it; the same at every attempt."""
    order = rows[0]
    ship_to: dict[str, Any] = secrets.decrypt_json(order["ship_to"], f"order:{order['order_id']}")
    return PurchaseOrder(
        number=number,
        lines=tuple(
            PoLine(
                line_no=row["line_no"],
                vendor_sku=row["vendor_sku"],
                quantity=row["quantity"],
                unit_price=row["unit_price"],
                currency=row["currency"],
                vendor_ref=row["vendor_ref"],
                slot_ref=row["slot_ref"],
                slot_version=row["slot_version"],
                slot_start=row["slot_start"],
                slot_end=row["slot_end"],
            )
            for row in rows
        ),
        ship_to=ShipTo(**ship_to),
        placed_at=order["placed_at"],
    )


async def call(connector: object, job: Job) -> Outcome:
    """Call the vendor. Whatever goes wrong comes back as `Lost`: only an answer proves anything."""
    try:
        po = letter_of(job.number, job.letter)
        if not isinstance(connector, PlacesOrders):
            raise Misconfigured("this connection's connector can no longer place orders", code="no_capability")
        async with asyncio.timeout(CALL_LIMIT_S):
            if job.kind == "place":
                outcome = Answered(await connector.place(po, key=job.number))
            elif job.kind == "find":
                outcome = Answered(await connector.find(job.number))
            else:
                outcome = Answered(await connector.cancel(job.vendor_order_no or job.number, po))
    except HubError as error:
        return _lost(error)
    except TimeoutError:
        return Lost(f"no answer within {CALL_LIMIT_S:.0f} s")
    except Exception as error:
        log.exception("vendor_call_crashed", kind=job.kind, po=job.number, connection_id=job.connection_id)
        return Lost(f"{type(error).__name__}: {error}", slow=True)
    failpoint("orders.vendor_called")
    return outcome


def _lost(error: HubError) -> Lost:
    return Lost(error.detail, after=error.after if isinstance(error, Retry) else 0.0, slow=not isinstance(error, Retry))


async def record(job: Job, outcome: Outcome) -> None:
    """Write down what the call brought and what follows from it, all or nothing. Does nothing when the attempt
    was taken over meanwhile."""
    async with uow() as tx:
        book = await open_book(tx, job.order_id)
        name = "lost" if isinstance(outcome, Lost) else _name(outcome.receipt)
        error = outcome.error[:2000] if isinstance(outcome, Lost) else None
        if not await store.finish_attempt(tx, job.id, name, error):
            return
        po = book.pos[job.po_id]
        following = await _apply(tx, book, po, job, outcome)
        await book.save(tx)
        if following is not None:
            kind, delay = following
            await store.add_attempts(tx, [po.id], kind, tx.now + timedelta(seconds=delay))
            if delay == 0:
                tx.wake(tasks.PLACE)
    failpoint("orders.outcome_recorded")


def _name(receipt: Receipt | None) -> str:
    return "absent" if receipt is None else receipt.status.value


async def _apply(tx: Tx, book: Book, po: Po, job: Job, outcome: Outcome) -> tuple[str, float] | None:
    """Change the book after one call; returns the next attempt as (kind, pause in seconds), if one is needed."""
    if not po.can("lose"):
        return None  # settled meanwhile by the vendor's push or in the portal
    if isinstance(outcome, Lost):
        return _after_lost(po, job, outcome)
    receipt = outcome.receipt
    if job.kind == "cancel":
        return await _after_cancel(tx, book, po, job, receipt)
    if receipt is None:
        if po.status is PoStatus.CANCELLING:
            await outcomes.cancelled(tx, book, po, "absent")
            return None
        po.move("absent")
        return "place", 0.0
    if receipt.status is ReceiptStatus.ACCEPTED:
        await outcomes.accept(tx, book, po, receipt.vendor_order_no, receipt.accepted_at, receipt.lines)
        return ("cancel", 0.0) if po.status is PoStatus.CANCELLING else None
    if receipt.status is ReceiptStatus.REFUSED:
        await outcomes.refuse(
            tx,
            book,
            po,
            receipt.reason or "the vendor refused without a reason",
            out_of_stock=receipt.out_of_stock,
            skus=receipt.out_of_stock_skus,
        )
        return None
    po.vendor_order_no = receipt.vendor_order_no or po.vendor_order_no
    po.move("wait")
    if po.status is PoStatus.CANCELLING and po.vendor_order_no is not None:
        return "cancel", 0.0
    return "find", pause(po, job.no)


def _after_lost(po: Po, job: Job, lost: Lost) -> tuple[str, float]:
    """Unknown is neither accepted nor refused: ask the vendor by our number, later and later."""
    po.move("lose")
    po.ever_unknown = True
    if lost.slow:
        po.attention = lost.error[:500]
    elif job.no >= ATTENTION_AFTER:
        po.attention = f"no answer in {job.no} attempts; last: {lost.error}"[:500]
    wait = pause(po, job.no)
    if job.no == 1:
        wait = float(settings().accept_unknown_after_s)
    if lost.slow:
        wait = max(wait, SLOW_S)
    return "find", max(wait, lost.after * (1 + _jitter(po)))


async def _after_cancel(tx: Tx, book: Book, po: Po, job: Job, receipt: Receipt | None) -> tuple[str, float] | None:
    if receipt is not None and receipt.status is ReceiptStatus.REFUSED:
        await outcomes.keep(tx, book, po, receipt.reason or "the vendor will not cancel")
        return None
    if receipt is not None and receipt.status is ReceiptStatus.PENDING:
        return "find", pause(po, job.no)
    await outcomes.cancelled(tx, book, po)
    return None


def pause(po: Po, attempt: int) -> float:
    """Seconds before the next attempt: 2, 4, 8 … up to five minutes, spread a little so that a vendor that comes
    back is not met by every purchase order at once."""
    spaced: float = min(LONGEST_PAUSE_S, 2.0 ** min(attempt, 10))
    return spaced * (1 + _jitter(po))


def _jitter(po: Po) -> float:
    """Between 0 and 0.2, the same for one purchase order: positive only, so that a Retry-After is never undercut."""
    return (po.id.int % 1000) / 5000
