"""What other packages may ask of pricing: check offers, record references, and read verdicts and holds.

Every call is set-based and takes the caller's transaction. A listing without a verdict row is *unknown*; a verdict
whose reference has gone stale reads as unknown from that moment, whether or not the sweep has seen it. No call here
joins parity to ranking, fees or a vendor's price: a breach changes only what one mall buys, under its own policy."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple

import asyncpg

from hub.kernel import clock, db
from hub.kernel.db import Tx
from hub.kernel.errors import Retry
from hub.kernel.settings import settings
from hub.kernel.types import public_id
from pricing import cases, packs, parity, store
from pricing.contracts import (
    Check,
    DearerPacksFound,
    Held,
    OfferPrice,
    PackOffer,
    ParityFigure,
    Policy,
    PriceMove,
    PriceMovesWaiting,
    Rate,
    ReferenceIn,
    ReferencesRecorded,
    Unmatched,
    Verdict,
)
from pricing.parity import MallPolicy
from pricing.store import PLACES, columns_of
from pricing.units import read_pack

SKEW = parity.SKEW
HOLDS_CACHE_S = 2.0
PIECE = 50_000  # offers a transaction of the re-check of everything
LANES = 2  # of such transactions at a time
TRIES = 5
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
    ids, products = list(latest), [offer.product_id for offer in latest.values()]
    comparable = await store.comparable_offers(tx, ids, products, tx.now - _fresh_for())
    if not comparable:
        return []
    kept = sorted((o for o in latest.values() if o.listing_id in comparable), key=lambda o: o.listing_id)
    await store.put_offers(tx, columns_of([_offer_row(offer) for offer in kept]))
    checks = {row["listing_id"]: _check(row) for row in await _judge(tx, [offer.listing_id for offer in kept])}
    return [checks[listing_id] for listing_id in latest if listing_id in checks]


async def _judge(tx: Tx, listing_ids: list[int]) -> list[asyncpg.Record]:
    """Judge offers whose rows this transaction has locked."""
    standing = await cases.policies(tx)
    terms = (_fresh_for(), settings().rate_fresh_days, cases.least_threshold(standing))
    judged = await store.judge_these(tx, listing_ids, *terms)
    await _follow(tx, judged.rows, standing)
    return judged.rows


async def _follow(tx: Tx, rows: Sequence[asyncpg.Record], standing: Sequence[MallPolicy]) -> None:
    if await cases.observe(tx, [row for row in rows if row["observed"]], standing):
        tx.after_commit(_holds.clear)


async def recheck() -> int:
    """A task: judge all kept offers again, if somebody asked or a rate came; returns how many rows changed. Where it
    has come to is saved with each piece, so a crash costs no more than that."""
    moved = 0
    while (found := await _recheck_piece()) is not None:
        moved += found
    return moved


async def _recheck_piece() -> int | None:
    """The next piece of the open re-check, in two lanes; None when there is none left to do."""
    async with db.uow() as tx:
        row = await store.take_recheck(tx)
        if row is None:
            return None
        bounds = [int(row["after_listing"])]
        while len(bounds) <= LANES and (upto := await store.next_listings(tx, bounds[-1], PIECE)) is not None:
            bounds.append(upto)
        judged = await asyncio.gather(*(_judge_between(a, b) for a, b in itertools.pairwise(bounds)))
        seen, moved = sum(j.seen for j in judged), sum(j.moved for j in judged)
        await store.save_recheck(tx, row["id"], bounds[-1] if len(bounds) > 1 else None, seen, moved)
    return moved


async def _judge_between(after: int, upto: int) -> store.Judged:
    """Judge the offers of a range of listings, trying again when others get in between."""
    for left in reversed(range(TRIES)):
        try:
            async with db.uow() as tx:
                standing = await cases.policies(tx)
                terms = (_fresh_for(), settings().rate_fresh_days, cases.least_threshold(standing))
                judged = await store.judge_between(tx, after, upto, *terms)
                await _follow(tx, judged.rows, standing)
            return judged
        except Retry as error:
            if not left:
                raise
            await asyncio.sleep(min(error.after, 1.0))
    raise AssertionError("unreachable")


async def ask_recheck(tx: Tx, by: str, why: str) -> None:
    """Have all kept offers judged again, soon and beside everything else."""
    await store.ask_recheck(tx, by, why)
    tx.wake("recheck_verdicts")


async def record_rates(tx: Tx, rates: Sequence[Rate], by: str) -> list[tuple[str, date]]:
    """Keep what currencies were worth in CNY, day by day; those that are new or another than before. A rate that
    changes anything has all offers judged again."""
    latest = {(rate.currency, rate.day): (rate.currency, rate.day, rate.rate, rate.source) for rate in rates}
    changed = [(r["currency"], r["day"]) for r in await store.put_rates(tx, list(latest.values()), by)]
    if changed:
        await ask_recheck(tx, by, f"{len(changed)} rates changed")
    return changed


async def verdicts(tx: Tx, listing_ids: Sequence[int]) -> dict[int, Check]:
    """The standing verdicts of these listings at `tx.now`; a listing left out is unknown (never compared)."""
    return {row["listing_id"]: _standing(row, tx.now) for row in await store.verdict_rows(tx, list(listing_ids))}


async def standing_verdicts(listing_ids: Sequence[int]) -> dict[int, Check]:
    """The same for reading paths: now, in one read outside any transaction."""
    if not listing_ids:
        return {}
    now = clock.now()
    return {row["listing_id"]: _standing(row, now) for row in await db.read(store.VERDICTS, list(listing_ids))}


async def held(tx: Tx, mall_id: int, listing_ids: Sequence[int]) -> dict[int, Held]:
    """Which of these listings the mall does not buy now, under its own policy `hold` or `block`, and why."""
    return {row["listing_id"]: _held(row) for row in await store.held_listings(tx, mall_id, list(listing_ids))}


def _held(row: asyncpg.Record) -> Held:
    gap = f"{row['gap'] * 100:.2f} % above the market reference" if row["gap"] is not None else "above the reference"
    return Held(
        action=row["action"],
        case_id=row["case_id"],
        detail=f"{gap}, beyond this mall's limit of {row['threshold_pct']:.2f} % ({public_id('case', row['case_id'])})",
    )


class _MallHolds(NamedTuple):
    """What a mall holds (and is not shown) and what it does not buy (held or blocked)."""

    held: frozenset[int]
    refused: frozenset[int]


_holds: dict[int, tuple[db.Database, float, _MallHolds]] = {}


async def held_for_mall(mall_id: int) -> frozenset[int]:
    """All listings that the mall's policies hold now: it is not shown them. For reading paths: outside any transaction,
    at most 2 s old."""
    return (await _of_mall(mall_id)).held


async def refused_for_mall(mall_id: int) -> frozenset[int]:
    """All listings that the mall cannot order now: those it holds and those its policies block."""
    return (await _of_mall(mall_id)).refused


async def _of_mall(mall_id: int) -> _MallHolds:
    database = db.database()
    hit = _holds.get(mall_id)
    tick = time.monotonic()
    if hit is not None and hit[0] is database and hit[1] > tick:
        return hit[2]
    rows = await db.read(store.ACTIVE_HOLDS, mall_id)
    held_now = frozenset(int(row["listing_id"]) for row in rows if row["action"] == Policy.HOLD)
    found = _MallHolds(held_now, frozenset(int(row["listing_id"]) for row in rows))
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
    row = await store.count_verdicts(tx, tx.now - _fresh_for())
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
    fresh_for = _fresh_for()
    row = await store.count_verdicts(tx, tx.now - fresh_for)
    reasons = await store.count_reasons(tx, tx.now - fresh_for)
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
        waived_cases=row["waived_cases"],
        reference_age_s=row["median_age"],
        oldest_reference_age_s=row["oldest_age"],
        unknown_because={why: n for why, n in sorted(reasons.items()) if why not in ("within", "dearer")}
        | ({"never_compared": listed - row["rows"]} if listed > row["rows"] else {}),
        window=(tx.now - fresh_for, tx.now),
        as_of=tx.now,
    )


async def expire_stale(tx: Tx, limit: int = 5_000) -> int:
    """Judge again the offers whose verdict time alone may have changed: a reference gone stale, a window opened or
    closed. Returns how many were looked at; call again while it returns `limit`."""
    due = await store.due_listings(tx, limit)
    if due:
        await store.lock_verdicts(tx, due)
        await _judge(tx, due)
    return len(due)


async def expire_verdicts() -> int:
    """A task: judge again whatever time may have changed, and open cases whose waiver ran out; returns how many
    verdicts were looked at. A transaction per 2,000 listings."""
    done = 0
    while True:
        async with db.uow() as tx:
            found = await expire_stale(tx, 2_000)
        done += found
        if found < 2_000:
            break
    while True:
        async with db.uow() as tx:
            if reopened := await cases.reopen_expired(tx):
                tx.after_commit(_holds.clear)
        if reopened < 1_000:
            return done


async def weigh_packs(tx: Tx, offers: Sequence[PackOffer]) -> int:
    """Look at these packs, group by group (a group must be whole), keep which are dearer per unit than a smaller one
    and tell of those newly found; how many are found among them."""
    found = packs.dearer(offers)
    rows = [
        (
            f.offer.listing_id, f.smaller.listing_id, f.pack.unit, f.pack.units, f.smaller_pack.units,
            round(f.per_unit, PLACES), round(f.smaller_per_unit, PLACES), f.offer.currency,
        )
        for f in found
    ]  # fmt: skip
    if new := await store.save_findings(tx, rows, [offer.listing_id for offer in offers]):
        tx.emit(DearerPacksFound(listing_ids=sorted(new)))
    return len(found)


async def guard_moves(tx: Tx, connection_id: int, moves: Sequence[PriceMove], others: Sequence[int]) -> set[int]:
    """Which of these far moves must wait, so that the old price stands: all but those that somebody confirmed. Moves
    of `others`, listings that changed without a far move, wait no longer: their vendor took them back."""
    if others:
        await store.withdraw_moves(tx, list(others), "the vendor sent another price")
    if not moves:
        return set()
    decided = await store.moves_decided(tx, [(move.listing_id, move.after) for move in moves])
    held_back = [m for m in moves if decided.get((m.listing_id, m.after)) != "confirmed"]
    waiting = [m for m in held_back if (m.listing_id, m.after) not in decided]
    if waiting:
        rows = [(m.listing_id, m.connection_id, m.vendor_sku, m.before, m.after, m.currency) for m in waiting]
        await store.add_moves(tx, sorted(rows))
        tx.emit(PriceMovesWaiting(connection_id=connection_id, listing_ids=sorted(m.listing_id for m in waiting)))
    return {move.listing_id for move in held_back}


async def note_unmatched(tx: Tx, connection_id: int, rows: Sequence[Unmatched], matched: Sequence[str]) -> None:
    """Keep what a reference source prices that is no product of ours, for people to see; `matched` SKUs are."""
    columns = ("vendor_sku", "title", "brand", "model", "gtin", "price", "currency", "url")
    found = {row.vendor_sku: tuple(getattr(row, name) for name in columns) for row in rows}
    await store.put_unmatched(tx, connection_id, [found[sku] for sku in sorted(found)], list(matched))


async def forget_listings(tx: Tx, listing_ids: Sequence[int]) -> None:
    """Listings that are no longer sold: their verdicts go, their open cases close with that reason, the evidence
    stays."""
    await store.lock_verdicts(tx, sorted(listing_ids))
    await cases.close_for(tx, listing_ids, "the listing is no longer sold")
    await store.forget_listings(tx, list(listing_ids))
    await store.forget_findings(tx, list(listing_ids))
    await store.withdraw_moves(tx, list(listing_ids), "the listing is no longer sold")
    tx.after_commit(_holds.clear)


async def forget_old_observations(tx: Tx) -> int:
    """Delete observations older than 400 days (cases keep their own evidence); returns how many."""
    return await store.forget_observations(tx, tx.now - OBSERVATIONS_KEPT)


def forget_held() -> None:
    """Drop this process's cache of holds (after a policy or a review changed them)."""
    _holds.clear()


