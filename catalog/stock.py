"""The shelf: what each vendor says is on hand, what our orders hold of it, and the ledger that proves both.

One narrow row a (listing, location) in `catalog_stock`; every change of its counters is also a row of
`catalog_movements`, so the counters are always the ledger's sums. Every function here runs inside the caller's
transaction and locks rows in the order (listing_id, location) before it looks at them; products are touched only
after stock, so that orders, pushes and pulls cannot wait for each other in a circle. Vendors' reports may come in
any order and any number of times: the newest wins, whoever carries it."""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from catalog import changes, store
from catalog.contracts import Oversold, ReserveLine, Shortage
from hub.kernel import metrics
from hub.kernel.db import Tx
from hub.kernel.errors import Conflict
from hub.kernel.types import Level

APPLIED, STALE, UNCHANGED = "applied", "stale", "unchanged"


class Figure(NamedTuple):
    """One report about one row of the shelf. Exactly one of `on_hand` and `level` is given."""

    listing_id: int
    location: str
    on_hand: int | None
    level: str | None
    version: int | None
    reported_at: datetime


@dataclass(slots=True)
class Outcome:
    """What reports did: a result for each in input order, the listings whose figure changed, and among them
    those that started or stopped being sellable at a location."""

    results: list[str] = field(default_factory=list)
    changed: set[int] = field(default_factory=set)
    flipped: set[int] = field(default_factory=set)


class Drift(NamedTuple):
    """A row of the shelf whose counters are not what its ledger or its open holds sum up to."""

    listing_id: int
    location: str
    on_hand: int
    on_hand_ledger: int
    reserved: int
    reserved_ledger: int
    reserved_holds: int


class Shelf(NamedTuple):
    """One row of the shelf as the lock holder sees it."""

    listing_id: int
    location: str
    on_hand: int | None
    level: str
    reserved: int
    buffer: int
    frozen: bool

    @property
    def available(self) -> int | None:
        """Units that may still be promised; None when the vendor gives only a level and it is not `out`."""
        if self.frozen:
            return 0
        if self.on_hand is None:
            return 0 if self.level == Level.OUT else None
        return max(0, self.on_hand - self.reserved - self.buffer)


# What can be sold of a row, in SQL; {} is the row's alias.
SELLABLE = (
    "(NOT {0}.frozen AND CASE WHEN {0}.on_hand IS NULL THEN {0}.level <> 'out' "
    "ELSE {0}.on_hand - {0}.reserved - {0}.buffer > 0 END)"
)
# The guard of a reservation. The concurrency test removes it to prove that it is what prevents an oversell.
GUARD = (
    "(NOT s.frozen AND CASE WHEN s.on_hand IS NULL THEN s.level <> 'out' "
    "ELSE s.on_hand - s.reserved - s.buffer >= w.quantity END)"
)

_GIVEN = (
    "given AS (SELECT * FROM unnest($1::bigint[], $2::text[], $3::int[], $4::text[], $5::bigint[], $6::timestamptz[]) "
    "WITH ORDINALITY AS g(listing_id, location, on_hand, level, version, reported_at, n))"
)

_LOCK = """
SELECT count(*) FROM (
  SELECT 1 FROM catalog_stock s JOIN unnest($1::bigint[], $2::text[]) AS g(listing_id, location)
    ON s.listing_id = g.listing_id AND s.location = g.location
  ORDER BY s.listing_id, s.location FOR UPDATE OF s) AS locked
"""

_FIRST = f"""
WITH {_GIVEN},
made AS (
  INSERT INTO catalog_stock (listing_id, location, on_hand, level, version, reported_at)
  SELECT g.listing_id, g.location, g.on_hand, g.level, g.version, g.reported_at FROM given g
  WHERE NOT EXISTS (SELECT 1 FROM catalog_stock s WHERE s.listing_id = g.listing_id AND s.location = g.location)
  ORDER BY g.listing_id, g.location
  ON CONFLICT DO NOTHING RETURNING listing_id, location, on_hand),
ledger AS (
  INSERT INTO catalog_movements (listing_id, location, cause, on_hand_change, reserved_change, at)
  SELECT listing_id, location, 'report', on_hand, 0, $7 FROM made WHERE on_hand > 0)
SELECT g.n::int FROM made JOIN given g ON g.listing_id = made.listing_id AND g.location = made.location
"""  # noqa: S608 - constant text

