"""X12 files: whole or left alone, ours or refused, each landed at least once and none lost; articles whose packs stay
packs; catalogues that replace each other."""

from __future__ import annotations

import contextlib
import gzip
import os
import time
from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from connectors.kit_stage import reachable
from connectors.x12_edi.sandbox import INBOX, OUTBOX, THEM, US, X12Sandbox, catalogue, inventory
from hub.kernel.errors import Broken, Retry
from tests.connectors.edi_stage import Clock, Stage, listings, mailbox, opened, pulled, refused, stocked


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    with mailbox() as (name, root):
        config = {"our_id": US, "partner_id": THEM, "inbox": INBOX, "outbox": OUTBOX, "directory": name}
        yield Stage("x12_edi", X12Sandbox(root=root, articles=0), config)


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
    async with stage.open(several_catalogues=True) as adapter:
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
    async with stage.open(several_catalogues=True) as adapter:
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
            ours = {"our_id": US, "partner_id": THEM, "inbox": INBOX, "outbox": OUTBOX}
            async with opened("x12_edi", {**ours, **config}, secrets) as adapter:
                partner.cut_after = 200_000
                pages = await pulled(adapter)
        assert len(listings(pages)) == 3000 and pages[-1].complete
        assert partner.connections >= 2
    finally:
        await partner.stop()
