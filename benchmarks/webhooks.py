"""`bench webhooks`: signed messages to one mall's address, told in the database and sent by the hub's own worker, until
the address has every one. Beside it: the same bytes to the same address by a bare client with as many connections, in
the same run. The target is what orders make at their own target of 300/s: about three messages each."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from benchmarks.harness import at_least, own_hub
from hub.kernel import db, store, webhooks
from hub.kernel.embedded import die_with_parent
from hub.kernel.settings import settings
from hub.kernel.webhook_lanes import AT_ONCE

MESSAGES = 6_000
PIECE = 500  # told in one transaction
TARGET = 900.0


@contextlib.contextmanager
def receiver() -> Iterator[str]:
    """A mall's address in a process of its own; GET tells how many different messages it has."""
    child = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.webhooks"], stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent
    )
    try:
        assert child.stdout is not None
        yield child.stdout.readline().strip()
    finally:
        child.terminate()
        child.wait()


async def serve() -> None:
    """The receiver's process."""
    seen: set[str] = set()

    async def take(request: web.Request) -> web.Response:
        await request.read()
        seen.add(request.headers["webhook-id"])
        return web.Response(status=204)

    async def count(_request: web.Request) -> web.Response:
        return web.Response(text=str(len(seen)))

    app = web.Application()
    app.router.add_post("/hook", take)
    app.router.add_get("/", count)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


async def run() -> list[dict[str, Any]]:
    """The rows of this benchmark."""
    with receiver() as address, own_hub(SUPPLYHUB_EGRESS_ALLOW=address) as hub:
        db.connect(hub.urls.database, settings())
        async with db.uow() as tx:
            mall = await store.add_mall(tx, "bench")
            await webhooks.add_endpoint(tx, f"mall:{mall}", f"http://{address}/hook", [], "")
        data = {"order_id": "ord_" + "0" * 32, "status": "placed", "lines": [{"line_no": 1, "status": "placed"}]}
        for _ in range(MESSAGES // PIECE):
            async with db.uow() as tx:
                for _ in range(PIECE):
                    await webhooks.announce(tx, f"mall:{mall}", "order.updated", data)
        async with aiohttp.ClientSession() as session:
            before, began = await _count(session, address), time.perf_counter()
            while (now := await _count(session, address)) < MESSAGES:
                assert time.perf_counter() - began < 120, f"{now} of {MESSAGES} came"
                await asyncio.sleep(0.05)
            rate = (MESSAGES - before) / (time.perf_counter() - began)
            limit = await _bare(session, address)
        await db.disconnect()
    name = f"the same bytes by a bare client, {AT_ONCE} at once"
    return [at_least("webhooks: signed messages taken", rate, "messages/s", TARGET, limit, name).as_json()]


async def _count(session: aiohttp.ClientSession, address: str) -> int:
    async with session.get(f"http://{address}/") as answer:
        return int(await answer.text())


async def _bare(session: aiohttp.ClientSession, address: str) -> float:
    body = orjson.dumps({"type": "order.updated", "data": {"order_id": "ord_" + "0" * 32, "status": "placed"}})
    numbers = iter(range(MESSAGES))

    async def lane() -> None:
        for number in numbers:
            headers = {"webhook-id": f"bare_{number}", "content-type": "application/json"}
            async with session.post(f"http://{address}/hook", data=body, headers=headers) as answer:
                assert answer.status == 204

    began = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(AT_ONCE)))
    return MESSAGES / (time.perf_counter() - began)


if __name__ == "__main__":
    asyncio.run(serve())
