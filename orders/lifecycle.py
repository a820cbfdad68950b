"""The lives of an order, an order line and a purchase order: every status, every event that moves it, and
nothing else. Pure: it knows neither the database nor the clock. The tables are checked when the module is
imported, so a status that cannot be reached or left by accident stops the process at boot, not at night."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

from hub.kernel.errors import Conflict

S = TypeVar("S", bound=StrEnum)


class OrderStatus(StrEnum):
    """A mall's order. From `placed` on it follows its lines (see `order_event`)."""

    RESERVED = "reserved"  # stock is held until reserved_until, nothing is bought
    PLACED = "placed"  # t0 has passed; vendors are being asked, or a review holds it (lines still reserved)
    ACCEPTED = "accepted"  # a vendor has accepted every line that is still wanted
    SHIPPED = "shipped"  # every line that is still wanted has left its vendor
    CANCELLING = "cancelling"  # every line that is not finished waits for its vendor's word on a cancellation
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    UNSUPPLIED = "unsupplied"  # no vendor was left


class LineStatus(StrEnum):
    """One line of an order."""

    RESERVED = "reserved"
    PLACED = "placed"  # on a purchase order that its vendor has not accepted yet
    ACCEPTED = "accepted"
    REROUTING = "rerouting"  # refused; the next offer is being looked for
    CANCELLING = "cancelling"  # the mall cancelled; the vendor has not confirmed
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    REVEALED = "revealed"  # the mall has seen its codes; whether it may still be cancelled is the vendor's rule
    RETURNED = "returned"  # refused at the door, and all of it is back
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    UNSUPPLIED = "unsupplied"


class PoStatus(StrEnum):
    """One purchase order at one vendor."""

    QUEUED = "queued"  # recorded; the vendor has it only if an attempt is in flight
    AWAITING_VENDOR = "awaiting_vendor"  # this vendor answers in the portal
    UNKNOWN = "unknown"  # the vendor's answer was lost: it may or may not have the order
    PENDING = "pending"  # the vendor has it and has not decided
    ACCEPTED = "accepted"
    CANCELLING = "cancelling"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"  # the vendor accepted and cancelled later
    CANCELLED = "cancelled"


class AfterSaleStatus(StrEnum):
    """One case of after-sales: some units of one line, refused at the door, sent back, or paid back."""

    REQUESTED = "requested"
    APPROVED = "approved"
    RETURNING = "returning"  # the goods are on their way back
    RECEIVED = "received"  # the vendor has them
    REFUNDED = "refunded"
    REPLACED = "replaced"  # a new order makes up for it
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True)
class Life(Generic[S]):
    """A transition table: where a life begins, where it may end, and what moves it."""

    initial: S
    terminal: frozenset[S]
    table: Mapping[S, Mapping[str, S]]


_FOLLOWS_LINES = {
    "reroute": OrderStatus.PLACED,
    "accept": OrderStatus.ACCEPTED,
    "ship": OrderStatus.SHIPPED,
    "ask_cancel": OrderStatus.CANCELLING,
    "complete": OrderStatus.COMPLETED,
    "cancel": OrderStatus.CANCELLED,
    "give_up": OrderStatus.UNSUPPLIED,
}

ORDER = Life(
    initial=OrderStatus.RESERVED,
    terminal=frozenset({OrderStatus.CANCELLED, OrderStatus.EXPIRED, OrderStatus.UNSUPPLIED}),
    table={
        OrderStatus.RESERVED: {
            "confirm": OrderStatus.PLACED,
            "cancel": OrderStatus.CANCELLED,
            "expire": OrderStatus.EXPIRED,
        },
        OrderStatus.PLACED: _FOLLOWS_LINES,
        OrderStatus.ACCEPTED: _FOLLOWS_LINES,
        OrderStatus.SHIPPED: _FOLLOWS_LINES,
        OrderStatus.CANCELLING: _FOLLOWS_LINES,
        OrderStatus.COMPLETED: _FOLLOWS_LINES,  # codes that were revealed may still be cancelled
        OrderStatus.CANCELLED: {},
        OrderStatus.EXPIRED: {},
        OrderStatus.UNSUPPLIED: {},
    },
)

