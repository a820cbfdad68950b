"""The engine behind a manifest: pulling, placing, tracking and pushes without a line of code per vendor.

Each capability is a piece (`PullsByManifest`, `PlacesByManifest`, `TracksByManifest`, `ReceivesByManifest`) that an
`Adapter` class inherits; a system's own adapter inherits the same pieces and overrides the one method where YAML
runs out. Walking the pages of a pull lives in connectors.paging."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from connectors import jsonio
from connectors.base import Adapter
from connectors.calling import OutOfStock, Refused
from connectors.contracts import (
    BadRow,
    Cursor,
    ListingIn,
    OrderUpdate,
    Page,
    PurchaseOrder,
    Receipt,
    ReceiptStatus,
    ShipmentStatus,
    StockFigure,
)
from connectors.filling import fill_body, fill_params, order_document
from connectors.manifest import Manifest, PlaceOrders, Pull, TrackOrders
from connectors.mapping import Mapped, Mapper
from connectors.paging import PageOfRecords, walk
from connectors.paths import compile_path
from connectors.push import ReceivesByManifest
from connectors.stockmap import StockMapper
from hub.kernel import clock
from hub.kernel.errors import Broken, NotFound
from hub.kernel.turns import slices

_when: TypeAdapter[datetime] = TypeAdapter(datetime)


class PullsByManifest(Adapter):
    """PullsListings by the manifest's `pull_listings`."""

    @property
    def spec(self) -> Pull:
        assert self.manifest.pull_listings is not None, "the manifest has no pull_listings"
        return self.manifest.pull_listings

    @property
    def mapper(self) -> Mapper:
        """The compiled map, made on first use."""
        found: Mapper | None = self.__dict__.get("_mapper")
        if found is None:
            found = Mapper(self.spec.map, self.config, ignore=self.spec.ignore, salt=self.manifest.digest)
            self.__dict__["_mapper"] = found
        return found

    async def pull(self, since: Cursor | None) -> AsyncGenerator[Page, None]:
        """Pages of listings. `since` None: everything; {"since": iso time}: what changed after it; a saved page's
        cursor: from after that page. The last page has `complete`. Raises Broken for a repeated or missing page."""
        drift: set[str] = set()
        async with contextlib.aclosing(walk(self.call, self.manifest, self.spec, self.config, since)) as pages:
            async for got in pages:
                bad: list[BadRow] = []
                records = await self.expand(got, bad)
                known = await self.known(self.mapper.skus(records)) if self.known is not None else None
                mapped = Mapped(raws=[] if self.keep_raw else None)
                async for part in slices(records):
                    self.mapper.extend(mapped, part, known)
                fresh = mapped.drift - drift
                drift |= fresh
                yield page_of(mapped, got, bad, fresh)

    def remap(self, raws: Sequence[str]) -> list[ListingIn | BadRow]:
        """Refused records mapped once more, with the map as it is now."""
        results: list[ListingIn | BadRow] = []
        for raw in raws:
            try:
                record = self.again(jsonio.loads(raw.encode(), self.manifest.http.max_depth))
            except ValueError as error:
                results.append(
                    BadRow(reason=f"only a part of this record was kept; pull again ({error})"[:300], raw=raw)
                )
                continue
            if isinstance(record, BadRow):
                results.append(record)
                continue
            mapped = self.mapper.page([record])
            results.append(mapped.listings[0] if mapped.listings else mapped.bad[0])
        return results

    def again(self, record: Any) -> Any:
        """A kept record as the map wants it, or a BadRow when it still cannot be used. Override where `expand` adds to
        records what the map reads, or sets rows aside."""
        return record

    async def expand(self, got: PageOfRecords, bad: list[BadRow]) -> Sequence[Any]:
        """The records to map, out of those the vendor sent. Override to fetch parts, or to set rows aside in `bad`."""
        return got.records


