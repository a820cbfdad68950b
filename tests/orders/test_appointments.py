"""Appointments: held while the mall thinks, booked on confirm, moved without ever losing both, given back always."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hub.kernel.errors import Retry
from orders import api, holding, service
from orders.contracts import LineUnsupplied, VendorAccepted
from tests.orders.clinic import Clinic
from tests.orders.test_ordering import code
from tests.orders.world import World


async def clinic(world: World, count: int = 4) -> tuple[int, Clinic, list[str]]:
    """A mall, a clinic that holds, and its free times."""
    mall = await world.mall()
    system = Clinic()
    await world.vendor(1, system=system)
    return mall, system, [f"slt_{slot}" for slot in await world.slots(1, count)]


async def let_go(world: World) -> None:
    await api.let_go_due()


async def move(world: World, mall: int, order: dict[str, Any], slot: str, **more: Any) -> tuple[int, Any]:
    return await world.post(mall, f"/orders/{order['id']}/reschedule", {"line_no": 1, "slot_id": slot, **more})


async def open_holds(world: World) -> int:
    return int(await world.value("SELECT count(*) FROM vendor_holds WHERE state IN ('asking', 'held', 'releasing')"))


async def test_a_reserved_slot_is_held_at_the_clinic_and_booked_on_confirm(world: World) -> None:
    mall, system, slots = await clinic(world)
    held = await world.placed(mall, [{"slot_id": slots[0]}], mode="reserve")
    key, until = system.holds["Slot/1"]
    assert held["status"] == "reserved" and until.isoformat() > held["reserved_until"].replace("Z", "+00:00")
    await let_go(world)
    assert system.calls == ["hold"], "a reservation's hold is not let go"
    _, order = await world.post(mall, f"/orders/{held['id']}/confirm")
    assert order["purchase_orders"][0]["number"] == key, "the hold's key is the purchase order's number"
    await world.work()
    await let_go(world)
    assert (system.booked, system.holds) == ({"Slot/1": key}, {})
    assert (await world.see(mall, held["id"]))["status"] == "accepted"
    assert await open_holds(world) == 0 and "release" not in system.calls
    await world.sound()


async def test_a_slot_sold_elsewhere_is_a_conflict_with_the_nearest_times(world: World) -> None:
    mall, system, slots = await clinic(world, 5)
    system.taken.add("Slot/3")
    for mode in ("reserve", "place"):
        status, problem = await world.order(mall, [{"slot_id": slots[2]}], mode=mode)
        assert (status, code(problem), problem["errors"][0]["pointer"]) == (409, "slot_taken", "/lines/0/slot_id")
        near = [one["slot_id"] for one in problem["facts"]["alternatives"]]
        assert set(near[:2]) == {slots[1], slots[3]} and set(near) == set(slots) - {slots[2]}
        assert problem["facts"]["alternatives"][0]["price"] == "300.0000"
    assert await world.value("SELECT count(*) FROM orders") == 0
    assert system.calls.count("hold") == 1, "what the clinic refused is not asked for again before its next report"
    await let_go(world)
    assert await open_holds(world) == 0 and system.holds == {}
    await world.placed(mall, [{"slot_id": near[0]}])
    await world.sound()


async def test_of_many_malls_that_want_one_slot_one_gets_it(world: World) -> None:
    _, system, slots = await clinic(world, 3)
    malls = [await world.mall(f"m{n}") for n in range(8)]
    answers = await asyncio.gather(*(world.order(m, [{"slot_id": slots[0]}], mode="reserve") for m in malls))
    assert sorted(status for status, _ in answers) == [201] + [409] * 7
    assert all(code(problem) == "slot_taken" for status, problem in answers if status == 409)
    world.later(holding.UNBOUND_S + 1)
    await let_go(world)
    winner = next(order for status, order in answers if status == 201)
    [key] = [key for key, _ in system.holds.values()]
    assert key == await world.value("SELECT vendor_key FROM order_lines")
    await world.post(malls[[s for s, _ in answers].index(201)], f"/orders/{winner['id']}/confirm")
    await world.work()
    assert list(system.booked) == ["Slot/1"]
    await world.sound()


@pytest.mark.parametrize("end", ["expiry", "cancel", "price"])
async def test_what_no_order_needs_is_given_back_to_the_clinic(world: World, end: str) -> None:
    mall, system, slots = await clinic(world)
    if end == "price":  # the order fails after the clinic held the place
        status, _ = await world.order(mall, [{"slot_id": slots[0]}, {"product_id": "prd_999", "qty": 1}])
        assert status == 422 and not system.calls, "what cannot be had anyway is not asked for"
        await world.placed(mall, [{"slot_id": slots[1]}], mall_order_no="N")
        status, problem = await world.order(mall, [{"slot_id": slots[0]}], mall_order_no="N", key="again")
        assert (status, code(problem)) == (409, "duplicate_order_no") and "Slot/1" in system.holds
    else:
        held = await world.placed(mall, [{"slot_id": slots[0]}], mode="reserve")
        if end == "cancel":
            await world.post(mall, f"/orders/{held['id']}/cancel")
        else:
            world.later(901)
            await api.expire_reservations()
    await let_go(world)
    assert "Slot/1" not in system.holds
    assert (await world.order(mall, [{"slot_id": slots[0]}]))[0] == 201
    await world.sound()


async def test_a_lost_answer_to_a_hold_is_found_by_the_same_request(world: World) -> None:
    mall, system, slots = await clinic(world)
    system.lose_holds = 1
    body = {"mall_order_no": "L1", "key": "lost"}
    assert (await world.order(mall, [{"slot_id": slots[0]}], mode="reserve", **body))[0] == 503
    first = system.holds["Slot/1"][0]
    status, order = await world.order(mall, [{"slot_id": slots[0]}], mode="reserve", **body)
    assert status == 201 and system.holds["Slot/1"][0] == first
    assert await world.value("SELECT count(*) FROM vendor_holds") == 1
    system.lose_holds = 1  # and when the mall never comes back, it is let go
    assert (await world.order(mall, [{"slot_id": slots[1]}]))[0] == 503
    await let_go(world)
    assert "Slot/2" in system.holds
    world.later(holding.UNBOUND_S + 1)
    system.down = 1
    await let_go(world)
    assert "Slot/2" in system.holds, "the clinic was down"
    world.later(200)
    await let_go(world)
    assert list(system.holds) == ["Slot/1"] and order["status"] == "reserved"


async def test_a_request_that_dies_after_the_hold_leaves_nothing_held(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    mall, system, slots = await clinic(world)
    for place, point in (
        (holding, "orders.hold_recorded"),
        (holding, "orders.hold_asked"),
        (service, "orders.order_written"),
    ):
        seen = 0

        def die(name: str, point: str = point) -> None:
            nonlocal seen
            if name == point:
                seen += 1
                raise BaseExceptionGroup("the process dies here", [KeyboardInterrupt()])

        with monkeypatch.context() as patch:
            patch.setattr(place, "failpoint", die)
            with pytest.raises(Exception):  # noqa: B017 - the connection breaks, as it would
                await world.order(mall, [{"slot_id": slots[0]}], mall_order_no=point)
        assert seen == 1
        assert await world.value("SELECT count(*) FROM orders") == 0
        world.later(holding.UNBOUND_S + 1)
        await let_go(world)
        assert system.holds == {} and await open_holds(world) == 0, point
    await world.placed(mall, [{"slot_id": slots[0]}])
    await world.sound()


async def test_two_appointments_of_one_order_are_booked_and_cancelled_by_themselves(world: World) -> None:
    mall, system, slots = await clinic(world)
    order = await world.placed(mall, [{"slot_id": slots[0]}, {"slot_id": slots[1]}])
    await world.work()
    order = await world.see(mall, order["id"])
    assert sorted(po["lines"] for po in order["purchase_orders"]) == [[1], [2]]
    await world.post(mall, f"/orders/{order['id']}/cancel", {"lines": [2]})
    await world.work()
    assert list(system.booked) == ["Slot/1"]
    assert [line["status"] for line in (await world.see(mall, order["id"]))["lines"]] == ["accepted", "cancelled"]


# Moving --------------------------------------------------------------------------------------------------------------


async def booked(world: World, mall: int, slot: str) -> dict[str, Any]:
    order = await world.placed(mall, [{"slot_id": slot}])
    await world.work()
    return await world.see(mall, order["id"])


async def test_a_booked_appointment_moves_by_hold_book_and_only_then_free(world: World) -> None:
    mall, system, slots = await clinic(world)
    order = await booked(world, mall, slots[0])
    system.history.clear()
    for _ in range(2):
        status, seen = await move(world, mall, order, slots[2])
        assert status == 200 and seen["lines"][0]["slot"]["id"] == slots[0], (
            "the old time stands until the new is booked"
        )
        assert [po["moves_line"] for po in seen["purchase_orders"]] == [None, 1]
    await world.work(2)
    await let_go(world)
    assert system.history == [("hold", "Slot/3"), ("book", "Slot/3"), ("free", "Slot/1")]
    seen = await world.see(mall, order["id"])
    assert (seen["status"], seen["lines"][0]["slot"]["id"], seen["due_at"]) == ("accepted", slots[2], order["due_at"])
    assert [(po["status"], po["lines"]) for po in seen["purchase_orders"]] == [("cancelled", []), ("accepted", [1])]
    assert len({event.accepted_at for event in world.saw(VendorAccepted)}) == 1, "booking was confirmed at the first"
    assert await open_holds(world) == 0
    assert (await move(world, mall, order, slots[2]))[0] == 200
    await world.post(mall, f"/orders/{order['id']}/cancel")
    await world.work()
    assert system.booked == {} and (await world.see(mall, order["id"]))["status"] == "cancelled"
    await world.sound()


async def test_a_new_time_that_is_taken_leaves_the_old_one(world: World) -> None:
    mall, system, slots = await clinic(world)
    order = await booked(world, mall, slots[0])
    system.taken.add("Slot/2")
    status, problem = await move(world, mall, order, slots[1])
    assert (status, code(problem)) == (409, "slot_taken")
    assert slots[2] in [one["slot_id"] for one in problem["facts"]["alternatives"]]
    # the clinic held it and gives it to somebody else all the same before it is booked
    status, _ = await move(world, mall, order, slots[2])
    assert status == 200
    system.holds.clear()
    system.taken.add("Slot/3")
    await world.work(2)
    seen = await world.see(mall, order["id"])
    assert (seen["status"], seen["lines"][0]["slot"]["id"], list(system.booked)) == ("accepted", slots[0], ["Slot/1"])
    assert [po["status"] for po in seen["purchase_orders"]] == ["accepted", "refused"]
    assert not world.saw(LineUnsupplied)
    assert (await move(world, mall, order, slots[3]))[0] == 200
    await world.work(2)
    assert list(system.booked) == ["Slot/4"]
    await world.sound()


@pytest.mark.parametrize("lost", ["place", "cancel", "both"])
async def test_whatever_answer_is_lost_the_buyer_has_an_appointment_and_in_the_end_one(world: World, lost: str) -> None:
    mall, system, slots = await clinic(world)
    order = await booked(world, mall, slots[0])
    assert (await move(world, mall, order, slots[1]))[0] == 200
    system.lose = 1 if lost == "place" else 0
    for turn in range(10):
        if lost != "place" and "Slot/2" in system.booked and turn < 6:
            system.lose = 1
        await world.work()
        assert system.booked, "never without an appointment"
        world.later(60)
    system.lose = 0
    await world.settle(3)
    assert list(system.booked) == ["Slot/2"]
    seen = await world.see(mall, order["id"])
    assert (seen["lines"][0]["slot"]["id"], seen["status"]) == (slots[1], "accepted")
    await world.sound()


async def test_while_it_moves_it_is_neither_cancelled_nor_moved_elsewhere(world: World) -> None:
    mall, _, slots = await clinic(world)
    order = await booked(world, mall, slots[0])
    await move(world, mall, order, slots[1])
    for status, problem in (
        await world.post(mall, f"/orders/{order['id']}/cancel"),
        await move(world, mall, order, slots[2]),
    ):
        assert (status, code(problem)) == (409, "being_moved")
    await world.work(2)
    assert (await world.post(mall, f"/orders/{order['id']}/cancel"))[0] == 200


async def test_a_clinic_that_cancels_the_old_one_meanwhile_leaves_the_new_one(world: World) -> None:
    mall, system, slots = await clinic(world)
    order = await booked(world, mall, slots[0])
    await move(world, mall, order, slots[1])
    key = await world.vendor_key(101)
    async with world.client.post(
        f"/v1/vendor/orders/{order['purchase_orders'][0]['id']}/cancel", headers=key, data=b'{"reason": "ill"}'
    ) as answer:
        assert answer.status == 200
    del system.booked["Slot/1"]
    await world.work(2)
    seen = await world.see(mall, order["id"])
    assert (seen["status"], seen["lines"][0]["slot"]["id"], list(system.booked)) == ("accepted", slots[1], ["Slot/2"])
    await world.sound()


async def test_a_clinic_that_will_not_cancel_the_old_one_is_seen_by_staff(world: World) -> None:
    mall, system, slots = await clinic(world)
    order = await booked(world, mall, slots[0])
    await move(world, mall, order, slots[1])
    system.refuses_cancel = True
    await world.work(2)
    seen = await world.see(mall, order["id"])
    assert (seen["lines"][0]["slot"]["id"], seen["purchase_orders"][0]["needs_attention"]) == (slots[1], True)
    await world.sound()


async def test_a_reservation_changes_places_without_the_clinic_booking_anything(world: World) -> None:
    mall, system, slots = await clinic(world)
    held = await world.placed(mall, [{"slot_id": slots[0]}], mode="reserve")
    status, seen = await move(world, mall, held, slots[1])
    assert (status, seen["status"], seen["lines"][0]["slot"]["id"]) == (200, "reserved", slots[1])
    await let_go(world)
    assert list(system.holds) == ["Slot/2"]
    await world.post(mall, f"/orders/{held['id']}/confirm")
    await world.work()
    await let_go(world)
    assert list(system.booked) == ["Slot/2"] and await open_holds(world) == 0
    await world.sound()


async def test_what_cannot_be_moved_is_refused_with_a_reason(world: World) -> None:
    mall, _, slots = await clinic(world)
    order = await booked(world, mall, slots[0])
    other = (await world.slots(1, 1, "200"))[0]
    for slot, status, why in ((f"slt_{other}", 422, "other_service"), ("slt_999", 422, "unknown_slot")):
        answer = await move(world, mall, order, slot)
        assert (answer[0], code(answer[1])) == (status, why)
    await world.value("UPDATE catalog_listings SET price = 400 WHERE vendor_sku LIKE 'C%' RETURNING 1")
    status, problem = await move(world, mall, order, slots[1])
    assert (status, code(problem), problem["facts"]["price"]) == (409, "price_changed", "400.0000")
    assert (await move(world, mall, order, slots[1], max_price="400"))[0] == 200
    await world.work(2)
    assert (await world.see(mall, order["id"]))["total"]["amount"] == "400.0000"
    product = await world.product()
    await world.listing(1, product, "10", 5)
    goods = await world.placed(mall, [{"product_id": f"prd_{product}", "qty": 1}])
    status, problem = await move(world, mall, goods, slots[1])
    assert (status, code(problem)) == (422, "no_appointment")
    stranger = await world.mall("other")
    assert (await move(world, stranger, order, slots[3]))[0] == 404


async def test_a_portal_clinic_moves_too(world: World) -> None:
    mall = await world.mall()
    await world.vendor(1, portal=True)
    slots = [f"slt_{slot}" for slot in await world.slots(1, 2)]
    order = await world.placed(mall, [{"slot_id": slots[0]}])
    await world.work()
    key = await world.vendor_key(101)

    async def say(n: int, word: str) -> int:
        po = (await world.see(mall, order["id"]))["purchase_orders"][n]["id"]
        async with world.client.post(f"/v1/vendor/orders/{po}/{word}", headers=key) as answer:
            return answer.status

    assert await say(0, "accept") == 200
    assert (await move(world, mall, order, slots[1]))[0] == 200
    await world.work()
    assert await say(1, "accept") == 200
    seen = await world.see(mall, order["id"])
    assert (seen["lines"][0]["slot"]["id"], seen["purchase_orders"][0]["status"]) == (slots[1], "cancelling")
    assert await say(0, "cancel") == 200
    await world.work()
    assert [po["status"] for po in (await world.see(mall, order["id"]))["purchase_orders"]] == ["cancelled", "accepted"]
    await world.sound()


def test_a_hold_outlives_the_longest_wait_for_it() -> None:
    assert holding.UNBOUND_S > 2 * holding.ASK_LIMIT_S
    assert issubclass(Retry, Exception)
