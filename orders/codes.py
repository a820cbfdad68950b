"""Codes in the mall's hand. The connector keeps them (encrypted) and hands the same ones out for the same purchase
order, however often it is asked; orders/ remembers only that they were revealed and how each of them ends.

A reveal goes three steps, like every call of a vendor: the right is checked and the audit trail says who asks and when,
committed; the connector is asked outside any transaction; that the codes were seen is recorded, and only then are they
answered. So no code is shown without an entry, a lost answer is repeated by asking again, and a cancellation that
comes in between is decided by the connector, which knows whether the codes were shown before it or not."""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import Field, SecretStr

from connectors import api as connectors
from connectors.contracts import IssuedCode, PurchaseOrder
from connectors.protocol import IssuesCodes
from hub.kernel import audit
from hub.kernel.db import Tx, uow
from hub.kernel.errors import Broken, Conflict, Misconfigured, NotFound
from hub.kernel.failpoints import failpoint
from hub.kernel.keys import Principal
from hub.kernel.types import DeliveryMode, View, public_id
from orders import store
from orders.book import Book, Po, open_book, read_book
from orders.lifecycle import LineStatus
from orders.placing import letter_of

_ISSUED = (LineStatus.ACCEPTED, LineStatus.REVEALED)
_ENDED = (LineStatus.CANCELLED, LineStatus.EXPIRED, LineStatus.UNSUPPLIED)


class RevealedCode(View):
    """One code in plain. Hand it to its buyer and keep it nowhere else."""

    line_no: int
    code: str = Field(repr=False)
    pin: str | None = Field(default=None, repr=False)
    valid_until: datetime | None = None


class RevealedCodes(View):
    """The codes of an order. `waiting` are code lines whose vendor has not accepted yet: ask again later."""

    order: str
    codes: list[RevealedCode]
    waiting: list[int]


class CodeView(View):
    """A code that was revealed, as far as anybody may see it again without a new reveal."""

    line_no: int
    masked: str
    valid_until: datetime | None
    revealed_at: datetime


class LineCodes(View):
    """The codes of one line. `ready`: they can be revealed."""

    line_no: int
    qty: int
    ready: bool
    codes: list[CodeView]


class OrderCodes(View):
    """The code lines of an order, with what was revealed of them, masked."""

    order: str
    lines: list[LineCodes]


@dataclass(frozen=True, slots=True)
class _Asked:
    """One purchase order whose codes are wanted."""

    po_id: uuid.UUID
    connection_id: int
    letter: PurchaseOrder
    units: Counter[int]  # of code lines, by line number


def mask(code: str) -> str:
    """The last four characters of a code; fewer of a short one, so that it cannot be guessed."""
    shown = 4 if len(code) >= 8 else 2 if len(code) >= 6 else 0
    return "••••" + code[len(code) - shown :]


async def listed(tx: Tx, mall_id: int, order_id: uuid.UUID) -> OrderCodes:
    """The code lines of one order of this mall; raises NotFound."""
    book = await read_book(tx, order_id, mall_id)
    seen: dict[int, list[CodeView]] = defaultdict(list)
    for row in await store.codes_of(tx, order_id):
        seen[row["line_no"]].append(
            CodeView(
                line_no=row["line_no"],
                masked=row["masked"],
                valid_until=row["valid_until"],
                revealed_at=row["revealed_at"],
            )
        )
    return OrderCodes(
        order=public_id("ord", order_id),
        lines=[
            LineCodes(
                line_no=line.line_no,
                qty=line.quantity,
                ready=line.status in _ISSUED,
                codes=seen[line.line_no],
            )
            for line in book.lines.values()
            if line.mode == DeliveryMode.CODE
        ],
    )


