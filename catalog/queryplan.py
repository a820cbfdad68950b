"""How a search is carried out, decided before the database is asked. Pure: a sample in, a plan out. Two ways lead to
the same page in the same order: *walk* an index that already has the order and keep what fits (cheap when much fits),
or *gather* every hit and sort (cheap when few fit, and when the lists of its words are short). PostgreSQL's own planner
would choose too, but at each query, from statistics that know nothing of words that come together."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from catalog.sample import Rows, Sample
from catalog.wish import Order, Wish

SMALL = 2_000  # catalogues up to this many products are always gathered
TELLING = 20  # hits in the sample from which on it tells their number within a quarter or so
WALK_CAPS = (1_000, 5_000, 20_000, 60_000)  # few different ones, since each is a statement of its own
# Microseconds, measured on 1,000,000 products of 450 bytes; only their proportions matter.
WALKED = 1.2  # a row walked and found not to fit
FETCHED = 1.0  # a hit fetched
SCORED = 1.0  # and its texts compared with the query
POSTED = 0.04  # an entry of a word's list, met while lists are intersected
COLLECTED = 0.12  # an entry of the lists that an unfinished word stands for
SOLD = 0.8  # a listing of a vendor
AFFORDED = 4_000.0  # spent on ranking by text though walking would be cheaper


class Plan(StrEnum):
    WALK = "walk"
    GATHER = "gather"


@dataclass(frozen=True, slots=True)
class Estimate:
    """Rows that a walk would look at, what either way would cost (microseconds), whether gathering had better look
    for the last word in the rows, how many products fit in all, and which of the sample (None: all) do."""

    rows: float
    walk: float
    gather: float
    scoring: float
    aside: bool
    hits: float
    sampled: Rows | None
    telling: bool  # whether the sample holds enough hits to count by


def estimate(sample: Sample, wish: Wish, order: Order, need: int, sellable: bool | None) -> Estimate:
    """`need` rows are wanted; `sellable` narrows a walk to products with (or without) stock."""
    worded, lists = sample.worded(wish.terms)
    hits = sample.filtered(wish, worded)
    found = sample.count(hits)
    fitting = found
    if sellable is not None:
        with_stock = sample.sellable(hits)
        fitting = with_stock if sellable else found - with_stock
    path = sample.rows
    if order is Order.POPULAR and wish.category is not None:
        path = sample.in_category(wish.category)  # this walk stays inside the category
    rows = need * (path + 1) / (fitting + 0.5)
    gather, aside = _gathering(sample, wish, worded, lists)
    scoring = 0.0 if wish.gtin is not None else SCORED * sample.step * (found + 0.5)
    # Single products that an assortment names are not known in the sample.
    telling = found >= TELLING and not (wish.assortment is not None and wish.assortment.by_product)
    return Estimate(rows, WALKED * rows, gather, scoring, aside, float(found * sample.step), hits, telling)


def _gathering(sample: Sample, wish: Wish, worded: Rows | None, lists: list[int]) -> tuple[float, bool]:
    """What it costs to gather all hits, and whether the last word should be looked for in the rows that the others
    find: the lists that an unfinished word stands for must be put together first, however few rows are left."""
    step = sample.step
    if wish.gtin is not None:
        return 0.0, False
    if lists or wish.brand_terms:
        by_brand, more = sample.worded(wish.brand_terms)
        whole = _found(sample, sample.both(worded, by_brand), [*lists, *more])
        if wish.terms and wish.terms[-1].prefix:
            whole += COLLECTED * step * lists[-1]
            if len(lists) + len(more) > 1:
                before, _ = sample.worded(wish.terms[:-1])
                rest = _found(sample, sample.both(before, by_brand), [*lists[:-1], *more])
                return min(whole, rest), rest < whole
        return whole, False
    sold = sample.sold_by(wish)
    if sold is not None:
        return (SOLD + FETCHED) * step * len(sold), False
    return FETCHED * step * sample.rows, False


def _found(sample: Sample, rows: Rows | None, lists: list[int]) -> float:
    """What it costs to intersect lists of words, from the shortest on and skipping what lies between its entries, and
    to fetch what is in all."""
    shortest = min(lists)
    entries = sum(min(one, 1.5 * shortest + 1) for one in lists)
    return sample.step * (POSTED * entries + FETCHED * (sample.count(rows) + 0.5))


def choose(sample: Sample, found: Estimate) -> Plan:
    """The cheaper way."""
    if sample.rows * sample.step <= SMALL or found.gather <= found.walk:
        return Plan.GATHER
    return Plan.WALK


def affords_ranking(sample: Sample, found: Estimate, headed: bool = False) -> bool:
    """Whether the hits are few enough to read the text of each; `headed` when the first page of the others would be
    looked up, for next to nothing."""
    otherwise = AFFORDED if headed else max(AFFORDED, found.walk)
    return sample.rows * sample.step <= SMALL or found.gather + found.scoring <= otherwise


def walk_cap(found: Estimate) -> int:
    """How many rows a walk may look at before it is plain that the estimate was wrong and gathering is better."""
    return next((cap for cap in WALK_CAPS if cap >= 4 * found.rows), WALK_CAPS[-1])
