"""What a WooCommerce product says of its price, its variations and how it is delivered, and what is left out for which
reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from connectors.contracts import BadRow, ListingIn, ReceiptStatus
from hub.kernel import clock
from tests.connectors.test_woocommerce import po, pull, shop

SHIRT = {
    "sku": "TEE",
    "name": "T恤",
    "type": "variable",
    "price": "49",
    "attributes": [
        {"id": 1, "name": "颜色", "visible": True, "variation": True, "options": ["红", "蓝"]},
        {"id": 2, "name": "尺码", "visible": True, "variation": True, "options": ["S", "M", "L"]},
        {"id": 0, "name": "品牌", "visible": True, "variation": False, "options": ["云杉"]},
    ],
    "variations": [
        {"sku": "TEE-R", "price": "49.00", "stock": 3, "options": {"颜色": "红"}},
        {"sku": "TEE-B-L", "price": "52.00", "stock": 2, "options": {"颜色": "蓝", "尺码": "L"}},
        {"sku": "TEE-OFF", "price": "52.00", "stock": 2, "status": "private", "options": {"颜色": "蓝", "尺码": "S"}},
        {"sku": "TEE-DREAM", "price": "", "status": "private", "options": {"颜色": "蓝", "尺码": "M"}},
        {"sku": "TEE-ASK", "price": "", "options": {"颜色": "红", "尺码": "M"}},
    ],
}


async def test_ids_last_and_families_hold_together() -> None:
    async with shop([{"sku": "MUG", "name": "杯", "price": "1"}, {"name": "无货号", "price": "2"}, SHIRT]) as (
        _,
        maker,
    ):
        [page] = await pull(maker())
    ids = {listing.vendor_sku: (listing.external_id, listing.family_id) for listing in page.listings}
    assert ids == {
        "MUG": ("101", None), "#102": ("102", None),
        "TEE-R": ("104", "103"), "TEE-B-L": ("105", "103"), "TEE-OFF": ("106", "103"),
    }  # fmt: skip


async def test_a_variation_inherits_what_it_does_not_say_and_keeps_open_what_it_leaves_open() -> None:
    async with shop([SHIRT]) as (_, connector):
        [page] = await pull(connector())
    found = {listing.vendor_sku: listing for listing in page.listings}
    assert found["TEE-R"].attributes == {"颜色": "红", "尺码": "S, M, L", "品牌": "云杉"}
    assert (found["TEE-R"].title, found["TEE-R"].brand) == ("T恤 - 红", "云杉")
    assert found["TEE-B-L"].attributes == {"颜色": "蓝", "尺码": "L", "品牌": "云杉"}
    assert [(name, x.active) for name, x in found.items()] == [("TEE-R", True), ("TEE-B-L", True), ("TEE-OFF", False)]
    assert [(bad.vendor_sku, bad.pointer) for bad in page.bad] == [("TEE-ASK", "/price")]


async def test_a_variation_that_leaves_a_choice_open_can_be_refused() -> None:
    async with shop([SHIRT], open_choice="refuse") as (_, connector):
        [page] = await pull(connector())
    reasons = {bad.vendor_sku: bad.reason for bad in page.bad}
    assert "尺码" in reasons["TEE-R"] and [x.vendor_sku for x in page.listings] == ["TEE-B-L", "TEE-OFF"]


async def test_what_was_refused_is_read_again_by_the_settings_of_now() -> None:
    mended = {"open_choice": "list", "brand_attributes": "厂牌", "kind": "experience"}
    shirt = {**SHIRT, "attributes": [*SHIRT["attributes"], {"id": 0, "name": "厂牌", "options": ["松柏"]}]}
    gift = {"sku": "GIFT", "name": "赠品", "price": "0"}
    async with shop([shirt, gift], open_choice="refuse") as (_, connector):
        [page] = await pull(connector())
        refused = {str(bad.vendor_sku): bad for bad in page.bad}
        adapter = connector()
        adapter.config = {**adapter.config, **mended}
        results = adapter.remap([refused[sku].raw for sku in ("TEE-R", "TEE-ASK", "GIFT")])
    assert isinstance(results[0], ListingIn) and not isinstance(results[1], ListingIn)
    assert (results[0].vendor_sku, results[0].brand, results[0].kind.value) == ("TEE-R", "松柏", "experience")
    assert results[0].attributes["颜色"] == "红" and results[0].family_id
    assert [result.pointer for result in results[1:] if isinstance(result, BadRow)] == ["/price", "/price"]


async def test_a_parents_draft_takes_its_variations_off_sale() -> None:
    async with shop([SHIRT]) as (sandbox, connector):
        began = clock.now() - timedelta(hours=1)
        sandbox.remove("TEE")
        [page] = await pull(connector(), {"since": began.isoformat()})
    assert {listing.active for listing in page.listings} == {False} and not page.bad


@pytest.mark.parametrize(("price", "says"), [("", "members only"), ("0", "nothing"), ("0.00", "nothing")])
async def test_what_has_no_price_is_left_out_with_the_reason(price: str, says: str) -> None:
    for status, refused in (("publish", 1), ("draft", 0)):
        async with shop([{"sku": "VIP", "name": "会员", "price": price, "status": status}]) as (_, connector):
            [page] = await pull(connector(), {"since": (clock.now() - timedelta(hours=1)).isoformat()})
        assert not page.listings and len(page.bad) == refused
        assert all(says in bad.reason and bad.pointer == "/price" for bad in page.bad)


@pytest.mark.parametrize(
    ("given", "config", "mode"),
    [
        ({}, {}, "parcel"),
        ({"virtual": True}, {}, "code"),
        ({"downloadable": True}, {}, "code"),
        ({"virtual": True}, {"virtual_mode": "appointment"}, "appointment"),
        ({"virtual": True, "mode": "parcel"}, {}, "parcel"),
    ],
)
async def test_what_cannot_be_carried_is_no_parcel(given: dict[str, Any], config: dict[str, Any], mode: str) -> None:
    async with shop([{"sku": "A", "name": "x", "price": "1", **given}], **config) as (_, connector):
        [page] = await pull(connector())
    assert [listing.mode for listing in page.listings] == [mode]


async def test_a_planned_sale_is_told_and_charged_when_the_shop_begins_it() -> None:
    """The price is what the shop charges at that moment, not what its plan says: its own job makes the change, and
    saves the product, so that the next incremental pull sees it."""
    start, end = datetime(2026, 11, 26, tzinfo=UTC), datetime(2026, 11, 27, tzinfo=UTC)
    real = clock.now
    offset = [timedelta(0)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "now", lambda: real() + offset[0])
        async with shop([{"sku": "TEA", "name": "茶", "price": "88.00", "stock": 9}]) as (sandbox, connector):

            async def seen(since: datetime | None = None) -> list[tuple[Decimal, dict[str, str]]]:
                pages = await pull(connector(), {"since": since.isoformat()} if since else None)
                return [(x.price, x.attributes) for page in pages for x in page.listings]

            offset[0] = start - timedelta(days=1) - real()
            sandbox.plan_sale("TEA", "66.00", "2026-11-26T00:00:00", "2026-11-27T00:00:00")
            dates = {"sale_from": "2026-11-26T00:00:00Z", "sale_to": "2026-11-27T00:00:00Z"}
            assert await seen() == [(Decimal("88.00"), dates)]

            offset[0] = start + timedelta(minutes=20) - real()  # the shop's job is late: shoppers still pay 88
            assert await seen() == [(Decimal("88.00"), dates)]
            watermark = clock.now() + timedelta(minutes=10)
            offset[0] += timedelta(minutes=20)
            sandbox.run_sales()
            assert await seen(watermark) == [(Decimal("66.00"), {"sale_to": "2026-11-27T00:00:00Z"})]

            watermark = end - timedelta(minutes=1)
            offset[0] = end + timedelta(minutes=5) - real()
            sandbox.run_sales()
            assert await seen(watermark) == [(Decimal("88.00"), {})]


async def test_a_sale_that_ended_since_the_last_pull_is_not_ordered_at_its_price() -> None:
    async with shop([{"sku": "TEA", "name": "茶", "price": "66.00", "stock": 9}]) as (sandbox, connector):
        sandbox.set_price("TEA", "88.00")
        order = po(("TEA", 1, "66.00"))
        receipt = await connector().place(order, key=order.number)
        assert receipt.status is ReceiptStatus.REFUSED and not sandbox.orders
        assert not receipt.out_of_stock and "asks more" in (receipt.reason or "")


async def test_a_saved_variation_is_found_by_its_parents_change() -> None:
    async with shop([SHIRT]) as (sandbox, connector):
        sandbox._products[101]["date_modified_gmt"] = "2020-01-01T00:00:00"
        watermark = clock.now() - timedelta(minutes=1)
        [quiet] = await pull(connector(), {"since": watermark.isoformat()})
        assert not quiet.listings
        sandbox.set_price("TEE-R", "45.00")
        [page] = await pull(connector(), {"since": watermark.isoformat()})
    assert {x.vendor_sku: x.price for x in page.listings}["TEE-R"] == Decimal("45.00")
