"""Tables and SQL of what carriers' systems send and of the parcels that are followed there. Like the inbox of
connectors/ they have no tenant: a payload may be about anybody's parcels, and only the hub and its staff read them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import orjson
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from hub.kernel.db import Tx, metadata

carrier_payloads = Table(
    "fulfillment_carrier_payloads",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("source", Text, nullable=False),  # whose table reads it
    Column("kind", Text, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("connection_id", BigInteger),
    Column("asked", Text),  # the number that was asked for
    Column("body", LargeBinary),  # encrypted; none while a question is out
    Column("received_at", DateTime(timezone=True), nullable=False),
    Column("read_at", DateTime(timezone=True)),
    Column("outcome", JSONB),
    UniqueConstraint("source", "external_id"),
    CheckConstraint("kind IN ('push', 'upload', 'lookup')", name="kind"),
    Index("ix_fulfillment_carrier_payloads_received", "received_at"),
    Index("ix_fulfillment_carrier_payloads_asked", "source", "asked", postgresql_where=text("kind = 'lookup'")),
)

parcel_follows = Table(
    "fulfillment_parcel_follows",  # one per parcel that a carrier account was, or shall be, told to follow
    metadata,
    Column("parcel_id", BigInteger, ForeignKey("fulfillment_parcels.id"), primary_key=True),
    Column("connection_id", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("due_at", DateTime(timezone=True), nullable=False),
    Column("detail", Text),
    Column("changed_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("state IN ('asked', 'followed', 'phone_needed', 'refused', 'ended')", name="state"),
    Index("ix_fulfillment_parcel_follows_due", "due_at", postgresql_where=text("state = 'asked'")),
    Index("ix_fulfillment_parcel_follows_state", "state", "changed_at"),
)


async def land_payload(tx: Tx, row: Sequence[Any]) -> int | None:
    """Keep (source, kind, external id, connection, asked, body); None when that payload is kept already."""
    found = await tx.fetchval(
        "INSERT INTO fulfillment_carrier_payloads (source, kind, external_id, connection_id, asked, body, received_at) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (source, external_id) DO NOTHING RETURNING id",
        *row,
        tx.now,
    )
    return int(found) if found is not None else None


async def payload(tx: Tx, payload_id: int) -> asyncpg.Record | None:
    return await tx.fetchrow("SELECT * FROM fulfillment_carrier_payloads WHERE id = $1", payload_id)


async def fill_payload(tx: Tx, payload_id: int, body: bytes) -> None:
    """The answer to a question that was out."""
    await tx.run("UPDATE fulfillment_carrier_payloads SET body = $2 WHERE id = $1", payload_id, body)


async def payload_read(tx: Tx, payload_id: int, outcome: dict[str, Any]) -> None:
    await tx.run(
        "UPDATE fulfillment_carrier_payloads SET read_at = $2, outcome = $3::jsonb WHERE id = $1",
        payload_id,
        tx.now,
        orjson.dumps(outcome).decode(),
    )


async def last_lookup(tx: Tx, source: str, asked: str) -> datetime | None:
    """When this parcel was last asked about; whoever asks next waits for whoever asks now."""
    await tx.run("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"carrier lookup {source} {asked}")
    found: datetime | None = await tx.fetchval(
        "SELECT max(received_at) FROM fulfillment_carrier_payloads WHERE kind = 'lookup' AND source = $1 "
        "AND asked = $2",
        source,
        asked,
    )
    return found


async def forget_payload(tx: Tx, payload_id: int) -> None:
    await tx.run("DELETE FROM fulfillment_carrier_payloads WHERE id = $1", payload_id)


async def forget_payloads(tx: Tx, before: datetime) -> int:
    """Drop payloads received before; returns how many."""
    return await tx.run("DELETE FROM fulfillment_carrier_payloads WHERE received_at < $1", before)


async def followed_parcels(tx: Tx, connection_id: int, numbers: Sequence[str]) -> list[asyncpg.Record]:
    """Parcels with these numbers that this account follows, whatever carrier it says."""
    return await tx.fetch(
        "SELECT p.carrier, p.tracking_no FROM fulfillment_parcel_follows f JOIN fulfillment_parcels p "
        "ON p.id = f.parcel_id WHERE f.connection_id = $1 AND p.tracking_no = ANY($2::text[])",
        connection_id,
        list(numbers),
    )


async def carriers_under_way(tx: Tx, young: timedelta) -> list[str]:
    """The carriers of parcels that are on their way, as their vendors write them."""
    rows = await tx.fetch(
        "SELECT DISTINCT carrier FROM fulfillment_parcels WHERE created_at > $1 AND delivered_at IS NULL",
        tx.now - young,
    )
    return [row["carrier"] for row in rows]


async def ask_to_follow(tx: Tx, connection_id: int, carriers: Sequence[str], young: timedelta, limit: int) -> int:
    """Have parcels of these carriers that are on their way, and that nobody follows yet, followed by this account."""
    return await tx.run(
        "INSERT INTO fulfillment_parcel_follows (parcel_id, connection_id, state, due_at, changed_at) "
        "SELECT p.id, $1, 'asked', $4, $4 FROM fulfillment_parcels p WHERE p.created_at > $3 "
        "AND p.delivered_at IS NULL AND p.status NOT IN ('returned', 'cancelled') AND p.carrier = ANY($2::text[]) "
        "AND NOT EXISTS (SELECT 1 FROM fulfillment_parcel_follows f WHERE f.parcel_id = p.id) ORDER BY p.id LIMIT $5 "
        "ON CONFLICT (parcel_id) DO NOTHING",
        connection_id,
        list(carriers),
        tx.now - young,
        tx.now,
        limit,
    )


async def end_arrived(tx: Tx) -> int:
    """Parcels that arrived, or went back, before an account was told about them are no longer to be followed."""
    return await tx.run(
        "UPDATE fulfillment_parcel_follows f SET state = 'ended', detail = 'it was over before it was followed', "
        "changed_at = $1 FROM fulfillment_parcels p WHERE p.id = f.parcel_id AND f.state = 'asked' AND f.due_at <= $1 "
        "AND (p.delivered_at IS NOT NULL OR p.status IN ('returned', 'cancelled'))",
        tx.now,
    )


async def take_follows(tx: Tx, connection_id: int, limit: int, lease: timedelta) -> list[asyncpg.Record]:
    """Parcels whose turn it is, taken by this account for `lease`, whichever was to follow them before: (parcel_id,
    carrier, tracking_no, attempts)."""
    return await tx.fetch(
        "UPDATE fulfillment_parcel_follows f SET due_at = $3, attempts = f.attempts + 1, connection_id = $1 "
        "FROM fulfillment_parcels p "
        "WHERE p.id = f.parcel_id AND f.parcel_id IN (SELECT parcel_id FROM fulfillment_parcel_follows "
        "WHERE state = 'asked' AND due_at <= $2 ORDER BY due_at LIMIT $4 "
        "FOR UPDATE SKIP LOCKED) RETURNING f.parcel_id, p.carrier, p.tracking_no, f.attempts",
        connection_id,
        tx.now,
        tx.now + lease,
        limit,
    )


async def save_follow(tx: Tx, parcel_id: int, state: str, due_at: datetime, detail: str | None) -> None:
    await tx.run(
        "UPDATE fulfillment_parcel_follows SET state = $2, due_at = $3, detail = $4, changed_at = $5 "
        "WHERE parcel_id = $1",
        parcel_id,
        state,
        due_at,
        detail,
        tx.now,
    )


async def end_follows(tx: Tx, connection_id: int, tracking_no: str, detail: str | None) -> None:
    """The account follows this parcel no longer."""
    await tx.run(
        "UPDATE fulfillment_parcel_follows f SET state = 'ended', detail = $3, changed_at = $4 "
        "FROM fulfillment_parcels p WHERE p.id = f.parcel_id AND f.connection_id = $1 AND p.tracking_no = $2 "
        "AND f.state = 'followed'",
        connection_id,
        tracking_no,
        detail,
        tx.now,
    )


async def ask_again(tx: Tx, state: str) -> int:
    """Have parcels in this state asked for once more; returns how many."""
    return await tx.run(
        "UPDATE fulfillment_parcel_follows SET state = 'asked', due_at = $2, attempts = 0, changed_at = $2 "
        "WHERE state = $1",
        state,
        tx.now,
    )


async def follow_counts(tx: Tx) -> dict[str, int]:
    rows = await tx.fetch("SELECT state, count(*) AS parcels FROM fulfillment_parcel_follows GROUP BY state")
    return {row["state"]: row["parcels"] for row in rows}


async def follow_rows(tx: Tx, state: str | None, before: int, limit: int) -> list[asyncpg.Record]:
    """Follows by parcel, the newest parcel first."""
    return await tx.fetch(
        "SELECT f.parcel_id AS id, f.connection_id, f.state, f.attempts, f.detail, f.changed_at, p.carrier, "
        "p.tracking_no FROM fulfillment_parcel_follows f JOIN fulfillment_parcels p ON p.id = f.parcel_id "
        "WHERE ($1::text IS NULL OR f.state = $1) AND f.parcel_id < $2 ORDER BY f.parcel_id DESC LIMIT $3",
        state,
        before,
        limit,
    )
