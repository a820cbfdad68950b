"""What a Medusa server keeps, for the stand-in: products with variants, inventory items at locations with their
reservations, carts, orders and guests. Shapes are those of recorded answers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from typing import Any

from hub.kernel import clock

CHANNEL, REGION, KEY_CHANNELS = "sc_own", "reg_cn", ("sc_own",)


class Refusal(Exception):
    """The shop says no."""

    def __init__(self, message: str, kind: str = "invalid_data", code: str | None = None) -> None:
        super().__init__(message)
        self.body = {**({"code": code} if code else {}), "type": kind, "message": message}


@dataclass
class World:
    """The shop's state. `checks` off: reservations are made without looking (two servers without a common lock)."""

    currency: str = "cny"
    tax: int = 13
    checks: bool = True
    locations: tuple[str, ...] = ("sloc_1", "sloc_2")  # of the sales channel; others are elsewhere
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)
    products: dict[str, dict[str, Any]] = field(default_factory=dict)
    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    reservations: dict[str, dict[str, Any]] = field(default_factory=dict)
    carts: dict[str, dict[str, Any]] = field(default_factory=dict)
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    sales: dict[str, float] = field(default_factory=dict)  # variant -> its price in a price list
    hidden: set[str] = field(default_factory=set)  # products that are in no sales channel
    ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def new_id(self, prefix: str) -> str:
        return f"{prefix}_{next(self.ids):08d}"

    def add(self, product: Mapping[str, Any]) -> list[str]:
        """Put a product on sale: title and, as wished, status, description, category, type, metadata, hidden and
        variants: {sku, title, price, sale, ean, metadata, stock (a count, counts by location, None: not counted),
        options, items: {inventory item's name: how many}}. Returns the variants' ids."""
        made = {
            "id": self.new_id("prod"),
            "title": product["title"],
            "description": product.get("description"),
            "status": product.get("status", "published"),
            "thumbnail": None,
            "metadata": product.get("metadata"),
            "categories": [{"name": product["category"]}] if product.get("category") else [],
            "type": {"value": product["type"]} if product.get("type") else None,
            "images": [],
            "updated_at": now(),
        }
        self.products[made["id"]] = made
        if product.get("hidden"):
            self.hidden.add(made["id"])
        return [self._variant(made, variant) for variant in product.get("variants") or ()]

    def _variant(self, product: dict[str, Any], given: Mapping[str, Any]) -> str:
        stock = given.get("stock", 0)
        variant = {
            "id": self.new_id("variant"),
            "title": given.get("title", "默认"),
            "sku": given.get("sku"),
            "ean": given.get("ean"),
            "upc": None,
            "barcode": None,
            "thumbnail": None,
            "metadata": given.get("metadata"),
            "manage_inventory": stock is not None,
            "allow_backorder": given.get("backorder", False),
            "prices": [{"amount": given["price"], "currency_code": self.currency, "rules": {}}]
            if "price" in given
            else [],
            "options": [{"value": v, "option": {"title": k}} for k, v in given.get("options", {}).items()],
            "product": product,
            "product_id": product["id"],
            "updated_at": now(),
        }
        if "sale" in given:
            self.sales[variant["id"]] = given["sale"]
        if stock is not None:
            own = given.get("items") or {variant["id"]: 1}
            at = stock if isinstance(stock, Mapping) else {self.locations[0]: stock}
            for name, needed in own.items():
                item = self.items.setdefault(
                    name,
                    {"id": f"iitem_{name}", "needs": {}, "levels": dict(at)},
                )
                item["needs"][variant["id"]] = needed
        self.variants[variant["id"]] = variant
        return str(variant["id"])

    def inventory_of(self, variant_id: str) -> list[dict[str, Any]]:
        """The variant's inventory items as the API shows them."""
        return [
            {
                "inventory_item_id": item["id"],
                "required_quantity": item["needs"][variant_id],
                "inventory": {
                    "id": item["id"],
                    "variants": [{"id": each} for each in item["needs"]],
                    "location_levels": [
                        {
                            "location_id": place,
                            "stocked_quantity": count,
                            "reserved_quantity": self.taken(item["id"], place),
                        }
                        for place, count in item["levels"].items()
                    ],
                },
            }
            for item in self.items.values()
            if variant_id in item["needs"]
        ]

    def taken(self, item: str, place: str) -> int:
        rows = self.reservations.values()
        return sum(r["quantity"] for r in rows if (r["inventory_item_id"], r["location_id"]) == (item, place))

    def reserve(self, line: str, variant_id: str, quantity: int) -> None:
        """Each line is looked at alone: whether one location has enough of each item."""
        for item in self.items.values():
            if variant_id not in item["needs"]:
                continue
            wanted = item["needs"][variant_id] * quantity
            fits = [place for place, free in self.free(item).items() if free >= wanted]
            if not fits and self.checks:
                raise Refusal(f"Not enough stock available for item {item['id']} at location sloc_1", "not_allowed")
            self.hold(item["id"], (fits or [*item["levels"]])[0], wanted, line)

    def hold(self, item: str, place: str, quantity: int, line: str = "somebody's") -> None:
        row = {"inventory_item_id": item, "location_id": place, "quantity": quantity, "line_item_id": line}
        made = self.new_id("resitem")
        self.reservations[made] = {"id": made, **row}

    def price(self, variant_id: str) -> float | None:
        prices = self.variants[variant_id]["prices"]
        return self.sales.get(variant_id, prices[0]["amount"] if prices else None)

    # Carts and orders -----------------------------------------------------------------------------------------

    def new_cart(self, sent: Mapping[str, Any]) -> dict[str, Any]:
        items = []
        for line in sent.get("items") or ():
            variant = self.variants.get(line["variant_id"])
            if variant is None or variant["product"]["status"] != "published":
                raise Refusal(
                    f"Variants {line['variant_id']} do not exist or belong to a product that is not published"
                )
            price = self.price(variant["id"])
            if price is None:
                raise Refusal(f"Variants with IDs {variant['id']} do not have a price")
            if variant["manage_inventory"] and self.checks and self.available(variant["id"]) < line["quantity"]:
                said = "Some variant does not have the required inventory"
                raise Refusal(said, "not_allowed", "insufficient_inventory")
            items.append(
                {
                    "id": self.new_id("cali"),
                    "variant_id": variant["id"],
                    "quantity": line["quantity"],
                    "total": round(price * line["quantity"], 4),
                    "subtotal": price * line["quantity"] / (1 + self.tax / 100),
                }
            )
        made = {
            "id": self.new_id("cart"),
            "currency_code": self.currency,
            "email": sent["email"],
            "metadata": dict(sent.get("metadata") or {}),
            "completed_at": None,
            "items": items,
            "shipping": None,
            "session": None,
            "order": None,
        }
        self.carts[made["id"]] = made
        return made

    def available(self, variant_id: str) -> int:
        """All locations of the channel together, as the cart looks at it."""
        needed = [(item["needs"][variant_id], item) for item in self.items.values() if variant_id in item["needs"]]
        return min((sum(self.free(item).values()) // each for each, item in needed), default=0)

    def free(self, item: Mapping[str, Any]) -> dict[str, int]:
        """Location of the channel -> how many of an item are not reserved there."""
        own = {place: count for place, count in item["levels"].items() if place in self.locations}
        return {place: count - self.taken(item["id"], place) for place, count in own.items()}

    def complete(self, cart: dict[str, Any]) -> dict[str, Any]:
        """The order that a cart becomes; again the same one."""
        if cart["order"] is not None:
            return self.orders[cart["order"]]
        if not cart["items"]:
            raise Refusal("Cannot complete a cart with no items")
        if cart["session"] is None:
            raise Refusal("Payment collection has not been initiated for cart")
        if cart["shipping"] is None:
            raise Refusal("No shipping method selected but the cart contains items that require shipping.")
        lines = [
            {**item, "id": self.new_id("ordli"), "variant_sku": self.variants[item["variant_id"]]["sku"]}
            for item in cart["items"]
        ]
        before = dict(self.reservations)
        try:
            for line in lines:
                if self.variants[line["variant_id"]]["manage_inventory"]:
                    self.reserve(line["id"], line["variant_id"], line["quantity"])
        except Refusal:
            self.reservations = before
            raise
        at = now()
        order = {
            "id": self.new_id("order"),
            "status": "pending",
            "email": cart["email"],
            "metadata": dict(cart["metadata"]),
            "created_at": at,
            "updated_at": at,
            "canceled_at": None,
            "items": lines,
            "fulfillments": [],
        }
        self.orders[order["id"]] = order
        cart["order"], cart["completed_at"] = order["id"], at
        return order

    def cancel(self, order: dict[str, Any]) -> None:
        if order["status"] == "canceled":
            raise Refusal(f"Order with id {order['id']} has been canceled.")
        if any(not each["canceled_at"] for each in order["fulfillments"]):
            raise Refusal("All fulfillments must be canceled before canceling an order", "not_allowed")
        lines = {line["id"] for line in order["items"]}
        self.reservations = {i: r for i, r in self.reservations.items() if r["line_item_id"] not in lines}
        order.update(status="canceled", canceled_at=None, updated_at=now())


_last = [clock.now()]


def now() -> str:
    """The time as Medusa writes it; later than any told before."""
    moment = max(clock.now(), _last[0] + timedelta(milliseconds=1))
    _last[0] = moment
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
