"""The sample assortment keeps what the demo's report promises: size, languages, identifiers, overlaps, faults."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from defusedxml import ElementTree
from stdnum import ean

from connectors import base
from connectors.contracts import BadRow, ListingIn
from connectors.manifest import HOME
from connectors.protocol import PullsListings
from hub.app import assortment
from hub.app.assortment import (
    CATEGORIES,
    CLINIC,
    EXPERIENCES,
    GROCERY,
    PHARMACY,
    REFERENCE,
    SHOP,
    VENDORS,
    SampleItem,
    dirty_rows,
    goods,
    items,
    references,
    story,
)
from hub.app.assortment.items import fully_booked
from hub.app.assortment.model import bilingual, pack_in_english
from hub.app.assortment.tables import PHARMACY_COLUMNS, PHARMACY_MAPPING, REFERENCE_MAPPING, without_barcode
from hub.kernel.types import DeliveryMode, Kind, gtin14
from pricing import parity
from pricing.contracts import OfferPrice
from pricing.units import read_pack

SUPPLIERS = [key for key, vendor in VENDORS.items() if vendor.role == "supply"]
WOO = [key for key, vendor in VENDORS.items() if vendor.connector == "woocommerce"]
NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
TODAY = date(2026, 11, 22)
G = "{http://base.google.com/ns/1.0}"
DC = "{http://purl.org/dc/elements/1.1/}"


def everything() -> list[SampleItem]:
    return [item for vendor in SUPPLIERS for item in items(vendor)]


def gtins(vendor: str) -> set[str]:
    return {str(item.gtin) for item in goods(vendor)}


def test_every_kind_has_at_least_five_hundred_skus_in_stock() -> None:
    live: dict[Kind, set[str]] = {kind: set() for kind in Kind}
    for item in everything():
        sellable = not fully_booked(item.sku) if item.kind is Kind.SERVICE else (item.on_hand or 0) > 0
        if sellable:
            live[item.kind].add(item.gtin or f"{item.brand}/{item.model}" if item.brand else item.sku)
    assert {kind: len(products) >= 500 for kind, products in live.items()} == dict.fromkeys(Kind, True)


def test_goods_overlap_so_that_offers_merge_and_have_a_backup() -> None:
    assert len(gtins(SHOP) & gtins(GROCERY)) >= 150
    assert len(gtins(SHOP) & gtins(PHARMACY)) >= 50
    assert gtins(SHOP) & gtins(GROCERY) & gtins(PHARMACY)
    for vendor in (SHOP, GROCERY, PHARMACY):
        others = set().union(*(gtins(other) for other in (SHOP, GROCERY, PHARMACY) if other != vendor))
        assert gtins(vendor) - others, f"{vendor} sells nothing of its own"


def test_the_same_gtin_is_the_same_product_everywhere() -> None:
    seen: dict[str, SampleItem] = {}
    for vendor in (SHOP, GROCERY, PHARMACY):
        for item in goods(vendor):
            first = seen.setdefault(str(item.gtin), item)
            assert (item.title, item.title_en, item.brand, item.model, item.pack) == (
                first.title,
                first.title_en,
                first.brand,
                first.model,
                first.pack,
            )
            assert abs(item.price - first.price) <= first.price * Decimal("0.07")


def test_brand_and_model_name_one_product_alone() -> None:
    by_model: dict[tuple[str | None, str], set[str]] = {}
    for item in everything():
        if item.model is not None:
            by_model.setdefault((item.brand, item.model), set()).add(item.title)
    assert by_model
    assert [key for key, titles in by_model.items() if len(titles) > 1] == []


@pytest.mark.parametrize("vendor", SUPPLIERS)
def test_skus_and_titles_are_unique_within_a_vendor(vendor: str) -> None:
    for field in ("sku", "title", "title_en"):
        counts = Counter(getattr(item, field) for item in items(vendor))
        assert [value for value, times in counts.items() if times > 1] == []


@pytest.mark.parametrize("vendor", SUPPLIERS)
def test_every_title_is_there_in_both_languages(vendor: str) -> None:
    for item in items(vendor):
        assert any("\u4e00" <= char <= "\u9fff" for char in item.title), item.title
        assert item.title_en and not any("\u4e00" <= char <= "\u9fff" for char in item.title_en), item.title_en
        assert "  " not in item.title + item.title_en
        assert item.title == item.title.strip() and item.title_en == item.title_en.strip()


def test_every_good_has_a_valid_demonstration_gtin_and_nothing_else_has_one() -> None:
    for item in everything():
        if item.kind is Kind.GOODS:
            assert item.gtin is not None and ean.is_valid(item.gtin)
            assert item.gtin.startswith("952") and gtin14(item.gtin) == "0" + item.gtin
        else:
            assert item.gtin is None


def test_every_price_is_positive_and_whole_cents() -> None:
    for item in everything():
        assert Decimal("1") < item.price < Decimal("6000"), item
        assert item.price == item.price.quantize(Decimal("0.01"))


def test_stock_is_counted_except_where_slots_are_the_stock() -> None:
    for item in everything():
        if item.mode is DeliveryMode.APPOINTMENT:
            assert item.on_hand is None and item.city and item.department
        else:
            assert item.on_hand is not None and item.on_hand >= 0
    out = [item for item in everything() if item.on_hand == 0]
    assert 0 < len(out) < len(everything()) * 0.05


def test_every_item_is_a_listing_the_hub_accepts() -> None:
    for item in everything():
        ListingIn(
            vendor_sku=item.sku,
            title=item.title,
            title_en=item.title_en,
            brand=item.brand,
            model=item.model,
            gtin=item.gtin,
            kind=item.kind,
            mode=item.mode,
            category=item.category.name,
            price=item.price,
            pack=item.pack,
            on_hand=item.on_hand,
            city=item.city,
            department=item.department,
            description=item.description,
        )


def test_every_category_is_used_and_bilingual() -> None:
    assert {item.category.slug for item in everything()} == set(CATEGORIES)
    assert len({category.name for category in CATEGORIES.values()}) == len(CATEGORIES) >= 30
    assert all(category.name_en.isascii() for category in CATEGORIES.values())


def test_two_processes_build_the_same_bytes() -> None:
    """Hash randomisation differs between processes; the assortment must not."""
    code = (
        "import hashlib, json; from datetime import date, datetime, UTC; from hub.app import assortment as a;"
        "parts = [json.dumps([a.woocommerce_products(v) for v in ('shop', 'grocery', 'experiences')]).encode(),"
        " a.pharmacy_csv(), a.reference_feed(datetime(2026, 11, 22, tzinfo=UTC)),"
        " json.dumps([a.clinic_services(), a.clinic_slots(date(2026, 11, 22))]).encode()];"
        "print(hashlib.sha256(b''.join(parts)).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1 and len(digests.pop().strip()) == 64


@pytest.mark.parametrize(
    ("pack", "english"),
    [
        ("50只/盒", "box of 50"),
        ("550ml*12瓶", "12 bottles of 550 ml"),
        ("0.3g*20粒", "20 capsules of 0.3 g"),
        ("10g*9袋", "9 sachets of 10 g"),
        ("70g*6袋", "6 bags of 70 g"),
        ("1L/盒", "1 L carton"),
        ("10ml*5支", "5 vials of 10 ml"),
        ("120g*3支", "3 tubes of 120 g"),
        ("1台", ""),
    ],
)
def test_a_pack_reads_naturally_in_english(pack: str, english: str) -> None:
    assert pack_in_english(pack) == english


@pytest.mark.parametrize("pack", ["", "一盒", "50只", "50 /盒", "50只/车"])
def test_a_pack_without_english_is_an_error_and_not_a_guess(pack: str) -> None:
    with pytest.raises(ValueError, match="no English"):
        pack_in_english(pack)


@pytest.mark.parametrize("text", ["只有中文", "|English", "中文|English|5|extra"])
def test_an_authored_line_must_name_both_languages(text: str) -> None:
    with pytest.raises(ValueError, match="中文"):
        bilingual(text, 3)


# --- the shapes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vendor", WOO)
def test_a_woocommerce_shop_answers_in_the_recorded_shape(vendor: str) -> None:
    products = assortment.woocommerce_products(vendor)
    clean = [product for product in products if not product["sku"].startswith("DIRTY-")]
    assert len(clean) == len(items(vendor))
    assert len({product["id"] for product in products}) == len(products)
    for product, item in zip(clean, items(vendor), strict=True):
        meta = {entry["key"]: entry["value"] for entry in product["meta_data"]}
        assert product["price"] == product["regular_price"] == str(item.price)
        assert product["stock_quantity"] == item.on_hand
        assert product["stock_status"] == ("instock" if item.on_hand else "outofstock")
        assert meta["_title_en"] == item.title_en and meta["_kind"] == item.kind and meta["_mode"] == item.mode
        assert meta.get("_gtin") == item.gtin and product["global_unique_id"] == (item.gtin or "")
        assert meta.get("_pack") == item.pack and meta.get("_city") == item.city
        assert set(meta) <= set(assortment.META_KEYS)
        assert product["virtual"] is (item.kind is not Kind.GOODS)
    json.dumps(products)


@pytest.mark.realdata
def test_the_recorded_woocommerce_answer_has_no_field_that_ours_lacks(realdata: Path) -> None:
    recorded = json.loads((realdata / "recorded/woocommerce-7.9.0/products_p1.json").read_text())
    simple = next(p for p in json.loads(recorded["response"]["body"]) if p["type"] == "simple")
    ours = assortment.woocommerce_products(SHOP)[0]
    assert set(simple) - set(ours) == {"_links"}
    assert {
        key
        for key in set(simple) & set(ours)
        if simple[key] not in (None, "", [])
        and ours[key] not in (None, "", [])
        and type(simple[key]) is not type(ours[key])
    } == set()


def test_changing_one_shop_does_not_change_the_next() -> None:
    first = assortment.woocommerce_products(SHOP)
    first[0]["stock_quantity"] = -1
    first[0]["meta_data"].clear()
    again = assortment.woocommerce_products(SHOP)[0]
    assert again["stock_quantity"] != -1 and again["meta_data"]


def test_the_pharmacy_export_survives_gb18030_and_is_not_utf8() -> None:
    raw = assortment.pharmacy_csv()
    with pytest.raises(UnicodeDecodeError):
        raw.decode("utf-8")
    rows = list(csv.DictReader(io.StringIO(raw.decode("gb18030"))))
    assert tuple(rows[0]) == PHARMACY_COLUMNS and set(PHARMACY_MAPPING.values()) == set(PHARMACY_COLUMNS)
    assert len(rows) == len(goods(PHARMACY)) + len(dirty_rows())
    for row, item in zip(rows, goods(PHARMACY), strict=False):
        assert (row["商品编码"], row["名称"], row["英文名"]) == (item.sku, item.title, item.title_en)
        assert Decimal(row["售价"]) == item.price and int(row["库存"]) == item.on_hand


def test_some_devices_come_without_barcode_and_meet_the_shop_by_brand_and_model() -> None:
    models = {(item.brand, item.model) for item in goods(SHOP)}
    bare = [item for item in goods(PHARMACY) if without_barcode(item)]
    assert len([item for item in bare if (item.brand, item.model) in models]) >= 5


async def pulled(settings: dict[str, Any], body: bytes) -> tuple[list[ListingIn], list[BadRow], set[str]]:
    """What the table_feed connector makes of `body` at the settings' address: listings, refused rows, drift."""
    http = httpx.AsyncClient(
        transport=httpx.MockTransport(lambda _request: httpx.Response(200, stream=httpx.ByteStream(body)))
    )
    adapter = base.build(HOME / "table_feed", settings, {}, http)
    assert isinstance(adapter, PullsListings)
    try:
        pages = [page async for page in adapter.pull(None)]
    finally:
        await adapter.aclose()
    assert pages[-1].complete
    return (
        [listing for page in pages for listing in page.listings],
        [bad for page in pages for bad in page.bad],
        {name for page in pages for name in page.drift},
    )