async def reveal(principal: Principal, order_id: uuid.UUID) -> RevealedCodes:
    """The codes of one order of the calling mall, in plain; the same ones every time, and an entry in the audit trail
    each time. Raises NotFound, Conflict (none is ready; cancelled meanwhile), Retry (the vendor does not answer: ask
    again), Broken (the vendor did not give a code for every unit)."""
    async with uow(principal.tenant) as tx:
        book = await open_book(tx, order_id, principal.tenant_id)
        asked, waiting = await _ready(tx, book)
        if not asked:
            raise _nothing(waiting)
        facts = {
            "purchase_orders": [one.letter.number for one in asked],
            "lines": sorted(no for one in asked for no in one.units),
        }
        await audit.record(tx, principal.actor, "codes.reveal", f"order:{public_id('ord', order_id)}", facts)
    failpoint("orders.codes_asked")
    issued = {one.po_id: await _issued(one) for one in asked}
    failpoint("orders.codes_issued")
    async with uow(principal.tenant) as tx:
        book = await open_book(tx, order_id, principal.tenant_id)
        await _note(tx, book, [code for codes in issued.values() for code in codes])
        for po_id in issued:
            for line in book.on(book.pos[po_id]):
                if line.mode == DeliveryMode.CODE and line.status is LineStatus.ACCEPTED:
                    line.move("reveal")
        await book.save(tx)
    codes = sorted((code for codes in issued.values() for code in codes), key=lambda code: code.line_no)
    return RevealedCodes(order=public_id("ord", order_id), codes=[_plain(code) for code in codes], waiting=waiting)


async def _ready(tx: Tx, book: Book) -> tuple[list[_Asked], list[int]]:
    """What can be asked for now, and the code lines that are not ready."""
    asked = []
    for po in book.pos.values():
        units = _units(book, po)
        if units:
            letter = letter_of(po.number, await store.letter(tx, po.id))
            asked.append(_Asked(po.id, po.connection_id, letter, units))
    ready = {no for one in asked for no in one.units}
    waiting = [
        line.line_no
        for line in book.lines.values()
        if line.mode == DeliveryMode.CODE and line.line_no not in ready and line.status not in _ENDED
    ]
    return asked, waiting


def _units(book: Book, po: Po) -> Counter[int]:
    lines = [line for line in book.on(po) if line.mode == DeliveryMode.CODE and line.status in _ISSUED]
    return Counter({line.line_no: line.quantity for line in lines})


def _nothing(waiting: Sequence[int]) -> Conflict | NotFound:
    if not waiting:
        return NotFound("this order has no codes to reveal", code="no_codes")
    return Conflict(
        f"the codes of line {waiting[0]} are not issued yet; ask again once it is accepted",
        code="codes_not_ready",
        facts={"waiting": list(waiting)},
    )


async def _issued(one: _Asked) -> Sequence[IssuedCode]:
    """The codes of one purchase order, one for every unit of its code lines."""
    async with connectors.open_connector(one.connection_id) as connector:
        if not isinstance(connector, IssuesCodes):
            raise Misconfigured("this connection's connector can no longer issue codes", code="no_capability")
        try:
            issued = [
                code for code in await connector.issue(one.letter, key=one.letter.number) if code.line_no in one.units
            ]
        except NotFound:
            raise Conflict("the codes went back to their vendor: the line was cancelled", code="codes_gone") from None
    if Counter(code.line_no for code in issued) != one.units:
        raise Broken("the vendor did not give one code for every unit", code="codes_missing")
    return issued


async def _note(tx: Tx, book: Book, codes: Sequence[IssuedCode]) -> None:
    by_no = {line.line_no: line for line in book.lines.values()}
    position: Counter[int] = Counter()
    rows = []
    for code in codes:
        position[code.line_no] += 1
        masked = mask(code.code.get_secret_value())
        rows.append(
            (by_no[code.line_no].id, code.line_no, position[code.line_no], masked, code.valid_until),
        )
    await store.note_codes(tx, book.order.id, book.order.mall_id, rows)


def _plain(code: IssuedCode) -> RevealedCode:
    pin: SecretStr | None = code.pin
    return RevealedCode(
        line_no=code.line_no,
        code=code.code.get_secret_value(),
        pin=pin.get_secret_value() if pin is not None else None,
        valid_until=code.valid_until,
    )
