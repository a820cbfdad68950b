"""`kill -9` of web, worker and scheduler processes while orders run: afterwards every order the hub answered is there
once, every purchase order is at its vendor once, the vendors' own counts fell by exactly what was bought, and the
ledger equals the counters."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
import uuid
from collections.abc import Mapping

import httpx

import orders.api
from hub.app.assortment import GROCERY, SHOP
from hub.app.demo.scene import Refused, Role, Scene
from hub.app.demo.story import SHIP_TO
from hub.kernel import db
from hub.kernel.errors import Misconfigured
from orders.placing import LEASE_S
from tests.chaos import ground, progress, street
from tests.chaos.killer import WEB, WEB_MASTER, killing, wait_turn

FULL, SMALL = 2_000, 120
SHOPS = (SHOP, GROCERY)
LANES = 8
VICTIMS = ("flow-1", WEB, "flow-2", "sync-1", WEB, "flow-1", WEB_MASTER, "flow-2", "scheduler")


async def run(n: int) -> dict[str, int]:
    """Place `n` orders while killing; returns counts with `violations`."""
    async with ground.stage() as stage:
        await street.open_shops(stage, *SHOPS)
        name = f"K{uuid.uuid4().hex[:8]}"
        mall = await stage.mall(f"甲公司 {name}")
        before = await street.units(stage, *SHOPS)
        async with killing(stage, *VICTIMS) as killer:
            answers = await _place(mall, name, n)
        await _settle(stage)
        violations = await _violations(stage, name, answers, before)
        return {"n": n, "kills": killer.kills, "violations": violations}


async def _place(mall: Role, name: str, n: int) -> dict[str, str]:
    """Each order is sent again with its key until it is answered, as a careful mall does; order number -> id."""
    answers: dict[str, str] = {}
    wanted = await street.orderable(mall, at_least=street.PLENTY // 2)
    gate = asyncio.Semaphore(LANES)
    started = time.monotonic()

    async def one(number: int) -> None:
        lines = [{"product_id": wanted[(number * 7 + k) % len(wanted)], "qty": 1} for k in range(1 + number % 2)]
        body = {"mall_order_no": f"{name}-{number}", "mode": "place", "ship_to": SHIP_TO, "lines": lines}
        async with gate:
            await wait_turn(started, number, n)
            answers[f"{name}-{number}"] = await _answered(mall, body)
        progress.report("orders answered", len(answers), n)

    await asyncio.gather(*(one(number) for number in range(n)))
    return answers


async def _answered(mall: Role, body: Mapping[str, object]) -> str:
    key = uuid.uuid4().hex
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            return str((await mall.post("/v1/orders", body, Idempotency_Key=key))["id"])
        except httpx.TransportError:
            pass
        except Refused as refused:
            if refused.facts["status"] not in (409, 503):
                raise
        await asyncio.sleep(0.1 + random.random() / 5)
    raise AssertionError(f"order {body['mall_order_no']} was not answered within two minutes")


async def _settle(stage: Scene) -> None:
    """Wait for every vendor's answer. A call in which a worker died is asked about when its lease has run out, so the
    clock is moved past that."""
    for _ in range(6):
        with contextlib.suppress(Misconfigured):
            await street.until_settled(timeout_s=6)
            return
        await stage.move_clock(seconds=LEASE_S)
    await street.until_settled()


_ORDERS = """
SELECT mall_order_no AS number, 'ord_' || replace(id::text, '-', '') AS id FROM orders WHERE mall_order_no LIKE $1
"""
_ACCEPTED = "SELECT number FROM purchase_orders WHERE status = 'accepted'"
_BOUGHT = """
SELECT coalesce(sum(l.quantity), 0) FROM orders o JOIN order_lines l ON l.order_id = o.id
JOIN purchase_orders p ON p.id = l.po_id WHERE o.mall_order_no LIKE $1 AND p.status = 'accepted'
"""


async def _violations(stage: Scene, name: str, answers: dict[str, str], before: int) -> int:
    kept = {row["number"]: row["id"] for row in await ground.rows(_ORDERS, f"{name}-%")}
    differing = sum(1 for number in {*answers, *kept} if answers.get(number) != kept.get(number))
    books = await stage.play("orders")
    accepted = {row["number"] for row in await ground.rows(_ACCEPTED)}
    living = books["living"]
    not_once = sum(1 for number in {*accepted, *living} if living.get(number, 0) != (number in accepted))
    bought = await ground.count(_BOUGHT, f"{name}-%")
    taken = before - await street.units(stage, *SHOPS)
    oversold = int(books["oversold"])
    async with db.uow() as tx:
        broken = sum(1 for holds in (await orders.api.invariants(tx)).values() if not holds)
    dead = await ground.count("SELECT count(*) FROM outbox WHERE status = 2")
    return differing + not_once + oversold + abs(taken - bought) + await ground.drift() + broken + dead
