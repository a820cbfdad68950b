"""PullsStock over InventoryReport: reads every report that counts, finds out which SKU each item is, and tells the
figures of connectors.fhir_pharmacy.inventory page by page.

An item is called by a code, or by a reference to a Medication, InventoryItem or Device; these also say its lot and when
that ends, so they are read too. A SKU is what all of an item's codes and references agree on; an item that fits none,
or several, is refused."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from connectors.calling import Refused
from connectors.contracts import BadRow, Cursor, Page, StockFigure
from connectors.declarative import stock_page
from connectors.fhir_clinic.resources import Resource, id_of
from connectors.fhir_pharmacy.codes import pairs_of
from connectors.fhir_pharmacy.inventory import Entry, Item, Line, Reading, figures, read_report
from connectors.fhir_pharmacy.medicines import Unsellable, offers
from connectors.fhir_pharmacy.pulling import PullsMedicines
from connectors.fhir_pharmacy.times import Span, span_of
from hub.kernel import clock
from hub.kernel.errors import Misconfigured, NotFound

FIGURES_A_PAGE = 500
_THINGS = ("Medication", "InventoryItem", "Device")
_AT_ONCE = 50
_ELSEWHERE = (
    "take this pharmacy's stock from another source (a table feed, for instance) and set `stock` to none: its listings "
    "can be pulled without"
)


class Thing(NamedTuple):
    """What a referenced resource says of itself."""

    codes: frozenset[tuple[str, str]]
    refs: frozenset[str]
    lot: str
    expires: str


@dataclass
class Index:
    """Which SKUs a code or a reference may mean."""

    codes: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    refs: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def skus(self, codes: Iterable[tuple[str, str]], refs: Iterable[str]) -> set[str]:
        """The SKUs that everything known of these agrees on."""
        meant = [self.codes[code] for code in codes if code in self.codes]
        meant += [self.refs[ref] for ref in refs if ref in self.refs]
        return set.intersection(*meant) if meant else set()


class PullsInventory(PullsMedicines):
    """PullsStock over FHIR R5."""

    async def pull_stock(self, since: Cursor | None) -> AsyncGenerator[Page, None]:
        """Pages of figures in the order of SKU and location. Every pull reads the reports anew: a figure is made of
        many of them. `since` None: from the first; a saved page's cursor: from after that page. Raises Misconfigured,
        in words that say what to do, for a server that has no InventoryReport (FHIR R4)."""
        since = dict(since or {})
        if since.get("done"):
            yield stock_page((), since, datetime.fromisoformat(since["done"]), complete=True)
            return
        began = clock.now()
        if self.config["stock"] == "none":
            yield stock_page((), {"done": began.isoformat()}, began, complete=True)
            return
        found, bad = await self._figures(began)
        after = tuple(since.get("after") or ())
        rest = [one for one in found if not after or (one.vendor_sku, one.location) > after]
        for start in range(0, max(1, len(rest)), FIGURES_A_PAGE):
            part = rest[start : start + FIGURES_A_PAGE]
            last = start + FIGURES_A_PAGE >= len(rest)
            cursor: Cursor = (
                {"done": began.isoformat()} if last else {"after": [part[-1].vendor_sku, part[-1].location]}
            )
            yield stock_page(part, cursor, began, complete=last, bad=bad if last else ())

    async def _figures(self, now: datetime) -> tuple[list[StockFigure], list[BadRow]]:
        await self._can("InventoryReport", _ELSEWHERE)
        how = self._reading()
        entries, void, bad = await self._entries(how, now)
        things = await self._things({entry.item.ref for entry in [*entries, *void] if entry.item.ref})
        index = await self._index()
        skus: dict[Item, set[str]] = {}
        for entry in [*entries, *void]:
            if entry.item not in skus:
                skus[entry.item] = self._skus(entry.item, index, things)
        lines: dict[str, list[Line]] = defaultdict(list)
        touched: dict[tuple[str, str], datetime] = {}
        lost: Counter[tuple[str, str]] = Counter()
        for entry, counts in [*((entry, True) for entry in entries), *((entry, False) for entry in void)]:
            own = skus[entry.item]
            if len(own) != 1:
                if counts:
                    lost[entry.item.words or entry.item.ref, "more than one" if own else "no"] += 1
                continue
            [sku] = own
            if entry.stored is not None:
                key = (sku, entry.location)
                touched[key] = max(touched.get(key, entry.stored), entry.stored)
            if counts:
                thing = things.get(entry.item.ref)
                lot = entry.item.lot or (thing.lot if thing else "")
                expires = _expiry(entry.item.expires or (thing.expires if thing else ""), how)
                lines[sku].append(Line(entry, lot, expires))
        bad += [
            BadRow(
                reason=f"{how_many} listing is called {name[:100]!r}", pointer="/item", raw=f"{count} times in reports"
            )
            for (name, how_many), count in lost.items()
        ]
        made, unknown = figures(lines, how, now, touched)
        return made, bad + unknown

    async def _entries(self, how: Reading, now: datetime) -> tuple[list[Entry], list[Entry], list[BadRow]]:
        """(entries that count, entries of reports that were withdrawn, refused reports). A report that was sent twice
        under one business identifier counts once, as it was last stored."""
        params: dict[str, Any] = {}
        if days := int(self.config["report_days"]):
            edge = (now - timedelta(days=days)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            if await self._knows("InventoryReport", "_lastUpdated"):
                params["_lastUpdated"] = f"ge{edge}"
        reports: dict[str, Resource] = {}
        try:
            async for found, _ in self._walk("InventoryReport", params):
                reports |= {resource["id"]: resource for resource in found.resources}
        except (NotFound, Refused) as error:
            raise Misconfigured(
                f"the server does not give its InventoryReports ({error}): {_ELSEWHERE}", code="no_inventory"
            ) from None
        newest: dict[tuple[str, str], Resource] = {}
        for resource in reports.values():
            key = next(iter(pairs_of(resource)), ("", f"InventoryReport/{resource['id']}"))
            if key not in newest or _stamp(resource) >= _stamp(newest[key]):
                newest[key] = resource
        entries: list[Entry] = []
        void: list[Entry] = []
        bad: list[BadRow] = []
        for resource in newest.values():
            report = read_report(resource, how, now, _item)
            (void if report.void else entries).extend(report.entries)
            bad += report.bad
        return entries, void, bad

    async def _things(self, refs: Iterable[str]) -> dict[str, Thing]:
        """What the referenced medications, items and devices say of themselves. A server that does not show them leaves
        their references to speak for themselves."""
        found: dict[str, Thing] = {}
        for kind in _THINGS:
            ids = sorted({x for ref in refs if (x := id_of(ref, kind))})
            try:
                for start in range(0, len(ids), _AT_ONCE):
                    wanted = {"_id": ",".join(ids[start : start + _AT_ONCE])}
                    async for page, _ in self._walk(kind, wanted):
                        found |= {f"{kind}/{one['id']}": thing_of(one) for one in page.resources}
            except (NotFound, Refused):
                continue
        return found

    async def _index(self) -> Index:
        """What the catalogue's medicines are called."""
        index, rules = Index(), self.rules
        async for found, _ in self._walk("MedicationKnowledge"):
            for resource in found.resources:
                try:
                    made = offers(resource, rules)
                except Unsellable:
                    continue  # the listing pull says why
                for offer in made:
                    for code in offer.codes:
                        index.codes[code].add(offer.sku)
                    for ref in offer.refs:
                        index.refs[ref].add(offer.sku)
        return index

    def _skus(self, item: Item, index: Index, things: Mapping[str, Thing]) -> set[str]:
        thing = things.get(item.ref)
        codes, refs = set(item.codes), {item.ref} - {""}
        if thing is not None:
            codes |= thing.codes
            refs |= thing.refs
        return index.skus(codes, refs)

    def _reading(self) -> Reading:
        config = self.config

        def words(name: str) -> frozenset[str]:
            return frozenset(part.strip() for part in str(config.get(name) or "").split(",") if part.strip())

        return Reading(
            zone=self.zone,
            default_location=str(config.get("default_location") or ""),
            locations=words("locations"),
            sellable=frozenset(_plain(word) for word in words("sellable_statuses")),
            unsellable=frozenset(_plain(word) for word in words("unsellable_categories")),
            units=config.get("units") or {},
            shelf_days=int(config["shelf_days"]),
        )


