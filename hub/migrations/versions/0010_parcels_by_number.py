"""Scans that wait for their parcel are found by number alone, since carriers are written in many ways; parcels under way
are found by age.

Reversible. Both indexes are partial. Building them reads each table once, and whoever writes to it waits meanwhile:
seconds for ten million rows, so run it in a quiet minute there.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_PARKED = "ix_fulfillment_tracking_events_parked"
_UNDER_WAY = "ix_fulfillment_parcels_under_way"


def upgrade() -> None:
    _park_by(["tracking_no"])
    op.create_index(_UNDER_WAY, "fulfillment_parcels", ["created_at"], postgresql_where=sa.text("delivered_at IS NULL"))


def downgrade() -> None:
    op.drop_index(_UNDER_WAY, table_name="fulfillment_parcels")
    _park_by(["carrier", "tracking_no"])


def _park_by(columns: list[str]) -> None:
    op.drop_index(_PARKED, table_name="fulfillment_tracking_events")
    op.create_index(_PARKED, "fulfillment_tracking_events", columns, postgresql_where=sa.text("parcel_id IS NULL"))
