"""64 posts of one Idempotency-Key at the same moment, against the two web processes of a running hub: one order, every
answer the same bytes, another body under the same key refused with 422, and while the first is still running 409.

A few of the 64 carry another body, so that either may be first; whichever it is, the other must never have an effect.
What happened is counted in the tables: orders, their lines' quantities, and what the shelf holds for them."""

from __future__ import annotations

import asyncio
import json
import random
import uuid
from collections import Counter

import aiohttp

from hub.app.assortment import SHOP
from hub.app.demo.scene import Role, Scene
from hub.app.demo.story import SHIP_TO
from tests.chaos import ground, progress, street

FULL, SMALL = 200, 8
POSTS = 64
STRANGERS = 4  # of the posts, with another body
PATIENCE_S = 60


async def run(n: int) -> dict[str, int]:
    """`n` keys."""
    async with ground.stage() as stage:
        await street.open_shops(stage, SHOP)
        mall = await stage.mall(f"幂等 {uuid.uuid4().hex[:6]}")
        test = _Test(stage, mall)
        timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
        async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=POSTS)) as test.session:
            for number in range(n):
                await test.one_key(number)
                progress.report("keys", number + 1, n)
        effects = await test.effects(n)
        return {"n": n, "violations": test.wrong_answers + effects, **test.statuses}


class _Test:
    session: aiohttp.ClientSession

    def __init__(self, stage: Scene, mall: Role) -> None:
        self.url = f"{stage.hub.base_url}/v1/orders"
        self.authorization = mall.http.headers["Authorization"]
        self.run_id = uuid.uuid4().hex[:8]
        self.wrong_answers = 0
        self.statuses: dict[str, int] = {"answered_409_first": 0, "replayed": 0, "refused_422": 0}
        self.won: dict[str, int] = {}  # order number -> the quantity that was answered with 201
        self.mall = mall
        self.products: list[str] = []

    async def one_key(self, number: int) -> None:
        if not self.products:
            self.products = await street.orderable(self.mall, at_least=1000)
        name = f"I{self.run_id}-{number}"
        line = {"product_id": self.products[number % len(self.products)], "qty": 1}
        body = {"mall_order_no": name, "mode": ("reserve", "place")[number % 2], "ship_to": SHIP_TO, "lines": [line]}
        other = {**body, "lines": [{**line, "qty": 2}]}
        bodies = [json.dumps(each).encode() for each in [body] * (POSTS - STRANGERS) + [other] * STRANGERS]
        random.Random(number).shuffle(bodies)
        answers = await asyncio.gather(*(self.post(name, raw) for raw in bodies))
        made = Counter((raw, answer) for raw, (status, answer) in zip(bodies, answers, strict=True) if status == 201)
        if len(made) != 1:  # nobody was answered, or two bodies, or two answers
            self.wrong_answers += max(1, len(made) - 1)
            return
        [((winner, answered), times)] = made.items()
        self.won[name] = json.loads(winner)["lines"][0]["qty"]
        losers = [status for raw, (status, _) in zip(bodies, answers, strict=True) if raw != winner]
        self.wrong_answers += times != bodies.count(winner)
        self.wrong_answers += sum(status != 422 for status in losers)
        self.statuses["replayed"] += times - 1
        self.statuses["refused_422"] += len(losers)
        late = await self.post(name, winner), await self.post(name, winner + b"\n")
        self.wrong_answers += (late[0] != (201, answered)) + (late[1][0] != 422)

    async def post(self, key: str, raw: bytes) -> tuple[int, bytes]:
        """Post until the key is no longer in flight."""
        headers = {"Authorization": self.authorization, "Idempotency-Key": key, "Content-Type": "application/json"}
        while True:
            async with self.session.post(self.url, data=raw, headers=headers) as answer:
                told = await answer.read()
            if answer.status != 409 or b"key_in_flight" not in told:
                return answer.status, told
            self.statuses["answered_409_first"] += 1
            await asyncio.sleep(0.02 + random.random() / 10)

    async def effects(self, n: int) -> int:
        """Orders that are missing, doubled, or hold another quantity than was answered."""
        rows = await ground.rows(
            "SELECT o.mall_order_no AS name, count(DISTINCT o.id) AS orders, sum(l.quantity)::int AS units, "
            "coalesce(sum(h.quantity), 0)::int AS held FROM orders o JOIN order_lines l ON l.order_id = o.id "
            "LEFT JOIN catalog_holds h ON h.id = l.hold_id WHERE o.mall_order_no LIKE $1 GROUP BY 1",
            f"I{self.run_id}-%",
        )
        found = {row["name"]: row for row in rows}
        wrong = n - len(found)
        for name, row in found.items():
            wrong += row["orders"] != 1 or row["units"] != self.won.get(name) or row["held"] != row["units"]
        return wrong + await ground.count(_UNCLAIMED)


# Holds on the shelf that no line of any order speaks of: what a second, unanswered effect would leave behind.
_UNCLAIMED = """
SELECT count(*) FROM catalog_holds h WHERE h.state IN ('held', 'accepted')
  AND NOT EXISTS (SELECT 1 FROM order_lines l WHERE l.hold_id = h.id)
"""
