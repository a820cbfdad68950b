"""A vendor described by its connection: every manner that the README shows, and orders that are never bought twice."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from connectors import base, guards, manifest
from connectors.base import Adapter
from connectors.contracts import Page, ReceiptStatus
from connectors.kit import example_order
from connectors.kit_stage import figures_of, listings_of, pages_of, reachable, stock_pages_of
from connectors.protocol import PlacesOrders, PullsStock, ReceivesPush, TracksOrders
from connectors.push import ReceivesByManifest
from connectors.rest_json.kit import examples
from connectors.rest_json.sandbox import PUSH_SECRET, TOKEN, RestSandbox, Way
from connectors.sandbox_kit import Faults
from hub.kernel.errors import Broken, Misconfigured, Retry

FOLDER = manifest.HOME / "rest_json"
EXAMPLES = examples(FOLDER)
WAYS: list[Way] = ["bearer", "token", "signed", "basic", "header", "query"]
SECRETS = {"token": TOKEN, "client_secret": TOKEN, "push_secret": PUSH_SECRET}
ORDER = example_order("po_7", [("R-5", 1, "14.50")])


@pytest.fixture(autouse=True)
def no_brakes_left_over() -> Iterator[None]:
    guards.forget()
    yield
    guards.forget()


@asynccontextmanager
async def serving(sandbox: RestSandbox) -> AsyncIterator[RestSandbox]:
    await sandbox.start()
    try:
        with reachable(sandbox):
            yield sandbox
    finally:
        await sandbox.stop()


@asynccontextmanager
async def speaking(
    settings: dict[str, Any], base_url: str, http: httpx.AsyncClient | None = None
) -> AsyncIterator[Adapter]:
    """A connector object with the secrets that the settings' protocol names."""
    hidden = {name: SecretStr(value) for name, value in SECRETS.items()}
    made = base.build(FOLDER, {**settings, "base_url": base_url}, hidden, http, connection_id=f"t{id(settings)}")
    try:
        yield made
    finally:
        await made.aclose()


def changed(example: int = 0, **sections: Any) -> dict[str, Any]:
    """An example with other sections; None leaves one out."""
    settings: dict[str, Any] = json.loads(json.dumps(EXAMPLES[example]))
    protocol = {**settings["protocol"], **sections}
    settings["protocol"] = {name: part for name, part in protocol.items() if part is not None}
    return settings


@pytest.mark.parametrize("example", range(len(EXAMPLES)))
async def test_every_manner_of_the_readme_gives_the_vendors_listings(example: int) -> None:
    assert len(EXAMPLES) == len(WAYS)
    async with serving(RestSandbox(way=WAYS[example])) as vendor, speaking(EXAMPLES[example], vendor.base_url) as made:
        pages = await pages_of(made)
    listings = listings_of(pages)
    assert [x.vendor_sku for x in listings] == [f"R-{n}" for n in range(1, 31)] and pages[-1].complete
    assert listings[4].price == Decimal("14.50") and listings[4].title == "示例商品 5"
    assert all(not page.bad and not page.drift for page in pages)


@pytest.mark.parametrize("example", range(len(EXAMPLES)))
async def test_a_wrong_credential_is_misconfigured_in_every_manner(example: int) -> None:
    other: Way = "bearer" if WAYS[example] == "header" else "header"
    async with serving(RestSandbox(way=other)) as vendor, speaking(EXAMPLES[example], vendor.base_url) as made:
        with pytest.raises(Misconfigured):
            await pages_of(made)


async def test_a_connection_can_do_what_its_protocol_says_and_no_more() -> None:
    whole = base.build(FOLDER, {**EXAMPLES[0], "base_url": "https://x.example"}, {})
    less = base.build(FOLDER, {**EXAMPLES[1], "base_url": "https://x.example"}, {})
    for kind in (PlacesOrders, TracksOrders, PullsStock, ReceivesPush):
        assert isinstance(whole, kind) and not isinstance(less, kind)
    assert not isinstance(less, ReceivesByManifest)
    assert base.implemented(type(less)) == frozenset(less.manifest.capabilities) == {"pulls_listings"}
    tracked = changed(push=None, pull_stock=None, place_orders=None)
    assert set(base.build(FOLDER, {**tracked, "base_url": "https://x.example"}, {}).manifest.capabilities) == {
        "pulls_listings", "tracks_orders"
    }  # fmt: skip


async def test_only_what_changed_is_asked_for() -> None:
    async with serving(RestSandbox()) as vendor, speaking(EXAMPLES[0], vendor.base_url) as made:
        pages = await pages_of(made, {"since": "2026-11-22T07:20:00+00:00"})
        assert vendor.asked[0]["updated_after"] == "2026-11-22T07:15:00+00:00"
        assert {x.vendor_sku for x in listings_of(pages)} == {"R-15", "R-16", "R-17", "R-18", "R-19"}


