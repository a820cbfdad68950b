"""Settlement against the real database: vendors' lists, reconciliation, cases, statements."""

from __future__ import annotations

import asyncio
import csv
import io
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fulfillment.api
from connectors import api as connectors
from connectors.contracts import Capability, ConnectionView, ListedOrder, ListedStatus
from fulfillment import clocks
from hub.kernel import clock, keys
from hub.kernel.db import uow
from hub.kernel.errors import Broken, Conflict, Rejected
from orders import aftersales
from orders import api as orders_api
from orders.settlement import cases, lists, reconciling, statements
from orders.settlement.rules import day_bounds, day_of, month_bounds
from orders.settlement.statements import Party
from orders.store import reconciling as kept
from orders.store import statements as books
from tests.orders.world import World

VENDOR = 101
CSV = {"Content-Type": "text/csv"}
D = Decimal


@pytest.fixture(autouse=True)
def real_deliveries() -> None:
    reconciling.read_deliveries_with(fulfillment.api.deliveries_of)


@dataclass
class Shop:
    """A mall, a vendor that accepts everything, its staff key, and the day on which all was ordered."""

    world: World
    mall: int
    product: int
    staff: dict[str, str]
    vendor_key: dict[str, str]
    day: date
    numbers: list[str] = field(default_factory=list)

    async def order(self, qty: int = 1) -> dict[str, Any]:
        """An accepted order of one line at 10.00; it carries its purchase order's number and id."""
        made = await self.world.placed(self.mall, [{"product_id": f"prd_{self.product}", "qty": qty}])
        await self.world.work()
        seen = await self.world.see(self.mall, made["id"])
        assert seen["status"] == "accepted"
        async with uow() as tx:
            await clocks.follow(tx, uuid.UUID(made["id"][4:]))
        [po] = seen["purchase_orders"]
        return {**seen, "po": po}

    async def deliver(self, order: dict[str, Any], after: timedelta = timedelta(hours=1)) -> datetime:
        """Its last unit arrived so long after t0."""
        at = datetime.fromisoformat(order["placed_at"]) + after
        async with uow() as tx:
            await tx.run(
                "UPDATE fulfillment_line_clock SET delivered_units = quantity, delivered_at = $2 WHERE order_id = $1",
                uuid.UUID(order["id"][4:]),
                at,
            )
        return at

    async def undeliver(self, order: dict[str, Any]) -> None:
        async with uow() as tx:
            await tx.run(
                "UPDATE fulfillment_line_clock SET delivered_units = 0, delivered_at = NULL WHERE order_id = $1",
                uuid.UUID(order["id"][4:]),
            )

    async def send(
        self, rows: Sequence[str], *, whole: bool = True, header: str = "订单号,数量,金额,状态"
    ) -> list[str]:
        """Upload a list as the vendor; what became of each row."""
        query = f"?from={self.day}&to={self.day + timedelta(days=1)}" if whole else ""
        body = "\r\n".join([header, *rows]).encode("gb18030")
        path = "/v1/vendor/settlements/lists" + query
        async with self.world.client.post(path, data=body, headers={**self.vendor_key, **CSV}) as answer:
            said = await answer.json()
            assert answer.status == 200, said
        return [row["result"] for row in said["results"]]

    async def run(self) -> dict[str, int]:
        """Reconcile; only what is not zero."""
        run_id = await reconciling.run(VENDOR, self.day)
        async with uow() as tx:
            row = await kept.run_row(tx, run_id)
        assert row is not None and row["state"] == "done"
        return {name: count for name, count in row["figures"].items() if count}

    async def cases(self, state: str = "open") -> list[tuple[str, str]]:
        async with uow() as tx:
            return [(row["kind"], row["number"]) for row in await kept.cases_after(tx, None, state, None, 0, 100)]

    async def draft(
        self, party: Party | None = None, reason: str | None = None, month: date | None = None
    ) -> list[Any]:
        async with uow() as tx:
            return await statements.draft(tx, party or Party("vendor", VENDOR, "v"), month or self.day, reason)

    async def issue(self, row: Any) -> Any:
        async with uow() as tx:
            return await statements.issue(tx, row["id"], "key:1")

    async def lines(self, row: Any) -> list[Any]:
        async with uow() as tx:
            return [line async for line in statements.lines_of(tx, row["id"])]

    def next_month(self) -> None:
        """Go on to the first hour of the month after the orders'."""
        cutoff = month_bounds(self.day)[1]
        self.world.later((cutoff - clock.now()).total_seconds() + 3600)

    @property
    def following(self) -> date:
        return day_of(month_bounds(self.day)[1])


