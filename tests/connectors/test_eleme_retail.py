"""A shop at Ele.me: what is signed, what fen and stock mean, and that nothing is lost or doubled on the way."""

from __future__ import annotations

import hashlib
import re
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
from connectors.eleme_retail.adapter import Adapter
from connectors.eleme_retail.items import stock_of
from connectors.eleme_retail.sandbox import SECRET, SHOP, SOURCE, ElemeSandbox, item
from connectors.kit_stage import reachable
from connectors.sandbox_kit import Faults
from hub.kernel import clock
from hub.kernel.errors import Broken, Misconfigured


@asynccontextmanager
async def shop(
    faults: Faults | None = None, *, items: Any = None, token: str = "", secret: str = SECRET, **config: Any
) -> AsyncIterator[tuple[ElemeSandbox, Callable[[], Adapter]]]:
    """A running shop and a maker of connector objects for it."""
    sandbox = ElemeSandbox(faults, items=items)
    await sandbox.start()
    made: list[Adapter] = []
    secrets = {"secret": SecretStr(secret), **({"access_token": SecretStr(token)} if token else {})}

    def connector() -> Adapter:
        settings = {"base_url": sandbox.base_url, "source": SOURCE, "shop_id": SHOP, "page_size": 10, **config}
        adapter = base.build(manifest.HOME / "eleme_retail", settings, secrets, connection_id=f"t{id(sandbox)}")
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


# Signing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("case", "token"), [("upper", ""), ("lower", ""), ("upper", "token-of-a-shop")])
def test_the_form_and_the_secret_are_signed_in_order_of_names(
    monkeypatch: pytest.MonkeyPatch, case: str, token: str
) -> None:
    monkeypatch.setattr(clock, "now", lambda: datetime.fromtimestamp(1632368400, UTC))
    secrets = {"secret": SecretStr("185bec8dacd85500"), "access_token": SecretStr(token)}
    adapter = base.build(
        manifest.HOME / "eleme_retail", {"source": "61260", "shop_id": "1", "sign_case": case}, secrets
    )
    draft = Draft("POST", "https://api-be.ele.me/", {}, form={"cmd": "sku.list", "body": '{"shop_id":"店"}'})
    assert adapter.manifest.auth is not None and adapter.manifest.auth.signed is not None
    adapter.call.credentials.sign(draft, adapter.manifest.auth.signed)
    form = draft.form or {}
    assert re.fullmatch(r"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}", form["ticket"])
    front = f"access_token={token}&" if token else ""
    plain = (
        f'{front}body={{"shop_id":"店"}}&cmd=sku.list&encrypt=&secret=185bec8dacd85500&source=61260'
        f"&ticket={form['ticket']}&timestamp=1632368400&version=3"
    )
    digest = hashlib.md5(plain.encode()).hexdigest()
    assert form["sign"] == (digest if case == "lower" else digest.upper())
    assert "secret" not in form and form["encrypt"] == ""


async def test_what_is_asked_for_goes_as_json_and_every_call_has_its_own_ticket() -> None:
    async with shop(Faults(unavailable=1)) as (sandbox, connector):
        found, _ = await listings(connector())
        assert [orjson.loads(form["body"]) for form in sandbox.asked] == [
            {"page": n, "pagesize": 10, "shop_id": SHOP} for n in (1, 2, 3)
        ]
        assert len({form["ticket"] for form in sandbox.asked}) == 3
    assert len(found) == 30


async def test_a_signature_in_lower_case_is_a_setting() -> None:
    async with shop(sign_case="lower") as (sandbox, connector):
        sandbox.lower = True
        assert len((await listings(connector()))[0]) == 30
    async with shop() as (sandbox, connector):
        sandbox.lower = True
        with pytest.raises(Misconfigured, match="签名错误"):
            await pull(connector())
        assert len(sandbox.asked) == 1


async def test_a_shops_token_goes_with_every_call() -> None:
    async with shop(token="token-of-a-shop", encrypt="aes") as (sandbox, connector):
        sandbox.access_token = "token-of-a-shop"
        assert len((await listings(connector()))[0]) == 30
        assert {form["encrypt"] for form in sandbox.asked} == {"aes"}


