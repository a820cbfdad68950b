"""Every so-many-th product in columns, held in memory: it says how many products a search will find (queryplan.py
chooses by that) and counts the facets of searches whose hits are too many to be counted one by one. Which products
are in it depends on their ids alone, which know nothing of what is sold, so that a share here is the share of all.
Pure: rows in, counts out; catalog/sampling.py keeps one up to date."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from catalog.segment import Term
from catalog.wish import Wish

if TYPE_CHECKING:
    from catalog.assortments import Assortment, Rule

Rows = NDArray[np.int32]  # positions of products in the sample, ascending
FACET_VALUES = 30  # values shown a facet
FACETS = ("kind", "mode", "category", "brand")
_TEXTS = (*FACETS, "city", "department")
_NONE: Rows = np.empty(0, np.int32)
_LAST_CHARACTER = "\U0010ffff"
_FACETS_KEPT = 2_000  # searches
_ASSORTMENTS_KEPT = 100  # of malls
LATELY = 16  # searches whose words are remembered: one asks several times, for its order, its plan and its facets
FREQUENT = 100  # products in the sample: the lists of rarer words are put together in no time, and seldom told apart
WHOLE = 0.8  # of the products with a word that begins like this have this very word


class Product(NamedTuple):
    """What a sample knows of a listed product."""

    kind: str
    mode: str
    category: str | None
    brand: str | None
    city: str | None
    department: str | None
    price: Decimal | None
    sellable: bool
    vendor_ids: Sequence[int]
    words: Sequence[str]


class Codes:
    """A column of few different values, as numbers."""

    def __init__(self) -> None:
        self.numbers: dict[Any, int] = {None: 0}
        self._column = array("i")
        self.column: Rows = _NONE

    def add(self, value: Any) -> None:
        self._column.append(self.numbers.setdefault(value, len(self.numbers)))

    def close(self) -> None:
        self.column = np.array(self._column, np.int32)
        self._column = array("i")

    def counts(self, rows: Rows | None) -> list[tuple[Any, int]]:
        """The most frequent values among these rows (None: all), each with how often."""
        column = self.column if rows is None else self.column[rows]
        counted = np.bincount(column, minlength=len(self.numbers))
        counted[0] = 0
        kept = min(len(counted), FACET_VALUES * 2)  # room for equal counts, which are put in order below
        top = np.argpartition(counted, -kept)[-kept:]
        values = list(self.numbers)
        found = [(values[n], int(counted[n])) for n in top if counted[n]]
        return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:FACET_VALUES]


class Sample:
    """Fill it with `add`, then `close` it."""

    def __init__(self, step: int, at: datetime, vendors: Mapping[int, str], rare: bool = True) -> None:
        self.step = step  # of that many products one is here
        self._rare = rare and step == 1  # whether words are kept that only one product holds
        self.at = at  # when it was taken
        self.rows = 0
        self._vendors = vendors  # id -> name
        self._texts = {name: Codes() for name in _TEXTS}
        self._sells = Codes()  # vendors, as many a product as there are rows with its number in _sold
        self._sold, self._words_of = array("i"), array("i")
        self._numbers: dict[str, int] = {}  # of words, until it is closed
        self._words = array("i")
        self._price_list, self._sellable_list = array("d"), array("b")
        self._facets: dict[Wish, str] = {}
        self._assortments: dict[Assortment, NDArray[np.bool_]] = {}
        self._lately: dict[tuple[Term, ...], tuple[Rows | None, list[int]]] = {}

    def add(self, products: Iterable[Product]) -> None:
        for product in products:
            row = self.rows
            self.rows += 1
            for name, codes in self._texts.items():
                codes.add(getattr(product, name))
            self._price_list.append(float("nan") if product.price is None else float(product.price))
            self._sellable_list.append(product.sellable)
            for vendor in product.vendor_ids:
                self._sells.add(vendor)
                self._sold.append(row)
            numbers = self._numbers
            for word in product.words:
                self._words.append(numbers.setdefault(word, len(numbers)))
                self._words_of.append(row)

    def close(self) -> None:
        """Nothing more is added; words that only one product holds are forgotten, which halves the memory, unless
        every product is here."""
        for codes in (*self._texts.values(), self._sells):
            codes.close()
        self._prices = np.array(self._price_list)
        self._sellable = np.array(self._sellable_list, bool)
        self._sold_rows = np.array(self._sold, np.int32)
        order = np.argsort(self._sold_rows, kind="stable")
        self._sold_rows, self._sells.column = self._sold_rows[order], self._sells.column[order]
        words, rows = np.array(self._words, np.int32), np.array(self._words_of, np.int32)
        counts = np.bincount(words, minlength=len(self._numbers))
        kept = counts > (0 if self._rare else 1)
        rows, words = rows[kept[words]], words[kept[words]]
        rows = rows[np.argsort(words, kind="stable")]
        ends = np.cumsum(np.where(kept, counts, 0))
        self._held: dict[str, Rows] = {
            word: rows[ends[n] - counts[n] : ends[n]] for word, n in self._numbers.items() if kept[n]
        }
        self._sorted = sorted(self._held)
        self._numbers = {}
        self._words = self._words_of = self._sold = self._sellable_list = array("i")
        self._price_list = array("d")
        self._marks = np.zeros(self.rows, bool)

    # Who is meant

    def both(self, one: Rows | None, other: Rows | None) -> Rows | None:
        """The rows that are in both; None is all."""
        if one is None or other is None:
            return other if one is None else one
        if len(one) > len(other):
            one, other = other, one
        self._marks[other] = True
        met = one[self._marks[one]]
        self._marks[other] = False
        return met

    def _lexeme(self, lexeme: str, prefix: bool) -> Rows:
        if not prefix:
            return self._held.get(lexeme, _NONE)
        start = bisect_left(self._sorted, lexeme)
        end = bisect_left(self._sorted, lexeme + _LAST_CHARACTER)
        found = [self._held[word] for word in self._sorted[start:end]]
        return _union(found)

    def term(self, term: Term) -> Rows:
        """The products that hold this word in any of its ways of writing."""
        ways: list[Rows] = []
        for way in term.ways:
            rows: Rows | None = None
            for i, lexeme in enumerate(way):
                rows = self.both(rows, self._lexeme(lexeme, term.prefix and i == len(way) - 1))
            ways.append(_NONE if rows is None else rows)
        return _union(ways)

    def finished(self, terms: tuple[Term, ...]) -> bool:
        """Whether the last word, which may be unfinished, is a word as it stands: hardly any product holds a longer one
        only. Lists of unfinished words must be put together at each query, which costs more than all the rest."""
        if not terms or not terms[-1].prefix:
            return False
        whole = len(self.term(terms[-1]._replace(prefix=False)))
        return whole >= FREQUENT and WHOLE * len(self.term(terms[-1])) <= whole

    def worded(self, terms: tuple[Term, ...]) -> tuple[Rows | None, list[int]]:
        """The products that hold all of these words (None: no words, so all), and how many hold each."""
        found = self._lately.get(terms)
        if found is None:
            rows: Rows | None = None
            each = []
            for term in terms:
                one = self.term(term)
                each.append(len(one))
                rows = self.both(rows, one)
            if len(self._lately) >= LATELY:
                self._lately.clear()
            found = self._lately[terms] = (rows, each)
        return found

    def sold_by(self, wish: Wish) -> Rows | None:
        """The products of the vendor of a wish; None when it names none."""
        if wish.vendor_id is None and wish.vendor is None:
            return None
        meant = [n for n, name in self._vendors.items() if wish.vendor_id == n or (wish.vendor or "") == name]
        codes = [self._sells.numbers[n] for n in meant if n in self._sells.numbers]
        return np.unique(self._sold_rows[np.isin(self._sells.column, codes)])

    def filtered(self, wish: Wish, rows: Rows | None) -> Rows | None:
        """Those of the rows (None: of all) that pass the filters; None for all."""
        rows = self.both(rows, self.sold_by(wish))
        if wish.assortment is not None:
            rows = self.both(rows, np.unique(self._sold_rows[self._sold_under(wish.assortment)]))
        tests: list[NDArray[np.bool_]] = []
        chosen: Any = slice(None) if rows is None else rows
        for name, codes in self._texts.items():
            value = getattr(wish, name)
            if value is not None:
                tests.append(codes.column[chosen] == codes.numbers.get(value, -1))
        if wish.price_min is not None:
            tests.append(self._prices[chosen] >= float(wish.price_min))
        if wish.price_max is not None:
            tests.append(self._prices[chosen] <= float(wish.price_max))
        if wish.in_stock:
            tests.append(self._sellable[chosen])
        if not tests:
            return rows
        passed = np.flatnonzero(np.logical_and.reduce(tests)).astype(np.int32)
        return passed if rows is None else rows[passed]

    def _sold_under(self, assortment: Assortment) -> NDArray[np.bool_]:
        """Which sales (rows of _sold_rows) an assortment has, but for its rules about single products, whose ids are
        not known here. Kept until there is another sample."""
        found = self._assortments.get(assortment)
        if found is None:
            includes = [self._fits(rule) for rule in assortment.rules if rule.include]
            excludes = [self._fits(rule) for rule in assortment.rules if not rule.include]
            found = np.logical_or.reduce(includes) if includes else np.ones(len(self._sold_rows), bool)
            for excluded in excludes:
                found = found & ~excluded
            if len(self._assortments) >= _ASSORTMENTS_KEPT:
                self._assortments.clear()
            self._assortments[assortment] = found
        return found

    def _fits(self, rule: Rule) -> NDArray[np.bool_]:
        fits = np.full(len(self._sold_rows), rule.product_id is None)
        for name in ("kind", "category", "brand"):
            value = getattr(rule, name)
            if value is not None:
                codes = self._texts[name]
                fits &= codes.column[self._sold_rows] == codes.numbers.get(value, -1)
        if rule.vendor_id is not None:
            fits &= self._sells.column == self._sells.numbers.get(rule.vendor_id, -1)
        return fits

    def count(self, rows: Rows | None) -> int:
        return self.rows if rows is None else len(rows)

    def sellable(self, rows: Rows | None) -> int:
        """How many of the rows have stock."""
        return int(np.count_nonzero(self._sellable if rows is None else self._sellable[rows]))

    def in_category(self, category: str) -> int:
        """How many products of this category there are."""
        codes = self._texts["category"]
        return int(np.count_nonzero(codes.column == codes.numbers.get(category, -1)))

    # Facets

    def facets(self, wish: Wish, rows: Rows | None) -> str:
        """Counts of the values among these rows, which are the hits of the wish, scaled up to all products, as JSON
        text. Kept until there is another sample."""
        found = self._facets.get(wish)
        if found is None:
            counted: dict[str, Any] = {
                name: [{"value": value, "count": n * self.step} for value, n in self._texts[name].counts(rows)]
                for name in FACETS
            }
            counted["vendor"] = [
                {"value": f"vnd_{vendor}", "label": self._vendors.get(vendor, ""), "count": n * self.step}
                for vendor, n in self._sells.counts(self._sales(wish, rows))
            ]
            found = orjson.dumps(counted).decode()
            if len(self._facets) < _FACETS_KEPT:
                self._facets[wish] = found
        return found

    def _sales(self, wish: Wish, rows: Rows | None) -> Rows | None:
        if rows is None:
            return None
        self._marks[rows] = True
        meant = self._marks[self._sold_rows]
        self._marks[rows] = False
        if wish.assortment is not None:
            meant &= self._sold_under(wish.assortment)
        return np.flatnonzero(meant).astype(np.int32)


def _union(parts: Sequence[Rows]) -> Rows:
    if len(parts) == 1:
        return parts[0]
    return np.unique(np.concatenate(parts)) if parts else _NONE


class Head:
    """The first products in order of popularity. Where a search has so many hits that its first page is among them,
    that page is looked up instead of walked to; each product is still read, and judged, as it is now."""

    def __init__(self, at: datetime, last_id: int) -> None:
        self.last_id = last_id  # products beyond it are newer than this
        self._sample = Sample(1, at, {}, rare=False)
        self._ids = array("q")

    def add(self, products: Iterable[tuple[int, Product]]) -> None:
        """Products in their order, after those that were added before."""
        for product_id, product in products:
            if product_id <= self.last_id:  # newer ones are looked at anyway
                self._ids.append(product_id)
                self._sample.add((product,))

    def close(self) -> None:
        self._sample.close()

    def first(self, wish: Wish, count: int) -> list[int]:
        """The first `count` products that fit, whether they have stock or not."""
        if wish.vendor is not None or wish.vendor_id is not None:
            return []  # vendors come and go at once
        if wish.assortment is not None and (wish.assortment.by_vendor or wish.assortment.by_product):
            return []
        rows, _ = self._sample.worded(wish.terms)
        rows = self._sample.filtered(replace(wish, in_stock=False), rows)
        return [self._ids[row] for row in (range(min(count, len(self._ids))) if rows is None else rows[:count])]
