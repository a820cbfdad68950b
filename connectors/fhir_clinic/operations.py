"""Books through a server's own operations, as IHE's Scheduling profile has them (ITI-115 to 117, version 1.0.0):
`Appointment/$find` proposes appointments, `$hold` keeps one until it is booked, cancelled or the server's hold ends,
`$book` books, changes and cancels. Such a server guards its slots itself and may not let anybody write on them, so this
way is taken when its CapabilityStatement lists the operations (or the connection's `booking` says so)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from connectors.calling import OutOfStock, Refused
from connectors.contracts import Held, PoLine, PurchaseOrder, Receipt, ReceiptStatus
from connectors.fhir_clinic import appointments as words
from connectors.fhir_clinic.booking import No, refusal, same_time, unfit
from connectors.fhir_clinic.holding import HoldsSlots
from connectors.fhir_clinic.resources import Resource, id_of
from connectors.fhir_clinic.rest import FHIR_JSON
from hub.kernel.errors import Broken, Misconfigured, NotFound, Rejected, Retry

_HEADERS = {"Content-Type": FHIR_JSON}
_GONE = frozenset({"not-found", "conflict", "deleted"})  # issue codes of a place that is lost (ITI-116: not-found)


class UsesOperations(HoldsSlots):
    """Orders and holds by $find, $hold and $book where the server has them; on the Slot everywhere else."""

    async def _operates(self, *names: str) -> bool:
        """Whether these operations are to be used."""
        way = self.config["booking"]
        if way != "auto":
            return bool(way == "operations")
        operations = (await self.capabilities()).operations
        return all(("Appointment", name) in operations for name in names)

    async def place(self, po: PurchaseOrder, *, key: str) -> Receipt:
        """Book every line, all or nothing: with $find and $book, or on the Slot."""
        wrong = unfit(po)
        if wrong is not None:
            return Receipt(status=ReceiptStatus.REFUSED, reason=wrong)
        if not await self._operates("find", "book"):
            return await super().place(po, key=key)
        lines = sorted(po.lines, key=lambda line: line.slot_ref or "")
        earlier = {mark: item for item in await self._search(key) for mark in words.marks_of(item, self._system, key)}
        on_hold = await self._held_appointments(key)
        made: list[Resource] = []
        try:
            for position, line in enumerate(lines, 1):
                mark = words.line_key(key, position, len(lines))
                made.append(await self._book_line(po, line, key, mark, earlier.get(mark), on_hold))
        except No as no:
            for item in [*made, *(item for item in earlier.values() if item not in made)]:
                await self._cancel_one(item["id"])
            await self.release(key)
            return refusal(no)
        receipt = words.receipt_of(made, self._system, key)
        if receipt is None:
            for item in made:
                await self._cancel_one(item["id"])
            return Receipt(
                status=ReceiptStatus.REFUSED,
                reason="the clinic drops our order number from appointments; it could not be found again",
            )
        return receipt

    async def _book_line(
        self, po: PurchaseOrder, line: PoLine, key: str, mark: str, earlier: Resource | None, on_hold: list[Resource]
    ) -> Resource:
        """One line's appointment: made before, or booked now out of what is held or proposed. Raises No."""
        if earlier is not None:
            if earlier.get("status") in words.DEAD:
                raise No("the appointment with this order number was cancelled at the clinic")
            return earlier
        slot = await self._slot(line)
        proposal = next((item for item in on_hold if _fits(item, slot, [])), None) or await self._proposed(slot)
        if proposal is None:
            raise No(f"{line.slot_ref} is no longer on offer", (line.vendor_sku,))
        ours = words.appointment(
            po, line, slot, system=self._system, key=key, mark=mark, patient=self.config["patient"]
        )
        wanted = copy.deepcopy(proposal)
        wanted.update({name: ours[name] for name in ("contained", "comment") if name in ours})
        wanted["identifier"] = [*_strange(proposal, self._system), *ours["identifier"]]
        wanted["participant"] = [*(proposal.get("participant") or []), *ours["participant"]]
        wanted["status"] = "pending"  # the operation's own word for what is to be booked
        body = _parameters({"name": "appointment-resource", "resource": wanted})
        made, why = await self._operate("book", body)
        if made is None or made.get("status") in words.DEAD:
            gone = why.gone or (made is not None and not why.said)
            raise No(why.said or f"{line.slot_ref} was taken a moment ago", (line.vendor_sku,) if gone else ())
        return made

    async def _slot(self, line: PoLine) -> Resource:
        """The slot of a line as it is now; raises No when it is gone or no longer the one that was sold."""
        slot = await self._read("Slot", id_of(line.slot_ref, "Slot") or "")
        if slot is None:
            raise No(f"{line.slot_ref} is no longer on offer", (line.vendor_sku,))
        if line.slot_start is not None and not same_time(slot.get("start"), line.slot_start.isoformat()):
            raise No(f"{line.slot_ref} was moved to {str(slot.get('start'))[:40]}", (line.vendor_sku,))
        return slot

    async def _proposed(self, slot: Resource) -> Resource | None:
        """The appointment that the server proposes for this slot. When proposals do not name their slots, it must be
        with everybody and everything that the slot's schedule is for: the wrong doctor is no substitute."""
        window = [{"name": name, "valueDateTime": slot[name]} for name in ("start", "end")]
        try:
            answer = await self.call.ask("POST", "Appointment/$find", _parameters(*window), headers=_HEADERS)
        except (Refused, NotFound):
            return None
        found = _outcome(answer.json(self.manifest), self.manifest.id)[0]
        named = [item for item in found if words.slots_of(item)]
        if named:
            return next((item for item in named if slot["id"] in words.slots_of(item)), None)
        schedule = await self._read("Schedule", id_of((slot.get("schedule") or {}).get("reference"), "Schedule") or "")
        actors = [a.get("reference") for a in (schedule or {}).get("actor") or [] if a.get("reference")]
        return next((item for item in found if actors and _fits(item, slot, actors)), None)

    # Holds ----------------------------------------------------------------------------------------------------

    async def hold(self, slot_ref: str, key: str, until: datetime) -> Held:
        """With $find and $hold when the server has them: the hold then ends by the server's rule (`until` None) or by
        `release`. Otherwise on the Slot."""
        if not await self._operates("find", "hold", "book"):
            return await super().hold(slot_ref, key, until)
        number = id_of(slot_ref, "Slot")
        if number is None:
            raise Rejected(f"{slot_ref[:60]!r} is no slot", code="bad_slot")
        slot = await self._read("Slot", number)
        if slot is None:
            return Held(held=False, slot_ref=slot_ref, reason=f"{slot_ref} is no longer on offer", gone=True)
        before = next((x for x in await self._held_appointments(key) if _fits(x, slot, [])), None)
        if before is not None:
            return Held(held=True, slot_ref=slot_ref, ref=f"Appointment/{before['id']}")
        proposal = await self._proposed(slot)
        if proposal is None:
            return Held(held=False, slot_ref=slot_ref, reason=f"{slot_ref} is no longer on offer", gone=True)
        pointer = {"name": "appointment-reference", "valueReference": {"reference": f"Appointment/{proposal['id']}"}}
        held, why = await self._operate("hold", _parameters(pointer))
        if held is None or held.get("status") in words.DEAD:
            reason = why.said or f"{slot_ref} was taken a moment ago"
            return Held(held=False, slot_ref=slot_ref, reason=reason, gone=why.gone or not why.said)
        ours = {"system": words.hold_system(self._system), "value": key}
        try:
            held = await self._read("Appointment", held["id"]) or held
            await self._update(held, {**held, "identifier": [*(held.get("identifier") or []), ours]})
        except (OutOfStock, Refused, NotFound, Misconfigured) as error:
            await self._cancel_by(held)
            reason = f"the clinic holds {slot_ref} but takes no number of ours for it, so it could not be found again"
            return Held(held=False, slot_ref=slot_ref, reason=f"{reason}: {error}")
        return Held(held=True, slot_ref=slot_ref, ref=f"Appointment/{held['id']}")

    async def release(self, key: str, slot_ref: str | None = None) -> int:
        """Cancel what the server holds for `key`, and let go of what is held on slots."""
        ended = 0
        if await self._operates("find", "hold", "book"):
            slot = await self._read("Slot", id_of(slot_ref, "Slot") or "") if slot_ref else None
            for item in await self._held_appointments(key):
                if slot is None or _fits(item, slot, []):
                    ended += await self._cancel_by(item)
        return ended + await super().release(key, slot_ref)

    async def _held_appointments(self, key: str) -> list[Resource]:
        """The pending appointments that carry a hold of `key`."""
        system, found = words.hold_system(self._system), []
        async for page, _ in self._walk("Appointment", {"identifier": f"{system}|{key}"}):
            found += [
                item for item in page.resources
                if item.get("status") == "pending" and words.belongs_to(item, system, key)
            ]  # fmt: skip
        return found

    async def _cancel_one(self, number: str) -> bool:
        """Set one appointment to cancelled, by $book where the server has it."""
        if not await self._operates("find", "book"):
            return await super()._cancel_one(number)
        item = await self._read("Appointment", number)
        if item is None or item.get("status") in words.DEAD:
            return True
        if item.get("status") in words.TOO_LATE:
            return False
        return await self._cancel_by(item)

    async def _cancel_by(self, item: Resource) -> bool:
        changed = {**item, "status": "cancelled", "cancelationReason": {"text": "cancelled by the buyer"}}
        body = _parameters({"name": "appointment-resource", "resource": changed})
        made, _ = await self._operate("book", body)
        return made is not None and made.get("status") in words.DEAD

    async def _operate(self, name: str, body: Any) -> tuple[Resource | None, _Why]:
        """Send an operation once: the appointment that it gave, and why there is none. Raises Retry when the outcome is
        unknown."""
        try:
            answer = await self.call.send("POST", f"Appointment/${name}", body, headers=_HEADERS)
        except OutOfStock as error:
            return None, _Why(str(error), True)
        except NotFound as error:
            return None, _Why(str(error), True)
        except Refused as error:
            return None, _Why(str(error), error.code in _GONE)
        if not answer.body.strip():
            raise Retry(f"the clinic answered ${name} with nothing", code="no_answer")
        found, why = _outcome(answer.json(self.manifest), self.manifest.id)
        return (found[0] if found else None), why


