"""The vendors' side of a stage, as the fault tests use it: shops full of goods, and what the shops themselves count,
read over their own interface."""

from __future__ import annotations

from typing import Any

import httpx

from hub.app.demo.scene import Role, Scene, until
from tests.chaos import ground

PLENTY = 50_000


async def open_shops(on: Scene, *vendors: str) -> None:
    """Connect those of the shops that the stage does not have yet, fill their shelves, and pull them all. What earlier
    tests ordered is answered before that."""
    await until_settled()
    if new := [name for name in vendors if name not in on.connections]:
        await on.connect(*new)
    for vendor in vendors:
        await on.play("fill", vendor=vendor, on_hand=PLENTY)
    await on.pull(*vendors)


async def until_settled(timeout_s: float = 120) -> None:
    """Wait until no event is undelivered and no order waits for a vendor. Raises Misconfigured when that lasts."""

    async def settled() -> bool:
        return await ground.count(_OPEN) == 0

    await until(settled, "the last vendor's answer", timeout_s, pause_s=0.3)


_OPEN = """
SELECT (SELECT count(*) FROM orders WHERE status = 'placed') + (SELECT count(*) FROM outbox WHERE status = 0)
"""


async def products(on: Scene, vendor: str) -> list[dict[str, Any]]:
    """All products that a shop sells, as it shows them itself."""
    found: list[dict[str, Any]] = []
    async with shop(on, vendor) as client:
        while True:
            page = await client.get("/products", params={"per_page": 100, "page": len(found) // 100 + 1})
            page.raise_for_status()
            found += page.json()
            if len(page.json()) < 100:
                return found


async def units(on: Scene, *vendors: str) -> int:
    """Units that stand in these shops by their own count."""
    shelves = [await products(on, name) for name in vendors]
    return sum(product["stock_quantity"] or 0 for shelf in shelves for product in shelf)


def shop(on: Scene, vendor: str) -> httpx.AsyncClient:
    """A client of one shop's REST API, with the shop's own key."""
    stand = on.vendors[vendor]
    return httpx.AsyncClient(
        base_url=f"{stand.config['base_url']}/wp-json/wc/v3",
        auth=(stand.secrets["consumer_key"], stand.secrets["consumer_secret"]),
        timeout=30,
        trust_env=False,
    )


async def orderable(mall: Role, at_least: int = 50) -> list[str]:
    """Products of which that many units can be ordered."""
    page = await mall.get("/v1/products", in_stock="true", kind="goods", limit=60)
    return [item["id"] for item in page["items"] if (item["available"] or 0) >= at_least]
