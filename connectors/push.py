"""Pushes: whose they are (the native signature over the raw bytes) and what they mean. Pure: nothing here stores or
calls; landing a push is connectors.inbox."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from connectors import jsonio
from connectors.base import Adapter
from connectors.contracts import (
    BadRow,
    ListingIn,
    OrderUpdate,
    PushContent,
    PushReceived,
    ShipmentStatus,
    StockReport,
)
from connectors.manifest import Push, PushTopic
from connectors.mapping import Mapper, bad_row, compile_reading
from connectors.paths import compile_path
from hub.kernel.errors import Malformed, NotFound, Unauthorized


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
            external = hashlib.sha256(topic.encode(errors="replace") + b"\0" + body).hexdigest()
        return PushReceived(external_id=_kept(external), topic=_kept(topic))

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
            values: dict[str, Any] = {}
            try:
                values = {name: get(record) for name, get in getters.items()}
                good.append(self.order_state(values))
            except (ValidationError, ValueError) as error:
                bad.append(bad_row(values, _short(error)))  # only what was read: orders hold personal data
        return PushContent(orders=tuple(good), bad=tuple(bad))

    def order_state(self, values: Mapping[str, Any]) -> OrderUpdate:
        """An order's state from mapped values; a status that the manifest does not name is `unknown`."""
        raw = str(values.get("status") if values.get("status") is not None else "")
        made = {**values, "status": self.manifest.statuses.get(raw, ShipmentStatus.UNKNOWN), "raw_status": raw}
        return OrderUpdate.model_validate({name: value for name, value in made.items() if value is not None})

    def is_ping(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Whether this unsigned request is the system's own way to try the address; it never has an effect."""
        return False

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


def _kept(text: str) -> str:
    """Text of at most 200 characters that the database can hold: what came is signed only in part."""
    return text[:200].encode(errors="replace").decode().replace("\x00", "\ufffd")


def _text(raw: Any) -> str | None:
    return str(raw) if isinstance(raw, str | int) and raw != "" else None


def _short(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False)[0]
        return f"{'/'.join(map(str, first['loc']))}: {first['msg']}"[:300]
    return str(error)[:300]
