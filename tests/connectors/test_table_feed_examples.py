"""The settings that the README shows are accepted as they stand, and read what they say they read."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import openpyxl
import pytest
import yaml
from pydantic import SecretStr

from connectors import base, guards, manifest
from connectors.contracts import ListingIn, Page
from connectors.directory import check_settings
from connectors.kit_stage import reachable
from connectors.mailbox_sandbox import SftpSandbox
from connectors.table_feed.adapter import Adapter

FOLDER = manifest.HOME / "table_feed"
README = (FOLDER / "README.md").read_text(encoding="utf-8")
CSV, XML, XLSX, SFTP = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL))
SECRETS = {"key": "client-secret-1", "password": "sftp-password-2"}


@pytest.fixture(autouse=True)
def no_brakes_left_over() -> Iterator[None]:
    guards.forget()
    yield
    guards.forget()


async def pull(config: dict[str, Any], body: bytes = b"", secrets: dict[str, str] = SECRETS) -> list[Page]:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "login.vendor.example":
            assert b"client_secret=client-secret-1" in request.content
            return httpx.Response(200, json={"access_token": "t-1", "expires_in": 600})
        assert "auth" not in config or request.headers["Authorization"] == "Bearer t-1"
        return httpx.Response(200, stream=httpx.ByteStream(body))

    http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    hidden = {name: SecretStr(value) for name, value in secrets.items()}
    made = base.build(FOLDER, config, hidden, http, connection_id=f"r{id(config)}")
    assert isinstance(made, Adapter)
    try:
        return [page async for page in made.pull(None)]
    finally:
        await made.aclose()


def by_sku(pages: list[Page]) -> dict[str, ListingIn]:
    assert pages[-1].complete and not any(page.bad or page.drift for page in pages)
    return {listing.vendor_sku: listing for page in pages for listing in page.listings}


@pytest.mark.parametrize("example", [CSV, XML, XLSX, SFTP])
def test_the_settings_are_accepted(example: dict[str, Any]) -> None:
    assert check_settings(manifest.manifest_of("table_feed"), example, SECRETS).id == "table_feed"


async def test_the_csv_example() -> None:
    body = (
        "货号,品名,名称,单价,状态,分类,规格,单位,详情,产地\n"
        'A-1,,护手霜,"1.299,00 €",有货,个护 > 手部,50ml,2 支,<b>滋润</b>,上海\n'
    )
    listing = by_sku(await pull(CSV, body.encode("gb18030")))["A-1"]
    assert (listing.title, listing.price, listing.currency) == ("护手霜", Decimal("1299.00"), "EUR")
    assert (listing.level, listing.category, listing.pack) == ("in_stock", "个护", "50ml 2 支")
    assert (listing.description, listing.attributes) == ("滋润", {"产地": "上海"})


async def test_the_xml_example() -> None:
    body = b"""<shop><product><name>not a record</name></product><products>
    <product id="A" active="1"><name>x</name><price type="net" currency="EUR">10.00</price>
      <price type="gross" currency="EUR">11.90</price><stock><quantity>4</quantity></stock>
      <param name="size">M</param><param name="colour">red</param></product>
    <product id="B" active="0"><name>y</name><price type="gross" currency="EUR">2</price>
      <stock><quantity>0</quantity></stock></product></products></shop>"""
    found = by_sku(await pull(XML, body))
    assert (found["A"].price, found["A"].currency, found["A"].on_hand) == (Decimal("11.90"), "EUR", 4)
    assert found["A"].attributes == {"colour": "red"} and found["A"].active and not found["B"].active


async def test_the_workbook_example() -> None:
    book = openpyxl.Workbook()
    for title, rows in (
        ("说明", [["仅供参考"]]),
        ("药品", [["药品目录"], ["编码", "名称", "价格"], ["Y-1", "感冒灵", 15.8]]),
        ("器械一", [["名称", "编码", "价格"], ["血压计", "Q-1", 199]]),
        ("器械二", [["编码", "名称", "价格"], ["Q-2", "体温计", 29.9]]),
    ):
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    file = io.BytesIO()
    book.save(file)
    found = by_sku(await pull(XLSX, file.getvalue()))
    assert {sku: (x.title, str(x.price), x.category) for sku, x in found.items()} == {
        "Y-1": ("感冒灵", "15.8", "药品"),
        "Q-1": ("血压计", "199", "器械一"),
        "Q-2": ("体温计", "29.9", "器械二"),
    }


async def test_the_sftp_example() -> None:
    def line(sku: str, stock: int, at: str) -> bytes:
        row = {"sku": sku, "name": "茶", "offer": {"price": 12.50, "stock": stock}, "at": at}
        return json.dumps(row).encode() + b"\n"

    server = SftpSandbox()
    await server.start()
    try:
        with reachable(server):
            server.put(
                "out/stock_1.jsonl",
                line("A", 9, "2026-11-20T08:00:00Z") + line("B", 1, "2026-11-20T08:00:00Z"),
                modified=1.7e9,
            )
            server.put("out/stock_2.jsonl", line("A", 4, "2026-11-20T09:00:00Z"), modified=1.7e9 + 60)
            config, secrets = server.settings()
            pages = await pull({**SFTP, **config}, secrets={name: str(value) for name, value in secrets.items()})
    finally:
        await server.stop()
    assert {sku: (x.on_hand, str(x.price)) for sku, x in by_sku(pages).items()} == {"A": (4, "12.5"), "B": (1, "12.5")}
