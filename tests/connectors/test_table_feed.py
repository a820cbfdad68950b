"""Pulling a published table: complete only when all of it was seen, unchanged when it says so, resumed exactly."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from connectors import base, guards, manifest
from connectors.contracts import BadRow, Page
from connectors.kit_stage import reachable
from connectors.sandbox_kit import Faults
from connectors.table_feed.adapter import Adapter
from connectors.table_feed.sandbox import FeedSandbox
from hub.kernel.egress import EgressRefused
from hub.kernel.errors import Broken, HubError, Misconfigured, Retry
from hub.kernel.settings import settings

MAP = {"vendor_sku": "sku", "title": "name", "price": "price", "on_hand": "stock"}


def rows(count: int, **changed: Any) -> list[dict[str, Any]]:
    return [{"sku": f"A-{n}", "name": f"商品 {n}", "price": "9.90", "stock": n, **changed} for n in range(1, count + 1)]


class serving:
    """A started sandbox that the egress guard lets us reach."""

    def __init__(self, sandbox: FeedSandbox) -> None:
        self.sandbox = sandbox

    async def __aenter__(self) -> FeedSandbox:
        await self.sandbox.start()
        self.door = reachable(self.sandbox)
        self.door.__enter__()
        return self.sandbox

    async def __aexit__(self, *_: object) -> None:
        self.door.__exit__(None, None, None)
        await self.sandbox.stop()
        guards.forget()


@pytest.fixture
async def vendor() -> AsyncIterator[FeedSandbox]:
    async with serving(FeedSandbox(rows(25))) as sandbox:
        yield sandbox


def connect(
    url: str | None, known: base.Known | None = None, secrets: dict[str, str] | None = None, **how: Any
) -> Adapter:
    config = {"map": MAP, "page_rows": 10, **({"url": url} if url else {}), **how}
    hidden = {name: SecretStr(value) for name, value in (secrets or {}).items()}
    made = base.build(manifest.HOME / "table_feed", config, hidden, connection_id=f"t-{url}", known=known)
    assert isinstance(made, Adapter)
    return made


async def pull(url: str | None, since: dict[str, Any] | None = None, **how: Any) -> list[Page]:
    adapter = connect(url, **how)
    try:
        return [page async for page in adapter.pull(since)]
    finally:
        await adapter.aclose()


async def until_error(url: str | None, **how: Any) -> tuple[list[Page], HubError | None]:
    pages: list[Page] = []
    adapter = connect(url, **how)
    try:
        async for page in adapter.pull(None):
            pages.append(page)
    except HubError as error:
        return pages, error
    finally:
        await adapter.aclose()
    return pages, None


def skus(pages: list[Page]) -> list[str]:
    return [listing.vendor_sku for page in pages for listing in page.listings]


@pytest.mark.parametrize("gz", [False, True])
@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "xml", "xlsx"])
async def test_every_format_gives_the_same_listings(vendor: FeedSandbox, form: str, gz: bool) -> None:
    pages = await pull(vendor.url(form, gz=gz))
    assert skus(pages) == [f"A-{n}" for n in range(1, 26)]
    first = pages[0].listings[0]
    assert (first.title, first.price, first.on_hand, first.currency) == ("商品 1", Decimal("9.90"), 1, "CNY")
    assert [page.complete for page in pages] == [False, False, True]
    assert len(vendor.seen) == 1


async def test_a_resumed_pull_continues_in_the_same_file(vendor: FeedSandbox) -> None:
    first = (await pull(vendor.url()))[0]
    rest = await pull(vendor.url(), json.loads(json.dumps(first.cursor)))
    assert skus(rest) == [f"A-{n}" for n in range(11, 26)] and rest[-1].complete


async def test_a_resumed_pull_starts_over_in_another_file(vendor: FeedSandbox) -> None:
    first = (await pull(vendor.url()))[0]
    vendor.publish(rows(12, price="5.00"))
    rest = await pull(vendor.url(), first.cursor)
    assert skus(rest) == [f"A-{n}" for n in range(1, 13)] and rest[-1].complete


@pytest.mark.parametrize("conditional", [True, False])
async def test_an_unchanged_file_is_one_empty_complete_page_that_says_so(conditional: bool) -> None:
    async with serving(FeedSandbox(rows(25), conditional=conditional)) as vendor:
        done = (await pull(vendor.url()))[-1].cursor
        assert done is not None
        [page] = await pull(vendor.url(), json.loads(json.dumps(done)))
        assert page.complete and skus([page]) == [] and page.cursor is not None and page.cursor["unchanged"]
        assert vendor.seen[-1].status == (304 if conditional else 200)
        [again] = await pull(vendor.url(), page.cursor)
        assert again.complete
        vendor.publish(rows(3))
        assert len(skus(await pull(vendor.url(), page.cursor))) == 3


async def test_a_file_older_than_the_last_pull_is_unchanged(vendor: FeedSandbox) -> None:
    [page] = await pull(vendor.url(), {"since": "2999-01-01T00:00:00+00:00"})
    assert page.complete and vendor.seen[-1].status == 304
    assert len(skus(await pull(vendor.url(), {"since": "2001-01-01T00:00:00+00:00"}))) == 25


async def test_known_rows_report_their_stock_alone(vendor: FeedSandbox) -> None:
    first = await pull(vendor.url())
    digests = {x.vendor_sku: d for page in first for x, d in zip(page.listings, page.digests, strict=True)}

    async def known(asked: Any) -> dict[str, bytes]:
        return {sku: digests[sku] for sku in asked if sku in digests}

    changed = rows(26)
    changed[4]["price"], changed[5]["stock"] = "1.00", 777
    vendor.publish(changed)
    second = await pull(vendor.url(), known=known)
    assert skus(second) == ["A-5", "A-26"]
    figures = {figure.vendor_sku: figure.on_hand for page in second for figure in page.unchanged}
    assert len(figures) == 24 and figures["A-6"] == 777


async def test_bad_rows_are_quarantined_with_row_field_and_reason_and_the_rest_goes_on(vendor: FeedSandbox) -> None:
    table = rows(8)
    for n, (field, value) in enumerate(
        [("price", "abc"), ("price", "0"), ("stock", "many"), ("sku", ""), ("price", "1,5"), ("name", "x" * 40_000)]
    ):
        table[n][field] = value
    table.append({**table[-1], "name": "again"})
    vendor.publish(table)
    pages = await pull(vendor.url())
    assert skus(pages) == ["A-7", "A-8"] and pages[-1].complete
    bad = [row for page in pages for row in page.bad]
    assert len(bad) == 7
    found = {(json.loads(row.raw)["row"], row.pointer) for row in bad}
    assert found == {
        (1, "/price"),
        (2, "/price"),
        (3, "/on_hand"),
        (4, "/vendor_sku"),
        (5, "/price"),
        (6, ""),
        (9, "/vendor_sku"),
    }
    assert {row.vendor_sku for row in bad if row.pointer == "/price"} == {"A-1", "A-2", "A-5"}


async def test_a_refused_row_can_be_mapped_again_unless_it_could_not_be_read(vendor: FeedSandbox) -> None:
    table = rows(3)
    table[0]["price"], table[1]["name"], table[2]["price"] = "1,5", "x" * 40_000, "0"
    table.append({**rows(4)[3], "price": "4.40"})
    vendor.publish(table)
    [page] = await pull(vendor.url())
    adapter = connect(vendor.url(), map={**MAP, "price": {"column": "price", "decimal": ","}})
    again = adapter.remap([bad.raw for bad in page.bad] + ['{"row": 1}', '{"row": 1, "sku": "A'])
    await adapter.aclose()
    assert [getattr(row, "price", None) for row in again] == [None, Decimal("1.5"), None, None, None]
    reasons = [row.reason for row in again if isinstance(row, BadRow)]
    assert ["pull again" in reason for reason in reasons] == [True, False, True, True]


async def test_a_preview_shows_the_row_beside_what_it_became(vendor: FeedSandbox) -> None:
    adapter = connect(vendor.url())
    adapter.keep_raw = True
    pages = [page async for page in adapter.pull(None)]
    await adapter.aclose()
    assert len(pages[0].raws) == len(pages[0].listings) == 10
    assert json.loads(pages[0].raws[2]) == {"row": 3, "sku": "A-3", "name": "商品 3", "price": "9.90", "stock": "3"}


async def test_a_renamed_column_is_said_once_and_unlists_nothing(vendor: FeedSandbox) -> None:
    vendor.publish([{"sku": "A", "name": "x", "Preis": "1"}])
    with pytest.raises(Broken, match=r"lacks the column price; it has: sku, name, Preis"):
        await pull(vendor.url())


async def test_a_file_without_one_usable_row_is_never_complete(vendor: FeedSandbox) -> None:
    vendor.publish(rows(12, price="?"))
    pages, error = await until_error(vendor.url())
    assert isinstance(error, Broken) and error.code == "no_usable_rows"
    assert len(pages) == 2 and not any(page.complete for page in pages) and len(pages[0].bad) == 10


async def test_a_header_alone_is_refused(vendor: FeedSandbox) -> None:
    vendor.publish([])
    with pytest.raises(Broken, match="no rows"):
        await pull(vendor.url("csv"), map={"vendor_sku": "id", "title": "title", "price": "price"})


async def test_unused_columns_are_reported_as_drift_unless_ignored(vendor: FeedSandbox) -> None:
    vendor.publish(rows(3, seo_title="x", seo_text="y", colour="red"))
    assert (await pull(vendor.url()))[0].drift == ("colour", "seo_text", "seo_title")
    assert (await pull(vendor.url(), ignore="seo_*, colour"))[0].drift == ()


BROKEN = {
    "empty.csv": (b"", "empty_file"),
    "cut.csv.gz": (gzip.compress(b"sku,name,price,stock\n" + b"A,b,1,1\n" * 9999)[:-30], "truncated_gzip"),
    "page.csv": (b"<!DOCTYPE html><html><body>login</body></html>", "html"),
    "cut.xml": (b"<rss><channel><item><sku>A</sku><name>b</name><price>1</price></item><item>", "truncated_xml"),
    "doctype.xml": (b"<!DOCTYPE x [<!ENTITY a 'b'>]><rss/>", "xml_doctype"),
    "columns.csv": (b"c," * 1_000_000, "too_many_columns"),
    "bomb.csv.gz": (gzip.compress(b"\0" * (32 * 2**20)) * 20, "gzip_bomb"),
    "binary.csv": (bytes(range(256)) * 50, "unknown_encoding"),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_file_that_cannot_be_read_is_broken_with_its_reason(name: str) -> None:
    body, code = BROKEN[name]
    async with serving(FeedSandbox(rows(1), files={name: body})) as vendor:
        started = time.monotonic()
        pages, error = await until_error(f"{vendor.base_url}/files/{name}")
        assert isinstance(error, Broken)
        assert error.code in (code, "line_too_long") and pages == []
        assert time.monotonic() - started < 2


CUT = {
    "row.csv": b"sku,name,price,stock\nA,x,1,1\nB,y,2,",
    "quote.csv": b'sku,name,price,stock\nA,x,1,1\nB,"y,2,2\nC,z,3,3\n',
    "lines.jsonl": b'{"sku": "A", "name": "x", "price": 1, "stock": 1}\n{"sku": "B", "na',
}


@pytest.mark.parametrize("name", CUT)
async def test_a_file_that_breaks_off_gives_what_it_holds_and_is_not_complete(name: str) -> None:
    body = CUT[name].replace(b"B,y,2,", b"B,y,2")
    async with serving(FeedSandbox(rows(1), files={name: body})) as vendor:
        pages, error = await until_error(f"{vendor.base_url}/files/{name}")
        assert skus(pages) == ["A"] and not pages[-1].complete and len(pages[-1].bad) == 1
        assert isinstance(error, Broken) and error.code == "rows_lost"


async def test_a_wrong_encoding_is_told_and_the_right_one_may_be_declared() -> None:
    async with serving(FeedSandbox(rows(3), encoding="gb18030")) as vendor:
        assert (await pull(vendor.url()))[0].listings[0].title == "商品 1"
        assert (await pull(vendor.url(), encoding="GBK"))[0].listings[0].title == "商品 1"
        with pytest.raises(Misconfigured):
            await pull(vendor.url(), encoding="klingon")


async def test_a_connection_that_breaks_off_is_tried_again(vendor: FeedSandbox) -> None:
    vendor.faults.unavailable = 2
    assert (await pull(vendor.url()))[-1].complete
    assert [seen.status for seen in vendor.seen] == [503, 503, 200]


async def test_a_longer_pause_than_we_wait_for_is_handed_to_the_caller() -> None:
    async with serving(FeedSandbox(rows(1), Faults(throttle=9, retry_after_s=600))) as vendor:
        with pytest.raises(Retry) as retry:
            await pull(vendor.url())
        assert retry.value.after >= 599 and len(vendor.seen) == 1


async def test_credentials_are_sent_and_their_lack_is_misconfigured() -> None:
    async with serving(FeedSandbox(rows(1), token="feed-token-123")) as vendor:
        assert len(skus(await pull(vendor.url(), secrets={"token": "feed-token-123"}))) == 1
        for secrets in ({}, {"token": "wrong-token-1"}, {"password": "feed-token-123"}):
            with pytest.raises(Misconfigured):
                await pull(vendor.url(), secrets=secrets)


async def test_addresses_inside_our_network_are_refused(vendor: FeedSandbox) -> None:
    for url in (
        "http://127.0.0.1:9/x.csv",
        "http://169.254.169.254/latest",
        "http://[::ffff:10.0.0.1]/",
        "file:///etc/passwd",
    ):
        with pytest.raises(EgressRefused):
            await pull(url)


async def test_a_file_is_read_from_the_feeds_directory_alone() -> None:
    feeds = settings().data_dir / "feeds"
    feeds.mkdir(exist_ok=True)
    (feeds / "ours.csv").write_text("sku,name,price,stock\nA,x,1,1\n")
    assert skus(await pull(None, file="ours.csv")) == ["A"]
    for name in ("../secret.keys", "/etc/passwd", "nowhere.csv"):
        with pytest.raises(Misconfigured):
            await pull(None, file=name)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"url": "http://x.example/a", "file": "b.csv"},
        {"url": "http://x.example/a", "map": {"title": "t"}},
        {"url": "http://x.example/a", "map": {**MAP, "colour": "c"}},
        {"url": "http://x.example/a", "map": {**MAP, "title": {"column": "a", "constant": "b"}}},
        {"url": "http://x.example/a", "map": {**MAP, "title": {"colum": "a"}}},
        {"url": "http://x.example/a", "map": MAP, "timezone": "Mars/Olympus"},
        {"url": "http://x.example/a", "map": MAP, "currency": "yuan"},
        {"url": "http://x.example/a", "map": MAP, "page_rows": 0},
        {"url": "http://x.example/a", "map": MAP, "delimiter": ";;"},
        {"url": "http://x.example/a", "map": MAP, "colour": "red"},
    ],
)
def test_wrong_settings_are_misconfigured_before_any_call(wrong: dict[str, Any]) -> None:
    with pytest.raises(Misconfigured):
        base.build(manifest.HOME / "table_feed", wrong, {})


async def test_a_big_file_does_not_hold_up_the_event_loop(vendor: FeedSandbox) -> None:
    vendor.publish(rows(20_000))
    vendor.url()
    await pull(vendor.url(), page_rows=1000)  # the sandbox renders its file once
    beats, running = 0, True

    async def heartbeat() -> None:
        nonlocal beats
        while running:
            await asyncio.sleep(0)
            beats += 1

    beat = asyncio.create_task(heartbeat())
    pages = await pull(vendor.url(), page_rows=1000)
    running = False
    await beat
    assert len(skus(pages)) == 20_000
    assert beats > 5 * len(pages)  # the loop turned all along; a reader that blocks leaves it a turn or two a page


@pytest.mark.realdata
async def test_woocommerces_own_samples_give_the_same_shop_from_csv_and_from_xml(realdata: Path) -> None:
    feeds = settings().data_dir / "feeds"
    feeds.mkdir(exist_ok=True)
    found = {}
    for name, preset in (("sample_products.csv", "woocommerce_csv"), ("sample_products.xml", "woocommerce_xml")):
        (feeds / name).write_bytes((realdata / "catalog" / "woocommerce" / name).read_bytes())
        pages = await pull(None, file=name, preset=preset, map={}, currency="USD", page_rows=1000)
        assert pages[-1].complete and [page.bad for page in pages] == [()] and pages[0].drift == ()
        found[preset] = {x.vendor_sku: (x.title, x.price, x.level, x.mode) for page in pages for x in page.listings}
    csv, xml = found["woocommerce_csv"], found["woocommerce_xml"]
    assert len(csv) == 21 and csv == xml
    assert csv["woo-beanie"][1] == Decimal(18)  # on sale
    assert csv["woo-album"][3] == "code" and csv["woo-cap"][3] == "parcel"
    assert not {"woo-hoodie", "logo-collection", "wp-pennant"} & set(csv)  # a parent, a collection, another shop's
