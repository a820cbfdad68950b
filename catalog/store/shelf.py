"""SQL of the shelf, for stock.py alone. Every statement that changes a counter writes its ledger row with it."""

from __future__ import annotations

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

# Reports come as columns: the listing of each; the rest is one value for all of them, one each, or (counts, levels,
# versions) none at all. A count says its level.
_GIVEN = """given AS MATERIALIZED (
  SELECT g.listing_id, coalesce(g.location, ($2::text::text[])[1]) AS location, g.on_hand,
    coalesce(g.level, CASE WHEN g.on_hand > 0 THEN 'in_stock' ELSE 'out' END) AS level, g.version,
    coalesce(g.reported_at, ($6::timestamptz[])[1]) AS reported_at, g.n
  FROM unnest($1::text::bigint[], $2::text::text[], $3::text::int[], $4::text[], $5::text::bigint[], $6::timestamptz[])
    WITH ORDINALITY AS g(listing_id, location, on_hand, level, version, reported_at, n))"""

LOCK = """
SELECT count(*) FROM (
  SELECT 1 FROM (SELECT g.listing_id, coalesce(g.location, ($2::text::text[])[1]) AS location
                 FROM unnest($1::text::bigint[], $2::text::text[]) AS g(listing_id, location)) g
  JOIN catalog_stock s ON s.listing_id = g.listing_id AND s.location = g.location
  ORDER BY s.listing_id, s.location FOR UPDATE OF s) AS locked
"""

# The first reports about listings that this transaction has made: nobody else can have written these rows.
FIRST_OF_NEW = f"""
WITH {_GIVEN},
made AS (
  INSERT INTO catalog_stock (listing_id, location, on_hand, level, version, reported_at)
  SELECT g.listing_id, g.location, g.on_hand, g.level, g.version, g.reported_at FROM given g)
INSERT INTO catalog_movements (listing_id, location, cause, on_hand_change, reserved_change, at)
SELECT listing_id, location, 'report', on_hand, 0, $7::timestamptz FROM given WHERE on_hand > 0
"""  # noqa: S608

FIRST = f"""
WITH {_GIVEN},
made AS (
  INSERT INTO catalog_stock (listing_id, location, on_hand, level, version, reported_at, buffer)
  SELECT g.listing_id, g.location, g.on_hand, g.level, g.version, g.reported_at,
    coalesce((SELECT b.units FROM catalog_buffers b WHERE b.listing_id = g.listing_id), 0) FROM given g
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
APPLY = f"""
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
  SELECT j.*, j.reserved - coalesce(e.quantity, 0) AS left_reserved, e.quantity IS NOT NULL AS ate,
    CASE WHEN j.on_hand IS NULL THEN j.level <> 'out'
         ELSE j.on_hand - j.reserved + coalesce(e.quantity, 0) - j.buffer > 0 END AS can_sell
  FROM judged j LEFT JOIN eaten e ON e.listing_id = j.listing_id AND e.location = j.location),
written AS (
  UPDATE catalog_stock s SET on_hand = a.on_hand, level = a.level, reserved = a.left_reserved, frozen = false,
    version = coalesce(a.version, s.version), reported_at = a.reported_at
  FROM after a WHERE a.newer AND s.listing_id = a.listing_id AND s.location = a.location),
ledger AS (
  INSERT INTO catalog_movements (listing_id, location, cause, on_hand_change, reserved_change, hold_id, at)
  SELECT listing_id, location, 'report', coalesce(on_hand, 0) - coalesce(old_on_hand, 0), 0, NULL, $7
    FROM judged WHERE newer AND coalesce(on_hand, 0) <> coalesce(old_on_hand, 0)
  UNION ALL
  SELECT listing_id, location, 'consume', 0, -quantity, id, $7 FROM consumed)
SELECT a.n::int, a.listing_id, a.location, a.newer AS applied,
  a.newer AND a.can_sell <> a.could_sell AS flipped,
  a.newer AND NOT a.same_figure AND a.on_hand < a.left_reserved AS oversold, a.on_hand, a.left_reserved
