"""What carriers' systems send, kept as it came, and the parcels that are followed there.

Reversible: the downgrade drops both tables, and with them payloads that were not read yet. New tables only, so no lock
that anybody waits for.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "fulfillment_carrier_payloads",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("connection_id", sa.BigInteger(), nullable=True),
        sa.Column("asked", sa.Text(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", postgresql.JSONB(), nullable=True),
        sa.CheckConstraint("kind IN ('push', 'upload', 'lookup')", name=op.f("ck_fulfillment_carrier_payloads_kind")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fulfillment_carrier_payloads")),
        sa.UniqueConstraint("source", "external_id", name=op.f("uq_fulfillment_carrier_payloads_source_external_id")),
    )
    op.create_index("ix_fulfillment_carrier_payloads_received", "fulfillment_carrier_payloads", ["received_at"])
    op.create_index(
        "ix_fulfillment_carrier_payloads_asked",
        "fulfillment_carrier_payloads",
        ["source", "asked"],
        postgresql_where=sa.text("kind = 'lookup'"),
    )
    op.create_table(
        "fulfillment_parcel_follows",
        sa.Column("parcel_id", sa.BigInteger(), nullable=False),
        sa.Column("connection_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state IN ('asked', 'followed', 'phone_needed', 'refused', 'ended')",
            name=op.f("ck_fulfillment_parcel_follows_state"),
        ),
        sa.ForeignKeyConstraint(
            ["parcel_id"], ["fulfillment_parcels.id"], name=op.f("fk_fulfillment_parcel_follows_parcel_id")
        ),
        sa.PrimaryKeyConstraint("parcel_id", name=op.f("pk_fulfillment_parcel_follows")),
    )
    op.create_index(
        "ix_fulfillment_parcel_follows_due",
        "fulfillment_parcel_follows",
        ["due_at"],
        postgresql_where=sa.text("state = 'asked'"),
    )
    op.create_index("ix_fulfillment_parcel_follows_state", "fulfillment_parcel_follows", ["state", "changed_at"])


def downgrade() -> None:
    op.drop_table("fulfillment_parcel_follows")
    op.drop_table("fulfillment_carrier_payloads")
