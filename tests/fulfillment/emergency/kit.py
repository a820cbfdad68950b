"""An emergency to play with: the whole application over HTTP, two of staff, companies, ad-hoc suppliers. What workers
do happens when the test says so."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import zipfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp.test_utils import TestClient

from catalog import api as catalog
from connectors.contracts import StockReport
from fulfillment import api as fulfillment
from fulfillment.emergency import api as emergency
from hub.app import wiring
from hub.kernel import events, keys, store
from hub.kernel.db import uow
from orders import api as orders
from tests.app.api_world import serving

_numbers = itertools.count(1)
MASK = "口罩 mask"


@dataclass
class Stage:
    """One application and who calls it."""

    client: TestClient[Any, Any]
    staff: dict[str, dict[str, str]] = field(default_factory=dict)
    malls: dict[int, dict[str, str]] = field(default_factory=dict)

    async def key(self, scope: Any, tenant: int | None = None) -> dict[str, str]:
        async with uow() as tx:
            return {"Authorization": "Bearer " + await keys.create_key(tx, scope, tenant, f"key {next(_numbers)}")}

    async def mall(self, name: str) -> int:
        async with uow() as tx:
            mall_id = await store.add_mall(tx, name)
        self.malls[mall_id] = await self.key("mall", mall_id)
        return mall_id

    async def call(
        self, method: str, path: str, who: Mapping[str, str] | None = None, body: Any = None, media: str = ""
    ) -> tuple[int, Any]:
        """(status, answer); `body` goes out as JSON, or as it is when it is bytes."""
        raw = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": media or "application/json", **(self.staff["a"] if who is None else who)}
        async with self.client.request(method, "/v1" + path, data=raw, headers=headers) as answer:
            whole = await answer.read()
            return answer.status, json.loads(whole) if "json" in answer.content_type else whole

    async def good(self, method: str, path: str, who: Mapping[str, str] | None = None, body: Any = None) -> Any:
        status, answer = await self.call(method, path, who, body)
        assert status < 300, (method, path, status, answer)
        return answer

    # -- the parts of an incident

    async def incident(self, **more: Any) -> dict[str, Any]:
        body = {"title": "封控 lockdown", "area": "徐汇", "items": [{"name": MASK, "per_head": 2}], **more}
        made: dict[str, Any] = await self.good("POST", "/incidents", body=body)
        return made

    async def supplier(self, incident: int, *stock: int, each: int = 1, name: str = "", **goods: Any) -> dict[str, Any]:
        """A supplier with one warehouse for each figure, which reaches everywhere in four hours."""
        name = name or f"supplier {next(_numbers)}"
        rows = [
            {"sku": f"M{n}", "title": f"{name} 口罩 {n}", "price": "1.50", "item": MASK, "warehouse": f"{name}/{n}",
             "quantity": quantity, "units_each": each, **goods}
            for n, quantity in enumerate(stock)
        ]  # fmt: skip
        leads = [{"warehouse": row["warehouse"], "hours": "4", "cost": f"0.{n + 1}"} for n, row in enumerate(rows)]
        body = {"name": name, "goods": rows, "leads": leads}
        made: dict[str, Any] = await self.good("POST", f"/incidents/{incident}/suppliers", body=body)
        return made

    def demand(self, site: str, quantity: int, **more: Any) -> dict[str, Any]:
        return {
            "site": site, "item": MASK, "quantity": quantity, "contact": "张三", "phone": "13812341234",
            "address": f"{site} 路 1 号", **more,
        }  # fmt: skip

    def verified(self, site: str, quantity: int, tier: int = 1, people: int = 100_000, **more: Any) -> dict[str, Any]:
        return self.demand(site, quantity, tier=tier, verified_headcount=people, **more)

    async def enter(self, incident: int, *lines: dict[str, Any], amend: bool = False) -> dict[str, Any]:
        path = f"/incidents/{incident}/demands{'?amend=true' if amend else ''}"
        report: dict[str, Any] = await self.good("POST", path, body={"demands": list(lines)})
        return report

    async def solved(self, incident: int) -> dict[str, Any]:
        """A plan, asked for and solved."""
        plan = await self.good("POST", f"/incidents/{incident}/plans")
        await emergency.solve_due()
        made: dict[str, Any] = await self.good("GET", f"/plans/{plan['id']}")
        assert made["state"] == "proposed", made
        return made

    async def approved(self, incident: int) -> dict[str, Any]:
        plan = await self.solved(incident)
        for who in ("a", "b"):
            plan = await self.good("POST", f"/plans/{plan['id']}/approve", self.staff[who])
        assert plan["state"] == "approved"
        return plan

    async def committed(self, incident: int) -> dict[str, Any]:
        plan = await self.approved(incident)
        made: dict[str, Any] = await self.good("POST", f"/plans/{plan['id']}/commit")
        return made

    async def work(self) -> None:
        """What the workers do."""
        await emergency.dispatch_due()
        await events.drain(wiring.FLOW, width=1)
        await orders.place_due(concurrency=1)
        await events.drain(wiring.FLOW, width=1)

    async def report(self, listing: str, on_hand: int, location: str) -> None:
        """A vendor's newest figure for a row of the shelf."""
        async with uow() as tx:
            row = await tx.fetchrow(
                "SELECT connection_id, vendor_sku FROM catalog_listings WHERE id = $1",
                int(listing.removeprefix("lst_")),
            )
            assert row is not None
            figure = StockReport(
                vendor_sku=row["vendor_sku"], location=location, on_hand=on_hand, reported_at=tx.now
            )  # fmt: skip
            assert await catalog.apply_reports(tx, row["connection_id"], [figure]) == ["applied"]

    # -- looking

    async def figures(self, incident: int) -> dict[str, Any]:
        found: dict[str, Any] = (await self.good("GET", f"/incidents/{incident}"))["figures"]
        return found

    async def shelf(self, listing: str) -> tuple[int, int]:
        """(on hand, reserved) of a listing."""
        async with uow() as tx:
            row = await tx.fetchrow(
                "SELECT sum(on_hand)::int AS on_hand, sum(reserved)::int AS reserved FROM catalog_stock "
                "WHERE listing_id = $1",
                int(listing.removeprefix("lst_")),
            )
        assert row is not None
        return row["on_hand"], row["reserved"]

    async def value(self, sql: str, *args: Any) -> Any:
        async with uow() as tx:
            return await tx.fetchval(sql, *args)

    async def sound(self) -> None:
        """All promises hold and the shelf's counters equal its ledger."""
        async with uow() as tx:
            kept = {
                **await emergency.invariants(tx), **await orders.invariants(tx), **await fulfillment.invariants(tx),
            }  # fmt: skip
            assert all(kept.values()), kept
            assert await catalog.drift(tx) == []

    async def order(self, mall: int, listing: str, quantity: int) -> tuple[int, Any]:
        """An ordinary order."""
        number = next(_numbers)
        body = {
            "mall_order_no": f"M{number}", "mode": "place", "lines": [{"listing_id": listing, "qty": quantity}],
            "ship_to": {"name": "李四", "phone": "13700000000", "address": "某路 1 号"},
        }  # fmt: skip
        return await self.call("POST", "/orders", {**self.malls[mall], "Idempotency-Key": f"k{number}"}, body)


def unzip(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


@contextlib.asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    async with serving() as client:
        made = Stage(client)
        made.staff = {"a": await made.key("staff"), "b": await made.key("staff"), "c": await made.key("staff")}
        yield made