async def test_the_pharmacy_export_is_read_row_by_row_and_its_bad_rows_are_set_aside() -> None:
    settings = assortment.pharmacy_settings("https://pharmacy.example/stock.csv")
    listings, bad, drift = await pulled(settings, assortment.pharmacy_csv())
    clean = {listing.vendor_sku: listing for listing in listings if not listing.vendor_sku.startswith("DIRTY-")}
    assert drift == set() and set(clean) == {item.sku for item in goods(PHARMACY)}
    for item in goods(PHARMACY):
        found = clean[item.sku]
        assert (found.title, found.title_en, found.price, found.on_hand, found.pack, found.category) == (
            item.title,
            item.title_en,
            item.price,
            item.on_hand,
            item.pack,
            item.category.name,
        )
        assert found.gtin == (None if without_barcode(item) else f"0{item.gtin}")
    refused = Counter(row.vendor_sku for row in bad)
    assert refused == {row.sku: 1 for row in dirty_rows() if row.refused} | {"DIRTY-TWICE": 1}
    assert all(row.reason for row in bad)
    assert next(listing.on_hand for listing in listings if listing.vendor_sku == "DIRTY-STOCK") == 0


async def test_the_reference_feed_is_read_as_levels_with_the_time_each_price_was_seen() -> None:
    settings = assortment.reference_settings("https://reference.example/feed.xml")
    listings, bad, drift = await pulled(settings, assortment.reference_feed(NOW))
    assert drift == set() and len(bad) == 2 and all(row.reason for row in bad)
    by_gtin = {listing.gtin: listing for listing in listings}
    assert len(by_gtin) == len(listings) == 120
    for reference in references():
        found = by_gtin[f"0{reference.gtin}"]
        assert (found.price, found.currency, found.pack) == (reference.price, "CNY", reference.pack)
        assert found.on_hand is None and found.level is not None and found.reported_at is not None
        stale = NOW - found.reported_at > timedelta(days=7)
        assert stale is (reference.verdict == "unknown")


