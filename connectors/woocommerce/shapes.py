"""What WooCommerce's products and orders look like as JSON, as far as the sandbox plays them. The shapes follow the
recorded exchanges in fixtures/."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

_META = ("gtin", "title_en", "brand", "model", "kind", "mode", "category", "pack", "city", "department")
_META_KEYS = {name: "_mpn" if name == "model" else f"_{name}" for name in _META}


def po_of(order: Mapping[str, Any]) -> Any:
    return next((m["value"] for m in order["meta_data"] if m["key"] == "supplyhub_po"), None)


def indexed(order: Mapping[str, Any]) -> str:
    """What WooCommerce's order search looks at: the two address indexes."""
    return " ".join(str(v) for part in ("billing", "shipping") for v in order[part].values()).lower()


def product_json(number: int, given: Mapping[str, Any], today: str) -> dict[str, Any]:
    stock = given.get("stock")
    backorders = bool(given.get("backorders", False))
    available = given.get("in_stock", True) if stock is None else stock > 0
    name = str(given.get("name", ""))
    category = given.get("shop_category") or given.get("category")
    return {
        "id": number,
        "name": name,
        "slug": f"p-{number}",
        "permalink": f"https://shop.example/product/p-{number}/",
        "date_created": today,
        "date_created_gmt": today,
        "date_modified": today,
        "date_modified_gmt": today,
        "type": given.get("type", "simple"),
        "status": given.get("status", "publish"),
        "featured": False,
        "catalog_visibility": "visible",
        "description": given.get("description", ""),
        "short_description": "",
        "sku": given.get("sku", ""),
        "price": str(given.get("price", "")),
        "regular_price": str(given.get("price", "")),
        "sale_price": "",
        "date_on_sale_from_gmt": None,
        "date_on_sale_to_gmt": None,
        "on_sale": False,
        "purchasable": given.get("type", "simple") in ("simple", "variable"),
        "total_sales": 0,
        "virtual": given.get("virtual", given.get("mode", "parcel") != "parcel"),
        "downloadable": given.get("downloadable", False),
        "manage_stock": stock is not None,
        "stock_quantity": stock,
        "backorders": "yes" if backorders else "no",
        "backorders_allowed": backorders,
        "backordered": False,
        "weight": "",
        "parent_id": 0,
        "categories": [{"id": 15, "name": category or "Uncategorized", "slug": "c"}],
        "tags": [],
        "images": [{"id": 1, "src": given["image"]}] if given.get("image") else [],
        "attributes": given.get("attributes", []),
        "variations": [],
        "grouped_products": [],
        "price_html": f'<span class="amount">&yen;{given.get("price", "")}</span>',
        "related_ids": [],
        "meta_data": [
            {"id": number * 20 + n, "key": _META_KEYS[field], "value": str(given[field])}
            for n, field in enumerate(_META)
            if given.get(field) is not None
        ],
        "stock_status": "instock" if available else "onbackorder" if backorders else "outofstock",
    }


def variation_json(number: int, parent: dict[str, Any], given: Mapping[str, Any], today: str) -> dict[str, Any]:
    made = product_json(number, given, today)
    options = given.get("options") or {}
    made |= {
        "type": "variation",
        "parent_id": parent["id"],
        "name": ", ".join(options.values()),
        "purchasable": True,
        "attributes": [{"id": n, "name": name, "option": value} for n, (name, value) in enumerate(options.items(), 1)],
        "image": None,
        "categories": [],
    }
    if given.get("stock") is None and "in_stock" not in given and parent["manage_stock"]:
        made |= {"manage_stock": "parent", "stock_quantity": parent["stock_quantity"]}
    return made


def item_json(number: int, product: Mapping[str, Any], quantity: int) -> dict[str, Any]:
    variation = product["type"] == "variation"
    total = f"{Decimal(product['price'] or '0') * quantity:.2f}"
    return {
        "id": number,
        "name": product["name"],
        "product_id": product["parent_id"] if variation else product["id"],
        "variation_id": product["id"] if variation else 0,
        "quantity": quantity,
        "subtotal": total,
        "total": total,
        "meta_data": [],
        "sku": product["sku"],
        "price": float(product["price"] or 0),  # the real API answers a JSON number here
    }


def order_json(
    number: int, sent: Mapping[str, Any], items: list[dict[str, Any]], currency: str, today: str, ids: Any
) -> dict[str, Any]:
    blank = dict.fromkeys(
        (
            "first_name",
            "last_name",
            "company",
            "address_1",
            "address_2",
            "city",
            "state",
            "postcode",
            "country",
            "phone",
        ),
        "",
    )
    return {
        "id": number,
        "parent_id": 0,
        "status": "pending",
        "currency": currency,
        "version": "7.9.0",
        "date_created": today,
        "date_created_gmt": today,
        "date_modified": today,
        "date_modified_gmt": today,
        "total": f"{sum(Decimal(item['total']) for item in items):.2f}",
        "billing": {**blank, **(sent.get("billing") or {})},
        "shipping": {**blank, **(sent.get("shipping") or {})},
        "payment_method": sent.get("payment_method", ""),
        "transaction_id": sent.get("transaction_id", ""),
        "created_via": "rest-api",
        "customer_note": sent.get("customer_note", ""),
        "number": str(number),
        "meta_data": [{"id": next(ids), "key": m["key"], "value": m["value"]} for m in sent.get("meta_data") or ()],
        "line_items": items,
        "refunds": [],
    }


def parsed_time(text: str) -> datetime:
    """A `date_*_gmt` of WooCommerce as an aware time."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
