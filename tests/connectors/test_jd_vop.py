"""JD VOP against its sandbox: tokens, pools, prices and stock levels."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson
import pytest
from pydantic import SecretStr

from connectors import base, guards, manifest
from connectors.contracts import Page, PoLine, PurchaseOrder, ShipTo
from connectors.jd_vop import goods
from connectors.jd_vop.adapter import Adapter
from connectors.jd_vop.sandbox import VopSandbox
from connectors.jd_vop.vop import Session
from connectors.kit_stage import reachable
from connectors.sandbox_kit import Faults
from hub.kernel import clock
from hub.kernel.errors import Broken, Misconfigured, Retry
from hub.kernel.types import public_id, uuid7

PEN = {"sku": "614907", "name": "中性笔", "price": "1.16", "jd_price": "1.50", "stock": 40, "spu": 77}
KETTLE = {"sku": "1072238", "name": "电水壶", "price": "98.60", "jd_price": "119", "stock": 5}


@asynccontextmanager
async def jd(
    products: Sequence[dict[str, Any]] = (), faults: Faults | None = None, **given: Any
) -> AsyncIterator[tuple[VopSandbox, Callable[..., Adapter]]]:
    """A running stand-in and a maker of connector objects for it; keywords that the stand-in knows go to it."""
    own = {k: given.pop(k) for k in ("pools", "pool_page", "message_page", "token_life_s") if k in given}
    sandbox = VopSandbox(products or [PEN, KETTLE], faults, **own)
    await sandbox.start()
    made: list[Adapter] = []

    def connector(**config: Any) -> Adapter:
        secrets = {name: SecretStr(value) for name, value in sandbox.credentials().items()}
        settings = {**sandbox.settings(), **given, **config}
        adapter = base.build(manifest.HOME / "jd_vop", settings, secrets, connection_id=f"t{id(sandbox)}")
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


SHANGHAI = ShipTo(
    name="李伟", phone="13800000000", province="上海市", city="上海市", district="黄浦区", address="中山东一路1号"
)


def po(*lines: tuple[str, int, str], to: ShipTo = SHANGHAI, note: str = "", currency: str = "CNY") -> PurchaseOrder:
    return PurchaseOrder(
        number=public_id("po", uuid7()),
        lines=tuple(
            PoLine(line_no=n, vendor_sku=sku, quantity=quantity, unit_price=Decimal(price), currency=currency)
            for n, (sku, quantity, price) in enumerate(lines, 1)
        ),
        ship_to=to,
        note=note,
        placed_at=datetime.now(UTC),
    )


def calls(sandbox: VopSandbox, path: str) -> int:
    return sum(seen.path == f"/api/{path}" for seen in sandbox.seen)


async def pull(connector: Adapter, since: Any = None) -> list[Page]:
    return [page async for page in connector.pull(since)]


async def levels(connector: Adapter, since: Any = None) -> dict[str, Any]:
    pages = [page async for page in connector.pull_stock(since)]
    return {figure.vendor_sku: figure.level for page in pages for figure in page.unchanged}


# Tokens -------------------------------------------------------------------------------------------------------


async def test_the_token_request_is_signed_as_documented() -> None:
    """UPPER(md5(secret + timestamp + client_id + username + md5(password) + "access_token" + secret))."""
    settings = {"client_id": "cid", "username": "采购", "area": "1_72_2799_0"}
    secrets = {"client_secret": SecretStr("s3cret"), "password": SecretStr("pass-word")}
    adapter = base.build(manifest.HOME / "jd_vop", settings, secrets)
    assert isinstance(adapter, Adapter)
    form = adapter.token_form(datetime(2026, 11, 25, 6, 32, 5, tzinfo=UTC))
    assert form["timestamp"] == "2026-11-25 14:32:05"  # Beijing's time
    assert form["password"] == hashlib.md5(b"pass-word").hexdigest()
    text = f"s3cret2026-11-25 14:32:05cid采购{form['password']}access_tokens3cret"
    assert form["sign"] == hashlib.md5(text.encode()).hexdigest().upper()
    assert "s3cret" not in form.values() and "pass-word" not in form.values()


async def test_one_token_serves_all_that_call_at_once() -> None:
    async with jd() as (sandbox, connector):
        await asyncio.gather(*(connector().prices(["614907"]) for _ in range(10)))
        assert (sandbox.logins, sandbox.renewals) == (1, 0)


async def test_a_token_is_renewed_before_it_ends() -> None:
    """A token of ten seconds is renewed a second before its end; here its end is moved to now."""
    async with jd(token_life_s=10) as (sandbox, connector):
        adapter = connector()
        await adapter.prices(["614907"])
        purse = adapter.call.guard().purse
        before = Session.of(purse.value)
        purse.until = 0.0
        await adapter.prices(["614907"])
        after = Session.of(purse.value)
        assert (sandbox.logins, sandbox.renewals) == (1, 1)
        assert (
            before is not None
            and after is not None
            and after.access != before.access
            and after.refresh != before.refresh
        )


async def test_a_token_that_cannot_be_renewed_is_fetched_anew() -> None:
    async with jd() as (sandbox, connector):
        adapter = connector()
        await adapter.prices(["614907"])
        sandbox.end_tokens(renewable=False)
        adapter.call.guard().purse.until = 0.0
        assert "614907" in await adapter.prices(["614907"])
        assert (sandbox.logins, sandbox.renewals) == (2, 1)


async def test_a_token_that_jd_took_back_is_replaced_once_and_the_call_made_again() -> None:
    async with jd() as (sandbox, connector):
        adapter = connector()
        await adapter.prices(["614907"])
        sandbox.end_tokens()
        assert "614907" in await adapter.prices(["614907"])
        assert sandbox.logins == 2
        sandbox.end_tokens()
        order = po(("614907", 1, "1.16"))  # an order too: what was denied did nothing
        assert (await adapter.place(order, key=order.number)).status == "accepted"
        assert sandbox.living(order.number) == 1


async def test_a_token_that_is_denied_again_and_again_is_misconfigured() -> None:
    async with jd() as (sandbox, connector):
        denied = {"success": False, "resultCode": "2003", "resultMessage": "token 不合法", "result": None}
        sandbox.refuse["price/getSellPrice"] = denied
        with pytest.raises(Misconfigured, match="2003"):
            await connector().prices(["614907"])
        assert sandbox.logins == 2 and calls(sandbox, "price/getSellPrice") == 2


async def test_a_wrong_password_is_misconfigured_and_not_tried_again() -> None:
    async with jd() as (sandbox, connector):
        adapter = connector()
        adapter.secrets["password"] = SecretStr("not-the-password")
        with pytest.raises(Misconfigured, match="2001"):
            await adapter.prices(["614907"])
        assert sandbox.logins == 1


async def test_called_too_often_pauses_the_connection_and_is_not_repeated() -> None:
    async with jd() as (sandbox, connector):
        adapter = connector()
        sandbox.refuse["price/getSellPrice"] = {"success": False, "resultCode": "2010", "resultMessage": "调用频率超限"}
        with pytest.raises(Retry) as first:
            await adapter.prices(["614907"])
        with pytest.raises(Retry) as second:
            await adapter.states(["614907"])
        assert first.value.after >= 60 and second.value.after > 50
        assert calls(sandbox, "price/getSellPrice") == 1 and calls(sandbox, "product/skuState") == 0


async def test_jds_own_bad_moment_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.calling.jitter", lambda attempt, least: 0.0)
    async with jd() as (sandbox, connector):
        sandbox.refuse["product/getPageNum"] = {"success": False, "resultCode": "5001", "resultMessage": "服务异常"}
        with pytest.raises(Retry):
            await pull(connector())
        assert calls(sandbox, "product/getPageNum") == 4


# Listings -----------------------------------------------------------------------------------------------------


async def test_a_contract_comes_whole_with_both_prices_and_reasons_for_what_is_left_out() -> None:
    products = [
        {**PEN, "upc": "6901234567892,614907", "unit": "支", "brand": "示例&amp;文具"},
        {"sku": "3", "name": "下架", "price": "5", "shelf": 0},
        {"sku": "4", "name": "无报价", "price": "-1"},
        {"sku": "5", "name": "无详情", "price": "5", "hidden": True},
        {"sku": "6", "name": "", "price": "5"},
        {"sku": "7", "name": "无划线价", "price": "5", "jd_price": "-1", "image": "//img10.360buyimg.com/n1/a.jpg"},
    ]
    async with jd(products) as (_, connector):
        [page] = await pull(connector())
    found = {listing.vendor_sku: listing for listing in page.listings}
    assert sorted(found) == ["614907", "7"]
    pen, seven = found["614907"], found["7"]
    assert (pen.price, pen.market_price, pen.currency) == (Decimal("1.16"), Decimal("1.5"), "CNY")
    assert (pen.title, pen.brand, pen.category, pen.gtin) == ("中性笔", "示例&文具", "笔类", "06901234567892")
    assert (pen.external_id, pen.family_id) == ("614907", "77")
    assert pen.url == "https://item.jd.com/614907.html" and pen.attributes["售卖单位"] == "支"
    assert (pen.on_hand, pen.level, pen.location) == (None, None, "")  # stock is told by itself
    assert seven.market_price is None and seven.image_url == "https://img10.360buyimg.com/n1/a.jpg"
    said = {row.vendor_sku: row.reason for row in page.bad}
    assert sorted(map(str, said)) == ["5", "6", "None"]
    assert "no contract price for 4" in said[None] and "3001" in said["5"]
    assert page.complete and page.drift == ()


async def test_a_price_that_jd_does_not_have_is_never_a_price() -> None:
    for odd in (-1, "-1", None, 0, "", "abc", True):
        async with jd() as (sandbox, connector):
            rows = [{"skuId": 614907, "price": odd, "jdPrice": 9}, {"skuId": 1072238, "price": 3.10, "jdPrice": odd}]
            sandbox.refuse["price/getSellPrice"] = {"success": True, "resultCode": "0000", "result": rows}
            [page] = await pull(connector())
        assert [(x.vendor_sku, x.price, x.market_price) for x in page.listings] == [("1072238", Decimal("3.1"), None)]
        assert len(page.bad) == 1


async def test_a_sku_in_two_pools_comes_once_and_a_pool_may_have_empty_pages() -> None:
    products = [{"sku": str(n), "name": "x", "price": "1"} for n in range(1, 31)]
    skus = [str(p["sku"]) for p in products]
    faults = Faults(drop_page=2)  # JD filters as it pages: an empty page in the middle is no end
    async with jd(products, faults, pools={"a": skus[:20], "b": skus[10:], "c": []}, pool_page=4) as (_, connector):
        pages = await pull(connector(batch=10))
    got = [listing.vendor_sku for page in pages for listing in page.listings]
    assert got == [str(n) for n in range(1, 31) if n not in (5, 6, 7, 8)] and pages[-1].complete


async def test_a_pull_goes_on_by_sku_though_the_pools_have_moved() -> None:
    products = [{"sku": str(n), "name": "x", "price": "1"} for n in range(1, 31)]
    async with jd(products, batch=10) as (sandbox, connector):
        first = (await pull(connector()))[0]
        cursor = orjson.loads(orjson.dumps(first.cursor))
        del sandbox.pools["100001"][:5]  # every page has other SKUs now
        rest = await pull(connector(), cursor)
        details = calls(sandbox, "product/getDetail")
        done = await pull(connector(), rest[-1].cursor)
    assert [x.vendor_sku for page in rest for x in page.listings] == [str(n) for n in range(11, 31)]
    assert details == 30 + 20 and [(page.listings, page.complete) for page in done] == [((), True)]


async def test_only_chosen_pools_are_pulled_and_an_unknown_one_is_misconfigured() -> None:
    async with jd(pools={"a": ["614907"], "b": ["1072238"]}) as (sandbox, connector):
        [page] = await pull(connector(pools="b"))
        assert [x.vendor_sku for x in page.listings] == ["1072238"] and calls(sandbox, "product/getPageNum") == 0
        with pytest.raises(Misconfigured, match="nothere"):
            await pull(connector(pools="b, nothere"))


async def test_a_contract_that_shows_nothing_is_no_empty_catalogue() -> None:
    async with jd(pools={}) as (sandbox, connector):
        sandbox.pools = {}
        with pytest.raises(Misconfigured, match="pool"):
            await pull(connector())
        sandbox.pools = {"a": []}
        with pytest.raises(Broken, match="no SKU"):
            await pull(connector())


async def test_a_pool_that_goes_away_meanwhile_is_asked_for_again_later() -> None:
    async with jd() as (sandbox, connector):
        sandbox.refuse["product/getSkuByPage"] = {
            "success": False,
            "resultCode": "0010",
            "resultMessage": "pageNum不存在",
        }
        with pytest.raises(Retry, match="went away"):
            await pull(connector())


@pytest.mark.parametrize("faults", [Faults(repeat_page=True), Faults(garbage=9), Faults(truncate=9)])
async def test_a_pull_of_odd_pages_is_never_complete(faults: Faults) -> None:
    products = [{"sku": str(n), "name": "x", "price": "1"} for n in range(1, 31)]
    seen: list[Page] = []
    async with jd(products, faults, pool_page=10) as (_, connector):
        with pytest.raises(Broken):
            async for page in connector().pull(None):
                seen.append(page)
    assert not any(page.complete for page in seen)


async def test_details_that_are_refused_for_everything_break_the_pull() -> None:
    async with jd() as (sandbox, connector):
        sandbox.refuse["product/getDetail"] = {"success": False, "resultCode": "2005", "resultMessage": "没有权限"}
        with pytest.raises(Broken, match="all 2"):
            await pull(connector())


async def test_details_of_another_sku_are_not_taken() -> None:
    async with jd([PEN, KETTLE, {"sku": "9", "name": "x", "price": "1"}]) as (sandbox, connector):
        detail = {"sku": 1072238, "name": "总是同一个", "category": ""}
        sandbox.refuse["product/getDetail"] = {"success": True, "resultCode": "0000", "result": detail}
        with pytest.raises(Broken):
            await pull(connector(batch=2))
        sandbox.refuse["product/getDetail"]["result"]["sku"] = "614907"
        [page] = await pull(connector(batch=3, pools="100001"))
    assert [x.vendor_sku for x in page.listings] == ["614907"] and len(page.bad) == 2


async def test_prices_and_states_are_asked_for_a_hundred_at_a_time() -> None:
    products = [{"sku": str(n), "name": "x", "price": "1"} for n in range(1, 251)]
    async with jd(products, pool_page=1000) as (sandbox, connector):
        assert sum(len(page.listings) for page in await pull(connector())) == 250
        assert (calls(sandbox, "price/getSellPrice"), calls(sandbox, "product/skuState")) == (3, 3)
        assert calls(sandbox, "product/getCategory") == 1  # a category is asked for once


async def test_unknown_fields_of_jd_are_drift_and_cost_nothing() -> None:
    async with jd([{**PEN, "more": {"newThing": 1}}]) as (_, connector):
        [page] = await pull(connector())
    assert page.drift == ("newThing",) and len(page.listings) == 1


@pytest.mark.parametrize(
    ("upc", "isbn", "wanted"),
    [
        ("6901234567892", "", "06901234567892"),
        ("614907;6901234567892；6920226613033", "", "06901234567892"),
        ("6901234567893", "", None),
        ("", "978-7-111-12233-3", "09787111122333"),
        ("614907", "9787111122333", "09787111122333"),
        (6901234567892, "", "06901234567892"),
        (None, None, None),
        ({"a": 1}, "x", None),
    ],
)
def test_a_gtin_is_the_first_code_that_is_one(upc: Any, isbn: Any, wanted: str | None) -> None:
    assert goods.gtin_of({"upc": upc, "ISBN": isbn}) == wanted


# Stock --------------------------------------------------------------------------------------------------------


async def test_stock_is_a_level_and_never_jds_number() -> None:
    states = {33: "in_stock", 40: "limited", 39: "limited", 36: "out", 34: "out", 99: "out"}
    products = [{"sku": str(n), "name": "x", "price": "1", "stock_state": n, "stock": 7} for n in states]
    products += [{"sku": "200", "price": "1", "stock": 9, "shelf": 0}, {"sku": "201", "price": "1", "stock_state": 35}]
    async with jd(products) as (sandbox, connector):
        pages = [page async for page in connector().pull_stock(None)]
        area = sandbox.settings()["area"]
    figures = {figure.vendor_sku: figure for page in pages for figure in page.unchanged}
    assert {sku: figure.level for sku, figure in figures.items()} == {str(n): v for n, v in states.items()} | {
        "200": "out"
    }
    assert all(figure.on_hand is None for figure in figures.values()) and area == "1_72_2799_0"
    [bad] = [row for page in pages for row in page.bad]
    assert "'35'" in bad.reason  # an unknown state is no stock and no lack of it
    assert pages[-1].complete


async def test_a_sku_that_jd_does_not_answer_keeps_its_stock() -> None:
    async with jd() as (sandbox, connector):
        answer = [{"skuId": "614907", "STOCKSTATEID": "33", "remainNum": -1}]
        for result in (answer, orjson.dumps(answer).decode()):  # a list, or a text that holds one
            sandbox.refuse["stock/getNewStockById"] = {"success": True, "resultCode": "0000", "result": result}
            pages = [page async for page in connector().pull_stock(None)]
            assert [(f.vendor_sku, f.level) for page in pages for f in page.unchanged] == [("614907", "in_stock")]
            assert [row.reason for page in pages for row in page.bad] == ["JD gave no stock state for it"]


async def test_stock_is_asked_for_in_small_calls_where_a_contract_wants_it() -> None:
    products = [{"sku": str(n), "name": "x", "price": "1"} for n in range(1, 13)]
    async with jd(products) as (sandbox, connector):
        assert len(await levels(connector(stock_batch=5))) == 12
        assert calls(sandbox, "stock/getNewStockById") == 3 and calls(sandbox, "product/getDetail") == 0
        with pytest.raises(Misconfigured, match="stock_batch"):
            await levels(connector(stock_batch=101))


async def test_a_page_of_stock_is_as_old_as_its_question() -> None:
    async with jd() as (_, connector):
        before = clock.now()
        [page] = [page async for page in connector().pull_stock(None)]
        assert before <= page.captured_at <= clock.now()