class _Why(NamedTuple):
    """What an OperationOutcome said, and whether it means that the place is gone."""

    said: str = ""
    gone: bool = False


def _outcome(body: Any, who: str) -> tuple[list[Resource], _Why]:
    """The appointments in an operation's answer and what else it said: a Bundle, Parameters with one, an Appointment or
    an OperationOutcome. Raises Broken for anything else."""
    resources = _inside(body)
    if resources is None:
        raise Broken(f"{who} answered an operation with something that is no Bundle", code="not_a_bundle")
    found = [item for item in resources if item.get("resourceType") == "Appointment" and item.get("id")]
    issues = [
        issue
        for item in resources
        if item.get("resourceType") == "OperationOutcome"
        for issue in item.get("issue") or []
        if issue.get("severity") in ("fatal", "error")
    ]
    texts = [
        issue.get("diagnostics") or (issue.get("details") or {}).get("text") or issue.get("code") for issue in issues
    ]
    said = "; ".join(str(text)[:200] for text in texts if text)
    return found, _Why(f"{who}: {said}" if said else "", any(issue.get("code") in _GONE for issue in issues))


def _inside(body: Any) -> Sequence[Resource] | None:
    if not isinstance(body, dict):
        return None
    kind = body.get("resourceType")
    if kind in ("Appointment", "OperationOutcome"):
        return [body]
    if kind == "Bundle":
        return [e["resource"] for e in body.get("entry") or [] if isinstance(e.get("resource"), dict)]
    if kind == "Parameters":
        held = [p["resource"] for p in body.get("parameter") or [] if isinstance(p.get("resource"), dict)]
        return [inner for item in held for inner in _inside(item) or []]
    return None


def _fits(item: Resource, slot: Resource, actors: Sequence[str]) -> bool:
    """Whether an appointment is the slot's: it names it, or has its times and all these actors."""
    if words.slots_of(item):
        return slot["id"] in words.slots_of(item)
    people = {(p.get("actor") or {}).get("reference") for p in item.get("participant") or []}
    same = all(same_time(item.get(name), str(slot.get(name))) for name in ("start", "end"))
    return same and set(actors) <= people


def _strange(item: Resource, system: str) -> list[Mapping[str, Any]]:
    """The identifiers that are not ours: a hold ends with the booking."""
    ours = (system, words.line_system(system), words.hold_system(system))
    return [i for i in item.get("identifier") or [] if i.get("system") not in ours]


def _parameters(*parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": list(parameters)}
