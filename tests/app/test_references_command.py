"""`supplyhub references`: a table by hand becomes observed prices, with a report line by line."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from catalog import ingest
from hub.app import references_command
from hub.app.references_command import observe_file
from hub.kernel import clock
from hub.kernel.db import Database
from hub.kernel.errors import Rejected
from tests.catalog.kit import Vendor, connection, fetch, pages, row

G1 = "06901234567892"
TABLE = """编码,名称,品牌,型号,条码,价格,规格,币种
1,饮用水,,,6901234567892,20.00,500ml*12瓶,CNY
2,某种相机,尼康,D50,,3999.00,,CNY
3,没有的东西,,,6923450657713,5.00,,CNY
4,坏的价格,,,6901234567892,abc,,CNY
=5,没有条码,,,,7.00,,CNY
"""


@pytest.fixture(autouse=True)
async def _here(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.asynccontextmanager
    async def connected() -> AsyncIterator[None]:
        yield

    monkeypatch.setattr(references_command.runtime, "connected", connected)
    vendor = Vendor()
    monkeypatch.setattr(ingest.connectors, "open_connector", vendor.open)
    shop = await connection("店")
    vendor.pages[shop] = pages([row("A", gtin=G1, price="21"), row("B", brand="尼康", model="D50", price="4000")])
    await ingest.sync(shop, kind="full")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gbk"])
async def test_each_line_is_recorded_or_says_why_not(tmp_path: Path, encoding: str) -> None:
    table, report = tmp_path / "prices.csv", tmp_path / "report.csv"
    table.write_text(TABLE, encoding=encoding)
    seen = clock.now() - timedelta(hours=1)
    said: list[str] = []
    for _ in range(2):  # loading the same table again changes nothing
        assert not await observe_file(table, "某商城", seen, report, said.append)
        refs = await fetch("SELECT product_id, price, units, source, captured_at FROM pricing_references ORDER BY 1")
        assert [(int(r["price"]), r["source"], r["captured_at"]) for r in refs] == [
            (20, "某商城", seen), (3999, "某商城", seen),
        ]  # fmt: skip
    lines = list(csv.reader(report.read_text(encoding="utf-8-sig").splitlines()))
    assert [line[:3] for line in lines] == [
        ["row", "sku", "result"], ["1", "1", "recorded"], ["2", "2", "recorded"], ["3", "3", "unmatched"],
        ["4", "4", "invalid"], ["5", "'=5", "unmatched"],
    ]  # fmt: skip
    assert "price" in lines[4][3] and "GTIN" in lines[3][3]
    assert said[0].startswith("2 lines recorded, 2 of what we do not sell, 1 refused")
    assert len(await fetch("SELECT 1 FROM catalog_listings")) == 2, "nothing is listed by it"


async def test_what_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "prices.csv"
    table.write_text("a,b\n1,2\n")
    with pytest.raises(Rejected, match="no header row"):
        await observe_file(table, "x", None, tmp_path / "r.csv", print)
    with pytest.raises(Rejected, match="future"):
        await observe_file(table, "x", clock.now() + timedelta(days=1), tmp_path / "r.csv", print)
    with pytest.raises(Rejected, match="--source"):
        await observe_file(table, " ", None, tmp_path / "r.csv", print)
