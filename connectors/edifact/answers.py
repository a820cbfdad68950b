"""What partners answer: ORDRSP (order response), DESADV (despatch advice), CONTRL (acknowledgement). Code meanings are
those of the UN/EDIFACT directory and of EANCOM; README.md says where they were read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import IO

from connectors.edi.deciding import end_of_minute
from connectors.edi.models import Answer, Cancelled, Fact, LineAnswer, LineOutcome, Notice, Parcel, Verdict
from connectors.edi.packs import sku_of
from connectors.edifact.catalogue import article_number, ids_of, number_of
from connectors.edifact.envelope import Place, moment, walk, written
from connectors.edifact.segments import Segment
from hub.kernel.errors import Malformed

O = LineOutcome  # noqa: E741 - the tables below are read line by line
KINDS = frozenset({"ORDRSP", "DESADV", "CONTRL"})
MOST = 100_000  # segments of one message
# Data element 1225 in ORDRSP: (what becomes of the order, of lines that are not mentioned); None: the lines say it.
HEADERS: dict[str, tuple[LineOutcome | None, LineOutcome | None]] = {
    "29": (O.ACCEPTED, O.ACCEPTED), "44": (O.ACCEPTED, O.ACCEPTED), "28": (O.ACCEPTED, O.ACCEPTED),
    "6": (None, O.ACCEPTED), "9": (None, None), "11": (None, None), "": (None, None),
    "4": (None, O.ACCEPTED), "30": (None, O.ACCEPTED), "34": (None, O.ACCEPTED), "36": (None, O.ACCEPTED),
    "45": (None, O.ACCEPTED), "5": (None, None),
    "27": (O.REJECTED, O.REJECTED), "12": (O.HELD, O.HELD), "23": (O.HELD, O.HELD),
}  # fmt: skip
# Data element 1229: what the seller does with a line.
LINES: dict[str, LineOutcome] = {
    "": O.ACCEPTED, "4": O.ACCEPTED, "5": O.ACCEPTED, "11": O.ACCEPTED,
    "3": O.CHANGED, "6": O.CHANGED, "24": O.CHANGED,
    "2": O.REJECTED, "7": O.REJECTED, "10": O.REJECTED,
    "38": O.SUBSTITUTED, "23": O.HELD,
}  # fmt: skip
SENDING = ("113", "12", "21")  # data element 6063: to be delivered, despatched, ordered
BACKORDERED = "83"


@dataclass(frozen=True, slots=True)
class Wording:
    """How a connection's answers are read."""

    sku: tuple[str, ...]
    unit: str
    zone: tzinfo
    encoding: str = ""
    sscc: bool = False  # the parcel's SSCC is its carrier's number


@dataclass
class _Message:
    place: Place
    segments: list[Segment] = field(default_factory=list)

    def first(self, tag: str) -> Segment | None:
        return next((segment for segment in self.segments if segment.tag == tag), None)

    def made(self, wording: Wording) -> datetime:
        """When the message was made: its own time where it has an hour, otherwise that of the interchange."""
        for segment in self.segments:
            if segment.tag == "LIN":
                break
            if segment.tag == "DTM" and segment.get(1) == "137" and segment.get(1, 3) not in ("", "101", "102"):
                return moment(segment, wording.zone) or datetime(1970, 1, 1, tzinfo=UTC)
        return written(self.place.interchange, wording.zone) or datetime(1970, 1, 1, tzinfo=UTC)


def facts(file: IO[bytes], wording: Wording) -> list[Fact]:
    """Everything that a file says about orders of ours. A message that makes no sense says nothing."""
    found: list[Fact] = []
    current: _Message | None = None
    for place, segment in walk(file, wording.encoding):
        if segment.tag == "UNH":
            current = _Message(place) if place.kind in KINDS else None
        elif segment.tag == "UNT":
            if current is not None:
                found += _read(current, wording)
            current = None
        elif current is not None:
            current.segments.append(segment)
            if len(current.segments) > MOST:
                raise Malformed(f"a message has more than {MOST} segments", code="set_too_long")
    return found


def _read(one: _Message, wording: Wording) -> Iterable[Fact]:
    if one.place.kind == "ORDRSP":
        return _response(one, wording)
    if one.place.kind == "DESADV":
        return _notices(one, wording)
    return _verdict(one)


# Order responses ----------------------------------------------------------------------------------------------


def _response(one: _Message, wording: Wording) -> list[Fact]:
    bgm = one.first("BGM")
    head, lines = _parts(one)
    number = _reference(head, "ON") or next((_reference(part, "ON") for part in lines if _reference(part, "ON")), "")
    if bgm is None or not number:
        return []
    function, at = bgm.get(3), one.made(wording)
    raw = f"ORDRSP {function}".strip()
    if function == "1":
        return [Cancelled(po_number=number, accepted=True, raw=raw, at=at)]
    outcome, rest = HEADERS.get(function, (None, None))
    answers = [_line(part, wording) for part in lines]
    if outcome is O.REJECTED:
        answers = [line.model_copy(update={"outcome": O.REJECTED, "quantity": None}) for line in answers]
    elif answers and outcome is O.ACCEPTED:
        outcome = None
    return [
        Answer(
            po_number=number, outcome=outcome, rest=rest, raw=raw, at=at, accepted_at=end_of_minute(at),
            vendor_order_no=_reference(head, "VN") or None, lines=tuple(answers),
        )
    ]  # fmt: skip


