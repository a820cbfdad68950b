"""Filling a cart at a Medusa shop, up to the point where only its completion is missing. Nothing here buys: a cart
whose filling is lost on the way is one of the many that the shop's visitors leave behind."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from connectors.calling import Refused
from connectors.contracts import PoLine, PurchaseOrder
from connectors.medusa import shelf
from connectors.medusa.refusals import No, short_of
from connectors.medusa.talking import Talks, amount, objects
from hub.kernel.errors import Broken, Misconfigured, NotFound

PO_META = "supplyhub_po"
_CART_FIELDS = "id,currency_code,item_total,item_subtotal,items.variant_id,items.quantity,items.total,items.subtotal"
_ROUNDING = Decimal("0.005")  # of calculated taxes, a line


class FillsCarts(Talks):
    """The steps of an order that buy nothing yet."""

    async def on_sale(self, lines: Sequence[PoLine]) -> dict[str, dict[str, Any]]:
        """What the shop has under the lines' SKUs now."""
        skus = sorted({line.vendor_sku for line in lines if not line.vendor_sku.startswith("#")})
        ids = sorted({line.vendor_sku[1:] for line in lines if line.vendor_sku.startswith("#")})
        found: dict[str, dict[str, Any]] = {}
        for name, wanted in (("sku[]", skus), ("id[]", ids)):
            for start in range(0, len(wanted), 50):
                some = wanted[start : start + 50]
                for row in await self.variants_by({name: some}):
                    sku = str(row.get("sku")) if name == "sku[]" else f"#{row.get('id')}"
                    if sku in found:
                        raise No(f"several of the shop's variants share the SKU {sku}")
                    found[sku] = row
        return found

    async def variants_by(self, params: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Variants with their stock and whether they are for sale."""
        asked = {**params, "limit": 100, "fields": f"{shelf.FIELDS},product.id,product.status"}
        return (await self.rows("/admin/product-variants", "variants", asked))[0]

    async def cart(self, po: PurchaseOrder, key: str, variants: Mapping[str, dict[str, Any]]) -> str:
        """The id of a cart with everything but shipping and payment; raises No for what the shop will not sell so."""
        market = await self.market()
        if any(line.currency != market.currency for line in po.lines):
            raise Misconfigured(f"the region sells in {market.currency}", code="wrong_currency")
        wanted: dict[str, int] = {}
        for line in po.lines:  # one line a variant: the shop looks at each line alone and would promise one piece twice
            variant = str(variants[line.vendor_sku]["id"])
            wanted[variant] = wanted.get(variant, 0) + line.quantity
        to = po.ship_to
        body = {
            "region_id": market.region_id,
            **({"sales_channel_id": market.sales_channel_id} if self.config["sales_channel_id"] else {}),
            "email": self.email_of(key),
            "metadata": {PO_META: key, **({"note": po.note} if po.note else {})},
            "items": [{"variant_id": variant, "quantity": quantity} for variant, quantity in wanted.items()],
            "shipping_address": {
                "first_name": to.name,
                "address_1": to.address,
                "address_2": to.district,
                "city": to.city,
                "province": to.province,
                "postal_code": to.postcode,
                "country_code": to.country.lower(),
                "phone": to.phone,
            },
            "billing_address": {"company": key, "country_code": to.country.lower()},
        }
        try:
            answer = await self.shop_does("POST", "/store/carts", body, params={"fields": _CART_FIELDS})
        except Refused as error:
            short = short_of(po.lines, await self.on_sale(po.lines), market)
            if error.code == "insufficient_inventory" and not short:
                short = tuple(sorted({line.vendor_sku for line in po.lines})) if len(wanted) == 1 else ()
            raise No(str(error), short) from None
        except NotFound as error:
            raise No(str(error)) from None
        cart = self.one(answer, "cart")
        self._check_bill(cart, po.lines, variants, wanted)
        return str(cart["id"])

    def _check_bill(
        self,
        cart: Mapping[str, Any],
        lines: Sequence[PoLine],
        variants: Mapping[str, dict[str, Any]],
        wanted: Mapping[str, int],
    ) -> None:
        """Raises No unless the cart holds what was ordered, for no more than was agreed."""
        currency = str(cart.get("currency_code") or "").upper()
        if not cart.get("id") or currency != lines[0].currency:
            raise Broken(f"medusa made a cart in {currency or 'no currency'}", code="bad_cart")
        agreed: dict[str, Decimal] = {}
        for line in lines:
            variant = str(variants[line.vendor_sku]["id"])
            agreed[variant] = agreed.get(variant, Decimal(0)) + line.unit_price * line.quantity
        got: dict[str, int] = {}
        asked: dict[str, Decimal] = {}
        for item in objects(cart.get("items")):
            variant = str(item.get("variant_id"))
            got[variant] = got.get(variant, 0) + shelf.whole(item.get("quantity"))
            price = amount(item.get("total" if self.config["with_tax"] else "subtotal"))
            asked[variant] = asked.get(variant, Decimal(0)) + (price if price is not None else Decimal("Infinity"))
        if got != wanted:
            raise No("the shop's cart holds other lines than were ordered")
        dearer = {v for v in agreed if asked[v] > agreed[v] + _ROUNDING}
        if dearer:
            names = sorted({line.vendor_sku for line in lines if str(variants[line.vendor_sku]["id"]) in dearer})
            raise No(f"the shop now asks more than agreed for {', '.join(names)}")

    async def arranged(self, cart: str) -> None:
        """Choose the shipping and open the payment."""
        answer = await self.shop_gets("/store/shipping-options", {"cart_id": cart})
        option = self._shipping(self.listed(answer, "shipping_options")[0])
        cart_path = self.call.fill("/store/carts/{id}", id=cart)
        few = {"fields": "id"}
        try:
            await self.shop_does("POST", f"{cart_path}/shipping-methods", {"option_id": option}, params=few)
            answer = await self.shop_does("POST", "/store/payment-collections", {"cart_id": cart}, params=few)
        except (Refused, NotFound) as error:
            raise No(str(error)) from None
        collection = str(self.one(answer, "payment_collection").get("id"))
        provider = self.config["payment_provider"]
        path = self.call.fill("/store/payment-collections/{id}/payment-sessions", id=collection)
        try:
            await self.shop_does("POST", path, {"provider_id": provider}, params=few)
        except (Refused, NotFound) as error:
            raise Misconfigured(f"the shop takes no payment through {provider!r}: {error}", code="bad_config") from None

    def _shipping(self, offered: Sequence[Mapping[str, Any]]) -> str:
        wanted = self.config["shipping_option"]
        usable = [
            each
            for each in offered
            if (wanted in (each.get("id"), each.get("name")) if wanted else amount(each.get("amount")) is not None)
        ]
        if not usable:
            raise No(f"the shop does not ship there{f' by {wanted}' if wanted else ''}")
        cheapest = min(usable, key=lambda each: (amount(each.get("amount")) or Decimal(0), str(each.get("id"))))
        return str(cheapest["id"])

    def email_of(self, key: str) -> str:
        """The address of the guest that orders under this number."""
        return str(self.config["customer_email"]).replace("{key}", re.sub(r"[^A-Za-z0-9_-]", "-", key)[:60])

    @property
    def finds_by_email(self) -> bool:
        """Whether each order has a guest of its own."""
        return "{key}" in self.config["customer_email"]
