"""Ring-fenced stock: ordinary orders cannot touch it, two commits never share it, and every unit is somewhere."""

from __future__ import annotations

import asyncio

from fulfillment.emergency import api as emergency
from tests.fulfillment.emergency.kit import MASK, Stage


async def test_an_ordinary_order_cannot_touch_what_is_fenced(played: Stage) -> None:
    mall = await played.mall("ordinary")
    number = (await played.incident())["id"]
    listing = (await played.supplier(number, 50))["supplies"][0]["listing_id"]
    status, problem = await played.order(mall, listing, 1)
    assert (status, problem["type"]) == (409, "urn:supplyhub:problem:out_of_stock")
    await played.enter(number, played.verified("医院", 20))
    await played.committed(number)
    assert (await played.order(mall, listing, 1))[0] == 409, "what the plan left is still fenced"
    await played.work()
    await played.good("POST", f"/incidents/{number}/close")
    assert await played.shelf(listing) == (50, 20)
    assert (await played.order(mall, listing, 30))[0] == 201, "what was left is ordinary stock again"
    assert (await played.order(mall, listing, 1))[0] == 409
    await played.sound()


async def test_orders_that_race_with_a_commit_get_what_is_ordinary_and_no_more(played: Stage) -> None:
    mall = await played.mall("ordinary")
    number = (await played.incident())["id"]
    made = await played.supplier(number, 100)
    listing, place = made["supplies"][0]["listing_id"], made["supplies"][0]["location"]
    await played.report(listing, 107, place)  # seven more than are fenced
    await played.enter(number, *(played.verified(f"楼{n}", 10) for n in range(12)))
    plan = await played.approved(number)
    racing = [played.order(mall, listing, 1) for _ in range(15)]
    committing = played.call("POST", f"/plans/{plan['id']}/commit")
    (status, _), *answers = await asyncio.gather(committing, *racing)
    assert status == 200
    assert sorted(status for status, _ in answers) == [201] * 7 + [409] * 8
    assert (await played.figures(number))["allotted"] == 100
    await played.sound()


async def test_two_commits_at_once_take_the_stock_once(played: Stage) -> None:
    number = (await played.incident())["id"]
    await played.supplier(number, 30)
    await played.enter(number, played.verified("甲", 30), played.verified("乙", 30))
    first, second = await played.approved(number), await played.approved(number)
    paths = [f"/plans/{plan['id']}/commit" for plan in (first, second, first)]
    answers = await asyncio.gather(
        *(played.call("POST", path, played.staff[who]) for path, who in zip(paths, "abc", strict=True))
    )
    assert sorted(status for status, _ in answers)[0] == 200
    states = [(await played.good("GET", f"/plans/{plan['id']}"))["state"] for plan in (first, second)]
    assert sorted(states) == ["committed", "superseded"]
    assert (await played.figures(number))["allotted"] == 30
    problem = next(answer for status, answer in answers if status == 409)
    assert problem["type"] == "urn:supplyhub:problem:plan_conflict"
    following = problem["facts"]["plan"]
    await emergency.solve_due()
    again = await played.good("GET", f"/plans/{following}")
    assert (again["state"], again["figures"]["units"]) == ("proposed", 0), "nothing is left to share"
    assert again["replaces"] == problem["facts"]["superseded"] and again["approvals"] == []
    await played.sound()


async def test_a_vendor_that_reports_less_makes_the_commit_resolve_on_what_there_is(played: Stage) -> None:
    number = (await played.incident())["id"]
    made = await played.supplier(number, 40, 40)
    listing, place = made["supplies"][0]["listing_id"], made["supplies"][0]["location"]
    await played.enter(number, played.verified("甲", 60), played.verified("乙", 60))
    plan = await played.approved(number)
    await played.report(listing, 15, place)
    before = await played.shelf(listing)
    status, problem = await played.call("POST", f"/plans/{plan['id']}/commit")
    assert status == 409 and problem["type"].endswith("plan_conflict")
    assert await played.shelf(listing) == before == (15, 40), "nothing half-committed"
    assert await played.value("SELECT count(*) FROM emergency_allotments WHERE state <> 'planned'") == 0
    await emergency.solve_due()
    following = problem["facts"]["plan"]
    for who in ("b", "c"):
        await played.good("POST", f"/plans/{following}/approve", played.staff[who])
    committed = await played.good("POST", f"/plans/{following}/commit")
    assert committed["figures"]["units"] == 55
    [stock] = (await played.figures(number))["stock"]
    assert (stock["supplied"], stock["taken"], stock["lost"], stock["fenced"]) == (80, 55, 25, 0)
    await played.sound()


async def test_fences_that_share_a_short_row_do_not_block_each_other_for_ever(played: Stage) -> None:
    """Two lots of one SKU in one warehouse; the vendor then has less than both: the second lot's fence must not keep
    what the first lot's plan needs."""
    number = (await played.incident())["id"]
    goods = [
        {"sku": "M", "title": "口罩", "price": "1", "item": MASK, "warehouse": "仓", "quantity": 10, "lot": lot}
        for lot in ("one", "two")
    ]
    body = {"name": "two lots", "goods": goods, "leads": [{"warehouse": "仓", "hours": "3"}]}
    made = await played.good("POST", f"/incidents/{number}/suppliers", body=body)
    listing = made["supplies"][0]["listing_id"]
    await played.report(listing, 12, "仓")
    await played.enter(number, played.verified("甲", 10))
    plan = await played.committed(number)
    assert plan["figures"]["units"] == 10
    [stock] = (await played.figures(number))["stock"]
    assert (stock["taken"], stock["fenced"], stock["lost"]) == (10, 2, 8)
    await played.sound()


async def test_a_level_without_a_count_and_a_listing_fenced_twice_are_refused(played: Stage) -> None:
    number = (await played.incident())["id"]
    supply = (await played.supplier(number, 5))["supplies"][0]
    again = {"listing_id": supply["listing_id"], "item": MASK, "warehouse": "仓", "location": supply["location"]}
    path = f"/incidents/{number}/supplies"
    status, problem = await played.call("POST", path, body={"supplies": [again]})
    assert status == 422 and "in stock" in problem["detail"], "all of it is fenced already"
    await played.report(supply["listing_id"], 9, supply["location"])
    status, problem = await played.call("POST", path, body={"supplies": [{**again, "quantity": 3}]})
    assert (status, problem["type"]) == (409, "urn:supplyhub:problem:fenced_already")
    assert await played.shelf(supply["listing_id"]) == (9, 5), "a refused fence holds nothing"
    made = await played.good("POST", path, body={"supplies": [{**again, "quantity": 3, "lot": "second"}]})
    assert made["items"][0]["fenced"] == 3
    status, problem = await played.call("POST", path, body={"supplies": [{**again, "item": "另一种"}]})
    assert (status, problem["errors"][0]["pointer"]) == (422, "/supplies/0/item")
    await played.sound()
