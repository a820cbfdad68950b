"""X12 orders: left once whatever dies when, answered in any order, refused for a reason, never half bought."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectors.contracts import PurchaseOrder, ReceiptStatus, ShipmentStatus
from connectors.edi.models import Invoice
from connectors.kit import example_order
from connectors.x12_edi.sandbox import INBOX, OUTBOX, THEM, US, X12Sandbox
from hub.kernel.errors import Misconfigured, Retry
from tests.connectors.edi_stage import Clock, Stage, mailbox

PO = "POABCDEFGHIJKLMNOPQRST"
ACCEPTED, REFUSED, PENDING = ReceiptStatus.ACCEPTED, ReceiptStatus.REFUSED, ReceiptStatus.PENDING


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    with mailbox() as (name, root):
        config = {"our_id": US, "partner_id": THEM, "inbox": INBOX, "outbox": OUTBOX, "directory": name}
        yield Stage("x12_edi", X12Sandbox(root=root, articles=0), config)


def order(number: str = PO, *lines: tuple[str, int, str]) -> PurchaseOrder:
    return example_order(number, list(lines) or [("70001", 3, "4.85"), ("70002", 2, "1.10")], currency="USD")


async def placed(stage: Stage, adapter: Any, answer: str = "accept", number: str = PO) -> PurchaseOrder:
    """An order that the wholesaler has read and answered so."""
    stage.partner.answer = answer
    po = order(number)
    assert (await adapter.place(po, key=number)).status is PENDING
    stage.partner.collect()
    return po


# Out, once ----------------------------------------------------------------------------------------------------


async def test_an_order_is_pending_until_the_partner_answers(stage: Stage) -> None:
    async with stage.open() as adapter:
        receipt = await adapter.place(order(), key=PO)
        assert (receipt.status, receipt.vendor_order_no, receipt.raw_status) == (PENDING, PO, "sent")
        assert (await adapter.find(PO)).status is PENDING
        stage.partner.collect()
        receipt = await adapter.find(PO)
        assert receipt.status is ACCEPTED and receipt.accepted_at is not None
        assert "SO-" in receipt.raw_status
        assert await adapter.find("PONEVER") is None


async def test_an_order_placed_again_is_the_same_order(stage: Stage) -> None:
    async with stage.open() as adapter, stage.open() as another:
        for _ in range(3):
            assert (await adapter.place(order(), key=PO)).status is PENDING
        assert len(stage.outbox()) == 1
        stage.partner.collect()
        assert (await another.place(order(), key=PO)).status is ACCEPTED
        assert stage.outbox() == [] and len(stage.partner.orders) == 1


async def test_an_order_dies_between_any_two_steps_and_is_sent_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every act on the mailbox is cut once before it happens and once after it: asking and, where nothing was
    delivered, placing again gives exactly one order."""
    async with stage.open() as adapter:
        box = type(adapter.office.box)
        acts, failing, after = 0, 0, False

        def failpoint(name: str) -> Any:
            real = getattr(box, name)

            async def act(self: Any, *arguments: Any, **named: Any) -> Any:
                nonlocal acts
                acts += 1
                if acts == failing and not after:
                    raise Retry("cut before", code="vendor_unreachable")
                done = await real(self, *arguments, **named)
                if acts == failing:
                    raise Retry("cut after", code="vendor_unreachable")
                return done

            return act

        for name in ("move", "write", "create", "delete"):
            monkeypatch.setattr(box, name, failpoint(name))
        lost = 0
        for n in range(1, 100):
            after, failing, acts = n % 2 == 0, (n + 1) // 2, 0
            number = f"POSTEP{n}"
            try:
                await adapter.place(order(number), key=number)
                break  # the order needs fewer acts than that
            except Retry:
                lost += 1
            failing = 0
            found = await adapter.find(number)
            if found is None:
                assert not any(f"{number}_" in name for name in stage.outbox())
                await adapter.place(order(number), key=number)
            assert (await adapter.find(number)).status is PENDING
            assert sum(f"{number}_" in name for name in stage.outbox()) == 1
        assert lost >= 8, "a number, the letter, our copy, the delivery; each before and after"
        stage.partner.collect()  # it fails when the same order comes twice


