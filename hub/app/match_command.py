"""`supplyhub match`: a buyer holds a vendor's price list against another before anything is signed. Files are read as
vendors write them (any usual encoding, separator and header); results are plain UTF-8 CSV."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import csv
import os
import re
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path

from catalog.matching import Offer, cluster, match_tables
from connectors.tables import Limits, Reading, Record, land, plain, records
from connectors.tables.limits import MIB
from hub.kernel.errors import Rejected

Say = Callable[[str], None]
Progress = Callable[[float], None]
# column -> names under which it is found; the first that is there counts
COLUMNS: dict[str, tuple[str, ...]] = {
    "id": ("id", "sku", "vendor sku", "item id", "product id", "offer id", "编号", "商品编号", "商品编码", "货号"),
    "title": ("title", "name", "product name", "product title", "名称", "商品名称", "品名", "标题", "商品标题"),
    "vendor": ("vendor", "source", "shop", "seller", "store", "supplier", "供应商", "店铺", "商家"),
    "brand": ("brand", "manufacturer", "品牌", "厂家", "生产厂家"),
    "gtin": ("gtin", "ean", "upc", "barcode", "条码", "条形码", "商品条码"),
    "mpn": ("mpn", "model", "modelno", "model number", "part number", "型号"),
    "price": ("price", "价格", "单价", "售价"),
    "currency": ("currency", "pricecurrency", "price currency", "币种"),
    "description": ("description", "描述", "说明", "商品描述"),
    "category": ("category", "类目", "分类", "品类"),
    "pack": ("pack", "规格", "包装"),
}
_LIMITS = Limits(total_bytes=1024 * MIB, cell_chars=16 * MIB, record_bytes=64 * MIB)
_CELL = 131_072  # characters after which a quoted cell is taken for one that never closes
_HUGE_CELL = 16 * MIB
_AMOUNT = re.compile(r"\d[\d.,]*")


def match_files(left: Path, right: Path, out: Path, say: Say, progress: Progress) -> None:
    """Pair the rows of two files; writes left_id, right_id, score and decision (match or review)."""
    lefts, rights = read_offers(left, ("id", "title"), say), read_offers(right, ("id", "title"), say)
    pairs = match_tables(lefts, rights, progress)
    rows = ((p.left, p.right, f"{p.score:.4f}", p.decision) for p in pairs)
    _write(out, ("left_id", "right_id", "score", "decision"), rows)
    matches = sum(p.decision == "match" for p in pairs)
    say(
        f"{matches:,} matches and {len(pairs) - matches:,} pairs to review, "
        f"of {len(lefts):,} and {len(rights):,} rows: {out}"
    )


def cluster_file(offers: Path, out: Path, say: Say, progress: Progress) -> None:
    """Put the rows of one file of many vendors together; writes id and cluster, in the file's order."""
    rows = read_offers(offers, ("id", "vendor", "title"), say)
    found = cluster(rows, progress)
    _write(out, ("id", "cluster"), ((row.id, str(found[row.id])) for row in rows))
    say(f"{len(rows):,} offers in {len(set(found.values())):,} clusters: {out}")


def read_offers(path: Path, needed: Sequence[str], say: Say) -> list[Offer]:
    """The offers of a file, in order. A row without id or title, or whose id came before, is left out and counted."""
    names, found = _read(path, needed)
    offers: dict[str, Offer] = {}
    doubled = bare = broken = 0
    for record in found:
        cells = {column: record.fields.get(name, "").strip() for column, name in names.items()}
        if record.reason and not (cells["id"] and cells["title"] and not record.lost):
            broken += 1
        elif not cells["id"] or not cells["title"]:
            bare += 1
        elif cells["id"] in offers:
            doubled += 1
        else:
            offers[cells["id"]] = _offer(cells)
    for count, what in (
        (doubled, "rows repeat an id; the first counts"),
        (bare, "rows have no id or no title"),
        (broken, "rows cannot be read"),
    ):
        if count:
            say(f"{path.name}: {count:,} {what}")
    if not offers:
        raise Rejected(f"{path.name} has no rows with {' and '.join(needed)}", code="no_rows")
    return list(offers.values())


def _offer(cells: dict[str, str]) -> Offer:
    return Offer(
        id=cells["id"],
        title=cells["title"],
        vendor=cells.get("vendor") or None,
        brand=cells.get("brand") or None,
        gtin=cells.get("gtin") or None,
        mpn=cells.get("mpn") or None,
        pack=cells.get("pack") or None,
        category=cells.get("category") or None,
        description=cells.get("description") or None,
        price=_amount(cells.get("price", "")),
        currency=cells.get("currency") or None,
    )


def _amount(text: str) -> Decimal | None:
    """A price as it is written, or None where it is not clear; it only ever serves to spot a gross gap."""
    number = _AMOUNT.search(text)
    if number is None:
        return None
    with contextlib.suppress(InvalidOperation):
        return Decimal(number[0].rstrip(".,").replace(",", "")) or None
    return None


def _read(path: Path, needed: Sequence[str]) -> tuple[dict[str, str], list[Record]]:
    """Column -> its name in the file, and the records. A quote that does not close within a usual cell is tried again
    as the beginning of a huge one; the reading that loses fewer rows counts."""
    try:
        found = _records(path, _CELL)
        if any(record.lost for record in found):
            again = _records(path, _HUGE_CELL)
            found = max(found, again, key=lambda rows: (sum(not r.lost for r in rows), -len(rows)))
    except Rejected as error:
        raise Rejected(f"{path.name}: {error.detail}", code=error.code) from None
    fields = {plain(name): name for record in found[:50] for name in record.fields}
    names = {
        column: next(fields[s] for s in spellings if s in fields)
        for column, spellings in COLUMNS.items()
        if any(s in fields for s in spellings)
    }
    missing = [column for column in needed if column not in names]
    if missing:
        there = ", ".join(list(fields.values())[:12]) or "none"
        raise Rejected(
            f"{path.name} has no column {' and no column '.join(missing)}; "
            f"needed are {', '.join(needed)}, there are: {there}",
            code="missing_column",
        )
    return names, found


def _records(path: Path, cell: int) -> list[Record]:
    """The records of a file in which a cell may be so long."""
    wanted = frozenset(name for spellings in COLUMNS.values() for name in spellings)
    before = csv.field_size_limit(cell)
    try:
        with asyncio.run(land(_chunks(path), _LIMITS)) as spooled:
            reading = Reading(delimiter=_hashes(spooled.file.read(4096)), wanted=wanted)
            return list(records(spooled, reading, _LIMITS))
    finally:
        csv.field_size_limit(before)


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(MIB):
            yield chunk


def _hashes(head: bytes) -> str | None:
    """`#` where the header is cut by it (no reader expects that of itself), else None: look and see."""
    wide = head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    line = head.decode("utf-16" if wide else "utf-8-sig", "replace").lstrip().partition("\n")[0]
    names = {plain(cell.strip('" ')) for cell in line.split("#")}
    known = {name for spellings in COLUMNS.values() for name in spellings}
    return "#" if len(names & known) >= 2 else None


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A CSV file that appears whole or not at all."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with open(handle, "w", encoding="utf-8", newline="") as file:  # noqa: PTH123 - a descriptor
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(header)
            writer.writerows(rows)
        Path(name).chmod(0o666 & ~_umask())
        Path(name).replace(path)
    except OSError as error:
        raise Rejected(f"cannot write {path}: {error.strerror}", code="cannot_write") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
