"""Parcels, and scans that wait for theirs, are found by number alone, since carriers are written in many ways; parcels
under way are found by age.

Reversible. Building the new indexes locks out writers of each table (not readers) for one pass over it an index. The old index is dropped last, so that readers wait for an instant only.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_EVENTS, _PARCELS = "fulfillment_tracking_events", "fulfillment_parcels"
_BY_CARRIER, _BY_NUMBER = "ix_fulfillment_tracking_events_parked", "ix_fulfillment_tracking_events_unnamed"
_NUMBER, _UNDER_WAY = "ix_fulfillment_parcels_number", "ix_fulfillment_parcels_under_way"


def upgrade() -> None:
    op.create_index(_NUMBER, _PARCELS, ["tracking_no"])
    op.create_index(_UNDER_WAY, _PARCELS, ["created_at"], postgresql_where=sa.text("delivered_at IS NULL"))
    op.create_index(_BY_NUMBER, _EVENTS, ["tracking_no"], postgresql_where=sa.text("parcel_id IS NULL"))
    op.drop_index(_BY_CARRIER, table_name=_EVENTS)


def downgrade() -> None:
    op.create_index(_BY_CARRIER, _EVENTS, ["carrier", "tracking_no"], postgresql_where=sa.text("parcel_id IS NULL"))
    op.drop_index(_BY_NUMBER, table_name=_EVENTS)
    op.drop_index(_UNDER_WAY, table_name=_PARCELS)
    op.drop_index(_NUMBER, table_name=_PARCELS)
