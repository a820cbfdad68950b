"""The arithmetic and the judgements of settlement. Pure: time and figures are arguments, amounts are Decimals, and
nothing is rounded but what is said to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from zoneinfo import ZoneInfo

from babel.numbers import get_currency_precision

from connectors.contracts import ListedStatus
from orders.lifecycle import PoStatus

SHANGHAI = ZoneInfo("Asia/Shanghai")  # days and months of settlement begin at 00:00 there
ZERO = Decimal(0)


def day_bounds(day: date) -> tuple[datetime, datetime]:
    """The instants between which a day of settlement lies, in UTC: [00:00, 24:00) Asia/Shanghai."""
    start = datetime(day.year, day.month, day.day, tzinfo=SHANGHAI)
    return start.astimezone(UTC), (start + timedelta(days=1)).astimezone(UTC)


def month_bounds(month: date) -> tuple[datetime, datetime]:
    """The instants between which a month of settlement lies; the second is its cut-off, which belongs to the next."""
    following = date(month.year + month.month // 12, month.month % 12 + 1, 1)
    return day_bounds(month.replace(day=1))[0], day_bounds(following)[0]


def day_of(at: datetime) -> date:
    """The day of settlement in which an instant lies."""
    return at.astimezone(SHANGHAI).date()


# What a vendor's list, our order and the deliveries say of each other ------------------------------------------------


class CaseKind(StrEnum):
    """What disagrees."""

    MISSING_HERE = "missing_here"  # the vendor lists an order whose number we do not know
    MISSING_THERE = "missing_there"  # the vendor's list of that day does not have it
    AMOUNT = "amount_differs"
    QUANTITY = "quantity_differs"
    STATUS = "status_differs"
    UNPROVEN = "delivered_unproven"  # the vendor says delivered, no carrier does
    DELIVERED_CANCELLED = "delivered_but_cancelled"  # delivered here, cancelled or refused in the vendor's list
    CANCELLED_DELIVERED = "cancelled_but_delivered"  # cancelled here, delivered in the vendor's list


@dataclass(frozen=True, slots=True)
class OurLine:
    """One live line of a purchase order: what was asked of the vendor, and whether its last unit was delivered."""

    sku: str
    quantity: int
    unit_price: Decimal
    currency: str
    delivered: bool


@dataclass(frozen=True, slots=True)
class TheirRow:
    """A row of the vendor's list about this purchase order; without `sku` about the whole of it."""

    sku: str
    quantity: int | None
    amount: Decimal | None
    currency: str | None
    status: ListedStatus


@dataclass(frozen=True, slots=True)
class Difference:
    """One disagreement; `sku` is empty when it is about the whole purchase order."""

    kind: CaseKind
    sku: str = ""
    ours: Mapping[str, str] = field(default_factory=dict)
    theirs: Mapping[str, str] = field(default_factory=dict)


_DEAD = frozenset({PoStatus.REFUSED, PoStatus.WITHDRAWN, PoStatus.CANCELLED})
_UNDECIDED = frozenset({PoStatus.QUEUED, PoStatus.AWAITING_VENDOR, PoStatus.UNKNOWN, PoStatus.PENDING})


def compare(status: PoStatus, lines: Sequence[OurLine], rows: Sequence[TheirRow], *, listed: bool) -> list[Difference]:
    """What disagrees between a purchase order, the vendor's rows about it and the deliveries. `listed`: the
    vendor's list covers its day, so that a missing row means something. An order that the vendor has not answered
    may be in its list or not; a vendor that is behind with a status it will still reach is no disagreement."""
    if not rows:
        if not listed or status in _DEAD or status in _UNDECIDED:
            return []
        return [Difference(CaseKind.MISSING_THERE, ours={"status": status.value, "amount": _text(_total(lines))})]
    found = _statuses(status, lines, rows)
    gone_there = all(row.status in (ListedStatus.CANCELLED, ListedStatus.REFUSED) for row in rows)
    if status not in _DEAD and not gone_there:
        found += _figures(lines, rows)
    return found


def _statuses(status: PoStatus, lines: Sequence[OurLine], rows: Sequence[TheirRow]) -> list[Difference]:
    said = {row.status for row in rows} - {ListedStatus.UNKNOWN}
    arrived = bool(lines) and all(line.delivered for line in lines)
    ours = {"status": status.value, "delivered": "yes" if arrived else "no"}
    theirs = {"status": ", ".join(sorted(status.value for status in said))}
    ended = said & {ListedStatus.CANCELLED, ListedStatus.REFUSED}
    if status in _DEAD:
        if ListedStatus.DELIVERED in said:
            return [Difference(CaseKind.CANCELLED_DELIVERED, ours=ours, theirs=theirs)]
        return [Difference(CaseKind.STATUS, ours=ours, theirs=theirs)] if said - ended else []
    if ended and len(said) == len(ended):
        kind = CaseKind.DELIVERED_CANCELLED if arrived else CaseKind.STATUS
        return [] if status is PoStatus.CANCELLING and not arrived else [Difference(kind, ours=ours, theirs=theirs)]
    if said == {ListedStatus.DELIVERED} and not arrived:
        return [Difference(CaseKind.UNPROVEN, ours=ours, theirs=theirs)]
    return []


