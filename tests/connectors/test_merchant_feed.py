"""Google Merchant feeds: the price in force, for one country, of the thing itself; references that can be checked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import SecretStr

from catalog import api as catalog
from connectors import api, base, guards, manifest
from connectors.contracts import Page
from connectors.directory import check_settings
from connectors.kit_stage import listings_of, reachable
from connectors.merchant_feed.adapter import Adapter
from connectors.merchant_feed.kit import examples
from connectors.merchant_feed.sandbox import TOKEN, MerchantSandbox, item
from connectors.table_feed.merchant import GOOGLE, STRICT
from connectors.table_feed.preset import At
from hub.kernel.db import Database, uow
from hub.kernel.errors import Broken, Misconfigured, Rejected

FOLDER = manifest.HOME / "merchant_feed"
NOW = datetime(2026, 11, 22, 7, 0, tzinfo=UTC)
GOOD = {name: str(value) for name, value in item(1).items()}


@pytest.fixture(autouse=True)
def no_brakes_left_over() -> Iterator[None]:
    guards.forget()
    yield
    guards.forget()


@asynccontextmanager
async def serving(items: list[dict[str, Any]] | None = None) -> AsyncIterator[MerchantSandbox]:
    sandbox = MerchantSandbox(items=items)
    await sandbox.start()
    try:
        with reachable(sandbox):
            yield sandbox
    finally:
        await sandbox.stop()


async def pull(url: str, **config: Any) -> list[Page]:
    made = base.build(FOLDER, {"url": url, **config}, {"token": SecretStr(TOKEN)}, connection_id=f"m-{url}")
    assert isinstance(made, Adapter)
    try:
        return [page async for page in made.pull(None)]
    finally:
        await made.aclose()


def prepared(at: At | None = None, **fields: str) -> dict[str, str]:
    assert STRICT.prepare is not None
    made = STRICT.prepare({**GOOD, **fields}, at or At(NOW))
    assert made is not None
    return made


@pytest.mark.parametrize("form", ["xml", "tsv", "csv"])
async def test_every_form_of_the_feed_gives_the_same_listings(form: str) -> None:
    async with serving() as merchant:
        pages = await pull(merchant.url(form))
    listings = listings_of(pages)
    assert [x.vendor_sku for x in listings] == [f"M-{n}" for n in range(1, 31)] and pages[-1].complete
    first = listings[0]
    assert (first.price, first.currency, first.level, first.model) == (Decimal("11.50"), "CNY", "in_stock", "MPN-1")
    assert pages[0].drift == ()


@pytest.mark.parametrize("number", range(2))
async def test_the_settings_of_the_readme_are_accepted_and_work(number: int) -> None:
    settings = examples(FOLDER)[number]
    assert check_settings(manifest.manifest_of("merchant_feed"), settings, {}).id == "merchant_feed"
    counted = {"quantity": 7, "counted_at": "2026-11-22 08:00:00", "size": "3件装", "internal_note": "x"}
    async with serving([item(n, **(counted if number else {})) for n in range(1, 4)]) as merchant:
        form = settings["url"].rpartition(".")[2]
        [page] = await pull(merchant.url(form), **{k: v for k, v in settings.items() if k != "url"})
    assert len(page.listings) == 3 and page.drift == () and not page.bad
    if number:
        first = page.listings[0]
        assert (first.on_hand, first.level, first.pack) == (7, None, "3件装")
        assert first.reported_at == datetime(2026, 11, 22, tzinfo=UTC)


@pytest.mark.parametrize("column", ["price", "availability", "link", "id", "title"])
async def test_a_feed_without_a_required_column_is_refused_whole(column: str) -> None:
    items = [{name: value for name, value in item(n).items() if name != column} for n in range(1, 4)]
    async with serving(items) as merchant:
        with pytest.raises(Broken, match=f"lacks the column.*{column}"):
            await pull(merchant.url("tsv"))


@pytest.mark.parametrize("column", ["price", "availability", "link", "id", "title"])
async def test_an_item_without_a_required_attribute_costs_itself_alone(column: str) -> None:
    async with serving([item(1, **{column: ""}), item(2)]) as merchant:
        [page] = await pull(merchant.url("tsv"))
    assert [x.vendor_sku for x in page.listings] == ["M-2"] and len(page.bad) == 1


def test_an_item_without_picture_or_description_is_still_a_reference() -> None:
    assert prepared(image_link="", description="")["=price"] == "11.50 CNY"


def test_table_feeds_own_preset_stays_lenient() -> None:
    assert GOOGLE.prepare is not None
    assert GOOGLE.prepare({"id": "A", "price": "1 CNY"}, At(NOW)) is not None
    with pytest.raises(ValueError, match="availability is empty"):
        prepared(availability="")


@pytest.mark.parametrize(
    ("during", "zone", "price"),
    [
        ("2026-11-22T14:59+0800/2026-11-22T15:01+0800", None, "9 CNY"),
        ("2026-11-22T15:01+0800/2026-11-23T15:01+0800", None, "11.50 CNY"),
        ("2026-11-22T06:59Z/2026-11-22T07:01Z", None, "9 CNY"),
        ("2026-11-22T14:00/2026-11-22T15:30", "Asia/Shanghai", "9 CNY"),
        ("2026-11-20/2026-11-22", "Asia/Shanghai", "9 CNY"),
        ("2026-11-20/2026-11-21", "Asia/Shanghai", "11.50 CNY"),
        ("2026-11-23/2026-11-30", "Asia/Shanghai", "11.50 CNY"),
        (" 2026-11-22 / 2026-11-22 ", "Asia/Shanghai", "9 CNY"),
        ("", None, "9 CNY"),
    ],
)
def test_a_sale_counts_only_within_its_window(during: str, zone: str | None, price: str) -> None:
    at = At(NOW, ZoneInfo(zone) if zone else None)
    assert prepared(at, sale_price="9 CNY", sale_price_effective_date=during)["=price"] == price


def test_the_last_day_of_a_sale_counts_to_its_last_moment() -> None:
    shanghai = ZoneInfo("Asia/Shanghai")
    midnight = datetime(2026, 11, 23, tzinfo=shanghai)
    for moment, price in ((midnight - timedelta(seconds=1), "9 CNY"), (midnight, "11.50 CNY")):
        made = prepared(At(moment, shanghai), sale_price="9 CNY", sale_price_effective_date="2026-11-20/2026-11-22")
        assert made["=price"] == price


@pytest.mark.parametrize(
    ("fields", "country", "shipping"),
    [
        ({"shipping.country": "CN", "shipping.price": "5 CNY"}, "CN", "5 CNY"),
        ({"shipping.country": "US", "shipping.price": "5 CNY"}, "CN", None),
        ({"shipping.price": "5 CNY"}, "CN", "5 CNY"),
        (
            {
                "shipping.country": "CN", "shipping.price": "9 CNY",
                "shipping.country[2]": "CN", "shipping.price[2]": "5 CNY",
            },
            "CN",
            "5 CNY",
        ),
        (
            {
                "shipping.country": "CN", "shipping.region": "BJ", "shipping.price": "3 CNY",
                "shipping.country[2]": "CN", "shipping.region[2]": "", "shipping.price[2]": "9 CNY",
            },
            "CN",
            "9 CNY",
        ),
        ({"shipping": "CN::Standard:5.00 CNY"}, "CN", "5.00 CNY"),
        ({"shipping": ":::5.00 CNY"}, "CN", "5.00 CNY"),
        ({"shipping": "US::Air:50 CNY, CN::Sea:5 CNY"}, "CN", "5 CNY"),
        ({"shipping": "US::Air:50 CNY, CN::Sea:5 CNY"}, "US", "50 CNY"),
        ({"shipping": "CN:5 CNY"}, "CN", "5 CNY"),
        ({"shipping": "5 CNY"}, "CN", "5 CNY"),
        ({"shipping(country:price)": "CN:5 CNY"}, "CN", "5 CNY"),
        ({"shipping(price:country)": "5 CNY:CN"}, "CN", "5 CNY"),
        ({"shipping": ""}, "CN", None),
        ({"shipping_label": "heavy", "shipping_weight": "3 kg"}, "CN", None),
    ],
)  # fmt: skip
def test_shipping_is_that_to_the_connections_country(
    fields: dict[str, str], country: str, shipping: str | None
) -> None:
    assert prepared(At(NOW, None, country), **fields).get("=shipping") == shipping


@pytest.mark.parametrize(
    "fields",
    [
        {"shipping": "CN:SH:5 CNY"},
        {"shipping": "CN::Standard:free"},
        {"shipping(country:price)": "CN:SH:5 CNY"},
        {"shipping.country": "CN", "shipping.price": "9 CNY", "shipping.price[2]": "5 CNY"},
        {"multipack": "many"},
        {"availability": "soon"},
        {"condition": "like new"},
        {"sale_price": "9 CNY", "sale_price_effective_date": "soon"},
        {"sale_price": "9 CNY", "sale_price_effective_date": "2026-11-20/2026-11-22"},
    ],
)
def test_what_cannot_be_told_costs_its_item_and_is_never_guessed(fields: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"."):
        prepared(**fields)


@pytest.mark.parametrize(
    ("fields", "pack"),
    [
        ({"multipack": "6"}, "6件装"),
        ({"multipack": "6", "unit_pricing_measure": "150 ml"}, "6件装"),
        ({"multipack": "1", "unit_pricing_measure": "1.5kg"}, "1.5kg"),
        ({"unit_pricing_measure": "50ct"}, "50 件"),
        ({"unit_pricing_measure": "20 sheet"}, "20 件"),
        ({"unit_pricing_measure": "3 sqft"}, "3 sqft"),
        ({}, None),
    ],
)
def test_packs(fields: dict[str, str], pack: str | None) -> None:
    assert prepared(**fields).get("=pack") == pack


def test_a_bundle_is_not_its_main_article() -> None:
    single, bundle = prepared(gtin="6901234567892"), prepared(gtin="6901234567892", is_bundle="Yes")
    assert (single["=gtin"], single["=mpn"]) == ("6901234567892", "MPN-1")
    assert "=gtin" not in bundle and "=mpn" not in bundle


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"url": "https://x.example/f.xml", "file": "f.xml"},
        {"url": "https://x.example/f.xml", "preset": "woocommerce_csv"},
        {"url": "https://x.example/f.xml", "country": "China"},
        {"url": "https://x.example/f.xml", "map": {"colour": "c"}},
        {"url": "http://10.0.0.1/f.xml"},
        {"url": "https://x.example/f.xml", "format": "xlsx"},
    ],
)
def test_wrong_settings_are_refused_when_the_connection_is_made(wrong: dict[str, Any]) -> None:
    with pytest.raises((Rejected, Misconfigured)):
        check_settings(manifest.manifest_of("merchant_feed"), wrong, {})


async def test_a_reference_feed_gives_prices_with_evidence_and_lists_nothing(database: Database) -> None:
    """Our shop sells one article; the reference mall's feed knows it new, used, with a contract, and in a bundle."""
    gtin = "6901234567892"
    ours = [{**item(1), "id": "OURS", "gtin": gtin, "price": "120.00 CNY"}]
    theirs = [
        item(1, id="NEW", gtin=gtin, price="99.00 CNY", sale_price="89.00 CNY", link="https://mall.example/p/new"),
        item(2, id="USED", gtin=gtin, price="40.00 CNY", condition="used"),
        item(3, id="PHONE", gtin=gtin, price="1.00 CNY", subscription_cost="month:24:99.00 CNY"),
        item(4, id="KIT", gtin=gtin, price="500.00 CNY", is_bundle="yes"),
    ]
    columns = dict.fromkeys(("gtin", "sale_price", "subscription_cost", "is_bundle"), "")
    async with serving(ours) as shop, serving([{**columns, **row} for row in theirs]) as mall:
        connections: list[int] = []
        with reachable(shop, mall):
            for name, merchant, role in (("店", shop, "supply"), ("参考商城", mall, "reference")):
                async with uow() as tx:
                    vendor = await api.add_vendor(tx, name)
                    connections.append(
                        await api.add_connection(
                            tx, vendor_id=vendor, connector="merchant_feed", name="feed", role=role,  # type: ignore[arg-type]
                            config={"url": merchant.url("xml")}, secrets={"token": TOKEN},
                        )
                    )  # fmt: skip
                outcome = await catalog.sync(connections[-1], kind="full")
                assert outcome.complete and outcome.error is None, outcome
    async with uow() as tx:
        listed = await tx.fetch("SELECT connection_id, vendor_sku FROM catalog_listings")
        found = await tx.fetch("SELECT * FROM pricing_references ORDER BY price")
    assert [(row["connection_id"], row["vendor_sku"]) for row in listed] == [(connections[0], "OURS")]
    told = {str(row["price"]).rstrip("0").rstrip("."): row for row in found}
    conditions = {price: row["condition"] for price, row in told.items()}
    assert conditions == {"1": "member", "40": "used", "89": "ordinary"}
    new = told["89"]
    assert (new["url"], new["source"]) == ("https://mall.example/p/new", "参考商城/feed")
    assert len(new["sha256"]) == 64 and new["parser"] == "merchant_feed/1"


