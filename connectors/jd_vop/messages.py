"""JD's messages: fetched, landed, and only then deleted. JD keeps a message and hands it out again until it is
deleted, so every message arrives at least once, and none is lost when we stop half-way.

A message says little more than which SKU or order has changed. What it is now is asked for at once and landed with it:
so the landed message can be read without calling anybody, late and doubled ones do no harm, and an order means the
same here as when it is followed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from pydantic import ValidationError

from connectors import jsonio
from connectors.calling import Refused
from connectors.contracts import BadRow, ListingIn, Message, OrderUpdate, PushContent, ShipmentStatus, StockReport
from connectors.jd_vop.orders import TakesOrders
from connectors.jd_vop.vop import china_time, digits, member, number, parts, rows
from connectors.mapping import bad_row
from connectors.stockmap import StockMapper
from hub.kernel import clock
from hub.kernel.errors import Broken, Malformed, NotFound
from hub.kernel.types import Level

OF_SKUS = frozenset({2, 4, 6, 16})  # price, shelf, pool, description
OF_ORDERS = frozenset({1, 5, 10, 12, 14, 15, 18, 23, 25, 31, 109})
AREAS = 50
_MOST_BATCHES = 1000
_MOST_DELETED = 100
_RANK = {
    ShipmentStatus.UNKNOWN: 0,
    ShipmentStatus.PENDING: 0,
    ShipmentStatus.SHIPPED: 1,
    ShipmentStatus.IN_TRANSIT: 2,
    ShipmentStatus.OUT_FOR_DELIVERY: 3,
}  # everything else has come to its end


class FetchesMessages(TakesOrders):
    """PollsMessages for JD."""

    async def messages(self) -> AsyncGenerator[Sequence[Message], None]:
        """Batches of waiting messages, each message once. Land a batch, acknowledge it, then ask for the next: without
        that JD hands out the same ones, and this ends. Deletes nothing."""
        seen: set[str] = set()
        form = {"type": self.config["message_types"]}
        for _ in range(_MOST_BATCHES):
            waiting: dict[str, dict[str, Any]] = {}
            for row in rows(await self.read("api/message/get", form), "messages"):
                waiting[digits(member(row, "id")) or ""] = {**row, "result": _opened(member(row, "result"))}
            fresh = {key: row for key, row in waiting.items() if key and key not in seen}
            if not fresh:
                return
            seen |= fresh.keys()
            yield await self._completed(fresh)

    async def acknowledge(self, ids: Iterable[str]) -> None:
        """Delete landed messages. Raises Refused with those that JD keeps, Retry when it is not known: they come
        again, and must be told from new ones by their id."""
        kept: list[str] = []
        for some in parts(list(dict.fromkeys(ids)), _MOST_DELETED):
            if not await self._delete(some):
                kept += some if len(some) == 1 else [one for one in some if not await self._delete([one])]
        if kept:
            raise Refused(f"JD did not delete {len(kept)} messages, {', '.join(kept[:5])} …", code="not_deleted")

    async def _delete(self, ids: Sequence[str]) -> bool:
        """Whether JD deleted these (older versions take one id a call)."""
        try:
            said = await self.act("api/message/del", {"id": ",".join(ids)})
        except (Refused, NotFound):
            return False
        return said.result not in (False, "false")

    # What the messages are about ------------------------------------------------------------------------------

    async def _completed(self, waiting: Mapping[str, Mapping[str, Any]]) -> list[Message]:
        skus = sorted({sku for row in waiting.values() if (sku := _about(row, OF_SKUS, "skuId"))}, key=int)
        shelf: dict[str, dict[str, Any]] = {}
        for some in parts(skus, 100):
            shelf |= await self._shelf(some)
        orders: dict[str, dict[str, Any]] = {}
        made: list[Message] = []
        for external_id, row in waiting.items():
            kind = number(member(row, "type"))
            body: dict[str, Any] = {name: member(row, name) for name in ("id", "type", "time", "result")}
            sku, jd_order = _about(row, OF_SKUS, "skuId"), _about(row, OF_ORDERS, "orderId", "pOrder")
            if sku is not None:
                body["shelf"] = shelf[sku]
            if jd_order is not None:
                if jd_order not in orders:
                    orders[jd_order] = await self._order_now(jd_order)
                body["order"] = orders[jd_order]
            if kind == AREAS:
                self.forget_areas()
            made.append(Message(external_id=external_id, topic=str(kind), body=orjson.dumps(body, default=str)))
        return made

    async def _shelf(self, skus: Sequence[str]) -> dict[str, dict[str, Any]]:
        """SKU -> what is sold under it now, or that nothing is."""
        try:
            looked = await self.look(skus)
            shown = {record["sku"]: 1 for record in looked.records}
            stock = (await self.stock(shown, str(self.config["area"])))[1] if shown else {}
        except (Refused, NotFound, Broken) as error:  # one odd answer must not hold up all messages behind it
            return {sku: {"asked_at": clock.now(), "problem": str(error)[:300]} for sku in skus}
        found: dict[str, dict[str, Any]] = {sku: {"asked_at": looked.sent_at} for sku in skus}
        for record in looked.records:
            found[record["sku"]] |= {"record": record, "state": stock.get(record["sku"])}
        for sku in (*looked.off, *looked.unpriced):
            found[sku]["gone"] = True
        for row in looked.bad:
            if row.vendor_sku in found and "gone" not in found[row.vendor_sku]:
                found[row.vendor_sku]["problem"] = row.reason
        return found

    async def _order_now(self, jd_order: str) -> dict[str, Any]:
        try:
            found = await self.order(jd_order)
            followed = await self.followed(found)
        except (Refused, NotFound, Broken) as error:
            return {"number": jd_order, "problem": str(error)[:300]}
        updates = [{"child": child, "update": update.model_dump(mode="json")} for child, update in followed]
        return {"number": found.number, "updates": updates}

    # Reading landed messages ----------------------------------------------------------------------------------

    def parse_message(self, topic: str, body: bytes) -> PushContent:
        """What a landed message means. Pure. A type without a meaning here has no effect."""
        try:
            said = jsonio.loads(body, self.manifest.http.max_depth)
        except ValueError as error:
            raise Malformed(f"the message is not JSON: {error}", code="bad_json") from None
        kind = number(topic)
        if not isinstance(said, dict) or kind is None:
            raise Malformed("the message is no object of a known form", code="bad_shape")
        if kind in OF_SKUS:
            return self._of_sku(said)
        return self._of_order(kind, said) if kind in OF_ORDERS else PushContent()

    def _of_sku(self, said: Mapping[str, Any]) -> PushContent:
        sku, shelf = _about(said, OF_SKUS, "skuId"), said.get("shelf")
        if sku is None or not isinstance(shelf, dict):
            return PushContent(bad=(bad_row(dict(said), "the message names no SKU"),))
        listings: list[ListingIn] = []
        bad: list[BadRow] = []
        levels: list[Level] = []
        if isinstance(shelf.get("record"), dict):
            mapped = self.mapper.page([shelf["record"]])
            listings, bad = mapped.listings, mapped.bad
            levels = self._level(sku, shelf.get("state"))
        elif shelf.get("gone"):
            levels = [Level.OUT]
        else:
            bad.append(bad_row({"skuId": sku}, str(shelf.get("problem") or "JD says nothing of it"), "", sku))
        at = datetime.fromisoformat(str(shelf["asked_at"]))
        stock = tuple(StockReport(vendor_sku=sku, level=level, reported_at=at) for level in levels)
        return PushContent(listings=tuple(listings), stock=stock, bad=tuple(bad))

    def _level(self, sku: str, state: Any) -> list[Level]:
        """What a stock state means; nothing for one that is not known."""
        spec = self.manifest.pull_stock
        assert spec is not None
        figures, _ = StockMapper(spec.map, self.config).figures([{"sku": sku, "state": state}])
        return [figure.level for figure in figures if figure.level is not None]

    def _of_order(self, kind: int, said: Mapping[str, Any]) -> PushContent:
        about, now = _about(said, OF_ORDERS, "orderId", "pOrder"), said.get("order")
        if about is None or not isinstance(now, dict):
            return PushContent(bad=(bad_row({"type": kind}, "the message names no order"),))
        word = self._word(kind, said)
        at = china_time(said.get("time"))
        whole = str(now.get("number") or about)
        good: list[OrderUpdate] = []
        bad: list[BadRow] = []
        for entry in now.get("updates") or ():
            try:
                update = OrderUpdate.model_validate(entry["update"])
            except (ValidationError, KeyError, TypeError) as error:
                bad.append(bad_row(entry, f"no usable update: {str(error)[:200]}"))
                continue
            own = about in (entry.get("child"), whole)
            if own and word is not None and at is not None:
                update = self._advanced(update, word, at, alone=about == whole == entry.get("child"))
            good.append(update)
        if not good and word and at and whole == about:  # JD did not say more; a child's number alone is nobody's
            good.append(OrderUpdate(vendor_order_no=about, status=self.manifest.statuses[word], raw_status=word, at=at))
        elif not good:
            bad.append(bad_row({"type": kind, "order": about}, str(now.get("problem") or "JD says nothing of it")))
        return PushContent(orders=tuple(good), bad=tuple(bad))

    def _word(self, kind: int, said: Mapping[str, Any]) -> str | None:
        """The message's own word on its order, where it has one."""
        result = said.get("result")
        state = number(member(result, "state")) if isinstance(result, dict) else None
        if kind == 10 and state == 0:
            return None  # JD would not cancel
        word = f"message.{kind}.{state}" if kind == 5 else f"message.{kind}"
        return word if word in self.manifest.statuses else None

    def _advanced(self, update: OrderUpdate, word: str, at: datetime, *, alone: bool) -> OrderUpdate:
        """The update, or the message's word where JD's own view lags behind it. Of a split order a cancellation is only
        believed when JD's view of the whole says so: a child's would withdraw its sisters."""
        status = self.manifest.statuses[word]
        cancels_more = status is ShipmentStatus.CANCELLED and not alone
        if cancels_more or _RANK.get(status, 9) <= _RANK.get(update.status, 9):
            return update
        return update.model_copy(update={"status": status, "raw_status": word, "at": max(at, update.at)})


def _opened(result: Any) -> Any:
    """A result that came as a text with JSON in it."""
    if isinstance(result, str) and result.lstrip().startswith("{"):
        try:
            return orjson.loads(result)
        except orjson.JSONDecodeError:
            return result
    return result


def _about(row: Mapping[str, Any], kinds: frozenset[int], *names: str) -> str | None:
    """The SKU or order that a message is about, if it is of one of these types. JD has written ` orderId` too."""
    if number(member(row, "type")) not in kinds:
        return None
    result = member(row, "result")
    if not isinstance(result, dict):
        return None
    tidy = {str(name).strip(): value for name, value in result.items()}
    return next((found for name in names if (found := digits(member(tidy, name)))), None)
