"""The engine behind a manifest: pulling, placing, tracking and pushes without a line of code per vendor.

Each capability is a piece (`PullsByManifest`, `PlacesByManifest`, `TracksByManifest`, `ReceivesByManifest`) that an
`Adapter` class inherits; a system's own adapter inherits the same pieces and overrides the one method where YAML
runs out. Walking the pages of a pull lives in connectors.paging."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from connectors import jsonio
from connectors.base import Adapter
from connectors.calling import Answer, OutOfStock, Refused
from connectors.contracts import (
    BadRow,
    Capability,
    Cursor,
    ListingIn,
    OrderUpdate,
    Page,
    PurchaseOrder,
    PushContent,
    PushReceived,
    Receipt,
    ReceiptStatus,
    ShipmentStatus,
    StockReport,
)
from connectors.manifest import BodyValue, FromConfig, Manifest, Param, PlaceOrders, Pull, Push, PushTopic, TrackOrders
from connectors.mapping import Mapped, Mapper, bad_row, compile_reading
from connectors.paging import PageOfRecords, walk
from connectors.paths import compile_path
from hub.kernel import clock
from hub.kernel.errors import Broken, Malformed, NotFound, Unauthorized

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

    async def pull(self, since: Cursor | None) -> AsyncIterator[Page]:
        """Pages of listings. `since` None: everything; {"since": iso time}: what changed after it; a saved page's
        cursor: from after that page. The last page has `complete`. Raises Broken for a repeated or missing page."""
        drift: set[str] = set()
        async for got in walk(self.call, self.manifest, self.spec, self.config, since):
            bad: list[BadRow] = []
            records = await self.expand(got, bad)
            known = await self.known(self.mapper.skus(records)) if self.known is not None else None
            mapped = self.mapper.page(records, known)
            fresh = mapped.drift - drift
            drift |= fresh
            yield page_of(mapped, got, bad, fresh)

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
    )


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

    async def track(self, vendor_order_no: str) -> OrderUpdate | None:
        """The vendor's view of the order now, or None when it knows no such order."""
        try:
            answer = await self.call.get(self.call.fill(self.tracking.get, vendor_order_no=vendor_order_no))
        except NotFound:
            return None
        return self.order_update(answer.json(self.manifest), vendor_order_no, answer.sent_at)

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


class ReceivesByManifest(Adapter):
    """ReceivesPush by the manifest's `push`."""

    @property
    def pushing(self) -> Push:
        assert self.manifest.push is not None, "the manifest has no push"
        return self.manifest.push

    def verify(self, headers: Mapping[str, str], body: bytes) -> PushReceived:
        """Check the signature over the raw bytes, in constant time."""
        spec = self.pushing
        lower = {name.lower(): value for name, value in headers.items()}
        check_signature(spec, self.secrets_of_push(), lower, body)
        document = self._document(body) if spec.id is not None or spec.topic is not None else None
        topic = lower.get((spec.topic_header or "").lower(), "")
        if spec.topic is not None:
            topic = _text(compile_path(spec.topic)(document)) or ""
        external = lower.get((spec.id_header or "").lower(), "")
        if spec.id is not None:
            external = _text(compile_path(spec.id)(document)) or ""
        if not external:
            external = hashlib.sha256(topic.encode() + b"\0" + body).hexdigest()
        return PushReceived(external_id=external[:200], topic=topic[:200])

    def secrets_of_push(self) -> list[str]:
        """The signing secrets now valid (one; more during a rotation, separated by commas). NotFound when the
        connection has none: a push endpoint without a secret does not exist."""
        value = self.secrets.get(self.pushing.hmac_sha256.secret)
        found = [part for part in (value.get_secret_value() if value else "").split(",") if part]
        if not found:
            raise NotFound("there is no such push address", code="no_push")
        return found

    def parse_push(self, topic: str, body: bytes) -> PushContent:
        """What the verified body means; a topic that the manifest does not name has no effect."""
        spec = self.pushing.topics.get(topic)
        if spec is None or spec.means == "ignored":
            return PushContent()
        document = self._document(body)
        records = compile_path(spec.records)(document)
        return self.content(spec, records if isinstance(records, list) else [records])

    def content(self, spec: PushTopic, records: Sequence[Any]) -> PushContent:
        """The records of a push in our words."""
        if spec.means == "listings":
            mapping = self.manifest.pull_listings
            assert mapping is not None, "a push of listings needs the map of pull_listings"
            mapped = Mapper(mapping.map, self.config, ignore=mapping.ignore).page(records)
            return PushContent(listings=tuple(mapped.listings), stock=stock_of(mapped.listings), bad=tuple(mapped.bad))
        if spec.means == "stock":
            return self._stock(spec, records)
        return self._orders(spec, records)

    def _stock(self, spec: PushTopic, records: Sequence[Any]) -> PushContent:
        getters = {name: compile_reading(name, reading, self.config) for name, reading in spec.map.items()}
        good: list[StockReport] = []
        bad: list[BadRow] = []
        for record in records:
            try:
                values = {name: get(record) for name, get in getters.items()}
                good.append(StockReport.model_validate({k: v for k, v in values.items() if v is not None}))
            except (ValidationError, ValueError) as error:
                bad.append(bad_row(record, _short(error)))
        return PushContent(stock=tuple(good), bad=tuple(bad))

    def _orders(self, spec: PushTopic, records: Sequence[Any]) -> PushContent:
        getters = {name: compile_reading(name, reading, self.config) for name, reading in spec.map.items()}
        good: list[OrderUpdate] = []
        bad: list[BadRow] = []
        for record in records:
            try:
                values = {name: get(record) for name, get in getters.items()}
                raw = str(values.get("status") if values.get("status") is not None else "")
                values |= {"status": self.manifest.statuses.get(raw, ShipmentStatus.UNKNOWN), "raw_status": raw}
                good.append(OrderUpdate.model_validate({k: v for k, v in values.items() if v is not None}))
            except (ValidationError, ValueError) as error:
                bad.append(bad_row(record, _short(error)))
        return PushContent(orders=tuple(good), bad=tuple(bad))

    def _document(self, body: bytes) -> Any:
        try:
            return jsonio.loads(body, self.manifest.http.max_depth)
        except ValueError as error:
            raise Malformed(f"the push is not JSON: {error}", code="bad_json") from None


