"""What a mall may do with an order: make it, confirm it, cancel it, read it. Each function runs inside the caller's
transaction and either does all it says or raises and does nothing. Making an order takes a handful of set-based
statements whatever the number of lines; vendors are called later, by `placing`."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from catalog import api as catalog
from catalog.contracts import Offer, ReserveLine, SlotOffer
from hub.kernel import metrics, secrets
from hub.kernel.db import Tx, uow
from hub.kernel.errors import Conflict, Fault, Rejected, TooMany
from hub.kernel.failpoints import failpoint
from hub.kernel.settings import settings
from hub.kernel.types import DeliveryMode, public_id, uuid7
from orders import holding, issuing, quotas, review, store, weighing
from orders.book import Book, Line, Order, Po, books_of, open_book, order_of, read_book, total_of
from orders.contracts import OrderPlaced
from orders.holding import Kept
from orders.lifecycle import LineStatus, OrderStatus, WrongState, move
from orders.models import LineIn, OrderIn, OrderView, order_view, view_of
from orders.routing import Miss, Why, Wish

DELIVERED_WITHIN = timedelta(hours=72)
_EXACT_BELOW_CAP = 256  # from here on, a mall's reservations are counted one after the other, so the cap is exact


async def create(tx: Tx, mall_id: int, asked: OrderIn, kept: Kept | None = None) -> OrderView:
    """Make an order: choose offers, hold the stock, and for mode `place` start the 72 hours and send it to the
    vendors. `kept` is what vendors already hold for it. Raises Outside when vendors must be asked to hold something
    first, Conflict (out of stock, price moved, number used), Rejected (unknown product, missing address),
    TooMany (reservations)."""
    if asked.mode == "reserve":
        await _within_cap(tx, mall_id)
    order_id = uuid7()
    watch = await review.begin(tx, mall_id, asked)  # before any stock is held: its locks come first
    lines, uncounted = await _choose(tx, mall_id, asked)
    failpoint("orders.stock_held")
    _check_address(asked, lines)
    counted = await quotas.check(tx, mall_id, lines)
    verdict = await watch.judge(tx, order_id, lines) if watch is not None else review.CLEAR
    placing = asked.mode == "place"
    going = placing and verdict.held_until is None
    ship_to = asked.ship_to.model_dump()
    await holding.require(
        tx, mall_id, asked.mall_order_no, lines, uncounted, ship_to, placing=placing, held_until=verdict.held_until,
        kept=kept,
    )  # fmt: skip
    order = Order(
        id=order_id,
        mall_id=mall_id,
        mall_order_no=asked.mall_order_no,
        status=OrderStatus.PLACED if placing else OrderStatus.RESERVED,
        mode=asked.mode,
        ship_to=secrets.encrypt_json(ship_to, f"order:{order_id}"),
        currency=lines[0].currency,
        total=total_of(lines),
        created_at=tx.now,
        reserved_until=None if placing else tx.now + timedelta(seconds=settings().reserve_ttl_s),
        placed_at=tx.now if placing else None,
        due_at=tx.now + DELIVERED_WITHIN if placing else None,
        held_until=verdict.held_until,
    )
    pos: list[Po] = []
    if going:
        for line in lines:
            line.move("confirm")
        pos = issuing.draft(order, lines, 1, tx.now)
    if not await store.add_order(tx, order, lines, pos):
        raise Conflict(
            f"the order number {asked.mall_order_no} is already used",
            code="duplicate_order_no",
            faults=(Fault("/mall_order_no", "already used"),),
        )
    await review.note(tx, mall_id, order_id, verdict)
    await quotas.note(tx, counted)
    await holding.bind(tx, order_id, lines)
    if going:
        tx.emit(OrderPlaced(order_id=order_id, mall_id=mall_id))
    failpoint("orders.order_written")
    tx.after_commit(lambda: metrics.ORDERS.labels(order.status.value).inc())
    return view_of(order, lines, pos, ship_to)


async def _within_cap(tx: Tx, mall_id: int) -> None:
    cap = settings().mall_open_reservations
    held = await store.open_reservations(tx, mall_id, cap)
    if held + _EXACT_BELOW_CAP >= cap:
        await store.queue_for_reserving(tx, mall_id)
        held = await store.open_reservations(tx, mall_id, cap)
    if held >= cap:
        raise TooMany(
            f"{held} reservations are open, which is the most this mall may hold; confirm or cancel some",
            code="too_many_reservations",
            after=float(min(60, settings().reserve_ttl_s)),
        )


async def _choose(tx: Tx, mall_id: int, asked: OrderIn) -> tuple[list[Line], list[uuid.UUID]]:
    """An offer and a hold for every line, or one error that names every line that has none; and the lines whose vendor
    counts nothing."""
    goods = [(no, line) for no, line in enumerate(asked.lines, 1) if line.slot_id is None]
    slots = [(no, line) for no, line in enumerate(asked.lines, 1) if line.slot_id is not None]
    wishes = [
        Wish(
            line_no=no,
            product_id=line.product_id,
            listing_id=line.listing_id,
            quantity=line.qty,
            max_price=line.max_price.amount if line.max_price else None,
            currency=line.max_price.currency if line.max_price else None,
        )
        for no, line in goods
    ]
    made: list[Line] = []
    uncounted: list[uuid.UUID] = []
    if slots:
        made += await _choose_slots(tx, mall_id, slots)
    if wishes:
        wishes, offers = await issuing.offers_of(tx, mall_id, wishes)
        choices, misses = await issuing.reserve_best(tx, mall_id, wishes, offers, all_or_none=True)
        if misses:
            raise refusal(misses)
        by_no = dict(goods)
        for choice, hold_id in choices:
            no = choice.wish.line_no
            made.append(line_on(no, by_no[no], choice.offer, hold_id, asked.ship_to.city))
            made[-1].routing = weighing.explained(choice, tx.now, "ordered")
            if choice.offer.available is None:
                uncounted.append(made[-1].id)
    if len({line.currency for line in made}) > 1:
        raise Rejected("the lines are priced in different currencies; send one order per currency", code="currencies")
    return sorted(made, key=lambda line: line.line_no), uncounted


async def _choose_slots(tx: Tx, mall_id: int, asked: Sequence[tuple[int, LineIn]]) -> list[Line]:
    found = {
        slot.slot_id: slot
        for slot in await catalog.slots_for(tx, mall_id, sorted({line.slot_id or 0 for _, line in asked}))
    }
    made: list[Line] = []
    for no, line in asked:
        slot = found.get(line.slot_id or 0)
        if slot is None:
            raise refusal([Miss(_slot_wish(no, line), Why.UNKNOWN)])
        await _check_slot(tx, mall_id, no, line, slot)
        made.append(line_on(no, line, slot.offer, uuid7(), slot.offer.city, slot))
    holds = [
        ReserveLine(hold_id=line.hold_id, listing_id=line.listing_id, quantity=1, location=line.slot_ref)
        for line in made
        if line.hold_id is not None
    ]
    try:
        await catalog.reserve(tx, holds)
    except Conflict as conflict:
        short = {str(s["hold_id"]) for s in conflict.facts.get("shortages", ())}
        gone = next((line for line in made if str(line.hold_id) in short), made[0])
        raise await _taken(tx, mall_id, gone.line_no, found[gone.slot_id or 0]) from None
    return made


async def _taken(tx: Tx, mall_id: int, no: int, slot: SlotOffer) -> Conflict:
    return await holding.slot_taken(
        tx, mall_id, no, slot.slot_id, slot.offer.product_id, slot.start, "somebody else has it"
    )


async def _check_slot(tx: Tx, mall_id: int, no: int, line: LineIn, slot: SlotOffer) -> None:
    wish = _slot_wish(no, line)
    if slot.offer.outside_assortment:
        raise refusal([Miss(wish, Why.OUTSIDE)])
    if slot.offer.held_by_parity:
        raise refusal([Miss(wish, Why.HELD)])
    if slot.offer.blocked_by_parity is not None:
        raise refusal([Miss(wish, Why.BLOCKED, blocked=slot.offer.blocked_by_parity)])
    if not slot.free or not slot.offer.fresh:
        raise await _taken(tx, mall_id, no, slot)
    if line.max_price is not None:
        if line.max_price.currency not in (None, slot.offer.currency):
            raise refusal([Miss(wish, Why.CURRENCY, offer=slot.offer)])
        if slot.offer.price > line.max_price.amount:
            raise refusal([Miss(wish, Why.PRICE, offer=slot.offer)])


def _slot_wish(no: int, line: LineIn) -> Wish:
    return Wish(no, None, None, 1, line.max_price.amount if line.max_price else None)


def line_on(
    no: int, asked: LineIn, offer: Offer, hold_id: uuid.UUID, city: str | None, slot: SlotOffer | None = None
) -> Line:
    return Line(
        id=uuid7(),
        line_no=no,
        status=LineStatus.RESERVED,
        quantity=asked.qty,
        asked_listing_id=asked.listing_id,
        max_price=asked.max_price.amount if asked.max_price else None,
        max_currency=asked.max_price.currency if asked.max_price else None,
        agreed_price=offer.price,
        product_id=offer.product_id,
        listing_id=offer.listing_id,
        vendor_id=offer.vendor_id,
        vendor_name=offer.vendor_name,
        connection_id=offer.connection_id,
        vendor_sku=offer.vendor_sku,
        vendor_ref=offer.vendor_ref,
        unit_price=offer.price,
        currency=offer.currency,
        title=offer.title,
        kind=offer.kind.value,
        mode=offer.mode.value,
        category=offer.category,
        city=city or offer.city,
        slot_id=asked.slot_id,
        slot_ref=slot.location if slot else None,
        slot_version=slot.version if slot else None,
        slot_start=slot.start if slot else None,
        slot_end=slot.end if slot else None,
        hold_id=hold_id,
        po_id=None,
    )


def _check_address(asked: OrderIn, lines: Iterable[Line]) -> None:
    if not asked.ship_to.address and any(line.mode == DeliveryMode.PARCEL for line in lines):
        raise Rejected(
            "a parcel needs an address",
            code="invalid",
            faults=(Fault("/ship_to/address", "needed for lines that are delivered as a parcel"),),
        )


def refusal(misses: Sequence[Miss]) -> Rejected | Conflict:
    """One error for all lines that nothing serves, the gravest kind first, with a fault and facts per line."""
    for why, detail, code in (
        (Why.UNKNOWN, "there is no such thing on offer", "unknown_product"),
        (Why.TRIED, "there is no such thing on offer", "unknown_product"),
        (Why.OUTSIDE, "this mall's assortment does not have it", "not_in_assortment"),
        (Why.HELD, "this mall's parity policy holds every offer", "held_by_parity"),
        (Why.BLOCKED, "this mall's parity policy blocks every offer", "blocked_by_parity"),
        (Why.OUT_OF_STOCK, "not enough in stock", "out_of_stock"),
        (Why.CURRENCY, "no offer in the currency of max_price", "currency"),
        (Why.PRICE, "the price is above max_price", "price_changed"),
    ):
        found = [miss for miss in misses if miss.why is why]
        if not found:
            continue
        faults = tuple(
            Fault(
                f"/lines/{miss.wish.line_no - 1}{_POINTER.get(why, '')}",
                f"{detail}: {miss.blocked}" if miss.blocked else detail,
            )
            for miss in found[:50]
        )
        lines = [_facts(miss) for miss in found]
        first = f"line {found[0].wish.line_no}: {faults[0].detail}"
        if why in (Why.UNKNOWN, Why.TRIED):
            return Rejected(first, code=code, faults=faults, facts={"lines": lines})
        if why is Why.OUT_OF_STOCK:
            return Conflict(first, code=code, faults=faults, facts={"shortages": lines})
        return Conflict(first, code=code, faults=faults, facts={**lines[0], "lines": lines})
    raise AssertionError("a refusal needs a miss")


_POINTER = {Why.PRICE: "/max_price", Why.CURRENCY: "/max_price", Why.OUT_OF_STOCK: "/qty"}


def _facts(miss: Miss) -> dict[str, Any]:
    facts: dict[str, Any] = {"line_no": miss.wish.line_no}
    if miss.wish.product_id is not None:
        facts["product_id"] = public_id("prd", miss.wish.product_id)
    if miss.wish.listing_id is not None:
        facts["listing_id"] = public_id("lst", miss.wish.listing_id)
    if miss.why is Why.OUT_OF_STOCK:
        facts |= {"wanted": miss.wish.quantity, "available": miss.available}
    if miss.blocked is not None:
        facts["blocked"] = miss.blocked
    if miss.offer is not None:
        facts |= {"price": str(miss.offer.price), "currency": miss.offer.currency}
        facts["max_price"] = str(miss.wish.max_price)
    return facts


async def confirm(tx: Tx, mall_id: int, order_id: uuid.UUID) -> OrderView:
    """Buy what was reserved; t0 is now. Confirming again changes nothing. Raises WrongState once the reservation
    is over."""
    book = await open_book(tx, order_id, mall_id)
    order = book.order
    if order.placed_at is not None and order.status not in (OrderStatus.CANCELLED, OrderStatus.CANCELLING):
        return show(book)
    if order.status is OrderStatus.RESERVED and order.reserved_until is not None and order.reserved_until <= tx.now:
        raise WrongState(
            "the reservation ran out; order again",
            code="reservation_expired",
            facts={"reserved_until": order.reserved_until.isoformat()},
        )
    order.status = move(order.status, "confirm")
    order.placed_at, order.due_at = tx.now, tx.now + DELIVERED_WITHIN
    await store.start_clock(tx, order.id, order.status.value, order.placed_at, order.due_at)
    if order.held_until is not None:
        return show(book)  # t0 has passed; `review.release` sends it to the vendors
    await issuing.send(tx, book)
    return show(book)


async def expire_reservations(limit: int = 200) -> int:
    """Release reservations that were not confirmed in time; returns how many orders."""
    expired = 0
    while True:
        async with uow() as tx:
            ids = [row["id"] for row in await store.claim_expired(tx, limit)]
            if not ids:
                return expired
            await catalog.release(tx, sorted(await store.expire(tx, ids)), "expiry")
            failpoint("orders.reservations_expired")
        expired += len(ids)


def show(book: Book) -> OrderView:
    """The mall's view, with the address decrypted and masked."""
    return order_view(book, secrets.decrypt_json(book.order.ship_to, f"order:{book.order.id}"))


async def read(tx: Tx, mall_id: int, order_id: uuid.UUID) -> OrderView:
    """One order of this mall; raises NotFound."""
    return show(await read_book(tx, order_id, mall_id))


async def page(tx: Tx, mall_id: int, after: uuid.UUID | None, limit: int) -> tuple[list[OrderView], uuid.UUID | None]:
    """Orders of this mall from old to new, and where the next page begins (None: this was the last)."""
    rows = await store.orders_after(tx, mall_id, after, limit + 1)
    shown = rows[:limit]
    books = await books_of(tx, [order_of(row) for row in shown])
    return [show(book) for book in books], shown[-1]["id"] if len(rows) > limit else None
