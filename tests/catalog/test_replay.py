"""Refused rows are mapped again once the mapping was mended, or discarded for good with a reason."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from catalog import api, replay
from connectors import api as connectors
from connectors.contracts import BadRow
from connectors.woocommerce.adapter import Adapter
from hub.kernel.db import uow
from hub.kernel.errors import NotFound, Rejected
from tests.catalog.kit import connection, fetch, listing, shelf

pytestmark = pytest.mark.usefixtures("database")

SHOP = '{"base_url": "https://shop.example"}'


def record(sku: str, **changes: Any) -> dict[str, Any]:
    """A WooCommerce product as the connector hands it to the map."""
    return {"sku": sku, "name": f"商品{sku}", "price": "9.90", "_count": 7, "_kind": "goods", "_mode": "parcel",
            "_active": True, "stock_status": "instock", **changes}  # fmt: skip


async def refuse(connection_id: int, *rows: tuple[str, dict[str, Any] | str]) -> list[int]:
    async with uow() as tx:
        bad = [
            BadRow(reason=reason, vendor_sku=None, raw=raw if isinstance(raw, str) else orjson.dumps(raw).decode())
            for reason, raw in rows
        ]
        await connectors.quarantine(tx, connection_id, None, bad)
    found = await fetch("SELECT id FROM quarantine WHERE connection_id = $1 ORDER BY id", connection_id)
    return [row["id"] for row in found]


async def test_rows_land_once_the_mapping_was_mended_and_the_rest_says_what_is_wrong_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    c = await connection(connector="woocommerce", config=SHOP)
    await refuse(c, ("no title", record("A")), ("no title", record("B", price="-1")), ("cut", '{"sku": "C"'))
    done = await replay.replay(c)
    assert (done.landed, done.refused) == (1, 2)
    assert (await shelf(await listing("A")))["on_hand"] == 7
    rows = await fetch("SELECT reason, outcome, replayed_at IS NULL AS open FROM quarantine ORDER BY id")
    assert sorted((r["outcome"], r["open"]) for r in rows if r["outcome"]) == [("replayed", False)]
    assert any("greater than 0" in r["reason"] for r in rows if r["open"])
    assert any("pull again" in r["reason"] for r in rows if r["open"])

    def again(self: Adapter, kept: dict[str, Any]) -> dict[str, Any]:
        return {**kept, "price": kept["price"].lstrip("-")}

    monkeypatch.setattr(Adapter, "again", again)  # somebody mended how prices are read
    assert (await replay.replay(c)).landed == 1
    async with uow() as tx:
        assert await api.drift(tx) == []


async def test_only_the_chosen_rows_are_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    c = await connection(connector="woocommerce", config=SHOP)
    monkeypatch.setattr(replay, "PIECE", 2)
    await refuse(c, *((f"cause {n % 2}", record(f"A{n}")) for n in range(7)))
    assert (await replay.replay(c, reason="cause 1")).landed == 3
    left = [row["id"] for row in await fetch("SELECT id FROM quarantine WHERE reason = 'cause 0'")]
    assert (await replay.replay(c, ids=left[:1])).landed == 1
    assert (await replay.replay(c)).landed == 3
    assert (await replay.replay(c)).landed == 0, "what has landed is not landed again"
    assert len(await fetch("SELECT 1 FROM catalog_listings")) == 7


async def test_a_row_of_the_same_sku_twice_counts_as_its_last() -> None:
    c = await connection(connector="woocommerce", config=SHOP)
    await refuse(c, ("x", record("A", price="1")), ("y", record("A", price="2")))
    done = await replay.replay(c)
    assert (done.landed, done.refused) == (1, 1)
    assert len(await fetch("SELECT 1 FROM catalog_listings")) == 1


async def test_a_connection_that_cannot_map_again_says_so() -> None:
    with pytest.raises(NotFound):
        await replay.replay(4711)
    c = await connection(connector="fhir_clinic", config=SHOP)
    with pytest.raises(Rejected, match="pull again"):
        await replay.replay(c)


async def test_what_was_discarded_stays_so_when_it_comes_again_and_what_was_replayed_opens_anew() -> None:
    c = await connection(connector="woocommerce", config=SHOP)
    first, second = await refuse(c, ("bad", record("A", price="x")), ("bad", record("B")))
    async with uow() as tx:
        await connectors.settle_quarantine(tx, [first], discarded="key:1: a test article")
        await connectors.settle_quarantine(tx, [second])
    await refuse(c, ("bad", record("A", price="x")), ("bad", record("B")))
    rows = await fetch("SELECT id, outcome, note, times, replayed_at IS NULL AS open FROM quarantine ORDER BY id")
    assert [(r["id"], r["outcome"], r["open"], r["times"]) for r in rows] == [
        (first, "discarded", False, 2), (second, None, True, 2)
    ]  # fmt: skip
    assert rows[0]["note"] == "key:1: a test article"


async def test_a_row_of_a_table_lands_once_its_map_was_mended() -> None:
    feed = {"file": "x.csv", "map": {"vendor_sku": "sku", "title": "nmae", "price": "price", "on_hand": "qty"}}
    c = await connection(config=orjson.dumps(feed).decode())
    cells = {"row": 7, "sku": "A", "name": "口罩", "price": "9.90", "qty": "4"}
    await refuse(c, ("title: Field required", cells), ("cut", '{"row": 3, "sku": "B"'))
    assert (await replay.replay(c)).landed == 0
    feed["map"] = {**feed["map"], "title": "name"}  # type: ignore[dict-item]
    async with uow() as tx:
        await connectors.change_connection(tx, c, config=feed)
    done = await replay.replay(c)
    assert (done.landed, done.refused) == (1, 1) and (await shelf(await listing("A")))["on_hand"] == 4
