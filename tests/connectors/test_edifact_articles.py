"""EDIFACT articles: catalogues that replace each other, packs that stay packs, decimal commas, Chinese text, stock by
warehouse."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectors.edifact.sandbox import INBOX, OUTBOX, THEM, US, EdifactSandbox, catalogue
from hub.kernel.errors import Retry
from tests.connectors.edi_stage import Clock, Stage, listings, mailbox, pulled, refused, stocked

PRICAT, INVRPT = "PRICAT:D:96A:UN:EAN008", "INVRPT:D:96A:UN:EAN004"


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    with mailbox() as (name, root):
        config = {"our_id": US, "partner_id": THEM, "inbox": INBOX, "outbox": OUTBOX, "directory": name}
        yield Stage("edifact", EdifactSandbox(root=root, articles=0), config)


def price(stage: Stage, file: str, numbers: Iterable[int], **how: Any) -> Path:
    return stage.partner.leave(file, [catalogue(list(numbers), **how)])


def article(stage: Stage, *segments: str, function: str = "9", file: str = "a.edi", head: tuple[str, ...] = ()) -> Path:
    """A catalogue of one article, M-1."""
    body = [PRICAT, f"BGM+9+PL1+{function}", *head, "LIN+1", "PIA+5+M-1:SA", "IMD+F++:::x", *segments, "UNS+S"]
    return stage.partner.leave(file, [body])


# Catalogues ---------------------------------------------------------------------------------------------------


async def test_a_newer_whole_catalogue_replaces_the_older_one(stage: Stage) -> None:
    price(stage, "a.edi", [1, 2, 3], number="11/2026")
    async with stage.open() as adapter:
        await pulled(adapter)
        price(stage, "change.edi", [2, 4], function="4", price="5.00")
        found = listings(await pulled(adapter))
        assert {sku: str(one.price) for sku, one in found.items()} == {
            "M-1": "12.5", "M-2": "5", "M-3": "12.5", "M-4": "5",
        }  # fmt: skip
        price(stage, "b.edi", [1, 5], number="12/2026", function="5")
        assert sorted(listings(await pulled(adapter))) == ["M-1", "M-5"], "what it leaves out is gone, changes included"


async def test_several_price_lists_stand_beside_each_other_where_the_settings_say_so(stage: Stage) -> None:
    price(stage, "rx1.edi", [1, 2], number="RX")
    price(stage, "otc1.edi", [10], number="OTC")
    async with stage.open(several_catalogues=True) as adapter:
        assert sorted(listings(await pulled(adapter))) == ["M-1", "M-10", "M-2"]
        price(stage, "rx2.edi", [2, 3], number="RX", price="9,99")
        found = listings(await pulled(adapter))
    assert sorted(found) == ["M-10", "M-2", "M-3"] and found["M-2"].price == Decimal("9.99")


@pytest.mark.parametrize(("rule", "wanted"), [("by_purpose", ["M-1", "M-2"]), ("whole", ["M-2"])])
async def test_whether_a_catalogue_is_whole_is_its_function_or_what_the_settings_say(
    stage: Stage, rule: str, wanted: list[str]
) -> None:
    price(stage, "a.edi", [1])
    async with stage.open(catalogues=rule) as adapter:
        await pulled(adapter)
        price(stage, "b.edi", [2], function="2")
        assert sorted(listings(await pulled(adapter))) == wanted


async def test_an_empty_mailbox_is_no_empty_assortment(stage: Stage) -> None:
    async with stage.open() as adapter:
        with pytest.raises(Retry, match="no catalogue has come yet"):
            await pulled(adapter)


async def test_a_deleted_article_goes_and_one_bad_row_costs_one_row(stage: Stage) -> None:
    price(stage, "a.edi", [1, 2, 3])
    async with stage.open() as adapter:
        await pulled(adapter)
        gone, bad = ["LIN+1+2", "PIA+5+M-1:SA"], ["LIN+2", "PIA+5+M-2:SA", "PRI+AAA:abc"]
        stage.partner.leave("b.edi", [[PRICAT, "BGM+9+PL2+4", *gone, *bad, "LIN+3", "IMD+F++:::nobody", "UNS+S"]])
        pages = await pulled(adapter)
    assert sorted(listings(pages)) == ["M-3"]
    assert {row.vendor_sku: row.reason for row in refused(pages)} == {
        "M-2": "b.edi: 'abc' is not an amount",
        None: "b.edi: it has no article number (SA, VN, MF, SRV, EN, UP)",
    }


PACKS = [
    # segments of one article -> (sku, price, pack, gtin), or why it is refused
    (["PRI+AAA:2.50"], ("M-1", "2.50", None, "6901230001000")),
    (["PRI+AAA:2,50:CT"], ("M-1", "2.50", None, "6901230001000")),
    (["QTY+59:1", "PRI+AAA:2.50:CT::1:PCE"], ("M-1", "2.50", None, "6901230001000")),
    (["QTY+59:12", "PRI+AAA:30"], ("M-1", "30", "12 pieces", "6901230001000")),
    (["QTY+52:12", "PRI+AAA:30:::1:CT"], ("M-1@CT", "30", "12 pieces", None)),
    (["PRI+AAA:30:::1:CS"], ("M-1@CS", "30", "1 cases", None)),
    (["PRI+AAA:30:::1:BX"], ("M-1@BX", "30", "1 boxes", "6901230001000")),
    (["MEA+PD+AAA+MLT:500", "PRI+AAA:2.50"], ("M-1", "2.50", "500 ml", "6901230001000")),
    (["MEA+PD+AAB+GRM:620", "PRI+AAA:2.50"], ("M-1", "2.50", None, "6901230001000")),
    (["MEA+PD+AAL+GRM:0,5", "PRI+AAA:2.50"], ("M-1", "2.50", "0.5 g", "6901230001000")),
    (["PRI+AAA:15:::100"], ("M-1", "0.15", None, "6901230001000")),
    (["PRI+AAA:10:::3"], "exactly"),
    (["PRI+AAA:10:::0"], "for '0' units"),
    (["QTY+59:12", "PRI+AAA:30:::1:PCE"], "sold with 12"),
    (["QTY+52:12", "PRI+AAA:30:::1:C62"], "sold with 12"),
    (["PRI+AAA:88:::1:KGM"], "a measure"),
    (["PRI+AAA:88:::100:MLT"], "a measure"),
    (["PRI+AAA:5", "RNG+4+PCE:12:100"], "from a quantity of 12"),
    (["PRI+AAB:5"], "none of its prices (AAB)"),
    (["PRI+INV:5:::CON"], "none of its prices"),
    ([], "no price (PRI)"),
    (["PRI+AAA:-5"], "greater than 0"),
    (["PRI+AAA:0"], "greater than 0"),
    (["PRI+AAA:NaN"], "not an amount"),
    (["PRI+AAA:1E9"], "less than or equal"),
    (["PRI+AAA:1.234,50"], "not an amount"),
]


@pytest.mark.parametrize(("segments", "wanted"), PACKS)
async def test_a_pack_never_becomes_a_piece(stage: Stage, segments: list[str], wanted: Any) -> None:
    article(stage, "PIA+1+6901230001000:SRV", *segments)
    async with stage.open() as adapter:
        pages = await pulled(adapter)
    if isinstance(wanted, str):
        assert not listings(pages) and wanted in refused(pages)[0].reason, refused(pages)
        return
    [one] = listings(pages).values()
    gtin = one.gtin[-13:] if one.gtin else None
    assert (one.vendor_sku, one.price, one.pack, gtin) == (wanted[0], Decimal(wanted[1]), *wanted[2:])


async def test_price_breaks_are_left_out_where_the_settings_say_so(stage: Stage) -> None:
    article(stage, "PRI+AAA:5", "RNG+4+PCE:1:11", "PRI+AAA:4", "RNG+4+PCE:12:99")
    async with stage.open() as adapter:
        [one] = listings(await pulled(adapter)).values()
    assert one.price == Decimal(5), "the price for a single one"


async def test_the_best_of_the_prices_that_we_buy_at_counts(stage: Stage) -> None:
    prices = ["PRI+INF:9", "PRI+AAB:8", "PRI+AAA:5::NTP", "CUX+2:USD:9", "PRI+AAE:12,90::SRP"]
    article(stage, *prices, head=("CUX+2:CNY:9",))
    async with stage.open() as adapter, stage.open(prices="AAB") as other:
        [one] = listings(await pulled(adapter)).values()
        assert (one.price, one.currency, one.market_price) == (Decimal(5), "USD", Decimal("12.9"))
        [one] = listings(await pulled(other)).values()
        assert (one.price, one.currency) == (Decimal(8), "CNY")


async def test_a_price_of_tomorrow_waits_for_its_day_and_an_old_article_is_off_sale(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    moving = Clock(monkeypatch)
    article(stage, "DTM+206:20261202:102", "PRI+AAA:5")
    async with stage.open() as adapter:
        await pulled(adapter)
        article(stage, "PRI+AAA:6", "DTM+194:20261201:102", "DTM+206:20261202:102", function="4", file="b.edi")
        assert listings(await pulled(adapter))["M-1"].price == Decimal(5)
        moving.forward(days=7)
        assert listings(await pulled(adapter))["M-1"].price == Decimal(6)
        moving.forward(days=2)
        assert not listings(await pulled(adapter))["M-1"].active


async def test_titles_go_by_their_language(stage: Stage) -> None:
    body = [
        PRICAT, "BGM+9+PL1+9", "LIN+1++6901230001000:EN",
        "IMD+F++:::Ibuprofen tablets 0.2 g::EN", "IMD+F++:::布洛芬片 0.2g:24片*2板/盒:ZH-CN", "IMD+F+BRN+:::示例药业",
        "IMD+C++CU::9", "IMD+F++:::OTC", "PRI+AAA:1", "UNS+S",
    ]  # fmt: skip
    stage.partner.leave("a.edi", [body])
    async with stage.open() as adapter:
        [one] = listings(await pulled(adapter)).values()
    assert (one.vendor_sku, one.title, one.title_en, one.brand, one.description) == (
        "6901230001000", "布洛芬片 0.2g24片*2板/盒", "Ibuprofen tablets 0.2 g", "示例药业", "OTC",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("identifier", "encoding", "setting"),
    [("UNOW:4", "utf-8", ""), ("UNOY:3", "utf-8", ""), ("UNOC:3", "gb18030", "gb18030"), ("UNOX:3", "gbk", "gbk")],
)
async def test_chinese_text_comes_through(stage: Stage, identifier: str, encoding: str, setting: str) -> None:
    raw = stage.partner.envelope([catalogue([7])], syntax="UNOY:3").decode().replace("UNOY:3", identifier)
    stage.partner.put(f"{INBOX}/a.edi", raw.encode(encoding))
    async with stage.open(encoding=setting) as adapter:
        assert listings(await pulled(adapter))["M-7"].title == "布洛芬片 0.2g 第7号"


# Stock --------------------------------------------------------------------------------------------------------


def report(stage: Stage, file: str, head: list[str], *items: list[str], function: str = "9") -> None:
    body = [INVRPT, f"BGM+35+I1+{function}", *head]
    for n, item in enumerate(items, 1):
        body += [f"LIN+{n}", *item]
    stage.partner.leave(file, [[*body, "UNS+S"]])


LOCATIONS = [
    # head, segments of one article -> figures by warehouse
    ([], ["QTY+145:5"], {"": 5}),
    (["NAD+WH+SH01::92"], ["QTY+145:5"], {"SH01": 5}),
    (["LOC+18+SH01"], ["QTY+145:5"], {"SH01": 5}),
    ([], ["LOC+14+SH01", "QTY+145:5"], {"SH01": 5}),
    ([], ["QTY+145:5", "LOC+14+SH01", "QTY+145:3", "LOC+14+BJ01"], {"SH01": 5, "BJ01": 3}),
    ([], ["QTY+198:9", "QTY+145:5"], {"": 5}),
    ([], ["QTY+17:9", "QTY+145:5"], {"": 5}),
    ([], ["QTY+17:9"], {"": 9}),
    ([], ["QTY+145:5,0"], {"": 5}),
    ([], ["QTY+145:-2"], {"": 0}),
    ([], ["QTY+145:2,5"], {}),
    ([], ["QTY+145:many"], {}),
    ([], ["QTY+198:9"], {}),
    ([], ["INV+2", "QTY+145:9"], {}),
]


@pytest.mark.parametrize(("head", "segments", "wanted"), LOCATIONS)
async def test_stock_is_read_by_warehouse(
    stage: Stage, head: list[str], segments: list[str], wanted: dict[str, int]
) -> None:
    report(stage, "s.edi", head, ["PIA+5+M-1:SA", *segments])
    async with stage.open() as adapter:
        pages = [page async for page in adapter.pull_stock(None)]
        found = {figure.location: figure.on_hand for page in pages for figure in page.unchanged}
        assert found == wanted and len(refused(pages)) == (not wanted) and pages[-1].complete


async def test_a_whole_report_replaces_that_of_its_warehouse(stage: Stage) -> None:
    def one(file: str, place: str, function: str, *counts: tuple[str, int]) -> None:
        items = [[f"PIA+5+{sku}:SA", f"QTY+145:{count}"] for sku, count in counts]
        report(stage, file, [f"NAD+WH+{place}::92"], *items, function=function)

    async with stage.open() as adapter:
        one("e1", "EAST", "9", ("A", 5), ("B", 6))
        one("w1", "WEST", "9", ("A", 1))
        assert await stocked(adapter) == {("A", "EAST"): 5, ("B", "EAST"): 6, ("A", "WEST"): 1}
        one("e2", "EAST", "4", ("A", 4))
        assert await stocked(adapter) == {("A", "EAST"): 4, ("B", "EAST"): 6, ("A", "WEST"): 1}
        one("e3", "EAST", "9", ("B", 2))
        assert await stocked(adapter) == {("B", "EAST"): 2, ("A", "WEST"): 1}


@pytest.mark.parametrize(
    ("dtm", "wanted"),
    [
        ("DTM+137:202611240930:203", datetime(2026, 11, 24, 1, 30, tzinfo=UTC)),
        ("DTM+366:20261124093015:204", datetime(2026, 11, 24, 1, 30, 15, tzinfo=UTC)),
        ("DTM+137:20261124:102", None),
        ("DTM+137:202611240930UTC:303", datetime(2026, 11, 24, 9, 30, tzinfo=UTC)),
        ("DTM+137:202611240930?+01:303", datetime(2026, 11, 24, 8, 30, tzinfo=UTC)),
    ],
)
async def test_a_stock_figure_has_the_reports_own_time(stage: Stage, dtm: str, wanted: datetime | None) -> None:
    report(stage, "s.edi", [dtm], ["PIA+5+M-1:SA", "QTY+145:5"])
    async with stage.open(timezone="Asia/Shanghai") as adapter:
        [page] = [page async for page in adapter.pull_stock(None)]
    [figure] = page.unchanged
    made = figure.reported_at
    assert made == wanted if wanted else made is not None and made.second == 0
