"""Holding a slot before it is booked, slots of several places, and the server's own operations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors import guards
from connectors.contracts import ReceiptStatus
from connectors.fhir_clinic.adapter import Adapter
from connectors.fhir_clinic.appointments import holds_on
from connectors.fhir_clinic.sandbox import CAPACITY_EXTENSION, FhirSandbox
from connectors.kit_stage import reachable
from hub.kernel import clock
from hub.kernel.errors import Rejected, Retry
from tests.connectors.test_fhir_clinic_booking import START, booker, clinic, connect, order, place, slots, statuses

__all__ = ["booker", "clinic"]  # fixtures
SYSTEM = "urn:supplyhub:purchase-order"
SOON = timedelta(minutes=15)


def later() -> datetime:
    return clock.now() + SOON


# On the slot -------------------------------------------------------------------------------------------------------


async def test_a_held_slot_is_tentative_and_booked_by_the_same_key_only(clinic: FhirSandbox, booker: Adapter) -> None:
    until = later()
    held = await booker.hold("Slot/s1", "po_1", until)
    assert (held.held, held.ref, held.until) == (True, "Slot/s1", until)
    assert statuses(clinic, "s1") == ["busy-tentative"] and holds_on(clinic.slot("s1"), SYSTEM) == [("po_1", until)]
    assert await booker.find("po_1") is None  # a hold is no order
    refused = await place(booker, order("po_2", "s1"))
    assert refused.out_of_stock and "held" in (refused.reason or "")
    assert (await place(booker, order("po_1", "s1"))).status is ReceiptStatus.ACCEPTED
    assert statuses(clinic, "s1") == ["busy"] and holds_on(clinic.slot("s1"), SYSTEM) == []


async def test_of_two_holds_on_one_slot_one_wins(clinic: FhirSandbox, booker: Adapter) -> None:
    made = await asyncio.gather(*(booker.hold("Slot/s1", f"po_{n}", later()) for n in range(8)))
    assert [one.held for one in made].count(True) == 1
    assert all(one.gone and one.reason for one in made if not one.held)


async def test_a_hold_may_be_repeated_and_moves_its_end(clinic: FhirSandbox, booker: Adapter) -> None:
    await booker.hold("Slot/s1", "po_1", later())
    longer = clock.now() + timedelta(hours=1)
    assert (await booker.hold("Slot/s1", "po_1", longer)).held
    assert holds_on(clinic.slot("s1"), SYSTEM) == [("po_1", longer)]


async def test_a_hold_whose_answer_was_lost_is_found_by_repeating_it(
    clinic: FhirSandbox, booker: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, lost = booker._update, iter([True])

    async def update(before: Any, after: Any) -> Any:
        done = await original(before, after)
        if next(lost, False):
            raise Retry("the answer was lost")
        return done

    monkeypatch.setattr(booker, "_update", update)
    with pytest.raises(Retry):
        await booker.hold("Slot/s1", "po_1", later())
    assert statuses(clinic, "s1") == ["busy-tentative"]
    assert (await booker.hold("Slot/s1", "po_1", later())).held
    assert await booker.release("po_1") == 1 and statuses(clinic, "s1") == ["free"]


async def test_a_hold_that_is_over_stands_in_nobodys_way(
    clinic: FhirSandbox, booker: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    await booker.hold("Slot/s1", "po_1", later())
    await booker.hold("Slot/s2", "po_1", later() + timedelta(days=1))
    over = clock.now() + SOON + timedelta(minutes=1)
    monkeypatch.setattr("hub.kernel.clock.now", lambda: over)
    settings = {"horizon_days": 40_000}
    eager = connect(clinic, **settings)
    pages = [page async for page in eager.pull(None)]
    assert {s.slot_ref for p in pages for s in p.slots if s.free} == {"Slot/s1", "Slot/s3", "Slot/s4"}
    assert (await place(booker, order("po_2", "s1"))).status is ReceiptStatus.ACCEPTED
    assert (await booker.hold("Slot/s1", "po_1", over + SOON)).gone
    await eager.aclose()


async def test_expired_holds_are_given_back_to_the_clinic(
    clinic: FhirSandbox, booker: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    await booker.hold("Slot/s1", "po_1", later())
    await booker.hold("Slot/s2", "po_2", later() + timedelta(days=1))
    clinic.change("Slot", "s3", status="busy-tentative")  # the clinic's own
    assert await booker.release_expired() == 0
    over = clock.now() + SOON + timedelta(minutes=1)
    monkeypatch.setattr("hub.kernel.clock.now", lambda: over)
    assert await booker.release_expired() == 1
    assert statuses(clinic, "s1", "s2", "s3") == ["free", "busy-tentative", "busy-tentative"]


async def test_releasing_lets_go_of_holds_and_never_of_bookings(clinic: FhirSandbox, booker: Adapter) -> None:
    await place(booker, order("po_1", "s1"))
    await booker.hold("Slot/s2", "po_1", later())
    await booker.hold("Slot/s3", "po_1", later())
    assert await booker.release("po_1", "Slot/s2") == 1
    assert await booker.release("po_1") == 1
    assert await booker.release("po_1") == 0
    assert statuses(clinic, "s1", "s2", "s3") == ["busy", "free", "free"]
    assert not (await booker.hold("Slot/s1", "po_1", later())).held  # booked already


async def test_what_is_gone_is_not_held(clinic: FhirSandbox, booker: Adapter) -> None:
    clinic.change("Slot", "s1", status="busy")
    clinic.steal = 1
    for ref in ("Slot/s1", "Slot/s2", "Slot/s9"):  # taken, taken a moment later (412), not on the server
        held = await booker.hold(ref, "po_1", later())
        assert not held.held and held.gone and held.reason
    assert statuses(clinic, "s2") == ["busy"]  # the thief keeps it
    for slot, until in (("Appointment/1", later()), ("Slot/s3", clock.now()), ("Slot/s3", datetime(2099, 1, 1))):
        with pytest.raises(Rejected):
            await booker.hold(slot, "po_1", until)


async def test_a_change_that_leaves_the_slot_free_is_no_reason_to_refuse(
    clinic: FhirSandbox, booker: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, touched = booker._update, iter([True])

    async def update(before: Any, after: Any) -> Any:
        if next(touched, False):  # the front desk writes a remark between our look and our update: 412
            clinic.change("Slot", "s1", comment="二楼")
        return await original(before, after)

    monkeypatch.setattr(booker, "_update", update)
    assert (await place(booker, order("po_1", "s1"))).status is ReceiptStatus.ACCEPTED
    assert clinic.slot("s1")["comment"] == "二楼"


async def test_a_booking_closes_no_door_that_the_clinic_closed_itself(clinic: FhirSandbox, booker: Adapter) -> None:
    po = order("po_1", "s1")
    receipt = await place(booker, po)
    clinic.change("Slot", "s1", status="busy-unavailable")  # the doctor is ill
    assert (await booker.cancel(receipt.vendor_order_no or "", po)).status is ReceiptStatus.ACCEPTED
    assert statuses(clinic, "s1") == ["busy-unavailable"] and "identifier" not in clinic.slot("s1")


# Several places ----------------------------------------------------------------------------------------------------


@pytest.fixture
async def group() -> AsyncIterator[FhirSandbox]:
    """A clinic whose first slot holds three appointments."""
    rows = [{**slot, **({"places": 3} if slot["id"] == "s1" else {})} for slot in slots()]
    sandbox = FhirSandbox(
        [{"id": "a", "name": "产前课", "price": "60.00"}, {"id": "b", "name": "洗牙", "price": "80"}], rows
    )
    await sandbox.start()
    with reachable(sandbox):
        yield sandbox
    await sandbox.stop()
    guards.forget()


async def test_a_slot_of_three_places_takes_three_orders_and_no_fourth(group: FhirSandbox) -> None:
    booker = connect(group, capacity_extension=CAPACITY_EXTENSION)
    receipts = await asyncio.gather(*(place(booker, order(f"po_{n}", "s1")) for n in range(3)))
    for n, receipt in enumerate(receipts):
        if receipt.status is ReceiptStatus.REFUSED:  # so many at once may wear one out; nobody gets a second place
            receipts[n] = await place(booker, order(f"po_{n}", "s1"))
    assert [r.status for r in receipts] == [ReceiptStatus.ACCEPTED] * 3 and statuses(group, "s1") == ["busy"]
    assert (await place(booker, order("po_9", "s1"))).out_of_stock
    cancelled = await booker.cancel(receipts[1].vendor_order_no or "", order("po_1", "s1"))
    assert cancelled.status is ReceiptStatus.ACCEPTED and statuses(group, "s1") == ["free"]
    assert (await place(booker, order("po_9", "s1"))).status is ReceiptStatus.ACCEPTED
    assert [group.living(f"po_{n}") for n in (0, 1, 2, 9)] == [1, 0, 1, 1]
    await booker.aclose()


async def test_the_clinics_own_appointments_count(group: FhirSandbox) -> None:
    own = {"resourceType": "Appointment", "status": "booked", "slot": [{"reference": "Slot/s1"}], "participant": []}
    group.keep(
        {**own, "id": "x1"}, {**own, "id": "x2", "status": "arrived"}, {**own, "id": "x3", "status": "cancelled"}
    )
    booker = connect(group, capacity_extension=CAPACITY_EXTENSION, horizon_days=40_000)
    assert (await booker.hold("Slot/s1", "po_1", later())).held
    assert statuses(group, "s1") == ["busy-tentative"]
    full = await place(booker, order("po_2", "s1"))
    assert full.out_of_stock and "full: 3 of 3" in (full.reason or "")
    assert (await place(booker, order("po_1", "s1"))).status is ReceiptStatus.ACCEPTED  # the held place
    group.change("Slot", "s1", status="free")  # as a clinic that does not close its slots would leave it
    free = {s.slot_ref for p in [page async for page in booker.pull(None)] for s in p.slots if s.free}
    assert free == {"Slot/s2", "Slot/s3", "Slot/s4"}
    await booker.aclose()


async def test_a_lost_booking_of_a_shared_slot_takes_one_place(group: FhirSandbox) -> None:
    booker = connect(group, capacity_extension=CAPACITY_EXTENSION)
    group.faults.lose_answer = 1
    with pytest.raises(Retry):
        await place(booker, order("po_1", "s1"))
    again = await place(booker, order("po_1", "s1"))
    assert again.status is ReceiptStatus.ACCEPTED and await booker.find("po_1") == again
    marks = [i["value"] for i in group.slot("s1")["identifier"]]
    assert marks == ["po_1/1-of-1"] and group.living("po_1") == 1
    await booker.aclose()


async def test_without_the_setting_a_slot_holds_one(group: FhirSandbox) -> None:
    booker = connect(group)
    assert (await place(booker, order("po_1", "s1"))).status is ReceiptStatus.ACCEPTED
    assert statuses(group, "s1") == ["busy"]
    group.change("Slot", "s2", overbooked=True)
    assert (await place(booker, order("po_2", "s2"))).out_of_stock
    await booker.aclose()


# The server's own operations ---------------------------------------------------------------------------------------


@pytest.fixture(params=[False, True], ids=["proposals-by-actor", "proposals-by-slot"])
async def scheduler(request: pytest.FixtureRequest) -> AsyncIterator[FhirSandbox]:
    services = [{"id": "a", "name": "体检", "price": "100.00"}, {"id": "b", "name": "洗牙", "price": "80.00"}]
    sandbox = FhirSandbox(services, slots(), operations=True, names_slots=request.param)
    await sandbox.start()
    with reachable(sandbox):
        yield sandbox
    await sandbox.stop()
    guards.forget()


async def test_a_server_with_operations_is_booked_by_them(scheduler: FhirSandbox) -> None:
    booker = connect(scheduler)
    po = order("po_1", "s1", "s4")
    receipt = await place(booker, po)
    assert receipt.status is ReceiptStatus.ACCEPTED and await booker.find("po_1") == receipt
    assert statuses(scheduler, "s1", "s2", "s4") == ["busy", "free", "busy"]
    [update] = await booker.track(receipt.vendor_order_no or "")
    assert (update.po_number, update.raw_status) == ("po_1", "booked,booked")
    assert not any(seen.method == "PUT" for seen in scheduler.seen)
    assert (await place(booker, order("po_2", "s1"))).out_of_stock
    for _ in range(2):
        assert (await booker.cancel(receipt.vendor_order_no or "", po)).status is ReceiptStatus.ACCEPTED
    assert statuses(scheduler, "s1", "s4") == ["free", "free"] and scheduler.living("po_1") == 0
    await booker.aclose()


async def test_a_hold_by_operation_is_booked_released_and_ends(scheduler: FhirSandbox) -> None:
    booker = connect(scheduler)
    held = await booker.hold("Slot/s1", "po_1", later())
    assert held.held and held.until is None and (held.ref or "").startswith("Appointment/")
    assert await booker.hold("Slot/s1", "po_1", later()) == held  # once
    assert await booker.find("po_1") is None
    other = await booker.hold("Slot/s1", "po_2", later())
    assert not other.held and other.gone
    assert (await place(booker, order("po_2", "s1"))).out_of_stock
    receipt = await place(booker, order("po_1", "s1"))
    assert receipt.status is ReceiptStatus.ACCEPTED and f"Appointment/{receipt.vendor_order_no}" == held.ref
    assert await booker.release("po_1") == 0  # what is booked stays booked
    assert (await booker.hold("Slot/s2", "po_3", later())).held
    assert await booker.release("po_3") == 1 and statuses(scheduler, "s2") == ["free"]
    assert (await booker.hold("Slot/s2", "po_4", later())).held
    assert scheduler.scheduler is not None
    scheduler.scheduler.end_holds()
    assert (await place(booker, order("po_5", "s2"))).status is ReceiptStatus.ACCEPTED
    await booker.aclose()


async def test_a_lost_answer_to_book_never_books_twice(scheduler: FhirSandbox) -> None:
    booker = connect(scheduler)
    scheduler.faults.lose_answer = 1
    with pytest.raises(Retry):
        await place(booker, order("po_1", "s1"))
    found = await booker.find("po_1")
    assert found is not None and found.status is ReceiptStatus.ACCEPTED
    assert await place(booker, order("po_1", "s1")) == found and scheduler.living("po_1") == 1
    await booker.aclose()


async def test_two_clients_of_a_scheduler_get_one_booking(scheduler: FhirSandbox) -> None:
    one, two = connect(scheduler), connect(scheduler)
    receipts = await asyncio.gather(place(one, order("po_1", "s1")), place(two, order("po_2", "s1")))
    assert sorted(r.status for r in receipts) == ["accepted", "refused"]
    assert scheduler.living("po_1") + scheduler.living("po_2") == 1
    for made in (one, two):
        await made.aclose()


async def test_when_the_second_line_is_refused_the_first_is_cancelled(scheduler: FhirSandbox) -> None:
    booker = connect(scheduler)
    scheduler.change("Slot", "s4", status="busy")
    receipt = await place(booker, order("po_1", "s1", "s4"))
    assert receipt.out_of_stock_skus == ("b",) and scheduler.living("po_1") == 0
    assert statuses(scheduler, "s1") == ["free"]
    scheduler.refuse_appointments = 1
    receipt = await place(booker, order("po_2", "s1"))
    assert receipt.status is ReceiptStatus.REFUSED and not receipt.out_of_stock
    assert "incomplete" in (receipt.reason or "") and scheduler.living("po_2") == 0
    await booker.aclose()


async def test_a_hold_that_cannot_carry_our_number_is_given_back(scheduler: FhirSandbox) -> None:
    booker = connect(scheduler)
    scheduler.keeps_marks = False
    held = await booker.hold("Slot/s1", "po_1", later())
    assert not held.held and not held.gone and "number" in (held.reason or "")
    assert statuses(scheduler, "s1") == ["free"]
    await booker.aclose()


async def test_another_doctors_proposal_is_no_substitute(scheduler: FhirSandbox) -> None:
    """Two schedules have a slot at the same time: only the proposal of ours will do."""
    same = {"start": START + timedelta(hours=1), "end": START + timedelta(hours=1, minutes=30)}
    scheduler.add_slot({"id": "twin", "service": "b", **same})
    booker = connect(scheduler)
    scheduler.change("Slot", "s1", status="busy")  # ours is gone, the twin is free
    assert (await place(booker, order("po_1", "s1"))).out_of_stock
    assert statuses(scheduler, "twin") == ["free"]
    await booker.aclose()


async def test_the_setting_overrules_what_the_server_lists(scheduler: FhirSandbox, clinic: FhirSandbox) -> None:
    by_slot = connect(clinic, booking="operations")  # a server that has none
    assert (await place(by_slot, order("po_1", "s1"))).status is ReceiptStatus.REFUSED
    assert not any("metadata" in seen.path for seen in clinic.seen)
    await by_slot.aclose()


async def test_a_slot_is_a_slot_at_any_offset(clinic: FhirSandbox, booker: Adapter) -> None:
    clinic.change("Slot", "s1", start="2099-05-04T10:00:00+08:00", end="2099-05-04T10:30:00+08:00")
    po = order("po_1", "s1")
    assert po.lines[0].slot_start == datetime(2099, 5, 4, 2, 0, tzinfo=UTC)  # the same instant
    assert (await place(booker, po)).status is ReceiptStatus.ACCEPTED
    [made] = clinic.appointments("po_1")
    assert made["start"] == "2099-05-04T10:00:00+08:00"  # as the clinic wrote it