@pytest.fixture
async def shop(world: World) -> AsyncIterator[Shop]:
    mall = await world.mall()
    await world.vendor(1)
    product = await world.product()
    await world.listing(1, product, "10.00", 10_000)
    async with uow() as tx:
        await tx.run(
            "INSERT INTO vendors (id, name, name_en, created_at) OVERRIDING SYSTEM VALUE VALUES ($1, 'v', 'v', now())",
            VENDOR,
        )
        staff = {"Authorization": "Bearer " + await keys.create_key(tx, "staff", None, "s")}
    # Noon of the second of a month in Shanghai: orders, lists and lateness of some days stay within the month.
    first = day_bounds(day_of(month_bounds(day_of(clock.now()))[1]))[0]
    world.later((first + timedelta(hours=36) - clock.now()).total_seconds())
    await world.report(1, f"S{product}", 10_000)
    yield Shop(world, mall, product, staff, await world.vendor_key(VENDOR), day_of(clock.now()))


# Lists and reconciliation --------------------------------------------------------------------------------------------


async def test_a_list_that_agrees_opens_nothing_and_saying_it_again_changes_nothing(shop: Shop) -> None:
    orders = [await shop.order(qty) for qty in (1, 2, 3)]
    rows = [f"{o['po']['vendor_order_no']},{qty},{qty * 10}.00,已接单" for qty, o in enumerate(orders, 1)]
    at_once = await asyncio.gather(shop.send(rows), shop.send(rows[::-1]))
    assert sorted(at_once) == [["matched"] * 3, ["unchanged"] * 3], "two at once take turns"
    assert await shop.send(rows) == ["unchanged"] * 3
    shop.world.later(86_400)
    first = await shop.run()
    assert first == {"purchase_orders": 3, "agree": 3}
    assert await shop.run() == first
    assert await shop.cases() == []


async def test_each_disagreement_becomes_a_case_once_and_a_changed_list_tells_the_change(shop: Shop) -> None:
    fine, dearer, fewer, absent, gone = [await shop.order(2) for _ in range(5)]
    await shop.deliver(gone)
    number = [o["po"]["number"] for o in (fine, dearer, fewer, absent, gone)]
    header = "采购单号,订单号,数量,金额,状态"
    rows = [
        f"{number[0]},,2,20,已发货", f"{number[1]},,2,21,已发货", f"{number[2]},,1,20,已发货",
        f"{number[4]},,2,20,已取消", "PO-NOBODYS,V-9,1,5,已签收",
    ]  # fmt: skip
    assert await shop.send(rows, header=header) == ["matched"] * 4 + ["quarantined"]
    shop.world.later(86_400)
    assert await shop.run() == {"purchase_orders": 5, "agree": 1, "opened": 5}
    expected = [
        ("amount_differs", number[1]), ("quantity_differs", number[2]), ("missing_there", number[3]),
        ("delivered_but_cancelled", number[4]), ("missing_here", "PO-NOBODYS"),
    ]  # fmt: skip
    assert sorted(await shop.cases()) == sorted(expected)
    before = await shop.world.value("SELECT md5(string_agg(c::text, '|' ORDER BY id)) FROM settlement_cases c")
    assert (await shop.run())["still_open"] == 5
    assert await shop.world.value("SELECT md5(string_agg(c::text, '|' ORDER BY id)) FROM settlement_cases c") == before
    rows[1] = f"{number[1]},,2,22,已发货"  # still wrong, otherwise
    rows[2] = f"{number[2]},,2,20,已发货"  # put right
    assert await shop.send(rows, header=header) == ["unchanged", "matched", "matched", "unchanged", "quarantined"]
    again = await shop.run()
    assert {name: again[name] for name in ("changed", "cleared", "still_open")} == {
        "changed": 1, "cleared": 1, "still_open": 3,
    }  # fmt: skip
    assert ("quantity_differs", number[2]) in await shop.cases("resolved")


