"""What other packages may ask of pricing: check offers, record references, and read verdicts and holds.

Every call is set-based and takes the caller's transaction. A listing without a verdict row is *unknown*; a verdict
whose reference has gone stale reads as unknown from that moment, whether or not the sweep has seen it. No call here
joins parity to ranking, fees or a vendor's price: a breach changes only what one mall buys, under its own policy."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime, timedelta

import asyncpg

from hub.kernel import clock, db
from hub.kernel.db import Tx
from hub.kernel.settings import settings
from pricing import cases, parity, store
from pricing.contracts import Check, OfferPrice, ParityFigure, ReferenceIn, ReferencesRecorded, Verdict
from pricing.parity import Judgement, Reference
from pricing.units import Pack, read_pack

SKEW = parity.SKEW
HOLDS_CACHE_S = 2.0
OBSERVATIONS_KEPT = timedelta(days=400)


async def record_references(tx: Tx, refs: Sequence[ReferenceIn]) -> int:
    """Keep observed prices with their evidence; returns how many were new. Recording the same observation again
    changes nothing. Emits ReferencesRecorded so that the offers of these products are checked again."""
    if not refs:
        return 0
    rows = [_reference_row(ref) for ref in refs]
    added = await store.add_references(tx, rows)
    if added:
        tx.emit(ReferencesRecorded(product_ids=sorted(set(added))))
    return len(added)


async def check(tx: Tx, offers: Sequence[OfferPrice]) -> list[Check]:
    """Judge offers against the fresh references of their products, keep the verdicts, and move cases and holds.

    Returns one Check per listing that has, or had, something to be compared with, in the order given; listings left
    out are unknown for want of a reference (as their missing rows say). One query when there is nothing to compare."""
    latest = {offer.listing_id: offer for offer in offers}
    if not latest:
        return []
    fresh_for = timedelta(seconds=settings().reference_fresh_s)
    known = await store.fresh_references(tx, sorted({o.product_id for o in latest.values()}), tx.now - fresh_for)
    states = {row["listing_id"]: row for row in await store.lock_verdicts(tx, sorted(latest))}
    if not known and not states:
        return []
    by_product: dict[int, list[Reference]] = {}
    for row in known:
        by_product.setdefault(row["product_id"], []).append(_reference(row))
    judged = [
        (offer, _judge(offer, by_product.get(offer.product_id, []), states.get(offer.listing_id), tx.now, fresh_for))
        for offer in sorted(latest.values(), key=lambda o: o.listing_id)
        if offer.product_id in by_product or offer.listing_id in states
    ]
    if not judged:
        return []
    new = {
        offer.listing_id
        for offer, judgement in judged
        if judgement.reference is not None and _is_new(judgement, states.get(offer.listing_id), tx.now)
    }
    checks = {offer.listing_id: _check(offer, judgement, tx.now) for offer, judgement in judged}
    await store.save_verdicts(
        tx, [_verdict_row(o, j, checks[o.listing_id], states.get(o.listing_id), o.listing_id in new) for o, j in judged]
    )
    evidence = {row["id"]: row for row in known}
    if await cases.observe(tx, [(o, j) for o, j in judged if o.listing_id in new], evidence):
        tx.after_commit(_holds.clear)
    return [checks[listing_id] for listing_id in latest if listing_id in checks]


async def verdicts(tx: Tx, listing_ids: Sequence[int]) -> dict[int, Check]:
    """The standing verdicts of these listings at `tx.now`; a listing left out is unknown (never compared)."""
    cutoff = tx.now - timedelta(seconds=settings().reference_fresh_s)
    return {row["listing_id"]: _standing(row, cutoff) for row in await store.verdict_rows(tx, list(listing_ids))}


async def standing_verdicts(listing_ids: Sequence[int]) -> dict[int, Check]:
    """The same for reading paths: now, in one read outside any transaction."""
    if not listing_ids:
        return {}
    cutoff = clock.now() - timedelta(seconds=settings().reference_fresh_s)
    return {row["listing_id"]: _standing(row, cutoff) for row in await db.read(store.VERDICTS, list(listing_ids))}


async def held(tx: Tx, mall_id: int, listing_ids: Sequence[int]) -> set[int]:
    """Which of these listings the mall does not buy now, under its own policy `hold` or `block`."""
    return set(await store.held_listings(tx, mall_id, list(listing_ids)))


_holds: dict[int, tuple[db.Database, float, frozenset[int]]] = {}


async def held_for_mall(mall_id: int) -> frozenset[int]:
    """All listings that the mall holds now, for reading paths: outside any transaction, at most 2 s old."""
    database = db.database()
    hit = _holds.get(mall_id)
    tick = time.monotonic()
    if hit is not None and hit[0] is database and hit[1] > tick:
        return hit[2]
    rows = await db.read(store.ACTIVE_HOLDS, mall_id)
    found = frozenset(int(row["listing_id"]) for row in rows)
    if len(_holds) > 10_000:
        _holds.clear()
    _holds[mall_id] = (database, tick + HOLDS_CACHE_S, found)
    return found


async def held_count(tx: Tx) -> int:
    """How many listings are held now, once per mall that holds them."""
    return await store.count_held(tx)


async def parity_counts(tx: Tx, listed: int | None = None) -> dict[str, int]:
    """How many listings pass, breach and are unknown now. `listed` is the number of live listings: those never
    compared are unknown too. Without it only listings that were ever compared are counted."""
    row = await store.count_verdicts(tx, tx.now - timedelta(seconds=settings().reference_fresh_s))
    total = row["rows"] if listed is None else max(listed, row["pass"] + row["breach"])
    return {"pass": row["pass"], "breach": row["breach"], "unknown": total - row["pass"] - row["breach"]}


Counter = Callable[[Tx], Awaitable[int]]
_live_listings: Counter | None = None


def count_live_listings_with(counter: Counter | None) -> None:
    """Say how to count live listings, so that the parity figure can state its coverage. The catalogue stands to the
    right of pricing, hence hub.app hands its counter in at start-up; without one coverage is over listings ever
    compared, and says so."""
    global _live_listings
    _live_listings = counter


async def parity_figure(tx: Tx) -> ParityFigure:
    """How many listings are level with the market now, and how much of the assortment that figure speaks for."""
    fresh_for = timedelta(seconds=settings().reference_fresh_s)
    row = await store.count_verdicts(tx, tx.now - fresh_for)
    known = row["pass"] + row["breach"]
    listed = max(known, await _live_listings(tx)) if _live_listings is not None else row["rows"]
    return ParityFigure(
        numerator=row["pass"],
        denominator=known,
        rate=row["pass"] / known if known else None,
        status="no_data" if not known else "met" if row["breach"] == 0 else "missed",
        unknown=listed - known,
        coverage=known / listed if listed else None,
        coverage_of="listings_ever_compared" if _live_listings is None else "live_listings",
        widest_gap=row["widest"],
        open_cases=row["open_cases"],
        window=(tx.now - fresh_for, tx.now),
        as_of=tx.now,
    )


async def dearer_packs(tx: Tx, limit: int) -> list[asyncpg.Record]:
    """Multi-packs dearer per unit than a smaller pack of the same product: a finding by itself."""
    cutoff = tx.now - timedelta(seconds=settings().reference_fresh_s)
    return await store.dearer_packs(tx, cutoff, limit)


async def expire_stale(tx: Tx, limit: int = 5_000) -> int:
    """Judge again the offers whose reference has gone stale: against another fresh one, or else unknown. Returns
    how many were looked at; call again while it returns `limit`."""
    cutoff = tx.now - timedelta(seconds=settings().reference_fresh_s)
    rows = await store.expired_offers(tx, cutoff, limit)
    await check(tx, [OfferPrice(**dict(row)) for row in rows])
    return len(rows)


async def expire_verdicts() -> int:
    """A task: judge again whatever rests on a stale reference; returns how many. A transaction per 2,000 listings."""
    done = 0
    while True:
        async with db.uow() as tx:
            found = await expire_stale(tx, 2_000)
        done += found
        if found < 2_000:
            return done


async def forget_listings(tx: Tx, listing_ids: Sequence[int]) -> None:
    """Listings that are no longer sold: their verdicts go, their open cases close with that reason, the evidence
    stays."""
    await store.lock_verdicts(tx, sorted(listing_ids))
    await cases.close_for(tx, listing_ids, "the listing is no longer sold")
    await store.forget_listings(tx, list(listing_ids))
    tx.after_commit(_holds.clear)


async def forget_old_observations(tx: Tx) -> int:
    """Delete observations older than 400 days (cases keep their own evidence); returns how many."""
    return await store.forget_observations(tx, tx.now - OBSERVATIONS_KEPT)


def forget_held() -> None:
    """Drop this process's cache of holds (after a policy or a review changed them)."""
    _holds.clear()


