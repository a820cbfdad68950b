"""Matching: how much of real price lists is found, and how fast listings find their product among 200,000.

The real lists are two tables each that people have paired: Abt-Buy and Amazon-Google, on halves of which the weights
were fitted, and Walmart-Amazon, which was only measured. They are kept outside the project, and where they are absent
their rows are left out. Beside each F1 stands plain TF-IDF cosine over titles and
brands with a one-to-one assignment, at the threshold that suits it best, which nobody could know beforehand. The market
of 200,000 is made up (see `matching_data`); beside its speed stands the bare sparse product with its best columns,
of the same matrices on the same two processes."""

from __future__ import annotations

import csv
import gc
import multiprocessing
import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import psutil
import scipy.sparse as sp
from scipy.optimize import linear_sum_assignment

from benchmarks.harness import Row, at_least, at_most
from benchmarks.matching_data import catalogue, listings, offer, things
from catalog.matching import Index, Offer, cluster, comparing, match_tables, scoring
from catalog.matching.evidence import Comparison
from catalog.matching.features import rarest_first, raw, top
from catalog.matching.reading import Reading, read_all

PRODUCTS = 200_000
BATCH = 5_000
BATCHES = 4
SETS = (
    ("abt_buy", "abt", "buy", "|", "name", 95.0),
    ("amazon_google", "amazon", "gp", "#", "title", 75.0),
    ("walmart_amazon", "walmart", "amazon", "|", "title", 60.0),  # the only one that no weight was fitted on
)
_index: Index
_asked: list[Offer]


async def run() -> list[dict[str, Any]]:
    """All figures of matching."""
    rows: list[Row] = []
    for name, left, right, separator, title, target in SETS:
        rows += real(name, left, right, separator, title, target)
    rows += clusters()
    rows += market()
    return [row.as_json() for row in rows]


def real(name: str, left: str, right: str, separator: str, title: str, target: float) -> list[Row]:
    """One pair of real price lists; nothing where they are absent."""
    root = Path(os.environ.get("SUPPLYHUB_REALDATA", Path(__file__).parents[2] / "shared" / "data"))
    folder = root / "matching" / name
    if not folder.is_dir():
        print(f"the real price lists are not at {folder}; set SUPPLYHUB_REALDATA to measure them")
        return []
    lefts, rights = (_offers(folder / f"{side}.csv", separator, title) for side in (left, right))
    true = {(row["D1"], row["D2"]) for row in _rows(folder / "gt.csv", separator)}
    found = {(p.left, p.right) for p in match_tables(lefts, rights) if p.decision == "match"}
    precision, recall, f1 = scores(found, true)
    plain = tfidf(lefts, rights, true)
    peer = "TF-IDF cosine at its best"
    return [
        at_least(f"{name}: precision of matches", precision, "%", 50, None, ""),
        at_least(f"{name}: recall of matches", recall, "%", 75, None, ""),
        at_least(f"{name}: F1 of matches", f1, "%", target, plain, peer),
    ]


def _rows(path: Path, separator: str) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter=separator))


def _offers(path: Path, separator: str, title: str) -> list[Offer]:
    return [
        Offer(
            row["id"],
            row[title],
            brand=row.get("manufacturer") or row.get("brand"),
            mpn=row.get("modelno"),
            description=row.get("description"),
        )
        for row in _rows(path, separator)
    ]


def scores(found: set[tuple[str, str]], true: set[tuple[str, str]]) -> tuple[float, float, float]:
    """Precision, recall and F1 in per cent."""
    hits = len(found & true)
    return 100 * hits / max(1, len(found)), 100 * hits / max(1, len(true)), 200 * hits / max(1, len(found) + len(true))


def tfidf(lefts: Sequence[Offer], rights: Sequence[Offer], true: set[tuple[str, str]]) -> float:
    """The F1 of plain TF-IDF cosine, assigned one to one, at its best threshold and of its best kind: words of titles
    and brands, these and descriptions, or letters by threes."""
    return max(_tfidf(lefts, rights, true, cut) for cut in (_title, _all_words, _threes))


def _title(offer: Offer) -> list[str]:
    return re.findall(r"[a-z0-9]+", f"{offer.title} {offer.brand or ''}".lower())


def _all_words(offer: Offer) -> list[str]:
    return _title(offer) + re.findall(r"[a-z0-9]+", (offer.description or "").lower())


def _threes(offer: Offer) -> list[str]:
    text = f" {' '.join(_title(offer))} "
    return [text[k : k + 3] for k in range(len(text) - 2)]


def _tfidf(
    lefts: Sequence[Offer], rights: Sequence[Offer], true: set[tuple[str, str]], cut: Callable[[Offer], list[str]]
) -> float:
    counted = [[Counter(cut(o)) for o in side] for side in (lefts, rights)]
    frequency = Counter(word for side in counted for counts in side for word in counts)
    number = {word: k for k, word in enumerate(frequency)}
    total = len(lefts) + len(rights)
    sides = []
    for side in counted:
        at = [number[word] for counts in side for word in counts]
        data = [n * (np.log(total / frequency[word]) + 1) for counts in side for word, n in counts.items()]
        ends = np.cumsum([0, *map(len, side)])
        rows = sp.csr_matrix((data, at, ends), shape=(len(side), len(number)))
        length = np.sqrt(np.asarray(rows.multiply(rows).sum(1)).ravel())
        sides.append(sp.diags(1 / np.maximum(length, 1e-9)) @ rows)
    cosine = (sides[0] @ sides[1].T).toarray()
    best = zip(*linear_sum_assignment(-cosine), strict=True)
    pairs = [(float(cosine[i, j]), lefts[i].id, rights[j].id) for i, j in best]
    return max(scores({(a, b) for c, a, b in pairs if c >= t}, true)[2] for t in np.arange(0, 1, 0.02))


