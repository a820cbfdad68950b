"""X12 files: whole or left alone, ours or refused, each landed at least once and none lost; articles whose packs stay
packs; catalogues that replace each other."""

from __future__ import annotations

import contextlib
import gzip
import os
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectors.kit_stage import reachable
from connectors.x12_edi.sandbox import INBOX, OUTBOX, THEM, US, X12Sandbox, catalogue, inventory
from hub.kernel.errors import Broken, Retry
from tests.connectors.edi_stage import Clock, listings, mailbox, opened, pulled, refused, stocked

OURS: dict[str, Any] = {"our_id": US, "partner_id": THEM, "inbox": INBOX, "outbox": OUTBOX}


class Stage:
    """A wholesaler whose mailbox is a directory, and a connection to it."""

    def __init__(self, name: str, root: Path) -> None:
        self.partner = X12Sandbox(root=root, articles=0)
        self.root = root
        self.config = {**OURS, "directory": name}

    def open(self, **config: Any) -> Any:
        return opened("x12_edi", {**self.config, **config})

    def names(self, folder: str) -> list[str]:
        """The original names of the files under one of the hub's folders."""
        found = (self.root / "supplyhub" / folder).rglob("*~*")
        return sorted(path.name.rpartition("~")[2] for path in found)

    def waiting(self) -> list[str]:
        return sorted(path.name for path in (self.root / INBOX).iterdir() if not path.name.startswith("."))


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    with mailbox() as (name, root):
        yield Stage(name, root)


