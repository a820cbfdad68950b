"""What partners answer: 855 (order acknowledgement), 865 (answer to a change), 856 (ship notice), 810 (invoice), 997
and 999 (functional acknowledgement), TA1 (of an interchange). Code meanings are those of X12's own lists; README.md
says where they were read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from decimal import Decimal, InvalidOperation
from typing import IO

from connectors.edi.deciding import end_of_minute
from connectors.edi.models import (
    Answer,
    Cancelled,
    Charge,
    Fact,
    Invoice,
    InvoiceLine,
    LineAnswer,
    LineOutcome,
    Notice,
    Parcel,
    Verdict,
)
from connectors.edi.packs import sku_of
from connectors.x12_edi.catalogue import GTINS
from connectors.x12_edi.envelope import Place, moment, walk
from connectors.x12_edi.segments import Segment
from hub.kernel.errors import Malformed

O = LineOutcome  # noqa: E741 - the table below is read line by line
# Element 668: what a partner does with a line, and whether it says no for want of stock.
LINES: dict[str, tuple[LineOutcome, bool]] = {
    "IA": (O.ACCEPTED, False), "AA": (O.ACCEPTED, False), "AC": (O.ACCEPTED, False), "AR": (O.ACCEPTED, False),
    "DR": (O.ACCEPTED, False), "SP": (O.ACCEPTED, False),
    "IC": (O.CHANGED, False), "IP": (O.CHANGED, False), "IQ": (O.CHANGED, False),
    "IS": (O.SUBSTITUTED, False),
    "IB": (O.BACKORDERED, True), "BP": (O.BACKORDERED, True),
    "IE": (O.HELD, False), "IF": (O.HELD, False), "IH": (O.HELD, False), "IW": (O.HELD, False),
    "IR": (O.REJECTED, False), "ID": (O.REJECTED, False), "R1": (O.REJECTED, False), "R2": (O.REJECTED, False),
    "R3": (O.REJECTED, False), "R4": (O.REJECTED, True), "R5": (O.REJECTED, False), "R6": (O.REJECTED, False),
    "R7": (O.REJECTED, False), "R8": (O.REJECTED, False), "R9": (O.REJECTED, False),
}  # fmt: skip
# Element 587: (what becomes of the order where the lines do not say it, what becomes of lines that are not mentioned).
HEADERS: dict[str, tuple[LineOutcome | None, LineOutcome | None]] = {
    "AC": (None, None), "AD": (None, None), "AE": (None, O.ACCEPTED), "AK": (O.ACCEPTED, O.ACCEPTED),
    "AT": (O.ACCEPTED, O.ACCEPTED), "AP": (O.ACCEPTED, O.ACCEPTED), "AH": (O.HELD, O.HELD),
    "RD": (O.REJECTED, O.REJECTED), "RF": (O.REJECTED, O.REJECTED), "RJ": (O.REJECTED, O.REJECTED),
    "RN": (O.REJECTED, O.REJECTED), "RO": (O.REJECTED, O.REJECTED), "RV": (O.REJECTED, O.REJECTED),
}  # fmt: skip
TAKEN = frozenset({"AC", "AD", "AE", "AK", "AT"})
KINDS = frozenset({"855", "865", "856", "810", "997", "999"})
REFUSED_SETS = frozenset({"R", "M", "W", "X"})  # element 717; A and E are taken
MOST = 100_000  # segments of one set


@dataclass(frozen=True, slots=True)
class Wording:
    """How a connection's answers are read."""

    sku: tuple[str, ...]
    unit: str
    currency: str
    zone: tzinfo


@dataclass
class _Set:
    place: Place
    segments: list[Segment] = field(default_factory=list)

    def first(self, name: str) -> Segment | None:
        return next((segment for segment in self.segments if segment.name == name), None)

    def when(self, date: str, time: str, wording: Wording) -> datetime:
        """The instant that a document names, or that of its interchange."""
        isa = self.place.interchange
        found = moment(date, time, wording.zone) if date else None
        return found or moment(isa[9], isa[10], wording.zone) or datetime(1970, 1, 1, tzinfo=UTC)