def test_mappings_name_only_fields_a_listing_has() -> None:
    assert set(PHARMACY_MAPPING) | set(REFERENCE_MAPPING) <= set(ListingIn.model_fields)


def test_the_clinic_offers_free_slots_for_nearly_every_service_in_the_next_two_weeks() -> None:
    slots = assortment.clinic_slots(TODAY)
    schedules = {f"Schedule/{s['id']}": s["actor"][0]["reference"] for s in assortment.clinic_schedules(TODAY)}
    services = {f"HealthcareService/{s['id']}" for s in assortment.clinic_services()}
    assert len(slots) <= 3000 and len({slot["id"] for slot in slots}) == len(slots)
    assert set(schedules.values()) == services
    free = {schedules[slot["schedule"]["reference"]] for slot in slots if slot["status"] == "free"}
    assert 500 <= len(free) < len(services)  # a few are fully booked, on purpose
    zone = ZoneInfo("Asia/Shanghai")
    times = set()
    for slot in slots:
        start, end = (datetime.fromisoformat(slot[key]) for key in ("start", "end"))
        local = start.astimezone(zone)
        assert TODAY < local.date() <= TODAY + timedelta(days=14)
        assert local.hour >= 8 and end.astimezone(zone) <= local.replace(hour=17, minute=0) and start < end
        times.add((slot["schedule"]["reference"], slot["start"]))
    assert len(times) == len(slots)  # no service is offered twice at one time


