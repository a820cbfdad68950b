"""Cases and holds: what observations of a breach lead to. A case is a matter for negotiation; a hold or block is one
mall's recorded choice of what it buys, under the policy it named. Neither ever touches ranking, fees or prices."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import asyncpg

from hub.kernel.db import Tx
from pricing import parity, store
from pricing.contracts import (
    CaseMoved,
    ParityCaseClosed,
    ParityCaseOpened,
    ParityCaseReopened,
    ParityCaseReviewed,
    ParityHoldsChanged,
    Policy,
)
from pricing.parity import STANDING, MallPolicy, Move, Rule, Streak

HUB = "hub"  # who acts where nobody decided
POLICY_ENDED = "no policy names these limits any more"
BACK_WITHIN = "two observations back within the limit"
WAIVER_ENDED = "the waiver ran out"


async def policies(tx: Tx) -> list[MallPolicy]:
    """Every policy that malls have set."""
    return [
        MallPolicy(row["mall_id"], row["category"], Policy(row["action"]), Rule(row["threshold_pct"], row["gross_pct"]))
        for row in await store.all_policies(tx)
    ]


def rules_for(standing: Iterable[MallPolicy], category: str | None) -> set[Rule]:
    """The limits under which cases about listings of a category open."""
    return {STANDING} | {policy.rule for policy in parity.effective(standing, category).values()}


def least_threshold(standing: Iterable[MallPolicy]) -> Decimal:
    """No case opens for a gap at or below this, in percent."""
    return min([STANDING.threshold_pct, *(policy.rule.threshold_pct for policy in standing)])


async def observe(tx: Tx, observed: Sequence[asyncpg.Record], standing: Sequence[MallPolicy]) -> bool:
    """Feed new observations (rows of a judgement) to the hysteresis of every rule; open and close cases, hold and
    release. Returns whether any case moved. A streak is kept while it matters: beyond a limit, or under a live case."""
    if not observed:
        return False
    listing_ids = [row["listing_id"] for row in observed]
    before = {
        (row["listing_id"], row["threshold_pct"]): Streak(row["beyond"], row["since"], row["count"])
        for row in await store.streak_rows(tx, listing_ids)
    }
    live = {
        (row["listing_id"], Rule(row["threshold_pct"], row["gross_pct"])): row["id"]
        for row in await store.live_cases(tx, listing_ids)
    }
    after: dict[tuple[int, Decimal], Streak] = {}
    opening: list[tuple[asyncpg.Record, Rule, str]] = []
    closing: list[int] = []
    known_rules: dict[str | None, list[Rule]] = {}
    for row in observed:
        ours, theirs = Fraction(row["a"]), Fraction(row["b"])
        listing_id, category = row["listing_id"], row["category"]
        if category not in known_rules:
            known_rules[category] = sorted(rules_for(standing, category), key=lambda r: (r.threshold_pct, r.gross_pct))
        rules = {*known_rules[category], *(rule for held, rule in live if held == listing_id)}
        for rule in sorted(rules, key=lambda r: (r.threshold_pct, r.gross_pct)):
            key = (listing_id, rule.threshold_pct)
            if key not in after:
                after[key] = parity.advance(before.get(key), parity.beyond(ours, theirs, rule.threshold_pct), tx.now)
            case_id = live.get((listing_id, rule))
            gross = parity.beyond(ours, theirs, rule.gross_pct)
            move = parity.next_move(after[key], tx.now, gross=gross, case_open=case_id is not None)
            if move is Move.OPEN:
                streak = after[key]
                why = "beyond the gross limit" if gross else f"{streak.count} observations since {streak.since:%F %R}Z"
                opening.append((row, rule, why))
            elif move is Move.CLOSE and case_id is not None:
                closing.append(case_id)
    opened = await _open(tx, opening, standing)
    ended = await close(tx, closing, BACK_WITHIN)
    mattering = {(listing, rule.threshold_pct) for listing, rule in live} | opened
    kept = {key: streak for key, streak in after.items() if streak.beyond or key in mattering}
    await store.save_streaks(tx, [(k[0], k[1], s.beyond, s.since, s.count) for k, s in sorted(kept.items())])
    await store.drop_streaks(tx, sorted((after.keys() - kept.keys()) & before.keys()))
    return bool(opened) or ended


async def _open(
    tx: Tx, opening: Sequence[tuple[asyncpg.Record, Rule, str]], standing: Sequence[MallPolicy]
) -> set[tuple[int, Decimal]]:
    """Open cases and hold their listings where policies say so; the (listing, threshold) of each really opened."""
    if not opening:
        return set()
    facts = {row["listing_id"]: row for row in await store.evidence(tx, [row["listing_id"] for row, _, _ in opening])}
    rows = []
    for row, rule, why in opening:
        proof = _json({**_evidence(facts[row["listing_id"]]), "opened_because": why})
        rows.append(
            (row["listing_id"], row["product_id"], row["category"], rule.threshold_pct, rule.gross_pct, proof,
             f"[{log_entry(tx, 'opened', why)}]")
        )  # fmt: skip
    opened = await store.add_cases(tx, rows)
    await _hold(tx, opened, standing)
    await announce(tx, ParityCaseOpened, [row["id"] for row in opened], "opened", {}, HUB)
    return {(row["listing_id"], row["threshold_pct"]) for row in opened}


async def close(tx: Tx, case_ids: Sequence[int], why: str, by: str = HUB) -> bool:
    """Close live cases, saying why; whether any closed. Blocks end, holds wait for a review."""
    if not case_ids:
        return False
    closed = [row["id"] for row in await store.close_cases(tx, list(case_ids), log_entry(tx, "closed", why, by=by))]
    tell_holds(tx, await store.end_blocks(tx, closed))
    await announce(tx, ParityCaseClosed, closed, "closed", dict.fromkeys(closed, why), by)
    return bool(closed)


async def close_for(tx: Tx, listing_ids: Sequence[int], why: str) -> None:
    """Close every live case of these listings."""
    await close(tx, [row["id"] for row in await store.live_cases(tx, list(listing_ids))], why)


async def set_policy(tx: Tx, mall_id: int, action: Policy, rule: Rule, by: str, category: str = "") -> bool:
    """Make this a mall's policy for a category (or for the rest): see `_policies_changed`. False: no such mall."""
    if not await store.put_policy(tx, mall_id, category, action.value, rule.threshold_pct, rule.gross_pct, by):
        return False
    await _policies_changed(tx, mall_id)
    return True


