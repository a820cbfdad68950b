"""PullsListings over MedicationKnowledge, following `Bundle.link`. The flat records of
connectors.fhir_pharmacy.medicines go through the manifest's map like those of any other system."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from connectors.contracts import BadRow, Cursor, Page
from connectors.declarative import PullsByManifest, page_of
from connectors.fhir_clinic.resources import Bundle
from connectors.fhir_clinic.rest import ReadsFhir
from connectors.fhir_pharmacy.codes import GTIN, Systems
from connectors.fhir_pharmacy.medicines import Rules, Unsellable, offers, record
from connectors.mapping import Mapped, bad_row
from connectors.paging import PageOfRecords
from hub.kernel.errors import Misconfigured, NotFound
from hub.kernel.turns import slices

_NO_CATALOGUE = "ask the pharmacy for its catalogue as a file and use a table feed"


class PullsMedicines(ReadsFhir, PullsByManifest):
    """PullsListings over FHIR R5 (R4's older shape is read too)."""

    @property
    def zone(self) -> ZoneInfo:
        """Where the pharmacy's days begin and end."""
        try:
            return ZoneInfo(str(self.config["time_zone"]))
        except (ZoneInfoNotFoundError, ValueError):
            raise Misconfigured(
                f"{self.config['time_zone']!r} is no time zone such as Asia/Shanghai", code="bad_config"
            ) from None

    @property
    def rules(self) -> Rules:
        """How this connection's catalogue is to be read."""
        config = self.config

        def systems(name: str) -> frozenset[str]:
            return frozenset(part.strip() for part in str(config.get(name) or "").split(",") if part.strip())

        return Rules(
            sku_system=config.get("sku_system"),
            price_type=config.get("price_type"),
            market_type=config.get("market_price_type"),
            prices=config.get("prices") or {},
            currency=config["currency"],
            systems=Systems(GTIN | systems("gtin_systems"), systems("approval_systems"), systems("drug_code_systems")),
            zone=self.zone,
        )

    async def pull(self, since: Cursor | None) -> AsyncGenerator[Page, None]:
        """Pages of medicines. `since` None: everything; {"since": iso time}: what changed after it; a saved page's
        cursor: from after that page."""
        since = dict(since or {})
        if since.get("done"):
            yield page_of(Mapped(), PageOfRecords([], since, datetime.fromisoformat(since["done"]), True, 0))
            return
        drift: set[str] = set()
        number = int(since.get("number", 0))
        async for found, sent_at in self._medicines(since):
            number += 1
            base = {"since": since["since"]} if since.get("since") else {}
            cursor: Cursor = {**base, "number": number, "next": found.next}
            if found.last:
                cursor = {**base, "number": number, "done": sent_at.isoformat()}
            elif found.next is None:  # a server without links: what follows can only be asked for from the start
                cursor = dict(base)
            bad: list[BadRow] = []
            records = self.records(found, sent_at, bad)
            known = await self.known(self.mapper.skus(records)) if self.known is not None else None
            mapped = Mapped()
            async for part in slices(records):
                self.mapper.extend(mapped, part, known)
            fresh = mapped.drift - drift
            drift |= fresh
            yield page_of(mapped, PageOfRecords(records, cursor, sent_at, found.last, number), bad, fresh)

    def records(self, found: Bundle, now: datetime, bad: list[BadRow]) -> list[dict[str, Any]]:
        """One flat record a sellable thing; what cannot be listed goes to `bad` with its reason."""
        rules, made = self.rules, []
        for resource in found.resources:
            try:
                for offer in offers(resource, rules):
                    try:
                        made.append(record(resource, offer, rules, now))
                    except Unsellable as error:
                        bad.append(bad_row(resource, str(error)[:500], error.pointer, offer.sku))
            except Unsellable as error:
                bad.append(bad_row(resource, str(error)[:500], error.pointer))
        return made

    async def _medicines(self, since: Cursor) -> AsyncGenerator[tuple[Bundle, datetime], None]:
        """Pages of MedicationKnowledge. A search that the server forgot is begun anew: nothing is skipped."""
        url = since.get("next")
        begun = False
        try:
            async for page in self._walk("MedicationKnowledge", await self._changed(since) if not url else None, url):
                if not begun and page[0].last and not page[0].resources:
                    await self._can("MedicationKnowledge", _NO_CATALOGUE)  # empty, or not there at all?
                begun = True
                yield page
        except NotFound:
            if begun:
                raise
            if not url:
                await self._can("MedicationKnowledge", _NO_CATALOGUE)
                raise
            async for page in self._walk("MedicationKnowledge", await self._changed(since)):
                yield page

    async def _changed(self, since: Cursor) -> dict[str, Any]:
        """The search parameters of an incremental pull, if the server shows that it knows them."""
        rule = self.spec.incremental
        if not since.get("since") or rule is None or not await self._knows("MedicationKnowledge", rule.param):
            return {}
        edge = datetime.fromisoformat(str(since["since"])).astimezone(UTC) - timedelta(seconds=rule.overlap_s)
        return {rule.param: f"ge{edge.strftime('%Y-%m-%dT%H:%M:%SZ')}"}

    async def _can(self, kind: str, otherwise: str) -> None:
        """Raises Misconfigured, saying what to do, when the server's CapabilityStatement rules this resource out."""
        said = await self.capabilities()
        since_r5 = kind == "InventoryReport"
        if since_r5 and said.version and said.version.split(".")[0] in ("1", "2", "3", "4"):
            raise Misconfigured(
                f"the server speaks FHIR {said.version}, which has no {kind} (it came with R5, 5.0.0): {otherwise}",
                code="no_inventory",
            )
        if not said.offers(kind):
            version = f" (FHIR {said.version})" if said.version else ""
            raise Misconfigured(
                f"the server's CapabilityStatement{version} does not list {kind}: {otherwise}",
                code="no_inventory" if since_r5 else "no_catalogue",
            )
