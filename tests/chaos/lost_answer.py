"""A vendor takes an order and its answer is lost: the hub must not buy again, there or elsewhere. It asks the vendor by
our number and then knows.

Two shops that both sell much of the same answer no order at all: each is taken, and the connection is cut. Afterwards
each order has exactly one living order in the shops' own books, and the shops' own counts fell by exactly what was
ordered. The control sends one order to a shop twice, and the same books must show the double."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any

import asyncpg

from hub.app.assortment import GROCERY, SHOP
from hub.app.demo.scene import Role, Scene
from hub.app.demo.story import order
from tests.chaos import ground, progress, street

FULL, SMALL = 1_000, 40
SHOPS = (SHOP, GROCERY)
LANES = 8
_ALWAYS = 1 << 30


async def run(n: int) -> dict[str, int]:
    """`n` orders, each of which a shop takes without an answer."""
    async with ground.stage() as stage:
        await street.open_shops(stage, *SHOPS)
        name = f"L{uuid.uuid4().hex[:8]}"
        mall = await stage.mall(f"失联 {name}")
        before = await street.units(stage, *SHOPS)
        await _lose(stage, _ALWAYS)
        try:
            units = await _place(mall, name, n)
            await street.until_settled(timeout_s=120 + n / 2)
        finally:
            await _lose(stage, 0)
        taken = before - await street.units(stage, *SHOPS)
        pos = await ground.rows(_PURCHASE_ORDERS, f"{name}-%")
        books = await stage.play("orders")
        lost = sum(po["ever_unknown"] for po in pos)
        return {
            "n": n,
            "violations": _wrong(n, pos, books) + abs(taken - units) + (lost == 0),
            "control_violations": await _doubled(stage),
            "answers_lost": lost,
            "purchase_orders": len(pos),
        }


_PURCHASE_ORDERS = """
SELECT o.id AS order_id, o.status AS order_status, p.number, p.status, p.ever_unknown, p.sequence
FROM orders o JOIN purchase_orders p ON p.order_id = o.id WHERE o.mall_order_no LIKE $1
"""


async def _lose(stage: Scene, answers: int) -> None:
    for shop in SHOPS:
        await stage.play("faults", vendor=shop, lose_answer=answers)


async def _place(mall: Role, name: str, n: int) -> int:
    """Place `n` orders of one line each; returns the units ordered."""
    wanted = await street.orderable(mall, at_least=street.PLENTY // 2)
    gate = asyncio.Semaphore(LANES)

    async def one(number: int) -> int:
        units = 1 + number % 3
        async with gate:
            lines = [{"product_id": wanted[number % len(wanted)], "qty": units}]
            await order(mall, lines, number=f"{name}-{number}")
        progress.report("orders placed", number + 1, n)
        return units

    return sum(await asyncio.gather(*(one(number) for number in range(n))))


def _wrong(n: int, pos: Sequence[asyncpg.Record], books: dict[str, Any]) -> int:
    """Orders that do not have exactly one living order in the shops' books, and one accepted purchase order here."""
    living: dict[str, int] = books["living"]
    at_vendors: dict[uuid.UUID, int] = {}
    accepted: dict[uuid.UUID, int] = {}
    for po in pos:
        order_id = po["order_id"]
        at_vendors[order_id] = at_vendors.get(order_id, 0) + living.get(po["number"], 0)
        accepted[order_id] = accepted.get(order_id, 0) + (po["status"] == "accepted")
    missing = n - len(at_vendors)
    return missing + sum(at_vendors[key] != 1 or accepted[key] != 1 for key in at_vendors)


async def _doubled(stage: Scene) -> int:
    """Doubles that the shops' books show after one order was sent twice; it is cancelled again."""
    number = f"PO-{uuid.uuid4().hex}"
    product = next(p for p in await street.products(stage, SHOP) if (p["stock_quantity"] or 0) > 10)
    body = {
        "set_paid": True,
        "billing": {"company": number},
        "meta_data": [{"key": "supplyhub_po", "value": number}],
        "line_items": [{"product_id": product["id"], "quantity": 1}],
    }
    async with street.shop(stage, SHOP) as client:
        sent = [(await client.post("/orders", json=body)).raise_for_status().json() for _ in range(2)]
        books = await stage.play("orders")
        for each in sent:
            (await client.put(f"/orders/{each['id']}", json={"status": "cancelled"})).raise_for_status()
    return int(books["living"][number] - 1)
