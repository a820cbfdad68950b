"""A vendor that issues codes when they are bought: each code is asked for once, kept encrypted and given back."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from connectors import base, guards, manifest
from connectors.contracts import ReceiptStatus
from connectors.kit_stage import reachable
from connectors.sandbox_kit import Faults
from connectors.voucher_pool import adapter as pooling
from connectors.voucher_pool.adapter import Adapter
from connectors.voucher_pool.kit import ISSUE
from connectors.voucher_pool.sandbox import TOKEN, IssuingSandbox, MemoryPool
from connectors.vouchers import Pool
from hub.kernel import db
from hub.kernel.errors import Broken, Retry
from tests.connectors.voucher_stage import SKUS, connection, plain, po, rows

Maker = Callable[..., Adapter]


@contextlib.asynccontextmanager
async def vendor(
    c: int | str, faults: Faults | None = None, issue: dict[str, Any] | None = None
) -> AsyncIterator[tuple[IssuingSandbox, Maker]]:
    """A vendor that issues for these articles, and a maker of connector objects with the given pool or the
    database's."""
    sandbox = IssuingSandbox({"SPA": 4, "CARD": 4}, faults)
    await sandbox.start()
    made: list[Adapter] = []

    def connector(pool: Pool | None = None) -> Adapter:
        config = {
            "skus": SKUS, "source": "api", "base_url": sandbox.base_url, "issue": issue or ISSUE,
            "token_header": "X-Api-Token", "bearer": False,
        }  # fmt: skip
        secrets_ = {"token": SecretStr(TOKEN)}
        adapter = base.build(manifest.HOME / "voucher_pool", config, secrets_, connection_id=c)
        assert isinstance(adapter, Adapter)
        if pool is not None:
            adapter.pool = pool
        made.append(adapter)
        return adapter

    try:
        with reachable(sandbox):
            yield sandbox, connector
    finally:
        for adapter in made:
            await adapter.aclose()
        await sandbox.stop()
        guards.forget()
        pooling._unanswered.clear()


async def test_issued_codes_are_kept_encrypted_and_come_again_without_the_vendor(database: db.Database) -> None:
    c = await connection()
    order = po(("SPA", 2), ("CARD", 1))
    async with vendor(c) as (sandbox, connector):
        assert (await connector().place(order, key=order.number)).status is ReceiptStatus.ACCEPTED
        handed = plain(await connector().issue(order, key=order.number))
        assert sorted(code for _, code in handed) == sorted(v["number"] for v in sandbox.issued[order.number])
        asked = len(sandbox.seen)
        assert handed == plain(await connector().issue(order, key=order.number))
        assert (await connector().place(order, key=order.number)).status is ReceiptStatus.ACCEPTED
        assert len(sandbox.seen) == asked and sandbox.stock == {"SPA": 2, "CARD": 3}
        [page] = [page async for page in connector().pull(None)]
        assert {(x.on_hand, x.level) for x in page.listings} == {(None, "in_stock")}
    states = await rows("SELECT state, po_number, valid_until FROM voucher_codes")
    assert states == [("handed", order.number, datetime(2099, 12, 31, 15, 59, 59, tzinfo=UTC))] * 3


@pytest.mark.parametrize("known", [True, False])
async def test_an_answer_lost_to_a_process_that_died_is_issued_once(database: db.Database, known: bool) -> None:
    """The next process knows nothing of it. A vendor that can be asked says so; one that cannot is sent the same order
    again, under the same key."""
    c = await connection()
    order = po(("SPA", 1))
    issue = ISSUE if known else {name: part for name, part in ISSUE.items() if name != "find"}
    async with vendor(c, Faults(lose_answer=1), issue) as (sandbox, connector):
        with pytest.raises(Retry):
            await connector().place(order, key=order.number)
        pooling._unanswered.clear()  # the process died
        found = await connector().find(order.number)
        assert (found is not None) == known
        if found is None:
            assert (await connector().place(order, key=order.number)).status is ReceiptStatus.ACCEPTED
        [(_, code)] = plain(await connector().issue(order, key=order.number))
        assert code == sandbox.issued[order.number][0]["number"] and len(sandbox.requests) == 1
        assert await connector().find("po_never") is None


