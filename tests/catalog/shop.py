"""A small shop written straight into the catalogue's tables, and a client that reads it over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from aiohttp.test_utils import TestClient, TestServer

import catalog.web
from catalog.segment import search_tokens
from hub.kernel import keys
from hub.kernel.db import read, uow
from hub.kernel.web import application

NOW = datetime.now(UTC)


@dataclass
class Reader:
    """Somebody with a key who reads over HTTP."""

    client: TestClient[Any, Any]
    key: str
    mall_id: int | None = None
    last_status: int = field(default=0)

    async def get(self, path: str, expect: int = 200, **params: Any) -> Any:
        given = {name: str(value) for name, value in params.items() if value is not None}
        async with self.client.get(path, params=given, headers={"Authorization": f"Bearer {self.key}"}) as answer:
            body = await answer.json(content_type=None)
            assert answer.status == expect, body
            return body

    async def post(self, path: str, body: Any, expect: int = 200) -> Any:
        headers = {"Authorization": f"Bearer {self.key}"}
        async with self.client.post(path, json=body, headers=headers) as answer:
            found = await answer.json(content_type=None)
            assert answer.status == expect, found
            return found

    async def titles(self, **params: Any) -> list[str]:
        page = await self.get("/v1/products", **params)
        return [item["title"] for item in page["items"]]

    async def all_pages(self, path: str = "/v1/products", **params: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        cursor = None
        while True:
            page = await self.get(path, cursor=cursor, **params)
            found += page["items"]
            cursor = page["next"]
            if cursor is None:
                return found


@asynccontextmanager
async def reader(scope: Any = "mall") -> AsyncIterator[Reader]:
    """A mall (or staff) with a key, before the catalogue's own routes."""
    async with uow() as tx:
        mall = (
            await tx.fetchval("INSERT INTO malls (name) VALUES ('m' || random()) RETURNING id")
            if scope == "mall"
            else None
        )
        key = await keys.create_key(tx, scope, mall, "test")
    app = application(catalog.web.routes.all, body_limit=2**20)
    async with TestClient(TestServer(app)) as client:
        yield Reader(client, key, mall)


async def feed(connection_id: int = 1, *, name: str = "张三药房", promise_s: int = 3600, **given: Any) -> None:
    columns = {"connection_id": connection_id, "vendor_id": connection_id, "vendor_name": name, "role": "supply",
               "promise_s": promise_s, "live": True, "complete_at": None, **given}  # fmt: skip
    await _insert("catalog_feeds", columns)


async def product(title: str, **given: Any) -> int:
    """A listed product without offers; returns its id."""
    row: dict[str, Any] = {
        "kind": "goods", "mode": "parcel", "title": title, "title_en": None, "brand": None, "model": None,
        "category": None, "price": Decimal("9.9"), "currency": "CNY", "listed": True, "sellable": True,
        "popularity": 0, "created_at": NOW, "updated_at": NOW, **given,
    }  # fmt: skip
    words = search_tokens(title, row["title_en"], row["brand"], row["model"], row["category"])
    return int(await _insert("catalog_products", row, {"search": (words, "tsvector")}))


async def listing(product_id: int, connection_id: int = 1, **given: Any) -> int:
    """An active listing of a product, described as the product is; returns its id."""
    (p,) = await read(
        "SELECT title, title_en, kind, mode, category, price, currency, city, department FROM catalog_products "
        "WHERE id = $1", product_id,
    )  # fmt: skip
    row: dict[str, Any] = {
        **dict(p), "product_id": product_id, "connection_id": connection_id, "vendor_sku": f"S{product_id}-{given}",
        "digest": b"", "created_at": NOW, "updated_at": NOW, **given,
    }  # fmt: skip
    return int(await _insert("catalog_listings", row))


async def stock(listing_id: int, on_hand: int | None = 10, **given: Any) -> None:
    level = "out" if on_hand == 0 else "in_stock"
    await _insert(
        "catalog_stock", {"listing_id": listing_id, "on_hand": on_hand, "level": level, "reported_at": NOW, **given}
    )


async def item(title: str, *, on_hand: int | None = 10, connection_id: int = 1, **given: Any) -> tuple[int, int]:
    """A product with one offer in stock; returns product id and listing id."""
    sellable = on_hand is None or on_hand > 0
    product_id = await product(title, **{"sellable": sellable, **given})
    listing_id = await listing(product_id, connection_id)
    await stock(listing_id, on_hand)
    return product_id, listing_id


async def slot(listing_id: int, hours: float, *, free: bool = True, **given: Any) -> int:
    """A bookable hour, `hours` from now; returns its id."""
    start = NOW + timedelta(hours=hours)
    ref = f"slot-{hours}"
    row = {"listing_id": listing_id, "slot_ref": ref, "start_at": start, "end_at": start + timedelta(hours=1), **given}
    await stock(listing_id, 1 if free else 0, location=ref)
    return int(await _insert("catalog_slots", row))


async def hold(mall_id: int, listing_id: int, product_id: int) -> None:
    """This mall's policy keeps it from buying the listing."""
    case = await _insert(
        "pricing_cases",
        {"listing_id": listing_id, "product_id": product_id, "threshold_pct": 5, "gross_pct": 20, "opened_at": NOW},
        {"evidence": ("{}", "jsonb")},
    )
    await _insert(
        "pricing_holds",
        {"mall_id": mall_id, "case_id": case, "listing_id": listing_id, "action": "hold", "since": NOW},
        returning="case_id",
    )


async def _insert(
    table: str, row: dict[str, Any], cast: dict[str, tuple[str, str]] | None = None, returning: str | None = None
) -> Any:
    values = {**row, **{name: value for name, (value, _) in (cast or {}).items()}}
    marks = [
        f"${n}" + (f"::text::{cast[name][1]}" if cast and name in cast else "") for n, name in enumerate(values, 1)
    ]
    back = returning or {"catalog_feeds": "connection_id", "catalog_stock": "listing_id"}.get(table, "id")
    async with uow() as tx:
        return await tx.fetchval(
            f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join(marks)}) RETURNING {back}", *values.values()
        )
