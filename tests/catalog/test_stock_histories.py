"""Stock reports permuted, duplicated, delayed and mixed with orders, against a small model of what must be true."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog import api
from connectors.contracts import StockReport
from hub.kernel.db import Database, uow
from tests.catalog.kit import T0, at, shelf, stocked

_figures = st.one_of(
    st.integers(0, 50).map(lambda n: {"on_hand": n}),
    st.sampled_from(["in_stock", "limited", "out"]).map(lambda v: {"level": v}),
)


@st.composite
def _history(draw: Any, versioned: bool) -> list[list[StockReport]]:
    """Batches of deliveries of a vendor's true sequence of figures: some twice, all in any order."""
    truth = draw(st.lists(_figures, min_size=1, max_size=12))
    reports = [
        StockReport.model_validate(
            {
                "vendor_sku": "S0", "reported_at": T0 + timedelta(seconds=0 if versioned else n + 1),
                "version": n + 1 if versioned else None, **figure,
            }
        )
        for n, figure in enumerate(truth)
    ]  # fmt: skip
    again = draw(st.lists(st.sampled_from(reports), max_size=6))
    order = draw(st.permutations(reports + again))
    cuts = sorted(draw(st.sets(st.integers(1, len(order)), max_size=4)))
    return [order[a:b] for a, b in zip([0, *cuts], [*cuts, len(order)], strict=True) if a < b]


async def _converges(batches: list[list[StockReport]], newest: Any) -> None:
    async with uow() as tx:
        await tx.run(
            "TRUNCATE catalog_feeds, catalog_listings, catalog_products, catalog_stock, catalog_movements CASCADE"
        )
        await tx.run("DELETE FROM connections")
    connection_id, [s0] = await stocked([7])
    if batches[0][0].version is not None:  # the pull that listed it gave a version as well
        async with uow() as tx:
            await tx.run("UPDATE catalog_stock SET version = 0")
    best: Any = None
    for batch in batches:
        async with uow() as tx:
            results = await api.apply_reports(tx, connection_id, batch)
        assert set(results) <= {"applied", "unchanged", "stale"} and len(results) == len(batch)
        best = max([*([best] if best else []), *batch], key=newest)
        row = await shelf(s0)
        assert row["on_hand"] == best.on_hand
        assert row["level"] == (best.level or ("in_stock" if best.on_hand else "out"))
    async with uow() as tx:
        assert await api.drift(tx) == []


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), versioned=st.booleans())
async def test_whatever_the_order_of_delivery_the_newest_figure_stands(
    database: Database, data: st.DataObject, versioned: bool
) -> None:
    batches = data.draw(_history(versioned))
    await _converges(batches, (lambda r: r.version) if versioned else (lambda r: r.reported_at))


async def test_concurrent_deliveries_of_one_history_converge(database: Database) -> None:
    connection_id, [s0] = await stocked([7])
    reports = [StockReport(vendor_sku="S0", on_hand=n, version=n, reported_at=at(1)) for n in range(1, 60)]

    async def deliver(part: list[StockReport]) -> None:
        for start in range(0, len(part), 7):
            async with uow() as tx:
                await api.apply_reports(tx, connection_id, part[start : start + 7])

    await asyncio.gather(deliver(reports[::2]), deliver(reports[1::2]), deliver(reports[::-1]), deliver(reports))
    assert (await shelf(s0))["on_hand"] == 59
    async with uow() as tx:
        assert await api.drift(tx) == []
