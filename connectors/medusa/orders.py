"""Orders at a Medusa shop, through its Store API as a guest of their own:

1. the variants are read: what is not there, not for sale or too few is refused before any cart is;
2. a cart is made with the items, the address and our number in its metadata, which the order inherits; its prices are
   held against what was agreed;
3. shipping is chosen and a payment session opened;
4. the cart is completed, the only step that buys. Completing again gives the same order; while somebody else completes
   it the shop answers 409, and is asked again;
5. the reservations are read: an order for which the shop promised more than it has is cancelled.

After a lost answer the order is looked for by our number. If there is none, the cart that carries it is emptied, so
that a completion still under way cannot succeed any more; only then is it certain that nothing was bought."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from connectors.calling import Refused
from connectors.contracts import OrderUpdate, PurchaseOrder, Receipt, ReceiptStatus, ShipmentStatus
from connectors.guards import jitter
from connectors.medusa import shelf
from connectors.medusa.carts import PO_META, FillsCarts
from connectors.medusa.refusals import No, made_at, refused_for, short_of
from connectors.medusa.talking import objects
from hub.kernel import clock
from hub.kernel.errors import Broken, NotFound, Retry

_FEW = "id,status,metadata,created_at"
_WHOLE = (
    "id,display_id,status,metadata,created_at,updated_at,canceled_at,*items,"
    "fulfillments.id,fulfillments.packed_at,fulfillments.shipped_at,fulfillments.delivered_at,fulfillments.canceled_at,"
    "fulfillments.created_at,fulfillments.labels.tracking_number"
)
_SCAN = 100
_SCAN_PAGES = 100
_COMPLETIONS = 6

# Keys whose placing ended without an answer in this process, with the cart: asked for before they are ever sent again.
_unanswered: OrderedDict[str, str] = OrderedDict()


class TakesOrders(FillsCarts):
    """PlacesOrders and TracksOrders for Medusa."""

    async def place(self, po: PurchaseOrder, *, key: str) -> Receipt:
        """Check, fill a cart, complete it, check again. Raises Retry when the outcome is unknown: ask with `find`."""
        if key in _unanswered:
            found = await self.find(key)
            if found is not None:
                return found
        try:
            market = await self.market()
            variants = await self.on_sale(po.lines)
            refused_for(po.lines, variants, market)
            cart = await self.cart(po, key, variants)
            await self.arranged(cart)
        except No as no:
            return no.receipt()
        try:
            receipt = await self._completed(po, key, cart)
        except Exception:
            _remember(key, cart)
            raise
        _unanswered.pop(key, None)
        return receipt

    async def find(self, key: str) -> Receipt | None:
        """The receipt of the order with this number of ours. What is found here was never confirmed to us, so it is
        checked as a new order is. None only once no cart with this number can become an order."""
        order = await self._order_with(key)
        if order is None:
            for cart in await self._carts_with(key):
                await self._emptied(cart)
            order = await self._order_with(key)
        if order is None:
            return None
        receipt = await self._settled(str(order["id"]))
        _unanswered.pop(key, None)
        return receipt

    async def cancel(self, vendor_order_no: str, po: PurchaseOrder) -> Receipt:
        """Cancel; the shop refuses an order of which a parcel is packed or gone."""
        order = await self._order(vendor_order_no)
        if order is None and vendor_order_no == po.number:
            ours = await self._order_with(po.number)
            order = await self._order(str(ours["id"])) if ours is not None else None
        if order is None:
            return _not_cancelled(vendor_order_no, "the shop knows no such order")
        number, status = str(order["id"]), str(order.get("status"))
        if status != "canceled":
            try:
                await self._cancel_order(number)
            except (Refused, NotFound) as error:
                after = await self._order(number)
                if after is None or after.get("status") != "canceled":
                    return _not_cancelled(number, str(error), status)
        return Receipt(status=ReceiptStatus.ACCEPTED, vendor_order_no=number, raw_status="canceled")

    async def track(self, vendor_order_no: str) -> Sequence[OrderUpdate]:
        """One update a parcel, or one for the order while it has none; nothing when the shop has no such order."""
        asked_at = clock.now()
        order = await self._order(vendor_order_no)
        return self.updates(order, asked_at) if order is not None else ()

    def updates(self, order: Mapping[str, Any], asked_at: datetime) -> tuple[OrderUpdate, ...]:
        """An order's parcels in our words. A fulfillment says where it stands by its times; each of its labels is a
        parcel."""
        status = str(order.get("status") or "")
        number = (order.get("metadata") or {}).get(PO_META)
        parcels = [each for each in objects(order.get("fulfillments")) if not each.get("canceled_at")]
        if status == "canceled":  # what was packed stays; what had left the house is on its way all the same
            parcels = [each for each in parcels if each.get("shipped_at")]

        def update(raw: str, at: Any, tracking_no: Any = None) -> OrderUpdate:
            return OrderUpdate(
                po_number=str(number) if number else None,
                vendor_order_no=str(order.get("id")),
                status=self.manifest.statuses.get(raw, ShipmentStatus.UNKNOWN),
                raw_status=raw,
                at=_instant(at) or asked_at,
                tracking_no=str(tracking_no) if tracking_no else None,
            )

        if not parcels:
            return (update(status, order.get("canceled_at") or order.get("updated_at")),)
        told = []
        for parcel in parcels:
            raw = next((word for word in ("delivered", "shipped") if parcel.get(f"{word}_at")), "packed")
            at = parcel.get(f"{raw}_at") or parcel.get("created_at")
            numbers = [label.get("tracking_number") for label in objects(parcel.get("labels"))]
            told += [update(raw, at, tracking_no) for tracking_no in numbers or [None]]
        return tuple(told)

    # The step that buys, and what became of it ----------------------------------------------------------------

    async def _completed(self, po: PurchaseOrder, key: str, cart: str) -> Receipt:
        """Buy. A refusal is believed only once no order carries our number and the cart is empty."""
        try:
            answer = await self._complete(cart)
        except (Refused, NotFound) as error:
            return await self._refused(po, key, cart, str(error))
        said = answer.json(self.manifest)
        if isinstance(said, dict) and said.get("type") == "cart":
            why = said.get("error")
            reason = why.get("message") if isinstance(why, dict) else None
            return await self._refused(po, key, cart, f"the shop did not take the order: {reason or 'no reason given'}")
        order = said.get("order") if isinstance(said, dict) else None
        if not isinstance(order, dict) or not order.get("id"):
            raise Broken("medusa confirmed an order without an id", code="no_order_number")
        return await self._settled(str(order["id"]))

    async def _complete(self, cart: str) -> Any:
        path = self.call.fill("/store/carts/{id}/complete", id=cart)
        for attempt in range(1, _COMPLETIONS):
            try:
                return await self.shop_does("POST", path, {}, params={"fields": "id,status"})
            except Retry as error:
                if error.facts.get("vendor_status") != 409:
                    raise
                await asyncio.sleep(jitter(attempt, error.after))
        return await self.shop_does("POST", path, {}, params={"fields": "id,status"})

    async def _refused(self, po: PurchaseOrder, key: str, cart: str, reason: str) -> Receipt:
        _remember(key, cart)
        found = await self.find(key)
        if found is not None:
            return found
        _unanswered.pop(key, None)
        return No(reason, short_of(po.lines, await self.on_sale(po.lines), await self.market())).receipt()

    async def _settled(self, number: str) -> Receipt:
        """The receipt of an order that the shop holds, once it is clear that the shop really has the goods."""
        order = await self._order(number)
        if order is None:
            raise Retry(f"medusa does not show order {number}", code="vendor_unsure", after=5.0)
        status = str(order.get("status"))
        if status == "canceled":
            return Receipt(
                status=ReceiptStatus.REFUSED,
                vendor_order_no=number,
                reason="the shop has cancelled the order",
                raw_status=status,
            )
        short = await self._oversold(order)
        if short:
            await self._cancel_order(number)
            return Receipt(
                status=ReceiptStatus.REFUSED,
                vendor_order_no=number,
                reason="the shop took the order although it had sold out; it was cancelled",
                out_of_stock=True,
                out_of_stock_skus=tuple(short),
                raw_status="canceled",
            )
        return Receipt(
            status=ReceiptStatus.ACCEPTED, vendor_order_no=number, accepted_at=clock.now(), raw_status=status
        )

    async def _oversold(self, order: Mapping[str, Any]) -> list[str]:
        """Those of the order's SKUs for which the shop made no reservation, or more reservations at one location than
        there is. The reservations themselves are added up: the counter beside them can lose changes."""
        if any(not each.get("canceled_at") for each in objects(order.get("fulfillments"))):
            return []  # it is being packed
        lines: dict[str, dict[str, int]] = {}  # variant -> order item -> quantity
        for item in objects(order.get("items")):
            if item.get("variant_id"):
                lines.setdefault(str(item["variant_id"]), {})[str(item["id"])] = shelf.whole(item.get("quantity"))
        variants = []
        for start in range(0, len(lines), 50):
            variants += await self.variants_by({"id[]": list(lines)[start : start + 50]})
        variants = [variant for variant in variants if shelf.counted(variant)]
        reserved = await self._reservations(sorted({item for v in variants for item in shelf.items_of(v)}))
        totals: dict[tuple[str, str], int] = {}
        for item_id, place, quantity, _ in reserved:
            totals[item_id, place] = totals.get((item_id, place), 0) + quantity
        short = []
        for variant in variants:
            ours = lines[str(variant["id"])]
            there = shelf.stocked(variant)
            for item_id, each in shelf.items_of(variant).items():
                mine = [(place, quantity) for i, place, quantity, line in reserved if i == item_id and line in ours]
                promised = sum(quantity for _, quantity in mine)
                over = any(totals[item_id, place] > there.get((item_id, place), 0) for place, _ in mine)
                if over or promised < each * sum(ours.values()):
                    short.append(shelf.sku_of(variant))
                    break
        return sorted(short)

    async def _reservations(self, items: Sequence[str]) -> list[tuple[str, str, int, str]]:
        """(inventory item, location, quantity, order item) of all reservations of these items."""
        found: dict[str, tuple[str, str, int, str]] = {}
        if not items:
            return []
        while True:
            params = {
                "inventory_item_id[]": list(items),
                "fields": "id,quantity,line_item_id,location_id,inventory_item_id",
                "order": "id",
                "offset": len(found),
                "limit": 500,
            }
            rows, count, _ = await self.rows("/admin/reservations", "reservations", params)
            before = len(found)
            for row in rows:
                found[str(row.get("id"))] = (
                    str(row.get("inventory_item_id")), str(row.get("location_id")),
                    shelf.whole(row.get("quantity")), str(row.get("line_item_id")),
                )  # fmt: skip
            if len(found) >= count or len(found) == before:
                return list(found.values())

    async def _cancel_order(self, number: str) -> None:
        path = self.call.fill("/admin/orders/{id}/cancel", id=number)
        answer = await self.call.send("POST", path, {}, params={"fields": "id,status"})
        if self.one(answer, "order").get("status") != "canceled":
            raise Broken(f"medusa did not cancel order {number}", code="not_cancelled")

    # What the shop holds --------------------------------------------------------------------------------------

    async def _order(self, number: str) -> dict[str, Any] | None:
        try:
            answer = await self.call.get(self.call.fill("/admin/orders/{id}", id=number), {"fields": _WHOLE})
        except NotFound:
            return None
        return self.one(answer, "order")

    async def _order_with(self, key: str) -> dict[str, Any] | None:
        """The order with this number of ours: by its guest's address and, since a merchant may change that, among the
        orders made since the number was. A living one before a cancelled one."""
        ours: list[dict[str, Any]] = []
        if self.finds_by_email:
            asked = {"q": self.email_of(key), "fields": _FEW, "limit": _SCAN, "order": "-created_at"}
            ours = _with(key, (await self.rows("/admin/orders", "orders", asked))[0])
        if not ours:
            ours = await self._scanned(key)
        ours.sort(key=lambda order: order.get("status") == "canceled")
        return ours[0] if ours else None

    async def _scanned(self, key: str) -> list[dict[str, Any]]:
        after = (made_at(key) or clock.now() - timedelta(hours=int(self.config["find_hours"]))) - timedelta(hours=1)
        since = {"created_at[$gte]": after.astimezone(UTC).isoformat(), "fields": _FEW, "order": "-created_at"}
        for page in range(_SCAN_PAGES):
            asked = {**since, "offset": page * _SCAN, "limit": _SCAN}
            orders, count, _ = await self.rows("/admin/orders", "orders", asked)
            ours = _with(key, orders)
            if ours or (page + 1) * _SCAN >= count:
                return ours
            if not orders:
                raise Broken(f"medusa announced {count} orders and sent fewer", code="rows_missing")
        raise Retry("too many orders to look through for ours", code="find_gave_up", after=60.0)

    async def _carts_with(self, key: str) -> list[str]:
        """Carts with this number of ours that are not completed: the one that this process remembers, and those of the
        order's own guest."""
        found = [_unanswered[key]] if key in _unanswered else []
        if self.finds_by_email:
            asked = {
                "email": self.email_of(key),
                "fields": "id,carts.id,carts.completed_at,carts.metadata",
                "limit": _SCAN,
            }
            for customer in (await self.rows("/admin/customers", "customers", asked))[0]:
                carts = [cart for cart in objects(customer.get("carts")) if not cart.get("completed_at")]
                found += [str(cart.get("id")) for cart in _with(key, carts)]
        return list(dict.fromkeys(found))

    async def _emptied(self, cart: str) -> None:
        """Take everything out of a cart, so that it can no longer become an order."""
        path = self.call.fill("/store/carts/{id}", id=cart)
        try:
            held = self.one(await self.shop_gets(path, {"fields": "id,completed_at,items.id"}), "cart")
            for item in objects(held.get("items")):
                await self.shop_does("DELETE", f"{path}/line-items/{self.call.fill('{id}', id=str(item['id']))}")
        except (Refused, NotFound):
            return  # it was completed meanwhile, or is gone: the order that it became is looked for next


def _with(key: str, things: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those whose metadata carries our number."""
    return [t for t in things if isinstance(t.get("metadata"), dict) and t["metadata"].get(PO_META) == key]


def _not_cancelled(number: str, reason: str, status: str | None = None) -> Receipt:
    return Receipt(status=ReceiptStatus.REFUSED, vendor_order_no=number, reason=reason, raw_status=status)


def _instant(raw: Any) -> datetime | None:
    try:
        when = datetime.fromisoformat(raw) if isinstance(raw, str) else None
    except ValueError:
        return None
    return when if when is not None and when.tzinfo is not None else None


def _remember(key: str, cart: str) -> None:
    _unanswered[key] = cart
    while len(_unanswered) > 10_000:
        _unanswered.popitem(last=False)
