"""What the contract kit needs to try EDIFACT: a wholesaler with thirty articles, and what each sample file says."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from connectors.base import Adapter as AnyAdapter
from connectors.contracts import PurchaseOrder
from connectors.edi.models import Answer, Fact, LineOutcome, Notice, Verdict
from connectors.edifact.adapter import Adapter
from connectors.edifact.sandbox import INBOX, OUTBOX, THEM, UNSOLD, US, EdifactSandbox
from connectors.kit import FixtureCheck, SystemKit, example_order
from connectors.sandbox_kit import Faults, Sandbox

NUMBER = "POKITKITKITKITKITKIT01"


class Kit(SystemKit):
    """The kit of EDIFACT."""

    unknown_order = "PONEVERPLACED"

    def sandbox(self, faults: Faults) -> Sandbox:
        return EdifactSandbox(faults)

    def connection(self, sandbox: Sandbox) -> tuple[dict[str, Any], dict[str, str]]:
        assert isinstance(sandbox, EdifactSandbox)
        config, secrets = sandbox.settings()
        ours = {"our_id": US, "partner_id": THEM, "inbox": INBOX, "outbox": OUTBOX, "page_rows": 10}
        parties = {"buyer_id": US, "supplier_id": THEM, "syntax": "UNOY:3", "cancel": "answered"}
        return {**config, **ours, **parties}, secrets

    def purchase_order(self) -> PurchaseOrder:
        return example_order(NUMBER, [("M-1", 3, "12.50"), ("M-2", 1, "12.50")])

    def refused_order(self) -> PurchaseOrder:
        return example_order("POKITKITKITKITKITKIT02", [(UNSOLD, 1, "12.50")])

    def orders_at_vendor(self, sandbox: Sandbox, key: str) -> int:
        assert isinstance(sandbox, EdifactSandbox)
        return sandbox.living(key)

    def order_request(self, sandbox: Sandbox, key: str) -> Any:
        """The segments, without the numbers and times of the envelope."""
        assert isinstance(sandbox, EdifactSandbox)
        head, *body, trailer = sandbox.orders[key]
        fixed = re.sub(r"\+\d{6}:\d{4}\+\d+$", "+000000:0000+000000000", head)
        return [fixed, *body, re.sub(r"\d{6,}$", "000000000", trailer)]

    def fixtures(self) -> Mapping[str, FixtureCheck]:
        return {
            "pricat_catalogue.edi": _catalogue,
            "pricat_latin1.edi": _latin,
            "invrpt_inventory.edi": _inventory,
            "ordrsp_mixed.edi": _mixed,
            "desadv_packages.edi": _shipped,
            "contrl_refused.edi": _refused,
        }


def _is(found: Any, wanted: Any) -> None:
    assert found == wanted, f"{found!r} instead of {wanted!r}"


def _edifact(adapter: AnyAdapter) -> Adapter:
    assert isinstance(adapter, Adapter)
    return adapter


def _facts(adapter: AnyAdapter, raw: bytes) -> list[Fact]:
    return _edifact(adapter).office.dialect.facts(io.BytesIO(raw))


def _catalogue(adapter: AnyAdapter, raw: bytes) -> None:
    rows = list(_edifact(adapter).office.dialect.catalogue(io.BytesIO(raw), "2026-11-25"))
    mapped = _edifact(adapter).mapper.page([row for row in rows if "_refused" not in row and not row.get("_later")])
    found = {listing.vendor_sku: listing for listing in mapped.listings}
    _is(sorted(found), ["M-100", "M-101", "M-101@CT", "M-103"])
    tablets, case = found["M-100"], found["M-101@CT"]
    _is((tablets.title, tablets.title_en, tablets.brand), ("布洛芬片 0.2g*24片", "Ibuprofen 0.2 g", "示例药业"))
    _is((tablets.price, tablets.currency, tablets.market_price), (Decimal("12.50"), "CNY", Decimal("19.90")))
    _is((tablets.gtin, tablets.external_id), ("06901230001000", "SA:M-100@PCE"))
    _is((found["M-101"].pack, found["M-101"].price), ("12 pieces", Decimal("150")))
    _is((case.pack, case.gtin), ("40 pieces", None))
    _is((found["M-103"].price, found["M-103"].title), (Decimal("0.1250"), "Syringe 10 ml 'Luer' + needle: 20G?"))
    reasons = {str(row.get("sku")): str(row["_refused"]) for row in rows if "_refused" in row}
    for sku, why in {"M-104": "sold with 12", "M-105": "a measure", "M-106": "(RNG)"}.items():
        assert why in reasons[sku], reasons[sku]
    _is([row.get("_gone") for row in rows if row.get("sku") == "M-107"], [True])
    _is([row.get("_later") for row in rows if row.get("sku") == "M-108"], [True])


def _latin(adapter: AnyAdapter, raw: bytes) -> None:
    [row] = _edifact(adapter).office.dialect.catalogue(io.BytesIO(raw), "2026-11-25")
    _is((row["title"], row["price"], row["currency"]), ("Pflaster für große Füße", "1299.95", "EUR"))


def _inventory(adapter: AnyAdapter, raw: bytes) -> None:
    rows = list(_edifact(adapter).office.dialect.stock(io.BytesIO(raw)))
    good = [(r["sku"], r["location"], r["on_hand"]) for r in rows if "_refused" not in r]
    _is(good, [("M-100", "EAST", "120"), ("M-100", "WEST", "7"), ("M-101@CT", "EAST", "9"), ("M-103", "SG01", "0")])
    _is({r["reported_at"] for r in rows if "_refused" not in r}, {"2026-11-24T09:15:30+00:00"})
    _is([r["sku"] for r in rows if "_refused" in r], ["M-104", "M-105"])


def _mixed(adapter: AnyAdapter, raw: bytes) -> None:
    [answer] = _facts(adapter, raw)
    assert isinstance(answer, Answer)
    _is((answer.po_number, answer.vendor_order_no, answer.outcome), ("POAAAAAAAAAAAAAAAAAAAA", "SO-4711", None))
    lines = [(line.line_no, line.outcome, line.quantity, line.unit_price) for line in answer.lines]
    wanted = [
        ("1", LineOutcome.ACCEPTED, Decimal(25), None),
        ("2", LineOutcome.CHANGED, Decimal(20), Decimal("12.50")),
        ("3", LineOutcome.BACKORDERED, None, None),
        ("4", LineOutcome.REJECTED, None, None),
        ("5", LineOutcome.SUBSTITUTED, None, None),
    ]
    _is(lines, wanted)


def _shipped(adapter: AnyAdapter, raw: bytes) -> None:
    found = {notice.po_number: notice for notice in _facts(adapter, raw) if isinstance(notice, Notice)}
    first, second = found["POAAAAAAAAAAAAAAAAAAAA"], found["POBBBBBBBBBBBBBBBBBBBB"]
    _is([parcel.tracking_no for parcel in first.parcels], ["SF1000000000001", "SF1000000000002"])
    _is([parcel.tracking_no for parcel in second.parcels], ["SF1000000000003"])
    _is({parcel.carrier for parcel in first.parcels}, {"SF EXPRESS"})
    _is(first.at.isoformat(), "2026-11-24T16:30:00+00:00")


def _refused(adapter: AnyAdapter, raw: bytes) -> None:
    found = [fact for fact in _facts(adapter, raw) if isinstance(fact, Verdict)]
    _is([(fact.control, fact.accepted) for fact in found], [("217000001", True), ("217000002", False)])
    assert "UCM" in found[1].reason and "UCD 13" in found[1].reason, found[1].reason