async def drop_policy(tx: Tx, mall_id: int, category: str) -> bool:
    """Take a policy back: the wider one, or the standing limits, cover its listings again. False: there is none."""
    if not await store.drop_policy(tx, mall_id, category):
        return False
    await _policies_changed(tx, mall_id)
    return True


async def _policies_changed(tx: Tx, mall_id: int) -> None:
    """Holds that the mall's policies of now would not make end, those that they ask for on open cases begin, and cases
    under limits that nobody names any more close."""
    standing = await policies(tx)
    ending = [
        row["case_id"]
        for row in await store.active_holds(tx, mall_id)
        if _asked(standing, row, mall_id) is not Policy(row["action"])
    ]
    tell_holds(tx, await store.end_holds(tx, mall_id, ending))
    cases = await store.cases_in(tx, "open")
    await _hold(tx, cases, standing, mall_id)
    orphans = [
        row["id"]
        for row in [*cases, *await store.cases_in(tx, "waived")]
        if Rule(row["threshold_pct"], row["gross_pct"]) not in rules_for(standing, row["category"])
    ]
    await close(tx, orphans, POLICY_ENDED)


def _asked(standing: Iterable[MallPolicy], case: asyncpg.Record, mall_id: int) -> Policy:
    """What a mall's policies ask for on a case: only the one that covers its category, under the case's own limits."""
    policy = parity.effective(standing, case["category"]).get(mall_id)
    if policy is None or policy.rule != Rule(case["threshold_pct"], case["gross_pct"]):
        return Policy.OBSERVE
    return policy.action


async def _hold(
    tx: Tx, cases: Sequence[asyncpg.Record], standing: Sequence[MallPolicy], mall_id: int | None = None
) -> None:
    """Hold or block the listings of open cases for every mall (or one) whose policy asks for it. What a review
    released stays released, until a waiver of the case runs out."""
    malls = {policy.mall_id for policy in standing if mall_id in (None, policy.mall_id)}
    rows = [
        (mall, case["id"], case["listing_id"], asked.value)
        for case in cases
        for mall in sorted(malls)
        if (asked := _asked(standing, case, mall)) is not Policy.OBSERVE
    ]
    tell_holds(tx, await store.add_holds(tx, rows))


