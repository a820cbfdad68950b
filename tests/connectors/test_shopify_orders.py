"""Orders at a Shopify shop: nothing is bought twice, nothing is sold that is not there, nothing living is left
behind by a refusal, "none" is said only when it is certain."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from connectors.contracts import PoLine, PurchaseOrder, ReceiptStatus, ShipTo
from connectors.sandbox_kit import Faults
from connectors.shopify import orders
from connectors.shopify.adapter import Adapter
from connectors.shopify.records import number
from connectors.shopify.sandbox import HOME, OUTLET, ShopifySandbox
from connectors.shopify.shapes import gid
from hub.kernel import clock
from hub.kernel.errors import Broken, Misconfigured, Retry
from hub.kernel.types import public_id, uuid7
from tests.connectors.test_shopify import MUG, SHIRT, no_waiting, shop

__all__ = ["no_waiting"]  # a fixture that every test here uses

EAGER = {**MUG, "policy": "CONTINUE"}  # sold even when there is none


def po(*lines: tuple[str, int, str], note: str = "", **more: Any) -> PurchaseOrder:
    return PurchaseOrder(
        number=public_id("po", uuid7()),
        lines=tuple(
            PoLine(line_no=n, vendor_sku=sku, quantity=quantity, unit_price=Decimal(price), currency="CNY", **more)
            for n, (sku, quantity, price) in enumerate(lines, 1)
        ),
        ship_to=ShipTo(name="李伟", phone="13800000000", province="上海", city="上海", address="中山路1号"),
        note=note,
        placed_at=datetime.now(UTC),
    )


def before_acting(adapter: Adapter, happens: Callable[[], Any]) -> None:
    """Let something happen at the shop between the check and the order."""
    real = adapter.act

    async def acting(*args: Any, **kwargs: Any) -> Any:
        adapter.act = real  # type: ignore[method-assign]
        happens()
        return await real(*args, **kwargs)

    adapter.act = acting  # type: ignore[method-assign]


async def placed(sandbox: ShopifySandbox, adapter: Adapter, quantity: int = 1) -> tuple[PurchaseOrder, str]:
    order = po(("MUG", quantity, "12.90"))
    receipt = await adapter.place(order, key=order.number)
    assert receipt.status is ReceiptStatus.ACCEPTED, receipt.reason
    return order, receipt.vendor_order_no or ""


# Placing ------------------------------------------------------------------------------------------------------


async def test_an_order_is_taken_once_at_the_agreed_prices_and_takes_stock() -> None:
    async with shop([MUG, SHIRT], shipping_title="快递", province_codes={"上海": "SH"}) as (sandbox, connector):
        large = f"#{number(list(sandbox.variants)[2])}"
        order = po(("MUG", 2, "13.00"), ("TEE-S", 1, "49"), (large, 1, "52.00"), ("MUG", 1, "12.9050"), note="请轻放")
        before = clock.now()
        receipt = await connector().place(order, key=order.number)
        assert receipt.status is ReceiptStatus.ACCEPTED and receipt.raw_status == "PAID"
        assert receipt.accepted_at is not None and receipt.accepted_at >= before
        [sent] = sandbox.order_requests.values()
        assert (sandbox.stock_of("MUG"), sandbox.stock_of("TEE-S")) == (2, 2)
    wish = sent["order"]
    amounts = [line["priceSet"]["shopMoney"]["amount"] for line in wish["lineItems"]]
    assert amounts == ["13.00", "49.00", "52.00", "12.905"]
    assert (wish["note"], wish["shippingLines"][0]["title"]) == ("请轻放", "快递")
    assert wish["shippingAddress"]["provinceCode"] == "SH" and "province" not in wish["shippingAddress"]
    assert wish["tags"] == [order.number] and wish["sourceIdentifier"] == order.number


@pytest.mark.parametrize(
    ("line", "out_of_stock", "says"),
    [
        (("MUG", 6, "12.90"), True, "not enough of MUG"),
        (("mug", 1, "12.90"), False, "has no mug"),
        (("NONE", 1, "1"), False, "has no NONE"),
        (('"OR sku:"MUG', 1, "12.90"), False, "has no"),
        (("#999", 1, "1"), False, "has no #999"),
        (("#", 1, "1"), False, "has no #"),
        (("MUG", 1, "12.89"), False, "asks more"),
        (("FAR", 1, "1"), True, "not enough of FAR"),
        (("BACK", 2, "1"), True, "not enough of BACK"),
        (("DRAFT", 1, "1"), False, "does not sell DRAFT"),
        (("HIDDEN", 1, "1"), False, "does not sell HIDDEN"),
        (("CARD", 1, "1"), False, "gift card"),
        (("SET", 1, "1"), False, "bundle"),
        (("FILE", 1, "1"), False, "not shipped"),
        (("SAME", 1, "9"), False, "2 variants of the shop"),
    ],
)
async def test_what_the_shop_cannot_fill_is_refused_before_it_is_ordered(
    line: tuple[str, int, str], out_of_stock: bool, says: str
) -> None:
    products: list[dict[str, Any]] = [
        MUG,
        {"title": "x", "sku": "FAR", "price": "1", "stock": {HOME: 0, OUTLET: 9}},
        {"title": "x", "sku": "BACK", "price": "1", "stock": 1, "policy": "CONTINUE"},
        {"title": "x", "sku": "DRAFT", "price": "1", "stock": 1, "status": "DRAFT"},
        {"title": "x", "sku": "HIDDEN", "price": "1", "stock": 1, "published": False},
        {"title": "x", "sku": "CARD", "price": "1", "stock": 1, "gift_card": True},
        {"title": "x", "sku": "SET", "price": "1", "stock": 1, "bundle": True},
        {"title": "x", "sku": "FILE", "price": "1", "stock": 1, "ships": False},
        {"title": "x", "sku": "SAME", "price": "1", "stock": 1},
        {"title": "y", "sku": "SAME", "price": "1", "stock": 1},
    ]
    async with shop(products) as (sandbox, connector):
        order = po(line)
        receipt = await connector().place(order, key=order.number)
        assert not sandbox.orders
    assert (receipt.status, receipt.out_of_stock) == (ReceiptStatus.REFUSED, out_of_stock)
    assert says in (receipt.reason or "")
    assert receipt.out_of_stock_skus == ((line[0],) if out_of_stock else ())


async def test_two_lines_of_one_variant_are_counted_together() -> None:
    async with shop() as (sandbox, connector):
        order = po(("MUG", 3, "12.90"), (f"#{sandbox.number_of('MUG')}", 3, "12.90"))
        receipt = await connector().place(order, key=order.number)
        assert receipt.out_of_stock and not sandbox.orders


async def test_what_the_shop_does_not_count_can_be_ordered() -> None:
    async with shop([{**MUG, "tracked": False, "stock": 0}]) as (sandbox, connector):
        await placed(sandbox, connector(), 50)


async def test_a_copy_that_is_not_on_sale_is_not_what_the_sku_means() -> None:
    async with shop([{**MUG, "status": "DRAFT", "stock": 9}, MUG]) as (sandbox, connector):
        _, own = await placed(sandbox, connector())
        [item] = sandbox.orders[gid("Order", own)]["lineItems"]["nodes"]
        assert item["variant"]["id"] == list(sandbox.variants)[1]


async def test_a_line_that_knows_the_variants_id_is_ordered_by_it() -> None:
    async with shop([MUG, {**MUG, "price": "11.00"}]) as (sandbox, connector):
        second = number(list(sandbox.variants)[1])
        order = po(("MUG", 1, "12.90"), vendor_ref=second)
        receipt = await connector().place(order, key=order.number)
        [item] = sandbox.orders[gid("Order", receipt.vendor_order_no)]["lineItems"]["nodes"]
        assert item["variant"]["id"] == list(sandbox.variants)[1]
    async with shop() as (sandbox, connector):  # the id is gone, its SKU is there again
        order = po(("MUG", 1, "12.90"), vendor_ref="4711")
        assert (await connector().place(order, key=order.number)).status is ReceiptStatus.ACCEPTED


async def test_a_sale_in_between_is_refused_by_the_shop_in_its_own_words() -> None:
    async with shop() as (sandbox, connector):
        adapter, order = connector(), po(("MUG", 3, "12.90"))
        before_acting(adapter, lambda: sandbox.set_stock("MUG", 2))
        receipt = await adapter.place(order, key=order.number)
        assert (receipt.status, receipt.out_of_stock_skus) == (ReceiptStatus.REFUSED, ("MUG",))
        assert "reserve inventory" in (receipt.reason or "") and not sandbox.orders
        sandbox.set_stock("MUG", 5)
        assert (await adapter.place(order, key=order.number)).status is ReceiptStatus.ACCEPTED  # it was no end


async def test_what_is_sold_without_stock_is_noticed_cancelled_and_given_back() -> None:
    async with shop([EAGER]) as (sandbox, connector):
        adapter, order = connector(), po(("MUG", 3, "12.90"))
        before_acting(adapter, lambda: sandbox.set_stock("MUG", 1))
        receipt = await adapter.place(order, key=order.number)
        assert (receipt.status, receipt.out_of_stock_skus) == (ReceiptStatus.REFUSED, ("MUG",))
        assert sandbox.living(order.number) == 0 and sandbox.stock_of("MUG") == 1


async def test_many_orders_at_once_never_oversell() -> None:
    for product in (MUG, EAGER):
        async with shop([{**product, "stock": 10}]) as (sandbox, connector):
            sandbox.points = sandbox.most_points = 1_000_000.0
            adapter = connector()
            wanted = [po(("MUG", 1, "12.90")) for _ in range(30)]
            receipts = await asyncio.gather(*(adapter.place(order, key=order.number) for order in wanted))
            accepted = sum(receipt.status is ReceiptStatus.ACCEPTED for receipt in receipts)
            assert sandbox.stock_of("MUG") == 10 - accepted >= 0
            assert sum(sandbox.living(order.number) for order in wanted) == accepted


async def test_a_shop_of_another_currency_is_misconfigured_and_nothing_is_ordered() -> None:
    async with shop() as (sandbox, connector):
        sandbox.currency = "USD"
        order = po(("MUG", 1, "12.90"))
        with pytest.raises(Misconfigured, match="USD"):
            await connector().place(order, key=order.number)
        assert not sandbox.orders


async def test_other_lines_than_were_ordered_do_not_stay_ordered() -> None:
    async with shop() as (sandbox, connector):
        adapter, order = connector(), po(("MUG", 2, "12.90"))
        real = sandbox.said

        def fewer(name: str, variables: Any) -> Any:
            if name == "HubCreateOrder":
                variables["order"]["lineItems"][0]["quantity"] = 1
            return real(name, variables)

        sandbox.said = fewer  # type: ignore[method-assign]
        with pytest.raises(Broken, match="other lines"):
            await adapter.place(order, key=order.number)
        assert sandbox.living(order.number) == 0 and sandbox.stock_of("MUG") == 5


async def test_throttling_costs_an_order_time_and_nothing_else() -> None:
    async with shop() as (sandbox, connector):
        adapter, order = connector(), po(("MUG", 1, "12.90"))

        def empty() -> None:
            sandbox.points, sandbox.restore_rate = 0.0, 100.0

        before_acting(adapter, empty)
        receipt = await adapter.place(order, key=order.number)
        assert receipt.status is ReceiptStatus.ACCEPTED and sandbox.living(order.number) == 1


# Answers that are lost ----------------------------------------------------------------------------------------


async def test_a_lost_answer_never_buys_twice() -> None:
    async with shop(faults=Faults(lose_answer=1)) as (sandbox, connector):
        order = po(("MUG", 1, "12.90"))
        with pytest.raises(Retry):
            await connector().place(order, key=order.number)
        sandbox.search_lags = True  # the custom id is known at once
        found = await connector().find(order.number)
        again = await connector().place(order, key=order.number)  # even a caller that forgets to ask
        assert found is not None and found.status is again.status is ReceiptStatus.ACCEPTED
        assert sandbox.living(order.number) == 1 == len(sandbox.orders) and sandbox.stock_of("MUG") == 4


async def test_an_order_whose_custom_id_was_taken_off_is_found_by_its_tag() -> None:
    async with shop() as (sandbox, connector):
        order, own = await placed(sandbox, connector())
        sandbox.custom_ids.clear()
        found = await connector().find(order.number)
        sandbox.identity_defined = False  # somebody deleted the field
        again = await connector().find(order.number)
        assert found is not None and again is not None and found.vendor_order_no == own == again.vendor_order_no


async def test_a_number_that_the_shop_does_not_take_twice_is_the_order_that_has_it() -> None:
    async with shop() as (sandbox, connector):
        adapter = connector()
        order, own = await placed(sandbox, adapter)
        real, blind = adapter._by_identity, [True]

        async def late(key: str) -> Any:
            return None if blind.pop() else await real(key)

        adapter._by_identity = late  # type: ignore[method-assign]
        blind[:] = [False, True]
        receipt = await adapter.place(order, key=order.number)
        assert (receipt.status, receipt.vendor_order_no) == (ReceiptStatus.ACCEPTED, own)
        assert len(sandbox.orders) == 1


async def test_none_is_said_only_when_nothing_can_still_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    tick = [1000.0]
    monkeypatch.setattr("connectors.shopify.orders.time.monotonic", lambda: tick[0])
    async with shop() as (_, connector):
        adapter, order = connector(), po(("MUG", 1, "12.90"))

        async def unreachable(*_: Any, **__: Any) -> Any:
            raise Retry("the vendor did not answer in time", code="vendor_timeout")

        adapter.act = unreachable  # type: ignore[method-assign]
        with pytest.raises(Retry):
            await adapter.place(order, key=order.number)
        tick[0] += orders.GRACE_S - 5
        with pytest.raises(Retry) as early:
            await adapter.find(order.number)
        assert (early.value.code, round(early.value.after)) == ("find_later", 5)
        tick[0] += 6
        assert await adapter.find(order.number) is None
        orders._open_since.clear()  # another process knows nothing of what was sent
        with pytest.raises(Retry):
            await adapter.find(order.number)
        tick[0] += orders.GRACE_S + 1
        assert await adapter.find(order.number) is None


async def test_an_unconfirmed_order_that_oversold_is_cancelled_when_it_is_found() -> None:
    async with shop([EAGER], Faults(lose_answer=1)) as (sandbox, connector):
        order = po(("MUG", 5, "12.90"))
        with pytest.raises(Retry):
            await connector().place(order, key=order.number)
        sandbox.set_stock("MUG", -1)
        found = await connector().find(order.number)
        assert found is not None and found.out_of_stock and sandbox.living(order.number) == 0


@pytest.mark.parametrize("lost", [True, False])
async def test_a_cancellation_that_is_lost_or_slow_is_finished_when_the_order_is_found(lost: bool) -> None:
    async with shop([EAGER]) as (sandbox, connector):
        adapter, order = connector(), po(("MUG", 3, "12.90"))

        def trouble() -> None:
            sandbox.set_stock("MUG", 1)
            real = sandbox.said

            def said(name: str, variables: Any) -> Any:
                if name == "HubCancelOrder":
                    sandbox.said = real  # type: ignore[method-assign]
                    sandbox.faults.lose_answer, sandbox.cancels_slowly = (1, 0) if lost else (0, 9)
                return real(name, variables)

            sandbox.said = said  # type: ignore[method-assign]

        before_acting(adapter, trouble)
        with pytest.raises(Retry):
            await adapter.place(order, key=order.number)
        sandbox.cancels_slowly = 0
        found = await connector().find(order.number)
        assert found is not None and found.status is ReceiptStatus.REFUSED
        assert found.out_of_stock_skus == ("MUG",) and sandbox.living(order.number) == 0


# The custom id ------------------------------------------------------------------------------------------------


async def test_the_shop_is_asked_once_to_keep_our_numbers_unique() -> None:
    async with shop() as (sandbox, connector):
        for _ in range(3):
            await placed(sandbox, connector())
        assert (sandbox.asked.count("HubIdentity"), sandbox.asked.count("HubDefineIdentity")) == (1, 1)


@pytest.mark.parametrize(
    ("name", "answer", "orders_anyway"),
    [
        ("HubIdentity", {"metafieldDefinition": {"type": {"name": "single_line_text_field"}}}, False),
        ("HubDefineIdentity", {"metafieldDefinitionCreate": {"userErrors": [{"code": "LIMIT_EXCEEDED"}]}}, False),
        ("HubDefineIdentity", {"metafieldDefinitionCreate": {"userErrors": [{"code": "TAKEN"}]}}, True),
    ],
)
async def test_nothing_is_ordered_where_our_numbers_cannot_be_kept_unique(
    name: str, answer: Any, orders_anyway: bool
) -> None:
    async with shop() as (sandbox, connector):
        real, order = sandbox.said, po(("MUG", 1, "12.90"))
        sandbox.said = lambda n, v: (answer, []) if n == name else real(n, v)  # type: ignore[method-assign]
        if orders_anyway:
            assert (await connector().place(order, key=order.number)).status is ReceiptStatus.ACCEPTED
            return
        with pytest.raises(Misconfigured, match=r"supplyhub\.po_number"):
            await connector().place(order, key=order.number)
        assert not sandbox.orders


# Cancelling ---------------------------------------------------------------------------------------------------


async def test_cancelling_gives_back_once_and_what_is_sent_is_not_cancelled() -> None:
    async with shop() as (sandbox, connector):
        adapter = connector()
        order, own = await placed(sandbox, adapter, 2)
        for name in (own, order.number):  # the number of theirs may not be known to us
            assert (await adapter.cancel(name, order)).status is ReceiptStatus.ACCEPTED
            assert sandbox.stock_of("MUG") == 5
        other, own = await placed(sandbox, adapter)
        sandbox.fulfill(own, ["SF1"], part=True)
        refused = await adapter.cancel(own, other)
        assert refused.status is ReceiptStatus.REFUSED and "PARTIALLY_FULFILLED" in (refused.reason or "")
        for nobody in ("4711", "../orders/1", ""):
            unknown = po(("MUG", 1, "12.90"))
            assert (await adapter.cancel(nobody, unknown)).status is ReceiptStatus.REFUSED


async def test_what_the_shop_will_not_cancel_is_refused_with_its_reason() -> None:
    async with shop() as (sandbox, connector):
        adapter = connector()
        order, own = await placed(sandbox, adapter)
        sandbox.fulfill(own, ["SF1"])
        sandbox.orders[gid("Order", own)]["displayFulfillmentStatus"] = "IN_PROGRESS"
        refused = await adapter.cancel(own, order)
        assert (refused.status, refused.reason) == (
            ReceiptStatus.REFUSED,
            "Cannot cancel an order that has outstanding fulfillments",
        )


async def test_a_cancellation_that_the_shop_still_works_on_is_pending() -> None:
    async with shop() as (sandbox, connector):
        adapter = connector()
        order, own = await placed(sandbox, adapter)
        sandbox.cancels_slowly = 50
        assert (await adapter.cancel(own, order)).status is ReceiptStatus.PENDING
        sandbox.cancels_slowly = 0
        assert (await adapter.cancel(own, order)).status is ReceiptStatus.ACCEPTED
