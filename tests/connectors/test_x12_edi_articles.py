"""X12 articles: catalogues that replace each other, packs that stay packs, stock by warehouse."""

from __future__ import annotations

import os
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectors.x12_edi.sandbox import INBOX, OUTBOX, THEM, US, X12Sandbox, catalogue
from hub.kernel.errors import Retry
from tests.connectors.edi_stage import Clock, Stage, listings, mailbox, pulled, refused, stocked


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


# Catalogues ---------------------------------------------------------------------------------------------------


async def test_a_whole_catalogue_replaces_the_one_of_its_number_and_leaves_others(stage: Stage) -> None:
    async with stage.open(several_catalogues=True) as adapter, stage.open() as one_alone:
        price(stage, "a1.edi", [1, 2, 3], name="RX")
        price(stage, "b1.edi", [10], name="OTC")
        await pulled(adapter)
        price(stage, "a-change.edi", [2, 4], name="RX", purpose="04", price="5.00")
        found = listings(await pulled(adapter))
        assert {sku: str(one.price) for sku, one in found.items()} == {
            "70001": "4.85", "70002": "5", "70003": "4.85", "70004": "5", "70010": "4.85",
        }  # fmt: skip
        price(stage, "a2.edi", [1, 5], name="RX", price="6.00")
        found = listings(await pulled(adapter))
        assert sorted(found) == ["70001", "70005", "70010"], "what the new one leaves out is gone, changes included"
        assert found["70001"].price == Decimal("6.00")
        price(stage, "c1.edi", [7], name="RX 12/2026")
        assert sorted(listings(await pulled(one_alone))) == ["70007"], "numbered anew, it is still the catalogue"


async def test_an_empty_mailbox_is_no_empty_assortment(stage: Stage) -> None:
    async with stage.open() as adapter:
        with pytest.raises(Retry, match="no catalogue has come yet"):
            await pulled(adapter)
        pages = await pulled(adapter, since=datetime(2026, 1, 1, tzinfo=UTC))
        assert [page.complete for page in pages] == [True] and not listings(pages)


async def test_a_newer_price_that_cannot_be_read_brings_no_older_one_back(stage: Stage) -> None:
    price(stage, "a.edi", [1, 2])
    async with stage.open() as adapter:
        await pulled(adapter)
        change = ["832", "BCT*PC*CAT1********04", "LIN**VN*70001", "PID*F****x", "CTP**CON*abc*1*EA"]
        stage.partner.leave("b.edi", "SC", [change])
        pages = await pulled(adapter)
        assert sorted(listings(pages)) == ["70002"]
        [bad] = refused(pages)
        assert (bad.vendor_sku, bad.reason) == ("70001", "b.edi: 'abc' is not an amount")


async def test_an_article_that_comes_twice_in_a_file_costs_one_row(stage: Stage) -> None:
    price(stage, "a.edi", [1, 2, 1])
    async with stage.open() as adapter:
        pages = await pulled(adapter)
    assert sorted(listings(pages)) == ["70001", "70002"]
    assert ["twice" in row.reason for row in refused(pages)] == [True]


PACKS = [
    # segments of one article -> (sku, price, pack, gtin, attribute in_case), or why it is refused
    (["PO4*12*500*ML", "CTP**CON*2.50*1*EA"], ("A1", "2.50", "500 ml", "00300904021010", "12")),
    (["PO4*12*500*ML", "CTP**CON*30.00*1*CA"], ("A1@CA", "30.00", "12 x 500 ml", None, None)),
    (["PO4*12**EA", "CTP**CON*30.00*1*PK"], ("A1@PK", "30.00", "12 pieces", "00300904021010", None)),
    (["PO4*1*100*U2", "CTP**CON*9.00*1*BO"], ("A1@BO", "9.00", "100 tablets", "00300904021010", None)),
    (["CTP**CON*30.00*1*CA"], ("A1@CA", "30.00", "1 cases", None, None)),
    (["CTP**CON*24.00*1*DZ"], ("A1@DZ", "24.00", "12 pieces", None, None)),
    (["PO4*24", "CTP**CON*1.10"], ("A1", "1.10", None, "00300904021010", "24")),
    (["CTP**CON*1.10*1*PC"], ("A1", "1.10", None, "00300904021010", None)),
    (["CTP**CON*15.00**EA****HP"], ("A1", "0.15", None, "00300904021010", None)),
    (["CTP**CON*24.00**EA****PD"], ("A1", "2", None, "00300904021010", None)),
    (["CTP**CON*10.00**EA****PD"], "exactly"),
    (["CTP**CON*5.00**EA******2"], "for 2 units"),
    (["CTP**CON*5.00**EA*DIS*0.9"], "multiplied"),
    (["CTP**CON*5.00*12*EA"], "from a quantity of 12"),
    (["CTP**CON*5.00**EA****NQ"], "none for one unit"),
    (["CTP**RES*5.00**EA"], "none of its prices (RES)"),
    (["CTP**CON*-5.00**EA"], "greater than 0"),
    (["CTP**CON*0**EA"], "greater than 0"),
    (["CTP**CON*1E9**EA"], "less than or equal"),
    (["CTP**CON*NaN**EA"], "not an amount"),
]


