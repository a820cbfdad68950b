"""A Kroger store: searches that shuffle, skip and repeat lose nothing silently and prove nothing that they cannot."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import httpx
import orjson
import pytest
from pydantic import SecretStr

from connectors import base, guards, manifest
from connectors.contracts import BadRow, ListingIn, Page
from connectors.described import lists_changes_only
from connectors.kit_stage import reachable
from connectors.kroger.adapter import Adapter
from connectors.kroger.products import gtin_of, image_of, price_of, url_of
from connectors.kroger.sandbox import CLIENT_ID, CLIENT_SECRET, PLACE, KrogerSandbox, product
from connectors.sandbox_kit import Faults
from hub.kernel.errors import Broken, Misconfigured


@asynccontextmanager
async def kroger(
    faults: Faults | None = None, *, products: Any = None, secret: str = CLIENT_SECRET, **config: Any
) -> AsyncIterator[tuple[KrogerSandbox, Callable[..., Adapter]]]:
    """A running store and a maker of connector objects for it."""
    sandbox = KrogerSandbox(faults, products=products)
    await sandbox.start()
    made: list[Adapter] = []
    secrets = {"client_id": SecretStr(CLIENT_ID), "client_secret": SecretStr(secret)}

    def connector(**more: Any) -> Adapter:
        settings = {"base_url": sandbox.base_url, "location_id": PLACE, "page_size": 10, **config, **more}
        adapter = base.build(manifest.HOME / "kroger", settings, secrets, connection_id=f"t{id(sandbox)}")
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


def skus(pages: Sequence[Page]) -> list[str]:
    return [listing.vendor_sku for page in pages for listing in page.listings]


async def listings(connector: Adapter) -> tuple[dict[str, ListingIn], list[BadRow]]:
    pages = await pull(connector)
    assert [page.complete for page in pages] == [False] * (len(pages) - 1) + [True]
    assert len(skus(pages)) == len(set(skus(pages)))
    return {x.vendor_sku: x for page in pages for x in page.listings}, [row for page in pages for row in page.bad]


def milk(count: int) -> list[dict[str, Any]]:
    return [product(2 * n) for n in range(1, count + 1)]


# Searches that shuffle ----------------------------------------------------------------------------------------


async def test_a_search_that_shuffles_is_walked_until_everything_was_seen_once() -> None:
    async with kroger(products=milk(24), terms="milk", passes=10, sweep="whole") as (sandbox, connector):
        sandbox.shuffles = True
        found, bad = await listings(connector())
        assert 3 < len(sandbox.asked) <= 30  # one walk did not do
    assert len(found) == 24 and not bad


@pytest.mark.parametrize("sweep", ["whole", "partial"])
async def test_what_may_have_been_skipped_is_never_proof_of_absence(sweep: str) -> None:
    """Whole: the pull ends as Broken. Partial: it ends well, and the hub takes nothing off sale by it."""
    async with kroger(products=milk(60), terms="milk", passes=1, sweep=sweep) as (sandbox, connector):
        sandbox.shuffles = True
        adapter = connector()
        if sweep == "partial":
            found, _ = await listings(adapter)
            assert 10 <= len(found) < 60
        else:
            seen: list[Page] = []
            with pytest.raises(Broken, match=r"'milk' \(announced 60 and showed \d+\)"):
                async for page in adapter.pull(None):
                    seen.append(page)
            assert len(seen) == 6 and not any(page.complete for page in seen)
            assert seen[-1].cursor == {}  # the next run looks at everything again
    assert lists_changes_only(adapter.manifest, adapter.config) is (sweep == "partial")


async def test_the_hub_knows_by_default_that_a_search_proves_no_absence() -> None:
    assert lists_changes_only(manifest.manifest_of("kroger"), {})


async def test_walking_ends_when_it_brings_nothing_new() -> None:
    """The vendor announces more than it shows, in an order that never changes."""
    async with kroger(products=milk(15), terms="milk", passes=10) as (sandbox, connector):
        sandbox.total = 40
        found, _ = await listings(connector())
        assert len(sandbox.asked) == 9  # three walks of two pages and an empty one: one dry walk may be chance
    assert len(found) == 15


async def test_nothing_is_asked_for_beyond_what_kroger_takes() -> None:
    async with kroger(products=milk(400), terms="milk", sweep="whole", passes=2, page_size=50) as (sandbox, connector):
        with pytest.raises(Broken, match="announced 400 and showed 300"):
            await pull(connector())
        starts = [int(asked.get("filter.start", 0)) for asked in sandbox.asked]
        assert starts == [0, 50, 100, 150, 200, 250] * 2 and "filter.start" not in sandbox.asked[0]
        assert {asked["filter.limit"] for asked in sandbox.asked} == {"50"}


async def test_without_a_total_only_what_fits_into_a_page_is_whole() -> None:
    async with kroger(products=milk(9), terms="milk", sweep="whole") as (sandbox, connector):
        sandbox.says_total = False
        assert len((await listings(connector()))[0]) == 9
        assert len(sandbox.asked) == 1
    async with kroger(products=milk(12), terms="milk", sweep="whole") as (sandbox, connector):
        sandbox.says_total = False
        with pytest.raises(Broken, match="showed 12"):
            await pull(connector())
        assert len(sandbox.asked) == 4  # walked again, to see whether there is more


async def test_a_search_without_results_is_whole() -> None:
    async with kroger(terms="caviar", sweep="whole") as (_, connector):
        assert await listings(connector()) == ({}, [])


async def test_the_same_page_again_and_again_is_not_taken_for_everything() -> None:
    async with kroger(Faults(repeat_page=True), products=milk(30), terms="milk", sweep="whole") as (sandbox, connector):
        with pytest.raises(Broken, match="announced 30 and showed 10"):
            await pull(connector())
        assert len(sandbox.asked) == 9


async def test_each_term_is_searched_once_a_brand_and_a_product_comes_once() -> None:
    async with kroger(terms="milk, kroger，milk", brands="Kroger, Simple Truth", fulfillment="csp,dth") as (
        sandbox,
        connector,
    ):
        found, _ = await listings(connector())
        asked = [(a["filter.term"], a["filter.brand"], a["filter.fulfillment"]) for a in sandbox.asked]
    assert list(dict.fromkeys(asked)) == [
        (term, brand, "csp,dth") for term in ("milk", "kroger") for brand in ("Kroger", "Simple Truth")
    ]
    assert len(found) == 35


async def test_a_sweep_resumes_anywhere_without_a_product_twice() -> None:
    async with kroger(products=milk(15), terms="milk, kroger", passes=10, sweep="whole") as (sandbox, connector):
        sandbox.shuffles = True
        cursor: Any = None
        seen: list[Page] = []
        while not seen or not seen[-1].complete:
            adapter = connector()
            async for page in adapter.pull(cursor):
                seen.append(page)
                break  # stopped after each page
            cursor = orjson.loads(orjson.dumps(seen[-1].cursor))
            assert len(seen) < 200
        assert [page.complete for page in await pull(connector(), cursor)] == [True]
    assert len(skus(seen)) == len(set(skus(seen))) == 15


async def test_a_resumed_sweep_with_other_searches_begins_anew() -> None:
    async with kroger(products=milk(30), terms="milk") as (_, connector):
        [first, *_] = await pull(connector())
        rest = await pull(connector(terms="milk, bread"), first.cursor)
    assert len(skus(rest)) == 30 and rest[-1].complete


async def test_an_incremental_run_sweeps_all_the_same() -> None:
    async with kroger(products=milk(30), terms="milk") as (_, connector):
        pages = await pull(connector(), {"since": "2026-11-22T07:00:00+00:00"})
    assert len(skus(pages)) == 30 and pages[-1].complete


async def test_known_products_report_their_level_alone() -> None:
    async with kroger(products=milk(12), terms="milk") as (sandbox, connector):
        first = await pull(connector())
        digests = {x.vendor_sku: d for p in first for x, d in zip(p.listings, p.digests, strict=True)}

        async def known(wanted: Sequence[str]) -> Mapping[str, bytes]:
            return {sku: digests[sku] for sku in wanted if sku in digests}

        sandbox.products[0]["items"][0]["inventory"]["stockLevel"] = "TEMPORARILY_OUT_OF_STOCK"
        sandbox.products[1]["items"][0]["price"]["regular"] = 77.5
        adapter = connector()
        adapter.known = known
        second = await pull(adapter)
    assert skus(second) == [sandbox.products[1]["productId"]]
    figures = {figure.vendor_sku: figure.level for page in second for figure in page.unchanged}
    assert len(figures) == 11 and figures[sandbox.products[0]["productId"]] == "out"


# Products by their ids ----------------------------------------------------------------------------------------


async def test_products_asked_for_by_id_are_all_accounted_for() -> None:
    """Answers that hold a part only: the rest is asked for again; what Kroger has not is reported by its id."""
    shelf = [product(n) for n in range(1, 61)]
    ids = [p["productId"] for p in shelf]
    gone = [f"99999{n:08d}" for n in range(3)]
    async with kroger(products=shelf, product_ids=", ".join(ids + gone), sweep="whole") as (sandbox, connector):
        sandbox.at_most = 7
        found, bad = await listings(connector())
        assert all(len(asked["filter.productId"].split(",")) <= 50 for asked in sandbox.asked)
        assert all(asked["filter.locationId"] == PLACE for asked in sandbox.asked)
    assert sorted(found) == sorted(ids)
    assert [row.vendor_sku for row in bad] == gone


async def test_a_product_under_another_id_is_no_missing_one() -> None:
    shelf = [product(1, aliasProductIds=["0000000000777"])]
    async with kroger(products=shelf, product_ids="0000000000777") as (_, connector):
        found, bad = await listings(connector())
    assert list(found) == [shelf[0]["productId"]] and not bad


async def test_products_that_nobody_asked_for_are_not_listed() -> None:
    def answers(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/token"):
            return httpx.Response(200, json={"access_token": "t", "expires_in": 1800})
        return httpx.Response(200, json={"data": [product(1), product(2)]})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answers)) as http:
        config = {"location_id": PLACE, "product_ids": product(2)["productId"], "sweep": "whole"}
        secrets = {"client_id": SecretStr("a"), "client_secret": SecretStr("b")}
        adapter = base.build(manifest.HOME / "kroger", config, secrets, http, connection_id=f"m{id(http)}")
        assert isinstance(adapter, Adapter)
        found, bad = await listings(adapter)
    assert list(found) == [product(2)["productId"]]
    assert [row.reason for row in bad] == ["nobody asked for this product"]


# Tokens and settings ------------------------------------------------------------------------------------------


async def test_a_token_is_fetched_once_and_anew_when_it_ends() -> None:
    async with kroger(products=milk(30), terms="milk") as (sandbox, connector):
        async for page in connector().pull(None):
            if len(page.listings) and len(sandbox.asked) == 1:
                sandbox.expire()
        tokens = [seen.status for seen in sandbox.seen if seen.path.endswith("/token")]
        assert tokens == [200, 200] and len(sandbox.asked) == 3


async def test_a_wrong_secret_is_asked_about_once() -> None:
    async with kroger(secret="not-the-secret", terms="milk") as (sandbox, connector):
        with pytest.raises(Misconfigured, match="invalid credentials"):
            await pull(connector())
        assert len(sandbox.seen) == 1


async def test_what_kroger_does_not_take_is_a_wrong_setting() -> None:
    async with kroger(terms="milk", page_size=50) as (sandbox, connector):
        sandbox._wrong = lambda query: "Field 'term' is odd"  # type: ignore[method-assign]
        with pytest.raises(Misconfigured, match="PRODUCT-2011-400: Field 'term' is odd"):
            await pull(connector())


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({}, "no list of all products"),
        ({"terms": " , "}, "no list of all products"),
        ({"terms": "milk, ei"}, "'ei'"),
        ({"terms": "a b c d e f g h i"}, "8 words"),
        ({"terms": "milk", "location_id": "123"}, "locationId"),
        ({"terms": "milk", "location_id": "0140 943"}, "locationId"),
        ({"product_ids": "0001111041700, 41700"}, "'41700'"),
        ({"terms": "milk", "fulfillment": "ais,drone"}, "ais, csp, dth, sth"),
        ({"terms": "milk", "page_size": 51}, "between 1 and 50"),
        ({"terms": "milk", "passes": 0}, "between 1 and 10"),
    ],
)
async def test_a_wrong_setting_is_named_before_anything_is_sent(config: dict[str, Any], says: str) -> None:
    async with kroger() as (sandbox, connector):
        with pytest.raises(Misconfigured, match=says):
            await pull(connector(**config))
        assert not sandbox.seen


def test_the_published_quota_is_kept() -> None:
    budget = manifest.manifest_of("kroger").http.budget
    assert budget is not None and (budget.calls, budget.per_s) == (10_000, 86_400)


# Products -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("price", "paid", "regular"),
    [
        ({"regular": 1.99, "promo": 1.59}, "1.59", "1.99"),
        ({"regular": 1.99, "promo": 0}, "1.99", "1.99"),
        ({"regular": 1.99}, "1.99", "1.99"),
        ({"regular": 2, "promo": None}, "2", "2"),
        ({"regular": "3.10", "promo": ""}, "3.10", "3.10"),
        ({"regular": 1.99, "promo": 1.99}, "1.99", "1.99"),
        ({"regular": 0, "promo": 0.5}, "0.5", None),
    ],
)
def test_a_promotion_is_what_anybody_pays(price: Any, paid: str, regular: str | None) -> None:
    assert price_of(price) == (Decimal(paid), Decimal(regular) if regular else None)


@pytest.mark.parametrize(
    "price",
    [
        None, {}, [], "1.99", {"regular": 0, "promo": 0}, {"regular": -1}, {"regular": 2, "promo": -1},
        {"regular": True},
        {"regular": "NaN"}, {"regular": "Infinity"}, {"regular": "a"}, {"regular": [1]}, {"regular": 1, "promo": 2},
        {"regular": 1e300}, {"regular": 1.123456},
    ],
)  # fmt: skip
async def test_an_odd_price_or_none_costs_its_item_only(price: Any) -> None:
    odd = product(2)
    odd["items"][0]["price"] = price
    async with kroger(products=[odd, product(4)], terms="milk", sweep="whole") as (_, connector):
        found, bad = await listings(connector())
    assert list(found) == [product(4)["productId"]]
    assert [row.vendor_sku for row in bad] == [odd["productId"]]


@pytest.mark.parametrize(
    ("inventory", "level"),
    [({"stockLevel": "HIGH"}, "in_stock"), ({"stockLevel": "LOW"}, "limited"), (None, None), ({}, None)],
)
async def test_a_level_is_kept_and_none_is_nothing(inventory: Any, level: str | None) -> None:
    one = product(2)
    one["items"][0]["inventory"] = inventory
    async with kroger(products=[one], terms="milk") as (_, connector):
        found, _ = await listings(connector())
    assert [(x.level, x.on_hand) for x in found.values()] == [(level, None)]


async def test_an_unknown_stock_level_is_refused_by_its_name() -> None:
    one = product(2)
    one["items"][0]["inventory"] = {"stockLevel": "MEDIUM"}
    async with kroger(products=[one], terms="milk") as (_, connector):
        found, bad = await listings(connector())
    assert not found and "MEDIUM" in bad[0].reason


async def test_several_items_stand_for_themselves() -> None:
    one, other = product(2), product(4)
    extra = {**one["items"][0], "itemId": "0001111077777", "size": "2 gal", "new_field": 1}
    one["items"].append(extra)
    other["items"] = [{**extra, "itemId": ""}, {**extra, "itemId": "0001111088888"}]
    async with kroger(products=[one, other], terms="milk") as (_, connector):
        pages = await pull(connector())
    found = {x.vendor_sku: x for page in pages for x in page.listings}
    assert sorted(found) == ["0001111000002", "0001111077777", "0001111088888"]
    assert {x.family_id for x in found.values()} == {one["productId"], other["productId"]}
    assert pages[0].drift == ("items.new_field",) and [row.pointer for row in pages[0].bad] == ["/items/itemId"]


async def test_what_can_be_had_in_no_way_is_off_sale() -> None:
    ways: list[Any] = [
        {"curbside": False, "delivery": False, "inStore": False, "shipToHome": False},
        {"inStore": True},
        {},
        None,
    ]
    shelf = milk(4)
    for one, way in zip(shelf, ways, strict=True):
        one["items"][0]["fulfillment"] = way
    async with kroger(products=shelf, terms="milk") as (_, connector):
        found, _ = await listings(connector())
    assert [x.active for x in found.values()] == [False, True, True, True]
    assert found[shelf[1]["productId"]].attributes["fulfilment"] == "instore"


def test_a_gtin_is_computed_only_where_it_is_asked_for_and_is_one() -> None:
    assert gtin_of("0001111041700") == "00011110417008"
    assert gtin_of("0001111060903") == "00011110609038"
    for none in ("0000000004011", "0020123400000", "0041234500000", "41700", "000111104170x", ""):
        assert gtin_of(none) is None


async def test_a_computed_gtin_is_a_good_one() -> None:
    async with kroger(products=milk(9), terms="milk", gtin="computed") as (_, connector):
        found, bad = await listings(connector())
    assert not bad and all(x.gtin == gtin_of(sku) for sku, x in found.items())


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        ("/p/milk/1?cid=x", "https://s.example/p/milk/1"),
        ("//evil.example/p", None),
        ("https://evil.example/p", None),
        ("", None),
        (None, None),
        ([], None),
    ],
)
def test_a_page_stays_on_the_chains_own_site(uri: Any, url: str | None) -> None:
    assert url_of("https://s.example/", uri) == url


@pytest.mark.parametrize("images", [None, [], "x", [None], [{}], [{"sizes": None}], [{"sizes": [{"url": None}]}]])
def test_pictures_that_are_none(images: Any) -> None:
    assert image_of(images) is None


@pytest.mark.parametrize("record", [None, 7, "x", [], {}, {"productId": 5}, {"productId": "1", "items": [7]}])
async def test_a_hostile_product_costs_itself_only(record: Any) -> None:
    def answers(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/token"):
            return httpx.Response(200, json={"access_token": "t", "expires_in": 1800})
        body = {"data": [record, product(2), product(2)], "meta": {"pagination": {"total": 2.0}}}
        return httpx.Response(200, json=body)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answers)) as http:
        secrets = {"client_id": SecretStr("a"), "client_secret": SecretStr("b")}
        config = {"location_id": PLACE, "terms": "milk", "sweep": "whole"}
        adapter = base.build(manifest.HOME / "kroger", config, secrets, http, connection_id=f"m{id(http)}")
        assert isinstance(adapter, Adapter)
        found, bad = await listings(adapter)
    assert list(found) == [product(2)["productId"]] and len(bad) == 1


@pytest.mark.parametrize(
    "body", [{}, [], {"data": {"a": 1}}, {"data": "x"}, {"data": None}, {"meta": {}}, {"errors": {"code": "X"}}, 7]
)
async def test_what_is_no_list_is_never_an_empty_one(body: Any) -> None:
    def answers(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/token"):
            return httpx.Response(200, json={"access_token": "t", "expires_in": 1800})
        return httpx.Response(200, json=body)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answers)) as http:
        secrets = {"client_id": SecretStr("a"), "client_secret": SecretStr("b")}
        config = {"location_id": PLACE, "terms": "milk"}
        adapter = base.build(manifest.HOME / "kroger", config, secrets, http, connection_id=f"m{id(http)}")
        assert isinstance(adapter, Adapter)
        with pytest.raises(Broken):
            await pull(adapter)