# Newest wins: by the vendor's version where both sides carry one, else by its time. A newer report also gives back
# what the vendor has meanwhile taken off its own count: holds that it accepted before the time of this report.
_APPLY = f"""
WITH {_GIVEN},
judged AS (
  SELECT g.*, s.on_hand AS old_on_hand, s.level AS old_level, s.reserved, s.buffer, s.frozen,
    {SELLABLE.format("s")} AS could_sell,
    s.on_hand IS NOT DISTINCT FROM g.on_hand AND s.level = g.level AS same_figure,
    CASE WHEN g.version IS NOT NULL AND s.version IS NOT NULL THEN g.version > s.version
         ELSE g.reported_at > s.reported_at END AS newer,
    CASE WHEN g.version IS NOT NULL AND s.version IS NOT NULL THEN g.version = s.version
         ELSE g.reported_at = s.reported_at END AS same_stamp
  FROM given g JOIN catalog_stock s ON s.listing_id = g.listing_id AND s.location = g.location),
consumed AS (
  UPDATE catalog_holds h SET state = 'consumed', closed_at = $7 FROM judged j
  WHERE j.newer AND j.reserved > 0 AND h.listing_id = j.listing_id AND h.location = j.location
    AND h.state = 'accepted' AND h.accepted_at < j.reported_at
  RETURNING h.id, h.listing_id, h.location, h.quantity),
eaten AS (SELECT listing_id, location, sum(quantity)::int AS quantity FROM consumed GROUP BY 1, 2),
after AS (
  SELECT j.*, j.reserved - coalesce(e.quantity, 0) AS left_reserved, e.quantity IS NOT NULL AS ate
  FROM judged j LEFT JOIN eaten e ON e.listing_id = j.listing_id AND e.location = j.location),
written AS (
  UPDATE catalog_stock s SET on_hand = a.on_hand, level = a.level, reserved = a.left_reserved, frozen = false,
    version = coalesce(a.version, s.version), reported_at = a.reported_at
  FROM after a WHERE a.newer AND s.listing_id = a.listing_id AND s.location = a.location
  RETURNING s.listing_id, s.location, {SELLABLE.format("s")} AS can_sell),
ledger AS (
  INSERT INTO catalog_movements (listing_id, location, cause, on_hand_change, reserved_change, hold_id, at)
  SELECT listing_id, location, 'report', coalesce(on_hand, 0) - coalesce(old_on_hand, 0), 0, NULL, $7
    FROM judged WHERE newer AND coalesce(on_hand, 0) <> coalesce(old_on_hand, 0)
  UNION ALL
  SELECT listing_id, location, 'consume', 0, -quantity, id, $7 FROM consumed)
SELECT a.n::int, a.listing_id, a.location, a.newer AS applied,
  a.newer AND w.can_sell <> a.could_sell AS flipped,
  a.newer AND NOT a.same_figure AND a.on_hand < a.left_reserved AS oversold, a.on_hand, a.left_reserved
FROM after a LEFT JOIN written w ON w.listing_id = a.listing_id AND w.location = a.location
WHERE (a.newer AND NOT (a.same_figure AND NOT a.frozen AND NOT a.ate))
   OR (NOT a.newer AND NOT (a.same_stamp AND a.same_figure))
"""  # noqa: S608 - constant text

_SHELF = """
SELECT s.listing_id, s.location, s.on_hand, s.level, s.reserved, s.buffer, s.frozen
FROM catalog_stock s JOIN unnest($1::bigint[], $2::text[]) AS w(listing_id, location)
  ON s.listing_id = w.listing_id AND (w.location IS NULL OR s.location = w.location)
ORDER BY s.listing_id, s.location FOR UPDATE OF s
"""

_TAKE = f"""
WITH wish AS (SELECT * FROM unnest($1::bigint[], $2::text[], $3::int[]) AS w(listing_id, location, quantity)),
taken AS (
  UPDATE catalog_stock s SET reserved = s.reserved + w.quantity FROM wish w
  WHERE s.listing_id = w.listing_id AND s.location = w.location AND {GUARD}
  RETURNING s.listing_id, s.location, {SELLABLE.format("s")} AS can_sell),
held AS (
  INSERT INTO catalog_holds (id, listing_id, location, quantity, state, created_at)
  SELECT h.id, h.listing_id, h.location, h.quantity, 'held', $8
  FROM unnest($4::uuid[], $5::bigint[], $6::text[], $7::int[]) AS h(id, listing_id, location, quantity)
  JOIN taken t ON t.listing_id = h.listing_id AND t.location = h.location
  RETURNING id, listing_id, location, quantity),
ledger AS (
  INSERT INTO catalog_movements (listing_id, location, cause, on_hand_change, reserved_change, hold_id, at)
  SELECT listing_id, location, 'reserve', 0, quantity, id, $8 FROM held)
SELECT listing_id, can_sell FROM taken
"""  # noqa: S608 - constant text

