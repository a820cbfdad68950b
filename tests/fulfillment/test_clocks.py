"""Clocks follow the order's life, in whatever order its events are delivered."""

from __future__ import annotations

from datetime import timedelta

import asyncpg
import pytest

from fulfillment import api
from hub.kernel.db import uow
from hub.kernel.types import DeliveryMode
from orders.contracts import VendorAccepted
from tests.fulfillment.conftest import Hand
from tests.fulfillment.kit import T0, Book, clock_of


async def test_fail_over_never_resets_the_clock(book: Book, hand: Hand) -> None:
    po = book.order(2)
    await book.placed(po)
    before = await clock_of(book.of(po)[0])
    hand.forward(hours=10)
    await book.refused(po)
    second = await book.moved(po, vendor=4)
    await book.accepted(second, hand.at)
    after = await clock_of(book.of(po)[0])
    assert (after["t0"], after["due_at"]) == (before["t0"], before["due_at"]) == (T0, T0 + timedelta(hours=72))
    assert (after["vendor_id"], after["first_vendor_id"], after["first_outcome"]) == (4, 3, "stockout")


async def test_nobody_can_move_t0(book: Book, hand: Hand) -> None:
    await book.placed(book.order(1))
    with pytest.raises(asyncpg.RaiseError, match="never changes"):
        async with uow() as tx:
            await tx.run(
                "UPDATE fulfillment_line_clock SET t0 = t0 + interval '1 hour', due_at = due_at + interval '1 hour'"
            )


@pytest.mark.parametrize("mode", [DeliveryMode.APPOINTMENT, DeliveryMode.CODE])
async def test_a_confirmed_booking_or_an_issued_code_stops_the_clock(
    book: Book, hand: Hand, mode: DeliveryMode
) -> None:
    po = book.order(1, mode=mode)
    await book.placed(po)
    assert (await clock_of(book.of(po)[0]))["delivered_at"] is None
    await book.accepted(po, T0 + timedelta(hours=2))
    assert (await clock_of(book.of(po)[0]))["delivered_at"] == T0 + timedelta(hours=2)


async def test_a_withdrawn_booking_runs_again_until_the_next_vendor_confirms(book: Book, hand: Hand) -> None:
    po = book.order(1, mode=DeliveryMode.APPOINTMENT)
    await book.accepted(po, T0 + timedelta(hours=1))
    await book.refused(po, stock=False)
    assert (await clock_of(book.of(po)[0]))["delivered_at"] is None
    second = await book.moved(po, vendor=4)
    await book.accepted(second, T0 + timedelta(hours=9))
    assert (await clock_of(book.of(po)[0]))["delivered_at"] == T0 + timedelta(hours=9)


async def test_an_acceptance_that_is_delivered_after_its_withdrawal_confirms_nothing(book: Book, hand: Hand) -> None:
    po = book.order(1, mode=DeliveryMode.APPOINTMENT)
    await book.placed(po)
    await book.refused(po, stock=False)
    async with uow() as tx:  # the outbox retried VendorAccepted late
        late = VendorAccepted(
            po_id=po.po_id, order_id=po.order_id, mall_id=po.mall_id, vendor_id=po.vendor_id, accepted_at=T0
        )
        await api.on_accepted(tx, late)
    assert (await clock_of(book.of(po)[0]))["delivered_at"] is None


async def test_an_acceptance_stops_no_parcels_clock(book: Book, hand: Hand) -> None:
    po = book.order(1)
    await book.accepted(po)
    assert (await clock_of(book.of(po)[0]))["delivered_at"] is None


async def test_a_line_that_nobody_supplies_is_a_visible_stock_out_and_a_miss(book: Book, hand: Hand) -> None:
    po = book.order(1, 1)
    await book.placed(po)
    await book.refused(po)
    rescued, lost = book.of(po)
    await book.unsupplied(lost)
    book.change([rescued], po_id=book.po(po.order_id, vendor=4).po_id, vendor_id=4, status="accepted")
    hand.forward(hours=96)
    window = (T0, T0 + timedelta(hours=1))
    async with uow() as tx:
        stock = await api.stockout_figure(tx, window, tx.now)
        late = await api.delivery_72h(tx, window, tx.now)
        by_first = await api.stockout_figure(tx, window, tx.now, vendor_id=3)
        by_second = await api.stockout_figure(tx, window, tx.now, vendor_id=4)
    assert (stock.numerator, stock.denominator, stock.visible_numerator, stock.rescue_rate) == (2, 2, 1, 0.5)
    assert (late.partition.supply_cancelled, late.partition.open_overdue) == (1, 1)
    assert (by_first.denominator, by_second.denominator) == (2, 0)  # a stock-out is its first vendor's


async def test_a_buyers_cancellation_before_any_scan_is_excluded_and_published(book: Book, hand: Hand) -> None:
    po = book.order(1, 1)
    await book.placed(po)
    hand.forward(hours=1)
    await book.cancelled(po)
    hand.forward(hours=100)
    async with uow() as tx:
        figure = await api.delivery_72h(tx, (T0, T0 + timedelta(hours=1)), tx.now)
    assert (figure.denominator, figure.excluded, figure.exclusion_rate, figure.status) == (0, 2, 1.0, "no_data")


async def test_every_handler_may_run_twice(book: Book, hand: Hand) -> None:
    po = book.order(1)
    for _ in range(2):
        await book.placed(po)
        await book.accepted(po)
        await book.cancelled(po)
    first = await clock_of(book.of(po)[0])
    hand.forward(hours=1)
    await book.cancelled(po)
    assert await clock_of(book.of(po)[0]) == first


async def test_a_time_out_that_emits_no_event_is_found_by_the_sweep(book: Book, hand: Hand) -> None:
    po = book.order(1)
    await book.placed(po)
    book.change(book.of(po), first_vendor_unknown=True)
    await api.refresh_undecided()
    assert (await clock_of(book.of(po)[0]))["first_outcome"] == "unknown"
    book.change(book.of(po), first_vendor_outcome="accepted")
    await api.refresh_undecided()
    assert (await clock_of(book.of(po)[0]))["first_outcome"] == "ok"