def thing_of(resource: Resource) -> Thing:
    """What a Medication, InventoryItem or Device says of itself."""
    definition = resource.get("definition")
    pointer = definition.get("reference") if isinstance(definition, dict) else None
    refs = {_local(pointer)} if isinstance(pointer, str) else set()
    batch = next((held for name in ("batch", "instance") if isinstance(held := resource.get(name), dict)), resource)
    lot = batch.get("lotNumber")
    expires = batch.get("expirationDate") or batch.get("expiry")
    return Thing(
        frozenset(pairs_of(resource, "code", "type")), frozenset(refs), str(lot or ""), str(expires or "")
    )  # fmt: skip


def _item(item: Resource, report: Resource) -> Item:
    """What a report's item is called: R5's CodeableReference, with what the report itself contains looked up."""
    held = item.get("item") if isinstance(item.get("item"), dict) else {}
    assert isinstance(held, dict)
    pointer = held.get("reference") if isinstance(held.get("reference"), dict) else {}
    concept = held.get("concept") if isinstance(held.get("concept"), dict) else {}
    ref = str((pointer or {}).get("reference") or "").split("/_history/")[0]
    codes = set(pairs_of({"code": concept}, "code"))
    named = (pointer or {}).get("identifier")
    if isinstance(named, dict):
        codes |= set(pairs_of({"identifier": [named]}))
    words = str((concept or {}).get("text") or (pointer or {}).get("display") or ref or sorted(codes))
    if not ref.startswith("#"):
        return Item(_local(ref), frozenset(codes), words)
    inner: Resource = next((x for x in report.get("contained") or [] if f"#{x.get('id')}" == ref), {})
    thing = thing_of(inner)
    known = next(iter(sorted(thing.refs)), "")
    return Item(known, frozenset(codes | thing.codes), words, thing.lot, thing.expires)


def _plain(word: str) -> str:
    return word.lower().replace("-", " ").replace("_", " ")


def _local(ref: str) -> str:
    """`https://server/fhir/Medication/1` and `Medication/1` are the same thing here."""
    parts = ref.split("/")
    return "/".join(parts[-2:]) if len(parts) > 2 else ref


def _expiry(raw: str, how: Reading) -> Span | None:
    """When a lot ends: a month or a day lasts to its end. One that cannot be read has ended, to be safe."""
    if not raw:
        return None
    try:
        return span_of(raw, how.zone)
    except ValueError:
        return Span(datetime(1900, 1, 1, tzinfo=UTC), datetime(1900, 1, 1, tzinfo=UTC))


def _stamp(resource: Resource) -> str:
    return str((resource.get("meta") or {}).get("lastUpdated") or "")
