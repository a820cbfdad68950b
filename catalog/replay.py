"""Refused rows once more, after the mapping was mended: each is mapped with the map as it is now and lands like a row
of a pull, with the time at which the vendor last sent it. What is refused again says what is wrong with it now."""

from __future__ import annotations

from collections.abc import Sequence

from catalog import landing
from catalog.batching import Batch, ready
from catalog.ingest import put_connection
from catalog.tally import tally_up
from connectors import api as connectors
from connectors.contracts import BadRow, ListingIn
from hub.kernel.db import Tx, uow
from hub.kernel.types import Frozen

PIECE = 500  # rows a transaction


class Replayed(Frozen):
    """What became of the rows: how many landed, and the reasons of those that were refused again."""

    landed: int
    refused: int
    reasons: dict[str, int]


async def replay(connection_id: int, ids: Sequence[int] | None = None, reason: str | None = None) -> Replayed:
    """Map the open quarantine rows of a connection again (all, these, or those of one reason) and land what can be
    used. Raises NotFound, Rejected for a connector that cannot, Retry when the database stays busy."""
    landed = refused = after = 0
    reasons: dict[str, int] = {}
    while True:
        async with uow() as tx:
            rows, good, bad = await _piece(tx, connection_id, ids, reason, after)
        if not rows:
            return Replayed(landed=landed, refused=refused, reasons=reasons)
        after = rows[-1]
        landed, refused = landed + good, refused + len(bad)
        for why in bad:
            reasons[why] = reasons.get(why, 0) + 1


async def _piece(
    tx: Tx, connection_id: int, ids: Sequence[int] | None, reason: str | None, after: int
) -> tuple[list[int], int, list[str]]:
    """One piece: the rows looked at, how many landed, and why the others did not."""
    kept, results = await connectors.replayable(tx, connection_id, ids, reason, after, PIECE)
    if not kept:
        return [], 0, []
    good: dict[int, ListingIn] = {}
    refused: list[tuple[int, BadRow]] = []
    for (row_id, _), result in zip(kept, results, strict=True):
        if isinstance(result, ListingIn):
            good[row_id] = result
        else:
            refused.append((row_id, result))
    if good:
        connection = await connectors.get_connection(tx, connection_id)
        await put_connection(tx, connection)
        listings, seen = list(good.values()), dict(kept)
        batch = Batch(listings, list(map(ready, listings)), [seen[row_id] for row_id in good])
        tally, bad, _, _ = await landing.land(tx, connection, batch, None)
        tally_up(tally)
        named = {row.vendor_sku: row for row in bad}
        last = {row.vendor_sku: row_id for row_id, row in good.items()}  # of rows with one SKU the last one lands
        refused += [
            (row_id, named[row.vendor_sku])
            for row_id, row in good.items()
            if row.vendor_sku in named and last[row.vendor_sku] != row_id
        ]
    fell = {row_id for row_id, _ in refused}
    landed = [row_id for row_id in good if row_id not in fell]
    await connectors.settle_quarantine(tx, landed, refused)
    return [row_id for row_id, _ in kept], len(landed), [bad.reason for _, bad in refused]