async def test_what_a_newer_list_of_the_same_days_no_longer_names_is_missing_there(shop: Shop) -> None:
    one, two = [await shop.order() for _ in range(2)]
    rows = [f"{o['po']['number']},1,10,已接单" for o in (one, two)]
    await shop.send(rows)
    await shop.send(rows[:1], whole=False)
    shop.world.later(86_400)
    assert "opened" not in await shop.run(), "a list of no days proves no absence"
    await shop.send(rows[:1])
    assert (await shop.run())["opened"] == 1
    assert await shop.cases() == [("missing_there", two["po"]["number"])]
    await shop.send(rows)
    assert (await shop.run())["cleared"] == 1


async def test_a_resolution_stands_until_a_later_run_contradicts_it(shop: Shop) -> None:
    order = await shop.order()
    number = order["po"]["number"]
    await shop.send([f"{number},1,11,已接单"])
    shop.world.later(86_400)
    await shop.run()
    async with uow() as tx:
        [case] = await kept.cases_after(tx, None, "open", None, 0, 10)
        await cases.note(tx, case["id"], "key:1", "called them", "李四")
        await cases.resolve(tx, case["id"], "key:1", "accepted", "freight, as agreed by phone")
        await cases.resolve(tx, case["id"], "key:1", "accepted", "said twice")
        with pytest.raises(Conflict):
            await cases.resolve(tx, case["id"], "key:1", "corrected", "no, otherwise")
    assert (await shop.run())["accepted"] == 1 and await shop.cases() == []
    await shop.send([f"{number},1,12,已接单"])
    assert (await shop.run())["reopened"] == 1
    async with uow() as tx:
        await cases.resolve(tx, case["id"], "key:1", "corrected", "they will send 10.00")
    assert (await shop.run())["accepted"] == 1, "their next list has not come yet"
    await shop.send([f"{number},1,12,已接单"])
    assert (await shop.run())["reopened"] == 1, "it came and says the same"
    await shop.send([f"{number},1,10,已接单"])
    assert (await shop.run())["cleared"] == 1
    async with uow() as tx:
        [case] = await kept.cases_after(tx, None, "resolved", None, 0, 10)
    assert (case["resolution"], case["times_reopened"], case["assignee"]) == ("cleared", 2, "李四")
    assert [entry["what"] for entry in case["log"]] == [
        "opened", "note", "resolved", "reopened", "resolved", "reopened", "cleared",
    ]  # fmt: skip


async def test_rows_that_name_no_order_are_quarantined_sealed_and_matched_by_hand(shop: Shop) -> None:
    order = await shop.order()
    header = "订单号,金额,收货人"
    rows = [
        ",10,王小明",
        "WRONG-1,10,李雷",
        f"{order['po']['number']},10,王五",
        f"{order['po']['number']},11,王五",
        "X,abc,",
    ]
    assert await shop.send(rows, header=header) == [
        "quarantined", "quarantined", "matched", "quarantined", "quarantined",
    ]  # fmt: skip
    sealed = await shop.world.value("SELECT string_agg(r::text, '|') FROM settlement_list_rows r")
    assert "王小明" not in sealed and "王小明".encode().hex() not in sealed
    status, page = await shop.world.get(shop.staff, "/settlements/rows")
    assert status == 200 and "王小明" in page["items"][0]["raw"]
    assert [row["reason"] for row in page["items"]] == [
        lists.NO_NUMBER, lists.UNKNOWN_NUMBER, "row 3 of this list is about the same order and article",
        "'abc' is not an amount",
    ]  # fmt: skip
    other = await shop.order()
    po = other["po"]["id"]
    for _ in range(2):
        path = f"/v1/settlements/rows/{page['items'][1]['id']}/match"
        async with shop.world.client.post(path, json={"po": po}, headers=shop.staff) as answer:
            assert answer.status == 200, await answer.text()
    discard = f"/v1/settlements/rows/{page['items'][0]['id']}/discard"
    async with shop.world.client.post(discard, json={"reason": "a test"}, headers=shop.staff) as answer:
        assert answer.status == 200
    async with shop.world.client.post(
        discard.replace("discard", "match"), json={"po": po}, headers=shop.staff
    ) as answer:
        assert answer.status == 409
    assert len((await shop.world.get(shop.staff, "/settlements/rows"))[1]["items"]) == 2
    assert await shop.send(rows, header=header) == ["discarded", "unchanged", "unchanged", "quarantined", "quarantined"]
    assert await shop.world.value("SELECT count(*) FROM audit WHERE action = 'settlement.raw_read'") == 2


