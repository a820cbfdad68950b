"""A process killed between any two steps of a plan leaves nothing half done: what it began is undone or finished by the
next one, and every site is sent to exactly once."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from fulfillment.emergency import api as emergency
from fulfillment.emergency import dispatch
from hub.kernel import db
from tests.fulfillment.emergency.kit import Stage

POINTS = {
    "emergency.plan_solved": "solve",
    "emergency.fence_opened": "commit",
    "uow.after_commit": "commit",
    "emergency.batch_ordered": "send",
    "emergency.batch_sent": "send",
}


async def killed(step: str, point: str, plan_id: int) -> int:
    """The exit code of a process that dies at `point` of a step."""
    arguments = (db.database().url, step, str(plan_id), "1")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.fulfillment.emergency.crash_worker", *arguments,
        env={**os.environ, "SUPPLYHUB_FAILPOINT": point}, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    return await process.wait()


async def as_far_as(played: Stage, incident: int, step: str) -> dict[str, Any]:
    """A plan that waits for `step`."""
    if step == "solve":
        plan: dict[str, Any] = await played.good("POST", f"/incidents/{incident}/plans")
        return plan
    return await (played.approved(incident) if step == "commit" else played.committed(incident))


@pytest.mark.chaos
async def test_a_process_killed_at_any_step_sends_to_every_site_exactly_once(
    played: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    mall = await played.mall("company")
    monkeypatch.setattr(dispatch, "SITES", 2)
    for point, step in POINTS.items():
        number = (await played.incident())["id"]
        await played.supplier(number, 6, 6)
        lines = [played.verified(f"楼{n}", 2, mall_id=mall) for n in range(5)]
        assert (await played.enter(number, *lines))["accepted"] == 5
        plan = await as_far_as(played, number, step)
        assert await killed(step, point, plan["id"]) == -signal.SIGKILL, f"{point} was not reached"
        await played.sound()
        # whoever comes next; a dead solver's lease runs out
        await played.value("UPDATE emergency_plans SET lease_until = now() WHERE lease_until IS NOT NULL RETURNING 1")
        await emergency.solve_due()
        if step == "solve":
            for who in ("a", "b"):
                await played.good("POST", f"/plans/{plan['id']}/approve", played.staff[who])
        await played.good("POST", f"/plans/{plan['id']}/commit")
        await played.sound()
        await played.work()
        await played.sound()
        figures = await played.figures(number)
        assert sum(tier["ordered"] for tier in figures["tiers"]) == 10, point
        orders = await played.value("SELECT count(*) FROM orders WHERE mall_order_no LIKE $1", f"INC{number}-%")
        units = await played.value(
            "SELECT sum(l.quantity) FROM order_lines l JOIN orders o ON o.id = l.order_id "
            "WHERE o.mall_order_no LIKE $1",
            f"INC{number}-%",
        )
        assert (orders, units) == (5, 10), point
        assert figures["stock"][0]["fenced"] == 2
        await played.good("POST", f"/incidents/{number}/close")
        await played.sound()