def _parts(one: _Message) -> tuple[list[Segment], list[list[Segment]]]:
    """The head of a message, and the segments of each of its lines."""
    head: list[Segment] = []
    lines: list[list[Segment]] = []
    for segment in one.segments:
        if segment.tag == "UNS":
            break
        if segment.tag == "LIN":
            lines.append([])
        (lines[-1] if lines else head).append(segment)
    return head, lines


def _reference(segments: list[Segment], qualifier: str, part: int = 2) -> str:
    found = (s.get(1, part) for s in segments if s.tag == "RFF" and s.get(1) == qualifier)
    return next((value for value in found if value), "")


def _line(part: list[Segment], wording: Wording) -> LineAnswer:
    lin = part[0]
    article, _ = article_number(ids_of(lin, part), wording.sku)
    code = lin.get(2)
    quantities = {s.get(1): s for s in reversed(part) if s.tag == "QTY"}
    sending = next((quantities[q] for q in SENDING if q in quantities), None)
    unit = (sending.get(1, 3) if sending is not None else "") or wording.unit
    outcome = LINES.get(code, O.UNKNOWN)
    held_back = number_of(quantities[BACKORDERED].get(1, 2)) if BACKORDERED in quantities else None
    stock = bool(held_back)
    if stock and outcome in (O.ACCEPTED, O.CHANGED):
        outcome = O.BACKORDERED
    price = next((number_of(s.get(1, 2)) for s in part if s.tag == "PRI" and s.get(1) == "AAA"), None)
    quantity = number_of(sending.get(1, 2)) if sending is not None else None
    if outcome is O.REJECTED:
        stock, quantity = quantity == 0, None
    return LineAnswer(
        line_no=_reference(part, "LI") or _reference(part, "ON", 3) or lin.get(1) or None,
        sku=sku_of(article, unit, wording.unit) if article else None,
        outcome=outcome,
        raw=f"LIN {code}".strip(),
        quantity=quantity,
        unit_price=price,
        out_of_stock=stock,
    )


# Despatch advices ---------------------------------------------------------------------------------------------


def _notices(one: _Message, wording: Wording) -> list[Fact]:
    """Parcels stand in groups of packages (CPS); a group belongs to the orders of the lines in it, or to that of the
    head."""
    bgm = one.first("BGM")
    if bgm is None:
        return []
    order, carrier, tracking, left = "", "", "", None
    parcels: dict[str, list[Parcel]] = {}
    numbers: list[str] = []
    in_group = False
    orders_here: list[str] = []

    def close() -> None:
        for po in dict.fromkeys(orders_here) or ([order] if order else []):
            parcels.setdefault(po, []).extend(Parcel(tracking_no=n, carrier=carrier or None) for n in numbers)

    for segment in one.segments:
        tag, first = segment.tag, segment.get(1)
        if tag == "CPS":
            close()
            in_group, numbers, orders_here = True, [], []
        elif tag == "RFF" and first == "ON" and segment.get(1, 2):
            if in_group:
                orders_here.append(segment.get(1, 2))
            else:
                order = order or segment.get(1, 2)
        elif tag == "RFF" and first in ("CN", "CW") and segment.get(1, 2):
            if in_group:
                numbers.append(segment.get(1, 2))
            else:
                tracking = tracking or segment.get(1, 2)
        elif tag == "GIN" and first == "BJ" and wording.sscc and in_group:
            numbers += [part for element in segment.elements[1:] for part in element if part]
        elif tag == "TDT":
            carrier = carrier or segment.get(5, 4) or segment.get(5)
        elif tag == "DTM" and first == "11":
            left = left or moment(segment, wording.zone)
    close()
    usual = Parcel(tracking_no=tracking or None, carrier=carrier or None)
    function = bgm.get(3)
    return [
        Notice(
            po_number=po, shipment=bgm.get(2), withdrawn=function in ("1", "3"), raw=f"DESADV {function}".strip(),
            at=left or one.made(wording), parcels=tuple(dict.fromkeys(found)) or (usual,),
        )
        for po, found in parcels.items()
    ]  # fmt: skip


# Acknowledgements ---------------------------------------------------------------------------------------------


def _verdict(one: _Message) -> list[Fact]:
    """A CONTRL answers an interchange; each of ours holds one message. Received (8) alone is no verdict."""
    uci = one.first("UCI")
    if uci is None:
        return []
    actions = {uci.get(4)} | {s.get(3) for s in one.segments if s.tag == "UCM"}
    if actions & {"4", "6"}:
        said = [" ".join([s.tag, *(":".join(e) for e in s.elements if any(e))]) for s in one.segments]
        return [Verdict(control=uci.get(1).lstrip("0") or "0", accepted=False, reason="; ".join(said)[:300])]
    if actions & {"7"}:
        return [Verdict(control=uci.get(1).lstrip("0") or "0", accepted=True, reason="CONTRL 7")]
    return []