@pytest.mark.parametrize(("segments", "wanted"), PACKS)
async def test_a_pack_never_becomes_a_piece(stage: Stage, segments: list[str], wanted: Any) -> None:
    article = ["LIN**VN*A1*UP*300904021010", "PID*F*08***Something", *segments]
    stage.partner.leave("a.edi", "SC", [["832", "BCT*PC*C1", *article]])
    async with stage.open() as adapter:
        pages = await pulled(adapter)
    if isinstance(wanted, str):
        assert not listings(pages) and wanted in refused(pages)[0].reason, refused(pages)
        return
    [one] = listings(pages).values()
    assert (one.vendor_sku, one.price, one.pack, one.gtin, one.attributes.get("in_case")) == (
        wanted[0], Decimal(wanted[1]), *wanted[2:],
    )  # fmt: skip


async def test_the_best_of_the_prices_that_we_buy_at_counts(stage: Stage) -> None:
    prices = ["CTP**CAT*9.00*1*EA", "CTP*WS*WHL*5.00*1*EA", "CTP**MSR*12.00*1*EA", "CTP**MSR*120.00*1*CA"]
    stage.partner.leave("a.edi", "SC", [["832", "BCT*PC*C1", "LIN**VN*A1", "PID*F****x", *prices]])
    async with stage.open() as adapter, stage.open(prices="CAT") as other:
        [one] = listings(await pulled(adapter)).values()
        assert (one.price, one.market_price, one.external_id) == (Decimal("5.00"), Decimal("12.00"), "VN:A1@EA")
        [one] = listings(await pulled(other)).values()
        assert one.price == Decimal("9.00")


async def test_a_price_of_tomorrow_waits_for_its_day(stage: Stage, moving: Clock) -> None:
    item = ["LIN**VN*A1", "PID*F****x", "CTP**CON*{}*1*EA"]
    stage.partner.leave("a.edi", "SC", [["832", "BCT*PC*C1", *item[:2], "CTP**CON*5.00*1*EA"]])
    async with stage.open() as adapter:
        await pulled(adapter)
        change = ["832", "BCT*PC*C1********04", *item[:2], "DTM*007*20261201", "CTP**CON*6.00*1*EA"]
        stage.partner.leave("b.edi", "SC", [change])
        assert listings(await pulled(adapter))["A1"].price == Decimal("5.00")
        moving.forward(days=7)
        assert listings(await pulled(adapter))["A1"].price == Decimal("6.00")


async def test_articles_that_are_deleted_or_over_are_off_sale(stage: Stage) -> None:
    body = ["832", "BCT*PC*C1"]
    for sku, extra in (("A1", ["G53*D"]), ("A2", ["DTM*036*20200101"]), ("A3", ["DTM*036*20991231", "G53*C"])):
        body += [f"LIN**VN*{sku}", "PID*F****x", *extra, "CTP**CON*5.00*1*EA"]
    stage.partner.leave("a.edi", "SC", [body])
    async with stage.open() as adapter:
        found = listings(await pulled(adapter))
    assert {sku: one.active for sku, one in found.items()} == {"A1": False, "A2": False, "A3": True}


async def test_inventories_with_prices_may_be_the_catalogue(stage: Stage) -> None:
    item = ["LIN**VN*A1*UP*300904021010", "PID*F****Gloves", "CTP**UCP*3.20*1*EA", "QTY*33*12*EA"]
    stage.partner.leave("a.edi", "IB", [["846", "BIA*00*SI*I1*20261125*0700", "CUR*SE*USD", *item]])
    async with stage.open(listings="846") as adapter:
        [one] = listings(await pulled(adapter)).values()
        assert (one.vendor_sku, one.price, one.on_hand) == ("A1", Decimal("3.20"), None)
        assert await stocked(adapter) == {("A1", ""): 12}


