"""What people decide in settlement: about cases, terms and adjustments. Every decision is in the audit trail."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from connectors import api as connectors
from hub.kernel import audit
from hub.kernel.db import Tx
from hub.kernel.errors import Conflict, NotFound
from orders import store
from orders.settlement.statements import Party
from orders.store import reconciling as kept
from orders.store import statements as books

Resolution = Literal["accepted", "corrected"]


async def note(tx: Tx, case_id: int, actor: str, text: str | None, assignee: str | None) -> store.Row:
    """Write a note on a case, or hand it to somebody."""
    await _case(tx, case_id)
    said = {"what": "note", "text": text, "assignee": assignee}
    await kept.note_on_case(tx, case_id, assignee, _log(tx, actor, said))
    return await _case(tx, case_id)


async def resolve(tx: Tx, case_id: int, actor: str, resolution: Resolution, reason: str) -> store.Row:
    """Close a case with a reason: the difference is `accepted` as it is, or one side will have `corrected` it. A
    later run opens it again when the figures become others, or when a promised correction does not come with the
    vendor's next list. Saying it again changes nothing; Conflict when it is closed otherwise."""
    row = await _case(tx, case_id)
    if row["state"] == "resolved":
        if row["resolution"] == resolution:
            return row
        raise Conflict(f"this case is resolved already: {row['resolution']}", code="resolved")
    said = {"what": "resolved", "resolution": resolution, "text": reason}
    await kept.resolve_case(tx, case_id, resolution, _log(tx, actor, said))
    facts = {"resolution": resolution, "reason": reason, "kind": row["kind"]}
    await audit.record(tx, actor, "settlement.case_resolved", f"settlement_case:{case_id}", facts)
    return await _case(tx, case_id)


async def _case(tx: Tx, case_id: int) -> store.Row:
    row = await kept.lock_case(tx, case_id)
    if row is None:
        raise NotFound("there is no such case", code="no_case")
    return row


def _log(tx: Tx, actor: str, said: dict[str, Any]) -> dict[str, Any]:
    return {"at": tx.now.isoformat(), "by": actor, **{name: value for name, value in said.items() if value is not None}}


async def set_terms(tx: Tx, actor: str, vendor_id: int, valid_from: date, valid_to: date | None, **agreed: Any) -> int:
    """Keep terms with a vendor; terms without an end that began earlier end the day before. Their id. NotFound for an
    unknown vendor; Conflict when others are in force on one of these days, or when an issued statement may hold
    orders of them: what was issued stands."""
    await connectors.vendor_name(tx, vendor_id)
    await books.take_turn(tx, "terms", f"vendor:{vendor_id}")
    for row in await books.terms_of(tx, [vendor_id]):
        if row["valid_to"] is None and row["valid_from"] < valid_from:
            await books.end_terms(tx, row["id"], valid_from - timedelta(days=1))
        elif (valid_to is None or row["valid_from"] <= valid_to) and (
            row["valid_to"] is None or valid_from <= row["valid_to"]
        ):
            until = row["valid_to"] or "further notice"
            raise Conflict(
                f"other terms with this vendor are in force from {row['valid_from']} to {until}",
                code="terms_overlap",
                facts={"terms": row["id"]},
            )
    values = {"vendor_id": vendor_id, "valid_from": valid_from, "valid_to": valid_to, "set_by": actor, **agreed}
    terms_id = await books.add_terms(tx, [values.get(name) for name in books.TERMS_COLUMNS])
    facts = {name: str(value) for name, value in values.items() if value is not None and name != "set_by"}
    await audit.record(tx, actor, "settlement.terms", f"vendor:{vendor_id}", facts)
    return terms_id


async def adjust(
    tx: Tx,
    actor: str,
    party: Party,
    kind: str,
    amount: Decimal,
    currency: str,
    reason: str,
    *,
    po_id: UUID | None = None,
    case_id: int | None = None,
) -> int:
    """Add an amount to the party's next statement (below zero: take it off): a refund, a return, a compensation, a
    correction. Its id. NotFound for an unknown purchase order or case, Conflict when it is another party's."""
    number: str | None = None
    if po_id is not None:
        po = await store.po_row(tx, po_id)
        if po is None:
            raise NotFound("there is no such purchase order", code="no_purchase_order")
        if party.id != (po["vendor_id"] if party.kind == "vendor" else po["mall_id"]):
            raise Conflict("that purchase order is another party's", code="other_party")
        number = po["number"]
    if case_id is not None:
        case = await _case(tx, case_id)
        if party.kind == "vendor" and case["vendor_id"] != party.id:
            raise Conflict("that case is another vendor's", code="other_party")
    values = {
        "party": party.key, "vendor_id": party.vendor_id, "mall_id": party.mall_id, "kind": kind, "amount": amount,
        "currency": currency, "po_id": po_id, "number": number, "case_id": case_id, "reason": reason, "made_by": actor,
    }  # fmt: skip
    adjustment_id = await books.add_adjustment(tx, [values[name] for name in books.ADJUSTMENT_COLUMNS])
    facts = {"party": party.key, "kind": kind, "amount": str(amount), "currency": currency, "reason": reason}
    await audit.record(tx, actor, "settlement.adjusted", f"settlement_adjustment:{adjustment_id}", facts)
    return adjustment_id
