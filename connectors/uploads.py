"""Tables of listings that somebody uploads: CSV, TSV, XLSX or JSON lines under the names of our own fields, or under
what these are called in China. Each row comes back on its own, in order, as a listing or as what is wrong with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Any

from connectors.contracts import BadRow, ListingIn
from connectors.table_feed.config import FeedConfig, feed_config
from connectors.table_feed.mapping import FeedMapper, header_names, missing_columns
from connectors.tables import DEFAULT, Limits, Reading, Record, land, records, take
from hub.kernel.errors import Fault, Rejected

XLSX_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
# What such a table may call itself: browsers and scripts name one file in several ways.
TABLE_TYPES = (
    "text/csv", "text/tab-separated-values", "application/vnd.ms-excel", "application/octet-stream", XLSX_TYPE,
)  # fmt: skip
PIECE = 500  # rows that are read at a time
# Our field -> the columns it may stand in; the first that holds something counts.
COLUMNS: dict[str, tuple[str, ...]] = {
    "vendor_sku": ("sku", "vendor_sku", "SKU", "商品编码", "编码", "货号"),
    "title": ("title", "name", "名称", "商品名称", "标题"),
    "title_en": ("title_en", "name_en", "英文名称"),
    "brand": ("brand", "品牌"),
    "model": ("model", "mpn", "型号"),
    "gtin": ("gtin", "ean", "barcode", "条码", "条形码"),
    "kind": ("kind", "类型"),
    "mode": ("mode", "交付方式"),
    "category": ("category", "类目", "分类"),
    "price": ("price", "价格", "售价", "单价"),
    "currency": ("currency", "币种"),
    "shipping": ("shipping", "运费"),
    "pack": ("pack", "规格", "包装"),
    "on_hand": ("on_hand", "stock", "qty", "库存"),
    "level": ("level", "库存状态"),
    "location": ("location", "仓库"),
    "reported_at": ("reported_at", "库存时间"),
    "city": ("city", "城市"),
    "department": ("department", "科室"),
    "image_url": ("image_url", "image", "图片"),
    "url": ("url", "link", "链接"),
    "description": ("description", "描述"),
    "external_id": ("external_id",),
    "family_id": ("family_id",),
}

Row = tuple[int, ListingIn | BadRow]  # the row's number in the file, the header not counted, and what it became


async def listings_of(
    chunks: AsyncIterator[bytes], now: datetime, limits: Limits = DEFAULT
) -> AsyncIterator[list[Row]]:
    """The rows of an uploaded table, piece by piece. Raises Malformed or TooLarge for a file that cannot be read,
    Rejected when it lacks a column that no listing can do without."""
    feed = _feed()
    mapper = FeedMapper(feed)
    with await land(chunks, limits) as spooled:
        source = records(spooled, Reading(wanted=header_names(mapper)), limits)
        piece = await asyncio.to_thread(take, source, PIECE)
        if missing := missing_columns(mapper, [record for record in piece if not record.reason]) if piece else []:
            have = ", ".join(list(piece[0].fields)[:30])
            detail = f"the file lacks the column {'; '.join(missing)}; it has: {have}"
            raise Rejected(detail, code="missing_columns", faults=(Fault("", detail),))
        while piece:
            yield await asyncio.to_thread(list, _mapped(mapper, piece, now))
            piece = await asyncio.to_thread(take, source, PIECE)


def _feed() -> FeedConfig:
    columns: dict[str, Any] = {name: {"columns": list(names)} for name, names in COLUMNS.items()}
    return feed_config({"file": "upload", "map": columns})


def _mapped(mapper: FeedMapper, piece: list[Record], now: datetime) -> Iterator[Row]:
    for record in piece:
        if record.reason:
            yield record.number, mapper.refused(record)
            continue
        try:
            prepared: dict[str, str] | ValueError | None = mapper.prepared(record, now)
        except ValueError as error:
            prepared = error
        mapped = mapper.page([(record, prepared)])
        if mapped.listings or mapped.bad:
            yield record.number, mapped.listings[0] if mapped.listings else mapped.bad[0]
