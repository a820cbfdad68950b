"""Voucher codes: taken in once, encrypted, handed out once.

Reversible: the downgrade drops the table, and with it every code that was not handed out. A new table only, so no lock
that anybody waits for.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "voucher_codes",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("connection_id", sa.BigInteger(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("mark", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("valid_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("state", sa.Text(), server_default=sa.text("'free'"), nullable=False),
        sa.Column("po_number", sa.Text(), nullable=True),
        sa.Column("line_no", sa.Integer(), nullable=True),
        sa.Column("handed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("taken_in_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("state IN ('free', 'handed', 'void')", name=op.f("ck_voucher_codes_state")),
        sa.CheckConstraint(
            "state = 'void' OR (state = 'handed') = (po_number IS NOT NULL)", name=op.f("ck_voucher_codes_handed")
        ),
        sa.ForeignKeyConstraint(["connection_id"], ["connections.id"], name=op.f("fk_voucher_codes_connection_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_voucher_codes")),
        sa.UniqueConstraint("connection_id", "mark", name=op.f("uq_voucher_codes_connection_id_mark")),
    )
    op.create_index(
        "ix_voucher_codes_free",
        "voucher_codes",
        ["connection_id", "sku", "id"],
        postgresql_where=sa.text("state = 'free'"),
    )
    op.create_index(
        "ix_voucher_codes_po",
        "voucher_codes",
        ["connection_id", "po_number"],
        postgresql_where=sa.text("po_number IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_table("voucher_codes")
