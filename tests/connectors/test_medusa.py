"""Medusa's catalogue and stock against its sandbox: the price that an order would really be charged, stock only where
it can be ordered from, and nothing lost while the list moves."""

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
from connectors.medusa import talking
from connectors.medusa.adapter import Adapter
from connectors.medusa.sandbox import MedusaSandbox
from connectors.sandbox_kit import Faults
from connectors.walking import Stand, walk
from hub.kernel import clock
from hub.kernel.errors import Broken, Misconfigured

MUG: dict[str, Any] = {"title": "杯子", "variants": [{"sku": "MUG", "price": 12.9, "stock": 5}]}


@asynccontextmanager
async def shop(
    products: Sequence[dict[str, Any]] = (MUG,), faults: Faults | None = None, **config: Any
) -> AsyncIterator[tuple[MedusaSandbox, Callable[..., Adapter]]]:
    """A running shop and a maker of connector objects for it."""
    sandbox = MedusaSandbox(products, faults)
    await sandbox.start()
    made: list[Adapter] = []

    def connector(name: str = "", secrets: dict[str, str] | None = None, **more: Any) -> Adapter:
        hidden = {n: SecretStr(v) for n, v in (sandbox.credentials() if secrets is None else secrets).items()}
        settings = {"base_url": sandbox.base_url, "publishable_key": sandbox.publishable_key, **config, **more}
        adapter = base.build(manifest.HOME / "medusa", settings, hidden, connection_id=f"m{id(sandbox)}{name}")
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
    return [{"title": f"商品{n}", "variants": [{"sku": f"P{n}", "price": 1 + n, "stock": n}]} for n in range(count)]


# Listings -----------------------------------------------------------------------------------------------------


async def test_a_variant_is_a_listing_with_what_its_product_and_metadata_say() -> None:
    tee = {
        "title": "T恤",
        "description": "<p>棉&nbsp;质</p>",
        "category": "服装",
        "type": "上衣",
        "metadata": {"brand": "海澜之家", "title_en": "T-shirt", "kind": "goods"},
        "variants": [
            {"sku": "TEE-S", "title": "小", "price": 49, "ean": "6901234567892", "options": {"尺码": "S"}},
            {"title": "Default variant", "price": 52, "metadata": {"title_en": "Large"}, "options": {"尺码": "默认"}},
        ],
    }
    async with shop(
        [tee, {**MUG, "status": "draft"}, {**MUG, "hidden": True, "variants": [{"sku": "H", "price": 1}]}]
    ) as (
        _,
        connector,
    ):
        [page] = await pull(connector())
    small, large, draft, hidden = page.listings
    assert (small.title, small.title_en, small.brand, small.category) == ("T恤 小", "T-shirt", "海澜之家", "服装")
    assert (small.price, small.currency, small.gtin) == (Decimal(49), "CNY", "06901234567892")
    assert (small.attributes, small.description, small.active) == ({"尺码": "S"}, "棉 质", True)
    assert (large.vendor_sku, large.title, large.title_en) == (f"#{large.external_id}", "T恤", "Large")
    assert large.attributes == {} and large.family_id == small.family_id != draft.family_id
    assert not draft.active and not hidden.active, "a draft, and what is in no sales channel, cannot be ordered"
    assert page.complete and page.drift == ()


async def test_the_price_is_what_an_order_is_charged() -> None:
    products = [
        {"title": "特价", "variants": [{"sku": "SALE", "price": 100, "sale": 80, "stock": 1}]},
        {"title": "税", "variants": [{"sku": "NET", "price": 10, "stock": 1}]},
        {"title": "无价", "variants": [{"sku": "NONE", "stock": 1}]},
    ]
    async with shop(products) as (_, connector):
        [page] = await pull(connector())
        [bare] = await pull(connector("net", with_tax=False))
        [plain] = await pull(connector("plain", publishable_key=""))
    assert {x.vendor_sku: x.price for x in page.listings} == {"SALE": Decimal(80), "NET": Decimal(10)}
    assert [(bad.vendor_sku, bad.pointer) for bad in page.bad] == [("NONE", "/price")] and "no price" in page.bad[
        0
    ].reason
    assert {x.vendor_sku: x.price for x in bare.listings}["NET"] == Decimal("8.8496"), "calculated taxes are rounded"
    assert {x.vendor_sku: x.price for x in plain.listings}["SALE"] == Decimal(100), "price lists need a publishable key"


