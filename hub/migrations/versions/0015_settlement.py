"""Reviews of abnormal orders, and settlement: vendors' lists, reconciliation, terms and statements.

Reversible: the downgrade drops the new tables and columns, and with them the decisions and statements they hold. New
tables; and two columns without a default on `orders`, which take its lock for an instant and rewrite nothing.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_TENANT = "(SELECT current_setting('supplyhub.tenant', true))"
_HUB_OR_MALL = f"{_TENANT} IN ('*', 'mall:' || mall_id)"
_VENDOR = f"{_TENANT} IN ('*', 'vendor:' || vendor_id)"
_PARTY = f"({_TENANT} = '*' OR {_TENANT} = 'vendor:' || vendor_id OR {_TENANT} = 'mall:' || mall_id)"
_WALLS = (
    ("order_marks", _HUB_OR_MALL),
    ("order_review_rules", _HUB_OR_MALL),
    ("order_reviews", _HUB_OR_MALL),
    ("settlement_lists", _VENDOR),
    ("settlement_list_rows", _VENDOR),
    ("settlement_runs", _VENDOR),
    ("settlement_cases", _VENDOR),
    ("settlement_terms", _VENDOR),
    ("settlement_adjustments", _PARTY),
    ("settlement_statements", _PARTY),
    ("settlement_statement_lines", _PARTY),
)
_KEEP_STATEMENT = """CREATE FUNCTION settlement_keep_statement() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
IF OLD.state = 'draft' THEN RETURN coalesce(NEW, OLD); END IF;
IF TG_OP = 'UPDATE' AND OLD.state = 'issued' AND NEW.state = 'superseded'
AND to_jsonb(NEW) - 'state' = to_jsonb(OLD) - 'state' THEN RETURN NEW; END IF;
RAISE EXCEPTION 'an issued statement never changes' USING ERRCODE = 'insufficient_privilege'; END $$"""
_KEEP_LINES = """CREATE FUNCTION settlement_keep_lines() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
IF EXISTS (SELECT 1 FROM settlement_statements s WHERE s.id IN (OLD.statement_id, NEW.statement_id)
AND s.state <> 'draft') THEN RAISE EXCEPTION 'an issued statement never changes'
USING ERRCODE = 'insufficient_privilege'; END IF;
RETURN coalesce(NEW, OLD); END $$"""


def upgrade() -> None:
    op.create_table(
        "order_marks",
        sa.Column("order_id", sa.UUID(), nullable=False),
        sa.Column("mall_id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("employee", sa.LargeBinary(), nullable=True),
        sa.Column("address", sa.LargeBinary(), nullable=True),
        sa.Column("amount", sa.Numeric(precision=16, scale=4), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("order_id", name=op.f("pk_order_marks")),
    )
    op.create_index(
        "ix_order_marks_address",
        "order_marks",
        ["address", "at"],
        unique=False,
        postgresql_where=sa.text("address IS NOT NULL"),
    )
    op.create_index("ix_order_marks_at", "order_marks", ["at"], unique=False, postgresql_using="brin")
    op.create_index(
        "ix_order_marks_employee",
        "order_marks",
        ["employee", "at"],
        unique=False,
        postgresql_where=sa.text("employee IS NOT NULL"),
    )
    op.create_index("ix_order_marks_mall", "order_marks", ["mall_id", "at"], unique=False)
    op.create_table(
        "order_review_rules",
        sa.Column("mall_id", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("rules", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("set_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("mall_id", "version", name=op.f("pk_order_review_rules")),
    )
    op.create_table(
        "settlement_cases",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("vendor_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("po_id", sa.UUID(), nullable=True),
        sa.Column("row_id", sa.BigInteger(), nullable=True),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("ours", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("theirs", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("assignee", sa.Text(), nullable=True),
        sa.Column("resolution", sa.Text(), nullable=True),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("times_reopened", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("log", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.CheckConstraint(
            "(state = 'resolved') = (resolution IS NOT NULL)", name=op.f("ck_settlement_cases_resolved")
        ),
        sa.CheckConstraint(
            "kind IN ('missing_here', 'missing_there', 'amount_differs', 'quantity_differs', 'status_differs', 'delivered_unproven', 'delivered_but_cancelled', 'cancelled_but_delivered')",
            name=op.f("ck_settlement_cases_kind"),
        ),
        sa.CheckConstraint(
            "resolution IN ('accepted', 'corrected', 'cleared')", name=op.f("ck_settlement_cases_resolution")
        ),
        sa.CheckConstraint("state IN ('open', 'resolved')", name=op.f("ck_settlement_cases_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_settlement_cases")),
        sa.UniqueConstraint("vendor_id", "kind", "subject", name=op.f("uq_settlement_cases_vendor_id_kind_subject")),
    )
    op.create_index(
        "ix_settlement_cases_open",
        "settlement_cases",
        ["vendor_id", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_index("ix_settlement_cases_po", "settlement_cases", ["po_id"], unique=False)
    op.create_table(
        "settlement_lists",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("vendor_id", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("day_from", sa.Date(), nullable=True),
        sa.Column("day_to", sa.Date(), nullable=True),
        sa.Column("figures", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_by", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "(day_from IS NULL) = (day_to IS NULL) AND day_from <= day_to", name=op.f("ck_settlement_lists_days")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_settlement_lists")),
    )
    op.create_index("ix_settlement_lists_vendor", "settlement_lists", ["vendor_id", "id"], unique=False)
    op.create_table(
        "settlement_runs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("vendor_id", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("cursor", sa.UUID(), nullable=True),
        sa.Column("figures", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('running', 'done')", name=op.f("ck_settlement_runs_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_settlement_runs")),
        sa.UniqueConstraint("vendor_id", "day", name=op.f("uq_settlement_runs_vendor_id_day")),
    )
    op.create_table(
        "settlement_statements",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("party", sa.Text(), nullable=False),
        sa.Column("vendor_id", sa.BigInteger(), nullable=True),
        sa.Column("mall_id", sa.BigInteger(), nullable=True),
        sa.Column("party_name", sa.Text(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("cutoff_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.Column("goods", sa.Numeric(precision=18, scale=4), nullable=False),
        sa.Column("corrections", sa.Numeric(precision=18, scale=4), nullable=False),
        sa.Column("adjustments", sa.Numeric(precision=18, scale=4), nullable=False),
        sa.Column("deductions", sa.Numeric(precision=18, scale=4), nullable=False),
        sa.Column("net", sa.Numeric(precision=18, scale=4), nullable=False),
        sa.Column("rounding", sa.Numeric(precision=18, scale=4), nullable=False),
        sa.Column("payable", sa.Numeric(precision=18, scale=4), nullable=False),
        sa.Column("tax", sa.Numeric(precision=18, scale=4), nullable=True),
        sa.Column("lines_without_tax", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("drafted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("issued_by", sa.Text(), nullable=True),
        sa.Column("previous_hash", sa.Text(), nullable=True),
        sa.Column("hash", sa.Text(), nullable=True),
        sa.CheckConstraint("(state = 'draft') = (hash IS NULL)", name=op.f("ck_settlement_statements_hash")),
        sa.CheckConstraint("state IN ('draft', 'issued', 'superseded')", name=op.f("ck_settlement_statements_state")),
        sa.CheckConstraint("(vendor_id IS NULL) <> (mall_id IS NULL)", name=op.f("ck_settlement_statements_party")),
        sa.CheckConstraint(
            "net = goods + corrections + adjustments + deductions", name=op.f("ck_settlement_statements_net")
        ),
        sa.CheckConstraint("payable = net + rounding", name=op.f("ck_settlement_statements_payable")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_settlement_statements")),
        sa.UniqueConstraint(
            "party", "month", "currency", "version", name=op.f("uq_settlement_statements_party_month_currency_version")
        ),
    )
    op.create_table(
        "settlement_terms",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("vendor_id", sa.BigInteger(), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("valid_to", sa.Date(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("late_per", sa.Text(), nullable=True),
        sa.Column("late_share", sa.Numeric(precision=8, scale=6), nullable=True),
        sa.Column("late_amount", sa.Numeric(precision=18, scale=4), nullable=True),
        sa.Column("late_cap", sa.Numeric(precision=8, scale=6), nullable=True),
        sa.Column("tax_rate", sa.Numeric(precision=8, scale=6), nullable=True),
        sa.Column("agreed", sa.Text(), nullable=False),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("set_by", sa.Text(), nullable=False),
        sa.CheckConstraint("late_per IN ('line', 'day')", name=op.f("ck_settlement_terms_late_per")),
        sa.CheckConstraint(
            "(late_per IS NOT NULL) = ((late_share IS NULL) <> (late_amount IS NULL))",
            name=op.f("ck_settlement_terms_late"),
        ),
        sa.CheckConstraint("valid_to >= valid_from", name=op.f("ck_settlement_terms_valid")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_settlement_terms")),
    )
    op.create_index("ix_settlement_terms_vendor", "settlement_terms", ["vendor_id", "valid_from"], unique=False)
    op.create_table(
        "order_reviews",
        sa.Column("order_id", sa.UUID(), nullable=False),
        sa.Column("mall_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("findings", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("rules_version", sa.Integer(), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("held_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("at_deadline", sa.Text(), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.CheckConstraint("(state = 'held') <= (held_until IS NOT NULL)", name=op.f("ck_order_reviews_held_until")),
        sa.CheckConstraint("at_deadline IN ('refuse', 'release')", name=op.f("ck_order_reviews_at_deadline")),
        sa.CheckConstraint(
            "state IN ('flagged', 'held', 'released', 'refused', 'overtaken')", name=op.f("ck_order_reviews_state")
        ),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_order_reviews_order_id")),
        sa.PrimaryKeyConstraint("order_id", name=op.f("pk_order_reviews")),
    )
    op.create_index(
        "ix_order_reviews_deadline",
        "order_reviews",
        ["held_until"],
        unique=False,
        postgresql_where=sa.text("state = 'held'"),
    )
    op.create_index(
        "ix_order_reviews_open",
        "order_reviews",
        ["order_id"],
        unique=False,
        postgresql_where=sa.text("state IN ('flagged', 'held')"),
    )
    op.create_table(
        "settlement_adjustments",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("party", sa.Text(), nullable=False),
        sa.Column("vendor_id", sa.BigInteger(), nullable=True),
        sa.Column("mall_id", sa.BigInteger(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=18, scale=4), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("po_id", sa.UUID(), nullable=True),
        sa.Column("number", sa.Text(), nullable=True),
        sa.Column("case_id", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "kind IN ('refund', 'return', 'compensation', 'correction')", name=op.f("ck_settlement_adjustments_kind")
        ),
        sa.CheckConstraint("(vendor_id IS NULL) <> (mall_id IS NULL)", name=op.f("ck_settlement_adjustments_party")),
        sa.CheckConstraint("amount <> 0", name=op.f("ck_settlement_adjustments_amount")),
        sa.ForeignKeyConstraint(["case_id"], ["settlement_cases.id"], name=op.f("fk_settlement_adjustments_case_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_settlement_adjustments")),
    )
    op.create_index("ix_settlement_adjustments_party", "settlement_adjustments", ["party", "made_at"], unique=False)
    op.create_table(
        "settlement_list_rows",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("vendor_id", sa.BigInteger(), nullable=False),
        sa.Column("list_id", sa.BigInteger(), nullable=False),
        sa.Column("mark", sa.LargeBinary(), nullable=False),
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column("other_ref", sa.Text(), nullable=True),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("po_id", sa.UUID(), nullable=True),
        sa.Column("by_hand", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=True),
        sa.Column("amount", sa.Numeric(precision=18, scale=4), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("raw_status", sa.Text(), nullable=True),
        sa.Column("tax_rate", sa.Numeric(precision=8, scale=6), nullable=True),
        sa.Column("tax_amount", sa.Numeric(precision=18, scale=4), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("raw", sa.LargeBinary(), nullable=True),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("(state = 'matched') <= (po_id IS NOT NULL)", name=op.f("ck_settlement_list_rows_matched")),
        sa.CheckConstraint(
            "state IN ('matched', 'quarantined', 'discarded', 'gone')", name=op.f("ck_settlement_list_rows_state")
        ),
        sa.ForeignKeyConstraint(["list_id"], ["settlement_lists.id"], name=op.f("fk_settlement_list_rows_list_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_settlement_list_rows")),
        sa.UniqueConstraint("vendor_id", "mark", name=op.f("uq_settlement_list_rows_vendor_id_mark")),
    )
    op.create_index("ix_settlement_list_rows_list", "settlement_list_rows", ["list_id"], unique=False)
    op.create_index(
        "ix_settlement_list_rows_po",
        "settlement_list_rows",
        ["po_id"],
        unique=False,
        postgresql_where=sa.text("state = 'matched'"),
    )
    op.create_index(
        "ix_settlement_list_rows_waiting",
        "settlement_list_rows",
        ["vendor_id", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'quarantined'"),
    )
    op.create_table(
        "settlement_statement_lines",
        sa.Column("statement_id", sa.BigInteger(), nullable=False),
        sa.Column("no", sa.Integer(), nullable=False),
        sa.Column("vendor_id", sa.BigInteger(), nullable=True),
        sa.Column("mall_id", sa.BigInteger(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("line_id", sa.UUID(), nullable=True),
        sa.Column("adjustment_id", sa.BigInteger(), nullable=True),
        sa.Column("order_no", sa.Text(), nullable=False),
        sa.Column("po_number", sa.Text(), nullable=False),
        sa.Column("vendor_order_no", sa.Text(), nullable=True),
        sa.Column("counterpart", sa.Text(), nullable=True),
        sa.Column("line_no", sa.Integer(), nullable=True),
        sa.Column("sku", sa.Text(), nullable=True),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("quantity", sa.Integer(), nullable=True),
        sa.Column("unit_price", sa.Numeric(precision=14, scale=4), nullable=True),
        sa.Column("amount", sa.Numeric(precision=18, scale=4), nullable=False),
        sa.Column("tax_rate", sa.Numeric(precision=8, scale=6), nullable=True),
        sa.Column("tax_amount", sa.Numeric(precision=18, scale=4), nullable=True),
        sa.Column("tax_source", sa.Text(), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("days_late", sa.Integer(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "kind IN ('goods', 'correction', 'deduction', 'adjustment')",
            name=op.f("ck_settlement_statement_lines_kind"),
        ),
        sa.CheckConstraint("tax_source IN ('list', 'terms')", name=op.f("ck_settlement_statement_lines_tax_source")),
        sa.ForeignKeyConstraint(
            ["statement_id"], ["settlement_statements.id"], name=op.f("fk_settlement_statement_lines_statement_id")
        ),
        sa.PrimaryKeyConstraint("statement_id", "no", name=op.f("pk_settlement_statement_lines")),
    )
    op.create_index(
        "ix_settlement_statement_lines_adjustment", "settlement_statement_lines", ["adjustment_id"], unique=False
    )
    op.create_index("ix_settlement_statement_lines_line", "settlement_statement_lines", ["line_id"], unique=False)
    op.add_column("orders", sa.Column("held_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("orders", sa.Column("reason", sa.Text(), nullable=True))
    for table, rule in _WALLS:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY {table}_tenant ON {table} USING ({rule}) WITH CHECK ({rule})")
    op.execute(_KEEP_STATEMENT)
    op.execute(_KEEP_LINES)
    op.execute(
        "CREATE TRIGGER settlement_keep_statement BEFORE UPDATE OR DELETE ON settlement_statements "
        "FOR EACH ROW EXECUTE FUNCTION settlement_keep_statement()"
    )
    op.execute(
        "CREATE TRIGGER settlement_keep_lines BEFORE INSERT OR UPDATE OR DELETE ON settlement_statement_lines "
        "FOR EACH ROW EXECUTE FUNCTION settlement_keep_lines()"
    )


def downgrade() -> None:
    op.drop_column("orders", "reason")
    op.drop_column("orders", "held_until")
    op.drop_table("settlement_statement_lines")
    op.drop_table("settlement_list_rows")
    op.drop_table("settlement_adjustments")
    op.drop_table("order_reviews")
    op.drop_table("settlement_terms")
    op.drop_table("settlement_statements")
    op.drop_table("settlement_runs")
    op.drop_table("settlement_lists")
    op.drop_table("settlement_cases")
    op.drop_table("order_review_rules")
    op.drop_table("order_marks")
    op.execute("DROP FUNCTION settlement_keep_lines()")
    op.execute("DROP FUNCTION settlement_keep_statement()")