def _fresh_for() -> timedelta:
    return timedelta(seconds=settings().reference_fresh_s)


def _reference_row(ref: ReferenceIn) -> tuple[object, ...]:
    pack = read_pack(ref.pack) if ref.pack is not None else None
    total = ref.price + ref.shipping - ref.coupon
    comparable = round(total / (pack.units if pack else 1), PLACES) if total > 0 else None  # for people
    evidence = ref.evidence
    windowless = ref.valid_from is None and ref.valid_to is None
    content = ref.model_dump_json(exclude={"valid_from", "valid_to"} if windowless else None)
    return (
        ref.product_id, ref.price, ref.shipping, ref.coupon, ref.currency, ref.pack,
        pack.units if pack else None, pack.unit if pack else None, pack.understood if pack else True,
        comparable, ref.condition, evidence.source, evidence.url, evidence.sha256, evidence.captured_at,
        evidence.region, evidence.parser, hashlib.sha256(content.encode()).digest(), ref.valid_from, ref.valid_to,
    )  # fmt: skip


def _offer_row(offer: OfferPrice) -> tuple[object, ...]:
    pack = read_pack(offer.pack)
    return (
        offer.listing_id, offer.product_id, offer.price, offer.currency, offer.shipping, offer.coupon, offer.pack,
        pack.units, pack.unit, pack.understood, offer.category, offer.valid_from, offer.valid_to,
    )  # fmt: skip


def _check(row: asyncpg.Record) -> Check:
    return Check(**{name: row[name] for name in Check.model_fields})


def _standing(row: asyncpg.Record, now: datetime) -> Check:
    """A kept verdict as it stands at `now`: whatever has gone stale since, or stands on a price that is not asked any
    more, is unknown, whether or not the sweep has been there."""
    check = _check(row)
    known = check.verdict is not Verdict.UNKNOWN
    if known and (row["captured_at"] < now - _fresh_for() or (row["valid_until"] or now) < now):
        return check.model_copy(update={"verdict": Verdict.UNKNOWN, "reason": parity.Reason.STALE.value})
    return check
