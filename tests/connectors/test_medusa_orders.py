"""Medusa's orders against its sandbox: nothing is bought twice whatever answer is lost, nothing is bought that is not
there, and a cart is never taken for an order."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from connectors.contracts import PoLine, PurchaseOrder, ReceiptStatus, ShipmentStatus, ShipTo
from connectors.medusa import orders, refusals
from connectors.medusa.adapter import Adapter
from connectors.medusa.world import now
from connectors.sandbox_kit import Faults
from hub.kernel.errors import HubError, Misconfigured, Retry
from hub.kernel.types import public_id, uuid7
from tests.connectors.test_medusa import MUG, many, shop, stock

TEE: dict[str, Any] = {
    "title": "T恤",
    "variants": [
        {"sku": "TEE-S", "title": "S", "price": 49, "stock": {"sloc_1": 1, "sloc_2": 3}},
        {"price": 52, "stock": 2},
    ],
}
_STEPS = ["/store/carts", "shipping-methods", "payment-collections", "payment-sessions", "complete"]


@pytest.fixture(autouse=True)
def _another_process() -> None:
    """Nothing is remembered from the tests before."""
    orders._unanswered.clear()


def one(sku: str, count: int) -> dict[str, Any]:
    return {"title": "一种", "variants": [{"sku": sku, "price": 1, "stock": count}]}


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


def losing(adapter: Adapter, step: str, *, before: bool = False) -> None:
    """The answer to the next request whose path ends so is lost; with `before` the request itself is."""
    real = adapter.call.send

    async def send(method: str, path: str, body: Any = None, **more: Any) -> Any:
        if not path.endswith(step):
            return await real(method, path, body, **more)
        adapter.call.send = real  # type: ignore[method-assign]
        if not before:
            await real(method, path, body, **more)
        raise Retry("lost", code="vendor_timeout")

    adapter.call.send = send  # type: ignore[method-assign]


async def test_an_order_is_taken_once_with_its_lines_and_our_number() -> None:
    async with shop([MUG, TEE]) as (sandbox, connector):
        unnamed = f"#{sandbox.variant(None)['id']}"
        order = po(("MUG", 1, "12.90"), ("TEE-S", 3, "49"), (unnamed, 1, "52.00"), ("MUG", 1, "12.90"))
        receipt = await place(connector(), order)
        assert (receipt.status, receipt.raw_status) == (ReceiptStatus.ACCEPTED, "pending")
        [kept] = sandbox.orders_with(order.number)
        assert kept["id"] == receipt.vendor_order_no
        wanted = [(sandbox.variant(sku)["id"], count) for sku, count in (("MUG", 2), ("TEE-S", 3), (None, 1))]
        assert [(line["variant_id"], line["quantity"]) for line in kept["items"]] == wanted, "one line a variant"
        [sent] = sandbox.cart_requests
        assert sent["shipping_address"]["first_name"] == "李伟" and order.number in sent["email"]
        assert next(iter(sandbox.world.carts.values()))["shipping"] == "so_slow", "the cheapest with a fixed price"
        left = await stock(connector())
        assert left == {("MUG", "sloc_1"): 3, ("TEE-S", "sloc_1"): 1, ("TEE-S", "sloc_2"): 0, (unnamed, "sloc_1"): 1}
        found = await connector().find(order.number)
        assert found is not None and found.vendor_order_no == receipt.vendor_order_no
        assert await connector().find(order.number + "0") is None


@pytest.mark.parametrize(
    ("lines", "short", "says"),
    [
        ([("MUG", 6, "12.90")], ("MUG",), "not enough of MUG"),
        ([("MUG", 3, "12.90"), ("MUG", 3, "12.90")], ("MUG",), "not enough of MUG"),
        ([("SPLIT", 5, "1")], ("SPLIT",), "not enough of SPLIT"),
        ([("SET", 3, "1"), ("PART", 2, "1")], ("PART", "SET"), "not enough of PART, SET"),
        ([("BACK", 3, "1")], ("BACK",), "not enough of BACK"),
        ([("NONE", 1, "1")], (), "has no NONE"),
        ([("#variant_x", 1, "1")], (), "has no #variant_x"),
        ([("SHUT", 1, "1")], (), "does not sell SHUT"),
    ],
)
async def test_what_the_shop_cannot_fill_is_refused_before_there_is_a_cart(
    lines: list[tuple[str, int, str]], short: tuple[str, ...], says: str
) -> None:
    products = [
        MUG,
        {**one("SHUT", 1), "status": "draft"},
        {
            "title": "分",
            "variants": [{"sku": "SPLIT", "price": 1, "stock": {"sloc_1": 4, "sloc_2": 4, "elsewhere": 9}}],
        },
        {
            "title": "套",
            "variants": [
                {"sku": "SET", "price": 1, "stock": 7, "items": {"part": 2}},
                {"sku": "PART", "price": 1, "stock": 7, "items": {"part": 1}},
            ],
        },
        {"title": "预", "variants": [{"sku": "BACK", "price": 1, "stock": 2, "backorder": True}]},
    ]
    async with shop(products) as (sandbox, connector):
        receipt = await place(connector(), po(*lines))
        assert not sandbox.world.carts and not sandbox.world.orders
    assert (receipt.status, receipt.out_of_stock_skus) == (ReceiptStatus.REFUSED, short)
    assert receipt.out_of_stock == bool(short) and says in (receipt.reason or "")


async def test_what_came_out_dearer_or_cannot_be_sent_is_not_bought() -> None:
    async with shop([MUG, {"title": "无价", "variants": [{"sku": "FREE", "stock": 5}]}]) as (sandbox, connector):
        dearer = await place(connector(), po(("MUG", 2, "12.89")))
        unpriced = await place(connector(), po(("FREE", 1, "1")))
        sandbox.shipping = sandbox.shipping[2:]
        unsent = await place(connector(), po(("MUG", 1, "12.90")))
        named = await place(connector("n", shipping_option="按重量"), po(("MUG", 1, "12.90")))
        assert [order["status"] for order in sandbox.world.orders.values()] == ["pending"]
    assert {dearer.status, unpriced.status, unsent.status} == {ReceiptStatus.REFUSED}
    assert "asks more than agreed for MUG" in dearer.reason and "do not have a price" in unpriced.reason
    assert "does not ship" in unsent.reason and named.status is ReceiptStatus.ACCEPTED


@pytest.mark.parametrize("step", _STEPS)
@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("same_process", [False, True])
async def test_whatever_answer_is_lost_one_order_is_bought(step: str, before: bool, same_process: bool) -> None:
    async with shop([MUG, TEE]) as (sandbox, connector):
        order, adapter = po(("MUG", 1, "12.90"), ("TEE-S", 1, "49")), connector()
        losing(adapter, step, before=before)
        with pytest.raises(Retry):
            await place(adapter, order)
        if not same_process:
            orders._unanswered.clear()
        found = await connector().find(order.number)
        bought = step == "complete" and not before
        assert (found is not None) == bought == (sandbox.living(order.number) == 1)
        open_carts = [cart for cart in sandbox.world.carts.values() if cart["order"] is None and cart["items"]]
        assert not open_carts, "no cart with our number can become an order any more"
        if found is None:
            assert (await place(connector(), order)).status is ReceiptStatus.ACCEPTED
        assert sandbox.living(order.number) == 1
        assert (await stock(connector()))["MUG", "sloc_1"] == 4


async def test_a_completion_still_under_way_is_found_or_made_impossible() -> None:
    """The request reaches the shop only after we looked for the order."""
    async with shop([MUG]) as (sandbox, connector):
        order, adapter = po(("MUG", 1, "12.90")), connector()
        losing(adapter, "complete", before=True)
        with pytest.raises(Retry):
            await place(adapter, order)
        [cart] = sandbox.world.carts
        assert await connector().find(order.number) is None
        late = connector("late")
        with pytest.raises(HubError, match="no items"):
            await late.shop_does("POST", f"/store/carts/{cart}/complete", {})
        assert sandbox.living(order.number) == 0


async def test_placing_again_without_asking_finds_the_order_of_before() -> None:
    async with shop(faults=Faults(lose_answer=1)) as (sandbox, connector):
        order = po(("MUG", 1, "12.90"))
        with pytest.raises(Retry):
            await place(connector(), order)
        again = await place(connector(), order)
        assert again.status is ReceiptStatus.ACCEPTED and sandbox.living(order.number) == 1


async def test_a_busy_cart_is_completed_after_a_while_and_given_up_for_find(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.medusa.orders.jitter", lambda attempt, after: 0.0)
    async with shop() as (sandbox, connector):
        sandbox.busy = 3
        assert (await place(connector(), po(("MUG", 1, "12.90")))).status is ReceiptStatus.ACCEPTED
        sandbox.busy = 99
        order = po(("MUG", 1, "12.90"))
        with pytest.raises(Retry):
            await place(connector(), order)
        sandbox.busy = 0
        assert await connector().find(order.number) is None
        assert sum("/complete" in seen.path for seen in sandbox.seen) == 4 + 6


async def test_a_refusal_after_which_there_is_an_order_all_the_same_is_no_refusal() -> None:
    """The shop's engine may answer 400 to one who completes a cart that another request has just completed."""
    async with shop() as (sandbox, connector):
        adapter, order = connector(), po(("MUG", 1, "12.90"))
        real = adapter.call.send

        async def muddled(method: str, path: str, body: Any = None, **more: Any) -> Any:
            answer = await real(method, path, body, **more)
            if path.endswith("complete"):
                adapter.call.send = real  # type: ignore[method-assign]
                return await real("POST", "/store/carts/cart_none/complete", {}, params=more.get("params"))
            return answer

        adapter.call.send = muddled  # type: ignore[method-assign]
        receipt = await place(adapter, order)
        assert receipt.status is ReceiptStatus.ACCEPTED and sandbox.living(order.number) == 1


