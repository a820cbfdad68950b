"""The contract kit's checks of what acts at a vendor: orders placed, found, followed and cancelled,
slots and stock held, codes issued."""

from __future__ import annotations

from datetime import timedelta

import orjson

from connectors.base import Adapter
from connectors.contracts import Capability, ReceiptStatus
from connectors.kit import SystemKit
from connectors.kit_registry import promise, raises
from connectors.kit_stage import must, playing
from connectors.protocol import HoldsSlots, HoldsStock, IssuesCodes, PlacesOrders, TracksOrders
from connectors.sandbox_kit import Faults
from hub.kernel import clock
from hub.kernel.errors import Retry


@promise(Capability.PLACES_ORDERS)
async def the_order_request_is_golden(kit: SystemKit) -> None:
    """The order that reaches the vendor equals fixtures/golden_order.json."""
    order = kit.purchase_order()
    async with playing(kit) as (sandbox, adapter):
        receipt = await _placing(adapter).place(order, key=order.number)
        must(receipt.status is not ReceiptStatus.REFUSED, f"the order was refused: {receipt.reason}")
        must(bool(receipt.vendor_order_no), "the receipt has no vendor order number")
        sent = kit.order_request(sandbox, order.number)
    golden = orjson.loads((kit.folder / "fixtures" / "golden_order.json").read_bytes())
    must(sent == golden, f"the request differs from golden_order.json: {orjson.dumps(sent).decode()}")


@promise(Capability.PLACES_ORDERS)
async def a_lost_answer_never_buys_twice(kit: SystemKit) -> None:
    """The vendor accepts, its answer is lost: Retry; asking by our key finds that one order."""
    order = kit.purchase_order()
    async with playing(kit, Faults(lose_answer=1)) as (sandbox, adapter):
        placing = _placing(adapter)
        await raises(Retry, placing.place(order, key=order.number))
        found = await placing.find(order.number)
        must(found is not None and found.status is not ReceiptStatus.REFUSED, "the placed order was not found again")
        must(kit.orders_at_vendor(sandbox, order.number) == 1, "the vendor does not hold exactly one order")
        must(await placing.find(order.number + "-other") is None, "a key that was never used finds an order")


@promise(Capability.PLACES_ORDERS)
async def a_refusal_is_an_answer(kit: SystemKit) -> None:
    """A refused order is a receipt with a reason, at once or when asked for by our key, is sent at most once, and
    leaves no living order behind."""
    order = kit.refused_order()
    async with playing(kit) as (sandbox, adapter):
        receipt = await _placing(adapter).place(order, key=order.number)
        if receipt.status is ReceiptStatus.PENDING:
            answered = await _placing(adapter).find(order.number)
            must(answered is not None, "the refused order is not found by its key")
            receipt = answered or receipt
        must(receipt.status is ReceiptStatus.REFUSED, "it was not refused")
        must(bool(receipt.reason), "the refusal gives no reason")
        sent = sum(seen.acted for seen in sandbox.seen)
        must(sent <= 1, f"a refused order was sent {sent} times")
        must(kit.orders_at_vendor(sandbox, order.number) == 0, "a refused order lives at the vendor")


@promise(Capability.PLACES_ORDERS)
async def a_cancelled_order_is_gone(kit: SystemKit) -> None:
    """Cancelling leaves no living order, or is refused with a reason."""
    order = kit.purchase_order()
    async with playing(kit) as (sandbox, adapter):
        placing = _placing(adapter)
        receipt = await placing.place(order, key=order.number)
        cancelled = await placing.cancel(receipt.vendor_order_no or "", order)
        if cancelled.status is ReceiptStatus.ACCEPTED:
            must(kit.orders_at_vendor(sandbox, order.number) == 0, "the cancelled order still lives at the vendor")
        else:
            must(bool(cancelled.reason), "the refusal to cancel gives no reason")


@promise(Capability.TRACKS_ORDERS)
async def an_order_can_be_followed(kit: SystemKit) -> None:
    """A placed order is told about with our number or the vendor's, in aware times; an unknown one is no error."""
    if Capability.PLACES_ORDERS not in kit.manifest.capabilities:
        return
    order = kit.purchase_order()
    async with playing(kit) as (_, adapter):
        number = (await _placing(adapter).place(order, key=order.number)).vendor_order_no or ""
        assert isinstance(adapter, TracksOrders)
        updates = await adapter.track(number)
        must(len(updates) >= 1, "the vendor says nothing of an order that it took")
        for update in updates:
            must(update.at.tzinfo is not None, "an update without a time zone")
            must(number == update.vendor_order_no or order.number == update.po_number, "an update of another order")
        must(not await adapter.track(kit.unknown_order), "an order that never was is told about")


