"""What the contract kit needs to try X12: a wholesaler with thirty articles, and what each sample file says."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from connectors.base import Adapter as AnyAdapter
from connectors.contracts import PurchaseOrder
from connectors.edi.models import Answer, Fact, Invoice, LineOutcome, Notice, Verdict
from connectors.kit import FixtureCheck, SystemKit, example_order
from connectors.sandbox_kit import Faults, Sandbox
from connectors.x12_edi.adapter import Adapter
from connectors.x12_edi.sandbox import INBOX, OUTBOX, THEM, UNSOLD, US, X12Sandbox

NUMBER = "POKITKITKITKITKITKIT01"


class Kit(SystemKit):
    """The kit of X12."""

    unknown_order = "PONEVERPLACED"

    def sandbox(self, faults: Faults) -> Sandbox:
        return X12Sandbox(faults)

    def connection(self, sandbox: Sandbox) -> tuple[dict[str, Any], dict[str, str]]:
        assert isinstance(sandbox, X12Sandbox)
        config, secrets = sandbox.settings()
        ours = {"our_id": US, "partner_id": THEM, "inbox": INBOX, "outbox": OUTBOX, "page_rows": 10}
        return {**config, **ours, "cancel": "answered", "buyer_name": "SUPPLYHUB", "buyer_id": "C-1001"}, secrets

    def purchase_order(self) -> PurchaseOrder:
        return example_order(NUMBER, [("70001", 3, "4.85"), ("70002", 1, "4.85")], currency="USD")

    def refused_order(self) -> PurchaseOrder:
        return example_order("POKITKITKITKITKITKIT02", [(UNSOLD, 1, "4.85")], currency="USD")

    def orders_at_vendor(self, sandbox: Sandbox, key: str) -> int:
        assert isinstance(sandbox, X12Sandbox)
        return sandbox.living(key)

    def order_request(self, sandbox: Sandbox, key: str) -> Any:
        """The segments, without the numbers and times of the envelopes."""
        assert isinstance(sandbox, X12Sandbox)
        return [_timeless(segment) for segment in sandbox.orders[key]]

    def fixtures(self) -> Mapping[str, FixtureCheck]:
        return {
            "832_catalogue.edi": _catalogue,
            "846_inventory.edi": _inventory,
            "855_mixed.edi": _mixed,
            "856_two_orders.edi": _shipped,
            "810_invoice.edi": _invoiced,
            "997_refused.edi": _refused,
        }


def _timeless(segment: list[str]) -> list[str]:
    volatile = {"ISA": (9, 10, 13), "GS": (4, 5, 6), "GE": (2,), "IEA": (2,)}.get(segment[0], ())
    return [re.sub(r"\d", "0", element) if n in volatile else element for n, element in enumerate(segment)]


def _is(found: Any, wanted: Any) -> None:
    assert found == wanted, f"{found!r} instead of {wanted!r}"


def _x12(adapter: AnyAdapter) -> Adapter:
    assert isinstance(adapter, Adapter)
    return adapter


def _facts(adapter: AnyAdapter, raw: bytes) -> list[Fact]:
    return _x12(adapter).office.dialect.facts(io.BytesIO(raw))


def _catalogue(adapter: AnyAdapter, raw: bytes) -> None:
    """A hospital programme's catalogue, and a laboratory supplier's packs."""
    rows = list(_x12(adapter).office.dialect.catalogue(io.BytesIO(raw), "2026-11-25"))
    mapped = _x12(adapter).mapper.page([row for row in rows if "_refused" not in row])
    found = {listing.vendor_sku: listing for listing in mapped.listings}
    _is(sorted(found), ["1234321@PK", "88001", "88001@CA", "88003"])
    paper, piece, case = found["1234321@PK"], found["88001"], found["88001@CA"]
    _is((paper.price, paper.pack, paper.title), (Decimal("14.80"), "12 pieces", "LENS PAPER BOOK 12BK/PK"))
    _is((piece.price, piece.pack, piece.gtin), (Decimal("4.85"), "15 g", "00300904021010"))
    _is(piece.attributes, {"ndc": "00904679661", "in_case": "12"})
    _is((case.price, case.pack, case.gtin), (Decimal("55.20"), "12 x 15 g", None))
    _is((found["88003"].price, found["88003"].currency), (Decimal("0.1250"), "CAD"))
    reasons = {str(row.get("sku")): str(row["_refused"]) for row in rows if "_refused" in row}
    assert "CTP04" in reasons["88004"] and "no price" in reasons["88005"], reasons
    _is([row.get("_gone") for row in rows if row.get("sku") == "88006"], [True])
    _is([row.get("_later") for row in rows if row.get("sku") == "88007"], [True])


def _inventory(adapter: AnyAdapter, raw: bytes) -> None:
    rows = list(_x12(adapter).office.dialect.stock(io.BytesIO(raw)))
    good = [(r["sku"], r["location"], r["on_hand"]) for r in rows if "_refused" not in r]
    _is(good, [("88001", "EAST", "120"), ("88001", "WEST", "7"), ("88001@CA", "EAST", "9"), ("88003", "", "0")])
    _is({r["reported_at"] for r in rows if "_refused" not in r}, {"2026-11-24T09:15:30+00:00"})
    _is([r["sku"] for r in rows if "_refused" in r], ["88004"])


def _mixed(adapter: AnyAdapter, raw: bytes) -> None:
    [answer] = _facts(adapter, raw)
    assert isinstance(answer, Answer)
    _is((answer.po_number, answer.vendor_order_no, answer.outcome), ("POAAAAAAAAAAAAAAAAAAAA", "338093", None))
    lines = [(line.line_no, line.outcome, line.quantity, line.unit_price) for line in answer.lines]
    wanted = [
        ("1", LineOutcome.ACCEPTED, Decimal(25), None),
        ("2", LineOutcome.CHANGED, Decimal(20), None),
        ("3", LineOutcome.CHANGED, None, Decimal("7.10")),
        ("4", LineOutcome.BACKORDERED, None, None),
        ("5", LineOutcome.REJECTED, None, None),
        ("6", LineOutcome.SUBSTITUTED, Decimal(5), None),
    ]
    _is(lines, wanted)


def _shipped(adapter: AnyAdapter, raw: bytes) -> None:
    found = {notice.po_number: notice for notice in _facts(adapter, raw) if isinstance(notice, Notice)}
    first, second = found["POAAAAAAAAAAAAAAAAAAAA"], found["POBBBBBBBBBBBBBBBBBBBB"]
    _is([parcel.tracking_no for parcel in first.parcels], ["1Z999AA10123456784", "1Z999AA10123456785"])
    _is([parcel.tracking_no for parcel in second.parcels], ["1Z999AA10123456786"])
    _is({parcel.carrier for parcel in first.parcels}, {"UPSN"})
    _is(first.at.isoformat(), "2026-11-24T16:30:00+00:00")


def _invoiced(adapter: AnyAdapter, raw: bytes) -> None:
    [invoice] = _facts(adapter, raw)
    assert isinstance(invoice, Invoice)
    _is((invoice.number, invoice.po_number, invoice.date), ("INV-90011", "POAAAAAAAAAAAAAAAAAAAA", "2026-11-25"))
    _is((invoice.total, invoice.currency, invoice.credit), (Decimal("134.75"), "USD", False))
    _is(
        [(line.sku, line.quantity, line.unit_price) for line in invoice.lines],
        [("88001", Decimal(25), Decimal("4.85"))],
    )
    _is([(c.code, c.amount) for c in invoice.charges], [("D240", Decimal("12.50")), ("C310", Decimal("-5.00"))])
    _is([(t.code, t.amount) for t in invoice.taxes], [("ST", Decimal("6.00"))])


def _refused(adapter: AnyAdapter, raw: bytes) -> None:
    found = [fact for fact in _facts(adapter, raw) if isinstance(fact, Verdict)]
    _is([(fact.control, fact.accepted) for fact in found], [("215912344", True), ("215912345", False)])
    assert "AK4" in found[1].reason and "AK5 R 5" in found[1].reason, found[1].reason
