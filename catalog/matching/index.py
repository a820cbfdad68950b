"""The products of the catalogue, ready to be asked which of them a vendor's listing is. Built in bulk, kept up by
adding and removing; an answer explains itself. Two segments: the products of the last build, and those that came
since, which are weighed by the same weights; when these grow past a tenth, everything is weighed anew."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from catalog.matching.evidence import Difference
from catalog.matching.features import Raw, Rows, Weights, cosines, rarest_first, raw, top
from catalog.matching.pairing import Decision, decide
from catalog.matching.reading import Offer, Reading, read_all
from catalog.matching.scoring import IMPOSSIBLE, OPEN, Judgement, judge

CANDIDATES = 20  # looked up by words
JUDGED = 6  # of them compared fact by fact
_BUDGET = 6000  # products that a listing's rarest words may bring up before commoner ones are left out
_CLOSE = 0.7  # log odds: another product is half as likely, or more
_RECENT = 0.1
_FEW = 200  # products that may be recent in any case
_KEYED = 50  # more products than this under one number: it is no number


@dataclass(frozen=True, slots=True)
class Proposal:
    """Which product a listing is. `product` is None for `new`; `nearest` is then the one that looked most like it.
    `agreeing` and `conflicts` say what both sides state, listing first; `doubts` why a person should look."""

    listing: str
    product: str | None
    score: float
    decision: Decision
    nearest: str | None = None
    agreeing: tuple[Difference, ...] = ()
    conflicts: tuple[Difference, ...] = ()
    doubts: tuple[str, ...] = ()
    alike: float = 0.0  # cosine with `nearest`: high beside conflicts, it is a false friend


class _Segment:
    """Readings as rows, in the order in which they came. A row that is gone stays until the next build."""

    def __init__(self, readings: Sequence[Reading], features: Raw, weights: Weights) -> None:
        self.readings: list[Reading | None] = list(readings)
        self.weights = weights
        self.rows: Rows = weights.rows(features)
        self.turned: Rows = self.rows.T.tocsr()
        flat, ends = weights.flat_words(readings)
        self._flat, self._ends = flat, ends
        self.frequency: NDArray[np.int64] = np.diff(self.turned.indptr)

    def weights_of(self, row: int) -> list[float]:
        found: list[float] = self._flat[self._ends[row] : self._ends[row + 1]].tolist()
        return found


class Index:
    """Products by what they say. Takes 250 MB for 100,000 products of two titles each, and 13 s to build. With
    `weights` the products are a part of more, which knows how rare words are. `categories` are those of a taxonomy that
    several vendors use: two of them contradict each other."""

    def __init__(
        self, products: Iterable[Offer] = (), weights: Weights | None = None, categories: frozenset[str] = frozenset()
    ) -> None:
        self._recent: dict[str, list[Reading]] = {}
        self._stale: _Segment | None = None
        self._given = weights
        self._categories = categories
        self._build([reading for product in products for reading in read_all(product)])

    def __len__(self) -> int:
        return len(self._places) + len(self._recent)

    def __contains__(self, product: str) -> bool:
        return product in self._places or product in self._recent

    def add(self, products: Iterable[Offer]) -> None:
        """Products that are new, or say something else from now on."""
        for product in products:
            self.remove((product.id,))
            self._recent[product.id] = read_all(product)
            self._stale = None
        if len(self._recent) > max(_FEW, _RECENT * len(self._places)):
            alive = [r for r in self._main.readings if r is not None]
            self._build(alive + [r for readings in self._recent.values() for r in readings])

    def remove(self, products: Iterable[str]) -> None:
        """Forget products; ids that are not there are passed over."""
        for product in products:
            for row in self._places.pop(product, ()):
                self._main.readings[row] = None
            if self._recent.pop(product, None) is not None:
                self._stale = None

    def propose(self, listings: Sequence[Offer], apart: frozenset[tuple[str, str]] = frozenset()) -> list[Proposal]:
        """One answer for each listing, in order. Two listings of one vendor never get one product as a match, nor one
        that the vendor is on already, unless they carry its GTIN. Nothing is proposed to itself, nor a listing to a
        product from which it was told `apart` (listing id, product id)."""
        if not listings:
            return []
        faces: list[Reading] = []
        owner: list[int] = []
        for number, listing in enumerate(listings):
            for reading in read_all(listing):
                faces.append(reading)
                owner.append(number)
        best: list[dict[str, Judgement]] = [{} for _ in listings]
        words = self._weights.of_words(faces)
        features = raw(faces)
        for segment in self._segments():
            for row, at, value in self._candidates(segment, faces, features):
                product = segment.readings[at]
                if product is None or product.id == faces[row].id or (faces[row].id, product.id) in apart:
                    continue
                judged = judge(
                    faces[row], product, words[row], segment.weights_of(at), value, self._weights.rarest,
                    self._categories,
                )  # fmt: skip
                if self._taken(faces[row], product, judged):
                    continue
                known = best[owner[row]].get(product.id)
                if known is None or (judged.strength, judged.alike) > (known.strength, known.alike):
                    best[owner[row]][product.id] = judged
        return _once_a_vendor(listings, [_answer(o.id, found) for o, found in zip(listings, best, strict=True)], best)

    @staticmethod
    def _taken(listing: Reading, product: Reading, judged: Judgement) -> bool:
        same = listing.gtin is not None and listing.gtin == product.gtin
        return bool(listing.vendors & product.vendors) and not same

    def _build(self, readings: list[Reading]) -> None:
        features = raw(readings)
        self._weights = Weights([features]) if self._given is None else self._given.with_more(features)
        self._main = _Segment(readings, features, self._weights)
        self._recent = {}
        self._stale = None
        self._places: dict[str, list[int]] = {}
        self._keys: dict[str, list[int]] = {}
        for row, reading in enumerate(readings):
            self._places.setdefault(reading.id, []).append(row)
            for key in (reading.gtin, reading.mpn):
                if key:
                    self._keys.setdefault(key, []).append(row)

    def _segments(self) -> list[_Segment]:
        if not self._recent:
            return [self._main]
        if self._stale is None:
            readings = [r for found in self._recent.values() for r in found]
            features = raw(readings)
            self._stale = _Segment(readings, features, self._weights.with_more(features))
        return [self._main, self._stale]

    def _candidates(self, segment: _Segment, faces: Sequence[Reading], features: Raw) -> list[tuple[int, int, float]]:
        """(listing, product row, cosine) of those worth comparing."""
        rows = segment.weights.rows(features)
        if segment is self._main:
            keys = [(i, at) for i, r in enumerate(faces) for key in (r.gtin, r.mpn) if key for at in self._keyed(key)]
        else:
            by_key: dict[str, list[int]] = {}
            for at, reading in enumerate(segment.readings):
                for key in (reading.gtin, reading.mpn) if reading else ():
                    if key:
                        by_key.setdefault(key, []).append(at)
            keys = [
                (i, at) for i, r in enumerate(faces) for key in (r.gtin, r.mpn) if key for at in by_key.get(key, ())
            ]
        found = rarest_first(rows, segment.frequency, _BUDGET) @ segment.turned
        left, right, _ = top(found, CANDIDATES)
        exact = cosines(rows, left, segment.rows, right)
        order = np.lexsort((right, -exact, left))
        counts = np.bincount(left, minlength=len(faces))
        starts = np.cumsum(counts) - counts
        rank = np.arange(len(left)) - np.repeat(starts, counts)
        kept = order[rank < JUDGED]
        chosen = list(zip(left[kept].tolist(), right[kept].tolist(), exact[kept].tolist(), strict=True))
        have = {(i, at) for i, at, _ in chosen}
        extra = sorted({pair for pair in keys if pair not in have})
        if extra:
            pairs = np.array(extra, np.int64)
            values = cosines(rows, pairs[:, 0], segment.rows, pairs[:, 1])
            chosen += [(i, at, float(v)) for (i, at), v in zip(extra, values, strict=True)]
        return chosen

    def _keyed(self, key: str) -> list[int]:
        rows = self._keys.get(key, [])
        return rows if len(rows) <= _KEYED else []


def _answer(listing: str, found: dict[str, Judgement]) -> Proposal:
    """The likeliest product, weighed against the others that it could be and against being new."""
    if not found:
        return Proposal(listing, None, 0.0, "new")
    ordered = sorted(found.items(), key=lambda item: (-item[1].strength, -item[1].alike, item[0]))
    product, judged = ordered[0]
    strengths = np.clip([j.strength + OPEN for _, j in ordered], -30, 30)
    odds = np.exp(strengths)
    score = float(odds[0] / (1 + odds.sum())) if judged.strength > IMPOSSIBLE else 0.0
    if len(ordered) > 1 and strengths[0] - strengths[1] < _CLOSE and strengths[0] > 0:
        judged = replace(judged, doubts=[*judged.doubts, "rival"])
    if judged.thin:
        judged = replace(judged, doubts=[*judged.doubts, "thin"])
    decision = decide(score, judged)
    return Proposal(
        listing, product if decision != "new" else None, score, decision, product, tuple(judged.agreeing),
        tuple(judged.conflicts), tuple(judged.doubts), judged.alike,
    )  # fmt: skip


def _once_a_vendor(
    listings: Sequence[Offer], proposals: list[Proposal], found: Sequence[dict[str, Judgement]]
) -> list[Proposal]:
    """Of several listings of one vendor that want one product, the likeliest keeps it; the others are for a person,
    unless both carry the same GTIN."""
    claims: dict[tuple[str, str], list[int]] = {}
    for k, (listing, proposal) in enumerate(zip(listings, proposals, strict=True)):
        if listing.vendor and proposal.decision == "match" and proposal.product is not None:
            claims.setdefault((listing.vendor, proposal.product), []).append(k)
    for (_, product), members in claims.items():
        if len(members) == 1:
            continue
        by_gtin = [k for k in members if any(d.field == "gtin" for d in proposals[k].agreeing)]
        kept = by_gtin or [min(members, key=lambda k: (-found[k][product].strength, listings[k].id))]
        for k in members:
            if k not in kept:
                p = proposals[k]
                proposals[k] = replace(p, decision="review", doubts=(*p.doubts, "vendor"))
    return proposals
