"""What comes in, as columns: demands, supplies and lead times, each row checked. Names are kept as codes into a list
of names, numbers as 64-bit integers: units, microseconds, ten-thousandths of the currency. A table remembers where
its rows came from, so that whatever is wrong with a row can be said with its place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from hub.kernel.errors import Rejected

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
Row = TypeVar("Row")

UNITS = 1_000_000_000  # most units of one item, asked or in stock: products of two such numbers stay exact
TIERS = 999
HOUR = 3_600_000_000  # microseconds
HOURS = 100_000
MONEY = 10_000  # costs are whole ten-thousandths
COST = 100_000  # of a unit
NAME = 200
NONE = -1  # no cap, no headcount, no pool
NEVER = 2**62  # does not expire

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Demand(NamedTuple):
    """What one site asks of one item. `cap` bounds what counts of the quantity, and so do `headcount` people at
    `per_head` units each. `floor` is promised before tiers share; `pool` names the reserve it may draw on first."""

    site: str
    item: str
    quantity: int
    tier: int = 1
    cap: int | None = None
    floor: int = 0
    pool: str = ""
    headcount: int | None = None
    per_head: int = 1


class Supply(NamedTuple):
    """A lot in a warehouse. `expires` is an instant, or hours after the start. It leaves in whole packs. With a
    `pool` it is an earmarked reserve: the pool's sites share it first, and what they cannot use is everybody's."""

    warehouse: str
    item: str
    quantity: int
    lot: str = ""
    expires: datetime | Decimal | None = None
    pool: str = ""
    pack: int = 1


class LeadTime(NamedTuple):
    """How long a warehouse takes to a site, and what one unit costs there. No row: not reachable."""

    warehouse: str
    site: str
    hours: Decimal
    cost: Decimal = Decimal(0)


@dataclass(frozen=True)
class Names:
    """A column of names: a code for each row into `names`."""

    names: list[str]
    codes: Ints


Place = Callable[[int], str]  # the number of a row, counted from 0, as people find it


@dataclass(frozen=True)
class DemandTable:
    """Rows of Demand as columns."""

    place: Place
    site: Names
    item: Names
    quantity: Ints
    tier: Ints
    cap: Ints
    floor: Ints
    pool: Names
    headcount: Ints
    per_head: Ints

    @classmethod
    def of(cls, rows: Iterable[Demand]) -> DemandTable:
        """A table of these rows; raises Rejected at the first bad one."""
        take = _Taker("demand")
        for row in take.rows(rows):
            take.name("site", row.site)
            take.name("item", row.item)
            take.number("quantity", row.quantity, 0, UNITS)
            take.number("tier", row.tier, 0, TIERS)
            take.number("cap", row.cap, 0, UNITS)
            take.number("floor", row.floor, 0, UNITS)
            take.name("pool", row.pool, blank=True)
            take.number("headcount", row.headcount, 0, UNITS)
            take.number("per_head", row.per_head, 0, UNITS)
        return cls(
            take.place, take.names("site"), take.names("item"), take.ints("quantity"), take.ints("tier"),
            take.ints("cap"), take.ints("floor"), take.names("pool"), take.ints("headcount"), take.ints("per_head"),
        )  # fmt: skip


@dataclass(frozen=True)
class SupplyTable:
    """Rows of Supply as columns. `expires` is microseconds: since 1970 where `dated`, else after the start."""

    place: Place
    warehouse: Names
    item: Names
    quantity: Ints
    lot: Names
    expires: Ints
    dated: Mask
    pool: Names
    pack: Ints

    @classmethod
    def of(cls, rows: Iterable[Supply]) -> SupplyTable:
        """A table of these rows; raises Rejected at the first bad one."""
        take = _Taker("supply")
        for row in take.rows(rows):
            take.name("warehouse", row.warehouse)
            take.name("item", row.item)
            take.number("quantity", row.quantity, 0, UNITS)
            take.name("lot", row.lot, blank=True)
            take.put("expires", take.expiry(row.expires))
            take.put("dated", isinstance(row.expires, datetime))
            take.name("pool", row.pool, blank=True)
            take.number("pack", row.pack, 1, UNITS)
        return cls(
            take.place, take.names("warehouse"), take.names("item"), take.ints("quantity"), take.names("lot"),
            take.ints("expires"), take.ints("dated").astype(np.bool_), take.names("pool"), take.ints("pack"),
        )  # fmt: skip


@dataclass(frozen=True)
class LeadTable:
    """Rows of LeadTime as columns."""

    place: Place
    warehouse: Names
    site: Names
    hours: Ints
    cost: Ints

    @classmethod
    def of(cls, rows: Iterable[LeadTime]) -> LeadTable:
        """A table of these rows; raises Rejected at the first bad one."""
        take = _Taker("lead time")
        for row in take.rows(rows):
            take.name("warehouse", row.warehouse)
            take.name("site", row.site)
            take.decimal("hours", row.hours, HOUR, HOURS)
            take.decimal("cost", row.cost, MONEY, COST)
        return cls(
            take.place, take.names("warehouse"), take.names("site"), take.ints("hours"), take.ints("cost")
        )  # fmt: skip


def bad_name(name: str, *, blank: bool = False) -> str:
    """What is wrong with a name; empty when nothing is."""
    if not name:
        return "" if blank else "is empty"
    if len(name) > NAME:
        return f"is longer than {NAME} characters"
    if not name.isprintable():
        return "has a character that cannot be printed"
    if name[0] in "=+-@" and len(name) > 1 and not name[1:].replace(".", "", 1).isdigit():
        return f"{name!r} would run as a formula in a spreadsheet"
    return ""


def microseconds(instant: datetime) -> int:
    """An aware instant as microseconds since 1970."""
    return (instant - EPOCH) // timedelta(microseconds=1)


def scaled(value: Decimal, unit: int, most: int) -> int | None:
    """`value` in whole 1/unit; None when it is negative, beyond `most`, not finite or finer than that."""
    if not value.is_finite() or not 0 <= value <= most:
        return None
    exact = value * unit
    return int(exact) if exact == int(exact) else None


@dataclass
class _Taker:
    """Collects checked values, column by column."""

    what: str
    row: int = -1
    columns: dict[str, list[int]] = field(default_factory=dict)
    known: dict[str, dict[str, int]] = field(default_factory=dict)

    def place(self, row: int) -> str:
        return f"{self.what} {row + 1}"

    def rows(self, rows: Iterable[Row]) -> Iterator[Row]:
        for self.row, row in enumerate(rows):
            yield row

    def put(self, column: str, value: int) -> None:
        self.columns.setdefault(column, []).append(value)

    def name(self, column: str, value: str, *, blank: bool = False) -> None:
        codes = self.known.setdefault(column, {})
        code = codes.get(value)
        if code is None:
            if wrong := bad_name(value, blank=blank):
                self.refuse(column, wrong)
            code = codes[value] = len(codes)
        self.put(column, code)

    def number(self, column: str, value: int | None, least: int, most: int) -> None:
        if value is not None and (type(value) is not int or not least <= value <= most):
            self.refuse(column, f"{value!r} is not a whole number from {least} to {most}")
        self.put(column, NONE if value is None else value)

    def decimal(self, column: str, value: Decimal, unit: int, most: int) -> None:
        exact = scaled(value, unit, most)
        if exact is None:
            self.refuse(column, f"{value} is not a number from 0 to {most}")
        else:
            self.put(column, exact)

    def expiry(self, value: datetime | Decimal | None) -> int:
        if value is None:
            return NEVER
        if isinstance(value, datetime):
            if value.tzinfo is None:
                self.refuse("expires", f"{value} has no time zone")
            return microseconds(value)
        exact = scaled(value, HOUR, 10 * HOURS)
        if exact is None:
            self.refuse("expires", f"{value} is not a number of hours")
        return exact or 0

    def refuse(self, column: str, wrong: str) -> None:
        raise Rejected(f"{self.place(self.row)}, field {column}: {wrong}")

    def ints(self, column: str) -> Ints:
        return np.array(self.columns.get(column, []), dtype=np.int64)

    def names(self, column: str) -> Names:
        return Names(list(self.known.get(column, {})), self.ints(column))
