"""EDIFACT files: whole or left alone, ours or refused, each answered as it asks, none lost."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from connectors.edifact.sandbox import INBOX, OUTBOX, THEM, US, EdifactSandbox, catalogue, inventory
from connectors.kit_stage import reachable
from hub.kernel.errors import Broken, Misconfigured, Retry
from tests.connectors.edi_stage import Stage, listings, mailbox, opened, pulled, refused, stocked


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    with mailbox() as (name, root):
        config = {"our_id": US, "partner_id": THEM, "inbox": INBOX, "outbox": OUTBOX, "directory": name}
        yield Stage("edifact", EdifactSandbox(root=root, articles=0), config)


def price(stage: Stage, file: str, numbers: Any, reference: str = "", **how: Any) -> Path:
    return stage.partner.leave(file, [catalogue(list(numbers), **how)], reference)


def old(path: Path) -> Path:
    os.utime(path, (time.time() - 3600,) * 2)
    return path


async def test_a_file_that_still_grows_is_left_until_it_is_whole(stage: Stage) -> None:
    path = price(stage, "pricat.edi", range(1, 6))
    whole = path.read_bytes()
    async with stage.open() as adapter:
        for cut in (0, 2, 5, 12, 60, 200, len(whole) // 2, len(whole) - 12, len(whole) - 4):
            path.write_bytes(whole[:cut])
            with pytest.raises(Broken, match="not whole yet"):
                await pulled(adapter)
            assert stage.waiting() == ["pricat.edi"]
        path.write_bytes(whole.rstrip(b"\n'"))  # nothing but the last mark is missing
        assert len(listings(await pulled(adapter))) == 5
    assert stage.waiting() == []


async def test_a_file_that_stays_unfinished_is_set_aside_with_its_reason(stage: Stage) -> None:
    price(stage, "good.edi", range(1, 4))
    path = price(stage, "cut.edi", range(1, 6), function="4")
    path.write_bytes(path.read_bytes()[:-40])
    async with stage.open() as adapter:
        assert refused(await pulled(adapter)) == []
        old(path)
        [bad] = refused(await pulled(adapter))
    assert bad.reason == "cut.edi: it breaks off before its end" and bad.raw.startswith("UNA:+.?")
    assert stage.waiting() == []


UNB = f"UNB+UNOC:3+{THEM}:14+{US}:14+261124:0800+9'"
GARBAGE = {
    "page.edi": b"<!DOCTYPE html><html>Maintenance</html>",
    "noise.edi": os.urandom(5000),
    "zeros.edi": b"\0" * 4000,
    "x12.edi": b"ISA*00*          *00*          *ZZ*A              *ZZ*B              *261124*0800*U*00401*1*0*P*>~",
    "charset.edi": UNB.replace("UNOC", "UNOX").encode() + b"UNZ+0+9'",
    "marks.edi": b"UNAAAAAAA" + b"UNB+UNOC:3'",
    "endless.edi": f"{UNB}UNH+1+PRICAT:D:96A:UN'FTX+".encode() + b"a" * 200_000,
    "twice.edi": f"{UNB}{UNB}UNZ+0+9'".encode(),
}


async def test_garbage_is_set_aside_with_its_reason_and_the_next_file_goes_on(stage: Stage) -> None:
    for name, body in GARBAGE.items():
        old(stage.partner.put(f"{INBOX}/{name}", body))
    price(stage, "z-good.edi", range(1, 4))
    async with stage.open() as adapter:
        pages = await pulled(adapter)
        assert len(listings(pages)) == 3 and pages[-1].complete
        reasons = {row.reason.partition(": ")[0]: row.reason.partition(": ")[2] for row in refused(pages)}
    assert set(reasons) == set(GARBAGE) and all(reasons.values())
    assert "'UNOX'" in reasons["charset.edi"] and "longer than" in reasons["endless.edi"]
    assert stage.waiting() == []


async def test_a_huge_file_is_refused_unread(stage: Stage) -> None:
    with stage.partner.put(f"{INBOX}/huge.edi", b"UNA").open("r+b") as file:
        file.truncate(3 * 2**20)
    price(stage, "good.edi", range(1, 4))
    async with stage.open(largest_mb=2) as adapter:
        pages = await pulled(adapter)
    assert len(listings(pages)) == 3
    [bad] = refused(pages)
    assert "huge.edi" in bad.reason and "larger than 2097152 bytes" in bad.reason


async def test_a_file_of_another_partner_or_for_another_is_refused_and_not_answered(stage: Stage) -> None:
    for name, right, wrong in (("a.edi", US, "6900000000021"), ("b.edi", THEM, "4012345000023")):
        path = stage.partner.leave(name, [catalogue([1])], ask=True)
        path.write_bytes(path.read_bytes().replace(f"{right}:14".encode(), f"{wrong}:14".encode(), 1))
    stage.partner.leave("good.edi", [catalogue([3, 4])], ask=True)
    async with stage.open() as adapter:
        pages = await pulled(adapter)
    assert sorted(listings(pages)) == ["M-3", "M-4"]
    assert sorted(row.reason for row in refused(pages)) == [
        f"a.edi: its recipient is '6900000000021', not '{US}'",
        f"b.edi: its sender is '4012345000023', not '{THEM}'",
    ]
    stage.partner.collect()
    assert len(stage.partner.acknowledged) == 1


async def test_a_file_that_comes_twice_counts_once(stage: Stage) -> None:
    body = stage.partner.leave("pricat.edi", [catalogue([1, 2])], ask=True).read_bytes()
    async with stage.open() as adapter:
        await pulled(adapter)
        stage.partner.put(f"{INBOX}/pricat.edi", body)
        stage.partner.put(f"{INBOX}/again.edi", body)
        pages = await pulled(adapter)
        assert len(listings(pages)) == 2 and refused(pages) == []
    stage.partner.collect()
    assert len(stage.partner.acknowledged) == 1, "a duplicate is not answered again"


async def test_another_file_under_an_old_reference_is_taken_or_refused_as_the_settings_say(stage: Stage) -> None:
    price(stage, "a.edi", [1], "R7")
    async with stage.open(reused_numbers="refuse") as strict, stage.open() as lenient:
        await pulled(strict)
        stage.partner.leave("b.edi", [catalogue([2])], "R7", ask=True)
        [bad] = refused(await pulled(strict))
        assert "control number came before" in bad.reason
        price(stage, "c.edi", [3], "R7")
        assert sorted(listings(await pulled(lenient))) == ["M-3"]
    stage.partner.collect()
    [answer] = stage.partner.acknowledged
    assert f"UCI+R7+{THEM}:14+{US}:14+4+18" in answer


WRONG = [
    (b"UNT+15+1'", b"UNT+14+1'", "PRICAT: UNT does not count the segments"),
    (b"UNT+15+1'", b"UNT+15+2'", "PRICAT: UNT is not that of UNH"),
    (b"UNZ+1+", b"UNZ+2+", "UNZ does not count the messages"),
    (b"+R1'\nUNH", b"+R2'\nUNH", "UNZ is not that of UNB"),
]


@pytest.mark.parametrize(("right", "wrong", "note"), WRONG)
async def test_wrong_counts_and_references_are_noted_or_refused_as_the_settings_say(
    stage: Stage, right: bytes, wrong: bytes, note: str
) -> None:
    path = price(stage, "a.edi", [1], "R1")
    body = path.read_bytes()
    assert body.count(right) == 1
    body = body.replace(right, wrong)
    path.write_bytes(body)
    async with stage.open() as adapter:
        pages = await pulled(adapter)
        assert len(listings(pages)) == 1 and pages[0].drift == (note,)
    price(stage, "good.edi", [2])
    stage.partner.put(f"{INBOX}/b.edi", body + b"\n")
    async with stage.open(counts="refuse", workspace="strict") as adapter:
        pages = await pulled(adapter)
        assert sorted(listings(pages)) == ["M-2"] and "disagree" in refused(pages)[0].reason


async def test_a_message_without_its_end_spoils_its_file(stage: Stage) -> None:
    body = stage.partner.envelope([catalogue([1]), catalogue([2])], "R1", ask=True)
    stage.partner.put(f"{INBOX}/broken.edi", body.replace(b"UNT+15+1'\n", b""))
    price(stage, "good.edi", [3])
    async with stage.open() as adapter:
        pages = await pulled(adapter)
        assert sorted(listings(pages)) == ["M-3"]
        assert "message 1 (PRICAT) has no trailer (UNT)" in refused(pages)[0].reason
    stage.partner.collect()
    [answer] = stage.partner.acknowledged
    assert answer[2:4] == [f"UCI+R1+{THEM}:14+{US}:14+4+18", "UCM+1+PRICAT:D:96A:UN+4+13"]


async def test_a_file_is_acknowledged_when_it_asks_for_it(stage: Stage) -> None:
    price(stage, "quiet.edi", [1])
    stage.partner.leave("asks.edi", [inventory([1]), inventory([2])], "R77", ask=True)
    stage.partner.leave("contrl.edi", [["CONTRL:D:3:UN", f"UCI+5+{US}:14+{THEM}:14+7"]], ask=True)
    async with stage.open() as adapter:
        for _ in range(3):
            await pulled(adapter)
    stage.partner.collect()
    [answer] = stage.partner.acknowledged
    assert answer[1:4] == ["UNH+1+CONTRL:D:3:UN", f"UCI+R77+{THEM}:14+{US}:14+7", "UNT+3+1"]
    assert answer[0].startswith(f"UNB+UNOC:3+{US}:14+{THEM}:14+")


@pytest.mark.parametrize(("setting", "count"), [({"acknowledge_always": True}, 1), ({"acknowledge": False}, 0)])
async def test_the_settings_may_answer_always_or_never(stage: Stage, setting: dict[str, Any], count: int) -> None:
    stage.partner.leave("a.edi", [catalogue([1])], ask=not count)
    async with stage.open(**setting, syntax="UNOY:4") as adapter:
        await pulled(adapter)
    stage.partner.collect()
    assert len(stage.partner.acknowledged) == count
    for answer in stage.partner.acknowledged:
        assert "UNH+1+CONTRL:4:1:UN" in answer and answer[0].startswith("UNB+UNOY:4+")
        assert len(answer[0].split("+")[4]) == len("20261125:0800"), "syntax 4 has four digits of the year"


async def test_several_interchanges_in_one_file_are_one_file(stage: Stage) -> None:
    both = stage.partner.envelope([catalogue([1])]) + b"\r\n\r\n" + stage.partner.envelope([inventory([1])])
    stage.partner.put(f"{INBOX}/both.edi", both)
    async with stage.open() as adapter:
        assert sorted(listings(await pulled(adapter))) == ["M-1"]
        assert await stocked(adapter) == {("M-1", THEM): 41}


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
        for step in range(1, 9):
            stage.partner.leave(f"price{step}.edi", [catalogue([step], number=f"L{step}")], ask=True)
            acts, failing[:] = 0, [step]
            with contextlib.suppress(Retry):
                await pulled(adapter)
            failing.clear()
            assert f"M-{step}" in listings(await pulled(adapter)), step
        assert len(listings(await pulled(adapter))) == 8
    stage.partner.collect()
    answered = [segment for answer in stage.partner.acknowledged for segment in answer if segment.startswith("UCI")]
    assert len(answered) == len(set(answered)) == 8


async def test_a_connection_cut_in_the_middle_of_a_read_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.mailbox.jitter", lambda *_: 0.0)
    partner = EdifactSandbox(articles=0)
    partner.leave("pricat.edi", [catalogue(range(1, 1501))])
    await partner.start()
    try:
        with reachable(partner):
            config, secrets = partner.settings()
            ours = {"our_id": US, "partner_id": THEM, "inbox": INBOX, "outbox": OUTBOX}
            async with opened("edifact", {**ours, **config}, secrets) as adapter:
                partner.cut_after = 200_000
                pages = await pulled(adapter)
        assert len(listings(pages)) == 1500 and pages[-1].complete
        assert partner.connections >= 2
    finally:
        await partner.stop()


WRONG_SETTINGS = [
    {"our_id": "x" * 36}, {"timezone": "Mars/Olympus"}, {"encoding": "klingon"}, {"encoding": "iso2022_jp"},
    {"encoding": "utf-16"}, {"encoding": "cp037"},
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG_SETTINGS)
async def test_settings_that_edifact_cannot_use_are_misconfigured(stage: Stage, wrong: dict[str, str]) -> None:
    async with stage.open(**wrong) as adapter:
        with pytest.raises(Misconfigured):
            await pulled(adapter)