def _reference_row(ref: ReferenceIn) -> tuple[object, ...]:
    pack = read_pack(ref.pack) if ref.pack is not None else None
    comparable = parity.comparable(ref.price, ref.shipping, ref.coupon, ref.pack)
    evidence = ref.evidence
    return (
        ref.product_id, ref.price, ref.shipping, ref.coupon, ref.currency, ref.pack,
        pack.units if pack else None, pack.unit if pack else None, pack.understood if pack else True,
        parity.decimal(comparable.exact) if comparable else None, ref.condition, evidence.source, evidence.url,
        evidence.sha256, evidence.captured_at, evidence.region, evidence.parser,
        hashlib.sha256(ref.model_dump_json().encode()).digest(),
    )  # fmt: skip


def _reference(row: asyncpg.Record) -> Reference:
    pack = Pack(row["units"], row["unit"], row["understood"]) if row["unit"] is not None else None
    return Reference(
        id=row["id"],
        total=row["total"],
        currency=row["currency"],
        pack=pack,
        condition=row["condition"],
        offer=(row["source"], row["region"], row["url"]),
        captured_at=row["captured_at"],
    )


def _judge(
    offer: OfferPrice,
    references: Iterable[Reference],
    state: asyncpg.Record | None,
    now: datetime,
    fresh_for: timedelta,
) -> Judgement:
    judgement = parity.judge(offer, references, now, fresh_for)
    had_one = state is not None and state["captured_at"] is not None and state["product_id"] == offer.product_id
    if judgement.reason is parity.Reason.NO_REFERENCE and had_one:
        return Judgement(Verdict.UNKNOWN, parity.Reason.STALE)  # only fresh observations were fetched
    return judgement


