"""What a Vendure server keeps, for the stand-in: variants at stock locations, orders with their states, the ledger of
stock movements beside a counter that can lose changes. Shapes are those of recorded answers."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from typing import Any

from hub.kernel import clock

PLACED = frozenset(
    {"PaymentAuthorized", "PaymentSettled", "PartiallyShipped", "Shipped", "PartiallyDelivered", "Delivered"}
)


@dataclass
class World:
    """The shop's state. `tax` is the rate in percent that is inside of the prices given here, which are minor units."""

    currency: str = "CNY"
    tax: int = 13
    tracks: bool = True
    threshold: int = 0
    settles: bool = True  # a payment is settled at once; otherwise it is authorized
    declines: bool = False
    loses_counts: bool = False  # orders cross: the counter of what is allocated does not move
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)
    products: dict[str, dict[str, Any]] = field(default_factory=dict)
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    movements: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    ids: Iterable[int] = field(default_factory=lambda: itertools.count(1))

    def new_id(self) -> str:
        return str(next(iter(self.ids)))

    def add(self, product: Mapping[str, Any]) -> list[str]:
        """Put a product on sale: name and, as wished, name_en, description, enabled, brand, category, collections and
        variants: {sku, price, name, name_en, stock (a count, counts by location, None: not counted), options, enabled,
        threshold, fields}. Returns the variants' ids."""
        names = {"zh": product["name"], "en": product.get("name_en")}
        made = {
            "id": self.new_id(),
            "name": product["name"],
            "enabled": product.get("enabled", True),
            "description": product.get("description", ""),
            "translations": _translations(names),
            "facetValues": [
                {"code": value.lower(), "name": value, "facet": {"code": code}}
                for code in ("brand", "category")
                if (value := product.get(code))
            ],
            "collections": [{"name": name} for name in product.get("collections", ())],
            "featuredAsset": None,
            "updatedAt": now(),
        }
        self.products[made["id"]] = made
        return [self._variant(made, names, variant) for variant in product.get("variants") or ()]

    def _variant(self, product: dict[str, Any], names: Mapping[str, Any], given: Mapping[str, Any]) -> str:
        stock = given.get("stock", 0)
        at = stock if isinstance(stock, Mapping) else {"1": stock or 0}
        variant = {
            "id": self.new_id(),
            "sku": given.get("sku", ""),
            "name": given.get("name", names["zh"]),
            "enabled": given.get("enabled", True),
            "price": round(given["price"] * 100 / (100 + self.tax)),
            "priceWithTax": given["price"],
            "currencyCode": self.currency,
            "translations": _translations(
                {"zh": given.get("name", names["zh"]), "en": given.get("name_en", names["en"])}
            ),
            "options": [
                {"code": "o", "name": name, "group": {"name": group, "code": "g"}}
                for group, name in given.get("options", {}).items()
            ],
            "facetValues": [],
            "featuredAsset": None,
            "customFields": dict(given.get("fields", {})),
            "trackInventory": "FALSE" if stock is None else "INHERIT",
            "outOfStockThreshold": given.get("threshold", 0),
            "useGlobalOutOfStockThreshold": "threshold" not in given,
            "stockLevels": [
                {"stockLocationId": location, "stockOnHand": count, "stockAllocated": 0}
                for location, count in at.items()
            ],
            "product": product,
            "updatedAt": now(),
        }
        self.variants[variant["id"]] = variant
        self.movements[variant["id"]] = [self._movement("ADJUSTMENT", count, now()) for count in at.values() if count]
        return str(variant["id"])

    # Stock ----------------------------------------------------------------------------------------------------

    def counted(self, variant: Mapping[str, Any]) -> bool:
        return self.tracks if variant["trackInventory"] == "INHERIT" else variant["trackInventory"] == "TRUE"

    def kept_back(self, variant: Mapping[str, Any]) -> int:
        return int(self.threshold if variant["useGlobalOutOfStockThreshold"] else variant["outOfStockThreshold"])

    def saleable(self, variant: Mapping[str, Any]) -> int:
        if not self.counted(variant):
            return 10**9
        free = sum(level["stockOnHand"] - level["stockAllocated"] for level in variant["stockLevels"])
        return int(free - self.kept_back(variant))

    def allocate(self, variant: dict[str, Any], quantity: int, at: str) -> None:
        """Take what is there, location by location; what is not there is not taken, and nobody is told."""
        for level in variant["stockLevels"]:
            free = level["stockOnHand"] - level["stockAllocated"] - self.kept_back(variant)
            taken = min(quantity, free if self.counted(variant) else quantity)
            if taken <= 0:
                continue
            quantity -= taken
            self.movements[variant["id"]].append(self._movement("ALLOCATION", taken, at))
            if self.counted(variant) and not self.loses_counts:
                level["stockAllocated"] += taken

    def release(self, variant: dict[str, Any], quantity: int) -> None:
        """Give back what was allocated."""
        self.movements[variant["id"]].append(self._movement("RELEASE", quantity, now()))
        if self.counted(variant) and not self.loses_counts:
            variant["stockLevels"][0]["stockAllocated"] -= quantity

    def really_left(self, variant_id: str) -> int:
        """What is not sold, by the ledger."""
        signs = {"ALLOCATION": -1, "RELEASE": 1}
        on_hand = sum(level["stockOnHand"] for level in self.variants[variant_id]["stockLevels"])
        return int(on_hand + sum(signs.get(m["type"], 0) * m["quantity"] for m in self.movements[variant_id]))

    def _movement(self, kind: str, quantity: int, at: str) -> dict[str, Any]:
        return {"id": self.new_id(), "type": kind, "quantity": quantity, "createdAt": at}

    # Orders ---------------------------------------------------------------------------------------------------

    def new_order(self) -> dict[str, Any]:
        number = self.new_id()
        order: dict[str, Any] = {
            "id": number,
            "code": f"ORDER{int(number):011d}",
            "state": "AddingItems",
            "createdAt": now(),
            "updatedAt": now(),
            "orderPlacedAt": None,
            "currencyCode": self.currency,
            "billingAddress": {"company": None},
            "shippingAddress": {},
            "customFields": {},
            "customer": None,
            "shippingLines": [],
            "payments": [],
            "fulfillments": [],
            "lines": [],
            "history": [],
            "allocated": {},
        }
        self.orders[order["code"]] = order
        return order

    def move(self, order: dict[str, Any], state: str, at: str | None = None) -> None:
        entry = {"createdAt": at or now(), "data": {"from": order["state"], "to": state}}
        order["history"].insert(0, entry)
        order["state"] = state

    def pay(self, order: dict[str, Any], method: str, metadata: Any) -> None:
        at = now()
        state = "Settled" if self.settles else "Authorized"
        order["payments"].append({"state": state, "createdAt": at, "method": method, "metadata": metadata})
        self.move(order, f"Payment{state}", at)
        order["orderPlacedAt"] = at
        for line in order["lines"]:
            variant = self.variants[line["variant"]]
            before = len(self.movements[variant["id"]])
            self.allocate(variant, line["quantity"], at)
            taken = sum(m["quantity"] for m in self.movements[variant["id"]][before:])
            order["allocated"][line["variant"]] = order["allocated"].get(line["variant"], 0) + taken

    def cancel(self, order: dict[str, Any]) -> None:
        for variant, quantity in order["allocated"].items():
            if quantity:
                self.release(self.variants[variant], quantity)
        order["allocated"] = {}
        for line in order["lines"]:
            line["quantity"] = 0 if order["state"] in PLACED else line["quantity"]
        self.move(order, "Cancelled")

    def total(self, order: Mapping[str, Any], name: str) -> int:
        return int(sum(self.variants[line["variant"]][name] * line["quantity"] for line in order["lines"]))


_last = [clock.now()]


def now() -> str:
    """The time as Vendure writes it; later than any told before, as transactions of their own have it."""
    moment = max(clock.now(), _last[0] + timedelta(milliseconds=1))
    _last[0] = moment
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _translations(names: Mapping[str, Any]) -> list[dict[str, str]]:
    return [{"languageCode": language, "name": name} for language, name in names.items() if name]
