"""What business documents say, in our words, whatever the syntax they came in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import IO, Any, Protocol

from connectors.contracts import PurchaseOrder
from hub.kernel.types import Frozen


class LineOutcome(StrEnum):
    """What the partner does with one line of an order."""

    ACCEPTED = "accepted"
    CHANGED = "changed"  # taken with another quantity or price; the figures say which
    SUBSTITUTED = "substituted"
    BACKORDERED = "backordered"  # taken, to be sent when there is some
    REJECTED = "rejected"
    HELD = "held"  # not decided
    UNKNOWN = "unknown"


class LineAnswer(Frozen):
    """A partner's word on one line. What it does not say is None."""

    line_no: str | None = None  # ours, as the partner repeats it
    sku: str | None = None
    outcome: LineOutcome
    raw: str  # the partner's code
    quantity: Decimal | None = None  # what it will send
    unit_price: Decimal | None = None
    out_of_stock: bool = False


class Answer(Frozen):
    """An order acknowledgement (855, ORDRSP)."""

    po_number: str
    outcome: LineOutcome | None  # of the order as a whole; None: the lines say it
    rest: LineOutcome | None = LineOutcome.ACCEPTED  # of lines that it does not mention; None: nothing is said of them
    raw: str
    at: datetime
    accepted_at: datetime | None = None  # the partner's own time, when it says one
    vendor_order_no: str | None = None
    lines: tuple[LineAnswer, ...] = ()


class Cancelled(Frozen):
    """The partner's answer to our cancellation (865, or an 855 or ORDRSP that cancels)."""

    po_number: str
    accepted: bool
    raw: str
    at: datetime


class Parcel(Frozen):
    tracking_no: str | None = None
    carrier: str | None = None


class Notice(Frozen):
    """What a ship notice (856, DESADV) says about one of our orders."""

    po_number: str
    shipment: str  # the partner's number of the shipment
    withdrawn: bool = False  # the notice takes an earlier one back
    raw: str
    at: datetime  # when it left
    parcels: tuple[Parcel, ...] = ()


class InvoiceLine(Frozen):
    line_no: str | None = None
    sku: str | None = None
    gtin: str | None = None
    quantity: Decimal
    unit: str | None = None
    unit_price: Decimal | None = None
    title: str | None = None


class Charge(Frozen):
    """An allowance (below nothing), a charge or a tax, with the partner's code for it: of one line, or of all."""

    code: str
    amount: Decimal
    line_no: str | None = None
    text: str | None = None


class Invoice(Frozen):
    """An invoice (810) or, with `credit`, a credit note."""

    number: str
    po_number: str | None
    date: str  # ISO, as the partner's calendar has it
    currency: str
    total: Decimal
    credit: bool = False
    lines: tuple[InvoiceLine, ...] = ()
    charges: tuple[Charge, ...] = ()
    taxes: tuple[Charge, ...] = ()


class Verdict(Frozen):
    """Whether the partner's system could read what we sent (997, TA1, CONTRL). It says nothing about the business."""

    control: str  # our control number
    accepted: bool
    reason: str = ""


Fact = Answer | Cancelled | Notice | Invoice | Verdict


@dataclass(frozen=True, slots=True)
class SetResult:
    """One message that came: its type, its number, and the error code of its acknowledgement, if it has an error."""

    kind: str
    control: str
    error: str = ""
    fatal: bool = False


@dataclass(slots=True)
class GroupResult:
    """One functional group (or, in EDIFACT, one interchange) that came, to be acknowledged."""

    kind: str
    control: str
    version: str = ""
    sets: list[SetResult] = field(default_factory=list)
    error: str = ""


@dataclass(slots=True)
class Scan:
    """What a file turned out to be. `labels` are for its name: see connectors.edi.names."""

    labels: set[str] = field(default_factory=set)
    control: str = ""  # the first interchange's control number
    refused: str = ""  # why the file cannot be used at all
    stranger: bool = False  # it is not from our partner, or not for us
    unfinished: bool = False  # it breaks off before its end: more may come
    notes: set[str] = field(default_factory=set)  # oddities that were read over, for people to see
    groups: list[GroupResult] = field(default_factory=list)
    wants_receipt: bool = False  # the sender asks for an acknowledgement of the interchange itself
    stamp: tuple[str, str] = ("", "")  # the interchange's date and time as written

    @property
    def usable(self) -> bool:
        return not self.refused and not self.unfinished


@dataclass(frozen=True, slots=True)
class SentLine:
    line_no: str
    sku: str
    quantity: Decimal
    unit_price: Decimal


@dataclass(frozen=True, slots=True)
class Sent:
    """One of our own documents, read back from the copy that we keep."""

    control: str
    po_number: str
    at: datetime
    lines: tuple[SentLine, ...] = ()


class Dialect(Protocol):
    """The syntax of one connection. Reading blocks (call it on a thread) and streams; nothing here does I/O of its
    own or asks a clock."""

    def scan(self, file: IO[bytes]) -> Scan:
        """Look through a whole file: is it for us, whole, and what is in it?"""
        ...

    def catalogue(self, file: IO[bytes], today: str) -> Iterator[dict[str, Any]]:
        """One record per sellable article. `_refused` says why one cannot be used, `_gone` that it was deleted,
        `_later` that it does not apply before another day than `today` (ISO)."""
        ...

    def stock(self, file: IO[bytes]) -> Iterator[dict[str, Any]]:
        """One record per article and location."""
        ...

    def facts(self, file: IO[bytes]) -> list[Fact]:
        """What a file of order documents says."""
        ...

    def order(self, po: PurchaseOrder, key: str, control: int, now: datetime) -> bytes:
        """The order as a file. Raises ValueError with a sentence when the order cannot be written in this syntax."""
        ...

    def cancellation(self, sent: Sent, control: int, now: datetime) -> bytes: ...

    def receipt(self, scan: Scan, file: IO[bytes], control: int, now: datetime) -> bytes | None:
        """The acknowledgement of a file that came; None when it wants none."""
        ...

    def own(self, data: bytes) -> Sent:
        """Read back what `order` or `cancellation` wrote."""
        ...
