"""Sample items as products of a sandbox shop. Assumes `connectors.woocommerce.sandbox.WooSandbox`, which takes them as
they are and answers in the shape of WooCommerce's REST API (version 3); what WooCommerce has no field for travels in
`meta_data` there, under the connector's default keys, and `category` is the shop's own category name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hub.app.assortment.dirty import DirtyRow, dirty_rows
from hub.app.assortment.items import items
from hub.app.assortment.model import SampleItem
from hub.app.assortment.taxonomy import CATEGORIES, SHOP


def woocommerce_products(vendor: str = SHOP, chosen: Iterable[SampleItem] | None = None) -> list[dict[str, Any]]:
    """Every product of one WooCommerce vendor (shop, grocery or experiences), or only the `chosen` items of it, clean
    ones first, then the bad ones. Fields that an item lacks are absent. Raises KeyError for an unknown vendor."""
    return [*map(_product, items(vendor) if chosen is None else chosen), *map(_dirty, dirty_rows())]


def _product(item: SampleItem) -> dict[str, Any]:
    said = {
        "sku": item.sku,
        "name": item.title,
        "title_en": item.title_en,
        "price": str(item.price),
        "stock": item.on_hand,
        "gtin": item.gtin,
        "brand": item.brand,
        "model": item.model,
        "kind": item.kind.value,
        "mode": item.mode.value,
        "category": item.category.name,
        "pack": item.pack,
        "city": item.city,
        "description": f"<p>{item.description}</p>",
    }
    return {name: value for name, value in said.items() if value is not None}


def _dirty(row: DirtyRow) -> dict[str, Any]:
    return {
        "sku": row.sku,
        "name": row.title,
        "title_en": row.title_en,
        "price": row.price,
        "stock": int(row.stock),
        "gtin": row.gtin,
        "kind": "goods",
        "mode": "parcel",
        "category": CATEGORIES["paper"].name,
        "description": f"<p>{row.fault}</p>",
    }