FROM after a
WHERE (a.newer AND NOT (a.same_figure AND NOT a.frozen AND NOT a.ate))
   OR (NOT a.newer AND NOT (a.same_stamp AND a.same_figure))
"""  # noqa: S608 - constant text

SHELF = """
SELECT s.listing_id, s.location, s.on_hand, s.level, s.reserved, s.buffer, s.frozen, s.reported_at
FROM catalog_stock s JOIN unnest($1::bigint[], $2::text[]) AS w(listing_id, location)
  ON s.listing_id = w.listing_id AND (w.location IS NULL OR s.location = w.location)
ORDER BY s.listing_id, s.location FOR UPDATE OF s
"""

TAKE = f"""
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

LOCK_HELD = """
SELECT count(*) FROM (
  SELECT 1 FROM catalog_stock s
  WHERE (s.listing_id, s.location) IN (
    SELECT h.listing_id, h.location FROM catalog_holds h WHERE h.id = ANY($1::uuid[]))
  ORDER BY s.listing_id, s.location FOR UPDATE OF s) AS locked
"""

CLOSE = f"""
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

SHRINK = f"""
WITH wish AS (SELECT * FROM unnest($1::uuid[], $2::int[]) AS w(id, units)),
shrunk AS (
  UPDATE catalog_holds h SET quantity = h.quantity - w.units FROM wish w
  WHERE h.id = w.id AND h.state IN ('held', 'accepted') AND h.quantity > w.units
  RETURNING h.id, h.listing_id, h.location, w.units),
freed AS (SELECT listing_id, location, sum(units)::int AS quantity FROM shrunk GROUP BY 1, 2),
written AS (
  UPDATE catalog_stock s SET reserved = s.reserved - f.quantity FROM freed f
  WHERE s.listing_id = f.listing_id AND s.location = f.location
  RETURNING s.listing_id, {SELLABLE.format("s")} AS can_sell,
    (NOT s.frozen AND s.on_hand - s.reserved - f.quantity - s.buffer > 0) AS could_sell),
ledger AS (
  INSERT INTO catalog_movements (listing_id, location, cause, on_hand_change, reserved_change, hold_id, at)
  SELECT listing_id, location, 'release', 0, -units, id, $3 FROM shrunk)
SELECT (SELECT coalesce(array_agg(id), '{{}}') FROM shrunk) AS shrunk,
  (SELECT coalesce(array_agg(DISTINCT listing_id), '{{}}') FROM written WHERE can_sell AND NOT could_sell) AS flipped
"""  # noqa: S608 - constant text

ACCEPT = """
UPDATE catalog_holds h SET state = 'accepted', accepted_at = $2 WHERE h.id = ANY($1::uuid[]) AND h.state = 'held'
RETURNING h.id, (SELECT s.reported_at > $2 FROM catalog_stock s
                 WHERE s.listing_id = h.listing_id AND s.location = h.location) AS counted
"""

REFUSE = """
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

SET_BUFFER = """
WITH rule AS (
  INSERT INTO catalog_buffers (listing_id, units) SELECT $1, $2 WHERE $2 > 0
  ON CONFLICT (listing_id) DO UPDATE SET units = EXCLUDED.units),
gone AS (DELETE FROM catalog_buffers WHERE listing_id = $1 AND $2 = 0)
UPDATE catalog_stock SET buffer = $2 WHERE listing_id = $1 AND buffer <> $2
"""

AVAILABLE = """
SELECT listing_id, location, on_hand, level, reserved, buffer, frozen, reported_at FROM catalog_stock
WHERE listing_id = ANY($1::bigint[]) ORDER BY listing_id, location
"""

OPEN_HOLDS = """
SELECT id, quantity FROM catalog_holds WHERE id = ANY($1::uuid[]) AND state IN ('held', 'accepted')
"""

DRIFT = """
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
