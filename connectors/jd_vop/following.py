"""Reading orders at JD and following them. JD splits an order into children, a child perhaps again, each with its own
parcels. A child that JD cancels is an exception of the whole and no cancellation of it: the other children go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from connectors.calling import Refused
from connectors.contracts import OrderUpdate, ShipmentStatus
from connectors.jd_vop.vop import SpeaksVop, china_time, digits, member, number, together
from hub.kernel import clock
from hub.kernel.errors import Broken, NotFound

_DEEPEST = 5
_RANK = {status: rank for rank, status in enumerate(ShipmentStatus)} | {ShipmentStatus.UNKNOWN: -1}
_FINAL = frozenset(
    {ShipmentStatus.DELIVERED, ShipmentStatus.REFUSED, ShipmentStatus.RETURNED, ShipmentStatus.EXCEPTION}
)


@dataclass(frozen=True, slots=True)
class Order:
    """What selectJdOrder says, split or not."""

    number: str  # of the whole
    living: bool
    confirmed: bool
    lines: list[Any]
    leaves: list[dict[str, Any]]  # its last children, or itself


class FollowsOrders(SpeaksVop):
    """TracksOrders for JD."""

    async def order(self, jd_order: str) -> Order:
        """The whole order that this number belongs to, with its children. Raises NotFound."""
        asked = jd_order
        for _ in range(_DEEPEST):
            form = {"jdOrderId": asked, "queryExts": self.manifest.options["order_exts"]}
            result = (await self.read("api/order/selectJdOrder", form)).result
            if not isinstance(result, dict):
                raise Broken(f"jd_vop: order {asked} is no object", code="bad_shape")
            above = digits(member(result, "pOrder"))
            if above is None or above == asked:
                return _order(asked, result)
            asked = above  # it is a child
        raise Broken(f"jd_vop: the parents of order {jd_order} go in a circle", code="bad_shape")

    async def track(self, vendor_order_no: str) -> Sequence[OrderUpdate]:
        """JD's view of the order now: one update a parcel; nothing when JD has no such order."""
        jd_order = digits(vendor_order_no)
        if jd_order is None:
            return ()
        try:
            found = await self.order(jd_order)
        except NotFound:
            return ()
        return tuple(update for _, update in await self.followed(found, vendor_order_no))

    async def followed(self, found: Order, named: str | None = None) -> list[tuple[str, OrderUpdate]]:
        """The updates of an order, each with JD's number of the child that it is about."""
        named = named or found.number
        asked_at = clock.now()
        if not found.living:
            at = latest(found.leaves, asked_at)
            return [(found.number, self._update(named, "orderState.0", at))]
        parcels = await together(self._parcels(str(leaf["_number"])) for leaf in found.leaves)
        split = len(found.leaves) > 1 or str(found.leaves[0]["_number"]) != found.number
        made: list[tuple[str, OrderUpdate]] = []
        waiting: list[tuple[str, OrderUpdate]] = []
        for leaf, (tracks, bills) in zip(found.leaves, parcels, strict=True):
            child = str(leaf["_number"])
            raw = self.word_of(leaf)
            at = latest([leaf, *tracks], asked_at)
            if self.manifest.statuses.get(raw) is ShipmentStatus.CANCELLED:  # one child of several: no cancellation
                update = self._update(named, f"{raw} of child {child}", at, status=ShipmentStatus.EXCEPTION)
                made.append((child, update))
                continue
            own = [self._update(named, raw, at, tracking_no=no, carrier=by) for no, by in bills]
            update = self._update(named, raw, at)
            if not own and split and update.status in _FINAL:
                own = [self._update(named, raw, at, tracking_no=child, carrier="京东")]
            made += [(child, parcel) for parcel in own]
            if not own:
                waiting.append((child, update))
        if waiting and not any(update.tracking_no for _, update in made):
            made.append(max(waiting, key=lambda one: _RANK[one[1].status]))
        return made

    def word_of(self, leaf: Mapping[str, Any]) -> str:
        """The field of an order that says most about where it stands, as field.value."""
        alive, logistic = number(member(leaf, "orderState")), number(member(leaf, "state"))
        if alive in (0, 2):
            return f"orderState.{alive}"
        if logistic in (1, 2):
            return f"state.{logistic}"
        jd_state = number(member(leaf, "jdOrderState"))
        word = f"jdOrderState.{jd_state}"
        early = self.manifest.statuses.get(word) is ShipmentStatus.PENDING
        if china_time(member(leaf, "outTime")) is not None and (jd_state is None or early):
            return "outTime"
        if jd_state is not None:
            return word
        return f"state.{logistic}"

    def _update(
        self, jd_order: str, raw: str, at: datetime, *, status: ShipmentStatus | None = None,
        tracking_no: str | None = None, carrier: str | None = None,
    ) -> OrderUpdate:  # fmt: skip
        known = ShipmentStatus.PENDING if raw == "state.0" else self.manifest.statuses.get(raw, ShipmentStatus.UNKNOWN)
        return OrderUpdate(
            vendor_order_no=jd_order, status=status or known, raw_status=raw, at=at, tracking_no=tracking_no,
            carrier=carrier,
        )  # fmt: skip

    async def _parcels(self, jd_order: str) -> tuple[list[dict[str, Any]], list[tuple[str, str | None]]]:
        """The scans of an order (times alone are read: the texts name people) and its parcels (number, carrier)."""
        try:
            result = (await self.read("api/order/orderTrack", {"jdOrderId": jd_order, "waybillCode": 1})).result
        except (NotFound, Refused):
            return [], []  # JD keeps them for two months
        if isinstance(result, str):
            try:
                result = orjson.loads(result)
            except orjson.JSONDecodeError:
                result = None
        if not isinstance(result, dict):
            return [], []
        tracks = [row for row in member(result, "orderTrack") or () if isinstance(row, dict)]
        bills: dict[str, str | None] = {}
        for row in member(result, "waybillCode") or ():
            code = member(row, "deliveryOrderId") if isinstance(row, dict) else None
            if isinstance(code, str | int) and str(code).strip() not in ("", "0"):
                carrier = member(row, "carrier")
                bills[str(code).strip()] = carrier if isinstance(carrier, str) and carrier else None
        return tracks, list(bills.items())


