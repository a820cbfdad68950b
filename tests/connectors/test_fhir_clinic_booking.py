"""Booking at a clinic: one slot is never sold twice, and nothing half-done stays behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import SecretStr

from connectors import base, guards, manifest
from connectors.contracts import PoLine, PurchaseOrder, Receipt, ReceiptStatus, ShipmentStatus, ShipTo
from connectors.fhir_clinic.adapter import Adapter
from connectors.fhir_clinic.sandbox import FhirSandbox
from connectors.kit_stage import reachable
from hub.kernel.errors import Misconfigured, Retry

START = datetime(2099, 5, 4, 1, 0, tzinfo=UTC)


def slots(count: int = 4) -> list[dict[str, Any]]:
    def one(n: int) -> dict[str, Any]:
        start = START + timedelta(hours=n)
        return {"id": f"s{n}", "service": "a" if n < 4 else "b", "start": start, "end": start + timedelta(minutes=30)}

    return [one(n) for n in range(1, count + 1)]


@pytest.fixture
async def clinic() -> AsyncIterator[FhirSandbox]:
    services = [{"id": "a", "name": "体检", "price": "100.00"}, {"id": "b", "name": "洗牙", "price": "80.00"}]
    sandbox = FhirSandbox(services, slots())
    await sandbox.start()
    with reachable(sandbox):
        yield sandbox
    await sandbox.stop()
    guards.forget()


@pytest.fixture
async def booker(clinic: FhirSandbox) -> AsyncIterator[Adapter]:
    made = connect(clinic)
    yield made
    await made.aclose()


def connect(clinic: FhirSandbox, **settings: Any) -> Adapter:
    config, secrets = clinic.connection()
    hidden = {name: SecretStr(value) for name, value in secrets.items()}
    made = base.build(manifest.HOME / "fhir_clinic", {**config, **settings}, hidden, connection_id=f"t{id(clinic)}")
    assert isinstance(made, Adapter)
    return made


def order(number: str, *wanted: str, quantity: int = 1, note: str = "") -> PurchaseOrder:
    lines = []
    for n, slot in enumerate(wanted, 1):
        start = START + timedelta(hours=int(slot.removeprefix("s")))
        lines.append(
            PoLine(
                line_no=n,
                vendor_sku="a" if slot < "s4" else "b",
                quantity=quantity,
                unit_price=Decimal("100.00"),
                currency="CNY",
                slot_ref=f"Slot/{slot}",
                slot_start=start,
                slot_end=start + timedelta(minutes=30),
            )
        )
    visitor = ShipTo(name="王芳", phone="13900000000")
    return PurchaseOrder(number=number, lines=tuple(lines), ship_to=visitor, note=note, placed_at=START)


async def place(booker: Adapter, po: PurchaseOrder) -> Receipt:
    return await booker.place(po, key=po.number)


def statuses(clinic: FhirSandbox, *numbers: str) -> list[str]:
    return [clinic.slot(number)["status"] for number in numbers]


async def test_a_booking_takes_the_slot_and_makes_one_appointment(clinic: FhirSandbox, booker: Adapter) -> None:
    receipt = await place(booker, order("po_1", "s1", note="轮椅"))
    assert receipt.status is ReceiptStatus.ACCEPTED and receipt.accepted_at is not None
    assert statuses(clinic, "s1") == ["busy"]
    [made] = clinic.appointments("po_1")
    assert (made["id"], made["comment"], made["start"]) == (
        receipt.vendor_order_no,
        "轮椅",
        "2099-05-04T02:00:00+00:00",
    )
    assert await booker.find("po_1") == receipt


async def test_only_the_visitors_name_and_phone_reach_the_clinic(clinic: FhirSandbox) -> None:
    shy = connect(clinic, patient="display")
    await place(shy, order("po_1", "s1"))
    [made] = clinic.appointments("po_1")
    assert "contained" not in made and made["participant"][0]["actor"] == {"display": "王芳"}
    await shy.aclose()


async def test_a_taken_slot_is_out_of_stock(clinic: FhirSandbox, booker: Adapter) -> None:
    for status in ("busy", "busy-unavailable", "busy-tentative", "entered-in-error", "some-new-code"):
        clinic.change("Slot", "s1", status=status)
        receipt = await place(booker, order("po_1", "s1"))
        assert (receipt.status, receipt.out_of_stock, receipt.out_of_stock_skus) == ("refused", True, ("a",))
    assert clinic.appointments("po_1") == []


async def test_a_slot_that_vanished_or_moved_is_out_of_stock(clinic: FhirSandbox, booker: Adapter) -> None:
    clinic.change("Slot", "s1", start="2099-05-04T05:00:00+00:00")
    assert (await place(booker, order("po_1", "s1"))).out_of_stock
    assert (await place(booker, order("po_2", "s9"))).out_of_stock
    assert statuses(clinic, "s1") == ["free"]


async def test_a_slot_taken_between_look_and_booking_is_out_of_stock(clinic: FhirSandbox, booker: Adapter) -> None:
    clinic.steal = 1
    receipt = await place(booker, order("po_1", "s1"))
    assert receipt.status is ReceiptStatus.REFUSED and receipt.out_of_stock
    assert clinic.appointments("po_1") == [] and statuses(clinic, "s1") == ["busy"]  # the thief keeps it


async def test_ten_orders_for_one_slot_end_with_one_booking(clinic: FhirSandbox, booker: Adapter) -> None:
    receipts = await asyncio.gather(*(place(booker, order(f"po_{n}", "s1")) for n in range(10)))
    assert [r.status for r in receipts].count(ReceiptStatus.ACCEPTED) == 1
    assert all(r.out_of_stock for r in receipts if r.status is ReceiptStatus.REFUSED)
    assert sum(clinic.living(f"po_{n}") for n in range(10)) == 1


async def test_a_refused_appointment_gives_the_slot_back_as_it_was(clinic: FhirSandbox, booker: Adapter) -> None:
    clinic.change("Slot", "s1", identifier=[{"system": "urn:clinic", "value": "room-7"}], comment="二楼")
    before = clinic.slot("s1")
    clinic.refuse_appointments = 1
    receipt = await place(booker, order("po_1", "s1"))
    assert receipt.status is ReceiptStatus.REFUSED and not receipt.out_of_stock and receipt.reason
    after = clinic.slot("s1")
    assert {**after, "meta": None} == {**before, "meta": None}


async def test_an_order_of_two_slots_is_all_or_nothing(clinic: FhirSandbox, booker: Adapter) -> None:
    clinic.change("Slot", "s4", status="busy")
    receipt = await place(booker, order("po_1", "s1", "s4"))
    assert receipt.out_of_stock_skus == ("b",)
    assert statuses(clinic, "s1") == ["free"] and clinic.appointments("po_1") == []
    clinic.change("Slot", "s4", status="free")
    receipt = await place(booker, order("po_2", "s1", "s4"))
    assert receipt.status is ReceiptStatus.ACCEPTED
    assert receipt.vendor_order_no is not None and len(receipt.vendor_order_no.split(",")) == 2
    assert await booker.find("po_2") == receipt


async def test_when_the_second_appointment_is_refused_the_first_is_undone(
    clinic: FhirSandbox, booker: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = booker._book

    async def book(po: Any, line: Any, slot: Any, key: str, mark: str) -> Any:
        clinic.refuse_appointments = int(mark.endswith("2-of-2"))
        return await original(po, line, slot, key, mark)

    monkeypatch.setattr(booker, "_book", book)
    receipt = await place(booker, order("po_1", "s1", "s4"))
    assert receipt.status is ReceiptStatus.REFUSED
    assert statuses(clinic, "s1", "s4") == ["free", "free"]
    assert [item["status"] for item in clinic.appointments("po_1")] == ["cancelled"] and clinic.living("po_1") == 0


async def test_a_lost_answer_to_the_appointment_never_books_twice(clinic: FhirSandbox, booker: Adapter) -> None:
    clinic.faults.lose_answer = 1
    with pytest.raises(Retry):
        await place(booker, order("po_1", "s1"))
    assert statuses(clinic, "s1") == ["busy"]  # it may be booked: nothing is undone
    again = await place(booker, order("po_1", "s1"))  # even without asking first
    assert again.status is ReceiptStatus.ACCEPTED and clinic.living("po_1") == 1
    assert await booker.find("po_1") == again


async def test_an_update_sent_twice_by_the_transport_is_still_ours(clinic: FhirSandbox, booker: Adapter) -> None:
    await place(booker, order("po_0", "s2"))  # the connection is warm: a broken PUT is sent again by itself
    clinic.lose_updates = 1
    assert (await place(booker, order("po_1", "s1"))).status is ReceiptStatus.ACCEPTED
    assert clinic.living("po_1") == 1 and statuses(clinic, "s1") == ["busy"]


async def test_a_lost_answer_to_the_slots_update_leaves_no_slot_behind(
    clinic: FhirSandbox, booker: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = booker._update
    lost = iter([True])

    async def update(before: Any, after: Any) -> Any:
        done = await original(before, after)
        if next(lost, False):
            raise Retry("the answer was lost")
        return done

    monkeypatch.setattr(booker, "_update", update)
    with pytest.raises(Retry):
        await place(booker, order("po_1", "s1"))
    assert statuses(clinic, "s1") == ["free"]  # no appointment was asked for: freed at once
    assert await booker.find("po_1") is None
    assert (await place(booker, order("po_1", "s1"))).status is ReceiptStatus.ACCEPTED


async def test_a_half_placed_order_is_completed_by_the_same_key(
    clinic: FhirSandbox, booker: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = booker._book

    async def dies(po: Any, line: Any, slot: Any, key: str, mark: str) -> Any:
        if mark.endswith("2-of-2"):
            raise Retry("the process died here")
        return await original(po, line, slot, key, mark)

    monkeypatch.setattr(booker, "_book", dies)
    with pytest.raises(Retry):
        await place(booker, order("po_1", "s1", "s4"))
    assert await booker.find("po_1") is None  # half an order is no order
    fresh = connect(clinic)
    receipt = await place(fresh, order("po_1", "s1", "s4"))
    assert receipt.status is ReceiptStatus.ACCEPTED and clinic.living("po_1") == 1
    assert len(clinic.appointments("po_1")) == 2
    await fresh.aclose()


async def test_a_half_placed_order_that_can_no_longer_be_completed_is_undone(
    clinic: FhirSandbox, booker: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = booker._book

    async def dies(po: Any, line: Any, slot: Any, key: str, mark: str) -> Any:
        if mark.endswith("2-of-2"):
            raise Retry("the process died here")
        return await original(po, line, slot, key, mark)

    monkeypatch.setattr(booker, "_book", dies)
    with pytest.raises(Retry):
        await place(booker, order("po_1", "s1", "s4"))
    clinic.change("Slot", "s4", status="busy", identifier=[])  # the clinic's staff gave it to somebody else
    fresh = connect(clinic)
    receipt = await place(fresh, order("po_1", "s1", "s4"))
    assert receipt.status is ReceiptStatus.REFUSED and clinic.living("po_1") == 0
    assert statuses(clinic, "s1", "s4") == ["free", "busy"]
    found = await fresh.find("po_1")
    assert found is not None and found.status is ReceiptStatus.REFUSED  # this key is spent
    await fresh.aclose()


async def test_cancelling_frees_the_slot_for_others_and_may_be_repeated(clinic: FhirSandbox, booker: Adapter) -> None:
    po = order("po_1", "s1", "s4")
    receipt = await place(booker, po)
    for _ in range(2):
        cancelled = await booker.cancel(receipt.vendor_order_no or "", po)
        assert cancelled.status is ReceiptStatus.ACCEPTED
    assert statuses(clinic, "s1", "s4") == ["free", "free"] and clinic.living("po_1") == 0
    assert (await place(booker, order("po_2", "s1"))).status is ReceiptStatus.ACCEPTED
    await booker.cancel(receipt.vendor_order_no or "", po)
    assert statuses(clinic, "s1") == ["busy"] and clinic.living("po_2") == 1  # not ours any more


async def test_cancelling_rides_out_a_change_in_between(clinic: FhirSandbox, booker: Adapter) -> None:
    po = order("po_1", "s1")
    receipt = await place(booker, po)
    clinic.steal = 1  # the slot's version changes under the update that would free it
    assert (await booker.cancel(receipt.vendor_order_no or "", po)).status is ReceiptStatus.ACCEPTED
    assert clinic.living("po_1") == 0 and statuses(clinic, "s1") == ["free"]


@pytest.mark.parametrize("status", ["arrived", "checked-in", "fulfilled", "noshow"])
async def test_what_took_place_cannot_be_cancelled(clinic: FhirSandbox, booker: Adapter, status: str) -> None:
    po = order("po_1", "s1")
    receipt = await place(booker, po)
    clinic.change("Appointment", receipt.vendor_order_no or "", status=status)
    refused = await booker.cancel(receipt.vendor_order_no or "", po)
    assert refused.status is ReceiptStatus.REFUSED and status in (refused.reason or "")
    assert statuses(clinic, "s1") == ["busy"]


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        ("booked", ShipmentStatus.PENDING),
        ("fulfilled", ShipmentStatus.DELIVERED),
        ("noshow", ShipmentStatus.EXCEPTION),
        ("cancelled", ShipmentStatus.CANCELLED),
        ("teleported", ShipmentStatus.UNKNOWN),
    ],
)
async def test_tracking_speaks_our_words_and_never_guesses(
    clinic: FhirSandbox, booker: Adapter, status: str, meaning: ShipmentStatus
) -> None:
    receipt = await place(booker, order("po_1", "s1"))
    clinic.change("Appointment", receipt.vendor_order_no or "", status=status)
    [update] = await booker.track(receipt.vendor_order_no or "")
    assert (update.status, update.raw_status, update.po_number) == (meaning, status, "po_1")
    assert update.at.tzinfo is not None
    assert await booker.track("nothing-like-it") == ()


async def test_a_clinic_that_asks_for_time_leaves_the_order_pending(clinic: FhirSandbox, booker: Adapter) -> None:
    receipt = await place(booker, order("po_1", "s1"))
    clinic.change("Appointment", receipt.vendor_order_no or "", status="pending")
    found = await booker.find("po_1")
    assert found is not None and found.status is ReceiptStatus.PENDING and found.accepted_at is None


async def test_find_believes_identifiers_not_the_search(
    clinic: FhirSandbox, booker: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place(booker, order("po_1", "s1"))
    monkeypatch.setattr(clinic, "_matches", lambda kind, query: list(clinic._store[kind].values()))
    assert await booker.find("po_other") is None
    assert await booker.find("po_1") is not None


async def test_orders_that_no_clinic_could_take_are_refused_unasked(clinic: FhirSandbox, booker: Adapter) -> None:
    unslotted = order("po_1", "s1")
    unslotted = unslotted.model_copy(update={"lines": (unslotted.lines[0].model_copy(update={"slot_ref": None}),)})
    for po in (unslotted, order("po_2", "s1", quantity=2), order("po_3", "s1", "s1")):
        receipt = await place(booker, po)
        assert receipt.status is ReceiptStatus.REFUSED and receipt.reason and not receipt.out_of_stock
    assert clinic.seen == []


async def test_a_server_without_versions_is_not_booked_at(
    clinic: FhirSandbox, booker: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.fhir_clinic.booking.etag_of", lambda resource: None)
    with pytest.raises(Misconfigured, match="versions"):
        await place(booker, order("po_1", "s1"))
    assert statuses(clinic, "s1") == ["free"]
