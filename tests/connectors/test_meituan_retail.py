"""A store at Meituan: what is signed, what stock means, and that nothing is lost or doubled on the way."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import orjson
import pytest
from pydantic import SecretStr

from connectors import base, guards, manifest
from connectors.calling import Refused
from connectors.contracts import BadRow, ListingIn, Page
from connectors.credentials import Draft
from connectors.kit_stage import reachable
from connectors.meituan_retail.adapter import Adapter
from connectors.meituan_retail.records import stock_of
from connectors.meituan_retail.sandbox import APP_ID, APP_SECRET, POI, MeituanSandbox, medicine, product
from connectors.sandbox_kit import Faults
from hub.kernel import clock
from hub.kernel.errors import Broken, Misconfigured, Retry

SKU = {"sku_id": "A", "spec": "1kg", "upc": "", "price": "5.50", "stock": "3"}


@asynccontextmanager
async def store(
    faults: Faults | None = None, *, token: str = "", secret: str = APP_SECRET, shelf: Any = None, **config: Any
) -> AsyncIterator[tuple[MeituanSandbox, Callable[[], Adapter]]]:
    """A running store and a maker of connector objects for it."""
    shelves = {"medicines": shelf} if config.get("kind") == "medicine" else {"goods": shelf}
    sandbox = MeituanSandbox(faults, **shelves)
    await sandbox.start()
    made: list[Adapter] = []
    secrets = {"app_secret": SecretStr(secret), **({"access_token": SecretStr(token)} if token else {})}

    def connector() -> Adapter:
        settings = {"base_url": sandbox.base_url, "app_id": APP_ID, "app_poi_code": POI, "page_size": 10, **config}
        adapter = base.build(manifest.HOME / "meituan_retail", settings, secrets, connection_id=f"t{id(sandbox)}")
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


async def pull(connector: Adapter) -> list[Page]:
    return [page async for page in connector.pull(None)]


async def listings(connector: Adapter) -> tuple[dict[str, ListingIn], list[BadRow]]:
    pages = await pull(connector)
    assert pages[-1].complete
    found = [listing for page in pages for listing in page.listings]
    return {x.vendor_sku: x for x in found}, [row for page in pages for row in page.bad]


def offline(**secrets: str) -> Adapter:
    """A connector object that calls nobody."""
    config = {"base_url": "https://waimaiopen.meituan.com", "app_id": "0000", "app_poi_code": "31号测试店"}
    hidden = {name: SecretStr(value) for name, value in secrets.items()}
    adapter = base.build(manifest.HOME / "meituan_retail", config, hidden)
    assert isinstance(adapter, Adapter)
    return adapter


# Signing ------------------------------------------------------------------------------------------------------


def test_a_get_is_signed_over_url_and_sorted_plain_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the parameters of go-meituan's own test: app 0000, a store with a Chinese code, 1389751221."""
    monkeypatch.setattr(clock, "now", lambda: datetime.fromtimestamp(1389751221, UTC))
    secret = "a00ba58f000001aa697ab000006d52d"
    adapter = offline(app_secret=secret)
    url = "https://waimaiopen.meituan.com/api/v1/order/getOrderDaySeq"
    draft = Draft("GET", url, {}, {"app_poi_code": "31号测试店"})
    assert adapter.manifest.auth is not None and adapter.manifest.auth.signed is not None
    adapter.call.credentials.sign(draft, adapter.manifest.auth.signed)
    plain = f"{url}?app_id=0000&app_poi_code=31号测试店&timestamp=1389751221{secret}"
    assert draft.query["sig"] == hashlib.md5(plain.encode()).hexdigest()
    assert draft.query["app_id"] == "0000" and draft.query["timestamp"] == "1389751221"


