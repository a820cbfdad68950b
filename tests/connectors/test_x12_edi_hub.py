"""X12 through the hub itself: files are landed with the place that says so, or read again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from catalog import api as catalog
from catalog import ingest
from connectors import api as connectors
from connectors.x12_edi.sandbox import INBOX, OUTBOX, THEM, US, X12Sandbox, inventory
from connectors.x12_edi.sandbox import catalogue as articles
from hub.kernel.db import Database, uow
from hub.kernel.errors import Retry
from tests.connectors.edi_stage import Clock, Stage, mailbox


@pytest.fixture
async def stage(database: Database) -> AsyncIterator[Stage]:
    with mailbox() as (name, root):
        config = {"our_id": US, "partner_id": THEM, "inbox": INBOX, "outbox": OUTBOX, "directory": name}
        yield Stage("x12_edi", X12Sandbox(root=root, articles=0), config)


async def connection(stage: Stage) -> int:
    async with uow() as tx:
        vendor = await connectors.add_vendor(tx, "批发商")
        return await connectors.add_connection(
            tx, vendor_id=vendor, connector="x12_edi", name="edi", config=stage.config, secrets={}
        )


async def rows(sql: str) -> list[dict[str, Any]]:
    async with uow() as tx:
        return [dict(row) for row in await tx.fetch(sql)]


async def on_hand() -> dict[str, int]:
    found = await rows(
        "SELECT l.vendor_sku, s.on_hand FROM catalog_listings l JOIN catalog_stock s ON s.listing_id = l.id"
        " WHERE l.active"
    )
    return {row["vendor_sku"]: row["on_hand"] for row in found}


async def test_files_are_landed_once_at_least_and_moved_on_when_they_are(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    moving = Clock(monkeypatch)
    stage.partner.leave("price.edi", "SC", [articles(range(1, 4))])
    stage.partner.leave("stock.edi", "IB", [inventory(range(1, 4))])
    c = await connection(stage)
    whole = ingest.connectors.save_progress

    async def dies(*_: Any, **__: Any) -> None:
        raise Retry("the database went away")

    monkeypatch.setattr(ingest.connectors, "save_progress", dies)
    monkeypatch.setattr(ingest, "TRIES", 1)
    outcome = await catalog.sync(c)
    assert outcome.error == "the database went away" and await on_hand() == {}
    assert stage.waiting() == [], "taken in, and not landed"
    monkeypatch.setattr(ingest.connectors, "save_progress", whole)
    outcome = await catalog.sync(c)
    assert (outcome.created, outcome.complete, outcome.error) == (3, True, None)
    assert await on_hand() == {"70001": 41, "70002": 42, "70003": 43}
    moving.forward(minutes=30)
    stage.partner.leave("change.edi", "SC", [articles([4], purpose="04")])
    stage.partner.leave("note.edi", "IN", [["810", "BIG*20261125*I1", "TDS*100"]])
    outcome = await catalog.sync(c)
    assert (outcome.created, outcome.complete) == (1, True)
    assert stage.names("archive") == [], "that this run is landed, the next one knows"
    for _ in range(2):
        moving.forward(minutes=30)
        outcome = await catalog.sync(c, kind="incremental")
        assert (outcome.complete, outcome.error) == (True, None)
    assert stage.names("archive") == ["note.edi"]
    assert stage.names("taken") == ["change.edi", "price.edi", "stock.edi"]


async def test_a_smaller_assortment_is_taken_off_sale_by_the_next_full_pull(stage: Stage) -> None:
    stage.partner.leave("a.edi", "SC", [articles(range(1, 11))])
    c = await connection(stage)
    assert (await catalog.sync(c, kind="full")).created == 10
    stage.partner.leave("b.edi", "SC", [articles(range(2, 11))])
    outcome = await catalog.sync(c, kind="full")
    assert (outcome.unlisted, outcome.unchanged) == (1, 9)
    stage.partner.put(f"{INBOX}/c.edi", b"<html>maintenance</html>")
    outcome = await catalog.sync(c, kind="full")
    assert (outcome.unlisted, outcome.quarantined, outcome.error) == (0, 1, None)