@pytest.mark.realdata
async def test_woocommerces_sample_shop_published_as_a_merchant_feed_is_read_whole(realdata: Path) -> None:
    """The sample products of WooCommerce as a feed plugin would publish them."""
    import csv

    path = realdata / "catalog" / "woocommerce" / "sample_products.csv"
    items: list[dict[str, Any]] = []
    with path.open(encoding="utf-8-sig") as file:
        for row in csv.DictReader(file):
            if row["Type"] in ("variable", "grouped", "external") or not row["Regular price"]:
                continue
            items.append(
                {
                    "id": row["SKU"],
                    "title": row["Name"],
                    "description": row["Short description"] or row["Description"],
                    "link": f"https://shop.example/?p={row['SKU']}",
                    "image_link": row["Images"].partition(",")[0],
                    "availability": "in_stock" if row["In stock?"] == "1" else "out_of_stock",
                    "price": f"{row['Regular price']} USD",
                    "sale_price": f"{row['Sale price']} USD" if row["Sale price"] else "",
                    "item_group_id": row["Parent"],
                }
            )
    assert len(items) > 15
    async with serving(items) as merchant:
        pages = await pull(merchant.url("xml"), page_rows=7)
    listings = {x.vendor_sku: x for x in listings_of(pages)}
    assert len(listings) == len(items) and pages[-1].complete and not any(page.bad for page in pages)
    for row in items:
        listing = listings[row["id"]]
        assert listing.price == Decimal((row["sale_price"] or row["price"]).split()[0]) and listing.currency == "USD"
        assert listing.family_id == (row["item_group_id"] or None)
