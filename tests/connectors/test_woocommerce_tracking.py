"""What a WooCommerce shop says of an order on its way: parcel by parcel, money paid back, statuses that plugins add."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from connectors import manifest
from connectors.contracts import Receipt, ReceiptStatus, ShipmentStatus
from tests.connectors.test_woocommerce import po, shop


def meta(value: Any) -> dict[str, Any]:
    return {"id": 1, "key": "_wc_shipment_tracking_items", "value": value}


async def test_each_parcel_is_told_once_with_its_carrier() -> None:
    async with shop() as (sandbox, connector):
        adapter, order = connector(), po(("MUG", 2, "12.90"))
        number = (await adapter.place(order, key=order.number)).vendor_order_no or ""
        sandbox.set_order_status(number, "processing", tracking_no="SF1", carrier="顺丰")
        [update] = await adapter.track(number)
        assert (update.status, update.raw_status) == (ShipmentStatus.SHIPPED, "processing")
        sandbox.set_order_status(number, "completed", tracking_no="YT2", carrier="圆通")
        updates = await adapter.track(number)
        told = [(u.tracking_no, u.carrier, u.status, u.po_number) for u in updates]
        assert told == [
            ("SF1", "顺丰", ShipmentStatus.SHIPPED, order.number),
            ("YT2", "圆通", ShipmentStatus.SHIPPED, order.number),
        ]
        pushed = adapter.parse_push(
            "order.updated", sandbox.delivery("order.updated", sandbox.orders[int(number)]).body
        )
        assert [u.tracking_no for u in pushed.orders] == ["SF1", "YT2"]


@pytest.mark.parametrize(
    ("items", "wanted"),
    [
        ([{"tracking_number": "A1", "tracking_provider": "", "custom_tracking_provider": "跑腿"}], [("A1", "跑腿")]),
        ({"1": {"tracking_number": 77}, "3": {"tracking_number": " B2 "}}, [("77", None), ("B2", None)]),
        ([{"tracking_number": "A1"}, {"tracking_number": "A1"}, {"tracking_number": ""}, "x"], [("A1", None)]),
        ([], [(None, None)]),
        ("", [(None, None)]),
        (None, [(None, None)]),
    ],
)
async def test_parcels_are_read_however_php_wrote_them(items: Any, wanted: list[tuple[str | None, str | None]]) -> None:
    async with shop() as (_, connector):
        views = connector().order_views({"id": 1, "status": "completed", "meta_data": [meta(items)]})
    assert [(view["_tracking_no"], view["_carrier"]) for view in views] == wanted


async def test_money_paid_back_is_said_beside_the_status() -> None:
    async with shop() as (sandbox, connector):
        adapter, order = connector(), po(("MUG", 2, "12.90"))
        number = (await adapter.place(order, key=order.number)).vendor_order_no or ""
        sandbox.set_order_status(number, "completed")
        sandbox.refund(number, "12.90")
        [update] = await adapter.track(number)
        assert (update.status, update.raw_status) == (ShipmentStatus.SHIPPED, "completed, 12.90 of 25.80 paid back")
        sandbox.refund(number, "12.90")
        [update] = await adapter.track(number)
        assert (update.status, update.raw_status) == (ShipmentStatus.EXCEPTION, "refunded")


async def test_an_order_paid_back_whole_is_no_good_order_whatever_its_status_says() -> None:
    """A shop can keep the status when it pays back (`woocommerce_order_fully_refunded_status`)."""
    async with shop() as (_, connector):
        adapter = connector()
        order = {"id": 7, "status": "completed", "total": "25.80", "refunds": [{"id": 8, "total": "-25.80"}]}
        [update] = [adapter.order_update(view, "7", None) for view in adapter.order_views({**order, **MODIFIED})]
    assert update.status is ShipmentStatus.EXCEPTION and update.raw_status == "completed, 25.80 of 25.80 paid back"


MODIFIED = {"date_modified_gmt": "2026-11-22T07:03:44"}


@pytest.mark.parametrize(
    ("status", "wanted"),
    [("partial-shipped", ShipmentStatus.SHIPPED), ("delivered", ShipmentStatus.DELIVERED), ("packing", "unknown")],
)
async def test_a_status_of_a_plugin_is_no_refusal(status: str, wanted: str) -> None:
    """An order found again under a status that WooCommerce itself does not know was taken: placing it elsewhere too
    would deliver it twice."""
    async with shop() as (sandbox, connector):
        adapter, order = connector(), po(("MUG", 1, "12.90"))
        number = (await adapter.place(order, key=order.number)).vendor_order_no or ""
        sandbox.orders[int(number)]["status"] = status
        found = await adapter.find(order.number)
        assert found is not None and found.status is ReceiptStatus.ACCEPTED
        [update] = await adapter.track(number)
        assert (update.status, update.raw_status) == (wanted, status)


@pytest.mark.parametrize(("status", "parcel"), [("partial-shipped", None), ("shipped", None), ("processing", "SF1")])
async def test_what_may_be_on_its_way_is_not_cancelled(status: str, parcel: str | None) -> None:
    async with shop() as (sandbox, connector):
        adapter, order = connector(), po(("MUG", 1, "12.90"))
        number = (await adapter.place(order, key=order.number)).vendor_order_no or ""
        if parcel:
            sandbox.set_order_status(number, status, tracking_no=parcel)
        sandbox.orders[int(number)]["status"] = status
        receipt = await adapter.cancel(number, order)
        assert receipt.status is ReceiptStatus.REFUSED and receipt.reason
        assert sandbox.orders[int(number)]["status"] == status


async def test_the_recorded_oversell_would_have_been_taken_by_the_shop_alone() -> None:
    """The shop answered 201 to 50 of what it had 2 of: as it stands in the recording, the answer is an accepted order.
    That the connector refuses it is the work of the count before and after, not of the answer."""
    folder = manifest.HOME / "woocommerce" / "fixtures"
    order = orjson.loads(orjson.loads((folder / "order_oversell.json").read_bytes())["response"]["body"])
    after = orjson.loads(orjson.loads((folder / "product_after_cancel.json").read_bytes())["response"]["body"])
    async with shop() as (_, connector):
        adapter = connector()

        async def receipt(quantity: int) -> Receipt:
            shelf = {**after, "stock_quantity": quantity, "_product_id": after["id"], "_variation_id": 0}

            async def products(_lines: Any) -> dict[str, Any]:
                return {after["sku"]: shelf}

            adapter.products = products  # type: ignore[method-assign]
            adapter._cancel_order = cancelled  # type: ignore[method-assign]
            return await adapter.settled(order, (), {after["sku"]: shelf})

        cancels: list[str] = []

        async def cancelled(number: str) -> None:
            cancels.append(number)

        assert (await receipt(0)).status is ReceiptStatus.ACCEPTED and not cancels
        short = await receipt(after["stock_quantity"])
        assert (short.out_of_stock, short.out_of_stock_skus, cancels) == (True, ("IBU-20",), [str(order["id"])])