async def test_two_workers_that_place_one_order_deliver_it_once(stage: Stage) -> None:
    async with stage.open() as one, stage.open() as two:
        await asyncio.gather(*(adapter.place(order(), key=PO) for adapter in (one, two) for _ in range(3)))
    assert len(stage.outbox()) == 1
    stage.partner.collect()
    assert list(stage.partner.orders) == [PO]


async def test_control_numbers_never_repeat_and_rise_with_time(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    moving = Clock(monkeypatch)
    async with stage.open() as one, stage.open() as two:
        first = await asyncio.gather(*(adapter.office.number() for adapter in (one, two) for _ in range(20)))
        assert len(set(first)) == 40
        moving.forward(hours=-1)  # a clock that goes back costs gaps, not numbers
        again = [await one.office.number() for _ in range(20)]
        moving.forward(hours=3)
        later = [await one.office.number() for _ in range(5)]
    assert len({*first, *again, *later}) == 65 and min(later) > max(first)
    assert all(0 < number < 1_000_000_000 for number in (*first, *later))


async def test_the_numbers_of_a_letter_agree_and_are_new_with_each(stage: Stage) -> None:
    async with stage.open() as adapter:
        for number in ("POA", "POB"):
            await adapter.place(order(number), key=number)
    stage.partner.collect()
    seen = set()
    for segments in stage.partner.orders.values():
        by_name = {segment[0]: segment for segment in segments}
        control = by_name["ISA"][13]
        assert control == by_name["IEA"][2] and int(control) == int(by_name["GS"][6]) == int(by_name["GE"][2])
        assert by_name["SE"][1] == str(len(segments) - 4)
        seen.add(control)
    assert len(seen) == 2


UNWRITABLE = [
    (order("P" * 23), "22 characters"),
    (order("PO*1"), "22 characters"),
    (order(PO, ("A*1", 1, "1.00")), "cannot be written"),
    (order(PO, ("A~1", 1, "1.00")), "cannot be written"),
    (order(PO, ("A" * 60, 1, "1.00")), "cannot be written"),
]


@pytest.mark.parametrize(("po", "why"), UNWRITABLE)
async def test_an_order_that_x12_cannot_say_is_refused_unsent(stage: Stage, po: PurchaseOrder, why: str) -> None:
    async with stage.open() as adapter:
        receipt = await adapter.place(po, key=po.number)
        assert receipt.status is REFUSED and why in receipt.reason
        assert await adapter.find(po.number) is None
    assert stage.outbox() == []


async def test_an_address_cannot_break_out_of_its_element(stage: Stage) -> None:
    po = order()
    ship_to = po.ship_to.model_copy(
        update={"name": "O*Neil~IEA*1*1~", "address": "1 Main >St^\r\nSE*1*0001~", "province": "CA", "phone": "1~2"}
    )
    async with stage.open() as adapter:
        await adapter.place(po.model_copy(update={"ship_to": ship_to}), key=PO)
    stage.partner.collect()
    [segments] = stage.partner.orders.values()
    assert [segment[0] for segment in segments] == [
        "ISA", "GS", "ST", "BEG", "CUR", "CSH", "N1", "N3", "N4", "PER", "PO1", "PO1", "CTT", "SE", "GE", "IEA",
    ]  # fmt: skip
    by_name = {segment[0]: segment for segment in segments}
    assert by_name["N1"] == ["N1", "ST", "O Neil IEA 1 1"] and by_name["N4"][2] == "CA"


async def test_an_article_is_ordered_by_the_number_and_unit_of_its_listing(stage: Stage) -> None:
    po = order(PO, ("70001", 1, "4.85"), ("70002@CA", 2, "55.20"), ("70003", 1, "1.10"), ("70004@PK", 1, "2.00"))
    refs = ["UP:70001@PC", "VN:70002@CA", "VN:OTHER@EA", None]
    lines = [line.model_copy(update={"vendor_ref": ref}) for line, ref in zip(po.lines, refs, strict=True)]
    async with stage.open() as adapter:
        await adapter.place(po.model_copy(update={"lines": tuple(lines)}), key=PO)
    stage.partner.collect()
    [segments] = stage.partner.orders.values()
    assert [segment[3:] for segment in segments if segment[0] == "PO1"] == [
        ["PC", "4.85", "", "UP", "70001"], ["CA", "55.2", "", "VN", "70002"], ["EA", "1.1", "", "VN", "70003"],
        ["PK", "2", "", "VN", "70004"],
    ]  # fmt: skip


async def test_versions_and_test_letters_are_written_as_the_settings_say(stage: Stage) -> None:
    async with stage.open(version="005010", usage="T", sales_requirement="none", our_application="APP") as adapter:
        await adapter.place(order(), key=PO)
    stage.partner.collect()
    [segments] = stage.partner.orders.values()
    isa, gs = segments[0], segments[1]
    assert (isa[11], isa[12], isa[15]) == ("^", "00501", "T") and (gs[2], gs[8]) == ("APP", "005010")
    assert "CSH" not in {segment[0] for segment in segments}
    assert len("*".join(isa)) == 105


@pytest.mark.parametrize("wrong", [{"our_id": "x" * 16}, {"partner_id": "供应商"}, {"timezone": "Mars/Olympus"}])
async def test_settings_that_x12_cannot_hold_are_misconfigured(stage: Stage, wrong: dict[str, str]) -> None:
    async with stage.open(**wrong) as adapter:
        with pytest.raises(Misconfigured):
            await adapter.place(order(), key=PO)


# Cancelling ---------------------------------------------------------------------------------------------------


async def test_a_cancellation_waits_for_its_answer(stage: Stage) -> None:
    async with stage.open(cancel="answered") as adapter:
        po = await placed(stage, adapter)
        for _ in range(2):
            receipt = await adapter.cancel(PO, po)
            assert receipt.status is PENDING and receipt.reason and len(stage.outbox()) == 1
        stage.partner.collect()
        assert (await adapter.cancel(PO, po)).status is ACCEPTED
        assert (await adapter.find(PO)).status is REFUSED and stage.partner.living(PO) == 0


async def test_their_word_that_they_read_it_cancels_where_that_is_agreed(stage: Stage) -> None:
    async with stage.open(cancel="when_read") as adapter:
        stage.partner.cancels = "nothing"
        po = await placed(stage, adapter)
        assert (await adapter.cancel(PO, po)).status is PENDING
        [letter] = (stage.root / OUTBOX).glob("cancel_*")
        control = letter.read_text().split("*")[13]
        stage.partner.leave("997.edi", "FA", [["997", f"AK1*PC*{int(control)}", "AK9*A*1*1*1"]])
        assert (await adapter.cancel(PO, po)).status is ACCEPTED


@pytest.mark.parametrize(
    ("cancel", "cancels", "why"),
    [("none", "yes", "takes no cancellations"), ("answered", "no", "will not cancel (865 RJ)")],
)
async def test_a_refused_cancellation_says_why(stage: Stage, cancel: str, cancels: str, why: str) -> None:
    async with stage.open(cancel=cancel) as adapter:
        stage.partner.cancels = cancels
        po = await placed(stage, adapter)
        await adapter.cancel(PO, po)
        stage.partner.collect()
        receipt = await adapter.cancel(PO, po)
        assert receipt.status is REFUSED and why in receipt.reason
        assert (await adapter.find(PO)).status is ACCEPTED and stage.partner.living(PO) == 1


async def test_what_has_left_is_not_cancelled(stage: Stage) -> None:
    async with stage.open(cancel="answered") as adapter:
        po = await placed(stage, adapter)
        stage.partner.ship(PO, ["1Z9"])
        receipt = await adapter.cancel(PO, po)
        assert (receipt.status, receipt.reason) == (REFUSED, "the order has left")
        assert stage.outbox() == []


async def test_an_order_that_was_never_delivered_is_taken_back(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage.open(cancel="none") as adapter:
        box = type(adapter.office.box)
        real = box.move

        async def cut(self: Any, source: str, target: str) -> None:
            raise Retry("cut before the delivery", code="vendor_unreachable")

        monkeypatch.setattr(box, "move", cut)
        with pytest.raises(Retry):
            await adapter.place(order(), key=PO)
        monkeypatch.setattr(box, "move", real)
        assert await adapter.find(PO) is None and await adapter.track(PO) == ()
        assert (await adapter.cancel(PO, order())).status is ACCEPTED
        assert (await adapter.cancel(PO, order())).status is ACCEPTED, "again: there is none"
        assert stage.outbox() == [] and await adapter.find(PO) is None


# Following ----------------------------------------------------------------------------------------------------


async def test_an_order_is_followed_parcel_by_parcel(stage: Stage) -> None:
    async with stage.open() as adapter:
        await placed(stage, adapter, "nothing")
        [update] = await adapter.track(PO)
        assert (update.status, update.raw_status) == (ShipmentStatus.PENDING, "sent")
        stage.partner.ship(PO, ["1Z1", "1Z2"], datetime(2026, 11, 25, 9, 30, tzinfo=UTC))
        first, second = await adapter.track(PO)
        assert (first.status, first.tracking_no, first.carrier, first.po_number) == (
            ShipmentStatus.SHIPPED, "1Z1", "UPSN", PO,
        )  # fmt: skip
        assert first.at == datetime(2026, 11, 25, 9, 30, tzinfo=UTC) and second.tracking_no == "1Z2"


NOTICES = [
    # segments behind BSN and HL*1**S -> tracking numbers of our order
    (["REF*CN*T1", "HL*2*1*O", f"PRF*{PO}", "HL*3*2*I", "SN1**1*EA"], ["T1"]),
    (["HL*2*1*O", f"PRF*{PO}", "REF*CN*T2", "HL*3*2*P", "MAN*GM*00000"], ["T2"]),
    (["HL*2*1*O", f"PRF*{PO}", "HL*3*2*T", "REF*2I*T3", "HL*4*3*P", "MAN*CP*T4"], ["T3", "T4"]),
    (["HL*2*1*T", "MAN*CP*T5", "HL*3*2*O", f"PRF*{PO}", "HL*4*3*I"], ["T5"]),
    (["HL*2*1*O", "PRF*POOTHER", "HL*3*2*P", "MAN*CP*X", "HL*4*1*O", f"PRF*{PO}", "HL*5*4*P", "MAN*CP*T6"], ["T6"]),
    (["HL*2*1*O", f"PRF*{PO}", "HL*3*2*P", "MAN*GM*00000"], [None]),
    (["HL*2*2*O", f"PRF*{PO}", "HL*3*2*P", "MAN*CP*T7"], ["T7"]),
]


@pytest.mark.parametrize(("levels", "wanted"), NOTICES)
async def test_a_notice_of_any_structure_names_our_parcels(
    stage: Stage, levels: list[str], wanted: list[str | None]
) -> None:
    async with stage.open() as adapter:
        await placed(stage, adapter, "nothing")
        stage.partner.leave("856.edi", "SH", [["856", "BSN*00*S1*20261125*0930", "HL*1**S", *levels]])
        updates = await adapter.track(PO)
        assert [update.tracking_no for update in updates] == wanted
        assert {update.status for update in updates} == {ShipmentStatus.SHIPPED}
        assert (await adapter.find(PO)).status is ACCEPTED


# Real files ---------------------------------------------------------------------------------------------------


@pytest.mark.realdata
async def test_the_edi_net_invoices_are_read(stage: Stage, realdata: Path) -> None:
    async with stage.open(our_id="ARIBAEDI", partner_id="ABCMUSICSUPPLY", sku="VP") as adapter:
        dialect = adapter.office.dialect
        for name, total in (("810a", "365.96"), ("810b", "401.92")):
            raw = io.BytesIO((realdata / "edi" / f"x12.{name}.edi").read_bytes())
            scan = dialect.scan(raw)
            assert scan.usable and scan.labels == {"inv"}
            raw.seek(0)
            [invoice] = dialect.facts(raw)
            assert isinstance(invoice, Invoice)
            assert (invoice.total, invoice.currency, invoice.po_number) == (Decimal(total), "USD", "DO091003")
            lines = [(line.unit_price, line.quantity) for line in invoice.lines]
            assert lines == [(Decimal("99.99"), Decimal(2)), (Decimal("79.99"), Decimal(2))]
        assert [charge.amount for charge in invoice.charges if charge.line_no is None] == [
            Decimal("6"),
            Decimal("35.96"),
        ]


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["850", "850a", "850.issue135"])
async def test_the_edi_net_orders_are_whole(stage: Stage, realdata: Path, name: str) -> None:
    raw = (realdata / "edi" / f"x12.{name}.edi").read_bytes()
    head = raw[:200].decode("utf-8-sig").split("*")
    async with stage.open(our_id=head[8].strip(), partner_id=head[6].strip()) as adapter:
        scan = adapter.office.dialect.scan(io.BytesIO(raw))
        assert scan.usable, scan
        assert {one.kind for group in scan.groups for one in group.sets} == {"850"}
        assert scan.notes == (set() if "135" in name else {"IEA02 is not ISA13"})