LINE = Life(
    initial=LineStatus.RESERVED,
    terminal=frozenset(
        {LineStatus.DELIVERED, LineStatus.RETURNED, LineStatus.CANCELLED, LineStatus.EXPIRED, LineStatus.UNSUPPLIED}
    ),
    table={
        LineStatus.RESERVED: {
            "confirm": LineStatus.PLACED,
            "cancel": LineStatus.CANCELLED,
            "expire": LineStatus.EXPIRED,
        },
        LineStatus.PLACED: {
            "accept": LineStatus.ACCEPTED,
            "refuse": LineStatus.REROUTING,
            "cancel": LineStatus.CANCELLED,
            "ask_cancel": LineStatus.CANCELLING,
        },
        LineStatus.ACCEPTED: {
            "refuse": LineStatus.REROUTING,
            "ask_cancel": LineStatus.CANCELLING,
            "ship": LineStatus.SHIPPED,
            "deliver": LineStatus.DELIVERED,
            "reveal": LineStatus.REVEALED,
        },
        LineStatus.REROUTING: {
            "route": LineStatus.PLACED,
            "give_up": LineStatus.UNSUPPLIED,
            "cancel": LineStatus.CANCELLED,
        },
        LineStatus.CANCELLING: {
            "cancel": LineStatus.CANCELLED,
            "refuse": LineStatus.CANCELLED,
            "accept": LineStatus.ACCEPTED,
            "ship": LineStatus.SHIPPED,
            "deliver": LineStatus.DELIVERED,
            "reveal": LineStatus.REVEALED,
        },
        LineStatus.SHIPPED: {"deliver": LineStatus.DELIVERED, "come_back": LineStatus.RETURNED},
        LineStatus.RETURNED: {},
        LineStatus.REVEALED: {
            "ship": LineStatus.REVEALED,  # a pool's own word for codes that were shown
            "deliver": LineStatus.REVEALED,
            "refuse": LineStatus.REROUTING,
            "ask_cancel": LineStatus.CANCELLING,
        },
        LineStatus.DELIVERED: {},
        LineStatus.CANCELLED: {},
        LineStatus.EXPIRED: {},
        LineStatus.UNSUPPLIED: {},
    },
)

PURCHASE_ORDER = Life(
    initial=PoStatus.QUEUED,
    terminal=frozenset({PoStatus.DELIVERED, PoStatus.REFUSED, PoStatus.WITHDRAWN, PoStatus.CANCELLED}),
    table={
        PoStatus.QUEUED: {
            "portal": PoStatus.AWAITING_VENDOR,
            "accept": PoStatus.ACCEPTED,
            "refuse": PoStatus.REFUSED,
            "lose": PoStatus.UNKNOWN,
            "wait": PoStatus.PENDING,
            "cancel": PoStatus.CANCELLED,
            "ask_cancel": PoStatus.CANCELLING,
        },
        PoStatus.AWAITING_VENDOR: {
            "accept": PoStatus.ACCEPTED,
            "refuse": PoStatus.REFUSED,
            "cancel": PoStatus.CANCELLED,
        },
        PoStatus.UNKNOWN: {
            "accept": PoStatus.ACCEPTED,
            "refuse": PoStatus.REFUSED,
            "lose": PoStatus.UNKNOWN,
            "wait": PoStatus.PENDING,
            "absent": PoStatus.QUEUED,  # the vendor does not know our number: place it again under the same one
            "ask_cancel": PoStatus.CANCELLING,
        },
        PoStatus.PENDING: {
            "accept": PoStatus.ACCEPTED,
            "refuse": PoStatus.REFUSED,
            "lose": PoStatus.PENDING,
            "wait": PoStatus.PENDING,
            "absent": PoStatus.QUEUED,
            "ask_cancel": PoStatus.CANCELLING,
        },
        PoStatus.ACCEPTED: {
            "ask_cancel": PoStatus.CANCELLING,
            "withdraw": PoStatus.WITHDRAWN,
            "ship": PoStatus.SHIPPED,
            "deliver": PoStatus.DELIVERED,
        },
        PoStatus.CANCELLING: {
            "accept": PoStatus.CANCELLING,  # the vendor took it after we decided to cancel: now cancel there
            "wait": PoStatus.CANCELLING,
            "lose": PoStatus.CANCELLING,
            "refuse": PoStatus.CANCELLED,
            "absent": PoStatus.CANCELLED,
            "withdraw": PoStatus.CANCELLED,
            "cancel": PoStatus.CANCELLED,
            "keep": PoStatus.ACCEPTED,  # the vendor will not cancel
            "ship": PoStatus.SHIPPED,
            "deliver": PoStatus.DELIVERED,
        },
        PoStatus.SHIPPED: {"deliver": PoStatus.DELIVERED},
        PoStatus.DELIVERED: {},
        PoStatus.REFUSED: {},
        PoStatus.WITHDRAWN: {},
        PoStatus.CANCELLED: {},
    },
)