_LOCK_HELD = """
SELECT count(*) FROM (
  SELECT 1 FROM catalog_stock s
  WHERE (s.listing_id, s.location) IN (
    SELECT h.listing_id, h.location FROM catalog_holds h WHERE h.id = ANY($1::uuid[]))
  ORDER BY s.listing_id, s.location FOR UPDATE OF s) AS locked
"""

_CLOSE = f"""
WITH closed AS (
  UPDATE catalog_holds h SET state = $3, closed_at = $4, accepted_at = coalesce($5, h.accepted_at)
  WHERE h.id = ANY($1::uuid[]) AND h.state IN ('held', 'accepted')
  RETURNING h.id, h.listing_id, h.location, h.quantity),
freed AS (SELECT listing_id, location, sum(quantity)::int AS quantity FROM closed GROUP BY 1, 2),
written AS (
  UPDATE catalog_stock s SET reserved = s.reserved - f.quantity FROM freed f
  WHERE s.listing_id = f.listing_id AND s.location = f.location
  RETURNING s.listing_id, {SELLABLE.format("s")} AS can_sell,
    (NOT s.frozen AND s.on_hand - s.reserved - f.quantity - s.buffer > 0) AS could_sell),
ledger AS (
  INSERT INTO catalog_movements (listing_id, location, cause, on_hand_change, reserved_change, hold_id, at)
  SELECT listing_id, location, $2, 0, -quantity, id, $4 FROM closed)
SELECT (SELECT count(*) FROM closed)::int AS closed,
  (SELECT coalesce(array_agg(DISTINCT listing_id), '{{}}') FROM written WHERE can_sell AND NOT could_sell) AS flipped
"""  # noqa: S608 - constant text

_ACCEPT = """
UPDATE catalog_holds h SET state = 'accepted', accepted_at = $2 WHERE h.id = ANY($1::uuid[]) AND h.state = 'held'
RETURNING h.id, (SELECT s.reported_at > $2 FROM catalog_stock s
                 WHERE s.listing_id = h.listing_id AND s.location = h.location) AS counted
"""

_REFUSE = """
WITH before AS (
  SELECT listing_id, location, on_hand FROM catalog_stock WHERE listing_id = $1 AND location = $2 FOR UPDATE),
written AS (
  UPDATE catalog_stock s SET on_hand = CASE WHEN s.on_hand IS NULL THEN NULL ELSE 0 END, level = 'out', frozen = true,
    reported_at = greatest(s.reported_at, $3)
  FROM before b WHERE s.listing_id = b.listing_id AND s.location = b.location),
ledger AS (
  INSERT INTO catalog_movements (listing_id, location, cause, on_hand_change, reserved_change, at)
  SELECT listing_id, location, 'refusal', -on_hand, 0, $3 FROM before WHERE on_hand > 0)
SELECT count(*) FROM before
"""

_AVAILABLE = """
SELECT listing_id, location, on_hand, level, reserved, buffer, frozen FROM catalog_stock
WHERE listing_id = ANY($1::bigint[]) ORDER BY listing_id, location
"""

_DRIFT = """
WITH ledger AS (
  SELECT listing_id, location, sum(on_hand_change) AS on_hand, sum(reserved_change) AS reserved
  FROM catalog_movements GROUP BY 1, 2),
held AS (
  SELECT listing_id, location, sum(quantity) AS reserved FROM catalog_holds WHERE state IN ('held', 'accepted')
  GROUP BY 1, 2)
SELECT listing_id, location, coalesce(s.on_hand, 0)::bigint, coalesce(l.on_hand, 0)::bigint,
  coalesce(s.reserved, 0)::bigint, coalesce(l.reserved, 0)::bigint, coalesce(h.reserved, 0)::bigint
FROM catalog_stock s FULL JOIN ledger l USING (listing_id, location) FULL JOIN held h USING (listing_id, location)
WHERE coalesce(s.on_hand, 0) <> coalesce(l.on_hand, 0) OR coalesce(s.reserved, 0) <> coalesce(l.reserved, 0)
   OR coalesce(s.reserved, 0) <> coalesce(h.reserved, 0)
ORDER BY listing_id, location LIMIT $1
"""


