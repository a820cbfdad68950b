"""SQL about whose SKU is whose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import asyncpg

from catalog.store.literals import texts
from hub.kernel.db import Tx


class Decided(Protocol):
    """What catalog.identity decided, as far as it is carried out here."""

    retired: dict[int, str]
    renamed: dict[int, str]
    adopted: dict[int, str]
    ended: set[int]

    @property
    def told(self) -> Sequence[tuple[Any, ...]]: ...


async def known_identities(
    tx: Tx, connection_id: int, skus: Sequence[str], external_ids: Sequence[str]
) -> list[asyncpg.Record]:
    """(id, vendor_sku, product_id, active, external_id, title, gtin, brand, model, by_hand) of listings that carry one
    of these SKUs or ids, each once."""
    columns = "l.id, l.vendor_sku, l.product_id, l.active, l.external_id, l.title, l.gtin, l.brand, l.model, l.by_hand"
    return await tx.fetch(
        f"""
        SELECT {columns} FROM unnest($2::text::text[]) AS k(sku)
        JOIN catalog_listings l ON l.connection_id = $1 AND l.vendor_sku = k.sku
        UNION
        SELECT {columns} FROM unnest($3::text::text[]) AS k(own)
        JOIN catalog_listings l ON l.connection_id = $1 AND l.external_id = k.own
        """,  # noqa: S608
        connection_id,
        texts(skus),
        texts(external_ids),
    )


async def settle_identities(tx: Tx, connection_id: int, decided: Decided) -> list[asyncpg.Record]:
    """Carry out what was decided, in an order in which no two listings ever share a SKU; returns (id, product_id) of
    those that went off sale."""
    touched = sorted({*decided.retired, *decided.renamed, *decided.adopted, *decided.ended})
    await tx.run("SELECT 1 FROM catalog_listings WHERE id = ANY($1::bigint[]) ORDER BY id FOR UPDATE", touched)
    gone = await tx.fetch(
        """
        UPDATE catalog_listings l SET vendor_sku = coalesce(g.name, l.vendor_sku), active = false, updated_at = $3
        FROM unnest($1::bigint[], $2::text[]) AS g(id, name) WHERE l.id = g.id RETURNING l.id, l.product_id
        """,
        [*decided.retired, *decided.ended],
        [*decided.retired.values(), *(None for _ in decided.ended)],
        tx.now,
    )
    aside = {listing_id: f"\x01{listing_id}" for listing_id in decided.renamed}  # two may swap their SKUs
    for names in (aside, decided.renamed):
        await _name(tx, names)
    await tx.run(
        "UPDATE catalog_listings l SET external_id = a.own FROM unnest($1::bigint[], $2::text[]) AS a(id, own) "
        "WHERE l.id = a.id",
        list(decided.adopted),
        list(decided.adopted.values()),
    )
    await tx.run_many(
        "INSERT INTO catalog_identities (connection_id, kind, listing_id, external_id, sku_before, sku_after, at) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7)",
        [(connection_id, *told, tx.now) for told in decided.told],
    )
    return gone


async def _name(tx: Tx, names: Mapping[int, str]) -> None:
    await tx.run(
        "UPDATE catalog_listings l SET vendor_sku = n.name FROM unnest($1::bigint[], $2::text[]) AS n(id, name) "
        "WHERE l.id = n.id",
        list(names),
        list(names.values()),
    )


async def identity_rows(tx: Tx, connection_id: int | None, before: int, limit: int) -> list[asyncpg.Record]:
    """What was told about identities, newest first."""
    return await tx.fetch(
        """
        SELECT i.id, i.connection_id, f.vendor_name AS vendor, i.listing_id, i.kind, i.external_id, i.sku_before,
          i.sku_after, i.at
        FROM catalog_identities i LEFT JOIN catalog_feeds f USING (connection_id)
        WHERE ($1::bigint IS NULL OR i.connection_id = $1) AND i.id < $2 ORDER BY i.id DESC LIMIT $3
        """,
        connection_id,
        before,
        limit,
    )