def test_a_clinic_service_carries_price_city_department_and_both_names() -> None:
    places = {place["id"]: place["address"]["city"] for place in assortment.clinic_locations()}
    for resource, item in zip(assortment.clinic_services(), items(CLINIC), strict=True):
        price = next(e["valueMoney"] for e in resource["extension"] if e["url"] == assortment.PRICE_URL)
        assert Decimal(str(price["value"])) == item.price and price["currency"] == "CNY"
        assert places[resource["location"][0]["reference"].removeprefix("Location/")] == item.city
        assert resource["specialty"][0]["text"] == item.department
        english = {e["url"]: e for e in resource["_name"]["extension"][0]["extension"]}
        assert english["content"]["valueString"] == item.title_en and english["lang"]["valueCode"] == "en"
        assert len(resource["id"]) <= 64


def test_every_reference_leads_to_the_verdict_it_was_authored_for() -> None:
    """Judged by the parity rules themselves, with the capture times that the feed writes, for every vendor's offer."""
    captured = {
        row.findtext(f"{G}gtin"): datetime.fromisoformat(row.findtext(f"{DC}date") or "")
        for row in ElementTree.fromstring(assortment.reference_feed(NOW)).findall("./channel/item")
    }
    authored = {reference.gtin: reference for reference in references()}
    wrong = []
    for item in (item for vendor in (SHOP, GROCERY, PHARMACY) for item in goods(vendor) if item.gtin in authored):
        reference = authored[str(item.gtin)]
        observed = parity.Reference(
            id=1,
            total=reference.price,
            currency="CNY",
            pack=read_pack(reference.pack),
            condition="ordinary",
            offer=("大集参考商城", "CN", ""),
            captured_at=captured[reference.gtin],
        )
        offer = OfferPrice(listing_id=1, product_id=1, price=item.price, currency="CNY", pack=item.pack)
        found = parity.judge(offer, [observed], NOW, timedelta(days=7))
        if found.verdict != reference.verdict:
            wrong.append((item.sku, reference, found))
    assert wrong == []
    counts = Counter(reference.verdict for reference in references())
    assert counts["pass"] > 80 and counts["breach"] > 10 and counts["unknown"] > 4
    assert sum(counts.values()) == 120 == len(authored)


