"""A worker killed between any two steps of placing and fail-over leaves exactly one order at the vendor."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from hub.kernel import db
from orders import placing
from tests.orders.crash_worker import FileVendor
from tests.orders.test_placing import line, two_vendors
from tests.orders.world import World

POINTS = (
    "outbox.claimed",
    "outbox.handled",
    "uow.before_commit",
    "uow.after_commit",
    "orders.attempt_recorded",
    "orders.attempt_claimed",
    "orders.vendor_called",
    "orders.outcome_recorded",
    "orders.next_offer_reserved",
)


async def run_worker(folder: Path, failpoint: str) -> int:
    """The exit code of a worker that dies at `failpoint`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.orders.crash_worker", db.database().url, str(folder),
        env={**os.environ, "SUPPLYHUB_FAILPOINT": failpoint}, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    return await process.wait()


@pytest.mark.chaos
@pytest.mark.parametrize("point", POINTS)
async def test_a_worker_killed_at_any_step_buys_exactly_once(world: World, tmp_path: Path, point: str) -> None:
    mall, product, cheap, dear = await two_vendors(world)
    order = await world.placed(mall, [line(product, 2)])
    assert await run_worker(tmp_path, point) == -signal.SIGKILL, "the point was not reached"
    world.vendors = {number: FileVendor(tmp_path / f"vendor{number}", number != 1) for number in (1, 2)}
    await world.settle(6, step=placing.LEASE_S + 60)
    bought = (tmp_path / "vendor2").read_text().split()
    seen = await world.see(mall, order["id"])
    assert seen["status"] == "accepted"
    assert bought == [seen["purchase_orders"][-1]["number"]]
    assert (await world.reserved(cheap), await world.reserved(dear)) == (0, 2)
    await world.sound()
