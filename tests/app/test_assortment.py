"""The sample assortment keeps what the demo's report promises: size, languages, identifiers, overlaps, faults."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from decimal import Decimal

import pytest
from stdnum import ean

from connectors.contracts import ListingIn
from hub.app.assortment import (
    CATEGORIES,
    EXPERIENCES,
    GROCERY,
    PHARMACY,
    SHOP,
    VENDORS,
    SampleItem,
    dirty_rows,
    goods,
    items,
    story,
)
from hub.app.assortment.items import fully_booked
from hub.app.assortment.model import bilingual, pack_in_english
from hub.kernel.types import DeliveryMode, Kind, gtin14

SUPPLIERS = [key for key, vendor in VENDORS.items() if vendor.role == "supply"]


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
