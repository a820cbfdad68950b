"""From a mall's order to a FHIR server and back: the real connector, its sandbox, and no played part between them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from catalog import api as catalog
from connectors import api as connectors
from connectors import guards
from connectors.fhir_clinic.sandbox import FhirSandbox
from connectors.kit_stage import reachable
from hub.kernel import clock, db
from hub.kernel.db import uow
from orders import api
from tests.orders.test_ordering import code
from tests.orders.world import World, serving


@pytest.fixture
async def clinic(database: db.Database) -> AsyncIterator[FhirSandbox]:
    start = (clock.now() + timedelta(days=3)).replace(minute=0, second=0, microsecond=0)
    slots: list[dict[str, Any]] = [
        {
            "id": f"s{n}",
            "service": "a",
            "start": start + timedelta(hours=n),
            "end": start + timedelta(hours=n, minutes=30),
        }
        for n in range(1, 6)
    ]
    sandbox = FhirSandbox([{"id": "a", "name": "体检", "price": "100.00", "city": "上海"}], slots)
    await sandbox.start()
    with reachable(sandbox):
        yield sandbox
    await sandbox.stop()
    guards.forget()


async def test_hold_book_move_and_cancel_at_a_fhir_server(clinic: FhirSandbox, tmp_path: Path) -> None:
    config, secrets = clinic.connection()
    async with uow() as tx:
        vendor = await connectors.add_vendor(tx, "诊所")
        connection = await connectors.add_connection(
            tx, vendor_id=vendor, connector="fhir_clinic", name="clinic", config=config, secrets=secrets
        )
    assert (await catalog.sync(connection, kind="full")).created == 1
    async with serving() as client:
        world = World(client, tmp_path / "clock")
        mall, rival = await world.mall(), await world.mall("rival")
        slots = {
            row["slot_ref"]: f"slt_{row['id']}"
            for row in await _rows("SELECT id, slot_ref FROM catalog_slots ORDER BY start_at")
        }

        def status(number: str) -> str:
            return str(clinic.slot(number)["status"])

        held = await world.placed(mall, [{"slot_id": slots["Slot/s2"]}], mode="reserve")
        assert status("s2") == "busy-tentative"
        answer, problem = await world.order(rival, [{"slot_id": slots["Slot/s2"]}])
        assert (answer, code(problem)) == (409, "slot_taken")
        assert {one["slot_id"] for one in problem["facts"]["alternatives"][:2]} == {slots["Slot/s1"], slots["Slot/s3"]}
        await world.post(mall, f"/orders/{held['id']}/confirm")
        await world.work()
        assert status("s2") == "busy"
        await clinic_sells_elsewhere(clinic, "s3")
        body = {"line_no": 1, "slot_id": slots["Slot/s3"]}
        answer, problem = await world.post(mall, f"/orders/{held['id']}/reschedule", body)
        assert (answer, code(problem)) == (409, "slot_taken") and status("s2") == "busy"
        body = {"line_no": 1, "slot_id": slots["Slot/s4"]}
        answer, _ = await world.post(mall, f"/orders/{held['id']}/reschedule", body)
        assert answer == 200 and (status("s2"), status("s4")) == ("busy", "busy-tentative")
        await world.work(2)
        assert (status("s2"), status("s4")) == ("free", "busy")
        await world.post(mall, f"/orders/{held['id']}/cancel")
        await world.work()
        await api.let_go_due()
        assert [status(f"s{n}") for n in (1, 2, 3, 4, 5)] == ["free", "free", "busy", "free", "free"]
        abandoned = await world.placed(mall, [{"slot_id": slots["Slot/s5"]}], mode="reserve")
        await world.post(mall, f"/orders/{abandoned['id']}/cancel")
        await api.let_go_due()
        assert status("s5") == "free"
        await world.sound()


async def clinic_sells_elsewhere(clinic: FhirSandbox, number: str) -> None:
    """The clinic's own desk books a slot; no pull has told us."""
    clinic._store["Slot"][number]["status"] = "busy"


async def _rows(sql: str) -> list[Any]:
    async with uow() as tx:
        return list(await tx.fetch(sql))
