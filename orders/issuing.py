"""Purchase orders on their way out: lines grouped by the connection that serves them, each purchase order put
where its vendor will see it (the queue of vendor calls, or the portal). Also what happens after a refusal: the
lines look for the next offer among the vendors that were not asked for them yet. Handlers of events, so they run
inside the outbox's transaction and call no vendor."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from catalog import api as catalog
from catalog.contracts import Offer, ReserveLine
from hub.kernel import tasks
from hub.kernel.db import Tx
from hub.kernel.errors import Conflict
from hub.kernel.failpoints import failpoint
from hub.kernel.types import uuid7
from orders import moves, routing, store, weighing
from orders.book import Book, Line, Order, Po, open_book
from orders.contracts import LineUnsupplied, OrderPlaced, VendorRefused
from orders.lifecycle import LineStatus, PoStatus
from orders.numbers import po_number
from orders.routing import Choice, Miss, Why, Wish
from orders.vendors import can_place

_ROUNDS = 5  # tries to reserve elsewhere while other orders take the same stock


def draft(order: Order, lines: Iterable[Line], sequence: int, at: datetime) -> list[Po]:
    """One new purchase order for each connection that serves `lines`, and one for each appointment, since it moves and
    is cancelled by itself; the lines are put on them. What a vendor holds for a line is bought under the key that it
    is held under."""
    made: dict[tuple[int, str | None, str | None], Po] = {}
    for line in lines:
        key = line.vendor_key if sequence == 1 else None
        of = (line.connection_id, key, line.slot_ref)
        po = made.get(of)
        if po is None:
            po = made[of] = Po(
                id=uuid7(),
                number=key or po_number(),
                order_id=order.id,
                mall_id=order.mall_id,
                vendor_id=line.vendor_id,
                vendor_name=line.vendor_name,
                connection_id=line.connection_id,
                sequence=sequence,
                status=PoStatus.QUEUED,
                vendor_order_no=None,
                created_at=at,
                accepted_at=None,
                reason=None,
                attention=None,
                ever_unknown=False,
            )
        line.po_id = po.id
        line.first_po_id = line.first_po_id or po.id
    return list(made.values())


async def issue(tx: Tx, book: Book, lines: Sequence[Line]) -> list[Po]:
    """Write new purchase orders for `lines` and save the book. They go out with `dispatch`."""
    sequence = 1 + max((po.sequence for po in book.pos.values()), default=0)
    pos = draft(book.order, lines, sequence, tx.now)
    await book.save(tx)
    if pos:
        await store.add_purchase_orders(tx, book.order.id, book.order.mall_id, tx.now, pos)
        for po in pos:
            book.add_po(po)
    return pos


async def send(tx: Tx, book: Book) -> None:
    """Make the purchase orders of an order whose t0 has passed and let them go out."""
    lines = [line for line in book.lines.values() if line.status is LineStatus.RESERVED]
    for line in lines:
        line.move("confirm")
    await issue(tx, book, lines)
    tx.emit(OrderPlaced(order_id=book.order.id, mall_id=book.order.mall_id))


async def submit_to_vendors(tx: Tx, event: OrderPlaced) -> None:
    """Handler of OrderPlaced: one due attempt for each purchase order, or the vendor's portal."""
    book = await open_book(tx, event.order_id)
    await dispatch(tx, book, [po for po in book.pos.values() if po.status is PoStatus.QUEUED])


async def dispatch(tx: Tx, book: Book, pos: Sequence[Po]) -> None:
    """Put purchase orders where their vendors will see them, and save the book."""
    called = []
    for po in pos:
        if await can_place(tx, po.connection_id):
            called.append(po.id)
        else:
            po.move("portal")
    await book.save(tx)
    if called:
        await store.add_attempts(tx, called, "place", tx.now)
        failpoint("orders.attempt_recorded")
        tx.wake(tasks.PLACE)


async def on_refused(tx: Tx, event: VendorRefused) -> None:
    """Handler of VendorRefused: each line of the purchase order goes to the next offer, or is unsupplied.

    A line without `max_price` left the price open, so the next offer's price applies; with one, no dearer offer
    is taken. A line that named its listing or slot has no other offer."""
    book = await open_book(tx, event.order_id)
    refused = book.pos.get(event.po_id)
    lines = [] if refused is None else [line for line in book.on(refused) if line.status is LineStatus.REROUTING]
    if not lines:
        return  # cancelled meanwhile
    lines = [line for line in lines if line.slot_id is None or not await moves.take_over(tx, book, line)]
    staying = [line for line in lines if line.hold_id is not None]
    leaving = [line for line in lines if line.hold_id is None]
    moved = await _move_to_next_offers(tx, book, leaving) if leaving else []
    failpoint("orders.next_offer_reserved")
    for line in (*staying, *moved):
        line.move("route")
    for line in leaving:
        if line.status is LineStatus.REROUTING:
            line.move("give_up")
            tx.emit(
                LineUnsupplied(
                    line_id=line.id,
                    order_id=book.order.id,
                    mall_id=book.order.mall_id,
                    reason=event.reason,
                    split_from=line.split_from,
                )
            )
    pos = await issue(tx, book, [*staying, *moved])
    await dispatch(tx, book, pos)