def page_of(mapped: Mapped, got: PageOfRecords, bad: Sequence[BadRow] = (), drift: set[str] | None = None) -> Page:
    """The page that the catalogue sees."""
    return Page.model_construct(
        listings=tuple(mapped.listings),
        digests=tuple(mapped.digests),
        unchanged=tuple(mapped.unchanged),
        slots=(),
        bad=(*bad, *mapped.bad),
        cursor=got.cursor,
        captured_at=got.sent_at,
        complete=got.last,
        drift=tuple(sorted(mapped.drift if drift is None else drift)),
        raws=tuple(mapped.raws or ()),
    )


class PullsStockByManifest(Adapter):
    """PullsStock by the manifest's `pull_stock`."""

    async def pull_stock(self, since: Cursor | None) -> AsyncGenerator[Page, None]:
        """Pages of stock figures of all listings, as `Page.unchanged`. `since` None: from the first page; otherwise
        from after a saved one. The last page has `complete`."""
        spec = self.manifest.pull_stock
        assert spec is not None, "the manifest has no pull_stock"
        mapper = StockMapper(spec.map, self.config)
        async with contextlib.aclosing(walk(self.call, self.manifest, spec, self.config, since)) as pages:
            async for got in pages:
                figures, bad = mapper.figures(got.records)
                yield stock_page(figures, got.cursor, got.sent_at, complete=got.last, bad=bad)


def stock_page(
    figures: Sequence[StockFigure], cursor: Cursor, captured_at: datetime, *, complete: bool, bad: Sequence[BadRow] = ()
) -> Page:
    """A page of a stock pull."""
    return Page.model_construct(
        listings=(), digests=(), unchanged=tuple(figures), slots=(), bad=tuple(bad), cursor=cursor,
        captured_at=captured_at, complete=complete, drift=(), stock_only=True,
    )  # fmt: skip


class PlacesByManifest(Adapter):
    """PlacesOrders by the manifest's `place_orders`."""

    @property
    def placing(self) -> PlaceOrders:
        assert self.manifest.place_orders is not None, "the manifest has no place_orders"
        return self.manifest.place_orders

    async def place(self, po: PurchaseOrder, *, key: str) -> Receipt:
        """Send the order once. Raises Retry when the outcome is unknown: ask with `find`."""
        spec = self.placing
        headers = {spec.idempotency_header: key} if spec.idempotency_header else None
        try:
            answer = await self.call.send(
                "POST", self.call.fill(spec.post, key=key), self.order_body(po, key), headers=headers
            )
        except OutOfStock as error:
            return Receipt(
                status=ReceiptStatus.REFUSED, reason=str(error), out_of_stock=True, out_of_stock_skus=error.skus
            )
        except (Refused, NotFound) as error:
            return Receipt(status=ReceiptStatus.REFUSED, reason=str(error))
        return self.receipt(answer.json(self.manifest))

    async def find(self, key: str) -> Receipt | None:
        """The receipt of the order placed with this key, or None."""
        spec = self.placing.find
        try:
            answer = await self.call.get(self.call.fill(spec.get, key=key), fill_params(spec.params, self.config))
        except NotFound:
            return None
        body = answer.json(self.manifest)
        if spec.records is None:
            return self.receipt(body) if body else None
        found = compile_path(spec.records)(body) or []
        if not isinstance(found, list):
            raise Broken(f"{self.manifest.id}: {spec.records} is not a list", code="bad_shape")
        match = compile_path(spec.match) if spec.match else None
        for order in found:
            if match is None or str(match(order)) == key:
                return self.receipt(order)
        return None

    async def cancel(self, vendor_order_no: str, po: PurchaseOrder) -> Receipt:
        """Cancel at the vendor; a vendor without a cancel call refuses."""
        spec = self.placing.cancel
        if spec is None:
            return Receipt(
                status=ReceiptStatus.REFUSED,
                vendor_order_no=vendor_order_no,
                reason="the vendor takes no cancellations",
            )
        path = self.call.fill(spec.path, vendor_order_no=vendor_order_no, key=po.number)
        try:
            await self.call.send(
                spec.method, path, fill_body(spec.body, order_document(po, po.number), self.config) or None
            )
        except (Refused, NotFound) as error:
            return Receipt(status=ReceiptStatus.REFUSED, vendor_order_no=vendor_order_no, reason=str(error))
        return Receipt(status=ReceiptStatus.ACCEPTED, vendor_order_no=vendor_order_no)

    def order_body(self, po: PurchaseOrder, key: str) -> Any:
        """The vendor's order document for `po`."""
        return fill_body(self.placing.body, order_document(po, key), self.config)

    def receipt(self, body: Any) -> Receipt:
        """What the vendor's order says; an answer without an order number is Broken."""
        spec = self.placing
        said = {name: compile_path(path)(body) for name, path in spec.receipt.items()}
        number, raw = said.get("vendor_order_no"), said.get("status")
        status = str(raw) if raw is not None else ""
        if status in spec.out_of_stock or status in spec.refused:
            reason = said.get("reason")
            return Receipt(
                status=ReceiptStatus.REFUSED,
                vendor_order_no=str(number) if number is not None else None,
                reason=str(reason) if reason else f"the vendor says {status}",
                out_of_stock=status in spec.out_of_stock,
                raw_status=status,
            )
        if number is None or number == "":
            raise Broken(f"{self.manifest.id} confirmed an order without a number", code="no_order_number")
        accepted = not spec.accepted or status in spec.accepted
        at = said.get("accepted_at")
        return Receipt(
            status=ReceiptStatus.ACCEPTED if accepted else ReceiptStatus.PENDING,
            vendor_order_no=str(number),
            accepted_at=_instant(at) if at is not None else clock.now() if accepted else None,
            raw_status=status or None,
        )