def clusters() -> list[Row]:
    """Six vendors that each list half of 1,200 products of near twins, in English with one clean list among them."""
    rnd = random.Random(2)
    made = things(1200, seed=11)
    offers, true = [], {}
    for vendor, style in enumerate((1, 1, 1, 0, 1, 1)):
        for number, thing in enumerate(made):
            if rnd.random() < 0.5:
                offers.append(offer(thing, f"{vendor}-{number}", f"v{vendor}", style, rnd))
                true[offers[-1].id] = number
    with patch.object(scoring, "compare", _unrefused):
        refusing_nothing = scores(_together(cluster(offers)), _together(true))[2]
    started = time.perf_counter()
    found = cluster(offers)
    speed = len(offers) / (time.perf_counter() - started)
    precision, recall, f1 = scores(_together(found), _together(true))
    return [
        at_least("six vendors' offers: precision of pairs in a cluster", precision, "%", 90, None, ""),
        at_least("six vendors' offers: recall of pairs in a cluster", recall, "%", 90, None, ""),
        at_least("six vendors' offers: F1 of pairs in a cluster", f1, "%", 90, None, ""),
        at_most("the same F1 when contradictions do not refuse", refusing_nothing, "%", 85, None, ""),
        at_least("six vendors' offers clustered", speed, "offers/s", 500, None, "one process"),
    ]


def _unrefused(a: Reading, b: Reading, weights_a: Sequence[float], weights_b: Sequence[float]) -> Comparison:
    """A comparison that goes to its end and then forgets what contradicts: everything else still counts."""
    found = comparing.compare(a, b, weights_a, weights_b, to_the_end=True)
    found.conflicts = []
    return found


def _together(labels: dict[str, int]) -> set[tuple[str, str]]:
    members: dict[int, list[str]] = {}
    for name, label in sorted(labels.items()):
        members.setdefault(label, []).append(name)
    return {(a, b) for names in members.values() for k, a in enumerate(names) for b in names[k + 1 :]}


def market() -> list[Row]:
    """Listings proposed to 200,000 products, a third of them siblings that the catalogue does not have."""
    global _index, _asked
    made = things(PRODUCTS + PRODUCTS // 10)
    random.Random(5).shuffle(made)
    known, unknown = made[:PRODUCTS], made[PRODUCTS:]
    products = catalogue(known)
    asked = list(listings(known, unknown, BATCH * BATCHES))
    true = [None if which is None else f"p{which}" for _, which in asked]
    gc.collect()
    before = psutil.Process().memory_info().rss
    started = time.perf_counter()
    _index = Index(products)
    built = PRODUCTS / (time.perf_counter() - started)
    memory = (psutil.Process().memory_info().rss - before) / 1e6 / (PRODUCTS / 100_000)
    _asked = [listing for listing, _ in asked]
    gc.freeze()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        proposed, seconds = _timed(lambda: pool.map(_propose, range(BATCHES), chunksize=1))
        bare = sum(pool.map(_multiply, range(BATCHES), chunksize=1)) / 2  # seconds on two processes
        blocked = [hit for part in pool.map(_blocked, range(BATCHES), chunksize=1) for hit in part]
    answers = [answer for part in proposed for answer in part]
    matches = {(str(k), product) for k, (product, decision) in enumerate(answers) if decision == "match" and product}
    right = {(str(k), product) for k, product in enumerate(true) if product is not None}
    precision, recall, f1 = scores(matches, right)
    reached = sum(
        product in candidates for product, candidates in zip(true, blocked, strict=True) if product is not None
    )
    count = len(asked)
    return [
        at_least(
            "listings proposed to 200,000 products",
            count / seconds,
            "offers/s",
            2000,
            count / bare,
            "bare sparse top-k",
        ),
        at_least("the right product is among those compared", 100 * reached / len(right), "%", 98, None, ""),
        at_least("proposals: precision of matches", precision, "%", 80, None, ""),
        at_least("proposals: recall of matches", recall, "%", 80, None, ""),
        at_least("proposals: F1 of matches", f1, "%", 80, None, ""),
        at_least("products indexed", built, "products/s", 3000, None, "one process"),
        at_most("memory of 100,000 products with two titles each", memory, "MB", 400, None, ""),
    ]


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    done = work()
    return done, time.perf_counter() - started


def _batch(number: int) -> list[Offer]:
    return _asked[number * BATCH : (number + 1) * BATCH]


def _propose(number: int) -> list[tuple[str | None, str]]:
    return [(p.product, p.decision) for p in _index.propose(_batch(number))]


def _multiply(number: int) -> float:
    """What no index of this kind can do without: the product of the two matrices and the best columns of each row."""
    main = _index._main
    rows = main.weights.rows(raw([read_all(o)[0] for o in _batch(number)]))
    started = time.perf_counter()
    top(rarest_first(rows, main.frequency, 6000) @ main.turned, 20)
    return time.perf_counter() - started


def _blocked(number: int) -> list[set[str]]:
    """The products that each listing is compared with."""
    batch = _batch(number)
    faces = [read_all(o)[0] for o in batch]
    found: list[set[str]] = [set() for _ in batch]
    for row, at, _ in _index._candidates(_index._main, faces, raw(faces)):
        reading = _index._main.readings[at]
        if reading is not None:
            found[row].add(reading.id)
    return found
