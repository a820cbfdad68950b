"""How large the catalogue is and what its shelf holds back: figures for reports, doctor and metrics."""

from __future__ import annotations

from typing import NamedTuple

from catalog.store import figures as store
from hub.kernel.db import Tx


class Size(NamedTuple):
    """Live listings, and the products they group into."""

    listings: int
    products: int


class ShelfTotals(NamedTuple):
    """Units reserved on the shelf, and units that open holds keep."""

    reserved: int
    held: int


async def size(tx: Tx) -> Size:
    """Live listings of supplying vendors and the products behind them; their difference is duplicates merged."""
    row = await store.assortment_counts(tx)
    return Size(row["listings"], row["products"])


async def live_listings(tx: Tx) -> int:
    """How many listings are live."""
    return (await size(tx)).listings


async def shelf_totals(tx: Tx) -> ShelfTotals:
    """What is reserved, counted twice: on the shelf and in the holds."""
    row = await store.shelf_sums(tx)
    return ShelfTotals(row["reserved"], row["held"])
