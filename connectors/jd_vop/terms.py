"""What is checked before JD is asked to hold an order, and what it took afterwards. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from connectors.contracts import PurchaseOrder
from connectors.jd_vop.goods import Price
from connectors.jd_vop.vop import amount, digits, member, number

_MOST_LINES = 100  # older documents say 50
_EXTRAS = frozenset({1, 2})  # an accessory or a gift that JD adds


def unsendable(po: PurchaseOrder, key: str) -> str | None:
    """What JD's form has no room for, or None. An address is never cut short."""
    to = po.ship_to
    lengths = {"order number": (key, 100), "name": (to.name, 20), "address": (to.address, 100), "phone": (to.phone, 20)}
    for what, (text, most) in lengths.items():
        if not text.strip() or len(text) > most:
            return f"JD takes a consignee's {what} of 1 to {most} characters, not of {len(text.strip())}"
    strange = sorted({line.vendor_sku for line in po.lines if digits(line.vendor_sku) != line.vendor_sku})
    if strange:
        return f"{', '.join(strange)[:200]} is no SKU of JD"
    if any(line.currency != "CNY" for line in po.lines):
        return "JD sells in CNY"
    if len({line.vendor_sku for line in po.lines}) > _MOST_LINES:
        return f"JD takes at most {_MOST_LINES} SKUs in an order"
    return None


def summed(po: PurchaseOrder) -> tuple[dict[str, int], dict[str, Decimal]]:
    """SKU -> how many, and the least price agreed for it: JD takes one line a SKU."""
    wanted: dict[str, int] = {}
    agreed: dict[str, Decimal] = {}
    for line in po.lines:
        wanted[line.vendor_sku] = wanted.get(line.vendor_sku, 0) + line.quantity
        agreed[line.vendor_sku] = min(line.unit_price, agreed.get(line.vendor_sku, line.unit_price))
    return wanted, agreed


def too_dear(agreed: Mapping[str, Decimal], prices: Mapping[str, Price]) -> str | None:
    """Why these prices cannot be paid, or None."""
    now = {sku: prices[sku].contract if sku in prices else None for sku in agreed}
    without = sorted(sku for sku, price in now.items() if price is None)
    if without:
        return f"JD has no contract price for {', '.join(without)} now"
    dear = sorted(
        f"{sku} ({price} instead of {agreed[sku]})" for sku, price in now.items() if price and price > agreed[sku]
    )
    return f"JD now asks more than agreed for {', '.join(dear)}" if dear else None


def other_than(lines: Sequence[Any], wanted: Mapping[str, int], agreed: Mapping[str, Decimal]) -> str | None:
    """How what JD took differs from what was ordered, or None. Accessories and gifts that it adds do not count."""
    got: dict[str, int] = {}
    for line in lines:
        if not isinstance(line, dict) or number(member(line, "type")) in _EXTRAS:
            continue
        sku, price = digits(member(line, "skuId")) or "?", amount(member(line, "price"))
        got[sku] = got.get(sku, 0) + (number(member(line, "num")) or 0)
        if price is None or price > agreed.get(sku, price):
            return f"JD took {sku} for {price} instead of {agreed.get(sku)}"
    return None if got == dict(wanted) else f"JD took {got} instead of {dict(wanted)}"
