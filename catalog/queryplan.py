"""How a search is carried out, decided before anything is read. Pure: statistics in, a plan out. Two ways lead to the
same page in the same order: *walk* an index that already has the order and keep what fits (cheap when much fits), or
*gather* every hit and sort (cheap when few fit). The row counts of both are estimated from the planner's own
statistics, as PostgreSQL would, but once a minute instead of once a query, so that statements stay prepared."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from catalog.segment import Term

if TYPE_CHECKING:
    from catalog.assortments import Assortment

SMALL = 2_000  # tables and hit lists up to this size are always gathered
WALK_CAPS = (1_000, 5_000, 20_000)  # few different ones, since each is a statement of its own


class Order(StrEnum):
    """The order of a result. `rank` needs every hit at hand; the others can be walked."""

    RANK = "rank"  # text, then availability, then popularity
    POPULAR = "popular"  # availability, then popularity
    PRICE = "price"
    PRICE_DOWN = "-price"
    NEWEST = "newest"


class Plan(StrEnum):
    WALK = "walk"
    GATHER = "gather"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a reader asks for, already validated."""

    terms: tuple[Term, ...] = ()
    phrase: str = ""  # the query as typed, lower case
    gtin: str | None = None
    kind: str | None = None
    category: str | None = None
    brand: str | None = None
    brand_terms: tuple[Term, ...] = ()
    vendor: str | None = None  # a name
    vendor_id: int | None = None
    price_min: Decimal | None = None
    price_max: Decimal | None = None
    in_stock: bool = False
    mode: str | None = None
    city: str | None = None
    department: str | None = None
    assortment: Assortment | None = field(default=None, repr=False)  # a cursor outlives a change of the mall's rules


@dataclass(frozen=True, slots=True)
class Statistics:
    """What PostgreSQL knows about the products: how many, how often each lexeme and each column value occurs."""

    rows: float  # 0: never analysed
    feeds: int = 1
    lexemes: Mapping[str, float] = field(default_factory=dict)
    lexemes_sorted: tuple[str, ...] = ()
    rare: float = 0.0  # how often a lexeme occurs that is not among the common ones
    values: Mapping[tuple[str, str], float] = field(default_factory=dict)
    other: Mapping[str, float] = field(default_factory=dict)  # per column: a value that is not a common one
    learned: Mapping[tuple[Term, ...], float] = field(default_factory=dict)  # hits that were counted lately, as shares

    @property
    def known(self) -> bool:
        return self.rows > 0 and bool(self.lexemes)

    def share(self, column: str, value: str) -> float:
        """The share of products whose `column` is `value`."""
        return self.values.get((column, value), self.other.get(column, 0.01))

    def lexeme(self, lexeme: str, prefix: bool) -> float:
        """The share of products that hold this lexeme, or any that begins with it."""
        if not prefix:
            return self.lexemes.get(lexeme, self.rare)
        total, at = self.rare, bisect_left(self.lexemes_sorted, lexeme)
        while at < len(self.lexemes_sorted) and self.lexemes_sorted[at].startswith(lexeme):
            total += self.lexemes[self.lexemes_sorted[at]]
            at += 1
        return min(1.0, total)


def text_share(statistics: Statistics, terms: tuple[Term, ...]) -> float:
    """The share of products that match all terms. Words of one title keep company, so the second-rarest counts
    with its square root only, the third with its fourth root, and so on (exponential back-off), unless the hits of
    these very terms were counted lately."""
    known = statistics.learned.get(terms)
    if known is not None:
        return known
    shares = []
    for term in terms:
        ways = [
            min(statistics.lexeme(lexeme, term.prefix and i == len(way) - 1) for i, lexeme in enumerate(way))
            for way in term.ways
        ]
        shares.append(min(1.0, sum(ways)))
    total, weight = 1.0, 1.0
    for share in sorted(shares)[:4]:
        total *= max(share, 1e-9) ** weight
        weight /= 2
    return total


def filter_share(statistics: Statistics, wish: Wish) -> float:
    """The share of products that pass the filters (without the words and without `in_stock`)."""
    share = 1.0
    for column in ("kind", "mode", "category", "city"):
        value = getattr(wish, column)
        if value is not None:
            share *= statistics.share(column, value)
    if wish.brand is not None and not wish.terms:
        share *= text_share(statistics, wish.brand_terms)
    elif wish.brand is not None:
        share *= statistics.share("brand", wish.brand)
    if wish.vendor is not None or wish.vendor_id is not None:
        share *= 1 / max(1, statistics.feeds)
    if wish.price_min is not None or wish.price_max is not None:
        share *= 0.3  # a guess
    return share


def conditions(wish: Wish) -> int:
    """How many conditions a wish has. The share of more than one is their product only if they are independent, which
    is good enough to choose a way by, and not to show."""
    filters = (wish.kind, wish.category, wish.brand, wish.vendor, wish.vendor_id, wish.price_min, wish.price_max)
    if wish.assortment is not None:
        return 2
    return len(wish.terms) + sum(x is not None for x in (*filters, wish.mode, wish.city, wish.department))


@dataclass(frozen=True, slots=True)
class Estimate:
    """Rows that each way would touch, and how many products fit in all."""

    walk: float
    gather: float
    hits: float


def estimate(statistics: Statistics, wish: Wish, order: Order, need: int, sellable: bool | None) -> Estimate:
    """`need` rows are wanted; `sellable` narrows a walk to products with (or without) stock."""
    rows = max(statistics.rows, 1.0)
    words = text_share(statistics, wish.terms) if wish.terms else 1.0
    filters = filter_share(statistics, wish)
    driver = words
    if wish.brand_terms:
        driver = min(driver, text_share(statistics, wish.brand_terms))
    if wish.vendor is not None or wish.vendor_id is not None:
        driver = min(driver, 1 / max(1, statistics.feeds))
    if wish.gtin is not None:
        driver = words = 1 / rows
    hits = rows * words * filters
    fitting = words * filters
    if order is Order.POPULAR and wish.category is not None:
        fitting /= max(statistics.share("category", wish.category), 1e-9)  # this walk stays inside the category
    if sellable is not None:
        share = statistics.share("sellable", "t" if sellable else "f")
        fitting *= share
        hits *= share if wish.in_stock else 1.0
    return Estimate(walk=need / max(min(fitting, 1.0), 1e-9), gather=rows * driver, hits=hits)


def choose(found: Estimate) -> Plan:
    """The cheaper way. Sorting costs about as much a row as walking."""
    if found.gather <= max(SMALL / 4, found.walk):
        return Plan.GATHER
    return Plan.WALK


def affords_ranking(found: Estimate) -> bool:
    """Whether the hits are few enough to read the text of each."""
    return found.gather * 1.5 <= max(SMALL / 4, found.walk)


def walk_cap(found: Estimate) -> int:
    """How many rows a walk may look at before it is plain that the estimate was wrong and gathering is better."""
    return next((cap for cap in WALK_CAPS if cap >= 4 * found.walk), WALK_CAPS[-1])
