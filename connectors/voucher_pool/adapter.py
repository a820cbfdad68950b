"""Codes that the hub holds itself are sold like anything else: the articles are the connection's settings, their stock
the free codes in the hub's own table (connectors.vouchers), and an order takes codes there. With `source: api` the
vendor issues codes for each order, and the hub keeps them the same way.

This is the one adapter with a database: the vendor's side of a pool is the hub's own table."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import httpx
from pydantic import SecretStr, TypeAdapter

from connectors.base import Adapter as Base
from connectors.base import Known
from connectors.contracts import (
    Cursor,
    IssuedCode,
    OrderUpdate,
    Page,
    PurchaseOrder,
    Receipt,
    ReceiptStatus,
    ShipmentStatus,
)
from connectors.credentials import Credentials, Draft, Post
from connectors.declarative import page_of
from connectors.manifest import ListingMap, Manifest
from connectors.mapping import Mapped, Mapper
from connectors.paging import PageOfRecords
from connectors.parts import ListingMapSpec
from connectors.tokens import Purse
from connectors.voucher_pool import settings
from connectors.voucher_pool.issuing import AsksVendor
from connectors.vouchers import Pool, Want
from hub.kernel import clock
from hub.kernel.errors import Broken, Retry

_map: TypeAdapter[ListingMap] = TypeAdapter(ListingMapSpec)

_SEEN = "the codes were shown and may have been used"

# Orders whose answer was lost in this process: the vendor is asked again under the same key, which issues nothing new.
_unanswered: OrderedDict[str, PurchaseOrder] = OrderedDict()


class Adapter(Base):
    """One pool."""

    def __init__(
        self,
        manifest: Manifest,
        config: Mapping[str, Any],
        secrets: Mapping[str, SecretStr],
        http: httpx.AsyncClient | None = None,
        *,
        connection_id: int | str = "unsaved",
        known: Known | None = None,
    ) -> None:
        super().__init__(manifest, config, secrets, http, connection_id=connection_id, known=known)
        self.articles = settings.articles(self.config)
        self.zone = settings.zone(self.config)
        self.good_for = timedelta(days=settings.span(self.config, "min_valid_days", 0, 3650))
        self.rows = settings.span(self.config, "page_rows", 1, 10_000)
        self.pool = Pool(connection_id)
        issue = settings.issuing(self.config)
        self.vendor = AsksVendor(self.call, manifest, self.config, issue, self.zone) if issue is not None else None
        self.call.credentials = _Token(manifest, self.config, self.secrets)

    # Listings -------------------------------------------------------------------------------------------------

    async def pull(self, since: Cursor | None) -> AsyncGenerator[Page, None]:
        """Pages of what is sold, with how many codes of each there are; a vendor that issues gives no count. `since`
        as everywhere; there is no incremental pull, since counting all is cheap."""
        at = clock.now()
        free = await self.pool.free(at + self.good_for) if self.vendor is None else {}
        mapper = Mapper(_map.validate_python(self.manifest.options["map"]), self.config, salt=self.manifest.digest)
        start = int((since or {}).get("at", 0))
        skus = sorted(self.articles)
        while True:
            part = skus[start : start + self.rows]
            start += len(part)
            last = start >= len(skus)
            records = [self._record(sku, free) for sku in part]
            known = await self.known(mapper.skus(records)) if self.known is not None else None
            mapped = Mapped(raws=[] if self.keep_raw else None)
            mapper.extend(mapped, records, known)
            yield page_of(mapped, PageOfRecords(records, {"at": start}, at, last, 0))
            if last:
                return

    def _record(self, sku: str, free: Mapping[str, int]) -> dict[str, Any]:
        stock = {"_free": free.get(sku, 0)} if self.vendor is None else {"_level": "in_stock"}
        return {**self.articles[sku].record(sku), **stock}

    # Orders ---------------------------------------------------------------------------------------------------

    async def place(self, po: PurchaseOrder, *, key: str) -> Receipt:
        """Hold a code for every unit, or none; the same key holds the same codes. Raises Retry when the outcome is
        unknown: ask with `find`."""
        strange = sorted({line.vendor_sku for line in po.lines if line.vendor_sku not in self.articles})
        if strange:
            return Receipt(status=ReceiptStatus.REFUSED, reason=f"the pool sells no {', '.join(strange)}"[:500])
        if self.vendor is not None:
            return await self._issued(self.vendor, po, key)
        wants = [Want(line.line_no, line.vendor_sku, line.quantity) for line in po.lines]
        short = await self.pool.take(key, wants, clock.now() + self.good_for)
        if short:
            return Receipt(
                status=ReceiptStatus.REFUSED,
                reason=f"the pool has not enough codes of {', '.join(short)}"[:500],
                out_of_stock=True,
                out_of_stock_skus=tuple(short),
            )
        return _accepted(key)

    async def _issued(self, vendor: AsksVendor, po: PurchaseOrder, key: str) -> Receipt:
        """Have the vendor issue codes for the order, and keep them. Asking again with the same key issues no more."""
        if await self.pool.held(key) is not None:
            return _accepted(key)
        try:
            issued = await vendor.issue(po, key)
            if isinstance(issued, Receipt):
                return issued
            await self.pool.keep(key, issued)
        except (Retry, Broken):
            _unanswered[key] = po
            while len(_unanswered) > 10_000:
                _unanswered.popitem(last=False)
            raise
        _unanswered.pop(key, None)
        return _accepted(key)

    async def find(self, key: str) -> Receipt | None:
        """The receipt of the order with this key, or None. A vendor whose answer was lost is asked by our number, where
        it can be; else the same order is sent again under the same key, where this process knows it. None then means
        that placing it again, under the same key, is safe: the vendor issues once for a key."""
        if await self.pool.held(key) is not None:
            return _accepted(key)
        if self.vendor is None:
            return None
        if key in _unanswered:
            return await self._issued(self.vendor, _unanswered[key], key)
        return _accepted(key) if await self.vendor.knows(key) else None

    async def cancel(self, vendor_order_no: str, po: PurchaseOrder) -> Receipt:
        """Codes that nobody has seen go back; codes that were shown may be used already, and are taken back only where
        the merchant blocks them (`cancel_seen: void`). What a vendor issued for the order goes back to the vendor,
        where it takes codes back."""
        key = po.number
        held = await self.pool.held(key)
        even_seen = self.config["cancel_seen"] == "void"
        if held is not None and held.shown_at is not None and not even_seen:
            return _refused(key, _SEEN)
        if self.vendor is not None and (held is not None or self.vendor.takes_back):
            reason = await self.vendor.cancel(key)
            if reason is not None:
                return _refused(key, reason)
            await self.pool.give_back(key, even_seen=True, void=True)
        elif not await self.pool.give_back(key, even_seen=even_seen):
            return _refused(key, _SEEN)
        _unanswered.pop(key, None)
        return Receipt(status=ReceiptStatus.ACCEPTED, vendor_order_no=key, raw_status="cancelled")

    async def issue(self, po: PurchaseOrder, *, key: str) -> Sequence[IssuedCode]:
        """The codes of the order; they count as seen from now on. Raises NotFound when it holds none."""
        if self.vendor is not None and await self.pool.held(key) is None and await self.vendor.knows(key):
            await self._issued(self.vendor, po, key)  # found at the vendor, never stored: the same codes come again
        return await self.pool.show(key)

    async def track(self, vendor_order_no: str) -> Sequence[OrderUpdate]:
        """Held codes are pending, shown ones delivered."""
        held = await self.pool.held(vendor_order_no)
        if held is None:
            return ()
        shown = held.shown_at
        return (
            OrderUpdate(
                po_number=vendor_order_no,
                vendor_order_no=vendor_order_no,
                status=ShipmentStatus.DELIVERED if shown else ShipmentStatus.PENDING,
                raw_status="shown" if shown else "held",
                at=shown or clock.now(),
            ),
        )


class _Token(Credentials):
    """The issuing API's credential, in the header that the connection names."""

    async def put_on(self, draft: Draft, purse: Purse, post: Post, token_url: Callable[[str], str]) -> None:
        """Complete `draft`."""
        prefix = "Bearer " if self._config["bearer"] else ""
        draft.headers[str(self._config["token_header"])] = prefix + self.secret("token")


def _accepted(key: str) -> Receipt:
    """Dated after the commit: a count of free codes taken before must not look newer than the order."""
    now: datetime = clock.now()
    return Receipt(status=ReceiptStatus.ACCEPTED, vendor_order_no=key, accepted_at=now, raw_status="held")


def _refused(key: str, reason: str) -> Receipt:
    return Receipt(status=ReceiptStatus.REFUSED, vendor_order_no=key, reason=reason)
