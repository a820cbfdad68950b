"""The goods of an order as the shop has them now: which variant a line means, whether it may be ordered, and whether
more of it was sold than there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from connectors.contracts import PoLine, Receipt, ReceiptStatus
from connectors.shopify.documents import VARIANTS_BY_ID, VARIANTS_BY_SKU
from connectors.shopify.graphql import field, following, nodes, quoted
from connectors.shopify.pulling import PullsShop
from connectors.shopify.records import not_sold_here, number, on_sale, sku_of

_AT_ONCE = 40


@dataclass(frozen=True, slots=True)
class Sold:
    """A variant as the shop has it now. `rivals`: how many variants on sale share the SKU that was asked for."""

    id: str
    variant: Mapping[str, Any]
    rivals: int = 1

    @property
    def counted(self) -> bool:
        """Whether the shop counts it."""
        item = self.variant.get("inventoryItem")
        return not isinstance(item, dict) or item.get("tracked") is not False

    @property
    def left(self) -> int | None:
        """How many the shop would still sell online, if it says."""
        quantity = self.variant.get("sellableOnlineQuantity")
        return quantity if isinstance(quantity, int) and not isinstance(quantity, bool) else None

    @property
    def sells_without(self) -> bool:
        """Whether the shop sells it even when there is none."""
        return self.variant.get("inventoryPolicy") != "DENY"


class SoldGoods(PullsShop):
    """Looks up variants by what we call them."""

    async def sold(self, lines: Sequence[PoLine]) -> dict[int, Sold]:
        """Line number -> the variant that it means, for those that the shop has. Raises Misconfigured when the shop
        sells in another currency."""
        by_id = {line.line_no: own for line in lines if (own := _id_of(line)) is not None}
        held = await self._by_ids(sorted(set(by_id.values())))
        # a variant that was deleted and made anew has another id and may have its SKU again
        loose = [line for line in lines if by_id.get(line.line_no) not in held]
        by_sku = await self._by_skus(sorted({line.vendor_sku for line in loose if line.vendor_sku[:1] != "#"}))
        found: dict[int, Sold] = {}
        for line in lines:
            own = by_id.get(line.line_no)
            if own is not None and own in held:
                found[line.line_no] = Sold(own, held[own])
                continue
            candidates = by_sku.get(line.vendor_sku, [])
            selling = [v for v in candidates if on_sale(v.get("product"), published_only=self.published_only)]
            for variant in (selling or candidates)[:1]:
                found[line.line_no] = Sold(number(variant.get("id")) or "", variant, max(1, len(selling)))
        return found

    async def oversold(self, ordered: Mapping[str, int]) -> tuple[str, ...]:
        """The names of those of these variants of which more was sold than there is. The shop itself keeps count of
        what it sells only while it has some; only the others are looked at."""
        short = []
        for own, variant in (await self._by_ids(sorted(ordered))).items():
            goods = Sold(own, variant)
            counts = (goods.left, variant.get("inventoryQuantity"))
            if goods.counted and goods.sells_without and any(isinstance(n, int) and n < 0 for n in counts):
                short.append(sku_of(variant) or f"#{own}")
        return tuple(sorted(short))

    async def names_of(self, ordered: Mapping[str, int]) -> tuple[str, ...]:
        """By what these variants are known."""
        held = await self._by_ids(sorted(ordered))
        return tuple(sorted(sku_of(variant) or f"#{own}" for own, variant in held.items()))

    async def _by_ids(self, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        found: dict[str, Mapping[str, Any]] = {}
        for start in range(0, len(ids), 100):
            gids = [f"gid://shopify/ProductVariant/{own}" for own in ids[start : start + 100]]
            data = (await self.ask(VARIANTS_BY_ID, {"ids": gids})).data
            self.check_currency(data)
            for variant in nodes(data):
                own = number(variant.get("id")) if isinstance(variant, dict) else None
                if own is not None:
                    found[own] = variant
        return found

    async def _by_skus(self, skus: Sequence[str]) -> dict[str, list[Mapping[str, Any]]]:
        found: dict[str, list[Mapping[str, Any]]] = {}
        for start in range(0, len(skus), _AT_ONCE):
            query = " OR ".join(f"sku:{quoted(sku)}" for sku in skus[start : start + _AT_ONCE])
            after: str | None = None
            while True:
                data = (await self.ask(VARIANTS_BY_SKU, {"query": query, "after": after})).data
                self.check_currency(data)
                connection = field(data, "productVariants")
                for variant in nodes(connection):
                    if isinstance(variant, dict):  # under its exact SKU: a search finds more than was meant
                        found.setdefault(sku_of(variant), []).append(variant)
                after = following(connection)
                if after is None:
                    break
        return found


def _id_of(line: PoLine) -> str | None:
    """The variant's own id, where the line gives it."""
    if line.vendor_ref and line.vendor_ref.isdigit():
        return line.vendor_ref
    return number(line.vendor_sku[1:]) if line.vendor_sku.startswith("#") else None


def wanted_by_variant(lines: Sequence[PoLine], goods: Mapping[int, Sold]) -> dict[str, int]:
    """Variant -> how many these lines want of it; lines of the same variant add up."""
    wanted: dict[str, int] = {}
    for line in lines:
        own = goods[line.line_no].id
        wanted[own] = wanted.get(own, 0) + line.quantity
    return wanted


def refused_for(lines: Sequence[PoLine], goods: Mapping[int, Sold], config: Mapping[str, Any]) -> Receipt | None:
    """Why the shop cannot fill these lines, or None. Pure."""
    missing = sorted({line.vendor_sku for line in lines if line.line_no not in goods})
    if missing:
        return _no(f"the shop has no {', '.join(missing)}")
    wanted = wanted_by_variant(lines, goods)
    short: list[str] = []
    for line in lines:
        sold, sku = goods[line.line_no], line.vendor_sku
        product = sold.variant.get("product")
        if sold.rivals > 1:
            return _no(f"{sold.rivals} variants of the shop have the SKU {sku}")
        if not on_sale(product, published_only=bool(config["published_only"])):
            return _no(f"the shop does not sell {sku} now")
        why = not_sold_here(sold.variant, product if isinstance(product, dict) else {}, config)
        if why is not None:
            return _no(f"{sku} cannot be ordered here: {why[0]}")
        if line.currency != config["currency"]:
            return _no(f"the shop sells in {config['currency']}, not in {line.currency}")
        price = _amount(sold.variant.get("price"))
        if price is None or price > line.unit_price:
            return _no(f"the shop asks more for {sku} than agreed ({price} instead of {line.unit_price})")
        if sold.counted and (sold.left is None or sold.left < wanted[sold.id]):
            short.append(sku)
    if short:
        names = tuple(sorted(set(short)))
        return Receipt(
            status=ReceiptStatus.REFUSED,
            reason=f"the shop has not enough of {', '.join(names)}",
            out_of_stock=True,
            out_of_stock_skus=names,
        )
    return None


def _amount(raw: Any) -> Decimal | None:
    try:
        return Decimal(raw) if isinstance(raw, str) else None
    except InvalidOperation:
        return None


def _no(reason: str) -> Receipt:
    return Receipt(status=ReceiptStatus.REFUSED, reason=reason)