async def test_a_shop_is_known_by_either_of_its_ids_and_needs_one() -> None:
    async with shop(shop_id="", platform_shop_id=SHOP) as (sandbox, connector):
        found, _ = await listings(connector())
        assert "shop_id" not in orjson.loads(sandbox.asked[0]["body"])
    assert len(found) == 30 and found["ELE-1"].location == SHOP
    async with shop(shop_id="") as (sandbox, connector):
        with pytest.raises(Misconfigured, match="shop_id"):
            await pull(connector())
        assert not sandbox.asked


# Prices and stock ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fen", "yuan"), [(1, "0.01"), (90, "0.90"), (1990, "19.90"), ("1990", "19.90")])
async def test_fen_are_whole(fen: Any, yuan: str) -> None:
    async with shop(items=[item(1, sale_price=fen)]) as (_, connector):
        found, _ = await listings(connector())
    assert (found["ELE-1"].price, found["ELE-1"].market_price) == (Decimal(yuan), Decimal(yuan))


@pytest.mark.parametrize("price", [19.9, "19.90", "", None, 0, -5, True, "面议", [1]])
async def test_a_price_that_may_be_yuan_or_nothing_costs_its_row_only(price: Any) -> None:
    async with shop(items=[item(1, sale_price=price), item(2)]) as (_, connector):
        found, bad = await listings(connector())
    assert list(found) == ["ELE-2"]
    assert [row.vendor_sku for row in bad] == ["ELE-1"]


@pytest.mark.parametrize(
    ("raw", "count", "level"),
    [
        (0, 0, None),
        ("7", 7, None),
        (7.0, 7, None),
        (99998, 99998, None),
        (99999, None, "in_stock"),
        ("99999", None, "in_stock"),
        ("", None, None),
        (None, None, None),
    ],
)
def test_the_largest_stock_is_a_level_and_none_is_nothing(raw: Any, count: int | None, level: str | None) -> None:
    assert stock_of(raw) == (count, level)


@pytest.mark.parametrize("stock", [1.5, "1.5", "many", True, [], 100000, "100000"])
async def test_a_stock_that_cannot_be_meant_costs_its_row_only(stock: Any) -> None:
    async with shop(items=[item(1, left_num=stock), item(2)]) as (_, connector):
        found, bad = await listings(connector())
    assert list(found) == ["ELE-2"] and len(bad) == 1


# Items --------------------------------------------------------------------------------------------------------


async def test_specifications_stand_for_themselves() -> None:
    spec = {"sku_spec_id": "9", "sku_spec_custom_id": "", "upc": "", "sale_price": 500, "left_num": 2}
    one = item(1, sku_spec=[spec], sale_price=None, left_num="")
    two = item(2, sku_spec=[{**spec, "sku_spec_id": "91"}, {**spec, "sku_spec_id": "92", "sku_spec_custom_id": "L"}])
    three = item(3, sku_spec=[{**spec, "sku_spec_id": ""}, {**spec, "sku_spec_id": 93}])
    four = item(4, sku_spec="x")
    async with shop(items=[one, two, three, four]) as (_, connector):
        found, bad = await listings(connector())
    assert sorted(found) == ["#91", "#93", "ELE-1", "L"]
    assert (found["ELE-1"].price, found["ELE-1"].on_hand, found["ELE-1"].family_id) == (Decimal("5.00"), 2, None)
    assert (found["L"].external_id, found["L"].family_id) == ("92", two["sku_id"])
    assert [row.pointer for row in bad] == ["/sku_id", "/sku_spec"]


async def test_a_code_that_two_items_share_is_taken_once_and_reported() -> None:
    items = [item(n) for n in range(1, 16)]
    items[12]["custom_sku_id"] = "ELE-2"
    async with shop(items=items) as (_, connector):
        found, bad = await listings(connector())
    assert len(found) == 14 and found["ELE-2"].external_id == items[1]["sku_id"]
    assert [row.vendor_sku for row in bad] == ["ELE-2"]


async def test_ids_beyond_doubles_stay_as_they_are() -> None:
    async with shop(items=[item(1, sku_id=9007199254740993, custom_sku_id="")]) as (_, connector):
        found, _ = await listings(connector())
    assert found["#9007199254740993"].external_id == "9007199254740993"


async def test_off_the_shelf_is_off_sale_and_an_unknown_word_is_refused() -> None:
    async with shop(items=[item(1, status="0"), item(2, status=1), item(3, status="2")]) as (_, connector):
        found, bad = await listings(connector())
    assert {sku: x.active for sku, x in found.items()} == {"ELE-1": False, "ELE-2": True}
    assert [row.pointer for row in bad] == ["/status"]


