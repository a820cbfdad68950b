"""Sample items as a WooCommerce shop answers `GET /wp-json/wc/v3/products`. Assumes the field names and types of a
recorded WooCommerce 7.9 answer; `global_unique_id` and `brands` are the newer core fields for GTIN and brand.

What WooCommerce has no field for stands in `meta_data`, as shop plug-ins do it: `_title_en`, `_gtin`, `_brand`,
`_model`, `_kind`, `_mode`, `_pack`, `_city`, `_category_en`. A shop without them is read as goods sent by parcel."""

from __future__ import annotations

import copy
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from hub.app.assortment.dirty import DirtyRow, dirty_rows
from hub.app.assortment.items import items
from hub.app.assortment.model import SampleItem, draw
from hub.app.assortment.taxonomy import CATEGORIES, EXPERIENCES, GROCERY, SHOP
from hub.kernel.types import DeliveryMode

META_KEYS = ("_title_en", "_gtin", "_brand", "_model", "_kind", "_mode", "_pack", "_city", "_category_en")
_FIRST_ID = {SHOP: 10_000, GROCERY: 20_000, EXPERIENCES: 30_000}
_EPOCH = datetime(2026, 1, 5, 1, 0, 0)  # noqa: DTZ001 - the shape carries GMT without a zone
_CATEGORY_IDS = {slug: number for number, slug in enumerate(CATEGORIES, 15)}


def woocommerce_products(vendor: str = SHOP) -> list[dict[str, Any]]:
    """Every product of one WooCommerce vendor (shop, grocery or experiences), clean ones first, then the bad ones.
    The caller owns the list and may change stock in it. Raises KeyError for a vendor without such a shop."""
    return copy.deepcopy(_products(vendor))


@cache
def _products(vendor: str) -> list[dict[str, Any]]:
    first = _FIRST_ID[vendor]
    clean = [_product(first + number, item) for number, item in enumerate(items(vendor))]
    return clean + [_dirty(first + len(clean) + number, row) for number, row in enumerate(dirty_rows())]


def _product(number: int, item: SampleItem) -> dict[str, Any]:
    meta = {
        "_title_en": item.title_en,
        "_gtin": item.gtin,
        "_brand": item.brand,
        "_model": item.model,
        "_kind": item.kind.value,
        "_mode": item.mode.value,
        "_pack": item.pack,
        "_city": item.city,
        "_category_en": item.category.name_en,
    }
    return _shape(
        number,
        name=item.title,
        sku=item.sku,
        price=str(item.price),
        stock=item.on_hand or 0,
        gtin=item.gtin or "",
        category={"id": _CATEGORY_IDS[item.category.slug], "name": item.category.name, "slug": item.category.slug},
        brand=item.brand,
        attributes={"规格": item.pack, "型号": item.model, "城市": item.city},
        description=item.description,
        virtual=item.mode is not DeliveryMode.PARCEL,
        meta=meta,
    )


def _dirty(number: int, row: DirtyRow) -> dict[str, Any]:
    return _shape(
        number,
        name=row.title,
        sku=row.sku,
        price=row.price,
        stock=int(row.stock),
        gtin=row.gtin,
        category={"id": _CATEGORY_IDS["paper"], "name": CATEGORIES["paper"].name, "slug": "paper"},
        brand=None,
        attributes={},
        description=row.fault,
        virtual=False,
        meta={"_title_en": row.title_en, "_gtin": row.gtin, "_kind": "goods", "_mode": "parcel"},
    )


def _shape(
    number: int,
    *,
    name: str,
    sku: str,
    price: str,
    stock: int,
    gtin: str,
    category: dict[str, Any],
    brand: str | None,
    attributes: dict[str, str | None],
    description: str,
    virtual: bool,
    meta: dict[str, str | None],
) -> dict[str, Any]:
    """One product with every field of the recorded answer that has a meaning for a simple product."""
    created = _EPOCH + timedelta(minutes=number % 1000)
    modified = created + timedelta(hours=1 + draw(f"modified:{sku}", 400))
    return {
        "id": number,
        "name": name,
        "slug": sku.lower(),
        "permalink": f"https://shop.example/product/{sku.lower()}/",
        "date_created": created.isoformat(),
        "date_created_gmt": created.isoformat(),
        "date_modified": modified.isoformat(),
        "date_modified_gmt": modified.isoformat(),
        "type": "simple",
        "status": "publish",
        "featured": False,
        "catalog_visibility": "visible",
        "description": f"<p>{description}</p>\n",
        "short_description": "",
        "sku": sku,
        "global_unique_id": gtin,
        "price": price,
        "regular_price": price,
        "sale_price": "",
        "date_on_sale_from": None,
        "date_on_sale_from_gmt": None,
        "date_on_sale_to": None,
        "date_on_sale_to_gmt": None,
        "on_sale": False,
        "purchasable": True,
        "total_sales": draw(f"sales:{sku}", 5000),
        "virtual": virtual,
        "downloadable": False,
        "downloads": [],
        "download_limit": 0,
        "download_expiry": 0,
        "external_url": "",
        "button_text": "",
        "tax_status": "taxable",
        "tax_class": "",
        "manage_stock": True,
        "stock_quantity": stock,
        "backorders": "no",
        "backorders_allowed": False,
        "backordered": False,
        "low_stock_amount": None,
        "stock_status": "instock" if stock > 0 else "outofstock",
        "sold_individually": False,
        "weight": "",
        "dimensions": {"length": "", "width": "", "height": ""},
        "shipping_required": not virtual,
        "shipping_taxable": not virtual,
        "shipping_class": "",
        "shipping_class_id": 0,
        "reviews_allowed": True,
        "average_rating": "0.00",
        "rating_count": 0,
        "upsell_ids": [],
        "cross_sell_ids": [],
        "parent_id": 0,
        "purchase_note": "",
        "categories": [category],
        "tags": [],
        "brands": [{"id": 900 + draw(f"brand:{brand}", 90), "name": brand, "slug": f"brand-{number}"}] if brand else [],
        "images": [],
        "attributes": [
            {"id": 0, "name": label, "position": position, "visible": True, "variation": False, "options": [value]}
            for position, (label, value) in enumerate((k, v) for k, v in attributes.items() if v)
        ],
        "default_attributes": [],
        "variations": [],
        "grouped_products": [],
        "menu_order": 0,
        "price_html": "",
        "related_ids": [],
        "meta_data": [
            {"id": number * 10 + position, "key": key, "value": value}
            for position, (key, value) in enumerate((k, v) for k, v in meta.items() if v)
        ],
        "has_options": False,
    }
