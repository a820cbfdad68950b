"""Monthly statements, one a party (vendor or mall), month and currency.

A line is owed in the month in which its last unit was delivered. A statement holds, for each line, what is owed at the
cut-off less what issued statements of earlier months hold of it. So a delivery that became known late, a return,
or a price put right comes as a correction of the next month by itself, and nothing is billed twice or forgotten.
Amounts are exact: unit price times quantity, unrounded; only the payable sum is rounded to whole coins, and the
rounding is a figure of its own. An issued statement never changes; a later version takes its place, as long as no
later month was issued."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from connectors import api as connectors
from hub.kernel import audit
from hub.kernel.db import Tx
from hub.kernel.errors import Conflict, NotFound, Rejected
from orders import store
from orders.settlement.owed import Owed, StatementLine, listed_taxes, terms_at, terms_of
from orders.settlement.reconciling import deliveries_of
from orders.settlement.rules import (
    ZERO,
    day_of,
    minor,
    month_bounds,
)
from orders.store import statements as books

LOOK_BACK = timedelta(days=190)  # how old an order may be at the cut-off and still be owed or corrected
_PAGE = 500


@dataclass(frozen=True, slots=True)
class Party:
    """Whose statement it is."""

    kind: Literal["vendor", "mall"]
    id: int
    name: str = ""

    @property
    def key(self) -> str:
        return f"{self.kind}:{self.id}"

    @property
    def vendor_id(self) -> int | None:
        return self.id if self.kind == "vendor" else None

    @property
    def mall_id(self) -> int | None:
        return self.id if self.kind == "mall" else None


async def party_of(tx: Tx, kind: Literal["vendor", "mall"], party_id: int) -> Party:
    """Raises NotFound for one that does not exist."""
    name = await connectors.vendor_name(tx, party_id) if kind == "vendor" else await books.mall_name(tx, party_id)
    if name is None:
        raise NotFound("there is no such mall", code="no_mall")
    return Party(kind, party_id, name)


@dataclass(slots=True)
class Sums:
    """The figures of one statement, kept while its lines come."""

    currency: str
    lines: int = 0
    by_kind: dict[str, Decimal] = field(default_factory=dict)
    tax: Decimal | None = None
    without_tax: int = 0

    def add(self, line: StatementLine) -> None:
        self.lines += 1
        line.no = self.lines
        self.by_kind[line.kind] = self.by_kind.get(line.kind, ZERO) + line.amount
        if line.kind in ("goods", "correction"):
            if line.tax_amount is None:
                self.without_tax += 1
            else:
                self.tax = (self.tax or ZERO) + line.tax_amount

    def row(self) -> list[Any]:
        """As orders.store.statements.SUMS: net is the exact sum of the lines, payable is it in whole coins."""
        parts = [self.by_kind.get(kind, ZERO) for kind in ("goods", "correction", "adjustment", "deduction")]
        net = sum(parts, ZERO)
        payable = minor(net, self.currency)
        return [self.lines, *parts, net, payable - net, payable, self.tax, self.without_tax]


class Draft:
    """Statements of one party and month on their way: one a currency, begun with its first line."""

    def __init__(self, party: Party, month: date, versions: Mapping[str, int], reason: str | None) -> None:
        self.party, self.month, self.reason = party, month, reason
        self.cutoff = month_bounds(month)[1]
        self._versions = versions  # the newest issued version, by currency
        self._open: dict[str, tuple[int, Sums]] = {}

    async def add(self, tx: Tx, currency: str, lines: Sequence[StatementLine]) -> None:
        if not lines:
            return
        statement_id, sums = await self.begin(tx, currency)
        for line in lines:
            sums.add(line)
        await books.add_lines(tx, statement_id, self.party.vendor_id, self.party.mall_id, lines)

    async def begin(self, tx: Tx, currency: str) -> tuple[int, Sums]:
        if currency not in self._open:
            statement_id = await books.add_draft(
                tx, self.party.key, self.party.vendor_id, self.party.mall_id, self.party.name, self.month, currency,
                1 + self._versions.get(currency, 0), self.cutoff, self.reason,
            )  # fmt: skip
            self._open[currency] = statement_id, Sums(currency)
        return self._open[currency]

    async def finish(self, tx: Tx) -> list[int]:
        for statement_id, sums in self._open.values():
            await books.save_sums(tx, statement_id, sums.row())
        return [statement_id for statement_id, _ in self._open.values()]


async def draft(tx: Tx, party: Party, month: date, reason: str | None = None) -> list[store.Row]:
    """Draft the party's statements of a month anew, from what is known now; its drafts of that month are replaced.
    A month that was issued needs a `reason`: the drafts are its next version. Raises Rejected for a month that has
    not begun, Conflict when it was issued already (no reason), or when a later month was."""
    month = month.replace(day=1)
    if month_bounds(month)[0] > tx.now:
        raise Rejected(f"{month:%Y-%m} has not begun in Shanghai", code="month_not_begun")
    await books.take_turn(tx, "statements", party.key)
    known = await books.statements_of(tx, party.key)
    _no_later_month(known, month)
    issued = {row["currency"]: row["version"] for row in known if row["month"] == month and row["state"] == "issued"}
    if issued and reason is None:
        raise Conflict(f"{month:%Y-%m} is issued; correct it with a reason", code="already_issued")
    await books.drop_drafts(tx, party.key, month)
    drafted = Draft(party, month, issued, reason)
    for currency in sorted(issued):
        await drafted.begin(tx, currency)  # what an issued statement had and is no longer owed leaves an empty version
    await _fill(tx, drafted)
    ids = await drafted.finish(tx)
    return [row for row in await books.statements_of(tx, party.key, month) if row["id"] in ids]


def _no_later_month(known: Sequence[store.Row], month: date) -> None:
    later = sorted(row["month"] for row in known if row["month"] > month and row["state"] == "issued")
    if later:
        raise Conflict(
            f"{later[-1]:%Y-%m} is issued already; what is wrong with {month:%Y-%m} comes as a correction of the "
            f"next month",
            code="later_month_issued",
        )


async def _fill(tx: Tx, drafted: Draft) -> None:
    party, since = drafted.party, drafted.cutoff - LOOK_BACK
    after: UUID | None = None
    while True:
        if party.kind == "vendor":
            rows, after = await books.lines_of_vendor(tx, party.id, since, drafted.cutoff, after, _PAGE)
        else:
            rows, after = await books.lines_of_mall(tx, party.id, since, drafted.cutoff, after, _PAGE)
        await _owed(tx, drafted, rows, moved=False)
        if after is None:
            break
    if party.kind == "vendor":
        earliest = day_of(since).replace(day=1)
        moved = await books.billed_and_moved(tx, party.key, drafted.month, earliest, party.id)
        await _owed(tx, drafted, moved, moved=True)
    for row in await books.open_adjustments(tx, party.key, drafted.month, drafted.cutoff):
        number = row["number"] or ""
        line = StatementLine(
            kind="adjustment", order_no=number, po_number=number, amount=row["amount"], adjustment_id=row["id"],
            note=f"{row['kind']}: {row['reason']}",
        )  # fmt: skip
        await drafted.add(tx, row["currency"], [line])


async def _owed(tx: Tx, drafted: Draft, rows: Sequence[store.Row], *, moved: bool) -> None:
    """The statement's lines for these order lines: what is owed of each less what was billed."""
    if not rows:
        return
    ids = [row["line_id"] for row in rows]
    arrived = await deliveries_of(tx, ids)
    billed = {row["line_id"]: row for row in await books.billed(tx, drafted.party.key, drafted.month, ids)}
    credited = {row["line_id"]: row["amount"] for row in await books.credited(tx, ids, drafted.cutoff)}
    terms = await terms_of(tx, sorted({row["vendor_id"] for row in rows}))
    taxes = await listed_taxes(tx, rows)
    made: dict[str, list[StatementLine]] = {}
    for row in rows:
        delivery = None if moved else arrived.get(row["line_id"])
        owed = Owed(
            row,
            drafted.cutoff,
            delivery,
            terms_at(terms, row),
            taxes.get(row["line_id"]),
            credited.get(row["line_id"], ZERO),
            mall=drafted.party.kind == "mall",
        )
        made.setdefault(row["currency"], []).extend(owed.lines(billed.get(row["line_id"])))
    for currency, lines in made.items():
        await drafted.add(tx, currency, lines)