async def test_stock_that_goes_before_the_cart_is_completed_is_a_refusal_for_stock() -> None:
    async with shop([one("LAST", 1)]) as (sandbox, connector):
        item = f"iitem_{sandbox.variant('LAST')['id']}"
        sandbox.when_completing = lambda: sandbox.world.hold(item, "sloc_1", 1)
        order = po(("LAST", 1, "1"))
        receipt = await place(connector(), order)
        assert (receipt.status, receipt.out_of_stock_skus) == (ReceiptStatus.REFUSED, ("LAST",))
        assert "Not enough stock" in receipt.reason and sandbox.living(order.number) == 0
        [cart] = sandbox.world.carts.values()
        assert not cart["items"], "what was refused cannot be completed later"


async def test_a_shop_that_promises_more_than_it_has_is_noticed_and_the_order_cancelled() -> None:
    async with shop([one("LAST", 1)]) as (sandbox, connector):
        sandbox.world.checks = False
        item = f"iitem_{sandbox.variant('LAST')['id']}"
        sandbox.when_completing = lambda: sandbox.world.hold(item, "sloc_1", 1)
        order = po(("LAST", 1, "1"))
        receipt = await place(connector(), order)
        assert (receipt.status, receipt.out_of_stock_skus) == (ReceiptStatus.REFUSED, ("LAST",))
        assert sandbox.living(order.number) == 0 and sandbox.world.taken(item, "sloc_1") == 1
        gone = await connector().find(order.number)
        assert gone is not None and gone.status is ReceiptStatus.REFUSED, "it was placed once, and is no more"


