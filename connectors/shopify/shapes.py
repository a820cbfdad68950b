"""What Shopify's products, orders and webhooks look like as JSON, as far as the sandbox plays them: GraphQL shapes from
the Admin API's schema, webhook shapes (those of the older REST API) from Shopify's own samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

HOME, OUTLET = 24826418, 24826419  # two locations; the outlet fulfils no online orders


def gid(kind: str, number: Any) -> str:
    return f"gid://shopify/{kind}/{number}"


def product_json(number: int, given: Mapping[str, Any], today: str) -> dict[str, Any]:
    """A product as the GraphQL API shows it, without its variants."""
    image = given.get("image")
    return {
        "id": gid("Product", number),
        "title": given.get("title", ""),
        "vendor": given.get("vendor", ""),
        "productType": given.get("type", ""),
        "status": given.get("status", "ACTIVE"),
        "isGiftCard": bool(given.get("gift_card")),
        "requiresSellingPlan": bool(given.get("subscription")),
        "publishedAt": today if given.get("published", True) else None,
        "onlineStoreUrl": f"https://shop.example/products/{number}" if given.get("published", True) else None,
        "description": given.get("description", ""),
        "category": {"name": given["category"]} if given.get("category") else None,
        "featuredMedia": {"preview": {"image": {"url": image}}} if image else None,
        "updatedAt": today,
    }


def variant_json(number: int, item: int, given: Mapping[str, Any]) -> dict[str, Any]:
    """A variant as the GraphQL API shows it, without its product and its stock."""
    options = given.get("options") or {}
    return {
        "id": gid("ProductVariant", number),
        "title": " / ".join(options.values()) or "Default Title",
        "sku": given.get("sku"),
        "barcode": given.get("barcode"),
        "price": str(given.get("price", "0.00")),
        "compareAtPrice": given.get("compare_at"),
        "inventoryPolicy": given.get("policy", "DENY"),
        "requiresComponents": bool(given.get("bundle")),
        "selectedOptions": [{"name": name, "value": value} for name, value in options.items()]
        or [{"name": "Title", "value": "Default Title"}],
        "inventoryItem": {
            "id": gid("InventoryItem", item),
            "requiresShipping": given.get("ships", True),
            "tracked": given.get("tracked", True),
        },
    }


def order_json(number: int, sent: Mapping[str, Any], today: str) -> dict[str, Any]:
    """An order that was just created."""
    return {
        "id": gid("Order", number),
        "createdAt": today,
        "updatedAt": today,
        "cancelledAt": None,
        "cancelReason": None,
        "displayFinancialStatus": sent.get("financialStatus", "PENDING"),
        "displayFulfillmentStatus": "UNFULFILLED",
        "tags": list(sent.get("tags") or ()),
        "sourceIdentifier": sent.get("sourceIdentifier"),
        "lineItems": {
            "nodes": [
                {"quantity": line["quantity"], "variant": {"id": line["variantId"]}}
                for line in sent.get("lineItems") or ()
            ]
        },
        "fulfillments": [],
        "customAttributes": list(sent.get("customAttributes") or ()),
    }


def product_push(product: Mapping[str, Any], variants: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A product as a webhook carries it."""
    number = int(product["id"].rsplit("/", 1)[1])
    names = [o["name"] for o in variants[0]["selectedOptions"]] if variants else []
    return {
        "admin_graphql_api_id": product["id"],
        "id": number,
        "title": product["title"],
        "body_html": f"<p>{product['description']}</p>",
        "vendor": product["vendor"],
        "product_type": product["productType"],
        "handle": f"p-{number}",
        "status": product["status"].lower(),
        "published_at": product["publishedAt"],
        "updated_at": product["updatedAt"],
        "tags": "",
        "options": [{"name": name, "position": n} for n, name in enumerate(names, 1)],
        "image": None,
        "images": [],
        "has_variants_that_requires_components": any(v["requiresComponents"] for v in variants),
        "category": None,
        "variants": [
            {
                "admin_graphql_api_id": v["id"],
                "id": int(v["id"].rsplit("/", 1)[1]),
                "title": v["title"],
                "sku": v["sku"],
                "barcode": v["barcode"],
                "price": v["price"],
                "compare_at_price": v["compareAtPrice"],
                "inventory_policy": v["inventoryPolicy"].lower(),
                "requires_shipping": v["inventoryItem"]["requiresShipping"],
                "inventory_item_id": int(v["inventoryItem"]["id"].rsplit("/", 1)[1]),
                "product_id": number,
                "updated_at": product["updatedAt"],
                **{f"option{n}": o["value"] for n, o in enumerate(v["selectedOptions"], 1)},
            }
            for v in variants
        ],
    }


def fulfillment_push(order: Mapping[str, Any], fulfillment: Mapping[str, Any]) -> dict[str, Any]:
    """A fulfilment as a webhook carries it."""
    display = fulfillment["displayStatus"]
    numbers = [info["number"] for info in fulfillment["trackingInfo"]]
    return {
        "id": int(fulfillment["id"].rsplit("/", 1)[1]),
        "admin_graphql_api_id": fulfillment["id"],
        "order_id": int(order["id"].rsplit("/", 1)[1]),
        "status": fulfillment["status"].lower(),
        "shipment_status": None if display in ("FULFILLED", "CANCELED") else display.lower(),
        "created_at": fulfillment["updatedAt"],
        "updated_at": fulfillment["updatedAt"],
        "tracking_company": fulfillment["trackingInfo"][0]["company"] if numbers else None,
        "tracking_number": numbers[0] if numbers else None,
        "tracking_numbers": numbers,
        "destination": {"name": "Steve Shipper", "phone": "555-555-SHIP"},
    }


_STATES = {"UNFULFILLED": None, "PARTIALLY_FULFILLED": "partial", "FULFILLED": "fulfilled"}


def order_push(order: Mapping[str, Any], sent: Mapping[str, Any]) -> dict[str, Any]:
    """An order as a webhook carries it."""
    address = sent.get("shippingAddress") or {}
    return {
        "admin_graphql_api_id": order["id"],
        "id": int(order["id"].rsplit("/", 1)[1]),
        "name": "#1001",
        "cancelled_at": order["cancelledAt"],
        "created_at": order["createdAt"],
        "updated_at": order["updatedAt"],
        "financial_status": order["displayFinancialStatus"].lower(),
        "fulfillment_status": _STATES.get(order["displayFulfillmentStatus"]),
        "note_attributes": [{"name": a["key"], "value": a["value"]} for a in order["customAttributes"]],
        "source_identifier": order["sourceIdentifier"],
        "tags": ", ".join(order["tags"]),
        "shipping_address": {"name": address.get("lastName"), "address1": address.get("address1")},
        "fulfillments": [fulfillment_push(order, f) for f in order["fulfillments"]],
    }


def level_push(item: int, location: int, available: int, today: str) -> dict[str, Any]:
    """An inventory level as a webhook carries it: no SKU in it."""
    return {
        "inventory_item_id": item,
        "location_id": location,
        "available": available,
        "updated_at": today,
        "admin_graphql_api_id": f"gid://shopify/InventoryLevel/{location}?inventory_item_id={item}",
    }