def facts(file: IO[bytes], wording: Wording) -> list[Fact]:
    """Everything that a file says about orders of ours. A set that makes no sense says nothing."""
    found: list[Fact] = []
    current: _Set | None = None
    for place, segment in walk(file):
        if segment.name == "TA1":
            found.append(_receipt(segment))
        elif segment.name == "ST":
            current = _Set(place) if place.kind in KINDS else None
        elif segment.name == "SE":
            if current is not None:
                found += _read(current, wording)
            current = None
        elif current is not None:
            current.segments.append(segment)
            if len(current.segments) > MOST:
                raise Malformed(f"a set has more than {MOST} segments", code="set_too_long")
    return found


def _read(one: _Set, wording: Wording) -> Iterable[Fact]:
    kind = one.place.kind
    if kind == "855":
        return _acknowledgement(one, wording)
    if kind == "865":
        return _change_answer(one, wording)
    if kind == "856":
        return _notices(one, wording)
    if kind == "810":
        invoice = read_invoice(one, wording)
        return [invoice] if invoice is not None else []
    return _verdicts(one)


def _acknowledgement(one: _Set, wording: Wording) -> list[Fact]:
    bak = one.first("BAK")
    if bak is None or not bak[3]:
        return []
    at = one.when("", "", wording)
    raw = f"855 {bak[2]}"
    if bak[1] == "01":  # the order, cancelled
        return [Cancelled(po_number=bak[3], accepted=bak[2] in TAKEN or not bak[2], raw=raw, at=at)]
    outcome, rest = HEADERS.get(bak[2], (None, None))
    lines = tuple(_lines(one, wording))
    if outcome is O.REJECTED:  # then its lines say no more than why
        rejected = {"outcome": O.REJECTED, "quantity": None, "unit_price": None}
        lines = tuple(line.model_copy(update=rejected) for line in lines)
    elif lines and outcome is O.ACCEPTED:
        outcome = None  # the lines say more
    elif not lines and outcome is None and bak[2] in TAKEN:
        outcome = O.ACCEPTED
    return [
        Answer(
            po_number=bak[3], outcome=outcome, rest=rest, raw=raw, at=at, accepted_at=end_of_minute(at),
            vendor_order_no=bak[8] or None, lines=lines,
        )
    ]  # fmt: skip


def _lines(one: _Set, wording: Wording) -> Iterable[LineAnswer]:
    po1: Segment | None = None
    answered = False
    price: Decimal | None = None
    for segment in [*one.segments, None]:
        if segment is None or segment.name in ("PO1", "CTT"):
            if po1 is not None and not answered:  # a line repeated without a word on it says nothing of its own
                yield _line_answer(po1, None, price, wording)
            if segment is None or segment.name == "CTT":
                return
            po1, answered, price = segment, False, number(segment[4])
        elif po1 is not None and segment.name == "CTP" and segment[3]:
            price = number(segment[3])
        elif po1 is not None and segment.name == "ACK":
            answered = True
            yield _line_answer(po1, segment, price, wording)


def _line_answer(po1: Segment, ack: Segment | None, price: Decimal | None, wording: Wording) -> LineAnswer:
    ids = dict(reversed(list(po1.after(6))))
    article = next((ids[q] for q in wording.sku if ids.get(q)), None)
    unit = po1[3] or wording.unit
    code = ack[1] if ack is not None else ""
    outcome, stock = LINES.get(code, (O.UNKNOWN, False)) if ack is not None else (O.ACCEPTED, False)
    quantity = number(ack[2] if ack is not None else po1[2])
    if ack is not None and quantity is not None and ack[3] and po1[3] and ack[3] != po1[3]:
        quantity = None  # in another unit: it cannot be compared
    if outcome is O.REJECTED or (outcome is O.BACKORDERED and code == "IB"):
        quantity = None  # of what is not sent
    return LineAnswer(
        line_no=po1[1] or None,
        sku=sku_of(article, unit, wording.unit) if article else None,
        outcome=outcome,
        raw=code or "no ACK",
        quantity=quantity,
        unit_price=price if code in ("IP", "IC", "") else None,
        out_of_stock=stock,
    )


