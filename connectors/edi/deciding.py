"""What a partner's documents add up to for one of our orders. Pure: documents may come late, twice and in any order;
the result depends on what they say and on their own times alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from connectors.contracts import OrderUpdate, Receipt, ReceiptStatus, ShipmentStatus
from connectors.edi.models import Answer, Cancelled, Fact, LineAnswer, LineOutcome, Notice, Sent, SentLine, Verdict


@dataclass(frozen=True)
class Decision:
    """`receipt` when the order is accepted, refused or open; otherwise the partner took only `part` of it, and
    `short` are the SKUs that it will not send as ordered."""

    receipt: Receipt
    part: str = ""
    short: tuple[str, ...] = ()
    out_of_stock: bool = False


@dataclass(frozen=True)
class _Line:
    """The state of one line after everything that was said of it."""

    good: bool = False
    open: bool = False
    dead: bool = False  # the partner will send nothing and keeps nothing open
    stock: bool = False
    why: str = ""


def decide(sent: Sent, facts: Sequence[Fact]) -> Decision:
    """Where the order stands. An order that has left is accepted, whatever was said of it before."""
    number = sent.po_number
    answers = sorted((f for f in facts if isinstance(f, Answer) and f.po_number == number), key=lambda f: f.at)
    verdicts = [f for f in facts if isinstance(f, Verdict) and f.control == sent.control]
    vendor_no = next((a.vendor_order_no for a in reversed(answers) if a.vendor_order_no), None)
    if left := parcels(number, facts):
        raw = f"{left[-1].raw}: shipment {left[-1].shipment}"
        at = next((a.accepted_at for a in answers if a.accepted_at), None)
        return Decision(_receipt(ReceiptStatus.ACCEPTED, number, raw, accepted_at=at))
    if cancelled(number, facts):
        return Decision(_receipt(ReceiptStatus.REFUSED, number, "cancelled", reason="the order is cancelled"))
    if not answers:
        refused = [v for v in verdicts if not v.accepted]
        if refused and not any(v.accepted for v in verdicts):
            reason = f"the partner's system could not read the order: {refused[0].reason or 'no reason given'}"
            return Decision(_receipt(ReceiptStatus.REFUSED, number, "unreadable", reason=reason))
        raw = "received" if verdicts else "sent"
        return Decision(_receipt(ReceiptStatus.PENDING, number, raw))
    lines = [_line(line, answers) for line in sent.lines] or [_header(answers[-1])]
    raw = " ".join(dict.fromkeys(answer.raw for answer in answers))
    if vendor_no:
        raw = f"{raw} (their number {vendor_no})"
    if any(line.open for line in lines):
        why = "; ".join(dict.fromkeys(line.why for line in lines if line.open and line.why))
        return Decision(_receipt(ReceiptStatus.PENDING, number, raw, reason=why or None))
    if all(line.good for line in lines):
        at = next((a.accepted_at for a in reversed(answers) if a.accepted_at), None)
        return Decision(_receipt(ReceiptStatus.ACCEPTED, number, raw, accepted_at=at))
    bad = [(line, state) for line, state in zip(sent.lines, lines, strict=False) if not state.good]
    why = "; ".join(f"{line.sku}: {state.why}" for line, state in bad) or lines[0].why
    short = tuple(line.sku for line, _ in bad)
    stock = any(state.stock for _, state in bad)
    if all(line.dead for line in lines):
        skus = tuple(line.sku for line, state in bad if state.stock) if stock else ()
        refusal = _receipt(ReceiptStatus.REFUSED, number, raw, reason=why).model_copy(
            update={"out_of_stock": stock, "out_of_stock_skus": skus}
        )
        return Decision(refusal)
    return Decision(_receipt(ReceiptStatus.PENDING, number, raw, reason=why), why, short, stock)


def cancelled(number: str, facts: Sequence[Fact]) -> Cancelled | None:
    """The confirmed cancellation of the order, if there is one."""
    found = [f for f in facts if isinstance(f, Cancelled) and f.po_number == number and f.accepted]
    return found[-1] if found else None


def cancel_refused(number: str, facts: Sequence[Fact]) -> Cancelled | None:
    """The partner's refusal to cancel, if that is what it said last."""
    found = sorted((f for f in facts if isinstance(f, Cancelled) and f.po_number == number), key=lambda f: f.at)
    return found[-1] if found and not any(f.accepted for f in found) else None


def parcels(number: str, facts: Sequence[Fact]) -> list[Notice]:
    """The ship notices of the order that stand, one per shipment, by time. A shipment's newest notice counts; one that
    was withdrawn does not."""
    newest: dict[str, Notice] = {}
    for one in sorted((f for f in facts if isinstance(f, Notice) and f.po_number == number), key=_notice_order):
        newest[one.shipment] = one
    return sorted((one for one in newest.values() if not one.withdrawn), key=_notice_order)


def _notice_order(one: Notice) -> tuple[object, ...]:
    return one.at, one.withdrawn, one.shipment


