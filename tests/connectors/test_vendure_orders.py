"""Vendure's orders against its sandbox: nothing is bought twice whatever answer is lost, nothing is bought that is not
there, and a cart is never taken for an order."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from connectors.contracts import PoLine, PurchaseOrder, ReceiptStatus, ShipmentStatus, ShipTo
from connectors.sandbox_kit import Faults
from connectors.vendure import refusals
from connectors.vendure.adapter import Adapter
from connectors.vendure.sandbox import VendureSandbox
from connectors.vendure.world import now
from hub.kernel.errors import HubError, Misconfigured, Retry
from hub.kernel.types import public_id, uuid7
from tests.connectors.test_vendure import MUG, many, shop, stock

TEE = {
    "name": "T恤",
    "variants": [
        {"sku": "TEE-S", "name": "T恤 S", "price": 4900, "stock": {"1": 1, "2": 2}},
        {"price": 5200, "name": "T恤 L", "stock": 2},
    ],
}


def one(sku: str, count: int) -> dict[str, Any]:
    return {"name": "一种", "variants": [{"sku": sku, "price": 100, "stock": count}]}


def po(*lines: tuple[str, int, str], number: str = "", country: str = "CN", currency: str = "CNY") -> PurchaseOrder:
    return PurchaseOrder(
        number=number or public_id("po", uuid7()),
        lines=tuple(
            PoLine(line_no=n, vendor_sku=sku, quantity=quantity, unit_price=Decimal(price), currency=currency)
            for n, (sku, quantity, price) in enumerate(lines, 1)
        ),
        ship_to=ShipTo(name="李伟", phone="13800000000", city="上海", address="中山路1号", country=country),
        placed_at=datetime.now(UTC),
    )


async def place(adapter: Adapter, order: PurchaseOrder) -> Any:
    return await adapter.place(order, key=order.number)


def losing(sandbox: VendureSandbox, adapter: Adapter, operation: str, *, before: bool = False) -> None:
    """The answer to the next `operation` is lost; with `before` the request itself is."""
    real = adapter.call.send

    async def send(method: str, path: str, body: Any = None, **more: Any) -> Any:
        if body["operationName"] != operation:
            return await real(method, path, body, **more)
        adapter.call.send = real  # type: ignore[method-assign]
        if not before:
            await real(method, path, body, **more)
        raise Retry("lost", code="vendor_timeout")

    adapter.call.send = send  # type: ignore[method-assign]


async def test_an_order_is_taken_once_with_its_lines_and_our_number() -> None:
    async with shop([MUG, TEE]) as (sandbox, connector):
        unnamed = next(f"#{v['id']}" for v in sandbox.world.variants.values() if not v["sku"])
        order = po(("MUG", 1, "12.90"), ("TEE-S", 3, "49"), (unnamed, 1, "52.00"), ("MUG", 1, "12.90"))
        receipt = await place(connector(), order)
        assert (receipt.status, receipt.raw_status) == (ReceiptStatus.ACCEPTED, "PaymentSettled")
        [kept] = sandbox.orders_with(order.number)
        assert kept["code"] == receipt.vendor_order_no
        wanted = [(sandbox.variant(sku)["id"], count) for sku, count in (("MUG", 2), ("TEE-S", 3), ("", 1))]
        assert [(line["variant"], line["quantity"]) for line in kept["lines"]] == wanted
        assert kept["shippingAddress"]["fullName"] == "李伟" and kept["shippingLines"] == ["1"]
        assert "李伟" not in str(kept["customer"]) + str(kept["billingAddress"])
        assert await stock(connector()) == {("MUG", "1"): 3, ("TEE-S", "1"): 0, ("TEE-S", "2"): 0, (unnamed, "1"): 1}
        found = await connector().find(order.number)
        assert found is not None and found.vendor_order_no == receipt.vendor_order_no
        assert await connector().find(order.number + "0") is None


@pytest.mark.parametrize(
    ("line", "short", "says"),
    [
        (("MUG", 6, "12.90"), True, "not enough of MUG"),
        (("NONE", 1, "1"), False, "has no NONE"),
        (("#999", 1, "1"), False, "has no #999"),
        (("MUG", 1, "12.89"), False, "asks more"),
        (("SHUT", 1, "1"), False, "does not sell SHUT"),
        (("TWICE", 1, "1"), False, "several"),
        (("KEPT", 1, "1"), True, "not enough of KEPT"),
        (("BACK", 3, "1"), True, "not enough of BACK"),
    ],
)
async def test_what_the_shop_cannot_fill_is_refused_before_there_is_a_cart(
    line: tuple[str, int, str], short: bool, says: str
) -> None:
    products: list[dict[str, Any]] = [
        MUG,
        {"name": "停售", "enabled": False, "variants": [{"sku": "SHUT", "price": 100, "stock": 1}]},
        {"name": "重号", "variants": [{"sku": "TWICE", "price": 100, "stock": 1}] * 2},
        {"name": "留", "variants": [{"sku": "KEPT", "price": 100, "stock": 7, "threshold": 7}]},
        {"name": "预", "variants": [{"sku": "BACK", "price": 100, "stock": 2, "threshold": -5}]},
    ]
    async with shop(products) as (sandbox, connector):
        receipt = await place(connector(), po(line))
        assert not sandbox.world.orders
    assert (receipt.status, receipt.out_of_stock) == (ReceiptStatus.REFUSED, short) and says in (receipt.reason or "")
    assert receipt.out_of_stock_skus == ((line[0],) if short else ())


async def test_what_the_shop_refuses_later_leaves_no_living_cart() -> None:
    async with shop([MUG, TEE]) as (sandbox, connector):
        abroad = await place(connector(), po(("MUG", 1, "12.90"), country="US"))
        sandbox.world.declines = True
        declined = await place(connector(), po(("MUG", 1, "12.90")))
        sandbox.world.declines = False
        sandbox.shipping = []
        unsent = await place(connector(), po(("MUG", 1, "12.90"), ("TEE-S", 1, "49")))
        states = {order["state"] for order in sandbox.world.orders.values()}
    assert {abroad.status, declined.status, unsent.status} == {ReceiptStatus.REFUSED}
    assert "not recognized" in abroad.reason and "no credit" in declined.reason and "does not ship" in unsent.reason
    assert states == {"Cancelled"}


async def test_a_bill_that_came_out_dearer_is_not_paid() -> None:
    async with shop([MUG]) as (sandbox, connector):
        adapter = connector()
        real = adapter.shop_asks

        async def dearer(*args: Any) -> Any:
            sandbox.variant("MUG")["priceWithTax"] = 1300
            return await real(*args)

        adapter.shop_asks = dearer  # type: ignore[assignment,method-assign]
        receipt = await place(adapter, po(("MUG", 2, "12.90")))
        [order] = sandbox.world.orders.values()
    assert receipt.status is ReceiptStatus.REFUSED and "asks more" in receipt.reason and order["state"] == "Cancelled"


@pytest.mark.parametrize("operation", ["FirstItem", "RestOfCart", "Arrange", "Pay"])
@pytest.mark.parametrize("before", [False, True])
async def test_whatever_answer_is_lost_one_order_is_bought(operation: str, before: bool) -> None:
    async with shop([MUG, TEE]) as (sandbox, connector):
        order, adapter = po(("MUG", 1, "12.90"), ("TEE-S", 1, "49")), connector()
        losing(sandbox, adapter, operation, before=before)
        with pytest.raises(Retry):
            await place(adapter, order)
        found = await connector().find(order.number)
        bought = operation == "Pay" and not before
        assert (found is not None) == bought == (sandbox.living(order.number) == 1)
        waiting = [each for each in sandbox.orders_with(order.number) if each["state"] == "ArrangingPayment"]
        assert not waiting, "an order that waits for its payment is closed, so that a late payment cannot reach it"
        if found is None:
            assert (await place(connector(), order)).status is ReceiptStatus.ACCEPTED
        assert sandbox.living(order.number) == 1
        assert sandbox.world.really_left(sandbox.variant("MUG")["id"]) == 4


async def test_placing_again_without_asking_finds_the_order_of_before() -> None:
    async with shop(faults=Faults(lose_answer=1)) as (sandbox, connector):
        order = po(("MUG", 1, "12.90"))
        with pytest.raises(Retry):
            await place(connector(), order)
        again = await place(connector(), order)
        assert again.status is ReceiptStatus.ACCEPTED and sandbox.living(order.number) == 1


async def test_a_payment_that_nobody_has_decided_is_pending_and_stays() -> None:
    async with shop() as (sandbox, connector):
        order = po(("MUG", 1, "12.90"))
        losing(sandbox, adapter := connector(), "Pay", before=True)
        with pytest.raises(Retry):
            await place(adapter, order)
        [kept] = sandbox.orders_with(order.number)
        kept["payments"].append({"state": "Created", "createdAt": now()})
        found = await connector().find(order.number)
        assert found is not None and found.status is ReceiptStatus.PENDING and kept["state"] == "ArrangingPayment"


async def test_a_last_piece_that_somebody_else_got_is_not_taken_for_ours() -> None:
    """The shop takes both payments and allocates the piece to the first; its counter then says none, not minus one."""
    async with shop([one("LAST", 1)]) as (sandbox, connector):
        last = sandbox.variant("LAST")
        sandbox.when_paying = lambda: sandbox.world.allocate(last, 1, now()) if sandbox.world.saleable(last) else None
        receipt = await place(connector(), po(("LAST", 1, "1")))
        assert (receipt.status, receipt.out_of_stock_skus) == (ReceiptStatus.REFUSED, ("LAST",))
        assert sandbox.world.really_left(last["id"]) == 0
        sandbox.world.release(last, 1)
        sandbox.when_paying = lambda: None
        assert (await place(connector(), po(("LAST", 1, "1")))).status is ReceiptStatus.ACCEPTED, "the last one is sold"


async def test_a_counter_that_loses_changes_does_not_sell_what_is_gone() -> None:
    async with shop([one("HOT", 10)]) as (sandbox, connector):
        sandbox.world.loses_counts = True
        orders = [po(("HOT", 1, "1")) for _ in range(25)]
        adapters = [connector(f"process{n}") for n in range(3)]
        receipts = await asyncio.gather(*(place(adapters[n % 3], order) for n, order in enumerate(orders)))
        accepted = [receipt for receipt in receipts if receipt.status is ReceiptStatus.ACCEPTED]
        assert len(accepted) == sum(sandbox.living(order.number) for order in orders) <= 10
        assert sandbox.world.really_left(sandbox.variant("HOT")["id"]) == 10 - len(accepted)
        again = await place(adapters[0], po(("HOT", 10, "1")))
        assert again.out_of_stock and len(sandbox.world.orders) == 25, "what the counter lost is remembered"


async def test_many_orders_at_once_through_one_connection_sell_all_and_no_more() -> None:
    async with shop([one("HOT", 10)]) as (sandbox, connector):
        adapter, orders = connector(), [po(("HOT", 1, "1")) for _ in range(20)]
        receipts = await asyncio.gather(*(place(adapter, order) for order in orders))
        assert sum(receipt.status is ReceiptStatus.ACCEPTED for receipt in receipts) == 10
        assert sum(sandbox.living(order.number) for order in orders) == 10


async def test_an_administrator_without_the_default_channel_still_sees_the_counters() -> None:
    async with shop([one("LAST", 1)]) as (_, connector):
        adapter = connector()

        async def forbidden(variant: str) -> Any:
            raise Misconfigured("no right", code="FORBIDDEN")

        adapter.movements = forbidden  # type: ignore[method-assign]
        receipt = await place(adapter, po(("LAST", 1, "1")))
        assert receipt.out_of_stock, "which piece went to whom cannot be told: rather too few than too many"


async def test_an_unconfirmed_order_that_oversold_is_cancelled_when_it_is_found() -> None:
    async with shop(faults=Faults(lose_answer=1)) as (sandbox, connector):
        order, mug = po(("MUG", 5, "12.90")), sandbox.variant("MUG")
        sandbox.when_paying = lambda: sandbox.world.allocate(mug, 1, now())
        with pytest.raises(Retry):
            await place(connector(), order)
        found = await connector().find(order.number)
        assert found is not None and found.out_of_stock and sandbox.living(order.number) == 0
        gone = await connector().find(order.number)
        assert gone is not None and gone.status is ReceiptStatus.REFUSED, "it was placed once, and is no more"


async def test_an_order_is_found_on_a_later_page_and_by_a_field_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.vendure.orders._SCAN", 2)
    async with shop(many(9), po_field="hubPo") as (sandbox, connector):
        placed = [po((f"P{n}", 1, "2")) for n in range(2, 8)]
        for order in placed:
            await place(connector(), order)
        assert (await connector().find(placed[0].number)) is not None
        exact = [variables for name, variables in sandbox.asked if name == "Orders"][-1]
        assert exact["options"]["filter"] == {"hubPo": {"eq": placed[0].number}}
        found = await connector(po_field="").find(placed[0].number)
        assert found is not None and found.status is ReceiptStatus.ACCEPTED


async def test_too_many_orders_to_look_through_is_not_no_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.vendure.orders._SCAN", 1)
    monkeypatch.setattr("connectors.vendure.orders._SCAN_PAGES", 2)
    async with shop(many(9)) as (_, connector):
        for n in range(2, 6):
            await place(connector(), po((f"P{n}", 1, "2")))
        with pytest.raises(Retry):
            await connector().find(public_id("po", uuid7()))


async def test_a_wrong_setting_of_orders_is_misconfigured_and_nothing_stays_ordered() -> None:
    async with shop() as (sandbox, connector):
        sandbox.payment_methods = ["card", "invoice"]
        for order, config, says in (
            (po(("MUG", 1, "12.90")), {}, "card, invoice"),
            (po(("MUG", 1, "12.90")), {"payment_method": "cash"}, "cash"),
            (po(("MUG", 1, "12.90"), currency="USD"), {"payment_method": "invoice"}, "CNY"),
        ):
            with pytest.raises(Misconfigured, match=says):
                await place(connector(str(config), **config), order)
            assert sandbox.living(order.number) == 0
        taken = await place(connector("i", payment_method="invoice", shipping_method="express"), po(("MUG", 1, "12.9")))
        assert taken.status is ReceiptStatus.ACCEPTED
        assert [order["shippingLines"] for order in sandbox.world.orders.values()][-1] == ["2"]


async def test_cancelling_gives_back_once_and_what_is_packed_is_not_cancelled() -> None:
    async with shop() as (sandbox, connector):
        adapter, order = connector(), po(("MUG", 2, "12.90"))
        number = (await place(adapter, order)).vendor_order_no
        for given in (number, number, order.number):
            assert (await adapter.cancel(given, order)).status is ReceiptStatus.ACCEPTED
            assert sandbox.world.really_left(sandbox.variant("MUG")["id"]) == 5
        other = po(("MUG", 1, "12.90"))
        number = (await place(adapter, other)).vendor_order_no
        kept = sandbox.world.orders[number]
        kept["fulfillments"].append({"state": "Pending", "method": "顺丰", "trackingCode": "", "updatedAt": now()})
        refused = await adapter.cancel(number, other)
        assert refused.status is ReceiptStatus.REFUSED and "packed" in (refused.reason or "")
        assert (await adapter.cancel("4711", other)).status is ReceiptStatus.REFUSED


async def test_tracking_tells_each_parcel_and_the_order_while_it_has_none() -> None:
    async with shop() as (sandbox, connector):
        adapter, order = connector(), po(("MUG", 2, "12.90"))
        number = (await place(adapter, order)).vendor_order_no
        [update] = await adapter.track(number)
        assert (update.status, update.po_number) == (ShipmentStatus.PENDING, order.number)
        kept = sandbox.world.orders[number]
        for state, code in (("Shipped", "SF1"), ("Pending", None), ("Cancelled", "ZT9"), ("Lost", "ZT2")):
            kept["fulfillments"].append({"state": state, "method": "顺丰", "trackingCode": code, "updatedAt": now()})
        told = [(u.status, u.raw_status, u.tracking_no, u.carrier) for u in await adapter.track(number)]
        assert told == [
            (ShipmentStatus.SHIPPED, "Shipped", "SF1", "顺丰"),
            (ShipmentStatus.PENDING, "Pending", None, "顺丰"),
            (ShipmentStatus.UNKNOWN, "Lost", "ZT2", "顺丰"),
        ]
        sandbox.world.move(kept, "Cancelled")
        assert [u.status for u in await adapter.track(number)] == [ShipmentStatus.SHIPPED], "it has left the house"
        kept["fulfillments"].clear()
        [update] = await adapter.track(number)
        assert update.status is ShipmentStatus.CANCELLED and not await adapter.track("4711")


@pytest.mark.parametrize("cookies", [False, True])
async def test_orders_at_once_never_share_a_cart(cookies: bool) -> None:
    async with shop(many(12), cookies=cookies) as (sandbox, connector):
        adapter = connector()
        orders = [po((f"P{n}", 1, "2"), (f"P{n + 1}", 1, "2")) for n in (1, 3, 5, 7, 9)]
        receipts = await asyncio.gather(*(place(adapter, order) for order in orders))
        assert len({receipt.vendor_order_no for receipt in receipts}) == 5
        for order in orders:
            [kept] = sandbox.orders_with(order.number)
            names = [sandbox.world.variants[line["variant"]]["sku"] for line in kept["lines"]]
            assert names == [line.vendor_sku for line in order.lines]


async def test_nothing_of_a_person_or_a_session_is_in_an_error() -> None:
    async with shop(faults=Faults(lose_answer=1)) as (sandbox, connector):
        adapter = connector()
        with pytest.raises(HubError) as caught:
            await place(adapter, po(("MUG", 1, "12.90")))
        said = f"{caught.value!r} {adapter!r} {adapter.__dict__!r} {adapter.call.__dict__!r}"
        assert "李伟" not in said and not any(session in said for session in sandbox._carts)


def test_our_number_tells_when_it_was_made() -> None:
    made = refusals.made_at(public_id("po", uuid7()))
    assert made is not None and abs((datetime.now(UTC) - made).total_seconds()) < 5
    assert refusals.made_at("po-17") is None
