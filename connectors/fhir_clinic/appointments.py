"""Appointments as purchase orders: how ours are written, recognised and read back. Pure.

Every line of an order is one Appointment with two identifiers: the order's number, by which all of an order's
appointments are found, and `number/1-of-2`, which is unique, makes a repeated create harmless (If-None-Exist) and
says how many there must be. A slot taken for a line carries the same second identifier until it is freed, so that
whoever comes back after a lost answer knows its own slot from a stranger's."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from connectors.contracts import PoLine, PurchaseOrder, Receipt, ReceiptStatus, ShipmentStatus, ShipTo
from connectors.fhir_clinic.resources import FREE, Resource, id_of, last_updated

DEAD = frozenset({"cancelled", "entered-in-error"})
UNDECIDED = frozenset({"proposed", "pending", "waitlist"})
STANDING = frozenset({"booked", "arrived", "checked-in", "fulfilled", "noshow"})
TOO_LATE = frozenset({"arrived", "checked-in", "fulfilled", "noshow"})
_LINE = re.compile(r".*/(\d+)-of-(\d+)", re.DOTALL)


def line_key(key: str, position: int, count: int) -> str:
    """The identifier of one line, such as `po_1/1-of-2`."""
    return f"{key}/{position}-of-{count}"


def line_system(system: str) -> str:
    """The identifier system of lines, beside that of orders."""
    return f"{system}:line"


def only_if_new(system: str, line: str) -> str:
    """The value of If-None-Exist."""
    return urlencode({"identifier": f"{line_system(system)}|{line}"})


def appointment(
    po: PurchaseOrder, line: PoLine, slot: Resource, *, system: str, key: str, mark: str, patient: str
) -> Resource:
    """The Appointment of one line: the slot's own times, the visitor with no more than a name and a phone."""
    made: Resource = {
        "resourceType": "Appointment",
        "identifier": [{"system": system, "value": key}, {"system": line_system(system), "value": mark}],
        "status": "booked",
        "slot": [{"reference": f"Slot/{slot['id']}"}],
        "start": slot["start"],
        "end": slot["end"],
        "created": po.placed_at.isoformat(),
    }
    for name in ("serviceCategory", "serviceType", "specialty", "appointmentType"):
        if slot.get(name):
            made[name] = slot[name]
    if po.note:
        made["comment"] = po.note
    if patient == "contained":
        made["contained"] = [_patient(po.ship_to)]
        actor = {"reference": "#visitor", "display": po.ship_to.name}
    else:
        actor = {"display": po.ship_to.name}
    made["participant"] = [{"actor": actor, "required": "required", "status": "accepted"}]
    return made


def _patient(visitor: ShipTo) -> Resource:
    return {
        "resourceType": "Patient",
        "id": "visitor",
        "name": [{"text": visitor.name}],
        "telecom": [{"system": "phone", "value": visitor.phone}],
    }


def taken(slot: Resource, system: str, mark: str) -> Resource:
    """The slot as taken for the line `mark`; everything else the server keeps in it stays."""
    made = copy.deepcopy(slot)
    made["status"] = "busy"
    made["identifier"] = [*_strangers(slot, system), {"system": line_system(system), "value": mark}]
    return made


def freed(slot: Resource, system: str) -> Resource:
    """The slot as it was before we took it."""
    made = copy.deepcopy(slot)
    made["status"] = FREE
    if rest := _strangers(slot, system):
        made["identifier"] = rest
    else:
        made.pop("identifier", None)
    return made


def is_ours(slot: Resource, system: str, mark: str) -> bool:
    """Whether the slot was taken for this very line."""
    return {"system": line_system(system), "value": mark} in _identifiers(slot)


def marks_of(resource: Resource, system: str, key: str) -> list[str]:
    """The line identifiers of the order `key` that a resource carries."""
    return [
        identifier["value"]
        for identifier in _identifiers(resource)
        if identifier["system"] == line_system(system) and identifier["value"].startswith(f"{key}/")
    ]


def belongs_to(resource: Resource, system: str, key: str) -> bool:
    """Whether the appointment carries our order number: a server that ignores the search parameter sends others."""
    return {"system": system, "value": key} in _identifiers(resource)


def receipt_of(found: Sequence[Resource], system: str, key: str) -> Receipt | None:
    """What the appointments of one order say together; None while some of its lines have none, for placing again
    with the same key then completes it."""
    if not found:
        return None
    marks = {mark: item for item in found for mark in marks_of(item, system, key)}
    counts = [int(match[2]) for mark in marks if (match := _LINE.fullmatch(mark))]
    due = max(counts, default=1)
    statuses = [str(item.get("status", "")) for item in found]
    if any(status in DEAD for status in statuses):
        return Receipt(
            status=ReceiptStatus.REFUSED,
            vendor_order_no=number_of(found),
            reason="the appointment was cancelled at the clinic",
            raw_status=",".join(statuses),
        )
    if len(marks) < due:
        return None
    decided = all(status in STANDING for status in statuses)
    return Receipt(
        status=ReceiptStatus.ACCEPTED if decided else ReceiptStatus.PENDING,
        vendor_order_no=number_of(found),
        accepted_at=max((t for item in found if (t := last_updated(item))), default=None) if decided else None,
        raw_status=",".join(statuses),
    )


def number_of(found: Sequence[Resource]) -> str:
    """The vendor's number of an order: its appointments' ids, comma-separated when there are several."""
    return ",".join(sorted(str(item["id"]) for item in found))


def slots_of(item: Resource) -> list[str]:
    """Ids of the slots an appointment fills."""
    references = item.get("slot") or []
    return [found for entry in references if (found := id_of(entry.get("reference"), "Slot"))]


_ORDER = (
    ShipmentStatus.UNKNOWN, ShipmentStatus.EXCEPTION, ShipmentStatus.PENDING, ShipmentStatus.IN_TRANSIT,
    ShipmentStatus.DELIVERED, ShipmentStatus.CANCELLED,
)  # fmt: skip


def least(statuses: Sequence[ShipmentStatus]) -> ShipmentStatus:
    """The state of an order of several appointments: that of the one furthest from done."""
    return min(statuses, key=lambda status: _ORDER.index(status) if status in _ORDER else 0)


def _identifiers(resource: Resource) -> list[dict[str, str]]:
    return [
        {"system": str(item.get("system", "")), "value": str(item.get("value", ""))}
        for item in resource.get("identifier") or []
        if isinstance(item, dict)
    ]


def _strangers(slot: Resource, system: str) -> list[Any]:
    """The slot's identifiers that are not ours."""
    return [item for item in slot.get("identifier") or [] if item.get("system") != line_system(system)]
