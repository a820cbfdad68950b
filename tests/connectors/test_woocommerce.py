"""WooCommerce against its sandbox: nothing is sold twice, nothing is sold that is not there, nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import SecretStr

from connectors import base, guards, manifest
from connectors.contracts import Page, PoLine, PurchaseOrder, ReceiptStatus, ShipmentStatus, ShipTo
from connectors.kit_stage import reachable
from connectors.sandbox_kit import Faults
from connectors.woocommerce import orders
from connectors.woocommerce.adapter import Adapter
from connectors.woocommerce.sandbox import WooSandbox
from hub.kernel import clock
from hub.kernel.errors import Broken, Misconfigured, Retry
from hub.kernel.types import public_id, uuid7

TWO_SHIRTS = {
    "sku": "TEE",
    "name": "T恤",
    "type": "variable",
    "price": "49",
    "variations": [
        {"sku": "TEE-S", "price": "49.00", "stock": 3, "options": {"尺码": "S"}},
        {"price": "52.00", "stock": 2, "options": {"尺码": "L"}},
    ],
}


@asynccontextmanager
async def shop(
    products: Sequence[dict[str, Any]] = (), faults: Faults | None = None, **config: Any
) -> AsyncIterator[tuple[WooSandbox, Callable[[], Adapter]]]:
    """A running shop and a maker of connector objects for it."""
    sandbox = WooSandbox(products or [{"sku": "MUG", "name": "杯子", "price": "12.90", "stock": 5}], faults)
    await sandbox.start()
    made: list[Adapter] = []
    secrets = {name: SecretStr(value) for name, value in sandbox.credentials().items()}

    def connector() -> Adapter:
        settings = {"base_url": sandbox.base_url, **config}
        adapter = base.build(manifest.HOME / "woocommerce", settings, secrets, connection_id=f"t{id(sandbox)}")
        assert isinstance(adapter, Adapter)
        made.append(adapter)
        return adapter

    try:
        with reachable(sandbox):
            yield sandbox, connector
    finally:
        for adapter in made:
            await adapter.aclose()
        await sandbox.stop()
        guards.forget()


def po(*lines: tuple[str, int, str], number: str = "") -> PurchaseOrder:
    return PurchaseOrder(
        number=number or public_id("po", uuid7()),
        lines=tuple(
            PoLine(line_no=n, vendor_sku=sku, quantity=quantity, unit_price=Decimal(price), currency="CNY")
            for n, (sku, quantity, price) in enumerate(lines, 1)
        ),
        ship_to=ShipTo(name="李伟", phone="13800000000", city="上海", address="中山路1号"),
        placed_at=datetime.now(UTC),
    )


async def pull(connector: Adapter, since: Any = None) -> list[Page]:
    return [page async for page in connector.pull(since)]


# Listings -----------------------------------------------------------------------------------------------------


async def test_a_shop_comes_whole_with_variations_and_reasons_for_what_is_left_out() -> None:
    products = [
        {
            "sku": "MUG",
            "name": "<b>杯子</b> &amp; 盖",
            "price": "12.90",
            "stock": 5,
            "category": "餐具",
            "title_en": "Mug",
        },
        {"name": "没有货号", "price": "3", "stock": None, "in_stock": True},
        {"sku": "GONE", "name": "售罄", "price": "3", "stock": None, "in_stock": False},
        {"sku": "FREE", "name": "赠品", "price": "0", "stock": 1},
        {"sku": "SPA", "name": "水疗", "price": "199", "stock": 9, "kind": "experience", "mode": "code"},
        TWO_SHIRTS,
        {"sku": "SET", "name": "套装", "price": "1", "type": "grouped"},
        {"sku": "EXT", "name": "外站", "price": "1", "type": "external"},
        {"sku": "SUB", "name": "订阅", "price": "1", "type": "subscription"},
        {"sku": "DRAFT", "name": "草稿", "price": "1", "stock": 1, "status": "draft"},
    ]
    async with shop(products) as (_, connector):
        [page] = await pull(connector())
    found = {listing.vendor_sku: listing for listing in page.listings}
    assert sorted(found) == ["#102", "#106/108", "GONE", "MUG", "SPA", "TEE-S"]
    mug, large = found["MUG"], found["#106/108"]
    assert (mug.title, mug.title_en, mug.category, mug.on_hand, mug.currency) == ("杯子 & 盖", "Mug", "餐具", 5, "CNY")
    assert (large.title, large.price, large.on_hand, large.attributes) == (
        "T恤 - L",
        Decimal("52.00"),
        2,
        {"尺码": "L"},
    )
    assert (found["#102"].level, found["GONE"].level) == ("in_stock", "out")
    assert (found["SPA"].kind, found["SPA"].mode) == ("experience", "code")
    assert {bad.vendor_sku: bad.pointer for bad in page.bad} == {
        "FREE": "/price",
        "SET": "/type",
        "EXT": "/type",
        "SUB": "/type",
    }
    assert page.complete and page.drift == ()


async def test_a_shared_count_is_not_counted_once_per_variation() -> None:
    shared = {
        **TWO_SHIRTS,
        "stock": 4,
        "variations": [{"sku": f"V{n}", "price": "1", "options": {"a": str(n)}} for n in (1, 2)],
    }
    async with shop([shared]) as (_, connector):
        [page] = await pull(connector())
    assert [(x.vendor_sku, x.on_hand, x.level) for x in page.listings] == [
        ("V1", None, "in_stock"),
        ("V2", None, "in_stock"),
    ]


async def test_an_increment_asks_for_what_changed_and_takes_drafts_off_sale() -> None:
    products = [{"sku": f"P{n}", "name": "x", "price": "1", "stock": 1} for n in range(5)]
    async with shop(products) as (sandbox, connector):
        for product in sandbox._products.values():
            product["date_modified_gmt"] = "2020-01-01T00:00:00"
        since = clock.now().isoformat()
        sandbox.set_price("P1", "2")
        sandbox.remove("P3")
        pages = await pull(connector(), {"since": since})
    changed = {listing.vendor_sku: listing for page in pages for listing in page.listings}
    assert {sku: listing.active for sku, listing in changed.items()} == {"P1": True, "P3": False}


async def test_a_pull_resumes_with_its_increment() -> None:
    products = [{"sku": f"P{n}", "name": "x", "price": "1", "stock": 1} for n in range(25)]
    async with shop(products, per_page=10) as (_, connector):
        since = {"since": (clock.now() - timedelta(hours=1)).isoformat()}
        whole = await pull(connector(), since)
        rest = await pull(connector(), whole[0].cursor)
        done = await pull(connector(), whole[-1].cursor)
    assert [x.vendor_sku for p in rest for x in p.listings] == [f"P{n}" for n in range(10, 25)]
    assert [(p.listings, p.complete) for p in done] == [((), True)]


@pytest.mark.parametrize(
    "faults", [Faults(repeat_page=True), Faults(drop_page=2), Faults(truncate=9), Faults(garbage=9)]
)
async def test_a_pull_that_lost_rows_is_never_complete(faults: Faults) -> None:
    products = [{"sku": f"P{n}", "name": "x", "price": "1", "stock": 1} for n in range(30)]
    seen: list[Page] = []
    async with shop(products, faults, per_page=10) as (_, connector):
        with pytest.raises(Broken):
            async for page in connector().pull(None):
                seen.append(page)
    assert not any(page.complete for page in seen)


async def test_a_pull_rides_out_throttling_and_outages() -> None:
    products = [{"sku": f"P{n}", "name": "x", "price": "1", "stock": 1} for n in range(60)]
    async with shop(products, Faults(every=3), per_page=10) as (sandbox, connector):
        sandbox.faults.throttle, sandbox.faults.retry_after_s = 1, 0.2
        pages = await pull(connector())
    assert sum(len(page.listings) for page in pages) == 60 and pages[-1].complete


async def test_unchanged_products_report_stock_though_the_shop_shuffles_its_fields() -> None:
    products = [{"sku": f"P{n}", "name": "x", "price": "1", "stock": n} for n in range(20)]
    async with shop(products) as (sandbox, connector):
        [first] = await pull(connector())
        digests = {x.vendor_sku: d for x, d in zip(first.listings, first.digests, strict=True)}

        async def known(skus: Sequence[str]) -> dict[str, bytes]:
            return {sku: digests[sku] for sku in skus}

        sandbox.sell("P9", 4)
        sandbox.set_price("P3", "7")
        again = connector()
        again.known = known
        [second] = await pull(again)
    assert [x.vendor_sku for x in second.listings] == ["P3"]
    assert {f.vendor_sku: f.on_hand for f in second.unchanged} == {f"P{n}": n for n in range(20) if n != 3} | {"P9": 5}


# Orders -------------------------------------------------------------------------------------------------------


async def test_an_order_is_taken_once_with_its_lines_and_takes_stock() -> None:
    async with shop([{"sku": "MUG", "name": "x", "price": "12.90", "stock": 5}, TWO_SHIRTS]) as (sandbox, connector):
        order = po(("MUG", 2, "12.90"), ("TEE-S", 1, "49"), ("#102/104", 1, "52.00"))
        before = clock.now()
        receipt = await connector().place(order, key=order.number)
        assert receipt.status is ReceiptStatus.ACCEPTED and receipt.raw_status == "processing"
        assert receipt.accepted_at is not None and receipt.accepted_at >= before
        assert (sandbox.stock_of("MUG"), sandbox.stock_of("TEE-S")) == (3, 2)
        assert await connector().find(order.number) is not None
        assert sandbox.living(order.number) == 1
        items = sandbox.orders[int(receipt.vendor_order_no or 0)]["line_items"]
        assert [(i["product_id"], i["variation_id"], i["quantity"]) for i in items] == [
            (101, 0, 2),
            (102, 103, 1),
            (102, 104, 1),
        ]


@pytest.mark.parametrize(
    ("line", "out_of_stock", "says"),
    [
        (("MUG", 6, "12.90"), True, "not enough of MUG"),
        (("NONE", 1, "1"), False, "has no NONE"),
        (("MUG", 1, "12.89"), False, "asks more"),
        (("OUT", 1, "1"), True, "not enough of OUT"),
        (("BACK", 2, "1"), True, "not enough of BACK"),
        (("DRAFT", 1, "1"), False, "does not sell DRAFT"),
        (("A,B", 1, "1"), False, "has no A,B"),
        (("#999", 1, "1"), False, "has no #999"),
    ],
)
async def test_what_the_shop_cannot_fill_is_refused_before_it_is_ordered(
    line: tuple[str, int, str], out_of_stock: bool, says: str
) -> None:
    products = [
        {"sku": "MUG", "name": "x", "price": "12.90", "stock": 5},
        {"sku": "OUT", "name": "x", "price": "1", "in_stock": False},
        {"sku": "BACK", "name": "x", "price": "1", "stock": 1, "backorders": True},
        {"sku": "DRAFT", "name": "x", "price": "1", "stock": 1, "status": "draft"},
        {"sku": "A", "name": "x", "price": "1", "stock": 1},
    ]
    async with shop(products) as (sandbox, connector):
        order = po(line)
        receipt = await connector().place(order, key=order.number)
        assert not sandbox.orders
    assert (receipt.status, receipt.out_of_stock) == (ReceiptStatus.REFUSED, out_of_stock)
    assert says in (receipt.reason or "")
    assert receipt.out_of_stock_skus == ((line[0],) if out_of_stock else ())


async def test_two_lines_of_one_product_are_counted_together() -> None:
    async with shop() as (sandbox, connector):
        order = po(("MUG", 3, "12.90"), ("MUG", 3, "12.90"))
        receipt = await connector().place(order, key=order.number)
        assert receipt.out_of_stock and not sandbox.orders


async def test_a_sale_in_between_is_noticed_cancelled_and_given_back() -> None:
    """The shop itself would take the order: it accepts anything."""
    async with shop() as (sandbox, connector):
        adapter, order = connector(), po(("MUG", 3, "12.90"))
        real = adapter.call.send

        async def shopper_first(*args: Any, **kwargs: Any) -> Any:
            adapter.call.send = real  # type: ignore[method-assign]
            sandbox.sell("MUG", 4)
            return await real(*args, **kwargs)

        adapter.call.send = shopper_first  # type: ignore[method-assign]
        receipt = await adapter.place(order, key=order.number)
        assert (receipt.status, receipt.out_of_stock_skus) == (ReceiptStatus.REFUSED, ("MUG",))
        assert sandbox.living(order.number) == 0 and sandbox.stock_of("MUG") == 1


async def test_many_orders_at_once_never_oversell() -> None:
    async with shop([{"sku": "MUG", "name": "x", "price": "1", "stock": 10}]) as (sandbox, connector):
        adapter = connector()
        placed = [po(("MUG", 1, "1")) for _ in range(30)]
        receipts = await asyncio.gather(*(adapter.place(order, key=order.number) for order in placed))
        accepted = sum(receipt.status is ReceiptStatus.ACCEPTED for receipt in receipts)
        stock = sandbox.stock_of("MUG")
        assert stock is not None and stock >= 0 and accepted == 10 - stock
        assert sum(sandbox.living(order.number) for order in placed) == accepted


async def test_a_lost_answer_never_buys_twice() -> None:
    async with shop(faults=Faults(lose_answer=1)) as (sandbox, connector):
        order = po(("MUG", 1, "12.90"))
        with pytest.raises(Retry):
            await connector().place(order, key=order.number)
        again = await connector().place(order, key=order.number)  # even a caller that forgets to ask
        assert again.status is ReceiptStatus.ACCEPTED
        assert sandbox.living(order.number) == 1 == len(sandbox.orders) and sandbox.stock_of("MUG") == 4


async def test_an_order_is_found_where_the_shops_search_does_not_know_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.woocommerce.sandbox.indexed", lambda order: "")
    async with shop([{"sku": "MUG", "name": "x", "price": "1", "stock": 500}]) as (_, connector):
        adapter, orders_placed = connector(), [po(("MUG", 1, "1")) for _ in range(105)]
        for order in orders_placed:
            await adapter.place(order, key=order.number)
        found = await adapter.find(orders_placed[0].number)  # on the second page of the newest
        assert found is not None and found.status is ReceiptStatus.ACCEPTED
        assert await adapter.find(public_id("po", uuid7())) is None


async def test_an_unconfirmed_order_that_oversold_is_cancelled_when_it_is_found() -> None:
    async with shop(faults=Faults(lose_answer=1)) as (sandbox, connector):
        order = po(("MUG", 5, "12.90"))
        with pytest.raises(Retry):
            await connector().place(order, key=order.number)
        sandbox.sell("MUG", 1)
        found = await connector().find(order.number)
        assert found is not None and found.out_of_stock and sandbox.living(order.number) == 0


async def test_a_shop_of_another_currency_is_misconfigured_and_nothing_stays_ordered() -> None:
    async with shop() as (sandbox, connector):
        sandbox.currency = "USD"
        order = po(("MUG", 1, "12.90"))
        with pytest.raises(Misconfigured, match="USD"):
            await connector().place(order, key=order.number)
        assert sandbox.living(order.number) == 0 and sandbox.stock_of("MUG") == 5


async def test_cancelling_gives_back_once_and_a_finished_order_is_not_cancelled() -> None:
    async with shop() as (sandbox, connector):
        adapter, order = connector(), po(("MUG", 2, "12.90"))
        number = (await adapter.place(order, key=order.number)).vendor_order_no or ""
        for _ in range(2):
            assert (await adapter.cancel(number, order)).status is ReceiptStatus.ACCEPTED
            assert sandbox.stock_of("MUG") == 5
        other = po(("MUG", 1, "12.90"))
        number = (await adapter.place(other, key=other.number)).vendor_order_no or ""
        sandbox.set_order_status(number, "completed")
        refused = await adapter.cancel(number, other)
        assert refused.status is ReceiptStatus.REFUSED and "completed" in (refused.reason or "")
        for nobody in ("4711", "../products/101", "-1", ""):
            assert (await adapter.cancel(nobody, other)).status is ReceiptStatus.REFUSED


async def test_tracking_tells_the_raw_status_and_the_parcel() -> None:
    async with shop() as (sandbox, connector):
        adapter, order = connector(), po(("MUG", 1, "12.90"))
        number = (await adapter.place(order, key=order.number)).vendor_order_no or ""
        [update] = await adapter.track(number)
        assert (update.status, update.po_number) == (ShipmentStatus.PENDING, order.number)
        sandbox.set_order_status(number, "completed", tracking_no="SF1234567890", carrier="顺丰")
        [update] = await adapter.track(number)
        assert (update.status, update.tracking_no, update.carrier) == (ShipmentStatus.SHIPPED, "SF1234567890", "顺丰")
        sandbox.orders[int(number)]["status"] = "packing"
        [update] = await adapter.track(number)
        assert (update.status, update.raw_status) == (ShipmentStatus.UNKNOWN, "packing")
        assert await adapter.track("4711") == ()


def test_our_number_tells_when_it_was_made() -> None:
    made = orders.placed_at(public_id("po", uuid7()))
    assert made is not None and abs((datetime.now(UTC) - made).total_seconds()) < 5
    assert orders.placed_at("po-17") is None


# Pushes -------------------------------------------------------------------------------------------------------


async def test_pushed_stock_survives_a_faulty_product_text() -> None:
    async with shop([{"sku": "MUG", "name": "", "price": "1", "stock": 3, "gtin": "123"}]) as (sandbox, connector):
        push = sandbox.product_delivery("MUG")
        content = connector().parse_push("product.updated", push.body)
    assert [(report.vendor_sku, report.on_hand) for report in content.stock] == [("MUG", 3)]
    assert not content.listings and len(content.bad) == 1


async def test_orders_of_the_shops_own_shoppers_are_none_of_ours() -> None:
    async with shop() as (sandbox, connector):
        adapter, order = connector(), po(("MUG", 1, "12.90"))
        number = int((await adapter.place(order, key=order.number)).vendor_order_no or 0)
        ours = sandbox.orders[number]
        theirs = {**ours, "id": 7, "created_via": "checkout", "meta_data": []}
        for resource, wanted in ((ours, [str(number)]), (theirs, [])):
            content = adapter.parse_push("order.updated", sandbox.delivery("order.updated", resource).body)
            assert [update.vendor_order_no for update in content.orders] == wanted
            assert "李伟" not in content.model_dump_json() and "中山路" not in content.model_dump_json()