@pytest.fixture
def moving(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def price(stage: Stage, file: str, numbers: Iterable[int], **how: Any) -> Path:
    return stage.partner.leave(file, "SC", [catalogue(list(numbers), **how)])


def old(path: Path, at: datetime | None = None) -> Path:
    when = at.timestamp() if at else time.time() - 3600
    os.utime(path, (when, when))
    return path


# Files --------------------------------------------------------------------------------------------------------


async def test_a_file_that_still_grows_is_left_until_it_is_whole(stage: Stage) -> None:
    path = price(stage, "price.edi", range(1, 6))
    whole = path.read_bytes()
    async with stage.open() as adapter:
        for cut in (0, 3, 60, 200, len(whole) // 2, len(whole) - 12, len(whole) - 3):
            path.write_bytes(whole[:cut])
            with pytest.raises(Broken, match="not whole yet"):
                await pulled(adapter)
            assert stage.waiting() == ["price.edi"]
        path.write_bytes(whole)
        assert len(listings(await pulled(adapter))) == 5
    assert stage.waiting() == []


async def test_a_file_that_stays_unfinished_is_set_aside_with_its_reason(stage: Stage) -> None:
    price(stage, "good.edi", range(1, 4))
    path = price(stage, "cut.edi", range(1, 6), name="OTHER")
    path.write_bytes(path.read_bytes()[:-40])
    async with stage.open() as adapter:
        assert refused(await pulled(adapter)) == []
        old(path)
        [bad] = refused(await pulled(adapter))
    assert bad.reason == "cut.edi: it breaks off before its end" and bad.raw.startswith("ISA*00*")
    assert stage.waiting() == []


GARBAGE = {
    "page.edi": b"<!DOCTYPE html><html>Maintenance</html>",
    "noise.edi": os.urandom(5000),
    "zeros.edi": b"\0" * 4000,
    "header.edi": b"ISA*00*" + b"x" * 2000,
    "letters.edi": b"ISA" + b"a" * 500,
    "endless.edi": f"ISA*00*{'':10}*00*{'':10}*ZZ*{THEM:15}*ZZ*{US:15}*261124*0800*U*00401*000000001*0*P*>~GS*".encode()
    + b"a" * 200_000,
    "bomb.edi.gz": gzip.compress(b"\0" * 30_000_000),
}


async def test_garbage_is_set_aside_with_its_reason_and_the_next_file_goes_on(stage: Stage) -> None:
    for name, body in GARBAGE.items():
        old(stage.partner.put(f"{INBOX}/{name}", body))
    price(stage, "z-good.edi", range(1, 4))
    async with stage.open() as adapter:
        pages = await pulled(adapter)
        assert len(listings(pages)) == 3 and pages[-1].complete
        assert {row.reason.partition(":")[0] for row in refused(pages)} == set(GARBAGE)
        assert all(row.reason.partition(": ")[2] for row in refused(pages))
    assert stage.waiting() == []


async def test_a_huge_file_is_refused_unread(stage: Stage) -> None:
    with stage.partner.put(f"{INBOX}/huge.edi", b"ISA").open("r+b") as file:
        file.truncate(3 * 2**20)
    price(stage, "good.edi", range(1, 4))
    async with stage.open(largest_mb=2) as adapter:
        pages = await pulled(adapter)
    assert len(listings(pages)) == 3
    [bad] = refused(pages)
    assert "huge.edi" in bad.reason and "larger than 2097152 bytes" in bad.reason


async def test_a_file_of_another_partner_or_for_another_is_refused_and_not_answered(stage: Stage) -> None:
    for name, right, wrong in (
        ("a.edi", b"SUPPLYHUB   ", b"SOMEBODYELSE"),
        ("b.edi", b"MEDWHOLESALE", b"MEDWH0LESALE"),
    ):
        path = price(stage, name, range(1, 3))
        path.write_bytes(path.read_bytes().replace(right, wrong, 1))
    price(stage, "good.edi", range(3, 5))
    async with stage.open() as adapter:
        pages = await pulled(adapter)
    assert sorted(listings(pages)) == ["70003", "70004"]
    assert sorted(row.reason for row in refused(pages)) == [
        "a.edi: its receiver is 'SOMEBODYELSE', not 'SUPPLYHUB'",
        "b.edi: its sender is 'MEDWH0LESALE', not 'MEDWHOLESALE'",
    ]
    stage.partner.collect()
    assert len(stage.partner.acknowledged) == 1


async def test_a_file_that_comes_twice_counts_once(stage: Stage) -> None:
    path = price(stage, "price.edi", range(1, 4))
    body = path.read_bytes()
    async with stage.open() as adapter:
        await pulled(adapter)
        stage.partner.put(f"{INBOX}/price.edi", body)
        stage.partner.put(f"{INBOX}/again.edi", body)
        pages = await pulled(adapter)
        assert len(listings(pages)) == 3 and refused(pages) == []
    names = [path.name for path in (stage.root / "supplyhub/taken").iterdir()]
    assert sum("~dup~" in name for name in names) == 2
    stage.partner.collect()
    assert len(stage.partner.acknowledged) == 1, "a duplicate is not answered again"


async def test_another_file_under_an_old_control_number_is_taken_or_refused_as_the_settings_say(stage: Stage) -> None:
    stage.partner.leave("a.edi", "SC", [catalogue([1])], number=7)
    async with stage.open(reused_numbers="refuse") as strict, stage.open() as lenient:
        await pulled(strict)
        stage.partner.leave("b.edi", "SC", [catalogue([2])], number=7)
        [bad] = refused(await pulled(strict))
        assert "control number came before" in bad.reason
        stage.partner.leave("c.edi", "SC", [catalogue([3])], number=7)
        assert sorted(listings(await pulled(lenient))) == ["70003"]


async def test_wrong_counts_are_noted_or_refused_as_the_settings_say(stage: Stage) -> None:
    path = price(stage, "price.edi", [1, 2])
    path.write_bytes(path.read_bytes().replace(b"SE*16*", b"SE*17*").replace(b"GE*1*", b"GE*4*"))
    async with stage.open() as adapter:
        pages = await pulled(adapter)
        assert len(listings(pages)) == 2
        assert set(pages[0].drift) == {"832: SE01 is not the number of segments", "GE01 is not the number of sets"}
    stage.partner.collect()
    [ack] = stage.partner.acknowledged
    assert ["AK5", "E", "4"] in ack and ["AK9", "E", "1", "1", "1", "5"] in ack


async def test_a_set_without_its_end_spoils_its_file(stage: Stage) -> None:
    body = stage.partner.envelope("SC", [catalogue([1, 2])])
    broken = body.replace(b"SE*16*0001~\n", b"")
    stage.partner.put(f"{INBOX}/broken.edi", broken)
    price(stage, "good.edi", [3])
    async with stage.open() as adapter:
        pages = await pulled(adapter)
        assert sorted(listings(pages)) == ["70003"]
        assert "has no trailer (SE)" in refused(pages)[0].reason
    stage.partner.collect()
    acks = [segment for ack in stage.partner.acknowledged for segment in ack if segment[0] in ("AK5", "AK9")]
    assert ["AK5", "R", "2"] in acks and ["AK9", "R", "1", "1", "0"] in acks


async def test_each_file_is_acknowledged_once_and_acknowledgements_are_not(stage: Stage) -> None:
    price(stage, "price.edi", [1])
    stage.partner.leave("997.edi", "FA", [["997", "AK1*PO*1", "AK9*A*1*1*1"]])
    two = stage.partner.envelope("IB", [inventory([1]), inventory([2])], number=77).replace(b"*0*P*>", b"*1*P*>")
    stage.partner.put(f"{INBOX}/two.edi", two)
    async with stage.open() as adapter:
        for _ in range(3):
            await pulled(adapter)
    stage.partner.collect()
    stage.partner.collect()
    assert len(stage.partner.acknowledged) == 2
    [asked] = [ack for ack in stage.partner.acknowledged if ["AK1", "IB", "77"] in ack]
    assert ["TA1", "000000077", asked[1][2], asked[1][3], "A", "000"] == asked[1]
    assert [s for s in asked if s[0] == "AK5"] == [["AK5", "A"]] * 2 and ["AK9", "A", "2", "2", "2"] in asked


async def test_no_acknowledgement_goes_out_where_none_is_wanted(stage: Stage) -> None:
    price(stage, "price.edi", [1])
    async with stage.open(acknowledge=False) as adapter:
        await pulled(adapter)
    stage.partner.collect()
    assert stage.partner.acknowledged == []


async def test_files_under_way_are_not_touched(stage: Stage) -> None:
    price(stage, "price.edi", [1])
    for name in ("big.edi.tmp", "big.edi.part", "BIG.FILEPART", ".hidden.edi", "x.upload"):
        price(stage, name, [2])
    async with stage.open(ignore_files="*.upload") as adapter:
        assert sorted(listings(await pulled(adapter))) == ["70001"]
    assert len(list((stage.root / INBOX).iterdir())) == 6


async def test_separators_are_those_of_the_file(stage: Stage) -> None:
    body = stage.partner.envelope("SC", [catalogue([1, 2])]).decode()
    odd = body.replace("~\n", "'").replace("*", "|").replace(">", ":")
    lines = body.replace("~\n", "\n").replace("*", "\x1d")
    stage.partner.put(f"{INBOX}/odd.edi", odd.encode())
    lines = lines.replace("CAT1", "CAT2").replace("700", "800")
    stage.partner.put(f"{INBOX}/lines.edi", b"\xef\xbb\xbf\r\n" + lines.encode())
    async with stage.open() as adapter:
        assert sorted(listings(await pulled(adapter))) == ["70001", "70002", "80001", "80002"]


async def test_several_interchanges_in_one_file_are_one_file(stage: Stage) -> None:
    both = stage.partner.envelope("SC", [catalogue([1])]) + b"\r\n\r\n" + stage.partner.envelope("IB", [inventory([1])])
    stage.partner.put(f"{INBOX}/both.edi", both)
    async with stage.open() as adapter:
        assert sorted(listings(await pulled(adapter))) == ["70001"]
        assert await stocked(adapter) == {("70001", "LOU"): 41}


# At least once ------------------------------------------------------------------------------------------------


async def test_nothing_moves_on_before_the_hub_has_landed_it(stage: Stage, moving: Clock) -> None:
    """The hub dies before it saves anything: the next pull reads the same files. Once a run is complete, the pull
    after it moves on what that run had read and nothing newer."""
    price(stage, "price.edi", [1, 2])
    change = stage.partner.leave("note.edi", "IN", [["810", "BIG*20261125*I1", "TDS*100"]])
    assert change.exists()
    async with stage.open() as adapter:
        await pulled(adapter)  # the process dies here: nothing was saved
        moving.forward(minutes=15)
        assert len(listings(await pulled(adapter))) == 2
        assert stage.names("taken") == ["note.edi", "price.edi"] and stage.names("archive") == []
        began = moving.forward(minutes=15)
        await pulled(adapter)  # this run is complete and saved
        moving.forward(minutes=15)
        price(stage, "new.edi", [3], purpose="04")
        pages = await pulled(adapter, since=began)
        assert sorted(listings(pages)) == ["70003"]
        assert stage.names("archive") == ["note.edi"], "the catalogue still describes the present"
        assert stage.names("taken") == ["new.edi", "price.edi"]


async def test_an_incremental_pull_reads_again_what_a_failed_one_did_not_land(stage: Stage, moving: Clock) -> None:
    price(stage, "price.edi", [1, 2])
    async with stage.open() as adapter:
        began = moving.now
        await pulled(adapter)
        for number in (3, 4):
            moving.forward(minutes=20)
            price(stage, f"change{number}.edi", [number], purpose="04")
            pages = await pulled(adapter, since=began)  # fails in the hub each time: `since` stays
        assert sorted(listings(pages)) == ["70001", "70002", "70003", "70004"], "whatever that run brought, once more"
        assert pages[-1].complete


async def test_a_pull_that_goes_on_is_about_the_same_files(stage: Stage) -> None:
    price(stage, "price.edi", range(1, 31))
    async with stage.open(page_rows=10) as adapter:
        pages = []
        async for page in adapter.pull(None):
            pages.append(page)
            if len(pages) == 1:
                break
        price(stage, "later.edi", [99], purpose="04")
        rest = [page async for page in adapter.pull(pages[0].cursor)]
        assert len(listings(pages + rest)) == 30 and rest[-1].complete
        assert stage.waiting() == ["later.edi"], "a resumed pull takes nothing new in"


async def test_a_pull_that_dies_between_any_two_steps_of_taking_in_loses_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every single act on the mailbox fails once: the pull after it brings everything, and one acknowledgement goes."""
    acts = 0
    async with stage.open() as adapter:
        box = type(adapter.office.box)
        failing: list[int] = []

        def failpoint(name: str) -> Any:
            real = getattr(box, name)

            async def act(self: Any, *arguments: Any, **named: Any) -> Any:
                nonlocal acts
                acts += 1
                if acts in failing:
                    raise Retry("cut here", code="vendor_unreachable")
                return await real(self, *arguments, **named)

            return act

        for name in ("move", "write", "create", "delete"):
            monkeypatch.setattr(box, name, failpoint(name))
        for step in range(1, 12):
            price(stage, f"price{step}.edi", [step], name=f"C{step}")
            acts, failing[:] = 0, [step]
            with contextlib.suppress(Retry):
                await pulled(adapter)
            failing.clear()
            assert str(70000 + step) in listings(await pulled(adapter)), step
        assert len(listings(await pulled(adapter))) == 11
    stage.partner.collect()
    answered = [segment[2] for ack in stage.partner.acknowledged for segment in ack if segment[0] == "AK1"]
    assert len(answered) == len(set(answered)) == 11


async def test_a_connection_cut_in_the_middle_of_a_read_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.mailbox.jitter", lambda *_: 0.0)
    partner = X12Sandbox(articles=0)
    partner.leave("price.edi", "SC", [catalogue(range(1, 3001))])
    await partner.start()
    try:
        with reachable(partner):
            config, secrets = partner.settings()
            async with opened("x12_edi", {**OURS, **config}, secrets) as adapter:
                partner.cut_after = 200_000
                pages = await pulled(adapter)
        assert len(listings(pages)) == 3000 and pages[-1].complete
        assert partner.connections >= 2
    finally:
        await partner.stop()


# Catalogues ---------------------------------------------------------------------------------------------------


async def test_a_whole_catalogue_replaces_the_one_of_its_number_and_leaves_others(stage: Stage) -> None:
    async with stage.open() as adapter:
        price(stage, "a1.edi", [1, 2, 3], name="RX")
        price(stage, "b1.edi", [10], name="OTC")
        await pulled(adapter)
        price(stage, "a-change.edi", [2, 4], name="RX", purpose="04", price="5.00")
        found = listings(await pulled(adapter))
        assert {sku: str(one.price) for sku, one in found.items()} == {
            "70001": "4.85", "70002": "5", "70003": "4.85", "70004": "5", "70010": "4.85",
        }  # fmt: skip
        price(stage, "a2.edi", [1, 5], name="RX", price="6.00")
        found = listings(await pulled(adapter))
        assert sorted(found) == ["70001", "70005", "70010"], "what the new one leaves out is gone, changes included"
        assert found["70001"].price == Decimal("6.00")


async def test_an_empty_mailbox_is_no_empty_assortment(stage: Stage) -> None:
    async with stage.open() as adapter:
        with pytest.raises(Retry, match="no catalogue has come yet"):
            await pulled(adapter)
        pages = await pulled(adapter, since=datetime(2026, 1, 1, tzinfo=UTC))
        assert [page.complete for page in pages] == [True] and not listings(pages)


async def test_a_newer_price_that_cannot_be_read_brings_no_older_one_back(stage: Stage) -> None:
    price(stage, "a.edi", [1, 2])
    async with stage.open() as adapter:
        await pulled(adapter)
        change = ["832", "BCT*PC*CAT1********04", "LIN**VN*70001", "PID*F****x", "CTP**CON*abc*1*EA"]
        stage.partner.leave("b.edi", "SC", [change])
        pages = await pulled(adapter)
        assert sorted(listings(pages)) == ["70002"]
        [bad] = refused(pages)
        assert (bad.vendor_sku, bad.reason) == ("70001", "b.edi: 'abc' is not an amount")


async def test_an_article_that_comes_twice_in_a_file_costs_one_row(stage: Stage) -> None:
    price(stage, "a.edi", [1, 2, 1])
    async with stage.open() as adapter:
        pages = await pulled(adapter)
    assert sorted(listings(pages)) == ["70001", "70002"]
    assert ["twice" in row.reason for row in refused(pages)] == [True]


PACKS = [
    # segments of one article -> (sku, price, pack, gtin, attribute in_case), or why it is refused
    (["PO4*12*500*ML", "CTP**CON*2.50*1*EA"], ("A1", "2.50", "500 ml", "00300904021010", "12")),
    (["PO4*12*500*ML", "CTP**CON*30.00*1*CA"], ("A1@CA", "30.00", "12 x 500 ml", None, None)),
    (["PO4*12**EA", "CTP**CON*30.00*1*PK"], ("A1@PK", "30.00", "12 pieces", "00300904021010", None)),
    (["PO4*1*100*U2", "CTP**CON*9.00*1*BO"], ("A1@BO", "9.00", "100 tablets", "00300904021010", None)),
    (["CTP**CON*30.00*1*CA"], ("A1@CA", "30.00", "1 cases", None, None)),
    (["CTP**CON*24.00*1*DZ"], ("A1@DZ", "24.00", "12 pieces", None, None)),
    (["PO4*24", "CTP**CON*1.10"], ("A1", "1.10", None, "00300904021010", "24")),
    (["CTP**CON*1.10*1*PC"], ("A1", "1.10", None, "00300904021010", None)),
    (["CTP**CON*15.00**EA****HP"], ("A1", "0.15", None, "00300904021010", None)),
    (["CTP**CON*24.00**EA****PD"], ("A1", "2", None, "00300904021010", None)),
    (["CTP**CON*10.00**EA****PD"], "exactly"),
    (["CTP**CON*5.00**EA******2"], "for 2 units"),
    (["CTP**CON*5.00**EA*DIS*0.9"], "multiplied"),
    (["CTP**CON*5.00*12*EA"], "from a quantity of 12"),
    (["CTP**CON*5.00**EA****NQ"], "none for one unit"),
    (["CTP**RES*5.00**EA"], "none of its prices (RES)"),
    (["CTP**CON*-5.00**EA"], "greater than 0"),
    (["CTP**CON*0**EA"], "greater than 0"),
    (["CTP**CON*1E9**EA"], "less than or equal"),
    (["CTP**CON*NaN**EA"], "not an amount"),
]


@pytest.mark.parametrize(("segments", "wanted"), PACKS)
async def test_a_pack_never_becomes_a_piece(stage: Stage, segments: list[str], wanted: Any) -> None:
    article = ["LIN**VN*A1*UP*300904021010", "PID*F*08***Something", *segments]
    stage.partner.leave("a.edi", "SC", [["832", "BCT*PC*C1", *article]])
    async with stage.open() as adapter:
        pages = await pulled(adapter)
    if isinstance(wanted, str):
        assert not listings(pages) and wanted in refused(pages)[0].reason, refused(pages)
        return
    [one] = listings(pages).values()
    assert (one.vendor_sku, one.price, one.pack, one.gtin, one.attributes.get("in_case")) == (
        wanted[0], Decimal(wanted[1]), *wanted[2:],
    )  # fmt: skip


async def test_the_best_of_the_prices_that_we_buy_at_counts(stage: Stage) -> None:
    prices = ["CTP**CAT*9.00*1*EA", "CTP*WS*WHL*5.00*1*EA", "CTP**MSR*12.00*1*EA", "CTP**MSR*120.00*1*CA"]
    stage.partner.leave("a.edi", "SC", [["832", "BCT*PC*C1", "LIN**VN*A1", "PID*F****x", *prices]])
    async with stage.open() as adapter, stage.open(prices="CAT") as other:
        [one] = listings(await pulled(adapter)).values()
        assert (one.price, one.market_price, one.external_id) == (Decimal("5.00"), Decimal("12.00"), "VN:A1@EA")
        [one] = listings(await pulled(other)).values()
        assert one.price == Decimal("9.00")


async def test_a_price_of_tomorrow_waits_for_its_day(stage: Stage, moving: Clock) -> None:
    item = ["LIN**VN*A1", "PID*F****x", "CTP**CON*{}*1*EA"]
    stage.partner.leave("a.edi", "SC", [["832", "BCT*PC*C1", *item[:2], "CTP**CON*5.00*1*EA"]])
    async with stage.open() as adapter:
        await pulled(adapter)
        change = ["832", "BCT*PC*C1********04", *item[:2], "DTM*007*20261201", "CTP**CON*6.00*1*EA"]
        stage.partner.leave("b.edi", "SC", [change])
        assert listings(await pulled(adapter))["A1"].price == Decimal("5.00")
        moving.forward(days=7)
        assert listings(await pulled(adapter))["A1"].price == Decimal("6.00")


async def test_articles_that_are_deleted_or_over_are_off_sale(stage: Stage) -> None:
    body = ["832", "BCT*PC*C1"]
    for sku, extra in (("A1", ["G53*D"]), ("A2", ["DTM*036*20200101"]), ("A3", ["DTM*036*20991231", "G53*C"])):
        body += [f"LIN**VN*{sku}", "PID*F****x", *extra, "CTP**CON*5.00*1*EA"]
    stage.partner.leave("a.edi", "SC", [body])
    async with stage.open() as adapter:
        found = listings(await pulled(adapter))
    assert {sku: one.active for sku, one in found.items()} == {"A1": False, "A2": False, "A3": True}


async def test_inventories_with_prices_may_be_the_catalogue(stage: Stage) -> None:
    item = ["LIN**VN*A1*UP*300904021010", "PID*F****Gloves", "CTP**UCP*3.20*1*EA", "QTY*33*12*EA"]
    stage.partner.leave("a.edi", "IB", [["846", "BIA*00*SI*I1*20261125*0700", "CUR*SE*USD", *item]])
    async with stage.open(listings="846") as adapter:
        [one] = listings(await pulled(adapter)).values()
        assert (one.vendor_sku, one.price, one.on_hand) == ("A1", Decimal("3.20"), None)
        assert await stocked(adapter) == {("A1", ""): 12}


# Stock --------------------------------------------------------------------------------------------------------


async def test_stock_is_the_newest_word_for_each_warehouse(stage: Stage) -> None:
    def report(name: str, where: str, purpose: str, *items: tuple[str, str]) -> None:
        body = ["846", f"BIA*{purpose}*SI*{name}*20261125*0700", f"N1*WH*{where}*92*{where}"]
        for sku, count in items:
            body += [f"LIN**VN*{sku}", f"QTY*33*{count}*EA"]
        stage.partner.leave(f"{name}.edi", "IB", [body])

    async with stage.open() as adapter:
        report("e1", "EAST", "00", ("A1", "5"), ("A2", "6"))
        report("w1", "WEST", "00", ("A1", "1"))
        assert await stocked(adapter) == {("A1", "EAST"): 5, ("A2", "EAST"): 6, ("A1", "WEST"): 1}
        report("e2", "EAST", "04", ("A1", "4"))
        assert await stocked(adapter) == {("A1", "EAST"): 4, ("A2", "EAST"): 6, ("A1", "WEST"): 1}
        report("e3", "EAST", "00", ("A2", "2"))
        assert await stocked(adapter) == {("A2", "EAST"): 2, ("A1", "WEST"): 1}


@pytest.mark.parametrize(
    ("quantity", "wanted"),
    [("12", 12), ("12.0", 12), ("-3", 0), ("0", 0), ("12.5", None), ("many", None), ("", None), ("999999999", None)],
)
async def test_a_count_is_a_whole_number_or_no_count(stage: Stage, quantity: str, wanted: int | None) -> None:
    stage.partner.leave("s.edi", "IB", [["846", "BIA*00*SI*1*20261125", "LIN**VN*A1", f"QTY*33*{quantity}*EA"]])
    async with stage.open() as adapter:
        pages = [page async for page in adapter.pull_stock(None)]
    figures = [figure.on_hand for page in pages for figure in page.unchanged]
    assert figures == ([wanted] if wanted is not None else []) and len(refused(pages)) == (wanted is None)


async def test_what_the_wholesaler_has_on_order_is_not_on_hand(stage: Stage) -> None:
    stage.partner.leave("s.edi", "IB", [["846", "BIA*00*SI*1*20261125", "LIN**VN*A1", "QTY*63*500*EA"]])
    async with stage.open() as adapter:
        [page] = [page async for page in adapter.pull_stock(None)]
    assert page.unchanged == () and "(63)" in page.bad[0].reason and page.complete


async def test_a_stock_figure_has_the_reports_own_time(stage: Stage) -> None:
    body = ["846", "BIA*00*SI*1*20261124*0230", "LIN**VN*A1", "QTY*33*5*EA"]
    stage.partner.leave("s.edi", "IB", [body])
    async with stage.open(timezone="America/New_York") as adapter:
        [page] = [page async for page in adapter.pull_stock(None)]
    assert page.unchanged[0].reported_at == datetime(2026, 11, 24, 7, 30, tzinfo=UTC)


# Size ---------------------------------------------------------------------------------------------------------


async def test_a_large_catalogue_streams(stage: Stage) -> None:
    """What a file of 1.8 MB costs in memory does not depend on its size."""
    path = price(stage, "big.edi", range(1, 12_001))
    assert path.stat().st_size > 1_800_000
    async with stage.open() as adapter:
        dialect = adapter.office.dialect
        with path.open("rb") as file:
            tracemalloc.start()
            try:
                dialect.scan(file)
                file.seek(0)
                count = sum(1 for _ in dialect.catalogue(file, "2026-11-25"))
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
        assert count == 12_000 and peak < 900_000, peak


@pytest.mark.realdata
async def test_the_edi_net_samples_are_read_as_they_stand(stage: Stage, realdata: Path) -> None:
    """Without padding in their headers, with wrong counts, one with a line's end for a terminator."""
    raw = (realdata / "edi" / "x12.832.edi").read_bytes()
    stage.partner.put(f"{INBOX}/832.edi", raw)
    async with stage.open(our_id="6309246701", partner_id="999999999", sku="IB") as adapter:
        pages = await pulled(adapter)
    assert {row.vendor_sku: row.reason for row in refused(pages)} == {
        "0940016699": "832.edi: it has no price (CTP)", "0812976568": "832.edi: it has no price (CTP)",
    }  # fmt: skip
    assert pages[-1].complete and "832: SE01 is not the number of segments" in pages[0].drift
