"""EDIFACT answers: order responses read by their codes, in any order of arrival, wherever their files lie."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors.contracts import PurchaseOrder, ReceiptStatus
from connectors.edifact.sandbox import INBOX, OUTBOX, THEM, US, EdifactSandbox, catalogue
from connectors.kit import example_order
from hub.kernel.errors import Broken, HubError
from tests.connectors.edi_stage import Clock, Stage, mailbox, pulled

PO = "POABCDEFGHIJKLMNOPQRST"
ACCEPTED, REFUSED, PENDING = ReceiptStatus.ACCEPTED, ReceiptStatus.REFUSED, ReceiptStatus.PENDING


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    with mailbox() as (name, root):
        config = {
            "our_id": US, "partner_id": THEM, "inbox": INBOX, "outbox": OUTBOX, "directory": name, "syntax": "UNOY:3",
        }  # fmt: skip
        yield Stage("edifact", EdifactSandbox(root=root, articles=0), config)


def order(number: str = PO, *lines: tuple[str, int, str]) -> PurchaseOrder:
    return example_order(number, list(lines) or [("M-1", 3, "12.50"), ("M-2", 2, "1.10")])


async def placed(stage: Stage, adapter: Any, answer: str = "accept", number: str = PO) -> PurchaseOrder:
    """An order that the wholesaler has read and answered so."""
    stage.partner.answer = answer
    po = order(number)
    assert (await adapter.place(po, key=number)).status is PENDING
    stage.partner.collect()
    return po


def respond(stage: Stage, name: str, function: str, *segments: str, number: str = PO) -> None:
    """Leave an ORDRSP."""
    body = ["ORDRSP:D:96A:UN:EAN007", f"BGM+231+R1+{function}", f"RFF+ON:{number}", *segments, "UNS+S"]
    stage.partner.leave(name, [body])


async def test_a_refusal_says_why_and_leaves_nothing_living(stage: Stage) -> None:
    async with stage.open() as adapter:
        await placed(stage, adapter, "reject")
        receipt = await adapter.find(PO)
        assert receipt.status is REFUSED and not receipt.out_of_stock
        assert receipt.reason == "M-1: rejected (LIN 7); M-2: rejected (LIN 7)"
        assert stage.partner.living(PO) == 0


async def test_an_order_that_their_system_cannot_read_is_refused(stage: Stage) -> None:
    async with stage.open() as adapter:
        await placed(stage, adapter, "unreadable")
        receipt = await adapter.find(PO)
        assert receipt.status is REFUSED
        assert "could not read the order" in receipt.reason and "UCD 13 2" in receipt.reason


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
        control = stage.partner.orders[PO][0].split("+")[5]

        def contrl(name: str, reference: str, *rest: str) -> None:
            body = ["CONTRL:D:3:UN", f"UCI+{reference}+{US}:14+{THEM}:14+{rest[0]}", *rest[1:]]
            stage.partner.leave(name, [body])

        contrl("other.edi", "12345", "4", "UCM+1+ORDERS:D:96A:UN+4+13")
        contrl("came.edi", control, "8")
        assert (await adapter.find(PO)).raw_status == "sent"
        contrl("read.edi", control, "7", "UCM+1+ORDERS:D:96A:UN+7")
        receipt = await adapter.find(PO)
        assert (receipt.status, receipt.raw_status) == (PENDING, "received")
        contrl("late.edi", control, "4")
        assert (await adapter.find(PO)).status is PENDING, "one says it was read"


ONE, TWO = ["LIN+1+5", "PIA+5+M-1:SA"], ["LIN+2+5", "PIA+5+M-2:SA"]
RESPONSES: list[tuple[list[str], str, ReceiptStatus, str]] = [
    # segments, message function (1225), what becomes of the order, what is said
    ([], "29", ACCEPTED, ""),
    ([], "44", ACCEPTED, ""),
    ([], "27", REFUSED, "rejected"),
    ([], "12", PENDING, ""),
    ([], "23", PENDING, ""),
    ([], "9", PENDING, ""),
    ([], "77", PENDING, ""),
    (ONE, "29", ACCEPTED, ""),
    (ONE, "4", ACCEPTED, ""),
    (ONE, "9", PENDING, "has not answered for every line"),
    ([*ONE, *TWO], "9", ACCEPTED, ""),
    ([*ONE, *TWO], "27", REFUSED, "rejected"),
    (["LIN+1+7", "LIN+2+7"], "4", REFUSED, "rejected (LIN 7)"),
    (["LIN+1+2", "LIN+2+10"], "4", REFUSED, "LIN 10"),
    (["LIN+1+7", "QTY+113:0", "LIN+2+7"], "4", REFUSED, "LIN 7"),
    (["LIN+1+23", *TWO], "4", PENDING, "LIN 23"),
    (["LIN+1+99", *TWO], "4", PENDING, "LIN 99"),
    (["LIN+1+3", "QTY+113:3", "PRI+AAA:12,00", *TWO], "4", ACCEPTED, ""),
    (["LIN+1+3", "QTY+12:5:PCE", *TWO], "4", ACCEPTED, ""),
    (["LIN+1+5", "QTY+21:3", "PRI+AAA:12.50", *TWO], "4", ACCEPTED, ""),
    (["LIN+001", "LIN+002+4"], "4", ACCEPTED, ""),
    (["LIN+10+5", "PIA+5+M-2:SA", "LIN+20+5", "PIA+5+M-1:SA"], "4", ACCEPTED, ""),
    (["LIN+7+5", "RFF+LI:1", "LIN+8+7", "RFF+LI:2"], "4", PENDING, "M-2: rejected"),
]


@pytest.mark.parametrize(("segments", "function", "status", "said"), RESPONSES)
async def test_a_response_is_read_by_its_function_and_line_by_line(
    stage: Stage, segments: list[str], function: str, status: ReceiptStatus, said: str
) -> None:
    async with stage.open(cancel="answered") as adapter:
        await placed(stage, adapter, "nothing")
        respond(stage, "r.edi", function, *segments)
        receipt = await adapter.find(PO)
    assert receipt.status is status and said in (receipt.reason or ""), receipt


@pytest.mark.parametrize(
    ("answer", "why", "stock"),
    [
        ("backorder", "M-1: backordered (LIN 3); M-2: backordered (LIN 3)", True),
        ("short", "M-1: 1 of 3 (LIN 3)", True),
        ("dearer", "M-1: at 13.50 instead of 12.5 (LIN 3)", False),
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
        skus = ("M-1", "M-2") if answer == "backorder" else ("M-1",)
        assert (receipt.status, receipt.reason, receipt.out_of_stock) == (REFUSED, why, stock)
        assert receipt.out_of_stock_skus == (skus if stock else ())
        assert stage.partner.living(PO) == 0


@pytest.mark.parametrize("cancel", ["none", "answered"])
async def test_a_part_that_is_not_cancelled_is_for_a_person_or_waits(stage: Stage, cancel: str) -> None:
    async with stage.open(cancel=cancel) as adapter:
        stage.partner.cancels = "nothing"
        await placed(stage, adapter, "short")
        if cancel == "answered":
            assert (await adapter.find(PO)).status is PENDING
        else:
            with pytest.raises(Broken, match="only in part: M-1: 1 of 3") as caught:
                await adapter.find(PO)
            assert caught.value.code == "part_taken"
        stage.partner.ship(PO, ["SF9"])
        assert (await adapter.find(PO)).status is ACCEPTED, "what has left was accepted"


@pytest.mark.parametrize("code", ["7", "2", "10"])
async def test_a_line_rejected_with_nothing_left_is_out_of_stock(stage: Stage, code: str) -> None:
    async with stage.open() as adapter:
        await placed(stage, adapter, "nothing")
        respond(stage, "r.edi", "4", f"LIN+1+{code}", "QTY+113:0", f"LIN+2+{code}", "QTY+12:0,0")
        receipt = await adapter.find(PO)
    assert (receipt.status, receipt.out_of_stock, receipt.out_of_stock_skus) == (REFUSED, True, ("M-1", "M-2"))


async def test_a_substitute_is_not_what_was_ordered(stage: Stage) -> None:
    async with stage.open() as adapter:
        await placed(stage, adapter, "nothing")
        respond(stage, "r.edi", "4", "LIN+1+38", "PIA+5+M-1:SA", "PIA+3+M-9:SA", *TWO)
        with pytest.raises(Broken, match=r"M-1: another article \(LIN 38\)"):
            await adapter.find(PO)


async def test_answers_in_any_order_of_arrival_come_to_the_same(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Responses that correct each other and a despatch advice, left in every order: their own times decide."""
    moving = Clock(monkeypatch)
    told = [("23", 0), ("27", 1), ("29", 2)]
    for n, shuffled in enumerate(itertools.permutations(range(len(told)))):
        number = f"POORDER{n}"
        async with stage.open() as adapter:
            await placed(stage, adapter, "nothing", number)
            for at in shuffled:
                function, hours = told[at]
                when = datetime(2026, 11, 25, 8, 0, tzinfo=UTC) + timedelta(hours=hours)
                respond(stage, f"{number}_{at}.edi", function, number=number)
                path = stage.root / INBOX / f"{number}_{at}.edi"
                stamped = path.read_text().replace(
                    f"RFF+ON:{number}", f"DTM+137:{when:%Y%m%d%H%M}:203'\nRFF+ON:{number}"
                )
                path.write_text(stamped.replace("UNT+5+", "UNT+6+"))
                moving.forward(minutes=1)
            receipt = await adapter.find(number)
            assert receipt.status is ACCEPTED, shuffled
            stage.partner.ship(number, ["SF1"], f"ship{n}.edi")
            respond(stage, f"after{n}.edi", "27", number=number)
            assert (await adapter.find(number)).status is ACCEPTED, "it has left"
    stage.partner.ship("POEARLY", ["SF2"], "early.edi")
    async with stage.open() as adapter:
        assert await adapter.find("POEARLY") is None, "a notice of an order that was never placed"


