"""What the solver's answers are held against: exact shares from all subsets of sites, the cheapest routing from all
routings. Written from the guarantees alone, for tiny instances, without a solver."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import cache
from itertools import combinations


def subsets(things: Sequence[int]) -> Iterator[frozenset[int]]:
    """All subsets but the empty one."""
    for size in range(1, len(things) + 1):
        yield from map(frozenset, combinations(things, size))


def reach(stock: Sequence[int], near: Sequence[frozenset[int]], sites: frozenset[int]) -> int:
    """What all the lots hold that any of these sites can be served from."""
    return sum(stock[lot] for lot in frozenset().union(*(near[site] for site in sites)))


def feasible(stock: Sequence[int], near: Sequence[frozenset[int]], got: Sequence[int]) -> bool:
    """Whether some routing gives these totals (Hall's condition)."""
    return all(sum(got[site] for site in some) <= reach(stock, near, some) for some in subsets(range(len(got))))


def most(stock: Sequence[int], near: Sequence[frozenset[int]], want: Sequence[int]) -> int:
    """The most units that can be given out: the smallest cut, some sites at what they want and the others at their
    lots."""
    sites = range(len(want))
    cuts = [sum(want)]
    for some in subsets(sites):
        cuts.append(sum(want[site] for site in sites if site not in some) + reach(stock, near, some))
    return min(cuts)


def exact_levels(
    stock: Sequence[int],
    near: Sequence[frozenset[int]],
    want: Mapping[int, int],
    fixed: Mapping[int, int],
) -> dict[int, Fraction]:
    """The exact leximin share of each wanting site, with the totals of `fixed` sites given: raise all shares
    together, and freeze whoever is held back."""
    level: dict[int, Fraction] = {}
    holds: dict[int, Fraction] = {site: Fraction(units) for site, units in fixed.items()}
    active = set(want)
    while active:
        bounds = {}
        for some in subsets(sorted(active | set(holds))):
            rising = some & active
            if rising:
                room = reach(stock, near, some) - sum(holds[site] for site in some - rising)
                bounds[some] = Fraction(room) / sum(want[site] for site in rising)
        best = min(min(bounds.values()), Fraction(1))
        frozen = set(active) if best == 1 else set()
        for some, bound in bounds.items():
            if bound == best:
                frozen |= some & active
        for site in frozen:
            level[site] = best
            holds[site] = best * want[site]
        active -= frozen
    return level


def cheapest(
    stock: Sequence[int], cost: Sequence[Mapping[int, int]], got: Sequence[int], of: Sequence[int]
) -> tuple[int, int]:
    """The least cost of delivering these totals, and the fewest deliveries at that cost. `of` is the warehouse of
    each lot."""

    @cache
    def best(site: int, left: tuple[int, ...]) -> tuple[int, int]:
        if site == len(got):
            return 0, 0
        options = []
        for parts in _partitions(got[site], tuple(sorted(cost[site])), left):
            rest = list(left)
            price, warehouses = 0, set()
            for lot, units in parts:
                rest[lot] -= units
                price += units * cost[site][lot]
                if units:
                    warehouses.add(of[lot])
            further = best(site + 1, tuple(rest))
            options.append((price + further[0], len(warehouses) + further[1]))
        return min(options, default=(10**12, 10**6))

    return best(0, tuple(stock))


def _partitions(units: int, lots: tuple[int, ...], left: tuple[int, ...]) -> Iterator[tuple[tuple[int, int], ...]]:
    if not lots:
        if not units:
            yield ()
        return
    for part in range(min(units, left[lots[0]]) + 1):
        for rest in _partitions(units - part, lots[1:], left):
            yield ((lots[0], part), *rest)
