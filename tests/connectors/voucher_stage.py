"""Pools of codes for the tests: vendors with pools, codes taken in, orders, and what the table holds."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from connectors import api, vouchers
from connectors.contracts import IssuedCode, PoLine, PurchaseOrder, ShipTo
from connectors.voucher_pool.adapter import Adapter
from connectors.vouchers import NewCode
from hub.kernel import clock, db
from hub.kernel.types import public_id, uuid7

SKUS = {
    "SPA": {"title": "水疗", "price": "268.00", "market_price": "399"},
    "CARD": {"title": "购物卡", "title_en": "Gift card", "price": "98.50", "kind": "goods"},
}
NOW = datetime(2026, 11, 25, 4, tzinfo=UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")


async def connection(**config: Any) -> int:
    async with db.uow() as tx:
        vendor = await api.add_vendor(tx, f"商户 {uuid7()}")
        return await api.add_connection(
            tx, vendor_id=vendor, connector="voucher_pool", name="codes", config={"skus": SKUS, **config}, secrets={}
        )


async def fill(connection_id: int, *codes: NewCode) -> list[str]:
    async with db.uow() as tx:
        results, _ = await vouchers.take_in(tx, connection_id, codes, SKUS.keys())
    return [result.result for result in results]


def many(sku: str, count: int, *, days: float | None = None, start: int = 1) -> list[NewCode]:
    until = None if days is None else clock.now() + timedelta(days=days)
    return [NewCode(n, sku, f"{sku}-{n:06}", f"{n:04}", until) for n in range(start, start + count)]


def po(*lines: tuple[str, int], number: str = "") -> PurchaseOrder:
    return PurchaseOrder(
        number=number or public_id("po", uuid7()),
        lines=tuple(
            PoLine(line_no=n, vendor_sku=sku, quantity=count, unit_price=Decimal("300"), currency="CNY")
            for n, (sku, count) in enumerate(lines, 1)
        ),
        ship_to=ShipTo(name="李伟", phone="13800000000"),
        placed_at=NOW,
    )


@contextlib.asynccontextmanager
async def opened(connection_id: int) -> AsyncIterator[Adapter]:
    async with api.open_connector(connection_id) as connector:
        assert isinstance(connector, Adapter)
        yield connector


def plain(issued: Any) -> list[tuple[int, str]]:
    codes: list[IssuedCode] = list(issued)
    return [(code.line_no, code.code.get_secret_value()) for code in codes]


async def rows(query: str, *args: Any) -> list[tuple[Any, ...]]:
    async with db.uow() as tx:
        return [tuple(row) for row in await tx.fetch(query, *args)]