@pytest.mark.parametrize("record", [None, 7, "x", [], {}, {"sku_spec": [7]}, {"sku_spec": {"a": 1}}, {"sku_id": True}])
async def test_a_hostile_item_costs_itself_only(record: Any) -> None:
    async with shop(items=[record, item(2, new_field=1)]) as (_, connector):
        pages = await pull(connector())
    assert [x.vendor_sku for page in pages for x in page.listings] == ["ELE-2"]
    assert [len(page.bad) for page in pages] == [1] and pages[0].drift == ("new_field",)


# Pages and errors ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("faults", [Faults(repeat_page=True), Faults(drop_page=2)])
async def test_lost_and_repeated_pages_are_never_a_complete_pull(faults: Faults) -> None:
    async with shop(faults) as (_, connector):
        with pytest.raises(Broken):
            await pull(connector())


async def test_a_page_that_repeats_an_earlier_one_is_noticed_after_a_resumption_too() -> None:
    async with shop() as (sandbox, connector):
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
    shelf = [item(n) for n in range(1, 31)]
    shelf[14] = shelf[3]
    async with shop(items=shelf) as (_, connector):
        seen: list[Page] = []
        with pytest.raises(Broken, match="1 rows twice"):
            async for page in connector().pull(None):
                seen.append(page)
    assert len(seen) == 3 and not any(page.complete for page in seen)


async def test_a_refusal_half_way_keeps_what_came_and_is_not_complete() -> None:
    async with shop() as (sandbox, connector):
        seen: list[Page] = []
        with pytest.raises(Refused, match="500001"):
            async for page in connector().pull(None):
                seen.append(page)
                sandbox.answers = [(500001, '{"failed_list":[]}')] * 3
    assert 1 <= len(seen) <= 2 and not any(page.complete for page in seen)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"body": {"errno": 0, "data": {"list": {"a": 1}}}}, Broken),
        ({"body": {"errno": 0, "error": "success"}}, Broken),
        ({"body": {"errno": 0, "data": []}}, Broken),
        ({"body": {"errno": 0, "data": {"total": 3, "list": None}}}, Broken),
        ({"body": {"errno": 0, "data": {"total": 3, "list": []}}}, Broken),
        ({"body": {"errno": 10208, "error": "缺少参数shop_id"}}, Misconfigured),
        ({"body": {"errno": "20109", "error": "sign error"}}, Misconfigured),
        ({"body": {"errno": 77, "error": "其他"}}, Refused),
        ({"body": "encrypted"}, Broken),
        ({"body": None}, Broken),
        ({}, Broken),
        ([], Broken),
    ],
)
async def test_what_is_no_list_is_never_an_empty_one(body: Any, kind: type[Exception]) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=body))
    async with httpx.AsyncClient(transport=transport) as http:
        config = {"source": SOURCE, "shop_id": SHOP}
        secrets = {"secret": SecretStr(SECRET)}
        adapter = base.build(manifest.HOME / "eleme_retail", config, secrets, http, connection_id=f"m{id(http)}")
        assert isinstance(adapter, Adapter)
        with pytest.raises(kind):
            await pull(adapter)


@pytest.mark.parametrize("data", [{"total": 0, "list": []}, {"total": 0, "list": None}, {"total": 0}])
async def test_an_empty_shop_says_so(data: Any) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json={"body": {"errno": 0, "data": data}}))
    async with httpx.AsyncClient(transport=transport) as http:
        config = {"source": SOURCE, "shop_id": SHOP}
        secrets = {"secret": SecretStr(SECRET)}
        adapter = base.build(manifest.HOME / "eleme_retail", config, secrets, http, connection_id=f"m{id(http)}")
        assert isinstance(adapter, Adapter)
        assert await listings(adapter) == ({}, [])


async def test_an_errno_as_text_is_good_too() -> None:
    answer = {"body": {"errno": "0", "error": "success", "data": {"total": 1, "list": [item(1)]}}}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=answer))
    async with httpx.AsyncClient(transport=transport) as http:
        config = {"source": SOURCE, "shop_id": SHOP}
        secrets = {"secret": SecretStr(SECRET)}
        adapter = base.build(manifest.HOME / "eleme_retail", config, secrets, http, connection_id=f"m{id(http)}")
        assert isinstance(adapter, Adapter)
        assert list((await listings(adapter))[0]) == ["ELE-1"]