async def test_many_orders_at_once_never_oversell() -> None:
    async with shop([one("HOT", 10)]) as (sandbox, connector):
        placed, adapter = [po(("HOT", 1, "1")) for _ in range(25)], connector()
        receipts = await asyncio.gather(*(place(adapter, order) for order in placed))
        accepted = sum(receipt.status is ReceiptStatus.ACCEPTED for receipt in receipts)
        assert accepted == sum(sandbox.living(order.number) for order in placed) == 10
        assert {r.out_of_stock for r in receipts if r.status is ReceiptStatus.REFUSED} == {True}


async def test_an_order_whose_guest_the_merchant_renamed_is_still_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.medusa.orders._SCAN", 2)
    async with shop(many(9)) as (sandbox, connector):
        placed = [po((f"P{n}", 1, "20")) for n in range(2, 8)]
        for order in placed:
            await place(connector(), order)
        next(iter(sandbox.world.orders.values()))["email"] = "somebody@else.example"
        found = await connector().find(placed[0].number)
        assert found is not None and found.status is ReceiptStatus.ACCEPTED
        monkeypatch.setattr("connectors.medusa.orders._SCAN_PAGES", 2)
        with pytest.raises(Retry):
            await connector().find(public_id("po", uuid7()))


async def test_one_guest_for_all_orders_is_possible() -> None:
    async with shop(customer_email="hub@hub.example") as (sandbox, connector):
        order = po(("MUG", 1, "12.90"))
        assert (await place(connector(), order)).status is ReceiptStatus.ACCEPTED
        assert (await connector().find(order.number)) is not None
        assert not any(seen.path.startswith("/admin/customers") for seen in sandbox.seen)
        assert sandbox.cart_requests[0]["email"] == "hub@hub.example"


