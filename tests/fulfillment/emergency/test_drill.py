"""The demo's drill keeps its promises; here with few suppliers and sites, on the application without its processes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from fulfillment.emergency import api as emergency
from hub.app.demo import drill
from hub.app.demo.scene import Role
from tests.fulfillment.emergency.kit import Stage


@dataclass
class Scene:
    """As much of the demo's stage as the drill needs."""

    base_url: str
    staff: Role
    second: Role

    async def second_staff(self) -> Role:
        return self.second


@contextlib.asynccontextmanager
async def working() -> AsyncIterator[None]:
    """A worker that solves plans."""

    async def work() -> None:
        while True:
            await emergency.solve_due()
            await asyncio.sleep(0.05)

    task = asyncio.create_task(work())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_the_drill_keeps_its_promises(played: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drill, "UNITS", 2_400)
    monkeypatch.setattr(drill, "SUPPLIERS", 8)
    monkeypatch.setattr(drill, "TIERS", ((0, "医院", 6, 80), (1, "养老院", 10, 60), (2, "小区", 40, 40)))
    malls = [await played.mall("one"), await played.mall("two")]
    url = str(played.client.make_url("")).rstrip("/")

    def role(headers: dict[str, str]) -> Role:
        return Role(url, headers["Authorization"].removeprefix("Bearer "))

    roles = [role(played.staff["a"]), role(played.staff["b"]), *(role(played.malls[mall]) for mall in malls)]
    scene: Any = Scene(url, roles[0], roles[1])
    try:
        async with working():
            found = await drill.play(scene, roles[2:], print)
    finally:
        for one in roles:
            await one.http.aclose()
    assert all(found.promises.values()), found.promises
    assert (found.units, found.sites, found.suppliers) == (2_400, 56, 8)
    assert 0 < found.allotted <= 2_400 and found.worst_share["fair"] >= found.worst_share["first come"]
    await played.sound()