class TracksByManifest(Adapter):
    """TracksOrders by the manifest's `track_orders` and `statuses`."""

    @property
    def tracking(self) -> TrackOrders:
        assert self.manifest.track_orders is not None, "the manifest has no track_orders"
        return self.manifest.track_orders

    async def track(self, vendor_order_no: str) -> Sequence[OrderUpdate]:
        """The vendor's view of the order now; nothing when it knows no such order."""
        try:
            answer = await self.call.get(self.call.fill(self.tracking.get, vendor_order_no=vendor_order_no))
        except NotFound:
            return ()
        return (self.order_update(answer.json(self.manifest), vendor_order_no, answer.sent_at),)

    def order_update(self, body: Any, vendor_order_no: str, asked_at: datetime) -> OrderUpdate:
        """The order's state in our words; a status that the manifest does not name is `unknown`."""
        said = {name: compile_path(path)(body) for name, path in self.tracking.map.items()}
        raw = str(said.get("status") if said.get("status") is not None else "")
        return OrderUpdate(
            po_number=_text(said.get("po_number")),
            vendor_order_no=vendor_order_no,
            status=self.manifest.statuses.get(raw, ShipmentStatus.UNKNOWN),
            raw_status=raw,
            at=_instant(said["at"]) if said.get("at") else asked_at,
            tracking_no=_text(said.get("tracking_no")),
            carrier=_text(said.get("carrier")),
        )


def class_for(manifest: Manifest) -> type[Adapter]:
    """The class of a system that needs no code: the pieces that its manifest has sections for."""
    pieces: list[type[Adapter]] = []
    if manifest.pull_listings is not None:
        pieces.append(PullsByManifest)
    if manifest.pull_stock is not None:
        pieces.append(PullsStockByManifest)
    if manifest.place_orders is not None:
        pieces.append(PlacesByManifest)
    if manifest.track_orders is not None:
        pieces.append(TracksByManifest)
    if manifest.push is not None:
        pieces.append(ReceivesByManifest)
    return type(f"Declared_{manifest.id}", tuple(pieces) or (Adapter,), {})


def _instant(raw: Any) -> datetime:
    try:
        when = _when.validate_python(raw)
    except ValidationError:
        raise Broken(f"{str(raw)[:40]!r} is not a time", code="bad_time") from None
    if when.tzinfo is None:
        raise Broken(f"{str(raw)[:40]!r} has no time zone", code="bad_time")
    return when


def _text(raw: Any) -> str | None:
    return str(raw) if isinstance(raw, str | int) and raw != "" else None


__all__ = [
    "PlacesByManifest",
    "PullsByManifest",
    "PullsStockByManifest",
    "ReceivesByManifest",
    "TracksByManifest",
    "class_for",
    "page_of",
    "stock_page",
]