def _figures(lines: Sequence[OurLine], rows: Sequence[TheirRow]) -> list[Difference]:
    """Quantities by article where the list says them, and the amount of what it lists."""
    found: list[Difference] = []
    by_sku = {row.sku: row for row in rows if row.sku}
    wanted: dict[str, int] = {}
    for line in lines:
        wanted[line.sku] = wanted.get(line.sku, 0) + line.quantity
    if by_sku:
        for sku in sorted(wanted.keys() | by_sku.keys()):
            row = by_sku.get(sku)
            if row is not None and row.status in (ListedStatus.CANCELLED, ListedStatus.REFUSED):
                continue
            theirs = row.quantity if row is not None else 0
            if theirs is not None and theirs != wanted.get(sku, 0):
                ours = {"quantity": str(wanted.get(sku, 0))}
                found.append(Difference(CaseKind.QUANTITY, sku, ours, {"quantity": str(theirs)}))
    else:
        quantity = next((row.quantity for row in rows if row.quantity is not None), None)
        if quantity is not None and quantity != sum(wanted.values()):
            ours = {"quantity": str(sum(wanted.values()))}
            found.append(Difference(CaseKind.QUANTITY, "", ours, {"quantity": str(quantity)}))
    return found + _amounts(lines, rows)


def _amounts(lines: Sequence[OurLine], rows: Sequence[TheirRow]) -> list[Difference]:
    living = [row for row in rows if row.status not in (ListedStatus.CANCELLED, ListedStatus.REFUSED)]
    amounts = [row.amount for row in living if row.amount is not None]
    if not living or len(amounts) < len(living):
        return []  # a sum with a hole in it proves nothing
    skus = {row.sku for row in living if row.sku}
    ours = _total([line for line in lines if not skus or line.sku in skus])
    currencies = sorted({row.currency for row in living if row.currency})
    currency = lines[0].currency if lines else ""
    theirs = sum(amounts, ZERO)
    if theirs == ours and currencies in ([], [currency]):
        return []
    said = {"amount": _text(theirs), **({"currency": ", ".join(currencies)} if currencies else {})}
    return [Difference(CaseKind.AMOUNT, "", {"amount": _text(ours), "currency": currency}, said)]


def _total(lines: Sequence[OurLine]) -> Decimal:
    return sum((line.unit_price * line.quantity for line in lines), ZERO)


def _text(amount: Decimal) -> str:
    """As 12.5 whatever the number of zeros, so that equal amounts are equal texts."""
    return format(amount.normalize(), "f") if amount else "0"


# Money ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Terms:
    """What was agreed with one vendor for orders of a time. A deduction for late delivery is a share of the late line's
    amount or a fixed amount, once a late line or for each day (begun) that it is late, and at most `late_cap` of
    the line's amount. `tax_rate`: prices contain tax at this rate (a share)."""

    late_per: str | None = None  # line, day
    late_share: Decimal | None = None
    late_amount: Decimal | None = None
    late_cap: Decimal | None = None
    tax_rate: Decimal | None = None
    currency: str = "CNY"


def minor(amount: Decimal, currency: str) -> Decimal:
    """Rounded half up to the currency's smallest coin (ISO 4217)."""
    return amount.quantize(Decimal(1).scaleb(-get_currency_precision(currency)), ROUND_HALF_UP)


def days_late(delivered_at: datetime, due_at: datetime) -> int:
    """Days of 24 hours begun after the due time; 0 when it was met."""
    late = delivered_at - due_at
    return -(-late // timedelta(days=1)) if late > timedelta(0) else 0


def deduction(amount: Decimal, currency: str, late: int, terms: Terms) -> Decimal:
    """What is deducted from a line of `amount` that is `late` days late: never more than its cap or its amount, and in
    whole coins. A fixed amount in another currency than the line's is not converted: it does not apply."""
    if late <= 0 or terms.late_per is None:
        return ZERO
    if terms.late_share is not None:
        each = amount * terms.late_share
    elif terms.late_amount is not None and terms.currency == currency:
        each = terms.late_amount
    else:
        return ZERO
    asked = each * (late if terms.late_per == "day" else 1)
    cap = amount if terms.late_cap is None else min(amount, amount * terms.late_cap)
    rounded = minor(min(asked, cap), currency)
    return rounded if rounded <= cap else rounded - Decimal(1).scaleb(-get_currency_precision(currency))


def tax_within(amount: Decimal, rate: Decimal, currency: str) -> Decimal:
    """The tax that an amount contains at `rate`, rounded to whole coins."""
    return minor(amount * rate / (1 + rate), currency)