async def test_stock_comes_by_itself_one_figure_a_warehouse() -> None:
    async with serving(RestSandbox()) as vendor, speaking(EXAMPLES[0], vendor.base_url) as made:
        figures = figures_of(await stock_pages_of(made))
    assert len(figures) == 60
    assert {(f.location, f.on_hand) for f in figures if f.vendor_sku == "R-9"} == {("SH", 9), ("BJ", 1)}


@pytest.mark.parametrize("faults", [Faults(repeat_page=True), Faults(drop_page=2)])
@pytest.mark.parametrize("total", [True, False])
async def test_a_pull_that_lost_rows_is_never_complete(faults: Faults, total: bool) -> None:
    paginate = {"page": "page", "size_param": "size", "size": 10, **({"total": "total"} if total else {})}
    listings = {**EXAMPLES[0]["protocol"]["pull_listings"], "paginate": paginate}
    settings = changed(pull_listings=listings)
    async with serving(RestSandbox(faults, total=total)) as vendor, speaking(settings, vendor.base_url) as made:
        if total or faults.repeat_page:
            with pytest.raises(Broken):
                await pages_of(made)
        else:  # a short page without a total is the end as far as anybody can tell
            assert len(listings_of(await pages_of(made))) == 10


async def test_an_envelope_that_says_no_is_no_empty_catalogue() -> None:
    busy, once = RestSandbox(Faults(drop_page=1), way="signed"), changed(2, http={"attempts": 1})
    async with serving(busy) as vendor, speaking(once, vendor.base_url) as made:
        with pytest.raises(Retry, match="500: busy"):
            await pages_of(made)


async def test_a_token_is_fetched_once_and_anew_when_it_is_denied() -> None:
    async with serving(RestSandbox(way="token")) as vendor, speaking(EXAMPLES[1], vendor.base_url) as made:
        await pages_of(made)
        assert len(vendor.issued) == 1
        vendor.issued[-1] = "the vendor forgot all tokens"
        assert len(listings_of(await pages_of(made))) == 30
        assert len(vendor.issued) == 2


# JSON lines ---------------------------------------------------------------------------------------------------


async def export(body: bytes) -> list[Page]:
    settings = changed(3, auth=None)
    http = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, content=body)))
    async with speaking(settings, "https://vendor.example", http) as made:
        return await pages_of(made)


async def test_a_damaged_line_of_an_export_is_quarantined_and_the_rest_goes_on() -> None:
    good = json.dumps({"sku": "A", "name": "茶", "price_fen": 100, "stock": 3}, ensure_ascii=False)
    lines = changed(3)["protocol"]["pull_listings"]
    assert lines["records"].startswith("[?")
    [page] = await export(f'{good}\n{{"sku": "B", "name": "x", "price_fen": NaN, "stock": 2}}\n'.encode())
    assert [x.vendor_sku for x in page.listings] == ["A"] and page.complete
    assert [bad.vendor_sku for bad in page.bad] == ["B"]


async def test_an_export_that_breaks_off_is_broken() -> None:
    with pytest.raises(Broken, match="breaks off"):
        await export(b'{"sku": "A", "name": "x", "price_fen": 100, "stock": 3}\n{"sku": "B", "na')


# Orders -------------------------------------------------------------------------------------------------------


async def test_a_vendor_who_does_not_filter_never_makes_us_buy_twice() -> None:
    """Its order list ignores our parameter: what came is not ours, so whether ours is there is not known."""
    async with serving(RestSandbox(Faults(lose_answer=1))) as vendor:
        vendor.orders["other"] = {"id": "N0", "reference": "other", "state": "accepted", "at": None}
        vendor.known_filters = False
        async with speaking(EXAMPLES[0], vendor.base_url) as made:
            assert isinstance(made, PlacesOrders)
            with pytest.raises(Retry):
                await made.place(ORDER, key=ORDER.number)
            found = await made.find(ORDER.number)
            assert found is not None and found.vendor_order_no == "N2"
            with pytest.raises(Retry, match="is not known"):
                await made.find("po_8")


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ({"orders": []}, None),
        ({"orders": None}, None),
        ({"list": []}, Broken),
        ({"orders": {"0": {}}}, Broken),
        ([], Broken),
        ({"orders": [{"id": "N1", "reference": "po_70", "state": "accepted"}]}, Retry),
        ({"orders": [{"id": "N1", "reference": "po_7", "state": "cancelled"}]}, ReceiptStatus.REFUSED),
        ({"orders": [{"id": "N1", "reference": "po_7", "state": "checking"}]}, ReceiptStatus.PENDING),
        ({"orders": [{"reference": "po_7", "state": "accepted"}]}, Broken),
    ],
)
async def test_there_is_no_such_order_only_when_the_vendor_says_so(answer: Any, outcome: Any) -> None:
    http = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, json=answer)))
    async with speaking(EXAMPLES[0], "https://vendor.example", http) as made:
        assert isinstance(made, PlacesOrders)
        if isinstance(outcome, type):
            with pytest.raises(outcome):
                await made.find("po_7")
            return
        found = await made.find("po_7")
        assert (found.status if found is not None else None) == outcome


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [({}, None), ({"id": "N1", "reference": "po_7"}, "N1"), ({"id": "N1", "reference": "po_8"}, Retry)],
)
async def test_an_order_that_is_the_whole_answer_must_be_ours(answer: Any, outcome: Any) -> None:
    placing = {**EXAMPLES[0]["protocol"]["place_orders"], "find": {"get": "/v1/orders/{key}", "match": "reference"}}
    http = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, json=answer)))
    async with speaking(changed(place_orders={**placing, "accepted": []}), "https://vendor.example", http) as made:
        assert isinstance(made, PlacesOrders)
        if isinstance(outcome, type):
            with pytest.raises(outcome):
                await made.find("po_7")
            return
        found = await made.find("po_7")
        assert (found.vendor_order_no if found is not None else None) == outcome