async def test_an_answer_counts_wherever_its_file_lies(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the inbox, taken in, archived a week later: asking gives the same."""
    moving = Clock(monkeypatch)
    stage.partner.leave("pricat.edi", [catalogue([1])])
    async with stage.open() as adapter:
        await placed(stage, adapter)
        stage.partner.ship(PO, ["SF1", "SF2"])
        for _ in range(4):
            assert (await adapter.find(PO)).status is ACCEPTED
            assert [update.tracking_no for update in await adapter.track(PO)] == ["SF1", "SF2"]
            began = moving.forward(days=2)
            await pulled(adapter, since=began - timedelta(days=1))
        assert len(list((stage.root / "supplyhub/archive").rglob("*~ans~*"))) == 1
    async with stage.open() as fresh:
        assert (await fresh.find(PO)).status is ACCEPTED


async def test_garbage_in_the_inbox_does_not_hide_an_answer(stage: Stage) -> None:
    async with stage.open() as adapter:
        await placed(stage, adapter)
        stage.partner.put(f"{INBOX}/0.edi", b"<html>no</html>")
        no = ["ORDRSP:D:96A:UN:EAN007", "BGM+231+R1+27", f"RFF+ON:{PO}", "UNS+S"]
        stage.partner.put(f"{INBOX}/1.edi", stage.partner.envelope([no])[:-15])
        stage.partner.put(f"{INBOX}/2.edi", stage.partner.envelope([no]).replace(THEM.encode(), b"4012345000023"))
        stage.partner.put(f"{INBOX}/3.edi", stage.partner.envelope([no]).replace(b"UNH+1", b"unh+1"))
        assert (await adapter.find(PO)).status is ACCEPTED


async def test_a_response_for_another_unit_is_for_another_article(stage: Stage) -> None:
    """The partner numbers its lines anew: pieces and cases of one number are told apart by the unit."""
    async with stage.open() as adapter:
        po = order(PO, ("M-1", 24, "2.50"), ("M-1@CT", 1, "55.00"))
        await adapter.place(po, key=PO)
        pieces, cases = ["LIN+10+5", "PIA+5+M-1:SA", "QTY+113:24:PCE"], ["LIN+20+3", "PIA+5+M-1:SA", "QTY+113:0:CT"]
        respond(stage, "r.edi", "4", *pieces, *cases)
        with pytest.raises(Broken, match=r"M-1@CT: none of 1"):
            await adapter.find(PO)


async def test_an_answer_taken_in_between_is_not_missed(stage: Stage) -> None:
    async with stage.open() as adapter:
        await placed(stage, adapter)
        with contextlib.suppress(HubError):  # there is no catalogue
            await pulled(adapter)
        assert stage.waiting() == []
        receipt = await adapter.find(PO)
    assert receipt.status is ACCEPTED and receipt.accepted_at is not None
    assert receipt.accepted_at.second == 59, "the letter's time has no seconds"