def test_a_posts_form_is_signed_with_the_parameters_of_its_query(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: datetime.fromtimestamp(1389751221, UTC))
    adapter = offline(app_secret="s3cret", access_token="token-of-a-store")
    url = "https://waimaiopen.meituan.com/api/v1/medicine/stock"
    draft = Draft("POST", url, {}, form={"medicine_data": '[{"stock":3}]'})
    assert adapter.manifest.auth is not None and adapter.manifest.auth.signed is not None
    adapter.call.credentials.sign(draft, adapter.manifest.auth.signed)
    plain = f'{url}?access_token=token-of-a-store&app_id=0000&medicine_data=[{{"stock":3}}]&timestamp=1389751221s3cret'
    assert draft.query["sig"] == hashlib.md5(plain.encode()).hexdigest()
    assert draft.form == {"medicine_data": '[{"stock":3}]'}


async def test_a_stores_token_goes_with_every_call_and_its_end_is_misconfigured() -> None:
    async with store(token="token-of-a-store") as (sandbox, connector):
        sandbox.access_token = "token-of-a-store"
        found, _ = await listings(connector())
        assert len(found) == 30
        sandbox.access_token = "another-token"
        with pytest.raises(Misconfigured, match="4001"):
            await pull(connector())


async def test_a_wrong_secret_is_asked_about_once() -> None:
    async with store(secret="not-the-secret") as (sandbox, connector):
        with pytest.raises(Misconfigured, match="703"):
            await pull(connector())
        assert len(sandbox.asked) == 1


# Stock --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "count", "level"),
    [
        ("", None, "in_stock"),
        (" ", None, "in_stock"),
        (None, None, "in_stock"),
        ("0", 0, None),
        (0, 0, None),
        ("7", 7, None),
        ("7.0", 7, None),
        (7.0, 7, None),
        ("99998", 99998, None),
        ("99999", None, "in_stock"),
        (99999, None, "in_stock"),
    ],
)
def test_no_limit_is_a_level_and_never_a_number(raw: Any, count: int | None, level: str | None) -> None:
    assert stock_of(raw, given=True) == (count, level)


def test_a_stock_that_did_not_come_says_nothing() -> None:
    assert stock_of(None, given=False) == (None, None)


@pytest.mark.parametrize("stock", ["viele", "12.5", 12.5, True, {"n": 1}, "100000", 10**9])
async def test_a_stock_that_cannot_be_meant_costs_its_row_only(stock: Any) -> None:
    shelf = [product(1, skus=[{**SKU, "stock": stock}]), product(2)]
    async with store(shelf=shelf) as (_, connector):
        found, bad = await listings(connector())
    assert list(found) == ["SKU-2"]
    assert [row.vendor_sku for row in bad] == ["A"]


# Products and SKUs --------------------------------------------------------------------------------------------


async def test_skus_as_text_and_as_objects_come_out_alike() -> None:
    async with store() as (sandbox, connector):
        objects, _ = await listings(connector())
        sandbox.as_text = True
        texts, _ = await listings(connector())
    assert objects == texts and len(texts) == 30
    assert (texts["SKU-9"].on_hand, texts["SKU-9"].level) == (None, "in_stock")
    assert (texts["SKU-8"].on_hand, texts["SKU-8"].price, texts["SKU-8"].location) == (8, Decimal("13.50"), POI)


async def test_a_sku_without_a_code_is_known_by_its_product_or_refused() -> None:
    nameless = {**SKU, "sku_id": ""}
    shelf = [
        product(1, skus=[nameless]),
        product(2, skus=[nameless, {**nameless, "spec": "2kg"}]),
        product(3, skus=[nameless, {**nameless, "spec": ""}]),
        product(4, app_spu_code="", skus=[nameless]),
        product(5, skus=[]),
        product(6, skus="[{"),
    ]
    async with store(shelf=shelf) as (_, connector):
        found, bad = await listings(connector())
    assert sorted(found) == ["#SPU-1", "#SPU-2/1kg", "#SPU-2/2kg", "#SPU-3/1kg"]
    assert found["#SPU-2/2kg"].title == "酸奶 2 2kg" and found["#SPU-1"].title == "酸奶 1"
    assert [row.pointer for row in bad] == ["/skus/sku_id", "/skus/sku_id", "/skus", "/skus"]


