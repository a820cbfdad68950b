"""`supplyhub references`: mainstream prices that somebody gathered in a table (CSV, TSV, XLSX, any usual encoding)
become observed prices of the products that they are recognised as, and a report says what became of each line."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from pathlib import Path

import catalog.api
import connectors.api
from connectors.contracts import BadRow, ListingIn
from hub.app import runtime
from hub.kernel import audit, clock, db
from hub.kernel.cells import cell
from hub.kernel.errors import Rejected
from pricing.api import SKEW

Say = Callable[[str], None]
Line = tuple[int, str | None, str, str]  # row, SKU, result, detail
OPERATOR = "command line"
STRANGER = "no product of ours has this GTIN, or this brand and model"


async def observe_file(file: Path, source: str, captured_at: datetime | None, report: Path, say: Say) -> bool:
    """Record the prices of a table as observed by `source` at `captured_at` (None: now); True when every line could be
    used. Loading the same table for the same time again changes nothing. Each piece of 500 lines is a transaction."""
    now = clock.now()
    if not source.strip():
        raise Rejected("say with --source whose prices these are, such as the shop's name", code="no_source")
    if captured_at is not None and captured_at.tzinfo is None:
        raise Rejected("--captured-at needs a zone, such as 2026-05-01T08:00+08:00", code="no_zone")
    if captured_at is not None and captured_at > now + SKEW:
        raise Rejected("--captured-at lies in the future", code="future")
    counts: Counter[str] = Counter()
    async with runtime.connected():
        with report.open("w", encoding="utf-8-sig", newline="") as out:
            writer = csv.writer(out)
            writer.writerow(("row", "sku", "result", "detail"))
            async for piece in connectors.api.uploaded_listings(_chunks(file), now):
                for line in await _land(piece, source.strip(), captured_at or now):
                    counts[line[2]] += 1
                    writer.writerow(map(cell, line))
        async with db.uow() as tx:
            await audit.record(tx, OPERATOR, "references.loaded", source.strip(), dict(sorted(counts.items())))
    say(
        f"{counts['recorded']} lines recorded, {counts['unmatched']} of what we do not sell, {counts['invalid']} "
        f"refused; line by line: {report}"
    )
    return not counts["invalid"]


async def _land(piece: Sequence[tuple[int, ListingIn | BadRow]], source: str, at: datetime) -> list[Line]:
    good = [(number, row) for number, row in piece if isinstance(row, ListingIn)]
    async with db.uow() as tx:
        products = await catalog.api.land_observed(tx, source, [row for _, row in good], at, "table by hand/1")
    known = {number: product for (number, _), product in zip(good, products, strict=True)}
    lines: list[Line] = []
    for number, row in piece:
        if isinstance(row, BadRow):
            where = f"{row.pointer.lstrip('/')}: " if row.pointer else ""
            lines.append((number, row.vendor_sku, "invalid", where + row.reason))
        elif known[number] is None:
            lines.append((number, row.vendor_sku, "unmatched", STRANGER))
        else:
            lines.append((number, row.vendor_sku, "recorded", f"product prd_{known[number]}"))
    return lines


async def _chunks(file: Path) -> AsyncIterator[bytes]:
    with file.open("rb") as source:
        while chunk := source.read(1 << 16):
            yield chunk