async def test_a_vendor_that_has_none_refuses_and_nothing_is_kept(database: db.Database) -> None:
    c = await connection()
    order = po(("SPA", 5))
    async with vendor(c) as (sandbox, connector):
        receipt = await connector().place(order, key=order.number)
        assert (receipt.out_of_stock, receipt.out_of_stock_skus, sandbox.issued) == (True, ("SPA",), {})
        assert await connector().find(order.number) is None
    assert await rows("SELECT count(*) FROM voucher_codes") == [(0,)]


async def test_cancelling_gives_back_to_the_vendor_and_the_codes_are_void(database: db.Database) -> None:
    c = await connection()
    order, used = po(("SPA", 1)), po(("SPA", 1))
    async with vendor(c) as (sandbox, connector):
        for one in (order, used):
            await connector().place(one, key=one.number)
        for _ in range(2):
            assert (await connector().cancel(order.number, order)).status is ReceiptStatus.ACCEPTED
        sandbox.redeemed.add(used.number)
        refused = await connector().cancel(used.number, used)
        assert refused.status is ReceiptStatus.REFUSED and "redeemed" in (refused.reason or "")
        assert (sandbox.living(order.number), sandbox.living(used.number), sandbox.stock["SPA"]) == (0, 1, 3)
    assert await rows("SELECT state FROM voucher_codes ORDER BY 1") == [("handed",), ("void",)]


async def test_a_vendor_that_takes_nothing_back_says_so() -> None:
    order = po(("SPA", 1))
    issue = {name: part for name, part in ISSUE.items() if name != "cancel"}
    async with vendor("memory", issue=issue) as (_, connector):
        pool = connector(MemoryPool())
        assert (await pool.cancel(order.number, order)).status is ReceiptStatus.ACCEPTED  # there is nothing of ours
        await pool.place(order, key=order.number)
        refused = await pool.cancel(order.number, order)
        assert refused.status is ReceiptStatus.REFUSED and "takes no codes back" in (refused.reason or "")


@pytest.mark.parametrize(
    ("vouchers_", "says"),
    [
        ([], "fewer"),
        ([{"article": "SPA", "number": "A"}], "fewer"),
        ([{"article": "SPA", "number": n} for n in "ABC"], "more"),
        ([{"article": "SPA", "number": "A"}, {"article": "CARD", "number": "B"}], "another article"),
        ([{"article": "SPA", "number": "A"}, {"article": "SPA", "number": ""}], "no code"),
        ([{"article": "SPA", "number": "A"}, {"article": "SPA", "number": True}], "no code"),
        ([{"article": "SPA", "number": "A", "expires": "soon"}, {"article": "SPA", "number": "B"}], "no readable time"),
        ({"number": "A"}, "no list"),
        (None, "no list"),
    ],
)
async def test_an_answer_that_is_no_set_of_codes_is_broken_and_asked_for_again(vouchers_: Any, says: str) -> None:
    order = po(("SPA", 2))
    async with vendor("memory") as (sandbox, connector):
        sandbox.issued[order.number] = vouchers_
        pool = connector(MemoryPool())
        for attempt in (pool.place(order, key=order.number), pool.find(order.number)):
            with pytest.raises(Broken, match=says):
                await attempt
        assert await pool.pool.held(order.number) is None


async def test_a_code_that_is_issued_twice_is_nobodys_second(database: db.Database) -> None:
    c = await connection()
    first, second = po(("SPA", 1)), po(("SPA", 1))
    async with vendor(c) as (sandbox, connector):
        await connector().place(first, key=first.number)
        sandbox.issued[second.number] = sandbox.issued[first.number]
        with pytest.raises(Broken, match="issued before"):
            await connector().place(second, key=second.number)
        assert await rows("SELECT po_number FROM voucher_codes") == [(first.number,)]


async def test_one_article_an_order_where_the_vendor_does_not_say_which() -> None:
    issue = {**ISSUE, "sku": None, "code": "number", "valid_until": None}
    async with vendor("memory", issue=issue) as (sandbox, connector):
        pool = connector(MemoryPool())
        both, one = po(("SPA", 1), ("CARD", 1)), po(("SPA", 1), ("SPA", 2))
        refused = await pool.place(both, key=both.number)
        assert refused.status is ReceiptStatus.REFUSED and not sandbox.seen
        await pool.place(one, key=one.number)
        assert [line for line, _ in plain(await pool.issue(one, key=one.number))] == [1, 2, 2]