async def issue(tx: Tx, statement_id: int, actor: str) -> store.Row:
    """Freeze a draft: from now on it never changes. Issuing again changes nothing. Raises NotFound, and Conflict
    while its month is not over, when it was drafted before that, or when something was issued since it was drafted."""
    row = await _one(tx, statement_id)
    await books.take_turn(tx, "statements", row["party"])
    row = await _one(tx, statement_id)
    if row["state"] != "draft":
        return row
    known = await books.statements_of(tx, row["party"])
    _no_later_month(known, row["month"])
    if row["cutoff_at"] > tx.now:
        raise Conflict(f"{row['month']:%Y-%m} is not over in Shanghai", code="month_not_over")
    others = [o for o in known if o["state"] == "issued" and o["month"] < row["month"]]
    if row["drafted_at"] < row["cutoff_at"] or any(o["issued_at"] > row["drafted_at"] for o in others):
        raise Conflict("this draft is out of date; draft the month again", code="draft_outdated")
    same = [o for o in known if o["currency"] == row["currency"] and o["state"] == "issued"]
    previous = max(same, key=lambda o: (o["month"], o["version"]))["hash"] if same else None
    digest = await _digest(tx, row, previous)
    await books.issue(tx, statement_id, actor, previous, digest)
    facts = {"party": row["party"], "month": f"{row['month']:%Y-%m}", "version": row["version"], "hash": digest}
    await audit.record(tx, actor, "settlement.issued", f"statement:{statement_id}", facts)
    return await _one(tx, statement_id)