async def test_none_left_is_a_refusal_that_says_so() -> None:
    async with serving(RestSandbox()) as vendor, speaking(EXAMPLES[0], vendor.base_url) as made:
        assert isinstance(made, PlacesOrders)
        receipt = await made.place(example_order("po_9", [("R-5", 6, "14.50")]), key="po_9")
        assert (receipt.status, receipt.out_of_stock) == (ReceiptStatus.REFUSED, True)
        assert receipt.reason is not None and "none left" in receipt.reason


# Real data ----------------------------------------------------------------------------------------------------


def saleor_variants(path: Path) -> list[dict[str, Any]]:
    """Saleor's demo shop as a REST vendor would answer it: one document a variant, with what belongs to it inside."""
    rows: dict[str, dict[Any, dict[str, Any]]] = {}
    for row in json.loads(path.read_text(encoding="utf-8")):
        rows.setdefault(row["model"], {})[row["pk"]] = row["fields"]

    def of(model: str, name: str, pk: int) -> list[dict[str, Any]]:
        return [fields for fields in rows[model].values() if fields[name] == pk]

    documents = []
    for pk, variant in rows["product.productvariant"].items():
        product = rows["product.product"][variant["product"]]
        documents.append(
            {
                "id": pk,
                "sku": variant["sku"],
                "name": variant["name"],
                "updated_at": variant["updated_at"],
                "product": {
                    "id": variant["product"],
                    "name": product["name"],
                    "about": product["description_plaintext"],
                    "category": rows["product.category"][product["category"]]["name"] if product["category"] else None,
                },
                "prices": [
                    {"currency": p["currency"], "amount": p["discounted_price_amount"]}
                    for p in of("product.productvariantchannellisting", "variant", pk)
                ],
                "stocks": [{"quantity": s["quantity"]} for s in of("warehouse.stock", "product_variant", pk)],
            }
        )
    return documents


SALEOR = {
    "protocol": {
        "auth": {"bearer": {"secret": "token"}},
        "pull_listings": {
            "get": "/v1/products",
            "paginate": {"page": "page", "size_param": "size", "size": 20, "total": "total"},
            "records": "items",
            "map": {
                "vendor_sku": {"first": ["sku", "join('', ['#', to_string(id)])"]},
                "external_id": "id",
                "family_id": "product.id",
                "title": "join(' ', [product.name, name])",
                "description": {"path": "product.about", "html": True},
                "category": "product.category",
                "price": "prices[?currency=='USD'] | [0].amount",
                "currency": {"const": "USD"},
                "on_hand": "stocks[0].quantity",
            },
            "ignore": ["name", "updated_at"],
        },
    }
}


@pytest.mark.realdata
async def test_saleors_demo_shop_is_read_whole(realdata: Path) -> None:
    products = saleor_variants(realdata / "catalog" / "saleor" / "populatedb_data.json")
    async with serving(RestSandbox(products=products)) as vendor, speaking(SALEOR, vendor.base_url) as made:
        pages = await pages_of(made)
    listings = listings_of(pages)
    bad = [row for page in pages for row in page.bad]
    assert len(products) == 73 == len(listings) + len(bad) and pages[-1].complete
    assert [page.drift for page in pages] == [()] * 4
    priced = [p for p in products if any(price["currency"] == "USD" for price in p["prices"])]
    assert len(listings) == len(priced) and {row.pointer for row in bad} <= {"/price"}
    assert len({x.family_id for x in listings}) == len({p["product"]["id"] for p in priced})
    by_id = {x.external_id: x for x in listings}
    for product in priced:
        amount = next(price["amount"] for price in product["prices"] if price["currency"] == "USD")
        assert by_id[str(product["id"])].price == Decimal(amount)
        counted = product["stocks"][0]["quantity"] if product["stocks"] else None
        assert by_id[str(product["id"])].on_hand == counted
