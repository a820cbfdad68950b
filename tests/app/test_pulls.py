"""Promises of the bulkhead between vendors: one that hangs, drips or fails costs its own place and nobody else's."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from catalog import ingest
from connectors import api as connectors
from connectors import guards
from connectors.kit_stage import reachable
from connectors.sandbox_kit import Faults
from connectors.woocommerce.sandbox import WooSandbox
from hub.app import pulls
from hub.app.broker import QUEUES, queue_of
from hub.app.pulls import UNWELL, WELL
from hub.app.wiring import TASKS
from hub.kernel import clock
from hub.kernel.db import Database, uow
from hub.kernel.errors import Retry


def due(*failures: int) -> list[connectors.Due]:
    return [connectors.Due(n, failed) for n, failed in enumerate(failures, 1)]


@pytest.fixture
def syncing(monkeypatch: pytest.MonkeyPatch) -> dict[int, asyncio.Event]:
    """Pulls that last until their event is set."""
    events: dict[int, asyncio.Event] = {}

    async def sync(connection_id: int) -> Any:
        await events.setdefault(connection_id, asyncio.Event()).wait()
        raise Retry("done")

    monkeypatch.setattr(pulls.catalog.api, "sync", sync)
    return events


async def test_vendors_that_failed_last_time_share_a_few_places_and_leave_the_rest(
    syncing: dict[int, asyncio.Event],
) -> None:
    mine = pulls.places(pulls._pull)
    unwell = [connectors.Due(n, 3) for n in range(UNWELL * 3)]
    well = [connectors.Due(1000 + n, 0) for n in range(WELL + 5)]
    assert mine.begin(unwell) == UNWELL
    assert mine.begin(well) == WELL, "however many are down, the healthy find room"
    assert mine.begin([*unwell, *well]) == 0, "what runs is not started twice"
    await asyncio.sleep(0)
    syncing[0].set()
    syncing[1000].set()
    await asyncio.sleep(0.01)
    assert mine.begin([*unwell, *well]) == 2
    await mine.stop()
    assert mine.running == {}


async def test_a_pull_that_is_broken_off_is_resumed_at_once(database: Database) -> None:
    async with shops(1) as (made, [connection_id]):
        made[0].faults.hang = True
        mine = pulls.places(pulls._pull)
        mine.begin([connectors.Due(connection_id, 0)])
        await until(lambda: made[0]._requests > 0)
        await mine.stop()
        made[0].faults.hang = False
        async with uow() as tx:
            assert [d.connection_id for d in await connectors.due_connections(tx)] == [connection_id]
        outcome = await ingest.sync(connection_id)
        assert outcome.complete and outcome.created == 30


@pytest.mark.parametrize("fault", [Faults(hang=True), Faults(drip_s=600), Faults(every=1)])
async def test_the_breaker_opens_within_ten_seconds(database: Database, fault: Faults) -> None:
    async with shops(1, timeout_s=2.0) as (made, [connection_id]):
        made[0].faults = fault
        started = time.monotonic()
        async with connectors.open_connector(connection_id) as connector:
            guard = connector.call.guard()
            while not guard.is_open and time.monotonic() - started < 15:
                with contextlib.suppress(Retry):
                    async for _page in connector.pull(None):
                        pass
            assert guard.is_open and time.monotonic() - started < 10
            with pytest.raises(Retry) as refused:
                await connector.call.get("/wp-json/wc/v3/products")
            assert refused.value.code == "breaker_open"


async def test_a_vendor_that_hangs_delays_nobody_else(database: Database) -> None:
    async with shops(6) as (made, ids):
        for shop in made[:3]:
            shop.faults.hang = True
        assert await pulls.pull_due() == 6
        await until(lambda: len(pulls.pulls().running) <= 3)
        async with uow() as tx:
            done = await tx.fetch("SELECT connection_id FROM sync_runs WHERE status = 'done' ORDER BY 1")
        assert [row[0] for row in done] == ids[3:]
        await pulls.stop_pulls()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - nobody sets an event for what is waited for
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def shops(count: int, timeout_s: float | None = None) -> AsyncIterator[tuple[list[WooSandbox], list[int]]]:
    """Running shops of 30 products, each with a live connection."""
    made = [
        WooSandbox({"sku": f"S{n}-{i}", "name": f"商品{i}", "price": "9.90", "stock": 5} for i in range(30))
        for n in range(count)
    ]
    for shop in made:
        await shop.start()
    ids = []
    try:
        with reachable(*made), patience(timeout_s):
            for n, shop in enumerate(made):
                async with uow() as tx:
                    vendor = await connectors.add_vendor(tx, f"店{n}-{clock.now().timestamp()}")
                    ids.append(
                        await connectors.add_connection(
                            tx, vendor_id=vendor, connector="woocommerce", name="shop",
                            config={"base_url": shop.base_url, "per_page": 10}, secrets=shop.credentials(),
                        )
                    )  # fmt: skip
            yield made, ids
    finally:
        await pulls.stop_pulls()
        for shop in made:
            await shop.stop()
        guards.forget()


@contextlib.contextmanager
def patience(timeout_s: float | None) -> Any:
    """WooCommerce's manifest with another time-out."""
    if timeout_s is None:
        yield
        return
    from connectors import manifest

    described = manifest.manifest_of("woocommerce")
    changed = described.model_copy(update={"http": described.http.model_copy(update={"timeout_s": timeout_s})})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest, "manifest_of", lambda _name: changed)
        patch.setattr(manifest, "load", lambda _folder: changed)
        yield


def test_every_task_is_sent_to_the_queue_that_it_declares() -> None:
    declared = {name: task.queue for name, task in TASKS.items()}
    assert {name: queue_of(name) for name in declared} == declared and set(declared.values()) == set(QUEUES)