@promise(Capability.HOLDS_SLOTS)
async def a_held_slot_is_nobody_elses(kit: SystemKit) -> None:
    """A slot that is held is refused to others, booked by its own key, and free again once it is let go."""
    order = kit.purchase_order()
    slot = order.lines[0].slot_ref or ""
    until = clock.now() + timedelta(minutes=10)
    async with playing(kit) as (sandbox, adapter):
        assert isinstance(adapter, HoldsSlots)
        for _ in range(2):
            must((await adapter.hold(slot, order.number, until)).held, "the hold, or its repetition, was refused")
        must(kit.held_slot(sandbox, slot), "the vendor does not keep the slot")
        must(kit.orders_at_vendor(sandbox, order.number) == 0, "a hold is an order")
        other = await adapter.hold(slot, order.number + "-other", until)
        must(not other.held and other.gone and bool(other.reason), "a held slot was held for another order")
        must(await adapter.release(order.number + "-other") == 0, "what was never held was let go")
        must(await adapter.release(order.number, slot) == 1, "the hold was not let go")
        must(not kit.held_slot(sandbox, slot), "the slot is still kept")
        must(await adapter.release(order.number, slot) == 0, "a hold was let go twice")
        must((await adapter.hold(slot, order.number, until)).held, "a slot that was let go cannot be held")
        receipt = await _placing(adapter).place(order, key=order.number)
        must(receipt.status is not ReceiptStatus.REFUSED, f"the held slot was not booked: {receipt.reason}")
        must(await adapter.release(order.number) == 0, "a booked slot was let go")
        must(kit.orders_at_vendor(sandbox, order.number) == 1, "the booking is gone")


@promise(Capability.HOLDS_STOCK)
async def held_stock_is_bought_by_its_own_key(kit: SystemKit) -> None:
    """Goods that are kept are no order; `place` with the same key buys them once; letting go leaves nothing."""
    order = kit.purchase_order()
    async with playing(kit) as (sandbox, adapter):
        assert isinstance(adapter, HoldsStock)
        for _ in range(2):
            must((await adapter.hold_stock(order, key=order.number)).held, "the hold, or its repetition, was refused")
        must(kit.held_at_vendor(sandbox, order.number) == 1, "the vendor does not keep exactly one order")
        must(await adapter.release_stock(order.number), "the hold was not let go")
        must(kit.held_at_vendor(sandbox, order.number) == 0, "the goods are still kept")
        must(not await adapter.release_stock(order.number), "a hold was let go twice")
        await adapter.hold_stock(order, key=order.number)
        receipt = await _placing(adapter).place(order, key=order.number)
        must(receipt.status is not ReceiptStatus.REFUSED, f"the held goods were not bought: {receipt.reason}")
        must(not await adapter.release_stock(order.number), "bought goods were let go")
        must(kit.held_at_vendor(sandbox, order.number) == 0, "the order is still not sent")
        must(kit.orders_at_vendor(sandbox, order.number) == 1, "not exactly one order lives at the vendor")
        refused = kit.refused_order()
        must(not (await adapter.hold_stock(refused, key=refused.number)).held, "what cannot be had was held")
        must(kit.held_at_vendor(sandbox, refused.number) == 0, "a refused hold lives at the vendor")


@promise(Capability.ISSUES_CODES)
async def codes_are_issued_once(kit: SystemKit) -> None:
    """An order's codes come again for the same key, one a unit, and never for another order; repr hides them."""
    order = kit.purchase_order()
    other = order.model_copy(update={"number": order.number + "2"})
    async with playing(kit) as (_, adapter):
        assert isinstance(adapter, IssuesCodes)
        handed: list[list[str]] = []
        for po in (order, order, other):
            await _placing(adapter).place(po, key=po.number)
            issued = await adapter.issue(po, key=po.number)
            wanted = sorted(line.line_no for line in po.lines for _ in range(line.quantity))
            must(sorted(code.line_no for code in issued) == wanted, "not one code a unit")
            must(not any(code.code.get_secret_value() in repr(issued) for code in issued), "repr shows a code")
            handed.append(sorted(code.code.get_secret_value() for code in issued))
        must(handed[0] == handed[1], "the same key got other codes")
        must(not set(handed[0]) & set(handed[2]), "a code was handed out twice")


def _placing(adapter: Adapter) -> PlacesOrders:
    assert isinstance(adapter, PlacesOrders)
    return adapter
