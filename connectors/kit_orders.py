"""The contract kit's checks of what acts at a vendor: orders placed, found, followed and cancelled, codes issued."""

from __future__ import annotations

import orjson

from connectors.base import Adapter
from connectors.contracts import Capability, ReceiptStatus
from connectors.kit import SystemKit
from connectors.kit_registry import promise, raises
from connectors.kit_stage import must, playing
from connectors.protocol import IssuesCodes, PlacesOrders, TracksOrders
from connectors.sandbox_kit import Faults
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
