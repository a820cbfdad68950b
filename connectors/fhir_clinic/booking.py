"""Places, finds, cancels and tracks appointments.

A slot is taken first, by an update that succeeds only if nobody changed it (If-Match), and the appointment is created
after that. Whatever fails for certain is undone; whatever may have happened is left as it is and reported as Retry,
because the marks that slots and appointments carry let the next call with the same key find out and go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from connectors.calling import Answer, OutOfStock, Refused
from connectors.contracts import OrderUpdate, PoLine, PurchaseOrder, Receipt, ReceiptStatus, ShipmentStatus
from connectors.fhir_clinic import appointments as words
from connectors.fhir_clinic.pulling import PullsServices
from connectors.fhir_clinic.resources import FREE, Resource, bundle, etag_of, id_of, last_updated
from connectors.fhir_clinic.rest import FHIR_JSON
from hub.kernel import clock
from hub.kernel.errors import Broken, HubError, Misconfigured, NotFound, Retry

TRIES = 3  # of an update that somebody else's update beats
_MOST_PAGES = 50
_TAKEN_BEFORE = "=taken_before"  # set on a slot that an earlier call, whose answer was lost, took for us


class No(Exception):
    """The order cannot be placed: a refusal in the making."""

    def __init__(self, reason: str, skus: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.skus = skus  # not empty: because there is none


class BooksAppointments(PullsServices):
    """PlacesOrders, TracksOrders and BooksSlots over FHIR R4."""

    books_slots = True

    @property
    def _system(self) -> str:
        return str(self.config["order_system"])

    async def place(self, po: PurchaseOrder, *, key: str) -> Receipt:
        """Take every slot, then make every appointment. All or nothing: a refusal frees what was taken."""
        wrong = unfit(po)
        if wrong is not None:
            return Receipt(status=ReceiptStatus.REFUSED, reason=wrong)
        lines = sorted(po.lines, key=lambda line: line.slot_ref or "")
        marks = {line.line_no: words.line_key(key, n, len(lines)) for n, line in enumerate(lines, 1)}
        slots: dict[int, Resource] = {}
        resumed = False  # an earlier call with this key came this far: it may have made appointments too
        try:
            for line in lines:
                slot = await self._take(line, marks[line.line_no])
                resumed = resumed or slot.pop(_TAKEN_BEFORE, False)
                slots[line.line_no] = slot
        except No as no:
            await self._undo(lines, marks, await self._search(key) if resumed else [])
            return refusal(no)
        except HubError:
            if not resumed:  # no appointment was asked for yet, so none can exist
                await self._free_quietly(lines, marks)
            raise
        made: list[Resource] = []
        try:
            for line in lines:
                made.append(await self._book(po, line, slots[line.line_no], key, marks[line.line_no]))
        except No as no:
            await self._undo(lines, marks, await self._search(key) if resumed else made)
            return refusal(no)
        receipt = words.receipt_of(made, self._system, key)
        if receipt is None:
            raise Broken("the clinic dropped our identifiers from an appointment", code="no_identifier")
        return receipt

    async def find(self, key: str) -> Receipt | None:
        """The order placed with this key; None when the clinic has none or only a part of it."""
        return words.receipt_of(await self._search(key), self._system, key)

    async def cancel(self, vendor_order_no: str, po: PurchaseOrder) -> Receipt:
        """Cancel every appointment of the order, then free its slots. Repeating it is harmless."""
        ids = [part for part in vendor_order_no.split(",") if part]
        found = [item for number in ids if (item := await self._read("Appointment", number)) is not None]
        late = [item for item in found if item.get("status") in words.TOO_LATE]
        if late:
            status = str(late[0].get("status"))
            return Receipt(
                status=ReceiptStatus.REFUSED,
                vendor_order_no=vendor_order_no,
                reason=f"the appointment is {status} already",
                raw_status=status,
            )
        for item in found:
            if item.get("status") not in words.DEAD and not await self._cancel_one(item["id"]):
                return Receipt(
                    status=ReceiptStatus.REFUSED,
                    vendor_order_no=vendor_order_no,
                    reason="the clinic did not accept the cancellation",
                )
        slots = {slot for item in found for slot in words.slots_of(item)}
        slots |= {slot for line in po.lines if (slot := id_of(line.slot_ref, "Slot"))}
        for slot in sorted(slots):
            await self._free_slot(slot, po.number, None)
        return Receipt(status=ReceiptStatus.ACCEPTED, vendor_order_no=vendor_order_no, raw_status="cancelled")

    async def track(self, vendor_order_no: str) -> Sequence[OrderUpdate]:
        """The order's state now, as that of the appointment furthest from done; nothing when the clinic has none."""
        ids = [part for part in vendor_order_no.split(",") if part]
        found: list[Resource] = []
        for number in ids:
            try:
                answer = await self.call.get(f"Appointment/{self.call.fill('{id}', id=number)}")
            except NotFound:
                return ()
            found.append(self._resource(answer, "Appointment"))
            asked_at = answer.sent_at
        if not found:
            return ()
        raw = [str(item.get("status", "")) for item in found]
        update = OrderUpdate(
            po_number=_order_number(found[0], self._system),
            vendor_order_no=vendor_order_no,
            status=words.least([self.manifest.statuses.get(status, ShipmentStatus.UNKNOWN) for status in raw]),
            raw_status=",".join(raw),
            at=max((t for item in found if (t := last_updated(item))), default=asked_at),
        )
        return (update,)

    # Slots ----------------------------------------------------------------------------------------------------

    async def _take(self, line: PoLine, mark: str) -> Resource:
        """The slot, now busy in our name. Raises No when it is gone, or no longer the one that was sold."""
        number = id_of(line.slot_ref, "Slot")
        assert number is not None, "unfit has looked"
        for _ in range(TRIES):
            slot = await self._read("Slot", number)
            if slot is None:
                raise No(f"{line.slot_ref} is no longer on offer", (line.vendor_sku,))
            places = self.places(slot)
            if words.is_ours(slot, self._system, mark) and (places > 1 or slot.get("status") != FREE):
                return {**slot, _TAKEN_BEFORE: True}
            strangers = (await self.strangers([slot])).get(slot["id"], 0)
            now, key = clock.now(), mark.rpartition("/")[0]
            why = words.obstacle(slot, self._system, key, now=now, places=places, strangers=strangers)
            if why is not None:
                raise No(f"{line.slot_ref} is {why}", (line.vendor_sku,))
            if line.slot_start is not None and not same_time(slot.get("start"), line.slot_start.isoformat()):
                raise No(f"{line.slot_ref} was moved to {str(slot.get('start'))[:40]}", (line.vendor_sku,))
            wanted = words.taken(slot, self._system, mark, now=now, places=places, strangers=strangers)
            try:
                return await self._update(slot, wanted)
            except OutOfStock:
                # Somebody's change came first: look again, and take it only if it still has a place. It may have been
                # our own change: aiohttp sends a PUT again when a kept connection breaks (aio-libs/aiohttp#7363).
                continue
            except (Refused, NotFound) as error:
                raise No(f"the clinic does not let {line.slot_ref} be taken: {error}") from None
        raise No(f"{line.slot_ref} keeps being taken", (line.vendor_sku,))

    async def _undo(self, lines: list[PoLine], marks: Mapping[int, str], made: list[Resource]) -> None:
        """Cancel these appointments, then free the slots of these lines."""
        for item in made:
            await self._cancel_one(item["id"])
        await self._free(lines, marks)

    async def _free(self, lines: list[PoLine], marks: Mapping[int, str]) -> None:
        """Free what was taken for these lines. Raises Retry when it cannot be told whether that worked."""
        for line in lines:
            number = id_of(line.slot_ref, "Slot")
            if number is not None:
                await self._free_slot(number, marks[line.line_no].rpartition("/")[0], marks[line.line_no])

    async def _free_quietly(self, lines: list[PoLine], marks: Mapping[int, str]) -> None:
        """The same when an error is on its way up already: that one says more."""
        try:
            await self._free(lines, marks)
        except HubError:
            return  # the marks stay on the slots; the next call with this key takes them up

    async def _free_slot(self, number: str, key: str, mark: str | None) -> None:
        """Make one slot free again if it is ours: taken for the line `mark`, or for any line of the order `key`."""
        for _ in range(TRIES):
            slot = await self._read("Slot", number)
            if slot is None:
                return
            ours = words.marks_of(slot, self._system, key)
            held = any(name == key for name, _ in words.holds_on(slot, self._system))
            if not (ours if mark is None else mark in ours) and not held:
                return
            try:
                await self._update(slot, words.freed(slot, self._system, key, mark))
                return
            except OutOfStock:
                continue  # changed meanwhile: look again
            except (Refused, NotFound):
                return
        raise Retry(f"Slot/{number} keeps changing; it could not be freed", code="slot_contended")

    # Appointments ---------------------------------------------------------------------------------------------

    async def _book(self, po: PurchaseOrder, line: PoLine, slot: Resource, key: str, mark: str) -> Resource:
        """The line's appointment: made now, or found because an earlier call made it."""
        body = words.appointment(
            po, line, slot, system=self._system, key=key, mark=mark, patient=self.config["patient"]
        )
        headers = {
            "Content-Type": FHIR_JSON,
            "Prefer": "return=representation",
            "If-None-Exist": words.only_if_new(self._system, mark),
        }
        try:
            answer = await self.call.send("POST", "Appointment", body, headers=headers)
            made = await self._created(answer)
        except OutOfStock:  # 412: the condition matches several
            found = [item for item in await self._search(key) if mark in words.marks_of(item, self._system, key)]
            if not found:
                raise No("the clinic refuses the appointment as a duplicate of one that it does not show") from None
            made = found[0]
        except (Refused, NotFound) as error:
            raise No(f"the clinic refuses the appointment: {error}") from None
        if made.get("status") in words.DEAD:
            raise No("the appointment with this order number was cancelled at the clinic")
        return made

    async def _created(self, answer: Answer) -> Resource:
        """The appointment that a create answered with; fetched by its Location when the answer has no body."""
        if answer.body.strip():
            return self._resource(answer, "Appointment")
        number = id_of(answer.headers.get("location", ""), "Appointment")
        made = await self._read("Appointment", number) if number else None
        if made is None:
            raise Retry("the clinic confirmed an appointment without saying which", code="no_order_number")
        return made

    async def _cancel_one(self, number: str) -> bool:
        """Set one appointment to cancelled; False when the clinic refuses."""
        for _ in range(TRIES):
            item = await self._read("Appointment", number)
            if item is None or item.get("status") in words.DEAD:
                return True
            if item.get("status") in words.TOO_LATE:
                return False
            changed = {**item, "status": "cancelled", "cancelationReason": {"text": "cancelled by the buyer"}}
            try:
                await self._update(item, changed)
                return True
            except OutOfStock:
                continue
            except (Refused, NotFound):
                return False
        raise Retry(f"Appointment/{number} keeps changing; it could not be cancelled", code="appointment_contended")

    async def _search(self, key: str) -> list[Resource]:
        """The appointments that carry our order number, whatever else the server sends."""
        found: list[Resource] = []
        path = "Appointment"
        params: dict[str, str] | None = {"identifier": f"{self._system}|{key}"}
        for _ in range(_MOST_PAGES):
            answer = await self.call.get(path, params)
            page = bundle(answer.json(self.manifest), "Appointment")
            found += [item for item in page.resources if words.belongs_to(item, self._system, key)]
            if page.next is None:
                return found
            path, params = page.next, None
        return found

    # Resources ------------------------------------------------------------------------------------------------

    async def _update(self, before: Resource, after: Resource) -> Resource:
        """Replace a resource unless somebody changed it since `before` was read (OutOfStock then)."""
        version = etag_of(before)
        if version is None:
            raise Misconfigured(
                "the clinic's server keeps no versions; booking there could not be guarded", code="no_versions"
            )
        path = f"{before['resourceType']}/{self.call.fill('{id}', id=str(before['id']))}"
        headers = {"Content-Type": FHIR_JSON, "If-Match": version, "Prefer": "return=representation"}
        answer = await self.call.send("PUT", path, after, headers=headers)
        return self._resource(answer, str(before["resourceType"])) if answer.body.strip() else after


def unfit(po: PurchaseOrder) -> str | None:
    """Why no clinic could take this order."""
    for line in po.lines:
        if id_of(line.slot_ref, "Slot") is None:
            return f"line {line.line_no} names no slot; a clinic sells appointments only"
        if line.quantity != 1:
            return f"line {line.line_no} asks for {line.quantity} places in one slot: book them one by one"
    if len({line.slot_ref for line in po.lines}) != len(po.lines):
        return "two lines name the same slot"
    return None if po.lines else "the order has no lines"


def refusal(no: No) -> Receipt:
    return Receipt(status=ReceiptStatus.REFUSED, reason=str(no), out_of_stock=bool(no.skus), out_of_stock_skus=no.skus)


def same_time(given: Any, wanted: str) -> bool:
    try:
        return datetime.fromisoformat(str(given)) == datetime.fromisoformat(wanted)
    except (TypeError, ValueError):
        return False


def _order_number(item: Resource, system: str) -> str | None:
    return next(
        (str(x.get("value")) for x in item.get("identifier") or [] if x.get("system") == system and x.get("value")),
        None,
    )
