"""Tables of orders and all SQL over them. An order's row is the lock of everything that belongs to it: whoever changes
lines or purchase orders takes it first, then an attempt, then stock."""

from orders.store.attempts import (
    abandoned_attempts,
    add_attempts,
    claim_attempt,
    drop_attempt,
    finish_attempt,
    hasten_attempt,
    letter,
    open_attempt,
)
from orders.store.keeping import (
    SAVED_LINE,
    SAVED_PO,
    claim_expired,
    expire,
    lines_of,
    lock_order,
    order_row,
    orders_after,
    pos_of,
    remove_po_lines,
    save_lines,
    save_order,
    save_pos,
    start_clock,
    tried_vendors,
)
from orders.store.making import (
    add_order,
    add_purchase_orders,
    open_reservations,
    queue_for_reserving,
)
from orders.store.reading import (
    as_hub,
    broken_promises,
    carried_lines,
    counts,
    facts,
    live_holds,
    needing_attention,
    po_ref,
    po_row,
    vendor_pos_after,
)
from orders.store.reviews import (
    add_review,
    add_rules,
    decide,
    forget_marks,
    lock_review,
    measure,
    newest_rules,
    past_deadline,
    reviews_after,
    take_turns,
)
from orders.store.settling import DDL as SETTLEMENT_DDL
from orders.store.tables import DDL, Row

__all__ = [
    "DDL", "SAVED_LINE", "SAVED_PO", "SETTLEMENT_DDL", "Row", "abandoned_attempts", "add_attempts", "add_order",
    "add_purchase_orders",
    "add_review", "add_rules", "as_hub", "broken_promises", "carried_lines", "claim_attempt", "claim_expired", "counts",
    "decide", "drop_attempt", "expire", "facts", "finish_attempt", "forget_marks", "hasten_attempt", "letter",
    "lines_of", "live_holds", "lock_order", "lock_review", "measure", "needing_attention", "newest_rules",
    "open_attempt", "open_reservations", "order_row", "orders_after", "past_deadline", "po_ref", "po_row", "pos_of",
    "queue_for_reserving", "remove_po_lines", "reviews_after", "save_lines", "save_order", "save_pos", "start_clock",
    "take_turns", "tried_vendors", "vendor_pos_after",
]  # fmt: skip
