"""Codes reach the mall that bought them: each exactly once, in plain only when it asks, and nowhere else."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from catalog import api as catalog
from connectors import api as connectors
from connectors import vouchers
from hub.kernel import audit, db
from hub.kernel.db import uow
from hub.kernel.errors import Retry
from orders import api, codes
from tests.connectors.voucher_stage import connection, fill, many, rows
from tests.orders.test_ordering import code as problem_code
from tests.orders.world import World, serving


@pytest.fixture
async def world(database: db.Database, tmp_path: Path) -> AsyncIterator[World]:
    """Malls and their orders; the vendor is a real pool of codes."""
    async with serving() as client:
        yield World(client, tmp_path / "clock")


async def pool(count: int = 6, **config: Any) -> int:
    """A pool with codes of SPA and CARD, on sale."""
    c = await connection(**config)
    await fill(c, *many("SPA", count), *many("CARD", count, start=100))
    outcome = await catalog.sync(c, kind="full")
    assert outcome.created == 2, outcome
    return c


async def bought(world: World, mall: int, *lines: tuple[str, int], **more: Any) -> dict[str, Any]:
    """An order that the pool has accepted."""
    wanted = []
    for sku, count in lines:
        listing = await world.value("SELECT id FROM catalog_listings WHERE vendor_sku = $1", sku)
        wanted.append({"listing_id": f"lst_{listing}", "qty": count})
    order = await world.placed(mall, wanted, **more)
    await world.work()
    return await world.see(mall, order["id"])


async def reveal(world: World, mall: int, order: dict[str, Any]) -> tuple[int, Any]:
    return await world.post(mall, f"/orders/{order['id']}/codes/reveal")


async def test_the_same_codes_come_however_often_and_by_how_many_they_are_asked_for(world: World) -> None:
    await pool()
    mall = await world.mall()
    order = await bought(world, mall, ("SPA", 2), ("CARD", 1))
    assert (order["status"], [line["status"] for line in order["lines"]]) == ("accepted", ["accepted"] * 2)
    answers = await asyncio.gather(*(reveal(world, mall, order) for _ in range(8)))
    assert all(answer == answers[0] for answer in answers) and answers[0][0] == 200
    shown = answers[0][1]
    assert [(c["line_no"], c["code"]) for c in shown["codes"]] == [
        (1, "SPA-000001"), (1, "SPA-000002"), (2, "CARD-000100"),
    ]  # fmt: skip
    assert shown["waiting"] == []
    order = await world.see(mall, order["id"])
    assert (order["status"], order["lines"][0]["status"]) == ("completed", "revealed")
    other = await bought(world, mall, ("SPA", 2))
    shown_too = (await reveal(world, mall, other))[1]
    assert [c["code"] for c in shown_too["codes"]] == ["SPA-000003", "SPA-000004"]
    await world.sound()


async def test_codes_show_nowhere_but_in_the_answer_of_a_reveal(
    world: World, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    await pool()
    mall = await world.mall()
    order = await bought(world, mall, ("SPA", 2))
    before = (await world.get(world.malls[mall], f"/orders/{order['id']}/codes"))[1]
    assert before["lines"] == [{"line_no": 1, "qty": 2, "ready": True, "codes": []}]
    async with world.client.post(f"/v1/orders/{order['id']}/codes/reveal", headers=world.malls[mall]) as answer:
        assert answer.headers["Cache-Control"] == "no-store"
        plain = [c["code"] for c in (await answer.json())["codes"]]
    listed = (await world.get(world.malls[mall], f"/orders/{order['id']}/codes"))[1]
    assert [c["masked"] for c in listed["lines"][0]["codes"]] == ["••••0001", "••••0002"]
    await world.deliver_events()
    names = [r[0] for r in await rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    assert {"voucher_codes", "audit", "outbox", "order_codes", "idempotency_keys"} & set(names)
    for name in names:
        held = [text for (text,) in await rows(f'SELECT t::text FROM "{name}" t')]
        assert not [text for text in held if any(one in text for one in plain)], name
    said = caplog.text + "".join(capsys.readouterr())
    seen = str(await world.see(mall, order["id"])) + str(listed) + said
    assert not [one for one in plain if one in seen]
    assert not any(one in repr(codes.RevealedCode(line_no=1, code=one)) for one in plain)


async def test_every_reveal_is_noted_with_who_and_when(world: World) -> None:
    await pool()
    mall = await world.mall()
    order = await bought(world, mall, ("SPA", 1))
    for _ in range(2):
        await reveal(world, mall, order)
    noted = await rows("SELECT actor, action, subject, facts, at FROM audit ORDER BY id")
    assert [(r[1], r[2]) for r in noted] == [("codes.reveal", f"order:{order['id']}")] * 2
    assert noted[0][0].startswith("key:") and noted[0][3]["lines"] == [1] and noted[0][4] is not None
    async with uow() as tx:
        assert await audit.first_broken(tx) is None


async def test_another_mall_a_vendor_and_a_stranger_see_no_codes(world: World) -> None:
    await pool()
    mall, other = await world.mall(), await world.mall("other")
    order = await bought(world, mall, ("SPA", 1))
    assert (await reveal(world, other, order))[0] == 404
    assert (await world.get(world.malls[other], f"/orders/{order['id']}/codes"))[0] == 404
    async with world.client.post(f"/v1/orders/{order['id']}/codes/reveal", headers=await world.vendor_key(1)) as answer:
        assert answer.status == 403
    assert await rows("SELECT 1 FROM audit") == []
    async with uow(f"mall:{other}") as tx:
        assert await tx.fetchval("SELECT count(*) FROM order_codes") == 0


async def test_codes_that_are_not_issued_yet_are_not_ready(world: World) -> None:
    await pool()
    mall = await world.mall()
    listing = await world.value("SELECT id FROM catalog_listings WHERE vendor_sku = 'SPA'")
    held = await world.placed(mall, [{"listing_id": f"lst_{listing}", "qty": 1}], mode="reserve")
    for _ in range(2):
        status, problem = await reveal(world, mall, held)
        assert (status, problem_code(problem), problem["facts"]["waiting"]) == (409, "codes_not_ready", [1])
        await world.post(mall, f"/orders/{held['id']}/confirm")
    await world.work()
    assert (await reveal(world, mall, held))[0] == 200


async def test_cancelled_before_the_reveal_the_codes_go_back_and_are_sold_again(world: World) -> None:
    await pool(2)
    mall = await world.mall()
    order = await bought(world, mall, ("SPA", 2))
    await world.post(mall, f"/orders/{order['id']}/cancel")
    await world.work()
    assert (await world.see(mall, order["id"]))["status"] == "cancelled"
    assert (await reveal(world, mall, order))[0] == 404
    [c] = [r[0] for r in await rows("SELECT id FROM connections")]
    await catalog.sync(c, kind="full")
    again = await bought(world, mall, ("SPA", 2))
    shown = (await reveal(world, mall, again))[1]
    assert [one["code"] for one in shown["codes"]] == ["SPA-000001", "SPA-000002"]
    await world.sound()


@pytest.mark.parametrize(
    ("rule", "status", "line"), [("refuse", "completed", "revealed"), ("void", "cancelled", "cancelled")]
)
async def test_cancelled_after_the_reveal_the_pools_setting_decides(
    world: World, rule: str, status: str, line: str
) -> None:
    await pool(3, cancel_seen=rule)
    mall = await world.mall()
    order = await bought(world, mall, ("SPA", 1))
    first = (await reveal(world, mall, order))[1]
    _, asked = await world.post(mall, f"/orders/{order['id']}/cancel")
    assert asked["status"] == "cancelling"
    await world.work()
    order = await world.see(mall, order["id"])
    assert (order["status"], order["lines"][0]["status"]) == (status, line)
    assert order["total"]["amount"] == ("268.0000" if rule == "refuse" else "0.0000")
    if rule == "refuse":
        assert (await reveal(world, mall, order))[1] == first
    await world.sound()


async def test_a_reveal_beside_a_cancellation_ends_in_one_of_the_two(world: World) -> None:
    await pool(20)
    mall = await world.mall()
    for _ in range(4):
        order = await bought(world, mall, ("SPA", 1))
        (status, _), _ = await asyncio.gather(
            reveal(world, mall, order), world.post(mall, f"/orders/{order['id']}/cancel")
        )
        await world.work(2)
        order = await world.see(mall, order["id"])
        assert (status, order["status"]) in ((200, "completed"), (409, "cancelled"), (404, "cancelled")), order
        shown = await rows(
            "SELECT handed_at IS NOT NULL FROM voucher_codes WHERE po_number = $1",
            order["purchase_orders"][0]["number"],
        )
        assert shown == ([(True,)] if status == 200 else [])
    await world.sound()


class _Lossy:
    """A pool whose answers get lost after it acted."""

    def __init__(self, inner: Any, lose: list[str]) -> None:
        self._inner, self._lose = inner, lose

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def _maybe(self, name: str, answer: Any) -> Any:
        if self._lose and self._lose[0] == name:
            self._lose.pop(0)
            raise Retry("the answer was lost", code="lost")
        return answer

    async def place(self, po: Any, *, key: str) -> Any:
        return await self._maybe("place", await self._inner.place(po, key=key))

    async def find(self, key: str) -> Any:
        return await self._maybe("find", await self._inner.find(key))

    async def cancel(self, number: str, po: Any) -> Any:
        return await self._maybe("cancel", await self._inner.cancel(number, po))

    async def issue(self, po: Any, *, key: str) -> Any:
        return await self._maybe("issue", await self._inner.issue(po, key=key))


async def test_whatever_answer_is_lost_each_line_gets_its_codes_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    c = await pool(8)
    lose: list[str] = []
    real = connectors.open_connector

    @contextlib.asynccontextmanager
    async def lossy(connection_id: int, **more: Any) -> AsyncIterator[Any]:
        async with real(connection_id, **more) as inner:
            yield _Lossy(inner, lose)

    monkeypatch.setattr(connectors, "open_connector", lossy)
    mall = await world.mall()
    seen: list[str] = []
    for lost in (["place"], ["place", "find"], ["issue"], ["issue", "issue"]):
        lose[:] = list(lost)
        order = await bought(world, mall, ("SPA", 1))
        for _ in range(8):
            await _due_now()
            await world.work()
            status, answer = await reveal(world, mall, order)
            if status == 200:
                break
        assert status == 200 and not lose, (lost, answer)
        seen += [one["code"] for one in answer["codes"]]
    assert len(seen) == len(set(seen)) == 4
    assert await rows("SELECT count(*) FROM voucher_codes WHERE state = 'handed'") == [(4,)]
    assert c and await api.place_due() == 0
    await world.sound()


async def _due_now() -> None:
    async with uow() as tx:
        await tx.run("UPDATE po_attempts SET due_at = now() WHERE state = 'due'")


async def test_a_vendor_that_gives_too_few_codes_is_broken_and_nothing_is_revealed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pool()
    mall = await world.mall()
    order = await bought(world, mall, ("SPA", 2))
    whole = vouchers.Pool.show

    async def short(self: Any, key: str) -> Any:
        return (await whole(self, key))[:1]

    monkeypatch.setattr(vouchers.Pool, "show", short)
    status, problem = await reveal(world, mall, order)
    assert (status, problem_code(problem)) == (502, "codes_missing")
    assert (await world.see(mall, order["id"]))["lines"][0]["status"] == "accepted"
    assert (await world.get(world.malls[mall], f"/orders/{order['id']}/codes"))[1]["lines"][0]["codes"] == []


def test_a_mask_shows_the_end_of_a_code_and_less_of_a_short_one() -> None:
    assert [codes.mask(code) for code in ("AB12-3456", "ABCDEF", "ABC", "")] == ["••••3456", "••••EF", "••••", "••••"]
