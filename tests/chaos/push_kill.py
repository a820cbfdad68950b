"""`kill -9` of a web or worker process every second while a vendor pushes stock: nothing that was acknowledged is lost,
nothing counts twice, and a minute after the last kill everything has been worked off.

Nine of ten updates come through `POST /v1/vendor/stock` (JSON, gzip and NDJSON), where the answer means durable; every
tenth is a signed webhook of the shop, where the answer means stored and a worker applies it later. Each update of a
SKU has a figure of its own, so the ledger, added up, tells which update made which figure: each at most once, in
rising order, the last one standing."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hmac
import json
import random
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import aiohttp

from hub.app.assortment import SHOP
from hub.app.demo.scene import Scene
from hub.kernel import clock
from tests.chaos import ground, progress, street
from tests.chaos.killer import WEB, WEB_MASTER, killing, wait_turn

FULL, SMALL = 20_000, 1_000
LANES = 6
BATCH = 12  # updates a request, at most
DRAIN_LIMIT_S = 60.0
VICTIMS = (WEB, "flow-1", WEB, "flow-2", WEB, "flow-1", WEB_MASTER, "flow-2")


class Update(NamedTuple):
    """The vendor's `version`-th word about a SKU."""

    sku: str
    version: int

    @property
    def figure(self) -> int:
        """On hand as of this update: no two of one SKU are equal, and none is what the shop began with."""
        return 1_000_000 + self.version * 7919 % 999_983


async def run(n: int) -> dict[str, int]:
    """`n` updates."""
    async with ground.stage() as stage:
        await street.open_shops(stage, SHOP)
        test = _Test(stage, n)
        await test.prepare()
        async with killing(stage, *VICTIMS) as killer:
            await test.push()
        stopped = time.monotonic()
        await street.until_settled(timeout_s=300)
        drained = time.monotonic() - stopped
        lost, doubled = await test.judge()
        return {
            "n": n,
            "violations": lost + doubled + await ground.drift() + (drained > DRAIN_LIMIT_S),
            "kills": killer.kills,
            "lost": lost,
            "doubled": doubled,
            "sent_again": test.sent_again,
            "drained_ms": round(1000 * drained),
        }


