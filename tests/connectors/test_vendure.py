"""Vendure's catalogue and stock against its sandbox: every variant once, under a name of its own, in two languages, and
nothing lost while the list moves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import SecretStr

from connectors import base, guards, manifest
from connectors.contracts import ListingIn, Page
from connectors.kit_stage import reachable
from connectors.sandbox_kit import Faults
from connectors.vendure import documents, shelf
from connectors.vendure.adapter import Adapter
from connectors.vendure.sandbox import VendureSandbox
from connectors.walking import Stand, walk
from hub.kernel import clock
from hub.kernel.errors import Broken, Misconfigured

MUG = {"name": "杯子", "name_en": "Mug", "variants": [{"sku": "MUG", "price": 1290, "stock": 5}]}


@asynccontextmanager
async def shop(
    products: Sequence[dict[str, Any]] = (MUG,), faults: Faults | None = None, *, cookies: bool = False, **config: Any
) -> AsyncIterator[tuple[VendureSandbox, Callable[..., Adapter]]]:
    """A running shop and a maker of connector objects for it."""
    sandbox = VendureSandbox(products, faults, cookies=cookies)
    await sandbox.start()
    made: list[Adapter] = []

    def connector(name: str = "", secrets: dict[str, str] | None = None, **more: Any) -> Adapter:
        hidden = {n: SecretStr(v) for n, v in (sandbox.credentials() if secrets is None else secrets).items()}
        settings = {"base_url": sandbox.base_url, "username": sandbox.username, **config, **more}
        adapter = base.build(manifest.HOME / "vendure", settings, hidden, connection_id=f"v{id(sandbox)}{name}")
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


async def pull(connector: Adapter, since: Any = None) -> list[Page]:
    return [page async for page in connector.pull(since)]


async def stock(connector: Adapter) -> dict[tuple[str, str], Any]:
    figures = [figure async for page in connector.pull_stock(None) for figure in page.unchanged]
    return {(f.vendor_sku, f.location): f.on_hand if f.level is None else str(f.level) for f in figures}


def many(count: int) -> list[dict[str, Any]]:
    return [{"name": f"商品{n}", "variants": [{"sku": f"P{n}", "price": 100 + n, "stock": n}]} for n in range(count)]


# Listings -----------------------------------------------------------------------------------------------------


async def test_a_variant_is_a_listing_in_two_languages_with_what_facets_and_fields_say() -> None:
    tee = {
        "name": "T恤",
        "name_en": "T-shirt",
        "description": "<p>棉&nbsp;质</p>",
        "brand": "海澜之家",
        "collections": ["服装"],
        "variants": [
            {"sku": "TEE-S", "name": "小", "price": 4900, "options": {"尺码": "S"}, "fields": {"ean": "6901234567892"}},
            {"sku": "TEE-L", "name": "T恤 大", "name_en": "T-shirt large", "price": 5200, "enabled": False},
        ],
    }
    async with shop([tee, {**MUG, "enabled": False}]) as (_, connector):
        [page] = await pull(connector(variant_fields={"gtin": "ean"}))
    small, large, mug = page.listings
    assert (small.title, small.title_en, small.brand, small.category) == ("T恤 小", "T-shirt", "海澜之家", "服装")
    assert (small.price, small.currency, small.gtin) == (Decimal("49.00"), "CNY", "06901234567892")
    assert (small.attributes, small.description) == ({"尺码": "S"}, "棉 质")
    assert small.family_id == large.family_id != mug.family_id and small.external_id != large.external_id
    assert (large.title, large.title_en, large.active, mug.active) == ("T恤 大", "T-shirt large", False, False)
    assert page.complete and page.drift == ()


async def test_a_sku_that_is_missing_shared_or_looks_like_an_id_gives_way_to_the_id() -> None:
    products = [
        *({"name": f"甲{n}", "variants": [{"sku": "TWICE", "price": 100, "stock": 1}]} for n in range(2)),
        *many(12),
        {"name": "乙", "variants": [{"sku": "P3", "price": 100, "stock": 1}]},
        {"name": "丙", "variants": [{"price": 100, "stock": 1}]},
        {"name": "丁", "variants": [{"sku": "#2", "price": 100, "stock": 1}]},
    ]
    async with shop(products, page_size=5) as (sandbox, connector):
        pages = await pull(connector())
        figures = await stock(connector())
    skus = [listing.vendor_sku for page in pages for listing in page.listings]
    ids = {variant["id"]: variant["sku"] for variant in sandbox.world.variants.values()}
    assert len(skus) == len(set(skus)) == 17
    assert {sku for sku in skus if sku.startswith("#")} == {
        f"#{i}" for i, sku in ids.items() if sku in ("TWICE", "P3", "", "#2")
    }
    assert sorted(sku for sku, _ in figures) == sorted(skus), "stock goes by the same names"


async def test_an_increment_tells_changed_variants_and_those_of_changed_products() -> None:
    async with shop(many(30), page_size=10) as (sandbox, connector):
        for thing in [*sandbox.world.variants.values(), *sandbox.world.products.values()]:
            thing["updatedAt"] = "2020-01-01T00:00:00.000Z"
        now = clock.now().isoformat()
        sandbox.variant("P4").update(priceWithTax=999, updatedAt=now)
        sandbox.variant("P7")["product"].update(enabled=False, updatedAt=now)
        pages = await pull(connector(), {"since": (clock.now() - timedelta(minutes=1)).isoformat()})
        rest = await pull(connector(), pages[0].cursor)
        done = await pull(connector(), pages[-1].cursor)
    told = {listing.vendor_sku: (listing.price, listing.active) for page in pages for listing in page.listings}
    assert told == {"P4": (Decimal("9.99"), True), "P7": (Decimal("1.07"), False)}
    assert [page.complete for page in pages] == [False, True]
    assert [listing.vendor_sku for page in rest for listing in page.listings] == ["P7"]
    assert [(page.listings, page.complete) for page in done] == [((), True)]


async def test_prices_without_tax_other_precision_and_the_public_channel_are_settings() -> None:
    async with shop() as (_, connector):
        [taxed] = (await pull(connector()))[0].listings
        [bare] = (await pull(connector(with_tax=False)))[0].listings
        [fine] = (await pull(connector(precision=3)))[0].listings
        [known] = (await pull(connector(public_channel="public-token")))[0].listings
    assert (taxed.price, bare.price, fine.price) == (Decimal("12.90"), Decimal("11.42"), Decimal("1.290"))
    assert (taxed.market_price, known.market_price) == (None, Decimal("12.90"))


async def test_one_odd_row_costs_one_row() -> None:
    async with shop(many(4)) as (sandbox, connector):
        sandbox.variant("P0")["priceWithTax"] = 0
        sandbox.variant("P1")["priceWithTax"] = "12"
        sandbox.variant("P2")["stockLevels"] = [{"stockLocationId": "1", "stockOnHand": "many", "stockAllocated": 0}]
        sandbox.variant("P3")["surprise"] = 1
        [page] = await pull(connector())
        [counted] = [page async for page in connector().pull_stock(None)]
    assert [listing.vendor_sku for listing in page.listings] == ["P2", "P3"]
    assert [bad.vendor_sku for bad in page.bad] == ["P0", "P1"] and page.drift == ("surprise",)
    assert len(counted.unchanged) == 3 and "no count" in counted.bad[0].reason


async def test_a_refused_row_can_be_mapped_again_with_other_settings() -> None:
    product = {
        "name": "杯子",
        "variants": [{"sku": "MUG", "price": 1290, "fields": {"ean": "123", "code": "6901234567892"}}],
    }
    async with shop([product]) as (_, connector):
        [page] = await pull(connector(variant_fields={"gtin": "ean"}))
        [again] = connector("b", variant_fields={"gtin": "code"}).remap([page.bad[0].raw])
    assert page.bad[0].pointer == "/gtin" and isinstance(again, ListingIn) and again.gtin == "06901234567892"


@pytest.mark.parametrize(
    "faults", [Faults(repeat_page=True), Faults(drop_page=2), Faults(truncate=9), Faults(garbage=9)]
)
async def test_a_pull_that_lost_rows_is_never_complete(faults: Faults) -> None:
    seen: list[Page] = []
    async with shop(many(30), faults, page_size=10) as (_, connector):
        with pytest.raises(Broken):
            async for page in connector().pull(None):
                seen.append(page)
    assert not any(page.complete for page in seen)


async def test_a_row_deleted_while_the_list_is_walked_hides_no_other() -> None:
    async with shop(many(40), page_size=10) as (sandbox, connector):
        got: list[str] = []
        async for page in connector().pull(None):
            got += [listing.vendor_sku for listing in page.listings]
            if page.cursor and page.cursor["number"] == 2:
                for variant in [sandbox.variant(f"P{n}") for n in (*range(3, 18), 20)]:
                    del sandbox.world.variants[variant["id"]]
    assert got == [f"P{n}" for n in range(40)], "16 rows before the next page went, none after was skipped"


async def test_a_walk_whose_place_is_gone_begins_anew_and_never_ends_complete() -> None:
    rows = [{"id": f"u-{n}"} for n in range(30)]

    async def fetch(skip: int, take: int) -> tuple[list[dict[str, Any]], int, Any]:
        return rows[skip : skip + take], len(rows), clock.now()

    stand = Stand(skip=10, after="u-9", number=1)
    del rows[9]
    with pytest.raises(Broken) as caught:
        [page async for page in walk("rows", fetch, 10, stand, int)]
    assert caught.value.code == "page_moved"


# Stock --------------------------------------------------------------------------------------------------------


async def test_stock_is_told_by_location_less_what_is_allocated_and_kept_back() -> None:
    products = [
        {
            "name": "各种",
            "variants": [
                {"sku": "TWO", "price": 100, "stock": {"1": 5, "2": 4}},
                {"sku": "KEPT", "price": 100, "stock": {"1": 5, "2": 9}, "threshold": 7},
                {"sku": "BACK", "price": 100, "stock": 2, "threshold": -10},
                {"sku": "FREE", "price": 100, "stock": None},
                {"sku": "OVER", "price": 100, "stock": {"1": 3, "2": 0}},
                {"sku": "NONE", "price": 100, "stock": {}},
            ],
        }
    ]
    async with shop(products) as (sandbox, connector):
        sandbox.variant("TWO")["stockLevels"][0]["stockAllocated"] = 2
        sandbox.variant("OVER")["stockLevels"][1]["stockAllocated"] = 2
        figures = await stock(connector())
    assert figures == {
        ("TWO", "1"): 3,
        ("TWO", "2"): 4,
        ("KEPT", "1"): 0,
        ("KEPT", "2"): 2,
        ("BACK", "1"): 2,
        ("FREE", ""): "in_stock",
        ("OVER", "1"): 1,
        ("OVER", "2"): 0,
        ("NONE", ""): 0,
    }


def test_what_can_be_ordered_is_never_less_than_the_locations_say_together() -> None:
    rules = shelf.Rules(True, 0)
    for levels in ([(3, 0), (0, 2)], [(5, 1), (4, 4)], [(0, 9)], []):
        variant = {
            "stockLevels": [
                {"stockLocationId": str(n), "stockOnHand": on_hand, "stockAllocated": taken}
                for n, (on_hand, taken) in enumerate(levels)
            ]
        }
        assert sum(free for _, free in shelf.at_locations(variant, rules)) == max(0, shelf.available(variant, rules))


# Who asks -----------------------------------------------------------------------------------------------------


async def test_a_login_that_is_refused_with_status_200_is_misconfigured() -> None:
    async with shop() as (sandbox, connector):
        with pytest.raises(Misconfigured, match="credentials are invalid"):
            await pull(connector(secrets={"password": "not-the-password"}))
        assert [name for name, _ in sandbox.asked] == ["Login"]
        with pytest.raises(Misconfigured, match="neither an API key nor a user name"):
            await pull(connector("x", secrets={}, username=""))


async def test_an_api_key_needs_no_login_and_a_wrong_one_is_misconfigured() -> None:
    async with shop() as (sandbox, connector):
        assert await pull(connector("k", secrets={"api_key": sandbox.api_key}))
        assert "Login" not in {name for name, _ in sandbox.asked}
        with pytest.raises(Misconfigured, match="FORBIDDEN"):
            await pull(connector("w", secrets={"api_key": "another-key-000"}))


@pytest.mark.parametrize("cookies", [False, True])
async def test_a_session_that_ended_is_opened_anew_once(cookies: bool) -> None:
    async with shop(cookies=cookies) as (sandbox, connector):
        adapter = connector()
        await pull(adapter)
        sandbox.forget_sessions()
        assert (await pull(adapter))[-1].complete
    assert [name for name, _ in sandbox.asked].count("Login") == 2


async def test_settings_that_cannot_be_are_named() -> None:
    async with shop() as (_, connector):
        for wrong in (
            {"facets": {"colour": "colour"}},
            {"variant_fields": {"gtin": "ean } orders { id"}},
            {"page_size": 0},
        ):
            with pytest.raises(Misconfigured):
                await pull(connector(str(wrong), **wrong))


def test_every_document_has_one_named_operation() -> None:
    texts = [text for name, text in vars(documents).items() if name.isupper() and not name.startswith("_")]
    texts += [documents.variants(["ean"], collections=True), documents.rest_of_cart([1, 2], "field")]
    for text in texts:
        assert text.count("{") == text.count("}") and text.lstrip().split()[0] in ("query", "mutation")