def _change_answer(one: _Set, wording: Wording) -> list[Fact]:
    """An 865: we send no change but a cancellation, so that is what it answers."""
    bca = one.first("BCA")
    if bca is None or not bca[3]:
        return []
    at = one.when(bca[6], "", wording)
    codes = {segment[1] for segment in one.segments if segment.name == "ACK"}
    accepted = bca[2] in TAKEN and not codes & {"IR", "R1", "R2"}
    if bca[2] == "AH":
        return []
    return [Cancelled(po_number=bca[3], accepted=accepted, raw=f"865 {bca[2]}", at=at)]


# Ship notices -------------------------------------------------------------------------------------------------


@dataclass
class _Level:
    """One hierarchical level: S shipment, O order, T tare, P pack, I item."""

    kind: str
    parent: str
    order: str = ""
    tracking: str = ""
    carrier: str = ""


def _notices(one: _Set, wording: Wording) -> list[Fact]:
    bsn = one.first("BSN")
    if bsn is None:
        return []
    shipped, levels = _levels(one, wording)
    at = shipped or one.when(bsn[3], bsn[4], wording)
    parcels: dict[str, list[Parcel]] = {}
    inherited: dict[str, Parcel] = {}
    for level in levels.values():
        chain = _chain(level, levels)
        order = next((each.order for each in chain if each.order), "")
        carrier = next((each.carrier for each in chain if each.carrier), "")
        if level.order:
            parcels.setdefault(level.order, [])
            tracking = next((each.tracking for each in chain if each.tracking), "")
            inherited[level.order] = Parcel(tracking_no=tracking or None, carrier=carrier or None)
        elif level.kind in ("P", "T") and level.tracking and order:
            parcels.setdefault(order, []).append(Parcel(tracking_no=level.tracking, carrier=carrier or None))
        elif level.kind in ("P", "T") and level.tracking:  # packs above the orders: they belong to those below them
            for below in levels.values():
                if below.order and level in _chain(below, levels):
                    inherited[below.order] = Parcel(tracking_no=level.tracking, carrier=carrier or None)
    return [
        Notice(
            po_number=order, shipment=bsn[2], withdrawn=bsn[1] in ("01", "03"), raw=f"856 {bsn[1]}", at=at,
            parcels=tuple(dict.fromkeys(found)) or (inherited.get(order, Parcel()),),
        )
        for order, found in parcels.items()
    ]  # fmt: skip


def _levels(one: _Set, wording: Wording) -> tuple[datetime | None, dict[str, _Level]]:
    """The levels by their numbers, and when the shipment left. Notices without levels are one shipment."""
    levels: dict[str, _Level] = {"": _Level("S", "")}
    here, shipped = levels[""], None
    for segment in one.segments:
        name, first = segment.name, segment[1]
        if name == "HL":
            here = levels[first] = _Level(segment[3], segment[2] if segment[2] != first else "")
        elif name == "DTM" and first == "011":
            shipped = shipped or moment(segment[2], segment[3], wording.zone)
        elif name == "PRF" or (name == "REF" and first == "PO"):
            here.order = here.order or (first if name == "PRF" else segment[2])
        elif name == "TD5":
            here.carrier = here.carrier or segment[3] or segment[5]
        elif (name == "REF" and first in ("CN", "2I")) or (name == "MAN" and first == "CP"):
            here.tracking = here.tracking or segment[2]
    return shipped, levels


def _chain(level: _Level, levels: dict[str, _Level]) -> list[_Level]:
    """The level and those above it."""
    found = [level]
    while (above := levels.get(level.parent)) is not None and above not in found and len(found) < 20:
        found.append(above)
        level = above
    return found


# Invoices -----------------------------------------------------------------------------------------------------


