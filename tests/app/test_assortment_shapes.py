"""The sample vendors answer in their systems' own shapes, and the hub's readers make the same items of them again."""

from __future__ import annotations

import csv
import io
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from defusedxml import ElementTree
from pydantic import SecretStr

from connectors import base
from connectors.contracts import BadRow, ListingIn, Page
from connectors.kit_stage import reachable
from connectors.manifest import HOME
from connectors.protocol import PullsListings
from connectors.woocommerce.sandbox import WooSandbox
from hub.app import assortment
from hub.app.assortment import (
    CLINIC,
    GROCERY,
    PHARMACY,
    REFERENCE,
    SHOP,
    VENDORS,
    dirty_rows,
    goods,
    items,
    references,
    story,
)
from hub.app.assortment.tables import PHARMACY_COLUMNS, PHARMACY_MAPPING, REFERENCE_MAPPING, without_barcode
from hub.kernel import clock
from hub.kernel.types import Kind
from pricing.contracts import OfferPrice
from pricing.units import read_pack
from tests.pricing import oracle

WOO = [key for key, vendor in VENDORS.items() if vendor.connector == "woocommerce"]
NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
TODAY = date(2026, 11, 22)
G = "{http://base.google.com/ns/1.0}"
DC = "{http://purl.org/dc/elements/1.1/}"


def gtins(vendor: str) -> set[str]:
    return {str(item.gtin) for item in goods(vendor)}


def refused_skus() -> dict[str | None, int]:
    """How often each marked SKU must come out as a bad row: every refused row, and the second of the two alike."""
    return {row.sku: 1 for row in dirty_rows() if row.refused} | {"DIRTY-TWICE": 1}


async def pages_of(adapter: Any) -> list[Page]:
    """All pages of a full pull, which must end complete."""
    assert isinstance(adapter, PullsListings)
    pages = [page async for page in adapter.pull(None)]
    assert pages[-1].complete and {name for page in pages for name in page.drift} == set()
    return pages


@pytest.mark.parametrize("vendor", WOO)
async def test_a_sandbox_shop_is_pulled_item_by_item_and_its_bad_rows_are_set_aside(vendor: str) -> None:
    sandbox = WooSandbox(assortment.woocommerce_products(vendor))
    await sandbox.start()
    secrets = {name: SecretStr(value) for name, value in sandbox.credentials().items()}
    adapter = base.build(HOME / "woocommerce", {"base_url": sandbox.base_url}, secrets)
    try:
        with reachable(sandbox):
            pages = await pages_of(adapter)
    finally:
        await adapter.aclose()
        await sandbox.stop()
    found = {listing.vendor_sku: listing for page in pages for listing in page.listings}
    assert {sku for sku in found if not sku.startswith("DIRTY-")} == {item.sku for item in items(vendor)}
    for item in items(vendor):
        listing = found[item.sku]
        assert (listing.title, listing.title_en, listing.price, listing.on_hand, listing.currency) == (
            item.title,
            item.title_en,
            item.price,
            item.on_hand,
            "CNY",
        )
        assert (listing.brand, listing.model, listing.pack, listing.city) == (
            item.brand,
            item.model,
            item.pack,
            item.city,
        )
        assert (listing.kind, listing.mode, listing.category) == (item.kind, item.mode, item.category.name)
        assert listing.gtin == (f"0{item.gtin}" if item.gtin else None)
    assert Counter(row.vendor_sku for page in pages for row in page.bad) == refused_skus()
    assert found["DIRTY-STOCK"].on_hand == 0