async def intact(tx: Tx, statement_id: int) -> bool:
    """Whether an issued statement still is what its hash was taken of."""
    row = await _one(tx, statement_id)
    return bool(row["hash"] == await _digest(tx, row, row["previous_hash"]))


_HASHED = (
    "party", "party_name", "month", "currency", "version", "cutoff_at", "reason", *books.SUMS,
)  # fmt: skip


async def _digest(tx: Tx, row: store.Row, previous: str | None) -> str:
    """SHA-256 over the statement's figures and every line, chained to the party's statement before it."""
    digest = hashlib.sha256(_canonical([previous, *(row[name] for name in _HASHED)]))
    async for line in lines_of(tx, row["id"]):
        digest.update(_canonical([line[name] for name, _ in books.LINE_COLUMNS]))
    return digest.hexdigest()


def _canonical(values: Sequence[Any]) -> bytes:
    said = [format(v.normalize(), "f") if isinstance(v, Decimal) else None if v is None else str(v) for v in values]
    return json.dumps(said, ensure_ascii=False).encode() + b"\n"


async def lines_of(tx: Tx, statement_id: int) -> AsyncIterator[store.Row]:
    """Every line of a statement, in order, a page in memory at a time."""
    after = 0
    while rows := await books.lines_after(tx, statement_id, after, 2_000):
        for row in rows:
            yield row
        after = rows[-1]["no"]


async def _one(tx: Tx, statement_id: int) -> store.Row:
    row = await books.statement(tx, statement_id)
    if row is None:
        raise NotFound("there is no such statement", code="no_statement")
    return row


async def readable(tx: Tx, statement_id: int, party: Party | None) -> store.Row:
    """A statement that this party may read (None: staff may read all, drafts too); NotFound for any other."""
    row = await _one(tx, statement_id)
    if party is not None and (row["party"] != party.key or row["state"] == "draft"):
        raise NotFound("there is no such statement", code="no_statement")
    return row
