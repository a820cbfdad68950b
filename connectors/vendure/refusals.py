"""Why a Vendure shop cannot fill an order, before it is asked to. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from connectors.contracts import PoLine, Receipt, ReceiptStatus
from connectors.vendure import shelf
from hub.kernel.errors import Misconfigured

_UUID7 = re.compile(r"([0-9a-f]{12})7[0-9a-f]{19}$")


class No(Exception):
    """The shop will not sell this; `short` are the SKUs of which it has not enough."""

    def __init__(self, reason: str, short: Sequence[str] = ()) -> None:
        super().__init__(reason)
        self.short = tuple(short)

    def receipt(self) -> Receipt:
        """As the vendor's answer."""
        return Receipt(
            status=ReceiptStatus.REFUSED,
            reason=str(self)[:500],
            out_of_stock=bool(self.short),
            out_of_stock_skus=self.short,
        )


def refused_for(
    lines: Sequence[PoLine],
    variants: Mapping[str, Mapping[str, Any]],
    rules: shelf.Rules,
    price: Callable[[Mapping[str, Any]], Decimal | None],
    drift: Callable[[str], int],
) -> None:
    """Raises No for lines that the shop cannot fill, Misconfigured when it sells in another currency."""
    missing = sorted({line.vendor_sku for line in lines if line.vendor_sku not in variants})
    if missing:
        raise No(f"the shop has no {', '.join(missing)}")
    shut = sorted({line.vendor_sku for line in lines if not _for_sale(variants[line.vendor_sku])})
    if shut:
        raise No(f"the shop does not sell {', '.join(shut)} now")
    currencies = {str(variants[line.vendor_sku].get("currencyCode")) for line in lines}
    if currencies != {line.currency for line in lines}:
        raise Misconfigured(f"the channel sells in {', '.join(sorted(currencies))}", code="wrong_currency")
    short = short_of(lines, variants, rules, drift)
    if short:
        raise No(f"the shop has not enough of {', '.join(short)}", short)
    dearer = sorted(
        {
            line.vendor_sku
            for line in lines
            if (asked := price(variants[line.vendor_sku])) is None or asked > line.unit_price
        }
    )
    if dearer:
        raise No(f"the shop now asks more than agreed for {', '.join(dearer)}")


def short_of(
    lines: Sequence[PoLine],
    variants: Mapping[str, Mapping[str, Any]],
    rules: shelf.Rules,
    drift: Callable[[str], int],
) -> tuple[str, ...]:
    """The SKUs of which the shop has less than the lines want together; `drift` says how many more than its counter
    tells are allocated."""
    wanted: dict[str, int] = {}
    for line in lines:
        wanted[line.vendor_sku] = wanted.get(line.vendor_sku, 0) + line.quantity
    return tuple(
        sorted(
            sku
            for sku, quantity in wanted.items()
            if sku in variants
            and shelf.counted(variants[sku], rules)
            and shelf.available(variants[sku], rules) - drift(str(variants[sku].get("id"))) < quantity
        )
    )


def made_at(key: str) -> datetime | None:
    """When our order number was made, if it ends in a time-ordered UUID (version 7)."""
    found = _UUID7.search(key.lower().replace("-", ""))
    if found is None:
        return None
    return datetime.fromtimestamp(int(found.group(1), 16) / 1000, UTC)


def _for_sale(variant: Mapping[str, Any]) -> bool:
    product = variant.get("product")
    shut = isinstance(product, Mapping) and product.get("enabled") is False
    return variant.get("enabled") is not False and not shut
