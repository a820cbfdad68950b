"""Asks a clinic now for services in a city, of a department, on a day, with the times that are free at this moment.

The hub's own search reads what pulls have stored; this is the fresh look before somebody decides. Services are few, so
they are chosen here and not by the server: cities and departments are words, and servers differ in how they compare
them. Slots are many, so the server is asked for those of the right schedules and days, as far as it can."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from connectors.contracts import ListingIn, SlotIn
from connectors.fhir_clinic.pulling import Context, Homeless, PullsServices
from connectors.fhir_clinic.resources import Resource, id_of, slot_in
from hub.kernel import clock
from hub.kernel.errors import Misconfigured

_SCHEDULES_AT_ONCE = 20
_INSTANT = "%Y-%m-%dT%H:%M:%SZ"


class Found(NamedTuple):
    """A service with its free times in the window that was asked for, earliest first; `zone` is where it is given."""

    listing: ListingIn
    slots: tuple[SlotIn, ...]
    zone: ZoneInfo


class _Wanted(NamedTuple):
    listing: ListingIn
    start: datetime
    end: datetime
    zone: ZoneInfo


class SearchesServices(PullsServices):
    """A fresh search of services and their free times."""

    async def search(
        self, *, city: str | None = None, department: str | None = None, day: date | None = None, days: int = 1
    ) -> list[Found]:
        """Services in this city (`上海` finds `上海市`) whose specialty or type says `department` (in words, or as a
        code `system|code`), with their free slots on `day` (`days` days from it on) in the place's own time zone;
        without a day, all that are ahead within the horizon. Services without a free slot come too, with none."""
        context, asked_at = await self.context(), clock.now()
        wanted: dict[str, _Wanted] = {}
        async for found, sent_at in self._walk("HealthcareService"):
            for service in found.resources:
                page = self.services(replace(found, resources=[service]), sent_at, context)
                for listing in page.listings:
                    if listing.active and _in_city(listing, city) and _of_department(service, department, context):
                        zone = self._zone(service, context)
                        start, end = _window(day, days, zone, asked_at, int(self.config["horizon_days"]))
                        wanted[listing.vendor_sku] = _Wanted(listing, start, end, zone)
        free: dict[str, list[SlotIn]] = {sku: [] for sku in wanted}
        if wanted:
            for slot in await self._slots_of(wanted, context):
                made = await self._free_slot_in(slot, context, asked_at)
                if made is not None and made.vendor_sku in wanted:
                    window = wanted[made.vendor_sku]
                    if window.start <= made.start < window.end:
                        free[made.vendor_sku].append(made)
        return [
            Found(one.listing, tuple(sorted(free[sku], key=lambda slot: (slot.start, slot.slot_ref))), one.zone)
            for sku, one in wanted.items()
        ]

    async def _slots_of(self, wanted: dict[str, _Wanted], context: Context) -> list[Resource]:
        """Slots of the wanted services' schedules in their days, and perhaps others."""
        services = {number for number, service in context.services.items() if service.sku in wanted}
        schedules = [
            number
            for number, owners in context.schedules.items()
            if number not in context.closed and services.intersection(owners)
        ]
        times: dict[str, Any] = {}
        if await self._knows("Slot", "start"):
            first = min(one.start for one in wanted.values()) - timedelta(days=1)  # servers compare in their own zones
            last = max(one.end for one in wanted.values()) + timedelta(days=1)
            times["start"] = [f"ge{first.astimezone(UTC):{_INSTANT}}", f"lt{last.astimezone(UTC):{_INSTANT}}"]
        found: list[Resource] = []
        for begin in range(0, len(schedules), _SCHEDULES_AT_ONCE):
            part = ",".join(f"Schedule/{number}" for number in schedules[begin : begin + _SCHEDULES_AT_ONCE])
            rows = await self._all("Slot", {"schedule": part, **times})
            if not rows:  # none, or a server that does not know the parameter: it answers both the same way
                return await self._all("Slot", times)
            found += rows
        return found

    async def _all(self, kind: str, params: dict[str, Any]) -> list[Resource]:
        return [resource async for page, _ in self._walk(kind, params) for resource in page.resources]

    async def _free_slot_in(self, slot: Resource, context: Context, asked_at: datetime) -> SlotIn | None:
        """The slot if it is ahead, can be read and can be booked."""
        strangers = (await self.strangers([slot])).get(slot["id"], 0)
        if not self.is_free(slot, asked_at, context, strangers):
            return None
        try:
            made = slot_in(slot, self.service_of(slot, context), asked_at, free=True)
        except (Homeless, ValueError):
            return None
        return made if made.start > asked_at else None

    def _zone(self, service: Resource, context: Context) -> ZoneInfo:
        """The time zone of the service's first Location that says one, else the connection's."""
        for pointer in service.get("location") or []:
            name = context.zones.get(id_of(pointer.get("reference"), "Location") or "")
            if name and (zone := _zone_named(name)):
                return zone
        own = _zone_named(str(self.config["time_zone"]))
        if own is None:
            raise Misconfigured(
                f"{self.config['time_zone']!r} is no time zone such as Asia/Shanghai", code="bad_config"
            )
        return own


def _zone_named(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return None


def _window(day: date | None, days: int, zone: ZoneInfo, now: datetime, horizon: int) -> tuple[datetime, datetime]:
    if day is None:
        return now, now + timedelta(days=horizon)
    return datetime.combine(day, time(), zone), datetime.combine(day + timedelta(days=days), time(), zone)


def _in_city(listing: ListingIn, city: str | None) -> bool:
    return city is None or (listing.city or "").strip().removesuffix("市") == city.strip().removesuffix("市")


def _of_department(service: Resource, department: str | None, context: Context) -> bool:
    if department is None:
        return True
    wanted = department.strip().lower()
    if "|" in wanted:
        return wanted in context.services[service["id"]].kinds
    return any(wanted in kind for kind in context.services[service["id"]].kinds)
