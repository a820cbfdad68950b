"""Tables of orders and all SQL over them. An order's row is the lock of everything that belongs to it: whoever changes
lines or purchase orders takes it first, then an attempt, then stock."""

from orders.store.aftersales import (
    add_case,
    case_row,
    cases_after,
    cases_of,
    save_case,
    units_back,
    units_in_cases,
)
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
from orders.store.codes import codes_of, note_codes, revealed_lines
from orders.store.holding import (
    ask_again,
    ask_holds,
    bind_holds,
    claim_releases,
    held_by_others,
    holds_asked_before,
    holds_kept,
    holds_not_wanted,
    let_go,
    settle_used_holds,
)
from orders.store.keeping import (
    SAVED_LINE,
    SAVED_PO,
    add_split_line,
    claim_expired,
    expire,
    lines_of,
    lock_order,
    order_row,
    orders_after,
    overdue_pos,
    pos_of,
    reduce_line,
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
from orders.store.moving import (
    add_move,
    add_moving_po,
    end_move,
    holds_left_behind,
    listing_of_po,
    open_move,
    open_move_by,
    save_slot,
)
from orders.store.quotas import (
    all_quotas,
    drop_quota,
    note_quota_uses,
    put_quota,
    queue_for_quotas,
    quota_used,
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
from orders.store.tables import DDL
from orders.store.weighing import (
    all_policies,
    all_standings,
    count_answers,
    drop_policy,
    note_on_time,
    note_routing,
    put_policy,
    routing_of,
)

__all__ = [
    "DDL", "SAVED_LINE", "SAVED_PO", "abandoned_attempts", "add_attempts", "add_case", "add_move", "add_moving_po",
    "add_order", "add_purchase_orders", "add_split_line", "all_policies", "all_quotas", "all_standings", "as_hub",
    "ask_again", "ask_holds", "bind_holds", "broken_promises", "carried_lines", "case_row", "cases_after", "cases_of",
    "claim_attempt", "claim_expired", "claim_releases", "codes_of", "count_answers", "counts", "drop_attempt",
    "drop_policy", "drop_quota", "end_move", "expire", "facts", "finish_attempt", "hasten_attempt", "held_by_others",
    "holds_asked_before", "holds_kept", "holds_left_behind", "holds_not_wanted", "let_go", "letter", "lines_of",
    "listing_of_po", "live_holds", "lock_order", "needing_attention", "note_codes", "note_on_time", "note_quota_uses",
    "note_routing", "open_attempt", "open_move", "open_move_by", "open_reservations", "order_row", "orders_after",
    "overdue_pos", "po_ref", "po_row", "pos_of", "put_policy", "put_quota", "queue_for_quotas", "queue_for_reserving",
    "quota_used", "reduce_line", "remove_po_lines", "revealed_lines", "routing_of", "save_case", "save_lines",
    "save_order", "save_pos", "save_slot", "settle_used_holds", "start_clock", "tried_vendors", "units_back",
    "units_in_cases", "vendor_pos_after",
]  # fmt: skip