async def apply_figures(tx: Tx, figures: Sequence[Figure]) -> Outcome:
    """Apply reports about rows of the shelf; rows that do not exist yet are made. Two reports about the same row
    apply from old to new and each gets its own result. Emits `Oversold` for a figure below what orders hold.

    The products of `Outcome.flipped` are *not* brought up to date here (see `settle`)."""
    outcome = Outcome([UNCHANGED] * len(figures))
    for wave in _waves(figures):
        await _apply_wave(tx, figures, wave, outcome)
    for result, count in Counter(outcome.results).items():
        metrics.STOCK_REPORTS.labels(result).inc(count)
    return outcome


def _waves(figures: Sequence[Figure]) -> list[list[int]]:
    """Indexes of `figures` in locking order, split so that no wave names a row twice and older reports go first."""
    keys = {(f.listing_id, f.location) for f in figures}
    if len(keys) == len(figures):
        return [sorted(range(len(figures)), key=lambda i: figures[i][:2])] if figures else []
    rows: dict[tuple[int, str], list[int]] = defaultdict(list)
    for i, f in enumerate(figures):
        rows[f.listing_id, f.location].append(i)
    waves: list[list[int]] = []
    for key in sorted(rows):
        same = rows[key]
        versioned = all(figures[i].version is not None for i in same)
        same.sort(key=lambda i: (figures[i].version or 0) if versioned else 0)
        if not versioned:
            same.sort(key=lambda i: figures[i].reported_at)
        for depth, i in enumerate(same):
            if depth == len(waves):
                waves.append([])
            waves[depth].append(i)
    return waves


async def _apply_wave(tx: Tx, figures: Sequence[Figure], wave: list[int], outcome: Outcome) -> None:
    listing_ids, locations, on_hands, levels, versions, times = zip(*(figures[i] for i in wave), strict=True)
    levels = tuple(_level(on_hand, level) for on_hand, level in zip(on_hands, levels, strict=True))
    args = (listing_ids, locations, on_hands, levels, versions, times, tx.now)
    made: set[int] = set()
    locked = await tx.fetchval(_LOCK, listing_ids, locations)
    if locked < len(wave):
        made = {row[0] for row in await tx.fetch(_FIRST, *args)}
        for n in made:
            i = wave[n - 1]
            outcome.results[i] = APPLIED
            outcome.changed.add(figures[i].listing_id)
            if levels[n - 1] != Level.OUT:
                outcome.flipped.add(figures[i].listing_id)
        if len(made) == len(wave):
            return
        if locked + len(made) < len(wave):  # somebody else made the row between our two statements
            await tx.fetchval(_LOCK, listing_ids, locations)
    for row in await tx.fetch(_APPLY, *args):
        n, listing_id, location, applied, flipped, oversold, on_hand, reserved = row
        outcome.results[wave[n - 1]] = APPLIED if applied else STALE
        if applied:
            outcome.changed.add(listing_id)
        if flipped:
            outcome.flipped.add(listing_id)
        if oversold:
            tx.emit(Oversold(listing_id=listing_id, location=location, on_hand=on_hand, reserved=reserved))


def _level(on_hand: int | None, level: str | None) -> str:
    if on_hand is None:
        assert level is not None, "a report gives on_hand or level"
        return level
    return Level.IN_STOCK.value if on_hand > 0 else Level.OUT.value


async def settle(tx: Tx, outcome: Outcome) -> None:
    """Bring the products of changed figures up to date: whether they can be sold, and the feed of changes."""
    if not outcome.changed:
        return
    products = await store.products_of(tx, outcome.changed)
    await store.refresh_products(tx, {products[i] for i in outcome.flipped})
    await changes.note(tx, products.values())