async def _move_to_next_offers(tx: Tx, book: Book, lines: Sequence[Line]) -> list[Line]:
    """Reserve the next best offer of each line that has one; returns those lines, now pointing at it."""
    free = {line.line_no: line for line in lines if line.asked_listing_id is None and line.slot_id is None}
    if not free:
        return []
    wishes = await wishes_elsewhere(tx, list(free.values()))
    wishes, offers = await offers_of(tx, book.order.mall_id, wishes)
    choices, _misses = await reserve_best(tx, book.order.mall_id, wishes, offers)
    for choice, hold_id in choices:
        line = free[choice.wish.line_no]
        point_at(line, choice.offer, hold_id)
        await store.note_routing(tx, line.id, weighing.explained(choice, tx.now, "the vendor before refused"))
    return [free[choice.wish.line_no] for choice, _hold in choices]


async def wishes_elsewhere(tx: Tx, lines: Sequence[Line]) -> list[Wish]:
    """What these lines want from vendors that were not asked for them yet."""
    tried = {row["line_id"]: frozenset(row["vendors"]) for row in await store.tried_vendors(tx, [v.id for v in lines])}
    return [
        Wish(
            line_no=line.line_no,
            product_id=line.product_id,
            listing_id=None,
            quantity=line.quantity,
            max_price=line.max_price,
            currency=line.currency,
            tried=tried.get(line.id, frozenset({line.vendor_id})),
        )
        for line in lines
    ]


async def offers_of(tx: Tx, mall_id: int, wishes: Sequence[Wish]) -> tuple[list[Wish], list[Offer]]:
    """The offers that wishes may be met with. A wish for a product that went into another one wishes for that."""
    products = {w.product_id for w in wishes if w.product_id}
    listings = sorted({w.listing_id for w in wishes if w.listing_id is not None})
    offers = await catalog.offers_for(tx, mall_id, sorted(products), listings)
    if unseen := products - {offer.product_id for offer in offers}:
        moved = await catalog.moved_products(tx, unseen)
        if moved:
            offers += await catalog.offers_for(tx, mall_id, sorted(set(moved.values())))
            wishes = [replace(w, product_id=moved.get(w.product_id or 0, w.product_id)) for w in wishes]
    return list(wishes), offers


async def reserve_best(
    tx: Tx, mall_id: int, wishes: Sequence[Wish], offers: Sequence[Offer], *, all_or_none: bool = False
) -> tuple[list[tuple[Choice, uuid.UUID]], list[Miss]]:
    """Choose and hold an offer for each wish, by the mall's policy. An offer that another order emptied
    meanwhile is passed over for the next one. With `all_or_none` nothing is held once any wish is missed."""
    policy = await weighing.policy_of(tx, mall_id)
    standings = await weighing.standings(tx) if policy is not None and policy.weighs_vendors else {}
    taken: dict[int, int] = {}
    misses: list[Miss] = []
    for _ in range(_ROUNDS):
        planned = routing.plan(wishes, offers, taken, policy, standings)
        misses = planned.misses
        if not planned.choices or (misses and all_or_none):
            return [], misses
        held = [(choice, uuid7()) for choice in planned.choices]
        try:
            await catalog.reserve(
                tx,
                [
                    ReserveLine(hold_id=hold_id, listing_id=choice.offer.listing_id, quantity=choice.wish.quantity)
                    for choice, hold_id in held
                ],
            )
        except Conflict as conflict:
            offers, taken = _less(offers, taken, conflict)
            continue
        return held, misses
    return [], [*misses, *(Miss(choice.wish, Why.OUT_OF_STOCK) for choice in planned.choices)]


def _less(offers: Sequence[Offer], taken: dict[int, int], conflict: Conflict) -> tuple[Sequence[Offer], dict[int, int]]:
    """The offers after what the shelf just said: units that are gone count as taken, and a listing without a
    count is passed over."""
    known = {offer.listing_id: offer for offer in offers}
    lessened = dict(taken)
    for shortage in conflict.facts["shortages"]:
        offer = known[shortage["listing_id"]]
        if offer.available is None:
            known.pop(offer.listing_id)
            continue
        left = min(shortage["available"], shortage["wanted"] - 1)
        lessened[offer.listing_id] = max(lessened.get(offer.listing_id, 0), offer.available - left)
    return list(known.values()), lessened


def point_at(line: Line, offer: Offer, hold_id: uuid.UUID) -> None:
    """Let `offer` serve `line` from now on."""
    line.listing_id = offer.listing_id
    line.vendor_id, line.vendor_name = offer.vendor_id, offer.vendor_name
    line.connection_id = offer.connection_id
    line.vendor_sku, line.vendor_ref = offer.vendor_sku, offer.vendor_ref
    line.unit_price, line.currency = offer.price, offer.currency
    line.title = offer.title
    line.hold_id = hold_id
