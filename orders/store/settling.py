"""Tables of settlement. What a vendor lists, the runs that hold it against our orders and the cases they open are the
hub's and that vendor's; a statement is the hub's and its own party's. An issued statement never changes: the database
itself refuses."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
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
from sqlalchemy.dialects.postgresql import JSONB, UUID

from hub.kernel.db import TENANT, metadata, tenant_wall
from orders.settlement.rules import CaseKind

_AMOUNT = Numeric(18, 4)

lists = Table(
    "settlement_lists",  # each list of a vendor that was taken in
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("vendor_id", BigInteger, nullable=False),
    Column("source", Text, nullable=False),  # upload, or connection:ID
    Column("day_from", Date),  # the days whose orders it lists in full; NULL: it proves no absence
    Column("day_to", Date),
    Column("figures", JSONB, nullable=False),
    Column("received_at", DateTime(timezone=True), nullable=False),
    Column("received_by", Text, nullable=False),
    CheckConstraint("(day_from IS NULL) = (day_to IS NULL) AND day_from <= day_to", name="days"),
    Index("ix_settlement_lists_vendor", "vendor_id", "id"),
)

list_rows = Table(
    "settlement_list_rows",  # the vendor's newest word on each order or article
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("vendor_id", BigInteger, nullable=False),
    Column("list_id", BigInteger, ForeignKey("settlement_lists.id"), nullable=False),  # that said it last
    Column("mark", LargeBinary, nullable=False),  # digest of number and article; of the raw row without a number
    Column("ref", Text, nullable=False),  # the order number as the vendor gives it; empty: none
    Column("other_ref", Text),  # a second number, where the list has both
    Column("sku", Text, nullable=False),
    Column("po_id", UUID(as_uuid=True)),
    Column("by_hand", Boolean, nullable=False, server_default=text("false")),
    Column("quantity", Integer),
    Column("amount", _AMOUNT),
    Column("currency", Text),
    Column("status", Text, nullable=False),
    Column("raw_status", Text),
    Column("tax_rate", Numeric(8, 6)),
    Column("tax_amount", _AMOUNT),
    Column("state", Text, nullable=False),
    Column("reason", Text),  # of the quarantine, or of the discarding
    Column("raw", LargeBinary),  # encrypted, of quarantined rows alone: it may name a recipient
    Column("first_seen_at", DateTime(timezone=True), nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=False),
    UniqueConstraint("vendor_id", "mark"),
    CheckConstraint("state IN ('matched', 'quarantined', 'discarded', 'gone')", name="state"),
    CheckConstraint("(state = 'matched') <= (po_id IS NOT NULL)", name="matched"),
    Index("ix_settlement_list_rows_po", "po_id", postgresql_where=text("state = 'matched'")),
    Index("ix_settlement_list_rows_list", "list_id"),
    Index("ix_settlement_list_rows_waiting", "vendor_id", "id", postgresql_where=text("state = 'quarantined'")),
)

runs = Table(
    "settlement_runs",  # one reconciliation of a vendor up to the end of a day
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("vendor_id", BigInteger, nullable=False),
    Column("day", Date, nullable=False),
    Column("state", Text, nullable=False),
    Column("cursor", UUID(as_uuid=True)),  # the oldest purchase order that was looked at
    Column("figures", JSONB, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("finished_at", DateTime(timezone=True)),
    UniqueConstraint("vendor_id", "day"),
    CheckConstraint("state IN ('running', 'done')", name="state"),
)

cases = Table(
    "settlement_cases",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("vendor_id", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),  # which purchase order (and article), or which row of the vendor's list
    Column("po_id", UUID(as_uuid=True)),
    Column("row_id", BigInteger),
    Column("sku", Text, nullable=False),
    Column("number", Text, nullable=False),  # as people name it: our number, or the vendor's
    Column("state", Text, nullable=False),
    Column("ours", JSONB, nullable=False),
    Column("theirs", JSONB, nullable=False),
    Column("opened_at", DateTime(timezone=True), nullable=False),
    Column("assignee", Text),
    Column("resolution", Text),
    Column("resolved_at", DateTime(timezone=True)),
    Column("times_reopened", Integer, nullable=False, server_default=text("0")),
    Column("log", JSONB, nullable=False),
    UniqueConstraint("vendor_id", "kind", "subject"),
    CheckConstraint(f"kind IN ({', '.join(repr(kind.value) for kind in CaseKind)})", name="kind"),
    CheckConstraint("state IN ('open', 'resolved')", name="state"),
    CheckConstraint("resolution IN ('accepted', 'corrected', 'cleared')", name="resolution"),
    CheckConstraint("(state = 'resolved') = (resolution IS NOT NULL)", name="resolved"),
    Index("ix_settlement_cases_po", "po_id"),
    Index("ix_settlement_cases_open", "vendor_id", "id", postgresql_where=text("state = 'open'")),
)

terms = Table(
    "settlement_terms",  # what was agreed with a vendor, for orders of a time; none by default
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("vendor_id", BigInteger, nullable=False),
    Column("valid_from", Date, nullable=False),
    Column("valid_to", Date),  # the last day, inclusive
    Column("currency", Text, nullable=False),
    Column("late_per", Text),
    Column("late_share", Numeric(8, 6)),
    Column("late_amount", _AMOUNT),
    Column("late_cap", Numeric(8, 6)),
    Column("tax_rate", Numeric(8, 6)),
    Column("agreed", Text, nullable=False),  # where it is written
    Column("set_at", DateTime(timezone=True), nullable=False),
    Column("set_by", Text, nullable=False),
    CheckConstraint("valid_to >= valid_from", name="valid"),
    CheckConstraint("late_per IN ('line', 'day')", name="late_per"),
    CheckConstraint("(late_per IS NOT NULL) = ((late_share IS NULL) <> (late_amount IS NULL))", name="late"),
    Index("ix_settlement_terms_vendor", "vendor_id", "valid_from"),
)

adjustments = Table(
    "settlement_adjustments",  # amounts that people (or after-sales) add to the next statement of a party; append-only
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("party", Text, nullable=False),  # vendor:3 or mall:7
    Column("vendor_id", BigInteger),
    Column("mall_id", BigInteger),
    Column("kind", Text, nullable=False),
    Column("amount", _AMOUNT, nullable=False),  # above zero: the party's statement grows
    Column("currency", Text, nullable=False),
    Column("po_id", UUID(as_uuid=True)),
    Column("number", Text),
    Column("case_id", BigInteger, ForeignKey("settlement_cases.id")),
    Column("reason", Text, nullable=False),
    Column("made_at", DateTime(timezone=True), nullable=False),
    Column("made_by", Text, nullable=False),
    CheckConstraint("kind IN ('refund', 'return', 'compensation', 'correction')", name="kind"),
    CheckConstraint("amount <> 0", name="amount"),
    CheckConstraint("(vendor_id IS NULL) <> (mall_id IS NULL)", name="party"),
    Index("ix_settlement_adjustments_party", "party", "made_at"),
)

statements = Table(
    "settlement_statements",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("party", Text, nullable=False),
    Column("vendor_id", BigInteger),
    Column("mall_id", BigInteger),
    Column("party_name", Text, nullable=False),
    Column("month", Date, nullable=False),
    Column("currency", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("cutoff_at", DateTime(timezone=True), nullable=False),
    Column("lines", Integer, nullable=False),
    Column("goods", _AMOUNT, nullable=False),
    Column("corrections", _AMOUNT, nullable=False),
    Column("adjustments", _AMOUNT, nullable=False),
    Column("deductions", _AMOUNT, nullable=False),  # zero or below
    Column("net", _AMOUNT, nullable=False),
    Column("rounding", _AMOUNT, nullable=False),
    Column("payable", _AMOUNT, nullable=False),
    Column("tax", _AMOUNT),  # contained in the lines that say it; NULL: no line does
    Column("lines_without_tax", Integer, nullable=False),
    Column("reason", Text),  # of a later version
    Column("drafted_at", DateTime(timezone=True), nullable=False),
    Column("issued_at", DateTime(timezone=True)),
    Column("issued_by", Text),
    Column("previous_hash", Text),
    Column("hash", Text),
    UniqueConstraint("party", "month", "currency", "version"),
    CheckConstraint("state IN ('draft', 'issued', 'superseded')", name="state"),
    CheckConstraint("(vendor_id IS NULL) <> (mall_id IS NULL)", name="party"),
    CheckConstraint("(state = 'draft') = (hash IS NULL)", name="hash"),
    CheckConstraint("net = goods + corrections + adjustments + deductions", name="net"),
    CheckConstraint("payable = net + rounding", name="payable"),
)

statement_lines = Table(
    "settlement_statement_lines",
    metadata,
    Column("statement_id", BigInteger, ForeignKey("settlement_statements.id"), primary_key=True),
    Column("no", Integer, primary_key=True),
    Column("vendor_id", BigInteger),  # the statement's party, not who else has to do with the line
    Column("mall_id", BigInteger),
    Column("kind", Text, nullable=False),
    Column("line_id", UUID(as_uuid=True)),
    Column("adjustment_id", BigInteger),
    Column("order_no", Text, nullable=False),  # as the party names the order
    Column("po_number", Text, nullable=False),
    Column("vendor_order_no", Text),
    Column("counterpart", Text),  # the vendor's name, on a mall's statement
    Column("line_no", Integer),
    Column("sku", Text),
    Column("title", Text),
    Column("quantity", Integer),
    Column("unit_price", Numeric(14, 4)),
    Column("amount", _AMOUNT, nullable=False),
    Column("tax_rate", Numeric(8, 6)),
    Column("tax_amount", _AMOUNT),
    Column("tax_source", Text),  # list: the vendor's list says so; terms: what was agreed
    Column("delivered_at", DateTime(timezone=True)),
    Column("due_at", DateTime(timezone=True)),
    Column("days_late", Integer),
    Column("note", Text),
    CheckConstraint("kind IN ('goods', 'correction', 'deduction', 'adjustment')", name="kind"),
    CheckConstraint("tax_source IN ('list', 'terms')", name="tax_source"),
    Index("ix_settlement_statement_lines_line", "line_id"),
    Index("ix_settlement_statement_lines_adjustment", "adjustment_id"),
)

_VENDOR = f"{TENANT} IN ('*', 'vendor:' || vendor_id)"
_PARTY = f"({TENANT} = '*' OR {TENANT} = 'vendor:' || vendor_id OR {TENANT} = 'mall:' || mall_id)"
_NEVER = "USING ERRCODE = 'insufficient_privilege'"

DDL: tuple[str, ...] = (
    *(
        statement
        for table, rule in (
            ("settlement_lists", _VENDOR),
            ("settlement_list_rows", _VENDOR),
            ("settlement_runs", _VENDOR),
            ("settlement_cases", _VENDOR),
            ("settlement_terms", _VENDOR),
            ("settlement_adjustments", _PARTY),
            ("settlement_statements", _PARTY),
            ("settlement_statement_lines", _PARTY),
        )
        for statement in tenant_wall(table, rule)
    ),
    "CREATE FUNCTION settlement_keep_statement() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
    "IF OLD.state = 'draft' THEN RETURN coalesce(NEW, OLD); END IF; "
    "IF TG_OP = 'UPDATE' AND OLD.state = 'issued' AND NEW.state = 'superseded' "
    "AND to_jsonb(NEW) - 'state' = to_jsonb(OLD) - 'state' THEN RETURN NEW; END IF; "
    f"RAISE EXCEPTION 'an issued statement never changes' {_NEVER}; END $$",
    "CREATE TRIGGER settlement_keep_statement BEFORE UPDATE OR DELETE ON settlement_statements "
    "FOR EACH ROW EXECUTE FUNCTION settlement_keep_statement()",
    "CREATE FUNCTION settlement_keep_lines() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "  # noqa: S608
    "IF EXISTS (SELECT 1 FROM settlement_statements s WHERE s.id IN (OLD.statement_id, NEW.statement_id) "
    f"AND s.state <> 'draft') THEN RAISE EXCEPTION 'an issued statement never changes' {_NEVER}; END IF; "
    "RETURN coalesce(NEW, OLD); END $$",
    "CREATE TRIGGER settlement_keep_lines BEFORE INSERT OR UPDATE OR DELETE ON settlement_statement_lines "
    "FOR EACH ROW EXECUTE FUNCTION settlement_keep_lines()",
)