async def test_a_row_that_came_before_the_vendors_number_was_known_is_matched_by_the_next_run(shop: Shop) -> None:
    assert await shop.send(["LATER-1,1,10,已接单"]) == ["quarantined"]
    order = await shop.order()
    async with uow() as tx:
        await tx.run("UPDATE purchase_orders SET vendor_order_no = 'LATER-1' WHERE number = $1", order["po"]["number"])
    shop.world.later(86_400)
    assert await shop.run() == {"purchase_orders": 1, "agree": 1, "matched_late": 1}


async def test_a_run_that_broke_off_goes_on_after_its_last_page_and_two_at_once_do_it_once(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciling, "_PAGE", 2)
    for _ in range(5):
        await shop.order()
    await shop.send(["NONE,1,1,已接单"])
    shop.world.later(86_400)
    async with uow() as tx:
        run_id = await reconciling.start(tx, VENDOR, shop.day)
    assert await reconciling.step(run_id)
    compare, looked = reconciling._differences, []

    async def noting(tx: Any, vendor_id: int, pos: Any, since: Any) -> Any:
        looked.append(len(pos))
        return await compare(tx, vendor_id, pos, since)

    monkeypatch.setattr(reconciling, "_differences", noting)
    await asyncio.gather(*(reconciling.run(VENDOR, shop.day) for _ in range(2)))
    assert sum(looked) >= 3 and looked[0] == 2, "it went on; the second may have begun anew after the first was done"
    assert len(await shop.cases()) == 6
    async with uow() as tx:
        assert await tx.fetchval("SELECT count(*) FROM settlement_runs") == 1
        with pytest.raises(Rejected, match="not over"):
            await reconciling.start(tx, VENDOR, shop.day + timedelta(days=9))