def test_amounts_are_taken_as_they_are_written() -> None:
    assert talking.amount(12.9) == Decimal("12.9") and talking.amount("0.10") == Decimal("0.10")
    assert str(talking.amount(53.008849557522126)) == "53.0088"
    amounts: list[Any] = [None, True, "x", float("nan"), [], {}]
    for none in amounts:
        assert talking.amount(none) is None


async def test_an_increment_tells_changed_variants_and_those_of_changed_products() -> None:
    async with shop(many(30), page_size=10) as (sandbox, connector):
        for thing in [*sandbox.world.variants.values(), *sandbox.world.products.values()]:
            thing["updated_at"] = "2020-01-01T00:00:00.000Z"
        now = clock.now().isoformat()
        sandbox.variant("P4").update(title="大", updated_at=now)
        sandbox.variant("P7")["product"].update(status="draft", updated_at=now)
        pages = await pull(connector(), {"since": (clock.now() - timedelta(minutes=1)).isoformat()})
        rest = await pull(connector(), pages[0].cursor)
        done = await pull(connector(), pages[-1].cursor)
    told = {listing.vendor_sku: (listing.title, listing.active) for page in pages for listing in page.listings}
    assert told == {"P4": ("商品4 大", True), "P7": ("商品7", False)}
    assert [page.complete for page in pages] == [False, True]
    assert [listing.vendor_sku for page in rest for listing in page.listings] == ["P7"]
    assert [(page.listings, page.complete) for page in done] == [((), True)]


async def test_one_odd_row_costs_one_row() -> None:
    async with shop(many(4)) as (sandbox, connector):
        sandbox.variant("P0")["ean"] = "123"
        sandbox.variant("P1")["metadata"] = {"kind": "no such kind"}
        sandbox.variant("P3")["surprise"] = 1
        next(iter(sandbox.world.items.values()))["levels"]["sloc_1"] = "many"
        [page] = await pull(connector())
        sandbox.world.free = lambda item: {}  # type: ignore[method-assign]
        sandbox.world.taken = lambda item, place: 0  # type: ignore[method-assign]
        [counted] = [page async for page in connector().pull_stock(None)]
    assert [listing.vendor_sku for listing in page.listings] == ["P2", "P3"]
    assert [bad.vendor_sku for bad in page.bad] == ["P0", "P1"] and page.drift == ("surprise",)
    assert len(counted.unchanged) == 3 and "no count" in counted.bad[0].reason


async def test_a_refused_row_can_be_mapped_again_with_other_settings() -> None:
    product = {"title": "杯子", "variants": [{"sku": "MUG", "price": 1, "metadata": {"sort": "x", "kind": "goods"}}]}
    async with shop([product]) as (_, connector):
        [page] = await pull(connector(meta_keys={"kind": "sort"}))
        [again] = connector("b", meta_keys={"kind": "kind"}).remap([page.bad[0].raw])
    assert page.bad[0].pointer == "/kind" and isinstance(again, ListingIn) and again.kind == "goods"


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
    rows = [{"id": f"v-{n:02d}"} for n in reversed(range(30))]  # in no order that we know

    async def fetch(skip: int, take: int) -> tuple[list[dict[str, Any]], int, Any]:
        return rows[skip : skip + take], len(rows), clock.now()

    stand = Stand(skip=10, after=rows.pop(9)["id"], number=1)
    with pytest.raises(Broken) as caught:
        [page async for page in walk("rows", fetch, 10, stand)]
    assert caught.value.code == "page_moved"


# Stock --------------------------------------------------------------------------------------------------------


