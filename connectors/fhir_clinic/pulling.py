"""Pulls HealthcareServices as listings and Slots as bookable times, following `Bundle.link`.

Schedules and Locations are read first, since slots and services point at them. Servers differ in which search
parameters they know, and one that does not know a parameter may answer an empty page with status 200 (the recorded
exchange `bad_param` does): a filter is therefore believed only after it has been seen to find something."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from connectors.base import Adapter
from connectors.contracts import BadRow, Cursor, ListingIn, Page, SlotIn
from connectors.fhir_clinic.resources import (
    FREE,
    TAKEN,
    Bundle,
    Prices,
    Resource,
    Service,
    bundle,
    city_of,
    department_of,
    id_of,
    location_city,
    service_listing,
    services_of,
    sku_of,
    slot_in,
    unknown_fields,
)
from connectors.mapping import bad_row
from hub.kernel import clock
from hub.kernel.errors import Broken, NotFound

OVERLAP = timedelta(minutes=5)
_MOST_PAGES = 100_000


@dataclass
class _Context:
    """What slots need to know."""

    cities: dict[str, str] = field(default_factory=dict)
    services: dict[str, Service] = field(default_factory=dict)
    schedules: dict[str, list[str]] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)  # schedules that are not in use


class _Homeless(ValueError):
    """A slot without a service that could be sold; said once a page and schedule, not once a slot."""


class PullsServices(Adapter):
    """PullsListings over FHIR R4."""

    async def pull(self, since: Cursor | None) -> AsyncIterator[Page]:
        """Pages of services, then pages of slots. `since` None: everything; {"since": iso time}: all services and
        the slots changed after it; a saved page's cursor: from after that page."""
        since = dict(since or {})
        if since.get("done"):
            yield Page(cursor=since, captured_at=datetime.fromisoformat(since["done"]), complete=True)
            return
        context = _Context()
        async for found, _ in self._walk("Location"):
            context.cities |= {x["id"]: city for x in found.resources if (city := location_city(x))}
        async for found, _ in self._walk("Schedule"):
            declared = self.config.get("schedules") or {}
            context.schedules |= {x["id"]: services_of(x, declared) for x in found.resources}
            context.closed |= {x["id"] for x in found.resources if x.get("active") is False}
        skip = int(since.get("services", 0))
        carried = {"since": since["since"]} if since.get("since") else {}
        number = 0
        async for found, sent_at in self._walk("HealthcareService"):
            number += 1
            page = self._services(found, sent_at, context)
            if number > skip and "slots" not in since:
                yield page.model_copy(update={"cursor": {**carried, "services": number}})
        async for page in self._slots(since, context, {**carried, "services": number}):
            yield page

    async def _walk(
        self, kind: str, params: dict[str, Any] | None = None, url: str | None = None
    ) -> AsyncIterator[tuple[Bundle, datetime]]:
        """The pages of a search, from its start or from `url`, and when each was asked for. Raises Broken for a link
        that leaves the server or turns in a circle."""
        visited: set[str] = set()
        query: dict[str, Any] | None = {"_count": self.config["page_size"], **(params or {})}
        path = kind
        if url is not None:
            path, query = self._link(url), None
        seen = 0
        for _ in range(_MOST_PAGES):
            answer = await self.call.get(path, query)
            found = bundle(answer.json(self.manifest), kind)
            seen += len(found.resources)
            if found.next is None and url is None and found.total is not None and seen < found.total:
                raise Broken(f"the server announced {found.total} of {kind} and sent {seen}", code="rows_missing")
            yield found, answer.sent_at
            if found.next is None:
                return
            if found.next in visited:
                raise Broken(f"the pages of {kind} go in a circle", code="page_repeated")
            visited.add(found.next)
            path, query = self._link(found.next), None
        raise Broken(f"{kind} has more than {_MOST_PAGES} pages", code="too_many_pages")

    def _link(self, url: str) -> str:
        """A page link as given when absolute (the caller refuses another origin), else below the server's root."""
        if "://" in url or not url.startswith("/"):
            return url
        root = self.call.base_url.split("/", 3)
        return "/".join(root[:3]) + url

    def _services(self, found: Bundle, sent_at: datetime, context: _Context) -> Page:
        config = self.config
        system, city = config.get("sku_system"), config.get("city")
        prices = Prices(config.get("prices") or {}, config.get("price_extension"), config["currency"])
        listings: list[ListingIn] = []
        bad: list[BadRow] = []
        drift: set[str] = set()
        for service in found.resources:
            drift |= unknown_fields(service)
            made = service_listing(
                service, system=system, prices=prices, cities=context.cities, kind=config["kind"], city=city
            )
            if isinstance(made, BadRow):
                bad.append(made)
                continue
            context.services[service["id"]] = Service(
                sku_of(service, system) or "", city_of(service, context.cities) or city, department_of(service)
            )
            listings.append(made)
        return Page(listings=tuple(listings), bad=tuple(bad), captured_at=sent_at, drift=tuple(sorted(drift)))

    async def _slots(self, since: Cursor, context: _Context, base: Cursor) -> AsyncIterator[Page]:
        """Pages of slots; the last one is complete."""
        resume = since.get("slots")
        params = await self._filters(since) if not isinstance(resume, str) else {}
        url = resume if isinstance(resume, str) else None
        first_sent: datetime | None = None
        pages = self._walk("Slot", params, url)
        try:
            async for found, sent_at in pages:
                first_sent = first_sent or sent_at
                yield self._slot_page(found, sent_at, context, base, since.get("began") or first_sent.isoformat())
        except NotFound:
            if url is None or first_sent is not None:
                raise
            # the server forgot the search behind the saved link: what it had is asked again, nothing is skipped
            async for page in self._slots({k: v for k, v in since.items() if k != "slots"}, context, base):
                yield page

    def _slot_page(self, found: Bundle, sent_at: datetime, context: _Context, base: Cursor, began: str) -> Page:
        slots: list[SlotIn] = []
        bad: list[BadRow] = []
        drift: set[str] = set()
        homeless: Counter[str] = Counter()
        until = sent_at + timedelta(days=int(self.config["horizon_days"]))
        for slot in found.resources:
            try:
                made = slot_in(slot, self._service(slot, context), sent_at)
            except _Homeless as error:
                homeless[str(error)] += 1
                continue
            except ValueError as error:
                bad.append(bad_row(slot, str(error), "/slot"))
                continue
            if made.end <= sent_at or made.start > until:
                continue
            if id_of((slot.get("schedule") or {}).get("reference"), "Schedule") in context.closed:
                made = made.model_copy(update={"free": False})
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
        cursor: Cursor = {**base, "slots": found.next, "began": began}
        if found.next is None:
            cursor = {**base, "done": began}
        return Page(
            slots=tuple(slots),
            bad=tuple(bad),
            cursor=cursor,
            captured_at=sent_at,
            complete=found.next is None,
            drift=tuple(sorted(drift)),
        )

    def _service(self, slot: Resource, context: _Context) -> Service:
        """The one service that the slot belongs to; raises _Homeless when that cannot be told for certain."""
        schedule = id_of((slot.get("schedule") or {}).get("reference"), "Schedule") or ""
        owners = context.schedules.get(schedule)
        if owners is None:
            raise _Homeless(f"Schedule/{schedule[:64]} is not on the server")
        known = [context.services[owner] for owner in owners if owner in context.services]
        if len(known) == 1:
            return known[0]
        if len(known) > 1:
            raise _Homeless(f"Schedule/{schedule} serves several services; a shared slot cannot be sold twice")
        if owners:
            raise _Homeless(f"the service of Schedule/{schedule} cannot be sold")
        raise _Homeless(f"Schedule/{schedule} names no service; declare it under the connection's `schedules`")

    async def _filters(self, since: Cursor) -> dict[str, Any]:
        """The search parameters of this pull, each one only if the server shows that it knows it."""
        if since.get("since"):
            changed = datetime.fromisoformat(str(since["since"])).astimezone(UTC) - OVERLAP
            if await self._knows("_lastUpdated"):
                return {"_lastUpdated": f"ge{changed.strftime('%Y-%m-%dT%H:%M:%SZ')}"}
        if await self._knows("start"):
            # a day of slack: servers compare in their own zone when a slot's time was stored without one
            today = (clock.now() - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
            return {"start": f"ge{today}"}
        return {}

    async def _knows(self, parameter: str) -> bool:
        """Whether a filter that every slot passes finds one."""
        answer = await self.call.get("Slot", {parameter: "ge1970-01-01T00:00:00Z", "_count": 1})
        return bool(bundle(answer.json(self.manifest), "Slot").resources)