async def test_the_vendors_own_system_is_asked_and_its_trouble_concludes_nothing(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = [await shop.order() for _ in range(2)]
    asked: list[date] = []
    broken = True

    class Lists:
        async def list_orders(self, day: date) -> AsyncIterator[list[ListedOrder]]:
            asked.append(day)
            number = one["po"]["vendor_order_no"]
            yield [ListedOrder(vendor_order_no=number, amount=D("10.00"), currency="CNY", status=ListedStatus.OPEN)]
            if broken:
                raise Broken("announced 2 and sent 1")

    class Opened:
        async def __aenter__(self) -> Lists:
            return Lists()

        async def __aexit__(self, *_: object) -> None:
            return None

    view = await shop.world.get_connection(None, 1)
    able = view.model_copy(update={"capabilities": frozenset({Capability.LISTS_ORDERS})})

    async def connections(*_: Any, **__: Any) -> list[ConnectionView]:
        return [able]

    monkeypatch.setattr(connectors, "list_connections", connections)
    monkeypatch.setattr(connectors, "open_connector", lambda _id: Opened())
    shop.world.later((day_bounds(shop.day)[1] - clock.now()).total_seconds() + 3 * 3600)
    assert await reconciling.reconcile_due() == 0, "not whole: tried again later"
    assert await shop.world.value("SELECT count(*) FROM settlement_list_rows") == 0
    broken = False
    assert await reconciling.reconcile_due() == 1 and await reconciling.reconcile_due() == 0
    assert set(asked) == {shop.day}
    assert await shop.cases() == [("missing_there", two["po"]["number"])]


async def test_a_thousand_injected_drifts_are_all_found_and_nothing_else(shop: Shop) -> None:
    """RELIABILITY.md 15, small: half of the orders drift in one of four ways."""
    count, ways = 120, 4
    first = await shop.order()
    async with uow() as tx:
        await tx.run(
            "WITH src AS (SELECT p.*, x.line_id, x.vendor_sku FROM purchase_orders p JOIN po_lines x ON x.po_id = p.id "
            "WHERE p.number = $1), n AS (SELECT i, gen_random_uuid() AS id, 'PO-' || i AS number FROM "
            "generate_series(1, $2) AS i), po AS (INSERT INTO purchase_orders (id, number, order_id, mall_id, "
            "vendor_id, "
            "vendor_name, connection_id, sequence, status, created_at, vendor_order_no) SELECT n.id, n.number, "
            "src.order_id, src.mall_id, src.vendor_id, src.vendor_name, src.connection_id, 2, 'accepted', "
            "src.created_at, "
            "'V-' || n.i FROM n, src) INSERT INTO po_lines (po_id, line_id, mall_id, vendor_id, line_no, listing_id, "
            "vendor_sku, title, quantity, unit_price, currency) SELECT n.id, src.line_id, src.mall_id, "
            "src.vendor_id, 1, "
            "1, src.vendor_sku, 't', 1 + n.i % 5, 9.99, 'CNY' FROM n, src",
            first["po"]["number"],
            count,
        )
    rows, wrong = [f"{first['po']['number']},1,10,已接单"], set()
    for i in range(1, count + 1):
        quantity, amount, status = 1 + i % 5, D("9.99") * (1 + i % 5), "已接单"
        if i % 2:
            wrong.add(f"PO-{i}" if i // 2 % ways != 1 else f"STRANGE-{i}")
            match i // 2 % ways:
                case 0:
                    amount += D("0.01")
                case 1:
                    rows.append(f"STRANGE-{i},1,1,已接单")
                case 2:
                    quantity += 1
                case 3:
                    status = "已取消"
        rows.append(f"PO-{i},{quantity},{amount},{status}")
    await shop.send(rows)
    shop.world.later(86_400)
    await shop.run()
    assert {number for _, number in await shop.cases()} == wrong


# Statements ----------------------------------------------------------------------------------------------------------


async def test_a_month_is_what_was_delivered_in_it_and_both_sides_say_the_same(shop: Shop) -> None:
    orders = [await shop.order(qty) for qty in (1, 2, 3)]
    late_in_month = await shop.order(4)
    for order in orders[:2]:
        await shop.deliver(order)
    cutoff = month_bounds(shop.day)[1]
    t0 = datetime.fromisoformat(late_in_month["placed_at"])
    await shop.deliver(late_in_month, cutoff - t0)  # on the stroke of midnight: the next month's
    [vendors] = await shop.draft()
    [malls] = await shop.draft(Party("mall", shop.mall, "mall"))
    assert (vendors["net"], vendors["payable"], vendors["lines"]) == (D(30), D(30), 2)
    assert (malls["net"], malls["lines"], malls["deductions"]) == (D(30), 2, 0)
    assert [line["order_no"] for line in await shop.lines(malls)] == [o["mall_order_no"] for o in orders[:2]]
    assert [line["order_no"] for line in await shop.lines(vendors)] == [o["po"]["number"] for o in orders[:2]]
    assert vendors["tax"] is None and vendors["lines_without_tax"] == 2
    with pytest.raises(Conflict, match="not over"):
        await shop.issue(vendors)
    shop.next_month()
    with pytest.raises(Conflict, match="out of date"):
        await shop.issue(vendors)
    [vendors] = await shop.draft()
    issued, again = await asyncio.gather(shop.issue(vendors), shop.issue(vendors))
    assert issued["state"] == "issued" and len(issued["hash"]) == 64
    assert again["hash"] == issued["hash"] and again["issued_at"] == issued["issued_at"]
    [following] = await shop.draft(month=shop.following)
    assert [(line["kind"], line["amount"]) for line in await shop.lines(following)] == [("goods", D(40))]


async def test_an_issued_statement_never_changes_and_its_hash_tells(shop: Shop) -> None:
    await shop.deliver(await shop.order())
    shop.next_month()
    [row] = await shop.draft()
    async with uow() as tx:
        await tx.run("UPDATE settlement_statements SET reason = 'a draft may change' WHERE id = $1", row["id"])
    [row] = await shop.draft()
    issued = await shop.issue(row)
    for statement in (
        "UPDATE settlement_statements SET net = net + 1, goods = goods + 1, payable = payable + 1 WHERE id = $1",
        "UPDATE settlement_statements SET state = 'draft', hash = NULL WHERE id = $1",
        "DELETE FROM settlement_statements WHERE id = $1",
        "UPDATE settlement_statement_lines SET amount = 0 WHERE statement_id = $1",
        "DELETE FROM settlement_statement_lines WHERE statement_id = $1",
        "INSERT INTO settlement_statement_lines (statement_id, no, kind, order_no, po_number, amount) "
        "VALUES ($1, 99, 'goods', '', '', 1)",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="never changes"):
            async with uow() as tx:
                await tx.run(statement, row["id"])
    async with uow() as tx:
        assert await statements.intact(tx, row["id"])
        await tx.run("ALTER TABLE settlement_statement_lines DISABLE TRIGGER settlement_keep_lines")
        await tx.run("UPDATE settlement_statement_lines SET title = 'forged' WHERE statement_id = $1", row["id"])
        await tx.run("ALTER TABLE settlement_statement_lines ENABLE TRIGGER settlement_keep_lines")
        assert not await statements.intact(tx, row["id"])
    assert issued["previous_hash"] is None


async def test_what_becomes_known_after_the_issue_is_a_correction_of_the_next_month(shop: Shop) -> None:
    back, late = await shop.order(1), await shop.order(2)
    await shop.deliver(back)
    shop.next_month()
    [row] = await shop.draft()
    first = await shop.issue(row)
    await shop.undeliver(back)  # the scan was withdrawn
    await shop.deliver(late)  # the scan of last month came only now
    with pytest.raises(Conflict, match="issued"):
        await shop.draft()
    shop.world.later(31 * 86_400)
    [row] = await shop.draft(month=shop.following)
    lines = [(line["kind"], line["quantity"], line["amount"]) for line in await shop.lines(row)]
    assert sorted(lines) == [("correction", -1, D(-10)), ("goods", 2, D(20))]
    assert (row["goods"], row["corrections"], row["net"]) == (D(20), D(-10), D(10))
    second = await shop.issue(row)
    assert second["previous_hash"] == first["hash"]
    with pytest.raises(Conflict, match="correction of the next month"):
        await shop.draft(reason="too late")
    third = await shop.draft(month=day_of(month_bounds(shop.following)[1]))
    assert third == [], "nothing is billed twice"


async def test_what_after_sales_pays_back_is_owed_by_nobody(shop: Shop) -> None:
    async def case(order: dict[str, Any], qty: int, amount: str | None) -> None:
        """Some units are paid back; without an amount they are ordered once more."""
        async with uow() as tx:
            row = await aftersales.request(tx, shop.mall, uuid.UUID(order["id"][4:]), 1, qty, "refund", "broken")
            await aftersales.decide(tx, row["id"], "approve", None, "key:1")
            if amount is None:
                await aftersales.replace(tx, row["id"], "key:1")
            else:
                await aftersales.refund(tx, row["id"], D(amount), "key:1")

    early, late, made_good = await shop.order(3), await shop.order(2), await shop.order(4)
    for order in (early, late, made_good):
        await shop.deliver(order)
        async with uow() as tx:
            await orders_api.delivered(tx, uuid.UUID(order["po"]["id"][3:]))
    await case(early, 1, "7.50")
    await case(made_good, 4, None)
    shop.next_month()
    for party in (None, Party("mall", shop.mall, "mall")):
        [row] = await shop.draft(party)
        lines = [(x["kind"], x["quantity"], x["amount"], x["note"]) for x in await shop.lines(row)]
        assert sorted(lines, key=str) == sorted([
            ("goods", 3, D(30), None), ("correction", 0, D("-7.5"), "after-sales"), ("goods", 2, D(20), None),
            ("goods", 4, D(40), None), ("correction", 0, D(-40), "after-sales"),
        ], key=str)  # fmt: skip
        assert (row["goods"], row["corrections"], row["net"]) == (D(90), D("-47.5"), D("42.5"))
        await shop.issue(row)
    await case(late, 2, "20")
    shop.world.later(31 * 86_400)
    [row] = await shop.draft(month=shop.following)
    assert [(x["kind"], x["amount"], x["note"]) for x in await shop.lines(row)] == [
        ("correction", D(-20), "after-sales")
    ]
    await shop.issue(row)
    assert await shop.draft(month=day_of(month_bounds(shop.following)[1])) == [], "nothing is taken off twice"


async def test_a_correction_of_the_newest_month_is_a_new_version(shop: Shop) -> None:
    one, two = await shop.order(1), await shop.order(2)
    await shop.deliver(one)
    shop.next_month()
    [row] = await shop.draft()
    first = await shop.issue(row)
    await shop.deliver(two)
    [row] = await shop.draft(reason="a scan was missing")
    assert (row["version"], row["net"], row["reason"]) == (2, D(30), "a scan was missing")
    second = await shop.issue(row)
    async with uow() as tx:
        states = [(s["version"], s["state"]) for s in await books.statements_of(tx, f"vendor:{VENDOR}")]
        assert await statements.intact(tx, first["id"]), "the first version is kept as it was"
    assert states == [(2, "issued"), (1, "superseded")] and second["previous_hash"] == first["hash"]


async def test_lateness_tax_and_adjustments_are_as_agreed_or_absent(shop: Shop) -> None:
    on_time, late, before = [await shop.order(10) for _ in range(3)]
    await shop.deliver(on_time, timedelta(hours=72))
    await shop.deliver(late, timedelta(hours=72 + 25))
    async with uow() as tx:
        agreed = {"late_per": "day", "late_share": D("0.02"), "late_cap": D("0.03"), "currency": "CNY", "agreed": "§ 7"}
        await cases.set_terms(tx, "key:1", VENDOR, shop.day, None, tax_rate=D("0.13"), **agreed)
        with pytest.raises(Conflict, match="in force"):
            await cases.set_terms(tx, "key:1", VENDOR, shop.day - timedelta(days=5), None, **agreed)
        party = Party("vendor", VENDOR, "v")
        await cases.adjust(tx, "key:1", party, "refund", D("-12.345"), "CNY", "broken cup")
        await cases.adjust(tx, "key:1", Party("mall", shop.mall, "m"), "compensation", D("-1"), "CNY", "goodwill")
    del before
    # The vendor's list says another tax of one line; it counts where the amount is ours.
    header = "采购单号,sku,金额,税率,税额"
    await shop.send([f"{on_time['po']['number']},S{shop.product},100,9%,8.26"], header=header)
    shop.next_month()
    [row] = await shop.draft()
    lines = await shop.lines(row)
    said = [(li["kind"], li["amount"], li["tax_rate"], li["tax_amount"], li["tax_source"]) for li in lines]
    assert said == [
        ("goods", D(100), D("0.09"), D("8.26"), "list"),
        ("goods", D(100), D("0.13"), D("11.50"), "terms"),
        ("deduction", D(-3), None, None, None),  # 2 days begun x 2 % of 100, at most 3 %
        ("adjustment", D("-12.345"), None, None, None),
    ]
    assert (row["net"], row["rounding"], row["payable"]) == (D("184.655"), D("0.005"), D("184.66"))
    assert (row["tax"], row["lines_without_tax"]) == (D("19.76"), 0)
    await shop.issue(row)
    [malls] = await shop.draft(Party("mall", shop.mall, "mall"))
    assert (malls["deductions"], malls["adjustments"], malls["net"]) == (0, D(-1), D(199)), "late deductions are ours"
    shop.world.later(31 * 86_400)
    assert await shop.draft(month=shop.following) == [], "the adjustment was in the month that holds it"


async def test_a_draft_that_something_was_issued_beside_is_out_of_date(shop: Shop) -> None:
    await shop.deliver(await shop.order())
    shop.next_month()
    [first] = await shop.draft()
    shop.world.later(31 * 86_400)
    [second] = await shop.draft(month=shop.following)
    assert (await shop.draft())[0]["net"] == first["net"] == second["net"], "both hold it while none is issued"
    [first] = await shop.draft()
    await shop.issue(first)
    with pytest.raises(Conflict, match="out of date"):
        await shop.issue(second)
    assert await shop.draft(month=shop.following) == []


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
async def test_whatever_is_delivered_withdrawn_and_issued_when_the_sum_of_all_months_is_what_was_delivered(
    shop: Shop, data: st.DataObject
) -> None:
    """Three months of one vendor, deliveries and withdrawals between the issues."""
    world, start = shop.world, clock.now()
    async with uow() as tx:
        await tx.run("TRUNCATE settlement_statements, settlement_statement_lines CASCADE")
        await tx.run("UPDATE fulfillment_line_clock SET delivered_units = 0, delivered_at = NULL")
    if not shop.numbers:
        made = [await shop.order(qty) for qty in (1, 2, 3)]
        shop.numbers = [o["id"] for o in made]
    orders = [await world.see(shop.mall, number) for number in shop.numbers]
    month, total = shop.day, D(0)
    for _ in range(3):
        for order in orders:
            if data.draw(st.booleans()):
                await shop.deliver(order, timedelta(hours=data.draw(st.integers(1, 24 * 27))))
            elif data.draw(st.booleans()):
                await shop.undeliver(order)
        cutoff = month_bounds(month)[1]
        world.later((cutoff - clock.now()).total_seconds() + 60)
        for row in await shop.draft(month=month):
            issued = await shop.issue(row)
            lines = await shop.lines(issued)
            assert sum((line["amount"] for line in lines), D(0)) == issued["net"]
            total += issued["net"]
        async with uow() as tx:
            delivered = await tx.fetchval(
                "SELECT coalesce(sum(quantity), 0) FROM fulfillment_line_clock WHERE delivered_at < $1", cutoff
            )
            assert not await books.wrong_statements(tx)
        assert total == D(10) * delivered
        month = day_of(cutoff)
    world.later((start - clock.now()).total_seconds())


async def test_the_files_say_the_same_in_two_languages_and_hold_no_formula(shop: Shop) -> None:
    async with uow() as tx:
        await tx.run("UPDATE catalog_listings SET title = '=HYPERLINK(\"http://x\")'")
    order = await shop.order(3)
    await shop.deliver(order)
    shop.next_month()
    [row] = await shop.draft()
    path = f"/v1/settlements/statements/stm_{row['id']}/file"
    texts = {}
    for lang in ("zh", "en"):
        async with shop.world.client.get(f"{path}?lang={lang}", headers=shop.staff) as answer:
            assert answer.status == 200 and answer.headers["Content-Type"] == "text/csv; charset=utf-8"
            texts[lang] = list(csv.reader(io.StringIO((await answer.read()).decode("utf-8-sig"))))
    head, line, total = texts["zh"][:3]
    said = dict(zip(head, line, strict=True))
    assert (said["金额"], said["数量"], said["商品名称"]) == ("30.00", "3", '\'=HYPERLINK("http://x")')
    assert total[head.index("金额")] == "30.00" and ["应付金额", "30.00"] in texts["zh"]
    assert texts["en"][0][head.index("金额")] == "Amount" and ["Payable", "30.00"] in texts["en"]
    async with shop.world.client.get(f"{path}?format=xlsx&lang=en", headers=shop.staff) as answer:
        book = openpyxl.load_workbook(io.BytesIO(await answer.read()))
    assert book.sheetnames == ["Summary", "Orders", "Lines"]
    assert [cell.value for cell in book["Orders"][2]] == [order["po"]["number"], 1, 30]
    assert not any(c.data_type == "f" for sheet in book for cells in sheet.iter_rows() for c in cells)
    for other in ("/v1/vendor/settlements/statements/", "/v1/statements/"):
        key = shop.vendor_key if "vendor" in other else shop.world.malls[shop.mall]
        async with shop.world.client.get(f"{other}stm_{row['id']}/file", headers=key) as answer:
            assert answer.status == 404, "a draft is the staff's"
    await shop.issue(row)
    async with shop.world.client.get(
        f"/v1/vendor/settlements/statements/stm_{row['id']}/file", headers=shop.vendor_key
    ) as a:
        assert a.status == 200
    async with shop.world.client.get(f"/v1/statements/stm_{row['id']}/file", headers=shop.world.malls[shop.mall]) as a:
        assert a.status == 404, "a vendor's statement is no mall's"
