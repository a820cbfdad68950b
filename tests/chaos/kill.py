"""`kill -9` of the web process and of the order worker while orders run: afterwards every order the hub answered is
there once, every purchase order is at its vendor once, and the ledger equals the counters."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import uuid

import httpx

import catalog.api
import orders.api
from hub.app.assortment import EXPERIENCES, SHOP
from hub.app.demo.scene import Refused, Role, Scene, scene, until
from hub.app.demo.story import SHIP_TO
from hub.kernel import db, store


async def run(n: int) -> dict[str, int]:
    """Place `n` orders while killing; returns counts with `violations`."""
    async with scene(small=True, SUPPLYHUB_LOG_LEVEL="CRITICAL") as stage:
        await stage.connect(SHOP, EXPERIENCES)
        await stage.pull()
        mall = await stage.mall("甲公司")
        page = await mall.get("/v1/products", in_stock="true", limit=60)
        wanted = [item["id"] for item in page["items"] if (item["available"] or 0) >= 20]
        done = asyncio.Event()
        killer = asyncio.create_task(_kill(stage, done))
        try:
            answers = await _place(mall, wanted, n)
        finally:
            done.set()
            kills = await killer
        await until(lambda: _all_answered(mall), "the last vendor's answer", timeout_s=120, pause_s=0.3)
        return {"n": n, "kills": kills, "violations": await _violations(stage, mall, answers)}


async def _kill(stage: Scene, done: asyncio.Event) -> int:
    kills = 0
    while not done.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), 1.0)
        victim = ("flow-1", "web", "flow-1", "sync-1")[kills % 4]
        with contextlib.suppress(ProcessLookupError):
            os.kill(stage.hub.pid_of(victim), signal.SIGKILL)
        kills += 1
    return kills


async def _place(mall: Role, wanted: list[str], n: int) -> dict[str, str]:
    """Each order is sent again with its key until it is answered, as a careful mall does; order number -> id."""
    answers: dict[str, str] = {}
    gate = asyncio.Semaphore(8)

    async def one(number: int) -> None:
        key = uuid.uuid4().hex
        lines = [{"product_id": wanted[(number * 7 + k) % len(wanted)], "qty": 1} for k in range(1 + number % 2)]
        body = {"mall_order_no": f"K{number}", "mode": "place", "ship_to": SHIP_TO, "lines": lines}
        async with gate:
            for _ in range(200):
                try:
                    answers[f"K{number}"] = (await mall.post("/v1/orders", body, Idempotency_Key=key))["id"]
                    return
                except httpx.TransportError:
                    await asyncio.sleep(0.1 + random.random() / 5)
                except Refused as refused:
                    if refused.code == "out_of_stock":
                        return
                    if refused.facts["status"] not in (409, 503):
                        raise
                    await asyncio.sleep(0.1)
            raise AssertionError(f"order {number} was never answered")

    await asyncio.gather(*(one(number) for number in range(n)))
    return answers


async def _all_answered(mall: Role) -> bool:
    try:
        pages = await mall.pages("/v1/orders", limit=200)
    except (httpx.TransportError, Refused):
        return False
    if any(order["status"] == "placed" for order in pages):
        return False
    async with db.uow() as tx:
        return bool((await store.outbox_state(tx))["pending"] == 0)


async def _violations(stage: Scene, mall: Role, answers: dict[str, str]) -> int:
    kept = {order["mall_order_no"]: order["id"] for order in await mall.pages("/v1/orders", limit=200)}
    lost = sum(1 for number, order_id in answers.items() if kept.get(number) != order_id)
    at_vendors = await stage.play("orders")
    accepted = [
        po["number"]
        for order in await mall.pages("/v1/orders", limit=200)
        for po in order["purchase_orders"]
        if po["status"] == "accepted"
    ]
    missing = sum(1 for number in accepted if at_vendors["living"].get(number, 0) != 1)
    strangers = len(set(at_vendors["living"]) - set(accepted))
    async with db.uow() as tx:
        drift = len(await catalog.api.drift(tx))
        broken = sum(1 for holds in (await orders.api.invariants(tx)).values() if not holds)
    return lost + at_vendors["duplicates"] + at_vendors["oversold"] + missing + strangers + drift + broken