def stock_of(listings: Sequence[ListingIn]) -> tuple[StockReport, ...]:
    """The stock that pushed listings report; only those that say their own time, for order cannot be told else."""
    return tuple(
        StockReport(
            vendor_sku=listing.vendor_sku,
            location=listing.location,
            on_hand=listing.on_hand,
            level=listing.level,
            version=listing.version,
            reported_at=listing.reported_at,
        )
        for listing in listings
        if listing.reported_at is not None and (listing.on_hand is not None or listing.level is not None)
    )


def check_signature(spec: Push, secrets: Sequence[str], headers: Mapping[str, str], body: bytes) -> None:
    """Raises Unauthorized unless one of `secrets` signed exactly these bytes. Header names are lower case."""
    signature = spec.hmac_sha256
    given = headers.get(signature.header.lower(), "").strip()
    if not given or not given.startswith(signature.prefix):
        raise Unauthorized("the push is not signed", code="bad_signature")
    text = given[len(signature.prefix) :]
    try:
        mac = bytes.fromhex(text) if signature.encoding == "hex" else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise Unauthorized("the push's signature cannot be read", code="bad_signature") from None
    good = [hmac.compare_digest(hmac.digest(secret.encode(), body, "sha256"), mac) for secret in secrets]
    if not any(good):
        raise Unauthorized("the push's signature is wrong", code="bad_signature")


def class_for(manifest: Manifest) -> type[Adapter]:
    """The class of a system that needs no code: the pieces that its manifest has sections for."""
    pieces: list[type[Adapter]] = []
    if manifest.pull_listings is not None:
        pieces.append(PullsByManifest)
    if manifest.place_orders is not None:
        pieces.append(PlacesByManifest)
    if manifest.track_orders is not None:
        pieces.append(TracksByManifest)
    if manifest.push is not None:
        pieces.append(ReceivesByManifest)
    return type(f"Declared_{manifest.id}", tuple(pieces) or (Adapter,), {})


CAPABILITY_OF = {
    "pull_listings": Capability.PULLS_LISTINGS,
    "place_orders": Capability.PLACES_ORDERS,
    "track_orders": Capability.TRACKS_ORDERS,
    "push": Capability.RECEIVES_PUSH,
}


# Bodies -------------------------------------------------------------------------------------------------------


def order_document(po: PurchaseOrder, key: str) -> dict[str, Any]:
    """What the paths of an order's body see: the purchase order as JSON values, and the key."""
    return {**po.model_dump(mode="json"), "key": key}


def fill_body(spec: Mapping[str, Any], document: Any, config: Mapping[str, Any]) -> Any:
    """A JSON body from a nested map: a bare string is a path into `document`; {const}, {config} and
    {each, map} say what they are; other objects nest. Missing values are left out."""
    made = {name: _body_value(value, document, config) for name, value in spec.items()}
    return {name: value for name, value in made.items() if value is not None}


def _body_value(spec: Any, document: Any, config: Mapping[str, Any]) -> Any:
    if isinstance(spec, str):
        return compile_path(spec)(document)
    if isinstance(spec, list):
        return [_body_value(item, document, config) for item in spec]
    if not isinstance(spec, dict):
        return spec
    if not spec.keys() <= BodyValue.model_fields.keys() or not spec:
        return fill_body(spec, document, config)
    value = BodyValue.model_validate(spec)
    if value.each is not None:
        return [fill_body(value.map, item, config) for item in compile_path(value.each)(document) or []]
    if value.config is not None:
        return config.get(value.config)
    return compile_path(value.path)(document) if value.path is not None else value.const


def fill_params(params: Mapping[str, Param], config: Mapping[str, Any]) -> dict[str, Any]:
    """Query parameters with settings filled in; those that are not set are left out."""
    made = {name: config.get(p.config) if isinstance(p, FromConfig) else p for name, p in params.items()}
    return {
        name: ("true" if value else "false") if isinstance(value, bool) else value
        for name, value in made.items()
        if value is not None and value != ""
    }


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


def _short(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False)[0]
        return f"{'/'.join(map(str, first['loc']))}: {first['msg']}"[:300]
    return str(error)[:300]


__all__ = ["Answer", "PlacesByManifest", "PullsByManifest", "ReceivesByManifest", "TracksByManifest", "class_for"]
