"""SQL of zones: which products an emergency shows as its own, and to whom."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hub.kernel.db import Tx


async def show_in_zone(tx: Tx, zone_id: int, product_ids: Iterable[int], reader_ids: Sequence[int] | None) -> None:
    """Show these products in a zone from now on, to these malls (None: to every mall)."""
    await tx.run(
        "INSERT INTO catalog_zones (zone_id, product_id, reader_ids) SELECT $1, p, $3::bigint[] "
        "FROM unnest($2::bigint[]) AS p ON CONFLICT DO NOTHING",
        zone_id,
        sorted(set(product_ids)),
        list(reader_ids) if reader_ids is not None else None,
    )


async def close_zone(tx: Tx, zone_id: int) -> None:
    """The zone shows nothing any more."""
    await tx.run("DELETE FROM catalog_zones WHERE zone_id = $1", zone_id)
