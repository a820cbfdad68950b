"""From Kroger's products to one flat record for each item, for the manifest's map. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

_ITEM_FIELDS = frozenset({"itemId", "inventory", "favorite", "fulfillment", "price", "nationalPrice", "size", "soldBy"})
_SIZES = ("large", "xlarge", "medium", "small", "thumbnail")
_NO_PRICE = "Kroger gives no price for it here: it is seasonal, or not sold in this store now"


class Refused(NamedTuple):
    """An item that cannot be used, and why."""

    reason: str
    pointer: str = ""
    sku: str | None = None


def items_of(product: Mapping[str, Any], *, site: str, computes_gtin: bool) -> Iterator[dict[str, Any] | Refused]:
    """The items of a product: mostly one, which has the product's number."""
    number = _text(product.get("productId")) or _text(product.get("upc"))
    items = product.get("items")
    if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
        yield Refused("the product has no items", "/items", number)
        return
    for item in items:
        sku = _text(item.get("itemId")) or (number if len(items) == 1 else None)
        if sku is None:
            yield Refused("neither itemId nor productId tells this item from others", "/items/itemId", number)
            continue
        price = price_of(item.get("price"))
        if isinstance(price, str):
            yield Refused(price, "/items/price", sku)
            continue
        paid, regular = price
        ways = fulfilment(item.get("fulfillment"))
        said = {
            "upc": _text(product.get("upc")) or sku,
            "regular_price": str(regular) if regular is not None and regular != paid else None,
            "sold_by": _text(item.get("soldBy")),
            "fulfilment": ", ".join(way for way, has in ways.items() if has),
            "country_of_origin": _text(product.get("countryOrigin")),
            "storage": _text(_in(product.get("temperature"), "indicator")),
            "age_restriction": "yes" if product.get("ageRestriction") is True else None,
            "alcohol": "yes" if product.get("alcohol") is True else None,
        }
        yield {
            **product,
            **{f"items.{key}": value for key, value in item.items() if key not in _ITEM_FIELDS},  # these are drift
            "_sku": sku,
            "_family": number if len(items) > 1 or sku != number else None,
            "_gtin": gtin_of(said["upc"] or "") if computes_gtin else None,
            "_price": str(paid),
            "_size": _text(item.get("size")),
            "_stock": _in(item.get("inventory"), "stockLevel"),
            "_image": image_of(product.get("images")),
            "_url": url_of(site, product.get("productPageURI")),
            "_attributes": {name: value for name, value in said.items() if value},
            "_active": not ways or any(ways.values()),
        }


def price_of(raw: Any) -> tuple[Decimal, Decimal | None] | str:
    """(what anybody pays now, the regular price), or why there is none. A promotion of 0 is none."""
    if not isinstance(raw, dict):
        return _NO_PRICE
    amounts: list[Decimal | None] = []
    for name in ("regular", "promo"):
        given = raw.get(name)
        try:
            amount = None if given is None or given == "" else _amount(given)
        except (InvalidOperation, ValueError):
            return f"{name}: {str(given)[:40]!r} is no amount"
        if amount is not None and amount < 0:
            return f"{name}: an amount below nothing"
        amounts.append(amount or None)
    regular, promo = amounts
    if promo is None:
        return (regular, regular) if regular is not None else _NO_PRICE
    if regular is not None and promo > regular:
        return f"the promotion ({promo}) is dearer than the regular price ({regular})"
    return promo, regular


def _amount(given: Any) -> Decimal:
    if isinstance(given, bool) or not isinstance(given, str | int | float):
        raise ValueError("not an amount")
    amount = Decimal(str(given).strip())
    if not amount.is_finite():
        raise ValueError("not an amount")
    return amount


def fulfilment(raw: Any) -> dict[str, bool]:
    """How the item can be had, as far as Kroger says; in lower case, as some answers write them otherwise."""
    if not isinstance(raw, dict):
        return {}
    return {str(way).lower(): has for way, has in sorted(raw.items()) if isinstance(has, bool)}


def image_of(raw: Any) -> str | None:
    """The front, or the picture that Kroger shows first."""
    images = [image for image in raw if isinstance(image, dict)] if isinstance(raw, list) else []
    images.sort(key=lambda image: (image.get("perspective") != "front", image.get("default") is not True))
    for image in images:
        sizes = image.get("sizes")
        urls = {
            str(size.get("size")).lower(): size["url"]
            for size in (sizes if isinstance(sizes, list) else ())
            if isinstance(size, dict) and _text(size.get("url"))
        }
        found = next((urls[size] for size in _SIZES if size in urls), next(iter(urls.values()), None))
        if found is not None:
            return str(found)
    return None


def url_of(site: str, raw: Any) -> str | None:
    """The product's page, without what Kroger appends to count its visitors."""
    path = _text(raw)
    if path is None or not path.startswith("/") or path.startswith("//"):
        return None
    return site.rstrip("/") + path.partition("?")[0]


def gtin_of(upc: str) -> str | None:
    """The GTIN of a 13-digit UPC without check digit: the digit is added. None for what is no GTIN: numbers of loose
    produce, and those that stores give out themselves (number systems 2 and 4)."""
    if len(upc) != 13 or not upc.isascii() or not upc.isdigit():
        return None
    if upc.startswith(("00000000", "002", "004")):
        return None
    total = sum(int(digit) * (3 if n % 2 == 0 else 1) for n, digit in enumerate(reversed(upc)))
    return f"{upc}{-total % 10}"


def _in(raw: Any, name: str) -> Any:
    return raw.get(name) if isinstance(raw, dict) else None


def _text(raw: Any) -> str | None:
    if isinstance(raw, bool) or not isinstance(raw, str | int):
        return None
    return str(raw).strip() or None
