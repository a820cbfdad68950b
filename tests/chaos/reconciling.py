"""Reconciliation: injected drifts between our purchase orders, the vendor's list and the deliveries are all found
in one sweep, nothing else is, and the sweep repairs nothing by itself, although it is broken off again and again
and two processes work at it. The control forgets which days the list covers, and must miss what the list does not
name."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal

import fulfillment.api
from connectors.api import OrderRow
from connectors.contracts import ListedOrder, ListedStatus
from hub.kernel import clock, db
from orders.settlement import lists, reconciling
from orders.settlement.rules import day_of
from tests.chaos import ground, progress

FULL, SMALL = 1_000, 40
SOUND = 9  # orders without a drift for each one with
VENDOR = 1
PRICE = Decimal("9.99")
KINDS = (
    "missing_there", "amount_differs", "quantity_differs", "delivered_unproven", "delivered_but_cancelled",
    "cancelled_but_delivered", "missing_here",
)  # fmt: skip
_ORDERS = (
    "WITH n AS (SELECT u.i, md5('o' || u.i)::uuid AS o, md5('l' || u.i)::uuid AS l, md5('p' || u.i)::uuid AS p, u.qty, "
    "u.status, u.delivered FROM unnest($1::int[], $2::int[], $3::text[], $4::bool[]) AS u(i, qty, status, delivered)), "
    "o AS (INSERT INTO orders (id, mall_id, mall_order_no, status, mode, ship_to, currency, total, created_at, "
    "placed_at, "
    "due_at) SELECT o, 1, i::text, 'placed', 'place', '', 'CNY', 0, $5::timestamptz, $5::timestamptz, "
    "$5::timestamptz + interval '72 hours' FROM n), "
    "l AS (INSERT INTO order_lines (id, order_id, mall_id, line_no, status, quantity, agreed_price, product_id, "
    "listing_id, "
    "vendor_id, vendor_name, connection_id, vendor_sku, unit_price, currency, title, kind, mode, po_id) SELECT "
    "l, o, 1, 1, "
    "'accepted', qty, $6::numeric, 1, 1, 1, 'v', 1, 'S', $6::numeric, 'CNY', 't', 'goods', 'parcel', p FROM n), "
    "p AS (INSERT INTO purchase_orders (id, number, order_id, mall_id, vendor_id, vendor_name, connection_id, "
    "sequence, "
    "status, vendor_order_no, created_at) SELECT p, 'PO-' || i, o, 1, 1, 'v', 1, 1, status, 'V-' || i, $5 FROM n), "
    "x AS (INSERT INTO po_lines (po_id, line_id, mall_id, vendor_id, line_no, listing_id, vendor_sku, title, quantity, "
    "unit_price, currency) SELECT p, l, 1, 1, 1, 1, 'S', 't', qty, $6::numeric, 'CNY' FROM n) "
    "INSERT INTO fulfillment_line_clock (line_id, order_id, po_id, mall_id, vendor_id, first_vendor_id, line_no, mode, "
    "quantity, t0, due_at, delivered_units, delivered_at) SELECT l, o, p, 1, 1, 1, 1, 'parcel', qty, $5, "
    "$5::timestamptz + interval '72 hours', CASE WHEN delivered THEN qty ELSE 0 END, CASE WHEN delivered THEN "
    "$5::timestamptz END FROM n"
)


async def run(n: int) -> dict[str, int]:
    """`n` drifts among ten times as many orders."""
    rng = random.Random(n)
    reconciling.read_deliveries_with(fulfillment.api.deliveries_of)
    async with ground.empty_database():
        made_at = clock.now() - timedelta(days=2)
        day = day_of(made_at)
        until = day_of(made_at + timedelta(hours=2))
        expected = await _world(n, rng, made_at, day, until)
        before = await _ours()
        broken_off = await _sweep(until, rng)
        found = await _cases()
        again = await _sweep(until, rng)
        repeated = await _cases()
        repaired = before != await _ours()
        missed, false = len(expected - found), len(found - expected)
        async with db.uow() as tx:
            await tx.run("TRUNCATE settlement_cases CASCADE")
            await tx.run("UPDATE settlement_lists SET day_from = NULL, day_to = NULL")
        await reconciling.run(VENDOR, until)
        return {
            "n": n,
            "violations": missed + false + repaired + (found != repeated),
            "control_violations": len(expected - await _cases()),
            "orders": n * (SOUND + 1),
            "false_cases": false,
            "broken_off": broken_off + again,
        }


async def _world(n: int, rng: random.Random, made_at: datetime, day: date, until: date) -> set[tuple[str, str]]:
    """Orders, the vendor's list and the deliveries; returns the drifts as (kind, number)."""
    drifts = dict(zip(rng.sample(range(n * (SOUND + 1)), n), _kinds(), strict=False))
    orders: list[tuple[int, int, str, bool]] = []
    rows: list[OrderRow] = []
    expected: set[tuple[str, str]] = set()
    for i in range(n * (SOUND + 1)):
        kind, quantity, delivered = drifts.get(i), rng.randint(1, 9), rng.random() < 0.5
        status, amount, listed, number = "accepted", PRICE * quantity, ListedStatus.OPEN, f"PO-{i}"
        said = quantity
        if delivered and kind is None:
            listed = ListedStatus.DELIVERED
        match kind:
            case "amount_differs":
                amount += Decimal("0.01")
            case "quantity_differs":
                said += 1
            case "delivered_unproven":
                delivered, listed = False, ListedStatus.DELIVERED
            case "delivered_but_cancelled":
                delivered, listed = True, ListedStatus.CANCELLED
            case "cancelled_but_delivered":
                status, delivered, listed = "cancelled", False, ListedStatus.DELIVERED
            case "missing_here":
                order = ListedOrder(po_number=f"STRANGE-{i}", amount=amount)
                rows.append(OrderRow(len(rows) + 1, order, "", f"strange {i}"))
        orders.append((i, quantity, status, delivered))
        if kind is not None:
            expected.add((kind, f"STRANGE-{i}" if kind == "missing_here" else number))
        if kind != "missing_there":
            mark = {"po_number": number} if rng.random() < 0.5 else {"vendor_order_no": f"V-{i}"}
            order = ListedOrder(**mark, quantity=said, amount=amount, currency="CNY", status=listed)
            rows.append(OrderRow(len(rows) + 1, order, "", f"row {i}"))
    async with db.uow() as tx:
        await tx.run(
            "INSERT INTO vendors (id, name, name_en, created_at) OVERRIDING SYSTEM VALUE VALUES (1, 'v', 'v', now())"
        )
        await tx.run(_ORDERS, *(list(column) for column in zip(*orders, strict=True)), made_at, PRICE)
    rng.shuffle(rows)
    intake = lists.Intake(VENDOR, "upload", "chaos")
    await intake.begin()
    for start in range(0, len(rows), 500):
        await intake.take(rows[start : start + 500])
    await intake.finish((day, until))
    return expected


def _kinds() -> Iterator[str]:
    while True:
        yield from KINDS


async def _sweep(until: date, rng: random.Random) -> int:
    """One sweep by two at once, each broken off again and again; returns how often."""
    async with db.uow() as tx:
        run_id = await reconciling.start(tx, VENDOR, until)
    broken = 0

    async def worker() -> None:
        nonlocal broken
        while True:
            page = asyncio.create_task(reconciling.step(run_id))
            if rng.random() < 0.3:
                await asyncio.sleep(rng.random() * 0.02)
                page.cancel()
            try:
                if not await page:
                    return
            except asyncio.CancelledError:
                broken += 1

    await asyncio.gather(worker(), worker())
    progress.report("broken off", broken, broken)
    return broken


async def _cases() -> set[tuple[str, str]]:
    rows = await ground.rows("SELECT kind, number FROM settlement_cases WHERE state = 'open'")
    return {(row["kind"], row["number"]) for row in rows}


async def _ours() -> str:
    """A digest of everything that a sweep must leave alone."""
    tables = ("orders", "order_lines", "purchase_orders", "po_lines", "fulfillment_line_clock")
    digests = (f"(SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} t)" for table in tables)
    return str((await ground.rows(f"SELECT {', '.join(digests)}"))[0])