def _is_new(judgement: Judgement, state: asyncpg.Record | None, now: datetime) -> bool:
    assert judgement.ours is not None and judgement.reference is not None
    last = None
    if state is not None and state["observed_at"] is not None:
        last = (state["observed_ours"], state["observed_reference_id"], state["observed_at"])
    return parity.is_new_observation(last, parity.decimal(judgement.ours), judgement.reference.id, now)


def _verdict_row(
    offer: OfferPrice, judgement: Judgement, check: Check, state: asyncpg.Record | None, is_new: bool
) -> tuple[object, ...]:
    pack = read_pack(offer.pack)
    captured_at = judgement.reference.captured_at if judgement.reference else state and state["captured_at"]
    if is_new:
        observed: tuple[object, ...] = (check.ours, check.reference_id, check.at)
    elif state is not None:
        observed = (state["observed_ours"], state["observed_reference_id"], state["observed_at"])
    else:
        observed = (None, None, None)
    return (
        offer.listing_id, offer.product_id, check.verdict.value, check.reason, check.ours, check.reference, check.gap,
        check.reference_id, captured_at, check.at, offer.price, offer.currency, offer.shipping, offer.coupon,
        offer.pack, pack.units, pack.unit, *observed,
    )  # fmt: skip


def _check(offer: OfferPrice, judgement: Judgement, now: datetime) -> Check:
    gap = judgement.gap
    return Check(
        listing_id=offer.listing_id,
        product_id=offer.product_id,
        verdict=judgement.verdict,
        ours=parity.decimal(judgement.ours) if judgement.ours is not None else None,
        reference=parity.decimal(judgement.theirs) if judgement.theirs is not None else None,
        gap=parity.decimal(gap) if gap is not None else None,
        reference_id=judgement.reference.id if judgement.reference else None,
        reason=judgement.reason.value,
        at=now,
    )


def _standing(row: asyncpg.Record, cutoff: datetime) -> Check:
    stale = row["verdict"] != Verdict.UNKNOWN and row["captured_at"] < cutoff
    return Check(
        listing_id=row["listing_id"],
        product_id=row["product_id"],
        verdict=Verdict.UNKNOWN if stale else Verdict(row["verdict"]),
        ours=row["ours"],
        reference=row["reference"],
        gap=row["gap"],
        reference_id=row["reference_id"],
        reason=parity.Reason.STALE.value if stale else row["reason"],
        at=row["at"],
    )
