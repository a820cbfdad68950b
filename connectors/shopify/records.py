"""What Shopify's products mean to us: which variants are for sale, by which SKU each is known, and the flat record that
the manifest maps. Pure.

A variant is known by its SKU unless another variant on sale has the same one or it has none: then by `#` and its id.
Copies that are not on sale (duplicating a product copies its SKUs) take nobody's SKU away."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from hub.kernel.types import gtin14

_GID = re.compile(r"gid://shopify/[A-Za-z]+/(\d+)")
_DIGITS = re.compile(r"\d{1,25}")
_ON_SALE = frozenset({"ACTIVE", "UNLISTED"})  # unlisted: sold, but not found by shoppers
NO_CHOICE = "Default Title"  # the only variant of a product that has no options


def number(raw: Any) -> str | None:
    """The number of a global id, or a number that stands by itself; as text, whatever its size."""
    if isinstance(raw, int) and not isinstance(raw, bool):
        return str(raw)
    if not isinstance(raw, str):
        return None
    found = _GID.match(raw)
    return found.group(1) if found else raw if _DIGITS.fullmatch(raw) else None


def sku_of(variant: Mapping[str, Any]) -> str:
    """The variant's own SKU, empty when it has none that can be kept."""
    sku = variant.get("sku")
    text = sku.strip() if isinstance(sku, str) else ""
    return "" if len(text) > 128 or "\x00" in text or text.startswith("#") else text


def on_sale(product: Any, *, published_only: bool) -> bool:
    """Whether the shop sells this product; a status that nobody knows is none."""
    if not isinstance(product, Mapping) or str(product.get("status")).upper() not in _ON_SALE:
        return False
    return bool(product.get("publishedAt")) or not published_only


class Skus:
    """Who on sale has which SKU."""

    def __init__(self) -> None:
        self._holders: dict[str, str | None] = {}  # SKU -> the id of its holder; None: there are several

    def add(self, variant: Mapping[str, Any]) -> None:
        """Note a variant that is on sale."""
        sku, own = sku_of(variant), number(variant.get("id"))
        if sku and self._holders.setdefault(sku, own) != own:
            self._holders[sku] = None

    def name(self, variant: Mapping[str, Any]) -> str:
        """By what the variant is known: its SKU, unless another one on sale has it."""
        sku, own = sku_of(variant), number(variant.get("id"))
        return sku if sku and self._holders.get(sku, own) == own else f"#{own}"


class Levels:
    """What a file of stock says of its variants, gathered before its figures are read."""

    def __init__(self, *, published_only: bool) -> None:
        self.skus = Skus()
        self._published_only = published_only
        self._variants: dict[str, dict[str, Any]] = {}  # variants on sale, by their number
        self._by_item: dict[str, list[str]] = {}  # inventory item -> the variants that share it
        self._placed: set[str] = set()  # variants that have a level somewhere

    def note(self, line: Any) -> None:
        """Look at one line of the file."""
        if not isinstance(line, dict):
            return
        if "__parentId" in line:
            self._placed.update(self._owners(line))
            return
        own, item = number(line.get("id")), line.get("inventoryItem")
        if own is None or not on_sale(line.get("product"), published_only=self._published_only):
            return
        self.skus.add(line)
        held = number(item.get("id")) if isinstance(item, dict) else None
        self._variants[own] = {
            "id": own,
            "sku": line.get("sku"),
            "tracked": not item or item.get("tracked") is not False,
        }
        if held is not None:
            self._by_item.setdefault(held, []).append(own)
            self._variants[own]["item"] = held

    def _owners(self, line: Mapping[str, Any]) -> list[str]:
        """The variants that a level belongs to: the parent that it names, or all that share its inventory item."""
        parent = str(line.get("__parentId"))
        if parent.startswith("gid://shopify/ProductVariant/"):
            return [own] if (own := number(parent)) in self._variants and own is not None else []
        item = line.get("item")
        held = number(item.get("id")) if isinstance(item, dict) else number(parent)
        return self._by_item.get(held or "", [])

    def figures(self, line: Any, selling: frozenset[str]) -> Iterator[dict[str, Any]]:
        """The records of stock in one line. `selling` names the locations that sell to us; empty: those that fulfil
        online orders. Elsewhere there is nothing for us."""
        if not isinstance(line, dict):
            yield {}
            return
        if "__parentId" not in line:
            own = number(line.get("id"))
            if own in self._variants and own not in self._placed and not self._variants[own]["tracked"]:
                yield {"_sku": self.skus.name(self._variants[own]), "_level": "in_stock", "_location": ""}
            return
        for own in self._owners(line):
            variant = self._variants[own]
            place = line.get("location")
            where = number(place.get("id")) if isinstance(place, dict) else None
            record: dict[str, Any] = {"_sku": self.skus.name(variant), "_location": where}
            shared = len(self._by_item.get(variant.get("item", ""), ())) > 1
            count = _available(line)
            if where is None:
                record = {"_sku": record["_sku"], "line": line}
            elif not _sells(where, place, selling):
                record["_count"] = 0
            elif not variant["tracked"]:
                record["_level"] = "in_stock"
            elif shared and isinstance(count, int):  # one unit must not be counted once a variant
                record["_level"] = "in_stock" if count > 0 else "out"
            else:
                record["_count"] = count
            yield record


