"""Filling a cart at a Vendure shop, up to the point where only the payment is missing. Nothing here buys: a cart whose
filling is lost on the way is one of the many that the shop's visitors leave behind."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from connectors.calling import Refused
from connectors.contracts import PoLine, PurchaseOrder
from connectors.vendure import documents, shelf
from connectors.vendure.ledger import KeepsLedger
from connectors.vendure.refusals import No, short_of
from connectors.vendure.talking import Session, listed, objects, problem
from hub.kernel.errors import Broken, HubError, Misconfigured, NotFound


@dataclass(frozen=True, slots=True)
class Cart:
    """An order that is being put together."""

    id: str
    code: str
    session: Session


class FillsCarts(KeepsLedger):
    """The steps of an order that buy nothing yet."""

    async def on_sale(self, lines: Sequence[PoLine]) -> tuple[dict[str, dict[str, Any]], shelf.Rules]:
        """What the shop has under the lines' SKUs now: those that it has exactly once."""
        skus = sorted({line.vendor_sku for line in lines if not line.vendor_sku.startswith("#")})
        ids = sorted({line.vendor_sku[1:] for line in lines if line.vendor_sku.startswith("#")})
        found: dict[str, dict[str, Any]] = {}
        rules = shelf.Rules(True, 0)
        for name, wanted in (("sku", skus), ("id", ids)):
            for start in range(0, len(wanted), 50):
                some = wanted[start : start + 50]
                options = {"filter": {name: {"in": some}}, "take": 100}
                data, _ = await self.admin(documents.ON_SALE, {"options": options})
                rules = shelf.rules_of(data.get("globalSettings"))
                rows, total = listed(data, "productVariants")
                if total > len(rows):
                    raise Broken("vendure: too many variants share these SKUs", code="rows_missing")
                for row in rows:
                    sku = str(row.get("sku")).strip() if name == "sku" else f"#{row.get('id')}"
                    if sku in found:
                        raise No(f"several of the shop's variants share the SKU {sku}")
                    found[sku] = row
        return found, rules

    async def cart(self, po: PurchaseOrder, key: str, variants: Mapping[str, dict[str, Any]]) -> Cart:
        """A cart with everything but shipping; raises No for what the shop will not put into it."""
        wanted: dict[str, int] = {}
        for line in po.lines:
            wanted[line.vendor_sku] = wanted.get(line.vendor_sku, 0) + line.quantity
        (first, quantity), *more = wanted.items()
        data, session = await self.shop(
            documents.FIRST_ITEM, {"variant": str(variants[first]["id"]), "quantity": quantity}, None
        )
        order = self.in_cart(data.get("addItemToOrder"), first)
        if session is None:
            raise Broken("vendure opened no session for an order", code="no_token")
        cart = Cart(str(order["id"]), str(order["code"]), session)
        variables = {**self._addressed(po, key)}
        for n, (sku, count) in enumerate(more, 1):
            variables |= {f"v{n}": str(variants[sku]["id"]), f"q{n}": count}
        document = documents.rest_of_cart(range(1, len(more) + 1), self.config["po_field"])
        try:
            data, _ = await self.shop(document, variables, session)
            for name, said in data.items():
                order = self.in_cart(said, more[int(name[4:]) - 1][0] if name.startswith("item") else None)
                if order.get("code") != cart.code:
                    raise Broken("vendure lost the session of an order", code="bad_session")
        except (No, Misconfigured, Refused, NotFound) as error:
            await self.dropped(cart)
            if isinstance(error, Refused | NotFound):
                raise No(str(error)) from None
            raise
        return cart

    def in_cart(self, said: Any, sku: str | None) -> dict[str, Any]:
        """The order that a step of the cart left; raises No for a refusal and Misconfigured for a customer that the
        shop does not take."""
        if isinstance(said, dict) and said.get("__typename") == "Order" and said.get("code") and said.get("id"):
            return said
        code = str(said.get("errorCode") or "") if isinstance(said, dict) else ""
        if code == "INSUFFICIENT_STOCK_ERROR" and sku is not None:
            raise No(f"the shop has not enough of {sku}", short=(sku,))
        if code in ("EMAIL_ADDRESS_CONFLICT_ERROR", "GUEST_CHECKOUT_ERROR", "ALREADY_LOGGED_IN_ERROR"):
            raise Misconfigured(f"the shop does not take the hub as a customer: {problem(said)}", code=code.lower())
        if not code:
            raise Broken("vendure answered a cart's step with no order", code="bad_shape")
        raise No(problem(said))

    def _addressed(self, po: PurchaseOrder, key: str) -> dict[str, Any]:
        """Who orders, where it goes, and our number."""
        to = po.ship_to
        made: dict[str, Any] = {
            "customer": {
                "firstName": "supplyhub",
                "lastName": "supplyhub",
                "emailAddress": self.config["customer_email"],
            },
            "billing": {
                "fullName": "supplyhub",
                "company": key,
                "streetLine1": "supplyhub",
                "countryCode": to.country,
            },
            "to": {
                "fullName": to.name,
                "streetLine1": to.address,
                "streetLine2": to.district,
                "city": to.city,
                "province": to.province,
                "postalCode": to.postcode,
                "countryCode": to.country,
                "phoneNumber": to.phone,
            },
        }
        if self.config["po_field"]:
            made["number"] = {"customFields": {documents.checked(self.config["po_field"]): key}}
        return made

    async def arranged(self, cart: Cart, po: PurchaseOrder, variants: Mapping[str, dict[str, Any]]) -> str:
        """Shipping chosen, everything checked by the shop and by us; the payment method to use."""
        quotes = await self.shop_asks(documents.QUOTES, cart.session)
        offered = objects(quotes.get("eligibleShippingMethods"))
        wanted = self.config["shipping_method"]
        usable = [each for each in offered if not wanted or each.get("code") == wanted]
        if not usable:
            raise No(f"the shop does not ship there{f' by {wanted}' if wanted else ''}")
        cheapest = min(usable, key=lambda each: (each.get("priceWithTax") or 0, str(each.get("id"))))
        method = self.payment_method(objects(quotes.get("eligiblePaymentMethods")))
        data, _ = await self.shop(documents.ARRANGE, {"methods": [str(cheapest["id"])]}, cart.session)
        chosen, order = data.get("method") or {}, data.get("arranged") or {}
        if chosen.get("__typename") != "Order":
            raise No(problem(chosen))
        if order.get("__typename") != "Order":
            again, rules = await self.on_sale(po.lines)
            short = short_of(po.lines, again, rules, self.drift_of)
            raise No(problem(order), short=short)
        if order.get("code") != cart.code or order.get("state") != "ArrangingPayment":
            raise Broken("vendure arranged another order than ours", code="bad_session")
        self._check_bill(order, po.lines, variants)
        return method

    def payment_method(self, offered: Sequence[Mapping[str, Any]]) -> str:
        codes = sorted(str(each.get("code")) for each in offered if each.get("isEligible"))
        wanted = self.config["payment_method"]
        if wanted and wanted not in codes:
            raise Misconfigured(f"the shop does not offer the payment method {wanted!r}", code="bad_config")
        if not wanted and len(codes) != 1:
            raise Misconfigured(
                f"say which payment method to use; the shop offers {', '.join(codes) or 'none'}", code="bad_config"
            )
        return str(wanted or codes[0])

    def _check_bill(
        self, order: Mapping[str, Any], lines: Sequence[PoLine], variants: Mapping[str, dict[str, Any]]
    ) -> None:
        """Raises No unless the order holds what was ordered, for no more than was agreed."""
        agreed: dict[str, Decimal] = {}
        counts: dict[str, int] = {}
        for line in lines:
            variant = str(variants[line.vendor_sku]["id"])
            agreed[variant] = agreed.get(variant, Decimal(0)) + line.unit_price * line.quantity
            counts[variant] = counts.get(variant, 0) + line.quantity
        got: dict[str, int] = {}
        asked: dict[str, Decimal] = {}
        for each in objects(order.get("lines")):
            variant = str((each.get("productVariant") or {}).get("id"))
            got[variant] = got.get(variant, 0) + int(each.get("quantity") or 0)
            asked[variant] = asked.get(variant, Decimal(0)) + (self.amount(each, "proratedLinePrice") or Decimal("Inf"))
        if got != counts:
            raise No("the shop's order holds other lines than were ordered")
        dearer = sorted(
            {line.vendor_sku for line in lines if asked[v := str(variants[line.vendor_sku]["id"])] > agreed[v]}
        )
        goods = self.amount(order, "subTotal")
        if dearer or goods is None or goods > sum(agreed.values()):
            what = f" for {', '.join(dearer)}" if dearer else ""
            raise No(f"the shop now asks more than agreed{what}")

    async def dropped(self, cart: Cart) -> None:
        """Close a cart that will not be paid. Left open it would buy nothing, so a failure here is none."""
        with contextlib.suppress(HubError):
            await self.cancel_order(cart.id)

    async def cancel_order(self, order_id: str) -> dict[str, Any]:
        cancelling = {"input": {"orderId": order_id, "cancelShipping": True, "reason": "supplyhub"}}
        said = (await self.admin_acts(documents.CANCEL, cancelling)).get("cancelOrder")
        return said if isinstance(said, dict) else {}
