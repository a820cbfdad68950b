"""Cases and holds: what observations of a breach lead to. A case is a matter for negotiation; a hold or block is one
mall's recorded choice of what it buys, under the policy it named. Neither ever touches ranking, fees or prices."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import asyncpg

from hub.kernel.db import Tx
from pricing import parity, store
from pricing.contracts import OfferPrice, ParityCaseClosed, ParityCaseOpened, Policy
from pricing.parity import STANDING, Judgement, Move, Rule, Streak

POLICY_ENDED = "no policy names these limits any more"
BACK_WITHIN = "two observations back within the limit"


async def observe(
    tx: Tx, observed: Sequence[tuple[OfferPrice, Judgement]], evidence: Mapping[int, asyncpg.Record]
) -> bool:
    """Feed new observations (known verdicts only) to the hysteresis of every rule; open and close cases, hold and
    release. `evidence` are the reference rows by id. Returns whether any case moved."""
    if not observed:
        return False
    await store.add_observations(tx, [_observation_row(tx, offer, judgement) for offer, judgement in observed])
    rules = {STANDING} | {Rule(row["threshold_pct"], row["gross_pct"]) for row in await store.rules(tx)}
    listing_ids = [offer.listing_id for offer, _ in observed]
    before = {
        (row["listing_id"], row["threshold_pct"]): Streak(row["beyond"], row["since"], row["count"])
        for row in await store.streak_rows(tx, listing_ids)
    }
    standing_open = {
        (row["listing_id"], Rule(row["threshold_pct"], row["gross_pct"])): row["id"]
        for row in await store.open_cases(tx, listing_ids)
    }
    after: dict[tuple[int, Decimal], Streak] = {}
    opening: list[tuple[int, int, Decimal, Decimal, str]] = []
    closing: list[int] = []
    for offer, judgement in observed:
        ours, theirs = judgement.ours, judgement.theirs
        assert ours is not None and theirs is not None and judgement.reference is not None
        for rule in sorted(rules, key=lambda r: (r.threshold_pct, r.gross_pct)):
            key = (offer.listing_id, rule.threshold_pct)
            if key not in after:
                after[key] = parity.advance(before.get(key), parity.beyond(ours, theirs, rule.threshold_pct), tx.now)
            case_id = standing_open.get((offer.listing_id, rule))
            gross = parity.beyond(ours, theirs, rule.gross_pct)
            move = parity.next_move(after[key], tx.now, gross=gross, case_open=case_id is not None)
            if move is Move.OPEN:
                proof = _evidence(judgement, evidence[judgement.reference.id], after[key], gross)
                opening.append((offer.listing_id, offer.product_id, rule.threshold_pct, rule.gross_pct, proof))
            elif move is Move.CLOSE and case_id is not None:
                closing.append(case_id)
    await store.save_streaks(tx, [(k[0], k[1], s.beyond, s.since, s.count) for k, s in sorted(after.items())])
    if opening:
        opened = await store.add_cases(tx, opening)
        await store.hold_under_policies(tx, [row["id"] for row in opened])
        tx.emit(
            *(ParityCaseOpened(case_id=r["id"], listing_id=r["listing_id"], product_id=r["product_id"]) for r in opened)
        )
    await close(tx, closing, BACK_WITHIN)
    return bool(opening or closing)


async def close(tx: Tx, case_ids: Sequence[int], why: str) -> None:
    """Close open cases, saying why."""
    if case_ids:
        closed = await store.close_cases(tx, list(case_ids), log_entry(tx, "closed", why))
        tx.emit(
            *(ParityCaseClosed(case_id=r["id"], listing_id=r["listing_id"], product_id=r["product_id"]) for r in closed)
        )


async def close_for(tx: Tx, listing_ids: Sequence[int], why: str) -> None:
    """Close every open case of these listings."""
    await close(tx, [row["id"] for row in await store.open_cases(tx, list(listing_ids))], why)


async def set_policy(tx: Tx, mall_id: int, action: Policy, rule: Rule, by: str) -> bool:
    """Make this a mall's policy: holds that it would not make end, those that it asks for on open cases begin, and
    cases under limits that nobody names any more close. False when there is no such mall."""
    if not await store.put_policy(tx, mall_id, action.value, rule.threshold_pct, rule.gross_pct, by):
        return False
    await store.end_holds_outside_policy(tx, mall_id)
    await store.hold_under_policies(tx, None, mall_id)
    await close(tx, await store.cases_without_rule(tx, STANDING.threshold_pct, STANDING.gross_pct), POLICY_ENDED)
    return True


async def review(tx: Tx, case_id: int, mall_id: int | None, by: str, reason: str) -> list[int] | None:
    """Release a case's holds (one mall's, or all) after somebody looked; the malls released. None: no such case."""
    note = log_entry(tx, "reviewed", reason, by=by, mall_id=mall_id)
    return await store.review_case(tx, case_id, mall_id, by, reason, note)


def log_entry(tx: Tx, what: str, why: str, **facts: Any) -> str:
    """One entry of a case's log, as JSON text."""
    return json.dumps({"at": tx.now.isoformat(), "what": what, "why": why, **facts}, ensure_ascii=False)


def _observation_row(tx: Tx, offer: OfferPrice, judgement: Judgement) -> tuple[Any, ...]:
    ours, theirs, gap = judgement.ours, judgement.theirs, judgement.gap
    assert ours is not None and theirs is not None and gap is not None and judgement.reference is not None
    figures = (parity.decimal(ours), parity.decimal(theirs), parity.decimal(gap))
    return (offer.listing_id, tx.now, judgement.verdict.value, *figures, judgement.reference.id)


def _evidence(judgement: Judgement, reference: asyncpg.Record, streak: Streak, gross: bool) -> str:
    assert judgement.ours is not None and judgement.theirs is not None and judgement.gap is not None
    return json.dumps(
        {
            "ours": str(parity.decimal(judgement.ours)),
            "reference": str(parity.decimal(judgement.theirs)),
            "gap": str(parity.decimal(judgement.gap)),
            "opened_because": "beyond the gross limit" if gross else f"{streak.count} observations since first seen",
            "first_seen": streak.since.isoformat(),
            "reference_id": reference["id"],
            "source": reference["source"],
            "url": reference["url"],
            "sha256": reference["sha256"],
            "captured_at": reference["captured_at"].isoformat(),
            "region": reference["region"],
            "parser": reference["parser"],
        },
        ensure_ascii=False,
    )
