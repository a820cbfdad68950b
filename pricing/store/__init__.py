"""Tables of pricing and all SQL over them."""

from __future__ import annotations

from pricing.store.casework import (
    ACTIVE_HOLDS,
    add_cases,
    case_rows,
    cases_without_rule,
    close_cases,
    count_held,
    end_holds_outside_policy,
    held_listings,
    hold_under_policies,
    open_cases,
    policy_rows,
    put_policy,
    review_case,
    rules,
    save_streaks,
    streak_rows,
)
from pricing.store.judging import (
    VERDICTS,
    add_observations,
    add_references,
    count_verdicts,
    dearer_packs,
    expired_offers,
    forget_listings,
    forget_observations,
    fresh_references,
    lock_verdicts,
    reference_rows,
    save_verdicts,
    verdict_rows,
)
from pricing.store.tables import cases, holds, observations, policies, references, streaks, verdicts

__all__ = [
    "ACTIVE_HOLDS", "VERDICTS", "add_cases", "add_observations", "add_references", "case_rows", "cases",
    "cases_without_rule", "close_cases", "count_held", "count_verdicts", "dearer_packs", "end_holds_outside_policy",
    "expired_offers", "forget_listings", "forget_observations", "fresh_references", "held_listings",
    "hold_under_policies", "holds", "lock_verdicts", "observations", "open_cases", "policies", "policy_rows",
    "put_policy", "reference_rows", "references", "review_case", "rules", "save_streaks", "save_verdicts",
    "streak_rows", "streaks", "verdict_rows", "verdicts",
]  # fmt: skip