def read_invoice(one: _Set, wording: Wording) -> Invoice | None:
    """An 810. Its total (TDS) has two decimals that are not written; so have allowances and charges (SAC05)."""
    big, tds = one.first("BIG"), one.first("TDS")
    total = cents(tds[1]) if tds is not None else None
    if big is None or not big[2] or total is None:
        return None
    cur = one.first("CUR")
    lines: list[InvoiceLine] = []
    charges: list[Charge] = []
    taxes: list[Charge] = []
    line: str | None = None
    for segment in one.segments:
        if segment.name == "IT1":
            lines.append(_invoice_line(segment, wording))
            line = lines[-1].line_no
        elif segment.name == "TDS":
            line = None
        elif segment.name == "PID" and lines and not lines[-1].title:
            lines[-1] = lines[-1].model_copy(update={"title": segment[5] or None})
        elif segment.name == "SAC" and segment[1] in ("A", "C") and (amount := cents(segment[5])) is not None:
            signed = -amount if segment[1] == "A" else amount
            code, text = segment[2] or segment[4], segment[15] or None
            charges.append(Charge(code=code, amount=signed, line_no=line, text=text))
        elif segment.name == "TXI" and (amount := number(segment[2])) is not None:
            taxes.append(Charge(code=segment[1], amount=amount, line_no=line))
    currency = (cur[2] if cur is not None else "") or wording.currency
    return Invoice(
        number=big[2], po_number=big[4] or None, date=_day(big[1]), currency=currency, total=total,
        credit=big[7] in ("CR", "CN"), lines=tuple(lines), charges=tuple(charges), taxes=tuple(taxes),
    )  # fmt: skip


def _invoice_line(it1: Segment, wording: Wording) -> InvoiceLine:
    ids = dict(reversed(list(it1.after(6))))
    article = next((ids[q] for q in wording.sku if ids.get(q)), None)
    unit = it1[3] or wording.unit
    return InvoiceLine(
        line_no=it1[1] or None,
        sku=sku_of(article, unit, wording.unit) if article else None,
        gtin=next((ids[q] for q in GTINS if ids.get(q)), None),
        quantity=number(it1[2]) or Decimal(0),
        unit=it1[3] or None,
        unit_price=number(it1[4]),
    )


def _day(raw: str) -> str:
    return f"{raw[:4]}-{raw[4:6]}-{raw[6:8]}" if len(raw) == 8 else raw


# Acknowledgements ---------------------------------------------------------------------------------------------


def _receipt(ta1: Segment) -> Verdict:
    reason = f"TA1 {ta1[4]} {ta1[5]}".strip()
    return Verdict(control=_plain(ta1[1]), accepted=ta1[4] != "R", reason=reason)


def _verdicts(one: _Set) -> list[Fact]:
    """A 997 answers a group; each of our groups holds one set, and has the number of its interchange."""
    ak1, ak9 = one.first("AK1"), one.first("AK9")
    if ak1 is None:
        return []
    errors = [" ".join([s.name, *(e for e in s.elements if e)]) for s in one.segments if s.name in _DETAILS]
    sets = [s for s in one.segments if s.name in ("AK5", "IK5")]
    bad = [s for s in sets if s[1] in REFUSED_SETS]
    refused = bool(bad) or (ak9 is not None and ak9[1] in REFUSED_SETS)
    reason = "; ".join([*(f"{s.name} {' '.join(e for e in s.elements if e)}" for s in bad), *errors])
    if refused and not reason and ak9 is not None:
        reason = f"AK9 {' '.join(e for e in ak9.elements if e)}"
    return [Verdict(control=_plain(ak1[2]), accepted=not refused, reason=reason[:300])]


_DETAILS = frozenset({"AK3", "AK4", "IK3", "IK4"})


def _plain(control: str) -> str:
    return control.lstrip("0") or "0"


def number(raw: str) -> Decimal | None:
    try:
        value = Decimal(raw)
    except InvalidOperation:
        return None
    return value if value.is_finite() else None


def cents(raw: str) -> Decimal | None:
    """An amount with two decimals that are not written (N2)."""
    value = number(raw)
    return value.scaleb(-2) if value is not None and value == value.to_integral() and "." not in raw else value