async def test_a_wrong_setting_of_orders_is_misconfigured_and_nothing_stays_ordered() -> None:
    async with shop() as (sandbox, connector):
        for says, order, config in (
            ("pp_cash", po(("MUG", 1, "12.90")), {"payment_provider": "pp_cash"}),
            ("sells in CNY", po(("MUG", 1, "12.90"), currency="USD"), {}),
            ("publishable key", po(("MUG", 1, "12.90")), {"publishable_key": ""}),
        ):
            with pytest.raises(Misconfigured, match=says):
                await place(connector(str(config), **config), order)
        assert not sandbox.world.orders


async def test_cancelling_gives_back_once_and_what_is_packed_is_not_cancelled() -> None:
    async with shop() as (sandbox, connector):
        adapter, order = connector(), po(("MUG", 2, "12.90"))
        number = (await place(adapter, order)).vendor_order_no
        for given in (number, number, order.number):
            assert (await adapter.cancel(given, order)).status is ReceiptStatus.ACCEPTED
            assert (await stock(connector()))["MUG", "sloc_1"] == 5
        other = po(("MUG", 1, "12.90"))
        number = (await place(adapter, other)).vendor_order_no
        sandbox.world.orders[number]["fulfillments"].append({"canceled_at": None, "packed_at": now(), "labels": []})
        refused = await adapter.cancel(number, other)
        assert refused.status is ReceiptStatus.REFUSED and "fulfillments" in (refused.reason or "")
        for nobody in ("4711", "../products/1", "order_x"):
            assert (await adapter.cancel(nobody, other)).status is ReceiptStatus.REFUSED


async def test_tracking_tells_each_parcel_and_the_order_while_it_has_none() -> None:
    async with shop() as (sandbox, connector):
        adapter, order = connector(), po(("MUG", 2, "12.90"))
        number = (await place(adapter, order)).vendor_order_no
        [update] = await adapter.track(number)
        assert (update.status, update.po_number) == (ShipmentStatus.PENDING, order.number)
        kept = sandbox.world.orders[number]
        times = [now() for _ in range(6)]
        kept["fulfillments"] = [
            {
                "packed_at": times[0],
                "shipped_at": times[1],
                "labels": [{"tracking_number": "SF1"}, {"tracking_number": "SF2"}],
            },
            {"packed_at": times[2], "labels": []},
            {"packed_at": times[2], "canceled_at": times[3], "labels": [{"tracking_number": "ZT9"}]},
            {
                "packed_at": times[2],
                "shipped_at": times[4],
                "delivered_at": times[5],
                "labels": [{"tracking_number": "ZT2"}],
            },
        ]
        told = [(u.status, u.raw_status, u.tracking_no) for u in await adapter.track(number)]
        assert told == [
            (ShipmentStatus.SHIPPED, "shipped", "SF1"),
            (ShipmentStatus.SHIPPED, "shipped", "SF2"),
            (ShipmentStatus.PENDING, "packed", None),
            (ShipmentStatus.DELIVERED, "delivered", "ZT2"),
        ]
        kept["fulfillments"], kept["status"] = [], "archived"
        [update] = await adapter.track(number)
        assert (update.status, update.raw_status) == (ShipmentStatus.UNKNOWN, "archived")
        assert not await adapter.track("4711") and not await adapter.track("../orders")


async def test_nothing_of_a_person_is_in_an_error() -> None:
    async with shop(faults=Faults(lose_answer=1)) as (_, connector):
        adapter = connector()
        with pytest.raises(HubError) as caught:
            await place(adapter, po(("MUG", 1, "12.90")))
        assert "李伟" not in f"{caught.value!r} {adapter!r} {adapter.__dict__!r}"


def test_our_number_tells_when_it_was_made() -> None:
    made = refusals.made_at(public_id("po", uuid7()))
    assert made is not None and abs((datetime.now(UTC) - made).total_seconds()) < 5
    assert refusals.made_at("po-17") is None