def test_the_boundary_products_stand_at_exactly_five_and_five_point_oh_one_percent() -> None:
    ours = {item.gtin: item.price for item in goods(SHOP)}
    gaps = {g: (ours[g] - price) / price for g, price in story.BOUNDARY_REFERENCES.items()}
    assert gaps == {story.BOUNDARY_PASS: Decimal("0.05"), story.BOUNDARY_BREACH: Decimal("0.0501")}
    assert {story.BOUNDARY_PASS, story.BOUNDARY_BREACH}.isdisjoint(gtins(GROCERY) | gtins(PHARMACY))


def test_the_reference_feed_is_a_google_merchant_feed_without_counts() -> None:
    root = ElementTree.fromstring(assortment.reference_feed(NOW))
    rows = root.findall("./channel/item")
    clean = [row for row in rows if not (row.findtext(f"{G}id") or "").startswith("REF-DIRTY")]
    assert len(clean) == 120 and len(rows) > len(clean)
    assert VENDORS[REFERENCE].role == "reference"
    for row, reference in zip(clean, references(), strict=True):
        assert row.findtext(f"{G}price") == f"{reference.price} CNY"
        assert row.findtext(f"{G}gtin") == reference.gtin and row.findtext(f"{G}size") == reference.pack
        assert row.findtext(f"{G}availability") == "in_stock"
    stale = assortment.stale_references(NOW)
    assert {row["gtin"] for row in stale} == {r.gtin for r in references() if r.verdict == "unknown"}
    assert all(NOW - datetime.fromisoformat(row["captured_at"]) > timedelta(days=7) for row in stale)


# --- the bad rows and the story ---------------------------------------------------------------------------------------


def test_bad_rows_are_marked_and_each_fault_is_real() -> None:
    rows = {row.sku: row for row in dirty_rows()}
    assert all(sku.startswith("DIRTY-") for sku in rows)
    assert all("样例坏数据" in row.title or not row.title for row in rows.values())
    assert not ean.is_valid(rows["DIRTY-GTIN"].gtin)
    assert Counter(row.sku for row in dirty_rows())["DIRTY-TWICE"] == 2
    assert int(rows["DIRTY-STOCK"].stock) < 0
    for row in dirty_rows():
        if not row.refused:
            continue
        with pytest.raises(ValueError, match="validation error"):
            ListingIn.model_validate(
                {"vendor_sku": row.sku, "title": row.title, "gtin": row.gtin or None, "price": row.price or None}
            )


def test_clean_skus_are_never_marked_as_bad() -> None:
    assert not [item.sku for item in everything() if item.sku.startswith("DIRTY")]


def test_the_failover_product_is_cheaper_at_the_grocery_and_waits_at_the_shop() -> None:
    at = {vendor: next(item for item in goods(vendor) if item.gtin == story.FAILOVER) for vendor in (GROCERY, SHOP)}
    assert at[GROCERY].price < at[SHOP].price
    assert (at[GROCERY].on_hand or 0) > 10 and (at[SHOP].on_hand or 0) > 10
    assert story.FAILOVER not in gtins(PHARMACY)


def test_the_sole_source_product_has_no_other_vendor() -> None:
    assert story.SOLE_SOURCE in gtins(GROCERY)
    assert story.SOLE_SOURCE not in gtins(SHOP) | gtins(PHARMACY)


def test_every_story_product_exists() -> None:
    assert {story.LATE, story.BOUNDARY_PASS, story.BOUNDARY_BREACH} <= gtins(SHOP)
    assert story.CONTENDED in gtins(SHOP) & gtins(GROCERY) & gtins(PHARMACY)
    sold = {(vendor, gtin) for vendor in (SHOP, GROCERY, PHARMACY) for gtin in gtins(vendor)}
    assert set(story.FORCED_PRICES) | set(story.FORCED_STOCK) <= sold


def test_nationwide_vouchers_are_sold_by_two_vendors_under_one_model() -> None:
    shop = {(item.brand, item.model) for item in items(SHOP) if item.kind is Kind.EXPERIENCE}
    theirs = {(item.brand, item.model) for item in items(EXPERIENCES) if item.model}
    assert shop and shop <= theirs
