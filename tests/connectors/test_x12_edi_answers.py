"""X12 answers: read line by line, in any order of arrival, wherever their files lie."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from connectors.contracts import PurchaseOrder, ReceiptStatus
from connectors.edi import deciding
from connectors.edi.models import Notice, Parcel, Verdict
from connectors.kit import example_order
from connectors.x12_edi.sandbox import INBOX, OUTBOX, THEM, US, X12Sandbox, catalogue
from hub.kernel.errors import Broken
from tests.connectors.edi_stage import Clock, Stage, mailbox, pulled

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


# Answers ------------------------------------------------------------------------------------------------------


async def test_a_refusal_says_why_and_leaves_nothing_living(stage: Stage) -> None:
    async with stage.open() as adapter:
        await placed(stage, adapter, "reject")
        receipt = await adapter.find(PO)
        assert receipt.status is REFUSED and not receipt.out_of_stock
        assert receipt.reason == "70001: rejected (IR); 70002: rejected (IR)"
        assert stage.partner.living(PO) == 0


async def test_an_order_that_their_system_cannot_read_is_refused(stage: Stage) -> None:
    async with stage.open() as adapter:
        await placed(stage, adapter, "unreadable")
        receipt = await adapter.find(PO)
        assert receipt.status is REFUSED and "AK5 R 5" in receipt.reason and "AK4" in receipt.reason


async def test_silence_stays_pending(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    moving = Clock(monkeypatch)
    async with stage.open() as adapter:
        await placed(stage, adapter, "nothing")
        for _ in range(5):
            moving.forward(days=3)
            assert (await adapter.find(PO)).status is PENDING


async def test_that_they_could_read_it_is_no_answer(stage: Stage) -> None:
    async with stage.open() as adapter:
        await placed(stage, adapter, "nothing")
        control = stage.partner.orders[PO][0][13]
        read = ["997", f"AK1*PO*{int(control)}", "AK2*850*0001", "AK5*A", "AK9*A*1*1*1"]
        other = ["997", "AK1*PO*12345", "AK9*R*1*1*0"]
        stage.partner.leave("ack.edi", "FA", [read, other])
        receipt = await adapter.find(PO)
        assert (receipt.status, receipt.raw_status) == (PENDING, "received")
        stage.partner.put(
            f"{INBOX}/ta1.edi",
            stage.partner.envelope("FA", [read]).replace(b"\nGS", f"\nTA1*{control}*261125*0800*R*022~\nGS".encode()),
        )
        assert (await adapter.find(PO)).status is PENDING, "one says it was read"


@pytest.mark.parametrize(
    ("lines", "header", "status", "said"),
    [
        ([], "AT", ACCEPTED, ""),
        ([], "AK", ACCEPTED, ""),
        ([], "AD", ACCEPTED, ""),
        ([], "AH", PENDING, ""),
        ([], "ZZ", PENDING, ""),
        ([], "RJ", REFUSED, "rejected"),
        ([], "RO", REFUSED, "rejected"),
        (["PO1*1*3*EA*4.85**VN*70001"], "AE", ACCEPTED, ""),
        (["PO1*1*3*EA*4.85**VN*70001", "ACK*IA*3*EA"], "AC", PENDING, "has not answered for every line"),
        (["PO1*1*3*EA*4.85**VN*70001", "ACK*IR", "PO1*2*2*EA*1.10**VN*70002", "ACK*R4"], "AC", REFUSED, "R4"),
        (["PO1*1*3*EA*4.85**VN*70001", "ACK*IH", "PO1*2*2*EA*1.10**VN*70002", "ACK*IA"], "AC", PENDING, "IH"),
        (["PO1*1*3*EA*4.85**VN*70001", "ACK*QQ", "PO1*2*2*EA*1.10**VN*70002", "ACK*IA"], "AC", PENDING, "QQ"),
        (["PO1*1*3*EA*4.00**VN*70001", "ACK*IP", "PO1*2*2*EA*1.10**VN*70002", "ACK*IA"], "AC", ACCEPTED, ""),
        (["PO1*1*3*EA*4.85**VN*70001", "ACK*IQ*5*EA", "PO1*2*2*EA*1.10**VN*70002", "ACK*DR"], "AC", ACCEPTED, ""),
        (["PO1*9*3*EA*4.85**VN*70001", "ACK*IA", "PO1**2*EA*1.10**VN*70002", "ACK*AR"], "AC", ACCEPTED, ""),
        (["PO1*001*3*EA*4.85", "ACK*IA*3*EA", "PO1*002*2*EA*1.10", "ACK*IA"], "AD", ACCEPTED, ""),
    ],
)
async def test_an_acknowledgement_is_read_line_by_line(
    stage: Stage, lines: list[str], header: str, status: ReceiptStatus, said: str
) -> None:
    async with stage.open() as adapter:
        await placed(stage, adapter, "nothing")
        stage.partner.leave("855.edi", "PR", [["855", f"BAK*00*{header}*{PO}*20261125", *lines]])
        receipt = await adapter.find(PO)
    assert receipt.status is status and said in (receipt.reason or ""), receipt


@pytest.mark.parametrize(
    ("answer", "why", "stock"),
    [
        ("backorder", "70001: backordered (IB); 70002: backordered (IB)", True),
        ("short", "70001: 1 of 3 (IQ)", True),
        ("dearer", "70001: at 5.85 instead of 4.85 (IP)", False),
    ],
)
async def test_what_would_be_sent_in_part_is_cancelled_and_bought_elsewhere(
    stage: Stage, answer: str, why: str, stock: bool
) -> None:
    async with stage.open(cancel="answered") as adapter:
        await placed(stage, adapter, answer)
        receipt = await adapter.find(PO)
        assert (receipt.status, receipt.reason) == (PENDING, why)
        assert (await adapter.find(PO)).status is PENDING and len(stage.outbox()) == 1, "asked to cancel, once"
        stage.partner.collect()
        receipt = await adapter.find(PO)
        skus = ("70001", "70002") if answer == "backorder" else ("70001",)
        assert (receipt.status, receipt.reason, receipt.out_of_stock) == (REFUSED, why, stock)
        assert receipt.out_of_stock_skus == (skus if stock else ())
        assert stage.partner.living(PO) == 0


@pytest.mark.parametrize(("cancel", "cancels"), [("none", "yes"), ("answered", "no")])
async def test_a_part_that_cannot_be_cancelled_is_for_a_person(stage: Stage, cancel: str, cancels: str) -> None:
    async with stage.open(cancel=cancel) as adapter:
        stage.partner.cancels = cancels
        await placed(stage, adapter, "short")
        with contextlib.suppress(Broken):
            await adapter.find(PO)
        stage.partner.collect()
        with pytest.raises(Broken, match="only in part: 70001: 1 of 3") as caught:
            await adapter.find(PO)
        assert caught.value.code == "part_taken"
        stage.partner.ship(PO, ["1Z9"])
        assert (await adapter.find(PO)).status is ACCEPTED, "what has left was accepted"


async def test_documents_in_any_order_and_twice_come_to_the_same(stage: Stage) -> None:
    """855s that correct each other, a notice before them, a refusal of the first letter: every order of arrival."""
    at = datetime(2026, 11, 25, 8, 0, tzinfo=UTC)
    answers = [
        _answer(at, ("1", "IH", 3), ("2", "IA", 2)),
        _answer(at + timedelta(hours=1), ("1", "IA", 3)),
        _answer(at + timedelta(hours=2), ("2", "IB", None)),
        _answer(at + timedelta(hours=3), ("2", "IA", 2)),
    ]
    lines = [deciding.SentLine(str(n), f"7000{n}", Decimal(q), Decimal(5)) for n, q in ((1, 3), (2, 2))]
    sent = deciding.Sent("7", PO, at, tuple(lines))
    outcomes = {
        deciding.decide(sent, [*shuffled, shuffled[0]]).receipt.status for shuffled in itertools.permutations(answers)
    }
    assert outcomes == {ACCEPTED}
    notices = [
        Notice(po_number=PO, shipment="S1", raw="856 00", at=at, parcels=(Parcel(tracking_no="A"),)),
        Notice(
            po_number=PO, shipment="S1", raw="856 05", at=at + timedelta(hours=1), parcels=(Parcel(tracking_no="B"),)
        ),
        Notice(po_number=PO, shipment="S2", raw="856 00", at=at, parcels=(Parcel(tracking_no="C"),)),
        Notice(po_number=PO, shipment="S2", raw="856 01", at=at, withdrawn=True),
        Verdict(control="7", accepted=True),
    ]
    for shuffled in itertools.permutations([*notices, answers[2]]):
        decision = deciding.decide(sent, shuffled)
        assert decision.receipt.status is ACCEPTED
        assert [update.tracking_no for update in deciding.updates(sent, decision, shuffled)] == ["B"]


def _answer(at: datetime, *lines: tuple[str, str, int | None]) -> Any:
    from connectors.edi.models import Answer, LineAnswer
    from connectors.x12_edi.answers import LINES

    return Answer(
        po_number=PO, outcome=None, rest=None, raw="855 AC", at=at, accepted_at=at,
        lines=tuple(
            LineAnswer(line_no=no, outcome=LINES[code][0], raw=code, quantity=Decimal(q) if q else None,
                       out_of_stock=LINES[code][1])
            for no, code, q in lines
        ),
    )  # fmt: skip


async def test_an_answer_counts_wherever_its_file_lies(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the inbox, taken in, archived a week later: asking gives the same."""
    moving = Clock(monkeypatch)
    stage.partner.leave("price.edi", "SC", [catalogue([1])])
    async with stage.open() as adapter:
        await placed(stage, adapter)
        stage.partner.ship(PO, ["1Z1", "1Z2"])
        for _ in range(4):
            assert (await adapter.find(PO)).status is ACCEPTED
            assert [update.tracking_no for update in await adapter.track(PO)] == ["1Z1", "1Z2"]
            began = moving.forward(days=2)
            await pulled(adapter, since=began - timedelta(days=1))
        archived = list((stage.root / "supplyhub/archive").rglob("*~ans~*"))
        assert len(archived) == 1
    async with stage.open() as fresh:
        assert (await fresh.find(PO)).status is ACCEPTED


async def test_garbage_in_the_inbox_does_not_hide_an_answer(stage: Stage) -> None:
    async with stage.open() as adapter:
        await placed(stage, adapter)
        stage.partner.put(f"{INBOX}/0.edi", b"<html>no</html>")
        half = stage.partner.envelope("PR", [["855", f"BAK*00*RJ*{PO}*20261125"]])[:-15]
        stage.partner.put(f"{INBOX}/1.edi", half)
        stranger = stage.partner.envelope("PR", [["855", f"BAK*00*RJ*{PO}*20261125"]])
        stage.partner.put(f"{INBOX}/2.edi", stranger.replace(THEM.encode(), b"FORGEDSENDER"))
        assert (await adapter.find(PO)).status is ACCEPTED


async def test_invoices_are_kept_for_settlement(stage: Stage) -> None:
    body = ["810", f"BIG*20261125*INV-1*20261124*{PO}", "IT1*1*3*EA*4.85**VN*70001", "TDS*1455"]
    stage.partner.leave("810.edi", "IN", [body])
    async with stage.open() as adapter:
        [invoice] = await adapter.invoices()
    assert (invoice.number, invoice.po_number, invoice.total) == ("INV-1", PO, Decimal("14.55"))