async def test_stock_is_told_where_the_channel_can_order_from() -> None:
    products = [
        {
            "title": "各种",
            "variants": [
                {"sku": "TWO", "price": 1, "stock": {"sloc_1": 5, "sloc_2": 4, "sloc_elsewhere": 90}},
                {"sku": "FREE", "price": 1, "stock": None},
                {"sku": "OVER", "price": 1, "stock": 3},
                {"sku": "BACK", "price": 1, "stock": 2, "backorder": True},
                {"sku": "NONE", "price": 1, "stock": {"sloc_elsewhere": 7}},
                {"sku": "SET", "price": 1, "stock": {"sloc_1": 7, "sloc_2": 1}, "items": {"part": 2}},
                {"sku": "ONE", "price": 1, "stock": 7, "items": {"shared": 1}},
                {"sku": "SIX", "price": 5, "stock": 7, "items": {"shared": 6}},
            ],
        }
    ]
    async with shop(products) as (sandbox, connector):
        items = {sku: f"iitem_{sandbox.variant(sku)['id']}" for sku in ("TWO", "OVER")}
        sandbox.world.hold(items["TWO"], "sloc_1", 2)
        sandbox.world.hold(items["OVER"], "sloc_1", 5)
        figures = await stock(connector())
        everywhere = await stock(connector("all", publishable_key=""))
    assert figures == {
        ("TWO", "sloc_1"): 3,
        ("TWO", "sloc_2"): 4,
        ("FREE", ""): "in_stock",
        ("OVER", "sloc_1"): 0,
        ("BACK", "sloc_1"): 2,
        ("NONE", ""): 0,
        ("SET", "sloc_1"): 3,
        ("SET", "sloc_2"): 0,
        ("ONE", ""): "in_stock",
        ("SIX", ""): "in_stock",
    }, "what shares its pieces with others has a level: one piece must not be counted once per variant"
    assert everywhere["TWO", "sloc_elsewhere"] == 90, "without a channel every location counts"


# Who asks and where -------------------------------------------------------------------------------------------


async def test_a_login_does_as_well_as_a_secret_key_and_is_renewed_once() -> None:
    async with shop() as (sandbox, connector):
        adapter = connector(secrets={"password": sandbox.password}, email=sandbox.email)
        assert (await pull(adapter))[-1].complete
        sandbox.forget_tokens()
        assert (await pull(adapter))[-1].complete
        assert sum(seen.path.startswith("/auth/") for seen in sandbox.seen) == 2
        with pytest.raises(Misconfigured, match="Invalid email or password"):
            await pull(connector("w", secrets={"password": "not-the-password"}, email=sandbox.email))
        with pytest.raises(Misconfigured, match="401"):
            await pull(connector("k", secrets={"secret_key": "sk_another_key"}))
        with pytest.raises(Misconfigured, match="neither a secret key nor"):
            await pull(connector("n", secrets={}))


async def test_each_api_gets_its_own_credential_only() -> None:
    async with shop() as (sandbox, connector):
        told: list[tuple[str, set[str]]] = []
        real = sandbox._faulty

        async def noting(request: Any, handler: Any) -> Any:
            names = {"Authorization", "x-publishable-api-key"} & set(request.headers)
            told.append((request.path.split("/")[1], names))
            return await real(request, handler)

        sandbox._faulty = noting  # type: ignore[method-assign]
        await pull(connector())
    assert {("admin", "Authorization"), ("store", "x-publishable-api-key")} == {
        (api, name) for api, names in told for name in names
    }


async def test_a_market_that_cannot_be_told_is_misconfigured() -> None:
    async with shop() as (sandbox, connector):
        for says, config in (
            ("0 of them have 'de'", {"country": "de"}),
            ("no region 'reg_x'", {"region_id": "reg_x"}),
            ("0 sales channels", {"publishable_key": "pk_another"}),
            ("page_size", {"page_size": 0}),
        ):
            with pytest.raises(Misconfigured, match=says):
                await pull(connector(str(config), **config))
        sandbox.key_channels = ["sc_a", "sc_b"]
        with pytest.raises(Misconfigured, match="2 sales channels"):
            await pull(connector("two"))
        assert (await pull(connector("said", sales_channel_id="sc_a", region_id="reg_cn")))[-1].complete
        with pytest.raises(Misconfigured, match="publishable key"):
            await pull(connector("wrong", sales_channel_id="sc_a", publishable_key="pk_another"))
