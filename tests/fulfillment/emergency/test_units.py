"""Units add up through the whole life of incidents, whatever happens in whatever order."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fulfillment.emergency import api as emergency
from tests.fulfillment.emergency.kit import Stage

STEPS = 45


class Life:
    """Two incidents and a random hand."""

    def __init__(self, played: Stage, seed: int) -> None:
        self.played = played
        self.rng = random.Random(seed)
        self.open: list[int] = []
        self.supplies: list[dict[str, Any]] = []
        self.plans: list[int] = []
        self.malls: list[int] = []
        self.vendors: dict[int, dict[str, str]] = {}
        self.done: dict[str, int] = {}

    def incident(self) -> int:
        return self.rng.choice(self.open)

    async def supplier(self) -> None:
        stock = [self.rng.randint(1, 30) for _ in range(self.rng.randint(1, 3))]
        made = await self.played.supplier(self.incident(), *stock, each=self.rng.choice((1, 1, 4)))
        self.supplies += made["supplies"]
        self.vendors[made["vendor_id"]] = await self.played.key("vendor", made["vendor_id"])

    async def ask(self) -> None:
        mall = self.rng.choice((None, *self.malls))
        sites = [f"楼{self.rng.randint(1, 8)}" for _ in range(3)]
        lines = [
            self.played.verified(f"{site} of {mall}", self.rng.randint(0, 40), self.rng.randint(0, 2), 15, mall_id=mall)
            for site in sites
        ]
        await self.played.enter(self.incident(), *lines, amend=self.rng.random() < 0.6)

    async def report(self) -> None:
        if self.supplies:
            one = self.rng.choice(self.supplies)
            await self.played.report(one["listing_id"], self.rng.randint(0, 40), one["location"])

    async def order(self) -> None:
        if self.supplies:
            one = self.rng.choice(self.supplies)
            await self.played.order(self.rng.choice(self.malls), one["listing_id"], self.rng.randint(1, 5))

    async def plan(self) -> None:
        status, plan = await self.played.call("POST", f"/incidents/{self.incident()}/plans")
        assert status == 202
        await emergency.solve_due()
        self.plans.append(plan["id"])
        for who in ("a", "b"):
            await self.played.good("POST", f"/plans/{plan['id']}/approve", self.played.staff[who])

    async def commit(self) -> None:
        if self.plans:
            plan = self.rng.choice(self.plans[-3:])
            status, answer = await self.played.call("POST", f"/plans/{plan}/commit")
            assert status in (200, 409), answer
            self.note(f"commit {status}")
            if status == 409 and answer.get("facts", {}).get("plan"):
                await emergency.solve_due()

    async def answer(self) -> None:
        """A vendor accepts, refuses, or (later) withdraws."""
        for vendor in self.vendors.values():
            for po in (await self.played.good("GET", "/vendor/orders?limit=200", vendor))["items"]:
                how = self.rng.choice(("accept", "reject", "cancel", "nothing"))
                if how == "nothing" or po["status"] not in ("awaiting_vendor", "accepted"):
                    continue
                body = None if how == "accept" else {"reason": "no", "out_of_stock": self.rng.random() < 0.5}
                status, _ = await self.played.call("POST", f"/vendor/orders/{po['id']}/{how}", vendor, body)
                self.note(f"{how} {status}")

    async def cancel(self) -> None:
        mall = self.rng.choice(self.malls)
        for order in (await self.played.good("GET", "/orders?limit=200", self.played.malls[mall]))["items"]:
            if self.rng.random() < 0.3:
                await self.played.call("POST", f"/orders/{order['id']}/cancel", self.played.malls[mall])

    async def work(self) -> None:
        await self.played.work()

    async def close(self) -> None:
        if len(self.open) > 1 and self.rng.random() < 0.3:
            number = self.open[0]
            await self.played.work()
            await self.played.good("POST", f"/incidents/{number}/close")
            self.open.remove(number)

    def note(self, what: str) -> None:
        self.done[what] = self.done.get(what, 0) + 1

    async def live(self) -> None:
        hands: list[Callable[[], Awaitable[None]]] = [
            self.supplier, self.supplier, self.ask, self.ask, self.ask, self.report, self.report, self.order, self.plan,
            self.plan, self.commit, self.commit, self.answer, self.cancel, self.work, self.work, self.close,
        ]  # fmt: skip
        for step in range(STEPS):
            hand = self.rng.choice(hands)
            await hand()
            self.note(hand.__name__)
            await self.adds_up(f"step {step}, {hand.__name__}")

    async def adds_up(self, where: str) -> None:
        await self.played.sound()
        for number in self.open:
            figures = await self.played.figures(number)
            for stock in figures["stock"]:
                parts = stock["fenced"] + stock["taken"] + stock["lost"] + stock["given_back"]
                assert stock["supplied"] == parts, where
            taken = sum(stock["taken"] for stock in figures["stock"])
            planned = sum(tier["allotted"] + tier["refused"] for tier in figures["tiers"])
            assert taken == planned + await self.withdrawn(number), where

    async def withdrawn(self, number: int) -> int:
        """Units that vendors refused of demands which were taken back since: no tier shows those."""
        found = await self.played.value(
            "SELECT coalesce(sum(a.units), 0)::int FROM emergency_allotments a JOIN emergency_demands d "
            "ON d.id = a.demand_id WHERE a.incident_id = $1 AND d.quantity = 0 "
            "AND a.state IN ('unsupplied', 'cancelled')",
            number,
        )
        return int(found)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_units_add_up_after_every_step_of_a_random_life(played: Stage, seed: int) -> None:
    life = Life(played, seed)
    life.malls = [await played.mall("one"), await played.mall("two")]
    life.open = [(await played.incident())["id"], (await played.incident(exercise=True))["id"]]
    await life.live()
    for number in list(life.open):
        await played.work()
        await played.good("POST", f"/incidents/{number}/close")
    await played.sound()
    assert life.done.get("commit 200", 0) >= 1, life.done
    assert await played.value("SELECT count(*) FROM catalog_holds h WHERE h.state = 'held' AND NOT EXISTS (SELECT 1 "
                              "FROM order_lines l WHERE l.hold_id = h.id)") == 0  # fmt: skip