# Stock --------------------------------------------------------------------------------------------------------


async def test_stock_is_the_newest_word_for_each_warehouse(stage: Stage) -> None:
    def report(name: str, where: str, purpose: str, *items: tuple[str, str]) -> None:
        body = ["846", f"BIA*{purpose}*SI*{name}*20261125*0700", f"N1*WH*{where}*92*{where}"]
        for sku, count in items:
            body += [f"LIN**VN*{sku}", f"QTY*33*{count}*EA"]
        stage.partner.leave(f"{name}.edi", "IB", [body])

    async with stage.open() as adapter:
        report("e1", "EAST", "00", ("A1", "5"), ("A2", "6"))
        report("w1", "WEST", "00", ("A1", "1"))
        assert await stocked(adapter) == {("A1", "EAST"): 5, ("A2", "EAST"): 6, ("A1", "WEST"): 1}
        report("e2", "EAST", "04", ("A1", "4"))
        assert await stocked(adapter) == {("A1", "EAST"): 4, ("A2", "EAST"): 6, ("A1", "WEST"): 1}
        report("e3", "EAST", "00", ("A2", "2"))
        assert await stocked(adapter) == {("A2", "EAST"): 2, ("A1", "WEST"): 1}


@pytest.mark.parametrize(
    ("quantity", "wanted"),
    [("12", 12), ("12.0", 12), ("-3", 0), ("0", 0), ("12.5", None), ("many", None), ("", None), ("999999999", None)],
)
async def test_a_count_is_a_whole_number_or_no_count(stage: Stage, quantity: str, wanted: int | None) -> None:
    stage.partner.leave("s.edi", "IB", [["846", "BIA*00*SI*1*20261125", "LIN**VN*A1", f"QTY*33*{quantity}*EA"]])
    async with stage.open() as adapter:
        pages = [page async for page in adapter.pull_stock(None)]
    figures = [figure.on_hand for page in pages for figure in page.unchanged]
    assert figures == ([wanted] if wanted is not None else []) and len(refused(pages)) == (wanted is None)


async def test_what_the_wholesaler_has_on_order_is_not_on_hand(stage: Stage) -> None:
    stage.partner.leave("s.edi", "IB", [["846", "BIA*00*SI*1*20261125", "LIN**VN*A1", "QTY*63*500*EA"]])
    async with stage.open() as adapter:
        [page] = [page async for page in adapter.pull_stock(None)]
    assert page.unchanged == () and "(63)" in page.bad[0].reason and page.complete


async def test_a_stock_figure_has_the_reports_own_time(stage: Stage) -> None:
    body = ["846", "BIA*00*SI*1*20261124*0230", "LIN**VN*A1", "QTY*33*5*EA"]
    stage.partner.leave("s.edi", "IB", [body])
    async with stage.open(timezone="America/New_York") as adapter:
        [page] = [page async for page in adapter.pull_stock(None)]
    assert page.unchanged[0].reported_at == datetime(2026, 11, 24, 7, 30, tzinfo=UTC)


# Size ---------------------------------------------------------------------------------------------------------


async def test_a_large_catalogue_streams(stage: Stage) -> None:
    """What a file of 1.8 MB costs in memory does not depend on its size."""
    path = price(stage, "big.edi", range(1, 12_001))
    assert path.stat().st_size > 1_800_000
    async with stage.open() as adapter:
        dialect = adapter.office.dialect
        with path.open("rb") as file:
            tracemalloc.start()
            try:
                dialect.scan(file)
                file.seek(0)
                count = sum(1 for _ in dialect.catalogue(file, "2026-11-25"))
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
        assert count == 12_000 and peak < 900_000, peak


@pytest.mark.realdata
async def test_the_edi_net_samples_are_read_as_they_stand(stage: Stage, realdata: Path) -> None:
    """Without padding in their headers, with wrong counts, one with a line's end for a terminator."""
    raw = (realdata / "edi" / "x12.832.edi").read_bytes()
    stage.partner.put(f"{INBOX}/832.edi", raw)
    async with stage.open(our_id="6309246701", partner_id="999999999", sku="IB") as adapter:
        pages = await pulled(adapter)
    assert {row.vendor_sku: row.reason for row in refused(pages)} == {
        "0940016699": "832.edi: it has no price (CTP)", "0812976568": "832.edi: it has no price (CTP)",
    }  # fmt: skip
    assert pages[-1].complete and "832: SE01 is not the number of segments" in pages[0].drift
