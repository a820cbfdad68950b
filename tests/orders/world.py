"""A small world for orders: malls with keys, vendors with shelves, and vendor systems that misbehave on demand. The
catalogue, the database and the web shell are real; only the vendors' servers are played."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from catalog import api as catalog
from connectors.contracts import Capability, ConnectionView, PurchaseOrder, Receipt, ReceiptStatus, StockReport
from hub.kernel import clock, events, keys, store
from hub.kernel.db import uow
from hub.kernel.errors import NotFound, Retry
from hub.kernel.web import endpoint
from orders import api, review_web, settlement_lists_web, settlement_party_web, settlement_web, vendor_web
from orders import web as mall_web
from orders.contracts import (
    AfterSaleChanged,
    LineReduced,
    LineUnsupplied,
    OrderCancelled,
    OrderPlaced,
    VendorAccepted,
    VendorRefused,
)

SHIP_TO = {
    "name": "王小明",
    "phone": "13812341234",
    "province": "上海市",
    "city": "上海市",
    "district": "徐汇区",
    "address": "漕溪北路 88 号 1203 室",
}
_order_nos = itertools.count(1)


@dataclass
class VendorSystem:
    """A vendor's order system. `faults` are consumed one per call: each is a function of (system, kind) that may
    raise before the vendor acts; `lose` counts answers that get lost after the vendor acted."""

    accepts: bool = True
    out_of_stock: tuple[str, ...] | None = None  # None: accepts; (): refuses without naming SKUs
    pending: bool = False
    lose: int = 0
    down: int = 0
    refuses_cancel: bool = False
    error: Exception | None = None
    idempotent: bool = True
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)  # by our number
    calls: list[str] = field(default_factory=list)
    letters: list[PurchaseOrder] = field(default_factory=list)
    during_place: Callable[[], Any] | None = None
    books_slots: bool = True
    more: frozenset[Capability] = frozenset()  # beside placing orders

    async def place(self, po: PurchaseOrder, *, key: str) -> Receipt:
        self.calls.append("place")
        self.letters.append(po)
        self._trouble()
        if self.during_place is not None:
            await self.during_place()
        short = set(self.out_of_stock or ()) & {line.vendor_sku for line in po.lines}
        if not self.accepts or self.out_of_stock == () or short:
            return Receipt(
                status=ReceiptStatus.REFUSED,
                reason="sold out" if self.out_of_stock is not None else "not today",
                out_of_stock=self.out_of_stock is not None,
                out_of_stock_skus=tuple(sorted(short)),
            )
        if key not in self.orders or not self.idempotent:
            self.orders[key] = {"no": f"V-{key[-6:]}-{len(self.orders)}", "cancelled": False, "times": 0}
        self.orders[key]["times"] += 1
        return self._answer(self._receipt(key))

    async def find(self, key: str) -> Receipt | None:
        self.calls.append("find")
        self._trouble()
        return self._receipt(key) if key in self.orders else None

    async def cancel(self, vendor_order_no: str, po: PurchaseOrder) -> Receipt:
        self.calls.append("cancel")
        self._trouble()
        if self.refuses_cancel:
            return Receipt(status=ReceiptStatus.REFUSED, reason="already packed")
        order = next(order for order in self.orders.values() if order["no"] == vendor_order_no)
        order["cancelled"] = True
        return self._answer(Receipt(status=ReceiptStatus.ACCEPTED, vendor_order_no=vendor_order_no))

    def _receipt(self, key: str) -> Receipt:
        order = self.orders[key]
        if order["cancelled"]:
            return Receipt(status=ReceiptStatus.REFUSED, reason="cancelled", vendor_order_no=order["no"])
        status = ReceiptStatus.PENDING if self.pending else ReceiptStatus.ACCEPTED
        return Receipt(status=status, vendor_order_no=order["no"])

    def _answer(self, receipt: Receipt) -> Receipt:
        if self.lose > 0:
            self.lose -= 1
            raise Retry("the connection was cut", code="lost", after=1.0)
        return receipt

    def _trouble(self) -> None:
        if self.error is not None:
            raise self.error
        if self.down > 0:
            self.down -= 1
            raise Retry("503", code="vendor_down", after=2.0)

    @property
    def live(self) -> list[dict[str, Any]]:
        """Orders that this vendor would deliver."""
        return [order for order in self.orders.values() if not order["cancelled"]]


class World:
    """See the module's text. Times move only by `later`."""

    def __init__(self, client: TestClient[Any, Any], clock_file: Path) -> None:
        self.client = client
        self.vendors: dict[int, Any] = {}
        self.portal: set[int] = set()
        self.malls: dict[int, dict[str, str]] = {}
        self.events: list[Any] = []
        self._clock_file = clock_file
        self._offset = 0.0

    def later(self, seconds: float) -> None:
        self._offset += seconds
        self._clock_file.write_text(str(self._offset))
        clock._read_at = -1.0

    async def mall(self, name: str = "mall") -> int:
        async with uow() as tx:
            mall_id = await store.add_mall(tx, name)
            key = await keys.create_key(tx, "mall", mall_id, name)
        self.malls[mall_id] = {"Authorization": f"Bearer {key}"}
        return mall_id

    async def vendor_key(self, vendor_id: int) -> dict[str, str]:
        async with uow() as tx:
            return {"Authorization": "Bearer " + await keys.create_key(tx, "vendor", vendor_id, "v")}

    async def vendor(
        self, connection_id: int, *, portal: bool = False, system: VendorSystem | None = None
    ) -> VendorSystem:
        """A vendor whose id is its connection's plus 100."""
        system = self.vendors[connection_id] = system or VendorSystem()
        if portal:
            self.portal.add(connection_id)
        async with uow() as tx:
            await catalog.put_connection(tx, await self.get_connection(tx, connection_id))
        return system

    async def product(self, title: str = "口罩 N95", mode: str = "parcel") -> int:
        async with uow() as tx:
            product_id: int = await tx.fetchval(
                "INSERT INTO catalog_products (kind, mode, title, search, created_at, updated_at) "
                "VALUES ('goods', $1, $2, to_tsvector('simple', $2), now(), now()) RETURNING id",
                mode,
                title,
            )
            return product_id

    async def listing(
        self, connection_id: int, product_id: int, price: str, on_hand: int | None, sku: str = "", currency: str = "CNY"
    ) -> int:
        sku = sku or f"S{product_id}"
        async with uow() as tx:
            listing_id: int = await tx.fetchval(
                "INSERT INTO catalog_listings (connection_id, vendor_sku, product_id, title, kind, mode, category, "
                "price, currency, digest, created_at, updated_at) SELECT $1, $2, id, title, kind, mode, 'masks', $4, "
                "$5, ''::bytea, now(), now() FROM catalog_products WHERE id = $3 RETURNING id",
                connection_id,
                sku,
                product_id,
                Decimal(price),
                currency,
            )
        await self.report(connection_id, sku, on_hand)
        return listing_id

    async def report(self, connection_id: int, sku: str, on_hand: int | None, location: str = "") -> None:
        """The vendor's stock figure now; None: it says only `in_stock`."""
        async with uow() as tx:
            level: Any = "in_stock" if on_hand is None else None
            figure = StockReport(vendor_sku=sku, location=location, on_hand=on_hand, level=level, reported_at=tx.now)
            await catalog.apply_reports(tx, connection_id, [figure])

    async def slot(self, connection_id: int, price: str = "300") -> int:
        """One free place at a clinic."""
        return (await self.slots(connection_id, 1, price))[0]

    async def slots(
        self, connection_id: int, count: int, price: str = "300", product_id: int | None = None
    ) -> list[int]:
        """Free places of one service, an hour apart: Slot/1, Slot/2 …"""
        product_id = product_id or await self.product("体检", "appointment")
        listing_id = await self.listing(connection_id, product_id, price, 0, sku=f"C{product_id}")
        made: list[int] = []
        for n in range(1, count + 1):
            await self.report(connection_id, f"C{product_id}", 1, f"Slot/{n}")
            async with uow() as tx:
                slot_id: int = await tx.fetchval(
                    "INSERT INTO catalog_slots (listing_id, slot_ref, version, start_at, end_at) "
                    "VALUES ($1, $4, 'W/\"1\"', $2, $3) RETURNING id",
                    listing_id,
                    tx.now + timedelta(days=2, hours=n),
                    tx.now + timedelta(days=2, hours=n, minutes=20),
                    f"Slot/{n}",
                )
            made.append(slot_id)
        return made

    async def get_connection(self, _tx: Any, connection_id: int) -> ConnectionView:
        if connection_id not in self.vendors:
            raise NotFound("no such connection")
        able = {Capability.PULLS_LISTINGS}
        if connection_id not in self.portal:
            able.add(Capability.PLACES_ORDERS)
        able |= getattr(self.vendors[connection_id], "more", frozenset())
        return ConnectionView(
            id=connection_id, vendor_id=connection_id + 100, vendor_name=f"vendor {connection_id}", connector="played",
            name="played", role="supply", status="live", capabilities=frozenset(able), defaults={}, sync_every_s=60,
            last_complete_at=None,
        )  # fmt: skip

    @contextlib.asynccontextmanager
    async def open_connector(self, connection_id: int) -> AsyncIterator[VendorSystem]:
        yield self.vendors[connection_id]

    # -- acting

    async def post(
        self, mall_id: int, path: str, body: Any = None, *, key: str | None = None, raw: bytes | None = None
    ) -> tuple[int, Any]:
        headers = dict(self.malls[mall_id])
        if key is not None:
            headers["Idempotency-Key"] = key
        data = raw if raw is not None else (json.dumps(body).encode() if body is not None else None)
        async with self.client.post("/v1" + path, data=data, headers=headers) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text else None

    async def get(self, headers: dict[str, str], path: str) -> tuple[int, Any]:
        async with self.client.get("/v1" + path, headers=headers) as answer:
            return answer.status, await answer.json()

    async def order(self, mall_id: int, lines: list[dict[str, Any]], **more: Any) -> tuple[int, Any]:
        number = f"M{next(_order_nos)}"
        key = more.pop("key", number)
        body = {"mall_order_no": number, "mode": "place", "ship_to": SHIP_TO, "lines": lines, **more}
        return await self.post(mall_id, "/orders", body, key=key)

    async def placed(self, mall_id: int, lines: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        status, order = await self.order(mall_id, lines, **more)
        assert status == 201, order
        return dict(order)

    async def see(self, mall_id: int, order_id: str) -> dict[str, Any]:
        status, order = await self.get(self.malls[mall_id], f"/orders/{order_id}")
        assert status == 200, order
        return dict(order)

    async def deliver_events(self) -> None:
        async def note(_tx: Any, event: Any) -> None:
            self.events.append(event)

        await events.drain(
            {
                OrderPlaced: [note, api.submit_to_vendors],
                VendorRefused: [note, api.on_refused],
                VendorAccepted: [note],
                LineUnsupplied: [note],
                OrderCancelled: [note],
                LineReduced: [note],
                AfterSaleChanged: [note],
            },
            width=2,
        )

    async def work(self, rounds: int = 1) -> None:
        """What the worker does: events, then vendor calls, then the events these made."""
        for _ in range(rounds):
            await self.deliver_events()
            await api.place_due(concurrency=3)
            await self.deliver_events()

    async def settle(self, rounds: int = 8, step: float = 400) -> None:
        """Work while time passes, until every pause between attempts is over."""
        for _ in range(rounds):
            await self.work()
            self.later(step)

    # -- looking

    async def value(self, sql: str, *args: Any) -> Any:
        async with uow() as tx:
            return await tx.fetchval(sql, *args)

    async def reserved(self, listing_id: int) -> int:
        return int(await self.value("SELECT sum(reserved) FROM catalog_stock WHERE listing_id = $1", listing_id))

    async def sound(self) -> None:
        """All promises hold and the shelf's counters equal its ledger."""
        async with uow() as tx:
            assert all((await api.invariants(tx)).values()), await api.invariants(tx)
            assert await catalog.drift(tx) == []

    def saw(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[TestClient[Any, Any]]:
    """The orders' routes behind the real web shell."""
    app = web.Application()
    served = (mall_web, vendor_web, review_web, settlement_web, settlement_lists_web, settlement_party_web)
    for route in [route for module in served for route in module.routes.all]:
        app.router.add_route(route.method, route.prefix + route.path, endpoint(route))
    async with TestClient(TestServer(app)) as client:
        yield client
