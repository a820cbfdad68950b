"""Pulls HealthcareServices as listings and Slots as bookable times, following `Bundle.link`.

Schedules and Locations are read first, since slots and services point at them. Servers differ in which search
parameters they know, and one that does not know a parameter may answer an empty page with status 200 (the recorded
exchange `bad_param` does): a filter is therefore believed only after it has been seen to find something."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from connectors.calling import Refused
from connectors.contracts import BadRow, Cursor, ListingIn, Page, SlotIn
from connectors.fhir_clinic import appointments as words
from connectors.fhir_clinic.resources import (
    FREE,
    TAKEN,
    Bundle,
    Prices,
    Resource,
    Service,
    city_of,
    department_of,
    human_name,
    id_of,
    kinds_of,
    location_city,
    people_of,
    service_listing,
    services_of,
    sku_of,
    slot_in,
    unknown_fields,
    zone_of,
)
from connectors.fhir_clinic.rest import ReadsFhir
from connectors.mapping import bad_row
from hub.kernel import clock
from hub.kernel.errors import Misconfigured, NotFound

OVERLAP = timedelta(minutes=5)
_AT_ONCE = 20  # ids in one search


@dataclass
class Context:
    """What services and slots must know of what they point at."""

    cities: dict[str, str] = field(default_factory=dict)  # by Location
    names: dict[str, str] = field(default_factory=dict)  # of Locations
    zones: dict[str, str] = field(default_factory=dict)  # of Locations
    services: dict[str, Service] = field(default_factory=dict)
    schedules: dict[str, list[str]] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)  # schedules that are not in use
    people: dict[str, list[str]] = field(default_factory=dict)  # by service: who gives it


class Homeless(ValueError):
    """A slot without a service that could be sold; said once a page and schedule, not once a slot."""


class PullsServices(ReadsFhir):
    """PullsListings over FHIR R4."""

    async def pull(self, since: Cursor | None) -> AsyncIterator[Page]:
        """Pages of services, then pages of slots. `since` None: everything; {"since": iso time}: all services and
        the slots changed after it; a saved page's cursor: from after that page."""
        since = dict(since or {})
        if since.get("done"):
            yield Page(cursor=since, captured_at=datetime.fromisoformat(since["done"]), complete=True)
            return
        context = await self.context()
        skip = int(since.get("services", 0))
        carried = {"since": since["since"]} if since.get("since") else {}
        number = 0
        async for found, sent_at in self._walk("HealthcareService"):
            number += 1
            page = self.services(found, sent_at, context)
            if number > skip and "slots" not in since:
                yield page.model_copy(update={"cursor": {**carried, "services": number}})
        async for page in self._slots(since, context, {**carried, "services": number}):
            yield page

    async def context(self) -> Context:
        """Locations, schedules and the people in them, as they are now."""
        context = Context()
        async for found, _ in self._walk("Location"):
            for place in found.resources:
                for known, value in (
                    (context.cities, location_city(place)), (context.names, place.get("name")),
                    (context.zones, zone_of(place)),
                ):  # fmt: skip
                    if isinstance(value, str) and value.strip():
                        known[place["id"]] = value.strip()
        declared = self.config.get("schedules") or {}
        unnamed: dict[str, list[tuple[str, int]]] = {}
        async for found, _ in self._walk("Schedule"):
            for schedule in found.resources:
                owners = services_of(schedule, declared)
                context.schedules[schedule["id"]] = owners
                if schedule.get("active") is False:
                    context.closed.add(schedule["id"])
                    continue
                for reference, name in people_of(schedule):
                    for owner in owners:
                        people = context.people.setdefault(owner, [])
                        if name is None:
                            unnamed.setdefault(reference, []).append((owner, len(people)))
                        people.append(name or "")
        names = await self._names_of(unnamed)
        for reference, places in unnamed.items():
            for owner, position in places:
                context.people[owner][position] = names.get(reference, "")
        context.people = {owner: list(dict.fromkeys(filter(None, p))) for owner, p in context.people.items()}
        return context

    async def _names_of(self, references: Iterable[str]) -> dict[str, str]:
        """The names of people whom schedules only point at. They are a courtesy: a server that does not show its
        people is pulled without them."""
        found: dict[str, str] = {}
        through: dict[str, str] = {}  # Practitioner -> the reference of the role that points at it
        for role in await self._some("PractitionerRole", references):
            person, key = role.get("practitioner") or {}, f"PractitionerRole/{role['id']}"
            if isinstance(name := person.get("display"), str) and name:
                found[key] = name
            elif isinstance(pointer := person.get("reference"), str):
                through[pointer] = key
        for person in await self._some("Practitioner", [*references, *through]):
            key = f"Practitioner/{person['id']}"
            if name := human_name(person):
                found[through.get(key, key)] = found[key] = name
        return found

    async def _some(self, kind: str, references: Iterable[str]) -> list[Resource]:
        """Those of these resources that the server shows."""
        ids = list(dict.fromkeys(x for reference in references if (x := id_of(reference, kind))))
        found: list[Resource] = []
        try:
            for start in range(0, len(ids), _AT_ONCE):
                part = {"_id": ",".join(ids[start : start + _AT_ONCE])}
                async for page, _ in self._walk(kind, part):
                    found += page.resources
        except (NotFound, Refused, Misconfigured):
            return found
        return found

    def services(self, found: Bundle, sent_at: datetime, context: Context) -> Page:
        """A page of services as listings; those that can be sold are noted in `context` for their slots."""
        config = self.config
        system, city = config.get("sku_system"), config.get("city")
        prices = Prices(config.get("prices") or {}, config.get("price_extension"), config["currency"])
        listings: list[ListingIn] = []
        bad: list[BadRow] = []
        drift: set[str] = set()
        for service in found.resources:
            drift |= unknown_fields(service)
            made = service_listing(
                service, system=system, prices=prices, cities=context.cities, kind=config["kind"], city=city,
                people=context.people.get(service["id"], ()), places=places_of(service, context.names),
                titles=config["titles"],
            )  # fmt: skip
            if isinstance(made, BadRow):
                bad.append(made)
                continue
            context.services[service["id"]] = Service(
                sku_of(service, system) or "", city_of(service, context.cities) or city, department_of(service),
                kinds_of(service, "type", "specialty"),
            )  # fmt: skip
            listings.append(made)
        return Page(listings=tuple(listings), bad=tuple(bad), captured_at=sent_at, drift=tuple(sorted(drift)))

    async def _slots(self, since: Cursor, context: Context, base: Cursor) -> AsyncIterator[Page]:
        """Pages of slots; the last one is complete."""
        resume = since.get("slots")
        params = await self._filters(since) if not isinstance(resume, str) else {}
        url = resume if isinstance(resume, str) else None
        first_sent: datetime | None = None
        pages = self._walk("Slot", params, url)
        try:
            async for found, sent_at in pages:
                first_sent = first_sent or sent_at
                page = await self._slot_page(found, sent_at, context)
                began = since.get("began") or first_sent.isoformat()
                cursor: Cursor = {**base, "slots": found.next, "began": began}
                if found.last:
                    cursor = {**base, "done": began}
                elif found.next is None:  # a server without links: what follows can only be asked for from the start
                    cursor = {**base, "began": began}
                yield page.model_copy(update={"cursor": cursor, "complete": found.last})
        except NotFound:
            if url is None or first_sent is not None:
                raise
            # the server forgot the search behind the saved link: what it had is asked again, nothing is skipped
            async for page in self._slots({k: v for k, v in since.items() if k != "slots"}, context, base):
                yield page

    async def _slot_page(self, found: Bundle, sent_at: datetime, context: Context) -> Page:
        slots: list[SlotIn] = []
        bad: list[BadRow] = []
        drift: set[str] = set()
        homeless: Counter[str] = Counter()
        until = sent_at + timedelta(days=int(self.config["horizon_days"]))
        strangers = await self.strangers(found.resources)
        for slot in found.resources:
            try:
                free = self.is_free(slot, sent_at, context, strangers.get(slot["id"], 0))
                made = slot_in(slot, self.service_of(slot, context), sent_at, free=free)
            except Homeless as error:
                homeless[str(error)] += 1
                continue
            except ValueError as error:
                bad.append(bad_row(slot, str(error), "/slot"))
                continue
            if made.end <= sent_at or made.start > until:
                continue
            slots.append(made)
            status = slot.get("status")
            if status != FREE and status not in TAKEN:  # closed on the shelf, and said so: silence would hide it
                drift.add(f"Slot.status={str(status)[:60]}")
                reason = f"the slot's status {str(status)[:60]!r} is not known; it is kept closed"
                bad.append(bad_row(slot, reason, "/status", made.vendor_sku))
        bad += [
            BadRow(reason=reason, pointer="/schedule", raw=f"{count} slots of this page")
            for reason, count in homeless.items()
        ]
        return Page(slots=tuple(slots), bad=tuple(bad), captured_at=sent_at, drift=tuple(sorted(drift)))

    def is_free(self, slot: Resource, now: datetime, context: Context, strangers: int) -> bool:
        """Whether somebody could book the slot now: its schedule is in use, and nothing stands in the way."""
        if id_of((slot.get("schedule") or {}).get("reference"), "Schedule") in context.closed:
            return False
        system, places = str(self.config["order_system"]), self.places(slot)
        return words.obstacle(slot, system, "", now=now, places=places, strangers=strangers) is None

    def places(self, slot: Resource) -> int:
        """How many appointments the slot holds: one, unless the clinic's extension says more."""
        return words.places(slot, self.config.get("capacity_extension"))

    async def strangers(self, slots: Sequence[Resource]) -> dict[str, int]:
        """For slots that hold several appointments: how many living ones they have that are not marked on the slot.
        Asked only where such slots are; FHIR does not count them on the slot itself."""
        open_ = (FREE, "busy-tentative")
        several = {slot["id"]: slot for slot in slots if slot.get("status") in open_ and self.places(slot) > 1}
        found: Counter[str] = Counter()
        ids, system = list(several), str(self.config["order_system"])
        for start in range(0, len(ids), _AT_ONCE):
            wanted = ",".join(f"Slot/{number}" for number in ids[start : start + _AT_ONCE])
            async for page, _ in self._walk("Appointment", {"slot": wanted}):
                for item in page.resources:
                    if item.get("status") in words.DEAD:
                        continue
                    found.update(
                        n for n in words.slots_of(item)
                        if n in several and not words.is_marked(several[n], system, item)
                    )  # fmt: skip
        return found

    def service_of(self, slot: Resource, context: Context) -> Service:
        """The one service that the slot belongs to; raises Homeless when that cannot be told for certain."""
        schedule = id_of((slot.get("schedule") or {}).get("reference"), "Schedule") or ""
        owners = context.schedules.get(schedule)
        if owners is None:
            raise Homeless(f"Schedule/{schedule[:64]} is not on the server")
        known = [context.services[owner] for owner in owners if owner in context.services]
        if len(known) == 1:
            return known[0]
        if len(known) > 1:
            kinds = kinds_of(slot, "serviceType", "specialty")
            fitting = [service for service in known if service.kinds & kinds]
            if len(fitting) == 1:  # the slot says itself what it is for
                return fitting[0]
            raise Homeless(f"Schedule/{schedule} serves several services; a shared slot cannot be sold twice")
        if owners:
            raise Homeless(f"the service of Schedule/{schedule} cannot be sold")
        raise Homeless(f"Schedule/{schedule} names no service; declare it under the connection's `schedules`")

    async def _filters(self, since: Cursor) -> dict[str, Any]:
        """The search parameters of this pull, each one only if the server shows that it knows it."""
        if since.get("since"):
            changed = datetime.fromisoformat(str(since["since"])).astimezone(UTC) - OVERLAP
            if await self._knows("Slot", "_lastUpdated"):
                return {"_lastUpdated": f"ge{changed.strftime('%Y-%m-%dT%H:%M:%SZ')}"}
        if await self._knows("Slot", "start"):
            # a day of slack: servers compare in their own zone when a slot's time was stored without one
            today = (clock.now() - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
            return {"start": f"ge{today}"}
        return {}


def places_of(service: Resource, names: dict[str, str]) -> list[str]:
    """Where a service is given, in words."""
    found = []
    for pointer in service.get("location") or []:
        if isinstance(pointer, dict):
            name = pointer.get("display") or names.get(id_of(pointer.get("reference"), "Location") or "")
            found.append(name.strip() if isinstance(name, str) else "")
    return list(dict.fromkeys(filter(None, found)))