async def review(tx: Tx, case_id: int, mall_id: int | None, by: str, reason: str) -> list[int] | None:
    """Release a case's holds (one mall's, or all) after somebody looked; the malls released. None: no such case."""
    note = log_entry(tx, "reviewed", reason, by=by, mall_id=mall_id)
    if not await store.note_on_case(tx, case_id, note):
        return None
    released = await store.release_holds(tx, case_id, mall_id, by, reason)
    tell_holds(tx, released)
    await announce(tx, ParityCaseReviewed, [case_id], "reviewed", {case_id: reason}, by)
    return sorted(row["mall_id"] for row in released)


async def reopen_expired(tx: Tx, limit: int = 1_000) -> int:
    """Open again the cases whose waiver has run out, and hold as policies ask; returns how many."""
    reopened = await store.reopen_expired(tx, log_entry(tx, "reopened", WAIVER_ENDED, by=HUB), limit)
    if reopened:
        await store.forget_reviews(tx, [row["id"] for row in reopened])
        await _hold(tx, reopened, await policies(tx))
        ids = [row["id"] for row in reopened]
        await announce(tx, ParityCaseReopened, ids, "reopened", dict.fromkeys(ids, WAIVER_ENDED), HUB)
    return len(reopened)


async def announce(
    tx: Tx, event: type[CaseMoved], case_ids: Sequence[int], what: str, why: Mapping[int, str], by: str
) -> None:
    """Take a snapshot of each case with its hash, and tell whoever listens what happened to it."""
    if not case_ids:
        return
    rows = await store.case_facts(tx, list(case_ids))
    facts = {r["listing_id"]: r for r in await store.evidence(tx, sorted({row["listing_id"] for row in rows}))}
    snapshots = []
    for row in rows:
        known = facts.get(row["listing_id"])
        content = _json({
            "case": row["id"], "what": what, "at": tx.now.isoformat(), "by": by, "why": why.get(row["id"], ""),
            "status": row["status"], "stage": row["stage"], "threshold_pct": str(row["threshold_pct"]),
            "gross_pct": str(row["gross_pct"]), **(_evidence(known) if known is not None else {}),
        })  # fmt: skip
        digest = hashlib.sha256(content.encode()).hexdigest()
        snapshots.append((row["id"], tx.now, what, content, digest))
        tx.emit(
            event(
                case_id=row["id"],
                listing_id=row["listing_id"],
                product_id=row["product_id"],
                status=row["status"],
                stage=row["stage"],
                why=why.get(row["id"], ""),
                by=by,
                until=row["waived_until"],
                evidence_sha256=digest,
                malls=row["malls"],
                at=tx.now,
            )
        )
    await store.add_snapshots(tx, snapshots)


def tell_holds(tx: Tx, rows: Iterable[asyncpg.Record]) -> None:
    """Tell the catalogue which listings malls began or ceased to hold back."""
    touched: dict[int, list[int]] = {}
    for row in rows:
        touched.setdefault(row["mall_id"], []).append(row["listing_id"])
    if touched:
        tx.emit(ParityHoldsChanged(listings={mall: sorted(set(ids)) for mall, ids in touched.items()}))


def log_entry(tx: Tx, what: str, why: str, **facts: Any) -> str:
    """One entry of a case's log, as JSON text."""
    return _json({"at": tx.now.isoformat(), "what": what, "why": why, **facts})


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, sort_keys=True, default=str)


def _evidence(row: asyncpg.Record) -> dict[str, Any]:
    """What the verdict on a listing rests on: the whole calculation and where the reference comes from."""
    offer = ("price", "currency", "shipping", "coupon", "pack", "units", "unit")
    theirs = {name: _text(row[f"their_{name}"]) for name in offer}
    source = ("source", "url", "sha256", "captured_at", "region", "parser")
    return {
        "ours": _text(row["ours"]),
        "reference": _text(row["reference"]),
        "gap": _text(row["gap"]),
        "verdict": row["verdict"],
        "reason": row["reason"],
        "judged_at": _text(row["at"]),
        "reference_id": row["reference_id"],
        "offer": {name: _text(row[name]) for name in offer},
        "observed": theirs,
        **{name: _text(row[name]) for name in source},
    }


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
