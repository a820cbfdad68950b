"""What follows a commit: orders, refusals, the clock of the incident; and what may not become a commit."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any

import pytest

from fulfillment.emergency import api as emergency
from fulfillment.emergency import plans
from hub.kernel import clock
from tests.fulfillment.emergency.kit import Stage


async def test_an_exercise_runs_everything_but_the_calls_of_vendors(played: Stage) -> None:
    mall = await played.mall("company")
    number = (await played.incident(exercise=True))["id"]
    made = await played.supplier(number, 30)
    listing = made["supplies"][0]["listing_id"]
    await played.enter(number, played.verified("甲", 10, mall_id=mall), played.verified("乙", 10))
    plan = await played.committed(number)
    assert (await played.call("POST", f"/incidents/{number}/close"))[0] == 409, "its sites are promised"
    await played.work()
    plan = await played.good("GET", f"/plans/{plan['id']}")
    assert plan["dispatched_at"] is not None
    assert await played.value("SELECT array_agg(DISTINCT state) FROM emergency_allotments") == ["rehearsed"]
    assert await played.value("SELECT count(*) FROM orders") == 0
    assert (await played.good("GET", "/vendor/orders", await played.key("vendor", made["vendor_id"])))["items"] == []
    assert await played.shelf(listing) == (30, 30), "the stock is really held"
    assert (await played.figures(number))["allotted"] == 20
    await played.sound()
    await played.good("POST", f"/incidents/{number}/close")
    assert await played.shelf(listing) == (30, 0)
    [stock] = (await played.figures(number))["stock"]
    assert (stock["taken"], stock["given_back"]) == (0, 30)
    await played.sound()


async def test_what_a_vendor_refuses_the_next_plan_brings_from_elsewhere(played: Stage) -> None:
    mall = await played.mall("company")
    number = (await played.incident())["id"]
    near, far = await played.supplier(number, 10), await played.supplier(number, 4)
    away = [{"warehouse": supply["warehouse"], "hours": "9", "cost": "7"} for supply in far["supplies"]]
    await played.good("POST", f"/incidents/{number}/lead-times", body={"leads": away})
    await played.enter(number, played.verified("甲", 6, mall_id=mall))
    await played.committed(number)
    await played.work()
    vendor = await played.key("vendor", near["vendor_id"])
    [po] = (await played.good("GET", "/vendor/orders", vendor))["items"]
    refusal = {"reason": "没货", "out_of_stock": True}
    await played.good("POST", f"/vendor/orders/{po['id']}/reject", vendor, refusal)
    await played.work()
    figures = await played.figures(number)
    assert [(t["allotted"], t["refused"]) for t in figures["tiers"]] == [(0, 6)]
    [order] = (await played.good("GET", "/orders", played.malls[mall]))["items"]
    assert order["status"] == "unsupplied" and len(order["purchase_orders"]) == 1, "no stock that nobody allotted"
    plan = await played.committed(number)
    assert plan["figures"]["units"] == 4, "the vendor said that it has nothing; the other one has four"
    await played.work()
    assert [(t["allotted"], t["refused"]) for t in (await played.figures(number))["tiers"]] == [(4, 6)]
    await played.sound()


async def test_what_a_vendor_takes_in_part_leaves_the_rest_to_the_next_plan(played: Stage) -> None:
    mall = await played.mall("company")
    number = (await played.incident())["id"]
    near = await played.supplier(number, 10)
    await played.enter(number, played.verified("甲", 6, mall_id=mall))
    await played.committed(number)
    await played.work()
    vendor = await played.key("vendor", near["vendor_id"])
    [po] = (await played.good("GET", "/vendor/orders", vendor))["items"]
    part = {"lines": [{"line_no": 1, "qty": 4}]}
    await played.good("POST", f"/vendor/orders/{po['id']}/accept", vendor, part)
    await played.work()
    figures = await played.figures(number)
    assert [(t["allotted"], t["ordered"]) for t in figures["tiers"]] == [(4, 4)]
    assert sum(stock["lost"] for stock in figures["stock"]) >= 2
    [order] = (await played.good("GET", "/orders", played.malls[mall]))["items"]
    assert [(line["qty"], line["status"]) for line in order["lines"]] == [(4, "accepted"), (2, "unsupplied")]
    await played.sound()


async def test_the_clock_of_the_incident_counts_what_carriers_delivered_by_its_deadline(
    played: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = (await played.incident())["id"]
    made = await played.supplier(number, 20)
    await played.enter(number, played.verified("医院", 6, tier=0), played.verified("小区", 9))
    await played.committed(number)
    await played.work()
    vendor = await played.key("vendor", made["vendor_id"])
    pos = (await played.good("GET", "/vendor/orders", vendor))["items"]
    for n, po in enumerate(sorted(pos, key=lambda po: po["lines"][0]["qty"])):
        await played.good("POST", f"/vendor/orders/{po['id']}/accept", vendor)
        parcel = {"carrier": "sf", "tracking_no": f"E{n}"}
        await played.good("POST", f"/vendor/orders/{po['id']}/ship", vendor, {"parcels": [parcel]})
    await played.work()
    now = clock.now()
    for n, hours in enumerate((47, 49)):
        at = now + timedelta(hours=hours)
        monkeypatch.setattr(clock, "now", lambda at=at: at)
        scan = {"carrier": "sf", "tracking_no": f"E{n}", "status": "delivered", "event_at": at.isoformat()}
        answer = await played.good("POST", "/tracking-events", body={"events": [scan]})
        assert answer["results"][0]["result"] == "applied"
    figures = await played.figures(number)
    told = [(t["tier"], t["delivered"], t["in_time"], t["late"]) for t in figures["tiers"]]
    assert told == [(0, 6, 6, 0), (1, 9, 0, 9)]
    detail = await played.good("GET", f"/incidents/{number}")
    assert detail["clock"]["seconds_left"] < 0
    status, problem = await played.call("POST", f"/incidents/{number}/plans")
    assert (status, problem["type"]) == (409, "urn:supplyhub:problem:deadline_over")


async def test_a_plan_that_would_now_arrive_too_late_is_not_committed(
    played: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = (await played.incident())["id"]
    await played.supplier(number, 20)  # four hours away
    await played.enter(number, played.verified("甲", 6))
    plan = await played.approved(number)
    later = clock.now() + timedelta(hours=45)
    monkeypatch.setattr(clock, "now", lambda: later)
    status, problem = await played.call("POST", f"/plans/{plan['id']}/commit")
    assert status == 409 and "deadline" in problem["detail"]
    await emergency.solve_due()
    following = await played.good("GET", f"/plans/{problem['facts']['plan']}")
    assert following["figures"]["units"] == 0
    why = await played.good("GET", f"/plans/{following['id']}/explain?site=甲")
    assert why["items"][0]["reason"] == "unreachable"


async def test_two_people_approve_the_plan_that_they_read(played: Stage) -> None:
    number = (await played.incident())["id"]
    await played.supplier(number, 20)
    await played.enter(number, played.verified("甲", 6))
    plan = await played.solved(number)
    path = f"/plans/{plan['id']}"
    status, problem = await played.call("POST", f"{path}/approve", body={"plan_sha256": "0" * 64})
    assert (status, problem["errors"][0]["pointer"]) == (409, "/plan_sha256")
    for _ in range(3):
        assert (await played.good("POST", f"{path}/approve"))["state"] == "proposed", "once is once"
    assert (await played.call("POST", f"{path}/commit"))[0] == 409
    assert (await played.good("POST", f"{path}/approve", played.staff["b"]))["state"] == "approved"
    await played.enter(number, played.verified("甲", 5), amend=True)
    status, problem = await played.call("POST", f"{path}/commit")
    assert status == 409 and "no longer asks" in problem["detail"], "the site asks for less than the plan gives it"
    assert (await played.call("POST", f"{path}/approve", played.staff["c"]))[0] == 409
    waiting = await played.good("GET", f"/plans/{problem['facts']['plan']}")
    assert (waiting["state"], waiting["replaces"]) == ("queued", plan["id"])
    status, problem = await played.call("GET", f"/plans/{waiting['id']}/files")
    assert (status, problem["type"]) == (409, "urn:supplyhub:problem:not_solved")


async def test_a_plan_whose_solver_dies_again_and_again_is_given_up_and_says_so(
    played: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = (await played.incident())["id"]
    await played.enter(number, played.verified("甲", 6))
    plan = await played.good("POST", f"/incidents/{number}/plans")
    await played.value("UPDATE emergency_plans SET state = 'solving', attempts = 3, lease_until = now() RETURNING 1")
    assert await emergency.solve_due() == 1
    told = await played.good("GET", f"/plans/{plan['id']}")
    assert told["state"] == "failed" and "died" in told["problem"]

    def broken(*_: object) -> None:
        raise RuntimeError("out of wits")

    monkeypatch.setattr(plans.solving, "solved", broken)
    plan = await played.good("POST", f"/incidents/{number}/plans")
    assert await emergency.solve_due() == 1
    told = await played.good("GET", f"/plans/{plan['id']}")
    assert told["state"] == "failed" and "out of wits" in told["problem"]


async def test_a_long_solving_says_how_far_it_is_and_keeps_its_lease(
    played: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = (await played.incident())["id"]
    await played.enter(number, played.verified("甲", 6))
    plan = await played.good("POST", f"/incidents/{number}/plans")
    go_on = threading.Event()
    solved = plans.solving.solved

    def slow(state: Any, say: Any) -> Any:
        say("solving", 20)
        assert go_on.wait(30)
        return solved(state, say)

    monkeypatch.setattr(plans.solving, "solved", slow)
    monkeypatch.setattr(plans, "BEAT_S", 0.01)
    working = asyncio.create_task(emergency.solve_due())
    try:
        leases = set()
        while len(leases) < 3:  # the loop is free meanwhile, and the lease moves on
            told = await played.good("GET", f"/plans/{plan['id']}")
            if told["stage"] == "solving":
                assert (told["state"], told["done"]) in (("solving", 0), ("solving", 20))
                leases.add(await played.value("SELECT lease_until FROM emergency_plans"))
        assert await emergency.solve_due() == 0, "nobody else takes it"
    finally:
        go_on.set()
        await working
    assert (await played.good("GET", f"/plans/{plan['id']}"))["state"] == "proposed"