async def test_a_code_that_two_products_share_is_taken_once_and_reported() -> None:
    """The store may give one sku_id to several SKUs; on other pages too."""
    shelf = [product(n) for n in range(1, 16)]
    shelf[12] = product(13, skus=[{**SKU, "sku_id": "SKU-2"}])
    async with store(shelf=shelf) as (_, connector):
        found, bad = await listings(connector())
    assert len(found) == 14 and found["SKU-2"].family_id == "SPU-2"
    [row] = bad
    assert row.vendor_sku == "SKU-2" and "SPU-2" in row.reason


async def test_a_code_that_is_no_gtin_is_kept_beside() -> None:
    shelf = [
        product(1, skus=[{**SKU, "upc": "店内-7"}]),
        product(2, skus=[{**SKU, "sku_id": "B", "upc": "6901234567890"}]),
    ]
    async with store(shelf=shelf) as (_, connector):
        found, bad = await listings(connector())
    assert not bad
    assert [(x.gtin, x.attributes["upc"]) for x in found.values()] == [(None, "店内-7"), (None, "6901234567890")]


async def test_off_the_shelf_is_off_sale_and_an_unknown_word_is_refused() -> None:
    shelf = [product(1, is_sold_out=1), product(2, is_sold_out="0"), product(3, is_sold_out=7)]
    async with store(shelf=shelf) as (_, connector):
        found, bad = await listings(connector())
    assert {sku: x.active for sku, x in found.items()} == {"SKU-1": False, "SKU-2": True}
    assert [row.pointer for row in bad] == ["/is_sold_out"]


@pytest.mark.parametrize("price", ["", None, "0", "-1", "面议", "1e9", True, [1]])
async def test_an_odd_price_costs_its_row_only(price: Any) -> None:
    async with store(shelf=[product(1, skus=[{**SKU, "price": price}]), product(2)]) as (_, connector):
        found, bad = await listings(connector())
    assert list(found) == ["SKU-2"] and len(bad) == 1


async def test_new_fields_of_a_sku_are_drift() -> None:
    async with store(shelf=[product(1, shelf_life=9, skus=[{**SKU, "cold_chain": 1}])]) as (_, connector):
        [page] = await pull(connector())
    assert page.drift == ("shelf_life", "skus.cold_chain") and len(page.listings) == 1


async def test_medicines_keep_their_approval_number() -> None:
    shelf = [medicine(1), medicine(2, app_medicine_code="", upc="", stock=5), medicine(3, stock=0, medicine_type=9)]
    async with store(shelf=shelf, kind="medicine") as (sandbox, connector):
        found, bad = await listings(connector())
        assert {seen["limit"] for seen in sandbox.asked} == {"10"}
    assert found["MED-1"].attributes["approval_number"] == "国药准字Z44020001"
    assert (found["MED-3"].on_hand, found["MED-3"].attributes["medicine_type"]) == (0, "9")
    assert [row.pointer for row in bad] == ["/app_medicine_code"]


@pytest.mark.parametrize(
    "record", [None, 7, "x", [], {}, {"skus": {}}, {"skus": [7]}, {"skus": "[]", "app_spu_code": 1}]
)
async def test_a_hostile_record_costs_itself_only(record: Any) -> None:
    async with store(shelf=[record, product(2)]) as (_, connector):
        found, bad = await listings(connector())
    assert list(found) == ["SKU-2"] and len(bad) == 1


# Pages --------------------------------------------------------------------------------------------------------


async def test_after_a_short_page_the_next_one_is_asked_for_and_the_pull_is_not_complete() -> None:
    """Offsets are read as pages: an offset by rows would ask for the short page again."""
    async with store() as (sandbox, connector):
        sandbox.hide_on_page = 2
        seen: list[Page] = []
        with pytest.raises(Broken, match="announced 30 rows and sent 29"):
            async for page in connector().pull(None):
                seen.append(page)
        assert sorted({int(asked["offset"]) for asked in sandbox.asked}) == [0, 10, 20, 30]
    assert sum(len(page.listings) for page in seen) == 29
    assert not any(page.complete for page in seen)