def _sells(where: str, place: Any, selling: frozenset[str]) -> bool:
    if place.get("isActive") is False:
        return False
    return where in selling if selling else place.get("fulfillsOnlineOrders") is not False


def _available(line: Mapping[str, Any]) -> Any:
    quantities = line.get("quantities")
    for quantity in quantities if isinstance(quantities, list) else ():
        if isinstance(quantity, dict) and quantity.get("name") == "available":
            return quantity.get("quantity")
    return None


def record_of(
    variant: Mapping[str, Any], product: Mapping[str, Any], name: str, config: Mapping[str, Any], *, active: bool
) -> dict[str, Any]:
    """The flat record of one variant."""
    item, media = variant.get("inventoryItem"), product.get("featuredMedia")
    preview = media.get("preview") if isinstance(media, dict) else None
    image = preview.get("image") if isinstance(preview, dict) else None
    category = product.get("category")
    choice = variant.get("title")
    title = product.get("title")
    if isinstance(title, str) and isinstance(choice, str) and choice not in ("", NO_CHOICE):
        title = f"{title} - {choice}"
    ships = item.get("requiresShipping") if isinstance(item, dict) else None
    return {
        "_sku": name,
        "_id": number(variant.get("id")),
        "_product": number(product.get("id")),
        "_title": title,
        "_brand": product.get("vendor"),
        "_category": product.get("productType") or (category.get("name") if isinstance(category, dict) else None),
        "_gtin": _gtin(variant.get("barcode")),
        "_price": variant.get("price"),
        "_mode": config["unshipped"] if ships is False and config["unshipped"] != "leave_out" else config["mode"],
        "_image": image.get("url") if isinstance(image, dict) else None,
        "_url": product.get("onlineStoreUrl"),
        "_description": product.get("description"),
        "_options": _options(variant),
        "_active": active,
    }


def not_sold_here(
    variant: Mapping[str, Any], product: Mapping[str, Any], config: Mapping[str, Any]
) -> tuple[str, str] | None:
    """Why a variant on sale cannot be sold through the hub, and the field that says so; None when it can."""
    item = variant.get("inventoryItem")
    if product.get("isGiftCard") is True:
        return "a gift card of the shop is money, not goods", "/isGiftCard"
    if product.get("requiresSellingPlan") is True:
        return "it is sold by subscription only", "/requiresSellingPlan"
    if variant.get("requiresComponents") is True:
        return "a bundle is put together at the shop's own checkout", "/requiresComponents"
    if isinstance(item, dict) and item.get("requiresShipping") is False and config["unshipped"] == "leave_out":
        return "it is not shipped; the setting 'unshipped' says how such things are delivered", "/requiresShipping"
    return None


def _gtin(barcode: Any) -> str | None:
    """The barcode when it is a GTIN; any other is the shop's own business."""
    try:
        return gtin14(barcode) if isinstance(barcode, str) else None
    except ValueError:
        return None


def _options(variant: Mapping[str, Any]) -> dict[str, str]:
    chosen = variant.get("selectedOptions")
    return {
        str(option["name"]): str(option["value"])
        for option in (chosen if isinstance(chosen, list) else ())
        if isinstance(option, dict) and option.get("name") and option.get("value") and option["value"] != NO_CHOICE
    }
