"""The figures that SQL counts are the figures that the pure rules give, on random histories."""

from __future__ import annotations

import random
import uuid
from datetime import datetime, timedelta

import pytest

from fulfillment import api
from fulfillment.sla import Clock, delivery_72h
from fulfillment.stockouts import FirstOutcome, Supply, stockouts
from hub.kernel.db import Database, uow
from tests.fulfillment.kit import T0

COLUMNS = (
    "line_id", "order_id", "mall_id", "vendor_id", "first_vendor_id", "line_no", "mode", "quantity", "t0", "due_at",
    "delivered_units", "delivered_at", "first_scan_at", "cancelled_by", "cancelled_at", "excused", "first_outcome",
)  # fmt: skip


def history(dice: random.Random) -> dict[str, object]:
    """One line's random life, with many instants exactly on the limits."""
    t0 = T0 + timedelta(hours=dice.randrange(0, 72))
    due = t0 + timedelta(hours=72)

    def instant() -> datetime | None:
        near = dice.choice((t0, due)) + timedelta(microseconds=dice.choice((-1, 0, 1)))
        return dice.choice((None, near, t0 + timedelta(hours=dice.randrange(0, 120))))

    by, delivered = dice.choice((None, None, "buyer", "supply")), instant()
    return {
        "line_id": uuid.uuid4(), "order_id": uuid.uuid4(), "mall_id": dice.randrange(1, 4),
        "vendor_id": dice.randrange(1, 4), "first_vendor_id": dice.randrange(1, 4), "line_no": 1,
        "mode": dice.choice(("parcel", "appointment", "code")), "quantity": 2, "t0": t0, "due_at": due,
        "delivered_units": 2 if delivered else dice.randrange(0, 2), "delivered_at": delivered,
        "first_scan_at": instant(), "cancelled_by": by, "cancelled_at": (instant() or due) if by else None,
        "excused": dice.choice((None, None, None, "refused", "bad_address")),
        "first_outcome": dice.choice(list(FirstOutcome)).value,
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
async def test_sql_counts_what_the_rules_say(database: Database, seed: int) -> None:
    dice = random.Random(seed)
    rows = [history(dice) for _ in range(400)]
    async with uow() as tx:
        places = ", ".join(f"${n}" for n in range(1, len(COLUMNS) + 1))
        insert = f"INSERT INTO fulfillment_line_clock ({', '.join(COLUMNS)}) VALUES ({places})"
        await tx.run_many(insert, [tuple(row[name] for name in COLUMNS) for row in rows])
        for _ in range(25):
            start = T0 + timedelta(hours=dice.randrange(-10, 60))
            window = (start, start + timedelta(hours=dice.randrange(0, 80)))
            now = T0 + timedelta(hours=dice.randrange(90, 180))
            mall, vendor = dice.choice((None, 1, 2)), dice.choice((None, 1, 2))
            mine = [row for row in rows if mall in (None, row["mall_id"])]
            carried = [row for row in mine if vendor in (None, row["vendor_id"])]
            first = [row for row in mine if vendor in (None, row["first_vendor_id"])]
            clocks = [Clock(**{n: row[n] for n in Clock.__dataclass_fields__}) for row in carried]  # type: ignore[arg-type]
            supplies = [
                Supply(row["t0"], FirstOutcome(row["first_outcome"]), row["cancelled_by"] == "supply")  # type: ignore[arg-type]
                for row in first
            ]
            assert await api.delivery_72h(tx, window, now, mall, vendor) == delivery_72h(clocks, window, now)
            assert await api.stockout_figure(tx, window, now, mall, vendor) == stockouts(supplies, window, now)
        assert (await api.invariants(tx))["delivery_72h_partition_is_exact"]