async def test_the_clinic_is_pulled_as_services_with_bookable_slots() -> None:
    today = clock.now().astimezone(ZoneInfo("Asia/Shanghai")).date()
    shelves = {
        "Location": assortment.clinic_locations(),
        "HealthcareService": [*assortment.clinic_services(), *assortment.clinic_dirty_services()],
        "Schedule": assortment.clinic_schedules(today),
        "Slot": assortment.clinic_slots(today),
    }

    def answer(request: httpx.Request) -> httpx.Response:
        found = shelves[request.url.path.rpartition("/")[2]]
        bundle = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": each} for each in found]}
        return httpx.Response(200, json=bundle)

    http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    settings = assortment.clinic_settings("https://clinic.example/fhir/R4")
    adapter = base.build(HOME / "fhir_clinic", settings, {"token": SecretStr("token-of-the-clinic")}, http)
    try:
        pages = await pages_of(adapter)
    finally:
        await adapter.aclose()
    found = {listing.vendor_sku: listing for page in pages for listing in page.listings}
    assert set(found) == {item.sku for item in items(CLINIC)}
    for item in items(CLINIC):
        listing = found[item.sku]
        assert (listing.title, listing.title_en, listing.price, listing.currency) == (
            item.title,
            item.title_en,
            item.price,
            "CNY",
        )
        assert (listing.city, listing.department, listing.category) == (item.city, item.department, item.category.name)
        assert listing.kind is Kind.SERVICE and listing.mode is item.mode
    slots = [slot for page in pages for slot in page.slots]
    assert len(slots) == len(shelves["Slot"])
    assert {slot.vendor_sku for slot in slots} == set(found)
    assert {row.vendor_sku for page in pages for row in page.bad} == {
        service["id"] for service in assortment.clinic_dirty_services()
    }


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


async def pulled(settings: dict[str, Any], body: bytes) -> tuple[list[ListingIn], list[BadRow]]:
    """What the table_feed connector makes of `body` at the settings' address: listings and refused rows."""
    http = httpx.AsyncClient(
        transport=httpx.MockTransport(lambda _request: httpx.Response(200, stream=httpx.ByteStream(body)))
    )
    adapter = base.build(HOME / "table_feed", settings, {}, http)
    try:
        pages = await pages_of(adapter)
    finally:
        await adapter.aclose()
    return [listing for page in pages for listing in page.listings], [bad for page in pages for bad in page.bad]


async def test_the_pharmacy_export_is_read_row_by_row_and_its_bad_rows_are_set_aside() -> None:
    settings = assortment.pharmacy_settings("https://pharmacy.example/stock.csv")
    listings, bad = await pulled(settings, assortment.pharmacy_csv())
    clean = {listing.vendor_sku: listing for listing in listings if not listing.vendor_sku.startswith("DIRTY-")}
    assert set(clean) == {item.sku for item in goods(PHARMACY)}
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
    assert Counter(row.vendor_sku for row in bad) == refused_skus()
    assert all(row.reason for row in bad)
    assert next(listing.on_hand for listing in listings if listing.vendor_sku == "DIRTY-STOCK") == 0


async def test_the_reference_feed_is_read_as_levels_with_the_time_each_price_was_seen() -> None:
    settings = assortment.reference_settings("https://reference.example/feed.xml")
    listings, bad = await pulled(settings, assortment.reference_feed(NOW))
    assert len(bad) == 2 and all(row.reason for row in bad)
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
    """Judged by an account of the rule, with the capture times that the feed writes, for every vendor's offer."""
    captured = {
        row.findtext(f"{G}gtin"): datetime.fromisoformat(row.findtext(f"{DC}date") or "")
        for row in ElementTree.fromstring(assortment.reference_feed(NOW)).findall("./channel/item")
    }
    authored = {reference.gtin: reference for reference in references()}
    wrong = []
    for item in (item for vendor in (SHOP, GROCERY, PHARMACY) for item in goods(vendor) if item.gtin in authored):
        reference = authored[str(item.gtin)]
        observed = oracle.Observed(
            id=1,
            total=reference.price,
            currency="CNY",
            pack=read_pack(reference.pack),
            condition="ordinary",
            offer=("大集参考商城", "CN", ""),
            captured_at=captured[reference.gtin],
        )
        offer = OfferPrice(listing_id=1, product_id=1, price=item.price, currency="CNY", pack=item.pack)
        found = oracle.judge(offer, [observed], NOW, timedelta(days=7))
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