@pytest.mark.parametrize("faults", [Faults(repeat_page=True), Faults(drop_page=2)])
async def test_lost_and_repeated_pages_are_never_a_complete_pull(faults: Faults) -> None:
    async with store(faults) as (_, connector):
        with pytest.raises(Broken):
            await pull(connector())


async def test_a_page_that_repeats_an_earlier_one_is_noticed_after_a_resumption_too() -> None:
    async with store() as (sandbox, connector):
        first: list[Page] = []
        async for page in connector().pull(None):
            first.append(page)
            if len(first) == 2:
                break
        cursor = orjson.loads(orjson.dumps(first[1].cursor))
        sandbox.faults.repeat_page = True
        with pytest.raises(Broken, match="again"):
            [page async for page in connector().pull(cursor)]


async def test_a_row_that_comes_twice_stands_where_another_should() -> None:
    shelf = [product(n) for n in range(1, 31)]
    shelf[14] = shelf[3]
    async with store(shelf=shelf) as (_, connector):
        seen: list[Page] = []
        with pytest.raises(Broken, match="1 rows twice"):
            async for page in connector().pull(None):
                seen.append(page)
    assert len(seen) == 3 and not any(page.complete for page in seen)


# Errors -------------------------------------------------------------------------------------------------------


async def test_too_many_calls_are_waited_for() -> None:
    async with store() as (sandbox, connector):
        sandbox.errors = [(711, "接口调用过于频繁")]
        found, _ = await listings(connector())
    assert len(found) == 30


async def test_a_store_without_medicines_is_not_taken_for_an_empty_one() -> None:
    async with store(kind="medicine") as (sandbox, connector):
        sandbox.errors = [(3005, "当前门店无药品,请添加药品")]
        with pytest.raises(Refused, match="当前门店无药品"):
            await pull(connector())


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"data": "ng", "error": {"code": 700, "msg": "x"}}', Retry),
        (b'{"data": null, "error": {"code": 803, "msg": "x"}}', Misconfigured),
        (b'{"result_code": 3, "data": "ng", "error_list": [{"code": 704, "msg": "x"}]}', Misconfigured),
        (b'{"data": "ng", "error": {"code": 9999, "msg": "x"}}', Refused),
        (b'{"data": "ng"}', Broken),
        (b"{}", Broken),
        (b"[]", Broken),
        (b'{"data": {"a": 1}}', Broken),
        (b'{"data": "[1"}', Broken),
    ],
)
async def test_what_is_no_list_is_never_an_empty_one(body: bytes, kind: type[Exception]) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    async with httpx.AsyncClient(transport=transport) as http:
        config = {"app_id": APP_ID, "app_poi_code": POI}
        secrets = {"app_secret": SecretStr(APP_SECRET)}
        adapter = base.build(manifest.HOME / "meituan_retail", config, secrets, http, connection_id=f"m{id(http)}")
        assert isinstance(adapter, Adapter)
        with pytest.raises(kind):
            if kind is Retry:  # sent once: how often it is tried again is the caller's own promise
                await adapter.call.send("GET", "/api/v1/retail/list")
            else:
                await pull(adapter)


async def test_a_list_that_came_as_text_is_read() -> None:
    row = '{\\"name\\":\\"a\\",\\"app_spu_code\\":\\"S\\",\\"skus\\":[{\\"price\\":\\"1.00\\",\\"stock\\":\\"2\\"}]}'
    body = f'{{"data": "[{row}]", "extra_info": {{"total_count": 1}}}}'
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=body.encode()))
    async with httpx.AsyncClient(transport=transport) as http:
        secrets = {"app_secret": SecretStr(APP_SECRET)}
        config = {"app_id": APP_ID, "app_poi_code": POI}
        adapter = base.build(manifest.HOME / "meituan_retail", config, secrets, http, connection_id=f"m{id(http)}")
        assert isinstance(adapter, Adapter)
        found, bad = await listings(adapter)
    assert not bad and found["#S"].on_hand == 2
