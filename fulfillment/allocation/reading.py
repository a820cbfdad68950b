"""The three input files and a plan, read into tables. The first thing that is wrong is refused with its file, line
and field."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import NoReturn
from zoneinfo import ZoneInfo

import numpy as np

from fulfillment.allocation.checker import PlanTable
from fulfillment.allocation.tables import (
    COST,
    HOUR,
    HOURS,
    MONEY,
    NEVER,
    NONE,
    TIERS,
    UNITS,
    DemandTable,
    Ints,
    LeadTable,
    Names,
    SupplyTable,
    bad_name,
    microseconds,
    scaled,
)  # fmt: skip
from fulfillment.allocation.text import Sheet
from hub.kernel.errors import Rejected

ZONE = ZoneInfo("Asia/Shanghai")  # of dates and times without a zone
Part = dict[str, tuple[str, ...]]
_DATE = re.compile(r"(\d{4})[-/.]?(\d{1,2})[-/.]?(\d{1,2})")
_WHOLE = re.compile(r"\d+(?:\.0+)?")
_SIGNED = re.compile(r"-?\d{1,18}")


def read_demands(name: str, raw: bytes) -> tuple[DemandTable, Sheet]:
    """demands.csv: site, item, quantity, tier, cap; floor, pool, headcount, per_head if there."""
    sheet = Sheet(name, raw, ("site", "item", "quantity", "tier"), ("cap", "floor", "pool", "headcount", "per_head"))
    take = _Taker(sheet)
    for part in take.parts():
        take.names("site", part)
        take.names("item", part)
        take.whole("quantity", part, 0, UNITS)
        take.whole("tier", part, 0, TIERS)
        take.whole("cap", part, 0, UNITS, blank=NONE)
        take.whole("floor", part, 0, UNITS, blank=0)
        take.names("pool", part, blank=True)
        take.whole("headcount", part, 0, UNITS, blank=NONE)
        take.whole("per_head", part, 0, UNITS, blank=1)
    table = DemandTable(
        sheet.place, take.named("site"), take.named("item"), take.ints("quantity"), take.ints("tier"),
        take.ints("cap", NONE), take.ints("floor"), take.named("pool"), take.ints("headcount", NONE),
        take.ints("per_head", 1),
    )  # fmt: skip
    return table, sheet


def read_supplies(name: str, raw: bytes) -> tuple[SupplyTable, Sheet]:
    """supplies.csv: warehouse, item, quantity, lot, expires; pool, pack if there."""
    sheet = Sheet(name, raw, ("warehouse", "item", "quantity"), ("lot", "expires", "pool", "pack"))
    take = _Taker(sheet)
    for part in take.parts():
        take.names("warehouse", part)
        take.names("item", part)
        take.whole("quantity", part, 0, UNITS)
        take.names("lot", part, blank=True)
        take.read("expires", part, _expires)
        take.names("pool", part, blank=True)
        take.whole("pack", part, 1, UNITS, blank=1)
    expires = take.ints("expires", 2 * NEVER - 1)
    dated = expires % 2 == 0
    table = SupplyTable(
        sheet.place, take.named("warehouse"), take.named("item"), take.ints("quantity"), take.named("lot"),
        np.where(expires == 2 * NEVER - 1, NEVER, expires // 2), dated, take.named("pool"), take.ints("pack", 1),
    )  # fmt: skip
    return table, sheet


def read_leads(name: str, raw: bytes) -> tuple[LeadTable, Sheet]:
    """lead-times.csv: warehouse, site, hours, cost."""
    sheet = Sheet(name, raw, ("warehouse", "site", "hours"), ("cost",))
    take = _Taker(sheet)
    for part in take.parts():
        take.names("warehouse", part)
        take.names("site", part)
        take.read("hours", part, lambda text: _decimal(text, HOUR, HOURS, "hours"))
        take.read("cost", part, lambda text: _decimal(text, MONEY, COST, "an amount"))
    table = LeadTable(sheet.place, take.named("warehouse"), take.named("site"), take.ints("hours"), take.ints("cost"))
    return table, sheet


def read_plan(name: str, raw: bytes) -> PlanTable:
    """plan.csv: warehouse, site, item, lot, quantity. What its numbers mean is for the checker to judge."""
    sheet = Sheet(name, raw, ("warehouse", "site", "item", "lot", "quantity"))
    take = _Taker(sheet)
    for part in take.parts():
        for column in ("warehouse", "site", "item", "lot"):
            take.names(column, part, blank=True)
        take.read("quantity", part, _signed)
    warehouse, site, item, lot = (take.named(column) for column in ("warehouse", "site", "item", "lot"))
    return PlanTable(sheet.place, warehouse, site, item, lot, take.ints("quantity"))


@dataclass
class _Taker:
    """Collects the checked values of a sheet's columns. A column of digits alone is taken at once; any other value by
    value, each different text once."""

    sheet: Sheet
    done: int = 0
    rows: int = 0
    columns: dict[str, list[Ints]] = field(default_factory=dict)
    known: dict[str, dict[str, int]] = field(default_factory=dict)

    def parts(self) -> Iterator[Part]:
        """The pieces of the sheet, counted as they are taken."""
        for part in self.sheet.columns(*self.sheet.header):
            self.rows += len(next(iter(part.values())))
            yield part
            self.done = self.rows

    def names(self, column: str, part: Part, *, blank: bool = False) -> None:
        """A column of names."""

        def new(text: str) -> int:
            name = text.strip()
            if wrong := bad_name(name, blank=blank):
                raise ValueError(wrong)
            return canonical.setdefault(name, len(canonical))

        canonical = self.known.setdefault(f"{column} names", {})
        self.read(column, part, new)

    def whole(self, column: str, part: Part, least: int, most: int, *, blank: int | None = None) -> None:
        """A column of whole numbers within bounds; an empty one is `blank`, if that is given."""
        values = part.get(column)
        if values is None:
            return
        joined = "".join(values)
        if joined.isascii() and joined.isdigit() and all(values) and len(max(values, key=len)) <= 10:
            numbers = np.array(list(map(int, values)), dtype=np.int64)
            if int(numbers.min()) >= least and int(numbers.max()) <= most:
                self.columns.setdefault(column, []).append(numbers)
                return

        def one(text: str) -> int:
            if not text and blank is not None:
                return blank
            return _whole(text, least, most)

        self.read(column, part, one)

    def read(self, column: str, part: Part, how: Callable[[str], int]) -> None:
        """A column by a function that raises ValueError for what it refuses."""
        values = part.get(column)
        if values is None:
            return
        known = self.known.setdefault(column, {})
        for text in [text for text in dict.fromkeys(values) if text not in known]:
            try:
                known[text] = how(text.strip())
            except ValueError:
                self._refuse(column, values, how)
        numbers = np.array([known[text] for text in values], dtype=np.int64)
        self.columns.setdefault(column, []).append(numbers)

    def ints(self, column: str, missing: int = 0) -> Ints:
        """The column; `missing` everywhere when the file does not have it."""
        if column not in self.columns:
            return np.full(self.rows, missing, dtype=np.int64)
        return np.concatenate(self.columns[column])

    def named(self, column: str) -> Names:
        """A column of names; empty names when the file does not have it."""
        return Names(list(self.known.get(f"{column} names", {"": 0})) or [""], self.ints(column))

    def _refuse(self, column: str, values: tuple[str, ...], how: Callable[[str], int]) -> NoReturn:
        """Raise for the first value of the column that is refused."""
        for at, text in enumerate(values):
            try:
                how(text.strip())
            except ValueError as error:
                place = self.sheet.place(self.done + at)
                raise Rejected(f"{place}, field {column}: {error}") from None
        raise AssertionError("a value was refused and then not")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")


def _whole(text: str, least: int, most: int) -> int:
    if not text:
        raise ValueError("is empty")
    if not text.isascii() or not _WHOLE.fullmatch(text):
        raise ValueError(f"{_shown(text)} is not a whole number from {least} to {most}")
    digits = text.partition(".")[0].lstrip("0") or "0"
    if len(digits) > 18 or not least <= int(digits) <= most:
        raise ValueError(f"{_shown(text)} is not from {least} to {most}")
    return int(digits)


def _signed(text: str) -> int:
    if not text.isascii() or not _SIGNED.fullmatch(text):
        raise ValueError(f"{_shown(text)} is not a whole number")
    return int(text)


def _decimal(text: str, unit: int, most: int, what: str) -> int:
    if not text:
        raise ValueError("is empty")
    try:
        value = Decimal(text) if text.isascii() and len(text) <= 40 and "_" not in text else Decimal("NaN")
    except InvalidOperation:
        value = Decimal("NaN")
    exact = scaled(value, unit, most)
    if exact is None:
        finer = value.is_finite() and 0 <= value <= most
        raise ValueError(
            f"{_shown(text)} has too many decimals" if finer else f"{_shown(text)} is not {what} from 0 to {most}"
        )
    return exact


def _expires(text: str) -> int:
    """Twice the microseconds of an instant since 1970, or twice those after the start and one more."""
    if not text:
        return 2 * NEVER - 1
    if text.replace(".", "", 1).isdigit() and not re.fullmatch(r"(19|20|21)\d{6}", text):
        return 2 * _decimal(text, HOUR, 10 * HOURS, "hours") + 1
    return 2 * microseconds(moment(text, end_of_day=True))


def moment(text: str, *, end_of_day: bool = False) -> datetime:
    """An instant: ISO 8601, or a date alone, which means its beginning or its end. Without a zone it is
    Shanghai's."""
    found = _DATE.fullmatch(text)
    try:
        if found:
            year, month, day = map(int, found.groups())
            midnight = datetime.combine(datetime(year, month, day, tzinfo=ZONE), time(), ZONE)
            return midnight + timedelta(days=1) if end_of_day else midnight
        value = datetime.fromisoformat(text)
        value = value if value.tzinfo else value.replace(tzinfo=ZONE)
        if not 1970 <= value.year < 2200:
            raise ValueError("out of range")
        return value
    except (ValueError, OverflowError):
        raise ValueError(f"{_shown(text)} is neither a date nor a time nor a number of hours") from None