def _order(asked: str, result: Mapping[str, Any]) -> Order:
    living, confirmed = number(member(result, "orderState")), number(member(result, "submitState"))
    if living is None or confirmed is None:
        raise Broken(f"jd_vop does not say whether order {asked} lives", code="bad_shape")
    above, lines = member(result, "pOrder"), member(result, "sku")
    whole = digits(member(result, "jdOrderId"))
    if isinstance(above, dict):
        whole, lines = digits(member(above, "jdOrderId")) or whole, member(above, "sku") or lines
    return Order(
        whole or asked, living == 1, confirmed == 1, lines if isinstance(lines, list) else [], leaves_of(result)
    )


def leaves_of(order: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The last children of an order, each with its number, or the order itself."""
    children = member(order, "cOrder")
    if isinstance(children, list) and children:
        return [leaf for child in children if isinstance(child, dict) for leaf in leaves_of(child)]
    above = member(order, "pOrder")
    own = digits(member(order, "jdOrderId")) or (
        digits(member(above, "jdOrderId")) if isinstance(above, dict) else None
    )
    return [{**order, "_number": own or ""}]


def latest(said: Sequence[Mapping[str, Any]], otherwise: datetime) -> datetime:
    """The newest time in these scans and orders that has come."""
    times = [
        at
        for row in said
        for name in ("msgTime", "finishTime", "outTime")
        if (at := china_time(member(row, name))) is not None and at <= otherwise
    ]
    return max(times, default=otherwise)
