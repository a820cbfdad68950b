"""Orders at a Shopify shop: placed once, found again, called off.

`orderCreate` takes no idempotency key. What keeps it from buying twice is a *custom id*: our number goes into an order
metafield whose definition (type `id`) lets each value exist once in the shop, and `orderByIdentifier` looks it up
without the search index, which runs behind. The number also stands as tag, source identifier and PO number. "There is
no such order" is believed only once nothing sent for it can still be on its way.

`DECREMENT_OBEYING_POLICY` makes the shop claim the stock and refuse what it has not. It still sells what its own
setting lets it sell without stock, so that is looked at before and after."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import structlog

from connectors.contracts import PoLine, PurchaseOrder, Receipt, ReceiptStatus
from connectors.guards import Guard
from connectors.shopify import documents as ask_for
from connectors.shopify.goods import Sold, SoldGoods, refused_for, wanted_by_variant
from connectors.shopify.graphql import field, nodes, quoted, said_in, user_errors
from connectors.shopify.records import number
from connectors.shopify.tracking import OURS, PO_ATTRIBUTE
from hub.kernel import clock
from hub.kernel.errors import Broken, Misconfigured, Retry

log = structlog.get_logger()
NAMESPACE, KEY = "supplyhub", "po_number"  # of the metafield that holds our number
GRACE_S = 60.0  # longer than a request and the search index take
LOOKS_S = (0.5, 1.0, 2.0, 4.0)  # for a cancellation, which the shop does in the background
_REMEMBERED = 10_000

# When something was last sent (or first asked) for a number of ours without an end, in monotonic seconds.
_open_since: OrderedDict[str, float] = OrderedDict()
# Connections whose shop is known to keep our numbers unique.
_identified: weakref.WeakSet[Guard] = weakref.WeakSet()


class PlacesAtShop(SoldGoods):
    """PlacesOrders."""

    async def place(self, po: PurchaseOrder, *, key: str) -> Receipt:
        """Check, order, check again. Raises Retry when the outcome is unknown: ask with `find`."""
        await self._keep_numbers_unique()
        held = await self._by_identity(key)
        if held is not None:
            return await self._settled(held)
        goods = await self.sold(po.lines)
        refusal = refused_for(po.lines, goods, self.config)
        if refusal is not None:
            return refusal
        _open(key)
        try:
            said = await self.act(ask_for.CREATE_ORDER, self.order_request(po, key, goods))
            payload = field(said.data, "orderCreate")
            order = payload.get("order")
            receipt = (
                await self._settled(order, wanted_by_variant(po.lines, goods))
                if isinstance(order, dict)
                else await self._refused(user_errors(payload), po.lines, key)
            )
        finally:
            _open(key)
        _open_since.pop(key, None)
        return receipt

    async def find(self, key: str) -> Receipt | None:
        """The receipt of the order with this number, or None once it is certain that there is none. What is found was
        never confirmed to us, so it is checked as a new order is."""
        order = await self._by_identity(key) or await self._by_tag(key)
        if order is None:
            if OURS.fullmatch(key):
                _wait_out(key)
            return None
        receipt = await self._settled(order)
        _open_since.pop(key, None)
        return receipt

    async def cancel(self, vendor_order_no: str, po: PurchaseOrder) -> Receipt:
        """Cancel; what is fulfilled, even in part, is refused. PENDING while the shop still works on it."""
        own = number(vendor_order_no)
        order = await (self._order(own) if own is not None else self._by_identity(po.number))
        if order is None:
            return _refusal("the shop has no such order", vendor_order_no)
        own = number(order.get("id")) or vendor_order_no
        if order.get("cancelledAt"):
            return Receipt(status=ReceiptStatus.ACCEPTED, vendor_order_no=own, raw_status="CANCELLED")
        state = str(order.get("displayFulfillmentStatus", ""))
        if state in ("FULFILLED", "PARTIALLY_FULFILLED"):
            return _refusal(f"the order is {state} already", own, state)
        refused = await self._call_off(own, "CUSTOMER")
        if refused is not None:
            return _refusal(refused, own, state)
        return Receipt(
            status=ReceiptStatus.ACCEPTED if await self._is_cancelled(own) else ReceiptStatus.PENDING,
            vendor_order_no=own,
            raw_status="CANCELLED",
        )

    # An order at the shop -------------------------------------------------------------------------------------

    async def _settled(self, order: Mapping[str, Any], wanted: Mapping[str, int] | None = None) -> Receipt:
        """The receipt of an order that the shop holds, once it is clear that the shop really has the goods."""
        own = number(order.get("id"))
        if own is None:
            raise Broken("shopify confirmed an order without an id", code="no_order_number")
        ordered = _ordered(order)
        if order.get("cancelledAt"):
            lack = order.get("cancelReason") == "INVENTORY"
            skus = await self.names_of(ordered) if lack else ()
            return _refusal("the order is cancelled", own, "CANCELLED", out_of_stock=lack, skus=skus)
        if wanted is not None and ordered != wanted:
            await self._undo(own, "OTHER")
            raise Broken(f"shopify took other lines than were ordered in order {own}", code="bad_lines")
        short = await self.oversold(ordered)
        if short:
            await self._undo(own, "INVENTORY")
            reason = "the shop took the order although it had sold out; it was cancelled"
            return _refusal(reason, own, "CANCELLED", out_of_stock=True, skus=short)
        return Receipt(
            status=ReceiptStatus.ACCEPTED,
            vendor_order_no=own,
            accepted_at=clock.now(),
            raw_status=str(order.get("displayFinancialStatus") or "") or None,
        )

    async def _refused(self, errors: list[Mapping[str, Any]], lines: Sequence[PoLine], key: str) -> Receipt:
        """What the shop's refusal means. When it is our number that it does not take, the order may be there."""
        if not errors:
            raise Broken("shopify neither took the order nor says why not", code="bad_shape")
        if any("metafields" in map(str, error.get("field") or ()) for error in errors):
            held = await self._by_identity(key)
            if held is not None:
                return await self._settled(held)
        lack = any(_lacks_stock(error) for error in errors)
        skus: tuple[str, ...] = ()
        if lack:
            again = refused_for(lines, await self.sold(lines), self.config)
            skus = again.out_of_stock_skus if again is not None else ()
        return _refusal(said_in(errors), None, str(errors[0].get("code") or ""), out_of_stock=lack, skus=skus)

    async def _undo(self, own: str, reason: str) -> None:
        """Cancel an order that must not live. Raises Retry while it still does."""
        refused = await self._call_off(own, reason)
        if refused is not None:
            raise Broken(f"shopify does not cancel order {own}: {refused}", code="not_cancelled")
        if not await self._is_cancelled(own):
            raise Retry(f"shopify is still cancelling order {own}", code="cancelling", after=10.0)

    async def _call_off(self, own: str, reason: str) -> str | None:
        """Ask for the cancellation; returns why the shop refuses it. One that is cancelled already is no refusal."""
        variables = {"id": f"gid://shopify/Order/{own}", "reason": reason, "note": "supplyhub"}
        payload = field((await self.act(ask_for.CANCEL_ORDER, variables)).data, "orderCancel")
        errors = user_errors(payload, "orderCancelUserErrors")
        if not errors:
            return None
        order = await self._order(own)
        return None if order is not None and order.get("cancelledAt") else said_in(errors)

    async def _is_cancelled(self, own: str) -> bool:
        """Whether the order is cancelled now or in the next seconds. The job is not asked: the order is what counts."""
        for pause in (0.0, *LOOKS_S):
            await asyncio.sleep(pause)
            order = await self._order(own)
            if order is None or order.get("cancelledAt"):
                return True
        return False

    # Finding --------------------------------------------------------------------------------------------------

    async def _order(self, own: str) -> dict[str, Any] | None:
        order = (await self.ask(ask_for.ORDER, {"id": f"gid://shopify/Order/{own}"})).data.get("order")
        return order if isinstance(order, dict) else None

    async def _by_identity(self, key: str) -> dict[str, Any] | None:
        """The order with our number, without the search index. Where no such field is defined there is none: `place`
        defines it before it orders."""
        variables = {"namespace": NAMESPACE, "key": KEY, "value": key}
        said = await self.ask(ask_for.ORDER_BY_IDENTITY, variables, tolerate="NOT_FOUND")
        order = said.data.get("orderByIdentifier")
        return order if isinstance(order, dict) else None

    async def _by_tag(self, key: str) -> dict[str, Any] | None:
        found = nodes(field((await self.ask(ask_for.ORDERS_BY_TAG, {"query": f"tag:{quoted(key)}"})).data, "orders"))
        for order in found:
            if isinstance(order, dict) and (order.get("sourceIdentifier") == key or key in (order.get("tags") or ())):
                return order
        return None

    async def _keep_numbers_unique(self) -> None:
        """Make sure that the shop lets each number of ours exist once; asked for once a process."""
        guard = self.call.guard()
        if guard in _identified:
            return
        said = await self.ask(ask_for.IDENTITY, {"namespace": NAMESPACE, "key": KEY}, tolerate="NOT_FOUND")
        definition = said.data.get("metafieldDefinition")
        if isinstance(definition, dict):
            kind = definition.get("type")
            if not isinstance(kind, dict) or kind.get("name") != "id":
                raise Misconfigured(
                    f"the shop's order metafield {NAMESPACE}.{KEY} must be of type id; delete its definition",
                    code="bad_identity",
                )
        else:
            wish = {"name": "supplyhub PO", "namespace": NAMESPACE, "key": KEY, "ownerType": "ORDER", "type": "id"}
            said = await self.ask(ask_for.DEFINE_IDENTITY, {"definition": wish})
            errors = user_errors(field(said.data, "metafieldDefinitionCreate"))
            if any(error.get("code") != "TAKEN" for error in errors):
                raise Misconfigured(
                    f"the shop does not define the order metafield {NAMESPACE}.{KEY}: {said_in(errors)}",
                    code="no_identity",
                )
        _identified.add(guard)

    # Words ----------------------------------------------------------------------------------------------------

    def order_request(self, po: PurchaseOrder, key: str, goods: Mapping[int, Sold]) -> dict[str, Any]:
        """The order as Shopify takes it: at the agreed prices, no mail to anybody."""
        currency = self.config["currency"]

        def money(amount: str) -> dict[str, Any]:
            return {"shopMoney": {"amount": amount, "currencyCode": currency}}

        order: dict[str, Any] = {
            "currency": currency,
            "sourceIdentifier": key,
            "poNumber": key,
            "tags": [key],
            "customAttributes": [{"key": PO_ATTRIBUTE, "value": key}],
            "metafields": [{"namespace": NAMESPACE, "key": KEY, "type": "id", "value": key}],
            "financialStatus": self.config["financial_status"],
            "shippingAddress": self._address(po),
            "lineItems": [
                {
                    "variantId": f"gid://shopify/ProductVariant/{goods[line.line_no].id}",
                    "quantity": line.quantity,
                    "priceSet": money(_amount(line.unit_price)),
                }
                for line in po.lines
            ],
        }
        if po.note:
            order["note"] = po.note
        if self.config["shipping_title"]:
            order["shippingLines"] = [{"title": self.config["shipping_title"], "priceSet": money("0")}]
        options = {
            "inventoryBehaviour": "DECREMENT_OBEYING_POLICY",
            "sendReceipt": False,
            "sendFulfillmentReceipt": False,
        }
        return {"order": order, "options": options}

    def _address(self, po: PurchaseOrder) -> dict[str, str]:
        to = po.ship_to
        code = (self.config["province_codes"] or {}).get(to.province)
        given = {
            "lastName": to.name,
            "address1": to.address,
            "address2": to.district,
            "city": to.city,
            "provinceCode": str(code) if code else "",
            "province": "" if code else to.province,
            "zip": to.postcode,
            "countryCode": to.country,
            "phone": _phone(to.phone, to.country),
        }
        return {name: value for name, value in given.items() if value}


