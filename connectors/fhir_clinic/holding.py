"""Holds a slot for a while before it is booked, and lets go of it.

A hold is written on the Slot itself: status `busy-tentative`, under If-Match, with an identifier of ours whose value is
the key of the order and whose period ends when the hold does. FHIR R4 has no hold that ends by itself, so a hold that
is over is ended by whoever comes next: a booking or another hold takes the place, a pull shows the slot as free, and
`release_expired` gives it back to the clinic's other customers."""

from __future__ import annotations

from datetime import datetime

from connectors.calling import OutOfStock, Refused
from connectors.contracts import Held
from connectors.fhir_clinic import appointments as words
from connectors.fhir_clinic.booking import TRIES, BooksAppointments
from connectors.fhir_clinic.resources import Resource, id_of
from hub.kernel import clock
from hub.kernel.errors import NotFound, Rejected, Retry


class HoldsSlots(BooksAppointments):
    """Holds on slots. They need no more of a server than booking does: versions and If-Match."""

    async def hold(self, slot_ref: str, key: str, until: datetime) -> Held:
        """Hold one place of this slot for the order `key` until then. Repeating it moves the end; `place` with the same
        key books the place that is held. Raises Retry when the outcome is unknown: repeat it, or `release`."""
        number, now = id_of(slot_ref, "Slot"), clock.now()
        if number is None:
            raise Rejected(f"{slot_ref[:60]!r} is no slot", code="bad_slot")
        if until.tzinfo is None or until <= now:
            raise Rejected("a hold ends in the future, at a time with a zone", code="bad_until")
        for _ in range(TRIES):
            slot = await self._read("Slot", number)
            if slot is None:
                return Held(held=False, slot_ref=slot_ref, reason=f"{slot_ref} is no longer on offer", gone=True)
            if words.marks_of(slot, self._system, key):
                return Held(held=False, slot_ref=slot_ref, reason=f"{slot_ref} is booked for this order already")
            places = self.places(slot)
            strangers = (await self.strangers([slot])).get(slot["id"], 0)
            why = words.obstacle(slot, self._system, key, now=now, places=places, strangers=strangers)
            if why is not None:
                return Held(held=False, slot_ref=slot_ref, reason=f"{slot_ref} is {why}", gone=True)
            wanted = words.held(slot, self._system, key, until, now=now, places=places, strangers=strangers)
            try:
                await self._update(slot, wanted)
            except OutOfStock:
                continue  # somebody's change came first: look again, and offer nothing that is gone
            except (Refused, NotFound) as error:
                return Held(
                    held=False, slot_ref=slot_ref, reason=f"the clinic does not let {slot_ref} be held: {error}"
                )
            return Held(held=True, slot_ref=slot_ref, ref=slot_ref, until=until)
        return Held(held=False, slot_ref=slot_ref, reason=f"{slot_ref} keeps being taken", gone=True)

    async def release(self, key: str, slot_ref: str | None = None) -> int:
        """Let go of what is held for `key` (of one slot, if given) and say how many places that was. What is booked
        stays booked; nothing held is no error."""
        number = id_of(slot_ref, "Slot") if slot_ref else None
        numbers = [number] if number else [slot["id"] for slot in await self._held_slots(key)]
        return sum([await self._let_go(one, key, only_after=None) for one in numbers])

    async def release_expired(self) -> int:
        """Give back every slot whose hold is over; returns how many holds that ended."""
        now, ended = clock.now(), 0
        async for found, _ in self._walk("Slot", {"status": "busy-tentative"}):
            for slot in found.resources:
                for key, until in words.holds_on(slot, self._system):
                    if until is not None and until <= now:
                        ended += await self._let_go(slot["id"], key, only_after=now)
        return ended

    async def _held_slots(self, key: str) -> list[Resource]:
        """The slots that carry a hold of `key`, whatever else the server sends."""
        found: list[Resource] = []
        async for page, _ in self._walk("Slot", {"identifier": f"{words.hold_system(self._system)}|{key}"}):
            found += [s for s in page.resources if any(name == key for name, _ in words.holds_on(s, self._system))]
        return found

    async def _let_go(self, number: str, key: str, *, only_after: datetime | None) -> int:
        """Take one hold off a slot, unless it was renewed beyond `only_after`; 0 when there is none."""
        for _ in range(TRIES):
            slot = await self._read("Slot", number)
            holds = {} if slot is None else dict(words.holds_on(slot, self._system))
            until = holds.get(key)
            if slot is None or key not in holds or (only_after is not None and (until is None or until > only_after)):
                return 0
            try:
                await self._update(slot, words.freed(slot, self._system, key, mark=""))
                return 1
            except OutOfStock:
                continue
            except (Refused, NotFound):
                return 0
        raise Retry(f"Slot/{number} keeps changing; its hold could not be ended", code="slot_contended")
