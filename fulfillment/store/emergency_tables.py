"""Tables of emergencies: incidents, the sites that ask, what they ask for, the stock that is fenced off for them, and
plans with what they allot. Rows of one tenant are walled as elsewhere; incidents and lead times are the hub's.

Units add up at any moment, supply row by supply row, in units of its listing: quantity = fenced + lost + given_back +
what plans took (emergency_plans.INVARIANTS)."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

from hub.kernel.db import TENANT, metadata, tenant_wall

incidents = Table(
    "emergency_incidents",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("title", Text, nullable=False),
    Column("area", Text, nullable=False),
    Column("exercise", Boolean, nullable=False),
    Column("access", Text, nullable=False),
    Column("mall_ids", ARRAY(BigInteger)),  # companies that may ask; NULL: every company
    Column("code_digest", LargeBinary, unique=True),  # of the public's code
    Column("items", JSONB, nullable=False),  # [{name, unit, per_head}]
    Column("unverified_headcount", Integer, nullable=False),
    Column("unverified_tier", Integer, nullable=False),
    Column("window_s", Integer, nullable=False),  # a site that asks again within it asks twice
    Column("seed", BigInteger, nullable=False),  # fixed before anybody asks
    Column("status", Text, nullable=False),
    Column("epoch", Integer, nullable=False, server_default=text("0")),  # plans committed so far
    Column("declared_at", DateTime(timezone=True), nullable=False),
    Column("declared_by", Text, nullable=False),
    Column("deadline_at", DateTime(timezone=True), nullable=False),
    Column("closed_at", DateTime(timezone=True)),
    Column("closed_by", Text),
    CheckConstraint("access IN ('companies', 'public')", name="access"),
    CheckConstraint("status IN ('open', 'closed')", name="status"),
    CheckConstraint("(status = 'closed') = (closed_at IS NOT NULL)", name="closed_at"),
    CheckConstraint("(access = 'public') = (code_digest IS NOT NULL)", name="code"),
)

sites = Table(
    "emergency_sites",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("incident_id", BigInteger, ForeignKey("emergency_incidents.id"), nullable=False),
    Column("mall_id", BigInteger),  # NULL: of the public, or entered by staff for nobody's account
    Column("owner", BigInteger, nullable=False),  # the same with 0 for nobody, so that names are unique there too
    Column("site_key", Text, nullable=False),  # the name without what people write differently
    Column("name", Text, nullable=False),
    Column("area", Text, nullable=False),
    Column("address_key", LargeBinary, nullable=False),
    Column("ship_to", LargeBinary, nullable=False),  # encrypted
    Column("substitutes", Boolean, nullable=False),  # takes them
    Column("claimed_headcount", Integer),
    Column("verified_headcount", Integer),
    Column("tier", Integer),  # NULL until somebody has verified it
    Column("pool", Text, nullable=False, server_default=text("''")),
    Column("floor", Integer, nullable=False, server_default=text("0")),  # units of each item promised first
    Column("verified_by", Text),
    Column("created_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("(verified_headcount IS NULL) = (tier IS NULL)", name="verified"),
    UniqueConstraint("incident_id", "owner", "site_key"),
    Index("ix_emergency_sites_address", "incident_id", "address_key"),
)

demands = Table(
    "emergency_demands",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("incident_id", BigInteger, ForeignKey("emergency_incidents.id"), nullable=False),
    Column("site_id", BigInteger, ForeignKey("emergency_sites.id"), nullable=False),
    Column("mall_id", BigInteger),
    Column("item", Text, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("channel", Text, nullable=False),
    Column("asked_at", DateTime(timezone=True), nullable=False),
    Column("asked_again", Integer, nullable=False, server_default=text("0")),  # times, within the window
    UniqueConstraint("site_id", "item"),
    CheckConstraint("quantity >= 0", name="quantity"),  # 0: withdrawn
    CheckConstraint("channel IN ('api', 'form', 'csv')", name="channel"),
    Index("ix_emergency_demands_incident", "incident_id", "id"),
)

supplies = Table(
    "emergency_supplies",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("incident_id", BigInteger, ForeignKey("emergency_incidents.id"), nullable=False),
    Column("vendor_id", BigInteger, nullable=False),
    Column("listing_id", BigInteger, nullable=False),
    Column("product_id", BigInteger, nullable=False),
    Column("location", Text, nullable=False),  # on the shelf
    Column("warehouse", Text, nullable=False),  # as lead times name it
    Column("item", Text, nullable=False),
    Column("lot", Text, nullable=False),
    Column("expires_at", DateTime(timezone=True)),
    Column("units_each", Integer, nullable=False),  # units of the item in one of the listing
    Column("pool", Text, nullable=False),
    Column("substitute", Boolean, nullable=False),
    Column("quantity", Integer, nullable=False),  # of the listing, fenced off at first
    Column("fenced", Integer, nullable=False),  # still fenced off
    Column("lost", Integer, nullable=False, server_default=text("0")),  # the shelf no longer had it
    Column("given_back", Integer, nullable=False, server_default=text("0")),  # to ordinary stock
    Column("hold_id", UUID(as_uuid=True)),  # of what is left
    Column("created_at", DateTime(timezone=True), nullable=False),
    UniqueConstraint("incident_id", "listing_id", "location", "lot", "pool"),
    CheckConstraint("quantity > 0", name="quantity"),
    CheckConstraint("fenced >= 0 AND lost >= 0 AND given_back >= 0", name="parts"),
    CheckConstraint("(fenced > 0) = (hold_id IS NOT NULL)", name="hold"),
)

leads = Table(
    "emergency_leads",  # the most exact row counts: of the site, of its area, of everywhere
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("incident_id", BigInteger, ForeignKey("emergency_incidents.id"), nullable=False),
    Column("warehouse", Text, nullable=False),
    Column("area", Text, nullable=False),
    Column("site_id", BigInteger, nullable=False, server_default=text("0")),
    Column("hours", Numeric(12, 4), nullable=False),
    Column("cost", Numeric(12, 4), nullable=False),
    UniqueConstraint("incident_id", "warehouse", "area", "site_id"),
)

plans = Table(
    "emergency_plans",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("incident_id", BigInteger, ForeignKey("emergency_incidents.id"), nullable=False),
    Column("state", Text, nullable=False),
    Column("stage", Text, nullable=False),  # how far the solving is, in words
    Column("done", Integer, nullable=False, server_default=text("0")),  # the same in per cent
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("lease_until", DateTime(timezone=True)),
    Column("author_key", BigInteger, nullable=False),
    Column("author", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("replaces", BigInteger),  # the plan that met a conflict
    Column("epoch", Integer),  # of the incident, when its state was read
    Column("snapshot_at", DateTime(timezone=True)),
    Column("solved_at", DateTime(timezone=True)),
    Column("seconds", Numeric(10, 3)),
    Column("snapshot_sha256", Text),
    Column("plan_sha256", Text),
    Column("longest_hours", Numeric(12, 4)),  # of the ways that it uses
    Column("figures", JSONB),
    Column("comparison", JSONB),
    Column("files", LargeBinary),  # zip: the input, the plan, the certificate
    Column("committed_at", DateTime(timezone=True)),
    Column("committed_by", Text),
    Column("dispatched_at", DateTime(timezone=True)),
    Column("problem", Text),
    CheckConstraint(
        "state IN ('queued', 'solving', 'proposed', 'approved', 'committed', 'superseded', 'failed', 'dropped')",
        name="state",
    ),
    Index("ix_emergency_plans_incident", "incident_id", "id"),
    Index("ix_emergency_plans_due", "id", postgresql_where=text("state IN ('queued', 'solving')")),
    Index(
        "ix_emergency_plans_dispatch",
        "id",
        postgresql_where=text("state = 'committed' AND dispatched_at IS NULL"),
    ),
)

approvals = Table(
    "emergency_approvals",
    metadata,
    Column("plan_id", BigInteger, ForeignKey("emergency_plans.id"), primary_key=True),
    Column("key_id", BigInteger, primary_key=True),
    Column("actor", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
)

allotments = Table(
    "emergency_allotments",  # what one plan sends from one supply row to one demand
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("plan_id", BigInteger, ForeignKey("emergency_plans.id"), nullable=False),
    Column("incident_id", BigInteger, nullable=False),
    Column("supply_id", BigInteger, ForeignKey("emergency_supplies.id"), nullable=False),
    Column("demand_id", BigInteger, ForeignKey("emergency_demands.id"), nullable=False),
    Column("site_id", BigInteger, nullable=False),
    Column("mall_id", BigInteger),
    Column("vendor_id", BigInteger, nullable=False),
    Column("tier", Integer, nullable=False),
    Column("quantity", Integer, nullable=False),  # of the listing
    Column("units", Integer, nullable=False),  # of the item
    Column("state", Text, nullable=False),
    Column("hold_id", UUID(as_uuid=True)),
    Column("order_id", UUID(as_uuid=True)),
    Column("line_id", UUID(as_uuid=True), unique=True),
    Column("problem", Text),
    CheckConstraint("quantity > 0", name="quantity"),
    CheckConstraint(
        "state IN ('planned', 'held', 'ordered', 'rehearsed', 'unsupplied', 'cancelled', 'released')", name="state"
    ),
    UniqueConstraint("plan_id", "supply_id", "demand_id"),
    Index("ix_emergency_allotments_demand", "demand_id"),
    Index("ix_emergency_allotments_supply", "supply_id"),
    Index("ix_emergency_allotments_held", "plan_id", "site_id", postgresql_where=text("state = 'held'")),
)

shares = Table(
    "emergency_shares",  # why each demand got what a plan gives it
    metadata,
    Column("plan_id", BigInteger, ForeignKey("emergency_plans.id"), primary_key=True),
    Column("demand_id", BigInteger, primary_key=True),
    Column("incident_id", BigInteger, nullable=False),
    Column("site_id", BigInteger, nullable=False),
    Column("mall_id", BigInteger),
    Column("tier", Integer, nullable=False),
    Column("asked", Integer, nullable=False),
    Column("counted", Integer, nullable=False),
    Column("granted", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("words", Text, nullable=False),
    Index("ix_emergency_shares_site", "plan_id", "site_id"),
)

knocks = Table(
    "emergency_knocks",  # how often a source used the public door in one minute
    metadata,
    Column("source", LargeBinary, primary_key=True),
    Column("minute", DateTime(timezone=True), primary_key=True),
    Column("times", Integer, nullable=False),
    Index("ix_emergency_knocks_minute", "minute"),
)

_MALL = f"{TENANT} IN ('*', 'mall:' || mall_id)"
_VENDOR = f"{TENANT} IN ('*', 'vendor:' || vendor_id)"
_EITHER = f"{TENANT} IN ('*', 'mall:' || mall_id, 'vendor:' || vendor_id)"

# A row without a mall is nobody's but the hub's: `'mall:' || NULL` is NULL, and no tenant is NULL.
DDL: tuple[str, ...] = tuple(
    statement
    for table, rule in (
        ("emergency_sites", _MALL),
        ("emergency_demands", _MALL),
        ("emergency_supplies", _VENDOR),
        ("emergency_allotments", _EITHER),
        ("emergency_shares", _MALL),
    )
    for statement in tenant_wall(table, rule)
)
