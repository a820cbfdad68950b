"""Delivery modes: what a mall has seen of its codes.

Reversible: the downgrade drops the tables and columns, and with them what they say; lines in the state `revealed` must
be gone first. New tables, empty columns, and checks that are validated after they were added: no lock is held for
longer than an instant.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0009"
branch_labels = None
depends_on = None

_TENANT = "(SELECT current_setting('supplyhub.tenant', true))"
_HUB_OR_MALL = f"{_TENANT} IN ('*', 'mall:' || mall_id)"
_LINES = (
    "'reserved', 'placed', 'accepted', 'rerouting', 'cancelling', 'shipped', 'delivered', {}'cancelled', 'expired', "
    "'unsupplied'"
)


def _check(table: str, name: str, rule: str) -> None:
    """Replace a check without holding the table while old rows are looked at."""
    op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({rule}) NOT VALID")
    op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")


def _wall(table: str, rule: str) -> None:
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY {table}_tenant ON {table} USING ({rule}) WITH CHECK ({rule})")


def upgrade() -> None:
    revealed = "'revealed', "
    _check("order_lines", "ck_order_lines_status", f"status IN ({_LINES.format(revealed)})")
    op.create_table(
        "order_codes",
        sa.Column("line_id", sa.UUID(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("order_id", sa.UUID(), nullable=False),
        sa.Column("mall_id", sa.BigInteger(), nullable=False),
        sa.Column("line_no", sa.SmallInteger(), nullable=False),
        sa.Column("masked", sa.Text(), nullable=False),
        sa.Column("valid_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revealed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["line_id"], ["order_lines.id"], name=op.f("fk_order_codes_line_id")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_order_codes_order_id")),
        sa.PrimaryKeyConstraint("line_id", "position", name=op.f("pk_order_codes")),
    )
    op.create_index("ix_order_codes_order", "order_codes", ["order_id"])
    _wall("order_codes", _HUB_OR_MALL)


def downgrade() -> None:
    op.drop_table("order_codes")
    _check("order_lines", "ck_order_lines_status", f"status IN ({_LINES.format('')})")
