"""EDIFACT orders: left once whatever dies when, written as the partner can read them, cancelled and followed."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydifact.segmentcollection import Interchange

from connectors.contracts import PurchaseOrder, ReceiptStatus, ShipmentStatus
from connectors.edi.models import Notice
from connectors.edifact.sandbox import INBOX, OUTBOX, THEM, US, EdifactSandbox
from connectors.kit import example_order
from hub.kernel.errors import Retry
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


# Out, once ----------------------------------------------------------------------------------------------------


async def test_an_order_is_pending_until_the_partner_answers(stage: Stage) -> None:
    async with stage.open() as adapter:
        receipt = await adapter.place(order(), key=PO)
        assert (receipt.status, receipt.vendor_order_no, receipt.raw_status) == (PENDING, PO, "sent")
        assert (await adapter.find(PO)).status is PENDING
        stage.partner.collect()
        receipt = await adapter.find(PO)
        assert receipt.status is ACCEPTED and receipt.accepted_at is not None and "SO-" in receipt.raw_status
        assert await adapter.find("PONEVER") is None


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
            if await adapter.find(number) is None:
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


# As it is written ---------------------------------------------------------------------------------------------


def sent(stage: Stage) -> str:
    [letter] = [path for path in (stage.root / OUTBOX).iterdir() if not path.name.startswith(".")]
    return letter.read_bytes().decode()


@pytest.mark.filterwarnings("ignore::pydifact.exceptions.MissingImplementationWarning")
async def test_another_reading_of_the_order_says_the_same(stage: Stage) -> None:
    po = order()
    ship_to = po.ship_to.model_copy(
        update={"name": "O'Neil + 李?", "address": "1 Main: St.\r\nUNZ+1+1'", "phone": "+86 1"}
    )
    async with stage.open() as adapter:
        await adapter.place(po.model_copy(update={"ship_to": ship_to}), key=PO)
    found = Interchange.from_str(sent(stage))
    [message] = found.get_messages()
    tags = [segment.tag for segment in message.segments]
    assert tags == [
        "BGM", "DTM", "NAD", "CTA", "COM", "CUX", "LIN", "PIA", "QTY", "PRI", "LIN", "PIA", "QTY", "PRI", "UNS", "CNT",
    ]  # fmt: skip
    party = next(segment for segment in message.segments if segment.tag == "NAD")
    assert party.elements[3] == "O'Neil + 李?" and "1 Main: St. UNZ+1+1'" in "".join(party.elements[4])
    assert next(s for s in message.segments if s.tag == "COM").elements == [["+86 1", "TE"]]
    assert message.type == "ORDERS" and found.sender[0] == US and found.recipient[0] == THEM


async def test_the_numbers_of_a_letter_agree_and_are_new_with_each(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    moving = Clock(monkeypatch)
    async with stage.open() as adapter:
        for number in ("POA", "POB", "POC"):
            await adapter.place(order(number), key=number)
        moving.forward(hours=-2)
        await adapter.place(order("POD"), key="POD")
    stage.partner.collect()
    seen = set()
    for segments in stage.partner.orders.values():
        control = segments[0].split("+")[5]
        assert segments[-1] == f"UNZ+1+{control}" and segments[-2] == f"UNT+{len(segments) - 2}+1"
        seen.add(control)
    assert len(seen) == 4 and all(1 <= len(control) <= 14 for control in seen)


UNWRITABLE = [
    (order("P" * 36), {}, "35 characters"),
    (order("PO\n1"), {}, "35 characters"),
    (order(PO, ("A" * 36, 1, "1.00")), {}, "35 characters"),
    (order(), {"syntax": "UNOC:3"}, "agree on UNOY or UNOW"),
    (order(), {"syntax": "UNOA:3"}, "agree on UNOY or UNOW"),
]


@pytest.mark.parametrize(("po", "setting", "why"), UNWRITABLE)
async def test_an_order_that_the_partners_syntax_cannot_say_is_refused_unsent(
    stage: Stage, po: PurchaseOrder, setting: dict[str, str], why: str
) -> None:
    async with stage.open(**setting) as adapter:
        receipt = await adapter.place(po, key=po.number)
        assert receipt.status is REFUSED and why in receipt.reason, receipt
        assert await adapter.find(po.number) is None
    assert stage.outbox() == [] and not (stage.root / "supplyhub/numbers").exists()


@pytest.mark.parametrize(
    ("syntax", "name", "wanted"),
    [("UNOA:3", "Jane_Doe", "+++JANE DOE+"), ("UNOB:3", "Jane Doe", "+++Jane Doe+"), ("UNOC:3", "José", "+++José+")],
)
async def test_a_plain_address_is_written_in_any_syntax(stage: Stage, syntax: str, name: str, wanted: str) -> None:
    po = order()
    plain = {"name": name, "address": "1 Main St", "city": "Porto", "province": "", "district": ""}
    async with stage.open(syntax=syntax) as adapter:
        po = po.model_copy(update={"ship_to": po.ship_to.model_copy(update=plain)})
        assert (await adapter.place(po, key=PO)).status is PENDING
        [letter] = (stage.root / OUTBOX).glob("order_*")
        assert wanted in letter.read_bytes().decode("latin-1")
        assert (await adapter.find(PO)).status is PENDING, "it reads its own letter again"


async def test_an_article_is_ordered_by_the_number_and_unit_of_its_listing(stage: Stage) -> None:
    po = order(PO, ("M-1", 1, "4.85"), ("M-2@CT", 2, "55.20"), ("6901230001000", 1, "1.10"), ("M-4@BX", 1, "2.00"))
    refs = ["VN:M-1@PCE", "SA:M-2@CT", "EN:6901230001000@PCE", None]
    lines = [line.model_copy(update={"vendor_ref": ref}) for line, ref in zip(po.lines, refs, strict=True)]
    async with stage.open() as adapter:
        await adapter.place(po.model_copy(update={"lines": tuple(lines)}), key=PO)
    stage.partner.collect()
    [segments] = stage.partner.orders.values()
    assert [segment for segment in segments if segment[:3] in ("LIN", "PIA", "QTY", "PRI")] == [
        "LIN+1", "PIA+5+M-1:VN", "QTY+21:1", "PRI+AAA:4.85",
        "LIN+2", "PIA+5+M-2:SA", "QTY+21:2:CT", "PRI+AAA:55.2",
        "LIN+3++6901230001000:EN", "QTY+21:1", "PRI+AAA:1.1",
        "LIN+4", "PIA+5+M-4:SA", "QTY+21:1:BX", "PRI+AAA:2",
    ]  # fmt: skip


async def test_versions_parties_and_test_letters_are_written_as_the_settings_say(stage: Stage) -> None:
    ours = {"buyer_id": "B-9", "supplier_id": "S-7", "id_agency": "91", "our_qualifier": "ZZ"}
    async with stage.open(
        syntax="UNOW:4", version="01B:EAN010", usage="T", timezone="Asia/Shanghai", **ours
    ) as adapter:
        await adapter.place(order(), key=PO)
    said = sent(stage)
    assert f"UNB+UNOW:4+{US}:ZZ+{THEM}:14+20" in said and said.split("'")[1].endswith("++++++1")
    assert "ORDERS:D:01B:UN:EAN010'" in said and "NAD+BY+B-9::91'NAD+SU+S-7::91'" in said


# Cancelling ---------------------------------------------------------------------------------------------------


async def test_a_cancellation_waits_for_its_answer(stage: Stage) -> None:
    async with stage.open(cancel="answered") as adapter:
        po = await placed(stage, adapter)
        for _ in range(2):
            receipt = await adapter.cancel(PO, po)
            assert receipt.status is PENDING and receipt.reason and len(stage.outbox()) == 1
        assert "BGM+230+" in sent(stage) and f"'RFF+ON:{PO}'" in sent(stage)
        stage.partner.collect()
        assert (await adapter.cancel(PO, po)).status is ACCEPTED
        assert (await adapter.find(PO)).status is REFUSED and stage.partner.living(PO) == 0


async def test_their_word_that_they_read_it_cancels_where_that_is_agreed(stage: Stage) -> None:
    async with stage.open(cancel="when_read") as adapter:
        stage.partner.cancels = "nothing"
        po = await placed(stage, adapter)
        assert (await adapter.cancel(PO, po)).status is PENDING
        control = sent(stage).split("'")[1].split("+")[5]
        stage.partner.leave("a.edi", [["CONTRL:D:3:UN", f"UCI+{control}+{US}:14+{THEM}:14+8"]])
        assert (await adapter.cancel(PO, po)).status is PENDING, "that it came is not that it was read"
        stage.partner.leave("b.edi", [["CONTRL:D:3:UN", f"UCI+{control}+{US}:14+{THEM}:14+7"]])
        assert (await adapter.cancel(PO, po)).status is ACCEPTED


async def test_without_an_agreement_nothing_is_cancelled(stage: Stage) -> None:
    async with stage.open() as adapter:
        po = await placed(stage, adapter)
        receipt = await adapter.cancel(PO, po)
        assert receipt.status is REFUSED and "takes no cancellations" in receipt.reason
        assert (await adapter.find(PO)).status is ACCEPTED and stage.partner.living(PO) == 1


# Following ----------------------------------------------------------------------------------------------------


async def test_an_order_is_followed_parcel_by_parcel(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch)
    async with stage.open() as adapter:
        await placed(stage, adapter, "nothing")
        [update] = await adapter.track(PO)
        assert (update.status, update.raw_status) == (ShipmentStatus.PENDING, "sent")
        stage.partner.ship(PO, ["SF1", "SF2"])
        first, second = await adapter.track(PO)
        assert (first.status, first.tracking_no, first.carrier, first.po_number, second.tracking_no) == (
            ShipmentStatus.SHIPPED, "SF1", "SF EXPRESS", PO, "SF2",
        )  # fmt: skip
        assert first.at == datetime(2026, 11, 25, 8, 0, tzinfo=UTC)
        assert (await adapter.find(PO)).status is ACCEPTED, "what has left was accepted"
        await pulled_once(adapter)
        assert [update.tracking_no for update in await adapter.track(PO)] == ["SF1", "SF2"]


async def pulled_once(adapter: Any) -> None:
    """An incremental pull, which takes in what lies in the inbox."""
    await pulled(adapter, since=datetime(2026, 11, 25, 7, 0, tzinfo=UTC))


NOTICES = [
    # settings, segments behind BGM -> tracking numbers of our order
    ({}, [f"RFF+ON:{PO}", "RFF+CN:T1", "CPS+1", "LIN+1", "QTY+12:1"], ["T1"]),
    ({}, [f"RFF+ON:{PO}", "CPS+1", "PAC+1", "RFF+CW:T2", "CPS+2+1", "RFF+CN:T3"], ["T2", "T3"]),
    ({}, ["CPS+1", "RFF+CN:T4", "LIN+1", f"RFF+ON:{PO}", "CPS+2", "RFF+CN:X", "LIN+2", "RFF+ON:POOTHER"], ["T4"]),
    ({}, [f"RFF+ON:{PO}", "CPS+1", "GIN+BJ+340123450000000014"], [None]),
    ({"sscc_is_tracking": True}, [f"RFF+ON:{PO}", "CPS+1", "GIN+BJ+34:35+36", "RFF+CN:T5"], ["34", "35", "36", "T5"]),
    ({}, [f"RFF+ON:{PO}", "TDT+20++30+31+SFEX::91:SF", "CPS+1", "RFF+CN:T6"], ["T6"]),
    ({}, [f"RFF+ON:{PO}"], [None]),
]


@pytest.mark.parametrize(("setting", "segments", "wanted"), NOTICES)
async def test_a_notice_of_any_structure_names_our_parcels(
    stage: Stage, setting: dict[str, Any], segments: list[str], wanted: list[str | None]
) -> None:
    async with stage.open(**setting) as adapter:
        await placed(stage, adapter, "nothing")
        stage.partner.leave("d.edi", [["DESADV:D:96A:UN:EAN005", "BGM+351+D1+9", *segments]])
        updates = await adapter.track(PO)
        assert [update.tracking_no for update in updates] == wanted
        assert {update.status for update in updates} == {ShipmentStatus.SHIPPED}


async def test_a_notice_that_is_taken_back_ships_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    moving = Clock(monkeypatch)
    async with stage.open() as adapter:
        await placed(stage, adapter, "nothing")
        stage.partner.ship(PO, ["SF1"])
        moving.forward(minutes=5)
        stage.partner.leave("back.edi", [["DESADV:D:96A:UN", f"BGM+351+DES{PO[-6:]}+1", f"RFF+ON:{PO}", "CPS+1"]])
        assert [update.status for update in await adapter.track(PO)] == [ShipmentStatus.PENDING]
        assert (await adapter.find(PO)).status is PENDING


# Real files ---------------------------------------------------------------------------------------------------


@pytest.mark.realdata
async def test_the_sample_despatch_advice_is_read(stage: Stage, realdata: Path) -> None:
    raw = io.BytesIO((realdata / "edi/edifact.D96A.DESADV.edi").read_bytes())
    async with stage.open(our_id="8888888", partner_id="1556150") as adapter:
        dialect = adapter.office.dialect
        scan = dialect.scan(raw)
        assert scan.usable and scan.labels == {"asn"} and scan.notes == set()
        raw.seek(0)
        facts = dialect.facts(raw)
    assert {fact.po_number for fact in facts if isinstance(fact, Notice)} == {"6877871", "6905456"}
    assert {(fact.shipment, fact.at.isoformat()) for fact in facts} == {("Y02197250", "2016-07-26T00:00:00+00:00")}


@pytest.mark.realdata
async def test_the_sample_order_response_is_whole_and_its_wrong_trailers_are_noted(
    stage: Stage, realdata: Path
) -> None:
    raw = io.BytesIO((realdata / "edi/edifact.ORDRSP.edi").read_bytes())
    async with stage.open(our_id="990000000000X", partner_id="9900080000007") as adapter:
        dialect = adapter.office.dialect
        scan = dialect.scan(raw)
        assert scan.usable and scan.labels == {"ans"}
        assert scan.notes == {"ORDRSP: UNT is not that of UNH", "UNZ is not that of UNB"}
        raw.seek(0)
        [answer] = dialect.facts(raw)
    assert (answer.po_number, answer.outcome) == ("00001672", None)