def _ordered(order: Mapping[str, Any]) -> dict[str, int]:
    """Variant -> how many of it an order holds."""
    found: dict[str, int] = {}
    for item in nodes(order.get("lineItems")):
        variant = item.get("variant") if isinstance(item, dict) else None
        own = number(variant.get("id")) if isinstance(variant, dict) else None
        if own is not None:
            found[own] = found.get(own, 0) + int(item.get("quantity") or 0)
    return found


def _lacks_stock(error: Mapping[str, Any]) -> bool:
    """The documented code, and the words that live shops were seen to use instead."""
    return error.get("code") == "INVENTORY_CLAIM_FAILED" or "reserve inventory" in str(error.get("message", "")).lower()


def _refusal(
    reason: str,
    order_no: str | None,
    raw: str = "",
    *,
    out_of_stock: bool = False,
    skus: Sequence[str] = (),
) -> Receipt:
    return Receipt(
        status=ReceiptStatus.REFUSED,
        vendor_order_no=order_no,
        reason=reason,
        out_of_stock=out_of_stock,
        out_of_stock_skus=tuple(skus),
        raw_status=raw or None,
    )


def _amount(price: Decimal) -> str:
    """Two decimals, unless the price has more."""
    rounded = price.quantize(Decimal("0.01"))
    return f"{rounded if rounded == price else price.normalize():f}"


def _phone(phone: str, country: str) -> str:
    """E.164, as Shopify asks for it; a number that is not recognised goes as it is."""
    digits = "".join(char for char in phone if char.isdigit())
    return f"+86{digits}" if country == "CN" and len(digits) == 11 and digits.startswith("1") else phone


def _open(key: str) -> None:
    """Something is being sent for this number."""
    _open_since[key] = time.monotonic()
    _open_since.move_to_end(key)
    if len(_open_since) > _REMEMBERED:
        _open_since.popitem(last=False)


def _wait_out(key: str) -> None:
    """Raises Retry until nothing that was sent for this number can still arrive. Another process may have sent it, so
    a number that this one knows nothing of waits too."""
    since = _open_since.setdefault(key, time.monotonic())
    left = GRACE_S - (time.monotonic() - since)
    if left > 0:
        raise Retry("the shop may not show the order yet", code="find_later", after=left)
    _open_since.pop(key, None)
