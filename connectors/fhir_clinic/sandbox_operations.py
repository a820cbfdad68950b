"""The stand-in clinic's `$find`, `$hold` and `$book`, as IHE's Scheduling profile describes them (version 1.0.0).
Nobody here has seen a live server of that profile: this half of the sandbox is written from the text alone."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from hub.kernel import clock

Resource = dict[str, Any]
Store = dict[str, dict[str, Resource]]
HOLDS_FOR = timedelta(minutes=10)


class Scheduler:
    """Proposes, holds and books appointments over a store of resources; `keep` stores a new version of one.

    `names_slots`: whether proposals name their slots (the profile's own example does not, and names who takes part)."""

    def __init__(self, store: Store, keep: Callable[[str, Resource], Resource], *, names_slots: bool = False) -> None:
        self._store = store
        self._keep = keep
        self._numbers = itertools.count(1)
        self._proposed: dict[str, tuple[Resource, str]] = {}  # by id: what was proposed, and the slot behind it
        self._held_until: dict[str, datetime] = {}
        self._slot_of: dict[str, str] = {}
        self.names_slots = names_slots

    def find(self, parameters: dict[str, Any]) -> Resource:
        """Proposals for the slots that are free between `start` and `end`."""
        start, end = (datetime.fromisoformat(parameters[name]) for name in ("start", "end"))
        found = []
        self.expire()
        for slot in self._store["Slot"].values():
            begins, ends = datetime.fromisoformat(slot["start"]), datetime.fromisoformat(slot["end"])
            if slot["status"] == "free" and start <= begins and ends <= end:
                found.append(self._proposal(slot))
        return _bundle(*found)

    def _proposal(self, slot: Resource) -> Resource:
        schedule = self._store["Schedule"][slot["schedule"]["reference"].split("/")[1]]
        made: Resource = {
            "resourceType": "Appointment",
            "id": f"proposed-{next(self._numbers)}",
            "status": "proposed",
            "start": slot["start"],
            "end": slot["end"],
            "participant": [
                {"actor": actor, "required": "required", "status": "needs-action"} for actor in schedule["actor"]
            ],
        }
        if self.names_slots:
            made["slot"] = [{"reference": f"Slot/{slot['id']}"}]
        self._proposed[made["id"]] = (made, slot["id"])
        return made

    def hold(self, parameters: dict[str, Any]) -> Resource:
        """A pending appointment in place of the proposal, for ten minutes."""
        number = parameters["appointment-reference"]["reference"].split("/")[1]
        self.expire()
        proposal, slot = self._proposed.get(number, (None, ""))
        if proposal is None or self._store["Slot"][slot]["status"] != "free":
            return _bundle(_outcome("not-found", "the appointment is no longer available"))
        self._close(slot)
        kept = self._keep("Appointment", {**proposal, "status": "pending"})
        self._slot_of[kept["id"]] = slot
        self._held_until[kept["id"]] = clock.now() + HOLDS_FOR
        return _bundle(kept)

    def book(self, parameters: dict[str, Any]) -> Resource:
        """Book what is pending or proposed, or cancel what is booked or held."""
        wanted: Resource = copy.deepcopy(parameters["appointment-resource"])
        number = wanted["id"]
        self.expire()
        if wanted["status"] == "cancelled":
            if number in self._slot_of:
                self._free(self._slot_of.pop(number))
            self._held_until.pop(number, None)
            return _bundle(self._keep("Appointment", wanted))
        if wanted["status"] != "pending":
            return _bundle(_outcome("invalid", "only a pending appointment can be booked"))
        if number not in self._held_until:
            proposal, slot = self._proposed.get(number, (None, ""))
            if proposal is None or self._store["Slot"][slot]["status"] != "free":
                return _bundle(_outcome("not-found", "the appointment is no longer available"))
            self._close(slot)
            self._slot_of[number] = slot
        self._held_until.pop(number, None)
        return _bundle(self._keep("Appointment", {**wanted, "status": "booked"}))

    def expire(self) -> None:
        """End the holds that are over."""
        for number, until in list(self._held_until.items()):
            if until <= clock.now():
                del self._held_until[number]
                self._free(self._slot_of.pop(number))
                self._keep("Appointment", {**self._store["Appointment"][number], "status": "cancelled"})

    def end_holds(self) -> None:
        """Let every hold be over now."""
        self._held_until = dict.fromkeys(self._held_until, clock.now())

    def _close(self, slot: str) -> None:
        self._keep("Slot", {**self._store["Slot"][slot], "status": "busy"})

    def _free(self, slot: str) -> None:
        self._keep("Slot", {**self._store["Slot"][slot], "status": "free"})


def read_parameters(body: Resource) -> dict[str, Any]:
    """Parameters by name."""
    found: dict[str, Any] = {}
    for item in body["parameter"]:
        found[item["name"]] = next(value for name, value in item.items() if name != "name")
    return found


def _bundle(*resources: Resource) -> Resource:
    appointments = [r for r in resources if r["resourceType"] == "Appointment"]
    return {
        "resourceType": "Bundle",
        "type": "searchset",
        "total": len(appointments),
        "entry": [{"resource": r, "search": {"mode": "match" if r in appointments else "outcome"}} for r in resources],
    }


def _outcome(code: str, text: str) -> Resource:
    return {"resourceType": "OperationOutcome", "issue": [{"severity": "fatal", "code": code, "diagnostics": text}]}
