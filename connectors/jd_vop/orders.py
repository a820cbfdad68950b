"""Orders at JD. An order is placed in two steps: submitOrder holds the goods (submitState 0), confirmOrder sends it to
the warehouse; what is not confirmed JD lets go by itself. JD knows our number (`thirdOrder`) and refuses a second
living order with it (0008), so that nothing can be bought twice:

- before submitting, the address becomes JD's area and the prices are read: what is dearer than agreed is refused here;
- the order carries the prices as JD had them a moment ago (orderPriceSnap): JD refuses it when one has moved;
- what JD took is compared with what was ordered before it is confirmed; if it differs, it is cancelled;
- after a lost answer `find` asks by our number: what is held and not confirmed is confirmed then."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from connectors.calling import OutOfStock, Refused
from connectors.contracts import Held, PurchaseOrder, Receipt, ReceiptStatus
from connectors.jd_vop.areas import Area, KnowsAreas
from connectors.jd_vop.following import FollowsOrders
from connectors.jd_vop.goods import Price, PullsPools
from connectors.jd_vop.terms import other_than, summed, too_dear, unsendable
from connectors.jd_vop.vop import amount, digits, member
from hub.kernel import clock
from hub.kernel.errors import Broken, HubError, Misconfigured, NotFound, Retry

DUPLICATE = "0008"
ALREADY_CANCELLED = "3203"
_NO_STOCK = frozenset({"34", "36", "99"})
_ID = re.compile(r"\d{4,}")

# Keys whose held order must not be confirmed: it is not what was ordered, and cancelling it got no answer.
_unwanted: OrderedDict[str, str] = OrderedDict()


class TakesOrders(FollowsOrders, KnowsAreas, PullsPools):
    """PlacesOrders for JD."""

    async def place(self, po: PurchaseOrder, *, key: str) -> Receipt:
        """Hold, check, confirm. Raises Retry when the outcome is unknown: ask with `find`."""
        held = await self._submit(po, key)
        return await self._confirm(held) if isinstance(held, str) else held

    async def hold_stock(self, po: PurchaseOrder, *, key: str) -> Held:
        """Submit and check, and leave it unconfirmed: JD keeps the goods until `place` confirms them, `release_stock`
        lets go, or JD's own time for that is over."""
        jd_order = await self._number_of(key)
        if jd_order is not None and (before := await self.order(jd_order)).living:
            wanted, agreed = summed(po)
            wrong = other_than(before.lines, wanted, agreed)
            if wrong is None and not before.confirmed:
                return Held(held=True, ref=jd_order)
            return Held(held=False, reason=wrong or "the order is placed already")
        held = await self._submit(po, key, only_hold=True)
        if isinstance(held, str):
            return Held(held=True, ref=held)
        return Held(held=False, reason=held.reason, gone=held.out_of_stock, gone_skus=held.out_of_stock_skus)

    async def release_stock(self, key: str) -> bool:
        """Cancel the order with our number unless it was confirmed."""
        jd_order = await self._number_of(key)
        if jd_order is None:
            return False
        found = await self.order(jd_order)
        if not found.living or found.confirmed:
            return False
        await self._withdraw(jd_order, "", "it is not wanted any more")
        return True

    async def _submit(self, po: PurchaseOrder, key: str, *, only_hold: bool = False) -> str | Receipt:
        """JD's number of the order as it is now held and checked, or the receipt that ends the matter. An order that
        JD has already is bought with that, unless it is `only_hold`."""
        wrong = unsendable(po, key)
        if wrong is not None:
            return _refused(wrong)
        terms = self._terms()
        area = await self.area_of(po.ship_to)
        if isinstance(area, str):
            return _refused(area)
        wanted, agreed = summed(po)
        prices = await self.prices(list(wanted))
        dear = too_dear(agreed, prices)
        if dear is not None:
            return _refused(dear)
        try:
            said = await self.act("api/order/submitOrder", self.order_form(po, key, area, prices, terms))
        except OutOfStock as error:
            skus = await self._missing(str(error), wanted, area)
            return Receipt(
                status=ReceiptStatus.REFUSED, reason=str(error), out_of_stock=True, out_of_stock_skus=skus,
                raw_status=error.code,
            )  # fmt: skip
        except (Refused, NotFound) as error:
            if error.code != DUPLICATE:
                return _refused(str(error), raw=error.code)
            if only_hold:
                raise Retry("JD holds an order with our number since a moment ago", code="not_visible") from None
            return await self._again(key, wanted, agreed)
        result = said.result if isinstance(said.result, dict) else {}
        jd_order = digits(member(result, "jdOrderId"))
        if jd_order is None:
            raise Broken("jd_vop took an order without giving its number", code="no_order_number")
        lines = member(result, "sku")
        if not isinstance(lines, list):
            lines = (await self.order(jd_order)).lines
        wrong = other_than(lines, wanted, agreed) or self._too_much_freight(member(result, "freight"))
        if wrong is not None:
            return await self._withdraw(jd_order, key, wrong)
        return jd_order

    async def find(self, key: str) -> Receipt | None:
        """The receipt of the order with our number. One that is held and not confirmed is confirmed now: its answer was
        lost, and JD had accepted our prices for it. None when JD has no living order with it."""
        jd_order = await self._number_of(key)
        if jd_order is None:
            return None
        found = await self.order(jd_order)
        if not found.living:
            return _refused("the order is cancelled at JD", number=jd_order, raw="cancelled")
        if found.confirmed:
            return _accepted(jd_order)
        unwanted = _unwanted.get(key)
        if unwanted is not None:
            return await self._withdraw(jd_order, key, unwanted)
        return await self._confirm(jd_order)

    async def cancel(self, vendor_order_no: str, po: PurchaseOrder) -> Receipt:
        """Cancel at JD. PENDING when JD took the request for a confirmed order and has not decided."""
        jd_order = digits(vendor_order_no)
        if jd_order is None:
            return _refused(f"{vendor_order_no[:40]!r} is no order number of JD", number=vendor_order_no)
        gone = Receipt(status=ReceiptStatus.ACCEPTED, vendor_order_no=jd_order, raw_status="cancelled")
        try:
            await self._cancel(jd_order)
        except (Refused, NotFound) as error:
            if error.code == ALREADY_CANCELLED or not await self._lives(jd_order, otherwise=True):
                return gone
            return _refused(str(error), number=jd_order, raw=error.code)
        if not await self._lives(jd_order, otherwise=False):
            return gone
        return Receipt(
            status=ReceiptStatus.PENDING, vendor_order_no=jd_order, raw_status="cancelling",
            reason="JD has taken the request and not decided yet",
        )  # fmt: skip

    async def _lives(self, jd_order: str, *, otherwise: bool) -> bool:
        """Whether JD would fulfil this order; `otherwise` when it does not know the order."""
        try:
            return (await self.order(jd_order)).living
        except (Refused, NotFound):
            return otherwise

    # Steps ----------------------------------------------------------------------------------------------------

    async def _again(self, key: str, wanted: Mapping[str, int], agreed: Mapping[str, Decimal]) -> Receipt:
        """JD holds an order with our number already: it is ours if it is the same."""
        jd_order = await self._number_of(key)
        if jd_order is None:
            raise Retry("JD says that it has this order and does not find it", code="not_visible", after=5.0)
        found = await self.order(jd_order)
        wrong = other_than(found.lines, wanted, agreed)
        if wrong is not None and not found.confirmed and found.living:
            return await self._withdraw(jd_order, key, wrong)
        if wrong is not None:
            raise Broken(f"JD has another order {jd_order} with our number: {wrong}", code="other_order")
        receipt = await self.find(key)
        if receipt is None:
            raise Retry("JD's order went away while it was read", code="not_visible", after=5.0)
        return receipt

    async def _confirm(self, jd_order: str) -> Receipt:
        """Send a held order to the warehouse. What cannot be confirmed is let go."""
        try:
            said = await self.act("api/order/confirmOrder", {"jdOrderId": jd_order})
            if said.result in (True, "true", None):
                return _accepted(jd_order)
            why = "JD did not confirm the order"
        except (Refused, NotFound) as error:
            why = str(error)
        now = await self.order(jd_order)
        if now.confirmed and now.living:
            return _accepted(jd_order)
        if now.living:
            return await self._withdraw(jd_order, "", why)
        return _refused(why, number=jd_order, raw="cancelled")

    async def _withdraw(self, jd_order: str, key: str, why: str) -> Receipt:
        """Let a held order go and refuse. While that is not certain, it must not be confirmed either."""
        if key:
            _unwanted[key] = why
            while len(_unwanted) > 10_000:
                _unwanted.popitem(last=False)
        try:
            await self._cancel(jd_order)
        except (Refused, NotFound) as error:
            if error.code != ALREADY_CANCELLED and await self._lives(jd_order, otherwise=True):
                raise Retry(f"{why}; and JD would not let it go: {error}", code="not_cancelled", after=60.0) from None
        _unwanted.pop(key, None)
        return _refused(why, number=jd_order, raw="cancelled")

    async def _cancel(self, jd_order: str) -> None:
        reason = self.config["cancel_reason"]
        await self.act("api/order/cancel", {"jdOrderId": jd_order, **({"cancelReason": reason} if reason else {})})

    async def _number_of(self, key: str) -> str | None:
        """JD's number of the order with ours; None only when JD says that there is none."""
        try:
            said = await self.read("api/order/selectJdOrderIdByThirdOrder", {"thirdOrder": key})
        except NotFound:
            return None
        except Refused as error:
            raise Retry(f"JD does not say whether it has the order: {error}", code=error.code, after=30.0) from None
        jd_order = digits(said.result)
        if jd_order is None:
            raise Retry("JD's answer names no order and does not say that there is none", code="unclear", after=30.0)
        return jd_order

    async def _missing(self, said: str, wanted: Mapping[str, int], area: Area) -> tuple[str, ...]:
        """Which of our SKUs JD has not: those that it names, else those that it has no stock of."""
        named = [sku for sku in wanted if sku in _ID.findall(said)]
        if named or len(wanted) == 1:
            return tuple(named or wanted)
        try:
            _, states = await self.stock(wanted, area.text)
        except HubError:
            return ()  # the refusal stands; which of them it was stays open
        return tuple(sku for sku in wanted if states.get(sku) in _NO_STOCK)

    # The form -------------------------------------------------------------------------------------------------

    def _terms(self) -> dict[str, str]:
        """How it is paid and invoiced; the contract decides that, so nothing is assumed."""
        settings = {
            "paymentType": "payment_type",
            "invoiceState": "invoice_state",
            "invoiceType": "invoice_type",
            "invoiceContent": "invoice_content",
            "invoicePhone": "invoice_phone",
            "companyName": "company",
            "regCompanyName": "company",
            "regCode": "tax_no",
        }
        missing = sorted({setting for setting in settings.values() if not self.config[setting]})
        if missing:
            raise Misconfigured(f"to order at JD, set {', '.join(missing)}", code="bad_config")
        terms = {name: str(self.config[setting]) for name, setting in settings.items()}
        terms["selectedInvoiceTitle"] = "5"  # a company
        terms["isUseBalance"] = "1" if terms["paymentType"] == "4" else "0"
        return terms

    def order_form(
        self, po: PurchaseOrder, key: str, area: Area, prices: Mapping[str, Price], terms: Mapping[str, str]
    ) -> dict[str, Any]:
        """What submitOrder gets."""
        to = po.ship_to
        wanted, _ = summed(po)
        costs = {sku: format(prices[sku].contract or Decimal(0), "f") for sku in wanted}
        priced = bool(self.config["price_in_sku"])
        lines = ",".join(
            f'{{"skuId":{sku},"num":{num},"bNeedAnnex":true,"bNeedGift":false'
            + (f',"price":{costs[sku]}}}' if priced else "}")
            for sku, num in wanted.items()
        )
        snap = ",".join(f'{{"price":{costs[sku]},"skuId":{sku}}}' for sku in wanted)
        return {
            **{str(name): value for name, value in (self.config["order_fields"] or {}).items()},
            "thirdOrder": key,
            "sku": f"[{lines}]",
            "name": to.name,
            "province": area.province,
            "city": area.city,
            "county": area.county,
            "town": area.town,
            "address": to.address,
            **({"zip": to.postcode} if to.postcode else {}),
            "mobile": to.phone,
            "email": "xx",  # demanded and without meaning, says JD
            **({"remark": po.note[:99]} if po.note else {}),
            "submitState": 0,
            "doOrderPriceMode": 1,
            "orderPriceSnap": f"[{snap}]",
            **terms,
        }

    def _too_much_freight(self, raw: Any) -> str | None:
        limit, asked = amount(self.config["max_freight"]), amount(raw)
        if self.config["max_freight"] and limit is None and str(self.config["max_freight"]).strip() != "0":
            raise Misconfigured("the setting 'max_freight' is no amount", code="bad_config")
        if not self.config["max_freight"] or asked is None or asked <= (limit or Decimal(0)):
            return None
        return f"JD asks {asked} of freight, more than the {limit or 0} that are allowed"


def _refused(reason: str, *, number: str | None = None, raw: str | None = None) -> Receipt:
    return Receipt(status=ReceiptStatus.REFUSED, vendor_order_no=number, reason=reason, raw_status=raw)


def _accepted(jd_order: str) -> Receipt:
    return Receipt(
        status=ReceiptStatus.ACCEPTED, vendor_order_no=jd_order, accepted_at=clock.now(), raw_status="confirmed"
    )
