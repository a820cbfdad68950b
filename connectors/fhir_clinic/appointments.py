"""Appointments as purchase orders: how ours are written, recognised and read back. Pure.

Every line of an order is one Appointment with two identifiers: the order's number, by which all of an order's
appointments are found, and `number/1-of-2`, which is unique, makes a repeated create harmless (If-None-Exist) and
says how many there must be. A slot taken for a line carries the same second identifier until it is freed, so that
whoever comes back after a lost answer knows its own slot from a stranger's; one that is only held carries the hold."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from datetime import datetime
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


def hold_system(system: str) -> str:
    """The identifier system of holds."""
    return f"{system}:hold"


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


# What we write on slots ----------------------------------------------------------------------------------------
#
# FHIR says that a slot may hold more than one appointment and has no field for how many, nor one for who holds it. So
# a slot carries our marks as identifiers: one per line that took a place, and one per hold, whose period ends when the
# hold does. All of them are written under If-Match, so counting them is safe.


def places(slot: Resource, extension: str | None) -> int:
    """How many appointments the slot holds: what the clinic's `extension` says, else one."""
    for item in slot.get("extension") or []:
        if extension and isinstance(item, dict) and item.get("url") == extension:
            for name in ("valuePositiveInt", "valueUnsignedInt", "valueInteger"):
                if type(item.get(name)) is int:
                    return max(1, int(item[name]))
    return 1


def obstacle(
    slot: Resource, system: str, key: str, *, now: datetime, places: int = 1, strangers: int = 0
) -> str | None:
    """Why the order `key` cannot have a place in this slot; None when it can. A hold of its own is no obstacle, and
    neither is one of ours that is over. `strangers` are the appointments that no mark on the slot stands for."""
    status, holds = str(slot.get("status"))[:40], holds_on(slot, system)
    others = [name for name, until in holds if name != key and (until is None or until > now)]
    if slot.get("overbooked") is True:
        return "over-booked"
    if status == FREE and places == 1:
        return None
    if status != FREE and not (status == "busy-tentative" and holds):
        return status
    if places == 1:
        return "held for another order" if others else None
    used = len(_marks(slot, system)) + len(others) + strangers
    return f"full: {used} of {places} places are taken" if used >= places else None


def taken(slot: Resource, system: str, mark: str, *, now: datetime, places: int = 1, strangers: int = 0) -> Resource:
    """The slot with a place taken for the line `mark`, and without the hold that the order had; everything else that
    the server keeps in it stays. It closes with its last place."""
    made = _without(slot, system, mark.rpartition("/")[0], now, mark)
    made["identifier"].append({"system": line_system(system), "value": mark})
    return _closed_when_full(made, system, places, strangers)


def held(
    slot: Resource, system: str, key: str, until: datetime, *, now: datetime, places: int = 1, strangers: int = 0
) -> Resource:
    """The slot with a place held for `key` until then."""
    made = _without(slot, system, key, now, "")
    made["identifier"].append({"system": hold_system(system), "value": key, "period": {"end": until.isoformat()}})
    return _closed_when_full(made, system, places, strangers)


def freed(slot: Resource, system: str, key: str, mark: str | None = None) -> Resource:
    """The slot without what was taken and held for the order `key` (or the line `mark` alone), free again unless the
    clinic closed it itself."""
    made = copy.deepcopy(slot)
    gone = set(marks_of(slot, system, key)) if mark is None else {mark}
    kept = [
        item
        for item in made.get("identifier") or []
        if not (item.get("system") == line_system(system) and item.get("value") in gone)
        and not (item.get("system") == hold_system(system) and item.get("value") == key)
    ]
    if slot.get("status") in ("busy", "busy-tentative"):
        made["status"] = FREE
    if kept:
        made["identifier"] = kept
    else:
        made.pop("identifier", None)
    return made


def holds_on(slot: Resource, system: str) -> list[tuple[str, datetime | None]]:
    """Our holds on a slot: (key, until when). One whose end cannot be read never ends by itself."""
    found: list[tuple[str, datetime | None]] = []
    for item in slot.get("identifier") or []:
        if isinstance(item, dict) and item.get("system") == hold_system(system):
            try:
                until = datetime.fromisoformat(str((item.get("period") or {}).get("end")))
            except ValueError:
                until = None
            found.append((str(item.get("value", "")), until if until is not None and until.tzinfo else None))
    return found


def is_marked(slot: Resource, system: str, item: Resource) -> bool:
    """Whether the appointment `item` is one that a mark on the slot stands for."""
    own = {i["value"] for i in _identifiers(item) if i["system"] == line_system(system)}
    return bool(own & set(_marks(slot, system)))


def _marks(slot: Resource, system: str) -> list[str]:
    return [item["value"] for item in _identifiers(slot) if item["system"] == line_system(system)]


def _without(slot: Resource, system: str, key: str, now: datetime, mark: str) -> Resource:
    """A copy without the hold of `key`, without holds that are over, and without `mark`."""
    made = copy.deepcopy(slot)
    over = {name for name, until in holds_on(slot, system) if name == key or (until is not None and until <= now)}
    made["identifier"] = [
        item
        for item in made.get("identifier") or []
        if not (item.get("system") == hold_system(system) and item.get("value") in over)
        and not (item.get("system") == line_system(system) and item.get("value") == mark)
    ]
    return made


def _closed_when_full(made: Resource, system: str, places: int, strangers: int) -> Resource:
    """A slot with a free place stays free. A full one is tentative while a hold is among what fills it: so `busy`
    always means that nothing more can be had."""
    if places == 1:
        own = made["identifier"][-1]
        ours = (line_system(system), hold_system(system))
        made["identifier"] = [*(i for i in made["identifier"] if i.get("system") not in ours), own]
    holds = holds_on(made, system)
    used = len(_marks(made, system)) + len(holds) + strangers
    made["status"] = FREE if used < places else "busy-tentative" if holds else "busy"
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