class _Test:
    session: aiohttp.ClientSession

    def __init__(self, stage: Scene, n: int) -> None:
        self.stage = stage
        self.n = n
        self.rng = random.Random(n)
        self.sent_again = 0
        self.acknowledged = 0
        self.results: dict[Update, str] = {}

    async def prepare(self) -> None:
        """Decide what the vendor will say, and in which order."""
        self.key = (await self.stage.vendor(SHOP)).http.headers["Authorization"]
        self.connection_id = self.stage.connections[SHOP]
        products = [p for p in await street.products(self.stage, SHOP) if p["sku"] and p["stock_quantity"] is not None]
        rows = await ground.rows(
            "SELECT vendor_sku FROM catalog_listings WHERE connection_id = $1 AND active", self.connection_id
        )
        listed = {row["vendor_sku"] for row in rows}
        self.products = {p["sku"]: p for p in products if p["sku"] in listed}
        skus = sorted(self.products)
        hooked = skus[: max(1, len(skus) // 4)]
        webhooks = max(1, self.n // 10)
        self.webhooks = self._story(hooked, webhooks)
        self.updates = self._story(skus[len(hooked) :], self.n - webhooks)
        # Webhooks carry the vendor's own time, in seconds: room for as many as there are between the pull and now.
        self.hooks_from = clock.now()
        await self.stage.move_clock(hours=20)
        self.first_movement = await ground.count("SELECT coalesce(max(id), 0) FROM catalog_movements")
        self.first_landing = await ground.count("SELECT coalesce(max(id), 0) FROM inbox")

    def _story(self, skus: Sequence[str], count: int) -> list[Update]:
        """`count` updates, each SKU's from old to new, then mixed up within short stretches as networks do."""
        told = [Update(skus[k % len(skus)], 1 + k // len(skus)) for k in range(count)]
        for start in range(0, len(told), 30):
            stretch = told[start : start + 60]
            self.rng.shuffle(stretch)
            told[start : start + 60] = stretch
        return told

    async def push(self) -> None:
        """Send everything, each piece until it is acknowledged."""
        jobs: list[Callable[[], Coroutine[Any, Any, None]]] = []
        start = 0
        while start < len(self.updates):
            piece = self.updates[start : start + self.rng.randint(1, BATCH)]
            start += len(piece)
            jobs.append(lambda piece=piece: self.report(piece))  # type: ignore[misc]
        jobs += [lambda hook=hook: self.announce(hook) for hook in self.webhooks]  # type: ignore[misc]
        self.rng.shuffle(jobs)
        todo = iter(enumerate(jobs))
        started = time.monotonic()

        async def lane() -> None:
            for number, job in todo:
                await wait_turn(started, number, len(jobs))
                await job()
                progress.report("updates acknowledged", self.acknowledged, self.n)

        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as self.session:
            await asyncio.gather(*(lane() for _ in range(LANES)))

    async def report(self, piece: list[Update]) -> None:
        """One request of the vendor's own program."""
        items = [{"sku": update.sku, "on_hand": update.figure, "version": update.version} for update in piece]
        headers = {"Authorization": self.key, "Content-Type": "application/json"}
        form = self.rng.randrange(3)
        if form == 0:
            headers["Content-Type"] = "application/x-ndjson"
            body = b"".join(json.dumps(item).encode() + b"\n" for item in items)
        else:
            body = json.dumps({"updates": items}).encode()
        if form == 1:
            headers["Content-Encoding"] = "gzip"
            body = gzip.compress(body)
        told = await self.until_acknowledged("/v1/vendor/stock", headers, body)
        for update, result in zip(piece, told["results"], strict=True):
            self.results[update] = result["result"] if result["sku"] == update.sku else "answered for another"
        self.acknowledged += len(piece)

    async def announce(self, update: Update) -> None:
        """One webhook of the shop, signed as WooCommerce signs."""
        modified = self.hooks_from + timedelta(seconds=update.version)
        told = modified.replace(tzinfo=None, microsecond=0).isoformat()
        product = {**self.products[update.sku], "stock_quantity": update.figure, "stock_status": "instock"}
        body = json.dumps({**product, "date_modified": told, "date_modified_gmt": told}).encode()
        secret = self.stage.vendors[SHOP].secrets["webhook_secret"]
        headers = {
            "Content-Type": "application/json",
            "X-WC-Webhook-Topic": "product.updated",
            "X-WC-Webhook-Delivery-ID": uuid.uuid4().hex,
            "X-WC-Webhook-Signature": base64.b64encode(hmac.digest(secret.encode(), body, "sha256")).decode(),
        }
        await self.until_acknowledged(f"/v1/push/{self.connection_id}", headers, body)
        self.acknowledged += 1

    async def until_acknowledged(self, path: str, headers: dict[str, str], body: bytes) -> dict[str, Any]:
        """Send again and again, as a careful client does."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                async with self.session.post(self.stage.hub.base_url + path, data=body, headers=headers) as answer:
                    if answer.status == 200:
                        return dict(await answer.json())
                    told = await answer.text()
                if answer.status < 500 and answer.status != 429:
                    raise AssertionError(f"{path} answered {answer.status}: {told[:300]}")
            except (aiohttp.ClientError, TimeoutError):
                pass
            self.sent_again += 1
            await asyncio.sleep(0.05 + self.rng.random() / 5)
        raise AssertionError(f"{path} was not acknowledged within two minutes")

    async def judge(self) -> tuple[int, int]:
        """(updates lost, updates with a second or a made-up effect), from the ledger's own sums."""
        sent: dict[str, list[int]] = defaultdict(list)
        for update in [*self.updates, *self.webhooks]:
            sent[update.sku].append(update.version)
        effects: dict[str, list[int]] = {sku: [] for sku in sent}
        for row in await ground.rows(_FIGURES, self.connection_id, self.first_movement):
            effects.setdefault(row["sku"], []).append(row["figure"])
        lost = doubled = 0
        took_effect: set[Update] = set()
        for sku, figures in effects.items():
            version_of = {Update(sku, version).figure: version for version in sent.get(sku, ())}
            versions = [version_of.get(figure, 0) for figure in figures]
            took_effect |= {Update(sku, version) for version in versions}
            doubled += sum(b <= a for a, b in zip([0, *versions], versions, strict=False))
            lost += not versions or versions[-1] != max(sent.get(sku, [0]))
        for update in self.updates:
            lost += not _is_true(
                self.results.get(update), update in took_effect, update.version < max(sent[update.sku])
            )
        landed = await ground.count(
            "SELECT count(*) FROM inbox WHERE connection_id = $1 AND id > $2", self.connection_id, self.first_landing
        )
        lost += max(0, len(self.webhooks) - landed)
        doubled += max(0, landed - len(self.webhooks))
        lost += await ground.count("SELECT count(*) FROM outbox WHERE status = 2")
        return lost, doubled


def _is_true(result: str | None, took_effect: bool, newer_exists: bool) -> bool:
    """Whether the vendor was answered the truth about an update."""
    return took_effect if result in ("applied", "unchanged") else result == "stale" and newer_exists


_FIGURES = """
SELECT sku, figure FROM (
  SELECT l.vendor_sku AS sku, m.id, m.on_hand_change,
    sum(m.on_hand_change) OVER (PARTITION BY m.listing_id, m.location ORDER BY m.id) AS figure
  FROM catalog_movements m JOIN catalog_listings l ON l.id = m.listing_id WHERE l.connection_id = $1) AS told
WHERE id > $2 AND on_hand_change <> 0 ORDER BY id
"""