def updates(sent: Sent, decision: Decision, facts: Sequence[Fact]) -> list[OrderUpdate]:
    """The order as tracking sees it: one update a parcel, or one for the order while it has none."""
    found: dict[tuple[str | None, str | None], OrderUpdate] = {}
    for notice in parcels(sent.po_number, facts):
        for parcel in notice.parcels:
            found[parcel.carrier, parcel.tracking_no] = OrderUpdate(
                po_number=sent.po_number, vendor_order_no=sent.po_number, status=ShipmentStatus.SHIPPED,
                raw_status=notice.raw, at=notice.at, tracking_no=parcel.tracking_no, carrier=parcel.carrier,
            )  # fmt: skip
    if any(tracking is not None for _, tracking in found):  # parcels without a number add nothing beside those with one
        found = {key: update for key, update in found.items() if key[1] is not None}
    if found:
        return list(found.values())
    refused = decision.receipt.status is ReceiptStatus.REFUSED
    said = [f.at for f in facts if isinstance(f, Answer | Cancelled) and f.po_number == sent.po_number]
    return [
        OrderUpdate(
            po_number=sent.po_number,
            vendor_order_no=sent.po_number,
            status=ShipmentStatus.CANCELLED if refused else ShipmentStatus.PENDING,
            raw_status=decision.receipt.raw_status or "",
            at=max(said, default=sent.at),
        )
    ]


def end_of_minute(at: datetime) -> datetime | None:
    """When an order was taken, out of the time of the letter that says so: its date of acceptance has no hour, and the
    letter's own time no seconds. Stock that was counted before must not look as if it came after, so the end of that
    minute counts. None for a letter without a time."""
    return at + timedelta(seconds=59) if at.year > 1970 else None


def _receipt(
    status: ReceiptStatus, number: str, raw: str, *, reason: str | None = None, accepted_at: object = None
) -> Receipt:
    return Receipt.model_validate(
        {
            "status": status, "vendor_order_no": number, "raw_status": raw[:200] or None,
            "reason": reason[:500] if reason else None, "accepted_at": accepted_at,
        }
    )  # fmt: skip


def _line(line: SentLine, answers: Sequence[Answer]) -> _Line:
    """One line after all answers, later ones over earlier ones."""
    state = _Line(open=True, why="the partner has not answered for every line")
    for answer in answers:
        own = [said for said in answer.lines if _is_of(said, line, answer)]
        if own:
            state = _together([_said(line, said) for said in own])
        elif answer.outcome is not None:
            state = _header(answer)
        elif answer.rest is not None:
            state = _whole(answer.rest, answer.raw)
    return state


def _is_of(said: LineAnswer, line: SentLine, answer: Answer) -> bool:
    """By our line number where the partner repeats it, otherwise by the article."""
    if said.line_no is not None and said.line_no.lstrip("0") == line.line_no.lstrip("0"):
        return True
    numbered = {other.line_no.lstrip("0") for other in answer.lines if other.line_no}
    return said.sku is not None and said.sku == line.sku and line.line_no.lstrip("0") not in numbered


def _together(states: list[_Line]) -> _Line:
    """Several codes for one line: it is good when all are."""
    if any(state.open for state in states):
        return next(state for state in states if state.open)
    bad = [state for state in states if not state.good]
    if not bad:
        return states[0]
    return _Line(
        dead=all(state.dead for state in states),
        stock=any(state.stock for state in bad),
        why=", ".join(dict.fromkeys(state.why for state in bad)),
    )


def _said(line: SentLine, said: LineAnswer) -> _Line:
    state = _whole(said.outcome, said.raw)
    if said.out_of_stock and not state.good:
        state = _Line(open=state.open, dead=state.dead, stock=True, why=state.why)
    if not state.good:
        return state
    if said.quantity is not None and said.quantity < line.quantity:
        if said.quantity == 0:
            return _Line(dead=True, stock=True, why=f"none of {line.quantity:f} ({said.raw})")
        return _Line(stock=True, why=f"{said.quantity:f} of {line.quantity:f} ({said.raw})")
    if said.unit_price is not None and said.unit_price > line.unit_price:
        return _Line(why=f"at {said.unit_price:f} instead of {line.unit_price:f} ({said.raw})")
    if said.outcome is LineOutcome.CHANGED and said.quantity is None and said.unit_price is None:
        return _Line(why=f"changed, without saying how ({said.raw})")
    return state


def _header(answer: Answer) -> _Line:
    return _whole(answer.outcome or LineOutcome.UNKNOWN, answer.raw)


def _whole(outcome: LineOutcome, raw: str) -> _Line:
    if outcome in (LineOutcome.ACCEPTED, LineOutcome.CHANGED):
        return _Line(good=True)
    if outcome is LineOutcome.REJECTED:
        return _Line(dead=True, why=f"rejected ({raw})")
    if outcome is LineOutcome.BACKORDERED:
        return _Line(stock=True, why=f"backordered ({raw})")
    if outcome is LineOutcome.SUBSTITUTED:
        return _Line(why=f"another article ({raw})")
    return _Line(open=True, why=f"not decided ({raw})")