AFTER_SALE = Life(
    initial=AfterSaleStatus.REQUESTED,
    terminal=frozenset(
        {AfterSaleStatus.REFUNDED, AfterSaleStatus.REPLACED, AfterSaleStatus.DECLINED, AfterSaleStatus.WITHDRAWN}
    ),
    table={
        AfterSaleStatus.REQUESTED: {
            "approve": AfterSaleStatus.APPROVED,
            "decline": AfterSaleStatus.DECLINED,
            "withdraw": AfterSaleStatus.WITHDRAWN,
            "send": AfterSaleStatus.RETURNING,  # refused at the door: the carrier takes it back unasked
        },
        AfterSaleStatus.APPROVED: {
            "send": AfterSaleStatus.RETURNING,
            "receive": AfterSaleStatus.RECEIVED,
            "withdraw": AfterSaleStatus.WITHDRAWN,
            "refund": AfterSaleStatus.REFUNDED,  # the buyer keeps the goods
            "replace": AfterSaleStatus.REPLACED,
        },
        AfterSaleStatus.RETURNING: {"receive": AfterSaleStatus.RECEIVED, "decline": AfterSaleStatus.DECLINED},
        AfterSaleStatus.RECEIVED: {"refund": AfterSaleStatus.REFUNDED, "replace": AfterSaleStatus.REPLACED},
        AfterSaleStatus.REFUNDED: {},
        AfterSaleStatus.REPLACED: {},
        AfterSaleStatus.DECLINED: {},
        AfterSaleStatus.WITHDRAWN: {},
    },
)

TRANSITIONS: dict[type[StrEnum], Life[Any]] = {
    OrderStatus: ORDER,
    LineStatus: LINE,
    PoStatus: PURCHASE_ORDER,
    AfterSaleStatus: AFTER_SALE,
}


class WrongState(Conflict):
    """The event cannot happen to something in this status."""


def move(current: S, event: str) -> S:
    """The status after `event`; raises WrongState (409) when that event cannot happen to `current`."""
    following = TRANSITIONS[type(current)].table[current].get(event)
    if following is None:
        raise WrongState(
            f"this is {current.value} and cannot {event.replace('_', ' ')}",
            code="wrong_state",
            facts={"status": current.value, "event": event},
        )
    return type(current)(following)


def can(current: StrEnum, event: str) -> bool:
    """Whether `event` may happen to something in this status."""
    return event in TRANSITIONS[type(current)].table[current]


def terminal(current: StrEnum) -> bool:
    """Whether nothing can happen any more."""
    return current in TRANSITIONS[type(current)].terminal


_DONE_BY_VENDOR = {LineStatus.DELIVERED, LineStatus.REVEALED}
_LEFT = {LineStatus.SHIPPED, *_DONE_BY_VENDOR}
_TAKEN = {LineStatus.ACCEPTED, *_LEFT}


def finished(line: LineStatus) -> bool:
    """Whether nobody needs to do anything about this line any more."""
    return terminal(line) or line in _DONE_BY_VENDOR


def order_event(lines: Collection[LineStatus]) -> str:
    """The event that brings a placed order in step with its lines. Cancelled lines do not count while another
    line lives; an order whose wanted lines all failed for want of supply is unsupplied."""
    if all(finished(line) for line in lines):
        if any(line in _DONE_BY_VENDOR for line in lines):
            return "complete"
        return "give_up" if LineStatus.UNSUPPLIED in lines else "cancel"
    living = [line for line in lines if not terminal(line) or line in _DONE_BY_VENDOR]
    if all(line is LineStatus.CANCELLING for line in living):
        return "ask_cancel"
    wanted = [line for line in living if line is not LineStatus.CANCELLING]
    if all(line in _LEFT for line in wanted):
        return "ship"
    return "accept" if all(line in _TAKEN for line in wanted) else "reroute"


def drawing(kind: type[StrEnum]) -> str:
    """The table as a Mermaid state diagram: what docs/ordering.md shows."""
    life = TRANSITIONS[kind]
    drawn = ["stateDiagram-v2", f"    [*] --> {life.initial.value}"]
    for state in kind:
        ways: dict[str, list[str]] = {}
        for event, following in life.table[state].items():
            ways.setdefault(following.value, []).append(event)
        drawn += [f"    {state.value} --> {end}: {', '.join(events)}" for end, events in ways.items()]
        if state in life.terminal:
            drawn.append(f"    {state.value} --> [*]")
    return "\n".join(drawn)


def validate(kind: type[StrEnum], life: Life[S]) -> None:
    """Raises ValueError unless every status has a row, every status can be reached, and exactly the statuses
    marked terminal have no way out."""
    states = set(kind)
    if set(life.table) != states:
        raise ValueError(f"{kind.__name__}: the table must have one row for each status")
    reached, frontier = {life.initial}, [life.initial]
    while frontier:
        for following in life.table[frontier.pop()].values():
            if following not in reached:
                reached.add(following)
                frontier.append(following)
    if unreachable := states - reached:
        raise ValueError(f"{kind.__name__}: nothing leads to {', '.join(sorted(unreachable))}")
    dead_ends = {state for state, ways_out in life.table.items() if not ways_out}
    if dead_ends != life.terminal:
        raise ValueError(f"{kind.__name__}: {', '.join(sorted(dead_ends ^ life.terminal))} marked wrongly as terminal")


validate(OrderStatus, ORDER)
validate(LineStatus, LINE)
validate(PoStatus, PURCHASE_ORDER)
validate(AfterSaleStatus, AFTER_SALE)