async def reserve(tx: Tx, lines: Sequence[ReserveLine]) -> None:
    """Hold every line or none. A line without a location takes the first location, in order, that has enough for
    the whole line; lines on the same row add up.

    Raises Conflict `out_of_stock` with `facts["shortages"]` before anything is written, so that the caller may
    try other offers in the same transaction."""
    if not lines:
        return
    rows = await tx.fetch(_SHELF, [line.listing_id for line in lines], [line.location for line in lines])
    chosen, shortages = _choose({(r[0], r[1]): Shelf(*r) for r in rows}, lines)
    if shortages:
        raise Conflict(
            "not enough stock for " + ", ".join(f"lst_{s.listing_id}" for s in shortages),
            code="out_of_stock",
            facts={"shortages": [s.model_dump(mode="json") for s in shortages]},
        )
    totals: Counter[tuple[int, str]] = Counter()
    for line, location in zip(lines, chosen, strict=True):
        totals[line.listing_id, location] += line.quantity
    keys = sorted(totals)
    taken = await tx.fetch(
        _TAKE,
        [key[0] for key in keys],
        [key[1] for key in keys],
        [totals[key] for key in keys],
        [line.hold_id for line in lines],
        [line.listing_id for line in lines],
        chosen,
        [line.quantity for line in lines],
        tx.now,
    )
    if len(taken) != len(keys):
        raise RuntimeError("a reservation's guard refused what the locked shelf had granted")
    await _settle_listings(tx, {row[0] for row in taken if not row[1]})


def _choose(shelf: dict[tuple[int, str], Shelf], lines: Sequence[ReserveLine]) -> tuple[list[str], list[Shortage]]:
    """A location for each line, and what is short. Pure."""
    left = {key: row.available for key, row in shelf.items()}
    by_listing: dict[int, list[str]] = defaultdict(list)
    for listing_id, location in shelf:
        by_listing[listing_id].append(location)
    chosen: list[str] = []
    shortages: list[Shortage] = []
    for line in lines:
        places = by_listing[line.listing_id] if line.location is None else [line.location]
        best = 0
        for place in places:
            free = left.get((line.listing_id, place), 0)
            if free is None or free >= line.quantity:
                chosen.append(place)
                if free is not None:
                    left[line.listing_id, place] = free - line.quantity
                break
            best = max(best, free)
        else:
            shortages.append(
                Shortage(hold_id=line.hold_id, listing_id=line.listing_id, wanted=line.quantity, available=best)
            )
    return chosen, shortages


async def release(tx: Tx, hold_ids: Iterable[uuid.UUID], cause: str = "release") -> int:
    """Give back what open holds keep; holds that are already released or consumed stay as they are. Returns how
    many were open."""
    return await _close(tx, list(hold_ids), cause, "released")


async def _close(tx: Tx, ids: list[uuid.UUID], cause: str, state: str, accepted_at: datetime | None = None) -> int:
    if not ids:
        return 0
    await tx.fetchval(_LOCK_HELD, ids)
    row = await tx.fetchrow(_CLOSE, ids, cause, state, tx.now, accepted_at)
    assert row is not None
    await _settle_listings(tx, set(row["flipped"]))
    return int(row["closed"])


async def accept(tx: Tx, hold_ids: Iterable[uuid.UUID], accepted_at: datetime) -> int:
    """The vendor took the order at `accepted_at` (its own time when it says one). From then on its own count falls
    too, so each hold is kept only until a figure from after that time; a shelf row whose figure is already from
    after it consumes the hold at once. Returns how many holds were waiting for this."""
    ids = list(hold_ids)
    if not ids:
        return 0
    await tx.fetchval(_LOCK_HELD, ids)
    rows = await tx.fetch(_ACCEPT, ids, accepted_at)
    counted = [row["id"] for row in rows if row["counted"]]
    if counted:
        await _close(tx, counted, "consume", "consumed")
    return len(rows)


async def refuse(tx: Tx, listing_id: int, location: str) -> None:
    """The vendor refused for lack of stock: whatever it reported, nothing more is sold from this row until a report
    from after this moment."""
    if await tx.fetchval(_REFUSE, listing_id, location, tx.now):
        await _settle_listings(tx, {listing_id})


async def _settle_listings(tx: Tx, listing_ids: set[int]) -> None:
    await settle(tx, Outcome(changed=listing_ids, flipped=listing_ids))


async def available(tx: Tx, listing_ids: Sequence[int]) -> dict[int, list[Shelf]]:
    """The rows of the shelf of each listing, unlocked: a view, not a promise."""
    found: dict[int, list[Shelf]] = {}
    for row in await tx.fetch(_AVAILABLE, list(listing_ids)):
        found.setdefault(row[0], []).append(Shelf(*row))
    return found


async def drift(tx: Tx, limit: int = 1000) -> list[Drift]:
    """Rows where counters, ledger and open holds disagree, at most `limit`; empty when the shelf is sound."""
    return [Drift(*row) for row in await tx.fetch(_DRIFT, limit)]
